//! Losses without gradients: validation and scoring.

use super::{
    ModelConfig, Weights,
    forward::{Acts, Attend, Head, Inputs, Shape, Trunk, logit_rows, rope_table},
    layout::Layout,
};
use crate::compute::{ComputeError, DType, Device, Program, Recording, Tensor, ops::HYPER};

/// A forward pass over B × T rows that ends in the loss of each row.
pub struct Evaluator {
    shape: Shape,
    vocab: usize,
    ids: Tensor,
    targets: Tensor,
    layout: Layout,
    losses: Tensor,
    program: Program,
}

impl Evaluator {
    /// Records the pass over live weights.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        batch: usize,
        context: usize,
    ) -> Result<Evaluator, ComputeError> {
        let shape = Shape { b: batch, t: context };
        let n = shape.rows();
        let ids = device.alloc("eval.ids", &[n], DType::U32)?;
        let targets = device.alloc("eval.targets", &[n], DType::U32)?;
        let layout = Layout::new(device, "eval.", shape)?;
        let losses = device.alloc("eval.losses", &[n], DType::F32)?;
        let hyper = device.alloc("eval.hyper", &[HYPER], DType::F32)?;
        let rope = rope_table(device, config, context)?;
        let acts = Acts::alloc(device, config, shape, false)?;
        let chunk = logit_rows(device, config.vocab_size, n);
        let logits = device.alloc("eval.logits", &[chunk, config.vocab_size], DType::F32)?;
        let mut rec = Recording::new(device);
        let trunk = Trunk { config, weights, acts: &acts, shape };
        let inputs = Inputs { ids: &ids, positions: &layout.positions, rope: &rope };
        trunk.forward(&mut rec, &inputs, &Attend::Rows(&layout.begins), None)?;
        let head = Head { y: &acts.y, weight: weights.head(), targets: &targets, hyper: &hyper, losses: &losses };
        head.record(&mut rec, &logits, None)?;
        let program = rec.compile()?;
        Ok(Evaluator { shape, vocab: config.vocab_size, ids, targets, layout, losses, program })
    }

    /// Rows and positions of one pass.
    pub fn shape(&self) -> (usize, usize) {
        (self.shape.b, self.shape.t)
    }

    /// −log p(target) of every position, 0 where the target is −100. `ids` and `targets` are B·T;
    /// `starts` are those of [`super::MicroBatch`].
    pub fn losses(
        &mut self,
        device: &mut Device,
        ids: &[u32],
        targets: &[i32],
        starts: Option<&[u32]>,
    ) -> Result<Vec<f32>, ComputeError> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocab) {
            return Err(ComputeError::Shape {
                op: "evaluate",
                what: format!("token id {id} is outside the vocabulary of {}", self.vocab),
            });
        }
        self.layout.check("evaluate", starts)?;
        self.layout.write(device, starts)?;
        device.write(&self.ids, ids)?;
        device.write(&self.targets, targets)?;
        device.replay(&[&self.program])?;
        device.read(&self.losses)
    }
}
