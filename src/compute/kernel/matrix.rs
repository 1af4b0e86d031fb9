//! The rows of kernels on cooperative matrices, and their tiles.
//!
//! They bind f16 tensors and run where the device offers such matrices and the gate has passed
//! (`check::gate`). Sizes that do not fit them go to the f16 rows of [`super::table`].

use super::{
    defines::{ATTENTION, FORWARD, KEYS, NN, NT, PARTIAL, PRODUCT, QUERIES, R, RA, SPLIT, TN, W, WA},
    row::{Binding, Defines, Kernel, Needs, row},
};
use crate::compute::cpu::{self, Twin};

/// Tiles of matmul_coop.wgsl; sizes along memory are multiples of ALONG.
const TILE_64: Defines = &[
    ("BM", "64"),
    ("BN", "64"),
    ("BK", "64"),
    ("TM_FRAGMENTS", "2"),
    ("TN_FRAGMENTS", "2"),
    ("THREADS", "128"),
    ("LOADS_A", "8"),
    ("LOADS_B", "8"),
    ("STEPS", "4"),
    ("ALONG", "8"),
];
const TILE_64S: Defines = &[
    ("BM", "64"),
    ("BN", "64"),
    ("BK", "32"),
    ("TM_FRAGMENTS", "2"),
    ("TN_FRAGMENTS", "2"),
    ("THREADS", "128"),
    ("LOADS_A", "4"),
    ("LOADS_B", "4"),
    ("STEPS", "2"),
    ("ALONG", "8"),
];
const TILE_128: Defines = &[
    ("BM", "128"),
    ("BN", "128"),
    ("BK", "64"),
    ("TM_FRAGMENTS", "4"),
    ("TN_FRAGMENTS", "2"),
    ("THREADS", "256"),
    ("LOADS_A", "8"),
    ("LOADS_B", "8"),
    ("STEPS", "4"),
    ("ALONG", "8"),
];
const TILE_128S: Defines = &[
    ("BM", "128"),
    ("BN", "128"),
    ("BK", "32"),
    ("TM_FRAGMENTS", "4"),
    ("TN_FRAGMENTS", "2"),
    ("THREADS", "256"),
    ("LOADS_A", "4"),
    ("LOADS_B", "4"),
    ("STEPS", "2"),
    ("ALONG", "8"),
];
/// Four subgroups of 64 × 64.
const TILE_128W: Defines = &[
    ("BM", "128"),
    ("BN", "128"),
    ("BK", "32"),
    ("TM_FRAGMENTS", "4"),
    ("TN_FRAGMENTS", "4"),
    ("THREADS", "128"),
    ("LOADS_A", "8"),
    ("LOADS_B", "8"),
    ("STEPS", "2"),
    ("ALONG", "8"),
];
/// For widths of 384: two waves of an H100, where other tiles give one and a half.
const TILE_192: Defines = &[
    ("BM", "192"),
    ("BN", "128"),
    ("BK", "32"),
    ("TM_FRAGMENTS", "3"),
    ("TN_FRAGMENTS", "4"),
    ("THREADS", "256"),
    ("LOADS_A", "6"),
    ("LOADS_B", "4"),
    ("STEPS", "2"),
    ("ALONG", "8"),
];
/// Eight subgroups of 64 × 64.
const TILE_256: Defines = &[
    ("BM", "256"),
    ("BN", "128"),
    ("BK", "32"),
    ("TM_FRAGMENTS", "4"),
    ("TN_FRAGMENTS", "4"),
    ("THREADS", "256"),
    ("LOADS_A", "8"),
    ("LOADS_B", "4"),
    ("STEPS", "2"),
    ("ALONG", "8"),
];
/// The epilogues of a product.
const TO_HALF: Defines = &[("EPILOGUE", "epilogue_half")];
const TO_FLOAT: Defines = &[("EPILOGUE", "epilogue_float")];
const TO_ROPE: Defines = &[("EPILOGUE", "epilogue_rope"), ("PARTNER", "")];
const TO_SWIGLU: Defines = &[("EPILOGUE", "epilogue_swiglu"), ("PAIRED", "")];
const TO_SWIGLU_BACKWARD: Defines = &[("EPILOGUE", "epilogue_swiglu_backward"), ("AHEAD", "")];

