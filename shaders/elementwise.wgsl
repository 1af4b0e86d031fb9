// fill, add, scale, narrow: four elements per invocation, one workgroup apart, so that adjacent lanes read adjacent
// memory.

struct Params {
    n: u32,
#ifdef FILL
    value: f32,
#endif
#ifdef SCALE
    factor: f32,
#endif
#ifdef NARROW
    scaled: u32,
#endif
}
@group(0) @binding(0) var<uniform> p: Params;
#ifdef ADD
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#else
#ifdef NARROW
#import act
@group(0) @binding(1) var<storage, read> x: array<f32>;
// Word 8 is the loss scale; 0 means none.
@group(0) @binding(2) var<storage, read> control: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f16>;
#else
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
#endif
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
        if i < p.n {
#ifdef FILL
            out[i] = p.value;
#endif
#ifdef SCALE
            out[i] = out[i] * p.factor;
#endif
#ifdef ADD
            out[i] = a[i] + b[i];
#endif
#ifdef NARROW
            if p.scaled == 1u {
                out[i] = f16(x[i] * select(control[8], 1.0, control[8] == 0.0));
            } else {
                out[i] = f16(cut(x[i]));
            }
#endif
        }
    }
#endfor
}
