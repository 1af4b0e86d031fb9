//! Twins of RMSNorm.

use super::{
    args::{Args, Arity, Params, Ran},
    parallel, simd,
};

/// One row: rstd from x, then y = x · rstd · w.
#[inline(always)]
fn normalise(x: &[f32], w: &[f32], y: &mut [f32], eps: f32) -> f32 {
    let c = x.len();
    let rstd = 1.0 / (simd::dot(x, x) / c as f32 + eps).sqrt();
    for i in 0..c {
        y[i] = x[i] * rstd * w[i];
    }
    rstd
}

pub(in crate::compute) fn rmsnorm_forward(p: &Params, args: Args<'_>) -> Ran {
    let (&[x, w], [y, rstd]) = (args.read, args.write) else { return Err(Arity) };
    let [n, c] = p.sizes();
    let eps = p.f32(2);
    let rows = parallel::rows_per_task(n, 2 * c);
    parallel::run(y.chunks_mut(rows * c).zip(rstd.chunks_mut(rows)).zip(x.chunks(rows * c)), |((y, rstd), x)| {
        simd::wide(
            #[inline(always)]
            || {
                for ((y, r), x) in y.chunks_exact_mut(c).zip(rstd).zip(x.chunks_exact(c)) {
                    *r = normalise(x, w, y, eps);
                }
            },
        );
    });
    Ok(())
}

pub(in crate::compute) fn add_rmsnorm_forward(p: &Params, args: Args<'_>) -> Ran {
    let (&[x, delta, w], [sum, y, rstd]) = (args.read, args.write) else { return Err(Arity) };
    let [n, c] = p.sizes();
    let eps = p.f32(2);
    let rows = parallel::rows_per_task(n, 3 * c);
    let outputs = sum.chunks_mut(rows * c).zip(y.chunks_mut(rows * c)).zip(rstd.chunks_mut(rows));
    let inputs = x.chunks(rows * c).zip(delta.chunks(rows * c));
    parallel::run(outputs.zip(inputs), |(((sum, y), rstd), (x, delta))| {
        simd::wide(
            #[inline(always)]
            || {
                let outputs = sum.chunks_exact_mut(c).zip(y.chunks_exact_mut(c)).zip(rstd);
                let inputs = x.chunks_exact(c).zip(delta.chunks_exact(c));
                for (((sum, y), r), (x, delta)) in outputs.zip(inputs) {
                    for i in 0..c {
                        sum[i] = x[i] + delta[i];
                    }
                    *r = normalise(sum, w, y, eps);
                }
            },
        );
    });
    Ok(())
}

pub(in crate::compute) fn rmsnorm_backward(p: &Params, args: Args<'_>) -> Ran {
    let (&[dy, x, w, rstd], [dx, partials, narrow @ ..]) = (args.read, args.write) else { return Err(Arity) };
    let [n, c, g, accumulate] = p.sizes();
    // dx by contiguous rows, then the partials by stripes: two passes over dy and x, but each output is split along
    // memory.
    let rows = parallel::rows_per_task(n, 4 * c);
    let inputs = dy.chunks(rows * c).zip(x.chunks(rows * c)).zip(rstd.chunks(rows));
    parallel::run(dx.chunks_mut(rows * c).zip(inputs), |(dx, ((dy, x), rstd))| {
        simd::wide(
            #[inline(always)]
            || {
                let inputs = dy.chunks_exact(c).zip(x.chunks_exact(c)).zip(rstd);
                for (dx, ((dy, x), r)) in dx.chunks_exact_mut(c).zip(inputs) {
                    let mean = simd::sum_by(c, |i| dy[i] * w[i] * x[i]) / c as f32;
                    let pull = r * r * r * mean;
                    if accumulate == 1 {
                        for i in 0..c {
                            dx[i] += dy[i] * w[i] * r - x[i] * pull;
                        }
                    } else {
                        for i in 0..c {
                            dx[i] = dy[i] * w[i] * r - x[i] * pull;
                        }
                    }
                }
            },
        );
    });
    let stripes = parallel::rows_per_task(g, 2 * c * n.div_ceil(g));
    parallel::run(partials.chunks_mut(stripes * c).enumerate(), |(i, part)| {
        simd::wide(
            #[inline(always)]
            || {
                for (j, out) in part.chunks_exact_mut(c).enumerate() {
                    out.fill(0.0);
                    for row in (i * stripes + j..n).step_by(g) {
                        let (dy, x, r) = (&dy[row * c..(row + 1) * c], &x[row * c..(row + 1) * c], rstd[row]);
                        for k in 0..c {
                            out[k] += dy[k] * x[k] * r;
                        }
                    }
                }
            },
        );
    });
    // The f16 copy: a twin does not round.
    if let [narrow] = narrow {
        narrow.copy_from_slice(dx);
    }
    Ok(())
}
