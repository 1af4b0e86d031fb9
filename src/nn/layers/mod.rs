//! The layers that a trunk is a list of, each with its forward and backward pass and its activations.

mod attention;
mod block;
mod mlp;
mod norm;

pub(super) use attention::Attention;
pub(super) use block::{Backward, Block, Branch};
pub(super) use mlp::Mlp;
pub(super) use norm::Norm;
