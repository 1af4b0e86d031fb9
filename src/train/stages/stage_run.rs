//! The interface between the loop and a stage: a step and its log line, and the capabilities of some stages.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    edit_log::{Entry, LiveSettings},
    reward::{taste::Taste, votes::VoteExample},
};
use crate::{
    compute::{Device, Ticket},
    data::{Example, History},
    nn::{Decoder, ModelConfig, ParamTable, Schedule, StepOutcome},
    protocol::{
        Absent, BatchView, Cause, DocumentView, DroppedView, Edit, Event, Find, RolloutView, RoomView, SourceInfo,
        SourceUse, StepReport, TaskInfo,
    },
    store::Run,
    train::{
        config::{RunConfig, plan::StagePlan},
        corpus::{Corpus, live::LiveCorpus},
        error::TrainError,
        run::checkpoint::{Part, Span, State},
    },
};

/// A submitted step.
pub(crate) struct Submitted {
    /// Its tokens without padding.
    pub tokens: usize,
    /// The optimiser's control block, available once the device is done.
    pub ticket: Ticket,
    /// Its loss, if the control block does not contain it.
    pub loss: Option<f64>,
    /// The stage's other metrics, under their names in metrics.jsonl.
    pub extra: Vec<(&'static str, f64)>,
}

impl Submitted {
    /// The log line of the step, which took `seconds`, once its outcome is known.
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
            absent: Absent::default(),
            extra: self.extra.iter().map(|(name, value)| ((*name).into(), *value)).collect(),
        }
    }
}

/// A model as a checkpoint contains it.
pub(crate) struct Model<'a> {
    /// Its configuration.
    pub config: &'a ModelConfig,
    /// The layout of its tensors.
    pub table: &'a Arc<ParamTable>,
}

/// The outcome of a step besides its figures.
#[derive(Default)]
pub(crate) struct Health {
    /// Events to emit.
    pub events: Vec<Event>,
    /// Why the stage ends after it, if so.
    pub halt: Option<Halt>,
}

/// Why a stage ends; the weights are not saved.
pub(crate) enum Halt {
    /// A sanity check failed: further training would be noise.
    Broken(String),
    /// The guard found that the policy collapses.
    Guarded(String),
}

/// A stage under training.
pub(crate) trait StageRun {
    /// The model under training.
    fn model(&self) -> Model<'_>;

    /// The table of the run's language model, with which the weights of ancestors are loaded.
    fn language_model(&self) -> Arc<ParamTable>;

    /// Submits step `step` (counted from 0) with a learning rate.
    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError>;

    /// Tokens drawn from each source before a step, and passes over it.
    fn drawn(&mut self, step: usize) -> Vec<SourceUse>;

    /// Tokens per pass over the training data.
    fn epoch_tokens(&self) -> u64;

    /// The training data, with each source's current share.
    fn sources(&self) -> Vec<SourceInfo>;

    /// The mix and its changes, from which every batch follows.
    fn history(&self) -> &History;

    /// Held-out figures; over all held-out data with `whole`.
    fn validate(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError>;

    /// The language model that answers prompts meanwhile.
    fn decoder(&mut self) -> &mut Decoder;

    /// The contents of a checkpoint, copied to the host: the main model first.
    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError>;

    /// Writes the stage's state, apart from tensors.
    fn write_state(&self, _state: &mut State) {}

    /// The coefficient of the KL term of the reward, of a stage that has one.
    fn kl_coef(&self) -> Option<f64> {
        None
    }

    /// Sets that coefficient from the next step on.
    fn set_kl_coef(&mut self, _coefficient: f64) {}

    /// The outcome of the newest step; called once after each.
    fn health(&mut self) -> Health {
        Health::default()
    }

    /// The stage's text, if it can be edited during training.
    fn text(&mut self) -> Option<&mut dyn LiveText> {
        None
    }

    /// The reward model, if the stage trains it: votes count from its next step on.
    fn preference(&mut self) -> Option<&mut dyn Preference> {
        None
    }

    /// The answers of the newest update, if the stage samples any.
    fn rollouts(&self) -> Option<&dyn Rollouts> {
        None
    }
}

impl dyn StageRun + Send + '_ {
    /// The peak learning rate; of a stage that draws text the current one.
    pub(crate) fn peak(&mut self, plan: &StagePlan) -> f64 {
        self.text().map_or(plan.schedule.peak, |text| text.settings().learning_rate)
    }

    /// The learning rate of a step: the plan's, except during a fit to votes.
    pub(crate) fn rate(&mut self, plan: &StagePlan, step: usize) -> f64 {
        let schedule = Schedule { peak: self.peak(plan), ..plan.schedule };
        let fit = self.preference().and_then(|p| p.refit_rate(step));
        fit.unwrap_or_else(|| schedule.rate(step))
    }
}

/// A stage that draws the text of the run's sources: mix, data and learning rate can change during training.
pub(crate) trait LiveText: TextViews {
    /// The tasks with scores; empty in pretraining.
    fn tasks(&self) -> Vec<TaskInfo>;

