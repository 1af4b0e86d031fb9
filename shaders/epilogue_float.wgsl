// The epilogue of a product with an f32 result: a weight gradient, or a partial product.

@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

fn finish(piece: u32, row: u32, col: u32, v: vec4<f32>) {
    let at = ((piece * p.m + row) * p.n + col) / 4u;
#ifdef SPLIT
    out[at] = v;
#else
    if p.accumulate == 1u {
        out[at] += v;
    } else {
        out[at] = v;
    }
#endif
}
