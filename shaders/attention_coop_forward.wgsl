// out = softmax(q·kᵀ)·v for 64 queries, in one pass over the keys.
//
// The output stays in accumulators, which lanes cannot scale. So the number subtracted from the scores before the
// exponential is not the running maximum but a reference, which moves only when a score exceeds it by more than 2^JUMP
// (Dao et al., FlashAttention-4): then all rows of the workgroup rescale their outputs through the patch once. P
// reaches at most 2^JUMP, well within f16.

const JUMP = 8.0;
// About the lowest float: a score without weight.
const LEAST = -3.4e38;

var<workgroup> keys: array<vec4<f16>, ${OWN}u * LD>;
var<workgroup> values: array<vec4<f16>, ${BC}u * LD>;
var<workgroup> scores: array<vec4<f32>, 64u * LS>;
var<workgroup> weights: array<vec4<f16>, 64u * LS>;
var<workgroup> pairs: array<f32, 128>;
var<workgroup> jumped: array<atomic<u32>, 4>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = wg.x;
    let sequence = wg.y;
    // The longest rows first.
    let first = (groups.z - 1u - wg.z) * 64u;
    let end = min(first + 64u, p.t);
    let key_column = (p.hq + head / (p.hq / p.hk)) * D4;
    let value_column = key_column + p.hk * D4;
    let team_row = lane / 32u * 16u;
    let row = lane / 2u;
    let side = lane % 2u;
    let query = first + row;
    let begin = first_key(sequence, min(query, p.t - 1u));
    let span = min(query, p.t - 1u) - begin;
    let log2e_scale = p.scale * LOG2E;

#for u in 0..${OWN_LOADS}
    keys[place(lane + ${u}u * 128u)] = qkv_vector(sequence, first, head * D4, lane + ${u}u * 128u);
#endfor
    workgroupBarrier();
