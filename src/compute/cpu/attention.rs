//! Twins of causal attention in tiles of query (or key) rows: scores are in a tile-sized buffer; a T×T matrix is never
//! stored.
//!
//! Row i attends to keys begins\[i\]..=i. A tile is split into pieces where begins rise, each with the columns that any
//! of its rows attends to, so that packed examples cost about as much as separate ones.

use super::{
    args::{Args, Arity, Params, Ran},
    gemm::{product, view, view_mut},
    parallel, simd,
};

/// Rows per tile.
const TILE: usize = 64;
/// Minimum rows of a piece of a tile: shorter ones cost more calls than they save.
const PIECE: usize = 16;

/// The sizes of a call, and offsets in a row of qkv.
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

    /// All tiles of all sequences: (first row of the sequence, first row of the tile within it, rows).
    fn tiles(self, b: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let tiles = self.t.div_ceil(TILE);
        (0..b * tiles).map(move |i| {
            let start = i % tiles * TILE;
            (i / tiles, start, TILE.min(self.t - start))
        })
    }
}

/// The first keys to which the rows of a sequence attend.
#[derive(Clone, Copy)]
struct Begins<'a>(&'a [u32]);

impl Begins<'_> {
    /// Those of sequence `sequence`.
    fn of(begins: &[f32], sequence: usize, t: usize) -> Begins<'_> {
        Begins(&bytemuck::cast_slice(begins)[sequence * t..(sequence + 1) * t])
    }

    /// The first key to which row `i` attends, at most the row itself.
    fn at(self, i: usize) -> usize {
        (self.0[i] as usize).min(i)
    }

    /// One past the last row that attends to a key before `limit`; begins do not decrease.
    fn end(self, limit: usize) -> usize {
        let (mut low, mut high) = (limit, self.0.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.at(middle) < limit { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Splits the tile of `rows` rows from `start` where begins rise: (first row, end) of each piece.
    fn pieces(self, start: usize, rows: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut next = start;
        std::iter::from_fn(move || {
            let first = next;
            let rises = |i: &usize| self.at(*i) != self.at(*i - 1);
            next = (first + PIECE..start + rows).find(rises).unwrap_or(start + rows);
            (first < next).then_some((first, next))
        })
    }
}

/// Splits rows of `stride` columns into the pieces of [`Shape::tiles`].
fn cut(data: &mut [f32], s: Shape, stride: usize) -> impl Iterator<Item = &mut [f32]> {
    data.chunks_mut(s.t * stride).flat_map(move |sequence| sequence.chunks_mut(TILE * stride))
}

pub(in crate::compute) fn attention_forward(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, begins], [out, lse, exact @ ..]) = (args.read, args.write) else { return Err(Arity) };
    let s = Shape::new(p);
    let [b] = p.sizes();
    let (stride, width) = (s.stride(), s.width());
    // lse has the layout [B, Hq, T], so a tile's part is not contiguous: it is computed separately and copied.
    let mut sums = vec![0.0; b * s.t * s.hq];
    let tasks = s.tiles(b).zip(cut(out, s, width)).zip(cut(&mut sums, s, s.hq));
    parallel::run(tasks, |(((sequence, start, rows), out), sums)| {
        let qkv = &qkv[sequence * s.t * stride..];
        let begins = Begins::of(begins, sequence, s.t);
        for (first, end) in begins.pieces(start, rows) {
            let (rows, low) = (end - first, begins.at(first));
            let keys = end - low;
            let out = &mut out[(first - start) * width..];
            let sums = &mut sums[(first - start) * s.hq..];
            let mut scores = vec![0.0; rows * keys];
            for h in 0..s.hq {
                let q = view(&qkv[first * stride + h * s.d..], rows, s.d, stride, 1);
                let k = view(&qkv[low * stride + s.key(h)..], s.d, keys, 1, stride);
                product(q, k, view_mut(&mut scores, rows, keys, keys), 0.0);
                simd::wide(
                    #[inline(always)]
                    || {
                        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                            let query = first + i;
                            let (row, later) = row.split_at_mut(query + 1 - low);
                            let (earlier, seen) = row.split_at_mut(begins.at(query).saturating_sub(low));
                            let top = simd::max(seen) * s.scale;
                            let total = simd::exp_sum(seen, s.scale, top);
                            earlier.fill(0.0);
                            later.fill(0.0);
                            let inverse = 1.0 / total;
                            for x in seen.iter_mut() {
                                *x *= inverse;
                            }
                            sums[i * s.hq + h] = top + total.ln();
                        }
                    },
                );
                let v = view(&qkv[low * stride + s.value(h)..], keys, s.d, stride, 1);
                product(view(&scores, rows, keys, keys, 1), v, view_mut(&mut out[h * s.d..], rows, s.d, width), 0.0);
            }
        }
    });
    for (row, sums) in sums.chunks_exact(s.hq).enumerate() {
        for (h, sum) in sums.iter().enumerate() {
            lse[(row / s.t * s.hq + h) * s.t + row % s.t] = *sum;
        }
    }
    // The output before rounding; a twin does not round.
    if let [exact] = exact {
        exact.copy_from_slice(out);
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

/// Turns scores into P and dP into dS, in place: P = e^(scores·scale − lse), dS = P (dP − δ) scale. `row(i)` is the
/// range of columns of row i, its lse and its δ; other columns become zero.
fn soften(
    scores: &mut [f32],
    dp: &mut [f32],
    cols: usize,
    scale: f32,
    row: impl Fn(usize) -> ((usize, usize), f32, f32),
) {
    simd::wide(
        #[inline(always)]
        || {
            for (i, (p, dp)) in scores.chunks_exact_mut(cols).zip(dp.chunks_exact_mut(cols)).enumerate() {
                let ((first, last), lse, delta) = row(i);
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
    let (&[qkv, begins, dout, lse, delta], [dqkv]) = (args.read, args.write) else { return Err(Arity) };
    let s = Shape::new(p);
    let [b] = p.sizes();
    let (stride, width) = (s.stride(), s.width());
    parallel::run(s.tiles(b).zip(cut(dqkv, s, stride)), |((sequence, start, rows), dqkv)| {
        let qkv = &qkv[sequence * s.t * stride..];
        let begins = Begins::of(begins, sequence, s.t);
        for (first, end) in begins.pieces(start, rows) {
            let (rows, low) = (end - first, begins.at(first));
            let keys = end - low;
            let dout = &dout[(sequence * s.t + first) * width..];
            let dqkv = &mut dqkv[(first - start) * stride..];
            let (mut scores, mut dp) = (vec![0.0; rows * keys], vec![0.0; rows * keys]);
            for h in 0..s.hq {
                let q = view(&qkv[first * stride + h * s.d..], rows, s.d, stride, 1);
                let k = view(&qkv[low * stride + s.key(h)..], s.d, keys, 1, stride);
                product(q, k, view_mut(&mut scores, rows, keys, keys), 0.0);
                let v = view(&qkv[low * stride + s.value(h)..], s.d, keys, 1, stride);
                product(view(&dout[h * s.d..], rows, s.d, width, 1), v, view_mut(&mut dp, rows, keys, keys), 0.0);
                let at = (sequence * s.hq + h) * s.t + first;
                soften(&mut scores, &mut dp, keys, s.scale, |i| {
                    let seen = (begins.at(first + i).saturating_sub(low), first + i + 1 - low);
                    (seen, lse[at + i], delta[at + i])
                });
                let k = view(&qkv[low * stride + s.key(h)..], keys, s.d, stride, 1);
                product(view(&dp, rows, keys, keys, 1), k, view_mut(&mut dqkv[h * s.d..], rows, s.d, stride), 0.0);
            }
        }
    });
    Ok(())
}

pub(in crate::compute) fn attention_backward_kv(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, begins, dout, lse, delta], [dqkv]) = (args.read, args.write) else { return Err(Arity) };
    let s = Shape::new(p);
    let [b] = p.sizes();
    let (stride, width) = (s.stride(), s.width());
    let group = s.hq / s.hk;
    parallel::run(s.tiles(b).zip(cut(dqkv, s, stride)), |((sequence, start, keys), dqkv)| {
        let qkv = &qkv[sequence * s.t * stride..];
        let begins = Begins::of(begins, sequence, s.t);
        for (first, end) in begins.pieces(start, keys) {
            let (keys, rows) = (end - first, begins.end(end) - first);
            let dout = &dout[(sequence * s.t + first) * width..];
            let dqkv = &mut dqkv[(first - start) * stride..];
            let (mut scores, mut dp) = (vec![0.0; rows * keys], vec![0.0; rows * keys]);
            for h in 0..s.hq {
                let beta = f32::from(u8::from(h % group != 0));
                let q = &qkv[first * stride + h * s.d..];
                let k = view(&qkv[first * stride + s.key(h)..], s.d, keys, 1, stride);
                product(view(q, rows, s.d, stride, 1), k, view_mut(&mut scores, rows, keys, keys), 0.0);
                let v = view(&qkv[first * stride + s.value(h)..], s.d, keys, 1, stride);
                product(view(&dout[h * s.d..], rows, s.d, width, 1), v, view_mut(&mut dp, rows, keys, keys), 0.0);
                let at = (sequence * s.hq + h) * s.t + first;
                soften(&mut scores, &mut dp, keys, s.scale, |i| {
                    let last = keys.min(i + 1);
                    let seen = (begins.at(first + i).saturating_sub(first).min(last), last);
                    (seen, lse[at + i], delta[at + i])
                });
                let dv = view_mut(&mut dqkv[s.value(h)..], keys, s.d, stride);
                product(view(&scores, keys, rows, 1, keys), view(&dout[h * s.d..], rows, s.d, width, 1), dv, beta);
                let dk = view_mut(&mut dqkv[s.key(h)..], keys, s.d, stride);
                product(view(&dp, keys, rows, 1, keys), view(q, rows, s.d, stride, 1), dk, beta);
            }
        }
    });
    Ok(())
}
