//! The shapes on which decoding kernels are checked: few rows, a cache, random choices.

use super::{
    bench::Bench,
    case::{Case, Done},
};
use crate::compute::{
    ComputeError, Tensor,
    ops::{self, Among, AttentionWeights, Heads, Pick},
    rng::{Purpose, below},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case {
        kernels: &["attention_step"],
        run: attention_step,
        mutants: &[
            ("attention_step", "seen = min(position + 1u", "seen = min(position"),
            ("attention_step", "acc *= keep", "acc *= 1.0"),
            ("attention_step", "qkv[value_at + column]", "qkv[key_at + column]"),
            ("attention_step", "% (p.hq / p.hk) == 0u", "% (p.hq / p.hk) == 1u"),
            ("attention_step", "x * c - y * s", "x * c + y * s"),
        ],
    },
    Case {
        kernels: &["attention_row"],
        run: attention_row,
        mutants: &[
            ("attention_row", "seen = min(position + 1u", "seen = min(position"),
            ("attention_row", "acc *= keep", "acc *= 1.0"),
            ("attention_row", "qkv[p.hq * quads + value_at + column]", "qkv[p.hq * quads + key_at + column]"),
            ("attention_row", "a * c - b * s", "a * c + b * s"),
            ("attention_row", "before + whole(lane)", "whole(lane)"),
            ("attention_row", "(l + 1u) * PITCH", "l * PITCH"),
            ("attention_row", "position * width + i", "position * width + i / 2u"),
        ],
    },
    Case {
        kernels: &["mlp_row"],
        run: mlp_row,
        mutants: &[
            ("mlp_row", "exp(-gate)", "exp(gate)"),
            ("mlp_row", "7u / 4u * p.f", "6u / 8u * p.f"),
            ("mlp_row", "f32(c) + eps", "f32(c + 1u) + eps"),
        ],
    },
    Case {
        kernels: &["matmul_few", "matmul_swiglu_few"],
        run: few_rows,
        mutants: &[
            ("matmul_few.1", "first += 4u * 32u", "first += 5u * 32u"),
            ("matmul_few.8", "min(q0, quads - 1u)", "min(q0, quads - 2u)"),
            ("matmul_few.8x4", "3u;\n            if col < width", "2u;\n            if col < width"),
            ("matmul_swiglu_few.1", "exp(-gate)", "exp(gate)"),
            ("matmul_swiglu_few.8x4", "+ 3u % 2u * width", "+ 2u % 2u * width"),
        ],
    },
    Case {
        kernels: &["sample"],
        run: sample,
        mutants: &[
            ("sample", "|| x3 > best", "|| x3 >= best"),
            ("sample", "select(0.0, w7", "select(0.0, w6"),
            ("sample", "rest -= w5", "rest -= w4"),
            ("sample", "positions[row] + 1u", "positions[row] + 2u"),
            ("sample", "h = mix(mix(mix(h)))", "h = mix(mix(h))"),
            ("sample", "k >= least", "k > least"),
            ("sample", "kept_ids[j] < id", "kept_ids[j] > id"),
            ("sample", "total < goal", "total <= goal * 0.5"),
            ("sample", "min(picks[row * 8u + 6u], p.p)", "picks[row * 8u + 6u] - 1u"),
        ],
    },
];

fn few_rows(b: &mut Bench<'_>) -> Done {
    let rows = b.kernel.constant("ROWS");
    let mut sizes =
        vec![(1, 2, 4), (1, 70, 124), (rows, 34, 128), (2 * rows - 1, 66, 132), (3, 8, 388), (rows + 2, 130, 1036)];
    if b.large() {
        sizes.push((64, 4098, 1024));
    }
    for (m, n, k) in sizes {
        let shape = format!("m={m} n={n} k={k}");
        let (x, w) = (b.noise_act(&[m, k], 1.0)?, b.noise_act(&[n, k], 1.0)?);
        if b.kernel.has("SWIGLU") {
            let (gate_up, act) = (b.blank_act(&[m, n])?, b.blank_act(&[m, n / 2])?);
            b.judge(&shape, k, |r| ops::matmul_swiglu_few(r, &x, &w, &gate_up, &act))?;
        } else {
            let out = b.blank_act(&[m, n])?;
            b.judge(&shape, k, |r| ops::matmul_few(r, &x, &w, &out))?;
        }
    }
    Ok(())
}

fn attention_step(b: &mut Bench<'_>) -> Done {
    let mut sizes = vec![
        (1, 1, 1, 1, 8),
        (3, 9, 4, 2, 24),
        (2, 128, 2, 1, 64),
        (4, 129, 3, 3, 32),
        (2, 300, 4, 1, 40),
        (2, 70, 2, 2, 256),
    ];
    if b.large() {
        sizes.push((64, 1000, 6, 2, 64));
    }
    for (rows, p, query, key, d) in sizes {
        let heads = Heads { query, key, size: d };
        let qkv = b.noise_act(&[rows, heads.qkv()], 1.0)?;
        let cache = b.noise_act(&[rows, p, 2 * key * d], 1.0)?;
        let table = b.noise(&[p.min(200), d])?;
        let positions = positions(b, rows, p)?;
        let out = b.blank_act(&[rows, heads.out()])?;
        let shape = format!("b={rows} p={p} hq={query} hk={key} d={d}");
        b.judge(&shape, p.max(d), |r| ops::attention_step(r, &qkv, &positions, &table, &cache, &out, rows, heads))?;
    }
    Ok(())
}

