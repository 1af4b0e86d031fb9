//! The stages, one folder per family. Only this file names more than one of them.

mod align;
pub(super) mod answer;
pub(super) mod edit_log;
pub(super) mod given;
pub(super) mod knobs;
mod lm;
mod mix;
pub(super) mod opening;
mod packed_rows;
pub(super) mod reward;
pub(super) mod sampling;
pub(super) mod stage_run;

use self::{
    align::{dpo, grpo, ppo},
    given::{Given, Taken},
    opening::{Counting, Opened, Opening},
};
use crate::{
    base::StageId,
    train::{error::TrainError, run::checkpoint::State},
};

/// Opens a stage in an open run.
pub(super) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    match o.stage {
        StageId::Pretrain | StageId::Sft => lm::open(o),
        StageId::Reward => reward::open(o),
        StageId::Ppo => ppo::open(o),
        StageId::Dpo => dpo::open(o),
        StageId::Grpo => grpo::open(o),
    }
}

/// Counts a stage: builds its models on a device that only counts; returns the parameters with optimiser state.
pub(super) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    match on.stage {
        StageId::Pretrain | StageId::Sft => lm::count(on),
        StageId::Reward => reward::count(on),
        StageId::Ppo => ppo::count(on),
        StageId::Dpo => dpo::count(on),
        StageId::Grpo => grpo::count(on),
    }
}

/// Refuses a stage that no other trainer can take over.
pub(super) fn may_give(stage: StageId) -> Result<(), TrainError> {
    match stage {
        StageId::Ppo => Err(TrainError::Input(
            "ppo cannot be handed over, since TRL has no counterpart of its value net with the KL in the reward; hand over grpo or dpo, or train ppo in danlu"
                .to_owned(),
        )),
        StageId::Pretrain | StageId::Sft | StageId::Reward | StageId::Dpo | StageId::Grpo => Ok(()),
    }
}

/// What a stage gives to another trainer.
pub(super) fn give(o: &mut Opening<'_>) -> Result<Given, TrainError> {
    may_give(o.stage)?;
    match o.stage {
        StageId::Pretrain | StageId::Sft => lm::give(o),
        StageId::Reward => reward::give(o),
        StageId::Dpo => dpo::give(o),
        StageId::Grpo | StageId::Ppo => grpo::give(o),
    }
}

/// A stage that another trainer trained up to the step of `state`, from its weights.
pub(super) fn take(o: &mut Opening<'_>, state: State, params: Vec<f32>) -> Result<Taken, TrainError> {
    match o.stage {
        StageId::Reward => reward::take(o, state, params),
        StageId::Pretrain | StageId::Sft | StageId::Ppo | StageId::Dpo | StageId::Grpo => given::take(o, state, params),
    }
}
