// delta[b, h, t] = Σ_d dout · out: eight invocations per row and head, so that adjacent lanes read adjacent memory.

struct Params { b: u32, t: u32, hq: u32, d: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dout: array<${ACT}>;
@group(0) @binding(2) var<storage, read> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // i counts (row, head) in the order of dout.
    let i = (wg.x + wg.y * groups.x) * 32u + lane / 8u;
    let inside = i < p.b * p.t * p.hq;
    var part = 0.0;
    if inside {
        for (var c = lane % 8u; c < p.d; c += 8u) {
            part = fma(f32(dout[i * p.d + c]), out[i * p.d + c], part);
        }
    }
    parts[lane] = part;
    workgroupBarrier();
    if inside && lane % 8u == 0u {
        var total = 0.0;
#for j in 0..8
        total += parts[lane + ${j}u];
#endfor
        let row = i / p.hq;
        let head = i - row * p.hq;
        let sequence = row / p.t;
        delta[(sequence * p.hq + head) * p.t + (row - sequence * p.t)] = total;
    }
}
