// The feed-forward branch of a row in one workgroup: x += (silu(gate) · up)·downᵀ of norm(x); the partner of
// attention_row.wgsl. Gates and ups are made 128 at a time, side by side.
#import row_product

struct Params { n: u32, c: u32, f: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gain: array<f32>;
@group(0) @binding(2) var<storage, read> w_gate_up: array<vec4<${ACT}>>;
@group(0) @binding(3) var<storage, read> w_down: array<vec4<${ACT}>>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

// F is at most 1024.
var<workgroup> gated: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = wg.x + wg.y * groups.x;
    if row >= p.n {
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

    for (var base = 0u; base < p.f; base += 128u) {
#for t in 0..8
        var s${t} = 0.0;
        let at${t} = (min(base + ${t}u % 4u * 32u + o, p.f - 1u) + ${t}u / 4u * p.f) * (p.c / 4u);
#endfor
        for (var q = l; q < p.c / 4u; q += 8u) {
            let v = input[q];
#for t in 0..8
            s${t} = more(s${t}, v, vec4<f32>(w_gate_up[at${t} + q]));
#endfor
        }
#for t in 0..8
        eighths[l * PITCH + ${t}u * 32u + o] = s${t};
#endfor
        workgroupBarrier();
        let column = base + lane;
        if lane < 128u && column < p.f {
            let gate = whole(lane);
            gated[column / 4u][column % 4u] = cut(gate / (1.0 + exp(-gate)) * whole(128u + lane));
        }
        workgroupBarrier();
    }

#for t in 0..8
    var s${t} = 0.0;
    let at${t} = min(${t}u * 32u + o, p.c - 1u) * (p.f / 4u);
#endfor
    for (var q = l; q < p.f / 4u; q += 8u) {
        let v = gated[q];
#for t in 0..8
        s${t} = more(s${t}, v, vec4<f32>(w_down[at${t} + q]));
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
