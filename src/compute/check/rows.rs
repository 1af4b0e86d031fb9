//! Cases of kernels on rows: embeddings, RMSNorm, rotations, losses.

use super::{
    bench::Bench,
    case::{Case, Done, TABLES, TALL, ids, shapes},
};
use crate::compute::{
    DType,
    ops::{self, HYPER, Heads, Slope},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case {
        kernels: &["embedding_forward", "embedding_backward"],
        run: embedding,
        mutants: &[
            ("embedding_forward", "p.v - 1u", "p.v - 2u"),
            ("embedding_backward", " + parts[lane + 192u]", ""),
            ("embedding_backward", "+= total", "= total"),
            ("embedding_backward", "order[i + 7u * 4u]", "order[i + 6u * 4u]"),
            ("embedding_backward", "wg.z * 64u", "wg.z * 32u"),
        ],
    },
    Case {
        kernels: &["rmsnorm_forward", "add_rmsnorm_forward", "rmsnorm_backward"],
        run: rmsnorm,
        mutants: &[
            ("rmsnorm_backward.256v.h", "vec4<f16>(d)", "vec4<f16>(-d)"),
            ("rmsnorm_forward", "+ p.eps", "- p.eps * 100.0"),
            ("rmsnorm_forward", "i < p.c", "i + 1u < p.c"),
            ("add_rmsnorm_forward", "x[i] + f32(delta[i])", "x[i]"),
            ("rmsnorm_backward", "- v * pull", "+ v * pull"),
            ("rmsnorm_backward", "row != wg.x", "row == wg.x"),
            ("rmsnorm_backward.256v", "- v0 * pull", "+ v0 * pull"),
            ("rmsnorm_backward.512v", "shares[lane + 192u]", "shares[lane + 128u]"),
            ("rmsnorm_backward.768v", "team * 8u + 7u", "team * 8u + 6u"),
            ("rmsnorm_backward.1024v", "row = start + team * p.g", "row = start + team"),
        ],
    },
    Case {
        kernels: &["rope"],
        run: rope,
        mutants: &[
            ("rope", "x * c - y * s", "x * c + y * s"),
            ("rope", "p.inverse == 1u", "p.inverse == 0u"),
        ],
    },
    Case {
        kernels: &["cross_entropy", "entropy"],
        run: cross_entropy,
        mutants: &[
            ("cross_entropy.h", "weights[row] * select", "weights[row] / select"),
            ("cross_entropy.v.h", "wanted % 4u", "wanted % 2u"),
            ("cross_entropy.v.h", "at == vec4<u32>(wanted)", "at == vec4<u32>(wanted + 1u)"),
            ("cross_entropy", "share - scale", "share + scale"),
            ("cross_entropy", ">= p.v", "> p.v"),
            ("cross_entropy", "* weights[row]", ""),
            ("cross_entropy", "weights[row]", "weights[0]"),
            ("cross_entropy", "weights[row]", "abs(weights[row])"),
            ("entropy", "- mean", "+ mean"),
            ("entropy", "moment += e * x", "moment += x"),
            ("entropy", ">= p.v", "> p.v"),
            ("entropy", "share += e;", "share += 1.0;"),
            ("cross_entropy", "let half = 128u >> 7u", "let half = 0u"),
        ],
    },
];

fn embedding(b: &mut Bench<'_>) -> Done {
    let forward = b.kernel.base() == "embedding_forward";
    for (v, c) in shapes(b, &[(1, 1), (7, 3), (5, 64), (40, 65), (3, 200), TALL], (4096, 384)) {
        for n in [1, 37, 130] {
            if n == 37 && (v, c) == TALL {
                continue;
            }
            let shape = format!("n={n} c={c} v={v}");
            if forward {
                // An id beyond the table reads its last row.
                let mut chosen = ids(n, v);
                chosen[0] = v as u32 + 5;
                let (chosen, table, out) = (b.words(&chosen)?, b.noise_act(&[v, c], 1.0)?, b.blank_act(&[n, c])?);
                b.judge(&shape, 1, |r| ops::embedding_forward(r, &chosen, &table, &out))?;
                continue;
            }
            let chosen = ids(n, v);
            let mut order: Vec<u32> = (0..n as u32).collect();
            order.sort_by_key(|i| chosen[*i as usize]);
            let starts: Vec<u32> = (0..=v as u32).map(|id| chosen.iter().filter(|c| **c < id).count() as u32).collect();
            let (order, starts) = (b.words(&order)?, b.words(&starts)?);
            let (dout, dtable) = (b.noise(&[n, c])?, b.noise(&[v, c])?);
            b.judge(&shape, n, |r| ops::embedding_backward(r, &order, &starts, &dout, &dtable))?;
        }
    }
    Ok(())
}

