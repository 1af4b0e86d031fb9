//! What happens when a stage's numbers jump: nothing is saved meanwhile, and the stage returns to a checkpoint from
//! before the jump. On the screen it waits for the user's decision.

use std::collections::BTreeSet;

use super::{
    Emit, Trainer,
    spikes::{Seen, Spike, SpikePlan, Spikes},
};
use crate::{
    base::StageId,
    protocol::{Event, Line, StepReport},
    store::{Checkpoint, CheckpointId, RunView, StoreError, each_record},
    train::{
        error::TrainError,
        run::{
            checkpoint,
            rollbacks::{Chain, Rollback},
        },
        stages::lm::edit_log,
    },
};

/// How a stage ends that continues from an earlier checkpoint.
pub(super) const SET_BACK: &str = "set back";

/// The metric of a step that was not applied since it only lowered the loss scale of f16: it counts towards no limit
/// and prevents no save.
pub(super) const LOWERED: &str = "loss_scale_lowered";

/// The numbers of a stage so far, and the times that it was set back.
pub(super) struct Recovery {
    plan: SpikePlan,
    spikes: Spikes,
    chain: Chain,
    /// Steps, counted from 0, at which the data or the batch change: losses before and after cannot be compared.
    turns: BTreeSet<u64>,
    /// A spike that has not been answered yet.
    seen: Option<Spike>,
    /// The spike that has stopped the stage, until the user decides.
    stopped: Option<Spike>,
    /// Checkpoints written in this sitting.
    saved: Vec<CheckpointId>,
    /// Whether a save fell due while none was allowed.
    pub overdue: bool,
}

impl Recovery {
    /// The state after `done` steps, out of the run's logs.
    pub(super) fn open(view: &RunView, stage: StageId, done: u64, plan: SpikePlan) -> Result<Recovery, TrainError> {
        let (spikes, chain) = (Spikes::new(plan), Chain::read(view, stage)?);
        let (turns, saved) = (turns(view, stage)?, Vec::new());
        let mut recovery = Recovery { plan, spikes, chain, turns, seen: None, stopped: None, saved, overdue: false };
        each_record(&**view.disk(), &view.metrics_path(), |record| {
            if let Some(Line { stage: of, record: step, .. }) = Line::<StepReport>::read(record)
                && of == stage
                && step.step as u64 <= done
                && !step.extra.iter().any(|(name, _)| name == LOWERED)
            {
                recovery.look(seen(&step));
            }
        })?;
        Ok(recovery)
    }

    fn look(&mut self, seen: Seen) -> Option<Spike> {
        if self.turns.contains(&seen.step.saturating_sub(1)) {
            self.spikes.start_over();
        }
        self.spikes.see(seen)
    }

    /// Looks at a step that has been answered.
    pub(super) fn see(&mut self, step: &StepReport) {
        if let Some(spike) = self.look(seen(step)) {
            self.spoilt(spike);
        }
    }

    /// Whether spikes stop the stage.
    pub(super) fn guards(&self) -> bool {
        self.plan.enabled
    }

    /// Takes note of a spike, or of weights that cannot be saved.
    pub(super) fn spoilt(&mut self, spike: Spike) {
        if self.stopped.is_none() {
            self.seen.get_or_insert(spike);
        }
    }

