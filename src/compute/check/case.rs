//! What a case is: kernels, the shapes on which they are checked, and wrong versions of them.

use super::bench::Bench;
use crate::compute::{
    ComputeError,
    rng::{Purpose, below},
};

pub(super) type Done = Result<(), ComputeError>;

/// The check of one or more kernels.
pub(super) struct Case {
    /// Names of kernels without their variants.
    pub kernels: &'static [&'static str],
    /// Runs one of them on its shapes: 1, odd, around a tile, and large where that is cheap.
    pub run: fn(&mut Bench<'_>) -> Done,
    /// Wrong kernels, which must fail the check.
    pub mutants: &'static [Mutant],
}

/// A wrong kernel: the name of a row, a piece of its expanded WGSL, and the replacement. If both are the same, the
/// kernel must pass: the alteration itself does not fail a check.
pub type Mutant = (&'static str, &'static str, &'static str);

/// Rows and columns of row-wise kernels.
pub(super) const TABLES: &[(usize, usize)] = &[(1, 1), (2, 3), (5, 63), (3, 64), (7, 65), (129, 10), (2, 1030)];
/// More rows than one grid dimension allows.
pub(super) const TALL: (usize, usize) = (65_600, 1);

/// `shapes`, and one more on a real GPU.
pub(super) fn shapes<T: Copy>(b: &Bench<'_>, shapes: &[T], large: T) -> Vec<T> {
    let more = b.large().then_some(large);
    shapes.iter().copied().chain(more).collect()
}

/// `n` numbers below `limit`.
pub(super) fn ids(n: usize, limit: usize) -> Vec<u32> {
    (0..n).map(|i| below(9, Purpose::Bench, 1, i as u64, limit) as u32).collect()
}
