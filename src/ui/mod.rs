//! The terminal. Knows the session and the protocol, and nothing below.
//!
//! Elm with layers: [`state`] is data, [`mod@update`] takes one message in and returns commands, [`view`] paints the
//! state and returns what it laid out; all three are pure. [`run`] is the loop around them: keys are shown at once,
//! metrics ten times a second, streaming text thirty times, and nothing is painted when nothing changed.

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
    app::{End, Outcome, UiOptions},
    strings::Lang,
};

/// Keys that may wait.
const INPUTS: usize = 256;

/// Why there was no screen.
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

/// Shows a stage until the person leaves it. The terminal is given back on every way out.
pub fn run(session: Session, options: UiOptions) -> Result<Outcome, UiError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
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

/// Gives the terminal back by system calls alone, where the process is about to end without another way out: nothing is
/// allocated and no lock is waited for. Does nothing while no screen is up.
pub fn surrender() {
    #[cfg(unix)]
    terminal::surrender();
}

/// The screen died of a bug; the run must not.
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
