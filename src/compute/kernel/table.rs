//! The table of kernels: one row each, naming WGSL, bindings, parameters and CPU twin.
//!
//! To add a kernel: a shader in `shaders/`, a twin in `cpu/`, a row here and a checked function in
//! `ops/`. `tests/kernels/main.rs` compares every row's WGSL with its twin and, by reflection, its
//! bindings and `struct Params` with the row.

use super::{
    defines::{
        ATTENTION, BACKWARD, FEW, FEW_1, FEW_8, FEW_8X4, FORWARD, GATED_1, GATED_8, GATED_8X4, HEAD_32V, HEAD_64,
        HEAD_64V, HEAD_128V, HEAD_256, KEYS, LOSS_SCALE, NN, NT, PARTIAL, PRODUCT, QUERIES, R, RA, ROW, SPLIT, STEP,
        SUM_64, SUM_256, TILE_32, TILE_64, TILE_64X128, TILE_128, TN, VEC4, W, WA, WIDE_32, WIDE_32KV, WIDE_32Q,
        WIDE_64, WIDE_64KV, WIDE_64Q,
    },
    matrix,
    row::{Kernel, row},
};
use crate::compute::{cpu, tensor::DType};

/// One row.
macro_rules! one {
    ($($part:expr),* $(; $storage:literal)?) => { &[row($($part),*)$(.storage($storage))?] };
}

/// Two rows of the same WGSL: one over f32, and `NAME.h` over f16 with f32 arithmetic.
macro_rules! both {
    ($name:literal, $($part:expr),* $(; $storage:literal)?) => {
        &[
            row($name, $($part),*)$(.storage($storage))?,
            row(concat!($name, ".h"), $($part),*)$(.storage($storage))?.half(),
        ]
    };
}

/// The two rows of an attention forward kernel: the f16 row also stores its output in f32.
macro_rules! forward {
    ($name:literal, $source:literal, $defines:expr $(; $storage:literal)?) => {
        &[
            row($name, $source, $defines, &[R, R, W, W], ATTENTION, cpu::attention_forward)$(.storage($storage))?,
            row(concat!($name, ".h"), $source, $defines, &[RA, R, WA, W, W], ATTENTION, cpu::attention_forward)
                $(.storage($storage))?
                .half(),
        ]
    };
}

/// One row over f16 alone.
macro_rules! half {
    ($($part:expr),* $(; $storage:literal)?) => { &[row($($part),*)$(.storage($storage))?.half()] };
}

/// Every kernel. Shapes are in the documentation of the function of the same name in [`crate::compute::ops`].
pub static KERNELS: &[Kernel] = &flat::<{ count(TABLE) }>(TABLE);

const fn count(table: &[&[Kernel]]) -> usize {
    let (mut rows, mut i) = (0, 0);
    while i < table.len() {
        rows += table[i].len();
        i += 1;
    }
    rows
}

const fn flat<const N: usize>(table: &[&[Kernel]]) -> [Kernel; N] {
    let mut all = [table[0][0]; N];
    let (mut at, mut i) = (0, 0);
    while i < table.len() {
        let mut j = 0;
        while j < table[i].len() {
            all[at] = table[i][j];
            (at, j) = (at + 1, j + 1);
        }
        i += 1;
    }
    all
}

