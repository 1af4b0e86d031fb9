//! Looking for a text in the log, the documents or the metrics.

use crate::ui::{
    editor::Editor,
    state::{AppState, Find, Panel},
    update::{Cmd, data},
};

/// Opens the field for the focused panel, with the text that was looked for there.
pub(crate) fn open(state: &mut AppState) {
    let Some(panel) = state.findable() else { return };
    state.focus_on(panel);
    state.log_chosen = None;
    match &mut state.find {
        Some(find) if find.panel == panel => find.typing = true,
        _ => state.find = Some(Find { panel, field: Editor::default(), typing: true }),
    }
}

/// Leaves the field: the list stays filtered, or the next document with the text is requested.
pub(crate) fn done(state: &mut AppState) -> Vec<Cmd> {
    let Some(find) = &mut state.find else { return Vec::new() };
    find.typing = false;
    if find.field.is_empty() {
        state.find = None;
        return Vec::new();
    }
    if find.panel == Panel::PREVIEW { data::find_document(state, true, 0) } else { Vec::new() }
}

/// Forgets what is looked for in the focused panel; false if there is nothing.
pub(crate) fn forget(state: &mut AppState) -> bool {
    let here = state.find.as_ref().is_some_and(|find| find.typing || find.panel == state.focus);
    if here {
        state.find = None;
        state.scroll = 0;
    }
    here
}
