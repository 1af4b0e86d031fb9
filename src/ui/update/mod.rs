//! Applies messages: one message in, the state changed, commands out. Pure, so that tests need no terminal.

pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod data;
mod events;
pub(crate) mod field;
pub(crate) mod leaving;
pub(crate) mod moving;
mod msg;
pub(crate) mod questions;
pub(crate) mod requests;
pub(crate) mod stages;
pub(crate) mod talk;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
pub(crate) mod vote;

pub use self::{
    leaving::summary,
    msg::{Cmd, Msg},
};
use crate::ui::{
    actions::{self, Act},
    keys::{Key, can_only_be_text},
    state::{AppState, Both, Level, Mode},
    strings,
};

/// Applies a message.
pub fn update(state: &mut AppState, msg: Msg) -> Vec<Cmd> {
    match msg {
        Msg::Key(key) => on_key(state, key),
        Msg::Paste(text) => on_paste(state, &text),
        Msg::Mouse(mouse) => moving::mouse::on_mouse(state, mouse),
        Msg::Event(event) => events::on_event(state, event),
        Msg::TrainerGone => {
            state.gone = true;
            if !state.is_finished() {
                state.record(Level::Alert, strings::LOG_DIED);
                let words = state.tr(strings::LOG_DIED);
                state.finish(words, true);
            }
            leaving::close_if_leaving(state)
        }
        Msg::Tick(now) => {
            state.now = now;
            if state.notice.as_ref().is_some_and(|n| n.2 <= now) {
                state.notice = None;
            }
            state.tick_film();
            events::show_card(state);
            let mut wanted = stages::ask_batch(state);
            wanted.extend(stages::ask_rollout(state));
            wanted.extend(data::tick(state));
            wanted
        }
        Msg::Leave => leaving::leave(state, true, true),
        Msg::HangUp => leaving::hang_up(state),
        Msg::Background(text) => {
            let words = |lang| format!("{}: {text}", strings::LOG_STDERR.get(lang));
            state.record(Level::Alert, Both::new(words));
            Vec::new()
        }
    }
}

fn on_key(state: &mut AppState, key: Key) -> Vec<Cmd> {
    // A card came by itself: a key that is not its own closes it and means what it always does.
    if state.mode() == Mode::Card && actions::lookup(Mode::Card, key.normalised()).is_none() {
        state.overlay = None;
    }
    let mode = state.mode();
    let meant = if mode.is_text() { key } else { key.normalised() };
    if let Some(action) = actions::lookup(mode, meant) {
        if action.is_enabled(state) {
            return (action.perform)(state);
        }
        if let Some(words) = (action.why)(state) {
            state.remark(words);
        }
        return Vec::new();
    }
    if let Some(c) = key.typed()
        && (mode.is_text() || can_only_be_text(c) && begins_text(state, mode))
    {
        field::insert(state, c.encode_utf8(&mut [0; 4]));
    } else if key.typed().is_some_and(can_only_be_text) && matches!(mode, Mode::Nav | Mode::Data) {
        not_asked(state);
    } else if key.typed().is_some() && matches!(mode, Mode::Nav | Mode::Data | Mode::Vote) {
        state.remark(actions::elsewhere(mode, meant));
    }
    Vec::new()
}

fn on_paste(state: &mut AppState, text: &str) -> Vec<Cmd> {
    let mode = state.mode();
    if mode.is_text() || begins_text(state, mode) {
        field::insert(state, text);
    } else if matches!(mode, Mode::Nav | Mode::Data) {
        not_asked(state);
    }
    Vec::new()
}

/// Says why no prompt can be typed now.
fn not_asked(state: &mut AppState) {
    if let Some(words) = (Act::Prompt.row().why)(state) {
        state.remark(words);
    }
}

/// Opens the prompt field, or the filter of the config pane, if typing may start without a key before it; returns whether it did.
fn begins_text(state: &mut AppState, mode: Mode) -> bool {
    match mode {
        Mode::Nav | Mode::Data if Act::Prompt.row().is_enabled(state) => talk::open_prompt(state),
        Mode::Config => config::filter(state, true),
        Mode::Vote if Act::OwnPrompt.row().is_enabled(state) => state.typing = true,
        _ => return false,
    }
    true
}
