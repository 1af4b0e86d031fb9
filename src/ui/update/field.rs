//! The field that has the keys.

use crate::ui::{
    editor::Editor,
    state::{AppState, ConfigPane, Overlay},
    text::unix_lines,
};

fn field(state: &mut AppState) -> &mut Editor {
    match &mut state.overlay {
        Some(Overlay::Palette { field, .. } | Overlay::Config(ConfigPane { filter: field, .. })) => field,
        _ if state.find.as_ref().is_some_and(|find| find.typing) => match &mut state.find {
            Some(find) => &mut find.field,
            None => &mut state.field,
        },
        _ if state.tree.naming.is_some() => match &mut state.tree.naming {
            Some((_, field)) => field,
            None => &mut state.field,
        },
        _ => match &mut state.chat.edit {
            Some(edit) if edit.open => &mut edit.field,
            _ if state.voting.open => &mut state.voting.field,
            _ => &mut state.field,
        },
    }
}

/// Edits the text with a function of the field and its width in cells.
pub(crate) fn edit(state: &mut AppState, change: fn(&mut Editor, usize)) {
    let cells = state.drawn.field_cells;
    change(field(state), cells);
    if let Some(Overlay::Palette { chosen, .. } | Overlay::Config(ConfigPane { chosen, .. })) = &mut state.overlay {
        *chosen = 0;
    }
    forget_why(state);
}

/// A line that is edited is not the one that was refused.
fn forget_why(state: &mut AppState) {
    if let Some(Overlay::Palette { why, .. }) = &mut state.overlay {
        *why = None;
    }
}

/// Inserts typed or pasted text.
pub(crate) fn insert(state: &mut AppState, text: &str) {
    forget_why(state);
    let one_line = unix_lines(text).replace('\n', " ");
    if let Some(Overlay::Palette { field, chosen, .. } | Overlay::Config(ConfigPane { filter: field, chosen, .. })) =
        &mut state.overlay
    {
        field.insert(&one_line);
        *chosen = 0;
    } else if let Some(find) = state.find.as_mut().filter(|find| find.typing) {
        find.field.insert(&one_line);
        state.scroll = 0;
    } else {
        field(state).insert(text);
    }
}
