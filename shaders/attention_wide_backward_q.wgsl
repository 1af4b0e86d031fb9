// The gradient of the queries, of attention_wide.wgsl: a tile of queries and of dout, keys and values streamed. P =
// e^(q·kᵀ·scale − lse), dP = dout·vᵀ, dS = P (dP − δ) scale, dq = Σ dS·k. dS replaces the values, which are not needed
// any more by then.

var<workgroup> queries: array<vec4<f32>, OWN * D4>;
var<workgroup> douts: array<vec4<f32>, OWN * D4>;
var<workgroup> keys: array<vec4<f32>, ROWS * D4>;
// ROWS · D4 vectors of values, later OWN · 8 of dS: the size of the larger.
var<workgroup> values: array<vec4<f32>, ${SHARED}>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = wg.x;
    let sequence = wg.y;
    // The longest rows start first.
    let first = (groups.z - 1u - wg.z) * OWN;
    let end = min(first + OWN, p.t);
    let key_column = (p.hq + head / (p.hq / p.hk)) * D4;
    let value_column = key_column + p.hk * D4;
    let tx = lane / 2u % 8u;
    let ty = lane / 16u * 2u + lane % 2u;
    let turn = ty % 8u;
#for u in 0..${OWN_LOADS}
    queries[place(lane + ${u}u * THREADS)] = qkv_vector(sequence, first, head * D4, lane + ${u}u * THREADS);
    douts[place(lane + ${u}u * THREADS)] = dout_vector(sequence, first, head * D4, lane + ${u}u * THREADS);
#endfor
    let least = first_key(sequence, first) / ROWS * ROWS;
#for u in 0..${LOADS}
    var key${u} = qkv_vector(sequence, least, key_column, lane + ${u}u * THREADS);
    var value${u} = qkv_vector(sequence, least, value_column, lane + ${u}u * THREADS);
#endfor
#for i in 0..${RO}
    let query${i} = first + ty + ${i}u * TY;
    let begin${i} = first_key(sequence, min(query${i}, p.t - 1u));
    let span${i} = query${i} - begin${i};
    let row${i} = (sequence * p.hq + head) * p.t + min(query${i}, p.t - 1u);
    let lse${i} = lse[row${i}];
    let delta${i} = delta[row${i}];
#for c in 0..${C4}
    var g${i}_${c} = vec4<f32>(0.0);
#endfor
#endfor

    for (var start = least; start < end; start += ROWS) {
        workgroupBarrier();
#for u in 0..${LOADS}
        keys[place(lane + ${u}u * THREADS)] = key${u};
        values[place(lane + ${u}u * THREADS)] = value${u};
#endfor
        workgroupBarrier();
#for u in 0..${LOADS}
        key${u} = qkv_vector(sequence, start + ROWS, key_column, lane + ${u}u * THREADS);
        value${u} = qkv_vector(sequence, start + ROWS, value_column, lane + ${u}u * THREADS);
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
                let a${i} = queries[(ty + ${i}u * TY) * D4 + (c ^ turn)];
#endfor
#for j in 0..${RS}
                let b${j} = keys[(tx + ${j}u * 8u) * D4 + (c ^ tx)];
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
                let a${i} = douts[(ty + ${i}u * TY) * D4 + (c ^ turn)];
#endfor
#for j in 0..${RS}
                let b${j} = values[(tx + ${j}u * 8u) * D4 + (c ^ tx)];
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
        workgroupBarrier();
#for i in 0..${RO}
#for j in 0..${RS}
        {
            let seen = start + tx + ${j}u * 8u - begin${i} <= span${i};
            let chance = select(0.0, exp(s${i}_${j} * p.scale - lse${i}), seen);
            d${i}_${j} = chance * (d${i}_${j} - delta${i}) * p.scale;
        }
#endfor
        values[(ty + ${i}u * TY) * 8u + (tx ^ turn)] = vec4<f32>(d${i}_0, d${i}_1, d${i}_2, d${i}_3);
#endfor
        workgroupBarrier();
        for (var x = 0u; x < 8u; x += 1u) {
#for i in 0..${RO}
            let w${i} = values[(ty + ${i}u * TY) * 8u + (x ^ turn)];
#endfor
#for j in 0..${RS}
#for c in 0..${C4}
            {
                let v = keys[(x + ${j}u * 8u) * D4 + ${c}u * 8u + (tx ^ x)];
#for i in 0..${RO}
                g${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, g${i}_${c});
#endfor
            }
#endfor
#endfor
        }
    }

#for i in 0..${RO}
    if query${i} < p.t {
#for c in 0..${C4}
        out[((sequence * p.t + query${i}) * (p.hq + 2u * p.hk) + head) * D4 + tx + ${c}u * 8u] = vec4<${ACT}>(g${i}_${c});
#endfor
    }
#endfor
}
