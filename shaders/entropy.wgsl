// The entropy of the softmax of each row: one workgroup per row, in three passes over it.
#import workgroup_sum

struct Params { r: u32, v: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read> logits: array<${ACT}>;
@group(0) @binding(3) var<storage, read_write> entropies: array<f32>;

var<workgroup> tops: array<f32, 256>;

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
    // Negative targets become large numbers here.
    if u32(targets[row]) >= p.v {
        if lane == 0u {
            entropies[row] = 0.0;
        }
        return;
    }
    let first = row * p.v;
    var top = -3.4e38;
    for (var i = lane; i < p.v; i += 256u) {
        top = max(top, f32(logits[first + i]));
    }
    tops[lane] = top;
    workgroupBarrier();
#for j in 0..8
    {
        let half = 128u >> ${j}u;
        if lane < half {
            tops[lane] = max(tops[lane], tops[lane + half]);
        }
        workgroupBarrier();
    }
#endfor
    top = tops[0];
    var share = 0.0;
    var moment = 0.0;
    for (var i = lane; i < p.v; i += 256u) {
        let x = f32(logits[first + i]) - top;
        let e = exp(x);
        share += e;
        moment += e * x;
    }
    let total = workgroup_sum(lane, share);
    let mean = workgroup_sum(lane, moment) / total;
    if lane == 0u {
        entropies[row] = log(total) - mean;
    }
}
