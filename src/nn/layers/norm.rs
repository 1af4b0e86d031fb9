//! RMSNorm of the residual stream.

use crate::{
    compute::{ComputeError, DType, Device, Recording, Tensor, ops},
    nn::{
        config::ModelConfig,
        params::{NormAt, Weights},
        rows::Shape,
    },
};

/// A norm, with the activations for its backward pass.
#[derive(Clone)]
pub(in crate::nn) struct Norm {
    at: NormAt,
    eps: f32,
    /// \[N, C\] the input stream, in f32.
    pub x: Tensor,
    /// \[N, C\] the output, in the device's activation type.
    pub y: Tensor,
    /// \[N\] the reciprocal root mean squares.
    rstd: Tensor,
}

/// The gradient of the stream in the backward pass, shared by all layers.
pub(in crate::nn) struct StreamGradient {
    /// \[N, C\] ∂loss/∂x, and its f16 copy if products use f16.
    pub dx: Tensor,
    pub narrow: Option<Tensor>,
    /// \[N, C\] ∂loss/∂y of the next norm.
    pub dy: Tensor,
}

impl StreamGradient {
    pub(in crate::nn) fn alloc(device: &mut Device, c: &ModelConfig, s: Shape) -> Result<Self, ComputeError> {
        let (act, shape) = (device.traits().act, [s.rows(), c.hidden_size]);
        let dx = device.alloc("dx", &shape, DType::F32)?;
        let narrow = (act != DType::F32).then(|| device.alloc("dx.narrow", &shape, act)).transpose()?;
        Ok(StreamGradient { dx, narrow, dy: device.alloc("dy", &shape, act)? })
    }

    /// ∂loss/∂x as an operand of products.
    pub(in crate::nn) fn operand(&self) -> &Tensor {
        self.narrow.as_ref().unwrap_or(&self.dx)
    }
}

impl Norm {
    /// Allocates the activations; the stream is `x` if given, else a tensor of this norm.
    pub(in crate::nn) fn alloc(
        device: &mut Device,
        c: &ModelConfig,
        s: Shape,
        at: NormAt,
        x: Option<&Tensor>,
    ) -> Result<Norm, ComputeError> {
        let (n, act) = (s.rows(), device.traits().act);
        let mut make = |part: &str, cols: usize, dtype| device.alloc(&format!("{at}.{part}"), &[n, cols], dtype);
        let x = x.map_or_else(|| make("x", c.hidden_size, DType::F32), |x| Ok(x.clone()))?;
        let (y, rstd) = (make("y", c.hidden_size, act)?, make("rstd", 1, DType::F32)?.view(&[n]));
        Ok(Norm { at, eps: c.rms_norm_eps, x, y, rstd })
    }

    /// The same buffers for the norm at another place, where activations are not kept for a backward pass.
    pub(in crate::nn) fn at(&self, at: NormAt) -> Norm {
        Norm { at, ..self.clone() }
    }

    /// The weight \[C\] and the epsilon.
    pub(in crate::nn) fn weight(&self, w: &Weights) -> (Tensor, f32) {
        (w.norm(self.at), self.eps)
    }

    /// Computes y from the stream in x.
    pub(in crate::nn) fn forward(&self, rec: &mut Recording<'_>, w: &Weights) -> Result<(), ComputeError> {
        ops::rmsnorm_forward(rec, &self.x, &w.norm(self.at), &self.y, &self.rstd, self.eps)
    }

    /// x = `stream` + `delta`, and y from it, in one pass.
    pub(in crate::nn) fn add_forward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        stream: &Tensor,
        delta: &Tensor,
    ) -> Result<(), ComputeError> {
        ops::add_rmsnorm_forward(rec, stream, delta, &w.norm(self.at), &self.x, &self.y, &self.rstd, self.eps)
    }

    /// From dy to dx (accumulated if `accumulate`) and to the weight's gradient.
    pub(in crate::nn) fn backward(
        &self,
        rec: &mut Recording<'_>,
        w: &Weights,
        grads: &Weights,
        stream: &StreamGradient,
        accumulate: bool,
    ) -> Result<(), ComputeError> {
        let (weight, grad) = (w.norm(self.at), grads.norm(self.at));
        let StreamGradient { dx, narrow, dy } = stream;
        ops::rmsnorm_backward(rec, dy, &self.x, &weight, &self.rstd, dx, &grad, narrow.as_ref(), accumulate)
    }
}
