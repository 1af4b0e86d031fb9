//! Twins of causal attention, in tiles of query (or key) rows: scores live in a tile-sized buffer, a
//! T×T matrix is never stored.

use super::{
    Ran,
    gemm::{product, view, view_mut},
    parallel, simd,
};
use crate::compute::{
    Arity,
    record::{Args, Params},
};

/// Rows of one tile.
const TILE: usize = 64;

/// The sizes of one call, and where things lie in a row of qkv.
#[derive(Clone, Copy)]
struct Shape {
    t: usize,
    hq: usize,
    hk: usize,
    d: usize,
    scale: f32,
}

impl Shape {
    fn new(p: &Params) -> Shape {
        let [_, t, hq, hk, d] = p.sizes();
        Shape { t, hq, hk, d, scale: p.f32(5) }
    }

    /// Columns of a row of qkv.
    fn stride(self) -> usize {
        (self.hq + 2 * self.hk) * self.d
    }

    /// Columns of a row of the output.
    fn width(self) -> usize {
        self.hq * self.d
    }

    /// Column of head `h`'s key, and of its value.
    fn key(self, h: usize) -> usize {
        (self.hq + h / (self.hq / self.hk)) * self.d
    }

    fn value(self, h: usize) -> usize {
        self.key(h) + self.hk * self.d
    }

    /// Every tile of every sequence: (first row of the sequence, first row of the tile within it, rows).
    fn tiles(self, b: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let tiles = self.t.div_ceil(TILE);
        (0..b * tiles).map(move |i| {
            let start = i % tiles * TILE;
            (i / tiles, start, TILE.min(self.t - start))
        })
    }
}

/// Cuts rows of `stride` columns into the pieces of [`Shape::tiles`].
fn cut(data: &mut [f32], s: Shape, stride: usize) -> impl Iterator<Item = &mut [f32]> {
    data.chunks_mut(s.t * stride).flat_map(move |sequence| sequence.chunks_mut(TILE * stride))
}

pub(in crate::compute) fn attention_forward(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv], [out, lse]) = (args.read, args.write) else { return Err(Arity) };
    let s = Shape::new(p);
    let [b] = p.sizes();
    let stride = s.stride();
    // lse lies [B, Hq, T], so a tile's part of it is in pieces: it is filled beside and copied.
    let mut sums = vec![0.0; b * s.t * s.hq];
    let tasks = s.tiles(b).zip(cut(out, s, s.width())).zip(cut(&mut sums, s, s.hq));
    parallel::run(tasks, |(((sequence, start, rows), out), sums)| {
        let qkv = &qkv[sequence * s.t * stride..];
        let keys = start + rows;
        let mut scores = vec![0.0; rows * keys];
        for h in 0..s.hq {
            let q = view(&qkv[start * stride + h * s.d..], rows, s.d, stride, 1);
            let k = view(&qkv[s.key(h)..], s.d, keys, 1, stride);
            product(q, k, view_mut(&mut scores, rows, keys, keys), 0.0);
            simd::wide(
                #[inline(always)]
                || {
                    for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                        let (seen, hidden) = row.split_at_mut(start + i + 1);
                        let top = simd::max(seen) * s.scale;
                        let total = simd::exp_sum(seen, s.scale, top);
                        hidden.fill(0.0);
                        let inverse = 1.0 / total;
                        for x in seen.iter_mut() {
                            *x *= inverse;
                        }
                        sums[i * s.hq + h] = top + total.ln();
                    }
                },
            );
            let v = view(&qkv[s.value(h)..], keys, s.d, stride, 1);
            product(view(&scores, rows, keys, keys, 1), v, view_mut(&mut out[h * s.d..], rows, s.d, s.width()), 0.0);
        }
    });
    for (row, sums) in sums.chunks_exact(s.hq).enumerate() {
        for (h, sum) in sums.iter().enumerate() {
            lse[(row / s.t * s.hq + h) * s.t + row % s.t] = *sum;
        }
    }
    Ok(())
}

pub(in crate::compute) fn attention_delta(p: &Params, args: Args<'_>) -> Ran {
    let (&[dout, out], [delta]) = (args.read, args.write) else { return Err(Arity) };
    let [_, t, hq, d] = p.sizes();
    let width = hq * d;
    parallel::run(delta.chunks_mut(hq * t).enumerate(), |(sequence, delta)| {
        simd::wide(
            #[inline(always)]
            || {
                for (i, delta) in delta.iter_mut().enumerate() {
                    let at = (sequence * t + i % t) * width + i / t * d;
                    *delta = simd::dot(&dout[at..at + d], &out[at..at + d]);
                }
            },
        );
    });
    Ok(())
}