    /// Whether a spike was seen and not answered yet.
    pub(super) fn spiked(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether a spike has stopped the stage.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Continues with the weights as they are.
    pub(super) fn go_on(&mut self) {
        self.stopped = None;
    }

    /// Why nothing can be saved now.
    pub(super) fn unsavable(&self, step: usize) -> Option<String> {
        if self.stopped.is_some() {
            return Some(
                "the guard has stopped the stage; continue it, or return to the checkpoint from before the spike"
                    .to_owned(),
            );
        }
        self.spikes.skipped().then(|| {
            format!(
                "step {step} was not applied, since its loss or gradient is not finite; nothing is saved before one is applied again"
            )
        })
    }

    /// Whether a save that falls due waits.
    pub(super) fn waits(&self) -> bool {
        self.spikes.skipped() || (self.plan.enabled && self.spikes.striking())
    }

    /// A checkpoint is written.
    pub(super) fn saved(&mut self, id: &CheckpointId) {
        self.saved.push(id.clone());
    }

    /// The newest checkpoint from before this step holds weights from before the newest trouble.
    pub(super) fn before(&self) -> Option<u64> {
        // A step's loss is that of the weights after the step before.
        self.spikes.trouble().or(self.chain.spike()).map(|step| step.saturating_sub(1))
    }

    /// By what the rate of a step is multiplied.
    pub(super) fn factor(&self, step: usize, peak: f64) -> f64 {
        self.chain.factor(step as u64, peak)
    }
}

fn seen(step: &StepReport) -> Seen {
    Seen { step: step.step as u64, loss: step.loss, grad_norm: step.grad_norm, skipped: !step.applied }
}

/// The steps at which a stage changes its texts, their shares or its batch.
fn turns(view: &RunView, stage: StageId) -> Result<BTreeSet<u64>, TrainError> {
    let entries = edit_log::line(view, stage)?;
    let others = entries.windows(2).filter(|pair| {
        let mut before = pair[0].terms.clone();
        before.learning_rate = pair[1].terms.learning_rate;
        before != pair[1].terms
    });
    Ok(others.map(|pair| pair[1].step).collect())
}

impl Trainer {
    /// Reads again from which steps on the data or the batch change.
    pub(super) fn turned(&mut self) -> Result<(), TrainError> {
        self.recovery.turns = turns(self.shop.run.view(), self.r.stage)?;
        Ok(())
    }

    /// Answers a spike: without a screen the stage returns to a checkpoint, a few times; on the screen it waits.
    pub(super) fn answer_spike(&mut self, emit: Emit<'_>) -> Result<Option<StageId>, TrainError> {
        self.drain(emit)?;
        self.finish_writing(true, emit)?;
        let Some(spike) = self.recovery.seen.take() else { return Ok(None) };
        let (stage, step, peak) = (self.r.stage, self.done, self.peak());
        let not_finite = self.recovery.spikes.skipped();
        if !self.recovery.plan.enabled {
            if not_finite {
                return Err(TrainError::Work(format!(
                    "step {}: {}; the newest checkpoint is kept. Lower learning_rate (now {peak:.1e}) or look at the data of these steps",
                    spike.since, spike.reason
                )));
            }
            self.note(format!("from step {} on {}; [guard] spikes is false", spike.since, spike.reason), emit);
            return Ok(None);
        }
        let back = self.way_back(&spike)?;
        let text = format!("from step {} on {}", spike.since, spike.reason);
        if self.interactive {
            let checkpoint = back.map(|c| c.id.to_string());
            self.recovery.stopped = Some(spike);
            self.tell(Event::Guarded { step, reason: text, checkpoint, may_go_on: true }, emit);
            self.paused = true;
            self.tell(Event::Paused { step }, emit);
            return Ok(None);
        }
        let tries = self.recovery.chain.tries(spike.since);
        if tries >= self.recovery.plan.rollbacks {
            let kept = self.before(spike.since)?.pop();
            let kept = kept.map_or("no checkpoint is from before".to_owned(), |id| format!("{id} is kept"));
            let entry = self.entry(&spike, back.as_ref(), peak)?;
            self.withdraw(&spike, emit);
            Chain::write(&self.shop.run, &Rollback { given_up: true, ..entry })?;
            return Err(TrainError::Work(format!(
                "{text}, after {tries} returns to a checkpoint with a lower rate; {kept}. Lower learning_rate (now {peak:.1e}) or max_grad_norm, or look at the data of these steps; the bounds are [guard] spike_loss, spike_deviations and spike_grad_norm"
            )));
        }
        self.set_back(&spike, back.as_ref(), emit)?;
        Ok(Some(stage))
    }

