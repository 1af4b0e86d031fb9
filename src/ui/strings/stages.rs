//! The stages as the trainer names them, and their names on the screen.

use super::lang::Tr;

/// Pretraining.
pub const PRETRAIN: &str = "pretrain";
/// Instruction tuning.
pub const SFT: &str = "sft";
/// The reward model.
pub const REWARD: &str = "reward";
/// Alignment by PPO.
pub const PPO: &str = "ppo";
/// Alignment by DPO.
pub const DPO: &str = "dpo";
/// Alignment by GRPO.
pub const GRPO: &str = "grpo";
/// Stages that train a policy from preferences, in the order they are looked at.
pub const ALIGNED: [&str; 3] = [PPO, DPO, GRPO];

/// Four stations from random weights to a finished assistant.
pub const PATH: [Tr; 4] =
    [Tr("婴儿", "newborn"), Tr("小学中学", "school"), Tr("大学", "university"), Tr("工作", "work")];

/// The place on [`PATH`] that a stage leads to.
pub fn path(stage: &str) -> usize {
    match stage {
        PRETRAIN => 1,
        SFT => 2,
        _ => 3,
    }
}

/// A stage's names: short, and as a title.
const NAMES: [(&str, Tr, Tr); 6] = [
    (PRETRAIN, Tr("预训练", "pretrain"), Tr("预训练 pretrain", "pretrain")),
    (SFT, Tr("微调", "SFT"), Tr("微调 sft", "sft")),
    (REWARD, Tr("奖励", "reward"), Tr("奖励 reward", "reward")),
    (PPO, Tr("PPO", "PPO"), Tr("对齐 ppo", "ppo")),
    (DPO, Tr("DPO", "DPO"), Tr("对齐 dpo", "dpo")),
    (GRPO, Tr("GRPO", "GRPO"), Tr("对齐 grpo", "grpo")),
];

/// A stage's short name.
pub fn stage_word(name: &str) -> Option<Tr> {
    NAMES.iter().find(|n| n.0 == name).map(|n| n.1)
}

/// A stage's name as a title.
pub fn stage(name: &str) -> Option<Tr> {
    NAMES.iter().find(|n| n.0 == name).map(|n| n.2)
}
