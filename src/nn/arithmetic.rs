//! Parameter, memory and FLOP estimates, computed before anything is allocated.

use super::{config::ModelConfig, params::ParamTable};
use crate::compute::DType;

/// The cost of a training shape.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Parameters; tied embeddings count once.
    pub parameters: usize,
    /// Bytes of parameters, gradients and both moments.
    pub state_bytes: u64,
    /// Bytes of activations and work buffers.
    pub activation_bytes: u64,
    /// Floating-point operations of forward and backward for one token: 6 per parameter of a matrix
    /// product, and attention's 12·L·Hq·D·T/2 (causal) as in Chowdhery et al. 2022 (PaLM), appendix B.
    pub flops_per_token: u64,
}

/// The cost of training `config` on micro-batches of `batch` × `context`, with logits in chunks of
/// `logit_rows` rows.
pub fn estimate(config: &ModelConfig, batch: usize, context: usize, logit_rows: usize) -> Estimate {
    let table = ParamTable::new(config);
    let heads = config.heads();
    let n = (batch * context) as u64;
    let (c, f) = (config.hidden_size as u64, config.intermediate_size as u64);
    let (qkv, out) = (heads.qkv() as u64, heads.out() as u64);
    let layer = 4 * c + qkv + out + 3 * f + heads.query as u64 + 2;
    // Two rows more than training needs: those of the heads over trained rows only.
    let shared = 7 * c + f + 2 * f + out + qkv + 1;
    let work = n * (layer * config.num_hidden_layers as u64 + shared) + (logit_rows * config.vocab_size) as u64;
    let input_rows = if config.tie_word_embeddings { 0 } else { config.vocab_size * config.hidden_size };
    let products = (table.parameters() - input_rows) as u64;
    let attention = 6 * (config.num_hidden_layers * heads.out() * context) as u64;
    let float = DType::F32.bytes() as u64;
    Estimate {
        parameters: table.parameters(),
        state_bytes: 4 * float * table.slab_len as u64,
        activation_bytes: float * work,
        flops_per_token: 6 * products + attention,
    }
}
