//! Products for few rows, as in decoding: one token of each of several texts.

use super::{
    elementwise::swiglu_forward,
    matmul::{Layout, matmul},
    push::{Done, expect_len, push_row, types, wrong},
};
use crate::compute::{
    cpu::Params,
    device::Recording,
    kernel::{Kernel, variants},
    tensor::Tensor,
};

/// Above this many rows tiled products are faster, because they reread weights less.
const MOST_ROWS: usize = 128;

/// out \[M, N\] = a \[M, K\] · b \[N, K\]ᵀ for few rows; uses [`matmul`] if M is large or no variant fits.
pub fn matmul_few(rec: &mut Recording<'_>, a: &Tensor, b: &Tensor, out: &Tensor) -> Done {
    expect_len("matmul_few", out, a.rows() * b.rows())?;
    let Some(row) = chosen(rec, "matmul_few", &[a, b, out]) else {
        return matmul(rec, Layout::NT, a, b, out, false);
    };
    push_few(rec, row, &[a, b, out])
}

/// act \[M, F\] = silu(y·gateᵀ) · (y·upᵀ) for few rows; w \[2F, K\] is gate and up. `gate_up` \[M, 2F\] is written only
/// if no variant does both in one call.
pub fn matmul_swiglu_few(rec: &mut Recording<'_>, y: &Tensor, w: &Tensor, gate_up: &Tensor, act: &Tensor) -> Done {
    expect_len("matmul_swiglu_few", gate_up, y.rows() * w.rows())?;
    expect_len("matmul_swiglu_few", act, y.rows() * w.rows() / 2)?;
    let Some(row) = chosen(rec, "matmul_swiglu_few", &[y, w, act]) else {
        matmul(rec, Layout::NT, y, w, gate_up, false)?;
        return swiglu_forward(rec, gate_up, act);
    };
    push_few(rec, row, &[y, w, act])
}

fn push_few(rec: &mut Recording<'_>, row: &'static Kernel, args: &[&Tensor; 3]) -> Done {
    let [a, b, _] = args;
    if a.cols() != b.cols() {
        let what = format!("{} {:?} and {} {:?} do not share an inner size", a.name, a.shape, b.name, b.shape);
        return Err(wrong(row.name, what));
    }
    let (m, n) = (a.rows(), b.rows());
    let grid = [n.div_ceil(columns(row)) as u32, m.div_ceil(row.constant("ROWS")) as u32, 1];
    push_row(rec, row, Params::new(&[m, n, a.cols()]), args, grid)
}

/// Rows of `b` per workgroup.
fn columns(row: &Kernel) -> usize {
    row.constant("THREADS") / 32 * row.constant("COLS")
}

/// The variant for these operands: for one row, or for eight with as many columns as leave enough workgroups for the
/// device. None on the CPU engine.
fn chosen(rec: &Recording<'_>, name: &'static str, args: &[&Tensor; 3]) -> Option<&'static Kernel> {
    let (traits, types, [a, b, _]) = (rec.traits(), types(args), args);
    let (m, n) = (a.rows(), b.rows());
    let fits = |row: &&Kernel| a.cols().is_multiple_of(4) && row.runs_on(&traits) && row.takes(&types);
    if let Some(row) = rec.forced().filter(|row| row.base() == name) {
        return Some(row).filter(fits);
    }
    if traits.cpu || m > MOST_ROWS {
        return None;
    }
    let rows = variants(name).filter(fits).filter(|row| (row.constant("ROWS") == 1) == (m == 1));
    rows.max_by_key(|row| {
        let (cols, groups) =
            (row.constant("COLS") as isize, n.div_ceil(columns(row)) * m.div_ceil(row.constant("ROWS")));
        if groups >= 2 * traits.units as usize { cols } else { -cols }
    })
}
