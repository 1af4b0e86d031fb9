// Cross-entropy and, in place, its weighted gradient: a workgroup a row, with an online softmax.

struct Params { r: u32, v: u32, gradient: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
// Without gradient anything may be bound here: it is not read.
@group(0) @binding(3) var<storage, read> weights: array<f32>;
// Word 8 is the loss scale; 0, as in a fresh block, is none. Without gradient as above.
@group(0) @binding(4) var<storage, read> control: array<f32>;
@group(0) @binding(5) var<storage, read_write> logits: array<${ACT}>;
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;

// About the least float: it stands for "nothing yet", and e^(it − it) is still 1.
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
    let first = row * p.v;
    // Negative targets are large ones here.
    let wanted = u32(targets[row]);
    if wanted >= p.v {
        if lane == 0u {
            losses[row] = 0.0;
        }
        if p.gradient == 1u {
            for (var i = lane; i < p.v; i += 256u) {
                logits[first + i] = ${ACT}(0.0);
            }
        }
        return;
    }
    var top = LEAST;
    var total = 0.0;
    for (var i = lane; i < p.v; i += 256u) {
        let x = f32(logits[first + i]);
        if x > top {
            total = total * exp(top - x) + 1.0;
            top = x;
        } else {
            // Also where x is not a number, which must reach the loss.
            total += exp(x - top);
        }
    }
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
        losses[row] = log(total) - (f32(logits[first + wanted]) - top);
    }
    if p.gradient == 1u {
        // The target's logit is read above before any lane overwrites it.
        storageBarrier();
        workgroupBarrier();
        let scale = hyper[1] * weights[row] * select(control[8], 1.0, control[8] == 0.0);
        let factor = scale / total;
        for (var i = lane; i < p.v; i += 256u) {
            let share = exp(f32(logits[first + i]) - top) * factor;
            logits[first + i] = ${ACT}(select(share, share - scale, i == wanted));
        }
    }
}
