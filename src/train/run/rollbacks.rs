//! Rollbacks of stages to a checkpoint after a spike: `rollbacks.jsonl`.
//!
//! An entry is on disk before it takes effect. The checkpoint to continue from and the lower learning rate of the
//! repeated steps follow from this file alone, so that a killed process continues to the same bits.

use serde::{Deserialize, Serialize};

use crate::{
    base::StageId,
    store::{CheckpointId, Run, RunView, each_record},
    train::error::TrainError,
};

/// Factor on the learning rate per attempt.
const SLOWER: f64 = 0.25;
/// Number of steps that a step is compared with.
pub(crate) const WINDOW: usize = 128;
/// A checkpoint this few steps before a spike may contain its cause.
const NEAR: u64 = 8;

/// One rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rollback {
    /// The stage.
    pub stage: StageId,
    /// The checkpoint that it continues from; None if it starts over.
    pub checkpoint: Option<String>,
    /// Steps in it.
    pub step: u64,
    /// The first step of the spike.
    pub spike: u64,
    /// The learning rate is lower up to this step.
    pub until: u64,
    /// The factor on the learning rate of these steps.
    pub factor: f64,
    /// The peak learning rate that led to the spike. The factor does not apply once the user sets a lower one.
    pub learning_rate: f64,
    /// Which number spiked.
    pub reason: String,
    /// Checkpoints that are not loaded any more.
    pub passed: Vec<String>,
    /// The stage failed: this entry and earlier ones do not apply.
    pub given_up: bool,
}

/// Consecutive rollbacks of a stage, oldest first. A stretch without a spike ends the chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chain(Vec<Rollback>);

impl Chain {
    /// Reads the entries that apply to a stage.
    pub(crate) fn read(view: &RunView, stage: StageId) -> Result<Chain, TrainError> {
        let mut chain = Chain::default();
        each_record(&**view.disk(), &view.rollbacks_path(), |record| {
            // Skip lines of later versions or of users.
            if let Ok(entry) = serde_json::from_value::<Rollback>(record.clone())
                && entry.stage == stage
            {
                chain.add(entry);
            }
        })?;
        Ok(chain)
    }

    /// Writes an entry to disk.
    pub(crate) fn write(run: &Run, entry: &Rollback) -> Result<(), TrainError> {
        let mut log = run.rollbacks()?;
        log.append(entry)?;
        log.sync()?;
        Ok(())
    }

    fn add(&mut self, entry: Rollback) {
        if entry.given_up {
            self.0.clear();
        } else {
            if !self.continues(entry.spike) {
                self.0.clear();
            }
            self.0.push(entry);
        }
    }

    /// Whether a spike belongs to this chain.
    fn continues(&self, spike: u64) -> bool {
        self.0.last().is_some_and(|last| spike <= last.until.saturating_add(WINDOW as u64))
    }

    /// How often the stage has been rolled back already when a spike is seen at this step.
    pub(crate) fn tries(&self, spike: u64) -> usize {
        if self.continues(spike) { self.0.len() } else { 0 }
    }

    /// Whether a checkpoint is not loaded any more.
    pub(crate) fn passes(&self, id: &CheckpointId) -> bool {
        let name = id.to_string();
        self.0.iter().any(|entry| entry.passed.contains(&name))
    }

    /// The step of the newest spike; checkpoints from before have good weights.
    pub(crate) fn spike(&self) -> Option<u64> {
        self.0.last().map(|entry| entry.spike)
    }

    /// The first spike that the stage at this step has not yet passed.
    pub(crate) fn open_at(&self, step: u64) -> Option<u64> {
        self.0.first().filter(|_| self.continues(step)).map(|entry| entry.spike)
    }

    /// The factor on the learning rate of a step (counted from 0) for this peak.
    pub(crate) fn factor(&self, step: u64, peak: f64) -> f64 {
        let holds = |e: &&Rollback| (e.step..e.until).contains(&step) && peak >= e.learning_rate;
        self.0.iter().filter(holds).map(|e| e.factor).fold(1.0, f64::min)
    }

