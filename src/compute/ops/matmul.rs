//! Matrix products: the choice of the tile, and of splitting a long inner size.

use super::{
    attention::{Heads, rope},
    elementwise::{swiglu_backward, swiglu_forward},
    push::{expect_len, push_row, types, wrong},
    reduce::column_sum,
};
use crate::compute::{
    cpu::Params,
    device::Recording,
    error::ComputeError,
    kernel::{Kernel, Needs, Traits, kernel, variants},
    tensor::{DType, Tensor},
};

/// The layout of the operands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A \[M, K\] · B \[K, N\].
    NN,
    /// A \[M, K\] · B \[N, K\]ᵀ: a linear layer, y = x·Wᵀ.
    NT,
    /// A \[K, M\]ᵀ · B \[K, N\]: a weight gradient, dW = dyᵀ·x.
    TN,
}

/// The sizes of a product.
#[derive(Clone, Copy)]
struct Sizes {
    m: usize,
    n: usize,
    k: usize,
}

/// The choice: a row of the table, and the number of pieces of the inner size.
struct Plan {
    row: &'static Kernel,
    splits: usize,
}

/// out \[M, N\] = A·B in the given layout, or += with `accumulate`.
///
/// Sizes are read from the two-dimensional reading of the tensors (all but the last size make rows).
/// Where M·N makes too few tiles for the device and K is long, `matmul_nn_split` and `matmul_tn_split`
/// cut K into spans that leave partial products \[S, M, N\], which `column_sum` adds in order. A weight's
/// gradient recorded after the gradient of its input, which reads the same, waits for nothing on a device
/// with cooperative matrices: its partial products have a buffer that nothing touched before.
pub fn matmul(
    rec: &mut Recording<'_>,
    layout: Layout,
    a: &Tensor,
    b: &Tensor,
    out: &Tensor,
    accumulate: bool,
) -> Result<(), ComputeError> {
    let ((m, k), (kb, n), name) = match layout {
        Layout::NN => ((a.rows(), a.cols()), (b.rows(), b.cols()), "matmul_nn"),
        Layout::NT => ((a.rows(), a.cols()), (b.cols(), b.rows()), "matmul_nt"),
        Layout::TN => ((a.cols(), a.rows()), (b.rows(), b.cols()), "matmul_tn"),
    };
    if k != kb {
        return Err(wrong(
            name,
            format!("{} {:?} and {} {:?} do not share an inner size", a.name, a.shape, b.name, b.shape),
        ));
    }
    expect_len(name, out, m * n)?;
    let s = Sizes { m, n, k };
    let plan = match rec.forced().filter(|row| [name, split_name(layout)].contains(&row.base())) {
        Some(row) => {
            Some(Plan { row, splits: if row.has("SPLIT") { 3 } else { 1 } }).filter(|plan| fits(plan.row, layout, s))
        }
        None => choose(&rec.traits(), layout, name, s, [a.dtype, b.dtype, out.dtype]),
    };
    let plan = plan.ok_or_else(|| wrong(name, "no variant fits".into()))?;
    let (bm, bn) = (plan.row.constant("BM"), plan.row.constant("BN"));
    let grid = |z: usize| [n.div_ceil(bn) as u32, m.div_ceil(bm) as u32, z as u32];
    if plan.splits == 1 {
        return push_row(rec, plan.row, Params::new(&[m, n, k, usize::from(accumulate)]), &[a, b, out], grid(1));
    }
    let span = span(plan.row, k, plan.splits);
    let pieces = k.div_ceil(span);
    let partials = rec.partials(&[pieces, m, n])?;
    push_row(rec, plan.row, Params::new(&[m, n, k, span]), &[a, b, &partials], grid(pieces))?;
    column_sum(rec, &partials, out, accumulate)
}

