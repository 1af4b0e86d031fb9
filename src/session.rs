//! The wall between threads: commands in, events out.
//!
//! A [`Session`] is the screen's whole view of a trainer: a sender of [`Command`]s and a receiver of
//! [`Event`]s. The trainer runs on its own thread behind it.

use crossbeam_channel::{Receiver, Sender};

pub use crate::train::event::{Command, Event, RunInfo, Sampling, SourceInfo, SourceUse, StepReport};

/// Commands that may wait for the trainer.
pub const COMMANDS: usize = 64;
/// Events that may wait for the screen; steps beyond it are gathered by the trainer.
pub const EVENTS: usize = 256;

/// A running stage, seen from outside.
pub struct Session {
    /// Wishes to the trainer. Never blocks a key: use `try_send`.
    pub commands: Sender<Command>,
    /// What the trainer tells. Disconnected after [`Event::Finished`].
    pub events: Receiver<Event>,
}
