//! Cases of attention.

use super::{
    bench::Bench,
    case::{Case, Done, shapes},
};
use crate::compute::{
    DType, Needs, Recording,
    ops::{self, Heads},
};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    Case {
        kernels: &["attention_forward", "attention_delta", "attention_backward_q", "attention_backward_kv"],
        run: attention,
        mutants: &[
            ("attention_forward", "<= span", "< span"),
            ("attention_forward", "- begin0 <= span0", "<= query0"),
            ("attention_forward", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
            ("attention_forward.64", "- begin1 <= span1", "<= query1"),
            ("attention_forward.32v", "- begin3 <= span3", "<= query3"),
            ("attention_forward.64v", "begins[sequence * p.t + row], row)", "begins[row], row)"),
            ("attention_forward.64v", "first_key(sequence, first) / TILE", "first_key(sequence, first + 1u) / TILE"),
            ("attention_forward.128v", "- begin1 <= span1", "<= query1"),
            ("attention_forward.32w", "- begin2 <= span2", "<= query2"),
            ("attention_forward.32w", "let begin1 =", "let begin1 = 1u +"),
            ("attention_forward.32w", "first_key(sequence, first) / ROWS", "first_key(sequence, first + OWN - 1u) / ROWS"),
            ("attention_forward.32v", "*= keep", "*= 1.0"),
            ("attention_forward.64v", "head / (p.hq / p.hk)", "head % p.hk"),
            ("attention_forward.64", "log(total)", "total"),
            ("attention_forward.128v", "start <= first", "start < first"),
            ("attention_delta", "total += parts[lane + 7u];", ""),
            ("attention_backward_q", "- delta0", "+ delta0"),
            ("attention_backward_q", "- begin0 <= span0", "<= query0"),
            ("attention_backward_q.64", "- begin1 <= span1", "<= query1"),
            ("attention_backward_q.32v", "- begin2 <= span2", "<= query2"),
            ("attention_backward_q.64v", "<= span3", "< span3"),
            ("attention_backward_q.64v", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
            ("attention_backward_q.128v", "first_key(sequence, first) / TILE", "first_key(sequence, first + TILE / 2u) / TILE"),
            ("attention_backward_kv", "<= span0 &&", "< span0 &&"),
            ("attention_backward_kv", "- begin0 <= span0", "<= query0"),
            ("attention_backward_kv", "min(begins[sequence * p.t + row], row)", "begins[sequence * p.t + row]"),
            ("attention_backward_kv.64", "- begin1 <= span1", "<= query1"),
            ("attention_backward_kv.64v", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
            ("attention_backward_kv.128v", "< limit {", "+ 1u < limit {"),
            ("attention_backward_kv.128v", "first + TILE)", "first + TILE / 2u)"),
            ("attention_backward_kv.64v", "head < (key_head + 1u) * heads", "head < key_head * heads + 1u"),
            ("attention_backward_kv.32v", "* p.scale;", ";"),
            ("attention_forward.32w", "*= keep", "*= 1.0"),
            ("attention_forward.32w", "first + OWN, p.t", "first + 1u, p.t"),
            ("attention_backward_q.32w", "start + ROWS, key_column", "start, key_column"),
            ("attention_backward_q.32w", "<= span3", "< span3"),
            ("attention_backward_q.32w", "- begin3 <= span3", "<= query3"),
            ("attention_backward_q.32w", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
            ("attention_backward_kv.32w", "select(0u, 1u, over)", "0u"),
            ("attention_backward_kv.32w", "&& seen1 < p.t", ""),
            ("attention_backward_kv.32w", "- begin1 <= span1", "<= seen1"),
            ("attention_backward_kv.32w", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
            ("attention_backward_kv.32w", "< limit {", "+ 1u < limit {"),
            ("attention_forward.64c", "*= keep", "*= 1.0"),
            ("attention_forward.32c", "best > top + JUMP", "best > top + 99.0"),
            ("attention_forward.128c", "<= vec4<u32>(span)", "< vec4<u32>(span)"),
            ("attention_backward_q.64c", "- mean)", "+ mean)"),
            ("attention_backward_q.32c", "start + 16u, key_column", "start, key_column"),
            ("attention_backward_kv.64c", "select(0u, 1u, over)", "0u"),
            ("attention_backward_kv.128c", "& (query < vec4<u32>(p.t))", ""),
        ],
    },
    Case {
        kernels: &["cache_append", "attention_decode"],
        run: decode,
        mutants: &[
            ("cache_append", "position < p.p", "position + 1u < p.p"),
            ("attention_decode", "positions[row] + 1u", "positions[row]"),
            ("attention_decode", "total *= keep", "total *= 1.0"),
        ],
    },
];

/// A case that is run when a device is opened.
pub(super) fn trial(b: &mut Bench<'_>) -> Done {
    b.terms = 0.1;
    attend(b, 4, 70, Heads { query: 1, key: 1, size: b.kernel.constant("EXACT") }, (1, LAYOUTS[1]))
}

fn attention(b: &mut Bench<'_>) -> Done {
    // A row that attends to one key has a zero gradient, by cancellation.
    b.terms = 0.1;
    let kernel = b.kernel;
    let tile = (kernel.constant("SIDE") * kernel.constant("R")).max(kernel.constant("OWN")).max(4);
    let most = if kernel.has("VEC4") || kernel.constant("D4") > 0 { 4 * kernel.constant("D4") } else { 256 };
    let sizes = [2, 4, 6, 12, 20, 32, 48, 64, 100, 128, 130, 256];
    // The largest sizes that the variant supports, and two small ones.
    let fitting = sizes.into_iter().filter(|d| *d <= most && (!kernel.has("VEC4") || d % 4 == 0));
    let exact = kernel.constant("EXACT");
    let fitting: Vec<usize> = fitting.filter(|d| exact == 0 || *d == exact).collect();
    let sizes = fitting.iter().take(1).chain(fitting.iter().rev().take(3));
    let groups = [(1, 1), (4, 2), (3, 1), (2, 2)];
    for (i, d) in sizes.enumerate() {
        for (j, t) in shapes(b, &[1, tile - 1, tile, tile + 1, 2 * tile + 3], 300).into_iter().enumerate() {
            let (query, key) = groups[(i + j) % groups.len()];
            let heads = Heads { query, key, size: *d };
            let sequences = 1 + j % 2;
            // All layouts on the longest rows; otherwise plain ones and those of whole tiles.
            let layouts = if t > tile + 1 { LAYOUTS.len() } else { t.min(2) };
            for (layout, name) in LAYOUTS.iter().enumerate().take(layouts) {
                attend(b, sequences, t, heads, (layout, name))?;
            }
        }
    }
    Ok(())
}

fn attend(b: &mut Bench<'_>, sequences: usize, t: usize, heads: Heads, (layout, name): (usize, &str)) -> Done {
    let Heads { query, key, size: d } = heads;
    let tile = (b.kernel.constant("SIDE") * b.kernel.constant("R")).max(b.kernel.constant("OWN")).max(4);
    // Large scores, for which the reference of the softmax must move from tile to tile.
    let size = if b.kernel.needs == Needs::Matrix && layout % 2 == 1 { 6.0 } else { 1.0 };
    let begins: Vec<u32> = (0..sequences).flat_map(|s| begins(layout + s, t, tile)).collect();
    let shape = format!("b={sequences} t={t} hq={query} hk={key} d={d} begins={name}");
    let begins = b.words(&begins)?;
    let qkv = b.noise_act(&[sequences * t, heads.qkv()], size)?;
    let out = b.blank_act(&[sequences * t, heads.out()])?;
    let lse = b.blank(&[sequences, query, t])?;
    let exact = if b.kernel.act() == DType::F16 { Some(b.blank(&[sequences * t, heads.out()])?) } else { None };
    let forward = |r: &mut Recording<'_>| match &exact {
        Some(exact) => ops::attention_forward_exact(r, &qkv, &begins, &out, exact, &lse, sequences, heads),
        None => ops::attention_forward(r, &qkv, &begins, &out, &lse, sequences, heads),
    };
    let inner = t.max(d);
    if b.kernel.base() == "attention_forward" {
        return b.judge(&shape, inner, |r| forward(r));
    }
    let dout = b.noise_act(&[sequences * t, heads.out()], 1.0)?;
    let dqkv = b.blank_act(&[sequences * t, heads.qkv()])?;
    b.judge(&shape, inner, |r| {
        forward(r)?;
        ops::attention_backward(r, &qkv, &begins, exact.as_ref().unwrap_or(&out), &lse, &dout, &dqkv, sequences, heads)
    })
}

/// Layouts of a sequence's rows, by the names in check rows.
const LAYOUTS: [&str; 6] = ["plain", "tiles", "short", "single", "window", "past"];

/// The begins of a sequence in a layout: one text; texts that end at, next to and across a tile's edge; short ones of
/// odd lengths; a text per row; the last few rows; and numbers beyond the row, which count as the row itself.
fn begins(layout: usize, t: usize, tile: usize) -> Vec<u32> {
    let packed = |lengths: &[usize]| -> Vec<u32> {
        let mut all = Vec::new();
        for length in lengths.iter().cycle() {
            if all.len() >= t {
                break;
            }
            all.resize(all.len() + length, all.len() as u32);
        }
        all.truncate(t);
        all
    };
    let rows = 0..t as u32;
    match LAYOUTS[layout % LAYOUTS.len()] {
        "plain" => vec![0; t],
        "tiles" => packed(&[tile - 1, 2, tile - 1, 1, 1]),
        "short" => packed(&[5, 1, 11, 3, 23]),
        "single" => rows.collect(),
        "window" => rows.map(|i| i.saturating_sub(9)).collect(),
        _ => rows.map(|i| if i % 3 == 0 { u32::MAX } else { i + 1 }).collect(),
    }
}

fn decode(b: &mut Bench<'_>) -> Done {
    for (sequences, n, p, query, key, d) in shapes(
        b,
        &[
            (1, 1, 1, 1, 1, 2),
            (2, 3, 9, 4, 2, 6),
            (1, 2, 64, 2, 1, 64),
            (3, 1, 65, 3, 3, 20),
            (1, 4, 200, 2, 2, 130),
            (1, 1, 70, 1, 1, 256),
        ],
        (8, 16, 1000, 6, 2, 64),
    ) {
        let heads = Heads { query, key, size: d };
        let shape = format!("b={sequences} n={n} p={p} hq={query} hk={key} d={d}");
        let qkv = b.noise_act(&[sequences * n, heads.qkv()], 1.0)?;
        let cache = b.noise_act(&[sequences, p, 2 * key * d], 1.0)?;
        // The rows of each sequence have different positions, the last one beyond the cache's end.
        let mut positions: Vec<u32> = (0..sequences * n).map(|i| ((i * 7 + p / 2) % p) as u32).collect();
        for first in (0..sequences).map(|s| s * n) {
            let start = (first * 3 + p / 2) as u32 % p as u32;
            positions[first..first + n].iter_mut().enumerate().for_each(|(i, at)| *at = start + i as u32);
        }
        let positions = b.words(&positions)?;
        if b.kernel.base() == "cache_append" {
            b.judge(&shape, 1, |r| ops::cache_append(r, &qkv, &positions, &cache, sequences, heads))?;
        } else {
            let out = b.blank_act(&[sequences * n, heads.out()])?;
            b.judge(&shape, p.max(d), |r| ops::attention_decode(r, &qkv, &cache, &positions, &out, sequences, heads))?;
        }
    }
    Ok(())
}
