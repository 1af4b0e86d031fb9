// One entry of each row of logits, chosen by a random number: the likeliest (KIND 0), by softmax from all (1), or from
// the TOP_K likeliest, of which only as many are kept as make up TOP_P of them (2). A workgroup a row. The choice goes
// to `ids`, the row's position advances, and choice and log-probability go to the ring `drawn`, whose slot follows
// from the position. While a position lies in the row's prompt, the choice is the prompt's next entry.
#import rng

struct Params { b: u32, v: u32, p: u32, ring: u32 }
@group(0) @binding(0) var<uniform> p: Params;
// A row's eight words: seed low, seed high, reciprocal temperature, top k, top p, number of entries to choose among,
// length of the prompt, kind.
@group(0) @binding(1) var<storage, read> picks: array<u32>;
@group(0) @binding(2) var<storage, read> logits: array<${ACT}>;
@group(0) @binding(3) var<storage, read> prompts: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> positions: array<u32>;
@group(0) @binding(6) var<storage, read_write> drawn: array<u32>;

const NONE = 0xffffffffu;
// The purpose that rng.rs mixes in for sampling.
const PURPOSE = 5u;
// Most entries that are sorted.
const KEPT = 256u;

var<workgroup> place: u32;
var<workgroup> values: array<f32, 256>;
var<workgroup> indices: array<u32, 256>;
var<workgroup> sums: array<f32, 16>;
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> counts: array<u32, 16>;
var<workgroup> kept: atomic<u32>;
var<workgroup> kept_keys: array<u32, 256>;
var<workgroup> kept_ids: array<u32, 256>;

