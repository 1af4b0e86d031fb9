//! Matrix products with matrixmultiply (through ndarray's safe interface), rows or columns distributed over cores.

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, linalg::general_mat_mul};

use super::{
    args::{Args, Arity, Params, Ran},
    parallel,
};

/// A strided view of a matrix: `rows` × `cols`, element (i, j) at i·rs + j·cs. None if the slice is too short.
pub(super) fn view(data: &[f32], rows: usize, cols: usize, rs: usize, cs: usize) -> Option<ArrayView2<'_, f32>> {
    ArrayView2::from_shape((rows, cols).strides((rs, cs)), data).ok()
}

/// The same, mutable.
pub(super) fn view_mut(data: &mut [f32], rows: usize, cols: usize, rs: usize) -> Option<ArrayViewMut2<'_, f32>> {
    ArrayViewMut2::from_shape((rows, cols).strides((rs, 1)), data).ok()
}

/// C = A·B + beta·C, if all three views exist.
pub(super) fn product(
    a: Option<ArrayView2<'_, f32>>,
    b: Option<ArrayView2<'_, f32>>,
    c: Option<ArrayViewMut2<'_, f32>>,
    beta: f32,
) {
    if let (Some(a), Some(b), Some(mut c)) = (a, b, c) {
        general_mat_mul(1.0, &a, &b, beta, &mut c);
    } else {
        debug_assert!(false, "views were checked when the call was recorded");
    }
}

/// Rows of C per task: one task per core, since matrixmultiply packs all of B for each. The split may depend on the
/// number of cores here: an element's sum runs over k in blocks of a fixed size, whatever the other rows are.
fn task_rows(m: usize, n: usize, k: usize) -> usize {
    if m * n * k < 1 << 18 {
        return m;
    }
    m.div_ceil(rayon::current_num_threads()).next_multiple_of(8)
}

/// A single row: y = W·x for each row of W. matrixmultiply packs B, which costs more than it saves here.
fn vector_nt(x: &[f32], w: &[f32], out: &mut [f32], beta: f32) {
    let k = x.len();
    let rows = parallel::rows_per_task(out.len(), k);
    parallel::run(out.chunks_mut(rows).zip(w.chunks(rows * k)), |(out, w)| {
        super::simd::wide(
            #[inline(always)]
            || {
                for (o, row) in out.iter_mut().zip(w.chunks_exact(k)) {
                    *o = super::simd::dot(x, row) + if beta == 0.0 { 0.0 } else { *o };
                }
            },
        );
    });
}

pub(in crate::compute) fn matmul_nn(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n, k, accumulate] = p.sizes();
    let rows = task_rows(m, n, k);
    parallel::run(out.chunks_mut(rows * n).zip(a.chunks(rows * k)), |(out, a)| {
        let r = out.len() / n;
        product(view(a, r, k, k, 1), view(b, k, n, n, 1), view_mut(out, r, n, n), accumulate as f32);
    });
    Ok(())
}

pub(in crate::compute) fn matmul_nt(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n, k, accumulate] = p.sizes();
    if m == 1 {
        vector_nt(a, b, out, accumulate as f32);
        return Ok(());
    }
    let rows = task_rows(m, n, k);
    parallel::run(out.chunks_mut(rows * n).zip(a.chunks(rows * k)), |(out, a)| {
        let r = out.len() / n;
        product(view(a, r, k, k, 1), view(b, k, n, 1, k), view_mut(out, r, n, n), accumulate as f32);
    });
    Ok(())
}

pub(in crate::compute) fn matmul_tn(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n, k, accumulate] = p.sizes();
    let rows = task_rows(m, n, k);
    parallel::run(out.chunks_mut(rows * n).enumerate(), |(i, out)| {
        let r = out.len() / n;
        product(view(&a[i * rows..], r, k, 1, m), view(b, k, n, n, 1), view_mut(out, r, n, n), accumulate as f32);
    });
    Ok(())
}

/// Partial products: piece s of out [S, M, N] is the product over inner indices s·span … (s+1)·span.
pub(in crate::compute) fn matmul_nn_split(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n, k, span] = p.sizes();
    parallel::run(out.chunks_mut(m * n).zip((0..k).step_by(span)), |(out, first)| {
        let count = span.min(k - first);
        product(view(&a[first..], m, count, k, 1), view(&b[first * n..], count, n, n, 1), view_mut(out, m, n, n), 0.0);
    });
    Ok(())
}

/// The same for Aᵀ·B.
pub(in crate::compute) fn matmul_tn_split(p: &Params, args: Args<'_>) -> Ran {
    let (&[a, b], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [m, n, k, span] = p.sizes();
    parallel::run(out.chunks_mut(m * n).zip((0..k).step_by(span)), |(out, first)| {
        let count = span.min(k - first);
        product(
            view(&a[first * m..], m, count, 1, m),
            view(&b[first * n..], count, n, n, 1),
            view_mut(out, m, n, n),
            0.0,
        );
    });
    Ok(())
}
