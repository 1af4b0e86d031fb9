//! The mouse: a click is a key, selects a row, puts the crosshair on a chart or focuses a panel; dragging moves the
//! crosshair; the wheel scrolls, and enlarges charts around the pointer.

use ratatui::layout::Rect;

use super::{focus, walk::walk};
use crate::ui::{
    actions::{self, ACTIONS, Act, palette},
    keys::{Code, Key, Mouse, MouseAct},
    state::{AppState, Click, Mode, Overlay, Panel, steps::Walk},
    update::{Cmd, questions, talk},
};

/// Rows that a notch of the wheel scrolls.
const NOTCH: usize = 3;

/// Applies what the mouse did.
pub(crate) fn on_mouse(state: &mut AppState, mouse: Mouse) -> Vec<Cmd> {
    match mouse.act {
        MouseAct::Press => return press(state, mouse.at),
        MouseAct::Drag => {
            if let Some(chart) = state.dragged {
                point(state, chart, mouse.at.0);
            }
        }
        MouseAct::Release => state.dragged = None,
        MouseAct::WheelUp => return wheel(state, mouse.at, true),
        MouseAct::WheelDown => return wheel(state, mouse.at, false),
    }
    Vec::new()
}

fn press(state: &mut AppState, at: (u16, u16)) -> Vec<Cmd> {
    state.dragged = None;
    match state.drawn.target_at(at) {
        Some(Click::Row(row)) => return choose(state, row),
        Some(Click::Key(key)) => return perform(state, key),
        None => {}
    }
    if !shows_panels(state) {
        return Vec::new();
    }
    let Some(panel) = state.drawn.panel_at(at) else { return Vec::new() };
    let again = state.focus == panel;
    state.focus_on(panel);
    if panel == Panel::CHAT && again && Act::Prompt.row().is_enabled(state) {
        talk::open_prompt(state);
        return Vec::new();
    }
    // A draft stays in its field.
    state.typing = false;
    if let Some(chart) = state.drawn.chart_at(at).filter(|_| state.has_charts()) {
        state.dragged = Some(chart);
        point(state, chart, at.0);
    }
    Vec::new()
}

/// Whether panels are on the screen and nothing covers them.
fn shows_panels(state: &AppState) -> bool {
    state.overlay.is_none() && !state.tree.open && !state.voting.open
}

/// Carries out a key's action, if it has one here; a key of the panels ends typing.
fn perform(state: &mut AppState, key: Key) -> Vec<Cmd> {
    if actions::lookup(state.mode(), key).is_none() && state.mode() == Mode::Text {
        state.typing = false;
    }
    let Some(action) = actions::lookup(state.mode(), key) else { return Vec::new() };
    if action.is_enabled(state) {
        return (action.perform)(state);
    }
    if let Some(why) = (action.why)(state) {
        state.remark(why);
    }
    Vec::new()
}

/// Selects a row of the list that has the keys; one of the palette or a question is carried out.
fn choose(state: &mut AppState, row: usize) -> Vec<Cmd> {
    match &mut state.overlay {
        Some(Overlay::Palette { chosen, .. } | Overlay::Ask { chosen, .. }) => *chosen = row,
        Some(Overlay::Config(pane)) => {
            pane.chosen = row;
            return Vec::new();
        }
        Some(Overlay::Help { .. } | Overlay::Card) => return Vec::new(),
        None => {
            if state.tree.open && state.tree.naming.is_none() {
                state.tree.move_row(row);
            }
            return Vec::new();
        }
    }
    perform(state, Key::plain(Code::Enter))
}

/// Puts the crosshair at the step of a column of a chart, or at the chart's end beside it.
fn point(state: &mut AppState, chart: Rect, column: u16) {
    let cells = chart.width.saturating_sub(1);
    let from = column.clamp(chart.x, chart.x + cells) - chart.x;
    let unit = state.abscissa;
    (state.film, state.log_chosen) = (None, None);
    let stage = state.stages.shown_mut();
    let step = stage.axis(unit).step_at(f64::from(from) / f64::from(cells.max(1)));
    stage.charts.cursor = Some(step.round().clamp(0.0, stage.steps_done() as f64) as usize);
}

fn wheel(state: &mut AppState, at: (u16, u16), up: bool) -> Vec<Cmd> {
    match state.overlay {
        Some(Overlay::Palette { .. }) => {
            palette::step(ACTIONS, state, !up);
            return Vec::new();
        }
        Some(Overlay::Ask { .. }) => {
            questions::step(state, !up);
            return Vec::new();
        }
        _ => {}
    }
    if shows_panels(state) {
        if let Some(chart) = state.drawn.chart_at(at).filter(|_| state.has_charts()) {
            let cells = f64::from(chart.width.saturating_sub(1).max(1));
            let axis = state.shown().axis(state.abscissa);
            let step = axis.step_at(f64::from(at.0 - chart.x) / cells);
            state.zoom_at(up, step);
            return Vec::new();
        }
        let Some(panel) = state.drawn.panel_at(at) else { return Vec::new() };
        if state.focus != panel {
            // How far it scrolls is known when it is drawn with the focus.
            focus_quietly(state, panel);
            return Vec::new();
        }
    }
    // In these panels a single row moves the selected token.
    let paged = matches!(state.focus, Panel::BATCH | Panel::ROLLOUT) && shows_panels(state);
    let (to, times) = match (paged, up) {
        (true, true) => (Walk::PageUp, 1),
        (true, false) => (Walk::PageDown, 1),
        (false, true) => (Walk::Up, NOTCH),
        (false, false) => (Walk::Down, NOTCH),
    };
    (0..times).flat_map(|_| walk(state, to)).collect()
}

/// Moves the focus by the wheel; a field that has the keys keeps them.
fn focus_quietly(state: &mut AppState, panel: Panel) {
    if !state.typing {
        state.focus_on(panel);
    }
    focus::keep(state);
}
