// Matrix products out = A·B, A·Bᵀ or Aᵀ·B in BM × BN tiles; an invocation makes 4·RM × 4·RN of them.
//
// Both operands are staged in workgroup memory with the inner index outermost, so that every step of
// the inner loop reads whole vectors along M and N. They are moved in 4 × 4 blocks: four vectors from
// storage, turned in registers where storage runs along K, four vectors into workgroup memory. The
// next tile is fetched while this one is multiplied. Row k of a staged tile is rotated by
// SKEW · (k / 4) vectors, which keeps the writes of turned blocks on different banks. UNROLL quads of
// inner indices are written out.
//
// VEC4 reads and writes storage by vectors: the sizes that run along memory are multiples of 4.
// NT is a linear layer's forward product, whose results are activations; the others make gradients.
// SPLIT gives each z of the grid `span` of the inner size and a matrix of its own to write.

#import act

struct Params {
    m: u32,
    n: u32,
    k: u32,
#ifdef SPLIT
    span: u32,
#else
    accumulate: u32,
#endif
}
@group(0) @binding(0) var<uniform> p: Params;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> a: array<vec4<${ACT}>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<${ACT}>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<${OUT}>>;
#else
@group(0) @binding(1) var<storage, read> a: array<${ACT}>;
@group(0) @binding(2) var<storage, read> b: array<${ACT}>;
@group(0) @binding(3) var<storage, read_write> out: array<${OUT}>;
#endif

const BM4 = ${BM}u / 4u;
const BN4 = ${BN}u / 4u;
const BK = ${BK}u;
const BK4 = BK / 4u;
const SKEW = 8u / BK4;
// Invocations along N.
const TX = BN4 / ${RN}u;
// Blocks of A in a tile, then those of B.
const BLOCKS_A = BM4 * BK4;
const BLOCKS = BLOCKS_A + BN4 * BK4;

var<workgroup> staged: array<vec4<f32>, BK * (BM4 + BN4)>;

// Four elements along memory of a `rows` × `cols` part of a matrix of that `width`; zero outside.
fn vector_a(row: u32, col: u32, rows: u32, cols: u32, width: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
#ifdef VEC4
    if row < rows && col < cols {
        v = vec4<f32>(a[(row * width + col) / 4u]);
    }
#else
#for j in 0..4
    if row < rows && col + ${j}u < cols {
        v[${j}] = f32(a[row * width + col + ${j}u]);
    }
#endfor
#endif
    return v;
}

fn vector_b(row: u32, col: u32, rows: u32, cols: u32, width: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
#ifdef VEC4
    if row < rows && col < cols {
        v = vec4<f32>(b[(row * width + col) / 4u]);
    }
#else
#for j in 0..4
    if row < rows && col + ${j}u < cols {
        v[${j}] = f32(b[row * width + col + ${j}u]);
    }
#endfor
#endif
    return v;
}

// A block: four vectors along M (or N) for inner indices k … k + 3; those from `end` on are zero.
fn block_a(m: u32, k: u32, end: u32) -> mat4x4<f32> {
#ifdef TN
    return mat4x4<f32>(
        vector_a(k, m, end, p.m, p.m),
        vector_a(k + 1u, m, end, p.m, p.m),
        vector_a(k + 2u, m, end, p.m, p.m),
        vector_a(k + 3u, m, end, p.m, p.m),
    );
#else
    return transpose(mat4x4<f32>(
        vector_a(m, k, p.m, end, p.k),
        vector_a(m + 1u, k, p.m, end, p.k),
        vector_a(m + 2u, k, p.m, end, p.k),
        vector_a(m + 3u, k, p.m, end, p.k),
    ));
#endif
}

fn block_b(n: u32, k: u32, end: u32) -> mat4x4<f32> {
#ifdef NT
    return transpose(mat4x4<f32>(
        vector_b(n, k, p.n, end, p.k),
        vector_b(n + 1u, k, p.n, end, p.k),
        vector_b(n + 2u, k, p.n, end, p.k),
        vector_b(n + 3u, k, p.n, end, p.k),
    ));
#else
    return mat4x4<f32>(
        vector_b(k, n, end, p.n, p.n),
        vector_b(k + 1u, n, end, p.n, p.n),
        vector_b(k + 2u, n, end, p.n, p.n),
        vector_b(k + 3u, n, end, p.n, p.n),
    );
#endif
}

// The position of block `id` in a tile: its vector along M (or N) and its quad along K. Adjacent lanes read adjacent
// memory.
fn place_a(id: u32) -> vec2<u32> {
#ifdef TN
    return vec2(id % BM4, id / BM4);
#else
    return vec2(id / BK4, id % BK4);
#endif
}

fn place_b(id: u32) -> vec2<u32> {
#ifdef NT
    return vec2(id / BK4, id % BK4);
#else
    return vec2(id % BN4, id / BN4);
#endif
}

