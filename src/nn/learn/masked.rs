//! The output layer over trained rows only.
//!
//! Logits are the most expensive part of a small model, and in a conversation only answers are trained. So the rows
//! with a target are gathered first and their gradients scattered back; other rows get a zero gradient, which is what
//! they would have anyway.

use super::training::Training;
use crate::{
    compute::{ComputeError, DType, Device, Program, Recording, Tensor, ops},
    nn::{
        head::{Ending, Head},
        rows::IGNORE_INDEX,
    },
};

/// Fractions of a micro-batch's rows for which heads are recorded: the smallest that holds the trained rows is used.
const PARTS: [usize; 3] = [8, 4, 2];
/// Below this many rows nothing is gained.
const FEWEST: usize = 64;

/// A recorded head over at most `rows` trained rows.
pub(super) struct MaskedHead {
    rows: usize,
    /// \[M\] (u32): the row of each trained row.
    index: Tensor,
    /// \[N\] (u32): the index of each row among the trained ones; M, a row of zeros, for untrained rows.
    inverse: Tensor,
    /// \[M\].
    targets: Tensor,
    /// \[M\]: ones, unless others are written.
    weights: Tensor,
    /// \[M\].
    losses: Tensor,
    /// \[M, C\]: the gathered rows.
    y: Tensor,
    program: Program,
}

/// The tensors that all heads of a learner share.
pub(super) struct Shared<'a> {
    pub training: &'a Training,
    pub logits: &'a Tensor,
}

impl MaskedHead {
    /// Heads for the fractions of `n` rows that are worthwhile, the smallest first.
    pub(super) fn all(device: &mut Device, n: usize, s: &Shared<'_>) -> Result<Vec<MaskedHead>, ComputeError> {
        let worth = |part: &&usize| n.is_multiple_of(**part * FEWEST);
        PARTS.iter().filter(worth).map(|part| Self::new(device, n, n / part, s)).collect()
    }

    fn new(device: &mut Device, n: usize, rows: usize, s: &Shared<'_>) -> Result<MaskedHead, ComputeError> {
        let t = s.training;
        let c = t.y.cols();
        let index = device.alloc("trained", &[rows], DType::U32)?;
        let inverse = device.alloc("trained.inverse", &[n], DType::U32)?;
        let targets = device.alloc("trained.targets", &[rows], DType::U32)?;
        let weights = device.alloc("trained.weights", &[rows], DType::F32)?;
        device.write(&weights, &vec![1.0_f32; rows])?;
        let losses = device.alloc("trained.losses", &[rows], DType::F32)?;
        let y = device.alloc("trained.y", &[rows, c], t.y.dtype)?;
        // The last row is never written and stays zero.
        let dy = device.alloc("trained.dy", &[rows + 1, c], t.y.dtype)?;
        let mut rec = Recording::new(device);
        ops::embedding_forward(&mut rec, &index, &t.y, &y)?;
        let head = Head { y: &y, weight: t.params.head(), targets: &targets, hyper: &t.hyper, losses: &losses };
        let grad = t.back.grads.head();
        let train = Ending::Train { weights: &weights, control: &t.control, grad: &grad, dy: &dy };
        head.record(&mut rec, s.logits, &train)?;
        ops::embedding_forward(&mut rec, &inverse, &dy, &t.back.stream.dy)?;
        ops::sum(&mut rec, &losses, &t.loss, true)?;
        Ok(MaskedHead { rows, index, inverse, targets, weights, losses, y, program: rec.compile()? })
    }

    /// The head without gradients: losses, and entropies into the beginning of `entropies`.
    pub(super) fn score(
        &self,
        device: &mut Device,
        s: &Shared<'_>,
        entropies: &Tensor,
    ) -> Result<Program, ComputeError> {
        let t = s.training;
        let mut rec = Recording::new(device);
        ops::embedding_forward(&mut rec, &self.index, &t.y, &self.y)?;
        let head =
            Head { y: &self.y, weight: t.params.head(), targets: &self.targets, hyper: &t.hyper, losses: &self.losses };
        head.record(&mut rec, s.logits, &Ending::Score(Some(&entropies.part("entropies", 0, &[self.rows]))))?;
        rec.compile()
    }

    /// Writes the factors on the gradients of rows with a target; `weights` are those of all rows.
    pub(super) fn write_weights(
        &self,
        device: &mut Device,
        targets: &[i32],
        weights: &[f32],
    ) -> Result<(), ComputeError> {
        let rows = targets.iter().zip(weights).filter(|(t, _)| **t != IGNORE_INDEX);
        device.write(&self.weights, &rows.map(|(_, w)| *w).collect::<Vec<_>>())
    }

    /// The most trained rows it accepts.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The recorded head.
    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// Writes which rows are trained, at most [`Self::rows`].
    pub(super) fn write(&self, device: &mut Device, targets: &[i32]) -> Result<(), ComputeError> {
        let mut index = Vec::with_capacity(self.rows);
        let mut inverse = vec![self.rows as u32; targets.len()];
        let mut trained = Vec::with_capacity(self.rows);
        for (row, target) in targets.iter().enumerate().filter(|(_, t)| **t != IGNORE_INDEX) {
            inverse[row] = index.len() as u32;
            index.push(row as u32);
            trained.push(*target);
        }
        // Unused places read some row and are ignored.
        index.resize(self.rows, 0);
        trained.resize(self.rows, IGNORE_INDEX);
        device.write(&self.index, &index)?;
        device.write(&self.inverse, &inverse)?;
        device.write(&self.targets, &trained)
    }

    /// \[M\]: the losses of the trained rows.
    pub(super) fn row_losses(&self) -> &Tensor {
        &self.losses
    }

    /// The losses of all rows in order, for the targets last written.
    pub(super) fn losses(&self, device: &mut Device) -> Result<Vec<f32>, ComputeError> {
        let trained: Vec<f32> = device.read(&self.losses)?;
        let inverse = device.read::<u32>(&self.inverse)?;
        Ok(inverse.iter().map(|at| trained.get(*at as usize).copied().unwrap_or(0.0)).collect())
    }
}
