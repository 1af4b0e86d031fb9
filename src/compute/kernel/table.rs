//! The table of kernels: one row each, naming WGSL, bindings, parameters and CPU twin.
//!
//! To add a kernel: a shader in `shaders/`, a twin in `cpu/`, a row here and a checked function in
//! `ops.rs`. `tests/kernels/main.rs` compares every row's WGSL with its twin and, by reflection, its
//! bindings and `struct Params` with the row.

use super::{ComputeError, DType, Traits, cpu, record::Twin};

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

/// What a binding is an array of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// f32, u32 or i32: sums, master weights, ids.
    Word,
    /// The row's activation type, `${ACT}` in its WGSL: f32, or f16 in the rows that need it.
    Act,
}

/// One storage binding of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// How the kernel uses it.
    pub access: Access,
    /// What it is an array of.
    pub cell: Cell,
}

/// What a row asks of a device beside limits; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// What every adapter has.
    Common,
    /// 16-bit floats in storage and arithmetic.
    Half,
    /// Cooperative matrices, 16×16×16, f16 × f16 → f32.
    Matrix,
}

/// A twin was called with another number of views than it binds: a bug in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity;

/// What the preprocessor defines: `("TILE", "64")` for a constant, `("TN", "")` for a flag.
pub type Defines = &'static [(&'static str, &'static str)];

