// The epilogue of the product for the gradient of act: it becomes the gradient of gate and up.

@group(0) @binding(3) var<storage, read> gate_up: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read_write> dgate_up: array<vec4<f16>>;

struct Ahead {
    gate: vec4<f16>,
    up: vec4<f16>,
}

fn ahead(row: u32, col: u32) -> Ahead {
    let at = (row * 2u * p.n + col) / 4u;
    return Ahead(gate_up[at], gate_up[at + p.n / 4u]);
}

fn finish(row: u32, col: u32, d: vec4<f32>, read: Ahead) {
    let at = (row * 2u * p.n + col) / 4u;
    let g = vec4<f32>(read.gate);
    let up = vec4<f32>(read.up);
    let s = 1.0 / (1.0 + exp(-g));
    dgate_up[at] = vec4<f16>(d * up * s * (g * (1.0 - s) + 1.0));
    dgate_up[at + p.n / 4u] = vec4<f16>(d * g * s);
}
