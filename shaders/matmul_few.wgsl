// out = A·Bᵀ for few rows, as in decoding. 32 invocations make ROWS × COLS sums together, each over every 32nd vector
// along K, and read a vector of B once for all ROWS rows. The order in which a sum is added up depends on K alone, so
// that a row comes out the same beside any others and in every variant.
//
// SWIGLU: the rows of B are gates, then ups, N in all; out [M, N/2] = silu(A·gateᵀ) · (A·upᵀ). Every second column of
// the COLS is the up of the one before it.
// K is a multiple of 4.

#import act

struct Params { m: u32, n: u32, k: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<${ACT}>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<${ACT}>>;
@group(0) @binding(3) var<storage, read_write> out: array<${ACT}>;

const GROUPS = ${THREADS}u / 32u;
// One more than the invocations that share a sum, so that adjacent readers use different banks.
const PITCH = 33u;

var<workgroup> parts: array<f32, ${ROWS}u * GROUPS * PITCH>;

fn more(sum: f32, x: vec4<f32>, w: vec4<f32>) -> f32 {
    return fma(x.w, w.w, fma(x.z, w.z, fma(x.y, w.y, fma(x.x, w.x, sum))));
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let l = lane % 32u;
    let group = lane / 32u;
    let quads = p.k / 4u;
#ifdef SWIGLU
    let width = p.n / 2u;
    let col0 = (wg.x * GROUPS + group) * ${COLS}u / 2u;
#else
    let width = p.n;
    let col0 = (wg.x * GROUPS + group) * ${COLS}u;
#endif
    let row0 = wg.y * ${ROWS}u;
    // Past the end the last row and column are read but not written.
#for i in 0..${ROWS}
    let at_a${i} = min(row0 + ${i}u, p.m - 1u) * quads;
#endfor
#for j in 0..${COLS}
#ifdef SWIGLU
    let at_b${j} = (min(col0 + ${j}u / 2u, width - 1u) + ${j}u % 2u * width) * quads;
#else
    let at_b${j} = min(col0 + ${j}u, width - 1u) * quads;
#endif
#endfor
#for i in 0..${ROWS}
#for j in 0..${COLS}
    var c${i}_${j} = 0.0;
#endfor
#endfor
    // AHEAD steps are fetched before the first is used.
    for (var first = l; first < quads; first += ${AHEAD}u * 32u) {
#for u in 0..${AHEAD}
        let q${u} = first + ${u}u * 32u;
        let there${u} = q${u} < quads;
        let at${u} = min(q${u}, quads - 1u);
#for i in 0..${ROWS}
        let x${u}_${i} = select(vec4<f32>(0.0), vec4<f32>(a[at_a${i} + at${u}]), there${u});
#endfor
#for j in 0..${COLS}
        let w${u}_${j} = vec4<f32>(b[at_b${j} + at${u}]);
#endfor
#endfor
#for u in 0..${AHEAD}
#for i in 0..${ROWS}
#for j in 0..${COLS}
        c${i}_${j} = more(c${i}_${j}, x${u}_${i}, w${u}_${j});
#endfor
#endfor
#endfor
    }
    let row = row0 + lane / GROUPS;
    let owns = lane < ${ROWS}u * GROUPS && row < p.m;
#ifdef SWIGLU
    var gate = 0.0;
#endif
#for j in 0..${COLS}
    {
        workgroupBarrier();
#for i in 0..${ROWS}
        parts[(${i}u * GROUPS + group) * PITCH + l] = c${i}_${j};
#endfor
        workgroupBarrier();
        if owns {
            var sums = vec4<f32>(0.0);
            for (var t = lane * PITCH; t < lane * PITCH + 32u; t += 4u) {
                sums += vec4<f32>(parts[t], parts[t + 1u], parts[t + 2u], parts[t + 3u]);
            }
            let sum = (sums.x + sums.y) + (sums.z + sums.w);
#ifdef SWIGLU
            let col = (wg.x * GROUPS + lane % GROUPS) * ${COLS}u / 2u + ${j}u / 2u;
            if ${j}u % 2u == 0u {
                gate = sum;
            } else if col < width {
                out[row * width + col] = ${ACT}(cut(gate / (1.0 + exp(-gate)) * sum));
            }
#else
            let col = (wg.x * GROUPS + lane % GROUPS) * ${COLS}u + ${j}u;
            if col < width {
                out[row * width + col] = ${ACT}(cut(sum));
            }
#endif
        }
    }
#endfor
}
