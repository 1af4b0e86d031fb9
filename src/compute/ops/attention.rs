//! Rotary embedding, attention and its cache.

use std::cmp::Reverse;

use super::push::{Done, expect_len, line, push, push_row, types, wrong};
use crate::compute::{
    cpu::Params,
    device::Recording,
    error::ComputeError,
    kernel::{Kernel, kernel, variants},
    tensor::Tensor,
};

/// Heads and sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Query heads, Hq.
    pub query: usize,
    /// Key/value heads, Hk; divides Hq. Query head h reads key head h / (Hq / Hk).
    pub key: usize,
    /// Head size, D; even.
    pub size: usize,
}

impl Heads {
    /// Columns of the joint query-key-value matrix: (Hq + 2·Hk) · D, queries first, then keys, then values.
    pub fn qkv(&self) -> usize {
        (self.query + 2 * self.key) * self.size
    }

    /// Columns of the attention's output: Hq · D.
    pub fn out(&self) -> usize {
        self.query * self.size
    }

    /// The softmax scale, D^−½.
    pub fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

/// Largest head size that the kernels support.
pub const HEAD_SIZE: usize = 256;

/// Rotary position embedding, in place on the first Hq + Hk heads of qkv \[N, (Hq+2Hk)·D\], rotate-half
/// form as in Llama: (a, b) = halves of a head; a' = a·cos − b·sin, b' = b·cos + a·sin.
///
/// `positions` \[N\] (u32) gives each row's position; `table` \[P, D\] holds cos in its first D/2
/// columns and sin in the rest. `inverse` rotates back: the backward pass.
pub fn rope(
    rec: &mut Recording<'_>,
    positions: &Tensor,
    table: &Tensor,
    qkv: &Tensor,
    heads: Heads,
    inverse: bool,
) -> Done {
    let n = positions.len();
    expect_len("rope", qkv, n * heads.qkv())?;
    if !heads.size.is_multiple_of(2) || table.cols() != heads.size {
        return Err(wrong("rope", format!("head size {} and table {:?} do not fit", heads.size, table.shape)));
    }
    let rotated = heads.query + heads.key;
    let params = Params::new(&[n, rotated, heads.size, heads.qkv(), usize::from(inverse), table.rows()]);
    let grid = line(rec, n * rotated * heads.size / 2, 256);
    push(rec, "rope", params, &[positions, table, qkv], grid)
}

fn attention_params(b: usize, t: usize, heads: Heads) -> Params {
    Params::new(&[b, t, heads.query, heads.key, heads.size]).with_f32(5, heads.scale())
}

/// Causal attention over B sequences of T rows: softmax(q·kᵀ·D^−½)·v in tiles; no T×T matrix is stored.
/// Row i sees keys begins\[i\]..=i: all zeros is plain causal attention, and the first rows of examples
/// packed one after another keep each to itself.
///
/// qkv \[B·T, (Hq+2Hk)·D\], begins \[B·T\] (u32, counted within the sequence) → out \[B·T, Hq·D\],
/// lse \[B, Hq, T\] (log of the softmax's denominator, maximum included). Begins do not fall within a
/// sequence and are at most i, so that whole tiles can be left out; one past i counts as i, and what
/// falling ones come to is not defined.
pub fn attention_forward(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    begins: &Tensor,
    out: &Tensor,
    lse: &Tensor,
    b: usize,
    heads: Heads,
) -> Done {
    forward(rec, qkv, begins, out, lse, None, b, heads)
}

/// [`attention_forward`] in f16: writes `out`, and `exact` \[B·T, Hq·D\] in f32, which [`attention_backward`] reads.
pub fn attention_forward_exact(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    begins: &Tensor,
    out: &Tensor,
    exact: &Tensor,
    lse: &Tensor,
    b: usize,
    heads: Heads,
) -> Done {
    forward(rec, qkv, begins, out, lse, Some(exact), b, heads)
}

fn forward(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    begins: &Tensor,
    out: &Tensor,
    lse: &Tensor,
    exact: Option<&Tensor>,
    b: usize,
    heads: Heads,
) -> Done {
    let t = rows_per_sequence("attention_forward", qkv, b, heads)?;
    expect_len("attention_forward", begins, b * t)?;
    for tensor in [out].into_iter().chain(exact) {
        expect_len("attention_forward", tensor, b * t * heads.out())?;
    }
    expect_len("attention_forward", lse, b * heads.query * t)?;
    let args: Vec<&Tensor> = [qkv, begins, out, lse].into_iter().chain(exact).collect();
    push_attention(rec, "attention_forward", heads.query, b, t, heads, &args)
}

/// Appends an attention kernel in the variant for this head size: one workgroup per tile of rows, head (of `owners`)
/// and sequence.
fn push_attention(
    rec: &mut Recording<'_>,
    name: &'static str,
    owners: usize,
    b: usize,
    t: usize,
    heads: Heads,
    args: &[&Tensor],
) -> Done {
    let traits = rec.traits();
    let (d, types) = (heads.size, types(args));
    let fits = |row: &&Kernel| {
        let exact = row.constant("EXACT");
        d <= 4 * row.constant("D4")
            && (exact == 0 || exact == d)
            && row.runs_on(&traits)
            && row.takes(&types)
            && (d.is_multiple_of(4) || !row.has("VEC4"))
    };
    // Among the variants that hold the head, those for the smallest head size; among these one on cooperative matrices,
    // else one for exactly this size, else the largest tile.
    let side = |row: &&Kernel| {
        let [d4, exact, r] = ["D4", "EXACT", "R"].map(|name| row.constant(name));
        (d4, Reverse(row.needs), Reverse(exact), Reverse(r))
    };
    let row = match rec.forced().filter(|row| row.base() == name) {
        Some(row) => Some(row).filter(fits),
        None if traits.cpu => kernel(name),
        None => variants(name).filter(fits).min_by_key(side),
    };
    let row = row.ok_or_else(|| wrong(name, format!("no variant takes heads of {d}")))?;
    let tile = row.constant("OWN").max(row.constant("SIDE") * row.constant("R"));
    let grid = [owners as u32, b as u32, t.div_ceil(tile) as u32];
    push_row(rec, row, attention_params(b, t, heads), args, grid)
}

fn rows_per_sequence(op: &'static str, qkv: &Tensor, b: usize, heads: Heads) -> Result<usize, ComputeError> {
    let per_row = b * heads.qkv();
    if per_row == 0 || !qkv.len().is_multiple_of(per_row) || heads.key == 0 || !heads.query.is_multiple_of(heads.key) {
        return Err(wrong(op, format!("{} {:?} does not hold {b} sequences of {heads:?}", qkv.name, qkv.shape)));
    }
    if heads.size > HEAD_SIZE {
        return Err(wrong(op, format!("heads of {} are larger than {HEAD_SIZE}", heads.size)));
    }
    Ok(qkv.len() / per_row)
}

/// The backward pass of [`attention_forward`]: probabilities are computed again from lse (Dao et al.
/// 2022, FlashAttention, without its atomics: one kernel owns queries, one owns keys).
///
/// qkv, begins, out (in f32), lse as there, dout \[B·T, Hq·D\] → dqkv \[B·T, (Hq+2Hk)·D\], every element written.
pub fn attention_backward(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    begins: &Tensor,
    out: &Tensor,
    lse: &Tensor,
    dout: &Tensor,
    dqkv: &Tensor,
    b: usize,
    heads: Heads,
) -> Done {
    let t = rows_per_sequence("attention_backward", qkv, b, heads)?;
    expect_len("attention_backward", begins, b * t)?;
    expect_len("attention_backward", dout, b * t * heads.out())?;
    expect_len("attention_backward", out, b * t * heads.out())?;
    expect_len("attention_backward", lse, b * heads.query * t)?;
    expect_len("attention_backward", dqkv, qkv.len())?;
    // delta[b, h, t] = Σ_d dout · out
    let delta = rec.scratch(&[b, heads.query, t])?;
    let grid = line(rec, b * t * heads.query, 32);
    push(rec, "attention_delta", Params::new(&[b, t, heads.query, heads.size]), &[dout, out, &delta], grid)?;
    let args = [qkv, begins, dout, lse, &delta, dqkv];
    push_attention(rec, "attention_backward_q", heads.query, b, t, heads, &args)?;
    push_attention(rec, "attention_backward_kv", heads.key, b, t, heads, &args)
}

/// Writes the keys and values of new rows into a cache at their positions.
///
/// qkv \[B·n, (Hq+2Hk)·D\] (keys already rotated), positions \[B·n\] (u32) → cache \[B, P, 2·Hk·D\]
/// (keys, then values). A position ≥ P is left out.
pub fn cache_append(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    positions: &Tensor,
    cache: &Tensor,
    b: usize,
    heads: Heads,
) -> Done {
    let (n, p) = decode_sizes("cache_append", qkv, positions, cache, b, heads)?;
    let params = Params::new(&[b, n, p, heads.query, heads.key, heads.size]);
    let grid = line(rec, b * n * 2 * heads.key * heads.size, 256);
    push(rec, "cache_append", params, &[qkv, positions, cache], grid)
}

/// Attention of n new rows per sequence over a cache: the row at position i attends to cached 0..=i.
///
/// qkv \[B·n, (Hq+2Hk)·D\] (only queries are read), cache \[B, P, 2·Hk·D\], positions \[B·n\] (u32) → out \[B·n,
/// Hq·D\]. One workgroup per row and head.
pub fn attention_decode(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    cache: &Tensor,
    positions: &Tensor,
    out: &Tensor,
    b: usize,
    heads: Heads,
) -> Done {
    let (n, p) = decode_sizes("attention_decode", qkv, positions, cache, b, heads)?;
    expect_len("attention_decode", out, b * n * heads.out())?;
    let params = Params::new(&[b, n, p, heads.query, heads.key, heads.size]).with_f32(6, heads.scale());
    push(rec, "attention_decode", params, &[qkv, cache, positions, out], [(b * n) as u32, heads.query as u32, 1])
}

/// One call for what a new row does at each layer: [`rope`] of its query and key, [`cache_append`] and
/// [`attention_decode`]; these three where sequences have several new rows, where heads are no multiple of 8, and on
/// the CPU engine.
///
/// qkv \[B·n, (Hq+2Hk)·D\] (rotated or left as it is), positions \[B·n\] (u32), table \[P', D\] → cache
/// \[B, P, 2·Hk·D\], out \[B·n, Hq·D\].
pub fn attention_step(
    rec: &mut Recording<'_>,
    qkv: &Tensor,
    positions: &Tensor,
    table: &Tensor,
    cache: &Tensor,
    out: &Tensor,
    b: usize,
    heads: Heads,
) -> Done {
    let (n, p) = decode_sizes("attention_step", qkv, positions, cache, b, heads)?;
    expect_len("attention_step", out, b * n * heads.out())?;
    let forced = rec.forced().is_some_and(|row| row.base() == "attention_step");
    if n > 1 || !heads.size.is_multiple_of(8) || (rec.traits().cpu && !forced) {
        rope(rec, positions, table, qkv, heads, false)?;
        cache_append(rec, qkv, positions, cache, b, heads)?;
        return attention_decode(rec, qkv, cache, positions, out, b, heads);
    }
    if table.cols() != heads.size {
        return Err(wrong(
            "attention_step",
            format!("head size {} and table {:?} do not fit", heads.size, table.shape),
        ));
    }
    let params = Params::new(&[b, p, heads.query, heads.key, heads.size, table.rows()]).with_f32(6, heads.scale());
    let grid = [b as u32, heads.query as u32, 1];
    push(rec, "attention_step", params, &[qkv, positions, table, cache, out], grid)
}

fn decode_sizes(
    op: &'static str,
    qkv: &Tensor,
    positions: &Tensor,
    cache: &Tensor,
    b: usize,
    heads: Heads,
) -> Result<(usize, usize), ComputeError> {
    let n = rows_per_sequence(op, qkv, b, heads)?;
    expect_len(op, positions, b * n)?;
    let row = b * 2 * heads.key * heads.size;
    if !cache.len().is_multiple_of(row) {
        return Err(wrong(op, format!("cache {:?} does not hold {b} sequences of {heads:?}", cache.shape)));
    }
    Ok((n, cache.len() / row))
}