fn rmsnorm(b: &mut Bench<'_>) -> Done {
    let name = b.kernel.base();
    let mut tables = shapes(b, TABLES, (3000, 384));
    if name == "rmsnorm_forward" {
        tables.push(TALL);
    } else {
        // More rows than stripes, and sizes for the variants that keep a row in registers.
        tables.extend([(1100, 5), (2100, 8), (7, 260), (6, 516), (5, 772), (4, 1024)]);
    }
    for (n, c) in tables {
        let shape = format!("n={n} c={c}");
        let (x, w) = (b.noise(&[n, c])?, b.noise(&[c])?);
        match name {
            "rmsnorm_forward" => {
                let (y, rstd) = (b.blank_act(&[n, c])?, b.blank(&[n])?);
                b.judge(&shape, c, |r| ops::rmsnorm_forward(r, &x, &w, &y, &rstd, 1e-5))?;
            }
            "add_rmsnorm_forward" => {
                let (delta, sum) = (b.noise_act(&[n, c], 1.0)?, b.blank(&[n, c])?);
                let (y, rstd) = (b.blank_act(&[n, c])?, b.blank(&[n])?);
                b.judge(&shape, c, |r| ops::add_rmsnorm_forward(r, &x, &delta, &w, &sum, &y, &rstd, 1e-5))?;
            }
            _ => {
                let accumulate = n % 2 == 1;
                let dy = b.noise_act(&[n, c], 1.0)?;
                let narrow = if b.kernel.act() == DType::F16 { Some(b.blank_act(&[n, c])?) } else { None };
                let rstd: Vec<f32> = (0..n).map(|i| 0.5 + i as f32 / n as f32).collect();
                let rstd = b.floats(&[n], &rstd)?;
                let dx = if accumulate { b.noise(&[n, c])? } else { b.blank(&[n, c])? };
                let dw = b.noise(&[c])?;
                let narrow = narrow.as_ref();
                b.judge(&shape, c, |r| ops::rmsnorm_backward(r, &dy, &x, &w, &rstd, &dx, &dw, narrow, accumulate))?;
            }
        }
    }
    Ok(())
}

fn rope(b: &mut Bench<'_>) -> Done {
    for (n, query, key, d) in shapes(b, &[(1, 1, 1, 2), (5, 3, 1, 6), (17, 2, 2, 64), (33, 4, 2, 20)], (2048, 6, 2, 64))
    {
        let heads = Heads { query, key, size: d };
        for inverse in [false, true] {
            // Positions beyond the table read its last row.
            let positions = b.words(&ids(n, 40))?;
            let (table, qkv) = (b.noise(&[33, d])?, b.noise_act(&[n, heads.qkv()], 1.0)?);
            let shape = format!("n={n} hq={query} hk={key} d={d}");
            b.judge(&shape, 1, |r| ops::rope(r, &positions, &table, &qkv, heads, inverse))?;
        }
    }
    Ok(())
}

fn cross_entropy(b: &mut Bench<'_>) -> Done {
    let entropy = b.kernel.base() == "entropy";
    for (n, v) in shapes(b, &[(1, 1), (2, 3), (5, 255), (3, 256), (4, 257), (3, 1500)], (2000, 4096)) {
        for gradient in [false, true] {
            if entropy && gradient {
                continue;
            }
            // Some are ignored: −100, −1 and those beyond the vocabulary.
            let mut targets: Vec<i32> = ids(n, v).into_iter().map(|t| t as i32).collect();
            for (i, odd) in [-100, v as i32, -1].into_iter().enumerate() {
                if let Some(t) = targets.get_mut(i * 2 + 1) {
                    *t = odd;
                }
            }
            let targets: Vec<u32> = targets.into_iter().map(i32::cast_unsigned).collect();
            let (targets, logits, losses) = (b.words(&targets)?, b.noise_act(&[n, v], 20.0)?, b.blank(&[n])?);
            let weights = b.noise(&[n])?;
            let mut control = [0.0; ops::CONTROL];
            control[8] = if n % 2 == 1 { 0.0 } else { 512.0 };
            let control = b.floats(&[ops::CONTROL], &control)?;
            let hyper = b.floats(&[HYPER], &[1e-3, 0.7, 0.1, 0.9, 0.95, 1e-8, 1.0, 0.0])?;
            // A loss near 0 is the remainder of the logarithm of a number near 1, for which WGSL allows an error of
            // 2⁻²¹, so it cannot be judged relative to its own size.
            b.terms = 1.0;
            b.judge(&format!("r={n} v={v} gradient={gradient}"), v, |r| {
                let slope = Slope { weights: &weights, control: &control };
                if entropy {
                    return ops::entropy(r, &targets, &logits, &losses);
                }
                ops::cross_entropy(r, &targets, &hyper, &logits, &losses, gradient.then_some(slope))
            })?;
        }
    }
    Ok(())
}
