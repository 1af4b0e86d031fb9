//! The feed-forward network with SwiGLU: the second branch of a layer.

use crate::{
    compute::{ComputeError, Device, Layout, Recording, Tensor, matmul, matmul_swiglu, matmul_swiglu_backward, ops},
    nn::{
        config::ModelConfig,
        params::Weights,
        rows::{Attend, Shape},
    },
};

/// The feed-forward network of one layer, with the activations for its backward pass.
#[derive(Clone)]
pub(in crate::nn) struct Mlp {
    layer: usize,
    /// \[N, 2F\], the gate first.
    gate_up: Tensor,
    /// \[N, F\].
    act: Tensor,
}

/// Intermediate gradients of the network, shared by all layers.
pub(in crate::nn) struct MlpGradient {
    dact: Tensor,
    dgate_up: Tensor,
}

impl MlpGradient {
    pub(in crate::nn) fn alloc(device: &mut Device, c: &ModelConfig, s: Shape) -> Result<Self, ComputeError> {
        let act = device.traits().act;
        let mut make = |name: &str, cols: usize| device.alloc(name, &[s.rows(), cols], act);
        Ok(MlpGradient {
            dact: make("dact", c.intermediate_size)?,
            dgate_up: make("dgate_up", 2 * c.intermediate_size)?,
        })
    }
}

impl Mlp {
    pub(in crate::nn) fn alloc(
        device: &mut Device,
        c: &ModelConfig,
        s: Shape,
        layer: usize,
    ) -> Result<Mlp, ComputeError> {
        let act = device.traits().act;
        let mut make =
            |part: &str, cols: usize| device.alloc(&format!("layers.{layer}.mlp.{part}"), &[s.rows(), cols], act);
        let gate_up = make("gate_up", 2 * c.intermediate_size)?;
        Ok(Mlp { layer, gate_up, act: make("act", c.intermediate_size)? })
    }

    /// The same buffers for the network of another layer, where activations are not kept for a backward pass.
    pub(in crate::nn) fn of_layer(&self, layer: usize) -> Mlp {
        Mlp { layer, ..self.clone() }
    }

    /// y \[N, C\] → `out` \[N, C\]; a pass over a cache has few rows.
    pub(in crate::nn) fn forward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        attend: Attend<'_>,
        y: &Tensor,
        out: &Tensor,
    ) -> Result<(), ComputeError> {
        let (gate_up, down) = (w.gate_up(self.layer), w.down(self.layer));
        match attend {
            Attend::Rows(_) => {
                matmul_swiglu(rec, y, &gate_up, &self.gate_up, &self.act)?;
                matmul(rec, Layout::NT, &self.act, &down, out, false)
            }
            Attend::Cache(_) => {
                ops::matmul_swiglu_few(rec, y, &gate_up, &self.gate_up, &self.act)?;
                ops::matmul_few(rec, &self.act, &down, out)
            }
        }
    }

    /// x \[N, C\] += the network of its norm.
    pub(in crate::nn) fn step(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        (gain, eps): (&Tensor, f32),
        x: &Tensor,
    ) -> Result<(), ComputeError> {
        ops::mlp_row(rec, gain, &w.gate_up(self.layer), &w.down(self.layer), x, eps)
    }

    /// From `dout` \[N, C\] to `dy` \[N, C\] and the gradients of its matrices (accumulated).
    pub(in crate::nn) fn backward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        grads: &Weights,
        work: &MlpGradient,
        y: &Tensor,
        dout: &Tensor,
        dy: &Tensor,
    ) -> Result<(), ComputeError> {
        let MlpGradient { dact, dgate_up } = work;
        // A weight's gradient is recorded after the gradient that the next call needs, so that both can run
        // concurrently.
        matmul_swiglu_backward(rec, dout, &w.down(self.layer), &self.gate_up, dact, dgate_up)?;
        matmul(rec, Layout::TN, dout, &self.act, &grads.down(self.layer), true)?;
        matmul(rec, Layout::NN, dgate_up, &w.gate_up(self.layer), dy, false)?;
        matmul(rec, Layout::TN, dgate_up, y, &grads.gate_up(self.layer), true)
    }
}
