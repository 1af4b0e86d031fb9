//! The data room: what is looked at there, weights and bounds that are moved, marks; and what the trainer tells
//! of its data.

use std::time::Duration;

use super::{Cmd, PAGE as ROWS, focus, pick::answered, stages};
use crate::protocol::{Cause, Command, Edit, Trial};
use crate::ui::{
    actions::Act,
    state::{
        AppState, Change, Level, Panel, Phase, Wish,
        room::{Browse, PAGE, Trying, moved},
    },
    strings,
    text::Clean,
};

/// At least this between two looks at the next batch.
const NEXT: Duration = Duration::from_secs(1);
/// At least this between two measurements of a document: each costs the trainer a forward pass.
const MEASURE: Duration = Duration::from_secs(5);

/// Looks at the data of the stage that has the trainer.
fn open(state: &mut AppState) -> Vec<Cmd> {
    state.pick.open = false;
    state.room.open = true;
    let live = state.live().name.clone();
    state.stages.show(&live);
    stages::keep_focus(state);
    ask_all(state)
}

/// Whether the trainer can be asked now.
fn hears(state: &AppState) -> bool {
    let live = state.live();
    let there = live.run.is_some() && !live.is_finished() && state.switching().is_none();
    state.room.open && there && state.leaving.is_none()
}

/// Asks, unless it is asked already.
fn ask(state: &mut AppState, wish: Wish, command: Command) -> Option<Cmd> {
    if state.awaits(&wish) {
        return None;
    }
    state.wishes.push_back(wish);
    Some(Cmd::Send(command))
}

/// Asks for all that stands in the room.
pub(super) fn ask_all(state: &mut AppState) -> Vec<Cmd> {
    if !hears(state) {
        return Vec::new();
    }
    if state.room.chosen.is_empty() {
        let first = state.live().run.as_ref().and_then(|r| r.info.sources.first());
        state.room.chosen = first.map(|s| s.name.clone()).unwrap_or_default();
    }
    let mut cmds: Vec<Cmd> = ask(state, Wish::Room, Command::ShowRoom).into_iter().collect();
    cmds.extend(ask_next(state));
    cmds.extend(ask_document(state));
    cmds
}

fn ask_next(state: &mut AppState) -> Option<Cmd> {
    state.room.next_asked = state.now;
    ask(state, Wish::NextBatch, Command::ShowNextBatch)
}

fn ask_document(state: &mut AppState) -> Option<Cmd> {
    if state.room.chosen.is_empty() {
        return None;
    }
    state.room.document_asked = state.now;
    let (source, index) = (state.room.chosen.clone(), state.room.index);
    // Another document may be on its way; this one is wanted now.
    state.wishes.push_back(Wish::Document);
    Some(Cmd::Send(Command::ShowDocument { source, index }))
}

/// As time goes by: the next batch and the document's losses while they are in sight and steps are made, and the
/// page of dropped documents that is looked at.
pub(super) fn tick(state: &mut AppState) -> Vec<Cmd> {
    if !hears(state) {
        return Vec::new();
    }
    let mut cmds = Vec::new();
    let running = state.live().phase == Phase::Running;
    let (done, now) = (state.live().steps_done(), state.now);
    let room = &state.room;
    let old =
        |told: usize, asked: Duration, every: Duration| running && told < done && now.saturating_sub(asked) >= every;
    let next = room.next_seen.get() && room.next.as_ref().is_some_and(|n| old(n.step, room.next_asked, NEXT));
    let document =
        room.document_seen.get() && room.document.as_ref().is_some_and(|d| old(d.step, room.document_asked, MEASURE));
    if next {
        cmds.extend(ask_next(state));
    }
    if document && !state.awaits(&Wish::Document) {
        cmds.extend(ask_document(state));
    }
    cmds.extend(ask_page(state));
    cmds
}

/// Asks for the page that holds the chosen one of the dropped documents, if it is looked at and not here.
fn ask_page(state: &mut AppState) -> Option<Cmd> {
    let room = &mut state.room;
    let wanted = (room.browse.clone(), room.at - room.at % PAGE);
    let here = room.page.as_ref().is_some_and(|p| (&p.browse, p.from) == (&wanted.0, wanted.1));
    if state.focus != Panel::Dropped || here || room.page_asked.as_ref() == Some(&wanted) {
        return None;
    }
    room.page_asked = Some(wanted.clone());
    state.wishes.push_back(Wish::Dropped);
    let (Browse { source, rule }, from) = wanted;
    Some(Cmd::Send(Command::ShowDropped { source, rule, from, count: PAGE }))
}

