//! One checked function per operation: shapes are compared, then a call is appended.
//!
//! Shape letters: B sequences, T positions a sequence, N = B·T rows, C hidden size, V vocabulary,
//! Hq query heads, Hk key/value heads, D head size, F feed-forward size, G partial rows. All tensors
//! are dense and row-major. Matrix products are in `matmul.rs`.

use std::cmp::Reverse;

use super::{
    Call, ComputeError, DType, Kernel, Params, Recording, Tensor,
    kernel::{kernel, kernel_for, variants},
};

/// Rows of partial sums that [`square_sum`] makes.
pub const NORM_PARTIALS: usize = 512;
/// Most rows of partial weight gradients that [`rmsnorm_backward`] makes, on the CPU and on a GPU.
pub const RMSNORM_PARTIALS: [usize; 2] = [128, 512];
/// Words of the hyper-parameter block, in order: learning rate, share of a token (1 / trained tokens),
/// weight decay, β₁, β₂, ε, clip (0: none), unused.
pub const HYPER: usize = 8;
/// Words of the control block, in order: gradient norm before clipping, factor on the gradients,
/// finite flag (1 or 0), AdamW's step count, β₁ᵗ, β₂ᵗ, loss, skipped steps; then those of half precision,
/// all 0 without: loss scale, applied steps since it changed, times it was halved, the scale that the
/// gradients of the last step bear.
pub const CONTROL: usize = 12;
/// Words of the control block without half precision.
pub const CONTROL_F32: usize = 8;
/// The loss scale of a fresh control block in half precision.
pub const FIRST_LOSS_SCALE: f32 = 32_768.0;

type Done = Result<(), ComputeError>;

pub(super) fn wrong(op: &'static str, what: String) -> ComputeError {
    ComputeError::Shape { op, what }
}

/// Refuses a tensor whose element count is not `len`.
pub(super) fn expect_len(op: &'static str, tensor: &Tensor, len: usize) -> Done {
    if tensor.len() == len {
        return Ok(());
    }
    Err(wrong(op, format!("{} has shape {:?}, {len} elements are needed", tensor.name, tensor.shape)))
}

/// Appends a call of the kernel `name` over `groups` workgroups in one dimension.
pub(super) fn push(
    rec: &mut Recording<'_>,
    name: &'static str,
    params: Params,
    args: &[&Tensor],
    grid: [u32; 3],
) -> Done {
    let row = kernel_for(name, &types(args)).ok_or_else(|| wrong(name, "no such kernel".to_owned()))?;
    push_row(rec, row, params, args, grid)
}

/// The element types of arguments.
fn types(args: &[&Tensor]) -> Vec<DType> {
    args.iter().map(|t| t.dtype).collect()
}

/// Appends a call of a certain row of the table.
pub(super) fn push_row(
    rec: &mut Recording<'_>,
    row: &'static Kernel,
    params: Params,
    args: &[&Tensor],
    grid: [u32; 3],
) -> Done {
    rec.push(Call { kernel: row, params, args: args.iter().map(|t| (*t).clone()).collect(), grid })
}

/// Workgroups for `n` elements, `each` a workgroup.
fn line(rec: &Recording<'_>, n: usize, each: usize) -> [u32; 3] {
    rec.traits().grid(n.div_ceil(each))
}

/// Cuts `len` elements into segments that one binding can span, each a multiple of the alignment.
pub(super) fn segments(rec: &Recording<'_>, len: usize) -> Vec<(usize, usize)> {
    let limit = (rec.traits().max_binding / 4) as usize;
    let each = (limit / super::ALIGNMENT * super::ALIGNMENT).max(super::ALIGNMENT);
    (0..len.div_ceil(each)).map(|i| (i * each, each.min(len - i * each))).collect()
}

