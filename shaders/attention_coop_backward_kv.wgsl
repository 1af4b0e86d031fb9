// The gradients of 64 keys and their values, over the queries that attend to them, of every query head that reads this
// key head: dV = Pᵀ·dO, dK = dSᵀ·Q·scale with dS = P·(dO·Vᵀ − delta). S and dP are computed transposed: rows are keys.

// A tile of queries, then one of dout.
const SECOND = ${BC}u * LD;

var<workgroup> tiles: array<vec4<f16>, ${OWN}u * LD>;
var<workgroup> scores: array<vec4<f32>, 64u * LS>;
var<workgroup> slopes: array<vec4<f32>, 64u * LS>;
var<workgroup> weights: array<vec4<f16>, 64u * LS>;
var<workgroup> turned: array<vec4<f16>, 64u * LS>;
var<workgroup> logs: array<vec4<f32>, ${BC}u / 4u>;
var<workgroup> means: array<vec4<f32>, ${BC}u / 4u>;
var<workgroup> starts: array<vec4<u32>, ${BC}u / 4u>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let key_head = wg.x;
    let sequence = wg.y;
    let first = wg.z * 64u;
    let key_column = (p.hq + key_head) * D4;
    let value_column = key_column + p.hk * D4;
    let heads = p.hq / p.hk;
    let end = end_of_rows(sequence, first, min(first + 64u, p.t));
    let team_row = lane / 32u * 16u;
    let row = lane / 2u;
    let side = lane % 2u;
    let key = first + row;
    let log2e_scale = p.scale * LOG2E;

#for u in 0..${OWN_LOADS}
    tiles[place(lane + ${u}u * 128u)] = qkv_vector(sequence, first, key_column, lane + ${u}u * 128u);
#endfor
    workgroupBarrier();
