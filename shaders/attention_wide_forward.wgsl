// The forward kernel of attention_wide.wgsl: a tile of queries, keys streamed, an online softmax.

var<workgroup> queries: array<vec4<f32>, OWN * D4>;
var<workgroup> keys: array<vec4<f32>, ROWS * D4>;
var<workgroup> values: array<vec4<f32>, ROWS * D4>;
var<workgroup> weights: array<vec${RS}<f32>, OWN * 8u>;
var<workgroup> rows: array<f32, OWN * 8u>;

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
    var top${i} = LEAST;
    // The part of the row's sum over the keys of this invocation.
    var total${i} = 0.0;
#for c in 0..${C4}
    var o${i}_${c} = vec4<f32>(0.0);
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
#endfor
#endfor
        for (var group = 0u; group < D4; group += ${UNROLL}u) {
#for g in 0..${UNROLL}
        {
            let c = group + ${g}u;
#for i in 0..${RO}
            let q${i} = queries[(ty + ${i}u * TY) * D4 + (c ^ turn)];
#endfor
#for j in 0..${RS}
            let k${j} = keys[(tx + ${j}u * 8u) * D4 + (c ^ tx)];
#endfor
#for e in 0..4
#for i in 0..${RO}
#for j in 0..${RS}
            s${i}_${j} = fma(q${i}[${e}], k${j}[${e}], s${i}_${j});
#endfor
#endfor
#endfor
        }
#endfor
        }
#for i in 0..${RO}
        {
            var best = LEAST;
#for j in 0..${RS}
            s${i}_${j} = select(LEAST, s${i}_${j} * p.scale, start + tx + ${j}u * 8u - begin${i} <= span${i});
            best = max(best, s${i}_${j});
#endfor
            rows[(ty + ${i}u * TY) * 8u + tx] = best;
        }
#endfor
        workgroupBarrier();
#for i in 0..${RO}
        {
            var best = top${i};
#for x in 0..8
            best = max(best, rows[(ty + ${i}u * TY) * 8u + ${x}u]);
#endfor
            let keep = exp(top${i} - best);
            top${i} = best;
            total${i} *= keep;
#for j in 0..${RS}
            s${i}_${j} = exp(s${i}_${j} - best);
            total${i} += s${i}_${j};
            weights[(ty + ${i}u * TY) * 8u + (tx ^ turn)][${j}] = s${i}_${j};
#endfor
#for c in 0..${C4}
            o${i}_${c} *= keep;
#endfor
        }
#endfor
        workgroupBarrier();
        for (var x = 0u; x < 8u; x += 1u) {
#for i in 0..${RO}
            let w${i} = weights[(ty + ${i}u * TY) * 8u + (x ^ turn)];
#endfor
#for j in 0..${RS}
#for c in 0..${C4}
            {
                let v = values[(x + ${j}u * 8u) * D4 + ${c}u * 8u + (tx ^ x)];
#for i in 0..${RO}
                o${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, o${i}_${c});
#endfor
            }
#endfor
#endfor
        }
    }

#for i in 0..${RO}
    rows[(ty + ${i}u * TY) * 8u + tx] = total${i};
#endfor
    workgroupBarrier();
#for i in 0..${RO}
    {
        var total = 0.0;
#for x in 0..8
        total += rows[(ty + ${i}u * TY) * 8u + ${x}u];
#endfor
        if query${i} < p.t {
#for c in 0..${C4}
            out[((sequence * p.t + query${i}) * p.hq + head) * D4 + tx + ${c}u * 8u] = vec4<${ACT}>(o${i}_${c} / total);
#ifdef HALF
            exact[((sequence * p.t + query${i}) * p.hq + head) * D4 + tx + ${c}u * 8u] = o${i}_${c} / total;
#endif
#endfor
            if tx == 0u {
                lse[(sequence * p.hq + head) * p.t + query${i}] = top${i} + log(total);
            }
        }
    }
#endfor
}
