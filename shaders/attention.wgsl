// Causal attention in tiles and its gradient, as in FlashAttention (Dao et al. 2022) but without
// atomics: one backward kernel owns a tile of queries, the other a tile of keys.
//
// A workgroup of SIDE × SIDE invocations owns TILE = SIDE · R rows and streams the other rows through
// one buffer of workgroup memory. Invocation (ty, tx) has rows ty + SIDE·i of the owned tile and
// rows tx + SIDE·j of the streamed one, i, j < R, and of the results the vectors tx + SIDE·c, c < C4.
// D4 is the head size in vectors, filled up with zeros. VEC4 reads storage by vectors: the head size
// is then a multiple of 4.
//
// Row i sees the keys begins[i] ..= i of its sequence. Begins do not fall, so tiles of keys before the
// begin of the first owned row are left out, and tiles of queries that begin after the owned keys. The
// mask is one comparison of unsigned numbers: key - begin <= query - begin, since a key before the
// begin wraps to a large number.

struct Params { b: u32, t: u32, hq: u32, hk: u32, d: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> qkv: array<vec4<${ACT}>>;
#else
@group(0) @binding(1) var<storage, read> qkv: array<${ACT}>;
#endif
@group(0) @binding(2) var<storage, read> begins: array<u32>;
#ifdef FORWARD
#ifdef VEC4
@group(0) @binding(3) var<storage, read_write> out: array<vec4<${ACT}>>;
#else
@group(0) @binding(3) var<storage, read_write> out: array<${ACT}>;
#endif
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
#ifdef HALF
// out before rounding.
#ifdef VEC4
@group(0) @binding(5) var<storage, read_write> exact: array<vec4<f32>>;
#else
@group(0) @binding(5) var<storage, read_write> exact: array<f32>;
#endif
#endif
#else
#ifdef VEC4
@group(0) @binding(3) var<storage, read> dout: array<vec4<${ACT}>>;
#else
@group(0) @binding(3) var<storage, read> dout: array<${ACT}>;
#endif
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
#ifdef VEC4
@group(0) @binding(6) var<storage, read_write> out: array<vec4<${ACT}>>;
#else
@group(0) @binding(6) var<storage, read_write> out: array<${ACT}>;
#endif
#endif

const SIDE = ${SIDE}u;
const TILE = SIDE * ${R}u;
const D4 = ${D4}u;
// Vectors of a staged row, one more than needed, so that rows start on different banks.
const LD = D4 + 1u;
// The same for a row of probabilities, which is SIDE vectors of R elements used.
const LP = SIDE + 1u;
// About the lowest float: a score without weight.
const LEAST = -3.4e38;

var<workgroup> own: array<vec4<f32>, TILE * LD>;
var<workgroup> other: array<vec4<f32>, TILE * LD>;
var<workgroup> weights: array<vec4<f32>, TILE * LP>;
#ifdef FORWARD
var<workgroup> rows: array<f32, TILE * SIDE>;
#else
var<workgroup> second: array<vec4<f32>, TILE * LD>;
#endif

#import begins

// Vector c of the head at `column` in `row` of sequence `sequence` of qkv; zero outside.
fn qkv_vector(sequence: u32, row: u32, column: u32, c: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    if row < p.t {
        let at = (sequence * p.t + row) * (p.hq + 2u * p.hk) * p.d + column + c * 4u;
#ifdef VEC4
        if c * 4u < p.d {
            v = vec4<f32>(qkv[at / 4u]);
        }
#else
#for j in 0..4
        if c * 4u + ${j}u < p.d {
            v[${j}] = f32(qkv[at + ${j}u]);
        }
#endfor
#endif
    }
    return v;
}

#ifndef FORWARD
fn dout_vector(sequence: u32, row: u32, column: u32, c: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    if row < p.t {
        let at = (sequence * p.t + row) * p.hq * p.d + column + c * 4u;
#ifdef VEC4
        if c * 4u < p.d {
            v = vec4<f32>(dout[at / 4u]);
        }
#else
#for j in 0..4
        if c * 4u + ${j}u < p.d {
            v[${j}] = f32(dout[at + ${j}u]);
        }
#endfor
#endif
    }
    return v;
}
#endif

// Writes vector c of the head at `column` of a row of `width` columns.
fn write(sequence: u32, row: u32, width: u32, column: u32, c: u32, v: vec4<f32>) {
    if row < p.t {
        let at = (sequence * p.t + row) * width + column + c * 4u;
#ifdef VEC4
        if c * 4u < p.d {
            out[at / 4u] = vec4<${ACT}>(v);
#ifdef FORWARD
#ifdef HALF
            exact[at / 4u] = v;
#endif
#endif
        }
#else
#for j in 0..4
        if c * 4u + ${j}u < p.d {
            out[at + ${j}u] = ${ACT}(v[${j}]);
#ifdef FORWARD
#ifdef HALF
            exact[at + ${j}u] = v[${j}];
#endif
#endif
        }
#endfor
#endif
    }
}

// Tiles start at `row`; a tile is R · D4 / SIDE vectors an invocation.
fn stage_own(lane: u32, sequence: u32, row: u32, column: u32) {
#for u in 0..${LOADS}
    {
        let i = lane + ${u}u * SIDE * SIDE;
        own[i / D4 * LD + i % D4] = qkv_vector(sequence, row + i / D4, column, i % D4);
    }
#endfor
}

fn stage_other(lane: u32, sequence: u32, row: u32, column: u32) {
#for u in 0..${LOADS}
    {
        let i = lane + ${u}u * SIDE * SIDE;
        other[i / D4 * LD + i % D4] = qkv_vector(sequence, row + i / D4, column, i % D4);
    }
#endfor
}

#ifdef BACKWARD_Q
fn stage_second(lane: u32, sequence: u32, row: u32, column: u32) {
#for u in 0..${LOADS}
    {
        let i = lane + ${u}u * SIDE * SIDE;
        second[i / D4 * LD + i % D4] = dout_vector(sequence, row + i / D4, column, i % D4);
    }
#endfor
}
#endif

#ifdef BACKWARD_KV
fn stage_second(lane: u32, sequence: u32, row: u32, column: u32) {
#for u in 0..${LOADS}
    {
        let i = lane + ${u}u * SIDE * SIDE;
        second[i / D4 * LD + i % D4] = qkv_vector(sequence, row + i / D4, column, i % D4);
    }
#endfor
}

fn stage_dout(lane: u32, sequence: u32, row: u32, column: u32) {
#for u in 0..${LOADS}
    {
        let i = lane + ${u}u * SIDE * SIDE;
        other[i / D4 * LD + i % D4] = dout_vector(sequence, row + i / D4, column, i % D4);
    }
#endfor
}
#endif

#ifdef FORWARD
#import attention_forward
#endif
#ifdef BACKWARD_Q
#import attention_backward_q
#endif
#ifdef BACKWARD_KV
#import attention_backward_kv
#endif
