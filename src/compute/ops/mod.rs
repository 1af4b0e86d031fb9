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

pub use attention::{
    HEAD_SIZE, Heads, attention_backward, attention_decode, attention_forward, attention_forward_exact, attention_step,
    cache_append, rope,
};
pub use elementwise::{add, dropout, fill, narrow, scale, swiglu_backward, swiglu_forward};
pub use few::{matmul_few, matmul_swiglu_few};
pub use loss::{Slope, cross_entropy, entropy};
pub use matmul::{Layout, matmul, matmul_rope, matmul_swiglu, matmul_swiglu_backward};
pub use optimizer::{CONTROL, CONTROL_F32, FIRST_LOSS_SCALE, HYPER, Update, adamw};
pub use push::ELEMENTS;
pub use reduce::{NORM_PARTIALS, column_sum, norm_partials, square_sum, sum};
pub use row::{AttentionWeights, attention_row, mlp_row, rows_pay};
pub use rows::{
    RMSNORM_PARTIALS, add_rmsnorm_forward, embedding_backward, embedding_forward, rmsnorm_backward, rmsnorm_forward,
};
pub use sample::{Among, MOST_LIKELIEST, PICK, Pick, sample};
