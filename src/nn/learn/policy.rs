//! A language model trained by feedback: each token has a weight.
//!
//! Whatever the objective is (PPO, GRPO, DPO, plus a supervised term), its gradient reaches the model through log p of
//! single tokens. So the device computes log-probabilities, the host turns them into a loss and a weight per token
//! ([`crate::nn::feedback`]), and the device differentiates L = Σ weight · (−log p).

use std::sync::Arc;

use super::{learner::Learner, masked::Shared};
use crate::{
    compute::{ComputeError, DType, Device, Program, Recording, Tensor, Ticket},
    nn::{
        config::ModelConfig,
        head::{Ending, Head},
        optimizer::AdamW,
        params::{ParamTable, Weights},
        rows::{IGNORE_INDEX, MicroBatch},
    },
};

/// A policy: a [`Learner`] trained with token weights.
///
/// A step is [`logprobs`](PolicyLearner::logprobs) of its micro-batches, weights for all their tokens,
/// [`backward`](PolicyLearner::backward) for each, [`update`](PolicyLearner::update). There is no dropout:
/// log-probabilities come from the forward pass that is differentiated. With weights of 1 / trained tokens it equals
/// [`Learner::step`], bit for bit.
pub struct PolicyLearner {
    learner: Learner,
    /// \[N\]; a head over trained rows only fills the beginning.
    entropies: Tensor,
    /// The targets last scored, and whether by a head over trained rows only.
    scored: (Vec<i32>, bool),
    /// Output layers without gradients: over all rows, then those of the learner's masked heads.
    score: Vec<Program>,
}

impl PolicyLearner {
    /// Allocates and records everything for micro-batches of `batch` × `context`.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        batch: usize,
        context: usize,
        adamw: AdamW,
    ) -> Result<PolicyLearner, ComputeError> {
        let config = ModelConfig { dropout: 0.0, ..config.clone() };
        let learner = Learner::new(device, &config, batch, context, adamw)?;
        let t = &learner.training;
        let entropies = device.alloc("entropies", &[t.shape.rows()], DType::F32)?;
        let mut rec = Recording::new(device);
        let head = Head {
            y: &t.y,
            weight: t.params.head(),
            targets: &learner.targets,
            hyper: &t.hyper,
            losses: &learner.losses,
        };
        head.record(&mut rec, &learner.logits, &Ending::Score(Some(&entropies)))?;
        let mut score = vec![rec.compile()?];
        let shared = Shared { training: t, logits: &learner.logits };
        for head in &learner.masked {
            score.push(head.score(device, &shared, &entropies)?);
        }
        Ok(PolicyLearner { learner, entropies, scored: (Vec::new(), false), score })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        self.learner.config()
    }

    /// The parameter table.
    pub fn table(&self) -> &Arc<ParamTable> {
        self.learner.table()
    }

    /// The live parameters, for evaluators and decoders on the same device.
    pub fn params(&self) -> &Weights {
        self.learner.params()
    }

    /// Rows and positions of a micro-batch.
    pub fn shape(&self) -> (usize, usize) {
        self.learner.shape()
    }

    /// log p(target) of every row, B·T, 0 without a target.
    pub fn logprobs(&mut self, device: &mut Device, batch: MicroBatch<'_>) -> Result<Vec<f32>, ComputeError> {
        self.learner.write_inputs(device, "score", batch)?;
        let end = self.learner.taken.map_or(0, |at| at + 1);
        let Some(end) = self.score.get(end) else {
            return Err(ComputeError::Shape { op: "score", what: "no output layer takes these rows".to_owned() });
        };
        self.learner.training.read_off(device, end)?;
        self.scored = (batch.targets.to_vec(), self.learner.taken.is_some());
        let losses = self.learner.row_losses();
        Ok(self.spread(&device.read::<f32>(&losses)?, |loss| -loss))
    }

    /// The entropy in nats of the distribution of every row last scored by [`logprobs`](PolicyLearner::logprobs), B·T,
    /// 0 without a target.
    pub fn entropies(&mut self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        let all = device.read(&self.entropies)?;
        Ok(self.spread(&all, |x| x))
    }

    /// Adds ∂L/∂θ of L = Σ weights\[r\] · (−log p_r) to the gradients. `weights` are B·T; those of rows without a
    /// target are not read. Directly after [`logprobs`](PolicyLearner::logprobs) of the same rows the trunk is not run
    /// again.
    pub fn backward(
        &mut self,
        device: &mut Device,
        batch: MicroBatch<'_>,
        weights: &[f32],
    ) -> Result<(), ComputeError> {
        if weights.len() != batch.targets.len() {
            let what = format!("{} weights were given for {} targets", weights.len(), batch.targets.len());
            return Err(ComputeError::Shape { op: "backward", what });
        }
        self.learner.write_inputs(device, "backward", batch)?;
        self.learner.gather(device, batch.targets, weights)
    }

    /// Clips the accumulated gradients and takes an AdamW step at `rate`. `loss` is the caller's, for the outcome; if
    /// it or the gradient's norm is not finite, nothing is changed. Returns a ticket for the control block
    /// ([`crate::nn::StepOutcome::from_control`]).
    pub fn update(&mut self, device: &mut Device, rate: f32, loss: f32) -> Result<Ticket, ComputeError> {
        self.learner.training.finish(device, rate, loss)
    }

    /// Writes the whole parameter slab.
    pub fn write_params(&mut self, device: &mut Device, slab: &[f32]) -> Result<(), ComputeError> {
        self.learner.training.disturb();
        self.learner.write_params(device, slab)
    }

    /// Reads parameters, first and second moments and the control block, in this order.
    pub fn read_state(&self, device: &mut Device) -> Result<[Vec<f32>; 4], ComputeError> {
        self.learner.read_state(device)
    }

    /// Writes what [`PolicyLearner::read_state`] or [`Learner::read_state`] read; accumulated gradients are discarded.
    pub fn write_state(&mut self, device: &mut Device, state: &[Vec<f32>; 4]) -> Result<(), ComputeError> {
        self.learner.training.disturb();
        self.learner.write_state(device, state)
    }

    /// The gradients accumulated since the last update, or as that update left them.
    pub fn read_grads(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        self.learner.read_grads(device)
    }

    /// Moves the values of an output layer to the rows they belong to; 0 elsewhere.
    fn spread(&self, values: &[f32], f: impl Fn(f32) -> f32) -> Vec<f32> {
        let (targets, masked) = &self.scored;
        let mut trained = values.iter();
        let mut row = |(at, target): (usize, &i32)| {
            if *target == IGNORE_INDEX {
                return 0.0;
            }
            let value = if *masked { trained.next() } else { values.get(at) };
            value.copied().map_or(0.0, &f)
        };
        targets.iter().enumerate().map(&mut row).collect()
    }
}
