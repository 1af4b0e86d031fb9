//! One model with its optimiser on a device: a step is forward, loss, backward × micro-batches, then
//! norm, clip and AdamW. Recorded once for a shape, replayed every step.

use std::sync::Arc;

use super::{
    ConfigError, IGNORE_INDEX, ModelConfig, ParamTable, Weights,
    forward::{Acts, Attend, Backward, Dropout, Head, Inputs, Shape, Sorted, Trunk, logit_rows, rope_table},
    layout::Layout,
    masked::{MaskedHead, Shared},
};
use crate::compute::{
    ComputeError, DType, Device, Program, Recording, Tensor, Ticket,
    ops::{self, CONTROL, HYPER},
};

/// Settings of AdamW; the defaults are nanoGPT's and Llama's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay on tensors of two dimensions.
    pub weight_decay: f32,
    /// Largest global gradient norm; 0 for none.
    pub clip: f32,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean loss over trained tokens, before the update.
    pub loss: f32,
    /// Global gradient norm before clipping.
    pub grad_norm: f32,
    /// False when loss or norm was not finite and nothing was changed.
    pub applied: bool,
}

impl StepOutcome {
    /// Reads a control block.
    pub fn from_control(control: &[f32]) -> StepOutcome {
        let at = |i: usize| control.get(i).copied().unwrap_or(f32::NAN);
        StepOutcome { loss: at(6), grad_norm: at(0), applied: at(2) == 1.0 }
    }
}

/// A micro-batch: ids and already shifted targets, B·T each, and how its rows are laid out.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<'a> {
    /// Token ids, row by row.
    pub ids: &'a [u32],
    /// The id that follows each, or −100.
    pub targets: &'a [i32],
    /// Of rows packed with several examples, B·T: for each token the place within its row where its
    /// example starts. It is at most the token's own place and does not fall along a row. A token
    /// attends to its example alone, and its position counts from the start. `None`: a row is one text.
    pub starts: Option<&'a [u32]>,
}

/// A model under training.
pub struct Learner {
    config: ModelConfig,
    table: Arc<ParamTable>,
    shape: Shape,
    adamw: AdamW,
    params: Weights,
    grads: Weights,
    m: Tensor,
    v: Tensor,
    hyper: Tensor,
    control: Tensor,
    clock: Tensor,
    ids: Tensor,
    targets: Tensor,
    layout: Layout,
    order: Tensor,
    starts: Tensor,
    losses: Tensor,
    zero: Program,
    forward: Program,
    head: Program,
    /// Heads over trained rows alone, the smallest first.
    masked: Vec<MaskedHead>,
    /// Which of them the last micro-batch took; None for the head over all rows.
    taken: Option<usize>,
    backward: Program,
    update: Program,
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
        let wrong = |e: &ConfigError| ComputeError::Shape { op: "model", what: e.to_string() };
        config.validate().map_err(|e| wrong(&e))?;
        let table = Arc::new(ParamTable::new(config));
        let shape = Shape { b: batch, t: context };
        let n = shape.rows();
        let params = Weights::alloc(device, "params", &table)?;
        let grads = Weights::alloc(device, "grads", &table)?;
        let m = device.alloc("exp_avg", &[table.slab_len], DType::F32)?;
        let v = device.alloc("exp_avg_sq", &[table.slab_len], DType::F32)?;
        let hyper = device.alloc("hyper", &[HYPER], DType::F32)?;
        let control = device.alloc("control", &[CONTROL], DType::F32)?;
        let clock = device.alloc("clock", &[4], DType::U32)?;
        let ids = device.alloc("ids", &[n], DType::U32)?;
        let targets = device.alloc("targets", &[n], DType::U32)?;
        let order = device.alloc("order", &[n], DType::U32)?;
        let starts = device.alloc("starts", &[config.vocab_size + 1], DType::U32)?;
        let losses = device.alloc("losses", &[n], DType::F32)?;
        let loss = device.alloc("loss", &[1], DType::F32)?;
        let layout = Layout::new(device, "", shape)?;
        let rope = rope_table(device, config, context)?;
        let acts = Acts::alloc(device, config, shape, true)?;
        let back = Backward::alloc(device, config, shape, grads.clone())?;
        let chunk = logit_rows(device, config.vocab_size, n);
        let logits = device.alloc("logits", &[chunk, config.vocab_size], DType::F32)?;

