//! Voting on two answers: votes, requesting the next pair at once, and taking a vote back.

use super::{
    msg::Cmd,
    requests::{self, answered},
};
use crate::protocol::{Choice, Command, Pair, Refit, Tally, Vote};
use crate::ui::{
    editor::Editor,
    state::{AppState, Both, Request, Target},
    strings,
};

/// Opens voting, and requests a pair if there is none.
pub(crate) fn open(state: &mut AppState) -> Vec<Cmd> {
    state.voting.open = true;
    state.voting.since = state.now;
    state.scroll = 0;
    if state.voting.pair.is_none() { ask(state, None) } else { Vec::new() }
}

/// Skips the pair without a vote, or requests one if there is none.
pub(crate) fn skip(state: &mut AppState) -> Vec<Cmd> {
    if state.voting.pair.is_some() { vote(state, Choice::Skip) } else { ask(state, None) }
}

/// Takes back the selected vote, or the newest.
pub(crate) fn unvote(state: &mut AppState) -> Vec<Cmd> {
    let pair = state.voting.chosen;
    requests::send(state, Request::Unvote, Command::Unvote { pair })
}

/// Fits the reward model to the votes now.
pub(crate) fn refit(state: &mut AppState) -> Vec<Cmd> {
    state.remark(strings::REFITTING);
    requests::send(state, Request::Refit, Command::Refit)
}

/// Opens the first answer for correction.
pub(crate) fn correct(state: &mut AppState) {
    if let Some(pair) = &state.voting.pair {
        state.chat.open_edit_of(Target::Pair(pair.of.id), &pair.of.answers[0]);
    }
}

/// Requests a pair, unless one is pending.
fn ask(state: &mut AppState, prompt: Option<String>) -> Vec<Cmd> {
    if state.awaits(&Request::Offer) {
        return Vec::new();
    }
    state.voting.refused = None;
    requests::send(state, Request::Offer, Command::Offer { prompt })
}

/// Votes on the pair and requests the next one at once.
pub(crate) fn vote(state: &mut AppState, choice: Choice) -> Vec<Cmd> {
    let Some((pair, seconds)) = state.voting.take(state.now) else { return Vec::new() };
    state.scroll = 0;
    let mut cmds = requests::send(state, Request::Vote(pair), Command::Vote { pair, choice, seconds });
    if state.voting.pair.is_none() {
        cmds.extend(ask(state, None));
    }
    cmds
}

/// Removes the pair without a vote and requests the next one.
pub(crate) fn next(state: &mut AppState) -> Vec<Cmd> {
    state.voting.drop_pair(state.now);
    state.scroll = 0;
    if state.voting.pair.is_none() { ask(state, None) } else { Vec::new() }
}

/// Requests two answers to the prompt in the field.
pub(crate) fn ask_own(state: &mut AppState) -> Vec<Cmd> {
    if state.voting.field.text().trim().is_empty() {
        return Vec::new();
    }
    if state.awaits(&Request::Offer) {
        state.remark(strings::VOTE_WAITING);
        return Vec::new();
    }
    let prompt = state.voting.field.take();
    state.typing = false;
    state.voting.await_own();
    ask(state, Some(prompt))
}

/// Puts the other answer into the field, if the field contains one of them unchanged.
pub(crate) fn other_answer(state: &mut AppState) {
    let (Some(edit), Some(pair)) = (&mut state.chat.edit, &state.voting.pair) else { return };
    let mut untouched = Editor::default();
    for (at, answer) in pair.of.answers.iter().enumerate() {
        untouched.clear();
        untouched.insert(answer);
        if untouched.text() == edit.field.text() {
            edit.field.clear();
            edit.field.insert(&pair.of.answers[1 - at]);
            return;
        }
    }
}

pub(crate) fn on_offered(state: &mut AppState, pair: Pair) {
    answered(state, &Request::Offer);
    state.voting.offer(pair, state.now);
}

pub(crate) fn on_voted(state: &mut AppState, vote: Vote, tally: Tally) {
    answered(state, &Request::Vote(vote.pair.id));
    state.voting.voted(vote, tally);
}

pub(crate) fn on_unvoted(state: &mut AppState, pair: u64, tally: Tally) {
    answered(state, &Request::Unvote);
    state.voting.unvoted(pair, tally, state.now);
    state.scroll = 0;
    state.remark(strings::LOG_UNVOTED);
}

/// The reward model was fitted, whether requested or not.
pub(crate) fn on_refitted(state: &mut AppState, refit: Refit) {
    answered(state, &Request::Refit);
    let (before, after) = (100.0 * refit.agreement.0, 100.0 * refit.agreement.1);
    let Refit { version, votes, seconds, .. } = refit;
    state.remark(Both::new(|lang| strings::refitted(lang, version, votes, before, after, seconds)));
    if let Some(tally) = &mut state.voting.tally {
        (tally.version, tally.weight) = (refit.version, refit.weight);
    }
    state.voting.refit = Some(refit);
}
