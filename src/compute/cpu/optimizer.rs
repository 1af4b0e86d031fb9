//! Twins of AdamW and of the step's control block.

use super::{Ran, parallel, simd};
use crate::compute::{
    Arity,
    record::{Args, Params},
};

pub(in crate::compute) fn adamw_prepare(_p: &Params, args: Args<'_>) -> Ran {
    let (&[partials, loss, hyper], [control]) = (args.read, args.write) else { return Err(Arity) };
    let norm = partials.iter().map(|x| f64::from(*x)).sum::<f64>().sqrt() as f32;
    let (beta1, beta2, clip) = (hyper[3], hyper[4], hyper[6]);
    let mean = loss[0] * hyper[1];
    let finite = norm.is_finite() && mean.is_finite();
    control[0] = norm;
    control[1] = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
    control[2] = f32::from(u8::from(finite));
    control[6] = mean;
    if finite {
        // A fresh block is all zeros: the powers of β start at 1.
        if control[3] == 0.0 {
            (control[4], control[5]) = (1.0, 1.0);
        }
        control[3] += 1.0;
        control[4] *= beta1;
        control[5] *= beta2;
    } else {
        control[7] += 1.0;
    }
    Ok(())
}

pub(in crate::compute) fn adamw(p: &Params, args: Args<'_>) -> Ran {
    let (&[grads, hyper, control], [params, m, v]) = (args.read, args.write) else { return Err(Arity) };
    let [n, decayed] = p.sizes();
    if control[2] == 0.0 {
        return Ok(());
    }
    let [rate, _, decay, beta1, beta2, eps, ..] = *hyper else { return Err(Arity) };
    let factor = control[1];
    let (c1, c2) = (1.0 / (1.0 - control[4]), 1.0 / (1.0 - control[5]));
    let each = parallel::rows_per_task(n.div_ceil(64), 256) * 64;
    let outputs = params.chunks_mut(each).zip(m.chunks_mut(each)).zip(v.chunks_mut(each));
    parallel::run(outputs.zip(grads.chunks(each)).enumerate(), |(c, (((params, m), v), grads))| {
        let split = decayed.saturating_sub(c * each).min(params.len());
        simd::wide(
            #[inline(always)]
            || {
                for (range, shrink) in [(0..split, 1.0 - rate * decay), (split..params.len(), 1.0)] {
                    for i in range {
                        let g = grads[i] * factor;
                        m[i] = beta1 * m[i] + (1.0 - beta1) * g;
                        v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
                        let step = (m[i] * c1) / ((v[i] * c2).sqrt() + eps);
                        params[i] = params[i] * shrink - rate * step;
                    }
                }
            },
        );
    });
    Ok(())
}
