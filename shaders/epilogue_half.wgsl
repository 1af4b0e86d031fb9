// The epilogue of a product with an f16 result: a forward product is clamped to f16's range, a gradient overflows to
// infinity, which the update must see.

#import act

@group(0) @binding(3) var<storage, read_write> out: array<vec4<f16>>;

fn finish(piece: u32, row: u32, col: u32, v: vec4<f32>) {
    let at = (row * p.n + col) / 4u;
    var sum = v;
    if p.accumulate == 1u {
        sum += vec4<f32>(out[at]);
    }
#ifdef NT
    out[at] = vec4<f16>(cut4(sum));
#else
    out[at] = vec4<f16>(sum);
#endif
}
