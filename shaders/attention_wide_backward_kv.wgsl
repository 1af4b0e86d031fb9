// The gradients of keys and values, of attention_wide.wgsl: a tile of keys and of values; the queries
// and dout of every head that reads them are streamed. P = e^(k·qᵀ·scale − lse), dv = Σ P·dout,
// dP = v·doutᵀ, dS = P (dP − δ) scale, dk = Σ dS·q.

var<workgroup> keys: array<vec4<f32>, OWN * D4>;
var<workgroup> values: array<vec4<f32>, OWN * D4>;
var<workgroup> queries: array<vec4<f32>, ROWS * D4>;
var<workgroup> douts: array<vec4<f32>, ROWS * D4>;
var<workgroup> weights: array<vec${RS}<f32>, OWN * 8u>;
var<workgroup> slopes: array<vec${RS}<f32>, OWN * 8u>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let key_head = wg.x;
    let sequence = wg.y;
    let first = wg.z * OWN;
    let key_column = (p.hq + key_head) * D4;
    let value_column = key_column + p.hk * D4;
    let heads = p.hq / p.hk;
    let end = end_of_rows(sequence, first, first + OWN);
    let tx = lane / 2u % 8u;
    let ty = lane / 16u * 2u + lane % 2u;
    let turn = ty % 8u;
#for u in 0..${OWN_LOADS}
    keys[place(lane + ${u}u * THREADS)] = qkv_vector(sequence, first, key_column, lane + ${u}u * THREADS);
    values[place(lane + ${u}u * THREADS)] = qkv_vector(sequence, first, value_column, lane + ${u}u * THREADS);
#endfor
#for u in 0..${LOADS}
    var query${u} = qkv_vector(sequence, first, key_head * heads * D4, lane + ${u}u * THREADS);
    var dout${u} = dout_vector(sequence, first, key_head * heads * D4, lane + ${u}u * THREADS);
#endfor
#for i in 0..${RO}
#for c in 0..${C4}
    var dk${i}_${c} = vec4<f32>(0.0);
    var dv${i}_${c} = vec4<f32>(0.0);
#endfor
#endfor

    for (var head = key_head * heads; head < (key_head + 1u) * heads; head += 1u) {
        for (var start = first; start < end; start += ROWS) {
            workgroupBarrier();
#for u in 0..${LOADS}
            queries[place(lane + ${u}u * THREADS)] = query${u};
            douts[place(lane + ${u}u * THREADS)] = dout${u};
#endfor
            workgroupBarrier();
            // The next tile: of this head, or the first of the next one; after the last, one again.
            let over = start + ROWS >= end;
            let next_start = select(start + ROWS, first, over);
            let next_head = min(head + select(0u, 1u, over), p.hq - 1u);
#for u in 0..${LOADS}
            query${u} = qkv_vector(sequence, next_start, next_head * D4, lane + ${u}u * THREADS);
            dout${u} = dout_vector(sequence, next_start, next_head * D4, lane + ${u}u * THREADS);
#endfor
#for j in 0..${RS}
            let seen${j} = start + tx + ${j}u * 8u;
            let begin${j} = first_key(sequence, min(seen${j}, p.t - 1u));
            let span${j} = seen${j} - begin${j};
            let row${j} = (sequence * p.hq + head) * p.t + min(seen${j}, p.t - 1u);
            let lse${j} = lse[row${j}];
            let delta${j} = delta[row${j}];
#endfor
#for i in 0..${RO}
#for j in 0..${RS}
            var s${i}_${j} = 0.0;
            var d${i}_${j} = 0.0;
#endfor
#endfor
            for (var group = 0u; group < D4; group += ${UNROLL}u) {
#for g in 0..${UNROLL}
            {
                let c = group + ${g}u;
                {
#for i in 0..${RO}
                    let a${i} = keys[(ty + ${i}u * TY) * D4 + (c ^ turn)];
#endfor
#for j in 0..${RS}
                    let b${j} = queries[(tx + ${j}u * 8u) * D4 + (c ^ tx)];
#endfor
#for e in 0..4
#for i in 0..${RO}
#for j in 0..${RS}
                    s${i}_${j} = fma(a${i}[${e}], b${j}[${e}], s${i}_${j});
#endfor
#endfor
#endfor
                }
                {
#for i in 0..${RO}
                    let a${i} = values[(ty + ${i}u * TY) * D4 + (c ^ turn)];
#endfor
#for j in 0..${RS}
                    let b${j} = douts[(tx + ${j}u * 8u) * D4 + (c ^ tx)];
#endfor
#for e in 0..4
#for i in 0..${RO}
#for j in 0..${RS}
                    d${i}_${j} = fma(a${i}[${e}], b${j}[${e}], d${i}_${j});
#endfor
#endfor
#endfor
                }
            }
#endfor
            }
#for i in 0..${RO}
#for j in 0..${RS}
            {
                let seen = first + ty + ${i}u * TY - begin${j} <= span${j} && seen${j} < p.t;
                let chance = select(0.0, exp(s${i}_${j} * p.scale - lse${j}), seen);
                weights[(ty + ${i}u * TY) * 8u + (tx ^ turn)][${j}] = chance;
                slopes[(ty + ${i}u * TY) * 8u + (tx ^ turn)][${j}] = chance * (d${i}_${j} - delta${j}) * p.scale;
            }
#endfor
#endfor
            workgroupBarrier();
            for (var x = 0u; x < 8u; x += 1u) {
#for i in 0..${RO}
                let w${i} = weights[(ty + ${i}u * TY) * 8u + (x ^ turn)];
                let z${i} = slopes[(ty + ${i}u * TY) * 8u + (x ^ turn)];
#endfor
#for j in 0..${RS}
#for c in 0..${C4}
                {
                    let v = douts[(x + ${j}u * 8u) * D4 + ${c}u * 8u + (tx ^ x)];
                    let q = queries[(x + ${j}u * 8u) * D4 + ${c}u * 8u + (tx ^ x)];
#for i in 0..${RO}
                    dv${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, dv${i}_${c});
                    dk${i}_${c} = fma(vec4<f32>(z${i}[${j}]), q, dk${i}_${c});
#endfor
                }
#endfor
#endfor
            }
        }
    }

#for i in 0..${RO}
    if first + ty + ${i}u * TY < p.t {
        let row = (sequence * p.t + first + ty + ${i}u * TY) * (p.hq + 2u * p.hk) * D4;
#for c in 0..${C4}
        out[row + key_column + tx + ${c}u * 8u] = vec4<${ACT}>(dk${i}_${c});
        out[row + value_column + tx + ${c}u * 8u] = vec4<${ACT}>(dv${i}_${c});
#endfor
    }
#endfor
}