/// out\[i\] = value.
pub fn fill(rec: &mut Recording<'_>, out: &Tensor, value: f32) -> Done {
    for (start, n) in segments(rec, out.len()) {
        let part = out.part(&out.name, start, &[n]);
        let grid = line(rec, n, ELEMENTS);
        push(rec, "fill", Params::new(&[n]).with_f32(1, value), &[&part], grid)?;
    }
    Ok(())
}

/// Elements that one workgroup of an elementwise kernel handles: 256 invocations × 4.
pub const ELEMENTS: usize = 1024;

/// out = a + b, elementwise; `out` is another buffer.
pub fn add(rec: &mut Recording<'_>, a: &Tensor, b: &Tensor, out: &Tensor) -> Done {
    expect_len("add", b, a.len())?;
    expect_len("add", out, a.len())?;
    let grid = line(rec, a.len(), ELEMENTS);
    push(rec, "add", Params::new(&[a.len()]), &[a, b, out], grid)
}

/// x ← factor · x.
pub fn scale(rec: &mut Recording<'_>, x: &Tensor, factor: f32) -> Done {
    let grid = line(rec, x.len(), ELEMENTS);
    push(rec, "scale", Params::new(&[x.len()]).with_f32(1, factor), &[x], grid)
}

/// out = x in f16: cut at ±65504, or, where x are gradients and `scale` \[CONTROL\] is given, multiplied by
/// its loss scale and not cut. x f32 → out f16.
pub fn narrow(rec: &mut Recording<'_>, x: &Tensor, out: &Tensor, scale: Option<&Tensor>) -> Done {
    expect_len("narrow", out, x.len())?;
    if let Some(control) = scale {
        expect_len("narrow", control, CONTROL)?;
    }
    for (start, n) in segments(rec, x.len()) {
        let cut = |t: &Tensor| t.part(&t.name, start, &[n]);
        let grid = line(rec, n, ELEMENTS);
        let (x, out) = (cut(x), cut(out));
        // What stands in for an absent block is not read.
        let control = scale.unwrap_or(&x);
        push(rec, "narrow", Params::new(&[n, usize::from(scale.is_some())]), &[&x, control, &out], grid)?;
    }
    Ok(())
}

/// Dropout by counter: out = x · keep / (1 − p), where keep is a function of `clock` and the index.
///
/// `clock` \[4\] (u32): seed low, seed high, step, micro-step. Element i is kept when
/// `mix(mix(mix(mix(mix(mix(seed_low) ^ seed_high) ^ step) ^ micro) ^ stream) ^ i) >> 8 ≥ p · 2²⁴`
/// with [`super::rng::mix`]. The backward pass is the same call on the gradient.
pub fn dropout(rec: &mut Recording<'_>, clock: &Tensor, x: &Tensor, out: &Tensor, stream: usize, p: f32) -> Done {
    expect_len("dropout", clock, 4)?;
    expect_len("dropout", out, x.len())?;
    let grid = line(rec, x.len(), ELEMENTS);
    push(rec, "dropout", Params::new(&[x.len(), stream]).with_f32(2, p), &[clock, x, out], grid)
}

/// out\[0\] = Σ x (or += with `accumulate`), in a fixed order by one workgroup.
pub fn sum(rec: &mut Recording<'_>, x: &Tensor, out: &Tensor, accumulate: bool) -> Done {
    expect_len("sum", out, 1)?;
    push(rec, "sum", Params::new(&[x.len(), usize::from(accumulate)]), &[x, out], [1, 1, 1])
}

/// out\[c\] = Σ_g partials\[g, c\] (or +=): x \[G, C\] → out \[C\].
pub fn column_sum(rec: &mut Recording<'_>, partials: &Tensor, out: &Tensor, accumulate: bool) -> Done {
    let c = out.len();
    if c == 0 || !partials.len().is_multiple_of(c) {
        return Err(wrong("column_sum", format!("{:?} does not divide into columns of {c}", partials.shape)));
    }
    let g = partials.len() / c;
    let params = Params::new(&[g, c, usize::from(accumulate)]);
    let wide = rec.forced().map_or(c >= WIDE, |row| row.has("WIDE"));
    let (name, each) = if wide && !rec.traits().cpu { ("column_sum.wide", 256) } else { ("column_sum", 16) };
    let grid = line(rec, c, each);
    push(rec, name, params, &[partials, out], grid)
}

