//! The plans of the stages that optimise a policy, and of the guard: run.toml with all defaults filled in.

use super::{run_config::RunConfig, stages::LossType};
use crate::base::StageId;

/// The settings of PPO.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PpoPlan {
    /// Answers sampled per update.
    pub rollouts: usize,
    /// Most tokens of an answer, including its end.
    pub response_length: usize,
    /// Share of prompts that the policy generates.
    pub self_prompts: f64,
    /// The value net's learning rate.
    pub value_rate: f64,
    /// Passes over the answers of an update.
    pub epochs: usize,
    /// Minibatches per pass.
    pub minibatches: usize,
    /// Initial β of the KL penalty in the reward.
    pub kl_coef: f64,
    /// The KL per answer that an adaptive β targets, in nats; None: β is fixed.
    pub target_kl: Option<f64>,
    /// A minibatch that exceeds this approximate KL to the sampling policy ends the update.
    pub max_approx_kl: Option<f64>,
    /// Weight of the pretraining term; 0 for none.
    pub ptx_coef: f64,
    /// Whether rewards are scaled to standard deviation 1.
    pub whiten_rewards: bool,
    /// Clipping ε of the policy ratio.
    pub clip: f32,
    /// Clipping ε of the value.
    pub value_clip: f32,
    /// The discount factor.
    pub gamma: f32,
    /// λ of generalised advantage estimation (GAE).
    pub lambda: f32,
    /// Subtracted from the score of an answer that does not end.
    pub missing_end: f32,
    /// Updates in which only the value net is trained.
    pub value_warmup: usize,
}

/// The settings of GRPO.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GrpoPlan {
    /// Answers sampled per update.
    pub rollouts: usize,
    /// Answers per prompt, which form a group.
    pub generations: usize,
    /// Most tokens of an answer, including its end.
    pub response_length: usize,
    /// Passes over the answers of an update.
    pub iterations: usize,
    /// Minibatches per pass.
    pub minibatches: usize,
    /// β of the KL in the loss.
    pub beta: f32,
    /// Clipping ε below and above 1.
    pub clip: (f32, f32),
    /// How losses are averaged.
    pub loss_type: LossType,
    /// Whether advantages are divided by the standard deviation of their group.
    pub scale_rewards: bool,
    /// Subtracted from the score of an answer that does not end.
    pub missing_end: f32,
}

/// The settings of DPO.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DpoPlan {
    /// β: the strength of the penalty for moving away from the reference.
    pub beta: f32,
    /// Share of labels assumed to be flipped.
    pub label_smoothing: f32,
    /// Most tokens of a judged answer, including its end.
    pub response_length: usize,
    /// Subtracted from the score of a judged answer that does not end, as in PPO.
    pub missing_end: f32,
}

/// The thresholds of the guard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GuardPlan {
    /// Whether it stops the stage; it measures in any case.
    pub enabled: bool,
    /// Minimum distinct-2, as a fraction of the initial value.
    pub distinct2: f64,
    /// Maximum rise of the share of repeated bigrams in an answer.
    pub repetition: f64,
    /// Minimum share of answers that end, as a fraction of the initial value.
    pub end_rate: f64,
    /// Maximum factor by which the length of answers may grow or shrink.
    pub length: f64,
    /// Maximum KL per answer, in nats.
    pub kl: f64,
    /// Consecutive updates out of bounds after which it stops the stage.
    pub patience: usize,
}

/// The thresholds for spikes of the loss or the gradient norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpikePlan {
    /// Whether a spike stops the stage; spikes are detected in any case.
    pub enabled: bool,
    /// Threshold of the loss in robust standard deviations.
    pub deviations: f64,
    /// Minimum rise of the loss, in nats.
    pub rise: f64,
    /// Minimum factor of the gradient norm.
    pub times: f64,
    /// Consecutive strikes that make a spike.
    pub patience: usize,
    /// Consecutive rollbacks to a checkpoint before the stage fails.
    pub rollbacks: usize,
}

impl RunConfig {
    /// PPO's settings with all defaults.
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

    /// GRPO's settings with all defaults.
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

    /// DPO's settings with all defaults.
    pub(crate) fn dpo_plan(&self) -> DpoPlan {
        let (o, v) = (&self.dpo, self.site(StageId::Dpo));
        DpoPlan {
            beta: o.beta(v),
            label_smoothing: o.label_smoothing(v),
            response_length: o.response_length(v),
            missing_end: o.missing_eos_penalty(v),
        }
    }

    /// The guard's settings with all defaults.
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

    /// The spike settings with all defaults.
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