    /// Completes the probes.
    fn probe(&mut self, device: &mut Device, done: usize) -> Result<Vec<Event>, TrainError>;

    /// The thread that watches and rereads the sources.
    fn corpus(&mut self) -> &mut LiveCorpus;

    /// The weights of the sources with training text, as in run.toml.
    fn weights(&self) -> Vec<(String, f64)>;

    /// The current settings.
    fn settings(&self) -> &LiveSettings;

    /// Gets ready for the batches and the dropout of a plan, before they are logged.
    fn prepare_for(&mut self, device: &mut Device, plan: &StagePlan) -> Result<(), TrainError>;

    /// Applies the edits for a step that is about to be taken.
    fn apply_edits(&mut self, step: usize, config: &RunConfig) -> Result<Vec<Event>, TrainError>;

    /// The steps (counted from 0) at which data or batch change.
    fn turns(&self) -> Result<BTreeSet<u64>, TrainError>;

    /// The first step (counted from 0), from `step` on, that an edit can affect.
    fn free_from(&self, step: u64) -> u64;

    /// Logs the settings that a new configuration, and new text if given, imply from a step on. None if nothing
    /// differs.
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

    /// Trains on a demonstration from a step on; false if the stage does not use it.
    fn demonstrate(&mut self, step: u64, example: Example) -> Result<bool, TrainError>;

    /// Removes versions of the data that no checkpoint can return to.
    fn prune(&mut self, run: &Run) -> Result<(), TrainError>;

    /// The learner, for tests that damage it.
    #[cfg(test)]
    fn learner(&mut self) -> &mut crate::nn::Learner;
}

/// Views of a stage's text for the screen.
pub(crate) trait TextViews {
    /// The last micro-batch of the newest step, token by token; None before the first step.
    fn batch_view(&mut self, device: &mut Device, done: usize) -> Result<Option<BatchView>, TrainError>;

    /// The first micro-batch of a future step (counted from 0).
    fn next_batch(&mut self, step: usize) -> Result<BatchView, TrainError>;

    /// A training document of a source, with the losses of its beginning.
    fn document(
        &mut self,
        device: &mut Device,
        source: &str,
        index: usize,
        done: usize,
    ) -> Result<DocumentView, TrainError>;

    /// The index of the next document of a source with a text, from this one on.
    fn find_document(&self, source: &str, from: usize, find: &Find) -> Result<usize, TrainError>;

    /// Documents dropped from the version in use.
    fn dropped(&self, asked: &DroppedView, count: usize) -> Result<DroppedView, TrainError>;

    /// The current data.
    fn data_view(&self, config: &RunConfig) -> Result<RoomView, TrainError>;
}

/// A reward model that scores answers and learns from votes.
pub(crate) trait Preference {
    /// Normalised scores of texts that end with their answer; None for one that exceeds the context.
    fn judge(&mut self, device: &mut Device, texts: &[Vec<u32>]) -> Result<Vec<Option<f64>>, TrainError>;

    /// Adds a vote.
    fn vote(&mut self, vote: VoteExample);

    /// Takes a vote back from a step on.
    fn unvote(&mut self, pair: u64, step: u64);

    /// Number of votes that a step learns from.
    fn votes(&self, step: usize) -> usize;

    /// The weight of a vote relative to a pair in a fit at a step: its share of the loss over a pair's. 0 without votes
    /// or pairs.
    fn vote_counts_for(&self, step: usize) -> f64;

    /// Number of training pairs.
    fn pairs_trained(&self) -> usize;

    /// Share of the votes that it agrees with; equal scores count half.
    fn agreement(&mut self, device: &mut Device, step: usize) -> Result<f64, TrainError>;

    /// Accuracy on held-out pairs.
    fn accuracy(&mut self, device: &mut Device) -> Result<f64, TrainError>;

    /// Number of fits to votes.
    fn version(&self) -> usize;

    /// Fits the taste to the votes that count; false where votes train the network instead, in steps.
    fn learn(&mut self, device: &mut Device) -> Result<bool, TrainError>;

    /// Whether the taste is of other votes than those that count; None where votes train the network.
    fn waits(&self, step: usize) -> Option<bool>;

    /// The taste, with the number of votes that the taste of the others predicts and how many were tried; None where
    /// votes train the network.
    fn taste(&self) -> Option<(&Taste, Option<(usize, usize)>)>;

    /// Starts a fit to the votes at a step.
    fn begin_refit(&mut self, step: usize) -> Span;

    /// The fit that a step belongs to.
    fn refit_at(&self, step: usize) -> Option<Span>;

    /// The learning rate in a fit: the stage's peak, decaying to 0 over the fit.
    fn refit_rate(&self, step: usize) -> Option<f64>;
}

/// A stage that samples answers to learn from.
pub(crate) trait Rollouts {
    /// Answer `which` of the newest update (modulo their number), token by token.
    fn rollout(&self, which: usize) -> Result<RolloutView, TrainError>;
}
