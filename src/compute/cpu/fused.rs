//! Twins of fused kernels: the twins of their parts in sequence.

use super::{
    args::{Args, Arity, Params, Ran},
    attention_decode, cache_append, matmul_nn, matmul_nt, rope, swiglu_backward, swiglu_forward,
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
