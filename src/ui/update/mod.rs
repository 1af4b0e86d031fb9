//! What happens: one message in, the state changed, wishes out. Pure, so tests need no terminal.

mod events;
mod leaving;
mod pick;
mod room;
mod stages;
mod talk;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::protocol::{Command, Event};
use crate::ui::{
    actions::{self, Act, Mode},
    editor::Editor,
    keys::{Key, can_only_be_text},
    series::SMOOTHINGS,
    state::{AppState, Level, Overlay, Panel, Phase, Question},
    strings::{self, Lang},
    theme::Palette,
};

pub use self::leaving::summary;

/// Rows of a page.
const PAGE: usize = 10;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key went down.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The trainer spoke.
    Event(Event),
    /// The trainer went away without [`Event::Finished`].
    TrainerGone,
    /// Time since the screen opened.
    Tick(Duration),
    /// SIGTERM, SIGINT or SIGHUP came, or the terminal died: save and go.
    Leave,
    /// Another thread panicked; this is what it said.
    Background(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Cmd {
    /// Tell the trainer. Kept until it is taken.
    Send(Command),
    /// Close the screen.
    Close,
    /// Close the screen now, whatever the trainer is doing.
    Abandon,
    /// Hand the terminal back to the shell for a while.
    Suspend,
    /// Paint everything anew.
    Redraw,
}

/// Takes a message in.
pub fn update(state: &mut AppState, msg: Msg) -> Vec<Cmd> {
    match msg {
        Msg::Key(key) => on_key(state, key),
        Msg::Paste(text) => on_paste(state, &text),
        Msg::Event(event) => events::on_event(state, event),
        Msg::TrainerGone => {
            state.gone = true;
            if !state.is_finished() {
                let words = state.tr(strings::LOG_DIED);
                state.record(Level::Alert, words);
                state.finish(words, true);
            }
            leaving::close_if_leaving(state)
        }
        Msg::Tick(now) => {
            state.now = now;
            if state.notice.as_ref().is_some_and(|n| n.2 <= now) {
                state.notice = None;
            }
            let mut wanted = stages::ask_batch(state);
            wanted.extend(stages::ask_rollout(state));
            wanted.extend(room::tick(state));
            wanted
        }
        Msg::Leave => leaving::leave(state, true, true),
        Msg::Background(text) => {
            let text = format!("{}: {text}", state.tr(strings::LOG_STDERR));
            state.record(Level::Alert, &text);
            Vec::new()
        }
    }
}

fn on_key(state: &mut AppState, key: Key) -> Vec<Cmd> {
    let mode = state.mode();
    let meant = if mode.is_text() { key } else { key.normalised() };
    if let Some(act) = actions::lookup(mode, meant) {
        return if actions::enabled(state, act) { perform(state, mode, act) } else { Vec::new() };
    }
    if let Some(c) = key.typed() {
        let mut utf8 = [0; 4];
        let text = &*c.encode_utf8(&mut utf8);
        if mode.is_text() {
            type_text(state, text);
        } else if can_only_be_text(c) && begins_text(state, mode) {
            state.field.insert(text);
        }
    }
    Vec::new()
}

fn on_paste(state: &mut AppState, text: &str) -> Vec<Cmd> {
    match state.mode() {
        mode if mode.is_text() => type_text(state, text),
        mode if begins_text(state, mode) => state.field.insert(text),
        _ => {}
    }
    Vec::new()
}

/// Opens the prompt field where text may be typed unasked; whether it did.
fn begins_text(state: &mut AppState, mode: Mode) -> bool {
    match mode {
        Mode::Nav | Mode::Room if actions::enabled(state, Act::Prompt) => talk::open_prompt(state),
        Mode::Pick if actions::enabled(state, Act::OwnPrompt) => state.typing = true,
        _ => return false,
    }
    true
}

/// The field that has the keys.
fn field(state: &mut AppState) -> &mut Editor {
    match &mut state.overlay {
        Some(Overlay::Palette { field, .. }) => field,
        _ => match &mut state.chat.edit {
            Some(edit) if edit.open => &mut edit.field,
            _ => &mut state.field,
        },
    }
}

fn type_text(state: &mut AppState, text: &str) {
    if let Some(Overlay::Palette { field, chosen }) = &mut state.overlay {
        field.insert(&text.replace(['\n', '\r'], " "));
        *chosen = 0;
    } else {
        field(state).insert(text);
    }
}

fn focus(state: &mut AppState, panel: Panel) {
    if state.focus != panel {
        state.focus = panel;
        state.scroll = 0;
        state.chat.picked = None;
    }
}

fn perform(state: &mut AppState, mode: Mode, act: Act) -> Vec<Cmd> {
    let live = state.stages.live_mut();
    match act {
        Act::Pause => {
            let paused = live.is_paused();
            if paused && live.is_complete() {
                let words = state.tr(strings::COMPLETE_HERE);
                state.remark(words);
                return Vec::new();
            }
            live.phase = if paused { Phase::Resuming } else { Phase::Pausing };
            return vec![Cmd::Send(if paused { Command::Resume } else { Command::Pause })];
        }
        Act::Probe if !live.probing => {
            live.probing = true;
            return vec![Cmd::Send(Command::Probe)];
        }
        Act::Save if !state.saving => {
            state.saving = true;
            return vec![Cmd::Send(Command::Save)];
        }
        Act::Save | Act::Probe => {}
        Act::Go => return stages::go(state),
        Act::Pretrain => stages::view(state, "pretrain"),
        Act::Sft => stages::view(state, "sft"),
        Act::Reward => stages::view(state, "reward"),
        Act::Align => stages::view_aligned(state),
        Act::Prompt => talk::open_prompt(state),
        Act::Correct => state.chat.open_edit(),
        Act::NewChat => {
            state.chat.fresh = true;
            state.scroll = 0;
            focus(state, Panel::Chat);
        }
        Act::Beside => talk::ask_others(state),
        Act::NextPanel => step_focus(state, true),
        Act::PrevPanel => step_focus(state, false),
        Act::Expand => state.expanded = !state.expanded,
        Act::Smoothing => state.smoothing = (state.smoothing + 1) % SMOOTHINGS.len(),
        Act::LogY => state.log_y = !state.log_y,
        Act::Palette => state.overlay = Some(Overlay::Palette { field: Editor::default(), chosen: 0 }),
        Act::Help => state.overlay = Some(Overlay::Help { scroll: 0 }),
        Act::Quit => return leaving::ask_to_quit(state),
        Act::Redraw => return vec![Cmd::Redraw],
        Act::Suspend => return vec![Cmd::Suspend],
        Act::Interrupt => return leaving::interrupt(state),
        Act::Back => back(state),
        Act::Accept => return accept(state, mode),
        Act::Lang => state.lang = if state.lang == Lang::Zh { Lang::En } else { Lang::Zh },
        Act::Theme => {
            let at = Palette::ALL.iter().position(|p| *p == state.theme.palette).unwrap_or(0);
            state.theme.palette = Palette::ALL[(at + 1) % Palette::ALL.len()];
            let name = state.tr(state.theme.palette.name());
            state.remark(name);
        }
        Act::Show(panel) => {
            state.pick.open = false;
            focus(state, panel);
        }
        Act::Pick
        | Act::VoteA
        | Act::VoteB
        | Act::VoteMuchA
        | Act::VoteMuchB
        | Act::VoteTie
        | Act::VoteBothBad
        | Act::Skip
        | Act::Unvote
        | Act::Rewrite
        | Act::OtherAnswer
        | Act::OwnPrompt
        | Act::Marks
        | Act::Refit => return pick::perform(state, act),
        Act::Data
        | Act::Open
        | Act::More
        | Act::Less
        | Act::Published
        | Act::AllSources
        | Act::KeepText
        | Act::DropText
        | Act::Unmark
        | Act::Reread => return room::perform(state, act),
        _ if matches!(mode, Mode::Nav | Mode::Room) && room::is_walk(act) => {
            if let Some(cmds) = room::walk(state, act) {
                return cmds;
            }
            if state.focus == Panel::Rollout && matches!(act, Act::Previous | Act::Next) {
                return stages::other_rollout(state, act == Act::Next);
            }
            move_or_edit(state, mode, act);
        }
        Act::NewLine => field(state).insert("\n"),
        _ => move_or_edit(state, mode, act),
    }
    Vec::new()
}

fn step_focus(state: &mut AppState, on: bool) {
    let panels = state.panels();
    let at = panels.iter().position(|p| *p == state.focus).unwrap_or(0);
    let by = if on { 1 } else { panels.len() - 1 };
    focus(state, panels[(at + by) % panels.len()]);
}

/// Arrows and editing keys: to whatever has the keys.
fn move_or_edit(state: &mut AppState, mode: Mode, act: Act) {
    let limit = state.scroll_limit.get();
    match &mut state.overlay {
        Some(Overlay::Help { scroll }) => {
            let from = (*scroll).min(limit);
            *scroll = match act {
                Act::Up => from.saturating_sub(1),
                Act::Down => (from + 1).min(limit),
                Act::PageUp => from.saturating_sub(PAGE),
                Act::PageDown => (from + PAGE).min(limit),
                Act::First => 0,
                Act::Last => limit,
                _ => from,
            };
        }
        Some(Overlay::Ask { question, chosen }) => {
            let n = question.choices().len();
            *chosen = (*chosen + if act == Act::Up { n - 1 } else { 1 }) % n;
        }
        Some(Overlay::Palette { field, chosen }) => {
            match act {
                Act::Up => *chosen = chosen.saturating_sub(1),
                Act::Down => *chosen += 1,
                _ => {
                    edit(field, act, 0);
                    *chosen = 0;
                }
            }
            // A row beyond the last means the last.
            let (typed, wanted) = (field.text().to_owned(), *chosen);
            let rows = actions::search(state, &typed).len();
            if let Some(Overlay::Palette { chosen, .. }) = &mut state.overlay {
                *chosen = wanted.min(rows.saturating_sub(1));
            }
        }
        None => match act {
            // Answers to choose between are read from their beginning.
            Act::PageUp | Act::PageDown if mode == Mode::Pick => pick::scroll(state, act == Act::PageDown),
            Act::PageUp => state.scroll = (state.scroll + PAGE).min(limit),
            Act::PageDown => state.scroll = state.scroll.saturating_sub(PAGE),
            _ if mode.is_text() => {
                let cells = state.field_cells.get();
                edit(field(state), act, cells);
            }
            _ if state.focus == Panel::Batch => stages::move_spot(state, act),
            _ if state.focus == Panel::Rollout => stages::move_token(state, act),
            Act::Previous | Act::Next if state.focus == Panel::Chat => state.chat.pick(act == Act::Next),
            Act::Previous | Act::Next => {
                let stage = state.stages.shown_mut();
                let next = if act == Act::Next { stage.probe + 1 } else { stage.probe.saturating_sub(1) };
                stage.probe = next.min(stage.probes.len().saturating_sub(1));
            }
            Act::Up => state.scroll = (state.scroll + 1).min(limit),
            Act::Down => state.scroll = state.scroll.saturating_sub(1),
            Act::First => state.scroll = limit,
            Act::Last => {
                state.scroll = 0;
                state.chat.picked = None;
            }
            _ => {}
        },
    }
}

/// An editing key in a field whose rows are `cells` wide.
fn edit(field: &mut Editor, act: Act, cells: usize) {
    match act {
        Act::Left => field.left(),
        Act::Right => field.right(),
        Act::Up => field.up(cells),
        Act::Down => field.down(cells),
        Act::Home => field.home(),
        Act::End => field.end(),
        Act::Backspace => field.backspace(),
        Act::Delete => field.delete(),
        Act::KillBefore => field.kill_before(),
        Act::KillAfter => field.kill_after(),
        Act::KillWord => field.kill_word(),
        Act::Older => field.older(),
        Act::Newer => field.newer(),
        _ => {}
    }
}

fn back(state: &mut AppState) {
    // A refusal that has been read goes first.
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
    if state.typing {
        state.typing = false;
    } else if state.pick.open {
        state.pick.open = false;
    } else if room::back(state) {
        // One level is enough.
    } else if state.focus == Panel::Batch && state.shown().spot.is_some() {
        state.stages.shown_mut().spot = None;
    } else if state.focus == Panel::Rollout && state.shown().feedback.token.is_some() {
        state.stages.shown_mut().feedback.token = None;
    } else if state.chat.picked.is_some() {
        state.chat.picked = None;
    } else {
        state.expanded = false;
    }
}

fn accept(state: &mut AppState, mode: Mode) -> Vec<Cmd> {
    match mode {
        Mode::Text if state.pick.open => pick::ask_own(state),
        Mode::Text => talk::send_prompt(state),
        Mode::Edit => talk::demonstrate(state),
        Mode::Palette => {
            let Some(Overlay::Palette { field, chosen }) = state.overlay.take() else { return Vec::new() };
            let act = actions::search(state, field.text()).get(chosen).map(|a| a.act);
            let mode = state.mode();
            act.map_or_else(Vec::new, |act| perform(state, mode, act))
        }
        Mode::Dialog => match state.overlay.take() {
            Some(Overlay::Ask { question: Question::Quit, chosen: 0 }) => leaving::leave(state, true, false),
            Some(Overlay::Ask { question: Question::Quit, chosen: 1 }) => leaving::leave(state, false, false),
            Some(Overlay::Ask { question: Question::Switch(name), chosen: 0 }) => stages::switch(state, name),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