        let mut rec = Recording::new(device);
        ops::fill(&mut rec, &grads.slab, 0.0)?;
        ops::fill(&mut rec, &loss, 0.0)?;
        let zero = rec.compile()?;

        let mut rec = Recording::new(device);
        let inputs = Inputs { ids: &ids, positions: &layout.positions, rope: &rope };
        let dropout = (config.dropout > 0.0).then_some(Dropout { clock: &clock, rate: config.dropout });
        let trunk = Trunk { config, weights: &params, acts: &acts, shape };
        trunk.forward(&mut rec, &inputs, &Attend::Rows(&layout.begins), dropout)?;
        let forward = rec.compile()?;

        let mut rec = Recording::new(device);
        let head = Head { y: &acts.y, weight: params.head(), targets: &targets, hyper: &hyper, losses: &losses };
        head.record(&mut rec, &logits, Some((&back.grads, &back.dy)))?;
        ops::sum(&mut rec, &losses, &loss, true)?;
        let head = rec.compile()?;
        let shared = Shared { y: &acts.y, weights: &params, hyper: &hyper, logits: &logits, loss: &loss, back: &back };
        let masked = MaskedHead::all(device, n, &shared)?;

        let mut rec = Recording::new(device);
        let sorted = Sorted { order: &order, starts: &starts };
        trunk.backward(&mut rec, &inputs, &layout.begins, &back, &sorted, dropout)?;
        let backward = rec.compile()?;

