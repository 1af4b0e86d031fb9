// Causal attention and its gradient on cooperative matrices, for heads of exactly D elements in f16: begins and mask as
// in attention_wide.wgsl; scores, softmax and all sums in f32.
//
// A workgroup of four subgroups owns 64 rows, 16 per subgroup, and streams BC others, fetched one tile ahead. A head is
// GROUPS · PER fragments of 16 elements: PER fragments fit the patch of a subgroup, into which accumulators are stored
// for the lanes; two lanes share a row and take its vectors alternately. Rows of tiles and patches are padded by two
// vectors, which keeps the rows of a fragment on different banks.
//
// The size of every workgroup variable is a multiple of 16 bytes: after a variable of another size a matrix would be
// loaded from a wrong place. Rows past the end repeat the last one: a mask or the bound of writing drops them.

struct Params { b: u32, t: u32, hq: u32, hk: u32, d: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> begins: array<u32>;
#ifdef FORWARD
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
// out before rounding.
@group(0) @binding(5) var<storage, read_write> exact: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read> dout: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f16>>;
#endif

const D4 = ${D4}u;
// Vectors in a row of a tile, and of a patch.
const LD = D4 + 2u;
const LS = ${BC}u / 4u + 2u;
const LOG2E = 1.4426950408889634;

#import begins

// Vector i of a tile of qkv that starts at `row`.
fn qkv_vector(sequence: u32, row: u32, column: u32, i: u32) -> vec4<f16> {
    return qkv[(sequence * p.t + min(row + i / D4, p.t - 1u)) * (p.hq + 2u * p.hk) * D4 + column + i % D4];
}

#ifndef FORWARD
fn dout_vector(sequence: u32, row: u32, column: u32, i: u32) -> vec4<f16> {
    return dout[(sequence * p.t + min(row + i / D4, p.t - 1u)) * p.hq * D4 + column + i % D4];
}
#endif

// Position of vector i in a tile.
fn place(i: u32) -> u32 {
    return i / D4 * LD + i % D4;
}

#ifdef FORWARD
#import attention_coop_forward
#endif
#ifdef BACKWARD_Q
#import attention_coop_backward_q
#endif
#ifdef BACKWARD_KV
#import attention_coop_backward_kv
#endif
