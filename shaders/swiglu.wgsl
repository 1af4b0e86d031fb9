// SwiGLU and its gradient, four elements per invocation.

#import act

struct Params { n: u32, f: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<${ACT}>;
#ifdef FORWARD
@group(0) @binding(2) var<storage, read_write> act: array<${ACT}>;
#else
@group(0) @binding(2) var<storage, read> dact: array<${ACT}>;
@group(0) @binding(3) var<storage, read_write> dgate_up: array<${ACT}>;
#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (wg.x + wg.y * groups.x) * 1024u + lane;
#for j in 0..4
    {
        let i = first + ${j}u * 256u;
        if i < p.n * p.f {
            let at = i + i / p.f * p.f;
            let g = f32(gate_up[at]);
            let up = f32(gate_up[at + p.f]);
            let s = 1.0 / (1.0 + exp(-g));
#ifdef FORWARD
            act[i] = ${ACT}(cut(g * s * up));
#else
            let d = f32(dact[i]);
            dgate_up[at] = ${ACT}(d * up * s * (g * (1.0 - s) + 1.0));
            dgate_up[at + p.f] = ${ACT}(d * g * s);
#endif
        }
    }
#endfor
}
