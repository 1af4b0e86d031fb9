//! A residual block: a norm, and a branch whose output is added to the residual stream.

use super::{
    attention::{Attention, AttentionGradient},
    mlp::{Mlp, MlpGradient},
    norm::{Norm, StreamGradient},
};
use crate::{
    compute::{ComputeError, Device, Recording, Tensor},
    nn::{
        config::ModelConfig,
        params::Weights,
        rows::{Pass, Shape},
    },
};

/// stream + branch(norm(stream)). The norm of the next block computes the sum.
pub(in crate::nn) struct Block {
    pub norm: Norm,
    pub branch: Branch,
}

/// The branch of a block. A new kind of layer is a new variant.
pub(in crate::nn) enum Branch {
    Attention(Attention),
    Mlp(Mlp),
}

/// The buffers of a backward pass.
pub(in crate::nn) struct Backward {
    /// Gradients of the parameters, in the slab's layout.
    pub grads: Weights,
    pub stream: StreamGradient,
    mlp: MlpGradient,
    attention: AttentionGradient,
}

impl Backward {
    pub(in crate::nn) fn alloc(
        device: &mut Device,
        c: &ModelConfig,
        s: Shape,
        grads: Weights,
    ) -> Result<Backward, ComputeError> {
        Ok(Backward {
            grads,
            stream: StreamGradient::alloc(device, c, s)?,
            mlp: MlpGradient::alloc(device, c, s)?,
            attention: AttentionGradient::alloc(device, c, s)?,
        })
    }
}

impl Block {
    /// Adds the branch of its norm to the stream `x` \[B, C\] of one new row a sequence, in one call.
    pub(in crate::nn) fn step(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        pass: &Pass<'_>,
        caches: &[Tensor],
        x: &Tensor,
    ) -> Result<(), ComputeError> {
        let (gain, eps) = self.norm.weight(w);
        match &self.branch {
            Branch::Attention(attention) => attention.step(rec, w, pass, caches, (&gain, eps), x),
            Branch::Mlp(mlp) => mlp.step(rec, w, (&gain, eps), x),
        }
    }

    /// The branch of the norm's output y, into `delta` \[N, C\].
    pub(in crate::nn) fn forward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        pass: &Pass<'_>,
        delta: &Tensor,
    ) -> Result<(), ComputeError> {
        match &self.branch {
            Branch::Attention(attention) => attention.forward(rec, w, pass, &self.norm.y, delta),
            Branch::Mlp(mlp) => mlp.forward(rec, w, pass.attend, &self.norm.y, delta),
        }
    }

    /// From `ddelta` \[N, C\] = ∂loss/∂delta through branch and norm: adds to the gradient of the stream.
    pub(in crate::nn) fn backward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        pass: &Pass<'_>,
        back: &Backward,
        ddelta: &Tensor,
    ) -> Result<(), ComputeError> {
        let Backward { grads, stream, mlp: of_mlp, attention: of_attention } = back;
        let (y, dy) = (&self.norm.y, &stream.dy);
        match &self.branch {
            Branch::Attention(attention) => {
                attention.backward(rec, w, grads, pass, of_attention, y, ddelta, dy)?;
            }
            Branch::Mlp(mlp) => mlp.backward(rec, w, grads, of_mlp, y, ddelta, dy)?,
        }
        self.norm.backward(rec, w, grads, stream, true)
    }
}
