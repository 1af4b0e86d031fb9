// Sums in a fixed order: of everything (by one workgroup), of columns, of squares.
#ifndef COLUMN_SUM
#import workgroup_sum
#endif

#ifdef SUM
struct Params { n: u32, accumulate: u32 }
#endif
#ifdef COLUMN_SUM
struct Params { g: u32, c: u32, accumulate: u32 }
#endif
#ifdef SQUARE_SUM
struct Params { n: u32, g: u32, first: u32 }
#endif
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<${OUT}>;

#ifdef COLUMN_SUM
#ifdef WIDE
// Many columns, few rows: an invocation per column.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (wg.x + wg.y * groups.x) * 256u + lane;
    if column >= p.c {
        return;
    }
    var total = 0.0;
    var row = 0u;
    // Eight loads in flight at once; they are added in order.
    for (; row + 8u <= p.g; row += 8u) {
#for j in 0..8
        let x${j} = x[(row + ${j}u) * p.c + column];
#endfor
#for j in 0..8
        total += x${j};
#endfor
    }
    for (; row < p.g; row += 1u) {
        total += x[row * p.c + column];
    }
    if p.accumulate == 1u {
        total += f32(out[column]);
    }
    out[column] = ${OUT}(total);
}
#else
// Many rows, few columns: a workgroup for 16 columns, 16 invocations each.
var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (wg.x + wg.y * groups.x) * 16u + lane % 16u;
    var part = 0.0;
    if column < p.c {
        var row = lane / 16u;
        for (; row + 112u < p.g; row += 128u) {
#for j in 0..8
            let x${j} = x[(row + ${j}u * 16u) * p.c + column];
#endfor
#for j in 0..8
            part += x${j};
#endfor
        }
        for (; row < p.g; row += 16u) {
            part += x[row * p.c + column];
        }
    }
    parts[lane] = part;
    workgroupBarrier();
    if lane < 16u && column < p.c {
        var total = 0.0;
#for j in 0..16
        total += parts[lane + ${j}u * 16u];
#endfor
        if p.accumulate == 1u {
            total += f32(out[column]);
        }
        out[column] = ${OUT}(total);
    }
}
#endif
#else
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
#ifdef SUM
    var part = 0.0;
    var i = lane;
    for (; i + 1792u < p.n; i += 2048u) {
#for j in 0..8
        let x${j} = x[i + ${j}u * 256u];
#endfor
#for j in 0..8
        part += x${j};
#endfor
    }
    for (; i < p.n; i += 256u) {
        part += x[i];
    }
    let total = workgroup_sum(lane, part);
    if lane == 0u {
        if p.accumulate == 1u {
            out[0] = total + out[0];
        } else {
            out[0] = total;
        }
    }
#else
    // Row g of the partials sums a contiguous piece, as in the twin.
    let each = ((p.n + p.g - 1u) / p.g + 3u) / 4u * 4u;
    let start = min(wg.x * each, p.n);
    let end = min(start + each, p.n);
    var part = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        part = fma(x[i], x[i], part);
    }
    let total = workgroup_sum(lane, part);
    if lane == 0u {
        out[p.first + wg.x] = total;
    }
#endif
}
#endif
