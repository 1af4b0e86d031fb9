// The gradient of 64 queries: dS = P·(dO·Vᵀ − delta) over the keys that they attend to, dQ = dS·K·scale. P is
// recomputed from lse.

// A tile of keys, then one of values.
const SECOND = ${BC}u * LD;

var<workgroup> tiles: array<vec4<f16>, ${OWN}u * LD>;
var<workgroup> scores: array<vec4<f32>, 64u * LS>;
var<workgroup> slopes: array<vec4<f32>, 64u * LS>;
var<workgroup> turned: array<vec4<f16>, 64u * LS>;

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
    let inside = min(query, p.t - 1u);
    let begin = first_key(sequence, inside);
    let span = inside - begin;
    let log2e_scale = p.scale * LOG2E;
    let log = lse[(sequence * p.hq + head) * p.t + inside] * LOG2E;
    let mean = delta[(sequence * p.hq + head) * p.t + inside];

#for u in 0..${OWN_LOADS}
    tiles[place(lane + ${u}u * 128u)] = qkv_vector(sequence, first, head * D4, lane + ${u}u * 128u);
#endfor
    workgroupBarrier();
#for g in 0..${GROUPS}
#for n in 0..${PER}
    let q${g}_${n} = coopLoadT<coop_mat16x16<f16, A>>(&tiles[team_row * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
#endfor
#endfor
    workgroupBarrier();
#for u in 0..${OWN_LOADS}
    tiles[place(lane + ${u}u * 128u)] = dout_vector(sequence, first, head * D4, lane + ${u}u * 128u);
#endfor
    workgroupBarrier();
#for g in 0..${GROUPS}
#for n in 0..${PER}
    let do${g}_${n} = coopLoadT<coop_mat16x16<f16, A>>(&tiles[team_row * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
    var dq${g}_${n} = coop_mat16x16<f32, C>();
#endfor
#endfor
    let least = first_key(sequence, min(first, p.t - 1u)) / ${BC}u * ${BC}u;
#for u in 0..${LOADS}
    var key${u} = qkv_vector(sequence, least, key_column, lane + ${u}u * 128u);
    var value${u} = qkv_vector(sequence, least, value_column, lane + ${u}u * 128u);
#endfor

    for (var start = least; start < end; start += ${BC}u) {
        workgroupBarrier();
#for u in 0..${LOADS}
        tiles[place(lane + ${u}u * 128u)] = key${u};
        tiles[SECOND + place(lane + ${u}u * 128u)] = value${u};
#endfor
        workgroupBarrier();
#for u in 0..${LOADS}
        key${u} = qkv_vector(sequence, start + ${BC}u, key_column, lane + ${u}u * 128u);
        value${u} = qkv_vector(sequence, start + ${BC}u, value_column, lane + ${u}u * 128u);
#endfor
#for c in 0..${NC}
        var s${c} = coop_mat16x16<f32, C>();
        var d${c} = coop_mat16x16<f32, C>();
#endfor
#for g in 0..${GROUPS}
#for n in 0..${PER}
#for c in 0..${NC}
        let k${g}_${n}_${c} = coopLoad<coop_mat16x16<f16, B>>(&tiles[${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
        s${c} = coopMultiplyAdd(q${g}_${n}, k${g}_${n}_${c}, s${c});
        let v${g}_${n}_${c} = coopLoad<coop_mat16x16<f16, B>>(&tiles[SECOND + ${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
        d${c} = coopMultiplyAdd(do${g}_${n}, v${g}_${n}_${c}, d${c});
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
            let at = row * LS + side + 2u * ${i}u;
            let key = vec4<u32>(start + (side + 2u * ${i}u) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
            let seen = key - vec4<u32>(begin) <= vec4<u32>(span);
            let weight = select(vec4<f32>(0.0), exp2(scores[at] * log2e_scale - log), seen);
            turned[at] = vec4<f16>(weight * (slopes[at] - mean));
        }
#endfor
        workgroupBarrier();
#for c in 0..${NC}
        let t${c} = coopLoadT<coop_mat16x16<f16, A>>(&turned[team_row * LS + ${c}u * 4u], LS);
#for g in 0..${GROUPS}
#for n in 0..${PER}
        let kt${g}_${n}_${c} = coopLoadT<coop_mat16x16<f16, B>>(&tiles[${c}u * 16u * LD + (${g}u * ${PER}u + ${n}u) * 4u], LD);
        dq${g}_${n} = coopMultiplyAdd(t${c}, kt${g}_${n}_${c}, dq${g}_${n});
#endfor
#endfor
#endfor
    }

    // As many fragments as a patch holds, PER at a time.
#for g in 0..${GROUPS}
    workgroupBarrier();
#for n in 0..${PER}
    let out_at${g}_${n} = team_row * LS + ${n}u * 4u;
    let out${g}_${n} = dq${g}_${n};
    coopStoreT(out${g}_${n}, &scores[out_at${g}_${n}], LS);
#endfor
    workgroupBarrier();
    if query < p.t {
        let to = ((sequence * p.t + query) * (p.hq + 2u * p.hk) + head) * D4 + ${g}u * ${PER}u * 4u + side;
#for n in 0..${PER}
        out[to + ${n}u * 4u] = vec4<f16>(scores[row * LS + side + ${n}u * 4u] * p.scale);
        out[to + ${n}u * 4u + 2u] = vec4<f16>(scores[row * LS + side + ${n}u * 4u + 2u] * p.scale);
#endfor
    }
#endfor
}
