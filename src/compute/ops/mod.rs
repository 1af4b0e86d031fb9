//! One checked function per operation: shapes are compared, then a call is appended.
//!
//! Shape letters: B sequences, T positions a sequence, N = B·T rows, C hidden size, V vocabulary,
//! Hq query heads, Hk key/value heads, D head size, F feed-forward size, G partial rows. All tensors
//! are dense and row-major.

mod attention;
mod elementwise;
mod few;
mod loss;
mod matmul;
mod optimizer;
mod push;
mod reduce;
mod row;
mod rows;
mod sample;

pub use {
    attention::*, elementwise::*, few::*, loss::*, matmul::*, optimizer::*, push::ELEMENTS, reduce::*, row::*, rows::*,
    sample::*,
};
