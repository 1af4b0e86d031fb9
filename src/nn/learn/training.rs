//! What all models in training share: the trunk with its gradients, AdamW, and the rows on the device. A learner adds
//! an output: a language head, or a score.

use std::sync::Arc;

use crate::{
    compute::{
        ComputeError, DType, Device, Program, Recording, Tensor, Ticket,
        ops::{self, CONTROL, CONTROL_F32, FIRST_LOSS_SCALE, HYPER},
    },
    nn::{
        config::{ConfigError, ModelConfig},
        layers::Backward,
        optimizer::AdamW,
        params::{ParamTable, Weights},
        rows::{Attend, Dropout, Layout, Pass, Shape},
        trunk::{Sorted, Trunk, rope_table},
    },
};

/// What stays where it is when a model is recorded again: parameters, gradients, moments, and the optimiser's words.
struct Kept {
    params: Weights,
    grads: Weights,
    m: Tensor,
    v: Tensor,
    hyper: Tensor,
    control: Tensor,
}

impl Kept {
    fn alloc(device: &mut Device, table: &Arc<ParamTable>) -> Result<Kept, ComputeError> {
        Ok(Kept {
            params: Weights::alloc(device, "params", table)?,
            grads: Weights::gradients(device, "grads", table)?,
            m: device.alloc("exp_avg", &[table.slab_len], DType::F32)?,
            v: device.alloc("exp_avg_sq", &[table.slab_len], DType::F32)?,
            hyper: device.alloc("hyper", &[HYPER], DType::F32)?,
            control: device.alloc("control", &[CONTROL], DType::F32)?,
        })
    }
}

/// A trunk with its optimiser; its owner records the output, from `y` to `back.stream.dy`.
pub(super) struct Training {
    pub(super) config: ModelConfig,
    pub(super) table: Arc<ParamTable>,
    pub(super) shape: Shape,
    adamw: AdamW,
    pub(super) params: Weights,
    m: Tensor,
    v: Tensor,
    pub(super) hyper: Tensor,
    pub(super) control: Tensor,
    clock: Tensor,
    ids: Tensor,
    layout: Layout,
    order: Tensor,
    starts: Tensor,
    /// \[1\]: the sum of the step's losses.
    pub(super) loss: Tensor,
    /// \[N, C\]: the trunk's output.
    pub(super) y: Tensor,
    pub(super) back: Backward,
    pub(super) zero: Program,
    pub(super) forward: Program,
    pub(super) backward: Program,
    pub(super) update: Program,
    /// The ids and starts on the device.
    written: (Vec<u32>, Option<Vec<u32>>),
    /// The device's mark before the buffers that depend on the shape.
    pub(super) first: usize,
    /// Whether the activations belong to the current rows and parameters.
    computed: bool,
    /// Whether gradients were accumulated since the last update.
    gathered: bool,
}

impl Training {
    /// Allocates and records everything for micro-batches of `shape`.
    pub(super) fn new(
        device: &mut Device,
        config: &ModelConfig,
        table: ParamTable,
        shape: Shape,
        adamw: AdamW,
    ) -> Result<Training, ComputeError> {
        let wrong = |e: &ConfigError| ComputeError::Shape { op: "model", what: e.to_string() };
        config.validate().map_err(|e| wrong(&e))?;
        let table = Arc::new(table);
        let kept = Kept::alloc(device, &table)?;
        let mut made = Training::record(device, config, table, shape, adamw, kept)?;
        made.write_hyper(device, 0.0, 1.0)?;
        made.write_control(device, &[])?;
        Ok(made)
    }

    /// The same parameters and moments, recorded for another shape or another dropout.
    pub(super) fn again(
        &self,
        device: &mut Device,
        config: &ModelConfig,
        shape: Shape,
    ) -> Result<Training, ComputeError> {
        let kept = Kept {
            params: self.params.clone(),
            grads: self.back.grads.clone(),
            m: self.m.clone(),
            v: self.v.clone(),
            hyper: self.hyper.clone(),
            control: self.control.clone(),
        };
        Training::record(device, config, Arc::clone(&self.table), shape, self.adamw, kept)
    }

    /// Drops the programs, which on a GPU keep the buffers that they bind.
    pub(super) fn unrecord(&mut self, device: &mut Device) -> Result<(), ComputeError> {
        for program in [&mut self.zero, &mut self.forward, &mut self.backward, &mut self.update] {
            *program = Recording::new(device).compile()?;
        }
        Ok(())
    }

