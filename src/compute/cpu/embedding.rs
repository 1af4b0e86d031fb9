//! Twins of the embedding kernels.

use super::{
    args::{Args, Arity, Params, Ran},
    parallel, simd,
};

pub(in crate::compute) fn embedding_forward(p: &Params, args: Args<'_>) -> Ran {
    let (&[ids, table], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [_, c, v] = p.sizes();
    let ids: &[u32] = bytemuck::cast_slice(ids);
    for (row, id) in out.chunks_exact_mut(c).zip(ids) {
        let id = (*id as usize).min(v - 1);
        row.copy_from_slice(&table[id * c..(id + 1) * c]);
    }
    Ok(())
}

pub(in crate::compute) fn embedding_backward(p: &Params, args: Args<'_>) -> Ran {
    let (&[order, starts, dout], [dtable]) = (args.read, args.write) else { return Err(Arity) };
    let [v, c] = p.sizes();
    let (order, starts): (&[u32], &[u32]) = (bytemuck::cast_slice(order), bytemuck::cast_slice(starts));
    let rows = parallel::rows_per_task(v, c);
    parallel::run(dtable.chunks_mut(rows * c).enumerate(), |(i, part)| {
        simd::wide(
            #[inline(always)]
            || {
                for (j, out) in part.chunks_exact_mut(c).enumerate() {
                    let id = i * rows + j;
                    for at in &order[starts[id] as usize..starts[id + 1] as usize] {
                        let at = *at as usize;
                        simd::axpy(1.0, &dout[at * c..(at + 1) * c], out);
                    }
                }
            },
        );
    });
    Ok(())
}
