//! What the stages that teach a policy do, with every default filled in. Names in run.toml are TRL's.

use serde::{Deserialize, Serialize};

use super::RunConfig;

/// Answers of an update, tokens of an answer, minibatches of a pass, answers to one question.
pub(crate) const ROLLOUTS: usize = 128;
pub(crate) const RESPONSE_LENGTH: usize = 40;
pub(crate) const MINI_BATCHES: usize = 4;
pub(crate) const GENERATIONS: usize = 8;
/// Of a score, where an answer does not end.
const MISSING_END: f32 = 1.5;

/// Weight of the pretraining term. Measured over five seeds (docs/performance.md): answers stay as good and differ
/// more than without it.
const PTX: f64 = 0.5;

/// What PPO does, update by update.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PpoPlan {
    /// Answers drawn for an update.
    pub rollouts: usize,
    /// Tokens that an answer may have, its end included.
    pub response_length: usize,
    /// Share of the questions that the policy writes itself.
    pub self_prompts: f64,
    /// The value net's rate.
    pub value_rate: f64,
    /// Passes over an update's answers.
    pub epochs: usize,
    /// Minibatches of a pass.
    pub minibatches: usize,
    /// β of the KL in the reward, at the start.
    pub kl_coef: f64,
    /// The KL of an answer that an adaptive β aims at, in nats; None holds β.
    pub target_kl: Option<f64>,
    /// A minibatch past this approximate KL to the policy that drew the answers ends the update.
    pub max_approx_kl: Option<f64>,
    /// Weight of the pretraining term; 0 for none.
    pub ptx_coef: f64,
    /// Whether rewards are brought to deviation 1.
    pub whiten_rewards: bool,
    /// ε of the policy's clip.
    pub clip: f32,
    /// ε of the value's clip.
    pub value_clip: f32,
    /// Discount.
    pub gamma: f32,
    /// λ of generalised advantage estimation.
    pub lambda: f32,
    /// Taken from the score of an answer that does not end.
    pub missing_end: f32,
    /// Updates in which only the value net learns.
    pub value_warmup: usize,
}

/// How GRPO's losses of tokens become one number (TRL's `loss_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over the tokens of each answer, then over answers: as published.
    Grpo,
    /// Mean over all tokens (Yu et al. 2025).
    Dapo,
    /// Sum over tokens by answers × longest possible answer (Liu et al. 2025).
    DrGrpo,
}

/// What GRPO does, update by update.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GrpoPlan {
    /// Answers drawn for an update.
    pub rollouts: usize,
    /// Answers to one question, which are compared with each other.
    pub generations: usize,
    /// Tokens that an answer may have, its end included.
    pub response_length: usize,
    /// Passes over an update's answers.
    pub iterations: usize,
    /// Minibatches of a pass.
    pub minibatches: usize,
    /// β of the KL in the loss.
    pub beta: f32,
    /// ε of the clip below 1, and above.
    pub clip: (f32, f32),
    /// What is averaged over.
    pub loss_type: LossType,
    /// Whether advantages are divided by their group's deviation.
    pub scale_rewards: bool,
    /// Taken from the score of an answer that does not end.
    pub missing_end: f32,
}

/// What DPO does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DpoPlan {
    /// β: how dear it is to leave the reference.
    pub beta: f32,
    /// Share of labels that are taken to be flipped.
    pub label_smoothing: f32,
    /// Tokens that a judged answer may have, its end included.
    pub response_length: usize,
    /// Taken from the score of a judged answer that does not end, as PPO does.
    pub missing_end: f32,
}

/// When the guard stops a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GuardPlan {
    /// Whether it stops anything; it looks in any case.
    pub enabled: bool,
    /// Least distinct-2, as a share of the start's.
    pub distinct2: f64,
    /// By how much the share of repeated pairs in an answer may rise above the start's.
    pub repetition: f64,
    /// Least share of answers that end, as a share of the start's.
    pub end_rate: f64,
    /// How many times longer or shorter than at the start answers may be.
    pub length: f64,
    /// Most nats of KL an answer.
    pub kl: f64,
    /// Updates in a row out of bounds that stop the stage.
    pub patience: usize,
}

