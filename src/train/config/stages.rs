//! Tables of stages in run.toml.

use serde::{Deserialize, Serialize};

use super::{ConfigIssue, LARGEST, ProbeConfig, SourceConfig, amount, positive, wrong};
use crate::{base::StageId, nn::ScheduleKind};

/// Share of rows that are pretraining text while fine-tuning.
pub(super) const PRETRAIN_SHARE: f64 = 0.05;
/// Share of rows given to demonstrations by hand, once there are any.
pub(super) const BY_HAND_SHARE: f64 = 0.1;

/// Keys of a stage's table that only fine-tuning has.
pub(super) const OF_SFT: [&str; 5] = ["pretrain_share", "by_hand_share", "packing", "source", "probe"];

/// Keys that only the reward model has.
pub(super) const OF_REWARD: [&str; 4] = ["mode", "lm_coef", "center_rewards_coefficient", "vote_weight"];

/// What a reward model is trained to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewardMode {
    /// The score at the answer's last token, compared pair by pair.
    #[default]
    Standard,
    /// The scores at every token of the answer, as in LLMBook's code 8.1 (corrected).
    Book,
}

/// `[pretrain]`, `[sft]`, `[reward]`: fields that override the size's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented at StagePlan")]
pub struct StageOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_accumulation_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_scheduler_type: Option<ScheduleKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adam_beta1: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adam_beta2: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adam_epsilon: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_steps: Option<usize>,
    /// Fine-tuning only: share of rows that are pretraining text, against forgetting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrain_share: Option<f64>,
    /// Fine-tuning only: share of rows given to demonstrations written by hand, once there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_hand_share: Option<f64>,
    /// Fine-tuning only: whether a row holds several examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packing: Option<bool>,
    /// Reward model only: which scores are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<RewardMode>,
    /// Reward model only: λ of the language model's loss on the chosen answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lm_coef: Option<f64>,
    /// Reward model only: what holds the scores' mean near 0 (TRL's name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center_rewards_coefficient: Option<f64>,
    /// Reward model only: how many drawn pairs a drawn vote counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vote_weight: Option<f64>,
    /// Fine-tuning only: `[[sft.source]]`, files of conversations; empty for the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<SourceConfig>,
    /// Fine-tuning only: `[[sft.probe]]`; empty for the built-in ones (or the first held-out example of each task).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probe: Vec<ProbeConfig>,
}

impl StageOverrides {
    pub(super) fn check(&self, stage: StageId) -> Result<(), ConfigIssue> {
        let counts = [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps),
            ("context", self.context),
        ];
        for (name, value) in counts {
            if value == Some(0) {
                return wrong(format!("{stage}.{name} is 0; expected 1 or more"));
            }
        }
        let amounts = [
            ("learning_rate", self.learning_rate),
            ("max_grad_norm", self.max_grad_norm.map(f64::from)),
            ("weight_decay", self.weight_decay.map(f64::from)),
            ("lm_coef", self.lm_coef),
            ("center_rewards_coefficient", self.center_rewards_coefficient),
        ];
        amounts.iter().try_for_each(|(name, value)| amount(&format!("{stage}.{name}"), *value, LARGEST))?;
        // AdamW divides by it where a gradient was always 0.
        positive(&format!("{stage}.adam_epsilon"), self.adam_epsilon.map(f64::from))?;
        positive(&format!("{stage}.vote_weight"), self.vote_weight)?;
        let fractions = [
            ("adam_beta1", self.adam_beta1.map(f64::from)),
            ("adam_beta2", self.adam_beta2.map(f64::from)),
            ("pretrain_share", self.pretrain_share),
            ("by_hand_share", self.by_hand_share),
        ];
        for (name, value) in fractions {
            if let Some(v) = value.filter(|v| !(0.0..1.0).contains(v)) {
                return wrong(format!("{stage}.{name} is {v}; expected 0 or more and less than 1"));
            }
        }
        let text = self.pretrain_share.unwrap_or(PRETRAIN_SHARE);
        let hand = self.by_hand_share.unwrap_or(BY_HAND_SHARE);
        if text + hand >= 1.0 {
            return wrong(format!(
                "{stage}.pretrain_share {text} and by_hand_share {hand} leave nothing for the conversations; lower one, for less than 1 together"
            ));
        }
        Ok(())
    }

    /// Only fine-tuning draws conversations and text together.
    pub(super) fn has_nothing_of_sft(&self, stage: StageId) -> Result<(), ConfigIssue> {
        let there = [
            self.pretrain_share.is_some(),
            self.by_hand_share.is_some(),
            self.packing.is_some(),
            !self.source.is_empty(),
            !self.probe.is_empty(),
        ];
        match OF_SFT.iter().zip(there).find(|(_, there)| *there) {
            Some((name, _)) => wrong(format!("{stage}.{name} is no key of {stage}; write it under [sft]")),
            None => Ok(()),
        }
    }
    /// Only the reward model learns from pairs.
    pub(super) fn has_nothing_of_reward(&self, stage: StageId) -> Result<(), ConfigIssue> {
        let there = [
            self.mode.is_some(),
            self.lm_coef.is_some(),
            self.center_rewards_coefficient.is_some(),
            self.vote_weight.is_some(),
        ];
        match OF_REWARD.iter().zip(there).find(|(_, there)| *there) {
            Some((name, _)) => wrong(format!("{stage}.{name} is no key of {stage}; write it under [reward]")),
            None => Ok(()),
        }
    }
}
