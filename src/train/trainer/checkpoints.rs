//! Saving: the state is copied to the host here and written on a thread of its own, one at a time.

use std::time::Instant;

use super::{Emit, Trainer, spikes::Spike};
use crate::{
    protocol::Event,
    store::StoreError,
    train::{
        error::TrainError,
        run::checkpoint::{self, Stay, Written},
    },
};

impl Trainer {
    /// Copies the state to the host and starts writing it.
    pub(super) fn save(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        if let Some(why) = self.recovery.unsavable(self.done) {
            self.tell(Event::SaveFailed { step: self.done, error: why.clone() }, emit);
            return if self.interactive { Ok(()) } else { Err(TrainError::Work(why)) };
        }
        // No checkpoint outlives the metrics of its steps.
        if let Err(e) = self.metrics.sync().and_then(|()| self.events.sync()) {
            return self.unsaved(self.done, e.into(), emit);
        }
        let parts = self.r.work.parts(&mut self.shop.device)?;
        let stay = Stay { pinned: self.pinned(), before: self.recovery.before() };
        let r = &mut self.r;
        r.state.step = self.done as u64;
        r.state.history = r.work.history().clone();
        r.work.note(&mut r.state);
        let (saver, state) = (self.shop.run.saver(), r.state.clone());
        let (model, tokenizer) = (r.work.model().config.clone(), r.tokenizer.clone());
        let step = self.done;
        let handle = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || checkpoint::save(&saver, parts, &model, &tokenizer, &state, &stay));
        match handle {
            Ok(handle) => self.writing = Some((step, Instant::now(), handle)),
            Err(e) => return self.unsaved(step, TrainError::no_thread("saving", &e), emit),
        }
        self.finish_writing(false, emit)
    }

    /// Tells that a save failed: a pause where the user watches, else the stage's end.
    fn unsaved(&mut self, step: usize, error: TrainError, emit: Emit<'_>) -> Result<(), TrainError> {
        self.trouble.failed_saves += 1;
        self.tell(Event::SaveFailed { step, error: error.to_string() }, emit);
        if !self.interactive {
            return Err(error);
        }
        self.hold(emit);
        Ok(())
    }

    /// Reports a save that has ended; with `wait`, waits for it.
    pub(super) fn finish_writing(&mut self, wait: bool, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some((step, begun, handle)) = self.writing.take_if(|w| wait || w.2.is_finished()) else { return Ok(()) };
        let result = handle.join().unwrap_or_else(|_| {
            let path = self.shop.run.view().dir().to_owned();
            let source = std::io::Error::other("the writer panicked");
            Err(StoreError::Io { doing: "save", path, source }.into())
        });
        match result {
            Ok(Written { saved, left }) => {
                let path = saved.checkpoint.path.clone();
                let bytes = saved.checkpoint.files.values().map(|f| f.bytes).sum();
                self.saved_at = step;
                self.recovery.saved(&saved.checkpoint.id);
                self.checkpoint = Some(path.clone());
                self.tell(Event::Saved { step, path, seconds: begun.elapsed().as_secs_f64(), bytes }, emit);
                if !saved.durable {
                    self.note(
                        "this file system does not promise that the checkpoint survives a power cut".to_owned(),
                        emit,
                    );
                }
                for text in left {
                    // At every save again; it is reported once.
                    if self.told.insert(text.clone()) {
                        self.note(text, emit);
                    }
                }
                Ok(())
            }
            Err(e) => {
                if let TrainError::NotFinite(what) = &e
                    && self.recovery.guards()
                {
                    self.tell(Event::SaveFailed { step, error: e.to_string() }, emit);
                    // A weight that is NaN stays NaN: no later step can be saved either.
                    let since = step as u64 + 1;
                    self.recovery.spoilt(Spike { since, reason: format!("the weights cannot be saved: {what}") });
                    return Ok(());
                }
                self.unsaved(step, e, emit)
            }
        }
    }

    /// Without a screen, an error unless the save that was asked for exists.
    pub(super) fn as_asked(&self) -> Result<(), TrainError> {
        if self.interactive || self.saved_at >= self.done {
            return Ok(());
        }
        Err(TrainError::Work(format!("step {} could not be saved; the newest checkpoint is kept", self.done)))
    }
}
