//! The plan of a stage: run.toml with all defaults filled in.

use super::{
    account::AccountSettings,
    guard::GuardSettings,
    issue::{ConfigIssue, wrong},
    quality::QualityRule,
    run_config::RunConfig,
    stages::StageSettings,
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
    /// Dropout on the residual branches; 0 where the stage has none.
    pub dropout: f32,
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
    /// Evaluations without a better held-out figure after which the stage ends; 0 for never.
    pub patience: usize,
    /// Share of rows with pretraining text (fine-tuning).
    pub pretrain_share: f64,
    /// Share of rows with demonstrations (fine-tuning).
    pub by_hand_share: f64,
    /// Whether a row may contain several examples (fine-tuning).
    pub packing: bool,
}

impl StagePlan {
    /// Adopts the settings that can change while the stage is open; the learning rate changes through an edit at a
    /// step, and so do batch and dropout where the stage draws text.
    pub(crate) fn adopt_live(&mut self, new: &StagePlan) {
        (self.eval_steps, self.probe_steps, self.save_steps) = (new.eval_steps, new.probe_steps, new.save_steps);
        self.patience = new.patience;
        (self.batch_size, self.accumulation, self.dropout) = (new.batch_size, new.accumulation, new.dropout);
    }
}

impl RunConfig {
    /// The run's model; `size` must be settled.
    pub fn model(&self) -> Result<ModelConfig, ConfigIssue> {
        let preset = preset(&self.size).map_err(|e| ConfigIssue::File(e.to_string()))?.config();
        let (o, m) = (&self.model, self.model.settings(self.site(StageId::default())));
        let (hidden_size, heads) = (m.hidden_size, m.num_attention_heads);
        let shaped = o.hidden_size.is_some() || o.num_attention_heads.is_some();
        if shaped && o.head_dim.is_none() && !hidden_size.is_multiple_of(heads.max(1)) {
            return wrong(format!(
                "model.hidden_size {hidden_size} is not divisible into {heads} heads; change num_attention_heads or set model.head_dim"
            ));
        }
        let config = ModelConfig {
            vocab_size: m.vocab_size,
            hidden_size,
            intermediate_size: m.intermediate_size,
            num_hidden_layers: m.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: m.num_key_value_heads,
            head_dim: m.head_dim,
            max_position_embeddings: m.max_position_embeddings,
            rms_norm_eps: m.rms_norm_eps,
            rope_theta: m.rope_theta,
            tie_word_embeddings: m.tie_word_embeddings,
            initializer_range: m.initializer_range,
            dropout: m.dropout,
            ..preset
        };
        config.validate().map_err(|e| ConfigIssue::File(e.to_string()))?;
        Ok(config)
    }

