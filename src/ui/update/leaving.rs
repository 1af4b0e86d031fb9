//! Stopping an answer, closing overlays, and leaving.

use super::{config, data, moving::find, msg::Cmd, talk};
use crate::protocol::Command;
use crate::ui::{
    state::{AppState, Exchange, Fault, Leaving, Level, Mode, Overlay, Panel, Phase, Question},
    strings,
    text::grouped,
};

/// Ctrl-C: stops the answer, clears the field or closes what is open; otherwise asks; while asking, saves and quits;
/// while quitting, quits at once.
pub(crate) fn interrupt(state: &mut AppState) -> Vec<Cmd> {
    if state.leaving.is_some() {
        return vec![Cmd::Abandon];
    }
    match state.overlay.take() {
        Some(Overlay::Ask { question: Question::Quit, .. }) => return leave(state, true, false),
        Some(_) => return Vec::new(),
        None => {}
    }
    if state.mode() == Mode::Find {
        find::forget(state);
        return Vec::new();
    }
    if talk::close_edit(state) || state.tree.naming.take().is_some() {
        return Vec::new();
    }
    // An answer and those beside it count as one.
    let writing = |e: &&Exchange| e.answers().any(|a| a.ending.is_none());
    if let Some(exchange) = state.chat.exchanges.iter().find(writing) {
        let unfinished = exchange.answers().filter(|a| a.ending.is_none());
        return unfinished.map(|a| Cmd::Send(Command::Cancel { id: a.id })).collect();
    }
    if state.typing {
        let field = if state.voting.open { &mut state.voting.field } else { &mut state.field };
        if field.is_empty() {
            state.typing = false;
        } else {
            field.clear();
        }
        return Vec::new();
    }
    ask_to_quit(state)
}

/// Esc: goes back one level; a stage that is being opened is given up first.
pub(crate) fn back(state: &mut AppState) -> Vec<Cmd> {
    if state.gives_up() {
        state.remark(strings::GIVING_UP);
        return vec![Cmd::GiveUp];
    }
    one_level(state);
    Vec::new()
}

/// Goes back one level; messages are closed first.
fn one_level(state: &mut AppState) {
    if config::clear_filter(state) {
        return;
    }
    let plain = state.overlay.is_none() && !state.tree.open && !state.voting.open;
    if plain && state.mode() == Mode::Find {
        find::forget(state);
        return;
    }
    // A refusal is closed first.
    let refused = state.notice.as_ref().is_some_and(|n| n.1 == Level::Alert);
    if state.overlay.take().is_some() || refused && state.notice.take().is_some() || talk::close_edit(state) {
        return;
    }
    if let Some(trouble) = state.trouble.as_mut().filter(|t| !t.read) {
        trouble.read = true;
        return;
    }
    if let Some(guard) = state.stages.live_mut().feedback.guard.as_mut().filter(|g| !g.read) {
        guard.read = true;
        return;
    }
    if plain && !state.typing && find::forget(state) {
        return;
    }
    if state.tree.back() {
        // The typed line first, then the tree.
    } else if state.close_film() {
        // The film before what lies below it.
    } else if state.typing {
        state.typing = false;
    } else if state.voting.open {
        state.voting.open = false;
    } else if data::back(state) {
        // Only one level at a time.
    } else if state.focus == Panel::BATCH && state.shown().spot.is_some() {
        state.stages.shown_mut().spot = None;
    } else if state.focus == Panel::ROLLOUT && state.shown().feedback.token.is_some() {
        state.stages.shown_mut().feedback.token = None;
    } else if state.chat.picked.is_some() {
        state.chat.picked = None;
    } else if state.has_charts() && state.shown().charts.cursor.is_some() {
        state.crosshair();
    } else {
        state.expanded = false;
    }
}

pub(crate) fn ask_to_quit(state: &mut AppState) -> Vec<Cmd> {
    if state.is_finished() {
        return vec![Cmd::Close];
    }
    if state.is_read_only() {
        return leave(state, false, false);
    }
    if state.leaving.is_none() {
        state.overlay = Some(Overlay::Ask { question: Question::Quit, chosen: 0 });
    }
    Vec::new()
}

