//! The wgpu engine. Owns the only `wgpu::Instance`.
//!
//! A program is made once (`program.rs`) of pipelines (`pipelines.rs`) and replayed as one submit (`replay.rs`);
//! buffers and read-backs are in `buffers.rs`; errors that wgpu reports later surface at the next call (`fault.rs`).

mod adapters;
mod buffers;
mod context;
mod fault;
mod pipelines;
mod program;
mod replay;

use super::{
    adapter::{AdapterInfo, AdapterKind, Opening, Precision},
    error::ComputeError,
    host,
    kernel::{Call, Kernel, Needs, Traits, Work},
    shader::Sources,
    tensor::{ALIGNMENT, DType, Tensor},
};
use buffers::Buffers;
use context::Context;
use pipelines::Pipelines;
use replay::Replay;

pub(super) use program::Compiled;

/// An opened adapter.
pub(super) struct Gpu {
    context: Context,
    buffers: Buffers,
    pipelines: Pipelines,
    replay: Replay,
    kind: AdapterKind,
    /// What it was opened for.
    offers: Needs,
    /// Whether activations and operands are f16 now.
    half: bool,
    /// Operations and bytes per second that such an adapter reaches at least.
    rates: (f64, f64),
}

impl Gpu {
    /// The adapters that wgpu sees, in a stable order.
    pub(super) fn list() -> Vec<AdapterInfo> {
        adapters::all().iter().map(|f| f.info.clone()).collect()
    }

