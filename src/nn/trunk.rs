//! The trunk of the model: embedding, a list of residual blocks, a final norm; forward and backward.
//!
//! Nothing runs here: operations are appended to a [`Recording`] once and replayed every step.

use super::{
    config::ModelConfig,
    layers::{Attention, Backward, Block, Branch, Mlp, Norm},
    params::{NormAt, Weights},
    rows::{Attend, Dropout, Pass, Shape},
};
use crate::compute::{ComputeError, DType, Device, Recording, Tensor, ops};

/// cos and sin of position × frequency, \[P, D\]: cos in the first half of a row. Computed in f32 in
/// transformers' order, so that long contexts round alike.
pub(super) fn rope_table(device: &mut Device, c: &ModelConfig, positions: usize) -> Result<Tensor, ComputeError> {
    let half = c.head_dim / 2;
    let mut table = vec![0.0_f32; positions * c.head_dim];
    for (p, row) in table.chunks_exact_mut(c.head_dim).enumerate() {
        for i in 0..half {
            let frequency = 1.0 / c.rope_theta.powf((2 * i) as f32 / c.head_dim as f32);
            let angle = p as f32 * frequency;
            row[i] = angle.cos();
            row[half + i] = angle.sin();
        }
    }
    let tensor = device.alloc("rope", &[positions, c.head_dim], DType::F32)?;
    device.write(&tensor, &table)?;
    Ok(tensor)
}

/// The trunk over rows of one shape, with its activations: the stream and sums in f32, inputs and outputs of products
/// in the device's type.
pub(super) struct Trunk<'a> {
    weights: &'a Weights,
    blocks: Vec<Block>,
    norm: Norm,
    /// \[N, C\] the branch to be added next.
    delta: Tensor,
    /// Whether a branch over a cache is one call.
    by_rows: bool,
}

impl Trunk<'_> {
    /// Allocates activations: separate ones for every layer if `keep` (training), otherwise one shared set.
    pub(super) fn alloc<'a>(
        device: &mut Device,
        c: &ModelConfig,
        weights: &'a Weights,
        s: Shape,
        keep: bool,
    ) -> Result<Trunk<'a>, ComputeError> {
        let mut blocks: Vec<Block> = Vec::with_capacity(2 * c.num_hidden_layers);
        for i in 0..c.num_hidden_layers {
            let (input, post) = (NormAt::Input(i), NormAt::PostAttention(i));
            let made = match blocks.as_slice() {
                [Block { norm: n1, branch: Branch::Attention(a) }, Block { norm: n2, branch: Branch::Mlp(m) }, ..]
                    if !keep =>
                {
                    [(n1.at(input), Branch::Attention(a.of_layer(i))), (n2.at(post), Branch::Mlp(m.of_layer(i)))]
                }
                _ => [
                    (Norm::alloc(device, c, s, input, None)?, Branch::Attention(Attention::alloc(device, c, s, i)?)),
                    (Norm::alloc(device, c, s, post, None)?, Branch::Mlp(Mlp::alloc(device, c, s, i)?)),
                ],
            };
            blocks.extend(made.map(|(norm, branch)| Block { norm, branch }));
        }
        // Without `keep` the stream alternates between the two tensors of the shared set.
        let last = blocks.first().filter(|_| !keep).map(|block| &block.norm.x);
        let norm = Norm::alloc(device, c, s, NormAt::Last, last)?;
        let delta = device.alloc("delta", &[s.rows(), c.hidden_size], device.traits().act)?;
        // Of one layer; all are alike.
        let layer = [weights.qkv(0), weights.o(0), weights.gate_up(0), weights.down(0)].iter().map(Tensor::bytes).sum();
        let (heads, ffn) = (c.heads(), c.intermediate_size);
        let by_rows = s.t == 1 && ops::rows_pay(&device.traits(), s.b, c.hidden_size, heads, ffn, layer);
        Ok(Trunk { weights, blocks, norm, delta, by_rows })
    }

    /// \[N, C\]: the output of the trunk.
    pub(super) fn output(&self) -> &Tensor {
        &self.norm.y
    }

    /// Embedding, blocks and final norm of ids \[N\] (u32): fills the activations, [`Trunk::output`] last.
    pub(super) fn forward(&self, rec: &mut Recording<'_>, ids: &Tensor, pass: &Pass<'_>) -> Result<(), ComputeError> {
        let w = self.weights;
        let norms: Vec<&Norm> = self.blocks.iter().map(|block| &block.norm).chain([&self.norm]).collect();
        ops::embedding_forward(rec, ids, &w.embed(), &norms[0].x)?;
        if let (Attend::Cache(caches), true) = (pass.attend, self.by_rows) {
            // The last norm is of the same stream: a cache has no way back.
            for block in &self.blocks {
                block.step(rec, w, pass, caches, &self.norm.x)?;
            }
            return self.norm.forward(rec, w);
        }
        norms[0].forward(rec, w)?;
        for (i, block) in self.blocks.iter().enumerate() {
            block.forward(rec, w, pass, &self.delta)?;
            let delta = match pass.dropout {
                None => self.delta.clone(),
                Some(Dropout { clock, rate }) => {
                    let dropped = rec.scratch_as(&self.delta.shape, self.delta.dtype)?;
                    ops::dropout(rec, clock, &self.delta, &dropped, i, rate)?;
                    dropped
                }
            };
            norms[i + 1].add_forward(rec, w, &block.norm.x, &delta)?;
        }
        Ok(())
    }

    /// The backward pass over rows: from `back.stream.dy` = ∂loss/∂output to all gradients of the slab (accumulated).
    pub(super) fn backward(
        &self,
        rec: &mut Recording<'_>,
        pass: &Pass<'_>,
        back: &Backward,
        sorted: &Sorted<'_>,
    ) -> Result<(), ComputeError> {
        let (w, stream) = (self.weights, &back.stream);
        self.norm.backward(rec, w, &back.grads, stream, false)?;
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let mut ddelta = stream.operand();
            if let Some(Dropout { clock, rate }) = pass.dropout {
                // The forward branch is not needed any more; its buffer holds the masked gradient.
                ops::dropout(rec, clock, ddelta, &self.delta, i, rate)?;
                ddelta = &self.delta;
            }
            block.backward(rec, w, pass, back, ddelta)?;
        }
        ops::embedding_backward(rec, sorted.order, sorted.starts, &stream.dx, &back.grads.embed())
    }
}

/// Positions sorted by id, for the embedding's gradient.
pub(super) struct Sorted<'a> {
    /// \[N\] (u32).
    pub order: &'a Tensor,
    /// \[V+1\] (u32).
    pub starts: &'a Tensor,
}