pub(super) fn perform(state: &mut AppState, act: Act) -> Vec<Cmd> {
    match act {
        Act::Data => return open(state),
        Act::Open if state.focus == Panel::Sources => focus(state, Panel::Preview),
        Act::Open if state.room.trying.is_some() => return set_rule(state, false),
        Act::Open => browse(state),
        Act::More | Act::Less if state.focus == Panel::Filters => return try_rule(state, act == Act::More),
        Act::More | Act::Less => return weigh(state, if act == Act::More { 1 } else { -1 }),
        Act::Published => return set_rule(state, true),
        Act::AllSources => {
            state.room.all = !state.room.all;
            (state.room.cut, state.room.trying) = (0, None);
        }
        Act::KeepText => return mark(state, Some(true)),
        Act::DropText => return mark(state, Some(false)),
        Act::Unmark => return mark(state, None),
        Act::Reread => {
            let words = state.tr(strings::REREADING);
            state.remark(words);
            return vec![Cmd::Send(Command::Reread)];
        }
        _ => {}
    }
    ask_page(state).into_iter().collect()
}

/// Looks at the documents that the chosen rule dropped.
fn browse(state: &mut AppState) {
    let room = &mut state.room;
    let source = if room.all { None } else { Some(room.chosen.clone()) };
    let rule = room.funnel().cuts.get(room.cut).map(|c| c.raw.clone());
    let browse = Browse { source, rule };
    if room.browse != browse {
        (room.browse, room.at, room.page_asked) = (browse, 0, None);
    }
    focus(state, Panel::Dropped);
}

fn weigh(state: &mut AppState, by: i32) -> Vec<Cmd> {
    let Some(run) = &state.live().run else { return Vec::new() };
    let named = run.info.sources.iter().any(|s| s.name == state.room.chosen);
    let chosen = if named { Some(state.room.chosen.clone()) } else { run.info.sources.first().map(|s| s.name.clone()) };
    let Some(source) = chosen else { return Vec::new() };
    state.wishes.push_back(Wish::Weigh(source.clone()));
    vec![Cmd::Send(Command::Weigh { source, by })]
}

/// Tries the next bound up or down.
fn try_rule(state: &mut AppState, up: bool) -> Vec<Cmd> {
    let room = &mut state.room;
    let Some((cut, bound)) = room.bound() else { return Vec::new() };
    let (source, rule) = (room.chosen.clone(), cut.raw.clone());
    let from = room.trying.as_ref().map_or(bound.threshold, |t| t.threshold);
    let threshold = moved(from, bound.published, up);
    if threshold == from {
        return Vec::new();
    }
    let (back, gone) = (Vec::new(), Vec::new());
    room.trying = Some(Trying { source: source.clone(), rule: rule.clone(), threshold, trial: None, back, gone });
    // A newer trial ends the one before: so one answer is awaited.
    if !state.awaits(&Wish::Try) {
        state.wishes.push_back(Wish::Try);
    }
    vec![Cmd::Send(Command::TryRule { source, rule, threshold })]
}

/// Sets the bound that is tried, or the table's own.
fn set_rule(state: &mut AppState, published: bool) -> Vec<Cmd> {
    let room = &mut state.room;
    let Some((cut, _)) = room.bound() else { return Vec::new() };
    let (source, rule) = (room.chosen.clone(), cut.raw.clone());
    let threshold = if published { None } else { room.trying.as_ref().map(|t| t.threshold) };
    if published {
        room.trying = None;
    } else if threshold.is_none() || state.awaits(&Wish::SetRule) {
        return Vec::new();
    }
    state.wishes.push_back(Wish::SetRule);
    vec![Cmd::Send(Command::SetRule { source, rule, threshold })]
}

fn mark(state: &mut AppState, keep: Option<bool>) -> Vec<Cmd> {
    let Some(text) = state.marked_text().map(str::to_owned) else { return Vec::new() };
    state.wishes.push_back(Wish::Mark(text.clone(), keep));
    vec![Cmd::Send(Command::Mark { text, keep })]
}

/// Whether it is a key that moves within a panel.
pub(super) fn is_walk(act: Act) -> bool {
    use Act::{Down, First, Last, Next, PageDown, PageUp, Previous, Up};
    matches!(act, Up | Down | PageUp | PageDown | First | Last | Previous | Next)
}

