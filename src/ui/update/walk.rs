//! Keys that move within a panel, a list or a text.

use super::{data, msg::Cmd, stages};
use crate::ui::state::{AppState, Overlay, Panel};

/// Rows of a page.
const PAGE: usize = 10;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Previous,
    Next,
}

impl Walk {
    /// The place it leads to, in a list whose last place is `most`.
    pub(crate) fn from(self, at: usize, most: usize) -> usize {
        match self {
            Walk::Up | Walk::Previous => at.saturating_sub(1),
            Walk::Down | Walk::Next => (at + 1).min(most),
            Walk::PageUp => at.saturating_sub(PAGE),
            Walk::PageDown => (at + PAGE).min(most),
            Walk::First => 0,
            Walk::Last => most,
        }
        .min(most)
    }
}

/// Moves within what has the keys.
pub(crate) fn walk(state: &mut AppState, to: Walk) -> Vec<Cmd> {
    let limit = state.drawn.scroll_limit;
    if let Some(Overlay::Help { scroll }) = &mut state.overlay {
        *scroll = to.from((*scroll).min(limit), limit);
        return Vec::new();
    }
    if state.voting.open {
        // Answers to choose between are read from their beginning.
        state.scroll = to.from(state.scroll.min(limit), limit);
        return Vec::new();
    }
    if !state.typing
        && let Some(cmds) = data::walk(state, to)
    {
        return cmds;
    }
    let sideways = matches!(to, Walk::Previous | Walk::Next);
    let paged = matches!(to, Walk::PageUp | Walk::PageDown);
    match state.focus {
        Panel::ROLLOUT if sideways => return stages::other_rollout(state, to == Walk::Next),
        Panel::ROLLOUT if !paged => stages::move_token(state, to),
        Panel::BATCH if !paged => stages::move_spot(state, to),
        Panel::CHAT if sideways => state.chat.pick(to == Walk::Next),
        _ if sideways => {
            let stage = state.stages.shown_mut();
            stage.probe = to.from(stage.probe, stage.probes.len().saturating_sub(1));
        }
        _ => {
            // Scrolled back from the newest row.
            let at = limit - state.scroll.min(limit);
            state.scroll = limit - to.from(at, limit);
            if to == Walk::Last {
                state.chat.picked = None;
            }
        }
    }
    Vec::new()
}
