//! A stage with every default of its size filled in.

use super::{
    ConfigIssue, RewardMode, RunConfig, StageOverrides,
    stages::{BY_HAND_SHARE, PRETRAIN_SHARE},
    wrong,
};
use crate::{
    base::StageId,
    data::MOST_TOKENS,
    nn::{AdamW, Schedule, ScheduleKind},
};

/// What a stage does, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    /// Optimiser steps.
    pub steps: usize,
    /// Rows of one micro-batch.
    pub batch_size: usize,
    /// Micro-batches of one step.
    pub accumulation: usize,
    /// Tokens of a row.
    pub context: usize,
    /// The learning rate of every step.
    pub schedule: Schedule,
    /// The optimiser.
    pub adamw: AdamW,
    /// Steps between validations; 0 for none.
    pub eval_steps: usize,
    /// Steps between checkpoints; 0 for the last only.
    pub save_steps: usize,
    /// Steps between probes; 0 for none.
    pub probe_steps: usize,
    /// Share of rows that are pretraining text (fine-tuning).
    pub pretrain_share: f64,
    /// Share of rows given to demonstrations by hand (fine-tuning).
    pub by_hand_share: f64,
    /// Whether a row holds several examples (fine-tuning).
    pub packing: bool,
}

impl StagePlan {
    /// Adopts what can change while the stage is open, but for the learning rate: that holds from a step on.
    pub(crate) fn adopt_live(&mut self, new: &StagePlan) {
        (self.eval_steps, self.probe_steps, self.save_steps) = (new.eval_steps, new.probe_steps, new.save_steps);
    }
}

/// Holds the mean of a reward model's scores near 0 (`center_rewards_coefficient`; TRL's documentation has 0.01).
const CENTRE: f64 = 0.01;
/// How many drawn pairs a drawn vote counts for. Measured (docs/performance.md): 2 follows votes little further, and
/// costs more of the accuracy on held-out pairs.
const VOTE_WEIGHT: f64 = 1.0;

/// Steps, rows, context, learning rate, steps between validations.
type Defaults = (usize, usize, usize, f64, usize);

/// Defaults of pretraining at a size.
///
/// Measured (docs/performance.md): 1.2 to 1.4 million tokens are where the built-in corpus is learned
/// and not yet learned by heart. The sizes from `27m` up are for text of one's own.
fn pretrain_defaults(size: &str) -> Defaults {
    match size {
        "1m" => (1200, 16, 64, 3e-3, 200),
        "5m" => (350, 32, 128, 2e-3, 100),
        "12m" => (350, 16, 256, 1e-3, 100),
        "27m" => (3000, 32, 512, 6e-4, 200),
        _ => (5000, 16, 1024, 6e-4, 200),
    }
}

/// Defaults of fine-tuning at a size.
fn sft_defaults(size: &str) -> Defaults {
    match size {
        "1m" => (1600, 6, 128, 3e-3, 400),
        "5m" => (1200, 8, 128, 2e-3, 300),
        "12m" => (600, 16, 256, 1e-3, 200),
        "27m" => (1000, 32, 512, 3e-4, 500),
        _ => (1000, 16, 1024, 1e-4, 500),
    }
}

/// Defaults of the reward model: steps, pairs a step, tokens of a row, learning rate.
fn reward_defaults(size: &str) -> Defaults {
    match size {
        "1m" => (200, 32, 128, 6e-4, 50),
        "5m" | "12m" => (200, 32, 128, 3e-4, 50),
        _ => (200, 32, 256, 1e-4, 50),
    }
}

/// Defaults of PPO: updates, rows of one pass, tokens of a row, the policy's learning rate.
fn ppo_defaults(size: &str) -> Defaults {
    match size {
        "1m" => (24, 8, 128, 1e-4, 8),
        "5m" | "12m" => (20, 8, 128, 5e-5, 5),
        _ => (20, 8, 256, 2e-5, 5),
    }
}

/// Defaults of GRPO: updates, rows of one pass, tokens of a row, learning rate.
fn grpo_defaults(size: &str) -> Defaults {
    match size {
        "1m" => (15, 8, 128, 1e-4, 5),
        "5m" | "12m" => (20, 8, 128, 5e-5, 5),
        _ => (20, 8, 256, 2e-5, 5),
    }
}

/// What a reward model is trained to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RewardPlan {
    /// Which scores are compared.
    pub mode: RewardMode,
    /// λ of the language model's loss on the chosen answers.
    pub lm_coef: f32,
    /// Holds the scores' mean near 0.
    pub centre: f32,
    /// How many drawn pairs a drawn vote counts for.
    pub vote_weight: f32,
}

/// Defaults of DPO: steps, pairs a step, tokens of a row, learning rate.
fn dpo_defaults(size: &str) -> Defaults {
    match size {
        "1m" => (150, 32, 128, 5e-5, 50),
        "5m" | "12m" => (150, 32, 128, 2e-5, 50),
        _ => (150, 32, 256, 5e-6, 50),
    }
}

impl RunConfig {
    /// The reward model's objective with every default filled in.
    ///
    /// The language model's loss needs an output layer. A reward model has `score.weight` in the place of one,
    /// so the embeddings must be it: with untied ones there is nowhere for a trained output layer to be kept.
    pub fn reward_plan(&self) -> Result<RewardPlan, ConfigIssue> {
        let o = &self.reward;
        let mode = o.mode.unwrap_or_default();
        let lm_coef = o.lm_coef.unwrap_or(if mode == RewardMode::Book { 1.0 } else { 0.0 });
        if lm_coef > 0.0 && !self.model()?.tie_word_embeddings {
            return wrong(format!(
                "reward.lm_coef is {lm_coef}, which needs the embeddings as output layer, and model.tie_word_embeddings is false; set reward.lm_coef = 0"
            ));
        }
        Ok(RewardPlan {
            mode,
            lm_coef: lm_coef as f32,
            centre: o.center_rewards_coefficient.unwrap_or(CENTRE) as f32,
            vote_weight: o.vote_weight.unwrap_or(VOTE_WEIGHT) as f32,
        })
    }

