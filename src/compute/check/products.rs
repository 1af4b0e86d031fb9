//! Cases of matrix products.

use super::{
    bench::Bench,
    case::{Case, Done, ids, shapes},
};
use crate::compute::{Cell, Layout, matmul, matmul_rope, matmul_swiglu, matmul_swiglu_backward, ops::Heads};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case {
        kernels: &["matmul_nn", "matmul_nn_split"],
        run: |b| products(b, Layout::NN),
        mutants: &[
            ("matmul_nn", "row >= p.m", "row > p.m"),
            ("matmul_nn.128v", "SKEW * q) % BM4", "SKEW * q + 1u) % BM4"),
            ("matmul_nn_split.64x128v", "matrix * p.m", "matrix * p.n"),
            ("matmul_nn.256c", "at_b0 += step_b", "at_b0 += 0u"),
            ("matmul_nn.128c", "at_a3 += step_a", "at_a3 += 0u"),
        ],
    },
    Case {
        kernels: &["matmul_nt"],
        run: |b| products(b, Layout::NT),
        mutants: &[
            ("matmul_nt.64v", "row < rows && col < cols", "row < rows || col < cols"),
            ("matmul_nt", "k < end; k += BK", "k + BK < end; k += BK"),
            ("matmul_nt.32v", "all += ", "all -= "),
            ("matmul_nt.64x128v", "block_b(line1, k + BK", "block_b(line1, k"),
            ("matmul_nt.128c", "row0 + team_row + l / 4u", "row0 + team_row + l / 8u"),
            ("matmul_nt.64c", "min(first + column, p.n - 1u)", "min(first + column + 1u, p.n - 1u)"),
        ],
    },
    Case {
        kernels: &["matmul_tn", "matmul_tn_split"],
        run: |b| products(b, Layout::TN),
        mutants: &[
            ("matmul_tn.32v.h", "all += ", "all -= "),
            ("matmul_tn", "place0.y * 4u", "place0.y * 3u"),
            ("matmul_tn.32", "transpose", "transpose"),
            ("matmul_tn_split", "min(start + p.span, p.k)", "start + p.span"),
            ("matmul_tn.128wc", "p.accumulate == 1u", "p.accumulate == 0u"),
            ("matmul_tn_split.64c", "piece * p.m", "piece * p.n"),
        ],
    },
    Case {
        kernels: &["matmul_rope"],
        run: rotated_products,
        mutants: &[
            ("matmul_rope.128c", "select(sine, -sine", "select(-sine, sine"),
            ("matmul_rope.64c", "col < p.rotated", "col < p.n"),
        ],
    },
    Case {
        kernels: &["matmul_swiglu", "matmul_swiglu_backward"],
        run: gated_products,
        mutants: &[
            ("matmul_swiglu.128c", "1.0 + exp(-g)", "1.0 + exp(g)"),
            ("matmul_swiglu.64c", "select(0u, p.n / 2u, column >= half)", "0u"),
            ("matmul_swiglu_backward.128c", "(1.0 - s)", "(1.0 + s)"),
        ],
    },
];

/// A case that is run when a device is opened.
pub(super) fn trial(b: &mut Bench<'_>) -> Done {
    match b.kernel.base() {
        "matmul_nn" => product(b, Layout::NN, (130, 136, 72), false),
        "matmul_nt" => product(b, Layout::NT, (130, 136, 72), false),
        _ => product(b, Layout::TN, (136, 136, 200), false),
    }
}

