//! Twins of attention over a key/value cache.

use super::{
    args::{Args, Arity, Params, Ran},
    parallel, simd,
};

pub(in crate::compute) fn cache_append(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, positions], [cache]) = (args.read, args.write) else { return Err(Arity) };
    let [_, n, known, hq, hk, d] = p.sizes();
    let positions: &[u32] = bytemuck::cast_slice(positions);
    let (stride, width) = ((hq + 2 * hk) * d, 2 * hk * d);
    for (i, (row, position)) in qkv.chunks_exact(stride).zip(positions).enumerate() {
        let position = *position as usize;
        if position < known {
            let at = (i / n * known + position) * width;
            cache[at..at + width].copy_from_slice(&row[hq * d..]);
        }
    }
    Ok(())
}

pub(in crate::compute) fn attention_decode(p: &Params, args: Args<'_>) -> Ran {
    let (&[qkv, cache, positions], [out]) = (args.read, args.write) else { return Err(Arity) };
    let [_, n, known, hq, hk, d] = p.sizes();
    let scale = p.f32(6);
    let positions: &[u32] = bytemuck::cast_slice(positions);
    let (stride, width) = ((hq + 2 * hk) * d, 2 * hk * d);
    let furthest = positions.iter().max().map_or(0, |p| *p as usize + 1);
    let rows = parallel::rows_per_task(positions.len(), 2 * hq * d * furthest.min(known));
    parallel::run(out.chunks_mut(rows * hq * d).enumerate(), |(c, out)| {
        let mut scores = vec![0.0; known];
        simd::wide(
            #[inline(always)]
            || {
                for (j, out) in out.chunks_exact_mut(hq * d).enumerate() {
                    let row = c * rows + j;
                    let seen = (positions[row] as usize + 1).min(known);
                    let entries = &cache[row / n * known * width..][..seen * width];
                    for (h, out) in out.chunks_exact_mut(d).enumerate() {
                        let q = &qkv[row * stride + h * d..][..d];
                        let key = h / (hq / hk) * d;
                        let scores = &mut scores[..seen];
                        for (s, entry) in scores.iter_mut().zip(entries.chunks_exact(width)) {
                            *s = simd::dot(q, &entry[key..key + d]);
                        }
                        let top = simd::max(scores) * scale;
                        let total = simd::exp_sum(scores, scale, top);
                        out.fill(0.0);
                        for (s, entry) in scores.iter().zip(entries.chunks_exact(width)) {
                            simd::axpy(*s / total, &entry[(hk * d) + key..][..d], out);
                        }
                    }
                }
            },
        );
    });
    Ok(())
}
