// Causal attention and its gradient for heads of exactly 4·D4 elements, where workgroup memory is
// ample: as attention.wgsl, begins and mask alike, but keys and values (or queries and dout) lie side
// by side, the next tile is fetched while this one is used, and a workgroup owns more rows.
//
// A workgroup of TY × 8 invocations owns OWN = TY · RO rows and streams ROWS = 8 · RS others. Invocation
// (ty, tx) has rows ty + TY·i of the owned, i < RO, and tx + 8·j of the streamed, j < RS, and of the
// results the vectors tx + 8·c, c < C4. Vector c of row r lies at c ^ (r % 8), so that neither eight
// rows nor eight vectors share banks; lanes are laid in squares of four, for which reads of 16 bytes
// are the cheapest. Rows past the end repeat the last one: a mask or the bound of writing drops them.

struct Params { b: u32, t: u32, hq: u32, hk: u32, d: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<${ACT}>>;
@group(0) @binding(2) var<storage, read> begins: array<u32>;
#ifdef FORWARD
@group(0) @binding(3) var<storage, read_write> out: array<vec4<${ACT}>>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
#ifdef HALF
// out before rounding.
@group(0) @binding(5) var<storage, read_write> exact: array<vec4<f32>>;
#endif
#else
@group(0) @binding(3) var<storage, read> dout: array<vec4<${ACT}>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<${ACT}>>;
#endif

const TY = ${TY}u;
const THREADS = TY * 8u;
const OWN = TY * ${RO}u;
const ROWS = 8u * ${RS}u;
const D4 = ${D4}u;
// About the lowest float: a score without weight.
const LEAST = -3.4e38;

#import begins

// Vector i of a tile of qkv that starts at `row`.
fn qkv_vector(sequence: u32, row: u32, column: u32, i: u32) -> vec4<f32> {
    let at = (sequence * p.t + min(row + i / D4, p.t - 1u)) * (p.hq + 2u * p.hk) * D4 + column + i % D4;
    return vec4<f32>(qkv[at]);
}

#ifndef FORWARD
fn dout_vector(sequence: u32, row: u32, column: u32, i: u32) -> vec4<f32> {
    return vec4<f32>(dout[(sequence * p.t + min(row + i / D4, p.t - 1u)) * p.hq * D4 + column + i % D4]);
}
#endif

// Position of vector i in a tile.
fn place(i: u32) -> u32 {
    return i ^ (i / D4 % 8u);
}

#ifdef FORWARD
#import attention_wide_forward
#endif
#ifdef BACKWARD_Q
#import attention_wide_backward_q
#endif
#ifdef BACKWARD_KV
#import attention_wide_backward_kv
#endif
