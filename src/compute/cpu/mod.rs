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
pub use simd::exponentials;
pub(super) use {
    attention::*, decode::*, elementwise::*, embedding::*, fused::*, gemm::*, loss::*, norm::*, optimizer::*, sample::*,
};
