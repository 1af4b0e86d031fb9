//! Prompts, conversations, and answers corrected by hand.

use super::{Cmd, focus};
use crate::session::{Command, Sampling, Who};
use crate::ui::{
    state::{AppState, Panel, Wish},
    strings,
};

/// Tokens drawn for a prompt at most.
const ANSWER: usize = 256;

pub(super) fn open_prompt(state: &mut AppState) {
    state.typing = true;
    focus(state, Panel::Chat);
    state.chat.picked = None;
}

/// Sends what stands in the field: as one more turn of the conversation where the stage talks.
pub(super) fn send_prompt(state: &mut AppState) -> Vec<Cmd> {
    if state.field.text().trim().is_empty() {
        return Vec::new();
    }
    let talk = state.live().talks();
    // What is not said yet cannot be part of the conversation.
    if talk && state.chat.answering().next().is_some() {
        let words = state.tr(strings::WAIT_ANSWER);
        state.remark(words);
        return Vec::new();
    }
    let text = state.field.take();
    let beside = state.asks_parent();
    state.scroll = 0;
    let exchange = state.chat.ask(text, &state.stages.live().name, talk, beside);
    let asked = [Some((exchange.answer.id, Who::Live)), exchange.parent.as_ref().map(|p| (p.id, Who::Parent))];
    let ask = state.chat.asked(state.chat.exchanges.len() - 1);
    let prompt = |(id, who)| {
        let sampling = Sampling::default();
        Cmd::Send(Command::Prompt { id, ask: ask.clone(), who, sampling, max_new_tokens: ANSWER })
    };
    asked.into_iter().flatten().map(prompt).collect()
}

/// Closes the answer being corrected, if one is open; whether there was one.
pub(super) fn close_edit(state: &mut AppState) -> bool {
    let Some(edit) = state.chat.edit.as_mut().filter(|e| e.open) else { return false };
    edit.open = false;
    let words = state.tr(strings::DRAFT_KEPT);
    state.remark(words);
    true
}

/// Hands the conversation with the corrected answer to the trainer. The draft is kept until it is taken.
pub(super) fn demonstrate(state: &mut AppState) -> Vec<Cmd> {
    let Some(turns) = state.chat.demonstration() else { return Vec::new() };
    let Some(edit) = &mut state.chat.edit else { return Vec::new() };
    edit.open = false;
    let wish = Wish::Demonstrate(edit.id, edit.field.text().to_owned());
    state.wishes.push_back(wish);
    vec![Cmd::Send(Command::Demonstrate { turns })]
}