/// Columns from which [`column_sum`] gives each an invocation of its own.
const WIDE: usize = 16_384;

/// Sums of squares for the global norm: partials\[g\] = Σ x², x cut among [`NORM_PARTIALS`] rows
/// (fewer where `x` is short). One call a segment; returns nothing, `partials` holds them all and
/// must have been made with [`norm_partials`] elements.
pub fn square_sum(rec: &mut Recording<'_>, x: &Tensor, partials: &Tensor) -> Done {
    let cuts = segments(rec, x.len());
    expect_len("square_sum", partials, cuts.len() * NORM_PARTIALS)?;
    for (i, (start, n)) in cuts.into_iter().enumerate() {
        let part = x.part(&x.name, start, &[n]);
        let params = Params::new(&[n, NORM_PARTIALS, i * NORM_PARTIALS]);
        push(rec, "square_sum", params, &[&part, partials], [NORM_PARTIALS as u32, 1, 1])?;
    }
    Ok(())
}

/// Elements that [`square_sum`] needs in `partials` for `len` elements on this device.
pub fn norm_partials(rec: &Recording<'_>, len: usize) -> usize {
    segments(rec, len).len() * NORM_PARTIALS
}

/// Rows of a table: ids \[N\] (u32), table \[V, C\] → out \[N, C\]. Ids past the table read its last row.
pub fn embedding_forward(rec: &mut Recording<'_>, ids: &Tensor, table: &Tensor, out: &Tensor) -> Done {
    let (n, c, v) = (ids.len(), table.cols(), table.rows());
    expect_len("embedding_forward", out, n * c)?;
    let grid = line(rec, n * c, ELEMENTS);
    push(rec, "embedding_forward", Params::new(&[n, c, v]), &[ids, table, out], grid)
}

/// dtable\[v\] += Σ dout\[i\] over the rows i where id v stood, without atomics.
///
/// The host sorts positions by id: `order` \[N\] (u32) lists them, `starts` \[V+1\] (u32) says where
/// each id's begin. dout \[N, C\] → dtable \[V, C\]; the sum runs in the order of `order`.
pub fn embedding_backward(
    rec: &mut Recording<'_>,
    order: &Tensor,
    starts: &Tensor,
    dout: &Tensor,
    dtable: &Tensor,
) -> Done {
    let (n, c, v) = (order.len(), dtable.cols(), dtable.rows());
    expect_len("embedding_backward", dout, n * c)?;
    expect_len("embedding_backward", starts, v + 1)?;
    let grid = rec.traits().grid(v);
    push(rec, "embedding_backward", Params::new(&[v, c]), &[order, starts, dout, dtable], grid)
}

/// RMSNorm (Zhang and Sennrich 2019, as in Llama): rstd = (mean(x²) + eps)^−½, y = x · rstd · w.
/// x \[N, C\], w \[C\] → y \[N, C\], rstd \[N\]. One workgroup a row.
pub fn rmsnorm_forward(rec: &mut Recording<'_>, x: &Tensor, w: &Tensor, y: &Tensor, rstd: &Tensor, eps: f32) -> Done {
    let (n, c) = (rstd.len(), w.len());
    expect_len("rmsnorm_forward", x, n * c)?;
    expect_len("rmsnorm_forward", y, n * c)?;
    let grid = rec.traits().grid(n);
    push(rec, "rmsnorm_forward", Params::new(&[n, c]).with_f32(2, eps), &[x, w, y, rstd], grid)
}

