//! Applies the trainer's events, which concern the live stage.

use super::{data, focus, leaving::close_if_leaving, msg::Cmd, requests::answered, vote};
use crate::base::StageId;
use crate::protocol::{Command, Event, RunInfo, StepReport};
use crate::ui::{
    actions::Act,
    state::{
        AppState, Checkpoint, Ending, Fault, Guard, Level, Overlay, Phase, Question, Request, Rollout, Said, Stage,
        batch::Batch, feedback,
    },
    strings,
    text::{Clean, bytes},
};

pub(crate) fn on_event(state: &mut AppState, event: Event) -> Vec<Cmd> {
    match event {
        Event::Started(info) => return on_started(state, *info),
        Event::Steps(steps) => on_steps(state, steps),
        Event::Eval { step, source, eval_loss, train_loss, .. } => {
            on_eval(state.stages.live_mut(), step, &source, eval_loss, train_loss);
        }
        Event::Reward(r) => {
            let text = strings::reward_figures(state.lang, r.step, 100.0 * r.accuracy, 100.0 * r.by_length);
            state.record(Level::Note, &text);
            state.stages.live_mut().feedback.add_reward(r);
        }
        Event::Policy(p) => {
            if p.task == feedback::ALL {
                let text = strings::policy_figures(state.lang, p.step, p.true_score, p.reward, p.kl);
                state.record(Level::Note, &text);
            }
            state.stages.live_mut().feedback.add_policy(p);
        }
        Event::SanityChecks { checks, .. } => {
            for check in checks.iter().filter(|l| !l.holds) {
                let text = format!("{}  {:.2e} > {:.0e}", check.name, check.value, check.bound);
                state.record(Level::Alert, &text);
            }
            state.stages.live_mut().feedback.checks = checks;
        }
        Event::Guarded { step, reason, checkpoint, may_go_on } => {
            let text = format!("{}: {reason}", state.tr(strings::GUARDED));
            state.record(Level::Alert, &text);
            let (reason, checkpoint) = (Clean::line(&reason), checkpoint.map(|c| Clean::line(&c)));
            state.stages.live_mut().feedback.guard = Some(Guard { step, reason, checkpoint, may_go_on, read: false });
        }
        Event::SetBack { step, until, factor, reason, .. } => {
            let text = strings::set_back(state.lang, step, until, factor, &reason);
            state.record(Level::Alert, &text);
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
        Event::Voted(voted) => vote::on_voted(state, *voted),
        Event::Unvoted { pair, tally } => vote::on_unvoted(state, pair, tally),
        Event::Refitted(refit) => vote::on_refitted(state, refit),
        Event::Task(report) => state.stages.live_mut().add_scores(report),
        // A batch that was on its way must not replace the selected token.
        Event::Batch(batch) if state.live().spot.is_none() => {
            state.stages.live_mut().batch = Some(Batch::new(&batch));
        }
        Event::Batch(_) => {}
        Event::Probe { step, task, prompt, text, expected, matched, length, recall } => {
            let stage = state.stages.live_mut();
            stage.probing = false;
            let task = task.as_deref();
            stage.add_probe(Said {
                step,
                task,
                prompt: &prompt,
                text: &text,
                expected: &expected,
                matched,
                length,
                recall,
            });
        }
        Event::Room(view) => {
            answered(state, &Request::Data);
            state.data.set(*view);
        }
        Event::Edited(edit) => return data::on_edited(state, &edit),
        Event::Broken { step, text } => data::on_broken(state, step, &text),
        Event::Document(view) => {
            answered(state, &Request::Document);
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
                answer.step = Some(step);
                answer.ending = Some(Ending { tokens, seconds, reason: Clean::line(&finish_reason), score });
            }
        }
        Event::Paused { step } => {
            let now = state.now;
            let stage = state.stages.live_mut();
            stage.phase = Phase::Paused;
            stage.paused_since = stage.paused_since.or(Some(now));
            let text = format!("{}  {}", strings::at_step(state.lang, step), state.tr(strings::LOG_PAUSED));
            state.record(Level::State, &text);
        }
        Event::Resumed { step } => {
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
            let text = format!("{}  {}", strings::at_step(state.lang, step), state.tr(strings::LOG_RESUMED));
            state.record(Level::State, &text);
        }
        Event::Saved { step, path, seconds, bytes: n, best } => {
            state.saving = false;
            state.trouble = None;
            let run = state.live().run.as_ref().map(|r| r.info.path.as_path());
            let inside = run.and_then(|run| path.strip_prefix(run).ok()).unwrap_or(&path);
            let mark = if best { state.tr(strings::LOG_BEST) } else { "" };
            let text = format!("{}  {}  {seconds:.1} s{mark}", inside.display(), bytes(n));
            state.record(Level::Save, &text);
            let path = path.display().to_string();
            state.stages.live_mut().saved = Some(Checkpoint { step, path: Clean::line(&path) });
        }
        Event::EndedEarly { step, best, figure, evaluations } => {
            let text = strings::ended_early(state.lang, step, best, figure, evaluations);
            state.record(Level::State, &text);
            state.remark(&text);
        }
        Event::SaveFailed { error, .. } => return on_trouble(state, Fault::Save, &error),
        Event::StoreFailed { error, .. } => return on_trouble(state, Fault::Store, &error),
        Event::Note { text, .. } => state.record(Level::Note, &text),
        Event::Demonstrated { step, count } => on_demonstrated(state, step, count),
        Event::Refused { text } => on_refused(state, &text),
        Event::Finished { step, reason, .. } if reason == "switched" => {
            let now = state.now;
            state.stages.live_mut().rest(now);
            state.saving = false;
            state.chat.end_all();
            state.voting.forget();
            state.requests.retain(|w| matches!(w, Request::Stage(_)));
            let text = format!("{}  {}", strings::at_step(state.lang, step), state.tr(strings::LOG_SWITCHED));
            state.record(Level::State, &text);
        }
        Event::Finished { step, reason, failed, .. } => {
            let words = strings::end_reason(&reason).map_or(reason.as_str(), |r| state.tr(r));
            let text = format!("{}  {}: {words}", strings::at_step(state.lang, step), state.tr(strings::LOG_FINISHED));
            state.record(if failed { Level::Alert } else { Level::State }, &text);
            state.finish(&reason, failed);
            if failed {
                state.trip(Fault::Stage, &reason);
            }
            if matches!(state.overlay, Some(Overlay::Ask { .. })) {
                state.overlay = None;
            }
            return close_if_leaving(state);
        }
    }
    Vec::new()
}

