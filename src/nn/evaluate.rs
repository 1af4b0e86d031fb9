//! Forward passes without gradients: losses for validation and scoring, and the scores of a scalar model.

use super::{
    config::ModelConfig,
    head::{Ending, Head, logit_rows},
    params::Weights,
    rows::{self, Attend, Layout, Shape, TokenRows},
    trunk::{Trunk, rope_table},
};
use crate::compute::{self, ComputeError, DType, Device, Program, Recording, Tensor, matmul, ops::HYPER};

/// The trunk over rows.
struct Forward {
    shape: Shape,
    vocab: usize,
    ids: Tensor,
    layout: Layout,
    program: Program,
}

impl Forward {
    /// Records the trunk, followed by an output that reads its result \[N, C\].
    fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        shape: Shape,
        end: impl FnOnce(&mut Recording<'_>, &Tensor) -> Result<(), ComputeError>,
    ) -> Result<Forward, ComputeError> {
        let ids = device.alloc("eval.ids", &[shape.rows()], DType::U32)?;
        let layout = Layout::new(device, "eval.", shape)?;
        let rope = rope_table(device, config, shape.t)?;
        let trunk = Trunk::alloc(device, config, weights, shape, false)?;
        let mut rec = Recording::new(device);
        let attend = Attend::Rows(&layout.begins);
        let pass = rows::Pass { shape, positions: &layout.positions, rope: &rope, attend, dropout: None };
        trunk.forward(&mut rec, &ids, &pass)?;
        end(&mut rec, trunk.output())?;
        let program = rec.compile()?;
        Ok(Forward { shape, vocab: config.vocab_size, ids, layout, program })
    }

    /// Checks and writes rows, and runs the pass.
    fn run(&mut self, device: &mut Device, ids: &[u32], starts: Option<&[u32]>) -> Result<(), ComputeError> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocab) {
            return Err(ComputeError::Shape {
                op: "evaluate",
                what: format!("token id {id} is outside the vocabulary of {}", self.vocab),
            });
        }
        self.layout.check("evaluate", starts)?;
        self.layout.write(device, starts)?;
        device.write(&self.ids, ids)?;
        device.replay(&[&self.program])
    }
}

/// A forward pass over B × T rows that computes the loss of each row.
pub struct Evaluator {
    pass: Forward,
    targets: Tensor,
    losses: Tensor,
}

impl Evaluator {
    /// Records the pass over the live weights.
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        batch: usize,
        context: usize,
    ) -> Result<Evaluator, ComputeError> {
        let shape = Shape { b: batch, t: context };
        let n = shape.rows();
        let targets = device.alloc("eval.targets", &[n], DType::U32)?;
        let losses = device.alloc("eval.losses", &[n], DType::F32)?;
        let hyper = device.alloc("eval.hyper", &[HYPER], DType::F32)?;
        let chunk = logit_rows(device, config.vocab_size, n);
        let logits = device.alloc("eval.logits", &[chunk, config.vocab_size], device.traits().act)?;
        let pass = Forward::new(device, config, weights, shape, |rec, y| {
            let head = Head { y, weight: weights.head(), targets: &targets, hyper: &hyper, losses: &losses };
            head.record(rec, &logits, &Ending::Score(None))
        })?;
        Ok(Evaluator { pass, targets, losses })
    }

    /// Rows and positions of one pass.
    pub fn shape(&self) -> (usize, usize) {
        (self.pass.shape.b, self.pass.shape.t)
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
        device.write(&self.targets, targets)?;
        self.pass.run(device, ids, starts)?;
        device.read(&self.losses)
    }
}

/// A forward pass over B × T rows that computes the score of each row: a reward model, a value net.
pub struct ScalarEvaluator {
    pass: Forward,
    scores: Tensor,
}

impl ScalarEvaluator {
    /// Records the pass over the live weights of a [`super::ParamTable::scalar`].
    pub fn new(
        device: &mut Device,
        config: &ModelConfig,
        weights: &Weights,
        batch: usize,
        context: usize,
    ) -> Result<ScalarEvaluator, ComputeError> {
        let shape = Shape { b: batch, t: context };
        let score = weights.score()?;
        let scores = device.alloc("eval.scores", &[shape.rows(), 1], DType::F32)?;
        let pass = Forward::new(device, config, weights, shape, |rec, y| {
            matmul(rec, compute::Layout::NT, y, &score, &scores, false)
        })?;
        Ok(ScalarEvaluator { pass, scores })
    }

    /// Rows and positions of one pass.
    pub fn shape(&self) -> (usize, usize) {
        (self.pass.shape.b, self.pass.shape.t)
    }

    /// The score of every row, B·T.
    pub fn scores(&mut self, device: &mut Device, rows: TokenRows<'_>) -> Result<Vec<f32>, ComputeError> {
        if rows.ids.len() != self.pass.shape.rows() {
            let what = format!("{} ids were given, {} are expected", rows.ids.len(), self.pass.shape.rows());
            return Err(ComputeError::Shape { op: "score", what });
        }
        self.pass.run(device, rows.ids, rows.starts)?;
        device.read(&self.scores)
    }
}