fn write(matrix: u32, row: u32, col: u32, value: vec4<f32>) {
    if row >= p.m {
        return;
    }
    let at = matrix * p.m * p.n + row * p.n + col;
#ifdef VEC4
    if col < p.n {
#ifdef SPLIT
        out[at / 4u] = value;
#else
        var all = value;
        if p.accumulate == 1u {
            all += vec4<f32>(out[at / 4u]);
        }
#ifdef NT
        out[at / 4u] = vec4<${OUT}>(cut4(all));
#else
        out[at / 4u] = vec4<${OUT}>(all);
#endif
#endif
    }
#else
#for j in 0..4
    if col + ${j}u < p.n {
#ifdef SPLIT
        out[at + ${j}u] = value[${j}];
#else
        var one = value[${j}];
        if p.accumulate == 1u {
            one += f32(out[at + ${j}u]);
        }
#ifdef NT
        out[at + ${j}u] = ${OUT}(cut(one));
#else
        out[at + ${j}u] = ${OUT}(one);
#endif
#endif
    }
#endfor
#endif
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row0 = wg.y * ${BM}u;
    let col0 = wg.x * ${BN}u;
#ifdef SPLIT
    let start = wg.z * p.span;
    let end = min(start + p.span, p.k);
#else
    let start = 0u;
    let end = p.k;
#endif
    // A subgroup of 32 makes 8 × 4, laid in squares of four: the cheapest for reads of 16 bytes.
    let warp = lane / 32u;
    let tx = warp % (TX / 8u) * 8u + lane / 2u % 8u;
    let ty = warp / (TX / 8u) * 4u + lane % 32u / 16u * 2u + lane % 2u;

    // The blocks that this invocation moves, and the first of them.
#for u in 0..${LOADS}
    let id${u} = lane + ${u}u * ${THREADS}u;
    let is_a${u} = id${u} < BLOCKS_A;
    let place${u} = select(place_b(id${u} - BLOCKS_A), place_a(id${u}), is_a${u});
    let pitch${u} = select(BN4, BM4, is_a${u});
    let line${u} = select(col0, row0, is_a${u}) + place${u}.x * 4u;
    let quad${u} = place${u}.y * 4u;
    let slot${u} = select(BK * BM4, 0u, is_a${u}) + quad${u} * pitch${u} + (place${u}.x + SKEW * place${u}.y) % pitch${u};
    var next${u} = mat4x4<f32>();
    if is_a${u} {
        next${u} = block_a(line${u}, start + quad${u}, end);
    } else if id${u} < BLOCKS {
        next${u} = block_b(line${u}, start + quad${u}, end);
    }
#endfor

#for i in 0..${RM}
#for r in 0..4
#for j in 0..${RN}
    var c${i}_${r}_${j} = vec4<f32>(0.0);
#endfor
#endfor
#endfor

    for (var k = start; k < end; k += BK) {
        workgroupBarrier();
#for u in 0..${LOADS}
        if id${u} < BLOCKS {
            staged[slot${u}] = next${u}[0];
            staged[slot${u} + pitch${u}] = next${u}[1];
            staged[slot${u} + 2u * pitch${u}] = next${u}[2];
            staged[slot${u} + 3u * pitch${u}] = next${u}[3];
        }
#endfor
        workgroupBarrier();
#for u in 0..${LOADS}
        if is_a${u} {
            next${u} = block_a(line${u}, k + BK + quad${u}, end);
        } else if id${u} < BLOCKS {
            next${u} = block_b(line${u}, k + BK + quad${u}, end);
        }
#endfor
        for (var group = 0u; group < BK4; group += ${UNROLL}u) {
#for g in 0..${UNROLL}
        {
            let q = group + ${g}u;
#for i in 0..${RM}
            let at_a${i} = q * 4u * BM4 + (ty + ${i}u * (BM4 / ${RM}u) + SKEW * q) % BM4;
#endfor
#for j in 0..${RN}
            let at_b${j} = BK * BM4 + q * 4u * BN4 + (tx + ${j}u * TX + SKEW * q) % BN4;
#endfor
#for s in 0..4
            {
#for i in 0..${RM}
                let a${i} = staged[at_a${i} + ${s}u * BM4];
#endfor
#for j in 0..${RN}
                let b${j} = staged[at_b${j} + ${s}u * BN4];
#endfor
#for i in 0..${RM}
#for r in 0..4
#for j in 0..${RN}
                c${i}_${r}_${j} = fma(vec4<f32>(a${i}[${r}]), b${j}, c${i}_${r}_${j});
#endfor
#endfor
#endfor
            }
#endfor
        }
#endfor
        }
    }

#for i in 0..${RM}
#for r in 0..4
#for j in 0..${RN}
    write(wg.z, row0 + (ty + ${i}u * (BM4 / ${RM}u)) * 4u + ${r}u, col0 + (tx + ${j}u * TX) * 4u, c${i}_${r}_${j});
#endfor
#endfor
#endfor
}
