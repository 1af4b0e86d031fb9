//! Losses without gradients: validation and scoring.

use super::{
    ModelConfig, Weights,
    forward::{Acts, Attend, Head, Inputs, Shape, Trunk, logit_rows, rope_table},
};
use crate::compute::{ComputeError, DType, Device, Program, Recording, Tensor, ops::HYPER};

/// A forward pass over B × T rows that ends in the loss of each row.
pub struct Evaluator {
    shape: Shape,
    vocab: usize,
    ids: Tensor,
    targets: Tensor,
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
        let positions = device.alloc("eval.positions", &[n], DType::U32)?;
        let rows: Vec<u32> = (0..n).map(|i| (i % context) as u32).collect();
        device.write(&positions, &rows)?;
        let losses = device.alloc("eval.losses", &[n], DType::F32)?;
        let hyper = device.alloc("eval.hyper", &[HYPER], DType::F32)?;
        let rope = rope_table(device, config, context)?;
        let acts = Acts::alloc(device, config, shape, false)?;
        let chunk = logit_rows(device, config.vocab_size, n);
        let logits = device.alloc("eval.logits", &[chunk, config.vocab_size], DType::F32)?;
        let mut rec = Recording::new(device);
        let trunk = Trunk { config, weights, acts: &acts, shape };
        trunk.forward(&mut rec, &Inputs { ids: &ids, positions: &positions, rope: &rope }, &Attend::Rows, None)?;
        let head = Head { y: &acts.y, weight: weights.head(), targets: &targets, hyper: &hyper, losses: &losses };
        head.record(&mut rec, &logits, None)?;
        let program = rec.compile()?;
        Ok(Evaluator { shape, vocab: config.vocab_size, ids, targets, losses, program })
    }

    /// Rows and positions of one pass.
    pub fn shape(&self) -> (usize, usize) {
        (self.shape.b, self.shape.t)
    }

    /// −log p(target) of every position, 0 where the target is −100. `ids` and `targets` are B·T.
    pub fn losses(&self, device: &mut Device, ids: &[u32], targets: &[i32]) -> Result<Vec<f32>, ComputeError> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocab) {
            return Err(ComputeError::Shape {
                op: "evaluate",
                what: format!("token id {id} is outside the vocabulary of {}", self.vocab),
            });
        }
        device.write(&self.ids, ids)?;
        device.write(&self.targets, targets)?;
        device.replay(&[&self.program])?;
        device.read(&self.losses)
    }
}
