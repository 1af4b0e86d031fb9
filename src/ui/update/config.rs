//! The config pane.

use crate::ui::state::{AppState, ConfigPane, Overlay, steps::Walk};

/// The open pane.
fn pane(state: &mut AppState) -> Option<&mut ConfigPane> {
    match &mut state.overlay {
        Some(Overlay::Config(pane)) => Some(pane),
        _ => None,
    }
}

/// Opens the pane.
pub(crate) fn open(state: &mut AppState) {
    state.overlay = Some(Overlay::Config(ConfigPane::default()));
}

/// Opens or leaves the field of the filter; its text stays in effect.
pub(crate) fn filter(state: &mut AppState, typing: bool) {
    if let Some(pane) = pane(state) {
        pane.typing = typing;
    }
}

/// Lists only changed keys, or all of them.
pub(crate) fn changed(state: &mut AppState) {
    if let Some(pane) = pane(state) {
        (pane.changed, pane.chosen) = (!pane.changed, 0);
    }
}

/// Clears the filter and leaves its field; false if it has none.
pub(crate) fn clear_filter(state: &mut AppState) -> bool {
    let Some(pane) = pane(state).filter(|pane| pane.typing || !pane.filter.is_empty()) else { return false };
    (pane.typing, pane.chosen) = (false, 0);
    pane.filter.clear();
    true
}

/// Selects another row; false if the pane is not open.
pub(crate) fn walk(state: &mut AppState, to: Walk) -> bool {
    let Some(Overlay::Config(pane)) = &mut state.overlay else { return false };
    let last = pane.found(&state.config).len().saturating_sub(1);
    pane.chosen = to.from(pane.chosen.min(last), last);
    true
}
