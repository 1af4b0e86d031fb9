// Matrix products A·B, A·Bᵀ or Aᵀ·B of f16 operands on cooperative matrices, summed in f32: BM × BN
// tiles of a workgroup, 16·TM × 16·TN of a subgroup of 32.
//
// Tiles lie in workgroup memory as they lie in storage, rows padded by two vectors, which keeps the
// rows of a 16 × 16 fragment on different banks; coopLoad and coopLoadT turn them where needed. The next
// tile is fetched into registers while this one is multiplied. The fragments of a subgroup are 16 ·
// ACROSS columns apart, so that at any time the subgroups side by side hold neighbouring columns: what
// they leave in their patches is a strip of the tile.
//
// Accumulators cannot be read by element: each goes through the subgroup's patch in workgroup memory,
// from where the lanes take vectors and give them to `finish` of the epilogue, which may do with an
// element what it likes. Lanes check rows and columns, so M and N may be ragged; sizes that run along
// memory are multiples of 8.
//
// Two epilogues need a second number for each: PARTNER gives that of the other half of a head of p.d
// columns, which lies in the strip too, and what `ahead` read for its row. AHEAD gives what `ahead` read for
// the element. Both are read before the patches are waited for. PAIRED makes B of two places: the first half of a tile's columns are
// rows of B from its first half on, the second half those N / 2 further down, and both numbers are given.

struct Params {
    m: u32,
    n: u32,
    k: u32,
#ifdef SPLIT
    span: u32,
#else
    accumulate: u32,
#endif
#ifdef PARTNER
    rotated: u32,
    d: u32,
    positions: u32,
#endif
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;

// Vectors in a row of a staged tile: storage rows run along K, but along M for A in TN and along N for B
// in NN and TN.
#ifdef TN
const VA = ${BM}u / 4u;
const ROWS_A = ${BK}u;
#else
const VA = ${BK}u / 4u;
const ROWS_A = ${BM}u;
#endif
#ifdef NT
const VB = ${BK}u / 4u;
const ROWS_B = ${BN}u;
#else
const VB = ${BN}u / 4u;
const ROWS_B = ${BK}u;
#endif
const LA = VA + 2u;
const LB = VB + 2u;
// Subgroups side by side, and columns between the fragments of one.
const ACROSS = ${BN}u / (16u * ${TN_FRAGMENTS}u);
const APART = 16u * ACROSS;
// Vectors in a row of a patch.
const PATCH = 6u;

// Sizes are multiples of 16 bytes: after a variable of another size a matrix would be loaded from a wrong place.
var<workgroup> tile_a: array<vec4<f16>, ROWS_A * LA>;
var<workgroup> tile_b: array<vec4<f16>, ROWS_B * LB>;
var<workgroup> patches: array<vec4<f32>, ${THREADS}u / 32u * 16u * PATCH>;

#import ${EPILOGUE}

#ifdef NT
// The row of B behind a column of the tile.
fn row_of_b(first: u32, column: u32) -> u32 {
#ifdef PAIRED
    let half = ${BN}u / 2u;
    return min(first / 2u + column % half, p.n / 2u - 1u) + select(0u, p.n / 2u, column >= half);
#else
    return min(first + column, p.n - 1u);
#endif
}
#endif

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
    let team = lane / 32u;
    let team_row = team / ACROSS * ${TM_FRAGMENTS}u * 16u;
    let team_col = team % ACROSS * 16u;

    // The vectors that this invocation moves: place in the tile, inner index, place in storage. Rows and
    // columns past the matrix repeat the last ones; inner indices past the end are zero.
#for u in 0..${LOADS_A}
    let row_a${u} = (lane + ${u}u * ${THREADS}u) / VA;
    let col_a${u} = (lane + ${u}u * ${THREADS}u) % VA;
#ifdef TN
    let inner_a${u} = row_a${u};
    var at_a${u} = (start + row_a${u}) * (p.m / 4u) + min(row0 / 4u + col_a${u}, p.m / 4u - 1u);
#else
    let inner_a${u} = col_a${u} * 4u;
    var at_a${u} = min(row0 + row_a${u}, p.m - 1u) * (p.k / 4u) + start / 4u + col_a${u};
#endif
    var next_a${u} = vec4<f16>();
    if start + inner_a${u} < end {
        next_a${u} = a[at_a${u}];
    }
#endfor
#for u in 0..${LOADS_B}
    let row_b${u} = (lane + ${u}u * ${THREADS}u) / VB;
    let col_b${u} = (lane + ${u}u * ${THREADS}u) % VB;
#ifdef NT
    let inner_b${u} = col_b${u} * 4u;
    var at_b${u} = row_of_b(col0, row_b${u}) * (p.k / 4u) + start / 4u + col_b${u};
#else
    let inner_b${u} = row_b${u};
    var at_b${u} = (start + row_b${u}) * (p.n / 4u) + min(col0 / 4u + col_b${u}, p.n / 4u - 1u);
#endif
    var next_b${u} = vec4<f16>();
    if start + inner_b${u} < end {
        next_b${u} = b[at_b${u}];
    }
#endfor
#ifdef TN
    let step_a = ${BK}u * (p.m / 4u);
#else
    let step_a = ${BK}u / 4u;
#endif
#ifdef NT
    let step_b = ${BK}u / 4u;
#else
    let step_b = ${BK}u * (p.n / 4u);
#endif

#for i in 0..${TM_FRAGMENTS}
#for j in 0..${TN_FRAGMENTS}
    var c${i}_${j} = coop_mat16x16<f32, C>();
#endfor
#endfor