#for g in 0..${GROUPS}
#for n in 0..${PER}
    let q${g}_${n} = coopLoadT<coop_mat16x16<f16, A>>(&keys[team_row * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
    var o${g}_${n} = coop_mat16x16<f32, C>();
#endfor
#endfor
    var top = LEAST;
    var total = 0.0;
    // The same sum over the weights as the product takes them, which makes the output their exact mean of the values.
    var rounded = 0.0;
    let least = first_key(sequence, min(first, p.t - 1u)) / ${BC}u * ${BC}u;
#for u in 0..${LOADS}
    var key${u} = qkv_vector(sequence, least, key_column, lane + ${u}u * 128u);
    var value${u} = qkv_vector(sequence, least, value_column, lane + ${u}u * 128u);
#endfor

    for (var start = least; start < end; start += ${BC}u) {
        workgroupBarrier();
#for u in 0..${LOADS}
        keys[place(lane + ${u}u * 128u)] = key${u};
        values[place(lane + ${u}u * 128u)] = value${u};
#endfor
        if lane == 0u {
            atomicStore(&jumped[0], 0u);
        }
        workgroupBarrier();
#for u in 0..${LOADS}
        key${u} = qkv_vector(sequence, start + ${BC}u, key_column, lane + ${u}u * 128u);
        value${u} = qkv_vector(sequence, start + ${BC}u, value_column, lane + ${u}u * 128u);
#endfor
#for c in 0..${NC}
        var s${c} = coop_mat16x16<f32, C>();
#endfor
#for g in 0..${GROUPS}
#for n in 0..${PER}
#for c in 0..${NC}
        let k${g}_${n}_${c} = coopLoad<coop_mat16x16<f16, B>>(&keys[${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
        s${c} = coopMultiplyAdd(q${g}_${n}, k${g}_${n}_${c}, s${c});
#endfor
#endfor
#endfor
#for c in 0..${NC}
        let score_at${c} = team_row * LS + ${c}u * 4u;
        let score${c} = s${c};
        coopStoreT(score${c}, &scores[score_at${c}], LS);
#endfor
        workgroupBarrier();
        var best = LEAST;
#for i in 0..${HALF_ROW}
        var x${i} = scores[row * LS + side + 2u * ${i}u] * log2e_scale;
        {
            let key = vec4<u32>(start + (side + 2u * ${i}u) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
            x${i} = select(vec4<f32>(LEAST), x${i}, key - vec4<u32>(begin) <= vec4<u32>(span));
            best = max(best, max(max(x${i}.x, x${i}.y), max(x${i}.z, x${i}.w)));
        }
#endfor
        if best > top + JUMP {
            atomicStore(&jumped[0], 1u);
        }
        pairs[lane] = best;
        // Uniform, and a barrier.
        if workgroupUniformLoad(&jumped[0]) != 0u {
            let now = max(top, max(best, pairs[lane ^ 1u]));
            let keep = exp2(top - now);
            total *= keep;
            rounded *= keep;
            top = now;
#for g in 0..${GROUPS}
            workgroupBarrier();
#for n in 0..${PER}
            let kept_at${g}_${n} = team_row * LS + ${n}u * 4u;
            let kept${g}_${n} = o${g}_${n};
            coopStoreT(kept${g}_${n}, &scores[kept_at${g}_${n}], LS);
#endfor
            workgroupBarrier();
#for n in 0..${PER}
            scores[row * LS + side + ${n}u * 4u] *= keep;
            scores[row * LS + side + ${n}u * 4u + 2u] *= keep;
#endfor
            workgroupBarrier();
#for n in 0..${PER}
            o${g}_${n} = coopLoadT<coop_mat16x16<f32, C>>(&scores[team_row * LS + ${n}u * 4u], LS);
#endfor
#endfor
        }
#for i in 0..${HALF_ROW}
        x${i} = exp2(x${i} - top);
        total += x${i}.x + x${i}.y + x${i}.z + x${i}.w;
        let half${i} = vec4<f16>(x${i});
        let near${i} = vec4<f32>(half${i});
        rounded += near${i}.x + near${i}.y + near${i}.z + near${i}.w;
        weights[row * LS + side + 2u * ${i}u] = half${i};
#endfor
        workgroupBarrier();
#for c in 0..${NC}
        let w${c} = coopLoadT<coop_mat16x16<f16, A>>(&weights[team_row * LS + ${c}u * 4u], LS);
#for g in 0..${GROUPS}
#for n in 0..${PER}
        let v${g}_${n}_${c} = coopLoadT<coop_mat16x16<f16, B>>(&values[${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
        o${g}_${n} = coopMultiplyAdd(w${c}, v${g}_${n}_${c}, o${g}_${n});
#endfor
#endfor
#endfor
    }

    workgroupBarrier();
    pairs[lane] = total;
    workgroupBarrier();
    let sum = total + pairs[lane ^ 1u];
    workgroupBarrier();
    pairs[lane] = rounded;
    workgroupBarrier();
    let divisor = rounded + pairs[lane ^ 1u];
#for g in 0..${GROUPS}
    workgroupBarrier();
#for n in 0..${PER}
    let out_at${g}_${n} = team_row * LS + ${n}u * 4u;
    let out${g}_${n} = o${g}_${n};
    coopStoreT(out${g}_${n}, &scores[out_at${g}_${n}], LS);
#endfor
    workgroupBarrier();
    if query < p.t {
        let to = ((sequence * p.t + query) * p.hq + head) * D4 + ${g}u * ${PER}u * 4u + side;
#for n in 0..${PER}
        let left${g}_${n} = scores[row * LS + side + ${n}u * 4u] / divisor;
        let right${g}_${n} = scores[row * LS + side + ${n}u * 4u + 2u] / divisor;
        exact[to + ${n}u * 4u] = left${g}_${n};
        exact[to + ${n}u * 4u + 2u] = right${g}_${n};
        out[to + ${n}u * 4u] = vec4<f16>(left${g}_${n});
        out[to + ${n}u * 4u + 2u] = vec4<f16>(right${g}_${n});
#endfor
    }
#endfor
    if query < p.t && side == 0u {
        lse[(sequence * p.hq + head) * p.t + query] = (top + log2(sum)) / LOG2E;
    }
}
