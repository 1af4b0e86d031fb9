// The epilogue of the product for gate and up: both are stored, and act = silu(gate) · up of the stored values.

#import act

@group(0) @binding(3) var<storage, read_write> gate_up: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read_write> act: array<vec4<f16>>;

fn finish(row: u32, col: u32, gate: vec4<f32>, up: vec4<f32>) {
    let f = p.n / 2u;
    let at = (row * p.n + col) / 4u;
    let kept_gate = vec4<f16>(cut4(gate));
    let kept_up = vec4<f16>(cut4(up));
    gate_up[at] = kept_gate;
    gate_up[at + f / 4u] = kept_up;
    let g = vec4<f32>(kept_gate);
    act[(row * f + col) / 4u] = vec4<f16>(cut4(g / (1.0 + exp(-g)) * vec4<f32>(kept_up)));
}
