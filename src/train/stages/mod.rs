//! What each stage does, one folder a family. This file alone names more than one of them.

mod align;
pub(super) mod answer;
pub(super) mod edit_log;
mod lm;
mod mix;
pub(super) mod opening;
mod packed_rows;
pub(super) mod reward;
pub(super) mod sampling;
pub(super) mod stage_run;

use self::{
    align::{dpo, grpo, ppo},
    opening::{Counting, Opened, Opening},
};
use crate::{base::StageId, train::error::TrainError};

/// Makes a stage ready to step in an open run.
pub(super) fn open(o: &mut Opening<'_>) -> Result<Opened, TrainError> {
    match o.stage {
        StageId::Pretrain | StageId::Sft => lm::open(o),
        StageId::Reward => reward::open(o),
        StageId::Ppo => ppo::open(o),
        StageId::Dpo => dpo::open(o),
        StageId::Grpo => grpo::open(o),
    }
}

/// Builds the models that a stage is opened with on a device that only counts: the parameters under an optimiser.
pub(super) fn count(on: &mut Counting<'_>) -> Result<usize, TrainError> {
    match on.stage {
        StageId::Pretrain | StageId::Sft => lm::count(on),
        StageId::Reward => reward::count(on),
        StageId::Ppo => ppo::count(on),
        StageId::Dpo => dpo::count(on),
        StageId::Grpo => grpo::count(on),
    }
}