/// The residual sum and the norm of it in one pass: sum = x + delta, then [`rmsnorm_forward`] of sum.
/// x, delta \[N, C\], w \[C\] → sum, y \[N, C\], rstd \[N\].
pub fn add_rmsnorm_forward(
    rec: &mut Recording<'_>,
    x: &Tensor,
    delta: &Tensor,
    w: &Tensor,
    sum: &Tensor,
    y: &Tensor,
    rstd: &Tensor,
    eps: f32,
) -> Done {
    let (n, c) = (rstd.len(), w.len());
    for t in [x, delta, sum, y] {
        expect_len("add_rmsnorm_forward", t, n * c)?;
    }
    let grid = rec.traits().grid(n);
    push(rec, "add_rmsnorm_forward", Params::new(&[n, c]).with_f32(2, eps), &[x, delta, w, sum, y, rstd], grid)
}

/// dx = (or +=) rstd · (dy·w − x · rstd² · mean(dy·w·x)), and dw += Σ_rows dy · x · rstd.
///
/// dy, x, dx \[N, C\], w, dw \[C\], rstd \[N\]. Rows are cut into G = min(N, one of [`RMSNORM_PARTIALS`])
/// stripes (stripe g: rows g, g + G, …), one workgroup each, which leave partials \[G, C\] that
/// [`column_sum`] adds into dw. `narrow`: where dy is f16, dx again in f16, for products.
pub fn rmsnorm_backward(
    rec: &mut Recording<'_>,
    dy: &Tensor,
    x: &Tensor,
    w: &Tensor,
    rstd: &Tensor,
    dx: &Tensor,
    dw: &Tensor,
    narrow: Option<&Tensor>,
    accumulate: bool,
) -> Done {
    let (n, c) = (rstd.len(), w.len());
    for t in [dy, x, dx].into_iter().chain(narrow) {
        expect_len("rmsnorm_backward", t, n * c)?;
    }
    expect_len("rmsnorm_backward", dw, c)?;
    let g = n.min(RMSNORM_PARTIALS[usize::from(!rec.traits().cpu)]);
    let partials = rec.scratch(&[g, c])?;
    let params = Params::new(&[n, c, g, usize::from(accumulate)]);
    let args: Vec<&Tensor> = [dy, x, w, rstd, dx, &partials].into_iter().chain(narrow).collect();
    let types = types(&args);
    // Of the variants that hold a row in registers, the smallest; else the general one.
    let holds = |row: &&Kernel| c.is_multiple_of(4) && c <= 256 * row.constant("U") && row.takes(&types);
    let row = match rec.forced().filter(|row| row.base() == "rmsnorm_backward") {
        Some(row) if row.has("VEC4") => Some(row).filter(holds),
        None if !rec.traits().cpu => variants("rmsnorm_backward").filter(holds).min_by_key(|row| row.constant("U")),
        _ => None,
    };
    let row = row.or_else(|| kernel_for("rmsnorm_backward", &types));
    let row = row.ok_or_else(|| wrong("rmsnorm_backward", "no such kernel".into()))?;
    push_row(rec, row, params, &args, [g as u32, 1, 1])?;
    column_sum(rec, &partials, dw, true)
}

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
    let t = rows_per_sequence("attention_forward", qkv, b, heads)?;
    expect_len("attention_forward", begins, b * t)?;
    expect_len("attention_forward", out, b * t * heads.out())?;
    expect_len("attention_forward", lse, b * heads.query * t)?;
    push_attention(rec, "attention_forward", heads.query, b, t, heads, &[qkv, begins, out, lse])
}

/// Largest head size that the kernels take.
pub const HEAD_SIZE: usize = 256;

/// Appends an attention kernel in the variant for this head size, a workgroup for each tile of rows of
/// each of `owners` heads of each sequence.
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
    // Of the variants that hold the head, those with the smallest one; of these, one on cooperative matrices,
    // else one made for exactly this size, else the largest tile.
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
/// qkv, begins, out, lse as there, dout \[B·T, Hq·D\] → dqkv \[B·T, (Hq+2Hk)·D\], every element written.
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