/// Arrows in the room; None where the panel that has them is none of its own.
pub(super) fn walk(state: &mut AppState, act: Act) -> Option<Vec<Cmd>> {
    let limit = state.scroll_limit.get();
    let stride = |at: usize, most: usize| match act {
        Act::Up | Act::Previous => at.saturating_sub(1),
        Act::Down | Act::Next => (at + 1).min(most),
        Act::PageUp => at.saturating_sub(ROWS),
        Act::PageDown => (at + ROWS).min(most),
        Act::First => 0,
        Act::Last => most,
        _ => at.min(most),
    };
    let sideways = matches!(act, Act::Previous | Act::Next);
    match state.focus {
        Panel::Sources | Panel::Preview if sideways => return Some(other_document(state, act == Act::Next)),
        Panel::Mix if sideways => return None,
        Panel::Sources | Panel::Mix => {
            let names: Vec<String> = match &state.live().run {
                Some(_) if !state.room.sources.is_empty() => {
                    state.room.sources.iter().map(|s| s.told.name.clone()).collect()
                }
                Some(run) => run.info.sources.iter().map(|s| s.name.clone()).collect(),
                None => Vec::new(),
            };
            let at = names.iter().position(|n| *n == state.room.chosen).unwrap_or(0);
            let name = names.get(stride(at, names.len().saturating_sub(1)))?;
            return Some(choose(state, name));
        }
        Panel::Filters if sideways => {}
        Panel::Filters => {
            let most = state.room.funnel().cuts.len().saturating_sub(1);
            let cut = stride(state.room.cut, most);
            if cut != state.room.cut {
                (state.room.cut, state.room.trying) = (cut, None);
            }
        }
        Panel::Dropped => {
            let of = state.room.page.as_ref().filter(|p| p.browse == state.room.browse).map_or(0, |p| p.of);
            state.room.at = stride(state.room.at, of.saturating_sub(1));
            return Some(ask_page(state).into_iter().collect());
        }
        Panel::Preview | Panel::NextBatch | Panel::Changes | Panel::Tokenizer | Panel::Losses => {
            state.scroll = stride(state.scroll.min(limit), limit);
        }
        _ => return None,
    }
    Some(Vec::new())
}

/// Another source is looked at.
fn choose(state: &mut AppState, name: &str) -> Vec<Cmd> {
    let room = &mut state.room;
    if room.chosen == name {
        return Vec::new();
    }
    name.clone_into(&mut room.chosen);
    (room.cut, room.index, room.trying, room.document) = (0, 0, None, None);
    if hears(state) { ask_document(state).into_iter().collect() } else { Vec::new() }
}

/// The document before or after the one looked at.
fn other_document(state: &mut AppState, on: bool) -> Vec<Cmd> {
    let Some(of) = state.room.document.as_ref().map(|d| d.of.max(1)) else { return Vec::new() };
    state.room.index = (state.room.index % of + if on { 1 } else { of - 1 }) % of;
    if state.focus == Panel::Preview {
        state.scroll = 0;
    }
    if hears(state) { ask_document(state).into_iter().collect() } else { Vec::new() }
}

/// One level back within the room; whether there was one.
pub(super) fn back(state: &mut AppState) -> bool {
    if !state.room.open {
        return false;
    }
    if state.room.trying.take().is_some() {
        return true;
    }
    if state.expanded || !matches!(state.focus, Panel::Dropped | Panel::Preview) {
        return false;
    }
    let to = if state.focus == Panel::Dropped { Panel::Filters } else { Panel::Sources };
    focus(state, to);
    true
}

/// A change is on disk.
pub(super) fn on_edited(state: &mut AppState, edit: &Edit) -> Vec<Cmd> {
    let now = state.now;
    if matches!(edit.cause, Cause::Key | Cause::Config) {
        // Several presses may have become one change; a bound is read back from run.toml.
        if state.awaits(&Wish::SetRule) {
            state.room.trying = None;
        }
        state.wishes.retain(|w| !matches!(w, Wish::Weigh(_) | Wish::SetRule));
    }
    let text = strings::edited(state.lang, edit.step, edit.cause, &edit.text, edit.seconds, edit.replayed);
    state.record(Level::Edit, &text);
    state.stages.live_mut().edit(edit, now);
    // What stands in the room is of before.
    (state.room.page, state.room.page_asked) = (None, None);
    let mut cmds = Vec::new();
    if hears(state) {
        cmds.extend(ask_next(state));
        cmds.extend(ask_document(state));
        cmds.extend(ask_page(state));
    }
    cmds
}

/// An edit cannot be used.
pub(super) fn on_broken(state: &mut AppState, step: usize, text: &str) {
    let line = format!("{}: {text}", state.tr(strings::BROKEN));
    state.record(Level::Alert, &line);
    let (at, text) = (state.now, Clean::line(text));
    state.stages.live_mut().change(Change { at, step, cause: None, text, seconds: None, replayed: false });
}

/// How far a trial is.
pub(super) fn on_tried(state: &mut AppState, trial: Trial) {
    if state.room.trying.as_mut().is_some_and(|t| t.tell(trial)) {
        answered(state, &Wish::Try);
    }
}

/// A mark is on disk.
pub(super) fn on_marked(state: &mut AppState, keep: usize, drop: usize) {
    state.room.marks = Some((keep, drop));
    let at = state.wishes.iter().position(|w| matches!(w, Wish::Mark(..)));
    if let Some(Wish::Mark(text, keep)) = at.and_then(|at| state.wishes.remove(at)) {
        state.room.say(&text, keep);
    }
}

/// A look at the data was refused: nobody pressed a key for it, so it is said where the data would stand.
pub(super) fn on_refused(state: &mut AppState, text: &str) {
    let text = Clean::line(text);
    if state.room.refused.as_ref() != Some(&text) {
        state.record(Level::Note, &text);
    }
    state.room.refused = Some(text);
}
