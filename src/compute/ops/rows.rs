//! Row-wise operations: embedding and RMSNorm.

use super::{
    push::{Done, ELEMENTS, expect_len, line, push, push_row, types, wrong},
    reduce::column_sum,
};
use crate::compute::{
    cpu::Params,
    device::Recording,
    kernel::{Kernel, kernel_for, variants},
    tensor::Tensor,
};

/// Most rows of partial weight gradients that [`rmsnorm_backward`] makes, on the CPU and on a GPU.
pub const RMSNORM_PARTIALS: [usize; 2] = [128, 512];

/// Workgroups of [`embedding_backward`], about: most of them belong to ids that no row has.
const BACKWARD_GROUPS: usize = 1 << 15;

/// Rows of a table: ids \[N\] (u32), table \[V, C\] → out \[N, C\]. Ids beyond the table read its last row.
pub fn embedding_forward(rec: &mut Recording<'_>, ids: &Tensor, table: &Tensor, out: &Tensor) -> Done {
    let (n, c, v) = (ids.len(), table.cols(), table.rows());
    expect_len("embedding_forward", out, n * c)?;
    let grid = line(rec, n * c, ELEMENTS);
    push(rec, "embedding_forward", Params::new(&[n, c, v]), &[ids, table, out], grid)
}

/// dtable\[v\] += Σ dout\[i\] over the rows i with id v, without atomics.
///
/// The host sorts positions by id: `order` \[N\] (u32) lists them, `starts` \[V+1\] (u32) has the start of each id's.
/// dout \[N, C\] → dtable \[V, C\]; the sum runs in the order of `order`.
pub fn embedding_backward(
    rec: &mut Recording<'_>,
    order: &Tensor,
    starts: &Tensor,
    dout: &Tensor,
    dtable: &Tensor,
) -> Done {
    let (n, c, v) = (order.len(), dtable.cols(), dtable.rows());
    expect_len("embedding_backward", dout, n * c)?;
    expect_len("embedding_backward", starts, v + 1)?;
    let [x, y, _] = rec.traits().grid(v);
    let columns = c.div_ceil(64).min(BACKWARD_GROUPS / v.max(1)).max(1);
    push(rec, "embedding_backward", Params::new(&[v, c]), &[order, starts, dout, dtable], [x, y, columns as u32])
}

/// RMSNorm (Zhang and Sennrich 2019, as in Llama): rstd = (mean(x²) + eps)^−½, y = x · rstd · w.
/// x \[N, C\], w \[C\] → y \[N, C\], rstd \[N\]. One workgroup a row.
pub fn rmsnorm_forward(rec: &mut Recording<'_>, x: &Tensor, w: &Tensor, y: &Tensor, rstd: &Tensor, eps: f32) -> Done {
    let (n, c) = (rstd.len(), w.len());
    expect_len("rmsnorm_forward", x, n * c)?;
    expect_len("rmsnorm_forward", y, n * c)?;
    let grid = rec.traits().grid(n);
    push(rec, "rmsnorm_forward", Params::new(&[n, c]).with_f32(2, eps), &[x, w, y, rstd], grid)
}

/// The residual sum and the norm of it in one pass: sum = x + delta, then [`rmsnorm_forward`] of sum.
/// x, delta \[N, C\], w \[C\] → sum, y \[N, C\], rstd \[N\].
pub fn add_rmsnorm_forward(
    rec: &mut Recording<'_>,
    x: &Tensor,
    delta: &Tensor,
    w: &Tensor,
    sum: &Tensor,
    y: &Tensor,
    rstd: &Tensor,
    eps: f32,
) -> Done {
    let (n, c) = (rstd.len(), w.len());
    for t in [x, delta, sum, y] {
        expect_len("add_rmsnorm_forward", t, n * c)?;
    }
    let grid = rec.traits().grid(n);
    push(rec, "add_rmsnorm_forward", Params::new(&[n, c]).with_f32(2, eps), &[x, delta, w, sum, y, rstd], grid)
}

/// dx = (or +=) rstd · (dy·w − x · rstd² · mean(dy·w·x)), and dw += Σ_rows dy · x · rstd.
///
/// dy, x, dx \[N, C\], w, dw \[C\], rstd \[N\]. Rows are divided into G = min(N, one of [`RMSNORM_PARTIALS`]) stripes
/// (stripe g: rows g, g + G, …), one workgroup each; their partials \[G, C\] are added to dw by [`column_sum`].
/// `narrow`: if dy is f16, dx again in f16, for products.
pub fn rmsnorm_backward(
    rec: &mut Recording<'_>,
    dy: &Tensor,
    x: &Tensor,
    w: &Tensor,
    rstd: &Tensor,
    dx: &Tensor,
    dw: &Tensor,
    narrow: Option<&Tensor>,
    accumulate: bool,
) -> Done {
    let (n, c) = (rstd.len(), w.len());
    for t in [dy, x, dx].into_iter().chain(narrow) {
        expect_len("rmsnorm_backward", t, n * c)?;
    }
    expect_len("rmsnorm_backward", dw, c)?;
    let g = n.min(RMSNORM_PARTIALS[usize::from(!rec.traits().cpu)]);
    let partials = rec.scratch(&[g, c])?;
    let params = Params::new(&[n, c, g, usize::from(accumulate)]);
    let args: Vec<&Tensor> = [dy, x, w, rstd, dx, &partials].into_iter().chain(narrow).collect();
    let types = types(&args);
    // Among the variants that keep a row in registers, the smallest; else the general one.
    let holds = |row: &&Kernel| c.is_multiple_of(4) && c <= 256 * row.constant("U") && row.takes(&types);
    let row = match rec.forced().filter(|row| row.base() == "rmsnorm_backward") {
        Some(row) if row.has("VEC4") => Some(row).filter(holds),
        None if !rec.traits().cpu => variants("rmsnorm_backward").filter(holds).min_by_key(|row| row.constant("U")),
        _ => None,
    };
    let row = row.or_else(|| kernel_for("rmsnorm_backward", &types));
    let row = row.ok_or_else(|| wrong("rmsnorm_backward", "no such kernel".into()))?;
    push_row(rec, row, params, &args, [g as u32, 1, 1])?;
    column_sum(rec, &partials, dw, true)
}