    for (var k = start; k < end; k += ${BK}u) {
        workgroupBarrier();
#for u in 0..${LOADS_A}
        tile_a[row_a${u} * LA + col_a${u}] = next_a${u};
#endfor
#for u in 0..${LOADS_B}
        tile_b[row_b${u} * LB + col_b${u}] = next_b${u};
#endfor
        workgroupBarrier();
#for u in 0..${LOADS_A}
        at_a${u} += step_a;
        next_a${u} = vec4<f16>();
        if k + ${BK}u + inner_a${u} < end {
            next_a${u} = a[at_a${u}];
        }
#endfor
#for u in 0..${LOADS_B}
        at_b${u} += step_b;
        next_b${u} = vec4<f16>();
        if k + ${BK}u + inner_b${u} < end {
            next_b${u} = b[at_b${u}];
        }
#endfor
#for s in 0..${STEPS}
#for j in 0..${TN_FRAGMENTS}
#ifdef NT
        let y${s}_${j} = coopLoad<coop_mat16x16<f16, B>>(&tile_b[(team_col + ${j}u * APART) * LB + ${s}u * 4u], LB);
#else
        let y${s}_${j} = coopLoadT<coop_mat16x16<f16, B>>(&tile_b[${s}u * 16u * LB + (team_col + ${j}u * APART) / 4u], LB);
#endif
#endfor
#for i in 0..${TM_FRAGMENTS}
#ifdef TN
        let x${s}_${i} = coopLoad<coop_mat16x16<f16, A>>(&tile_a[${s}u * 16u * LA + (team_row + ${i}u * 16u) / 4u], LA);
#else
        let x${s}_${i} = coopLoadT<coop_mat16x16<f16, A>>(&tile_a[(team_row + ${i}u * 16u) * LA + ${s}u * 4u], LA);
#endif
#for j in 0..${TN_FRAGMENTS}
        c${i}_${j} = coopMultiplyAdd(x${s}_${i}, y${s}_${j}, c${i}_${j});
#endfor
#endfor
#endfor
    }

    // Two vectors of a patch for each lane: rows l / 4 and 8 + l / 4.
    let l = lane % 32u;
    let patch_start = team * 16u * PATCH;
    let taken = patch_start + l / 4u * PATCH + l % 4u;
    let row = row0 + team_row + l / 4u;
#ifdef PAIRED
    let col = col0 / 2u + team_col + l % 4u * 4u;
#for i in 0..${TM_FRAGMENTS}
    workgroupBarrier();
    let first${i} = c${i}_0;
    coopStoreT(first${i}, &patches[patch_start], PATCH);
    workgroupBarrier();
    let upper${i} = patches[taken];
    let lower${i} = patches[taken + 8u * PATCH];
    workgroupBarrier();
    let second${i} = c${i}_1;
    coopStoreT(second${i}, &patches[patch_start], PATCH);
    workgroupBarrier();
    if col < p.n / 2u {
        if row + ${i}u * 16u < p.m {
            finish(row + ${i}u * 16u, col, upper${i}, patches[taken]);
        }
        if row + ${i}u * 16u + 8u < p.m {
            finish(row + ${i}u * 16u + 8u, col, lower${i}, patches[taken + 8u * PATCH]);
        }
    }
#endfor
#else
    let col = col0 + team_col + l % 4u * 4u;
#ifdef PARTNER
    // Half a head is p.d / 32 subgroups away.
    let away = p.d / 32u * 16u * PATCH;
    let other = select(taken - away, taken + away, team_col % p.d < p.d / 2u);
#endif
#for i in 0..${TM_FRAGMENTS}
#ifdef PARTNER
    let ahead${i} = ahead(min(row + ${i}u * 16u, p.m - 1u), col);
    let ahead_below${i} = ahead(min(row + ${i}u * 16u + 8u, p.m - 1u), col);
#endif
#ifdef AHEAD
#for j in 0..${TN_FRAGMENTS}
    let ahead${i}_${j} = ahead(min(row + ${i}u * 16u, p.m - 1u), min(col + ${j}u * APART, p.n - 4u));
    let ahead_below${i}_${j} = ahead(min(row + ${i}u * 16u + 8u, p.m - 1u), min(col + ${j}u * APART, p.n - 4u));
#endfor
#endif
#for j in 0..${TN_FRAGMENTS}
    workgroupBarrier();
    let sum${i}_${j} = c${i}_${j};
    coopStoreT(sum${i}_${j}, &patches[patch_start], PATCH);
    workgroupBarrier();
    if col + ${j}u * APART < p.n {
        if row + ${i}u * 16u < p.m {
#ifdef PARTNER
            finish(row + ${i}u * 16u, col + ${j}u * APART, patches[taken], patches[other], ahead${i});
#else
#ifdef AHEAD
            finish(row + ${i}u * 16u, col + ${j}u * APART, patches[taken], ahead${i}_${j});
#else
            finish(wg.z, row + ${i}u * 16u, col + ${j}u * APART, patches[taken]);
#endif
#endif
        }
        if row + ${i}u * 16u + 8u < p.m {
#ifdef PARTNER
            finish(row + ${i}u * 16u + 8u, col + ${j}u * APART, patches[taken + 8u * PATCH], patches[other + 8u * PATCH], ahead_below${i});
#else
#ifdef AHEAD
            finish(row + ${i}u * 16u + 8u, col + ${j}u * APART, patches[taken + 8u * PATCH], ahead_below${i}_${j});
#else
            finish(wg.z, row + ${i}u * 16u + 8u, col + ${j}u * APART, patches[taken + 8u * PATCH]);
#endif
#endif
        }
    }
#endfor
#endfor
#endif
}
