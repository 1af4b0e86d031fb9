//! Looking at a stage, going to it, and the batch of the one that runs.

use std::time::Duration;

use super::Cmd;
use crate::session::Command;
use crate::ui::{
    actions::Act,
    state::{AppState, Overlay, Panel, Phase, Question, Wish, batch::Spot},
};

/// At least this between two batches.
const BATCH: Duration = Duration::from_secs(1);

/// Looks at the stage of that name. Changes nothing but what is seen.
pub(super) fn view(state: &mut AppState, name: &str) {
    state.stages.show(name);
    keep_focus(state);
}

/// The focus stays where it is if the stage in view has such a panel.
pub(super) fn keep_focus(state: &mut AppState) {
    if !Panel::of(state.shown()).contains(&state.focus) {
        super::focus(state, Panel::Loss);
    }
}

/// Trains the stage in view: asks first if another has the trainer.
pub(super) fn go(state: &mut AppState) -> Vec<Cmd> {
    if state.stages.live_is_shown() {
        state.stages.live_mut().phase = Phase::Resuming;
        return vec![Cmd::Send(Command::Resume)];
    }
    let question = Question::Switch(state.shown().name.clone());
    state.overlay = Some(Overlay::Ask { question, chosen: 0 });
    Vec::new()
}

/// Leaves the running stage for another.
pub(super) fn switch(state: &mut AppState, name: String) -> Vec<Cmd> {
    state.wishes.push_back(Wish::Stage(name.clone()));
    vec![Cmd::Send(Command::Stage { name })]
}

/// Asks for the newest batch when its panel comes into sight and then once a second while steps are
/// made, unless a token is held.
pub(super) fn ask_batch(state: &mut AppState) -> Vec<Cmd> {
    let now = state.now;
    let seen = state.batch_cells.get() > 0 && state.stages.live_is_shown() && state.leaving.is_none();
    let quiet = state.switching().is_some();
    let stage = state.stages.live_mut();
    let rested = stage.batch_asked.is_none_or(|at| now.saturating_sub(at) >= BATCH);
    if !seen {
        // Out of sight: to be asked for at once when it comes back, but not sooner than a second later.
        if rested {
            stage.batch_asked = None;
        }
        return Vec::new();
    }
    let due = match stage.batch_asked {
        None => true,
        Some(_) => rested && stage.phase == Phase::Running,
    };
    if !due || quiet || stage.step.is_none() || stage.is_finished() || stage.spot.is_some() {
        return Vec::new();
    }
    stage.batch_asked = Some(now);
    vec![Cmd::Send(Command::ShowBatch)]
}

/// Arrows in the batch hold a token and move on from it.
pub(super) fn move_spot(state: &mut AppState, act: Act) {
    let cells = state.batch_cells.get().max(2);
    let stage = state.stages.shown_mut();
    let Some(batch) = &stage.batch else { return };
    let Some(spot) = stage.spot else {
        stage.spot = Some(batch.nearest(Spot::default()));
        return;
    };
    stage.spot = Some(match act {
        Act::Previous | Act::Next => batch.beside(spot, act == Act::Next),
        Act::Up | Act::Down => batch.below(spot, act == Act::Down, cells),
        Act::First | Act::Last => batch.edge(spot, act == Act::Last),
        _ => spot,
    });
}