#[rustfmt::skip]
const TABLE: &[&[Kernel]] = &[
    one!("fill", "elementwise", &[&[("FILL", "")]], &[W], &["n", "value"], cpu::fill),
    one!("add", "elementwise", &[&[("ADD", "")]], &[R, R, W], &["n"], cpu::add),
    one!("scale", "elementwise", &[&[("SCALE", "")]], &[W], &["n", "factor"], cpu::scale),
    half!("narrow", "elementwise", &[&[("NARROW", "")]], &[R, R, WA], &["n", "scaled"], cpu::narrow),
    both!("dropout", "dropout", &[], &[R, RA, WA], &["n", "stream", "p"], cpu::dropout),
    one!("sum", "reduce", &[&[("SUM", "")], SUM_256], &[R, W], &["n", "accumulate"], cpu::sum),
    both!("column_sum", "reduce", &[&[("COLUMN_SUM", "")]], &[R, WA], &["g", "c", "accumulate"], cpu::column_sum),
    both!("column_sum.wide", "reduce", &[&[("COLUMN_SUM", ""), ("WIDE", "")]], &[R, WA], &["g", "c", "accumulate"], cpu::column_sum),
    one!("square_sum", "reduce", &[&[("SQUARE_SUM", "")], SUM_256], &[R, W], &["n", "g", "first"], cpu::square_sum),
    both!("embedding_forward", "embedding", &[FORWARD], &[R, RA, WA], &["n", "c", "v"], cpu::embedding_forward),
    one!("embedding_backward", "embedding", &[BACKWARD], &[R, R, R, W], &["v", "c"], cpu::embedding_backward),
    both!("rmsnorm_forward", "rmsnorm", &[FORWARD, SUM_64], &[R, R, WA, W], &["n", "c", "eps"], cpu::rmsnorm_forward),
    both!("add_rmsnorm_forward", "rmsnorm", &[FORWARD, &[("ADD", "")], SUM_64], &[R, RA, R, W, WA, W], &["n", "c", "eps"], cpu::add_rmsnorm_forward),
    one!("rmsnorm_backward", "rmsnorm", &[BACKWARD, SUM_64], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    half!("rmsnorm_backward.h", "rmsnorm", &[BACKWARD, SUM_64], &[RA, R, R, R, W, W, WA], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    one!("rmsnorm_backward.256v", "rmsnorm_backward_wide", &[&[("U", "1")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    half!("rmsnorm_backward.256v.h", "rmsnorm_backward_wide", &[&[("U", "1")], VEC4], &[RA, R, R, R, W, W, WA], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    one!("rmsnorm_backward.512v", "rmsnorm_backward_wide", &[&[("U", "2")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    half!("rmsnorm_backward.512v.h", "rmsnorm_backward_wide", &[&[("U", "2")], VEC4], &[RA, R, R, R, W, W, WA], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    one!("rmsnorm_backward.768v", "rmsnorm_backward_wide", &[&[("U", "3")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    half!("rmsnorm_backward.768v.h", "rmsnorm_backward_wide", &[&[("U", "3")], VEC4], &[RA, R, R, R, W, W, WA], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    one!("rmsnorm_backward.1024v", "rmsnorm_backward_wide", &[&[("U", "4")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    half!("rmsnorm_backward.1024v.h", "rmsnorm_backward_wide", &[&[("U", "4")], VEC4], &[RA, R, R, R, W, W, WA], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    both!("rope", "rope", &[], &[R, R, WA], &["n", "heads", "d", "stride", "inverse", "positions"], cpu::rope),
    forward!("attention_forward", "attention", &[FORWARD, HEAD_256]),
    one!("attention_forward.64", "attention", &[FORWARD, HEAD_64], &[R, R, W, W], ATTENTION, cpu::attention_forward),
    forward!("attention_forward.32v", "attention", &[FORWARD, HEAD_32V, VEC4]),
    forward!("attention_forward.64v", "attention", &[FORWARD, HEAD_64V, VEC4]; 23_040),
    forward!("attention_forward.128v", "attention", &[FORWARD, HEAD_128V, VEC4]; 19_712),
    forward!("attention_forward.32w", "attention_wide", &[FORWARD, WIDE_32, VEC4]; 26_624),
    forward!("attention_forward.64w", "attention_wide", &[FORWARD, WIDE_64, VEC4]; 43_008),
    both!("attention_delta", "attention_delta", &[], &[RA, R, W], &["b", "t", "hq", "d"], cpu::attention_delta),
    both!("attention_backward_q", "attention", &[QUERIES, HEAD_256], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_q),
    one!("attention_backward_q.64", "attention", &[QUERIES, HEAD_64], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q),
    both!("attention_backward_q.32v", "attention", &[QUERIES, HEAD_32V, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_q; 18_432),
    both!("attention_backward_q.64v", "attention", &[QUERIES, HEAD_64V, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_q; 30_720),
    both!("attention_backward_q.128v", "attention", &[QUERIES, HEAD_128V, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_q; 27_648),
    both!("attention_backward_q.32w", "attention_wide", &[QUERIES, WIDE_32Q, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_q; 28_672),
    both!("attention_backward_q.64w", "attention_wide", &[QUERIES, WIDE_64Q, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_q; 49_152),
    both!("attention_backward_kv", "attention", &[KEYS, HEAD_256], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_kv),
    one!("attention_backward_kv.64", "attention", &[KEYS, HEAD_64], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv),
    both!("attention_backward_kv.32v", "attention", &[KEYS, HEAD_32V, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_kv; 18_432),
    both!("attention_backward_kv.64v", "attention", &[KEYS, HEAD_64V, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_kv; 30_720),
    both!("attention_backward_kv.128v", "attention", &[KEYS, HEAD_128V, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_kv; 27_648),
    both!("attention_backward_kv.32w", "attention_wide", &[KEYS, WIDE_32KV, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_kv; 28_672),
    both!("attention_backward_kv.64w", "attention_wide", &[KEYS, WIDE_64KV, VEC4], &[RA, R, RA, R, R, WA], ATTENTION, cpu::attention_backward_kv; 49_152),
    both!("cache_append", "decode", &[&[("APPEND", "")]], &[RA, R, WA], &["b", "n", "p", "hq", "hk", "d"], cpu::cache_append),
    both!("attention_decode", "decode", &[&[("ATTEND", "")]], &[RA, RA, R, WA], &["b", "n", "p", "hq", "hk", "d", "scale"], cpu::attention_decode),
    both!("attention_step", "attention_step", &[], &[RA, R, R, WA, WA], STEP, cpu::attention_step),
    both!("attention_row", "attention_row", &[SUM_256], &[R, RA, RA, R, R, WA, W], ROW, cpu::attention_row),
    both!("mlp_row", "mlp_row", &[SUM_256], &[R, RA, RA, W], &["n", "c", "f", "eps"], cpu::mlp_row),
    both!("matmul_few.1", "matmul_few", &[FEW_1], &[RA, RA, WA], FEW, cpu::matmul_nt),
    both!("matmul_few.8", "matmul_few", &[FEW_8], &[RA, RA, WA], FEW, cpu::matmul_nt),
    both!("matmul_few.8x4", "matmul_few", &[FEW_8X4], &[RA, RA, WA], FEW, cpu::matmul_nt),
    both!("matmul_swiglu_few.1", "matmul_few", &[GATED_1], &[RA, RA, WA], FEW, cpu::matmul_swiglu_few),
    both!("matmul_swiglu_few.8", "matmul_few", &[GATED_8], &[RA, RA, WA], FEW, cpu::matmul_swiglu_few),
    both!("matmul_swiglu_few.8x4", "matmul_few", &[GATED_8X4], &[RA, RA, WA], FEW, cpu::matmul_swiglu_few),
    both!("sample", "sample", &[], &[R, RA, R, W, W, W], &["b", "v", "p", "ring"], cpu::sample),
    both!("swiglu_forward", "swiglu", &[FORWARD], &[RA, WA], &["n", "f"], cpu::swiglu_forward),
    both!("swiglu_backward", "swiglu", &[BACKWARD], &[RA, RA, WA], &["n", "f"], cpu::swiglu_backward),
    both!("cross_entropy", "cross_entropy", &[], &[R, R, R, R, WA, W], &["r", "v", "gradient"], cpu::cross_entropy),
    half!("cross_entropy.v.h", "cross_entropy", &[VEC4], &[R, R, R, R, WA, W], &["r", "v", "gradient"], cpu::cross_entropy),
    both!("entropy", "entropy", &[SUM_256], &[R, RA, W], &["r", "v"], cpu::entropy),
    one!("adamw_prepare", "adamw", &[&[("PREPARE", "")], SUM_256, LOSS_SCALE], &[R, R, R, W], &["g"], cpu::adamw_prepare),
    one!("adamw", "adamw", &[&[("UPDATE", "")]], &[R, R, R, W, W, W], &["n", "decayed"], cpu::adamw),
    half!("adamw.h", "adamw", &[&[("UPDATE", "")]], &[R, R, R, W, W, W, WA], &["n", "decayed"], cpu::adamw),
    one!("matmul_nn", "matmul", &[NN, TILE_64], &[R, R, W], PRODUCT, cpu::matmul_nn),
    both!("matmul_nn.32", "matmul", &[NN, TILE_32], &[RA, RA, WA], PRODUCT, cpu::matmul_nn),
    both!("matmul_nn.32v", "matmul", &[NN, TILE_32, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nn),
    both!("matmul_nn.64v", "matmul", &[NN, TILE_64, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nn),
    both!("matmul_nn.64x128v", "matmul", &[NN, TILE_64X128, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nn; 24_576),
    both!("matmul_nn.128v", "matmul", &[NN, TILE_128, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nn; 32_768),
    one!("matmul_nt", "matmul", &[NT, TILE_64], &[R, R, W], PRODUCT, cpu::matmul_nt),
    both!("matmul_nt.32", "matmul", &[NT, TILE_32], &[RA, RA, WA], PRODUCT, cpu::matmul_nt),
    // For scores, whose sums stay f32.
    half!("matmul_nt.32.sum", "matmul", &[NT, TILE_32], &[RA, RA, W], PRODUCT, cpu::matmul_nt),
    both!("matmul_nt.32v", "matmul", &[NT, TILE_32, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nt),
    both!("matmul_nt.64v", "matmul", &[NT, TILE_64, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nt),
    both!("matmul_nt.64x128v", "matmul", &[NT, TILE_64X128, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nt; 24_576),
    both!("matmul_nt.128v", "matmul", &[NT, TILE_128, VEC4], &[RA, RA, WA], PRODUCT, cpu::matmul_nt; 32_768),
    one!("matmul_tn", "matmul", &[TN, TILE_64], &[R, R, W], PRODUCT, cpu::matmul_tn),
    both!("matmul_tn.32", "matmul", &[TN, TILE_32], &[RA, RA, W], PRODUCT, cpu::matmul_tn),
    both!("matmul_tn.32v", "matmul", &[TN, TILE_32, VEC4], &[RA, RA, W], PRODUCT, cpu::matmul_tn),
    both!("matmul_tn.64v", "matmul", &[TN, TILE_64, VEC4], &[RA, RA, W], PRODUCT, cpu::matmul_tn),
    both!("matmul_tn.64x128v", "matmul", &[TN, TILE_64X128, VEC4], &[RA, RA, W], PRODUCT, cpu::matmul_tn; 24_576),
    both!("matmul_tn.128v", "matmul", &[TN, TILE_128, VEC4], &[RA, RA, W], PRODUCT, cpu::matmul_tn; 32_768),
    both!("matmul_nn_split", "matmul", &[NN, SPLIT, TILE_64], &[RA, RA, W], PARTIAL, cpu::matmul_nn_split),
    both!("matmul_nn_split.64v", "matmul", &[NN, SPLIT, TILE_64, VEC4], &[RA, RA, W], PARTIAL, cpu::matmul_nn_split),
    both!("matmul_nn_split.64x128v", "matmul", &[NN, SPLIT, TILE_64X128, VEC4], &[RA, RA, W], PARTIAL, cpu::matmul_nn_split; 24_576),
    both!("matmul_nn_split.128v", "matmul", &[NN, SPLIT, TILE_128, VEC4], &[RA, RA, W], PARTIAL, cpu::matmul_nn_split; 32_768),
    both!("matmul_tn_split", "matmul", &[TN, SPLIT, TILE_64], &[RA, RA, W], PARTIAL, cpu::matmul_tn_split),
    both!("matmul_tn_split.64v", "matmul", &[TN, SPLIT, TILE_64, VEC4], &[RA, RA, W], PARTIAL, cpu::matmul_tn_split),
    both!("matmul_tn_split.64x128v", "matmul", &[TN, SPLIT, TILE_64X128, VEC4], &[RA, RA, W], PARTIAL, cpu::matmul_tn_split; 24_576),
    both!("matmul_tn_split.128v", "matmul", &[TN, SPLIT, TILE_128, VEC4], &[RA, RA, W], PARTIAL, cpu::matmul_tn_split; 32_768),
    matrix::ROWS,
];

/// The row with this name.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name)
}

/// The row with this name for tensors of these types: the f32 row or its f16 twin. If neither accepts them, the f32
/// row, whose check then reports the error.
pub(in crate::compute) fn kernel_for(name: &str, types: &[DType]) -> Option<&'static Kernel> {
    let named = |k: &&Kernel| k.name == name || k.name.strip_suffix(".h") == Some(name);
    KERNELS.iter().filter(named).find(|k| k.takes(types)).or_else(|| kernel(name))
}

/// The variants of a kernel, in the order of the table.
pub(in crate::compute) fn variants(base: &str) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |k| k.base() == base)
}
