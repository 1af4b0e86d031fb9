//! Twin of the fused cross-entropy.

use super::{Ran, parallel, simd};
use crate::compute::{
    Arity,
    record::{Args, Params},
};

pub(in crate::compute) fn cross_entropy(p: &Params, args: Args<'_>) -> Ran {
    let (&[targets, hyper], [logits, losses]) = (args.read, args.write) else { return Err(Arity) };
    let [r, v, gradient] = p.sizes();
    let targets: &[i32] = bytemuck::cast_slice(targets);
    let scale = hyper[1];
    let rows = parallel::rows_per_task(r, 4 * v);
    let outputs = logits.chunks_mut(rows * v).zip(losses.chunks_mut(rows));
    parallel::run(outputs.zip(targets.chunks(rows)), |((logits, losses), targets)| {
        simd::wide(
            #[inline(always)]
            || {
                for ((row, loss), target) in logits.chunks_exact_mut(v).zip(losses).zip(targets) {
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
