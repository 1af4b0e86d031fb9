//! A language model with its optimiser on a device. A step is forward, loss, backward for each micro-batch, then norm,
//! clip and AdamW; recorded once for a shape, replayed every step.

use std::{ops::Range, sync::Arc};

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
    /// The device's marks around the buffers that depend on the shape.
    made: Range<usize>,
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
        let training = Training::new(device, config, ParamTable::new(config), shape, adamw)?;
        Learner::over(device, training)
    }

    /// Records the output over a trunk.
    fn over(device: &mut Device, training: Training) -> Result<Learner, ComputeError> {
        let (n, vocab) = (training.shape.rows(), training.config.vocab_size);
        let targets = device.alloc("targets", &[n], DType::U32)?;
        let weights = device.alloc("weights", &[n], DType::F32)?;
        device.write(&weights, &vec![1.0_f32; n])?;
        let losses = device.alloc("losses", &[n], DType::F32)?;
        let chunk = logit_rows(device, vocab, n);
        let logits = device.alloc("logits", &[chunk, vocab], training.y.dtype)?;
        let mut rec = Recording::new(device);
        let t = &training;
        let head = Head { y: &t.y, weight: t.params.head(), targets: &targets, hyper: &t.hyper, losses: &losses };
        let grad = t.back.grads.head();
        let train = Ending::Train { weights: &weights, control: &t.control, grad: &grad, dy: &t.back.stream.dy };
        head.record(&mut rec, &logits, &train)?;
        ops::sum(&mut rec, &losses, &t.loss, true)?;
        let head = rec.compile()?;
        let masked = MaskedHead::all(device, n, &Shared { training: t, logits: &logits })?;
        let made = training.first..device.mark();
        Ok(Learner { training, targets, weights, losses, logits, head, masked, taken: None, made })
    }

    /// Records everything again for micro-batches of `batch` rows and another dropout. Parameters, moments and control
    /// block stay where they are, and with them what shares them. If there is no memory for it, everything is recorded
    /// as it was.
    pub fn record_again(&mut self, device: &mut Device, batch: usize, dropout: f32) -> Result<(), ComputeError> {
        let (shape, config) = (self.training.shape, self.training.config.clone());
        let other = ModelConfig { dropout, ..config.clone() };
        let refused = match self.recorded(device, &other, Shape { b: batch, t: shape.t }) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        self.recorded(device, &config, shape)?;
        Err(refused)
    }

    fn recorded(&mut self, device: &mut Device, config: &ModelConfig, shape: Shape) -> Result<(), ComputeError> {
        self.training.unrecord(device)?;
        self.head = Recording::new(device).compile()?;
        self.masked.clear();
        self.taken = None;
        device.release_between(std::mem::take(&mut self.made));
        let first = device.mark();
        let made = self.training.again(device, config, shape).and_then(|made| Learner::over(device, made));
        match made {
            Ok(made) => *self = made,
            Err(e) => {
                device.release_between(first..device.mark());
                return Err(e);
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::nn::optimizer::AdamW;

    fn tiny(dropout: f32) -> ModelConfig {
        ModelConfig { dropout, ..ModelConfig::llama(2, 32, 2, 2, 48, 64, 32) }
    }

    /// A step on rows that follow from its number.
    fn step(learner: &mut Learner, device: &mut Device, at: usize) {
        let (rows, window) = learner.shape();
        let ids: Vec<u32> = (0..rows * window).map(|i| ((i * 7 + at * 13) % 64) as u32).collect();
        let targets: Vec<i32> = ids.iter().map(|id| (*id as i32 + 1) % 64).collect();
        let batch = MicroBatch { ids: &ids, targets: &targets, starts: None };
        learner.step(device, &[batch, batch], 1e-2, 3, at).unwrap();
    }

    fn bits(learner: &Learner, device: &mut Device) -> Vec<Vec<u32>> {
        let state = learner.read_state(device).unwrap();
        state.iter().map(|slab| slab.iter().map(|x| x.to_bits()).collect()).collect()
    }

    /// A learner that is recorded again trains like a new one with the same state, and takes no more memory.
    #[test]
    fn a_learner_recorded_again_is_a_new_one_with_its_state() {
        let mut device = Device::cpu();
        let config = tiny(0.0);
        let mut learner = Learner::new(&mut device, &config, 3, 16, AdamW::default()).unwrap();
        learner.write_params(&mut device, &learner.table().initial(5)).unwrap();
        let mut most = 0;
        for (at, (rows, dropout)) in
            [(3, 0.0), (5, 0.3), (5, 0.1), (2, 0.1), (3, 0.0), (5, 0.3)].into_iter().enumerate()
        {
            let before = learner.read_state(&mut device).unwrap();
            learner.record_again(&mut device, rows, dropout).unwrap();
            step(&mut learner, &mut device, at);
            let mut other = Device::cpu();
            let mut fresh = Learner::new(&mut other, &tiny(dropout), rows, 16, AdamW::default()).unwrap();
            fresh.write_state(&mut other, &before).unwrap();
            step(&mut fresh, &mut other, at);
            assert!(bits(&learner, &mut device) == bits(&fresh, &mut other), "{rows} rows, dropout {dropout}");
            let used = device.memory().0;
            assert!(at < 5 || used == most, "{used} after {most}: buffers stay behind");
            most = most.max(used);
        }
    }

    /// Without the memory for it, a learner trains on as it was.
    #[test]
    fn a_learner_that_cannot_grow_stays_as_it_is() {
        let (mut device, mut other) = (Device::cpu(), Device::cpu());
        let new = |device: &mut Device| {
            let learner = Learner::new(device, &tiny(0.2), 3, 16, AdamW::default()).unwrap();
            learner.write_params(device, &learner.table().initial(5)).unwrap();
            learner
        };
        let (mut learner, mut same) = (new(&mut device), new(&mut other));
        for at in 0..4 {
            if at == 2 {
                device.set_budget(device.memory().0 + 4096);
                learner.record_again(&mut device, 300, 0.2).unwrap_err();
            }
            step(&mut learner, &mut device, at);
            step(&mut same, &mut other, at);
        }
        assert!(bits(&learner, &mut device) == bits(&same, &mut other));
    }
}