fn products(b: &mut Bench<'_>, layout: Layout) -> Done {
    let kernel = b.kernel;
    let (bm, bn, bk) = (kernel.constant("BM"), kernel.constant("BN"), kernel.constant("BK"));
    // Sizes along memory are whole vectors; M need not be, except in TN.
    let whole = if kernel.has("VEC4") { 4 } else { kernel.constant("ALONG") };
    let sizes = if whole > 0 {
        let odd = usize::from(layout != Layout::TN);
        vec![
            (whole, whole, whole),
            (8 - odd, 8 + whole, 16 + whole),
            (bm - whole + odd, bn + whole, bk - whole),
            (bm, bn, 2 * bk),
            (bm + whole - odd, bn - whole, 3 * bk + whole),
            (2 * bm + 8, 2 * bn, 5 * bk + 8),
        ]
    } else {
        vec![
            (1, 1, 1),
            (3, 5, 7),
            (1, 70, 33),
            (bm - 1, bn + 1, bk - 1),
            (bm, bn, 2 * bk),
            (bm + 1, bn - 1, 3 * bk + 1),
            (2 * bm + 3, bn, 5 * bk + 2),
        ]
    };
    let large = if whole == 8 { (1032, 776, 1048) } else { (1028, 772, 1044) };
    for (m, n, k) in shapes(b, &sizes, large) {
        for accumulate in [false, true] {
            if !accumulate || !kernel.has("SPLIT") {
                product(b, layout, (m, n, k), accumulate)?;
            }
        }
    }
    Ok(())
}

fn rotated_products(b: &mut Bench<'_>) -> Done {
    for (n, k, query, key, d) in shapes(
        b,
        &[(1, 8, 1, 1, 32), (63, 72, 3, 1, 32), (65, 64, 2, 2, 64), (129, 136, 4, 2, 64), (200, 40, 5, 5, 32)],
        (1030, 392, 6, 2, 64),
    ) {
        let heads = Heads { query, key, size: d };
        // Not for tiles whose strips cannot hold a head.
        if b.kernel.constant("BN") / 2 < d {
            continue;
        }
        let positions = b.words(&ids(n, 40))?;
        let table = b.noise(&[33, d])?;
        let (y, w) = (b.noise_act(&[n, k], 1.0)?, b.noise_act(&[heads.qkv(), k], 1.0)?);
        let qkv = b.blank_act(&[n, heads.qkv()])?;
        let shape = format!("n={n} k={k} hq={query} hk={key} d={d}");
        b.judge(&shape, k, |r| matmul_rope(r, &y, &w, &positions, &table, &qkv, heads))?;
    }
    Ok(())
}

fn gated_products(b: &mut Bench<'_>) -> Done {
    for (n, f, k) in
        shapes(b, &[(1, 8, 8), (7, 24, 16), (65, 72, 72), (130, 64, 136), (257, 200, 64)], (1030, 704, 264))
    {
        let shape = format!("n={n} f={f} k={k}");
        let y = b.noise_act(&[n, k], 1.0)?;
        if b.kernel.base() == "matmul_swiglu" {
            let w = b.noise_act(&[2 * f, k], 1.0)?;
            let (gate_up, act) = (b.blank_act(&[n, 2 * f])?, b.blank_act(&[n, f])?);
            b.judge(&shape, k, |r| matmul_swiglu(r, &y, &w, &gate_up, &act))?;
        } else {
            let (w, gate_up) = (b.noise_act(&[k, f], 1.0)?, b.noise_act(&[n, 2 * f], 8.0)?);
            let (dact, dgate_up) = (b.blank_act(&[n, f])?, b.blank_act(&[n, 2 * f])?);
            b.judge(&shape, k, |r| matmul_swiglu_backward(r, &y, &w, &gate_up, &dact, &dgate_up))?;
        }
    }
    Ok(())
}

fn product(b: &mut Bench<'_>, layout: Layout, (m, n, k): (usize, usize, usize), accumulate: bool) -> Done {
    let (left, right) = match layout {
        Layout::NN => ([m, k], [k, n]),
        Layout::NT => ([m, k], [n, k]),
        Layout::TN => ([k, m], [k, n]),
    };
    let (x, y) = (b.noise_act(&left, 1.0)?, b.noise_act(&right, 1.0)?);
    let sums = b.kernel.bindings.last().is_some_and(|b| b.cell == Cell::Word);
    let out = match (accumulate, sums) {
        (true, true) => b.noise(&[m, n])?,
        (false, true) => b.blank(&[m, n])?,
        (true, false) => b.noise_act(&[m, n], 1.0)?,
        (false, false) => b.blank_act(&[m, n])?,
    };
    b.judge(&format!("m={m} n={n} k={k}"), k, |r| matmul(r, layout, &x, &y, &out, accumulate))
}