/// y·Wᵀ into qkv \[N, (Hq+2Hk)·D\], with queries and keys rotated as by [`super::rope`]: in one call if the device has
/// a variant for it.
pub fn matmul_rope(
    rec: &mut Recording<'_>,
    y: &Tensor,
    w: &Tensor,
    positions: &Tensor,
    table: &Tensor,
    qkv: &Tensor,
    heads: Heads,
) -> Result<(), ComputeError> {
    let s = Sizes { m: y.rows(), n: heads.qkv(), k: y.cols() };
    let rotated = (heads.query + heads.key) * heads.size;
    let params = Params::new(&[s.m, s.n, s.k, 0, rotated, heads.size, table.rows()]);
    // Both halves of a head are in one strip of the tile, whole subgroups apart.
    let strip = |row: &Kernel| row.constant("BN") / row.constant("TN_FRAGMENTS").max(1);
    let holds = |row: &Kernel| heads.size.is_multiple_of(32) && strip(row).is_multiple_of(heads.size);
    let args = [y, w, positions, table, qkv];
    let fits = w.rows() == s.n && w.cols() == s.k && positions.len() == s.m && table.cols() == heads.size;
    if fits && fused(rec, "matmul_rope", Layout::NT, s, params, &args, holds)? {
        return Ok(());
    }
    matmul(rec, Layout::NT, y, w, qkv, false)?;
    rope(rec, positions, table, qkv, heads, false)
}

/// y·Wᵀ into gate_up \[N, 2F\], and act \[N, F\] of it ([`super::swiglu_forward`]), in one call if the device has a
/// variant for it.
pub fn matmul_swiglu(
    rec: &mut Recording<'_>,
    y: &Tensor,
    w: &Tensor,
    gate_up: &Tensor,
    act: &Tensor,
) -> Result<(), ComputeError> {
    let s = Sizes { m: y.rows(), n: w.rows(), k: y.cols() };
    let fits = w.cols() == s.k && s.n.is_multiple_of(16) && gate_up.len() == s.m * s.n && act.len() * 2 == s.m * s.n;
    let params = Params::new(&[s.m, s.n, s.k]);
    if fits && fused(rec, "matmul_swiglu", Layout::NT, s, params, &[y, w, gate_up, act], |_| true)? {
        return Ok(());
    }
    matmul(rec, Layout::NT, y, w, gate_up, false)?;
    swiglu_forward(rec, gate_up, act)
}

/// The gradient of act, d·W, into dact \[N, F\], and that of gate and up ([`super::swiglu_backward`]) into dgate_up
/// \[N, 2F\]; in one call, which leaves dact unchanged, if the device has a variant for it.
pub fn matmul_swiglu_backward(
    rec: &mut Recording<'_>,
    d: &Tensor,
    w: &Tensor,
    gate_up: &Tensor,
    dact: &Tensor,
    dgate_up: &Tensor,
) -> Result<(), ComputeError> {
    let s = Sizes { m: d.rows(), n: w.cols(), k: d.cols() };
    let fits = w.rows() == s.k && [gate_up, dgate_up].iter().all(|t| t.len() == 2 * s.m * s.n);
    let (params, args) = (Params::new(&[s.m, s.n, s.k]), [d, w, gate_up, dgate_up]);
    if fits && fused(rec, "matmul_swiglu_backward", Layout::NN, s, params, &args, |_| true)? {
        return Ok(());
    }
    matmul(rec, Layout::NN, d, w, dact, false)?;
    swiglu_backward(rec, gate_up, dact, dgate_up)
}

/// Appends the cheapest variant of a product with an epilogue; false if none runs here and fits.
fn fused(
    rec: &mut Recording<'_>,
    name: &'static str,
    layout: Layout,
    s: Sizes,
    params: Params,
    args: &[&Tensor],
    holds: impl Fn(&Kernel) -> bool,
) -> Result<bool, ComputeError> {
    let traits = rec.traits();
    let types = types(args);
    let taken = |row: &&Kernel| row.runs_on(&traits) && row.takes(&types) && fits(row, layout, s) && holds(row);
    let row = match rec.forced().filter(|row| row.base() == name) {
        Some(row) => Some(row).filter(taken),
        None => variants(name)
            .filter(taken)
            .map(|row| (cost(&traits, row, s, 1), row))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, row)| row),
    };
    let Some(row) = row else { return Ok(false) };
    let grid = [s.n.div_ceil(row.constant("BN")) as u32, s.m.div_ceil(row.constant("BM")) as u32, 1];
    push_row(rec, row, params, args, grid)?;
    Ok(true)
}

/// Inner indices of one piece: whole steps of the tile.
fn span(row: &Kernel, k: usize, splits: usize) -> usize {
    k.div_ceil(splits).next_multiple_of(row.constant("BK").max(1))
}

/// The kernel for partial products over pieces of K; NT has none.
fn split_name(layout: Layout) -> &'static str {
    match layout {
        Layout::NN => "matmul_nn_split",
        Layout::NT => "matmul_nt_split",
        Layout::TN => "matmul_tn_split",
    }
}