    /// Opens adapter `index` of [`Gpu::list`].
    pub(super) fn open(index: usize, opening: Opening) -> Result<Gpu, ComputeError> {
        let wrong = |adapter: &str, reason: String| ComputeError::Open { adapter: adapter.to_owned(), reason };
        let found =
            adapters::all().get(index).ok_or_else(|| wrong(&index.to_string(), "there is no such adapter".into()))?;
        if let Some(folder) = opening.shaders.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(wrong(&found.info.name, format!("{} is no folder of shaders", folder.display())));
        }
        let (limits, features) = if opening.minimal {
            (wgpu::Limits::default(), wgpu::Features::empty())
        } else {
            (found.adapter.limits(), found.adapter.features() & adapters::useful())
        };
        let offers = match opening.precision {
            Precision::F32 => Needs::Common,
            Precision::Auto if opening.minimal => Needs::Common,
            _ if limits.min_storage_buffer_offset_alignment as usize > ALIGNMENT * DType::F16.bytes() => Needs::Common,
            Precision::Auto | Precision::F16 => adapters::offers(&found.adapter),
        };
        if opening.precision == Precision::F16 && offers == Needs::Common {
            return Err(ComputeError::Precision { adapter: found.info.name.clone() });
        }
        let asked = |offers| {
            let descriptor = wgpu::DeviceDescriptor {
                required_limits: limits.clone(),
                required_features: features | adapters::features(offers),
                experimental_features: adapters::experimental(offers),
                ..Default::default()
            };
            pollster::block_on(found.adapter.request_device(&descriptor))
        };
        let (offers, (device, queue)) = match asked(offers) {
            Ok(opened) => (offers, opened),
            // A driver may list a capability that it does not grant.
            Err(_) if opening.precision == Precision::Auto && offers != Needs::Common => {
                let opened = asked(Needs::Common).map_err(|e| wrong(&found.info.name, e.to_string()))?;
                (Needs::Common, opened)
            }
            Err(e) => return Err(wrong(&found.info.name, e.to_string())),
        };
        let context = Context::new(device, queue);
        let kind = found.info.kind;
        Ok(Gpu {
            buffers: Buffers::new(&context),
            pipelines: Pipelines::new(&context, Sources::new(opening.shaders), opening.checked),
            replay: Replay::new(&context),
            context,
            kind,
            offers,
            half: false,
            rates: match kind {
                AdapterKind::Discrete => (4e12, 2e11),
                AdapterKind::Integrated | AdapterKind::Virtual => (2e11, 2e10),
                AdapterKind::Software | AdapterKind::Cpu => (2e9, 1e9),
            },
        })
    }

    /// Limit on the bytes of tensors: if the device uses main memory, what is available there; otherwise the driver
    /// decides at each allocation.
    pub(super) fn budget(&self) -> u64 {
        if self.shares_memory() { host::budget() } else { u64::MAX }
    }

    /// Bytes that the allocator reserved for buffers, in whole blocks; None if the backend does not report it.
    pub(super) fn reserved(&self) -> Option<u64> {
        self.context.device.generate_allocator_report().map(|report| report.total_reserved_bytes)
    }

    /// Whether the device uses the computer's main memory.
    pub(super) fn shares_memory(&self) -> bool {
        match self.kind {
            AdapterKind::Discrete | AdapterKind::Virtual => false,
            AdapterKind::Integrated | AdapterKind::Software | AdapterKind::Cpu => true,
        }
    }

    pub(super) fn traits(&self) -> Traits {
        let limits = self.context.device.limits();
        Traits {
            cpu: false,
            software: self.kind == AdapterKind::Software,
            max_binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            max_groups: limits.max_compute_workgroups_per_dimension,
            workgroup_storage: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            offers: if self.half { self.offers } else { Needs::Common },
            act: if self.half { DType::F16 } else { DType::F32 },
            units: match self.kind {
                AdapterKind::Discrete => 132,
                AdapterKind::Integrated | AdapterKind::Virtual => 16,
                AdapterKind::Software | AdapterKind::Cpu => 1,
            },
        }
    }

    /// Makes activations and operands f16 or f32; false if the adapter was opened without f16.
    pub(super) fn set_half(&mut self, half: bool) -> bool {
        let possible = !half || self.offers != Needs::Common;
        if possible {
            self.half = half;
        }
        possible
    }

    /// Kernels on cooperative matrices are not chosen any more.
    pub(super) fn withdraw_matrices(&mut self) {
        self.offers = self.offers.min(Needs::Half);
    }

    pub(super) fn alloc(&mut self, index: usize, name: &str, bytes: u64) -> Result<(), ComputeError> {
        self.buffers.alloc(index, name, bytes)
    }

    /// Frees buffer `index`; returns its bytes.
    pub(super) fn free(&mut self, index: usize) -> u64 {
        self.buffers.free(index)
    }

    pub(super) fn write(&mut self, tensor: &Tensor, bytes: &[u8]) -> Result<(), ComputeError> {
        self.buffers.write(tensor, bytes)
    }

    /// Reads the bytes of a view into `out` and waits for them, in pieces of whole words.
    pub(super) fn read(&mut self, tensor: &Tensor, out: &mut [u8]) -> Result<(), ComputeError> {
        self.buffers.get(tensor)?;
        let each = buffers::PIECE / tensor.dtype.bytes();
        for (i, out) in out.chunks_mut(buffers::PIECE).enumerate() {
            let part = tensor.part(&tensor.name, i * each, &[out.len() / tensor.dtype.bytes()]);
            let id = self.request(&part)?;
            let words = self.buffers.collect(id, true)?;
            let words = words.ok_or_else(|| ComputeError::Lost { reason: "a read-back did not arrive".into() })?;
            out.copy_from_slice(part.within_words(&words));
        }
        Ok(())
    }

    /// Requests the whole words that contain a view.
    pub(super) fn request(&mut self, tensor: &Tensor) -> Result<u64, ComputeError> {
        self.buffers.request(tensor, tensor.bytes())
    }

    pub(super) fn collect(&mut self, id: u64, wait: bool) -> Result<Option<Vec<u8>>, ComputeError> {
        self.buffers.collect(id, wait)
    }

    /// Makes programs compiled from now on use this WGSL for a kernel.
    pub(super) fn alter(&mut self, kernel: &'static str, wgsl: String) {
        self.pipelines.alter(kernel, wgsl);
    }

    /// Rebuilds the pipelines whose shaders in the folder have changed, and returns their kernels.
    pub(super) fn reload(&mut self) -> Result<Vec<&'static str>, ComputeError> {
        self.pipelines.reload()
    }

    /// Makes pipelines before they are first used.
    pub(super) fn prepare(&mut self, kernels: &[&'static Kernel]) -> Result<(), ComputeError> {
        self.pipelines.prepare(kernels)
    }

    /// Makes pipelines and bind groups for a list of calls, once.
    pub(super) fn compile(&mut self, calls: &[Call]) -> Result<Compiled, ComputeError> {
        Compiled::new(&self.context, &self.buffers, &mut self.pipelines, self.rates, calls)
    }

    /// Runs programs, and requests a tensor after them.
    pub(super) fn submit(
        &mut self,
        programs: &[&Compiled],
        wanted: Option<&Tensor>,
    ) -> Result<Option<u64>, ComputeError> {
        self.pipelines.follow();
        self.replay.submit(&mut self.buffers, &self.pipelines, programs, wanted)
    }

    /// Runs programs once and measures every call; nothing where the device has no timestamps.
    pub(super) fn profile(&mut self, programs: &[&Compiled]) -> Result<Vec<(&'static str, Work, f64)>, ComputeError> {
        self.replay.profile(&mut self.buffers, &self.pipelines, programs)
    }

    /// Whether any kernel was submitted yet.
    pub(super) fn worked(&self) -> bool {
        self.replay.worked
    }

    /// Waits until everything submitted is done.
    pub(super) fn wait(&mut self) -> Result<(), ComputeError> {
        self.replay.wait()
    }
}