/// Tiles of attention_coop.wgsl by head size: for the forward kernel …
const HEAD_32: Defines = &[
    ("OWN", "64"),
    ("D4", "8"),
    ("BC", "32"),
    ("NC", "2"),
    ("HALF_ROW", "4"),
    ("GROUPS", "1"),
    ("PER", "2"),
    ("LOADS", "2"),
    ("OWN_LOADS", "4"),
    ("EXACT", "32"),
];
const HEAD_64: Defines = &[
    ("OWN", "64"),
    ("D4", "16"),
    ("BC", "64"),
    ("NC", "4"),
    ("HALF_ROW", "8"),
    ("GROUPS", "1"),
    ("PER", "4"),
    ("LOADS", "8"),
    ("OWN_LOADS", "8"),
    ("EXACT", "64"),
];
const HEAD_128: Defines = &[
    ("OWN", "64"),
    ("D4", "32"),
    ("BC", "32"),
    ("NC", "2"),
    ("HALF_ROW", "4"),
    ("GROUPS", "4"),
    ("PER", "2"),
    ("LOADS", "8"),
    ("OWN_LOADS", "16"),
    ("EXACT", "128"),
];
/// … for the gradient of queries …
const HEAD_32Q: Defines = &[
    ("OWN", "64"),
    ("D4", "8"),
    ("BC", "16"),
    ("NC", "1"),
    ("HALF_ROW", "2"),
    ("GROUPS", "2"),
    ("PER", "1"),
    ("LOADS", "1"),
    ("OWN_LOADS", "4"),
    ("EXACT", "32"),
];
const HEAD_64Q: Defines = &[
    ("OWN", "64"),
    ("D4", "16"),
    ("BC", "16"),
    ("NC", "1"),
    ("HALF_ROW", "2"),
    ("GROUPS", "4"),
    ("PER", "1"),
    ("LOADS", "2"),
    ("OWN_LOADS", "8"),
    ("EXACT", "64"),
];
const HEAD_128Q: Defines = &[
    ("OWN", "64"),
    ("D4", "32"),
    ("BC", "32"),
    ("NC", "2"),
    ("HALF_ROW", "4"),
    ("GROUPS", "4"),
    ("PER", "2"),
    ("LOADS", "8"),
    ("OWN_LOADS", "16"),
    ("EXACT", "128"),
];
/// … and for the gradient of keys and values.
const HEAD_32KV: Defines = &[
    ("OWN", "64"),
    ("D4", "8"),
    ("BC", "16"),
    ("NC", "1"),
    ("HALF_ROW", "2"),
    ("GROUPS", "2"),
    ("PER", "1"),
    ("LOADS", "1"),
    ("OWN_LOADS", "4"),
    ("EXACT", "32"),
];
const HEAD_64KV: Defines = &[
    ("OWN", "64"),
    ("D4", "16"),
    ("BC", "32"),
    ("NC", "2"),
    ("HALF_ROW", "4"),
    ("GROUPS", "2"),
    ("PER", "2"),
    ("LOADS", "4"),
    ("OWN_LOADS", "8"),
    ("EXACT", "64"),
];
const HEAD_128KV: Defines = &[
    ("OWN", "64"),
    ("D4", "32"),
    ("BC", "16"),
    ("NC", "1"),
    ("HALF_ROW", "2"),
    ("GROUPS", "8"),
    ("PER", "1"),
    ("LOADS", "4"),
    ("OWN_LOADS", "16"),
    ("EXACT", "128"),
];

const SUMS: &[Binding] = &[RA, RA, W];
const HALVES: &[Binding] = &[RA, RA, WA];
const ROPE: &[&str] = &["m", "n", "k", "accumulate", "rotated", "d", "positions"];
const ATTEND: &[Binding] = &[RA, R, WA, W, W];
const GRADIENT: &[Binding] = &[RA, R, RA, R, R, WA];

