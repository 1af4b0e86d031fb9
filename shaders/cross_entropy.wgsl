// Cross-entropy and, in place, its weighted gradient: one workgroup per row, with an online softmax. VEC4 reads logits
// four at a time; rows are then whole vectors.

struct Params { r: u32, v: u32, gradient: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
// Not read without gradient, so anything may be bound.
@group(0) @binding(3) var<storage, read> weights: array<f32>;
// Word 8 is the loss scale; 0, as in a new block, means none. Not read without gradient.
@group(0) @binding(4) var<storage, read> control: array<f32>;
#ifdef VEC4
@group(0) @binding(5) var<storage, read_write> logits: array<vec4<${ACT}>>;
#else
@group(0) @binding(5) var<storage, read_write> logits: array<${ACT}>;
#endif
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;

// About the lowest float, as "nothing yet": e^(LEAST − LEAST) is 1.
const LEAST = -3.4e38;

var<workgroup> tops: array<f32, 256>;
var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = wg.x + wg.y * groups.x;
    if row >= p.r {
        return;
    }
#ifdef VEC4
    let width = p.v / 4u;
#else
    let width = p.v;
#endif
    let first = row * width;
    // Negative targets become large numbers here.
    let wanted = u32(targets[row]);
    if wanted >= p.v {
        if lane == 0u {
            losses[row] = 0.0;
        }
        if p.gradient == 1u {
            for (var i = lane; i < width; i += 256u) {
#ifdef VEC4
                logits[first + i] = vec4<${ACT}>();
#else
                logits[first + i] = ${ACT}(0.0);
#endif
            }
        }
        return;
    }
    var top = LEAST;
    var total = 0.0;
#ifdef VEC4
    for (var i = lane; i < width; i += 256u) {
        let x = vec4<f32>(logits[first + i]);
        let now = max(top, max(max(x.x, x.y), max(x.z, x.w)));
        let e = exp(x - now);
        total = total * exp(top - now) + (e.x + e.y + e.z + e.w);
        top = now;
    }
#else
    for (var i = lane; i < p.v; i += 256u) {
        let x = f32(logits[first + i]);
        if x > top {
            total = total * exp(top - x) + 1.0;
            top = x;
        } else {
            // Also if x is NaN, which must reach the loss.
            total += exp(x - top);
        }
    }
#endif
    tops[lane] = top;
    sums[lane] = total;
    workgroupBarrier();
#for j in 0..8
    {
        let half = 128u >> ${j}u;
        if lane < half {
            let other = tops[lane + half];
            let both = max(tops[lane], other);
            sums[lane] = sums[lane] * exp(tops[lane] - both) + sums[lane + half] * exp(other - both);
            tops[lane] = both;
        }
        workgroupBarrier();
    }
#endfor
    top = tops[0];
    total = sums[0];
    if lane == 0u {
#ifdef VEC4
        losses[row] = log(total) - (f32(logits[first + wanted / 4u][wanted % 4u]) - top);
#else
        losses[row] = log(total) - (f32(logits[first + wanted]) - top);
#endif
    }
    if p.gradient == 1u {
        // The target's logit is read above before any lane overwrites it.
        storageBarrier();
        workgroupBarrier();
        let scale = hyper[1] * weights[row] * select(control[8], 1.0, control[8] == 0.0);
        let factor = scale / total;
        for (var i = lane; i < width; i += 256u) {
#ifdef VEC4
            let share = exp(vec4<f32>(logits[first + i]) - top) * factor;
            let at = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
            logits[first + i] = vec4<${ACT}>(select(share, share - scale, at == vec4<u32>(wanted)));
#else
            let share = exp(f32(logits[first + i]) - top) * factor;
            logits[first + i] = ${ACT}(select(share, share - scale, i == wanted));
#endif
        }
    }
}
