// RMSNorm: forward 64 invocations per row; backward a stripe of rows, whose part of dw is its row of the partials.
#import workgroup_sum
#import act

#ifdef FORWARD
struct Params { n: u32, c: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
#ifdef ADD
@group(0) @binding(2) var<storage, read> delta: array<${ACT}>;
@group(0) @binding(3) var<storage, read> w: array<f32>;
@group(0) @binding(4) var<storage, read_write> sum: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<${ACT}>;
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>;
#else
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<${ACT}>;
@group(0) @binding(4) var<storage, read_write> rstd: array<f32>;
#endif

// The normalised value: recomputed for the second use, which is cheaper than storing it.
fn element(i: u32) -> f32 {
#ifdef ADD
    return x[i] + f32(delta[i]);
#else
    return x[i];
#endif
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = wg.x + wg.y * groups.x;
    if row >= p.n {
        return;
    }
    let first = row * p.c;
    var part = 0.0;
    for (var i = lane; i < p.c; i += 64u) {
        let v = element(first + i);
        part = fma(v, v, part);
    }
    let r = 1.0 / sqrt(workgroup_sum(lane, part) / f32(p.c) + p.eps);
    for (var i = lane; i < p.c; i += 64u) {
        let v = element(first + i);
#ifdef ADD
        sum[first + i] = v;
#endif
        y[first + i] = ${ACT}(cut(v * r * w[i]));
    }
    if lane == 0u {
        rstd[row] = r;
    }
}
#else
struct Params { n: u32, c: u32, g: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<${ACT}>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<f32>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> partials: array<f32>;
#ifdef HALF
// dx in f16, for products.
@group(0) @binding(7) var<storage, read_write> narrow: array<f16>;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let stripe = wg.x * p.c;
    for (var row = wg.x; row < p.n; row += p.g) {
        let first = row * p.c;
        let r = rstd[row];
        var part = 0.0;
        for (var i = lane; i < p.c; i += 64u) {
            part = fma(f32(dy[first + i]) * w[i], x[first + i], part);
        }
        let pull = r * r * r * (workgroup_sum(lane, part) / f32(p.c));
        for (var i = lane; i < p.c; i += 64u) {
            let up = f32(dy[first + i]);
            let v = x[first + i];
            var d = up * w[i] * r - v * pull;
            if p.accumulate == 1u {
                d += dx[first + i];
            }
            dx[first + i] = d;
#ifdef HALF
            narrow[first + i] = f16(d);
#endif
            var share = up * v * r;
            if row != wg.x {
                share += partials[stripe + i];
            }
            partials[stripe + i] = share;
        }
    }
}
#endif
