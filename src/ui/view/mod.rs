//! The screen as a function of the state: which panels where, and what lies over them.

mod batch;
mod chat;
mod field;
mod frame;
mod log;
mod loss;
mod mix;
mod overlay;
mod probe;
mod run;
mod tasks;

use std::borrow::Cow;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::ui::{
    paint::{Pieces, put},
    state::{AppState, Panel, Phase, Stage},
    strings::{self, Tr},
    text::wrap,
    theme::{Glyphs, Role},
};

/// A caret's column and row.
pub type Caret = (u16, u16);

/// What the panels draw with.
pub(crate) struct Pen<'a> {
    pub(crate) state: &'a AppState,
    /// The stage looked at.
    pub(crate) stage: &'a Stage,
    pub(crate) glyphs: &'static Glyphs,
}

impl Pen<'_> {
    pub(crate) fn style(&self, role: Role) -> Style {
        self.state.theme.style(role)
    }

    /// A rule with the panel's title; the rows below it.
    pub(crate) fn title(&self, buf: &mut Buffer, area: Rect, panel: Panel, facts: &Pieces) -> Rect {
        let focused = self.state.focus == panel;
        let title = self.state.tr(panel.title());
        crate::ui::paint::rule(buf, area, title, facts, focused, self.state.theme, self.glyphs);
        below(area, 1)
    }

    /// One piece of text.
    pub(crate) fn piece<'p>(&self, text: impl Into<Cow<'p, str>>, role: Role) -> (Cow<'p, str>, Style) {
        (text.into(), self.style(role))
    }

    /// Why the stage looked at has nothing to show, if another has the trainer; else `or`.
    pub(crate) fn nothing(&self, or: Tr) -> &'static str {
        self.state.tr(if self.stage.phase == Phase::Resting { strings::NOT_HERE } else { or })
    }

    /// Words in an otherwise empty panel.
    pub(crate) fn words(&self, buf: &mut Buffer, area: Rect, text: &str) {
        let lines = wrap(text, area.width.saturating_sub(4) as usize, 0);
        for (row, line) in lines.into_iter().take(area.height as usize).enumerate() {
            let y = area.y + row as u16;
            put(buf, area.x + 2, y, area.right(), &text[line], self.style(Role::Dim));
        }
    }

    /// Facts in one row, with dots between.
    pub(crate) fn dotted<'p>(&self, facts: impl IntoIterator<Item = String>) -> Pieces<'p> {
        let mut pieces: Pieces = Vec::new();
        for fact in facts {
            if !pieces.is_empty() {
                pieces.push(self.piece(format!(" {} ", self.glyphs.dot), Role::Dim));
            }
            pieces.push(self.piece(fact, Role::Text));
        }
        pieces
    }
}

/// `area` without its first rows.
pub(crate) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Two columns.
    Wide,
    /// One column of several panels.
    Tall,
    /// One panel at a time.
    Small,
}

fn room(area: Rect) -> Room {
    match (area.width, area.height) {
        (100.., 30..) => Room::Wide,
        (70.., 20..) => Room::Tall,
        _ => Room::Small,
    }
}

