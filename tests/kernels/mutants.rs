//! Wrong kernels: each must fail its check, or the check proves nothing.

use danlu::compute::{KERNELS, Kernel, Opening, check, kernel};
use libtest_mimic::{Failed, Trial};

/// A kernel, a piece of its expanded WGSL, and the replacement.
const MUTANTS: &[(&str, &str, &str)] = &[
    ("fill", "out[i] = p.value", "out[i] = -p.value"),
    ("fill", "if i < p.n {", "if i + 1u < p.n {"),
    ("add", "a[i] + b[i]", "a[i] - b[i]"),
    ("add", "if i < p.n {", "if i < p.n + 1u {"),
    ("narrow", "out[i] = f16(cut(x[i]))", "out[i] = f16(x[i])"),
    ("narrow", "* select(control[8]", "/ select(control[8]"),
    ("matmul_tn.32v.h", "all += ", "all -= "),
    ("rmsnorm_backward.256v.h", "vec4<f16>(d)", "vec4<f16>(-d)"),
    ("adamw.h", "f16(cut(updated))", "f16(cut(params[i] * shrink))"),
    ("adamw_prepare", "min(2.0 * scale", "min(4.0 * scale"),
    ("adamw_prepare", "control[10] += 1.0", "control[7] += 1.0"),
    ("cross_entropy.h", "weights[row] * select", "weights[row] / select"),
    ("scale", "* p.factor", "* abs(p.factor)"),
    ("dropout", "mix(key ^ i)", "mix(key ^ (i + 1u))"),
    ("dropout", ">= limit", "< limit"),
    ("sum", "i < p.n", "i + 1u < p.n"),
    ("sum", "total + out[0]", "total"),
    ("column_sum", "(row + 3u * 16u) * p.c", "(row + 2u * 16u) * p.c"),
    ("column_sum.wide", "(row + 5u) * p.c", "(row + 4u) * p.c"),
    ("cross_entropy.v.h", "wanted % 4u", "wanted % 2u"),
    ("cross_entropy.v.h", "at == vec4<u32>(wanted)", "at == vec4<u32>(wanted + 1u)"),
    ("column_sum", "row < p.g; row += 16u", "row < p.g; row += 32u"),
    ("column_sum", "total += f32(out[column])", "total -= f32(out[column])"),
    ("column_sum.wide", "row < p.g", "row + 1u < p.g"),
    ("square_sum", "+ 3u) / 4u * 4u", "+ 3u)"),
    ("embedding_forward", "p.v - 1u", "p.v - 2u"),
    ("embedding_backward", " + parts[lane + 192u]", ""),
    ("embedding_backward", "+= total", "= total"),
    ("embedding_backward", "order[i + 7u * 4u]", "order[i + 6u * 4u]"),
    ("embedding_backward", "wg.z * 64u", "wg.z * 32u"),
    ("rmsnorm_forward", "+ p.eps", "- p.eps * 100.0"),
    ("rmsnorm_forward", "i < p.c", "i + 1u < p.c"),
    ("add_rmsnorm_forward", "x[i] + f32(delta[i])", "x[i]"),
    ("rmsnorm_backward", "- v * pull", "+ v * pull"),
    ("rmsnorm_backward", "row != wg.x", "row == wg.x"),
    ("rmsnorm_backward.256v", "- v0 * pull", "+ v0 * pull"),
    ("rmsnorm_backward.512v", "shares[lane + 192u]", "shares[lane + 128u]"),
    ("rmsnorm_backward.768v", "team * 8u + 7u", "team * 8u + 6u"),
    ("rmsnorm_backward.1024v", "row = start + team * p.g", "row = start + team"),
    ("rope", "x * c - y * s", "x * c + y * s"),
    ("rope", "p.inverse == 1u", "p.inverse == 0u"),
    ("attention_forward", "<= span", "< span"),
    ("attention_forward", "- begin0 <= span0", "<= query0"),
    ("attention_forward", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
    ("attention_forward.64", "- begin1 <= span1", "<= query1"),
    ("attention_forward.32v", "- begin3 <= span3", "<= query3"),
    ("attention_forward.64v", "begins[sequence * p.t + row], row)", "begins[row], row)"),
    ("attention_forward.64v", "first_key(sequence, first) / TILE", "first_key(sequence, first + 1u) / TILE"),
    ("attention_forward.128v", "- begin1 <= span1", "<= query1"),
    ("attention_forward.32w", "- begin2 <= span2", "<= query2"),
    ("attention_forward.32w", "let begin1 =", "let begin1 = 1u +"),
    ("attention_forward.32w", "first_key(sequence, first) / ROWS", "first_key(sequence, first + OWN - 1u) / ROWS"),
    ("attention_forward.32v", "*= keep", "*= 1.0"),
    ("attention_forward.64v", "head / (p.hq / p.hk)", "head % p.hk"),
    ("attention_forward.64", "log(total)", "total"),
    ("attention_forward.128v", "start <= first", "start < first"),
    ("attention_delta", "total += parts[lane + 7u];", ""),
    ("attention_backward_q", "- delta0", "+ delta0"),
    ("attention_backward_q", "- begin0 <= span0", "<= query0"),
    ("attention_backward_q.64", "- begin1 <= span1", "<= query1"),
    ("attention_backward_q.32v", "- begin2 <= span2", "<= query2"),
    ("attention_backward_q.64v", "<= span3", "< span3"),
    ("attention_backward_q.64v", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
    ("attention_backward_q.128v", "first_key(sequence, first) / TILE", "first_key(sequence, first + TILE / 2u) / TILE"),
    ("attention_backward_kv", "<= span0 &&", "< span0 &&"),
    ("attention_backward_kv", "- begin0 <= span0", "<= query0"),
    ("attention_backward_kv", "min(begins[sequence * p.t + row], row)", "begins[sequence * p.t + row]"),
    ("attention_backward_kv.64", "- begin1 <= span1", "<= query1"),
    ("attention_backward_kv.64v", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
    ("attention_backward_kv.128v", "< limit {", "+ 1u < limit {"),
    ("attention_backward_kv.128v", "first + TILE)", "first + TILE / 2u)"),
    ("attention_backward_kv.64v", "head < (key_head + 1u) * heads", "head < key_head * heads + 1u"),
    ("attention_backward_kv.32v", "* p.scale;", ";"),
    ("attention_forward.32w", "*= keep", "*= 1.0"),
    ("attention_forward.32w", "first + OWN, p.t", "first + 1u, p.t"),
    ("attention_backward_q.32w", "start + ROWS, key_column", "start, key_column"),
    ("attention_backward_q.32w", "<= span3", "< span3"),
    ("attention_backward_q.32w", "- begin3 <= span3", "<= query3"),
    ("attention_backward_q.32w", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
    ("attention_backward_kv.32w", "select(0u, 1u, over)", "0u"),
    ("attention_backward_kv.32w", "&& seen1 < p.t", ""),
    ("attention_backward_kv.32w", "- begin1 <= span1", "<= seen1"),
    ("attention_backward_kv.32w", "begins[sequence * p.t + row], row)", "begins[sequence * p.t + row] + 1u, row)"),
    ("attention_backward_kv.32w", "< limit {", "+ 1u < limit {"),
    ("cache_append", "position < p.p", "position + 1u < p.p"),
    ("attention_decode", "positions[row] + 1u", "positions[row]"),
    ("attention_decode", "total *= keep", "total *= 1.0"),
    ("attention_step", "seen = min(position + 1u", "seen = min(position"),
    ("attention_step", "acc *= keep", "acc *= 1.0"),
    ("attention_step", "qkv[value_at + column]", "qkv[key_at + column]"),
    ("attention_step", "% (p.hq / p.hk) == 0u", "% (p.hq / p.hk) == 1u"),
    ("attention_step", "x * c - y * s", "x * c + y * s"),
    ("attention_row", "seen = min(position + 1u", "seen = min(position"),
    ("attention_row", "acc *= keep", "acc *= 1.0"),
    ("attention_row", "qkv[p.hq * quads + value_at + column]", "qkv[p.hq * quads + key_at + column]"),
    ("attention_row", "a * c - b * s", "a * c + b * s"),
    ("attention_row", "before + whole(lane)", "whole(lane)"),
    ("attention_row", "(l + 1u) * PITCH", "l * PITCH"),
    ("attention_row", "position * width + i", "position * width + i / 2u"),
    ("mlp_row", "exp(-gate)", "exp(gate)"),
    ("mlp_row", "7u / 4u * p.f", "6u / 8u * p.f"),
    ("mlp_row", "f32(c) + eps", "f32(c + 1u) + eps"),
    ("matmul_few.1", "first += 4u * 32u", "first += 5u * 32u"),
    ("matmul_few.8", "min(q0, quads - 1u)", "min(q0, quads - 2u)"),
    ("matmul_few.8x4", "3u;\n            if col < width", "2u;\n            if col < width"),
    ("matmul_swiglu_few.1", "exp(-gate)", "exp(gate)"),
    ("matmul_swiglu_few.8x4", "+ 3u % 2u * width", "+ 2u % 2u * width"),
    ("sample", "|| x3 > best", "|| x3 >= best"),
    ("sample", "select(0.0, w7", "select(0.0, w6"),
    ("sample", "rest -= w5", "rest -= w4"),
    ("sample", "positions[row] + 1u", "positions[row] + 2u"),
    ("sample", "h = mix(mix(mix(h)))", "h = mix(mix(h))"),
    ("sample", "k >= least", "k > least"),
    ("sample", "kept_ids[j] < id", "kept_ids[j] > id"),
    ("sample", "total < goal", "total <= goal * 0.5"),
    ("sample", "min(picks[row * 8u + 6u], p.p)", "picks[row * 8u + 6u] - 1u"),
    ("swiglu_forward", "exp(-g)", "exp(g)"),
    ("swiglu_backward", "(1.0 - s)", "(1.0 + s)"),
    ("cross_entropy", "share - scale", "share + scale"),
    ("cross_entropy", ">= p.v", "> p.v"),
    ("cross_entropy", "* weights[row]", ""),
    ("cross_entropy", "weights[row]", "weights[0]"),
    ("cross_entropy", "weights[row]", "abs(weights[row])"),
    ("entropy", "- mean", "+ mean"),
    ("entropy", "moment += e * x", "moment += x"),
    ("entropy", ">= p.v", "> p.v"),
    ("entropy", "share += e;", "share += 1.0;"),
    ("cross_entropy", "let half = 128u >> 7u", "let half = 0u"),
    ("adamw_prepare", "&& finite(mean)", ""),
    ("adamw_prepare", "select(control[4], 1.0, fresh)", "control[4]"),
    ("adamw", "i < p.decayed", "i <= p.decayed"),
    ("adamw", "control[2] == 0.0", "control[2] == 2.0"),
    ("matmul_nn", "row >= p.m", "row > p.m"),
    ("matmul_nt.64v", "row < rows && col < cols", "row < rows || col < cols"),
    ("matmul_nn.128v", "SKEW * q) % BM4", "SKEW * q + 1u) % BM4"),
    ("matmul_nt", "k < end; k += BK", "k + BK < end; k += BK"),
    ("matmul_nt.32v", "all += ", "all -= "),
    ("matmul_nt.64x128v", "block_b(line1, k + BK", "block_b(line1, k"),
    ("matmul_tn", "place0.y * 4u", "place0.y * 3u"),
    ("matmul_tn.32", "transpose", "transpose"),
    ("matmul_tn_split", "min(start + p.span, p.k)", "start + p.span"),
    ("matmul_nn_split.64x128v", "matrix * p.m", "matrix * p.n"),
    // On cooperative matrices; skipped where there are none.
    ("matmul_nt.128c", "row0 + team_row + l / 4u", "row0 + team_row + l / 8u"),
    ("matmul_nt.64c", "min(first + column, p.n - 1u)", "min(first + column + 1u, p.n - 1u)"),
    ("matmul_nn.256c", "at_b0 += step_b", "at_b0 += 0u"),
    ("matmul_nn.128c", "at_a3 += step_a", "at_a3 += 0u"),
    ("matmul_tn.128wc", "p.accumulate == 1u", "p.accumulate == 0u"),
    ("matmul_tn_split.64c", "piece * p.m", "piece * p.n"),
    ("matmul_rope.128c", "select(sine, -sine", "select(-sine, sine"),
    ("matmul_rope.64c", "col < p.rotated", "col < p.n"),
    ("matmul_swiglu.128c", "1.0 + exp(-g)", "1.0 + exp(g)"),
    ("matmul_swiglu.64c", "select(0u, p.n / 2u, column >= half)", "0u"),
    ("matmul_swiglu_backward.128c", "(1.0 - s)", "(1.0 + s)"),
    ("attention_forward.64c", "*= keep", "*= 1.0"),
    ("attention_forward.32c", "best > top + JUMP", "best > top + 99.0"),
    ("attention_forward.128c", "<= vec4<u32>(span)", "< vec4<u32>(span)"),
    ("attention_backward_q.64c", "- mean)", "+ mean)"),
    ("attention_backward_q.32c", "start + 16u, key_column", "start, key_column"),
    ("attention_backward_kv.64c", "select(0u, 1u, over)", "0u"),
    ("attention_backward_kv.128c", "& (query < vec4<u32>(p.t))", ""),
];

/// Mutants that change nothing: they show that the alteration itself does not fail a check.
fn unchanged(from: &str, to: &str) -> bool {
    from == to
}

fn run(name: &'static str, from: &str, to: &str) -> Result<(), Failed> {
    let kernel = kernel(name).ok_or("no such kernel")?;
    let source = kernel.wgsl()?;
    if !source.contains(from) && !unchanged(from, to) {
        return Err(format!("{from:?} is not in the kernel any more").into());
    }
    let mut device = super::open(Opening { checked: true, precision: super::precision(kernel), ..Opening::default() });
    if !kernel.runs_on(&device.traits()) {
        return Ok(());
    }
    device.alter(name, source.replace(from, to));
    let rows = check::check(&mut device, kernel)?;
    let failed = rows.iter().filter(|r| !r.passed).count();
    match (failed, unchanged(from, to)) {
        (0, false) => Err(format!("{from:?} became {to:?}, and all {} checks passed", rows.len()).into()),
        (1.., true) => Err("the altered path fails an unchanged kernel".into()),
        _ => Ok(()),
    }
}

pub(super) fn trials(ignored: bool) -> Vec<Trial> {
    let trial = |(i, (name, from, to)): (usize, &(&'static str, &'static str, &'static str))| {
        let (name, from, to) = (*name, *from, *to);
        Trial::test(format!("mutant::{i:02}::{name}"), move || run(name, from, to)).with_ignored_flag(ignored)
    };
    MUTANTS.iter().enumerate().map(trial).collect()
}

/// Every kernel has a mutant in at least one variant.
pub(super) fn complete() -> Result<(), Failed> {
    let covered = |base: &str| MUTANTS.iter().any(|(name, ..)| name.split('.').next() == Some(base));
    let missing: Vec<&str> = KERNELS.iter().map(Kernel::base).filter(|base| !covered(base)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("no mutant of {missing:?}").into()) }
}