impl RunConfig {
    /// PPO with every default filled in.
    ///
    /// Measured at `1m` over three seeds (docs/performance.md): with two passes and β 0.2 the true score rises as
    /// far as with four and 0.1, and the answers stay more varied. The pretraining term and questions of the
    /// policy's own did not help there, so both are off.
    pub(crate) fn ppo_plan(&self) -> PpoPlan {
        let o = &self.ppo;
        PpoPlan {
            rollouts: o.rollouts.unwrap_or(ROLLOUTS),
            response_length: o.response_length.unwrap_or(RESPONSE_LENGTH),
            self_prompts: o.self_prompts.unwrap_or(0.0),
            value_rate: o.value_learning_rate.unwrap_or(3e-4),
            epochs: o.num_ppo_epochs.unwrap_or(2),
            minibatches: o.num_mini_batches.unwrap_or(MINI_BATCHES),
            kl_coef: o.kl_coef.unwrap_or(0.25),
            target_kl: o.target_kl,
            max_approx_kl: Some(o.max_approx_kl.unwrap_or(0.1)),
            ptx_coef: o.ptx_coef.unwrap_or(PTX),
            whiten_rewards: o.whiten_rewards.unwrap_or(false),
            clip: o.cliprange.unwrap_or(0.2),
            value_clip: o.cliprange_value.unwrap_or(0.2),
            gamma: o.gamma.unwrap_or(1.0),
            lambda: o.lam.unwrap_or(0.95),
            missing_end: o.missing_eos_penalty.unwrap_or(MISSING_END),
            value_warmup: o.value_warmup_steps.unwrap_or(5),
        }
    }

    /// GRPO with every default filled in.
    pub(crate) fn grpo_plan(&self) -> GrpoPlan {
        let o = &self.grpo;
        let low = o.epsilon.unwrap_or(0.2);
        GrpoPlan {
            rollouts: o.rollouts.unwrap_or(ROLLOUTS),
            generations: o.num_generations.unwrap_or(GENERATIONS),
            response_length: o.response_length.unwrap_or(RESPONSE_LENGTH),
            iterations: o.num_iterations.unwrap_or(2),
            minibatches: o.num_mini_batches.unwrap_or(MINI_BATCHES),
            beta: o.beta.unwrap_or(0.1),
            clip: (low, o.epsilon_high.unwrap_or(low)),
            loss_type: o.loss_type.unwrap_or(LossType::Dapo),
            scale_rewards: o.scale_rewards.unwrap_or(true),
            missing_end: o.missing_eos_penalty.unwrap_or(MISSING_END),
        }
    }

    /// DPO with every default filled in. β is twice TRL's: a tenth of the built-in labels are wrong.
    pub(crate) fn dpo_plan(&self) -> DpoPlan {
        let o = &self.dpo;
        DpoPlan {
            beta: o.beta.unwrap_or(0.2),
            label_smoothing: o.label_smoothing.unwrap_or(0.0),
            response_length: o.response_length.unwrap_or(RESPONSE_LENGTH),
            missing_end: MISSING_END,
        }
    }

    /// The guard with every default filled in.
    pub(crate) fn guard_plan(&self) -> GuardPlan {
        let o = &self.guard;
        GuardPlan {
            enabled: o.enabled.unwrap_or(true),
            distinct2: o.distinct2.unwrap_or(0.5),
            repetition: o.repetition.unwrap_or(0.25),
            end_rate: o.end_rate.unwrap_or(0.5),
            length: o.length.unwrap_or(3.0),
            kl: o.kl.unwrap_or(40.0),
            patience: o.patience.unwrap_or(2),
        }
    }
}
