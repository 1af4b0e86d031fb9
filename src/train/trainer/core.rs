//! What all parts of the loop work with: the open run, the stage, its configuration, the steps done, and the outbox.
//!
//! An error of the disk pauses the stage while the user watches: the error is shown, what was to be written stays in
//! memory, and `w` or space tries again. Without a screen it ends the stage; the next start continues from the newest
//! checkpoint.

use super::outbox::Outbox;
use crate::{
    base::StageId,
    data::{DataError, Tokenizer},
    protocol::Event,
    store::{CheckpointId, RunView},
    train::{
        config::{RunConfig, plan::StagePlan, setup::Setup},
        error::TrainError,
        open::open_run::OpenRun,
        run::checkpoint::State,
        stages::stage_run::{LiveText, StageRun},
    },
};

/// Why a stage has ended, and the stage to open next.
pub(super) type Ended = (&'static str, Option<StageId>);

/// See the module's documentation.
pub(super) struct Core<'a> {
    pub open: OpenRun,
    pub setup: Setup,
    pub stage: StageId,
    pub work: Box<dyn StageRun + Send>,
    /// The configuration in use, and the stage's plan that follows from it.
    pub config: RunConfig,
    pub plan: StagePlan,
    pub tokenizer: Tokenizer,
    pub state: State,
    /// Checkpoints that other stages started from.
    pub pinned: Vec<CheckpointId>,
    /// The step at which the stage ends.
    pub target: usize,
    /// Steps submitted, and steps whose result is known.
    pub submitted: usize,
    pub done: usize,
    pub paused: bool,
    /// Whether it is paused because of an error, and not by the user.
    pub holds: bool,
    pub out: Outbox<'a>,
}

/// The stage's text; refuses where it draws none.
pub(super) fn text<'w>(work: &'w mut (dyn StageRun + Send + 'static)) -> Result<&'w mut dyn LiveText, TrainError> {
    work.text().ok_or_else(|| {
        TrainError::Refused("this stage does not train on the run's sources; pretrain and sft do".to_owned())
    })
}

impl Core<'_> {
    /// The open run's folder.
    pub(super) fn view(&self) -> &RunView {
        self.open.run.view()
    }

    /// Whether the user watches.
    pub(super) fn interactive(&self) -> bool {
        self.setup.interactive
    }

    /// Emits events in order.
    pub(super) fn emit_all(&mut self, events: Vec<Event>) {
        for event in events {
            self.out.emit(event);
        }
    }

    /// Emits a note at the step done.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.out.emit(Event::Note { step: self.done, text: text.into() });
    }

    /// Answers a command that is not obeyed.
    pub(super) fn refuse(&mut self, text: String) {
        self.out.emit(Event::Refused { text });
    }

    /// Stops stepping.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.out.emit(Event::Paused { step: self.done });
    }

    /// Continues stepping.
    pub(super) fn resume(&mut self) {
        (self.paused, self.holds) = (false, false);
        self.out.emit(Event::Resumed { step: self.done });
    }

    /// Whether an error is one of the files or of the system's threads, with the user there to remove its cause.
    pub(super) fn can_wait(&self, error: &TrainError) -> bool {
        self.interactive()
            && matches!(
                error,
                TrainError::Store(_)
                    | TrainError::NoThread { .. }
                    | TrainError::Data(DataError::Io(_) | DataError::Damaged(_))
            )
    }

    /// Pauses with the error on the screen.
    pub(super) fn stumble(&mut self, error: &TrainError) {
        self.out.emit(Event::StoreFailed { step: self.done, error: error.to_string() });
        self.hold();
    }

    /// Pauses until the disk works again.
    pub(super) fn hold(&mut self) {
        self.holds |= !self.paused;
        self.pause();
    }

    /// Reports logs that could not be written: a pause, or the stage's end.
    pub(super) fn check_logs(&mut self) -> Result<(), TrainError> {
        let Some(error) = self.out.failure() else { return Ok(()) };
        if !self.can_wait(&error) {
            return Err(error);
        }
        // Shown once; what is written meanwhile waits behind it.
        if !self.holds {
            self.stumble(&error);
        }
        Ok(())
    }

    /// The newest step's batch, token by token.
    pub(super) fn show_batch(&mut self) -> Result<(), TrainError> {
        let Some(text) = self.work.text() else { return Ok(()) };
        if let Some(view) = text.batch_view(&mut self.open.device, self.done)? {
            self.out.show(Event::Batch(Box::new(view)));
        }
        Ok(())
    }

    /// One answer of the newest update, token by token.
    pub(super) fn show_rollout(&mut self, which: usize) -> Result<(), TrainError> {
        let none = || TrainError::refused("this stage samples no answers to learn from");
        let view = self.work.rollouts().map_or_else(none, |r| r.rollout(which))?;
        self.out.show(Event::Rollout(Box::new(view)));
        Ok(())
    }

    /// Held-out figures; over everything held out with `whole`.
    pub(super) fn validate(&mut self, whole: bool) -> Result<(), TrainError> {
        let events = self.work.validate(&mut self.open.device, self.done, whole)?;
        self.emit_all(events);
        Ok(())
    }
}
