//! The table of kernels: one row each, naming WGSL, bindings, parameters and CPU twin.
//!
//! To add a kernel: a shader in `shaders/`, a twin in `cpu/`, a row here and a checked function in
//! `ops.rs`. `tests/kernels.rs` compares every row's WGSL with its twin and, by reflection, its
//! bindings and `struct Params` with the row.

use super::{ComputeError, Traits, cpu, record::Twin};

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

/// What the preprocessor defines: `("TILE", "64")` for a constant, `("TN", "")` for a flag.
pub type Defines = &'static [(&'static str, &'static str)];

/// One kernel, or one variant of it.
#[derive(Debug)]
pub struct Kernel {
    /// Unique name; variants of one kernel differ after a dot (`matmul_nt.128`).
    pub name: &'static str,
    /// Entry in `shaders/`, without the ending; the entry point is `main`.
    pub source: &'static str,
    /// What the preprocessor defines, in groups.
    pub defines: &'static [Defines],
    /// Storage bindings 1, 2, … in order; the parameter block is binding 0.
    pub bindings: &'static [Access],
    /// The members of `struct Params`, in order.
    pub params: &'static [&'static str],
    /// The same computation on the CPU.
    pub twin: Twin,
    /// Bytes of workgroup memory that it takes at most.
    pub storage: u32,
}