    /// Whether the model has the shape of another configuration's. A size that is not settled yet has no shape, and no
    /// checkpoint either.
    pub(crate) fn has_shape_of(&self, other: &RunConfig) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.model(), other.model()) else { return true };
        ModelConfig { dropout: theirs.dropout, initializer_range: theirs.initializer_range, ..ours } == theirs
    }

    /// How prompts are answered, and the most tokens of an answer.
    pub fn manner(&self) -> Manner {
        let s = self.sampling.settings(self.site(StageId::default()));
        let sampling = Sampling {
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            repetition_penalty: s.repetition_penalty,
            seed: self.seed,
        };
        Manner { sampling, max_new_tokens: s.max_new_tokens }
    }

    /// Which documents the quality classifier keeps.
    pub fn selection(&self) -> Selection {
        let s = self.quality.settings(self.site(StageId::default()));
        match s.rule {
            QualityRule::Pareto => Selection::Pareto(s.alpha),
            QualityRule::Threshold => Selection::Threshold(s.threshold),
        }
    }

    /// The thresholds that stop a stage.
    pub(crate) fn guard_settings(&self) -> GuardSettings {
        self.guard.settings(self.site(StageId::default()))
    }

    /// What the machine draws and costs.
    pub(crate) fn account(&self) -> AccountSettings {
        self.account.settings(self.site(StageId::default()))
    }

    /// The settings of a stage.
    pub(crate) fn settings(&self, stage: StageId) -> StageSettings {
        self.stage(stage).settings(self.site(stage))
    }

    /// The settings of the reward model.
    ///
    /// The language modelling loss needs an output layer. A reward model has `score.weight` in place of one, so the
    /// output layer must be the tied embeddings: with untied ones there is nowhere to store a trained output layer.
    pub(crate) fn reward_settings(&self) -> Result<StageSettings, ConfigIssue> {
        let settings = self.settings(StageId::Reward);
        let lm_coef = settings.lm_coef;
        if lm_coef > 0.0 && !self.model()?.tie_word_embeddings {
            return wrong(format!(
                "reward.lm_coef {lm_coef} needs tied embeddings, but model.tie_word_embeddings is false; set reward.lm_coef = 0"
            ));
        }
        Ok(settings)
    }

    /// The plan of a stage with all defaults; `size` must be settled.
    pub fn plan(&self, stage: StageId) -> Result<StagePlan, ConfigIssue> {
        let s = self.settings(stage);
        let model = self.model()?;
        let most = model.max_position_embeddings;
        let (rows, micros, context) = (s.batch_size, s.gradient_accumulation_steps, s.context);
        if rows.checked_mul(context).and_then(|n| n.checked_mul(micros)).is_none_or(|tokens| tokens > MOST_TOKENS) {
            return wrong(format!(
                "{stage}.batch_size {rows} × gradient_accumulation_steps {micros} × context {context} is more than {MOST_TOKENS} tokens per step; lower one of them"
            ));
        }
        if context > most {
            return wrong(format!(
                "{stage}.context is {context}, more than max_position_embeddings {most}; lower it or raise model.max_position_embeddings"
            ));
        }
        Ok(StagePlan {
            steps: s.steps,
            batch_size: rows,
            accumulation: micros,
            context,
            // The other stages compare what a model says twice, which dropout would change.
            dropout: if stage.draws_text() { model.dropout } else { 0.0 },
            schedule: Schedule {
                kind: s.lr_scheduler_type,
                peak: s.learning_rate,
                warmup: s.warmup_steps,
                steps: s.steps,
                decay: s.decay_steps,
            },
            adamw: AdamW {
                beta1: s.adam_beta1,
                beta2: s.adam_beta2,
                eps: s.adam_epsilon,
                weight_decay: s.weight_decay,
                clip: s.max_grad_norm,
            },
            eval_steps: s.eval_steps,
            save_steps: s.save_steps,
            probe_steps: s.probe_steps,
            patience: s.patience,
            pretrain_share: s.pretrain_share,
            by_hand_share: s.by_hand_share,
            packing: s.packing,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::nn::{PRESETS, ScheduleKind};

    /// Weight decay, steps between checkpoints and between probes; then steps, rows, context, learning rate, steps
    /// between evaluations, for `1m` to `124m`: a run without settings trains as with version 0.1.
    #[test]
    fn defaults_stay() {
        let rows = |r: [(usize, usize, usize, f64, usize); 5]| r;
        for (stage, (weight_decay, saves, probe_steps), sizes) in [
            (
                StageId::Pretrain,
                (0.1, [400, 100, 200, 400, 400], 25),
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
                (0.3, [400, 300, 400, 500, 500], 50),
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
                (0.0, [50, 50, 100, 100, 100], 25),
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
                (0.0, [4, 5, 5, 5, 5], 5),
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
                (0.0, [25; 5], 25),
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
                (0.0, [5; 5], 5),
                rows([
                    (15, 8, 128, 1e-4, 5),
                    (20, 8, 128, 5e-5, 5),
                    (20, 8, 128, 5e-5, 5),
                    (20, 8, 256, 2e-5, 5),
                    (20, 8, 256, 2e-5, 5),
                ]),
            ),
        ] {
            for ((preset, (steps, batch_size, context, peak, eval_steps)), save_steps) in
                PRESETS.iter().zip(sizes).zip(saves)
            {
                let config = RunConfig { size: preset.name.to_owned(), ..RunConfig::default() };
                let (aligns, feedback, d) = (stage.aligns(), !stage.draws_text(), AdamW::default());
                let schedule = Schedule {
                    kind: if aligns { ScheduleKind::Constant } else { ScheduleKind::Wsd },
                    peak,
                    warmup: if aligns { 0 } else { (steps / 40).clamp(1, 200) },
                    steps,
                    decay: if stage == StageId::Pretrain { steps / 5 } else { steps / 2 },
                };
                assert!(
                    eval_steps % save_steps == 0 || save_steps % eval_steps == 0,
                    "{stage} {}: no checkpoint is saved at a step with an evaluation",
                    preset.name
                );
                let eps = if feedback { 1e-5 } else { d.eps };
                let expected = StagePlan {
                    steps,
                    batch_size,
                    accumulation: 1,
                    context,
                    dropout: 0.0,
                    schedule,
                    adamw: AdamW { eps, weight_decay, ..d },
                    eval_steps,
                    save_steps,
                    probe_steps,
                    patience: 0,
                    pretrain_share: 0.05,
                    by_hand_share: 0.1,
                    packing: true,
                };
                assert_eq!(config.plan(stage).unwrap(), expected, "{stage} {}", preset.name);
            }
        }
    }
}
