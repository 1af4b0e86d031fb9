//! Arranges the panels of a view for the size of the terminal.

use ratatui::layout::Rect;

use crate::ui::{
    panels::{self, Layout, PANELS, Rows, Tall, Wide},
    state::{AppState, Panel, View},
};

/// The class of the terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Two columns, or three.
    Wide,
    /// One column of several panels.
    Tall,
    /// One panel at a time.
    Small,
}

pub(super) fn size(area: Rect) -> Size {
    match (area.width, area.height) {
        (100.., 30..) => Size::Wide,
        (70.., 20..) => Size::Tall,
        _ => Size::Small,
    }
}

fn rows(rows: Rows, state: &AppState, body: u16) -> u16 {
    let stage = state.shown();
    let sources = stage.run.as_ref().map_or(1, |r| r.sources.len()) as u16;
    let tasks = stage.tasks.len().max(1) as u16;
    match rows {
        Rows::Rest => 0,
        Rows::Just(rows) => rows,
        Rows::Part(n, least) => (body / n).max(least),
        Rows::Sources(0) => sources.min(6) + 2,
        Rows::Sources(n) => sources.min(body / n) + 2,
        Rows::Stock(more, n) => (sources.max(state.data.sources.len() as u16) + more).min((body / n).max(4)),
        Rows::Tasks(0) => (tasks + 2).min(body / 3),
        Rows::Tasks(most) => tasks.min(most) + 2,
        Rows::Probes => (3 * stage.probes.len().max(1) as u16 + 1).min(body.saturating_sub(8) / 2),
        Rows::Half(engine) => body.saturating_sub(engine).div_ceil(2),
    }
}

/// The visible panels with their areas, and the columns of the dividers.
pub(super) fn arrange(state: &AppState, body: Rect, size: Size) -> (Vec<(Panel, Rect)>, Vec<u16>) {
    let view = state.view();
    if state.expanded {
        return (vec![(state.focus, body)], Vec::new());
    }
    if size == Size::Small {
        // The probe stays in sight if it is one of the view's and there is room for both: not beside several answers or
        // one that is being corrected.
        let probe = panels::find(Panel::PROBE).and_then(|probe| probe.place(view));
        let correcting = state.chat.edit.as_ref().is_some_and(|edit| edit.open);
        let full = state.focus == Panel::CHAT && (state.chat.compares() || correcting);
        if probe.is_none() || state.focus == Panel::PROBE || full || body.height < 10 {
            return (vec![(state.focus, body)], Vec::new());
        }
        let top = Rect { height: body.height - IN_SIGHT, ..body };
        let below = Rect { y: top.bottom(), height: IN_SIGHT, ..body };
        return (vec![(state.focus, top), (Panel::PROBE, below)], Vec::new());
    }
    let here: Vec<(Panel, (Wide, Tall))> = PANELS.iter().filter_map(|p| Some((p.id, p.place(view)?))).collect();
    let column = |rows: fn(Wide, Tall) -> Option<Rows>| -> Vec<(Panel, Rows)> {
        here.iter().filter_map(|(id, (wide, tall))| Some((*id, rows(*wide, *tall)?))).collect()
    };
    let mut panels;
    let mut dividers = Vec::new();
    if size == Size::Tall {
        let mut all = column(|_, tall| if let Tall::Top(rows) = tall { Some(rows) } else { None });
        // At the bottom the focused panel, if its place is there.
        let foot = column(|_, tall| if let Tall::Foot(rows) | Tall::Swap(rows) = tall { Some(rows) } else { None });
        let usual = column(|_, tall| if let Tall::Foot(rows) = tall { Some(rows) } else { None });
        all.extend(foot.iter().find(|p| p.0 == state.focus).or(usual.first()));
        panels = stack(state, body, &all);
    } else {
        let Layout { share, yields, makes_room } = panels::layout(view);
        // The third column has the panels that the other sizes hide.
        let hidden: Vec<Panel> = panels::of(view).into_iter().filter(|p| is_hidden(*p, view)).collect();
        let huge = body.width >= 180 && body.height >= 42;
        let third = if huge && !hidden.is_empty() { body.width * 28 / 100 } else { 0 };
        let two = Rect { width: body.width - third, ..body };
        let left = Rect { width: two.width * share / 100 / 2 * 2, ..two };
        let right = Rect { x: left.right() + 1, width: two.width - left.width - 1, ..two };
        dividers.push(left.right());
        let lefts = column(|wide, _| if let Wide::Left(rows) = wide { Some(rows) } else { None });
        let rights = column(|wide, _| if let Wide::Right(rows) = wide { Some(rows) } else { None });
        panels = stack(state, left, &lefts);
        panels.extend(stack(state, right, &rights));
        if third > 0 {
            dividers.push(right.right());
            let column = Rect { x: right.right() + 1, width: third - 1, ..body };
            panels.extend(shared(column, &hidden));
        }
        if let Some(other) = makes_room.filter(|_| !state.asked_beside().is_empty() && state.chat.compares()) {
            for panel in &mut panels {
                panel.0 = match panel.0 {
                    Panel::CHAT => other,
                    p if p == other => Panel::CHAT,
                    p => p,
                };
            }
        }
        if panels.iter().all(|p| p.0 != state.focus)
            && let Some(other) = panels.iter_mut().find(|p| p.0 == yields)
        {
            other.0 = state.focus;
        }
    }
    panels.retain(|p| p.1.height > 0);
    (panels, dividers)
}

/// Rows of the probe where only one panel has room beside it.
const IN_SIGHT: u16 = 3;

fn is_hidden(panel: Panel, view: View) -> bool {
    panels::find(panel).and_then(|p| p.place(view)).is_some_and(|(wide, _)| matches!(wide, Wide::Hidden))
}

/// Panels from top to bottom with equal shares of the rows.
fn shared(area: Rect, panels: &[Panel]) -> Vec<(Panel, Rect)> {
    let count = panels.len() as u16;
    let edge = |at: usize| area.y + area.height * at as u16 / count;
    let place = |(at, panel): (usize, &Panel)| (*panel, Rect { y: edge(at), height: edge(at + 1) - edge(at), ..area });
    panels.iter().enumerate().map(place).collect()
}

/// Stacks panels from top to bottom; one of them takes the remaining rows.
fn stack(state: &AppState, area: Rect, panels: &[(Panel, Rows)]) -> Vec<(Panel, Rect)> {
    let fixed: u16 = panels.iter().map(|p| rows(p.1, state, area.height)).sum();
    let mut y = area.y;
    let mut placed = Vec::new();
    for (panel, wanted) in panels {
        let height = match wanted {
            Rows::Rest => area.height.saturating_sub(fixed),
            wanted => rows(*wanted, state, area.height),
        };
        let height = height.min(area.bottom().saturating_sub(y));
        placed.push((*panel, Rect { y, height, ..area }));
        y += height;
    }
    placed
}
