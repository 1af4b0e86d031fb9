//! Questions before an action.

use super::{leaving, msg::Cmd, stages, tree};
use crate::ui::state::{AppState, Overlay, Question};

/// Selects the answer below or above.
pub(crate) fn step(state: &mut AppState, on: bool) {
    if let Some(Overlay::Ask { question, chosen }) = &mut state.overlay {
        let n = question.choices().len();
        *chosen = (*chosen + if on { 1 } else { n - 1 }) % n;
    }
}

/// Carries out the selected answer.
pub(crate) fn answer(state: &mut AppState) -> Vec<Cmd> {
    match state.overlay.take() {
        Some(Overlay::Ask { question: Question::Quit, chosen: 0 }) => leaving::leave(state, true, false),
        Some(Overlay::Ask { question: Question::Quit, chosen: 1 }) => leaving::leave(state, false, false),
        Some(Overlay::Ask { question: Question::Switch(stage), chosen: 0 }) => stages::switch(state, stage),
        Some(Overlay::Ask { question: Question::GoBack(run, checkpoint), chosen: 0 }) => {
            tree::go_back(state, run, checkpoint)
        }
        Some(Overlay::Ask { question: Question::Open(run), chosen: 0 }) => tree::leave_for(state, run),
        Some(Overlay::Ask { question: Question::Remove { care, .. }, chosen: 0 }) => tree::remove(state, care),
        _ => Vec::new(),
    }
}
