//! An error of the disk while the user watches: the stage pauses with the error shown, what was to be written stays in
//! memory, and `w` or space tries again. Without a screen it ends the stage; the newest checkpoint is what the next
//! start continues from.

use std::time::Instant;

use super::{Emit, Trainer};
use crate::{
    protocol::{Cause, Event},
    train::{config::RunConfig, corpus::Corpus, error::TrainError},
};

/// A change of what is drawn that could not be written down, and so does not hold yet.
pub(super) struct Untaken {
    pub config: RunConfig,
    pub corpus: Option<Corpus>,
    pub cause: Cause,
    pub since: Option<Instant>,
}

/// What the disk has refused.
#[derive(Default)]
pub(super) struct Trouble {
    /// An error of a log that is to be told.
    log: Option<TrainError>,
    /// Whether the stage stands still because of an error, and not because the user paused it.
    holds: bool,
    /// Saves that failed.
    pub failed_saves: usize,
    /// The change that waits for the disk.
    pub untaken: Option<Untaken>,
}

impl Trouble {
    /// Whether the stage stands still until the disk works again.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// Notes that a log could not be written; its lines wait.
    pub(super) fn note(&mut self, error: impl Into<TrainError>) {
        self.log.get_or_insert(error.into());
    }
}

impl Trainer {
    /// Whether an error is one to wait for: of the files or of the system's threads, with the user there to mend it.
    pub(super) fn can_wait(&self, error: &TrainError) -> bool {
        self.interactive
            && matches!(
                error,
                TrainError::Store(_)
                    | TrainError::NoThread { .. }
                    | TrainError::Data(crate::data::DataError::Io(_) | crate::data::DataError::Damaged(_))
            )
    }

    /// Tells of logs that could not be written since the last look: a pause, or the stage's end.
    pub(super) fn look_at_logs(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some(error) = self.trouble.log.take() else { return Ok(()) };
        if !self.can_wait(&error) {
            return Err(error);
        }
        // Told once; what is written meanwhile waits behind it.
        if !self.trouble.holds {
            self.stumble(&error, emit);
        }
        Ok(())
    }

    /// Pauses with the error on the screen.
    pub(super) fn stumble(&mut self, error: &TrainError, emit: Emit<'_>) {
        self.tell(Event::StoreFailed { step: self.done, error: error.to_string() }, emit);
        self.hold(emit);
    }

    /// Pauses until the disk works again.
    pub(super) fn hold(&mut self, emit: Emit<'_>) {
        self.trouble.holds |= !self.paused;
        self.paused = true;
        self.tell(Event::Paused { step: self.done }, emit);
    }

    /// Tries again what could not be written; whether that is all there now.
    pub(super) fn recover(&mut self, emit: Emit<'_>) -> Result<bool, TrainError> {
        if let Err(e) = self.metrics.flush().and_then(|()| self.events.flush()) {
            self.stumble(&e.into(), emit);
            return Ok(false);
        }
        self.trouble.log = None;
        if let Some(Untaken { config, corpus, cause, since }) = self.trouble.untaken.take() {
            self.edit(config, corpus, cause, since, emit)?;
        }
        Ok(self.trouble.untaken.is_none())
    }

    /// Saves because a person asked for it. Where the stage stood still because of an error, it goes on once that is done.
    pub(super) fn save_on_wish(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        self.finish_writing(true, emit)?;
        let (held, failed) = (self.trouble.holds, self.trouble.failed_saves);
        if held && !self.recover(emit)? {
            return Ok(());
        }
        self.save(emit)?;
        if held {
            self.finish_writing(true, emit)?;
            if self.trouble.failed_saves == failed {
                self.resume(emit);
            }
        }
        Ok(())
    }

    /// Goes on stepping.
    pub(super) fn resume(&mut self, emit: Emit<'_>) {
        (self.paused, self.trouble.holds) = (false, false);
        self.tell(Event::Resumed { step: self.done }, emit);
    }
}
