//! Cases of kernels on single numbers, and of sums.

use super::{
    bench::Bench,
    case::{Case, Done, TABLES, shapes},
};
use crate::compute::ops::{self, NORM_PARTIALS};

/// Lengths of elementwise kernels.
const LENGTHS: &[usize] = &[1, 3, 255, 256, 1023, 1024, 1025, 5003];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case {
        kernels: &["fill", "add", "scale", "narrow", "dropout", "sum", "square_sum"],
        run: elementwise,
        mutants: &[
            ("fill", "out[i] = p.value", "out[i] = -p.value"),
            ("fill", "if i < p.n {", "if i + 1u < p.n {"),
            ("add", "a[i] + b[i]", "a[i] - b[i]"),
            ("add", "if i < p.n {", "if i < p.n + 1u {"),
            ("narrow", "out[i] = f16(cut(x[i]))", "out[i] = f16(x[i])"),
            ("narrow", "* select(control[8]", "/ select(control[8]"),
            ("scale", "* p.factor", "* abs(p.factor)"),
            ("dropout", "mix(key ^ i)", "mix(key ^ (i + 1u))"),
            ("dropout", ">= limit", "< limit"),
            ("sum", "i < p.n", "i + 1u < p.n"),
            ("sum", "total + out[0]", "total"),
            ("square_sum", "+ 3u) / 4u * 4u", "+ 3u)"),
        ],
    },
    Case {
        kernels: &["column_sum"],
        run: column_sum,
        mutants: &[
            ("column_sum", "(row + 3u * 16u) * p.c", "(row + 2u * 16u) * p.c"),
            ("column_sum.wide", "(row + 5u) * p.c", "(row + 4u) * p.c"),
            ("column_sum", "row < p.g; row += 16u", "row < p.g; row += 32u"),
            ("column_sum", "total += f32(out[column])", "total -= f32(out[column])"),
            ("column_sum.wide", "row < p.g", "row + 1u < p.g"),
        ],
    },
    Case {
        kernels: &["swiglu_forward", "swiglu_backward"],
        run: swiglu,
        mutants: &[
            ("swiglu_forward", "exp(-g)", "exp(g)"),
            ("swiglu_backward", "(1.0 - s)", "(1.0 + s)"),
        ],
    },
];

fn elementwise(b: &mut Bench<'_>) -> Done {
    let name = b.kernel.base();
    for n in shapes(b, LENGTHS, 1_000_003) {
        let x = b.noise(&[n])?;
        let shape = format!("n={n}");
        match name {
            "fill" => b.judge(&shape, 1, |r| ops::fill(r, &x, 0.37))?,
            "scale" => b.judge(&shape, 1, |r| ops::scale(r, &x, -1.7))?,
            "add" => {
                let (y, out) = (b.noise(&[n])?, b.blank(&[n])?);
                b.judge(&shape, 1, |r| ops::add(r, &x, &y, &out))?;
            }
            "narrow" => {
                // Some exceed the largest f16: clamped, or infinite for gradients.
                let data: Vec<f32> = b.random(n, 1e5);
                let (x, out) = (b.floats(&[n], &data)?, b.blank_act(&[n])?);
                b.terms = 65_504.0;
                b.judge(&shape, 1, |r| ops::narrow(r, &x, &out, None))?;
                let (x, out) = (b.noise(&[n])?, b.blank_act(&[n])?);
                let mut control = [0.0; ops::CONTROL];
                control[8] = 256.0;
                let control = b.floats(&[ops::CONTROL], &control)?;
                b.judge(&shape, 1, |r| ops::narrow(r, &x, &out, Some(&control)))?;
            }
            "dropout" => {
                let (x, out) = (b.noise_act(&[n], 1.0)?, b.blank_act(&[n])?);
                let clock = b.words(&[1, 2, 3, n as u32])?;
                b.judge(&shape, 1, |r| ops::dropout(r, &clock, &x, &out, 7, 0.3))?;
            }
            "sum" => {
                let out = b.floats(&[1], &[2.5])?;
                b.judge(&shape, n, |r| ops::sum(r, &x, &out, n % 2 == 1))?;
            }
            _ => {
                let out = b.blank(&[NORM_PARTIALS])?;
                b.judge(&shape, n, |r| ops::square_sum(r, &x, &out))?;
            }
        }
    }
    Ok(())
}

fn column_sum(b: &mut Bench<'_>) -> Done {
    let mut tables = shapes(b, TABLES, (512, 20_000));
    // Enough rows for more than one round after the rounds of eight.
    tables.push((100, 20));
    for (g, c) in tables {
        for accumulate in [false, true] {
            let x = b.noise(&[g, c])?;
            let out = if accumulate { b.noise_act(&[c], 1.0)? } else { b.blank_act(&[c])? };
            b.judge(&format!("g={g} c={c}"), g, |r| ops::column_sum(r, &x, &out, accumulate))?;
        }
    }
    Ok(())
}

fn swiglu(b: &mut Bench<'_>) -> Done {
    for (n, f) in shapes(b, TABLES, (2000, 704)) {
        let shape = format!("n={n} f={f}");
        let gate_up = b.noise_act(&[n, 2 * f], 8.0)?;
        if b.kernel.base() == "swiglu_forward" {
            let act = b.blank_act(&[n, f])?;
            b.judge(&shape, 1, |r| ops::swiglu_forward(r, &gate_up, &act))?;
        } else {
            let (dact, out) = (b.noise_act(&[n, f], 1.0)?, b.blank_act(&[n, 2 * f])?);
            b.judge(&shape, 1, |r| ops::swiglu_backward(r, &gate_up, &dact, &out))?;
        }
    }
    Ok(())
}