    /// Allocates what depends on the shape, and records everything.
    fn record(
        device: &mut Device,
        config: &ModelConfig,
        table: Arc<ParamTable>,
        shape: Shape,
        adamw: AdamW,
        kept: Kept,
    ) -> Result<Training, ComputeError> {
        let Kept { params, grads, m, v, hyper, control } = kept;
        let (first, n) = (device.mark(), shape.rows());
        let clock = device.alloc("clock", &[4], DType::U32)?;
        let ids = device.alloc("ids", &[n], DType::U32)?;
        let order = device.alloc("order", &[n], DType::U32)?;
        let starts = device.alloc("starts", &[config.vocab_size + 1], DType::U32)?;
        let loss = device.alloc("loss", &[1], DType::F32)?;
        let layout = Layout::new(device, "", shape)?;
        let rope = rope_table(device, config, shape.t)?;
        let trunk = Trunk::alloc(device, config, &params, shape, true)?;
        let back = Backward::alloc(device, config, shape, grads)?;

        let mut rec = Recording::new(device);
        ops::fill(&mut rec, &back.grads.slab, 0.0)?;
        ops::fill(&mut rec, &loss, 0.0)?;
        let zero = rec.compile()?;

        let mut rec = Recording::new(device);
        let pass = Pass {
            shape,
            positions: &layout.positions,
            rope: &rope,
            attend: Attend::Rows(&layout.begins),
            dropout: (config.dropout > 0.0).then_some(Dropout { clock: &clock, rate: config.dropout }),
        };
        trunk.forward(&mut rec, &ids, &pass)?;
        let forward = rec.compile()?;

        let mut rec = Recording::new(device);
        trunk.backward(&mut rec, &pass, &back, &Sorted { order: &order, starts: &starts })?;
        let backward = rec.compile()?;
        let y = trunk.output().clone();

        let mut rec = Recording::new(device);
        let update = ops::Update {
            params: &params.slab,
            shadow: params.shadow.as_ref(),
            grads: &back.grads.slab,
            m: &m,
            v: &v,
            decayed: table.decayed,
            loss: &loss,
            hyper: &hyper,
            control: &control,
        };
        ops::adamw(&mut rec, &update)?;
        let update = rec.compile()?;
        Ok(Training {
            config: config.clone(),
            table,
            shape,
            adamw,
            params,
            m,
            v,
            hyper,
            control,
            clock,
            ids,
            layout,
            order,
            starts,
            loss,
            y,
            back,
            zero,
            forward,
            backward,
            update,
            written: (Vec::new(), None),
            first,
            computed: false,
            gathered: false,
        })
    }

    /// Writes learning rate and loss scale next to AdamW's settings.
    pub(super) fn write_hyper(&mut self, device: &mut Device, rate: f32, scale: f32) -> Result<(), ComputeError> {
        let a = self.adamw;
        device.write(&self.hyper, &[rate, scale, a.weight_decay, a.beta1, a.beta2, a.eps, a.clip, 0.0])
    }

    /// Sets the dropout key of the next micro-batch, if there is dropout.
    pub(super) fn write_clock(
        &self,
        device: &mut Device,
        seed: u64,
        step: usize,
        micro: usize,
    ) -> Result<(), ComputeError> {
        if self.config.dropout > 0.0 {
            device.write(&self.clock, &[seed as u32, (seed >> 32) as u32, step as u32, micro as u32])?;
        }
        Ok(())
    }

    /// Rejects rows that do not fit this model.
    pub(super) fn check(&self, op: &'static str, ids: &[u32], starts: Option<&[u32]>) -> Result<(), ComputeError> {
        let (n, v) = (self.shape.rows(), self.config.vocab_size);
        let wrong = |what: String| Err(ComputeError::Shape { op, what });
        if ids.len() != n {
            return wrong(format!("{} ids were given, {n} are expected", ids.len()));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= v) {
            return wrong(format!("token id {id} is outside the vocabulary of {v}"));
        }
        self.layout.check(op, starts)
    }

