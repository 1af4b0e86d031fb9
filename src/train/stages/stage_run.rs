//! What the loop knows of a stage: a step and what is logged of it, and what only some stages can do.

use std::{collections::BTreeSet, sync::Arc};

use super::{edit_log::Entry, reward::votes::Ballot};
use crate::{
    compute::{Device, Ticket},
    data::{Example, History},
    nn::{Decoder, ModelConfig, ParamTable, Schedule, StepOutcome},
    protocol::{
        BatchView, Cause, DocumentView, DroppedView, Edit, Event, RolloutView, RoomView, SourceInfo, SourceUse,
        StepReport, TaskInfo,
    },
    store::Run,
    train::{
        config::{RunConfig, plan::StagePlan},
        corpus::{Corpus, live::LiveCorpus},
        error::TrainError,
        run::checkpoint::{Part, Span, State},
    },
};

/// A step under way.
pub(crate) struct Submitted {
    /// Tokens that it works on, padding left out.
    pub tokens: usize,
    /// The optimiser's control block, once the device is through.
    pub ticket: Ticket,
    /// Its loss, where the control block does not hold it.
    pub loss: Option<f64>,
    /// What the stage tells beside the loss, under the names that metrics.jsonl has.
    pub extra: Vec<(&'static str, f64)>,
}

impl Submitted {
    /// What is logged of the step, which took `seconds`, once its outcome is known.
    pub(crate) fn report(
        &self,
        (step, rate): (usize, f64),
        outcome: &StepOutcome,
        (total_tokens, epoch_tokens): (u64, u64),
        seconds: f64,
    ) -> StepReport {
        StepReport {
            step,
            loss: self.loss.unwrap_or_else(|| outcome.loss.into()),
            learning_rate: rate,
            grad_norm: outcome.grad_norm.into(),
            applied: outcome.applied,
            tokens_per_second: self.tokens as f64 / seconds,
            total_tokens,
            epoch: total_tokens as f64 / epoch_tokens.max(1) as f64,
            step_ms: seconds * 1e3,
            sources: Vec::new(),
            extra: self.extra.iter().map(|(name, value)| ((*name).into(), *value)).collect(),
        }
    }
}

/// One model as a checkpoint holds it.
pub(crate) struct Model<'a> {
    /// Its configuration.
    pub config: &'a ModelConfig,
    /// Where its tensors lie.
    pub table: &'a Arc<ParamTable>,
}

/// What a step has shown beside its figures.
#[derive(Default)]
pub(crate) struct Health {
    /// What is emitted.
    pub events: Vec<Event>,
    /// Why the stage ends after it.
    pub halt: Option<Halt>,
}

/// Why a stage ends; the weights are not saved.
pub(crate) enum Halt {
    /// A sanity check failed: what is learned would be noise.
    Broken(String),
    /// The guard has found that the policy collapses.
    Guarded(String),
}

/// A stage under training.
pub(crate) trait StageRun {
    /// The model under training.
    fn model(&self) -> Model<'_>;

    /// The table of the run's language model, whose weights are laid beside those of the stage.
    fn language_model(&self) -> Arc<ParamTable>;

    /// Submits step `step` (the first is 0) at a learning rate.
    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError>;

    /// Tokens drawn from each source before a step, and how often each was gone through.
    fn drawn(&mut self, step: usize) -> Vec<SourceUse>;

    /// Tokens of one pass over the training data.
    fn epoch_tokens(&self) -> u64;

    /// The training data, with each source's share as it is now.
    fn sources(&self) -> Vec<SourceInfo>;

    /// The mix and its changes, from which every batch follows.
    fn history(&self) -> &History;

    /// Held-out figures, over everything held out with `whole`.
    fn validate(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError>;

    /// The language model that answers prompts meanwhile.
    fn decoder(&mut self) -> &mut Decoder;

    /// What a checkpoint holds, copied to the host: the model first.
    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError>;

    /// Writes into the state what the stage continues from beside its tensors.
    fn write_state(&self, _state: &mut State) {}

    /// What the newest step has shown; asked once after each.
    fn health(&mut self) -> Health {
        Health::default()
    }

    /// The stage's text, which can be edited while it trains.
    fn text(&mut self) -> Option<&mut dyn LiveText> {
        None
    }

    /// The reward model, where the stage trains it: votes count from its next step on.
    fn preference(&mut self) -> Option<&mut dyn Preference> {
        None
    }

    /// The answers that the newest update learned from.
    fn rollouts(&self) -> Option<&dyn Rollouts> {
        None
    }
}

impl dyn StageRun + Send + '_ {
    /// The peak learning rate: of a stage that draws text the one in use now.
    pub(crate) fn peak(&mut self, plan: &StagePlan) -> f64 {
        self.text().map_or(plan.schedule.peak, |text| text.learning_rate())
    }

    /// The learning rate of a step: the plan's, but for a fit to votes.
    pub(crate) fn rate(&mut self, plan: &StagePlan, step: usize) -> f64 {
        let schedule = Schedule { peak: self.peak(plan), ..plan.schedule };
        let fit = self.preference().and_then(|p| p.refit_rate(step));
        fit.unwrap_or_else(|| schedule.rate(step))
    }
}

