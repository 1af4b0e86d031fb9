//! The terminal user interface. It depends on session and protocol, not on the layers below.
//!
//! The Elm architecture: [`state`] is data, [`mod@update`] takes one message and returns commands, [`view`] draws the
//! state and returns the layout; all three are pure. [`run`] is the loop around them. Keys are shown at once, metrics
//! ten times per second, streaming text thirty times, and nothing is drawn when nothing changed.

pub mod actions;
mod app;
pub mod chart;
pub mod editor;
pub mod keys;
pub mod paint;
pub mod panels;
pub mod series;
pub mod state;
pub mod strings;
mod terminal;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;

use std::{
    any::Any,
    io::{self, IsTerminal as _},
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use crossbeam_channel::bounded;

use self::{
    app::{App, DEADLINE},
    terminal::{Guard, PanicHook},
};
use crate::{
    protocol::{Command, Event},
    session::Session,
};

pub use self::{
    app::{End, Keep, Outcome, UiOptions},
    state::Settings,
    strings::Lang,
    terminal::export,
};

/// Capacity of the input channel.
const INPUTS: usize = 256;

/// Why the screen could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UiError {
    /// Input or output is not a terminal.
    #[error("standard input and output must be a terminal; `danlu train` needs none")]
    NoTerminal,
    /// The terminal could not be set up.
    #[error("the terminal could not be set up: {0}")]
    Setup(#[source] io::Error),
}

/// Shows a stage until the user leaves. The terminal is restored on every exit.
pub fn run(session: Session, options: UiOptions) -> Result<Outcome, UiError> {
    if !(options.piped || io::stdin().is_terminal()) || !io::stdout().is_terminal() {
        return Err(UiError::NoTerminal);
    }
    let (to, inputs) = bounded(INPUTS);
    let _hook = PanicHook::install(to.clone(), options.stderr.is_some());
    let guard = Guard;
    let trainer = session.clone();
    let result = panic::catch_unwind(AssertUnwindSafe(|| App::new(session, options, to, inputs)?.run()));
    match result {
        Ok(outcome) => outcome.map_err(UiError::Setup),
        Err(panicked) => {
            drop(guard);
            save_and_unwind(&trainer, panicked)
        }
    }
}

/// Takes standard input, which is no terminal, away from the screen: returns it for reading. The keys come from the
/// terminal from then on.
///
/// # Errors
/// If there is no terminal to read keys from.
pub fn take_input() -> io::Result<Box<dyn io::Read + Send>> {
    terminal::take_input()
}

/// Restores the terminal by system calls alone, without allocating or waiting for a lock, for a process that ends
/// abruptly. Does nothing while no screen is up.
pub fn surrender() {
    #[cfg(unix)]
    terminal::surrender();
}

/// After a panic of the screen: saves the run, then continues the panic.
fn save_and_unwind(trainer: &Session, panicked: Box<dyn Any + Send>) -> ! {
    let deadline = Instant::now() + DEADLINE;
    if trainer.commands.send_deadline(Command::Stop { save: true }, deadline).is_ok() {
        while let Ok(event) = trainer.events.recv_deadline(deadline) {
            if matches!(event, Event::Finished { .. } | Event::SaveFailed { .. }) {
                break;
            }
        }
    }
    panic::resume_unwind(panicked)
}
