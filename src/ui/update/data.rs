//! The data view: selection, changes of weights and thresholds, labels, and the trainer's answers about its data.

use std::time::Duration;

use super::{
    moving::focus,
    msg::Cmd,
    requests::{answered, ask, send},
};
use crate::base::StageId;
use crate::protocol::{Cause, Command, Edit, Find, Trial};
use crate::ui::{
    state::{
        AppState, Both, Change, Level, Panel, Phase, Request, Stage,
        data::{Browse, PAGE, Trying, moved},
        steps::Walk,
    },
    strings,
};

/// Minimum time between two requests for the next batch.
const NEXT: Duration = Duration::from_secs(1);
/// Minimum time between two measurements of a document; each costs the trainer a forward pass.
const MEASURE: Duration = Duration::from_secs(5);

/// Opens the data view of the live stage.
pub(crate) fn open(state: &mut AppState) -> Vec<Cmd> {
    state.voting.open = false;
    state.data.open = true;
    state.stages.show_live();
    focus::enter_data(state);
    ask_all(state)
}

/// Whether the trainer accepts requests about its data now.
fn is_asked(state: &AppState) -> bool {
    let live = state.live();
    let draws = live.id.is_none_or(StageId::draws_text);
    let there = draws && live.run.is_some() && !live.is_finished() && state.switching().is_none();
    state.data.open && there && state.leaving.is_none()
}

/// Requests everything that the data view shows.
pub(crate) fn ask_all(state: &mut AppState) -> Vec<Cmd> {
    if state.live().id.is_some_and(|stage| !stage.draws_text()) {
        // The trainer would refuse, and log that.
        state.data.refused = Some(strings::NO_SOURCES_HERE.into());
        return Vec::new();
    }
    if !is_asked(state) {
        return Vec::new();
    }
    state.data.refused = None;
    if state.data.chosen.is_empty() {
        let first = state.live().run.as_ref().and_then(|r| r.info.sources.first());
        state.data.chosen = first.map(|s| s.name.clone()).unwrap_or_default();
    }
    let mut cmds = ask(state, Request::Data, Command::ShowRoom);
    cmds.extend(ask_next(state));
    cmds.extend(ask_document(state));
    cmds
}

fn ask_next(state: &mut AppState) -> Vec<Cmd> {
    state.data.next_asked = state.now;
    ask(state, Request::NextBatch, Command::ShowNextBatch)
}

fn ask_document(state: &mut AppState) -> Vec<Cmd> {
    if state.data.chosen.is_empty() {
        return Vec::new();
    }
    state.data.document_asked = state.now;
    let (source, index) = (state.data.chosen.clone(), state.data.index);
    // Another document may be on its way; request this one now.
    send(state, Request::Document, Command::ShowDocument { source, index, find: None })
}

/// Requests the next document of the selected source with the text that is looked for, `after` this many.
pub(crate) fn find_document(state: &mut AppState, on: bool, after: usize) -> Vec<Cmd> {
    let Some(text) = state.found_in(Panel::PREVIEW).map(|find| find.field.text().trim().to_owned()) else {
        return Vec::new();
    };
    if text.is_empty() || !is_asked(state) {
        return Vec::new();
    }
    let of = state.data.document.as_ref().map_or(1, |d| d.of.max(1));
    let by = after % of;
    let index = (state.data.index % of + if on { by } else { of - by }) % of;
    state.scroll = 0;
    let (source, find) = (state.data.chosen.clone(), Some(Find { text, back: !on }));
    send(state, Request::Find, Command::ShowDocument { source, index, find })
}

/// Requests over time: the next batch and the document's losses while they are visible and training runs, and the
/// visible page of dropped documents.
pub(crate) fn tick(state: &mut AppState) -> Vec<Cmd> {
    if !is_asked(state) {
        return Vec::new();
    }
    let mut cmds = Vec::new();
    let running = state.live().phase == Phase::Running;
    let (done, now) = (state.live().steps_done(), state.now);
    let data = &state.data;
    let old =
        |step: usize, asked: Duration, every: Duration| running && step < done && now.saturating_sub(asked) >= every;
    // What was refused is requested again by a key or after a change of the data, not by the clock.
    let old = |step, asked, every| data.refused.is_none() && old(step, asked, every);
    let next =
        state.drawn.shows(Panel::NEXT_BATCH) && data.next.as_ref().is_some_and(|n| old(n.step, data.next_asked, NEXT));
    let document = state.drawn.shows(Panel::PREVIEW)
        && data.document.as_ref().is_some_and(|d| old(d.step, data.document_asked, MEASURE));
    if next {
        cmds.extend(ask_next(state));
    }
    if document && !state.awaits(&Request::Document) {
        cmds.extend(ask_document(state));
    }
    cmds.extend(ask_page(state));
    cmds
}

