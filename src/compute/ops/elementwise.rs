//! Elementwise operations.

use super::{
    optimizer::CONTROL,
    push::{Done, ELEMENTS, expect_len, line, push, segments},
};
use crate::compute::{cpu::Params, device::Recording, tensor::Tensor};

/// out\[i\] = value.
pub fn fill(rec: &mut Recording<'_>, out: &Tensor, value: f32) -> Done {
    for (start, n) in segments(rec, out.len()) {
        let part = out.part(&out.name, start, &[n]);
        let grid = line(rec, n, ELEMENTS);
        push(rec, "fill", Params::new(&[n]).with_f32(1, value), &[&part], grid)?;
    }
    Ok(())
}

/// out = a + b, elementwise; `out` must be another buffer.
pub fn add(rec: &mut Recording<'_>, a: &Tensor, b: &Tensor, out: &Tensor) -> Done {
    expect_len("add", b, a.len())?;
    expect_len("add", out, a.len())?;
    let grid = line(rec, a.len(), ELEMENTS);
    push(rec, "add", Params::new(&[a.len()]), &[a, b, out], grid)
}

/// x ← factor · x.
pub fn scale(rec: &mut Recording<'_>, x: &Tensor, factor: f32) -> Done {
    let grid = line(rec, x.len(), ELEMENTS);
    push(rec, "scale", Params::new(&[x.len()]).with_f32(1, factor), &[x], grid)
}

/// out = x in f16: clamped to ±65504; if x are gradients and `scale` \[CONTROL\] is given, multiplied by its loss scale
/// and not clamped. x f32 → out f16.
pub fn narrow(rec: &mut Recording<'_>, x: &Tensor, out: &Tensor, scale: Option<&Tensor>) -> Done {
    expect_len("narrow", out, x.len())?;
    if let Some(control) = scale {
        expect_len("narrow", control, CONTROL)?;
    }
    for (start, n) in segments(rec, x.len()) {
        let cut = |t: &Tensor| t.part(&t.name, start, &[n]);
        let grid = line(rec, n, ELEMENTS);
        let (x, out) = (cut(x), cut(out));
        // A placeholder for an absent block is not read.
        let control = scale.unwrap_or(&x);
        push(rec, "narrow", Params::new(&[n, usize::from(scale.is_some())]), &[&x, control, &out], grid)?;
    }
    Ok(())
}

/// Dropout by counter: out = x · keep / (1 − p), where keep is a function of `clock` and the index.
///
/// `clock` \[4\] (u32): seed low, seed high, step, micro-step. Element i is kept when
/// `mix(mix(mix(mix(mix(mix(seed_low) ^ seed_high) ^ step) ^ micro) ^ stream) ^ i) >> 8 ≥ p · 2²⁴`
/// with [`crate::compute::rng::mix`]. The backward pass is the same call on the gradient.
pub fn dropout(rec: &mut Recording<'_>, clock: &Tensor, x: &Tensor, out: &Tensor, stream: usize, p: f32) -> Done {
    expect_len("dropout", clock, 4)?;
    expect_len("dropout", out, x.len())?;
    let grid = line(rec, x.len(), ELEMENTS);
    push(rec, "dropout", Params::new(&[x.len(), stream]).with_f32(2, p), &[clock, x, out], grid)
}

/// SwiGLU (Shazeer 2020): act = silu(gate) · up. gate_up \[N, 2F\] (gate first) → act \[N, F\].
pub fn swiglu_forward(rec: &mut Recording<'_>, gate_up: &Tensor, act: &Tensor) -> Done {
    let (n, f) = (act.rows(), act.cols());
    expect_len("swiglu_forward", gate_up, n * 2 * f)?;
    let grid = line(rec, n * f, ELEMENTS);
    push(rec, "swiglu_forward", Params::new(&[n, f]), &[gate_up, act], grid)
}

/// dgate = dact · up · σ(g)(1 + g(1 − σ(g))), dup = dact · silu(g).
/// gate_up \[N, 2F\], dact \[N, F\] → dgate_up \[N, 2F\].
pub fn swiglu_backward(rec: &mut Recording<'_>, gate_up: &Tensor, dact: &Tensor, dgate_up: &Tensor) -> Done {
    let (n, f) = (dact.rows(), dact.cols());
    expect_len("swiglu_backward", gate_up, n * 2 * f)?;
    expect_len("swiglu_backward", dgate_up, n * 2 * f)?;
    let grid = line(rec, n * f, ELEMENTS);
    push(rec, "swiglu_backward", Params::new(&[n, f]), &[gate_up, dact, dgate_up], grid)
}