    /// A stage's own table; those of alignment in the words that all stages share.
    pub fn overrides(&self, stage: StageId) -> StageOverrides {
        match stage {
            StageId::Pretrain => self.pretrain.clone(),
            StageId::Sft => self.sft.clone(),
            StageId::Reward => self.reward.clone(),
            StageId::Ppo => StageOverrides {
                steps: self.ppo.steps,
                learning_rate: self.ppo.learning_rate,
                max_grad_norm: self.ppo.max_grad_norm,
                eval_steps: self.ppo.eval_steps,
                save_steps: self.ppo.save_steps,
                ..StageOverrides::default()
            },
            StageId::Grpo => StageOverrides {
                steps: self.grpo.steps,
                learning_rate: self.grpo.learning_rate,
                max_grad_norm: self.grpo.max_grad_norm,
                eval_steps: self.grpo.eval_steps,
                save_steps: self.grpo.save_steps,
                ..StageOverrides::default()
            },
            StageId::Dpo => StageOverrides {
                steps: self.dpo.steps,
                batch_size: self.dpo.batch_size,
                learning_rate: self.dpo.learning_rate,
                max_grad_norm: self.dpo.max_grad_norm,
                eval_steps: self.dpo.eval_steps,
                save_steps: self.dpo.save_steps,
                ..StageOverrides::default()
            },
        }
    }

    /// A stage with every default filled in; `size` is settled by now.
    pub fn plan(&self, stage: StageId) -> Result<StagePlan, ConfigIssue> {
        let o = self.overrides(stage);
        let (steps, batch, context, rate, eval) = match stage {
            StageId::Pretrain => pretrain_defaults(&self.size),
            StageId::Sft => sft_defaults(&self.size),
            StageId::Reward => reward_defaults(&self.size),
            StageId::Ppo => ppo_defaults(&self.size),
            StageId::Dpo => dpo_defaults(&self.size),
            StageId::Grpo => grpo_defaults(&self.size),
        };
        // Feedback is learned at small rates and as PyTorch's trainers do: a larger ε, no decay.
        let aligns = stage.aligns();
        let feedback = !stage.draws_text();
        let steps = o.steps.unwrap_or(steps);
        let most = self.model()?.max_position_embeddings;
        // Feedback's rows hold one exchange each: a model with shorter ones has it in those.
        let context = o.context.unwrap_or(if feedback { context.min(most) } else { context });
        let (rows, micros) = (o.batch_size.unwrap_or(batch), o.gradient_accumulation_steps.unwrap_or(1));
        if rows.checked_mul(context).and_then(|n| n.checked_mul(micros)).is_none_or(|tokens| tokens > MOST_TOKENS) {
            return wrong(format!(
                "{stage}.batch_size {rows} × gradient_accumulation_steps {micros} × context {context} is more than {MOST_TOKENS} tokens a step; lower one of them"
            ));
        }
        if context > most {
            return wrong(format!(
                "{stage}.context is {context}, more than max_position_embeddings {most}; lower it or raise model.max_position_embeddings"
            ));
        }
        let d = AdamW::default();
        let schedule = Schedule {
            kind: o.lr_scheduler_type.unwrap_or(if aligns { ScheduleKind::Constant } else { ScheduleKind::Wsd }),
            peak: o.learning_rate.unwrap_or(rate),
            warmup: o.warmup_steps.unwrap_or_else(|| if aligns { 0 } else { (steps / 40).clamp(1, 200) }),
            steps,
            decay: o.decay_steps.unwrap_or(if stage.chat() { steps / 2 } else { steps / 5 }),
        };
        Ok(StagePlan {
            steps,
            batch_size: rows,
            accumulation: micros,
            context,
            schedule,
            adamw: AdamW {
                beta1: o.adam_beta1.unwrap_or(d.beta1),
                beta2: o.adam_beta2.unwrap_or(d.beta2),
                eps: o.adam_epsilon.unwrap_or(if feedback { 1e-5 } else { d.eps }),
                // Measured: fine-tuning for many epochs on few sentences generalises better with more of it.
                weight_decay: o.weight_decay.unwrap_or(match stage {
                    StageId::Pretrain => d.weight_decay,
                    StageId::Sft => 0.3,
                    StageId::Reward | StageId::Ppo | StageId::Dpo | StageId::Grpo => 0.0,
                }),
                clip: o.max_grad_norm.unwrap_or(d.clip),
            },
            eval_steps: o.eval_steps.unwrap_or(eval),
            // A policy can be spoilt within a few updates: the checkpoint before is to be near.
            save_steps: o.save_steps.unwrap_or(match stage {
                StageId::Pretrain | StageId::Sft | StageId::Reward => 400,
                StageId::Dpo => 25,
                StageId::Ppo | StageId::Grpo => 5,
            }),
            probe_steps: o.probe_steps.unwrap_or(match stage {
                StageId::Sft => 50,
                StageId::Pretrain | StageId::Reward | StageId::Dpo => 25,
                StageId::Ppo | StageId::Grpo => 5,
            }),
            pretrain_share: o.pretrain_share.unwrap_or(PRETRAIN_SHARE),
            by_hand_share: o.by_hand_share.unwrap_or(BY_HAND_SHARE),
            packing: o.packing.unwrap_or(true),
        })
    }
}