        let mut rec = Recording::new(device);
        let update = ops::Update {
            params: &params.slab,
            grads: &grads.slab,
            m: &m,
            v: &v,
            decayed: table.decayed,
            loss: &loss,
            hyper: &hyper,
            control: &control,
        };
        ops::adamw(&mut rec, &update)?;
        let update = rec.compile()?;
        Ok(Learner {
            config: config.clone(),
            table,
            shape,
            adamw,
            params,
            grads,
            m,
            v,
            hyper,
            control,
            clock,
            ids,
            targets,
            layout,
            order,
            starts,
            losses,
            zero,
            forward,
            head,
            masked,
            taken: None,
            backward,
            update,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The parameter table.
    pub fn table(&self) -> &Arc<ParamTable> {
        &self.table
    }

    /// The live parameters, for evaluators and decoders on the same device.
    pub fn params(&self) -> &Weights {
        &self.params
    }

    /// Rows and positions of a micro-batch.
    pub fn shape(&self) -> (usize, usize) {
        (self.shape.b, self.shape.t)
    }

    /// Writes the whole parameter slab.
    pub fn write_params(&self, device: &mut Device, slab: &[f32]) -> Result<(), ComputeError> {
        device.write(&self.params.slab, slab)
    }

    /// Reads parameters, first and second moments and the control block, in this order.
    pub fn read_state(&self, device: &mut Device) -> Result<[Vec<f32>; 4], ComputeError> {
        Ok([device.read(&self.params.slab)?, device.read(&self.m)?, device.read(&self.v)?, device.read(&self.control)?])
    }

    /// Writes what [`Learner::read_state`] read.
    pub fn write_state(&self, device: &mut Device, state: &[Vec<f32>; 4]) -> Result<(), ComputeError> {
        let [params, m, v, control] = state;
        device.write(&self.params.slab, params)?;
        device.write(&self.m, m)?;
        device.write(&self.v, v)?;
        device.write(&self.control, control)
    }

    /// The gradient slab as the last step left it.
    pub fn read_grads(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        device.read(&self.grads.slab)
    }

    /// The loss of every row of the last micro-batch, 0 where ignored.
    pub fn losses(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        match self.taken.and_then(|at| self.masked.get(at)) {
            Some(head) => head.losses(device),
            None => device.read(&self.losses),
        }
    }

    /// One optimiser step over `batches`, at `rate`. The loss is the mean over all trained tokens of
    /// all micro-batches, so accumulation equals the large batch. `seed` and `step` key the dropout.
    ///
    /// Returns a ticket for the control block ([`StepOutcome::from_control`]).
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
        let a = self.adamw;
        device.write(&self.hyper, &[rate, scale, a.weight_decay, a.beta1, a.beta2, a.eps, a.clip, 0.0])?;
        for (i, batch) in batches.iter().enumerate() {
            self.write_inputs(device, *batch)?;
            if self.config.dropout > 0.0 {
                device.write(&self.clock, &[seed as u32, (seed >> 32) as u32, step as u32, i as u32])?;
            }
            let mut programs = Vec::with_capacity(5);
            if i == 0 {
                programs.push(&self.zero);
            }
            programs.extend(self.micro());
            if i + 1 == batches.len() {
                programs.push(&self.update);
            }
            device.replay(&programs)?;
        }
        device.request(&self.control)
    }

    /// Time per kernel of one whole step on the inputs of the last one (it is applied once more).
    pub fn profile(&self, device: &mut Device) -> Result<Vec<crate::compute::KernelTime>, ComputeError> {
        let [forward, head, backward] = self.micro();
        device.profile(&[&self.zero, forward, head, backward, &self.update])
    }

    /// Kernel calls of one step with a single micro-batch.
    pub fn calls(&self) -> usize {
        self.zero.len() + self.micro().iter().map(|p| p.len()).sum::<usize>() + self.update.len()
    }

    /// The programs of a micro-batch whose inputs are written.
    fn micro(&self) -> [&Program; 3] {
        let masked = self.taken.and_then(|at| self.masked.get(at));
        [&self.forward, masked.map_or(&self.head, MaskedHead::program), &self.backward]
    }

    fn write_inputs(&mut self, device: &mut Device, batch: MicroBatch<'_>) -> Result<(), ComputeError> {
        let (n, v) = (self.shape.rows(), self.config.vocab_size);
        let wrong = |what: String| ComputeError::Shape { op: "step", what };
        if batch.ids.len() != n || batch.targets.len() != n {
            return Err(wrong(format!(
                "{} ids and {} targets were given, {n} of each are expected",
                batch.ids.len(),
                batch.targets.len()
            )));
        }
        if let Some(id) = batch.ids.iter().find(|id| **id as usize >= v) {
            return Err(wrong(format!("token id {id} is outside the vocabulary of {v}")));
        }
        if let Some(t) =
            batch.targets.iter().find(|t| **t != IGNORE_INDEX && usize::try_from(**t).map_or(true, |t| t >= v))
        {
            return Err(wrong(format!("target {t} is neither {IGNORE_INDEX} nor in the vocabulary of {v}")));
        }
        self.layout.check("step", batch.starts)?;
        let (order, starts) = sort_by_id(batch.ids, v);
        self.layout.write(device, batch.starts)?;
        device.write(&self.ids, batch.ids)?;
        let trained = batch.targets.iter().filter(|t| **t != IGNORE_INDEX).count();
        self.taken = self.masked.iter().position(|head| trained <= head.rows());
        match self.taken.and_then(|at| self.masked.get(at)) {
            Some(head) => head.write(device, batch.targets)?,
            None => device.write(&self.targets, batch.targets)?,
        }
        device.write(&self.order, &order)?;
        device.write(&self.starts, &starts)
    }
}

/// Positions in order of their ids (a stable counting sort), and where each id's positions begin.
fn sort_by_id(ids: &[u32], vocab: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; vocab + 1];
    for id in ids {
        starts[*id as usize + 1] += 1;
    }
    for i in 0..vocab {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut order = vec![0; ids.len()];
    for (position, id) in ids.iter().enumerate() {
        let slot = &mut next[*id as usize];
        order[*slot as usize] = position as u32;
        *slot += 1;
    }
    (order, starts)
}
