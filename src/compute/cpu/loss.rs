//! Twins of the fused cross-entropy and of the entropy.

use super::{
    args::{Args, Arity, Params, Ran},
    elementwise::loss_scale,
    parallel, simd,
};

pub(in crate::compute) fn cross_entropy(p: &Params, args: Args<'_>) -> Ran {
    let (&[targets, hyper, weights, control], [logits, losses]) = (args.read, args.write) else { return Err(Arity) };
    let [r, v, gradient] = p.sizes();
    let targets: &[i32] = bytemuck::cast_slice(targets);
    let loss_scale = if gradient == 1 { loss_scale(control) } else { 1.0 };
    let rows = parallel::rows_per_task(r, 4 * v);
    let outputs = logits.chunks_mut(rows * v).zip(losses.chunks_mut(rows));
    let inputs = targets.chunks(rows).zip(weights.chunks(rows));
    parallel::run(outputs.zip(inputs), |((logits, losses), (targets, weights))| {
        simd::wide(
            #[inline(always)]
            || {
                let outputs = logits.chunks_exact_mut(v).zip(losses);
                for ((row, loss), (target, weight)) in outputs.zip(targets.iter().zip(weights)) {
                    let Some(target) = usize::try_from(*target).ok().filter(|t| *t < v) else {
                        *loss = 0.0;
                        if gradient == 1 {
                            row.fill(0.0);
                        }
                        continue;
                    };
                    let top = simd::max(row);
                    let aim = row[target] - top;
                    if gradient == 1 {
                        let total = simd::exp_sum(row, 1.0, top);
                        *loss = total.ln() - aim;
                        let scale = hyper[1] * weight * loss_scale;
                        let factor = scale / total;
                        for x in row.iter_mut() {
                            *x *= factor;
                        }
                        row[target] -= scale;
                    } else {
                        let row = &*row;
                        *loss = simd::sum_by(v, |i| simd::exp(row[i] - top)).ln() - aim;
                    }
                }
            },
        );
    });
    Ok(())
}

pub(in crate::compute) fn entropy(p: &Params, args: Args<'_>) -> Ran {
    let (&[targets, logits], [entropies]) = (args.read, args.write) else { return Err(Arity) };
    let [r, v] = p.sizes();
    let targets: &[i32] = bytemuck::cast_slice(targets);
    let rows = parallel::rows_per_task(r, 4 * v);
    let inputs = targets.chunks(rows).zip(logits.chunks(rows * v));
    parallel::run(entropies.chunks_mut(rows).zip(inputs), |(entropies, (targets, logits))| {
        simd::wide(
            #[inline(always)]
            || {
                for ((out, target), row) in entropies.iter_mut().zip(targets).zip(logits.chunks_exact(v)) {
                    if usize::try_from(*target).map_or(true, |t| t >= v) {
                        *out = 0.0;
                        continue;
                    }
                    let top = simd::max(row);
                    let (total, moment) = simd::exp_moments(row, top);
                    *out = total.ln() - moment / total;
                }
            },
        );
    });
    Ok(())
}