    /// Whether a checkpoint may be loaded after a spike. The loss of the spike's first step belongs to the weights
    /// after the step before, so it must be older; a checkpoint from which a spike followed at once is excluded.
    pub(crate) fn may_serve(&self, id: &CheckpointId, spike: u64) -> bool {
        let tried = self.0.last().filter(|_| self.continues(spike));
        let led = |e: &Rollback| e.checkpoint.as_ref() == Some(&id.to_string()) && spike <= e.step + NEAR;
        id.step + 2 <= spike && !self.passes(id) && !tried.is_some_and(led)
    }

    /// The entry for a rollback from a spike to a checkpoint.
    pub(crate) fn next(
        &self,
        (stage, learning_rate): (StageId, f64),
        (spike, reason): (u64, &str),
        checkpoint: Option<&CheckpointId>,
        passed: Vec<String>,
    ) -> Rollback {
        Rollback {
            stage,
            checkpoint: checkpoint.map(ToString::to_string),
            step: checkpoint.map_or(0, |id| id.step),
            spike,
            until: spike + WINDOW as u64,
            factor: SLOWER.powi(self.tries(spike) as i32 + 1),
            learning_rate,
            reason: reason.to_owned(),
            passed,
            given_up: false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::store::RealFs;

    fn id(step: u64) -> CheckpointId {
        CheckpointId::new(StageId::Pretrain, step)
    }

    fn set_back(chain: &Chain, spike: u64, to: u64, passed: &[u64]) -> Rollback {
        let passed = passed.iter().map(|step| id(*step).to_string()).collect();
        chain.next((StageId::Pretrain, 1.0), (spike, "the loss jumped"), Some(&id(to)), passed)
    }

    #[test]
    fn each_try_is_slower_and_a_quiet_stretch_ends_them() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::create(RealFs::shared(), &dir.path().join("r"), "").unwrap();
        let read = || Chain::read(run.view(), StageId::Pretrain).unwrap();
        assert_eq!((read().tries(200), read().factor(150, 1.0)), (0, 1.0));
        Chain::write(&run, &set_back(&read(), 202, 180, &[201])).unwrap();
        Chain::write(&run, &set_back(&read(), 205, 180, &[201])).unwrap();
        let two = read();
        assert_eq!((two.tries(300), two.tries(205 + 128 + 128), two.tries(205 + 128 + 129)), (2, 2, 0));
        assert_eq!([two.open_at(461), two.open_at(462)], [Some(202), None]);
        assert_eq!([179, 180, 332, 333].map(|step| two.factor(step, 1.0)), [1.0, 0.0625, 0.0625, 1.0]);
        assert_eq!(two.factor(200, 0.5), 1.0, "a lower rate was set since");
        assert!(two.passes(&id(201)) && !two.passes(&id(200)));
        assert_eq!(Chain::read(run.view(), StageId::Sft).unwrap(), Chain::default());
        // A later spike starts another chain; giving up ends it.
        let later = set_back(&two, 1000, 990, &[]);
        assert_eq!(later.factor, 0.25);
        Chain::write(&run, &later).unwrap();
        assert_eq!((read().tries(1001), read().factor(200, 1.0), read().passes(&id(201))), (1, 1.0, false));
        Chain::write(&run, &Rollback { given_up: true, ..later }).unwrap();
        assert_eq!(read(), Chain::default());
    }

    #[test]
    fn a_checkpoint_that_led_to_a_spike_at_once_gives_way_to_an_older_one() {
        let none = Chain::default();
        assert!(none.may_serve(&id(200), 202) && !none.may_serve(&id(201), 202));
        let mut chain = none;
        chain.add(set_back(&Chain::default(), 203, 200, &[201, 202]));
        assert!(!chain.may_serve(&id(200), 202) && chain.may_serve(&id(180), 202));
        assert!(chain.may_serve(&id(200), 209), "it trained long enough");
        assert!(!chain.may_serve(&id(201), 300), "it was passed over");
    }
}
