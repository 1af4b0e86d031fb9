//! Twins of AdamW and of the step's control block.

use super::{
    args::{Args, Arity, Params, Ran},
    elementwise::loss_scale,
    parallel, simd,
};

/// Applied steps after which the loss scale doubles, and its maximum, as in the kernel's row.
const GROWTH: f32 = 1000.0;
const MOST: f32 = 16_777_216.0;

pub(in crate::compute) fn adamw_prepare(_p: &Params, args: Args<'_>) -> Ran {
    let (&[partials, loss, hyper], [control]) = (args.read, args.write) else { return Err(Arity) };
    // The scale of these gradients.
    let scale = loss_scale(control);
    let norm = partials.iter().map(|x| f64::from(*x)).sum::<f64>().sqrt() as f32 / scale;
    let (beta1, beta2, clip) = (hyper[3], hyper[4], hyper[6]);
    let mean = loss[0] * hyper[1];
    let finite = norm.is_finite() && mean.is_finite();
    control[0] = norm;
    control[1] = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 } / scale;
    control[2] = f32::from(u8::from(finite));
    control[6] = mean;
    control[11] = control[8];
    if finite {
        // A new block is all zeros: the powers of β start at 1.
        if control[3] == 0.0 {
            (control[4], control[5]) = (1.0, 1.0);
        }
        control[3] += 1.0;
        control[4] *= beta1;
        control[5] *= beta2;
        if control[8] > 0.0 {
            control[9] += 1.0;
            if control[9] >= GROWTH {
                (control[8], control[9]) = ((2.0 * scale).min(MOST), 0.0);
            }
        }
    } else if mean.is_finite() && control[8] > 1.0 {
        (control[8], control[9]) = ((0.5 * scale).max(1.0), 0.0);
        control[10] += 1.0;
    } else {
        control[7] += 1.0;
    }
    Ok(())
}

pub(in crate::compute) fn adamw(p: &Params, args: Args<'_>) -> Ran {
    let (&[grads, hyper, control], [params, m, v, shadow @ ..]) = (args.read, args.write) else { return Err(Arity) };
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
    // The f16 copy: a twin does not round.
    if let [shadow] = shadow {
        shadow.copy_from_slice(params);
    }
    Ok(())
}
