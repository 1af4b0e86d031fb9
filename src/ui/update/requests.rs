//! Requests to the trainer that await an answer.

use super::msg::Cmd;
use crate::{
    protocol::Command,
    ui::state::{AppState, Request},
};

/// Sends a command and awaits its answer.
pub(crate) fn send(state: &mut AppState, request: Request, command: Command) -> Vec<Cmd> {
    state.requests.push_back(request);
    vec![Cmd::Send(command)]
}

/// The same, unless the answer is awaited already.
pub(crate) fn ask(state: &mut AppState, request: Request, command: Command) -> Vec<Cmd> {
    if state.awaits(&request) { Vec::new() } else { send(state, request, command) }
}

/// The trainer has answered.
pub(crate) fn answered(state: &mut AppState, request: &Request) {
    if let Some(at) = state.requests.iter().position(|r| r == request) {
        state.requests.remove(at);
    }
}
