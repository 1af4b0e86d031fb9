//! Branches of a small model, each in one call: a workgroup takes a row through all of it.

use super::{
    attention::Heads,
    push::{Done, expect_len, push, wrong},
};
use crate::compute::{cpu::Params, device::Recording, kernel::Traits, tensor::Tensor};

/// The weights of an attention branch.
#[derive(Clone, Copy)]
pub struct AttentionWeights<'a> {
    /// \[C\]: of the norm before it.
    pub gain: &'a Tensor,
    /// \[(Hq+2Hk)·D, C\].
    pub qkv: &'a Tensor,
    /// \[C, Hq·D\].
    pub o: &'a Tensor,
}

/// Bytes a second that one multiprocessor reads from the cache of the device, and that all of them read together.
const READ: (f64, f64) = (1e11, 4e12);
/// Seconds of the calls that [`attention_row`] and [`mlp_row`] do the work of, less those of the two themselves:
/// most of it is their start, whatever the model.
const SAVED: f64 = 32e-6;

/// Whether the sizes of a layer fit [`attention_row`] and [`mlp_row`] on such a device, and whether reading its
/// `bytes` of weights again for each of `rows` rows costs less than the calls that they save.
pub fn rows_pay(traits: &Traits, rows: usize, hidden: usize, heads: Heads, ffn: usize, bytes: u64) -> bool {
    let bytes = bytes as f64;
    let reading = (bytes / READ.0).max(rows as f64 * bytes / READ.1);
    !traits.cpu && fit(hidden, heads) && fit_mlp(hidden, ffn) && reading < SAVED
}

fn fit(hidden: usize, heads: Heads) -> bool {
    hidden <= 256
        && hidden.is_multiple_of(4)
        && heads.out() <= 256
        && heads.qkv() <= 768
        && heads.size.is_multiple_of(8)
}

fn fit_mlp(hidden: usize, ffn: usize) -> bool {
    hidden <= 256 && hidden.is_multiple_of(4) && ffn <= 1024 && ffn.is_multiple_of(4)
}

/// x += o·attention(qkv·norm(x)) of one new row a sequence, which is written into the cache: RMSNorm, products,
/// rotation and attention of [`super::attention_step`] in one call. C ≤ 256, Hq·D ≤ 256, (Hq+2Hk)·D ≤ 768.
///
/// positions \[B\] (u32), table \[P', D\] → cache \[B, P, 2·Hk·D\], x \[B, C\].
pub fn attention_row(
    rec: &mut Recording<'_>,
    w: AttentionWeights<'_>,
    positions: &Tensor,
    table: &Tensor,
    cache: &Tensor,
    x: &Tensor,
    heads: Heads,
    eps: f32,
) -> Done {
    const OP: &str = "attention_row";
    let (b, c) = (positions.len(), w.gain.len());
    expect_len(OP, x, b * c)?;
    expect_len(OP, w.qkv, heads.qkv() * c)?;
    expect_len(OP, w.o, c * heads.out())?;
    let places = b * 2 * heads.key * heads.size;
    if !fit(c, heads) || table.cols() != heads.size || places == 0 || !cache.len().is_multiple_of(places) {
        let what = format!("{c} columns, {heads:?}, table {:?} and cache {:?} do not fit", table.shape, cache.shape);
        return Err(wrong(OP, what));
    }
    let sizes = [b, cache.len() / places, heads.query, heads.key, heads.size, table.rows(), c];
    let params = Params::new(&sizes).with_f32(7, heads.scale()).with_f32(8, eps);
    let grid = rec.traits().grid(b);
    push(rec, OP, params, &[w.gain, w.qkv, w.o, positions, table, cache, x], grid)
}

/// x += down·(silu(gate) · up) of norm(x), gate and up being w_gate_up·norm(x), in one call. C ≤ 256, F ≤ 1024.
///
/// gain \[C\], w_gate_up \[2F, C\], w_down \[C, F\] → x \[N, C\].
pub fn mlp_row(rec: &mut Recording<'_>, gain: &Tensor, gate_up: &Tensor, down: &Tensor, x: &Tensor, eps: f32) -> Done {
    const OP: &str = "mlp_row";
    let (c, f) = (gain.len(), down.cols());
    expect_len(OP, gate_up, 2 * f * c)?;
    expect_len(OP, down, c * f)?;
    if !fit_mlp(c, f) || !x.len().is_multiple_of(c) {
        return Err(wrong(OP, format!("{c} columns, {f} between and x {:?} do not fit", x.shape)));
    }
    let n = x.len() / c;
    let grid = rec.traits().grid(n);
    push(rec, OP, Params::new(&[n, c, f]).with_f32(3, eps), &[gain, gate_up, down, x], grid)
}
