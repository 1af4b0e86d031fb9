//! Viewing a stage, switching to it, and requesting the batch of the live one.

use std::time::Duration;

use super::{moving::focus, msg::Cmd, requests};
use crate::ui::{
    state::{AppState, Both, Level, Overlay, Panel, Phase, Question, Request, batch::Spot, steps::Walk},
    strings,
};
use crate::{base::StageId, protocol::Command};

/// Minimum time between two batches.
const BATCH: Duration = Duration::from_secs(1);

/// Views a stage. Nothing else changes.
pub(crate) fn view(state: &mut AppState, stage: StageId) {
    (state.voting.open, state.data.open, state.tree.open) = (false, false, false);
    if state.shown().id != Some(stage) {
        state.close_film();
    }
    state.stages.show(stage);
    focus::keep(state);
}

/// Views an alignment stage; the next one if one is in view.
pub(crate) fn view_aligned(state: &mut AppState) {
    // Returning from voting or the data view is not advancing.
    let back = (state.voting.open || state.data.open) && state.shown().aligns();
    let stage = if back { state.shown().id } else { state.stages.next_aligned() };
    if let Some(stage) = stage {
        view(state, stage);
    }
}

/// Pauses or resumes training.
pub(crate) fn pause(state: &mut AppState) -> Vec<Cmd> {
    let live = state.stages.live_mut();
    let paused = live.is_paused();
    if paused && live.is_complete() {
        state.remark(strings::COMPLETE_HERE);
        return Vec::new();
    }
    live.phase = if paused { Phase::Resuming } else { Phase::Pausing };
    vec![Cmd::Send(if paused { Command::Resume } else { Command::Pause })]
}

/// Takes some steps while paused, then pauses again.
pub(crate) fn take_steps(state: &mut AppState, steps: usize) -> Vec<Cmd> {
    requests::send(state, Request::Steps, Command::Step { steps })
}

/// Saves the live stage and opens it again.
pub(crate) fn reopen(state: &mut AppState) -> Vec<Cmd> {
    let Some(stage) = state.live().id else { return Vec::new() };
    requests::send(state, Request::Stage(stage), Command::Reopen)
}

/// A key of run.toml was set.
pub(crate) fn on_set(state: &mut AppState, key: &str, waits: bool) -> Vec<Cmd> {
    let at = state.requests.iter().position(|r| matches!(r, Request::Set { .. }));
    let request = at.and_then(|at| state.requests.remove(at));
    if waits && request == Some(Request::Set { reopens: true }) {
        state.record(Level::Edit, Both::new(|lang| strings::set_reopens(lang, key)));
        return reopen(state);
    }
    state.remark(Both::new(|lang| if waits { strings::set_waits(lang, key) } else { strings::set_now(lang, key) }));
    Vec::new()
}

/// Requests a checkpoint, unless one is pending.
pub(crate) fn save(state: &mut AppState) -> Vec<Cmd> {
    if std::mem::replace(&mut state.saving, true) { Vec::new() } else { vec![Cmd::Send(Command::Save)] }
}

/// Requests the probes, unless one is pending.
pub(crate) fn probe(state: &mut AppState) -> Vec<Cmd> {
    let asked = std::mem::replace(&mut state.stages.live_mut().probing, true);
    if asked { Vec::new() } else { vec![Cmd::Send(Command::Probe)] }
}

/// Trains the stage in view; asks first if another one is live.
pub(crate) fn go(state: &mut AppState) -> Vec<Cmd> {
    let Some(stage) = state.shown().id else { return Vec::new() };
    if state.reopens() {
        return switch(state, stage);
    }
    if state.stages.live_is_shown() {
        state.stages.live_mut().phase = Phase::Resuming;
        return vec![Cmd::Send(Command::Resume)];
    }
    if let Some(first) = untrained(state, stage) {
        state.remark(Both::new(|lang| strings::train_first(lang, stage, first)));
        return Vec::new();
    }
    state.overlay = Some(Overlay::Ask { question: Question::Switch(stage), chosen: 0 });
    Vec::new()
}

/// A stage of which another one needs a checkpoint to begin, and that has none and is not the live one, which is saved
/// first.
fn untrained(state: &AppState, wanted: StageId) -> Option<StageId> {
    let without = |id: StageId| {
        let known = state.stages.all().iter().find(|s| s.id == Some(id));
        state.live().id != Some(id) && known.is_some_and(|s| s.start_step.is_none() && s.saved.is_none())
    };
    [wanted.parent(), wanted.needs()].into_iter().flatten().find(|first| without(wanted) && without(*first))
}

/// Leaves the live stage for another.
pub(crate) fn switch(state: &mut AppState, stage: StageId) -> Vec<Cmd> {
    requests::send(state, Request::Stage(stage), Command::Stage { stage })
}

/// Requests the newest batch when its panel becomes visible and then once per second during training, unless a token is
/// selected.
pub(crate) fn ask_batch(state: &mut AppState) -> Vec<Cmd> {
    let now = state.now;
    let seen = state.drawn.shows(Panel::BATCH) && state.stages.live_is_shown() && state.leaving.is_none();
    let quiet = state.switching().is_some();
    let stage = state.stages.live_mut();
    let rested = stage.batch_asked.is_none_or(|at| now.saturating_sub(at) >= BATCH);
    if !seen {
        // Hidden: request at once when it becomes visible, but not within a second of the last request.
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

/// Requests an answer of the newest update when its panel becomes visible and then once per second during training,
/// unless a token is selected.
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
    // Neither an answer nor a refusal of this step changes before the next.
    let known = stage.feedback.rollout.as_ref().map(|r| r.step).max(stage.feedback.rollout_refused);
    let newer = stage.step.as_ref().is_some_and(|s| known.is_none_or(|known| known < s.step));
    // The trainer keeps no answers of earlier launches.
    let newer = newer && stage.stepped;
    if !rested || quiet || !newer || stage.is_finished() || stage.feedback.token.is_some() {
        return Vec::new();
    }
    stage.feedback.rollout_asked = Some(now);
    let which = stage.feedback.which;
    requests::send(state, Request::Rollout, Command::ShowRollout { which })
}

/// Selects the next or previous answer.
pub(crate) fn other_rollout(state: &mut AppState, on: bool) -> Vec<Cmd> {
    let live = state.stages.live_is_shown() && !state.is_finished() && state.switching().is_none();
    let feedback = &mut state.stages.shown_mut().feedback;
    let Some(of) = feedback.rollout.as_ref().map(|r| r.of.max(1)).filter(|_| live) else { return Vec::new() };
    feedback.which = (feedback.which % of + if on { 1 } else { of - 1 }) % of;
    feedback.token = None;
    let which = feedback.which;
    requests::send(state, Request::Rollout, Command::ShowRollout { which })
}

/// Up and down in an answer select a token and move from it.
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

/// Arrows in the batch select a token and move from it.
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
