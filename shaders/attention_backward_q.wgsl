// The gradient of the queries, of attention.wgsl: a tile of queries and of dout, keys and values
// streamed. dP = dout·vᵀ, P = e^(q·kᵀ·scale − lse), dS = P (dP − δ) scale, dq = Σ dS·k.

@compute @workgroup_size(SIDE * SIDE)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = wg.x;
    let sequence = wg.y;
    // The longest rows start first.
    let first = (groups.z - 1u - wg.z) * TILE;
    let key_column = (p.hq + head / (p.hq / p.hk)) * p.d;
    let tx = lane % SIDE;
    let ty = lane / SIDE;
    stage_own(lane, sequence, first, head * p.d);
    stage_second(lane, sequence, first, head * p.d);
#for i in 0..${R}
    let query${i} = first + ty + ${i}u * SIDE;
    let begin${i} = first_key(sequence, min(query${i}, p.t - 1u));
    let span${i} = query${i} - begin${i};
    let row${i} = (sequence * p.hq + head) * p.t + min(query${i}, p.t - 1u);
    let lse${i} = lse[row${i}];
    let delta${i} = delta[row${i}];
#for c in 0..${C4}
    var g${i}_${c} = vec4<f32>(0.0);
#endfor
#endfor

    for (var start = first_key(sequence, first) / TILE * TILE; start <= first; start += TILE) {
        workgroupBarrier();
        stage_other(lane, sequence, start, key_column + p.hk * p.d);
        workgroupBarrier();
#for i in 0..${R}
#for j in 0..4
        var s${i}_${j} = 0.0;
        var d${i}_${j} = 0.0;
#endfor
#endfor
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
        workgroupBarrier();
        stage_other(lane, sequence, start, key_column);
        workgroupBarrier();
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
#for i in 0..${R}
#for j in 0..${R}
        {
            let seen = start + tx + ${j}u * SIDE - begin${i} <= span${i};
            let chance = select(0.0, exp(s${i}_${j} * p.scale - lse${i}), seen);
            d${i}_${j} = chance * (d${i}_${j} - delta${i}) * p.scale;
        }
#endfor
        weights[(ty + ${i}u * SIDE) * LP + tx] = vec4<f32>(d${i}_0, d${i}_1, d${i}_2, d${i}_3);
#endfor
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
                g${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, g${i}_${c});
#endfor
            }
#endfor
#endfor
        }
    }

#for i in 0..${R}
#for c in 0..${C4}
    write(sequence, query${i}, (p.hq + 2u * p.hk) * p.d, head * p.d, tx + ${c}u * SIDE, g${i}_${c});
#endfor
#endfor
}
