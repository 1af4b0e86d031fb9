//! Twins of the elementwise kernels, the sums, RoPE and SwiGLU.

use super::{
    args::{Args, Arity, Params, Ran},
    parallel, simd,
};
use crate::compute::rng::mix;

/// Elements per task of an elementwise kernel.
fn span(n: usize) -> usize {
    parallel::rows_per_task(n.div_ceil(64), 64) * 64
}

pub(in crate::compute) fn fill(p: &Params, args: Args<'_>) -> Ran {
    let [out] = args.write else { return Err(Arity) };
    out.fill(p.f32(1));
    Ok(())
}

pub(in crate::compute) fn add(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [n] = p.sizes();
    let each = span(n);
    parallel::run(out.chunks_mut(each).zip(a.chunks(each).zip(b.chunks(each))), |(o, (a, b))| {
        simd::wide(
            #[inline(always)]
            || o.iter_mut().zip(a.iter().zip(b)).for_each(|(o, (a, b))| *o = a + b),
        );
    });
    Ok(())
}

pub(in crate::compute) fn scale(p: &Params, args: Args<'_>) -> Ran {
    let [x] = args.write else { return Err(Arity) };
    let factor = p.f32(1);
    let each = span(x.len());
    parallel::run(x.chunks_mut(each), |x| {
        simd::wide(
            #[inline(always)]
            || {
                for v in x.iter_mut() {
                    *v *= factor;
                }
            },
        );
    });
    Ok(())
}