/// Attention of n new rows a sequence over a cache: the row at position i sees cached 0..=i.
///
/// qkv \[B·n, (Hq+2Hk)·D\] (only queries are read), cache \[B, P, 2·Hk·D\], positions \[B·n\] (u32)
/// → out \[B·n, Hq·D\]. One workgroup a row and head.
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

/// SwiGLU (Shazeer 2020): act = silu(gate) · up. gate_up \[N, 2F\] (gate first) → act \[N, F\].
pub fn swiglu_forward(rec: &mut Recording<'_>, gate_up: &Tensor, act: &Tensor) -> Done {
    let (n, f) = (act.rows(), act.cols());
    expect_len("swiglu_forward", gate_up, n * 2 * f)?;
    let grid = line(rec, n * f, ELEMENTS);
    push(rec, "swiglu_forward", Params::new(&[n, f]), &[gate_up, act], grid)
}

/// dgate = dact · up · σ(g)(1 + g(1 − σ(g))), dup = dact · silu(g).
/// gate_up \[N, 2F\], dact \[N, F\] → dgate_up \[N, 2F\].
pub fn swiglu_backward(rec: &mut Recording<'_>, gate_up: &Tensor, dact: &Tensor, dgate_up: &Tensor) -> Done {
    let (n, f) = (dact.rows(), dact.cols());
    expect_len("swiglu_backward", gate_up, n * 2 * f)?;
    expect_len("swiglu_backward", dgate_up, n * 2 * f)?;
    let grid = line(rec, n * f, ELEMENTS);
    push(rec, "swiglu_backward", Params::new(&[n, f]), &[gate_up, dact, dgate_up], grid)
}

/// Cross-entropy and its gradient in one pass over a chunk of R rows.
///
/// targets \[R\] (i32 by its bits; −100, or anything outside 0..V, is ignored), hyper \[HYPER\] (word
/// 1: the share of a token), logits \[R, V\] → losses \[R\] = −log p(target), 0 where ignored. With
/// a `slope`, logits become their gradient of Σ weight · share · S · loss, which is
/// (softmax − onehot) · share · weight · S, zero where ignored; the losses are never weighted. One
/// workgroup a row.
pub fn cross_entropy(
    rec: &mut Recording<'_>,
    targets: &Tensor,
    hyper: &Tensor,
    logits: &Tensor,
    losses: &Tensor,
    slope: Option<Slope<'_>>,
) -> Done {
    let r = targets.len();
    expect_len("cross_entropy", losses, r)?;
    // What stands in for what is absent is not read.
    let (weights, control) = slope.map_or((targets, targets), |s| (s.weights, s.control));
    expect_len("cross_entropy", weights, r)?;
    expect_len("cross_entropy", hyper, HYPER)?;
    if slope.is_some() {
        expect_len("cross_entropy", control, CONTROL)?;
    }
    if r == 0 || !logits.len().is_multiple_of(r) {
        return Err(wrong("cross_entropy", format!("logits {:?} are not {r} rows", logits.shape)));
    }
    let v = logits.len() / r;
    let params = Params::new(&[r, v, usize::from(slope.is_some())]);
    let grid = rec.traits().grid(r);
    // Whole vectors in half precision alone: the order of the sum is in the bits of runs in f32.
    let forced = rec.forced().filter(|row| row.base() == "cross_entropy");
    let vectors = forced.map_or(logits.dtype == DType::F16, |row| row.has("VEC4")) && v.is_multiple_of(4);
    let name = if vectors { "cross_entropy.v.h" } else { "cross_entropy" };
    push(rec, name, params, &[targets, hyper, weights, control, logits, losses], grid)
}

/// What the gradient of [`cross_entropy`] is multiplied with.
#[derive(Clone, Copy)]
pub struct Slope<'a> {
    /// \[R\]: a weight a row.
    pub weights: &'a Tensor,
    /// \[CONTROL\]: S is its loss scale.
    pub control: &'a Tensor,
}