/// One kernel, or one variant of it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Unique name; variants of one kernel differ after a dot (`matmul_nt.128v`), and the f16 row of a
    /// variant ends in `.h`.
    pub name: &'static str,
    /// Entry in `shaders/`, without the ending; the entry point is `main`.
    pub source: &'static str,
    /// What the preprocessor defines, in groups.
    pub defines: &'static [Defines],
    /// Storage bindings 1, 2, … in order, reads first; the parameter block is binding 0.
    pub bindings: &'static [Binding],
    /// The members of `struct Params`, in order.
    pub params: &'static [&'static str],
    /// The same computation on the CPU.
    pub twin: Twin,
    /// Bytes of workgroup memory that it takes at most.
    pub storage: u32,
    /// What the device must have.
    pub needs: Needs,
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
        match self.needs {
            Needs::Common if traits.cpu => true,
            needs => needs <= traits.offers && self.storage <= traits.workgroup_storage,
        }
    }

    /// The type of the [`Cell::Act`] bindings.
    pub fn act(&self) -> DType {
        if self.needs == Needs::Common { DType::F32 } else { DType::F16 }
    }

    /// True when it may bind a tensor of that type there.
    pub fn binds(&self, binding: &Binding, dtype: DType) -> bool {
        match binding.cell {
            Cell::Word => dtype != DType::F16,
            Cell::Act => dtype == self.act(),
        }
    }

    /// True when it may bind tensors of these types.
    pub fn takes(&self, types: &[DType]) -> bool {
        types.len() == self.bindings.len() && types.iter().zip(self.bindings).all(|(t, b)| self.binds(b, *t))
    }

    /// Number of bindings that are only read: those before the others.
    pub fn reads(&self) -> usize {
        self.bindings.iter().filter(|b| b.access == Access::Read).count()
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

pub(super) const R: Binding = Binding { access: Access::Read, cell: Cell::Word };
pub(super) const W: Binding = Binding { access: Access::Write, cell: Cell::Word };
/// The same in the activation type.
pub(super) const RA: Binding = Binding { access: Access::Read, cell: Cell::Act };
pub(super) const WA: Binding = Binding { access: Access::Write, cell: Cell::Act };

/// Workgroup memory that every adapter has.
const COMMON: u32 = 16_384;

pub(super) const FORWARD: Defines = &[("FORWARD", "")];
const BACKWARD: Defines = &[("BACKWARD", "")];
const VEC4: Defines = &[("VEC4", "")];
pub(super) const SPLIT: Defines = &[("SPLIT", "")];
/// `workgroup_sum` of 64 and of 256 invocations.
const SUM_64: Defines = &[("SIDE", "8")];
const SUM_256: Defines = &[("SIDE", "16")];

/// Applied steps after which the loss scale doubles, and the largest.
const LOSS_SCALE: Defines = &[("GROWTH", "1000"), ("MOST", "16777216")];

pub(super) const NN: Defines = &[("NN", "")];
pub(super) const NT: Defines = &[("NT", "")];
pub(super) const TN: Defines = &[("TN", "")];
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

pub(super) const QUERIES: Defines = &[("BACKWARD_Q", "")];
pub(super) const KEYS: Defines = &[("BACKWARD_KV", "")];
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

pub(super) const ATTENTION: &[&str] = &["b", "t", "hq", "hk", "d", "scale"];
pub(super) const PRODUCT: &[&str] = &["m", "n", "k", "accumulate"];
pub(super) const PARTIAL: &[&str] = &["m", "n", "k", "span"];

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

/// One row over f16 alone.
macro_rules! half {
    ($($part:expr),* $(; $storage:literal)?) => { &[row($($part),*)$(.storage($storage))?.half()] };
}

/// Every kernel. Shapes are in the documentation of the function of the same name in [`super::ops`].
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
    both!("attention_forward", "attention", &[FORWARD, HEAD_256], &[RA, R, WA, W], ATTENTION, cpu::attention_forward),
    one!("attention_forward.64", "attention", &[FORWARD, HEAD_64], &[R, R, W, W], ATTENTION, cpu::attention_forward),
    both!("attention_forward.32v", "attention", &[FORWARD, HEAD_32V, VEC4], &[RA, R, WA, W], ATTENTION, cpu::attention_forward),
    both!("attention_forward.64v", "attention", &[FORWARD, HEAD_64V, VEC4], &[RA, R, WA, W], ATTENTION, cpu::attention_forward; 23_040),
    both!("attention_forward.128v", "attention", &[FORWARD, HEAD_128V, VEC4], &[RA, R, WA, W], ATTENTION, cpu::attention_forward; 19_712),
    both!("attention_forward.32w", "attention_wide", &[FORWARD, WIDE_32, VEC4], &[RA, R, WA, W], ATTENTION, cpu::attention_forward; 26_624),
    both!("attention_forward.64w", "attention_wide", &[FORWARD, WIDE_64, VEC4], &[RA, R, WA, W], ATTENTION, cpu::attention_forward; 43_008),
    both!("attention_delta", "attention_delta", &[], &[RA, RA, W], &["b", "t", "hq", "d"], cpu::attention_delta),
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
    // A score, whose sums stay f32.
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
    super::matrix::ROWS,
];

pub(super) const fn row(
    name: &'static str,
    source: &'static str,
    defines: &'static [Defines],
    bindings: &'static [Binding],
    params: &'static [&'static str],
    twin: Twin,
) -> Kernel {
    Kernel { name, source, defines, bindings, params, twin, storage: COMMON, needs: Needs::Common }
}

impl Kernel {
    const fn storage(mut self, bytes: u32) -> Kernel {
        self.storage = bytes;
        self
    }

    /// The row over f16.
    const fn half(mut self) -> Kernel {
        self.needs = Needs::Half;
        self
    }
}

/// The row of that name.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name)
}

/// The row of that name for tensors of these types: the f32 row or its f16 twin. Where neither takes them,
/// the f32 row, which then refuses them by name.
pub(super) fn kernel_for(name: &str, types: &[DType]) -> Option<&'static Kernel> {
    let named = |k: &&Kernel| k.name == name || k.name.strip_suffix(".h") == Some(name);
    KERNELS.iter().filter(named).find(|k| k.takes(types)).or_else(|| kernel(name))
}

/// The variants of a kernel, in the order of the table.
pub(super) fn variants(base: &str) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |k| k.base() == base)
}
