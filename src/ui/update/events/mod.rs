//! Applies the trainer's events, which concern the live stage.

mod log;
mod measured;
mod past;

use self::measured::measured;
use super::{data, leaving::close_if_leaving, moving::focus, msg::Cmd, requests::answered, stages, tree, vote};
use crate::protocol::{Command, Event, Follows, RunInfo, Watching};
use crate::ui::{
    actions::Act,
    state::{
        AppState, Both, Checkpoint, Ending, Fault, Guard, Level, LogLine, Mode, Overlay, Phase, Question, Request,
        Rollout, batch::Batch, config, refusal,
    },
    strings,
    text::Clean,
};

pub(crate) fn on_event(state: &mut AppState, event: Event) -> Vec<Cmd> {
    let stage = if let Event::Started(info) = &event { Some(info.stage) } else { state.live().id };
    let place = stage.zip(log::step(&event));
    // That a training elsewhere is over is said when it ends; at the start the past says it.
    let told = match (&event, &state.watching) {
        (Event::Watching(new), old) => old.as_ref().is_none_or(|old| new.state == old.state),
        _ => false,
    };
    for (level, text) in log::lines(stage, &event).into_iter().filter(|_| !told) {
        let at = Some(state.event_time());
        let place = place.or_else(|| stage.map(|stage| (stage, state.live().steps_done())));
        state.log_line(LogLine { at, level, place, text });
    }
    let asked = if let Event::Probe { recall: true, prompt, .. } = &event { Some(prompt.clone()) } else { None };
    let Some(event) = measured(state.stages.live_mut(), event) else {
        if let Some(prompt) = asked {
            on_recalled(state, &prompt);
        }
        return Vec::new();
    };
    match event {
        Event::Started(info) => return on_started(state, *info),
        Event::Past(past) => past::on_past(state, *past),
        Event::Watching(watching) => on_watching(state, watching),
        Event::Clock(time) => state.film_time = time,
        Event::Opening(work) => state.opening = Some(work),
        Event::Guarded { step, reason, checkpoint, may_go_on } => {
            let (reason, checkpoint) = (Both::trainer(&reason), checkpoint.map(|c| Clean::line(&c)));
            state.stages.live_mut().feedback.guard = Some(Guard { step, reason, checkpoint, may_go_on, read: false });
        }
        Event::Rollout(rollout) => {
            answered(state, &Request::Rollout);
            let feedback = &mut state.stages.live_mut().feedback;
            // Keep the selected token.
            if feedback.token.is_none() {
                feedback.rollout = Some(Rollout::new(&rollout));
            }
        }
        Event::Offered(offer) => vote::on_offered(state, *offer),
        Event::Voted { vote, tally } => vote::on_voted(state, *vote, tally),
        Event::Unvoted { pair, tally } => vote::on_unvoted(state, pair, tally),
        Event::Counted(tally) => state.voting.count(*tally),
        Event::Refitted(refit) => vote::on_refitted(state, refit),
        // A batch that was on its way must not replace the selected token.
        Event::Batch(batch) if state.live().spot.is_none() => {
            state.stages.live_mut().batch = Some(Batch::new(&batch));
        }
        Event::Room(view) => {
            answered(state, &Request::Data);
            state.data.set(*view);
        }
        Event::Edited(edit) => return data::on_edited(state, &edit),
        Event::Broken { step, text } => {
            let at = Some(state.event_time());
            data::on_broken(state.stages.live_mut(), at, step, &text);
        }
        Event::Document(view) => {
            // Both are answered by a document, in order.
            let at = state.requests.iter().position(|r| matches!(r, Request::Document | Request::Find));
            at.map(|at| state.requests.remove(at));
            state.data.show(&view);
        }
        Event::NextBatch(batch) => {
            answered(state, &Request::NextBatch);
            state.data.next = Some(Batch::new(&batch));
        }
        Event::Dropped(view) => {
            answered(state, &Request::Dropped);
            state.data.turn(*view);
        }
        Event::Tried(trial) => data::on_tried(state, *trial),
        Event::Marked { keep, drop } => data::on_marked(state, keep, drop),
        Event::Manner(manner) => state.chat.manner = manner,
        Event::Config(settings) => state.config = config::keys(settings),
        Event::PromptCut { id, left_out } => {
            if let Some(answer) = state.chat.answer_mut(id) {
                answer.left_out = left_out;
            }
        }
        Event::PromptText { id, text, step } => {
            if let Some(answer) = state.chat.answer_mut(id) {
                answer.push(&text, step);
            }
        }
        Event::PromptDone { id, step, tokens, seconds, finish_reason, score } => {
            if let Some(answer) = state.chat.answer_mut(id) {
                answer.step = step;
                answer.ending = Some(Ending { tokens, seconds, reason: Clean::line(&finish_reason), score });
            }
        }
        Event::Paused { .. } => {
            let now = state.now;
            let stage = state.stages.live_mut();
            let trained = matches!(stage.phase, Phase::Running | Phase::Pausing);
            stage.phase = Phase::Paused;
            stage.paused_since = stage.paused_since.or(Some(now));
            // Not over what the user is doing.
            if trained && state.live().is_complete() && !state.is_read_only() {
                state.card_waits = true;
                show_card(state);
            }
        }
        Event::Resumed { .. } => {
            state.card_waits = false;
            answered(state, &Request::Steps);
            let now = state.now;
            let stage = state.stages.live_mut();
            stage.phase = Phase::Running;
            stage.feedback.guard = None;
            if let Some(since) = stage.paused_since.take() {
                stage.paused_for += now.saturating_sub(since);
            }
            // The obstacle is gone; only a failed save still has to be repeated.
            state.trouble.take_if(|t| t.fault != Fault::Save);
            state.trouble.iter_mut().for_each(|t| t.read = true);
        }
        Event::Saved { step, path, .. } => {
            state.saving = false;
            state.trouble = None;
            let path = path.display().to_string();
            state.stages.live_mut().saved = Some(Checkpoint { step, path: Clean::line(&path) });
        }
        Event::EndedEarly { step, best, figure, evaluations } => {
            state.remark(Both::new(|lang| strings::ended_early(lang, step, best, figure, evaluations)));
        }
        Event::SaveFailed { error, .. } => return on_trouble(state, Fault::Save, &error),
        Event::StoreFailed { error, .. } => return on_trouble(state, Fault::Store, &error),
        Event::Demonstrated { step, count } => on_demonstrated(state, step, count),
        Event::Runs { runs, unread } => tree::on_runs(state, runs, unread),
        Event::Trained(runs) => tree::on_trained(state, &runs),
        Event::Compared(comparison) => tree::on_compared(state, *comparison),
        Event::Inspected(inspection) => tree::on_inspected(state, *inspection),
        Event::Forked { path, open, notes } => return tree::on_forked(state, path, open, notes),
        Event::Cared { care, freed } => return tree::on_cared(state, &care, freed),
        Event::Set { key, waits } => return stages::on_set(state, &key, waits),
        Event::Exported { path } => {
            answered(state, &Request::Export);
            let path = path.display().to_string();
            let text = Both::new(|lang| format!("{}: {path}", strings::EXPORTED.get(lang)));
            state.record(Level::Note, text.clone());
            state.remark(text);
        }
        Event::Refused { text } => on_refused(state, &text),
        // A film goes on to the next stage, or to what another process adds; it ends with the screen.
        Event::Finished { reason, .. } if reason == "switched" || plays(state) => {
            let now = state.now;
            state.stages.live_mut().rest(now);
            state.saving = false;
            state.chat.end_all();
            state.voting.forget();
            state.requests.retain(|w| matches!(w, Request::Stage(_)));
        }
        Event::Finished { reason, failed, .. } => {
            state.finish(&reason, failed);
            if failed {
                state.trip(Fault::Stage, &reason);
            }
            if matches!(state.overlay, Some(Overlay::Ask { .. })) {
                state.overlay = None;
            }
            return close_if_leaving(state);
        }
        _ => {}
    }
    Vec::new()
}

