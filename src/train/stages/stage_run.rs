//! What a stage does, behind the loop that all stages share.

use std::sync::Arc;

use super::{lm::Lm, reward::model::RewardModel};
use crate::{
    compute::{Device, Ticket},
    data::Example,
    nn::{Decoder, ModelConfig, ParamTable},
    protocol::{BatchView, Event, RolloutView, SourceInfo, SourceUse, TaskInfo},
    train::{
        error::TrainError,
        run::checkpoint::{Part, State},
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

/// One model as a checkpoint holds it.
pub(crate) struct Model<'a> {
    /// Its configuration.
    pub config: &'a ModelConfig,
    /// Where its tensors lie.
    pub table: &'a Arc<ParamTable>,
}

/// What a step has shown beside its figures.
#[derive(Default)]
pub(crate) struct Watch {
    /// What is to be told.
    pub told: Vec<Event>,
    /// Why the stage does not go on after it.
    pub halt: Option<Halt>,
}

/// Why a stage does not go on; the weights are not saved.
pub(crate) enum Halt {
    /// Something does not hold without which whatever is learned is noise.
    Broken(String),
    /// The model is being spoilt.
    Guarded(String),
}

/// A stage's own work.
pub(crate) trait StageRun {
    /// The model under training.
    fn model(&self) -> Model<'_>;

    /// Submits step `step` (the first is 0) at a learning rate.
    fn step(&mut self, device: &mut Device, step: usize, rate: f32) -> Result<Submitted, TrainError>;

    /// The learning rate of a step that does not follow the plan's schedule.
    fn rate(&self, _step: usize) -> Option<f64> {
        None
    }

    /// Steps that are due from a step on, whatever the stage's length.
    fn due(&self, _done: usize) -> usize {
        0
    }

    /// The reward model, where it is what is trained.
    fn reward_model(&mut self) -> Option<&mut RewardModel> {
        None
    }

    /// Tokens drawn from each source before a step, and how often each was gone through.
    fn drawn(&mut self, step: usize) -> Vec<SourceUse>;

    /// Tokens of one pass over what is trained on.
    fn epoch_tokens(&self) -> u64;

    /// What is trained on, with each source's share as it is now.
    fn sources(&self) -> Vec<SourceInfo>;

    /// The tasks whose scores are told; of the stage that has none, nothing.
    fn tasks(&self) -> Vec<TaskInfo> {
        Vec::new()
    }

    /// Held-out figures, over everything held out with `whole`.
    fn validate(&mut self, device: &mut Device, done: usize, whole: bool) -> Result<Vec<Event>, TrainError>;

    /// Whether the figures before the first step say something.
    fn starts_with_figures(&self) -> bool {
        true
    }

    /// Fixed prompts, completed; none where the stage has none.
    fn probe(&mut self, _device: &mut Device, _done: usize) -> Result<Vec<Event>, TrainError> {
        Ok(Vec::new())
    }

    /// The newest step's batch, token by token, where the stage can show it.
    fn look(&mut self, _device: &mut Device, _done: usize) -> Result<Option<BatchView>, TrainError> {
        Ok(None)
    }

    /// The stage itself, where it draws text: what it goes by can be changed while it runs.
    fn lm(&mut self) -> Option<&mut Lm> {
        None
    }

    /// Brings the stage to what holds at a step that is about to be taken; tells what changes with it.
    fn turn(&mut self, _step: usize) -> Result<Vec<Event>, TrainError> {
        Ok(Vec::new())
    }

    /// The peak learning rate, where it is another one than the plan's.
    fn peak(&self) -> Option<f64> {
        None
    }

    /// What the newest step has shown; asked once after each.
    fn watch(&mut self) -> Watch {
        Watch::default()
    }

    /// Answer `which` of the newest update (modulo their number), token by token; else in words why not.
    fn rollout(&mut self, _which: usize) -> Result<RolloutView, String> {
        Err("this stage samples no answers to learn from".to_owned())
    }

    /// Adds a demonstration to what is trained on from a step on; false where the stage has no use for it.
    fn demonstrate(&mut self, _step: u64, _example: Example) -> Result<bool, TrainError> {
        Ok(false)
    }

    /// The mix and its changes, from which every batch follows.
    fn history(&self) -> &crate::data::History;

    /// Who answers prompts meanwhile.
    fn voice(&mut self) -> &mut Decoder;

    /// The table of the run's language model, whose weights are laid beside those of the stage.
    fn language_model(&self) -> Arc<ParamTable>;

    /// What a checkpoint holds, copied to the host: the model first.
    fn parts(&mut self, device: &mut Device) -> Result<Vec<Part>, TrainError>;

    /// Notes in the state what the stage goes on from beside its tensors.
    fn note(&self, _state: &mut State) {}
}
