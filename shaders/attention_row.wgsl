// The attention branch of one new row a sequence in one workgroup: x += attention(norm(x)) over its cache, with all
// products. For small models, whose weights a multiprocessor streams in less time than several calls take to start.
//
// Eight invocations make a sum, side by side along K, 256 sums at a time. In attention every head gets an equal share of
// the invocations: first each takes a key, then they form groups, one for each vector of the head.
#import row_product

struct Params { b: u32, p: u32, hq: u32, hk: u32, d: u32, positions: u32, c: u32, scale: f32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gain: array<f32>;
@group(0) @binding(2) var<storage, read> w_qkv: array<vec4<${ACT}>>;
@group(0) @binding(3) var<storage, read> w_o: array<vec4<${ACT}>>;
@group(0) @binding(4) var<storage, read> positions: array<u32>;
@group(0) @binding(5) var<storage, read> table: array<f32>;
@group(0) @binding(6) var<storage, read_write> cache: array<vec4<${ACT}>>;
@group(0) @binding(7) var<storage, read_write> x: array<f32>;

var<workgroup> qkv: array<vec4<f32>, 192>;
var<workgroup> scores: array<f32, 256>;
var<workgroup> weights: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = wg.x + wg.y * groups.x;
    if row >= p.b {
        return;
    }
    let l = lane % 8u;
    let o = lane / 8u;
    var before = 0.0;
    var weight = 0.0;
    if lane < p.c {
        before = x[row * p.c + lane];
        weight = gain[lane];
    }
    norm(lane, p.c, p.eps, before, weight);

    let columns = (p.hq + 2u * p.hk) * p.d;
    for (var base = 0u; base < columns; base += 256u) {
#for t in 0..8
        var s${t} = 0.0;
        let at${t} = min(base + ${t}u * 32u + o, columns - 1u) * (p.c / 4u);
#endfor
        for (var q = l; q < p.c / 4u; q += 8u) {
            let v = input[q];
#for t in 0..8
            s${t} = more(s${t}, v, vec4<f32>(w_qkv[at${t} + q]));
#endfor
        }
#for t in 0..8
        eighths[l * PITCH + ${t}u * 32u + o] = s${t};
#endfor
        workgroupBarrier();
        let column = base + lane;
        if column < columns {
            qkv[column / 4u][column % 4u] = cut(whole(lane));
        }
        workgroupBarrier();
    }

    let position = positions[row];
    let seen = min(position + 1u, p.p);
    let half = p.d / 2u;
    let entry = min(position, p.positions - 1u) * p.d;
    for (var i = lane; i < (p.hq + p.hk) * half; i += 256u) {
        let first = i / half * p.d + i % half;
        let second = first + half;
        let c = table[entry + i % half];
        let s = table[entry + half + i % half];
        let a = qkv[first / 4u][first % 4u];
        let b = qkv[second / 4u][second % 4u];
        qkv[first / 4u][first % 4u] = a * c - b * s;
        qkv[second / 4u][second % 4u] = b * c + a * s;
    }
    workgroupBarrier();
    let quads = p.d / 4u;
    let width = 2u * p.hk * quads;
    let cached = row * p.p * width;
    if position < p.p {
        for (var i = lane; i < width; i += 256u) {
            cache[cached + position * width + i] = vec4<${ACT}>(cut4(qkv[p.hq * quads + i]));
        }
    }

    let each = 256u / p.hq;
    let head = min(lane / each, p.hq - 1u);
    let k = lane - head * each;
    let key_at = head / (p.hq / p.hk) * quads;
    let value_at = key_at + p.hk * quads;
    let teams = each / quads;
    let team = k / quads;
    let column = k % quads;
    var top = -3.4e38;
    var total = 0.0;
    var acc = vec4<f32>(0.0);
    for (var start = 0u; start < seen; start += each) {
        let key = start + k;
        var score = -3.4e38;
        if k < each && key < seen {
            var sum = vec4<f32>(0.0);
            if key == position {
                for (var i = 0u; i < quads; i += 1u) {
                    sum = fma(qkv[head * quads + i], qkv[p.hq * quads + key_at + i], sum);
                }
            } else {
                for (var i = 0u; i < quads; i += 1u) {
                    sum = fma(qkv[head * quads + i], vec4<f32>(cache[cached + key * width + key_at + i]), sum);
                }
            }
            score = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
        }
        scores[lane] = score;
        workgroupBarrier();
        let count = min(each, seen - start);
        var best = top;
        for (var j = 0u; j < count; j += 1u) {
            best = max(best, scores[head * each + j]);
        }
        weights[lane] = exp(score - best);
        workgroupBarrier();
        let keep = exp(top - best);
        top = best;
        total *= keep;
        acc *= keep;
        if team < teams {
            for (var j = team; j < count; j += teams) {
                let share = weights[head * each + j];
                var value = vec4<f32>();
                if start + j == position {
                    value = qkv[p.hq * quads + value_at + column];
                } else {
                    value = vec4<f32>(cache[cached + (start + j) * width + value_at + column]);
                }
                acc = fma(vec4<f32>(share), value, acc);
                total += share;
            }
        }
    }
    workgroupBarrier();
    for (var e = 0u; e < 4u; e += 1u) {
        eighths[lane * 4u + e] = acc[e];
    }
    scores[lane] = total;
    workgroupBarrier();
    if k < quads {
        var sum = vec4<f32>(0.0);
        var all = 0.0;
        for (var g = 0u; g < teams; g += 1u) {
            let at = lane + g * quads;
            sum += vec4<f32>(eighths[at * 4u], eighths[at * 4u + 1u], eighths[at * 4u + 2u], eighths[at * 4u + 3u]);
            all += scores[at];
        }
        input[head * quads + k] = sum / all;
    }
    workgroupBarrier();

#for t in 0..8
    var s${t} = 0.0;
    let at${t} = min(${t}u * 32u + o, p.c - 1u) * (p.hq * quads);
#endfor
    for (var q = l; q < p.hq * quads; q += 8u) {
        let v = input[q];
#for t in 0..8
        s${t} = more(s${t}, v, vec4<f32>(w_o[at${t} + q]));
#endfor
    }
#for t in 0..8
    eighths[l * PITCH + ${t}u * 32u + o] = s${t};
#endfor
    workgroupBarrier();
    if lane < p.c {
        x[row * p.c + lane] = before + whole(lane);
    }
}
