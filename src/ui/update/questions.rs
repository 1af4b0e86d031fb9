//! Questions before an action.

use super::{leaving, msg::Cmd, stages, tree};
use crate::ui::{
    state::{
        AppState, Overlay, Question, Request,
        charts::{Export, Format},
    },
    strings,
};

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
        Some(Overlay::Ask { question: question @ Question::Export(panel, _), chosen }) => {
            let (panel, format) = match question.choices().get(chosen) {
                Some(&strings::EXPORT_CSV) => (panel, Format::Csv),
                Some(&strings::EXPORT_PANEL_SVG) => (panel, Format::Svg),
                Some(&strings::EXPORT_PANEL_TEXT) => (panel, Format::Text),
                Some(&strings::EXPORT_SCREEN_SVG) => (None, Format::Svg),
                Some(&strings::EXPORT_SCREEN_TEXT) => (None, Format::Text),
                _ => return Vec::new(),
            };
            export(state, Export { panel, format, path: None })
        }
        _ => Vec::new(),
    }
}

/// Asks what to export.
pub(crate) fn ask_export(state: &mut AppState) {
    let (panel, figures) = state.exportable();
    state.overlay = Some(Overlay::Ask { question: Question::Export(panel, figures), chosen: 0 });
}

/// Exports a panel or the screen.
pub(crate) fn export(state: &mut AppState, export: Export) -> Vec<Cmd> {
    state.requests.push_back(Request::Export);
    vec![Cmd::Export(export)]
}