/// Turns scores into P and dP into dS, in place: P = e^(scores·scale − lse), dS = P (dP − δ) scale.
/// Row i of the tile sees the columns for which `seen(i)` holds a range; the rest become zero.
fn soften(
    scores: &mut [f32],
    dp: &mut [f32],
    cols: usize,
    scale: f32,
    row: impl Fn(usize) -> (usize, usize, f32, f32),
) {
    simd::wide(
        #[inline(always)]
        || {
            for (i, (p, dp)) in scores.chunks_exact_mut(cols).zip(dp.chunks_exact_mut(cols)).enumerate() {
                let (first, last, lse, delta) = row(i);
                p[..first].fill(0.0);
                dp[..first].fill(0.0);
                p[last..].fill(0.0);
                dp[last..].fill(0.0);
                for (p, dp) in p[first..last].iter_mut().zip(&mut dp[first..last]) {
                    *p = simd::exp(p.mul_add(scale, -lse));
                    *dp = *p * (*dp - delta) * scale;
                }
            }
        },
    );
}

pub(in crate::compute) fn attention_backward_q(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, dout, lse, delta], [dqkv]) = (args.read, args.write) else { return Err(Arity) };
    let s = Shape::new(p);
    let [b] = p.sizes();
    let (stride, width) = (s.stride(), s.width());
    parallel::run(s.tiles(b).zip(cut(dqkv, s, stride)), |((sequence, start, rows), dqkv)| {
        let qkv = &qkv[sequence * s.t * stride..];
        let dout = &dout[(sequence * s.t + start) * width..];
        let keys = start + rows;
        let (mut scores, mut dp) = (vec![0.0; rows * keys], vec![0.0; rows * keys]);
        for h in 0..s.hq {
            let q = view(&qkv[start * stride + h * s.d..], rows, s.d, stride, 1);
            let k = view(&qkv[s.key(h)..], s.d, keys, 1, stride);
            product(q, k, view_mut(&mut scores, rows, keys, keys), 0.0);
            let v = view(&qkv[s.value(h)..], s.d, keys, 1, stride);
            product(view(&dout[h * s.d..], rows, s.d, width, 1), v, view_mut(&mut dp, rows, keys, keys), 0.0);
            let at = (sequence * s.hq + h) * s.t + start;
            soften(&mut scores, &mut dp, keys, s.scale, |i| (0, start + i + 1, lse[at + i], delta[at + i]));
            let k = view(&qkv[s.key(h)..], keys, s.d, stride, 1);
            product(view(&dp, rows, keys, keys, 1), k, view_mut(&mut dqkv[h * s.d..], rows, s.d, stride), 0.0);
        }
    });
    Ok(())
}

pub(in crate::compute) fn attention_backward_kv(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, dout, lse, delta], [dqkv]) = (args.read, args.write) else { return Err(Arity) };
    let s = Shape::new(p);
    let [b] = p.sizes();
    let (stride, width) = (s.stride(), s.width());
    let group = s.hq / s.hk;
    parallel::run(s.tiles(b).zip(cut(dqkv, s, stride)), |((sequence, start, keys), dqkv)| {
        let qkv = &qkv[sequence * s.t * stride..];
        let rows = s.t - start;
        let dout = &dout[(sequence * s.t + start) * width..];
        let (mut scores, mut dp) = (vec![0.0; rows * keys], vec![0.0; rows * keys]);
        for h in 0..s.hq {
            let beta = f32::from(u8::from(h % group != 0));
            let q = &qkv[start * stride + h * s.d..];
            let k = view(&qkv[start * stride + s.key(h)..], s.d, keys, 1, stride);
            product(view(q, rows, s.d, stride, 1), k, view_mut(&mut scores, rows, keys, keys), 0.0);
            let v = view(&qkv[start * stride + s.value(h)..], s.d, keys, 1, stride);
            product(view(&dout[h * s.d..], rows, s.d, width, 1), v, view_mut(&mut dp, rows, keys, keys), 0.0);
            let at = (sequence * s.hq + h) * s.t + start;
            soften(&mut scores, &mut dp, keys, s.scale, |i| (0, keys.min(i + 1), lse[at + i], delta[at + i]));
            let dv = view_mut(&mut dqkv[s.value(h)..], keys, s.d, stride);
            product(view(&scores, keys, rows, 1, keys), view(&dout[h * s.d..], rows, s.d, width, 1), dv, beta);
            let dk = view_mut(&mut dqkv[s.key(h)..], keys, s.d, stride);
            product(view(&dp, keys, rows, 1, keys), view(q, rows, s.d, stride, 1), dk, beta);
        }
    });
    Ok(())
}