pub(in crate::compute) fn narrow(p: &Params, args: Args<'_>) -> Ran {
    let (&[x, control], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [_, scaled] = p.sizes();
    if scaled == 1 {
        let scale = loss_scale(control);
        out.iter_mut().zip(x).for_each(|(o, x)| *o = x * scale);
    } else {
        // The largest f16; NaN stays NaN.
        out.iter_mut().zip(x).for_each(|(o, x)| *o = x.clamp(-65_504.0, 65_504.0));
    }
    Ok(())
}

/// The loss scale in a control block: 1 if there is none.
pub(super) fn loss_scale(control: &[f32]) -> f32 {
    if control[8] == 0.0 { 1.0 } else { control[8] }
}

pub(in crate::compute) fn dropout(p: &Params, args: Args<'_>) -> Ran {
    let (&[clock, x], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [n, stream] = p.sizes();
    let rate = p.f32(2);
    let (limit, keep) = ((rate * 16_777_216.0) as u32, 1.0 / (1.0 - rate));
    let words: &[u32] = bytemuck::cast_slice(clock);
    let mut key = mix(words[0]);
    for word in [words[1], words[2], words[3], stream as u32] {
        key = mix(key ^ word);
    }
    let each = span(n);
    parallel::run(out.chunks_mut(each).zip(x.chunks(each)).enumerate(), |(c, (out, x))| {
        for (i, (o, v)) in out.iter_mut().zip(x).enumerate() {
            let kept = mix(key ^ (c * each + i) as u32) >> 8 >= limit;
            *o = if kept { v * keep } else { 0.0 };
        }
    });
    Ok(())
}

/// Σ x in chunks of a fixed size, so that the order does not depend on threads.
fn total(x: &[f32], f: impl Fn(f32) -> f32 + Sync + Send) -> f32 {
    const CHUNK: usize = 4096;
    let f = &f;
    let part = |c: &[f32]| {
        f64::from(simd::wide(
            #[inline(always)]
            || simd::sum_by(c.len(), |i| f(c[i])),
        ))
    };
    x.chunks(CHUNK).map(part).sum::<f64>() as f32
}

pub(in crate::compute) fn sum(p: &Params, args: Args<'_>) -> Ran {
    let (&[x], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [_, accumulate] = p.sizes();
    out[0] = total(x, |v| v) + if accumulate == 1 { out[0] } else { 0.0 };
    Ok(())
}

pub(in crate::compute) fn column_sum(p: &Params, args: Args<'_>) -> Ran {
    let (&[partials], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [_, c, accumulate] = p.sizes();
    if accumulate == 0 {
        out.fill(0.0);
    }
    let mut sums = vec![0.0; c];
    for row in partials.chunks_exact(c) {
        simd::wide(
            #[inline(always)]
            || simd::axpy(1.0, row, &mut sums),
        );
    }
    simd::wide(
        #[inline(always)]
        || simd::axpy(1.0, &sums, out),
    );
    Ok(())
}

pub(in crate::compute) fn square_sum(p: &Params, args: Args<'_>) -> Ran {
    let (&[x], [partials]) = (args.read, args.write) else { return Err(Arity) };
    let [n, g, first] = p.sizes();
    let each = n.div_ceil(g).next_multiple_of(4);
    let rows = &mut partials[first..first + g];
    parallel::run(rows.chunks_mut(16).enumerate(), |(c, rows)| {
        for (i, out) in rows.iter_mut().enumerate() {
            let start = ((c * 16 + i) * each).min(n);
            let part = &x[start..(start + each).min(n)];
            *out = total(part, |v| v * v);
        }
    });
    Ok(())
}

pub(in crate::compute) fn rope(p: &Params, args: Args<'_>) -> Ran {
    let (&[positions, table], [qkv]) = (args.read, args.write) else { return Err(Arity) };
    let [_, heads, d, stride, inverse, known] = p.sizes();
    let positions: &[u32] = bytemuck::cast_slice(positions);
    let half = d / 2;
    let sign = if inverse == 1 { -1.0 } else { 1.0 };
    let rows = parallel::rows_per_task(positions.len(), heads * d);
    parallel::run(qkv.chunks_mut(rows * stride).zip(positions.chunks(rows)), |(qkv, positions)| {
        simd::wide(
            #[inline(always)]
            || {
                for (row, position) in qkv.chunks_exact_mut(stride).zip(positions) {
                    let at = (*position as usize).min(known - 1) * d;
                    let (cos, sin) = table[at..at + d].split_at(half);
                    for head in row[..heads * d].chunks_exact_mut(d) {
                        let (a, b) = head.split_at_mut(half);
                        for i in 0..half {
                            let (x, y, s) = (a[i], b[i], sin[i] * sign);
                            a[i] = x * cos[i] - y * s;
                            b[i] = y * cos[i] + x * s;
                        }
                    }
                }
            },
        );
    });
    Ok(())
}

pub(in crate::compute) fn swiglu_forward(p: &Params, args: Args<'_>) -> Ran {
    let (&[gate_up], [act]) = (args.read, args.write) else { return Err(Arity) };
    let [n, f] = p.sizes();
    let rows = parallel::rows_per_task(n, 4 * f);
    parallel::run(act.chunks_mut(rows * f).zip(gate_up.chunks(rows * 2 * f)), |(act, gate_up)| {
        simd::wide(
            #[inline(always)]
            || {
                for (act, gate_up) in act.chunks_exact_mut(f).zip(gate_up.chunks_exact(2 * f)) {
                    let (gate, up) = gate_up.split_at(f);
                    for i in 0..f {
                        act[i] = gate[i] / (1.0 + simd::exp(-gate[i])) * up[i];
                    }
                }
            },
        );
    });
    Ok(())
}

pub(in crate::compute) fn swiglu_backward(p: &Params, args: Args<'_>) -> Ran {
    let (&[gate_up, dact], [dgate_up]) = (args.read, args.write) else { return Err(Arity) };
    let [n, f] = p.sizes();
    let rows = parallel::rows_per_task(n, 4 * f);
    let inputs = gate_up.chunks(rows * 2 * f).zip(dact.chunks(rows * f));
    parallel::run(dgate_up.chunks_mut(rows * 2 * f).zip(inputs), |(out, (gate_up, dact))| {
        simd::wide(
            #[inline(always)]
            || {
                for (out, (gate_up, dact)) in
                    out.chunks_exact_mut(2 * f).zip(gate_up.chunks_exact(2 * f).zip(dact.chunks_exact(f)))
                {
                    let (gate, up) = gate_up.split_at(f);
                    let (dgate, dup) = out.split_at_mut(f);
                    for i in 0..f {
                        let (g, d) = (gate[i], dact[i]);
                        let s = 1.0 / (1.0 + simd::exp(-g));
                        dgate[i] = d * up[i] * s * (g * (1.0 - s) + 1.0);
                        dup[i] = d * g * s;
                    }
                }
            },
        );
    });
    Ok(())
}