    /// Returns to the checkpoint from before the spike that has stopped the stage.
    pub(super) fn go_back(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some(spike) = self.recovery.stopped.take() else { return Ok(()) };
        let back = self.way_back(&spike)?;
        self.set_back(&spike, back.as_ref(), emit)
    }

    /// The newest checkpoint from before a spike that can be loaded.
    fn way_back(&self, spike: &Spike) -> Result<Option<Checkpoint>, TrainError> {
        let chain = &self.recovery.chain;
        let found = self.shop.run.view().checkpoints().newest_that(Some(self.r.stage.name()), |c| {
            if !chain.may_serve(&c.id, spike.since) {
                return Err(StoreError::Input { path: c.path, what: "it is not from before the spike".to_owned() });
            }
            checkpoint::sound(&c).map(|()| c)
        })?;
        Ok(found.found)
    }

    /// The stage's checkpoints whose weights no step from this one on has changed, oldest first.
    fn before(&self, step: u64) -> Result<Vec<CheckpointId>, StoreError> {
        let mut there = self.shop.run.view().checkpoints().list()?;
        there.retain(|id| id.stage == self.r.stage && id.step + 2 <= step);
        Ok(there)
    }

    /// Checkpoints that are not removed: other stages started from them, or the stage has returned after a spike and
    /// has not left it behind.
    pub(super) fn pinned(&self) -> Vec<CheckpointId> {
        let mut pinned = self.r.pinned.clone();
        // A folder that cannot be listed fails the save itself, or nothing is removed.
        let early = self.recovery.chain.open_at(self.done as u64).and_then(|spike| self.before(spike).ok());
        pinned.extend(early.into_iter().flatten());
        pinned
    }

    fn entry(&self, spike: &Spike, back: Option<&Checkpoint>, peak: f64) -> Result<Rollback, TrainError> {
        let (stage, id) = (self.r.stage, back.map(|c| &c.id));
        let there = self.shop.run.view().checkpoints().list()?;
        let newer = there.iter().filter(|other| other.stage == stage && id.is_none_or(|id| *other > id));
        let passed = newer.map(ToString::to_string).collect();
        Ok(self.recovery.chain.next((stage, peak), (spike.since, &spike.reason), id, passed))
    }

    fn set_back(&mut self, spike: &Spike, back: Option<&Checkpoint>, emit: Emit<'_>) -> Result<(), TrainError> {
        let entry = self.entry(spike, back, self.peak())?;
        Chain::write(&self.shop.run, &entry)?;
        self.withdraw(spike, emit);
        let Rollback { checkpoint, step, spike, until, factor, reason, .. } = entry;
        let (step, spike, until) = (step as usize, spike as usize, until as usize);
        if checkpoint.is_some() {
            // `--from` is for a stage without checkpoints.
            self.setup.from = None;
        }
        self.tell(Event::SetBack { step, spike, until, factor, reason, checkpoint }, emit);
        Ok(())
    }

    /// Removes the checkpoints of this sitting whose weights are those of the spike.
    fn withdraw(&mut self, spike: &Spike, emit: Emit<'_>) {
        let saver = self.shop.run.saver();
        let spoilt = |id: &&CheckpointId| id.step + 1 >= spike.since && !self.r.pinned.contains(id);
        let spoilt: Vec<CheckpointId> = self.recovery.saved.iter().filter(spoilt).cloned().collect();
        for id in spoilt {
            let text = match saver.remove(&id) {
                Ok(()) => format!("checkpoint {id} was written after the weights had gone wrong, and is removed"),
                Err(e) => format!("checkpoint {id} was written after the weights had gone wrong: {e}"),
            };
            self.note(text, emit);
        }
    }

    /// The peak learning rate as it is now.
    pub(super) fn peak(&self) -> f64 {
        self.r.work.peak().unwrap_or(self.r.plan.schedule.peak)
    }
}
