//! Why a key has no effect now.

use crate::ui::{
    state::{AppState, Panel, Phase, Request},
    strings::{self, Tr},
};

/// Why nothing of the stage can be done now; else `or`.
pub(super) fn unless_idle(state: &AppState, or: Tr) -> Option<Tr> {
    match state.live().phase {
        _ if state.leaving.is_some() => None,
        _ if state.switching().is_some() => Some(strings::WHY_SWITCHING),
        _ if state.is_watched() => Some(strings::WHY_WATCHED),
        _ if state.is_read_only() => Some(strings::WHY_READ_ONLY),
        Phase::Starting => Some(strings::NO_RUN),
        Phase::Finished { .. } => Some(strings::WHY_FINISHED),
        _ if state.live().feedback.guard.as_ref().is_some_and(|g| !g.may_go_on) => Some(strings::WHY_GUARDED),
        _ => Some(or),
    }
}

/// The reason without details.
pub(super) fn not_now(state: &AppState) -> Option<Tr> {
    unless_idle(state, strings::WHY_NOT_NOW)
}

/// Of changing a weight or a threshold.
pub(super) fn not_weighed(state: &AppState) -> Option<Tr> {
    if !state.changes_data() {
        return no_chart(state);
    }
    let rule = state.data.open && state.focus == Panel::FILTERS;
    unless_idle(state, if rule { strings::WHY_NO_BOUND } else { strings::WHY_NO_SOURCE })
}

/// Of looking closer at the charts.
pub(super) fn no_chart(_: &AppState) -> Option<Tr> {
    Some(strings::WHY_NO_CHART)
}

/// Of the film.
pub(super) fn no_film(state: &AppState) -> Option<Tr> {
    Some(if state.has_charts() { strings::WHY_NO_FILM } else { strings::WHY_NO_CHART })
}

/// Of going from the charts to the log.
pub(super) fn no_log_place(state: &AppState) -> Option<Tr> {
    Some(if state.has_charts() { strings::WHY_NO_LOG_PLACE } else { strings::WHY_NO_CHART })
}

/// Of looking for a text.
pub(super) fn not_findable(_: &AppState) -> Option<Tr> {
    Some(strings::WHY_NOT_FINDABLE)
}

/// Of labelling a text.
pub(super) fn not_marked(state: &AppState) -> Option<Tr> {
    unless_idle(state, strings::WHY_NO_TEXT)
}

/// Of training the stage in view.
pub(super) fn not_trained(state: &AppState) -> Option<Tr> {
    let words = match state.live() {
        live if live.is_complete() => strings::COMPLETE_HERE,
        _ => strings::WHY_TRAINS,
    };
    unless_idle(state, words)
}

/// Of voting.
pub(super) fn not_voted(state: &AppState) -> Option<Tr> {
    unless_idle(state, if state.live().talks() { strings::WHY_NOT_NOW } else { strings::VOTES_ELSEWHERE })
}

/// Of a choice between two answers.
pub(super) fn no_pair(state: &AppState) -> Option<Tr> {
    let waits = state.awaits(&Request::Offer);
    unless_idle(state, if waits { strings::VOTE_WAITING } else { strings::VOTE_NONE })
}

/// Of taking a vote back, or learning from votes.
pub(super) fn no_votes(state: &AppState) -> Option<Tr> {
    unless_idle(state, if state.voting.has_votes() { strings::WHY_NOT_NOW } else { strings::WHY_NO_VOTES })
}

/// Of correcting an answer.
pub(super) fn not_corrected(state: &AppState) -> Option<Tr> {
    let words = match state {
        s if !s.live().talks() => strings::WHY_NO_TALK,
        s if s.chat.correctable().is_none() => strings::WHY_NO_ANSWER,
        _ => strings::WHY_NO_CHAT_FOCUS,
    };
    unless_idle(state, words)
}

/// Of starting a conversation.
pub(super) fn no_talk(state: &AppState) -> Option<Tr> {
    unless_idle(state, if state.live().talks() { strings::WHY_NEW_ALREADY } else { strings::WHY_NO_TALK })
}

/// Of asking earlier weights.
pub(super) fn no_parent(state: &AppState) -> Option<Tr> {
    unless_idle(state, strings::WHY_NO_PARENT)
}
