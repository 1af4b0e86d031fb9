//! The state that all parts of the loop use: the open run, the stage, its configuration, the steps done, and the
//! outbox.
//!
//! In the workbench a disk error pauses the stage: the error is shown, unwritten data stay in memory, and `w` or space
//! tries again. Without a screen it ends the stage; the next launch continues from the newest checkpoint.

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
        run::{best::Figures, checkpoint::State},
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
    /// The configuration in use, and the stage's plan derived from it.
    pub config: RunConfig,
    pub plan: StagePlan,
    pub tokenizer: Tokenizer,
    pub state: State,
    /// Checkpoints that other stages started from.
    pub pinned: Vec<CheckpointId>,
    /// The held-out figures and probes of the stage, by which its checkpoints are compared.
    pub figures: Figures,
    /// The last step of the stage.
    pub target: usize,
    /// Steps submitted, and steps with a known result.
    pub submitted: usize,
    pub done: usize,
    pub paused: bool,
    /// Whether an error paused it, not the user.
    pub holds: bool,
    pub out: Outbox<'a>,
}

/// The stage's text; an error if it draws none.
pub(super) fn text<'w>(work: &'w mut (dyn StageRun + Send + 'static)) -> Result<&'w mut dyn LiveText, TrainError> {
    work.text().ok_or_else(|| {
        TrainError::Refused("this stage does not train on the run's sources; pretrain and sft do".to_owned())
    })
}

impl Core<'_> {
    /// The open run.
    pub(super) fn view(&self) -> &RunView {
        self.open.run.view()
    }

    /// Whether the workbench is open.
    pub(super) fn interactive(&self) -> bool {
        self.setup.interactive
    }

    /// Emits events in order.
    pub(super) fn emit_all(&mut self, events: Vec<Event>) {
        for event in events {
            self.figures.see(&event);
            self.out.emit(event);
        }
    }

    /// Emits a note at the current step.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.out.emit(Event::Note { step: self.done, text: text.into() });
    }

    /// Emits a refusal of a command.
    pub(super) fn refuse(&mut self, text: String) {
        self.out.emit(Event::Refused { text });
    }

    /// Pauses training.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.out.emit(Event::Paused { step: self.done });
    }

    /// Continues training.
    pub(super) fn resume(&mut self) {
        (self.paused, self.holds) = (false, false);
        self.out.emit(Event::Resumed { step: self.done });
    }

    /// Whether an error is about files or threads and the user can remove its cause.
    pub(super) fn can_wait(&self, error: &TrainError) -> bool {
        self.interactive()
            && matches!(
                error,
                TrainError::Store(_)
                    | TrainError::NoThread { .. }
                    | TrainError::Data(DataError::Io(_) | DataError::Damaged(_))
            )
    }

    /// Pauses and shows the error.
    pub(super) fn stumble(&mut self, error: &TrainError) {
        self.out.emit(Event::StoreFailed { step: self.done, error: error.to_string() });
        self.hold();
    }

    /// Pauses until the disk works again.
    pub(super) fn hold(&mut self) {
        self.holds |= !self.paused;
        self.pause();
    }

    /// Reports logs that could not be written: a pause, or the end of the stage.
    pub(super) fn check_logs(&mut self) -> Result<(), TrainError> {
        let Some(error) = self.out.failure() else { return Ok(()) };
        if !self.can_wait(&error) {
            return Err(error);
        }
        // Shown once; later lines wait behind it.
        if !self.holds {
            self.stumble(&error);
        }
        Ok(())
    }

    /// Sends the newest step's batch, token by token.
    pub(super) fn show_batch(&mut self) -> Result<(), TrainError> {
        let Some(text) = self.work.text() else { return Ok(()) };
        if let Some(view) = text.batch_view(&mut self.open.device, self.done)? {
            self.out.show(Event::Batch(Box::new(view)));
        }
        Ok(())
    }

    /// Sends one answer of the newest update, token by token.
    pub(super) fn show_rollout(&mut self, which: usize) -> Result<(), TrainError> {
        let none = || TrainError::refused("this stage samples no answers to learn from");
        let view = self.work.rollouts().map_or_else(none, |r| r.rollout(which))?;
        self.out.show(Event::Rollout(Box::new(view)));
        Ok(())
    }

    /// Ends the stage here if the last evaluations brought no better held-out figure, as many as `patience` allows.
    pub(super) fn end_early(&mut self) {
        let (step, evaluations) = (self.done, self.figures.stale());
        let lasts = self.plan.patience == 0 || evaluations < self.plan.patience || step >= self.target;
        if let Some((best, figure)) = self.figures.top().filter(|_| !lasts) {
            self.target = step;
            self.emit_all(vec![Event::EndedEarly { step, best: best as usize, figure, evaluations }]);
        }
    }

    /// Emits held-out figures; over all held-out data with `whole`.
    pub(super) fn validate(&mut self, whole: bool) -> Result<(), TrainError> {
        let events = self.work.validate(&mut self.open.device, self.done, whole)?;
        self.emit_all(events);
        Ok(())
    }
}
