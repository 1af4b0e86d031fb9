// Attention of one new row a sequence over its cache: the rotation of its query and key (`rope`), the filling of the
// cache (`cache_append`) and the attention (`attention_decode`) in one. A workgroup makes one head of one row.
//
// 128 keys at a time, an invocation a key; then the invocations form groups, one for each vector of the head, and
// a group sums up every nth value. Head sizes are multiples of 8, up to 256.

#import act

struct Params { b: u32, p: u32, hq: u32, hk: u32, d: u32, positions: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<${ACT}>>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> cache: array<vec4<${ACT}>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<${ACT}>>;

const KEYS = 128u;

// The query and the key of the new row, rotated and rounded as if read from memory.
var<workgroup> query: array<vec4<f32>, 64>;
var<workgroup> fresh: array<vec4<f32>, 64>;
var<workgroup> scores: array<vec4<f32>, 32>;
var<workgroup> weights: array<f32, 128>;
var<workgroup> parts: array<vec4<f32>, 128>;
var<workgroup> totals: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = wg.x;
    let head = wg.y;
    let quads = p.d / 4u;
    let half = quads / 2u;
    let key_head = head / (p.hq / p.hk);
    let key_at = (row * (p.hq + 2u * p.hk) + p.hq + key_head) * quads;
    let value_at = key_at + p.hk * quads;
    let width = 2u * p.hk * quads;
    let position = positions[row];
    let seen = min(position + 1u, p.p);
    let cached = row * p.p * width + key_head * quads;
    let pair = lane % 32u;
    if lane < 64u && pair < half {
        let at = select(key_at, (row * (p.hq + 2u * p.hk) + head) * quads, lane < 32u) + pair;
        let entry = min(position, p.positions - 1u) * quads + pair;
        let c = table[entry];
        let s = table[entry + half];
        let x = vec4<f32>(qkv[at]);
        let y = vec4<f32>(qkv[at + half]);
        let first = vec4<f32>(vec4<${ACT}>(cut4(x * c - y * s)));
        let second = vec4<f32>(vec4<${ACT}>(cut4(y * c + x * s)));
        if lane < 32u {
            query[pair] = first;
            query[pair + half] = second;
        } else {
            fresh[pair] = first;
            fresh[pair + half] = second;
        }
    }
    workgroupBarrier();
    // Only one of the heads that share keys writes them to the cache; they are not read there before the next call.
    if head % (p.hq / p.hk) == 0u && position < p.p && lane < quads {
        let at = cached + position * width + lane;
        cache[at] = vec4<${ACT}>(fresh[lane]);
        cache[at + p.hk * quads] = qkv[value_at + lane];
    }
    let groups = KEYS / quads;
    let group = lane / quads;
    let column = lane % quads;
    var top = -3.4e38;
    var total = 0.0;
    var acc = vec4<f32>(0.0);
    for (var start = 0u; start < seen; start += KEYS) {
        let key = start + lane;
        var score = -3.4e38;
        if key < seen {
            var sum = vec4<f32>(0.0);
            if key == position {
                for (var i = 0u; i < quads; i += 1u) {
                    sum = fma(query[i], fresh[i], sum);
                }
            } else {
                for (var i = 0u; i < quads; i += 1u) {
                    sum = fma(query[i], vec4<f32>(cache[cached + key * width + i]), sum);
                }
            }
            score = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
        }
        scores[lane / 4u][lane % 4u] = score;
        workgroupBarrier();
        var most = vec4<f32>(top);
        for (var j = 0u; j < 32u; j += 1u) {
            most = max(most, scores[j]);
        }
        let best = max(max(most.x, most.y), max(most.z, most.w));
        weights[lane] = exp(score - best);
        workgroupBarrier();
        let keep = exp(top - best);
        top = best;
        total *= keep;
        acc *= keep;
        if group < groups {
            for (var j = group; j < min(KEYS, seen - start); j += groups) {
                let weight = weights[j];
                var value = vec4<f32>();
                if start + j == position {
                    value = vec4<f32>(qkv[value_at + column]);
                } else {
                    value = vec4<f32>(cache[cached + (start + j) * width + p.hk * quads + column]);
                }
                acc = fma(vec4<f32>(weight), value, acc);
                total += weight;
            }
        }
    }
    parts[lane] = acc;
    if column == 0u && group < groups {
        totals[group] = total;
    }
    workgroupBarrier();
    if lane < quads {
        var sum = vec4<f32>(0.0);
        var all = 0.0;
        for (var g = 0u; g < groups; g += 1u) {
            sum += parts[g * quads + lane];
            all += totals[g];
        }
        out[(row * p.hq + head) * quads + lane] = vec4<${ACT}>(sum / all);
    }
}
