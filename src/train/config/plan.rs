//! The plan of a stage: run.toml with all defaults filled in.

use super::{
    issue::{ConfigIssue, wrong},
    quality::QualityRule,
    run_config::RunConfig,
    stages::RewardMode,
};
use crate::{
    base::StageId,
    data::{MOST_TOKENS, quality::Selection},
    nn::{AdamW, ModelConfig, Sampling, Schedule, preset},
    protocol::Manner,
};

/// The settings of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    /// Optimiser steps.
    pub steps: usize,
    /// Rows per micro-batch.
    pub batch_size: usize,
    /// Micro-batches per step.
    pub accumulation: usize,
    /// Tokens per row.
    pub context: usize,
    /// The learning rate schedule.
    pub schedule: Schedule,
    /// The optimiser.
    pub adamw: AdamW,
    /// Steps between validations; 0 for none.
    pub eval_steps: usize,
    /// Steps between checkpoints; 0 for a checkpoint at the end only.
    pub save_steps: usize,
    /// Steps between probes; 0 for none.
    pub probe_steps: usize,
    /// Share of rows with pretraining text (fine-tuning).
    pub pretrain_share: f64,
    /// Share of rows with demonstrations (fine-tuning).
    pub by_hand_share: f64,
    /// Whether a row may contain several examples (fine-tuning).
    pub packing: bool,
}

impl StagePlan {
    /// Adopts the settings that can change while the stage is open; the learning rate changes through an edit at a
    /// step.
    pub(crate) fn adopt_live(&mut self, new: &StagePlan) {
        (self.eval_steps, self.probe_steps, self.save_steps) = (new.eval_steps, new.probe_steps, new.save_steps);
    }
}

/// The objective of the reward model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RewardPlan {
    /// Which scores are compared.
    pub mode: RewardMode,
    /// λ of the language modelling loss on the chosen answers.
    pub lm_coef: f32,
    /// Coefficient of the penalty that centres the scores at 0.
    pub centre: f32,
    /// Weight of a sampled vote relative to a sampled pair.
    pub vote_weight: f32,
}

impl RunConfig {
    /// The run's model; `size` must be settled.
    pub fn model(&self) -> Result<ModelConfig, ConfigIssue> {
        let preset = preset(&self.size).map_err(|e| ConfigIssue::File(e.to_string()))?.config();
        let (o, v) = (&self.model, self.site(StageId::default()));
        let (hidden_size, heads) = (o.hidden_size(v), o.num_attention_heads(v));
        let shaped = o.hidden_size.is_some() || o.num_attention_heads.is_some();
        if shaped && o.head_dim.is_none() && !hidden_size.is_multiple_of(heads.max(1)) {
            return wrong(format!(
                "model.hidden_size {hidden_size} does not divide into {heads} heads; set model.head_dim"
            ));
        }
        let config = ModelConfig {
            vocab_size: o.vocab_size(v),
            hidden_size,
            intermediate_size: o.intermediate_size(v),
            num_hidden_layers: o.num_hidden_layers(v),
            num_attention_heads: heads,
            num_key_value_heads: o.num_key_value_heads(v),
            head_dim: o.head_dim(v),
            max_position_embeddings: o.max_position_embeddings(v),
            rms_norm_eps: o.rms_norm_eps(v),
            rope_theta: o.rope_theta(v),
            tie_word_embeddings: o.tie_word_embeddings(v),
            initializer_range: o.initializer_range(v),
            dropout: o.dropout(v),
            ..preset
        };
        config.validate().map_err(|e| ConfigIssue::File(e.to_string()))?;
        Ok(config)
    }

    /// How prompts are answered, and the most tokens of an answer.
    pub fn manner(&self) -> Manner {
        let (o, v) = (&self.sampling, self.site(StageId::default()));
        let sampling = Sampling {
            temperature: o.temperature(v),
            top_k: o.top_k(v),
            top_p: o.top_p(v),
            repetition_penalty: o.repetition_penalty(v),
            seed: self.seed,
        };
        Manner { sampling, max_new_tokens: o.max_new_tokens(v) }
    }

    /// Which documents the quality classifier keeps.
    pub fn selection(&self) -> Selection {
        let (o, v) = (&self.quality, self.site(StageId::default()));
        match o.rule(v) {
            QualityRule::Pareto => Selection::Pareto(o.alpha(v)),
            QualityRule::Threshold => Selection::Threshold(o.threshold(v)),
        }
    }

    /// The objective of the reward model with all defaults.
    ///
    /// The language modelling loss needs an output layer. A reward model has `score.weight` in place of one, so the
    /// output layer must be the tied embeddings: with untied ones there is nowhere to store a trained output layer.
    pub fn reward_plan(&self) -> Result<RewardPlan, ConfigIssue> {
        let (o, v) = (&self.reward, self.site(StageId::Reward));
        let lm_coef = o.lm_coef(v);
        if lm_coef > 0.0 && !self.model()?.tie_word_embeddings {
            return wrong(format!(
                "reward.lm_coef is {lm_coef}, which needs the embeddings as output layer, and model.tie_word_embeddings is false; set reward.lm_coef = 0"
            ));
        }
        Ok(RewardPlan {
            mode: o.mode(v),
            lm_coef: lm_coef as f32,
            centre: o.center_rewards_coefficient(v) as f32,
            vote_weight: o.vote_weight(v) as f32,
        })
    }

