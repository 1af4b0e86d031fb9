//! Cross-entropy and entropy over rows of logits.

use super::{
    optimizer::{CONTROL, HYPER},
    push::{Done, expect_len, push, wrong},
};
use crate::compute::{
    cpu::Params,
    device::Recording,
    tensor::{DType, Tensor},
};

/// Cross-entropy and its gradient in one pass over a chunk of R rows.
///
/// targets \[R\] (i32 by its bits; −100, or anything outside 0..V, is ignored), hyper \[HYPER\] (word 1: the share of a
/// token), logits \[R, V\] → losses \[R\] = −log p(target), 0 where ignored. With a `slope`, logits are replaced by the
/// gradient of Σ weight · share · S · loss, which is (softmax − onehot) · share · weight · S, zero where ignored; the
/// losses are never weighted. One workgroup per row.
pub fn cross_entropy(
    rec: &mut Recording<'_>,
    targets: &Tensor,
    hyper: &Tensor,
    logits: &Tensor,
    losses: &Tensor,
    slope: Option<Slope<'_>>,
) -> Done {
    let r = targets.len();
    expect_len("cross_entropy", losses, r)?;
    // Placeholders for absent tensors are not read.
    let (weights, control) = slope.map_or((targets, targets), |s| (s.weights, s.control));
    expect_len("cross_entropy", weights, r)?;
    expect_len("cross_entropy", hyper, HYPER)?;
    if slope.is_some() {
        expect_len("cross_entropy", control, CONTROL)?;
    }
    if r == 0 || !logits.len().is_multiple_of(r) {
        return Err(wrong("cross_entropy", format!("logits {:?} are not {r} rows", logits.shape)));
    }
    let v = logits.len() / r;
    let params = Params::new(&[r, v, usize::from(slope.is_some())]);
    let grid = rec.traits().grid(r);
    // Whole vectors in half precision only: in f32 the order of the sum is part of every run's bits.
    let forced = rec.forced().filter(|row| row.base() == "cross_entropy");
    let vectors = forced.map_or(logits.dtype == DType::F16, |row| row.has("VEC4")) && v.is_multiple_of(4);
    let name = if vectors { "cross_entropy.v.h" } else { "cross_entropy" };
    push(rec, name, params, &[targets, hyper, weights, control, logits, losses], grid)
}

/// The factors on the gradient of [`cross_entropy`].
#[derive(Clone, Copy)]
pub struct Slope<'a> {
    /// \[R\]: a weight per row.
    pub weights: &'a Tensor,
    /// \[CONTROL\]: S is its loss scale.
    pub control: &'a Tensor,
}

/// The entropy of the softmax of each row, in nats: H = log Σ eˣ − Σ p·x.
///
/// targets \[R\] (as in [`cross_entropy`]), logits \[R, V\] → entropies \[R\], 0 where ignored. One workgroup per row.
pub fn entropy(rec: &mut Recording<'_>, targets: &Tensor, logits: &Tensor, entropies: &Tensor) -> Done {
    let r = targets.len();
    expect_len("entropy", entropies, r)?;
    if r == 0 || !logits.len().is_multiple_of(r) {
        return Err(wrong("entropy", format!("logits {:?} are not {r} rows", logits.shape)));
    }
    let grid = rec.traits().grid(r);
    push(rec, "entropy", Params::new(&[r, logits.len() / r]), &[targets, logits, entropies], grid)
}
