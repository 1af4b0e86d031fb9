// The forward kernel of attention.wgsl: a tile of queries, keys streamed, an online softmax.

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
#for i in 0..${R}
    let query${i} = first + ty + ${i}u * SIDE;
    let begin${i} = first_key(sequence, min(query${i}, p.t - 1u));
    let span${i} = query${i} - begin${i};
    var top${i} = LEAST;
    // The part of the row's sum over the keys of this invocation.
    var total${i} = 0.0;
#for c in 0..${C4}
    var o${i}_${c} = vec4<f32>(0.0);
#endfor
#endfor

    for (var start = first_key(sequence, first) / TILE * TILE; start <= first; start += TILE) {
        workgroupBarrier();
        stage_other(lane, sequence, start, key_column);
        workgroupBarrier();
#for i in 0..${R}
#for j in 0..4
        var s${i}_${j} = 0.0;
#endfor
#endfor
        for (var c = 0u; c < D4; c += 1u) {
#for i in 0..${R}
            let q${i} = own[(ty + ${i}u * SIDE) * LD + c];
#endfor
#for j in 0..${R}
            let k${j} = other[(tx + ${j}u * SIDE) * LD + c];
#endfor
#for e in 0..4
#for i in 0..${R}
#for j in 0..${R}
            s${i}_${j} = fma(q${i}[${e}], k${j}[${e}], s${i}_${j});
#endfor
#endfor
#endfor
        }
#for i in 0..${R}
        {
            var best = LEAST;
#for j in 0..${R}
            s${i}_${j} = select(LEAST, s${i}_${j} * p.scale, start + tx + ${j}u * SIDE - begin${i} <= span${i});
            best = max(best, s${i}_${j});
#endfor
            rows[(ty + ${i}u * SIDE) * SIDE + tx] = best;
        }
#endfor
        workgroupBarrier();
#for i in 0..${R}
        {
            var best = top${i};
#for x in 0..${SIDE}
            best = max(best, rows[(ty + ${i}u * SIDE) * SIDE + ${x}u]);
#endfor
            let keep = exp(top${i} - best);
            top${i} = best;
            total${i} *= keep;
#for j in 0..${R}
            s${i}_${j} = exp(s${i}_${j} - best);
            total${i} += s${i}_${j};
#endfor
#for c in 0..${C4}
            o${i}_${c} *= keep;
#endfor
            weights[(ty + ${i}u * SIDE) * LP + tx] = vec4<f32>(s${i}_0, s${i}_1, s${i}_2, s${i}_3);
        }
#endfor
        stage_other(lane, sequence, start, key_column + p.hk * p.d);
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
                o${i}_${c} = fma(vec4<f32>(w${i}[${j}]), v, o${i}_${c});
#endfor
            }
#endfor
#endfor
        }
    }

#for i in 0..${R}
    rows[(ty + ${i}u * SIDE) * SIDE + tx] = total${i};
#endfor
    workgroupBarrier();
#for i in 0..${R}
    {
        var total = 0.0;
#for x in 0..${SIDE}
        total += rows[(ty + ${i}u * SIDE) * SIDE + ${x}u];
#endfor
#for c in 0..${C4}
        write(sequence, query${i}, p.hq * p.d, head * p.d, tx + ${c}u * SIDE, o${i}_${c} / total);
#endfor
        if tx == 0u && query${i} < p.t {
            lse[(sequence * p.hq + head) * p.t + query${i}] = top${i} + log(total);
        }
    }
#endfor
}
