//! The tables of PPO, GRPO, DPO and their guard in run.toml.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::{
    ConfigIssue,
    align::{GENERATIONS, LossType, MINI_BATCHES, RESPONSE_LENGTH, ROLLOUTS},
    numbers::{LARGEST, amount, positive},
    wrong,
};
use crate::{base::StageId, data::MOST_TOKENS};

/// Makes a table of optional keys, as run.toml has them.
macro_rules! table {
    ($(#[$about:meta])* $name:ident { $($key:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs, reason = "documented at the plan of that stage")]
        pub struct $name {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type>,)*
        }
    };
}

table! {
    /// `[ppo]`: learning from the reward model, see `PpoPlan`. Names are TRL's.
    PpoOverrides {
        steps: usize,
        rollouts: usize,
        response_length: usize,
        self_prompts: f64,
        learning_rate: f64,
        value_learning_rate: f64,
        num_ppo_epochs: usize,
        num_mini_batches: usize,
        kl_coef: f64,
        target_kl: f64,
        max_approx_kl: f64,
        ptx_coef: f64,
        whiten_rewards: bool,
        cliprange: f32,
        cliprange_value: f32,
        gamma: f32,
        lam: f32,
        missing_eos_penalty: f32,
        value_warmup_steps: usize,
        max_grad_norm: f32,
        eval_steps: usize,
        save_steps: usize,
    }
}

table! {
    /// `[grpo]`: the same by comparing answers to one question, see `GrpoPlan`. Names are TRL's.
    GrpoOverrides {
        steps: usize,
        rollouts: usize,
        num_generations: usize,
        response_length: usize,
        learning_rate: f64,
        num_iterations: usize,
        num_mini_batches: usize,
        beta: f32,
        epsilon: f32,
        epsilon_high: f32,
        loss_type: LossType,
        scale_rewards: bool,
        missing_eos_penalty: f32,
        max_grad_norm: f32,
        eval_steps: usize,
        save_steps: usize,
    }
}

table! {
    /// `[dpo]`: learning from pairs, see `DpoPlan`. Names are TRL's.
    DpoOverrides {
        steps: usize,
        batch_size: usize,
        response_length: usize,
        learning_rate: f64,
        beta: f32,
        label_smoothing: f32,
        max_grad_norm: f32,
        eval_steps: usize,
        save_steps: usize,
    }
}

table! {
    /// `[guard]`: when PPO, GRPO and DPO are stopped, see `GuardPlan`; and when any stage is, see `SpikePlan`.
    GuardOverrides {
        enabled: bool,
        distinct2: f64,
        repetition: f64,
        end_rate: f64,
        length: f64,
        kl: f64,
        patience: usize,
        spikes: bool,
        spike_loss: f64,
        spike_deviations: f64,
        spike_grad_norm: f64,
        spike_patience: usize,
        rollbacks: usize,
    }
}

/// None of these may be 0.
fn counts(table: impl Display, all: &[(&str, Option<usize>)]) -> Result<(), ConfigIssue> {
    match all.iter().find(|(_, v)| *v == Some(0)) {
        Some((name, _)) => wrong(format!("{table}.{name} is 0; expected 1 or more")),
        None => Ok(()),
    }
}

/// All of these are numbers from 0 up, and at most so much.
fn amounts(table: impl Display, all: &[(&str, Option<f64>, f64)]) -> Result<(), ConfigIssue> {
    all.iter().try_for_each(|(name, value, most)| amount(&format!("{table}.{name}"), *value, *most))
}

/// None of these may be 0, whether it divides by it or would learn nothing.
fn above_zero(table: impl Display, all: &[(&str, Option<f64>)]) -> Result<(), ConfigIssue> {
    all.iter().try_for_each(|(name, value)| positive(&format!("{table}.{name}"), *value))
}

fn single(v: Option<f32>) -> Option<f64> {
    v.map(f64::from)
}

/// An update's answers are not beyond all measure.
fn fits(table: StageId, answers: usize, tokens: usize) -> Result<(), ConfigIssue> {
    if answers.checked_mul(tokens).is_none_or(|all| all > MOST_TOKENS) {
        return wrong(format!(
            "{table}.rollouts {answers} × response_length {tokens} is more than {MOST_TOKENS} tokens an update; lower one of them"
        ));
    }
    Ok(())
}

const ANY: f64 = LARGEST;