/// Whether a film plays that nobody has left.
fn plays(state: &AppState) -> bool {
    state.is_read_only() && !state.is_watched() && state.leaving.is_none()
}

/// A write failed: the stage is paused and still open.
fn on_trouble(state: &mut AppState, fault: Fault, error: &str) -> Vec<Cmd> {
    state.trip(fault, error);
    // A pending switch of the stage must be requested again.
    state.requests.retain(|w| !matches!(w, Request::Stage(_)));
    match &state.leaving {
        // A signal requested to quit: there is nobody to ask.
        Some(leaving) if leaving.forced => return vec![Cmd::Send(Command::Stop { save: false })],
        Some(_) => {
            // What is asked now is whether to quit, not whether to open another run.
            (state.leaving, state.tree.next) = (None, None);
            state.overlay = Some(Overlay::Ask { question: Question::Quit, chosen: 0 });
        }
        None => {}
    }
    Vec::new()
}

/// The log of a training elsewhere grows, rests, or has ended.
fn on_watching(state: &mut AppState, watching: Watching) {
    let before = state.watching.as_ref().map(|w| &w.state);
    let other = before != Some(&watching.state);
    let stage = state.stages.live_mut();
    if other && stage.run.is_some() {
        stage.phase = if watching.state == Follows::Lines { Phase::Running } else { Phase::Paused };
    }
    state.watching = Some(watching);
}