/// A stage that draws the text of the run's sources: mix, data and learning rate change while it trains.
pub(crate) trait LiveText: TextViews {
    /// The tasks whose scores are emitted; none while pretraining.
    fn tasks(&self) -> Vec<TaskInfo>;

    /// The probes, completed.
    fn probe(&mut self, device: &mut Device, done: usize) -> Result<Vec<Event>, TrainError>;

    /// The thread that watches and reads the sources.
    fn corpus(&mut self) -> &mut LiveCorpus;

    /// The weights of the sources that have something to train on, as in run.toml.
    fn weights(&self) -> Vec<(String, f64)>;

    /// The peak learning rate in use.
    fn learning_rate(&self) -> f64;

    /// Applies the edits that hold from a step on which is about to be taken.
    fn apply_edits(&mut self, step: usize, config: &RunConfig) -> Result<Vec<Event>, TrainError>;

    /// The steps (counted from 0) at which data or batch change.
    fn turns(&self) -> Result<BTreeSet<u64>, TrainError>;

    /// The first step (counted from 0), from `step` on, that an edit can act on.
    fn free_from(&self, step: u64) -> u64;

    /// Writes down what another configuration, and other text where there is some, come to from a step on. None where
    /// nothing differs.
    fn propose(
        &self,
        run: &Run,
        step: u64,
        to: (&StagePlan, &RunConfig),
        corpus: Option<&Corpus>,
        cause: Cause,
    ) -> Result<Option<Entry>, TrainError>;

    /// Adopts an edit that is on disk, from its step on.
    fn adopt(
        &mut self,
        entry: Entry,
        config: &RunConfig,
        corpus: Option<Corpus>,
        seconds: Option<f64>,
    ) -> Result<Edit, TrainError>;

    /// Adopts the probes of a corpus that differs in nothing else.
    fn adopt_probes(&mut self, corpus: Option<Corpus>);

    /// Trains on a demonstration from a step on; false where the stage has no use for it.
    fn demonstrate(&mut self, step: u64, example: Example) -> Result<bool, TrainError>;

    /// Removes versions of the data that no checkpoint can come back to.
    fn prune(&mut self, run: &Run) -> Result<(), TrainError>;

    /// The model, for tests that damage it.
    #[cfg(test)]
    fn learner(&mut self) -> &mut crate::nn::Learner;
}

/// The text of a stage as the user looks at it.
pub(crate) trait TextViews {
    /// The newest step's last micro-batch, token by token; None before the first step.
    fn batch_view(&mut self, device: &mut Device, done: usize) -> Result<Option<BatchView>, TrainError>;

    /// The first micro-batch of a step that is still to be taken (counted from 0).
    fn next_batch(&mut self, step: usize) -> Result<BatchView, TrainError>;

    /// A training document of a source, with the losses of its beginning.
    fn document(
        &mut self,
        device: &mut Device,
        source: &str,
        index: usize,
        done: usize,
    ) -> Result<DocumentView, TrainError>;

    /// Documents that were dropped from the version in use.
    fn dropped(&self, asked: &DroppedView, count: usize) -> Result<DroppedView, TrainError>;

    /// The data as they are now.
    fn data_view(&self, config: &RunConfig) -> Result<RoomView, TrainError>;
}

/// A reward model: it scores answers, and learns from votes.
pub(crate) trait Preference {
    /// Normalised scores of texts that end with their answer; None of one that is longer than the context.
    fn judge(&mut self, device: &mut Device, texts: &[Vec<u32>]) -> Result<Vec<Option<f64>>, TrainError>;

    /// Adds a vote.
    fn vote(&mut self, ballot: Ballot);

    /// Takes a vote back from a step on.
    fn unvote(&mut self, pair: u64, step: u64);

    /// Votes that a step learns from.
    fn votes(&self, step: usize) -> usize;

    /// How many pairs a vote counts for in a fit that takes a step: its share of the loss over that of a pair. 0
    /// without votes or pairs.
    fn vote_counts_for(&self, step: usize) -> f64;

    /// Pairs that it trains on.
    fn pairs_trained(&self) -> usize;

    /// Share of the votes that it agrees with; equal scores count half.
    fn agreement(&mut self, device: &mut Device, step: usize) -> Result<f64, TrainError>;

    /// Accuracy on held-out pairs.
    fn accuracy(&mut self, device: &mut Device) -> Result<f64, TrainError>;

    /// Times that it was fitted to votes.
    fn version(&self) -> usize;

    /// Begins a fit to the votes at a step.
    fn begin_refit(&mut self, step: usize) -> Span;

    /// The fit that a step is part of.
    fn refit_at(&self, step: usize) -> Option<Span>;

    /// The learning rate of a fit's step: the stage's peak, falling to nothing over the fit.
    fn refit_rate(&self, step: usize) -> Option<f64>;
}

/// A stage that draws answers to learn from.
pub(crate) trait Rollouts {
    /// Answer `which` of the newest update (modulo their number), token by token.
    fn rollout(&self, which: usize) -> Result<RolloutView, TrainError>;
}
