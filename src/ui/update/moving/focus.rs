//! The focused panel.

use crate::ui::{
    panels,
    state::{AppState, Panel, View},
};

/// Keeps the focus if the view has the panel; from the loss, which is focused at first, it moves to the main panel of
/// the view.
pub(crate) fn keep(state: &mut AppState) {
    let panels = panels::of(state.view());
    if state.focus == Panel::LOSS || !panels.contains(&state.focus) {
        state.focus_on(panels[0]);
    }
}

/// Focuses the sources when the data view opens, unless one of its own panels has the focus: keys there are about them.
pub(crate) fn enter_data(state: &mut AppState) {
    let own = panels::of(View::Data).contains(&state.focus) && ![Panel::CHAT, Panel::LOG].contains(&state.focus);
    if !own {
        state.focus_on(Panel::SOURCES);
    }
}

/// Moves the focus to the next or previous panel.
pub(crate) fn step(state: &mut AppState, on: bool) {
    let panels = panels::of(state.view());
    let at = panels.iter().position(|p| *p == state.focus).unwrap_or(0);
    let by = if on { 1 } else { panels.len() - 1 };
    state.focus_on(panels[(at + by) % panels.len()]);
}
