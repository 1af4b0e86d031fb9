//! Cases of AdamW.

use super::{
    bench::Bench,
    case::{Case, Done, shapes},
};
use crate::compute::{
    DType,
    ops::{self, HYPER},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case {
        kernels: &["adamw_prepare", "adamw"],
        run: adamw,
        mutants: &[
            ("adamw.h", "f16(cut(updated))", "f16(cut(params[i] * shrink))"),
            ("adamw_prepare", "min(2.0 * scale", "min(4.0 * scale"),
            ("adamw_prepare", "control[10] += 1.0", "control[7] += 1.0"),
            ("adamw_prepare", "&& finite(mean)", ""),
            ("adamw_prepare", "select(control[4], 1.0, fresh)", "control[4]"),
            ("adamw", "i < p.decayed", "i <= p.decayed"),
            ("adamw", "control[2] == 0.0", "control[2] == 2.0"),
        ],
    },
];

fn adamw(b: &mut Bench<'_>) -> Done {
    // The steps: (clip, existing β powers and count, a NaN gradient, a NaN loss, loss scale).
    let steps = [
        (1.0, 0.0, false, false, 0.0),
        (0.0, 3.0, false, false, 0.0),
        (0.5, 3.0, true, false, 0.0),
        (1.0, 7.0, false, true, 0.0),
        (0.5, 3.0, false, false, 1024.0),
        (0.5, 3.0, true, false, 1024.0),
        (0.5, 3.0, true, false, 1.0),
        (1.0, 7.0, false, true, 1024.0),
    ];
    for n in shapes(b, &[1, 3, 1023, 1024, 1030, 5000], 3_000_001) {
        for (clip, count, bad_gradient, bad_loss, scale) in steps {
            let mut grads: Vec<f32> =
                (0..n).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) / (n as f32).sqrt()).collect();
            if bad_gradient {
                grads[n / 2] = if n % 2 == 0 { f32::INFINITY } else { f32::NAN };
            }
            let params = b.noise(&[n])?;
            let (m, v): (Vec<f32>, Vec<f32>) =
                grads.iter().map(|g| if g.is_finite() { (g * 0.5, g * g * 0.3) } else { (0.0, 0.0) }).unzip();
            let (grads, m, v) = (b.floats(&[n], &grads)?, b.floats(&[n], &m)?, b.floats(&[n], &v)?);
            let loss = b.floats(&[1], &[if bad_loss { f32::NAN } else { 3.5 }])?;
            let hyper = b.floats(&[HYPER], &[0.01, 0.25, 0.1, 0.9, 0.95, 1e-8, clip, 0.0])?;
            let powers = if count == 0.0 { (0.0, 0.0) } else { (0.9_f32.powf(count), 0.95_f32.powf(count)) };
            // The next applied step is the thousandth in a row.
            let control = [0.0, 0.0, 0.0, count, powers.0, powers.1, 0.0, 1.0, scale, 999.0, 2.0, 0.0];
            let control = b.floats(&[ops::CONTROL], &control)?;
            let shadow = if b.kernel.act() == DType::F16 { Some(b.blank_act(&[n])?) } else { None };
            let finite = !bad_gradient && !bad_loss;
            let shape = format!("n={n} clip={clip} count={count} finite={finite} scale={scale}");
            let update = ops::Update {
                params: &params,
                shadow: shadow.as_ref(),
                grads: &grads,
                m: &m,
                v: &v,
                decayed: n / 2,
                loss: &loss,
                hyper: &hyper,
                control: &control,
            };
            b.judge(&shape, 1, |r| ops::adamw(r, &update))?;
        }
    }
    Ok(())
}
