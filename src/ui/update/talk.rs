//! Prompts, conversations, and corrected answers.

use super::{msg::Cmd, requests, vote};
use crate::protocol::{Command, Manner, Who};
use crate::ui::{
    state::{AppState, Both, Panel, Request, Target, whose},
    strings,
};

pub(crate) fn open_prompt(state: &mut AppState) {
    state.typing = true;
    state.focus_on(Panel::CHAT);
    state.chat.picked = None;
}

/// Makes the next prompt start a conversation.
pub(crate) fn new_chat(state: &mut AppState) {
    state.chat.fresh = true;
    state.scroll = 0;
    state.focus_on(Panel::CHAT);
}

/// Sends the text in the field; as another turn of the conversation if the stage uses the chat template.
pub(crate) fn send_prompt(state: &mut AppState) -> Vec<Cmd> {
    if state.field.text().trim().is_empty() {
        return Vec::new();
    }
    let talk = state.live().talks();
    // A conversation cannot continue before the pending answer is complete.
    if talk && state.chat.answering().next().is_some() {
        state.remark(strings::WAIT_ANSWER);
        return Vec::new();
    }
    let text = state.field.take();
    let beside = state.asked_beside();
    state.scroll = 0;
    let exchange = state.chat.ask(text, state.stages.live().id, talk, beside);
    let asked: Vec<(u64, Who)> = exchange.answers().map(|a| (a.id, a.who)).collect();
    let ask = state.chat.asked(state.chat.exchanges.len() - 1);
    let Manner { sampling, max_new_tokens } = state.chat.manner;
    let prompt = |(id, who)| Cmd::Send(Command::Prompt { id, ask: ask.clone(), who, sampling, max_new_tokens });
    asked.into_iter().map(prompt).collect()
}

/// Asks one more of the earlier weights too; after all of them, none.
pub(crate) fn ask_others(state: &mut AppState) {
    let most = state.ancestors().len();
    state.chat.beside = if state.chat.beside >= most { 0 } else { state.chat.beside + 1 };
    let (asked, stage) = (state.asked_beside(), state.live().id);
    let words = |lang| match asked {
        [] => strings::BESIDE_OFF.get(lang).to_owned(),
        asked => {
            let names: Vec<&str> = asked.iter().map(|who| whose(*who, stage).get(lang)).collect();
            strings::beside(lang, &names.join(" + "))
        }
    };
    state.remark(Both::new(words));
}

/// Closes the answer being corrected; returns whether one was open.
pub(crate) fn close_edit(state: &mut AppState) -> bool {
    let Some(edit) = state.chat.edit.as_mut().filter(|e| e.open) else { return false };
    edit.open = false;
    state.remark(strings::DRAFT_KEPT);
    true
}

/// Sends the conversation with the corrected answer. The draft is kept until it is accepted.
pub(crate) fn demonstrate(state: &mut AppState) -> Vec<Cmd> {
    let Some(edit) = state.chat.edit.as_ref().filter(|e| !e.field.text().trim().is_empty()) else { return Vec::new() };
    let (target, text) = (edit.target, edit.field.text().to_owned());
    let turns = match target {
        Target::Answer(_) => state.chat.demonstration(),
        Target::Pair(number) => state.voting.demonstration(number, &text),
    };
    let Some(turns) = turns else { return Vec::new() };
    if let Some(edit) = &mut state.chat.edit {
        edit.open = false;
    }
    let mut cmds = requests::send(state, Request::Demonstrate(target, text), Command::Demonstrate { turns });
    if matches!(target, Target::Pair(_)) {
        cmds.extend(vote::next(state));
    }
    cmds
}
