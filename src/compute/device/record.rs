//! Recordings: the list of kernel calls that one replay runs, in order.

use super::{
    Access, Arity, ComputeError, DType, Device, Kernel, Needs, Tensor, Work,
    cost::{barriers, work},
    memory::ALIGNMENT,
};

/// 32-bit words in a call's parameter block.
pub const PARAM_WORDS: usize = 16;

/// The scalar parameters of one call: words in the order of [`Kernel::params`], floats by their bits.
/// On a GPU they are one uniform block, so the WGSL `struct Params` has the same members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params(pub [u32; PARAM_WORDS]);

impl Params {
    /// From integers; the rest is zero.
    pub fn new(words: &[usize]) -> Params {
        let mut all = [0; PARAM_WORDS];
        for (slot, word) in all.iter_mut().zip(words) {
            *slot = *word as u32;
        }
        Params(all)
    }

    /// Sets word `index` to a float.
    #[must_use]
    pub fn with_f32(mut self, index: usize, value: f32) -> Params {
        if let Some(slot) = self.0.get_mut(index) {
            *slot = value.to_bits();
        }
        self
    }

    /// The first `N` words as sizes.
    pub fn sizes<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|i| self.0.get(i).copied().unwrap_or(0) as usize)
    }

    /// Word `index` as a float.
    pub fn f32(&self, index: usize) -> f32 {
        f32::from_bits(self.0.get(index).copied().unwrap_or(0))
    }
}

/// What a CPU twin is given: the bound views, reads first, each in the kernel's binding order.
pub struct Args<'a> {
    /// Views bound for reading.
    pub read: &'a [&'a [f32]],
    /// Views bound for writing (and reading).
    pub write: &'a mut [&'a mut [f32]],
}

/// One kernel call: what to run, on what, over which grid.
#[derive(Clone, Debug)]
pub struct Call {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its scalars.
    pub params: Params,
    /// Its tensors, in binding order (reads first, then writes).
    pub args: Vec<Tensor>,
    /// Workgroups in x, y, z; the CPU twin ignores it.
    pub grid: [u32; 3],
}

/// What a recording must know of its device to choose variants and segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// True on the CPU engine: no variants, no splits.
    pub cpu: bool,
    /// True on a software rasteriser (llvmpipe): barriers are dear there.
    pub software: bool,
    /// Bytes that one storage binding may span.
    pub max_binding: u64,
    /// Workgroups in one grid dimension.
    pub max_groups: u32,
    /// Bytes of workgroup memory.
    pub workgroup_storage: u32,
    /// Invocations in one workgroup.
    pub max_invocations: u32,
    /// What it has beside limits, as far as it was opened for it.
    pub offers: Needs,
    /// The type of activations and operands there: f16 on a device opened in half precision.
    pub act: DType,
    /// Multiprocessors that want work at once, about: nothing in WebGPU tells.
    pub units: u32,
}

impl Traits {
    /// A one-dimensional grid of `groups`, folded into y past the limit of x. Kernels compute their
    /// group as `wg.x + wg.y * num_workgroups.x` and leave when it is past the end.
    pub fn grid(&self, groups: usize) -> [u32; 3] {
        let limit = self.max_groups as usize;
        if groups <= limit {
            return [groups.max(1) as u32, 1, 1];
        }
        [limit as u32, groups.div_ceil(limit) as u32, 1]
    }
}

/// A list of calls under construction.
pub struct Recording<'d> {
    device: &'d mut Device,
    calls: Vec<Call>,
    /// The variant that a check wants, whatever the shapes.
    forced: Option<&'static Kernel>,
}

/// Bytes of partial products that get a buffer of their own.
const OWN_PARTIALS: u64 = 32 << 20;

