//! Names of the stages on the screen.

use super::lang::Tr;
use crate::base::StageId;

/// The four milestones from random weights to a finished assistant.
pub const PATH: [Tr; 4] =
    [Tr("婴儿", "newborn"), Tr("小学中学", "school"), Tr("大学", "university"), Tr("工作", "work")];

/// The milestone in [`PATH`] that a stage leads to.
pub fn path(stage: StageId) -> usize {
    match stage {
        StageId::Pretrain => 1,
        StageId::Sft => 2,
        StageId::Reward | StageId::Ppo | StageId::Dpo | StageId::Grpo => 3,
    }
}

/// A stage's short name.
pub fn stage_word(stage: StageId) -> Tr {
    match stage {
        StageId::Pretrain => Tr("预训练", "pretrain"),
        StageId::Sft => Tr("微调", "SFT"),
        StageId::Reward => Tr("奖励", "reward"),
        StageId::Ppo => Tr("PPO", "PPO"),
        StageId::Dpo => Tr("DPO", "DPO"),
        StageId::Grpo => Tr("GRPO", "GRPO"),
    }
}

/// A stage's title.
pub fn stage(stage: StageId) -> Tr {
    match stage {
        StageId::Pretrain => Tr("预训练 pretrain", "pretrain"),
        StageId::Sft => Tr("微调 sft", "sft"),
        StageId::Reward => Tr("奖励 reward", "reward"),
        StageId::Ppo => Tr("对齐 ppo", "ppo"),
        StageId::Dpo => Tr("对齐 dpo", "dpo"),
        StageId::Grpo => Tr("对齐 grpo", "grpo"),
    }
}
