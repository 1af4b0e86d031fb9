// Attention over a key/value cache, and the filling of it.

#ifdef APPEND
struct Params { b: u32, n: u32, p: u32, hq: u32, hk: u32, d: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<${ACT}>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read_write> cache: array<${ACT}>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (wg.x + wg.y * groups.x) * 256u + lane;
    let width = 2u * p.hk * p.d;
    let row = i / width;
    if row >= p.b * p.n {
        return;
    }
    let position = positions[row];
    if position < p.p {
        let column = i - row * width;
        let at = (row / p.n * p.p + position) * width + column;
        cache[at] = qkv[row * (p.hq * p.d + width) + p.hq * p.d + column];
    }
}
#else
struct Params { b: u32, n: u32, p: u32, hq: u32, hk: u32, d: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<${ACT}>;
@group(0) @binding(2) var<storage, read> cache: array<${ACT}>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<${ACT}>;

// 64 keys at a time, an invocation a key; then an invocation owns columns lane, lane + 64, … of the
// output, with an online softmax. Head sizes up to 256.
var<workgroup> query: array<f32, 256>;
var<workgroup> scores: array<f32, 64>;
var<workgroup> weights: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = wg.x;
    let head = wg.y;
    let width = 2u * p.hk * p.d;
    let key_column = head / (p.hq / p.hk) * p.d;
    let value_column = p.hk * p.d + key_column;
    let first = row / p.n * p.p;
    let seen = min(positions[row] + 1u, p.p);
    for (var i = lane; i < p.d; i += 64u) {
        query[i] = f32(qkv[row * (p.hq * p.d + width) + head * p.d + i]);
    }
#for j in 0..4
    var acc${j} = 0.0;
#endfor
    var top = -3.4e38;
    var total = 0.0;
    workgroupBarrier();
    for (var start = 0u; start < seen; start += 64u) {
        let count = min(64u, seen - start);
        if lane < count {
            let at = (first + start + lane) * width + key_column;
            var score = 0.0;
            for (var i = 0u; i < p.d; i += 1u) {
                score = fma(query[i], f32(cache[at + i]), score);
            }
            scores[lane] = score * p.scale;
        }
        workgroupBarrier();
        var best = top;
        for (var j = 0u; j < count; j += 1u) {
            best = max(best, scores[j]);
        }
        if lane < count {
            weights[lane] = exp(scores[lane] - best);
        }
        workgroupBarrier();
        let keep = exp(top - best);
        top = best;
        total *= keep;
#for j in 0..4
        acc${j} *= keep;
#endfor
        for (var j = 0u; j < count; j += 1u) {
            let weight = weights[j];
            let at = (first + start + j) * width + value_column + lane;
            total += weight;
#for j in 0..4
            if lane + ${j}u * 64u < p.d {
                acc${j} = fma(weight, f32(cache[at + ${j}u * 64u]), acc${j});
            }
#endfor
        }
    }
    let at = (row * p.hq + head) * p.d + lane;
#for j in 0..4
    if lane + ${j}u * 64u < p.d {
        out[at + ${j}u * 64u] = ${ACT}(acc${j} / total);
    }
#endfor
}
#endif
