// AdamW: the step's control block, then the update, which skips itself where the block says so.

#ifdef PREPARE
#import workgroup_sum

struct Params { g: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> loss: array<f32>;
@group(0) @binding(3) var<storage, read> hyper: array<f32>;
@group(0) @binding(4) var<storage, read_write> control: array<f32>;

// By bits: a compiler may assume that floats are finite.
fn finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var part = 0.0;
    for (var i = lane; i < p.g; i += 256u) {
        part += partials[i];
    }
    let sum = workgroup_sum(lane, part);
    if lane != 0u {
        return;
    }
    // The scale of these gradients; 0 means none.
    let scale = select(control[8], 1.0, control[8] == 0.0);
    let norm = sqrt(sum) / scale;
    let mean = loss[0] * hyper[1];
    let clip = hyper[6];
    control[0] = norm;
    control[1] = select(1.0, min(clip / (norm + 1e-6), 1.0), clip > 0.0) / scale;
    control[6] = mean;
    control[11] = control[8];
    if finite(norm) && finite(mean) {
        control[2] = 1.0;
        // A new block is all zeros: the powers of β start at 1.
        let fresh = control[3] == 0.0;
        control[3] += 1.0;
        control[4] = select(control[4], 1.0, fresh) * hyper[3];
        control[5] = select(control[5], 1.0, fresh) * hyper[4];
        if control[8] > 0.0 {
            control[9] += 1.0;
            if control[9] >= ${GROWTH}.0 {
                control[8] = min(2.0 * scale, ${MOST}.0);
                control[9] = 0.0;
            }
        }
    } else {
        control[2] = 0.0;
        if finite(mean) && control[8] > 1.0 {
            // Gradients overflowed f16: the next step uses half the scale.
            control[8] = max(0.5 * scale, 1.0);
            control[9] = 0.0;
            control[10] += 1.0;
        } else {
            control[7] += 1.0;
        }
    }
}
#else
#import act

struct Params { n: u32, decayed: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read> control: array<f32>;
@group(0) @binding(4) var<storage, read_write> params: array<f32>;
@group(0) @binding(5) var<storage, read_write> m: array<f32>;
@group(0) @binding(6) var<storage, read_write> v: array<f32>;
#ifdef HALF
// The parameters in f16, for products.
@group(0) @binding(7) var<storage, read_write> shadow: array<f16>;
#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if control[2] == 0.0 {
        return;
    }
    let rate = hyper[0];
    let beta1 = hyper[3];
    let beta2 = hyper[4];
    let eps = hyper[5];
    let factor = control[1];
    let c1 = 1.0 / (1.0 - control[4]);
    let c2 = 1.0 / (1.0 - control[5]);
    let first = (wg.x + wg.y * groups.x) * 1024u + lane;
#for j in 0..4
    {
        let i = first + ${j}u * 256u;
        if i < p.n {
            let g = grads[i] * factor;
            let m1 = beta1 * m[i] + (1.0 - beta1) * g;
            let v1 = beta2 * v[i] + (1.0 - beta2) * g * g;
            m[i] = m1;
            v[i] = v1;
            let shrink = select(1.0, 1.0 - rate * hyper[2], i < p.decayed);
            let updated = params[i] * shrink - rate * ((m1 * c1) / (sqrt(v1 * c2) + eps));
            params[i] = updated;
#ifdef HALF
            shadow[i] = f16(cut(updated));
#endif
        }
    }
#endfor
}
#endif
