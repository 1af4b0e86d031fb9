//! Which panel has the focus.

use crate::ui::{
    panels,
    state::{AppState, Panel},
};

/// The focus stays where it is if the view has such a panel; from the loss, where it is at first, it goes to what the
/// view is about.
pub(crate) fn keep(state: &mut AppState) {
    let panels = panels::of(state.view());
    if state.focus == Panel::LOSS || !panels.contains(&state.focus) {
        state.focus_on(panels[0]);
    }
}

/// The next panel, or the one before.
pub(crate) fn step(state: &mut AppState, on: bool) {
    let panels = panels::of(state.view());
    let at = panels.iter().position(|p| *p == state.focus).unwrap_or(0);
    let by = if on { 1 } else { panels.len() - 1 };
    state.focus_on(panels[(at + by) % panels.len()]);
}
