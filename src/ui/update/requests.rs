//! Requests to the trainer with a pending answer.

use super::msg::Cmd;
use crate::{
    protocol::Command,
    ui::state::{AppState, Request},
};

/// Sends a command and records that an answer is pending.
pub(crate) fn send(state: &mut AppState, request: Request, command: Command) -> Vec<Cmd> {
    state.requests.push_back(request);
    vec![Cmd::Send(command)]
}

/// The same, unless such an answer is pending already.
pub(crate) fn ask(state: &mut AppState, request: Request, command: Command) -> Vec<Cmd> {
    if state.awaits(&request) { Vec::new() } else { send(state, request, command) }
}

/// Removes the oldest pending request of this kind.
pub(crate) fn answered(state: &mut AppState, request: &Request) {
    if let Some(at) = state.requests.iter().position(|r| r == request) {
        state.requests.remove(at);
    }
}
