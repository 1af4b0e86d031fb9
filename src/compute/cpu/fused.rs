//! Twins of fused kernels: the twins of their parts in sequence.

use super::{
    args::{Args, Arity, Params, Ran},
    decode::{attention_decode, cache_append},
    elementwise::{rope, swiglu_backward, swiglu_forward},
    gemm::{matmul_nn, matmul_nt},
    norm::rmsnorm_forward,
};

pub(in crate::compute) fn matmul_rope(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b, positions, table], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n, _, _, rotated, d, rows] = p.sizes();
    matmul_nt(p, Args { read: &[a, b], write: &mut [&mut **out] })?;
    let turn = Params::new(&[m, rotated / d, d, n, 0, rows]);
    rope(&turn, Args { read: &[positions, table], write: &mut [&mut **out] })
}

pub(in crate::compute) fn matmul_swiglu(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [gate_up, act]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n] = p.sizes();
    matmul_nt(p, Args { read: &[a, b], write: &mut [&mut **gate_up] })?;
    swiglu_forward(&Params::new(&[m, n / 2]), Args { read: &[&**gate_up], write: &mut [&mut **act] })
}

pub(in crate::compute) fn matmul_swiglu_backward(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b, gate_up], [dgate_up]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n] = p.sizes();
    let mut dact = vec![0.0; m * n];
    matmul_nn(p, Args { read: &[a, b], write: &mut [&mut dact] })?;
    swiglu_backward(&Params::new(&[m, n]), Args { read: &[gate_up, &dact], write: &mut [&mut **dgate_up] })
}

pub(in crate::compute) fn matmul_swiglu_few(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [act]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n] = p.sizes();
    let mut gate_up = vec![0.0; m * n];
    matmul_nt(p, Args { read: &[a, b], write: &mut [&mut gate_up] })?;
    swiglu_forward(&Params::new(&[m, n / 2]), Args { read: &[&gate_up], write: &mut [&mut **act] })
}

pub(in crate::compute) fn attention_step(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, positions, table], [cache, out]) = (args.read, args.write) else { return Err(Arity) };
    let [b, places, hq, hk, d, rows] = p.sizes();
    let mut turned = qkv.to_vec();
    let turn = Params::new(&[b, hq + hk, d, (hq + 2 * hk) * d, 0, rows]);
    rope(&turn, Args { read: &[positions, table], write: &mut [&mut turned] })?;
    let attend = Params::new(&[b, 1, places, hq, hk, d]).with_f32(6, p.f32(6));
    cache_append(&attend, Args { read: &[&turned, positions], write: &mut [&mut **cache] })?;
    attention_decode(&attend, Args { read: &[&turned, &**cache, positions], write: &mut [&mut **out] })
}

pub(in crate::compute) fn attention_row(p: &Params, args: Args<'_>) -> Ran {
    let (&[gain, w_qkv, w_o, positions, table], [cache, x]) = (args.read, args.write) else { return Err(Arity) };
    let [b, places, hq, hk, d, rows, c] = p.sizes();
    let y = normed(x, gain, c, p.f32(8))?;
    let (mut qkv, mut out) = (vec![0.0; b * (hq + 2 * hk) * d], vec![0.0; b * hq * d]);
    let product = Params::new(&[b, (hq + 2 * hk) * d, c]);
    matmul_nt(&product, Args { read: &[&y, w_qkv], write: &mut [&mut qkv] })?;
    let step = Params::new(&[b, places, hq, hk, d, rows]).with_f32(6, p.f32(7));
    let write: &mut [&mut [f32]] = &mut [&mut **cache, &mut out];
    attention_step(&step, Args { read: &[&qkv, positions, table], write })?;
    matmul_nt(&Params::new(&[b, c, hq * d, 1]), Args { read: &[&out, w_o], write: &mut [&mut **x] })
}

pub(in crate::compute) fn mlp_row(p: &Params, args: Args<'_>) -> Ran {
    let (&[gain, gate_up, down], [x]) = (args.read, args.write) else { return Err(Arity) };
    let [n, c, f] = p.sizes();
    let y = normed(x, gain, c, p.f32(3))?;
    let mut act = vec![0.0; n * f];
    let gated = Params::new(&[n, 2 * f, c]);
    matmul_swiglu_few(&gated, Args { read: &[&y, gate_up], write: &mut [&mut act] })?;
    matmul_nt(&Params::new(&[n, c, f, 1]), Args { read: &[&act, down], write: &mut [&mut **x] })
}

/// RMSNorm of rows of `c`.
fn normed(x: &[f32], gain: &[f32], c: usize, eps: f32) -> Result<Vec<f32>, Arity> {
    let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; x.len() / c]);
    let params = Params::new(&[rstd.len(), c]).with_f32(2, eps);
    rmsnorm_forward(&params, Args { read: &[x, gain], write: &mut [&mut y, &mut rstd] })?;
    Ok(y)
}
