//! Matrix products: which variant of the tile runs, and when a long inner size is split.

use super::{ComputeError, DType, Kernel, Params, Recording, Tensor, Traits, kernel, kernel::variants, ops};

/// How the operands lie in memory.
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

/// What runs: a row of the table, and among how many pieces the inner size is cut.
struct Plan {
    row: &'static Kernel,
    splits: usize,
}

/// out \[M, N\] = A·B in the given layout, or += with `accumulate`.
///
/// Sizes are read from the two-dimensional reading of the tensors (all but the last size make rows).
/// Where M·N makes too few tiles for the device and K is long, `matmul_nn_split` and `matmul_tn_split`
/// cut K into spans that leave partial products \[S, M, N\], which `column_sum` adds in order.
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
        return Err(ops::wrong(
            name,
            format!("{} {:?} and {} {:?} do not share an inner size", a.name, a.shape, b.name, b.shape),
        ));
    }
    ops::expect_len(name, out, m * n)?;
    let s = Sizes { m, n, k };
    let plan = match rec.forced().filter(|row| row.base().starts_with(name)) {
        Some(row) => {
            Some(Plan { row, splits: if row.has("SPLIT") { 3 } else { 1 } }).filter(|plan| fits(plan.row, layout, s))
        }
        None => choose(&rec.traits(), layout, name, s, [a.dtype, b.dtype, out.dtype]),
    };
    let plan = plan.ok_or_else(|| ops::wrong(name, "no variant fits".into()))?;
    let (bm, bn) = (plan.row.constant("BM"), plan.row.constant("BN"));
    let grid = |z: usize| [n.div_ceil(bn) as u32, m.div_ceil(bm) as u32, z as u32];
    if plan.splits == 1 {
        return ops::push_row(rec, plan.row, Params::new(&[m, n, k, usize::from(accumulate)]), &[a, b, out], grid(1));
    }
    let span = span(plan.row, k, plan.splits);
    let pieces = k.div_ceil(span);
    let partials = rec.scratch(&[pieces, m, n])?;
    ops::push_row(rec, plan.row, Params::new(&[m, n, k, span]), &[a, b, &partials], grid(pieces))?;
    ops::column_sum(rec, &partials, out, accumulate)
}

/// Inner indices of one piece: whole steps of the tile.
fn span(row: &Kernel, k: usize, splits: usize) -> usize {
    k.div_ceil(splits).next_multiple_of(row.constant("BK").max(1))
}

/// True when the sizes that run along memory are whole vectors, or the variant does not care.
fn fits(row: &Kernel, layout: Layout, s: Sizes) -> bool {
    let along = match layout {
        Layout::NN | Layout::NT => [s.k, s.n],
        Layout::TN => [s.m, s.n],
    };
    !row.has("VEC4") || along.iter().all(|size| size % 4 == 0)
}

fn choose(traits: &Traits, layout: Layout, name: &'static str, s: Sizes, types: [DType; 3]) -> Option<Plan> {
    if traits.cpu {
        return Some(Plan { row: kernel(name)?, splits: 1 });
    }
    let rows = variants(name);
    let rows = rows.filter(|row| row.runs_on(traits) && row.takes(&types) && fits(row, layout, s));
    if traits.software {
        // The shape of the tile hardly matters there, its compilation does.
        return rows.min_by_key(|row| row.constant("RM") * row.constant("RN")).map(|row| Plan { row, splits: 1 });
    }
    let whole = rows.map(|row| (cost(traits, row, s, 1), row, 1));
    let split_name = format!("{name}_split");
    let rooms = |splits: &usize| (splits * s.m * s.n) as u64 * 4 <= traits.max_binding.min(MOST_PARTIAL);
    let partial = [types[0], types[1], DType::F32];
    let split = variants(&split_name).filter(|row| row.runs_on(traits) && row.takes(&partial) && fits(row, layout, s));
    let split = split.flat_map(|row| {
        let counts = [2, 4, 8, 16, 32, 64].into_iter().filter(|c| s.k >= c * 64).filter(rooms);
        counts.map(|c| (cost(traits, row, s, c), row, c)).collect::<Vec<_>>()
    });
    let best = whole.chain(split).min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Plan { row: best.1, splits: best.2 })
}

/// Bytes that partial products may take.
const MOST_PARTIAL: u64 = 256 << 20;

/// How well a variant uses a multiprocessor: products a cycle relative to the best, and the groups
/// that must run on one before it does. From readings on an H200; elsewhere the order is what counts.
fn efficiency(row: &Kernel) -> (f64, f64) {
    match (row.constant("BM"), row.constant("BN"), row.has("VEC4")) {
        (128, 128, true) => (1.0, 1.7),
        (64, 128, true) => (0.92, 2.4),
        (64, 64, true) => (0.65, 3.0),
        (32, 32, true) => (0.4, 8.0),
        (64, 64, false) => (0.4, 3.0),
        _ => (0.25, 8.0),
    }
}

/// The time of a product, in multiply-adds of one multiprocessor.
fn cost(traits: &Traits, row: &Kernel, s: Sizes, splits: usize) -> f64 {
    let (bm, bn) = (row.constant("BM"), row.constant("BN"));
    let groups = s.m.div_ceil(bm) * s.n.div_ceil(bn) * splits;
    let each = groups.div_ceil(traits.units.max(1) as usize) as f64;
    let (speed, enough) = efficiency(row);
    let work = each.max(enough) * (bm * bn * span(row, s.k, splits)) as f64 / speed;
    // A second dispatch, and partial products written and read again.
    let sum = if splits == 1 { 0.0 } else { 4e5 + 0.4 * (splits * s.m * s.n) as f64 };
    work + sum
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::compute::Needs;

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
        let plan = choose(traits, layout, name, Sizes { m, n, k }, [DType::F32; 3]).expect("a variant fits");
        (plan.row.name, plan.splits)
    }

    #[test]
    fn large_products_take_large_tiles() {
        let (name, splits) = chosen(&LARGE, Layout::NT, "matmul_nt", 16_384, 4096, 384);
        assert!(name == "matmul_nt.128v" || name == "matmul_nt.64x128v", "{name}");
        assert_eq!(splits, 1);
    }

    #[test]
    fn few_tiles_of_long_sums_are_split() {
        let (name, splits) = chosen(&LARGE, Layout::TN, "matmul_tn", 384, 384, 16_384);
        assert!(name.starts_with("matmul_tn_split"), "{name}");
        assert!(splits >= 4, "{splits}");
        // Not where partial products would not fit a binding.
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