impl Kernel {
    /// The name without the variant.
    pub fn base(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// True when a flag is defined.
    pub fn has(&self, flag: &str) -> bool {
        self.defines.iter().any(|group| group.iter().any(|(name, _)| *name == flag))
    }

    /// True when a device of these traits can run it.
    pub fn runs_on(&self, traits: &Traits) -> bool {
        traits.cpu || self.storage <= traits.workgroup_storage
    }

    /// Its WGSL, expanded by the preprocessor.
    pub fn wgsl(&self) -> Result<String, ComputeError> {
        super::gpu::wgsl(self)
    }

    /// A constant of the row; 0 where it has none of that name.
    pub fn constant(&self, name: &str) -> usize {
        let found = self.defines.iter().flat_map(|group| group.iter()).find(|(n, _)| *n == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }
}

use Access::{Read as R, Write as W};

/// Workgroup memory that every adapter has.
const COMMON: u32 = 16_384;

const FORWARD: Defines = &[("FORWARD", "")];
const BACKWARD: Defines = &[("BACKWARD", "")];
const VEC4: Defines = &[("VEC4", "")];
const SPLIT: Defines = &[("SPLIT", "")];
/// `workgroup_sum` of 64 and of 256 invocations.
const SUM_64: Defines = &[("SIDE", "8")];
const SUM_256: Defines = &[("SIDE", "16")];

const NN: Defines = &[("NN", "")];
const NT: Defines = &[("NT", "")];
const TN: Defines = &[("TN", "")];
const TILE_32: Defines = &[
    ("BM", "32"),
    ("BN", "32"),
    ("BK", "32"),
    ("RM", "1"),
    ("RN", "1"),
    ("THREADS", "64"),
    ("LOADS", "2"),
    ("UNROLL", "1"),
];
const TILE_64: Defines = &[
    ("BM", "64"),
    ("BN", "64"),
    ("BK", "32"),
    ("RM", "1"),
    ("RN", "1"),
    ("THREADS", "256"),
    ("LOADS", "1"),
    ("UNROLL", "1"),
];
const TILE_64X128: Defines = &[
    ("BM", "64"),
    ("BN", "128"),
    ("BK", "32"),
    ("RM", "2"),
    ("RN", "2"),
    ("THREADS", "128"),
    ("LOADS", "3"),
    ("UNROLL", "8"),
];
const TILE_128: Defines = &[
    ("BM", "128"),
    ("BN", "128"),
    ("BK", "32"),
    ("RM", "2"),
    ("RN", "2"),
    ("THREADS", "256"),
    ("LOADS", "2"),
    ("UNROLL", "8"),
];

const QUERIES: Defines = &[("BACKWARD_Q", "")];
const KEYS: Defines = &[("BACKWARD_KV", "")];
/// Tiles of attention by the largest head size they take. The first two fit the memory of any adapter.
const HEAD_256: Defines = &[("SIDE", "4"), ("R", "1"), ("D4", "64"), ("C4", "16"), ("LOADS", "16")];
const HEAD_64: Defines = &[("SIDE", "8"), ("R", "2"), ("D4", "16"), ("C4", "2"), ("LOADS", "4")];
const HEAD_32V: Defines = &[("SIDE", "8"), ("R", "4"), ("D4", "8"), ("C4", "1"), ("LOADS", "4")];
const HEAD_64V: Defines = &[("SIDE", "8"), ("R", "4"), ("D4", "16"), ("C4", "2"), ("LOADS", "8")];
const HEAD_128V: Defines = &[("SIDE", "8"), ("R", "2"), ("D4", "32"), ("C4", "4"), ("LOADS", "8")];

/// Tiles of attention_wide.wgsl by the head size they take, one for each kernel.
const WIDE_32: Defines = &[
    ("OWN", "64"),
    ("TY", "16"),
    ("RO", "4"),
    ("RS", "4"),
    ("D4", "8"),
    ("C4", "1"),
    ("LOADS", "2"),
    ("OWN_LOADS", "4"),
    ("EXACT", "32"),
    ("UNROLL", "4"),
];
const WIDE_32Q: Defines = &[
    ("OWN", "64"),
    ("TY", "16"),
    ("RO", "4"),
    ("RS", "4"),
    ("D4", "8"),
    ("C4", "1"),
    ("LOADS", "2"),
    ("OWN_LOADS", "4"),
    ("EXACT", "32"),
    ("UNROLL", "1"),
    ("SHARED", "512"),
];
const WIDE_32KV: Defines = &[
    ("OWN", "64"),
    ("TY", "16"),
    ("RO", "4"),
    ("RS", "2"),
    ("D4", "8"),
    ("C4", "1"),
    ("LOADS", "1"),
    ("OWN_LOADS", "4"),
    ("EXACT", "32"),
    ("UNROLL", "1"),
];
const WIDE_64: Defines = &[
    ("OWN", "64"),
    ("TY", "32"),
    ("RO", "2"),
    ("RS", "4"),
    ("D4", "16"),
    ("C4", "2"),
    ("LOADS", "2"),
    ("OWN_LOADS", "4"),
    ("EXACT", "64"),
    ("UNROLL", "4"),
];
const WIDE_64Q: Defines = &[
    ("OWN", "64"),
    ("TY", "16"),
    ("RO", "4"),
    ("RS", "4"),
    ("D4", "16"),
    ("C4", "2"),
    ("LOADS", "4"),
    ("OWN_LOADS", "8"),
    ("EXACT", "64"),
    ("UNROLL", "4"),
    ("SHARED", "512"),
];
const WIDE_64KV: Defines = &[
    ("OWN", "64"),
    ("TY", "32"),
    ("RO", "2"),
    ("RS", "2"),
    ("D4", "16"),
    ("C4", "2"),
    ("LOADS", "1"),
    ("OWN_LOADS", "4"),
    ("EXACT", "64"),
    ("UNROLL", "1"),
];

const ATTENTION: &[&str] = &["b", "t", "hq", "hk", "d", "scale"];
const PRODUCT: &[&str] = &["m", "n", "k", "accumulate"];
const PARTIAL: &[&str] = &["m", "n", "k", "span"];

/// Every kernel. Shapes are in the documentation of the function of the same name in [`super::ops`].
#[rustfmt::skip]
pub static KERNELS: &[Kernel] = &[
    row("fill", "elementwise", &[&[("FILL", "")]], &[W], &["n", "value"], cpu::fill),
    row("add", "elementwise", &[&[("ADD", "")]], &[R, R, W], &["n"], cpu::add),
    row("scale", "elementwise", &[&[("SCALE", "")]], &[W], &["n", "factor"], cpu::scale),
    row("dropout", "dropout", &[], &[R, R, W], &["n", "stream", "p"], cpu::dropout),
    row("sum", "reduce", &[&[("SUM", "")], SUM_256], &[R, W], &["n", "accumulate"], cpu::sum),
    row("column_sum", "reduce", &[&[("COLUMN_SUM", "")]], &[R, W], &["g", "c", "accumulate"], cpu::column_sum),
    row("column_sum.wide", "reduce", &[&[("COLUMN_SUM", ""), ("WIDE", "")]], &[R, W], &["g", "c", "accumulate"], cpu::column_sum),
    row("square_sum", "reduce", &[&[("SQUARE_SUM", "")], SUM_256], &[R, W], &["n", "g", "first"], cpu::square_sum),
    row("embedding_forward", "embedding", &[FORWARD], &[R, R, W], &["n", "c", "v"], cpu::embedding_forward),
    row("embedding_backward", "embedding", &[BACKWARD], &[R, R, R, W], &["v", "c"], cpu::embedding_backward),
    row("rmsnorm_forward", "rmsnorm", &[FORWARD, SUM_64], &[R, R, W, W], &["n", "c", "eps"], cpu::rmsnorm_forward),
    row("add_rmsnorm_forward", "rmsnorm", &[FORWARD, &[("ADD", "")], SUM_64], &[R, R, R, W, W, W], &["n", "c", "eps"], cpu::add_rmsnorm_forward),
    row("rmsnorm_backward", "rmsnorm", &[BACKWARD, SUM_64], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    row("rmsnorm_backward.256v", "rmsnorm_backward_wide", &[&[("U", "1")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    row("rmsnorm_backward.512v", "rmsnorm_backward_wide", &[&[("U", "2")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    row("rmsnorm_backward.768v", "rmsnorm_backward_wide", &[&[("U", "3")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    row("rmsnorm_backward.1024v", "rmsnorm_backward_wide", &[&[("U", "4")], VEC4], &[R, R, R, R, W, W], &["n", "c", "g", "accumulate"], cpu::rmsnorm_backward),
    row("rope", "rope", &[], &[R, R, W], &["n", "heads", "d", "stride", "inverse", "positions"], cpu::rope),
    row("attention_forward", "attention", &[FORWARD, HEAD_256], &[R, R, W, W], ATTENTION, cpu::attention_forward),
    row("attention_forward.64", "attention", &[FORWARD, HEAD_64], &[R, R, W, W], ATTENTION, cpu::attention_forward),
    row("attention_forward.32v", "attention", &[FORWARD, HEAD_32V, VEC4], &[R, R, W, W], ATTENTION, cpu::attention_forward),
    row("attention_forward.64v", "attention", &[FORWARD, HEAD_64V, VEC4], &[R, R, W, W], ATTENTION, cpu::attention_forward).storage(23_040),
    row("attention_forward.128v", "attention", &[FORWARD, HEAD_128V, VEC4], &[R, R, W, W], ATTENTION, cpu::attention_forward).storage(19_712),
    row("attention_forward.32w", "attention_wide", &[FORWARD, WIDE_32, VEC4], &[R, R, W, W], ATTENTION, cpu::attention_forward).storage(26_624),
    row("attention_forward.64w", "attention_wide", &[FORWARD, WIDE_64, VEC4], &[R, R, W, W], ATTENTION, cpu::attention_forward).storage(43_008),
    row("attention_delta", "attention_delta", &[], &[R, R, W], &["b", "t", "hq", "d"], cpu::attention_delta),
    row("attention_backward_q", "attention", &[QUERIES, HEAD_256], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q),
    row("attention_backward_q.64", "attention", &[QUERIES, HEAD_64], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q),
    row("attention_backward_q.32v", "attention", &[QUERIES, HEAD_32V, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q).storage(18_432),
    row("attention_backward_q.64v", "attention", &[QUERIES, HEAD_64V, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q).storage(30_720),
    row("attention_backward_q.128v", "attention", &[QUERIES, HEAD_128V, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q).storage(27_648),
    row("attention_backward_q.32w", "attention_wide", &[QUERIES, WIDE_32Q, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q).storage(28_672),
    row("attention_backward_q.64w", "attention_wide", &[QUERIES, WIDE_64Q, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_q).storage(49_152),
    row("attention_backward_kv", "attention", &[KEYS, HEAD_256], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv),
    row("attention_backward_kv.64", "attention", &[KEYS, HEAD_64], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv),
    row("attention_backward_kv.32v", "attention", &[KEYS, HEAD_32V, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv).storage(18_432),
    row("attention_backward_kv.64v", "attention", &[KEYS, HEAD_64V, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv).storage(30_720),
    row("attention_backward_kv.128v", "attention", &[KEYS, HEAD_128V, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv).storage(27_648),
    row("attention_backward_kv.32w", "attention_wide", &[KEYS, WIDE_32KV, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv).storage(28_672),
    row("attention_backward_kv.64w", "attention_wide", &[KEYS, WIDE_64KV, VEC4], &[R, R, R, R, R, W], ATTENTION, cpu::attention_backward_kv).storage(49_152),
    row("cache_append", "decode", &[&[("APPEND", "")]], &[R, R, W], &["b", "n", "p", "hq", "hk", "d"], cpu::cache_append),
    row("attention_decode", "decode", &[&[("ATTEND", "")]], &[R, R, R, W], &["b", "n", "p", "hq", "hk", "d", "scale"], cpu::attention_decode),
    row("swiglu_forward", "swiglu", &[FORWARD], &[R, W], &["n", "f"], cpu::swiglu_forward),
    row("swiglu_backward", "swiglu", &[BACKWARD], &[R, R, W], &["n", "f"], cpu::swiglu_backward),
    row("cross_entropy", "cross_entropy", &[], &[R, R, R, W, W], &["r", "v", "gradient"], cpu::cross_entropy),
    row("entropy", "entropy", &[SUM_256], &[R, R, W], &["r", "v"], cpu::entropy),
    row("adamw_prepare", "adamw", &[&[("PREPARE", "")], SUM_256], &[R, R, R, W], &["g"], cpu::adamw_prepare),
    row("adamw", "adamw", &[&[("UPDATE", "")]], &[R, R, R, W, W, W], &["n", "decayed"], cpu::adamw),
    row("matmul_nn", "matmul", &[NN, TILE_64], &[R, R, W], PRODUCT, cpu::matmul_nn),
    row("matmul_nn.32", "matmul", &[NN, TILE_32], &[R, R, W], PRODUCT, cpu::matmul_nn),
    row("matmul_nn.32v", "matmul", &[NN, TILE_32, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nn),
    row("matmul_nn.64v", "matmul", &[NN, TILE_64, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nn),
    row("matmul_nn.64x128v", "matmul", &[NN, TILE_64X128, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nn).storage(24_576),
    row("matmul_nn.128v", "matmul", &[NN, TILE_128, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nn).storage(32_768),
    row("matmul_nt", "matmul", &[NT, TILE_64], &[R, R, W], PRODUCT, cpu::matmul_nt),
    row("matmul_nt.32", "matmul", &[NT, TILE_32], &[R, R, W], PRODUCT, cpu::matmul_nt),
    row("matmul_nt.32v", "matmul", &[NT, TILE_32, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nt),
    row("matmul_nt.64v", "matmul", &[NT, TILE_64, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nt),
    row("matmul_nt.64x128v", "matmul", &[NT, TILE_64X128, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nt).storage(24_576),
    row("matmul_nt.128v", "matmul", &[NT, TILE_128, VEC4], &[R, R, W], PRODUCT, cpu::matmul_nt).storage(32_768),
    row("matmul_tn", "matmul", &[TN, TILE_64], &[R, R, W], PRODUCT, cpu::matmul_tn),
    row("matmul_tn.32", "matmul", &[TN, TILE_32], &[R, R, W], PRODUCT, cpu::matmul_tn),
    row("matmul_tn.32v", "matmul", &[TN, TILE_32, VEC4], &[R, R, W], PRODUCT, cpu::matmul_tn),
    row("matmul_tn.64v", "matmul", &[TN, TILE_64, VEC4], &[R, R, W], PRODUCT, cpu::matmul_tn),
    row("matmul_tn.64x128v", "matmul", &[TN, TILE_64X128, VEC4], &[R, R, W], PRODUCT, cpu::matmul_tn).storage(24_576),
    row("matmul_tn.128v", "matmul", &[TN, TILE_128, VEC4], &[R, R, W], PRODUCT, cpu::matmul_tn).storage(32_768),
    row("matmul_nn_split", "matmul", &[NN, SPLIT, TILE_64], &[R, R, W], PARTIAL, cpu::matmul_nn_split),
    row("matmul_nn_split.64v", "matmul", &[NN, SPLIT, TILE_64, VEC4], &[R, R, W], PARTIAL, cpu::matmul_nn_split),
    row("matmul_nn_split.64x128v", "matmul", &[NN, SPLIT, TILE_64X128, VEC4], &[R, R, W], PARTIAL, cpu::matmul_nn_split).storage(24_576),
    row("matmul_nn_split.128v", "matmul", &[NN, SPLIT, TILE_128, VEC4], &[R, R, W], PARTIAL, cpu::matmul_nn_split).storage(32_768),
    row("matmul_tn_split", "matmul", &[TN, SPLIT, TILE_64], &[R, R, W], PARTIAL, cpu::matmul_tn_split),
    row("matmul_tn_split.64v", "matmul", &[TN, SPLIT, TILE_64, VEC4], &[R, R, W], PARTIAL, cpu::matmul_tn_split),
    row("matmul_tn_split.64x128v", "matmul", &[TN, SPLIT, TILE_64X128, VEC4], &[R, R, W], PARTIAL, cpu::matmul_tn_split).storage(24_576),
    row("matmul_tn_split.128v", "matmul", &[TN, SPLIT, TILE_128, VEC4], &[R, R, W], PARTIAL, cpu::matmul_tn_split).storage(32_768),
];

const fn row(
    name: &'static str,
    source: &'static str,
    defines: &'static [Defines],
    bindings: &'static [Access],
    params: &'static [&'static str],
    twin: Twin,
) -> Kernel {
    Kernel { name, source, defines, bindings, params, twin, storage: COMMON }
}

impl Kernel {
    const fn storage(mut self, bytes: u32) -> Kernel {
        self.storage = bytes;
        self
    }
}

/// The row of that name.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name)
}

/// The variants of a kernel, in the order of the table.
pub(super) fn variants(base: &str) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |k| k.base() == base)
}
