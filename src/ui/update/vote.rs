//! Choosing between two answers: votes, the next pair at once, and taking a vote back.

use super::{Cmd, PAGE};
use crate::protocol::{Choice, Command, Offer, Refit, Tally, VotedPair};
use crate::ui::{
    actions::Act,
    editor::Editor,
    state::{AppState, Level, Target, Wish},
    strings,
    text::Clean,
};

pub(super) fn perform(state: &mut AppState, act: Act) -> Vec<Cmd> {
    match act {
        Act::Pick => {
            state.pick.open = true;
            state.pick.since = state.now;
            state.scroll = 0;
            return if state.pick.pair.is_none() { ask(state, None) } else { Vec::new() };
        }
        Act::VoteA => return vote(state, Choice::A),
        Act::VoteB => return vote(state, Choice::B),
        Act::VoteMuchA => return vote(state, Choice::MuchA),
        Act::VoteMuchB => return vote(state, Choice::MuchB),
        Act::VoteTie => return vote(state, Choice::Tie),
        Act::VoteBothBad => return vote(state, Choice::BothBad),
        Act::Skip if state.pick.pair.is_some() => return vote(state, Choice::Skip),
        Act::Skip => return ask(state, None),
        Act::Unvote => return wish(state, Wish::Unvote, Command::Unvote),
        Act::Refit => {
            let words = state.tr(strings::REFITTING);
            state.remark(words);
            return wish(state, Wish::Refit, Command::Refit);
        }
        Act::Rewrite => {
            if let Some(pair) = &state.pick.pair {
                state.chat.open_edit_of(Target::Pair(pair.number), &pair.answers[0]);
            }
        }
        Act::OtherAnswer => other_answer(state),
        Act::OwnPrompt => state.typing = true,
        Act::Marks => state.pick.marked = !state.pick.marked,
        _ => {}
    }
    Vec::new()
}

fn wish(state: &mut AppState, wish: Wish, command: Command) -> Vec<Cmd> {
    state.wishes.push_back(wish);
    vec![Cmd::Send(command)]
}

/// Asks for a pair, unless one is on its way.
fn ask(state: &mut AppState, prompt: Option<String>) -> Vec<Cmd> {
    if state.awaits(&Wish::Offer) {
        return Vec::new();
    }
    state.pick.refused = None;
    wish(state, Wish::Offer, Command::Offer { prompt })
}

/// The pair is voted on, and the next one asked for at once.
fn vote(state: &mut AppState, choice: Choice) -> Vec<Cmd> {
    let Some((pair, seconds)) = state.pick.take(state.now) else { return Vec::new() };
    state.scroll = 0;
    let mut cmds = wish(state, Wish::Vote(pair), Command::Vote { pair, choice, seconds });
    if state.pick.pair.is_none() {
        cmds.extend(ask(state, None));
    }
    cmds
}

/// The pair goes without a vote; the next one is asked for.
pub(super) fn next(state: &mut AppState) -> Vec<Cmd> {
    state.pick.drop_pair(state.now);
    state.scroll = 0;
    if state.pick.pair.is_none() { ask(state, None) } else { Vec::new() }
}

/// Two answers to a prompt of one's own.
pub(super) fn ask_own(state: &mut AppState) -> Vec<Cmd> {
    if state.field.text().trim().is_empty() {
        return Vec::new();
    }
    if state.awaits(&Wish::Offer) {
        let words = state.tr(strings::PICK_WAITING);
        state.remark(words);
        return Vec::new();
    }
    let prompt = state.field.take();
    state.typing = false;
    state.pick.drop_pair(state.now);
    ask(state, Some(prompt))
}

/// Goes on from the other answer, if the field holds one of them untouched.
fn other_answer(state: &mut AppState) {
    let (Some(edit), Some(pair)) = (&mut state.chat.edit, &state.pick.pair) else { return };
    let mut untouched = Editor::default();
    for (at, answer) in pair.answers.iter().enumerate() {
        untouched.clear();
        untouched.insert(answer);
        if untouched.text() == edit.field.text() {
            edit.field.clear();
            edit.field.insert(&pair.answers[1 - at]);
            return;
        }
    }
}

/// Both answers, from their beginning on.
pub(super) fn scroll(state: &mut AppState, on: bool) {
    let limit = state.scroll_limit.get();
    let from = state.scroll.min(limit);
    state.scroll = if on { (from + PAGE).min(limit) } else { from.saturating_sub(PAGE) };
}

pub(super) fn on_offered(state: &mut AppState, offer: Offer) {
    answered(state, &Wish::Offer);
    state.pick.offer(offer, state.now);
}

pub(super) fn on_voted(state: &mut AppState, voted: VotedPair) {
    answered(state, &Wish::Vote(voted.pair));
    state.pick.voted(voted);
}

pub(super) fn on_unvoted(state: &mut AppState, pair: u64, tally: Tally) {
    answered(state, &Wish::Unvote);
    state.pick.unvoted(pair, tally, state.now);
    state.scroll = 0;
    let words = state.tr(strings::LOG_UNVOTED);
    state.record(Level::Note, words);
    state.remark(words);
}

/// The reward model was fitted, asked or not.
pub(super) fn on_refitted(state: &mut AppState, refit: Refit) {
    answered(state, &Wish::Refit);
    let (before, after) = (100.0 * refit.agreement.0, 100.0 * refit.agreement.1);
    let text = strings::refitted(state.lang, refit.version, refit.votes, before, after, refit.seconds);
    state.record(Level::Note, &text);
    state.remark(&text);
    if let Some(tally) = &mut state.pick.tally {
        tally.version = refit.version;
    }
    state.pick.refit = Some(refit);
}

/// What the trainer cannot do: the wish that waits longest.
pub(super) fn on_refused(state: &mut AppState, text: &str) {
    match state.wishes.pop_front() {
        // It stands where the pair would.
        Some(Wish::Offer) if state.pick.open => {
            state.pick.refused = Some(Clean::line(text));
            let line = format!("{}: {text}", state.tr(strings::LOG_REFUSED));
            state.record(Level::Alert, &line);
        }
        // Nobody pressed a key for it.
        Some(Wish::Rollout) => state.record(Level::Note, text),
        Some(Wish::Room | Wish::Document | Wish::NextBatch | Wish::Dropped) => super::room::on_refused(state, text),
        wish => {
            if wish == Some(Wish::Try) {
                state.room.trying = None;
            }
            state.refuse(text);
        }
    }
}

pub(super) fn answered(state: &mut AppState, wish: &Wish) {
    if let Some(at) = state.wishes.iter().position(|w| w == wish) {
        state.wishes.remove(at);
    }
}
