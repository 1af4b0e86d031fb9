//! The table of PPO in run.toml.

use serde::{Deserialize, Serialize};

use super::{ConfigIssue, wrong};
use crate::{
    data::MOST_TOKENS,
    train::plan::{MINI_BATCHES, RESPONSE_LENGTH, ROLLOUTS},
};

/// `[ppo]`: learning from the reward model. Names are TRL's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented at train::plan::PpoPlan")]
pub struct PpoOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_ppo_epochs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_mini_batches: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_coef: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kl: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cliprange: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cliprange_value: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lam: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_eos_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_warmup_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<usize>,
}

impl PpoOverrides {
    pub(super) fn check(&self) -> Result<(), ConfigIssue> {
        let counts = [
            ("steps", self.steps),
            ("rollouts", self.rollouts),
            ("response_length", self.response_length),
            ("num_ppo_epochs", self.num_ppo_epochs),
            ("num_mini_batches", self.num_mini_batches),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, v)| *v == Some(0)) {
            return wrong(format!("ppo.{name} is 0; expected 1 or more"));
        }
        let (answers, tokens) = (self.rollouts.unwrap_or(ROLLOUTS), self.response_length.unwrap_or(RESPONSE_LENGTH));
        if answers.checked_mul(tokens).is_none_or(|all| all > MOST_TOKENS) {
            return wrong(format!(
                "ppo.rollouts {answers} × response_length {tokens} is more than {MOST_TOKENS} tokens an update; lower one of them"
            ));
        }
        if self.target_kl == Some(0.0) {
            return wrong("ppo.target_kl is 0; expected more than 0, or leave it out for a β that is held");
        }
        let single = |v: Option<f32>| v.map(f64::from);
        let amounts = [
            ("learning_rate", self.learning_rate, f64::INFINITY),
            ("value_learning_rate", self.value_learning_rate, f64::INFINITY),
            ("kl_coef", self.kl_coef, f64::INFINITY),
            ("target_kl", self.target_kl, f64::INFINITY),
            ("cliprange", single(self.cliprange), f64::INFINITY),
            ("cliprange_value", single(self.cliprange_value), f64::INFINITY),
            ("gamma", single(self.gamma), 1.0),
            ("lam", single(self.lam), 1.0),
            ("temperature", single(self.temperature), f64::INFINITY),
            ("missing_eos_penalty", single(self.missing_eos_penalty), f64::INFINITY),
            ("max_grad_norm", single(self.max_grad_norm), f64::INFINITY),
        ];
        for (name, value, most) in amounts {
            if let Some(v) = value.filter(|v| !(v.is_finite() && *v >= 0.0 && *v <= most)) {
                let upto = if most.is_finite() { format!("0 to {most}") } else { "0 or more".to_owned() };
                return wrong(format!("ppo.{name} is {v}; expected {upto}"));
            }
        }
        if self.temperature == Some(0.0) {
            return wrong("ppo.temperature is 0; the policy learns from answers that are drawn, so it is more than 0");
        }
        if answers < self.num_mini_batches.unwrap_or(MINI_BATCHES) {
            return wrong("ppo.rollouts is less than num_mini_batches; each minibatch needs an answer at least");
        }
        Ok(())
    }
}
