// Lookup of rows of a table, and its gradient without atomics: a workgroup owns a row of the table.

#ifdef FORWARD
struct Params { n: u32, c: u32, v: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<${ACT}>;
@group(0) @binding(3) var<storage, read_write> out: array<${ACT}>;

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
        if i < p.n * p.c {
            let row = i / p.c;
            let id = min(ids[row], p.v - 1u);
            out[i] = table[id * p.c + (i - row * p.c)];
        }
    }
#endfor
}
#else
struct Params { v: u32, c: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> dout: array<f32>;
@group(0) @binding(4) var<storage, read_write> dtable: array<f32>;

var<workgroup> parts: array<f32, 256>;

// 64 columns at a time; four rows in flight, added up in a fixed order.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = wg.x + wg.y * groups.x;
    if id >= p.v {
        return;
    }
    let start = starts[id];
    let end = starts[id + 1u];
    if start == end {
        return;
    }
    // Columns are spread over z: of an id that many rows have, one workgroup would be long at them all.
    for (var first = wg.z * 64u; first < p.c; first += groups.z * 64u) {
        let column = first + lane % 64u;
        var part = 0.0;
        if column < p.c {
            var i = start + lane / 64u;
            // Eight rows are fetched before the first is added; the order of the sum is that of the rows.
            for (; i + 28u < end; i += 32u) {
#for u in 0..8
                let row${u} = dout[order[i + ${u}u * 4u] * p.c + column];
#endfor
#for u in 0..8
                part += row${u};
#endfor
            }
            for (; i < end; i += 4u) {
                part += dout[order[i] * p.c + column];
            }
        }
        workgroupBarrier();
        parts[lane] = part;
        workgroupBarrier();
        if lane < 64u && column < p.c {
            let total = parts[lane] + parts[lane + 64u] + parts[lane + 128u] + parts[lane + 192u];
            dtable[id * p.c + column] += total;
        }
    }
}
#endif