#for g in 0..${GROUPS}
#for n in 0..${PER}
    let k${g}_${n} = coopLoadT<coop_mat16x16<f16, A>>(&tiles[team_row * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
#endfor
#endfor
    workgroupBarrier();
#for u in 0..${OWN_LOADS}
    tiles[place(lane + ${u}u * 128u)] = qkv_vector(sequence, first, value_column, lane + ${u}u * 128u);
#endfor
    workgroupBarrier();
#for g in 0..${GROUPS}
#for n in 0..${PER}
    let v${g}_${n} = coopLoadT<coop_mat16x16<f16, A>>(&tiles[team_row * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
    var dk${g}_${n} = coop_mat16x16<f32, C>();
    var dv${g}_${n} = coop_mat16x16<f32, C>();
#endfor
#endfor
#for u in 0..${LOADS}
    var query${u} = qkv_vector(sequence, first, key_head * heads * D4, lane + ${u}u * 128u);
    var dout${u} = dout_vector(sequence, first, key_head * heads * D4, lane + ${u}u * 128u);
#endfor

    for (var head = key_head * heads; head < (key_head + 1u) * heads; head += 1u) {
        for (var start = first; start < end; start += ${BC}u) {
            workgroupBarrier();
#for u in 0..${LOADS}
            tiles[place(lane + ${u}u * 128u)] = query${u};
            tiles[SECOND + place(lane + ${u}u * 128u)] = dout${u};
#endfor
            if lane < ${BC}u / 4u {
                let q = min(vec4<u32>(start + lane * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.t - 1u));
                let at = (sequence * p.hq + head) * p.t;
                logs[lane] = vec4<f32>(lse[at + q.x], lse[at + q.y], lse[at + q.z], lse[at + q.w]) * LOG2E;
                means[lane] = vec4<f32>(delta[at + q.x], delta[at + q.y], delta[at + q.z], delta[at + q.w]);
                starts[lane] = vec4<u32>(
                    first_key(sequence, q.x),
                    first_key(sequence, q.y),
                    first_key(sequence, q.z),
                    first_key(sequence, q.w),
                );
            }
            workgroupBarrier();
            // The next tile: of this head, or the first of the next one.
            let over = start + ${BC}u >= end;
            let next_start = select(start + ${BC}u, first, over);
            let next_head = min(head + select(0u, 1u, over), p.hq - 1u);
#for u in 0..${LOADS}
            query${u} = qkv_vector(sequence, next_start, next_head * D4, lane + ${u}u * 128u);
            dout${u} = dout_vector(sequence, next_start, next_head * D4, lane + ${u}u * 128u);
#endfor
#for c in 0..${NC}
            var s${c} = coop_mat16x16<f32, C>();
            var d${c} = coop_mat16x16<f32, C>();
#endfor
#for g in 0..${GROUPS}
#for n in 0..${PER}
#for c in 0..${NC}
            let q${g}_${n}_${c} = coopLoad<coop_mat16x16<f16, B>>(&tiles[${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
            s${c} = coopMultiplyAdd(k${g}_${n}, q${g}_${n}_${c}, s${c});
            let do${g}_${n}_${c} = coopLoad<coop_mat16x16<f16, B>>(&tiles[SECOND + ${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
            d${c} = coopMultiplyAdd(v${g}_${n}, do${g}_${n}_${c}, d${c});
#endfor
#endfor
#endfor
#for c in 0..${NC}
            let at${c} = team_row * LS + ${c}u * 4u;
            let score${c} = s${c};
            coopStoreT(score${c}, &scores[at${c}], LS);
            let slope${c} = d${c};
            coopStoreT(slope${c}, &slopes[at${c}], LS);
#endfor
            workgroupBarrier();
#for i in 0..${HALF_ROW}
            {
                let column = side + 2u * ${i}u;
                let at = row * LS + column;
                let query = vec4<u32>(start + column * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
                let seen = (vec4<u32>(key) - starts[column] <= query - starts[column]) & (query < vec4<u32>(p.t));
                let weight = select(vec4<f32>(0.0), exp2(scores[at] * log2e_scale - logs[column]), seen);
                weights[at] = vec4<f16>(weight);
                turned[at] = vec4<f16>(weight * (slopes[at] - means[column]));
            }
#endfor
            workgroupBarrier();
#for c in 0..${NC}
            let w${c} = coopLoadT<coop_mat16x16<f16, A>>(&weights[team_row * LS + ${c}u * 4u], LS);
            let t${c} = coopLoadT<coop_mat16x16<f16, A>>(&turned[team_row * LS + ${c}u * 4u], LS);
#for g in 0..${GROUPS}
#for n in 0..${PER}
            let dot${g}_${n}_${c} = coopLoadT<coop_mat16x16<f16, B>>(&tiles[SECOND + ${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
            dv${g}_${n} = coopMultiplyAdd(w${c}, dot${g}_${n}_${c}, dv${g}_${n});
            let qt${g}_${n}_${c} = coopLoadT<coop_mat16x16<f16, B>>(&tiles[${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
            dk${g}_${n} = coopMultiplyAdd(t${c}, qt${g}_${n}_${c}, dk${g}_${n});
#endfor
#endfor
#endfor
        }
    }

    // As many fragments as a patch holds, PER at a time.
#for g in 0..${GROUPS}
    workgroupBarrier();
#for n in 0..${PER}
    let out_at${g}_${n} = team_row * LS + ${n}u * 4u;
    let out_k${g}_${n} = dk${g}_${n};
    coopStoreT(out_k${g}_${n}, &scores[out_at${g}_${n}], LS);
    let out_v${g}_${n} = dv${g}_${n};
    coopStoreT(out_v${g}_${n}, &slopes[out_at${g}_${n}], LS);
#endfor
    workgroupBarrier();
    if key < p.t {
        let to = (sequence * p.t + key) * (p.hq + 2u * p.hk) * D4 + ${g}u * ${PER}u * 4u + side;
#for n in 0..${PER}
        out[to + key_column + ${n}u * 4u] = vec4<f16>(scores[row * LS + side + ${n}u * 4u] * p.scale);
        out[to + key_column + ${n}u * 4u + 2u] = vec4<f16>(scores[row * LS + side + ${n}u * 4u + 2u] * p.scale);
        out[to + value_column + ${n}u * 4u] = vec4<f16>(slopes[row * LS + side + ${n}u * 4u]);
        out[to + value_column + ${n}u * 4u + 2u] = vec4<f16>(slopes[row * LS + side + ${n}u * 4u + 2u]);
#endfor
    }
#endfor
}