/// The entropy of the softmax of each row, in nats: H = log Σ eˣ − Σ p·x.
///
/// targets \[R\] (as in [`cross_entropy`]), logits \[R, V\] → entropies \[R\], 0 where ignored. One
/// workgroup a row.
pub fn entropy(rec: &mut Recording<'_>, targets: &Tensor, logits: &Tensor, entropies: &Tensor) -> Done {
    let r = targets.len();
    expect_len("entropy", entropies, r)?;
    if r == 0 || !logits.len().is_multiple_of(r) {
        return Err(wrong("entropy", format!("logits {:?} are not {r} rows", logits.shape)));
    }
    let grid = rec.traits().grid(r);
    push(rec, "entropy", Params::new(&[r, logits.len() / r]), &[targets, logits, entropies], grid)
}

/// One AdamW update of a flat slab (Loshchilov and Hutter 2019, as torch.optim.AdamW), with the
/// global norm, the clip factor (clip / (norm + 1e-6), at most 1, as torch's clip_grad_norm_) and
/// the finite check on the device.
pub struct Update<'a> {
    /// Parameters, one flat slab.
    pub params: &'a Tensor,
    /// The same in f16, for products, where there are any.
    pub shadow: Option<&'a Tensor>,
    /// Their gradients.
    pub grads: &'a Tensor,
    /// First moments.
    pub m: &'a Tensor,
    /// Second moments.
    pub v: &'a Tensor,
    /// Elements at the slab's start that weight decay applies to.
    pub decayed: usize,
    /// The summed loss \[1\] of the step's micro-batches.
    pub loss: &'a Tensor,
    /// \[HYPER\].
    pub hyper: &'a Tensor,
    /// \[CONTROL\].
    pub control: &'a Tensor,
}

/// Records norm, control and update. Where gradient norm or loss is not finite, the parameters, the
/// moments and the step count stay as they are and the control block counts a skipped step.
///
/// `adamw_prepare`: partials \[G\], loss \[1\], hyper, control: norm = √Σ partials / S; control\[6\] =
/// loss · hyper\[1\]. `adamw`: grads, hyper, control → params, m, v and the f16 copy.
///
/// S is the loss scale: gradients are S times too large, so that small ones are no zeros of f16. Where
/// they overflow though the loss is finite, S is halved and the step counts as lowered, not as skipped,
/// until S is 1; after 1,000 applied steps in a row it is doubled, up to 2²⁴. Without half precision it is 0
/// in the block and does nothing.
pub fn adamw(rec: &mut Recording<'_>, u: &Update<'_>) -> Done {
    for t in [u.grads, u.m, u.v].into_iter().chain(u.shadow) {
        expect_len("adamw", t, u.params.len())?;
    }
    expect_len("adamw", u.hyper, HYPER)?;
    expect_len("adamw", u.control, CONTROL)?;
    let partials = rec.scratch(&[norm_partials(rec, u.grads.len())])?;
    square_sum(rec, u.grads, &partials)?;
    push(rec, "adamw_prepare", Params::new(&[partials.len()]), &[&partials, u.loss, u.hyper, u.control], [1, 1, 1])?;
    for (start, n) in segments(rec, u.params.len()) {
        let cut = |t: &Tensor| t.part(&t.name, start, &[n]);
        let params = Params::new(&[n, u.decayed.saturating_sub(start).min(n)]);
        let grid = line(rec, n, ELEMENTS);
        let cuts = [u.params, u.m, u.v].into_iter().chain(u.shadow).map(cut);
        let args: Vec<Tensor> = [cut(u.grads), u.hyper.clone(), u.control.clone()].into_iter().chain(cuts).collect();
        push(rec, "adamw", params, &args.iter().collect::<Vec<_>>(), grid)?;
    }
    Ok(())
}
