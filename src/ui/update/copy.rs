//! What is copied to the clipboard of the terminal.

use super::msg::Cmd;
use crate::ui::state::{AppState, Panel};

/// Copies what the focused panel is about, or else its characters.
pub(crate) fn copy(state: &mut AppState) -> Vec<Cmd> {
    vec![Cmd::Copy(text(state))]
}

/// The text that the focused panel is about: an answer, a completion, a document, a log line, a checkpoint's folder.
fn text(state: &AppState) -> Option<String> {
    if state.tree.open {
        let folder = state.tree.checkpoint().map(|checkpoint| &checkpoint.path);
        return folder.or(state.tree.run().map(|run| &run.path)).map(|path| path.display().to_string());
    }
    if state.voting.open {
        return None;
    }
    let stage = state.shown();
    match state.focus {
        Panel::CHAT => state.chat.chosen().map(|at| state.chat.exchanges[at].answer.text.to_string()),
        Panel::PROBE => stage.probes.get(stage.probe).and_then(|probe| {
            let entry = probe.entries.last()?;
            Some(if probe.recall { format!("{}{}", probe.prompt, entry.text) } else { entry.text.to_string() })
        }),
        Panel::PREVIEW | Panel::DROPPED => state.marked_text().map(str::to_owned),
        Panel::ROLLOUT => {
            let rollout = stage.feedback.rollout.as_ref()?;
            Some(rollout.actions.iter().map(|action| action.text.as_str()).collect())
        }
        Panel::LOG => {
            let first = state.logged - state.log.len() as u64;
            let chosen = state.log_chosen.and_then(|number| state.log.get(number.checked_sub(first)? as usize));
            chosen.or(state.log.back()).map(|line| line.text.get(state.lang).to_string())
        }
        _ => None,
    }
}