/// Where every visible panel goes, and the divider's column.
fn arrange(state: &AppState, body: Rect, room: Room) -> (Vec<(Panel, Rect)>, Option<u16>) {
    if state.expanded || room == Room::Small {
        return (vec![(state.focus, body)], None);
    }
    let stage = state.shown();
    let sources = stage.run.as_ref().map_or(1, |r| r.sources.len()) as u16;
    let tasks = stage.tasks.len().max(1) as u16;
    let mut panels;
    let mut divider = None;
    if room == Room::Tall {
        // The last place shows whatever the person went to that has no place of its own.
        let last = match state.focus {
            Panel::Chat => (Panel::Chat, 8),
            Panel::Mix => (Panel::Mix, sources.min(6) + 2),
            Panel::Batch => (Panel::Batch, 8),
            Panel::Probe | Panel::Loss | Panel::Tasks if stage.is_tuning() => (Panel::Probe, 5),
            Panel::Run if stage.is_tuning() => (Panel::Run, 4),
            _ => (Panel::Log, 4),
        };
        panels = if stage.is_tuning() {
            stack(body, &[(Panel::Loss, 0), (Panel::Tasks, tasks.min(6) + 2), last])
        } else {
            stack(body, &[(Panel::Loss, 0), (Panel::Probe, 3), (Panel::Run, 3), last])
        };
    } else {
        let left = Rect { width: body.width * 65 / 100 / 2 * 2, ..body };
        let right = Rect { x: left.right() + 1, width: body.width - left.width - 1, ..body };
        divider = Some(left.right());
        if stage.is_tuning() {
            // Two answers side by side need the wide column; the batch makes room for them.
            let (low, high) =
                if state.asks_parent() { (Panel::Chat, Panel::Batch) } else { (Panel::Batch, Panel::Chat) };
            let tasks = (tasks + 2).min(body.height / 3);
            panels = stack(left, &[(Panel::Loss, 0), (Panel::Tasks, tasks), (low, (body.height / 3).max(8))]);
            let probe = (3 * stage.probes.len().max(1) as u16 + 1).min((body.height - 8) / 2);
            panels.extend(stack(right, &[(Panel::Probe, probe), (high, 0), (Panel::Run, 3), (Panel::Log, 5)]));
        } else {
            let mix = sources.min(body.height / 5) + 2;
            let log = (body.height / 6).max(4);
            panels = stack(left, &[(Panel::Loss, 0), (Panel::Mix, mix), (Panel::Log, log)]);
            let run = 9;
            let probe = (body.height - run).div_ceil(2);
            panels.extend(stack(right, &[(Panel::Probe, probe), (Panel::Chat, 0), (Panel::Run, run)]));
        }
        // What has no place of its own takes the log's while it has the focus.
        if panels.iter().all(|p| p.0 != state.focus)
            && let Some(log) = panels.iter_mut().find(|p| p.0 == Panel::Log)
        {
            log.0 = state.focus;
        }
    }
    panels.retain(|p| p.1.height > 0);
    (panels, divider)
}

/// Panels from top to bottom; the one of height 0 takes what the others leave.
fn stack(area: Rect, panels: &[(Panel, u16)]) -> Vec<(Panel, Rect)> {
    let fixed: u16 = panels.iter().map(|p| p.1).sum();
    let mut y = area.y;
    let mut placed = Vec::new();
    for (panel, height) in panels {
        let height = if *height == 0 { area.height.saturating_sub(fixed) } else { *height };
        let height = height.min(area.bottom().saturating_sub(y));
        placed.push((*panel, Rect { y, height, ..area }));
        y += height;
    }
    placed
}

/// Draws everything; returns where the terminal's own caret belongs, if a field has the keys.
pub fn draw(state: &AppState, area: Rect, buf: &mut Buffer) -> Option<Caret> {
    let area = area.intersection(buf.area);
    if area.width == 0 || area.height == 0 {
        return None;
    }
    let pen = Pen { state, stage: state.shown(), glyphs: state.glyph_set.glyphs() };
    let room = room(area);
    let header = u16::from(area.height > 2);
    let footer = match (room, area.height) {
        (_, 0..=3) => 0,
        (Room::Small, _) => 1,
        _ => 2,
    };
    let body = Rect { y: area.y + header, height: area.height - header - footer, ..area };
    if header > 0 {
        frame::header(&pen, Rect { height: 1, ..area }, buf);
    }
    state.scroll_limit.set(0);
    state.batch_cells.set(0);
    let (panels, divider) = arrange(state, body, room);
    let mut caret = None;
    for (panel, place) in &panels {
        match panel {
            Panel::Loss => loss::draw(&pen, *place, buf),
            Panel::Tasks => tasks::draw(&pen, *place, buf),
            Panel::Probe => probe::draw(&pen, *place, buf),
            Panel::Batch => batch::draw(&pen, *place, buf),
            Panel::Chat => caret = chat::draw(&pen, *place, buf),
            Panel::Mix => mix::draw(&pen, *place, buf),
            Panel::Run => run::draw(&pen, *place, buf),
            Panel::Log => log::draw(&pen, *place, buf),
        }
    }
    if let Some(x) = divider {
        for y in body.top()..body.bottom() {
            put(buf, x, y, x + 1, pen.glyphs.divider, pen.style(Role::Dim));
        }
    }
    if footer > 0 {
        let place = Rect { y: area.bottom() - footer, height: footer, ..area };
        frame::footer(&pen, place, buf);
    }
    frame::refusal(&pen, body, buf);
    overlay::draw(&pen, area, buf, caret)
}