impl PpoOverrides {
    pub(super) fn check(&self) -> Result<(), ConfigIssue> {
        counts(
            StageId::Ppo,
            &[
                ("steps", self.steps),
                ("rollouts", self.rollouts),
                ("response_length", self.response_length),
                ("num_ppo_epochs", self.num_ppo_epochs),
                ("num_mini_batches", self.num_mini_batches),
            ],
        )?;
        let answers = self.rollouts.unwrap_or(ROLLOUTS);
        fits(StageId::Ppo, answers, self.response_length.unwrap_or(RESPONSE_LENGTH))?;
        if self.target_kl == Some(0.0) {
            return wrong("ppo.target_kl is 0; expected more than 0, or leave it out for a β that is held");
        }
        if self.max_approx_kl == Some(0.0) {
            return wrong("ppo.max_approx_kl is 0; expected more than 0; a large one goes over all minibatches");
        }
        above_zero(
            StageId::Ppo,
            &[("cliprange", single(self.cliprange)), ("cliprange_value", single(self.cliprange_value))],
        )?;
        amounts(
            StageId::Ppo,
            &[
                ("learning_rate", self.learning_rate, ANY),
                ("value_learning_rate", self.value_learning_rate, ANY),
                ("kl_coef", self.kl_coef, ANY),
                ("target_kl", self.target_kl, ANY),
                ("max_approx_kl", self.max_approx_kl, ANY),
                ("ptx_coef", self.ptx_coef, ANY),
                ("self_prompts", self.self_prompts, 1.0),
                ("cliprange", single(self.cliprange), ANY),
                ("cliprange_value", single(self.cliprange_value), ANY),
                ("gamma", single(self.gamma), 1.0),
                ("lam", single(self.lam), 1.0),
                ("missing_eos_penalty", single(self.missing_eos_penalty), ANY),
                ("max_grad_norm", single(self.max_grad_norm), ANY),
            ],
        )?;
        if answers < self.num_mini_batches.unwrap_or(MINI_BATCHES) {
            return wrong("ppo.rollouts is less than num_mini_batches; each minibatch needs an answer at least");
        }
        Ok(())
    }
}

impl GrpoOverrides {
    pub(super) fn check(&self) -> Result<(), ConfigIssue> {
        counts(
            StageId::Grpo,
            &[
                ("steps", self.steps),
                ("rollouts", self.rollouts),
                ("num_generations", self.num_generations),
                ("response_length", self.response_length),
                ("num_iterations", self.num_iterations),
                ("num_mini_batches", self.num_mini_batches),
            ],
        )?;
        let answers = self.rollouts.unwrap_or(ROLLOUTS);
        fits(StageId::Grpo, answers, self.response_length.unwrap_or(RESPONSE_LENGTH))?;
        let each = self.num_generations.unwrap_or(GENERATIONS);
        if each < 2 || !answers.is_multiple_of(each) {
            return wrong(format!(
                "grpo.rollouts {answers} and num_generations {each}: expected 2 generations or more, and rollouts a multiple of them"
            ));
        }
        above_zero(StageId::Grpo, &[("epsilon", single(self.epsilon)), ("epsilon_high", single(self.epsilon_high))])?;
        amounts(
            StageId::Grpo,
            &[
                ("learning_rate", self.learning_rate, ANY),
                ("beta", single(self.beta), ANY),
                ("epsilon", single(self.epsilon), 1.0),
                ("epsilon_high", single(self.epsilon_high), ANY),
                ("missing_eos_penalty", single(self.missing_eos_penalty), ANY),
                ("max_grad_norm", single(self.max_grad_norm), ANY),
            ],
        )?;
        if answers < self.num_mini_batches.unwrap_or(MINI_BATCHES) {
            return wrong("grpo.rollouts is less than num_mini_batches; each minibatch needs an answer at least");
        }
        Ok(())
    }
}

impl DpoOverrides {
    pub(super) fn check(&self) -> Result<(), ConfigIssue> {
        let positive =
            [("steps", self.steps), ("batch_size", self.batch_size), ("response_length", self.response_length)];
        counts(StageId::Dpo, &positive)?;
        if self.beta == Some(0.0) {
            return wrong("dpo.beta is 0; expected more than 0, for with 0 nothing is learned");
        }
        if self.label_smoothing == Some(0.5) {
            return wrong("dpo.label_smoothing is 0.5; expected less, for with 0.5 both answers are worth the same");
        }
        amounts(
            StageId::Dpo,
            &[
                ("learning_rate", self.learning_rate, ANY),
                ("beta", single(self.beta), ANY),
                ("label_smoothing", single(self.label_smoothing), 0.5),
                ("max_grad_norm", single(self.max_grad_norm), ANY),
            ],
        )
    }
}

impl GuardOverrides {
    pub(super) fn check(&self) -> Result<(), ConfigIssue> {
        counts("guard", &[("patience", self.patience), ("spike_patience", self.spike_patience)])?;
        above_zero("guard", &[("spike_loss", self.spike_loss), ("spike_deviations", self.spike_deviations)])?;
        if let Some(times) = self.spike_grad_norm.filter(|v| !(*v > 1.0 && *v <= LARGEST)) {
            return wrong(format!(
                "guard.spike_grad_norm is {times}; expected more than 1: how many times the usual norm"
            ));
        }
        if let Some(times) = self.length.filter(|v| *v < 1.0) {
            return wrong(format!("guard.length is {times}; expected 1 or more: how many times longer or shorter"));
        }
        amounts(
            "guard",
            &[
                ("distinct2", self.distinct2, 1.0),
                ("repetition", self.repetition, 1.0),
                ("end_rate", self.end_rate, 1.0),
                ("length", self.length, ANY),
                ("kl", self.kl, ANY),
            ],
        )
    }
}