    /// The plan of a stage with all defaults; `size` must be settled.
    pub fn plan(&self, stage: StageId) -> Result<StagePlan, ConfigIssue> {
        let (o, v) = (self.stage(stage), self.site(stage));
        let most = self.model()?.max_position_embeddings;
        let (rows, micros, context) = (o.batch_size(v), o.gradient_accumulation_steps(v), o.context(v));
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
        Ok(StagePlan {
            steps: o.steps(v),
            batch_size: rows,
            accumulation: micros,
            context,
            schedule: Schedule {
                kind: o.lr_scheduler_type(v),
                peak: o.learning_rate(v),
                warmup: o.warmup_steps(v),
                steps: o.steps(v),
                decay: o.decay_steps(v),
            },
            adamw: AdamW {
                beta1: o.adam_beta1(v),
                beta2: o.adam_beta2(v),
                eps: o.adam_epsilon(v),
                weight_decay: o.weight_decay(v),
                clip: o.max_grad_norm(v),
            },
            eval_steps: o.eval_steps(v),
            save_steps: o.save_steps(v),
            probe_steps: o.probe_steps(v),
            pretrain_share: o.pretrain_share(v),
            by_hand_share: o.by_hand_share(v),
            packing: o.packing(v),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::nn::{PRESETS, ScheduleKind};

    /// Steps, rows, context, learning rate, steps between evaluations, for `1m` to `124m`: a run without settings
    /// trains as with version 0.1.
    #[test]
    fn defaults_stay() {
        let rows = |r: [(usize, usize, usize, f64, usize); 5]| r;
        for (stage, sizes) in [
            (
                StageId::Pretrain,
                rows([
                    (1200, 16, 64, 3e-3, 200),
                    (350, 32, 128, 2e-3, 100),
                    (350, 16, 256, 1e-3, 100),
                    (3000, 32, 512, 6e-4, 200),
                    (5000, 16, 1024, 6e-4, 200),
                ]),
            ),
            (
                StageId::Sft,
                rows([
                    (1600, 6, 128, 3e-3, 400),
                    (1200, 8, 128, 2e-3, 300),
                    (600, 16, 256, 1e-3, 200),
                    (1000, 32, 512, 3e-4, 500),
                    (1000, 16, 1024, 1e-4, 500),
                ]),
            ),
            (
                StageId::Reward,
                rows([
                    (200, 32, 128, 6e-4, 50),
                    (200, 32, 128, 3e-4, 50),
                    (200, 32, 128, 3e-4, 50),
                    (200, 32, 256, 1e-4, 50),
                    (200, 32, 256, 1e-4, 50),
                ]),
            ),
            (
                StageId::Ppo,
                rows([
                    (24, 8, 128, 1e-4, 8),
                    (20, 8, 128, 5e-5, 5),
                    (20, 8, 128, 5e-5, 5),
                    (20, 8, 256, 2e-5, 5),
                    (20, 8, 256, 2e-5, 5),
                ]),
            ),
            (
                StageId::Dpo,
                rows([
                    (150, 32, 128, 5e-5, 50),
                    (150, 32, 128, 2e-5, 50),
                    (150, 32, 128, 2e-5, 50),
                    (150, 32, 256, 5e-6, 50),
                    (150, 32, 256, 5e-6, 50),
                ]),
            ),
            (
                StageId::Grpo,
                rows([
                    (15, 8, 128, 1e-4, 5),
                    (20, 8, 128, 5e-5, 5),
                    (20, 8, 128, 5e-5, 5),
                    (20, 8, 256, 2e-5, 5),
                    (20, 8, 256, 2e-5, 5),
                ]),
            ),
        ] {
            for (preset, (steps, batch_size, context, peak, eval_steps)) in PRESETS.iter().zip(sizes) {
                let config = RunConfig { size: preset.name.to_owned(), ..RunConfig::default() };
                let (aligns, feedback, d) = (stage.aligns(), !stage.draws_text(), AdamW::default());
                let schedule = Schedule {
                    kind: if aligns { ScheduleKind::Constant } else { ScheduleKind::Wsd },
                    peak,
                    warmup: if aligns { 0 } else { (steps / 40).clamp(1, 200) },
                    steps,
                    decay: if stage == StageId::Pretrain { steps / 5 } else { steps / 2 },
                };
                let (weight_decay, save_steps, probe_steps) = match stage {
                    StageId::Pretrain => (d.weight_decay, 400, 25),
                    StageId::Sft => (0.3, 400, 50),
                    StageId::Reward => (0.0, 400, 25),
                    StageId::Ppo | StageId::Grpo => (0.0, 5, 5),
                    StageId::Dpo => (0.0, 25, 25),
                };
                let eps = if feedback { 1e-5 } else { d.eps };
                let expected = StagePlan {
                    steps,
                    batch_size,
                    accumulation: 1,
                    context,
                    schedule,
                    adamw: AdamW { eps, weight_decay, ..d },
                    eval_steps,
                    save_steps,
                    probe_steps,
                    pretrain_share: 0.05,
                    by_hand_share: 0.1,
                    packing: true,
                };
                assert_eq!(config.plan(stage).unwrap(), expected, "{stage} {}", preset.name);
            }
        }
    }
}
