// The sum of one value from each of SIDE × SIDE invocations, in a fixed order, returned to all of them.

var<workgroup> sum_values: array<f32, ${SIDE} * ${SIDE}>;
var<workgroup> sum_parts: array<f32, ${SIDE}>;

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    // A fast lane of the next call must not overwrite what a slow lane of the previous one still reads: values are read
    // between the second and third barrier, parts after it, so two barriers are enough there.
    sum_values[lane] = value;
    workgroupBarrier();
    if lane < ${SIDE}u {
        var part = 0.0;
#for j in 0..${SIDE}
        part += sum_values[lane + ${j}u * ${SIDE}u];
#endfor
        sum_parts[lane] = part;
    }
    workgroupBarrier();
    var total = 0.0;
#for j in 0..${SIDE}
    total += sum_parts[${j}u];
#endfor
    return total;
}
