//! What is measured between steps, told and logged.

use super::{Emit, Trainer};
use crate::{protocol::Event, train::error::TrainError};

impl Trainer {
    /// Held-out figures; over everything held out with `whole`.
    pub(super) fn validate(&mut self, whole: bool, emit: Emit<'_>) -> Result<(), TrainError> {
        let events = self.r.work.validate(&mut self.shop.device, self.done, whole)?;
        for event in events {
            self.tell(event, emit);
        }
        Ok(())
    }

    /// Completes the probes.
    pub(super) fn probe(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let events = self.r.work.probe(&mut self.shop.device, self.done)?;
        // The decoder held another text meanwhile: an answer under way reads its own again.
        if let Some(answer) = &mut self.answer {
            answer.reread();
        }
        self.voting.reread();
        for event in events {
            self.tell(event, emit);
        }
        Ok(())
    }

    /// Tells the newest step's last micro-batch, token by token.
    pub(super) fn show_batch(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        if let Some(view) = self.r.work.look(&mut self.shop.device, self.done)? {
            emit(Event::Batch(Box::new(view)));
        }
        Ok(())
    }

    /// Tells one answer of the newest update, token by token.
    pub(super) fn show_rollout(&mut self, which: usize, emit: Emit<'_>) -> Result<(), TrainError> {
        self.drain(emit)?;
        match self.r.work.rollout(which) {
            Ok(view) => emit(Event::Rollout(Box::new(view))),
            Err(why) => self.refuse(why, emit),
        }
        Ok(())
    }
}