/// Requests the page with the selected dropped document, if it is visible and missing.
fn ask_page(state: &mut AppState) -> Vec<Cmd> {
    let data = &mut state.data;
    let wanted = (data.browse.clone(), data.at - data.at % PAGE);
    let here = data.page.as_ref().is_some_and(|p| (&p.browse, p.from) == (&wanted.0, wanted.1));
    if state.focus != Panel::DROPPED || here || data.page_asked.as_ref() == Some(&wanted) {
        return Vec::new();
    }
    data.page_asked = Some(wanted.clone());
    let (Browse { source, rule }, from) = wanted;
    send(state, Request::Dropped, Command::ShowDropped { source, rule, from, count: PAGE })
}

/// Opens the selection: a source's documents, the threshold on trial, the documents that a rule dropped.
pub(crate) fn open_chosen(state: &mut AppState) -> Vec<Cmd> {
    match state.focus {
        Panel::SOURCES => state.focus_on(Panel::PREVIEW),
        _ if state.data.trying.is_some() => return set_rule(state, false),
        _ => browse(state),
    }
    ask_page(state)
}

/// Raises or lowers the selected source's weight or the selected rule's threshold.
pub(crate) fn change(state: &mut AppState, up: bool) -> Vec<Cmd> {
    if state.focus == Panel::FILTERS { try_rule(state, up) } else { weigh(state, if up { 1 } else { -1 }) }
}

/// Switches between the funnel of all sources and of the selected one.
pub(crate) fn all_sources(state: &mut AppState) -> Vec<Cmd> {
    state.data.all = !state.data.all;
    (state.data.cut, state.data.trying) = (0, None);
    ask_page(state)
}

/// Requests that data and run.toml are read again.
pub(crate) fn reread(state: &mut AppState) -> Vec<Cmd> {
    state.remark(strings::REREADING);
    vec![Cmd::Send(Command::Reread)]
}

/// Shows the documents that the selected rule dropped.
fn browse(state: &mut AppState) {
    let data = &mut state.data;
    let source = if data.all { None } else { Some(data.chosen.clone()) };
    let rule = data.funnel().cuts.get(data.cut).map(|c| c.raw.clone());
    let browse = Browse { source, rule };
    if data.browse != browse {
        (data.browse, data.at, data.page_asked) = (browse, 0, None);
    }
    state.focus_on(Panel::DROPPED);
}

fn weigh(state: &mut AppState, by: i32) -> Vec<Cmd> {
    let Some(run) = &state.live().run else { return Vec::new() };
    let named = run.info.sources.iter().any(|s| s.name == state.data.chosen);
    let chosen = if named { Some(state.data.chosen.clone()) } else { run.info.sources.first().map(|s| s.name.clone()) };
    let Some(source) = chosen else { return Vec::new() };
    send(state, Request::Weigh(source.clone()), Command::Weigh { source, by })
}

/// Tries the next threshold up or down.
fn try_rule(state: &mut AppState, up: bool) -> Vec<Cmd> {
    let data = &mut state.data;
    let Some((cut, bound)) = data.bound() else { return Vec::new() };
    let (source, rule) = (data.chosen.clone(), cut.raw.clone());
    let from = data.trying.as_ref().map_or(bound.threshold, |t| t.threshold);
    let threshold = moved(from, bound.published, up);
    if threshold == from {
        return Vec::new();
    }
    let (back, gone) = (Vec::new(), Vec::new());
    data.trying = Some(Trying { source: source.clone(), rule: rule.clone(), threshold, trial: None, back, gone });
    // A newer trial replaces the previous one, so only one answer is pending.
    if !state.awaits(&Request::Try) {
        state.requests.push_back(Request::Try);
    }
    vec![Cmd::Send(Command::TryRule { source, rule, threshold })]
}

/// Applies the threshold on trial, or resets to the published one.
pub(crate) fn set_rule(state: &mut AppState, published: bool) -> Vec<Cmd> {
    let data = &mut state.data;
    let Some((cut, _)) = data.bound() else { return Vec::new() };
    let (source, rule) = (data.chosen.clone(), cut.raw.clone());
    let threshold = if published { None } else { data.trying.as_ref().map(|t| t.threshold) };
    if published {
        data.trying = None;
    } else if threshold.is_none() || state.awaits(&Request::SetRule) {
        return Vec::new();
    }
    send(state, Request::SetRule, Command::SetRule { source, rule, threshold })
}

/// Labels the visible text as wanted or unwanted, or removes the label.
pub(crate) fn mark(state: &mut AppState, keep: Option<bool>) -> Vec<Cmd> {
    let Some(text) = state.marked_text().map(str::to_owned) else { return Vec::new() };
    send(state, Request::Mark(text.clone(), keep), Command::Mark { text, keep })
}