/// Whether the sizes along memory are whole vectors, or the variant does not need that.
fn fits(row: &Kernel, layout: Layout, s: Sizes) -> bool {
    let along = match layout {
        Layout::NN | Layout::NT => [s.k, s.n],
        Layout::TN => [s.m, s.n],
    };
    let whole = if row.has("VEC4") { 4 } else { row.constant("ALONG").max(1) };
    along.iter().all(|size| size.is_multiple_of(whole))
}

fn choose(traits: &Traits, layout: Layout, name: &'static str, s: Sizes, types: [DType; 3]) -> Option<Plan> {
    if traits.cpu {
        return Some(Plan { row: kernel(name)?, splits: 1 });
    }
    let rows = variants(name);
    let rows = rows.filter(|row| row.runs_on(traits) && row.takes(&types) && fits(row, layout, s));
    if traits.software {
        // The tile hardly matters there, but its compilation time does.
        return rows.min_by_key(|row| row.constant("RM") * row.constant("RN")).map(|row| Plan { row, splits: 1 });
    }
    let whole = rows.map(|row| (cost(traits, row, s, 1), row, 1));
    let rooms =
        |splits: &usize| (splits * s.m * s.n * DType::F32.bytes()) as u64 <= traits.max_binding.min(MOST_PARTIAL);
    let partial = [types[0], types[1], DType::F32];
    let split =
        variants(split_name(layout)).filter(|row| row.runs_on(traits) && row.takes(&partial) && fits(row, layout, s));
    let split = split.flat_map(|row| {
        let counts = [2, 4, 8, 16, 32, 64].into_iter().filter(|c| s.k >= c * 64).filter(rooms);
        counts.map(|c| (cost(traits, row, s, c), row, c)).collect::<Vec<_>>()
    });
    let best = whole.chain(split).min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Plan { row: best.1, splits: best.2 })
}

/// Most bytes of partial products.
const MOST_PARTIAL: u64 = 256 << 20;

/// The speed of a variant, measured on an H100 and an H200; elsewhere only the order matters.
struct Reach {
    /// Multiply-adds relative to the best f32 variant in the same time.
    speed: f64,
    /// Groups per multiprocessor that are needed to reach that.
    enough: f64,
    /// The overhead of a group (start and end), in inner indices.
    lead: f64,
}

fn reach(row: &Kernel) -> Reach {
    let tile = (row.constant("BM"), row.constant("BN"));
    let (speed, enough, lead) = if row.needs == Needs::Matrix {
        match (tile, row.has("NT"), row.has("NN"), row.constant("TN_FRAGMENTS")) {
            ((256, 128), ..) => (6.0, 1.0, 123.0),
            ((192, 128), ..) => (5.3, 1.0, 130.0),
            ((128, 128), true, ..) => (6.2, 1.7, 209.0),
            ((128, 128), _, true, _) => (4.6, 1.7, 90.0),
            ((128, 128), .., 4) => (5.7, 6.0, 150.0),
            ((128, 128), ..) => (5.1, 1.7, 120.0),
            (_, true, ..) => (4.4, 4.0, 140.0),
            _ => (4.0, 4.0, 120.0),
        }
    } else {
        match (tile, row.has("VEC4")) {
            ((128, 128), true) => (1.0, 1.7, 0.0),
            ((64, 128), true) => (0.92, 2.4, 0.0),
            ((64, 64), true) => (0.65, 3.0, 0.0),
            ((32, 32), true) => (0.4, 8.0, 0.0),
            ((64, 64), false) => (0.4, 3.0, 0.0),
            _ => (0.25, 8.0, 0.0),
        }
    };
    Reach { speed, enough, lead }
}

/// Multiply-adds per second of one multiprocessor in the best f32 variant.
const RATE: f64 = 1.48e11;