impl<'d> Recording<'d> {
    /// Starts an empty recording on a device.
    pub fn new(device: &'d mut Device) -> Recording<'d> {
        Recording { device, calls: Vec::new(), forced: None }
    }

    /// Calls of the same kernel take this row of the table from now on.
    pub(super) fn force(&mut self, row: &'static Kernel) {
        self.forced = Some(row);
    }

    /// The row set by [`Recording::force`].
    pub(super) fn forced(&self) -> Option<&'static Kernel> {
        self.forced
    }

    /// The device's traits.
    pub fn traits(&self) -> Traits {
        self.device.traits()
    }

    /// A scratch tensor that holds from one call to the next one that asks for scratch: calls are
    /// ordered, so the buffer is used again by every such call of every recording of the device.
    pub fn scratch(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        self.scratch_as(shape, DType::F32)
    }

    /// [`Recording::scratch`] of another type.
    pub fn scratch_as(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor, ComputeError> {
        let len: usize = shape.iter().product();
        let words = (len * dtype.bytes()).div_ceil(DType::F32.bytes());
        Ok(Tensor { dtype, ..self.device.scratch(words)?.part("scratch", 0, shape) })
    }

    /// Scratch for partial products. On cooperative matrices the products are so short that waiting for another
    /// to leave the scratch costs more than memory: small ones get a buffer of their own.
    pub(super) fn partials(&mut self, shape: &[usize]) -> Result<Tensor, ComputeError> {
        let bytes = shape.iter().product::<usize>() as u64 * 4;
        if self.traits().offers < Needs::Matrix || bytes > OWN_PARTIALS {
            return self.scratch(shape);
        }
        self.device.alloc("partial products", shape, DType::F32)
    }

    /// Appends a call after checking the rules that every engine relies on: as many tensors as the
    /// kernel binds, of the types that it is written for, aligned starts, bindings within the limit, and no buffer both written and bound
    /// a second time (wgpu forbids it, and the CPU engine borrows on the strength of it).
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
                    super::Cell::Word => "a word of 32 bits".to_owned(),
                    super::Cell::Act => kernel.act().name().to_owned(),
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

    /// Ends the recording: pipelines and bind groups are made here, once.
    pub fn compile(self) -> Result<Program, ComputeError> {
        let Recording { device, calls, .. } = self;
        device.compile(calls)
    }
}

/// A compiled recording. It belongs to the device that made it.
pub struct Program {
    pub(super) calls: Vec<Call>,
    /// The GPU's pipelines and bind groups; none on the CPU engine.
    pub(super) gpu: Option<super::gpu::Compiled>,
}

impl Program {
    /// Number of kernel calls in one replay.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Barriers in one replay of programs as one submit, by the rules of wgpu: what a device waits for beside
    /// the calls themselves.
    pub fn barriers(programs: &[&Program]) -> usize {
        barriers(programs.iter().flat_map(|p| &p.calls))
    }

    /// True when a replay does nothing.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

/// Time spent in one kernel over a profiled replay.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel.
    pub name: &'static str,
    /// Milliseconds, all calls together.
    pub ms: f64,
    /// Calls.
    pub calls: usize,
    /// Their arithmetic and traffic.
    pub work: Work,
}

/// A CPU twin: the same name and arguments as the WGSL kernel.
pub(super) type Twin = fn(&Params, Args<'_>) -> Result<(), Arity>;

impl KernelTime {
    /// Adds one call to a profile.
    pub(super) fn add(times: &mut Vec<KernelTime>, call: &Call, ms: f64) {
        let (name, work) = (call.kernel.name, work(call));
        if let Some(found) = times.iter_mut().find(|t| t.name == name) {
            found.ms += ms;
            found.calls += 1;
            found.work += work;
        } else {
            times.push(KernelTime { name, ms, calls: 1, work });
        }
    }

    /// Operations and bytes a second that it reached, in TFLOP/s and GB/s.
    pub fn rates(&self) -> (f64, f64) {
        (self.work.flop / self.ms / 1e9, self.work.bytes / self.ms / 1e6)
    }
}
