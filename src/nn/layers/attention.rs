//! Causal self-attention with rotary positions: the first branch of a layer.

use crate::{
    compute::{
        ComputeError, DType, Device, Layout, Recording, Tensor, matmul, matmul_rope,
        ops::{self, AttentionWeights, Heads},
    },
    nn::{
        config::ModelConfig,
        params::Weights,
        rows::{Attend, Pass, Shape},
    },
};

/// The attention of one layer, with the activations for its backward pass.
#[derive(Clone)]
pub(in crate::nn) struct Attention {
    layer: usize,
    heads: Heads,
    /// \[N, (Hq+2Hk)·D\], rotated.
    qkv: Tensor,
    /// \[N, Hq·D\]; if that is f16, also in f32, for the backward pass.
    attn: Tensor,
    exact: Option<Tensor>,
    /// \[B, Hq, T\].
    lse: Tensor,
}

/// Intermediate gradients of attention, shared by all layers.
pub(in crate::nn) struct AttentionGradient {
    dattn: Tensor,
    dqkv: Tensor,
}

impl AttentionGradient {
    pub(in crate::nn) fn alloc(device: &mut Device, c: &ModelConfig, s: Shape) -> Result<Self, ComputeError> {
        let (heads, act) = (c.heads(), device.traits().act);
        let mut make = |name: &str, cols: usize| device.alloc(name, &[s.rows(), cols], act);
        Ok(AttentionGradient { dattn: make("dattn", heads.out())?, dqkv: make("dqkv", heads.qkv())? })
    }
}

impl Attention {
    pub(in crate::nn) fn alloc(
        device: &mut Device,
        c: &ModelConfig,
        s: Shape,
        layer: usize,
    ) -> Result<Attention, ComputeError> {
        let (heads, act) = (c.heads(), device.traits().act);
        let mut make = |part: &str, cols: usize, dtype| {
            device.alloc(&format!("layers.{layer}.self_attn.{part}"), &[s.rows(), cols], dtype)
        };
        Ok(Attention {
            layer,
            heads,
            qkv: make("qkv", heads.qkv(), act)?,
            attn: make("attn", heads.out(), act)?,
            exact: if act == DType::F32 { None } else { Some(make("attn.exact", heads.out(), DType::F32)?) },
            lse: make("lse", heads.query, DType::F32)?,
        })
    }

    /// The same buffers for the attention of another layer, where activations are not kept for a backward pass.
    pub(in crate::nn) fn of_layer(&self, layer: usize) -> Attention {
        Attention { layer, ..self.clone() }
    }

    /// y \[N, C\] → `out` \[N, C\].
    pub(in crate::nn) fn forward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        pass: &Pass<'_>,
        y: &Tensor,
        out: &Tensor,
    ) -> Result<(), ComputeError> {
        let Attention { layer, heads, qkv, attn, exact, lse } = self;
        match pass.attend {
            Attend::Rows(begins) => {
                matmul_rope(rec, y, &w.qkv(*layer), pass.positions, pass.rope, qkv, *heads)?;
                match exact {
                    Some(exact) => {
                        ops::attention_forward_exact(rec, qkv, begins, attn, exact, lse, pass.shape.b, *heads)?;
                    }
                    None => ops::attention_forward(rec, qkv, begins, attn, lse, pass.shape.b, *heads)?,
                }
                matmul(rec, Layout::NT, attn, &w.o(*layer), out, false)
            }
            Attend::Cache(caches) => {
                let (cache, b) = (&caches[*layer], pass.shape.b);
                ops::matmul_few(rec, y, &w.qkv(*layer), qkv)?;
                ops::attention_step(rec, qkv, pass.positions, pass.rope, cache, attn, b, *heads)?;
                ops::matmul_few(rec, attn, &w.o(*layer), out)
            }
        }
    }

    /// x \[B, C\] += the attention of its norm, of one new row a sequence.
    pub(in crate::nn) fn step(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        pass: &Pass<'_>,
        caches: &[Tensor],
        (gain, eps): (&Tensor, f32),
        x: &Tensor,
    ) -> Result<(), ComputeError> {
        let (qkv, o) = (w.qkv(self.layer), w.o(self.layer));
        let weights = AttentionWeights { gain, qkv: &qkv, o: &o };
        ops::attention_row(rec, weights, pass.positions, pass.rope, &caches[self.layer], x, self.heads, eps)
    }

    /// From `dout` \[N, C\] to `dy` \[N, C\] and the gradients of both projections (accumulated). Only for a pass over
    /// rows: one over a cache has no backward pass.
    pub(in crate::nn) fn backward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        grads: &Weights,
        pass: &Pass<'_>,
        work: &AttentionGradient,
        y: &Tensor,
        dout: &Tensor,
        dy: &Tensor,
    ) -> Result<(), ComputeError> {
        let Attention { layer, heads, qkv, attn, exact, lse } = self;
        let AttentionGradient { dattn, dqkv } = work;
        let Attend::Rows(begins) = pass.attend else {
            let what = "attention over a cache has no backward pass".to_owned();
            return Err(ComputeError::Shape { op: "attention", what });
        };
        // A weight's gradient is recorded after the gradient that the next call needs, so that both can run
        // concurrently.
        matmul(rec, Layout::NN, dout, &w.o(*layer), dattn, false)?;
        matmul(rec, Layout::TN, dout, attn, &grads.o(*layer), true)?;
        ops::attention_backward(
            rec,
            qkv,
            begins,
            exact.as_ref().unwrap_or(attn),
            lse,
            dattn,
            dqkv,
            pass.shape.b,
            *heads,
        )?;
        ops::rope(rec, pass.positions, pass.rope, dqkv, *heads, true)?;
        matmul(rec, Layout::NN, dqkv, &w.qkv(*layer), dy, false)?;
        matmul(rec, Layout::TN, dqkv, y, &grads.qkv(*layer), true)
    }
}