    /// Writes checked rows, unless they are on the device already.
    pub(super) fn write_rows(
        &mut self,
        device: &mut Device,
        ids: &[u32],
        starts: Option<&[u32]>,
    ) -> Result<(), ComputeError> {
        if self.written.0 == ids && self.written.1.as_deref() == starts {
            return Ok(());
        }
        (self.computed, self.written) = (false, (Vec::new(), None));
        let (order, begins) = sort_by_id(ids, self.config.vocab_size);
        self.layout.write(device, starts)?;
        device.write(&self.ids, ids)?;
        device.write(&self.order, &order)?;
        device.write(&self.starts, &begins)?;
        self.written = (ids.to_vec(), starts.map(<[u32]>::to_vec));
        Ok(())
    }

    /// The parameters have changed: activations and accumulated gradients are invalid.
    pub(super) fn disturb(&mut self) {
        (self.computed, self.gathered) = (false, false);
    }

    /// Runs an output that only reads `y`, after the trunk if its activations are invalid.
    pub(super) fn read_off(&mut self, device: &mut Device, end: &Program) -> Result<(), ComputeError> {
        if self.computed {
            return device.replay(&[end]);
        }
        device.replay(&[&self.forward, end])?;
        self.computed = true;
        Ok(())
    }

    /// Runs an output that computes ∂L/∂y, and the backward pass; gradients are accumulated.
    pub(super) fn gather(&mut self, device: &mut Device, end: &Program) -> Result<(), ComputeError> {
        let mut programs = Vec::with_capacity(4);
        if !self.gathered {
            programs.push(&self.zero);
        }
        if !self.computed {
            programs.push(&self.forward);
        }
        programs.extend([end, &self.backward]);
        device.replay(&programs)?;
        (self.computed, self.gathered) = (true, true);
        Ok(())
    }

    /// Clips and takes an AdamW step on the accumulated gradients. `loss` is the caller's number, only for the outcome
    /// and its check.
    pub(super) fn finish(&mut self, device: &mut Device, rate: f32, loss: f32) -> Result<Ticket, ComputeError> {
        if !self.gathered {
            let what = "there is no gradient: no backward pass since the last update".to_owned();
            return Err(ComputeError::Shape { op: "update", what });
        }
        self.write_hyper(device, rate, 1.0)?;
        device.write(&self.loss, &[loss])?;
        let ticket = device.replay_and_request(&[&self.update], &self.control)?;
        (self.computed, self.gathered) = (false, false);
        Ok(ticket)
    }

    /// Whether products are in f16 and gradients have a loss scale.
    fn half(&self) -> bool {
        self.params.shadow.is_some()
    }

    /// Reads parameters, first and second moments and the control block, in this order. Without a loss scale the block
    /// has [`CONTROL_F32`] words.
    pub(super) fn read_state(&self, device: &mut Device) -> Result<[Vec<f32>; 4], ComputeError> {
        let mut control = device.read(&self.control)?;
        control.truncate(if self.half() { CONTROL } else { CONTROL_F32 });
        Ok([device.read(&self.params.slab)?, device.read(&self.m)?, device.read(&self.v)?, control])
    }

    /// Writes a control block of either length. Half precision adds the initial loss scale to an f32 block; f32 drops
    /// the loss scale.
    fn write_control(&self, device: &mut Device, words: &[f32]) -> Result<(), ComputeError> {
        let mut control = [0.0; CONTROL];
        let known = words.len().min(if self.half() { CONTROL } else { CONTROL_F32 });
        control[..known].copy_from_slice(&words[..known]);
        if self.half() && control[8] == 0.0 {
            control[8] = FIRST_LOSS_SCALE;
        }
        device.write(&self.control, &control)
    }

    /// Writes what [`Training::read_state`] read.
    pub(super) fn write_state(&self, device: &mut Device, state: &[Vec<f32>; 4]) -> Result<(), ComputeError> {
        let [params, m, v, control] = state;
        self.params.write(device, params)?;
        device.write(&self.m, m)?;
        device.write(&self.v, v)?;
        self.write_control(device, control)
    }

    /// The gradient slab, divided by the loss scale.
    pub(super) fn read_grads(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        let mut grads = device.read(&self.back.grads.slab)?;
        if self.half() {
            let control: Vec<f32> = device.read(&self.control)?;
            // The update may have changed the scale.
            let scale = if self.gathered { control[8] } else { control[11] };
            if scale > 0.0 {
                for gradient in &mut grads {
                    *gradient /= scale;
                }
            }
        }
        Ok(grads)
    }
}

/// Positions sorted by id (a stable counting sort), and the start of each id's positions.
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
