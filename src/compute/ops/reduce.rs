//! Sums in a fixed order.

use super::push::{Done, expect_len, line, push, segments, wrong};
use crate::compute::{cpu::Params, device::Recording, tensor::Tensor};

/// Rows of partial sums that [`square_sum`] makes.
pub const NORM_PARTIALS: usize = 512;

/// out\[0\] = Σ x (or += with `accumulate`), in a fixed order by one workgroup.
pub fn sum(rec: &mut Recording<'_>, x: &Tensor, out: &Tensor, accumulate: bool) -> Done {
    expect_len("sum", out, 1)?;
    push(rec, "sum", Params::new(&[x.len(), usize::from(accumulate)]), &[x, out], [1, 1, 1])
}

/// out\[c\] = Σ_g partials\[g, c\] (or +=): x \[G, C\] → out \[C\].
pub fn column_sum(rec: &mut Recording<'_>, partials: &Tensor, out: &Tensor, accumulate: bool) -> Done {
    let c = out.len();
    if c == 0 || !partials.len().is_multiple_of(c) {
        return Err(wrong("column_sum", format!("{:?} does not divide into columns of {c}", partials.shape)));
    }
    let g = partials.len() / c;
    let params = Params::new(&[g, c, usize::from(accumulate)]);
    let wide = rec.forced().map_or(c >= WIDE, |row| row.has("WIDE"));
    let (name, each) = if wide && !rec.traits().cpu { ("column_sum.wide", 256) } else { ("column_sum", 16) };
    let grid = line(rec, c, each);
    push(rec, name, params, &[partials, out], grid)
}

/// From this many columns [`column_sum`] uses an invocation per column.
const WIDE: usize = 16_384;

/// Sums of squares for the global norm: partials\[g\] = Σ x², with x split among [`NORM_PARTIALS`] rows (fewer if `x`
/// is short). One call per segment; `partials` must have [`norm_partials`] elements.
pub fn square_sum(rec: &mut Recording<'_>, x: &Tensor, partials: &Tensor) -> Done {
    let cuts = segments(rec, x.len());
    expect_len("square_sum", partials, cuts.len() * NORM_PARTIALS)?;
    for (i, (start, n)) in cuts.into_iter().enumerate() {
        let part = x.part(&x.name, start, &[n]);
        let params = Params::new(&[n, NORM_PARTIALS, i * NORM_PARTIALS]);
        push(rec, "square_sum", params, &[&part, partials], [NORM_PARTIALS as u32, 1, 1])?;
    }
    Ok(())
}

/// Elements that [`square_sum`] needs in `partials` for `len` elements on this device.
pub fn norm_partials(rec: &Recording<'_>, len: usize) -> usize {
    segments(rec, len).len() * NORM_PARTIALS
}
