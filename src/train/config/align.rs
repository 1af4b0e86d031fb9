//! What the stages that teach a policy do, and when a stage is stopped: run.toml with every default filled in.

use super::{run_config::RunConfig, stages::LossType};
use crate::base::StageId;

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

/// When a spike of the loss or the gradient norm stops a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpikePlan {
    /// Whether a spike stops the stage; it is looked for in any case.
    pub enabled: bool,
    /// Robust deviations of the loss.
    pub deviations: f64,
    /// Least rise of the loss, in nats.
    pub rise: f64,
    /// Least factor of the gradient norm.
    pub times: f64,
    /// Strikes in a row that are a spike.
    pub patience: usize,
    /// Returns in a row to a checkpoint before the stage ends with an error.
    pub rollbacks: usize,
}

impl RunConfig {
    /// PPO with every default filled in.
    pub(crate) fn ppo_plan(&self) -> PpoPlan {
        let (o, v) = (&self.ppo, self.site(StageId::Ppo));
        PpoPlan {
            rollouts: o.rollouts(v),
            response_length: o.response_length(v),
            self_prompts: o.self_prompts(v),
            value_rate: o.value_learning_rate(v),
            epochs: o.num_ppo_epochs(v),
            minibatches: o.num_mini_batches(v),
            kl_coef: o.kl_coef(v),
            target_kl: o.target_kl,
            max_approx_kl: Some(o.max_approx_kl(v)),
            ptx_coef: o.ptx_coef(v),
            whiten_rewards: o.whiten_rewards(v),
            clip: o.cliprange(v),
            value_clip: o.cliprange_value(v),
            gamma: o.gamma(v),
            lambda: o.lam(v),
            missing_end: o.missing_eos_penalty(v),
            value_warmup: o.value_warmup_steps(v),
        }
    }

    /// GRPO with every default filled in.
    pub(crate) fn grpo_plan(&self) -> GrpoPlan {
        let (o, v) = (&self.grpo, self.site(StageId::Grpo));
        GrpoPlan {
            rollouts: o.rollouts(v),
            generations: o.num_generations(v),
            response_length: o.response_length(v),
            iterations: o.num_iterations(v),
            minibatches: o.num_mini_batches(v),
            beta: o.beta(v),
            clip: (o.epsilon(v), o.epsilon_high(v)),
            loss_type: o.loss_type(v),
            scale_rewards: o.scale_rewards(v),
            missing_end: o.missing_eos_penalty(v),
        }
    }

    /// DPO with every default filled in.
    pub(crate) fn dpo_plan(&self) -> DpoPlan {
        let (o, v) = (&self.dpo, self.site(StageId::Dpo));
        DpoPlan {
            beta: o.beta(v),
            label_smoothing: o.label_smoothing(v),
            response_length: o.response_length(v),
            missing_end: o.missing_eos_penalty(v),
        }
    }

    /// The guard with every default filled in.
    pub(crate) fn guard_plan(&self) -> GuardPlan {
        let (o, v) = (&self.guard, self.site(StageId::default()));
        GuardPlan {
            enabled: o.enabled(v),
            distinct2: o.distinct2(v),
            repetition: o.repetition(v),
            end_rate: o.end_rate(v),
            length: o.length(v),
            kl: o.kl(v),
            patience: o.patience(v),
        }
    }

    /// When a spike stops a stage, with every default filled in.
    pub(crate) fn spike_plan(&self) -> SpikePlan {
        let (o, v) = (&self.guard, self.site(StageId::default()));
        SpikePlan {
            enabled: o.spikes(v),
            deviations: o.spike_deviations(v),
            rise: o.spike_loss(v),
            times: o.spike_grad_norm(v),
            patience: o.spike_patience(v),
            rollbacks: o.rollbacks(v),
        }
    }
}
