//! The layers of a trunk, each with forward pass, backward pass and activations.

mod attention;
mod block;
mod mlp;
mod norm;

pub(super) use attention::Attention;
pub(super) use block::{Backward, Block, Branch};
pub(super) use mlp::Mlp;
pub(super) use norm::Norm;
