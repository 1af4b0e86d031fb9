// Dropout by counter: the mask is a function of the clock, the stream and the index.
#import rng

struct Params { n: u32, stream: u32, p: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<${ACT}>;
@group(0) @binding(3) var<storage, read_write> out: array<${ACT}>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (wg.x + wg.y * groups.x) * 1024u + lane;
    let key = mix(mix(mix(mix(mix(clock[0]) ^ clock[1]) ^ clock[2]) ^ clock[3]) ^ p.stream);
    let limit = u32(p.p * 16777216.0);
    let keep = 1.0 / (1.0 - p.p);
#for j in 0..4
    {
        let i = first + ${j}u * 256u;
        if i < p.n {
            out[i] = ${ACT}(select(0.0, f32(x[i]) * keep, (mix(key ^ i) >> 8u) >= limit));
        }
    }
#endfor
}
