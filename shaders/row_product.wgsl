// What kernels share in which one workgroup takes a row through a branch of a small model: the norm of the row, and
// sums that eight invocations each have an eighth of.

#import act
#import workgroup_sum

// The row as the next product reads it.
var<workgroup> input: array<vec4<f32>, 64>;
// Eighths of 256 sums; the pitch puts those that are written together on different banks.
const PITCH = 260u;
var<workgroup> eighths: array<f32, 8u * PITCH>;

fn more(sum: f32, x: vec4<f32>, w: vec4<f32>) -> f32 {
    return fma(x.w, w.w, fma(x.z, w.z, fma(x.y, w.y, fma(x.x, w.x, sum))));
}

fn whole(sum: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var l = 0u; l < 8u; l += 2u) {
        even += eighths[l * PITCH + sum];
        odd += eighths[(l + 1u) * PITCH + sum];
    }
    return even + odd;
}

// Puts the norm of a row of `c` elements, of which the invocation has `v`, into `input`.
fn norm(lane: u32, c: u32, eps: f32, v: f32, gain: f32) {
    let r = 1.0 / sqrt(workgroup_sum(lane, v * v) / f32(c) + eps);
    if lane < c {
        input[lane / 4u][lane % 4u] = v * r * gain;
    }
    workgroupBarrier();
}