pub(crate) fn leave(state: &mut AppState, save: bool, forced: bool) -> Vec<Cmd> {
    if state.is_finished() {
        return vec![Cmd::Close];
    }
    state.overlay = None;
    state.typing = false;
    state.voting.open = false;
    if let Some(edit) = &mut state.chat.edit {
        edit.open = false;
    }
    if let Some(leaving) = &mut state.leaving {
        leaving.forced |= forced;
        return Vec::new();
    }
    let save = save && !state.is_read_only();
    state.leaving = Some(Leaving { save, since: state.now, forced });
    vec![Cmd::Send(Command::Stop { save })]
}

/// The terminal has closed: answers that nobody reads are cancelled, and the training continues.
pub(crate) fn hang_up(state: &mut AppState) -> Vec<Cmd> {
    (state.overlay, state.typing) = (None, false);
    state.record(Level::State, strings::LOG_HUNG_UP);
    state.chat.answering().map(|answer| Cmd::Send(Command::Cancel { id: answer.id })).collect()
}

/// Whether no step would follow without a user: the stage is paused, complete, stopped or only looked at.
pub(crate) fn has_nothing_to_train(state: &AppState) -> bool {
    let live = state.live();
    let trains = matches!(live.phase, Phase::Starting | Phase::Running | Phase::Resuming);
    state.is_read_only() || !trains && state.switching().is_none()
}

pub(crate) fn close_if_leaving(state: &AppState) -> Vec<Cmd> {
    let unsaved = state.trouble.as_ref().is_some_and(|t| t.fault != Fault::Stage);
    match &state.leaving {
        // A failed save keeps the screen open, unless a signal requested to quit. Then no other run is opened.
        Some(leaving) if leaving.forced || !leaving.save || !unsaved => vec![Cmd::Close],
        _ => Vec::new(),
    }
}

/// Lines for the shell after the screen has closed.
pub fn summary(state: &AppState) -> Vec<String> {
    let stage = state.live();
    let Some(run) = &stage.run else { return Vec::new() };
    let glyphs = state.glyph_set.glyphs();
    // Of a training elsewhere the plan may be unknown.
    let planned = if run.info.steps > 0 { grouped(run.info.steps as u64) } else { "-".to_owned() };
    let mut facts = vec![
        format!("{} {} {}", run.name, glyphs.dot, stage.title(state.lang)),
        format!("{} {} / {planned}", state.tr(strings::STEP), grouped(stage.steps_done() as u64)),
    ];
    // The loss of a policy says nothing; its scores do.
    if stage.aligns() {
        if let Some(p) = stage.feedback.policy.last() {
            facts.push(strings::policy_figures(state.lang, p.step, p.true_score, p.reward, p.kl));
        }
    } else if let Some(r) = &stage.feedback.reward {
        facts.push(strings::reward_figures(state.lang, r.step, 100.0 * r.accuracy, 100.0 * r.by_length));
    } else if let Some(loss) = stage.loss.smoothed(state.smoothing) {
        facts.push(format!("{} {loss:.4}", state.tr(strings::SUMMARY_LOSS)));
    }
    if let Some((_, loss)) = stage.valid.last() {
        facts.push(format!("{} {loss:.4}", state.tr(strings::VALID)));
    }
    let mut lines = vec![facts.join("  ")];
    for task in &stage.tasks {
        if let Some(newest) = &task.newest {
            let name = glyphs.arrows(task.name(state.lang));
            lines.push(format!(
                "{name}  {} {:.1}%  F1 {:.1}%",
                state.tr(strings::EXACT),
                100.0 * newest.exact_match,
                100.0 * newest.char_f1
            ));
        }
    }
    for probe in &stage.probes {
        if let Some(entry) = probe.entries.last() {
            let gap = if probe.task(state.lang).is_some() { "  " } else { "" };
            lines.push(format!("{}{gap}{}  {}/{}", probe.prompt, entry.text, entry.score, probe.length));
        }
    }
    if let Some(saved) = &stage.saved {
        lines.push(format!("{} {}", state.tr(strings::SUMMARY_CHECKPOINT), saved.path));
    }
    if let Phase::Finished { reason, failed: true } = &stage.phase {
        lines.push(strings::labelled(state.lang, strings::FAILED, &strings::trainer(state.lang, reason)));
    }
    if stage.unsaved_steps() > 0 && !state.is_read_only() {
        lines.push(strings::lost(state.lang, stage.unsaved_steps()));
    }
    lines
}
