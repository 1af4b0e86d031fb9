//! Recordings: lists of kernel calls that a replay runs in order.

use super::{Device, Program};
use crate::compute::{
    error::ComputeError,
    kernel::{Access, Call, Cell, Kernel, Needs, Traits},
    tensor::{ALIGNMENT, DType, Tensor},
};

/// A list of calls being built.
pub struct Recording<'d> {
    device: &'d mut Device,
    calls: Vec<Call>,
    /// The variant that a check requires, whatever the shapes.
    forced: Option<&'static Kernel>,
}

/// Partial products up to this many bytes get a buffer of their own.
const OWN_PARTIALS: u64 = 32 << 20;

impl<'d> Recording<'d> {
    /// Starts an empty recording on a device.
    pub fn new(device: &'d mut Device) -> Recording<'d> {
        Recording { device, calls: Vec::new(), forced: None }
    }

    /// Makes calls of this kernel use this row of the table from now on.
    pub(in crate::compute) fn force(&mut self, row: &'static Kernel) {
        self.forced = Some(row);
    }

    /// The row set by [`Recording::force`].
    pub(in crate::compute) fn forced(&self) -> Option<&'static Kernel> {
        self.forced
    }

    /// The device's traits.
    pub fn traits(&self) -> Traits {
        self.device.traits()
    }

    /// A scratch tensor that is valid until the next call that requests scratch: calls are ordered, so all such calls
    /// of all recordings of the device share the buffer.
    pub fn scratch(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        self.scratch_as(shape, DType::F32)
    }

    /// [`Recording::scratch`] with another type.
    pub fn scratch_as(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor, ComputeError> {
        let len: usize = shape.iter().product();
        let words = (len * dtype.bytes()).div_ceil(DType::F32.bytes());
        Ok(Tensor { dtype, ..self.device.scratch(words)?.part("scratch", 0, shape) })
    }

    /// Scratch for partial products. On cooperative matrices products are so fast that waiting for the shared scratch
    /// costs more than memory: small ones get a separate buffer.
    pub(in crate::compute) fn partials(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        let bytes = (shape.iter().product::<usize>() * DType::F32.bytes()) as u64;
        if self.traits().offers < Needs::Matrix || bytes > OWN_PARTIALS {
            return self.scratch(shape);
        }
        self.device.alloc("partial products", shape, DType::F32)
    }

    /// Appends a call after checking what every engine relies on: the number and types of the tensors, aligned starts,
    /// bindings within the limit, and no buffer that is written and bound a second time (wgpu forbids it, and the CPU
    /// engine relies on it for borrowing).
    pub fn push(&mut self, call: Call) -> Result<(), ComputeError> {
        let Call { kernel, args, .. } = &call;
        let wrong = |what: String| ComputeError::Shape { op: kernel.name, what };
        if args.len() != kernel.bindings.len() {
            return Err(wrong(format!("{} tensors were given, {} are bound", args.len(), kernel.bindings.len())));
        }
        let limit = self.traits().max_binding;
        for (i, (tensor, binding)) in args.iter().zip(kernel.bindings).enumerate() {
            if tensor.is_empty() {
                return Err(wrong(format!("{} is empty", tensor.name)));
            }
            if !kernel.binds(binding, tensor.dtype) {
                let wanted = match binding.cell {
                    Cell::Word => "a word of 32 bits".to_owned(),
                    Cell::Act => kernel.act().name().to_owned(),
                };
                let found = tensor.dtype.name();
                return Err(wrong(format!("{} is {found}, but the binding takes {wanted}", tensor.name)));
            }
            if tensor.offset % ALIGNMENT != 0 {
                return Err(wrong(format!(
                    "{} starts at element {}, not a multiple of {ALIGNMENT}",
                    tensor.name, tensor.offset
                )));
            }
            let bytes = tensor.bytes();
            if bytes > limit {
                return Err(ComputeError::Binding { tensor: tensor.name.to_string(), need: bytes, limit });
            }
            let shared = args.iter().enumerate().any(|(j, other)| j != i && other.buffer == tensor.buffer);
            if shared && binding.access == Access::Write {
                return Err(wrong(format!("{} is written and bound a second time", tensor.name)));
            }
        }
        self.calls.push(call);
        Ok(())
    }

    /// The calls so far.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Compiles the recording: makes pipelines and bind groups, once.
    pub fn compile(self) -> Result<Program, ComputeError> {
        let Recording { device, calls, .. } = self;
        device.compile(calls)
    }
}
