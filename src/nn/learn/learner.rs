//! A language model with its optimiser on a device. A step is forward, loss, backward for each micro-batch, then norm,
//! clip and AdamW; recorded once for a shape, replayed every step.

use std::sync::Arc;

use super::{
    masked::{MaskedHead, Shared},
    training::Training,
};
use crate::{
    compute::{ComputeError, DType, Device, KernelTime, Program, Recording, Tensor, Ticket, ops},
    nn::{
        config::ModelConfig,
        head::{Ending, Head, logit_rows},
        optimizer::AdamW,
        params::{ParamTable, Weights},
        rows::{IGNORE_INDEX, MicroBatch, Shape},
    },
};

/// A model in training.
pub struct Learner {
    pub(super) training: Training,
    pub(super) targets: Tensor,
    /// \[N\]: factor on the gradient of each row; ones, unless a policy writes others.
    weights: Tensor,
    pub(super) losses: Tensor,
    /// A chunk of logits.
    pub(super) logits: Tensor,
    head: Program,
    /// Heads over trained rows only, the smallest first.
    pub(super) masked: Vec<MaskedHead>,
    /// The one used by the last micro-batch; None for the head over all rows.
    pub(super) taken: Option<usize>,
}

impl Learner {
    /// Allocates and records everything for micro-batches of `batch` × `context`.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        batch: usize,
        context: usize,
        adamw: AdamW,
    ) -> Result<Learner, ComputeError> {
        let shape = Shape { b: batch, t: context };
        let n = shape.rows();
        let training = Training::new(device, config, ParamTable::new(config), shape, adamw)?;
        let targets = device.alloc("targets", &[n], DType::U32)?;
        let weights = device.alloc("weights", &[n], DType::F32)?;
        device.write(&weights, &vec![1.0_f32; n])?;
        let losses = device.alloc("losses", &[n], DType::F32)?;
        let chunk = logit_rows(device, config.vocab_size, n);
        let logits = device.alloc("logits", &[chunk, config.vocab_size], training.y.dtype)?;
        let mut rec = Recording::new(device);
        let t = &training;
        let head = Head { y: &t.y, weight: t.params.head(), targets: &targets, hyper: &t.hyper, losses: &losses };
        let grad = t.back.grads.head();
        let train = Ending::Train { weights: &weights, control: &t.control, grad: &grad, dy: &t.back.stream.dy };
        head.record(&mut rec, &logits, &train)?;
        ops::sum(&mut rec, &losses, &t.loss, true)?;
        let head = rec.compile()?;
        let masked = MaskedHead::all(device, n, &Shared { training: t, logits: &logits })?;
        Ok(Learner { training, targets, weights, losses, logits, head, masked, taken: None })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.training.config
    }

    /// The parameter table.
    pub fn table(&self) -> &Arc<ParamTable> {
        &self.training.table
    }

    /// The factors on the gradients of rows, for tests that corrupt them.
    #[cfg(test)]
    pub(crate) fn row_weights(&self) -> &Tensor {
        &self.weights
    }

    /// The live parameters, for evaluators and decoders on the same device.
    pub fn params(&self) -> &Weights {
        &self.training.params
    }

    /// Rows and positions of a micro-batch.
    pub fn shape(&self) -> (usize, usize) {
        (self.training.shape.b, self.training.shape.t)
    }

    /// Writes the whole parameter slab.
    pub fn write_params(&self, device: &mut Device, slab: &[f32]) -> Result<(), ComputeError> {
        self.training.params.write(device, slab)
    }

    /// Reads parameters, first and second moments and the control block, in this order.
    pub fn read_state(&self, device: &mut Device) -> Result<[Vec<f32>; 4], ComputeError> {
        self.training.read_state(device)
    }

    /// Writes what [`Learner::read_state`] read.
    pub fn write_state(&self, device: &mut Device, state: &[Vec<f32>; 4]) -> Result<(), ComputeError> {
        self.training.write_state(device, state)
    }

    /// The gradient slab as the last step left it.
    pub fn read_grads(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        self.training.read_grads(device)
    }

    /// The loss of every row of the last micro-batch, 0 where the target is ignored.
    pub fn losses(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        match self.masked_head() {
            Some(head) => head.losses(device),
            None => device.read(&self.losses),
        }
    }

    /// One optimiser step over `batches`, at `rate`. The loss is the mean over all trained tokens of
    /// all micro-batches, so accumulation equals the large batch. `seed` and `step` key the dropout.
    ///
    /// Returns a ticket for the control block ([`crate::nn::StepOutcome::from_control`]).
    pub fn step(
        &mut self,
        device: &mut Device,
        batches: &[MicroBatch<'_>],
        rate: f32,
        seed: u64,
        step: usize,
    ) -> Result<Ticket, ComputeError> {
        let trained: usize = batches.iter().map(|b| b.targets.iter().filter(|t| **t != IGNORE_INDEX).count()).sum();
        let scale = if trained == 0 { 0.0 } else { 1.0 / trained as f32 };
        self.training.write_hyper(device, rate, scale)?;
        for (i, batch) in batches.iter().enumerate() {
            self.write_inputs(device, "step", *batch)?;
            self.training.write_clock(device, seed, step, i)?;
            let mut programs = Vec::with_capacity(5);
            if i == 0 {
                programs.push(&self.training.zero);
            }
            programs.extend(self.micro());
            if i + 1 == batches.len() {
                programs.push(&self.training.update);
                return device.replay_and_request(&programs, &self.training.control);
            }
            device.replay(&programs)?;
        }
        device.request(&self.training.control)
    }

    /// Time per kernel of a whole step on the inputs of the last one (which is applied again).
    pub fn profile(&self, device: &mut Device) -> Result<Vec<KernelTime>, ComputeError> {
        let [forward, head, backward] = self.micro();
        device.profile(&[&self.training.zero, forward, head, backward, &self.training.update])
    }

    /// Kernel calls of one step with a single micro-batch.
    pub fn calls(&self) -> usize {
        self.training.zero.len() + self.micro().iter().map(|p| p.len()).sum::<usize>() + self.training.update.len()
    }

    /// Barriers of one step with a single micro-batch.
    pub fn barriers(&self) -> usize {
        let [forward, head, backward] = self.micro();
        Program::barriers(&[&self.training.zero, forward, head, backward, &self.training.update])
    }

    /// The programs for a micro-batch whose inputs are on the device.
    fn micro(&self) -> [&Program; 3] {
        [&self.training.forward, self.head(), &self.training.backward]
    }

    fn masked_head(&self) -> Option<&MaskedHead> {
        self.taken.and_then(|at| self.masked.get(at))
    }

    /// The head used by the last micro-batch.
    fn head(&self) -> &Program {
        self.masked_head().map_or(&self.head, MaskedHead::program)
    }

    /// The losses of the last micro-batch's head.
    pub(super) fn row_losses(&self) -> Tensor {
        self.masked_head().map_or(&self.losses, MaskedHead::row_losses).clone()
    }

    /// Adds the gradient of Σ weight · loss of the last written rows.
    pub(super) fn gather(&mut self, device: &mut Device, targets: &[i32], weights: &[f32]) -> Result<(), ComputeError> {
        let masked = self.taken.and_then(|at| self.masked.get(at));
        match masked {
            Some(head) => head.write_weights(device, targets, weights)?,
            None => device.write(&self.weights, weights)?,
        }
        self.training.gather(device, masked.map_or(&self.head, MaskedHead::program))
    }

    pub(super) fn write_inputs(
        &mut self,
        device: &mut Device,
        op: &'static str,
        batch: MicroBatch<'_>,
    ) -> Result<(), ComputeError> {
        let (n, v) = (self.training.shape.rows(), self.training.config.vocab_size);
        let wrong = |what: String| ComputeError::Shape { op, what };
        if batch.ids.len() != n || batch.targets.len() != n {
            return Err(wrong(format!(
                "{} ids and {} targets were given, {n} of each are expected",
                batch.ids.len(),
                batch.targets.len()
            )));
        }
        self.training.check(op, batch.ids, batch.starts)?;
        if let Some(t) =
            batch.targets.iter().find(|t| **t != IGNORE_INDEX && usize::try_from(**t).map_or(true, |t| t >= v))
        {
            return Err(wrong(format!("target {t} is neither {IGNORE_INDEX} nor in the vocabulary of {v}")));
        }
        self.training.write_rows(device, batch.ids, batch.starts)?;
        let trained = batch.targets.iter().filter(|t| **t != IGNORE_INDEX).count();
        self.taken = self.masked.iter().position(|head| trained <= head.rows());
        match self.masked_head() {
            Some(head) => head.write(device, batch.targets),
            None => device.write(&self.targets, batch.targets),
        }
    }
}