/// Moves the selection in a panel of the data view; None if no such panel has the focus.
pub(crate) fn walk(state: &mut AppState, to: Walk) -> Option<Vec<Cmd>> {
    let sideways = matches!(to, Walk::Previous | Walk::Next);
    match state.focus {
        Panel::SOURCES | Panel::PREVIEW if sideways => return Some(other_document(state, to == Walk::Next)),
        Panel::MIX if sideways => return None,
        Panel::SOURCES | Panel::MIX => {
            let names: Vec<String> = match &state.live().run {
                Some(_) if !state.data.sources.is_empty() => {
                    state.data.sources.iter().map(|s| s.raw.name.clone()).collect()
                }
                Some(run) => run.info.sources.iter().map(|s| s.name.clone()).collect(),
                None => Vec::new(),
            };
            let at = names.iter().position(|n| *n == state.data.chosen).unwrap_or(0);
            let name = names.get(to.from(at, names.len().saturating_sub(1)))?;
            return Some(choose(state, name));
        }
        Panel::FILTERS if sideways => {}
        Panel::FILTERS => {
            let most = state.data.funnel().cuts.len().saturating_sub(1);
            let cut = to.from(state.data.cut, most);
            if cut != state.data.cut {
                (state.data.cut, state.data.trying) = (cut, None);
            }
        }
        Panel::DROPPED => {
            let of = state.data.page.as_ref().filter(|p| p.browse == state.data.browse).map_or(0, |p| p.of);
            state.data.at = to.from(state.data.at, of.saturating_sub(1));
            return Some(ask_page(state));
        }
        Panel::CHAT | Panel::LOG => return None,
        // The other panels scroll from their beginning.
        _ if state.data.open => {
            let limit = state.drawn.scroll_limit;
            state.scroll = to.from(state.scroll.min(limit), limit);
        }
        _ => return None,
    }
    Some(Vec::new())
}

/// Selects another source.
fn choose(state: &mut AppState, name: &str) -> Vec<Cmd> {
    let data = &mut state.data;
    if data.chosen == name {
        return Vec::new();
    }
    name.clone_into(&mut data.chosen);
    (data.cut, data.index, data.trying, data.document) = (0, 0, None, None);
    if is_asked(state) { ask_document(state) } else { Vec::new() }
}

/// Selects the next or previous document.
fn other_document(state: &mut AppState, on: bool) -> Vec<Cmd> {
    let Some(of) = state.data.document.as_ref().map(|d| d.of.max(1)) else { return Vec::new() };
    if state.found_in(Panel::PREVIEW).is_some() {
        return find_document(state, on, 1);
    }
    state.data.index = (state.data.index % of + if on { 1 } else { of - 1 }) % of;
    if state.focus == Panel::PREVIEW {
        state.scroll = 0;
    }
    if is_asked(state) { ask_document(state) } else { Vec::new() }
}

/// Goes back one level in the data view; returns whether there was one.
pub(crate) fn back(state: &mut AppState) -> bool {
    if !state.data.open {
        return false;
    }
    if state.data.trying.take().is_some() {
        return true;
    }
    if state.expanded || !matches!(state.focus, Panel::DROPPED | Panel::PREVIEW) {
        return false;
    }
    let to = if state.focus == Panel::DROPPED { Panel::FILTERS } else { Panel::SOURCES };
    state.focus_on(to);
    true
}

/// A change is on disk.
pub(crate) fn on_edited(state: &mut AppState, edit: &Edit) -> Vec<Cmd> {
    let now = state.now;
    if matches!(edit.cause, Cause::Key | Cause::Config) {
        // Several key presses may be one change; a threshold is read back from run.toml.
        if state.awaits(&Request::SetRule) {
            state.data.trying = None;
        }
        state.requests.retain(|w| !matches!(w, Request::Weigh(_) | Request::SetRule));
    }
    let time = state.event_time();
    state.stages.live_mut().edit(edit, now, time);
    // The page of dropped documents is outdated.
    (state.data.page, state.data.page_asked) = (None, None);
    state.data.refused = None;
    let mut cmds = Vec::new();
    if is_asked(state) {
        cmds.extend(ask_next(state));
        cmds.extend(ask_document(state));
        cmds.extend(ask_page(state));
    }
    cmds
}

/// An edit cannot be used.
pub(crate) fn on_broken(stage: &mut Stage, at: Option<f64>, step: usize, text: &str) {
    let text = Both::trainer(text);
    stage.change(Change { at, step, cause: None, text, seconds: None, replayed: false });
}

/// Counts of a trial arrived.
pub(crate) fn on_tried(state: &mut AppState, trial: Trial) {
    if state.data.trying.as_mut().is_some_and(|t| t.accept(trial)) {
        answered(state, &Request::Try);
    }
}

/// A label is on disk.
pub(crate) fn on_marked(state: &mut AppState, keep: usize, drop: usize) {
    state.data.marks = Some((keep, drop));
    let at = state.requests.iter().position(|w| matches!(w, Request::Mark(..)));
    if let Some(Request::Mark(text, keep)) = at.and_then(|at| state.requests.remove(at)) {
        state.data.say(&text, keep);
    }
}

/// A request for data was refused. It was not made by a key, so the reason is shown in place of the data.
pub(crate) fn on_refused(state: &mut AppState, text: &str) {
    let text = Both::trainer(text);
    if state.data.refused.as_ref() != Some(&text) {
        state.record(Level::Note, text.clone());
    }
    state.data.refused = Some(text);
}