fn attention_row(b: &mut Bench<'_>) -> Done {
    for (rows, p, query, key, d, c) in [
        (1, 1, 1, 1, 8, 4),
        (4, 9, 4, 2, 24, 36),
        (3, 130, 2, 1, 64, 128),
        (5, 70, 3, 3, 32, 100),
        (2, 600, 4, 4, 32, 128),
        (2, 70, 1, 1, 256, 256),
    ] {
        let heads = Heads { query, key, size: d };
        let (x, gain) = (b.noise(&[rows, c])?, b.noise(&[c])?);
        let scale = 2.0 / (c as f32).sqrt();
        let (qkv, o) = (b.noise_act(&[heads.qkv(), c], scale)?, b.noise_act(&[c, heads.out()], 0.2)?);
        let cache = b.noise_act(&[rows, p, 2 * key * d], 1.0)?;
        let table = b.noise(&[p.min(200), d])?;
        let positions = positions(b, rows, p)?;
        let w = AttentionWeights { gain: &gain, qkv: &qkv, o: &o };
        let shape = format!("b={rows} p={p} hq={query} hk={key} d={d} c={c}");
        b.judge(&shape, p.max(256), |r| ops::attention_row(r, w, &positions, &table, &cache, &x, heads, 1e-5))?;
    }
    Ok(())
}

fn mlp_row(b: &mut Bench<'_>) -> Done {
    for (n, c, f) in [(1, 4, 4), (3, 36, 132), (2, 128, 384), (5, 100, 72), (2, 256, 1024)] {
        let (x, gain) = (b.noise(&[n, c])?, b.noise(&[c])?);
        let scale = 2.0 / (c as f32).sqrt();
        let (gate_up, down) = (b.noise_act(&[2 * f, c], scale)?, b.noise_act(&[c, f], 0.2)?);
        b.judge(&format!("n={n} c={c} f={f}"), c + f, |r| ops::mlp_row(r, &gain, &gate_up, &down, &x, 1e-5))?;
    }
    Ok(())
}

/// The last position, the first, those between, and one beyond the cache's end.
fn positions(b: &mut Bench<'_>, rows: usize, p: usize) -> Result<Tensor, ComputeError> {
    let at = |i: usize| if i == 3 { p as u32 + 4 } else { ((i + 1) * p - 1) as u32 * 7 % p as u32 };
    b.words(&(0..rows).map(at).collect::<Vec<_>>())
}

fn sample(b: &mut Bench<'_>) -> Done {
    // Rows, entries, and number of distinct values.
    let mut sizes = vec![(1, 1, 1), (7, 3, 80), (9, 255, 80), (12, 1025, 80), (5, 1100, 3), (6, 5003, 80)];
    if b.large() {
        sizes.push((64, 50_304, 4000));
    }
    for (rows, v, levels) in sizes {
        for among in [
            Among::Best,
            Among::All,
            Among::Likeliest { k: 1, p: 1.0 },
            Among::Likeliest { k: 40, p: 1.0 },
            Among::Likeliest { k: 128, p: 0.6 },
        ] {
            // Logits in eighths, so that many are equal; the first row has three NaN entries, the second only NaN.
            let mut logits: Vec<f32> =
                (0..rows * v).map(|i| below(4, Purpose::Bench, 2, i as u64, levels) as f32 / 8.0 - 5.0).collect();
            for (i, x) in logits.iter_mut().enumerate().take(2 * v) {
                *x = match i {
                    i if i >= v => f32::NAN,
                    0 => f32::INFINITY,
                    1 => f32::NEG_INFINITY,
                    2 => f32::NAN,
                    _ => *x,
                };
            }
            let pick = |i: usize| Pick {
                seed: (i as u64) << 30 | 0b1011,
                inverse_temperature: 0.4 + i as f32 / 4.0,
                among,
                known: if i % 3 == 2 { v.div_ceil(2) } else { v },
                // Some rows are still reading their prompts.
                prompt: if i % 4 == 3 { 10 } else { 3 },
            };
            let picks: Vec<u32> = (0..rows).flat_map(|i| pick(i).words()).collect();
            let prompts: Vec<u32> = (0..rows * 16).map(|i| i as u32 * 3).collect();
            let positions: Vec<u32> = (0..rows).map(|i| 5 + i as u32).collect();
            let (picks, prompts) = (b.words(&picks)?, b.words(&prompts)?);
            let (ids, positions) = (b.words(&vec![9; rows])?, b.words(&positions)?);
            let drawn = b.words(&vec![0; 8 * rows * 2])?;
            let logits = b.acts(&[rows, v], &logits)?;
            let shape = format!("b={rows} v={v} levels={levels} {among:?}");
            b.judge(&shape, v, |r| ops::sample(r, &picks, &logits, &prompts, &ids, &positions, &drawn))?;
        }
    }
    Ok(())
}
