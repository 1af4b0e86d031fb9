// Rotary position embedding, rotate-half, in place: one invocation per pair.

#import act

struct Params { n: u32, heads: u32, d: u32, stride: u32, inverse: u32, positions: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
@group(0) @binding(3) var<storage, read_write> qkv: array<${ACT}>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (wg.x + wg.y * groups.x) * 256u + lane;
    let half = p.d / 2u;
    let per_row = p.heads * half;
    let row = i / per_row;
    if row >= p.n {
        return;
    }
    let rest = i - row * per_row;
    let head = rest / half;
    let pair = rest - head * half;
    let entry = min(positions[row], p.positions - 1u) * p.d + pair;
    let c = table[entry];
    let s = select(table[entry + half], -table[entry + half], p.inverse == 1u);
    let at = row * p.stride + head * p.d + pair;
    let x = f32(qkv[at]);
    let y = f32(qkv[at + half]);
    let first = x * c - y * s;
    let second = y * c + x * s;
    // Gradients are not clamped.
    qkv[at] = ${ACT}(select(cut(first), first, p.inverse == 1u));
    qkv[at + half] = ${ACT}(select(cut(second), second, p.inverse == 1u));
}