#[rustfmt::skip]
pub(super) const ROWS: &[Kernel] = &[
    matrix("matmul_nt.64c", "matmul_coop", &[NT, TILE_64, TO_HALF], HALVES, PRODUCT, cpu::matmul_nt, 24_576),
    matrix("matmul_nt.128c", "matmul_coop", &[NT, TILE_128, TO_HALF], HALVES, PRODUCT, cpu::matmul_nt, 49_152),
    matrix("matmul_nn.64c", "matmul_coop", &[NN, TILE_64S, TO_HALF], HALVES, PRODUCT, cpu::matmul_nn, 15_872),
    matrix("matmul_nn.128c", "matmul_coop", &[NN, TILE_128, TO_HALF], HALVES, PRODUCT, cpu::matmul_nn, 48_128),
    matrix("matmul_nn.192c", "matmul_coop", &[NN, TILE_192, TO_HALF], HALVES, PRODUCT, cpu::matmul_nn, 36_352),
    matrix("matmul_nn.256c", "matmul_coop", &[NN, TILE_256, TO_HALF], HALVES, PRODUCT, cpu::matmul_nn, 41_472),
    matrix("matmul_tn.64c", "matmul_coop", &[TN, TILE_64S, TO_FLOAT], SUMS, PRODUCT, cpu::matmul_tn, 15_360),
    matrix("matmul_tn.128c", "matmul_coop", &[TN, TILE_128S, TO_FLOAT], SUMS, PRODUCT, cpu::matmul_tn, 29_696),
    matrix("matmul_tn.128wc", "matmul_coop", &[TN, TILE_128W, TO_FLOAT], SUMS, PRODUCT, cpu::matmul_tn, 23_552),
    matrix("matmul_nn_split.64c", "matmul_coop", &[NN, SPLIT, TILE_64S, TO_FLOAT], SUMS, PARTIAL, cpu::matmul_nn_split, 15_872),
    matrix("matmul_nn_split.128c", "matmul_coop", &[NN, SPLIT, TILE_128, TO_FLOAT], SUMS, PARTIAL, cpu::matmul_nn_split, 48_128),
    matrix("matmul_tn_split.64c", "matmul_coop", &[TN, SPLIT, TILE_64S, TO_FLOAT], SUMS, PARTIAL, cpu::matmul_tn_split, 15_360),
    matrix("matmul_tn_split.128c", "matmul_coop", &[TN, SPLIT, TILE_128S, TO_FLOAT], SUMS, PARTIAL, cpu::matmul_tn_split, 29_696),
    matrix("matmul_tn_split.128wc", "matmul_coop", &[TN, SPLIT, TILE_128W, TO_FLOAT], SUMS, PARTIAL, cpu::matmul_tn_split, 23_552),
    matrix("matmul_rope.64c", "matmul_coop", &[NT, TILE_64, TO_ROPE], &[RA, RA, R, R, WA], ROPE, cpu::matmul_rope, 24_576),
    matrix("matmul_rope.128c", "matmul_coop", &[NT, TILE_128, TO_ROPE], &[RA, RA, R, R, WA], ROPE, cpu::matmul_rope, 49_152),
    matrix("matmul_swiglu.64c", "matmul_coop", &[NT, TILE_64, TO_SWIGLU], &[RA, RA, WA, WA], PRODUCT, cpu::matmul_swiglu, 24_576),
    matrix("matmul_swiglu.128c", "matmul_coop", &[NT, TILE_128, TO_SWIGLU], &[RA, RA, WA, WA], PRODUCT, cpu::matmul_swiglu, 49_152),
    matrix("matmul_swiglu_backward.64c", "matmul_coop", &[NN, TILE_64S, TO_SWIGLU_BACKWARD], &[RA, RA, RA, WA], PRODUCT, cpu::matmul_swiglu_backward, 15_872),
    matrix("matmul_swiglu_backward.128c", "matmul_coop", &[NN, TILE_128, TO_SWIGLU_BACKWARD], &[RA, RA, RA, WA], PRODUCT, cpu::matmul_swiglu_backward, 48_128),
    matrix("matmul_swiglu_backward.256c", "matmul_coop", &[NN, TILE_256, TO_SWIGLU_BACKWARD], &[RA, RA, RA, WA], PRODUCT, cpu::matmul_swiglu_backward, 41_472),
    matrix("attention_forward.32c", "attention_coop", &[FORWARD, HEAD_32], ATTEND, ATTENTION, cpu::attention_forward, 23_568),
    matrix("attention_forward.64c", "attention_coop", &[FORWARD, HEAD_64], ATTEND, ATTENTION, cpu::attention_forward, 46_608),
    matrix("attention_forward.128c", "attention_coop", &[FORWARD, HEAD_128], ATTEND, ATTENTION, cpu::attention_forward, 42_000),
    matrix("attention_backward_q.32c", "attention_coop", &[QUERIES, HEAD_32Q], GRADIENT, ATTENTION, cpu::attention_backward_q, 20_480),
    matrix("attention_backward_q.64c", "attention_coop", &[QUERIES, HEAD_64Q], GRADIENT, ATTENTION, cpu::attention_backward_q, 24_576),
    matrix("attention_backward_q.128c", "attention_coop", &[QUERIES, HEAD_128Q], GRADIENT, ATTENTION, cpu::attention_backward_q, 43_008),
    matrix("attention_backward_kv.32c", "attention_coop", &[KEYS, HEAD_32KV], GRADIENT, ATTENTION, cpu::attention_backward_kv, 23_744),
    matrix("attention_backward_kv.64c", "attention_coop", &[KEYS, HEAD_64KV], GRADIENT, ATTENTION, cpu::attention_backward_kv, 40_320),
    matrix("attention_backward_kv.128c", "attention_coop", &[KEYS, HEAD_128KV], GRADIENT, ATTENTION, cpu::attention_backward_kv, 36_032),
];

const fn matrix(
    name: &'static str,
    source: &'static str,
    defines: &'static [Defines],
    bindings: &'static [Binding],
    params: &'static [&'static str],
    twin: Twin,
    storage: u32,
) -> Kernel {
    Kernel { needs: Needs::Matrix, storage, ..row(name, source, defines, bindings, params, twin) }
}