// By the bits: a compiler may assume that floats are finite, but not this.
fn finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// Ordered like the numbers; 0 for infinities and NaN.
fn key(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if !finite(x) {
        return 0u;
    }
    if (bits & 0x7fffffffu) == 0u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// e^x exactly as on the host: the twin of `exp` in compute/cpu/simd.rs.
fn power(exponent: f32) -> f32 {
    let x = clamp(exponent, -87.3, 88.3);
    let n = round(x * 1.442695041);
    let r = fma(n, 2.1219444e-4, fma(n, -0.693359375, x));
    var q = fma(1.98756915e-4, r, 1.39819995e-3);
    q = fma(q, r, 8.3334519e-3);
    q = fma(q, r, 4.1665796e-2);
    q = fma(q, r, 1.66666655e-1);
    q = fma(q, r, 5.0000001e-1);
    return (fma(q * r, r, r) + 1.0) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}

// A number in 0..1 with 24 bits, for the entry at a position of its text: the twin of `rng::uniform`.
fn uniform_at(row: u32, index: u32) -> f32 {
    var h = mix(picks[row * 8u]);
    h = mix(h ^ picks[row * 8u + 1u]);
    h = mix(h ^ PURPOSE);
    h = mix(mix(mix(h)));
    h = mix(h ^ index);
    return f32(h >> 8u) / 16777216.0;
}

fn finish(row: u32, next: u32, id: u32, logprob: f32) {
    let slot = (next % p.ring * p.b + row) * 2u;
    drawn[slot] = id;
    drawn[slot + 1u] = bitcast<u32>(logprob);
    ids[row] = id;
    positions[row] = next;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = wg.x + wg.y * groups.x;
    if row >= p.b {
        return;
    }
    if lane == 0u {
        place = positions[row] + 1u;
    }
    let next = workgroupUniformLoad(&place);
    if next < min(picks[row * 8u + 6u], p.p) {
        if lane == 0u {
            ids[row] = prompts[row * p.p + next];
            positions[row] = next;
        }
        return;
    }
    let inverse = bitcast<f32>(picks[row * 8u + 2u]);
    let top_k = picks[row * 8u + 3u];
    let known = min(picks[row * 8u + 5u], p.v);
    let kind = picks[row * 8u + 7u];
    // An invocation has adjacent entries, so that sums run in the order of entries.
    let per = (known + 255u) / 256u;
    let start = min(lane * per, known);
    let end = min(start + per, known);
    let first = row * p.v;

    // The likeliest; among equals the first.
    var best = 0.0;
    var best_at = NONE;
    // Eight are fetched before the first is looked at, here and below.
    for (var i = start; i < end; i += 8u) {
#for j in 0..8
        let x${j} = f32(logits[first + min(i + ${j}u, end - 1u)]);
#endfor
#for j in 0..8
        if i + ${j}u < end && finite(x${j}) && (best_at == NONE || x${j} > best) {
            best = x${j};
            best_at = i + ${j}u;
        }
#endfor
    }
    values[lane] = best;
    indices[lane] = best_at;
    workgroupBarrier();
    if lane < 16u {
        best_at = NONE;
        for (var j = lane * 16u; j < lane * 16u + 16u; j += 1u) {
            if indices[j] != NONE && (best_at == NONE || values[j] > best) {
                best = values[j];
                best_at = indices[j];
            }
        }
        sums[lane] = best;
        counts[lane] = best_at;
    }
    workgroupBarrier();
    var top = 0.0;
    var top_at = NONE;
    for (var j = 0u; j < 16u; j += 1u) {
        if counts[j] != NONE && (top_at == NONE || sums[j] > top) {
            top = sums[j];
            top_at = counts[j];
        }
    }
    if kind == 0u {
        if lane == 0u {
            finish(row, next, select(top_at, 0u, top_at == NONE), 0.0);
        }
        return;
    }
    let lot = uniform_at(row, next);

    // The key of the k-th likeliest, determined eight bits at a time.
    var least = 1u;
    if kind == 2u {
        var found = 0u;
        var wanted = top_k;
        for (var shift = 32u; shift > 0u; shift -= 8u) {
            atomicStore(&bins[lane], 0u);
            workgroupBarrier();
            for (var i = start; i < end; i += 1u) {
                let k = key(f32(logits[first + i]));
                // A shift by 32 is one by none.
                if k != 0u && (shift == 32u || k >> (shift % 32u) == found >> (shift % 32u)) {
                    atomicAdd(&bins[(k >> (shift - 8u)) & 255u], 1u);
                }
            }
            workgroupBarrier();
            if lane < 16u {
                var count = 0u;
                for (var j = 0u; j < 16u; j += 1u) {
                    count += atomicLoad(&bins[lane * 16u + j]);
                }
                counts[lane] = count;
            }
            workgroupBarrier();
            var part = 15u;
            while part > 0u && counts[part] < wanted {
                wanted -= counts[part];
                part -= 1u;
            }
            var digit = part * 16u + 15u;
            while digit > part * 16u && atomicLoad(&bins[digit]) < wanted {
                wanted -= atomicLoad(&bins[digit]);
                digit -= 1u;
            }
            found |= digit << (shift - 8u);
            workgroupBarrier();
        }
        least = max(found, 1u);
        if lane == 0u {
            atomicStore(&kept, 0u);
        }
        workgroupBarrier();
        for (var i = start; i < end; i += 1u) {
            let k = key(f32(logits[first + i]));
            if k >= least {
                let at = atomicAdd(&kept, 1u);
                if at < KEPT {
                    kept_keys[at] = k;
                    kept_ids[at] = i;
                }
            }
        }
        workgroupBarrier();
        if lane == 0u {
            place = atomicLoad(&kept);
        }
        let count = workgroupUniformLoad(&place);
        if count <= KEPT && count > 0u {
            // Sort: likeliest first, among equals the lower entry first.
            if lane < count {
                let mine = kept_keys[lane];
                let id = kept_ids[lane];
                var rank = 0u;
                for (var j = 0u; j < count; j += 1u) {
                    let ahead = kept_keys[j] > mine || (kept_keys[j] == mine && kept_ids[j] < id);
                    rank += select(0u, 1u, ahead);
                }
                indices[rank] = id;
                values[rank] = power((f32(logits[first + id]) - top) * inverse);
            }
            workgroupBarrier();
            if lane == 0u {
                var total = 0.0;
                for (var j = 0u; j < count; j += 1u) {
                    total += values[j];
                }
                var many = count;
                let share = bitcast<f32>(picks[row * 8u + 4u]);
                if share < 1.0 {
                    let goal = max(share, 0.0) * total;
                    many = 0u;
                    total = 0.0;
                    while many < count && (many == 0u || total < goal) {
                        total += values[many];
                        many += 1u;
                    }
                }
                var rest = lot * total;
                var at = 0u;
                while at + 1u < many && rest >= values[at] {
                    rest -= values[at];
                    at += 1u;
                }
                finish(row, next, indices[at], log(values[at] / total));
            }
            return;
        }
    }

    // Sample among all that are at least that likely, in the order of entries: first the invocation, then the entry.
    var sum = 0.0;
    for (var i = start; i < end; i += 8u) {
#for j in 0..8
        let x${j} = f32(logits[first + min(i + ${j}u, end - 1u)]);
#endfor
#for j in 0..8
        let w${j} = power((x${j} - top) * inverse);
#endfor
#for j in 0..8
        sum += select(0.0, w${j}, i + ${j}u < end && key(x${j}) >= least);
#endfor
    }
    values[lane] = sum;
    workgroupBarrier();
    if lane < 16u {
        var part = 0.0;
        for (var j = 0u; j < 16u; j += 1u) {
            part += values[lane * 16u + j];
        }
        sums[lane] = part;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var j = 0u; j < 16u; j += 1u) {
        total += sums[j];
    }
    var rest = lot * total;
    var part = 0u;
    while part < 15u && rest >= sums[part] {
        rest -= sums[part];
        part += 1u;
    }
    var owner = part * 16u;
    while owner < part * 16u + 15u && rest >= values[owner] {
        rest -= values[owner];
        owner += 1u;
    }
    if lane != owner {
        return;
    }
    // Past the end by a rounding error: the last entry that could be sampled here, or else the likeliest.
    var id = top_at;
    for (var i = start; i < end && rest >= 0.0; i += 8u) {
#for j in 0..8
        let x${j} = f32(logits[first + min(i + ${j}u, end - 1u)]);
#endfor
#for j in 0..8
        let w${j} = power((x${j} - top) * inverse);
#endfor
#for j in 0..8
        if rest >= 0.0 && i + ${j}u < end && key(x${j}) >= least {
            id = i + ${j}u;
            rest -= w${j};
        }
#endfor
    }
    if id == NONE {
        finish(row, next, 0u, 0.0);
    } else {
        finish(row, next, id, (f32(logits[first + id]) - top) * inverse - log(total));
    }
}
