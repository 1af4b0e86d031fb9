//! A CPU twin of every kernel.
//!
//! A twin has the kernel's name, arguments and result. It is the reference in tests and the engine without a GPU. Rows
//! are distributed over cores by rayon; inner loops are compiled for the widest vectors of the machine (pulp); matrix
//! products are matrixmultiply's, through ndarray. Work is split by shape, never by the number of threads, so that
//! results do not depend on it.

mod args;
mod attention;
mod decode;
mod elementwise;
mod embedding;
mod fused;
mod gemm;
mod loss;
mod norm;
mod optimizer;
mod parallel;
mod sample;
mod simd;

pub(super) use args::Twin;
pub use args::{Args, Arity, PARAM_WORDS, Params};
pub(super) use attention::{attention_backward_kv, attention_backward_q, attention_delta, attention_forward};
pub(super) use decode::{attention_decode, cache_append};
pub(super) use elementwise::{
    add, column_sum, dropout, fill, narrow, rope, scale, square_sum, sum, swiglu_backward, swiglu_forward,
};
pub(super) use embedding::{embedding_backward, embedding_forward};
pub(super) use fused::{
    attention_row, attention_step, matmul_rope, matmul_swiglu, matmul_swiglu_backward, matmul_swiglu_few, mlp_row,
};
pub(super) use gemm::{matmul_nn, matmul_nn_split, matmul_nt, matmul_tn, matmul_tn_split};
pub(super) use loss::{cross_entropy, entropy};
pub(super) use norm::{add_rmsnorm_forward, rmsnorm_backward, rmsnorm_forward};
pub(super) use optimizer::{adamw, adamw_prepare};
pub(super) use sample::sample;
pub use simd::exponentials;
