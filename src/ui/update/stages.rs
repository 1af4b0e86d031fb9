//! Looking at a stage, going to it, and the batch of the one that runs.

use std::time::Duration;

use super::{focus, msg::Cmd, requests, steps::Walk};
use crate::ui::{
    state::{AppState, Overlay, Panel, Phase, Question, Request, batch::Spot},
    strings,
};
use crate::{base::StageId, protocol::Command};

/// At least this between two batches.
const BATCH: Duration = Duration::from_secs(1);

/// Looks at the stage of that name. Changes nothing but what is seen.
pub(crate) fn view(state: &mut AppState, stage: StageId) {
    (state.voting.open, state.data.open) = (false, false);
    state.stages.show(stage.name());
    focus::keep(state);
}

/// Looks at a stage of alignment; at the next one if one is looked at.
pub(crate) fn view_aligned(state: &mut AppState) {
    // Coming back from choosing is not going on.
    let back = (state.voting.open || state.data.open) && state.shown().aligns();
    let stage = if back { state.shown().id() } else { state.stages.next_aligned() };
    if let Some(stage) = stage {
        view(state, stage);
    }
}

/// Pauses or resumes training.
pub(crate) fn pause(state: &mut AppState) -> Vec<Cmd> {
    let live = state.stages.live_mut();
    let paused = live.is_paused();
    if paused && live.is_complete() {
        let words = state.tr(strings::COMPLETE_HERE);
        state.remark(words);
        return Vec::new();
    }
    live.phase = if paused { Phase::Resuming } else { Phase::Pausing };
    vec![Cmd::Send(if paused { Command::Resume } else { Command::Pause })]
}

/// Saves a checkpoint; one at a time.
pub(crate) fn save(state: &mut AppState) -> Vec<Cmd> {
    if std::mem::replace(&mut state.saving, true) { Vec::new() } else { vec![Cmd::Send(Command::Save)] }
}

/// Runs the probes; one at a time.
pub(crate) fn probe(state: &mut AppState) -> Vec<Cmd> {
    let asked = std::mem::replace(&mut state.stages.live_mut().probing, true);
    if asked { Vec::new() } else { vec![Cmd::Send(Command::Probe)] }
}

/// Trains the stage in view: asks first if another has the trainer.
pub(crate) fn go(state: &mut AppState) -> Vec<Cmd> {
    if state.reopens() {
        let name = state.live().name.clone();
        return switch(state, name);
    }
    if state.stages.live_is_shown() {
        state.stages.live_mut().phase = Phase::Resuming;
        return vec![Cmd::Send(Command::Resume)];
    }
    let question = Question::Switch(state.shown().name.clone());
    state.overlay = Some(Overlay::Ask { question, chosen: 0 });
    Vec::new()
}

/// Leaves the running stage for another.
pub(crate) fn switch(state: &mut AppState, name: String) -> Vec<Cmd> {
    requests::send(state, Request::Stage(name.clone()), Command::Stage { name })
}

/// Asks for the newest batch when its panel comes into sight and then once a second while steps are
/// made, unless a token is held.
pub(crate) fn ask_batch(state: &mut AppState) -> Vec<Cmd> {
    let now = state.now;
    let seen = state.drawn.shows(Panel::BATCH) && state.stages.live_is_shown() && state.leaving.is_none();
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

/// Asks for an answer of the newest update when its panel comes into sight and then once a second while
/// updates are made, unless a token is held.
pub(crate) fn ask_rollout(state: &mut AppState) -> Vec<Cmd> {
    let now = state.now;
    let seen = state.drawn.shows(Panel::ROLLOUT) && state.stages.live_is_shown() && state.leaving.is_none();
    let quiet = state.switching().is_some() || state.awaits(&Request::Rollout);
    let stage = state.stages.live_mut();
    let rested = stage.feedback.rollout_asked.is_none_or(|at| now.saturating_sub(at) >= BATCH);
    if !seen {
        if rested {
            stage.feedback.rollout_asked = None;
        }
        return Vec::new();
    }
    let told = stage.feedback.rollout.as_ref().map(|r| r.step);
    let newer = stage.step.as_ref().is_some_and(|s| told.is_none_or(|told| told < s.step));
    if !rested || quiet || !newer || stage.is_finished() || stage.feedback.token.is_some() {
        return Vec::new();
    }
    stage.feedback.rollout_asked = Some(now);
    let which = stage.feedback.which;
    requests::send(state, Request::Rollout, Command::ShowRollout { which })
}

/// The answer before or after the one looked at.
pub(crate) fn other_rollout(state: &mut AppState, on: bool) -> Vec<Cmd> {
    let live = state.stages.live_is_shown() && !state.is_finished() && state.switching().is_none();
    let feedback = &mut state.stages.shown_mut().feedback;
    let Some(of) = feedback.rollout.as_ref().map(|r| r.of.max(1)).filter(|_| live) else { return Vec::new() };
    feedback.which = (feedback.which % of + if on { 1 } else { of - 1 }) % of;
    feedback.token = None;
    let which = feedback.which;
    requests::send(state, Request::Rollout, Command::ShowRollout { which })
}

/// Arrows up and down in an answer hold a token and move on from it.
pub(crate) fn move_token(state: &mut AppState, to: Walk) {
    let feedback = &mut state.stages.shown_mut().feedback;
    let Some(last) = feedback.rollout.as_ref().and_then(|r| r.actions.len().checked_sub(1)) else { return };
    feedback.token = Some(match (to, feedback.token) {
        (Walk::Last, _) => last,
        (Walk::First, _) | (_, None) => 0,
        (Walk::Up, Some(at)) => at.saturating_sub(1),
        (Walk::Down, Some(at)) => (at + 1).min(last),
        (_, Some(at)) => at,
    });
}

/// Arrows in the batch hold a token and move on from it.
pub(crate) fn move_spot(state: &mut AppState, to: Walk) {
    let cells = state.drawn.batch_cells.max(2);
    let stage = state.stages.shown_mut();
    let Some(batch) = &stage.batch else { return };
    let Some(spot) = stage.spot else {
        stage.spot = Some(batch.nearest(Spot::default()));
        return;
    };
    stage.spot = Some(match to {
        Walk::Previous | Walk::Next => batch.beside(spot, to == Walk::Next),
        Walk::Up | Walk::Down => batch.below(spot, to == Walk::Down, cells),
        Walk::First | Walk::Last => batch.edge(spot, to == Walk::Last),
        _ => spot,
    });
}