/// A write failed: the stage is paused and still open.
fn on_trouble(state: &mut AppState, fault: Fault, error: &str) -> Vec<Cmd> {
    state.trip(fault, error);
    let words = if fault == Fault::Save { strings::LOG_SAVE_FAILED } else { strings::LOG_STORE_FAILED };
    let text = format!("{}: {error}", state.tr(words));
    state.record(Level::Alert, &text);
    // A pending switch of the stage must be requested again.
    state.requests.retain(|w| !matches!(w, Request::Stage(_)));
    match &state.leaving {
        // A signal requested to quit: there is nobody to ask.
        Some(leaving) if leaving.forced => return vec![Cmd::Send(Command::Stop { save: false })],
        Some(_) => {
            state.leaving = None;
            state.overlay = Some(Overlay::Ask { question: Question::Quit, chosen: 0 });
        }
        None => {}
    }
    Vec::new()
}

fn on_started(state: &mut AppState, info: RunInfo) -> Vec<Cmd> {
    let (path, resumed_at) = (info.path.display().to_string(), info.resumed_at);
    state.chat.manner = info.manner;
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
    let name = state.live().title(state.lang);
    let mut text = format!("{}  {name}  {path}", state.tr(strings::LOG_STARTED));
    if resumed_at > 0 {
        let from = format!("  {} {}", state.tr(strings::LOG_RESUMED_AT), strings::at_step(state.lang, resumed_at));
        text.push_str(&from);
    }
    state.record(Level::State, &text);
    cmds
}

fn on_steps(state: &mut AppState, steps: Vec<StepReport>) {
    state.stages.live_mut().beats += 1;
    for step in steps {
        let stage = state.stages.live_mut();
        stage.loss.push(step.step, step.loss);
        stage.rate.push(step.step, step.learning_rate);
        stage.grad.push(step.step, step.grad_norm);
        stage.speed.push(step.step, step.tokens_per_second);
        stage.feedback.add_metrics(step.step, &step.extra);
        let (at, applied) = (step.step, step.applied);
        stage.step = Some(step);
        if !applied {
            let text = format!("{}  {}", strings::at_step(state.lang, at), state.tr(strings::LOG_SKIPPED));
            state.record(Level::Alert, &text);
        }
    }
}

fn on_eval(stage: &mut Stage, step: usize, source: &str, eval_loss: f64, train_loss: Option<f64>) {
    let Some(run) = &mut stage.run else { return };
    let only = run.info.sources.len() == 1;
    let mut known = false;
    for (raw, shown) in run.info.sources.iter().zip(&mut run.sources) {
        if raw.name == source {
            shown.valid.push(step, eval_loss);
            if let Some(loss) = train_loss {
                shown.train.push(step, loss);
            }
            known = true;
        }
    }
    // The skill of pretraining, measured in a later stage.
    if source == StageId::Pretrain.name() && stage.id != Some(StageId::Pretrain) {
        stage.kept.push(step, eval_loss);
        stage.kept_first = stage.kept_first.or(Some(eval_loss)).filter(|l| l.is_finite());
        return;
    }
    if source == "all" || (only && known && stage.valid.last().is_none_or(|l| l.0 < step)) {
        if only && source == "all" && stage.valid.last().is_some_and(|l| l.0 == step) {
            return;
        }
        stage.valid.push(step, eval_loss);
        if eval_loss.is_finite() && stage.best.is_none_or(|b| eval_loss < b.1) {
            stage.best = Some((step, eval_loss));
        }
    }
}

/// A refusal answers the oldest pending request.
fn on_refused(state: &mut AppState, text: &str) {
    match state.requests.pop_front() {
        // Shown in place of the pair.
        Some(Request::Offer) if state.voting.open => {
            state.voting.refused = Some(Clean::line(text));
            let line = format!("{}: {text}", state.tr(strings::LOG_REFUSED));
            state.record(Level::Alert, &line);
        }
        // Not requested by a key.
        Some(Request::Rollout) => state.record(Level::Note, text),
        Some(Request::Data | Request::Document | Request::NextBatch | Request::Dropped) => {
            data::on_refused(state, text);
        }
        request => {
            if request == Some(Request::Try) {
                state.data.trying = None;
            }
            state.refuse(text);
        }
    }
}

fn on_demonstrated(state: &mut AppState, step: usize, count: usize) {
    state.stages.live_mut().demonstrations = count;
    let at = state.requests.iter().position(|w| matches!(w, Request::Demonstrate(..)));
    if let Some(Request::Demonstrate(target, text)) = at.and_then(|at| state.requests.remove(at)) {
        state.chat.correct(target, &text, step);
    }
    let text = strings::demonstrated(state.lang, count, step);
    state.record(Level::Note, &text);
    state.remark(&text);
}
