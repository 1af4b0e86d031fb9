//! The stages, one folder per family. Only this file names more than one of them.

mod align;
pub(super) mod answer;
pub(super) mod edit_log;
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
    opening::{Counting, Opened, Opening},
};
use crate::{base::StageId, train::error::TrainError};

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
