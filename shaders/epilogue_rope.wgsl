// The epilogue of the product for queries, keys and values: the heads in the first p.rotated columns are rotated as in
// rope.wgsl.

#import act

@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f16>>;

struct Ahead {
    cosine: vec4<f32>,
    sine: vec4<f32>,
}

// The rotation of a row: the same for all columns a strip apart, since a strip is whole heads.
fn ahead(row: u32, col: u32) -> Ahead {
    let half = p.d / 2u;
    let entry = (min(positions[row], p.positions - 1u) * p.d + col % half) / 4u;
    let sine = table[entry + half / 4u];
    return Ahead(table[entry], select(sine, -sine, col % p.d < half));
}

fn finish(row: u32, col: u32, v: vec4<f32>, partner: vec4<f32>, turn: Ahead) {
    var turned = v;
    if col < p.rotated {
        turned = v * turn.cosine + partner * turn.sine;
    }
    out[(row * p.n + col) / 4u] = vec4<f16>(cut4(turned));
}
