//! Matrix products: which variant of the tile runs, and when a long inner size is split.

use super::{ComputeError, Params, Recording, Tensor, ops};

/// How the operands lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A \[M, K\] · B \[K, N\].
    NN,
    /// A \[M, K\] · B \[N, K\]ᵀ: a linear layer, y = x·Wᵀ.
    NT,
    /// A \[K, M\]ᵀ · B \[K, N\]: a weight gradient, dW = dyᵀ·x.
    TN,
}

/// out \[M, N\] = A·B in the given layout, or += with `accumulate`.
///
/// Sizes are read from the two-dimensional reading of the tensors (all but the last size make rows).
pub fn matmul(
    rec: &mut Recording<'_>,
    layout: Layout,
    a: &Tensor,
    b: &Tensor,
    out: &Tensor,
    accumulate: bool,
) -> Result<(), ComputeError> {
    let ((m, k), (kb, n), name) = match layout {
        Layout::NN => ((a.rows(), a.cols()), (b.rows(), b.cols()), "matmul_nn"),
        Layout::NT => ((a.rows(), a.cols()), (b.cols(), b.rows()), "matmul_nt"),
        Layout::TN => ((a.cols(), a.rows()), (b.rows(), b.cols()), "matmul_tn"),
    };
    if k != kb {
        return Err(ops::wrong(
            name,
            format!("{} {:?} and {} {:?} do not share an inner size", a.name, a.shape, b.name, b.shape),
        ));
    }
    ops::expect_len(name, out, m * n)?;
    let grid = [n.div_ceil(TILE) as u32, m.div_ceil(TILE) as u32, 1];
    ops::push(rec, name, Params::new(&[m, n, k, usize::from(accumulate)]), &[a, b, out], grid)
}

/// Rows and columns of the plain tile.
const TILE: usize = 64;
