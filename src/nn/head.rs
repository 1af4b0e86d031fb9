//! The output layer and the loss over chunks of rows.

use crate::compute::{
    ComputeError, DType, Device, Layout, Recording, Tensor, matmul,
    ops::{self, Slope},
};

/// Bytes of a chunk of logits: small enough for a CPU's cache, large enough to fill a GPU.
const CPU_LOGITS: usize = 8 << 20;
const GPU_LOGITS: usize = 256 << 20;
/// In f16 every chunk reads and writes the output layer's gradient once more, so few chunks are better. In f32 the size
/// must not change, because the order of those sums is part of every run's bits.
const HALF_LOGITS: usize = 1 << 30;

/// Output layer and loss over chunks of rows, so that logits never exceed a binding.
pub(super) struct Head<'a> {
    /// \[N, C\].
    pub y: &'a Tensor,
    /// \[V, C\].
    pub weight: Tensor,
    /// \[N\] (i32).
    pub targets: &'a Tensor,
    /// \[HYPER\].
    pub hyper: &'a Tensor,
    /// \[N\].
    pub losses: &'a Tensor,
}

/// Rows per chunk of logits on this device: a multiple of the alignment.
pub fn logit_rows(device: &Device, vocab: usize, rows: usize) -> usize {
    let traits = device.traits();
    let bytes = match traits.act {
        _ if traits.cpu => CPU_LOGITS,
        DType::F16 => HALF_LOGITS,
        DType::F32 | DType::U32 => GPU_LOGITS,
    };
    let fit = bytes.min(traits.max_binding as usize) / traits.act.bytes() / vocab.max(1) / 64 * 64;
    fit.max(64).min(rows.next_multiple_of(64))
}

/// What is computed from each chunk of logits.
pub(super) enum Ending<'a> {
    /// Only losses, and optionally entropies \[N\].
    Score(Option<&'a Tensor>),
    /// Losses and gradients.
    Train {
        /// \[N\]: factor on each row's gradient.
        weights: &'a Tensor,
        /// \[CONTROL\]: holds the loss scale.
        control: &'a Tensor,
        /// \[V, C\]: the output layer's gradient, accumulated.
        grad: &'a Tensor,
        /// \[N, C\] or longer: becomes ∂loss/∂y.
        dy: &'a Tensor,
    },
}

impl Head<'_> {
    /// Records the losses of all rows, and what the ending needs.
    pub(super) fn record(
        &self,
        rec: &mut Recording<'_>,
        logits: &Tensor,
        ending: &Ending<'_>,
    ) -> Result<(), ComputeError> {
        let (n, v) = (self.y.rows(), self.weight.rows());
        let each = logits.len() / v;
        for start in (0..n).step_by(each.max(1)) {
            let rows = each.min(n - start);
            let y = self.y.slice_rows(start, rows);
            let logits = logits.part("logits", 0, &[rows, v]);
            matmul(rec, Layout::NT, &y, &self.weight, &logits, false)?;
            let cut = |t: &Tensor| t.part(&t.name, start, &[rows]);
            let (targets, losses) = (cut(self.targets), cut(self.losses));
            match ending {
                Ending::Score(entropies) => {
                    ops::cross_entropy(rec, &targets, self.hyper, &logits, &losses, None)?;
                    if let Some(entropies) = entropies {
                        ops::entropy(rec, &targets, &logits, &cut(entropies))?;
                    }
                }
                Ending::Train { weights, control, grad, dy } => {
                    let slope = Slope { weights: &cut(weights), control };
                    ops::cross_entropy(rec, &targets, self.hyper, &logits, &losses, Some(slope))?;
                    matmul(rec, Layout::TN, &logits, &y, grad, true)?;
                    matmul(rec, Layout::NN, &logits, &self.weight, &dy.slice_rows(start, rows), false)?;
                }
            }
        }
        Ok(())
    }
}
