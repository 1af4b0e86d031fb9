//! Keys that move in a panel, list or text.

use crate::ui::{
    state::{AppState, Overlay, Panel, steps::Walk},
    update::{Cmd, config, data, stages, tree},
};

/// Moves in whatever has the keys.
pub(crate) fn walk(state: &mut AppState, to: Walk) -> Vec<Cmd> {
    let limit = state.drawn.scroll_limit;
    if let Some(Overlay::Help { scroll }) = &mut state.overlay {
        *scroll = to.from((*scroll).min(limit), limit);
        return Vec::new();
    }
    if config::walk(state, to) {
        return Vec::new();
    }
    if state.tree.open {
        return tree::walk(state, to);
    }
    if state.voting.open {
        // Answers to vote on scroll from their beginning.
        state.scroll = to.from(state.scroll.min(limit), limit);
        return Vec::new();
    }
    if !state.typing
        && let Some(cmds) = data::walk(state, to)
    {
        return cmds;
    }
    if state.wind(to) || state.slide(to) || state.walk_log(to) {
        return Vec::new();
    }
    let sideways = matches!(to, Walk::Previous | Walk::Next);
    let paged = matches!(to, Walk::PageUp | Walk::PageDown);
    match state.focus {
        // A list from its top.
        Panel::METRICS if !sideways => state.scroll = to.from(state.scroll.min(limit), limit),
        Panel::ROLLOUT if sideways => return stages::other_rollout(state, to == Walk::Next),
        Panel::ROLLOUT if !paged => stages::move_token(state, to),
        Panel::BATCH if !paged => stages::move_spot(state, to),
        Panel::CHAT if sideways => state.chat.pick(to == Walk::Next),
        _ if sideways => {
            let stage = state.stages.shown_mut();
            stage.probe = to.from(stage.probe, stage.probes.len().saturating_sub(1));
        }
        _ => {
            // Other panels scroll back from the newest row.
            let at = limit - state.scroll.min(limit);
            state.scroll = limit - to.from(at, limit);
            if to == Walk::Last {
                state.chat.picked = None;
            }
        }
    }
    Vec::new()
}
