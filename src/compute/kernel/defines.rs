//! Definitions shared by the rows of the table: bindings, parameter names, flags, and tiles of WGSL.

use super::row::{Access, Binding, Cell, Defines};

pub(super) const R: Binding = Binding { access: Access::Read, cell: Cell::Word };
pub(super) const W: Binding = Binding { access: Access::Write, cell: Cell::Word };
/// The same in the activation type.
pub(super) const RA: Binding = Binding { access: Access::Read, cell: Cell::Act };
pub(super) const WA: Binding = Binding { access: Access::Write, cell: Cell::Act };

pub(super) const FORWARD: Defines = &[("FORWARD", "")];
pub(super) const BACKWARD: Defines = &[("BACKWARD", "")];
pub(super) const VEC4: Defines = &[("VEC4", "")];
pub(super) const SPLIT: Defines = &[("SPLIT", "")];
/// `workgroup_sum` of 64 and of 256 invocations.
pub(super) const SUM_64: Defines = &[("SIDE", "8")];
pub(super) const SUM_256: Defines = &[("SIDE", "16")];

/// Applied steps after which the loss scale doubles, and its maximum.
pub(super) const LOSS_SCALE: Defines = &[("GROWTH", "1000"), ("MOST", "16777216")];

pub(super) const NN: Defines = &[("NN", "")];
pub(super) const NT: Defines = &[("NT", "")];
pub(super) const TN: Defines = &[("TN", "")];
pub(super) const TILE_32: Defines = &[
    ("BM", "32"),
    ("BN", "32"),
    ("BK", "32"),
    ("RM", "1"),
    ("RN", "1"),
    ("THREADS", "64"),
    ("LOADS", "2"),
    ("UNROLL", "1"),
];
pub(super) const TILE_64: Defines = &[
    ("BM", "64"),
    ("BN", "64"),
    ("BK", "32"),
    ("RM", "1"),
    ("RN", "1"),
    ("THREADS", "256"),
    ("LOADS", "1"),
    ("UNROLL", "1"),
];
pub(super) const TILE_64X128: Defines = &[
    ("BM", "64"),
    ("BN", "128"),
    ("BK", "32"),
    ("RM", "2"),
    ("RN", "2"),
    ("THREADS", "128"),
    ("LOADS", "3"),
    ("UNROLL", "8"),
];
pub(super) const TILE_128: Defines = &[
    ("BM", "128"),
    ("BN", "128"),
    ("BK", "32"),
    ("RM", "2"),
    ("RN", "2"),
    ("THREADS", "256"),
    ("LOADS", "2"),
    ("UNROLL", "8"),
];

/// Products for few rows: sums that 32 invocations compute together, and steps along K that are prefetched.
pub(super) const FEW_1: Defines = &[("ROWS", "1"), ("COLS", "1"), ("THREADS", "128"), ("AHEAD", "4")];
pub(super) const FEW_8: Defines = &[("ROWS", "8"), ("COLS", "1"), ("THREADS", "256"), ("AHEAD", "1")];
pub(super) const FEW_8X4: Defines = &[("ROWS", "8"), ("COLS", "4"), ("THREADS", "256"), ("AHEAD", "1")];
pub(super) const GATED_1: Defines = &[("SWIGLU", ""), ("ROWS", "1"), ("COLS", "2"), ("THREADS", "128"), ("AHEAD", "4")];
pub(super) const GATED_8: Defines = &[("SWIGLU", ""), ("ROWS", "8"), ("COLS", "2"), ("THREADS", "256"), ("AHEAD", "1")];
pub(super) const GATED_8X4: Defines =
    &[("SWIGLU", ""), ("ROWS", "8"), ("COLS", "4"), ("THREADS", "256"), ("AHEAD", "1")];

pub(super) const QUERIES: Defines = &[("BACKWARD_Q", "")];
pub(super) const KEYS: Defines = &[("BACKWARD_KV", "")];
/// Tiles of attention by the largest head size they support. The first two fit the memory of any adapter.
pub(super) const HEAD_256: Defines = &[("SIDE", "4"), ("R", "1"), ("D4", "64"), ("C4", "16"), ("LOADS", "16")];
pub(super) const HEAD_64: Defines = &[("SIDE", "8"), ("R", "2"), ("D4", "16"), ("C4", "2"), ("LOADS", "4")];
pub(super) const HEAD_32V: Defines = &[("SIDE", "8"), ("R", "4"), ("D4", "8"), ("C4", "1"), ("LOADS", "4")];
pub(super) const HEAD_64V: Defines = &[("SIDE", "8"), ("R", "4"), ("D4", "16"), ("C4", "2"), ("LOADS", "8")];
pub(super) const HEAD_128V: Defines = &[("SIDE", "8"), ("R", "2"), ("D4", "32"), ("C4", "4"), ("LOADS", "8")];

/// Tiles of attention_wide.wgsl by head size, one for each kernel.
pub(super) const WIDE_32: Defines = &[
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
pub(super) const WIDE_32Q: Defines = &[
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
pub(super) const WIDE_32KV: Defines = &[
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
pub(super) const WIDE_64: Defines = &[
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
pub(super) const WIDE_64Q: Defines = &[
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
pub(super) const WIDE_64KV: Defines = &[
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
pub(super) const FEW: &[&str] = &["m", "n", "k"];
pub(super) const STEP: &[&str] = &["b", "p", "hq", "hk", "d", "positions", "scale"];
pub(super) const ROW: &[&str] = &["b", "p", "hq", "hk", "d", "positions", "c", "scale", "eps"];
pub(super) const PARTIAL: &[&str] = &["m", "n", "k", "span"];
