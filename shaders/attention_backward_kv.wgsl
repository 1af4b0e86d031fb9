// The gradients of keys and values, of attention.wgsl: a tile of keys and of values; the queries and dout of every head
// that reads them are streamed, queries twice, because there is no second buffer. P = e^(k·qᵀ·scale − lse), dv = Σ
// P·dout, dP = v·doutᵀ, dS = P (dP − δ) scale, dk = Σ dS·q.

@compute @workgroup_size(SIDE * SIDE)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let key_head = wg.x;
    let sequence = wg.y;
    let first = wg.z * TILE;
    let key_column = (p.hq + key_head) * p.d;
    let heads = p.hq / p.hk;
    let end = end_of_rows(sequence, first, first + TILE);
    let tx = lane % SIDE;
    let ty = lane / SIDE;
    stage_own(lane, sequence, first, key_column);
    stage_second(lane, sequence, first, key_column + p.hk * p.d);
#for i in 0..${R}
#for c in 0..${C4}
    var dk${i}_${c} = vec4<f32>(0.0);
    var dv${i}_${c} = vec4<f32>(0.0);
#endfor
#endfor

    for (var head = key_head * heads; head < (key_head + 1u) * heads; head += 1u) {
        for (var start = first; start < end; start += TILE) {
            workgroupBarrier();
            stage_other(lane, sequence, start, head * p.d);
            workgroupBarrier();
#for i in 0..${R}
#for j in 0..4
            var s${i}_${j} = 0.0;
            var d${i}_${j} = 0.0;
#endfor
#endfor
            for (var c = 0u; c < D4; c += 1u) {
#for i in 0..${R}
                let a${i} = own[(ty + ${i}u * SIDE) * LD + c];
#endfor
#for j in 0..${R}
                let b${j} = other[(tx + ${j}u * SIDE) * LD + c];
#endfor
#for e in 0..4
#for i in 0..${R}
#for j in 0..${R}
                s${i}_${j} = fma(a${i}[${e}], b${j}[${e}], s${i}_${j});
#endfor
#endfor
#endfor
            }
#for j in 0..${R}
            let query${j} = start + tx + ${j}u * SIDE;
            let begin${j} = first_key(sequence, min(query${j}, p.t - 1u));
            let span${j} = query${j} - begin${j};
            let row${j} = (sequence * p.hq + head) * p.t + min(query${j}, p.t - 1u);
            let lse${j} = lse[row${j}];
            let delta${j} = delta[row${j}];
#endfor
#for i in 0..${R}
#for j in 0..${R}
            {
                let seen = first + ty + ${i}u * SIDE - begin${j} <= span${j} && query${j} < p.t;
                s${i}_${j} = select(0.0, exp(s${i}_${j} * p.scale - lse${j}), seen);
            }
#endfor
            weights[(ty + ${i}u * SIDE) * LP + tx] = vec4<f32>(s${i}_0, s${i}_1, s${i}_2, s${i}_3);
#endfor
            workgroupBarrier();
            stage_dout(lane, sequence, start, head * p.d);
            workgroupBarrier();
            for (var c = 0u; c < D4; c += 1u) {
#for i in 0..${R}
                let a${i} = second[(ty + ${i}u * SIDE) * LD + c];
#endfor
#for j in 0..${R}
                let b${j} = other[(tx + ${j}u * SIDE) * LD + c];
#endfor
#for e in 0..4
#for i in 0..${R}
#for j in 0..${R}
                d${i}_${j} = fma(a${i}[${e}], b${j}[${e}], d${i}_${j});
#endfor
#endfor
#endfor
            }
            for (var x = 0u; x < SIDE; x += 1u) {
#for i in 0..${R}
                let w${i} = weights[(ty + ${i}u * SIDE) * LP + x];
#endfor
#for j in 0..${R}
#for c in 0..${C4}
                {
                    let v = other[(x + ${j}u * SIDE) * LD + tx + ${c}u * SIDE];
#for i in 0..${R}
                    dv${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, dv${i}_${c});
#endfor
                }
#endfor
#endfor
            }
            workgroupBarrier();
#for i in 0..${R}
#for j in 0..${R}
            d${i}_${j} = s${i}_${j} * (d${i}_${j} - delta${j}) * p.scale;
#endfor
            weights[(ty + ${i}u * SIDE) * LP + tx] = vec4<f32>(d${i}_0, d${i}_1, d${i}_2, d${i}_3);
#endfor
            stage_other(lane, sequence, start, head * p.d);
            workgroupBarrier();
            for (var x = 0u; x < SIDE; x += 1u) {
#for i in 0..${R}
                let w${i} = weights[(ty + ${i}u * SIDE) * LP + x];
#endfor
#for j in 0..${R}
#for c in 0..${C4}
                {
                    let v = other[(x + ${j}u * SIDE) * LD + tx + ${c}u * SIDE];
#for i in 0..${R}
                    dk${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, dk${i}_${c});
#endfor
                }
#endfor
#endfor
            }
        }
    }

#for i in 0..${R}
#for c in 0..${C4}
    write(sequence, first + ty + ${i}u * SIDE, (p.hq + 2u * p.hk) * p.d, key_column, tx + ${c}u * SIDE, dk${i}_${c});
    write(sequence, first + ty + ${i}u * SIDE, (p.hq + 2u * p.hk) * p.d, key_column + p.hk * p.d, tx + ${c}u * SIDE, dv${i}_${c});
#endfor
#endfor
}
