//! The shapes on which each kernel is checked: 1, odd, around a tile, and large where that is cheap.

use super::{bench::Bench, decoding};
use crate::compute::{
    Cell, ComputeError, DType, Layout, Needs, Recording, matmul, matmul_rope, matmul_swiglu, matmul_swiglu_backward,
    ops::{self, HYPER, Heads, NORM_PARTIALS, Slope},
    rng::{Purpose, below},
};

type Done = Result<(), ComputeError>;

/// Lengths of elementwise kernels.
const LENGTHS: &[usize] = &[1, 3, 255, 256, 1023, 1024, 1025, 5003];
/// Rows and columns of row-wise kernels.
const TABLES: &[(usize, usize)] = &[(1, 1), (2, 3), (5, 63), (3, 64), (7, 65), (129, 10), (2, 1030)];
/// More rows than one grid dimension allows.
const TALL: (usize, usize) = (65_600, 1);

pub(super) fn run(b: &mut Bench<'_>) -> Done {
    match b.kernel.base() {
        "fill" | "add" | "scale" | "narrow" | "dropout" | "sum" | "square_sum" => elementwise(b),
        "column_sum" => column_sum(b),
        "embedding_forward" | "embedding_backward" => embedding(b),
        "rmsnorm_forward" | "add_rmsnorm_forward" | "rmsnorm_backward" => rmsnorm(b),
        "rope" => rope(b),
        "attention_forward" | "attention_delta" | "attention_backward_q" | "attention_backward_kv" => attention(b),
        "cache_append" | "attention_decode" => decode(b),
        "attention_step" => decoding::attention_step(b),
        "attention_row" => decoding::attention_row(b),
        "mlp_row" => decoding::mlp_row(b),
        "matmul_few" | "matmul_swiglu_few" => decoding::few_rows(b),
        "sample" => decoding::sample(b),
        "swiglu_forward" | "swiglu_backward" => swiglu(b),
        "cross_entropy" | "entropy" => cross_entropy(b),
        "adamw_prepare" | "adamw" => adamw(b),
        "matmul_rope" => rotated_products(b),
        "matmul_swiglu" | "matmul_swiglu_backward" => gated_products(b),
        "matmul_nn" | "matmul_nn_split" => products(b, Layout::NN),
        "matmul_nt" => products(b, Layout::NT),
        "matmul_tn" | "matmul_tn_split" => products(b, Layout::TN),
        name => Err(ComputeError::Kernel { kernel: name.into(), reason: "no case checks it".into() }),
    }
}

/// The case of a row that is run when a device is opened: enough to detect a faulty driver.
pub(super) fn trial(b: &mut Bench<'_>) -> Done {
    match b.kernel.base() {
        "matmul_nn" => product(b, Layout::NN, (130, 136, 72), false),
        "matmul_nt" => product(b, Layout::NT, (130, 136, 72), false),
        "matmul_tn_split" => product(b, Layout::TN, (136, 136, 200), false),
        _ => {
            b.terms = 0.1;
            attend(b, 4, 70, Heads { query: 1, key: 1, size: b.kernel.constant("EXACT") }, (1, LAYOUTS[1]))
        }
    }
}

/// `shapes`, and one more on a real GPU.
fn shapes<T: Copy>(b: &Bench<'_>, shapes: &[T], large: T) -> Vec<T> {
    let more = b.large().then_some(large);
    shapes.iter().copied().chain(more).collect()
}

/// `n` numbers below `limit`.
fn ids(n: usize, limit: usize) -> Vec<u32> {
    (0..n).map(|i| below(9, Purpose::Bench, 1, i as u64, limit) as u32).collect()
}

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
