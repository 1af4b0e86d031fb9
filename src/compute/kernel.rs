//! The table of kernels: one row each, naming WGSL, bindings, parameters and CPU twin.
//!
//! To add a kernel: a shader in `shaders/`, a twin in `cpu/`, a row here and a checked function in
//! `ops.rs`. `tests/kernels.rs` compares every row's WGSL with its twin and, by reflection, its
//! bindings and `struct Params` with the row.

use super::{cpu, record::Twin};

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

/// A twin was called with another number of views than it binds: a bug in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity;

/// One kernel, or one variant of it.
#[derive(Debug)]
pub struct Kernel {
    /// Unique name; variants of one kernel differ after a dot (`matmul_nt.128`).
    pub name: &'static str,
    /// Entry in `shaders/`, without the ending; the entry point is `main`.
    pub source: &'static str,
    /// What the preprocessor defines: `("TILE", "64")` for a constant, `("TN", "")` for a flag.
    pub defines: &'static [(&'static str, &'static str)],
    /// Storage bindings 1, 2, … in order; the parameter block is binding 0.
    pub bindings: &'static [Access],
    /// The members of `struct Params`, in order.
    pub params: &'static [&'static str],
    /// The same computation on the CPU.
    pub twin: Twin,
}

use Access::{Read as R, Write as W};

/// Every kernel. Shapes are in the documentation of the function of the same name in [`super::ops`].
#[rustfmt::skip]
pub static KERNELS: &[Kernel] = &[
    row("fill", "elementwise", &[("FILL", "")], &[W], &["n", "value"], cpu::fill),
    row("add", "elementwise", &[("ADD", "")], &[R, R, W], &["n"], cpu::add),
    row("scale", "elementwise", &[("SCALE", "")], &[W], &["n", "factor"], cpu::scale),
    row("dropout", "dropout", &[], &[R, R, W], &["n", "stream", "p"], cpu::dropout),
    row("sum", "reduce", &[("SUM", "")], &[R, W], &["n", "accumulate"], cpu::sum),
    row("column_sum", "reduce", &[("COLUMN_SUM", "")], &[R, W], &["g", "c", "accumulate"], cpu::column_sum),
    row("square_sum", "reduce", &[("SQUARE_SUM", "")], &[R, W], &["n", "g", "first"], cpu::square_sum),
    row("embedding_forward", "embedding", &[("FORWARD", "")], &[R, R, W], &["n", "c", "v"], cpu::embedding_forward),
    row("embedding_backward", "embedding", &[("BACKWARD", "")], &[R, R, R, W], &["v", "c"], cpu::embedding_backward),
    row("rmsnorm_forward", "rmsnorm", &[("FORWARD", "")], &[R, R, W, W], &["n", "c", "eps"], cpu::rmsnorm_forward),
    row("add_rmsnorm_forward", "rmsnorm", &[("FORWARD", ""), ("ADD", "")], &[R, R, R, W, W, W], &["n", "c", "eps"], cpu::add_rmsnorm_forward),
    row("rmsnorm_backward", "rmsnorm", &[("BACKWARD", "")], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    row("rope", "rope", &[], &[R, R, W], &["n", "heads", "d", "stride", "inverse", "positions"], cpu::rope),
    row("attention_forward", "attention", &[("FORWARD", "")], &[R, W, W], &["b", "t", "hq", "hk", "d", "scale"], cpu::attention_forward),
    row("attention_delta", "attention_delta", &[], &[R, R, W], &["b", "t", "hq", "d"], cpu::attention_delta),
    row("attention_backward_q", "attention", &[("BACKWARD_Q", "")], &[R, R, R, R, W], &["b", "t", "hq", "hk", "d", "scale"], cpu::attention_backward_q),
    row("attention_backward_kv", "attention", &[("BACKWARD_KV", "")], &[R, R, R, R, W], &["b", "t", "hq", "hk", "d", "scale"], cpu::attention_backward_kv),
    row("cache_append", "decode", &[("APPEND", "")], &[R, R, W], &["b", "n", "p", "hq", "hk", "d"], cpu::cache_append),
    row("attention_decode", "decode", &[("ATTEND", "")], &[R, R, R, W], &["b", "n", "p", "hq", "hk", "d", "scale"], cpu::attention_decode),
    row("swiglu_forward", "swiglu", &[("FORWARD", "")], &[R, W], &["n", "f"], cpu::swiglu_forward),
    row("swiglu_backward", "swiglu", &[("BACKWARD", "")], &[R, R, W], &["n", "f"], cpu::swiglu_backward),
    row("cross_entropy", "cross_entropy", &[], &[R, R, W, W], &["r", "v", "gradient"], cpu::cross_entropy),
    row("adamw_prepare", "adamw", &[("PREPARE", "")], &[R, R, R, W], &["g"], cpu::adamw_prepare),
    row("adamw", "adamw", &[("UPDATE", "")], &[R, R, R, W, W, W], &["n", "decayed"], cpu::adamw),
    row("matmul_nn", "matmul", &[("NN", "")], &[R, R, W], &["m", "n", "k", "accumulate"], cpu::matmul_nn),
    row("matmul_nt", "matmul", &[("NT", "")], &[R, R, W], &["m", "n", "k", "accumulate"], cpu::matmul_nt),
    row("matmul_tn", "matmul", &[("TN", "")], &[R, R, W], &["m", "n", "k", "accumulate"], cpu::matmul_tn),
];

const fn row(
    name: &'static str,
    source: &'static str,
    defines: &'static [(&'static str, &'static str)],
    bindings: &'static [Access],
    params: &'static [&'static str],
    twin: Twin,
) -> Kernel {
    Kernel { name, source, defines, bindings, params, twin }
}

/// The row of that name.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name)
}