/// Shows the card of the live stage that was completed, once the user is not doing anything else.
pub(crate) fn show_card(state: &mut AppState) {
    let free = state.mode() == Mode::Nav && state.stages.live_is_shown() && state.leaving.is_none();
    if state.card_waits && free {
        state.card_waits = false;
        state.overlay = Some(Overlay::Card);
    }
}

fn on_started(state: &mut AppState, info: RunInfo) -> Vec<Cmd> {
    state.card_waits = false;
    state.chat.manner = info.manner;
    state.opening = None;
    state.requests.retain(|w| !matches!(w, Request::Stage(_)));
    state.trouble.take_if(|t| t.fault == Fault::Stage);
    state.stages.begin(info, state.now);
    focus::keep(state);
    state.data.forget();
    // Voting continues with answers of the new stage, if it answers prompts.
    let mut cmds = data::ask_all(state);
    if std::mem::take(&mut state.voting.open) && Act::Vote.row().is_enabled(state) {
        cmds.extend(vote::open(state));
    }
    cmds
}

/// The newest completion of this probe may be the first one that recalls everything.
fn on_recalled(state: &mut AppState, prompt: &str) {
    if let Some((_, text)) = past::recalled(state.live(), prompt) {
        state.record(Level::Recall, text.clone());
        state.remark(text);
    }
}

/// A refusal answers the oldest pending request.
fn on_refused(state: &mut AppState, text: &str) {
    state.opening = None;
    if state.is_read_only() {
        // At the end of a replay no key pauses or resumes.
        let live = state.stages.live_mut();
        if matches!(live.phase, Phase::Pausing | Phase::Resuming) {
            live.phase = Phase::Paused;
        }
    }
    match state.requests.pop_front() {
        // Shown in place of the pair.
        Some(Request::Offer) if state.voting.open => {
            let why = Both::trainer(text);
            state.record(Level::Alert, refusal(&why));
            state.voting.refused = Some(why);
        }
        // Not requested by a key: the panel says when there will be one.
        Some(Request::Rollout) => {
            let stage = state.stages.live_mut();
            stage.feedback.rollout_refused = Some(stage.steps_done());
        }
        Some(Request::Data | Request::Document | Request::NextBatch | Request::Dropped) => {
            data::on_refused(state, text);
        }
        request => {
            if request == Some(Request::Try) {
                state.data.trying = None;
            }
            state.refuse(Both::trainer(text));
        }
    }
}

fn on_demonstrated(state: &mut AppState, step: usize, count: usize) {
    state.stages.live_mut().demonstrations = count;
    let at = state.requests.iter().position(|w| matches!(w, Request::Demonstrate(..)));
    if let Some(Request::Demonstrate(target, text)) = at.and_then(|at| state.requests.remove(at)) {
        state.chat.correct(target, &text, step);
    }
    state.remark(Both::new(|lang| strings::demonstrated(lang, count, step)));
}
