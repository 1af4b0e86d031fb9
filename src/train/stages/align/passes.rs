//! The clipped passes over an update's answers, shared by PPO and GRPO.

use super::{
    episode::{Actions, flat, lengths, scatter, unflat, zeros},
    ptx::Ptx,
    roles::{Measured, Roles, Split, largest},
};
use crate::{
    compute::{Device, Ticket},
    nn::feedback::{Objective, PolicyTokens, policy_loss},
    train::error::TrainError,
};

/// The settings of the passes.
pub(crate) struct Passes<'a> {
    pub split: Split,
    pub objective: Objective,
    pub advantages: &'a Actions,
    /// If the mean ½ (log π − log π_old)² of a minibatch exceeds this, the remaining ones are skipped.
    pub max_approx_kl: Option<f64>,
    /// Whether the policy is only evaluated, not updated.
    pub hold: bool,
    pub rate: f32,
}

/// The result of the passes; means over the minibatches processed.
#[derive(Default)]
pub(crate) struct Passed {
    /// The ticket of the last update; None if the policy was only evaluated.
    pub ticket: Option<Ticket>,
    pub loss: f64,
    pub approx_kl: f64,
    pub clip_fraction: f64,
    pub ratio: f64,
    pub ratio_var: f64,
    pub reference_kl: f64,
    pub entropy: f64,
    pub ptx: f64,
    /// Optimiser steps.
    pub updates: usize,
    /// The largest |ratio − 1| before the first optimiser step, and the clipped share at that time.
    pub first: (f64, f64),
    /// log π of every action in the last pass.
    pub newest: Actions,
}

impl Passed {
    /// The last update's ticket; `or` if the policy was only evaluated.
    pub(crate) fn ticket(&mut self, or: Option<Ticket>) -> Result<Ticket, TrainError> {
        let none = || TrainError::Work("internal error: an update had no minibatch".to_owned());
        self.ticket.take().or(or).ok_or_else(none)
    }
}

impl Passes<'_> {
    /// Runs the passes. If `ptx` is given, the gradient of its text is added to every minibatch's.
    pub(crate) fn run(
        &self,
        device: &mut Device,
        roles: &mut Roles,
        measured: &Measured,
        mut ptx: Option<&mut Ptx>,
    ) -> Result<Passed, TrainError> {
        let all = &measured.episodes;
        let mut passed = Passed { newest: measured.old.clone(), ..Passed::default() };
        let mut weights = zeros(all);
        let mut gone_over = 0_usize;
        let passes = if self.hold { 1 } else { measured.minibatches.len() };
        for batch in measured.minibatches.iter().take(passes).flatten() {
            let which = &batch.which;
            roles.logprobs(device, all, &batch.micros, &mut passed.newest)?;
            let (new, old) = (flat(&passed.newest, which), flat(&measured.old, which));
            let reference = if self.objective.kl == 0.0 { Vec::new() } else { flat(&measured.reference, which) };
            let tokens = PolicyTokens {
                new: &new,
                old: &old,
                reference: &reference,
                advantages: &flat(self.advantages, which),
                lengths: &lengths(all, which),
            };
            let loss = policy_loss(&tokens, &self.objective).map_err(mismatch)?;
            if gone_over == 0 {
                let gap = |(a, b): (&f32, &f32)| ((f64::from(*a) - f64::from(*b)).exp() - 1.0).abs();
                passed.first = (new.iter().zip(&old).map(gap).fold(0.0, largest), loss.clip_fraction);
            }
            gone_over += 1;
            passed.loss += loss.loss;
            passed.approx_kl += loss.approx_kl;
            passed.clip_fraction += loss.clip_fraction;
            passed.ratio += loss.ratio;
            passed.ratio_var += loss.ratio_var;
            passed.reference_kl += loss.reference_kl;
            passed.entropy -= mean(&new);
            if self.max_approx_kl.is_some_and(|most| loss.approx_kl > most) {
                break;
            }
            if self.hold {
                continue;
            }
            unflat(&loss.weights, all, which, &mut weights);
            for micro in &batch.micros {
                let rows = scatter(all, micro, &weights);
                roles.policy.backward(device, micro.batch(), &rows)?;
            }
            if let Some(ptx) = &mut ptx {
                let at = self.split.step * self.split.epochs * self.split.minibatches + passed.updates;
                passed.ptx += ptx.backward(device, &mut roles.policy, at)?;
            }
            passed.ticket = Some(roles.policy.update(device, self.rate, loss.loss as f32)?);
            passed.updates += 1;
        }
        let n = gone_over.max(1) as f64;
        for sum in [
            &mut passed.loss,
            &mut passed.approx_kl,
            &mut passed.clip_fraction,
            &mut passed.ratio,
            &mut passed.ratio_var,
            &mut passed.reference_kl,
            &mut passed.entropy,
        ] {
            *sum /= n;
        }
        passed.ptx /= passed.updates.max(1) as f64;
        Ok(passed)
    }
}

/// The mean; 0 for an empty slice.
pub(crate) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len().max(1) as f64
}

/// Lists of different lengths are a bug, reported as such.
pub(crate) fn mismatch(e: crate::nn::feedback::Mismatch) -> TrainError {
    TrainError::Work(e.to_string())
}