/// The estimated seconds of a product.
fn cost(traits: &Traits, row: &Kernel, s: Sizes, splits: usize) -> f64 {
    let (bm, bn) = (row.constant("BM"), row.constant("BN"));
    let groups = s.m.div_ceil(bm) * s.n.div_ceil(bn) * splits;
    let each = groups.div_ceil(traits.units.max(1) as usize) as f64;
    let Reach { speed, enough, lead } = reach(row);
    let work = each.max(enough) * (bm * bn) as f64 * (span(row, s.k, splits) as f64 + lead) / speed;
    // A second dispatch, and partial products written and read again.
    let sum = if splits == 1 { 0.0 } else { 4e5 + 0.4 * (splits * s.m * s.n) as f64 };
    (work + sum) / RATE
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// An H100's.
    const LARGE: Traits = Traits {
        cpu: false,
        software: false,
        max_binding: (1 << 31) - 4,
        max_groups: 65_535,
        workgroup_storage: 49_152,
        max_invocations: 1024,
        offers: Needs::Common,
        act: DType::F32,
        units: 132,
    };

    fn chosen(
        traits: &Traits,
        layout: Layout,
        name: &'static str,
        m: usize,
        n: usize,
        k: usize,
    ) -> (&'static str, usize) {
        let out = if layout == Layout::TN { DType::F32 } else { traits.act };
        let plan = choose(traits, layout, name, Sizes { m, n, k }, [traits.act, traits.act, out]);
        let plan = plan.expect("a variant fits");
        (plan.row.name, plan.splits)
    }

    #[test]
    fn large_products_take_large_tiles() {
        let (name, splits) = chosen(&LARGE, Layout::NT, "matmul_nt", 16_384, 4096, 384);
        assert!(name == "matmul_nt.128v" || name == "matmul_nt.64x128v", "{name}");
        assert_eq!(splits, 1);
    }

    /// The fastest of all variants at the sizes of the presets, measured on an H200.
    #[test]
    fn products_on_matrix_units_take_what_was_measured_best() {
        let matrix = Traits { offers: Needs::Matrix, act: DType::F16, ..LARGE };
        let (nt, nn, tn) = ((Layout::NT, "matmul_nt"), (Layout::NN, "matmul_nn"), (Layout::TN, "matmul_tn"));
        for ((layout, name), sizes, best) in [
            (nt, [16_384, 384, 384], "matmul_nt.128c"),
            (nt, [16_384, 2048, 384], "matmul_nt.128c"),
            (nt, [8192, 50_304, 768], "matmul_nt.128c"),
            (nt, [4096, 384, 128], "matmul_nt.64c"),
            (nn, [16_384, 384, 384], "matmul_nn.192c"),
            (nn, [16_384, 1024, 384], "matmul_nn.256c"),
            (nn, [16_384, 768, 2304], "matmul_nn.256c"),
            (tn, [2048, 384, 16_384], "matmul_tn_split.128c"),
            (tn, [50_304, 768, 8192], "matmul_tn.128wc"),
            // Sizes that cooperative matrices do not support.
            (nt, [100, 100, 100], "matmul_nt.64v.h"),
        ] {
            let [m, n, k] = sizes;
            assert_eq!(chosen(&matrix, layout, name, m, n, k).0, best, "{m} × {n} × {k}");
        }
    }

    #[test]
    fn few_tiles_of_long_sums_are_split() {
        let (name, splits) = chosen(&LARGE, Layout::TN, "matmul_tn", 384, 384, 16_384);
        assert!(name.starts_with("matmul_tn_split"), "{name}");
        assert!(splits >= 4, "{splits}");
        // Not if partial products would not fit a binding.
        let small = Traits { max_binding: 384 * 384 * 4, ..LARGE };
        assert_eq!(chosen(&small, Layout::TN, "matmul_tn", 384, 384, 16_384).1, 1);
    }

    #[test]
    fn sizes_that_are_not_whole_vectors_take_scalar_tiles() {
        for (layout, name, m, n, k) in [
            (Layout::NT, "matmul_nt", 128, 128, 130),
            (Layout::NN, "matmul_nn", 128, 130, 128),
            (Layout::TN, "matmul_tn", 130, 128, 128),
        ] {
            let (name, _) = chosen(&LARGE, layout, name, m, n, k);
            assert!(!name.ends_with('v'), "{name}");
        }
        assert!(chosen(&LARGE, Layout::NT, "matmul_nt", 1, 128, 128).0.ends_with('v'), "rows may be any number");
    }

    #[test]
    fn the_cpu_engine_has_no_variants() {
        let host = Traits { cpu: true, ..LARGE };
        assert_eq!(chosen(&host, Layout::TN, "matmul_tn", 64, 64, 100_000), ("matmul_tn", 1));
    }

    #[test]
    fn pieces_cover_the_sum() {
        for row in variants("matmul_tn_split") {
            for k in [200, 1000, 16_384, 16_390] {
                for splits in [2, 3, 8, 64] {
                    let span = span(row, k, splits);
                    let pieces = k.div_ceil(span);
                    assert!(pieces <= splits && pieces * span >= k && (pieces - 1) * span < k, "{k} in {splits}");
                }
            }
        }
    }
}
