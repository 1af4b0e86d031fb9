//! The wgpu engine. Owns the only `wgpu::Instance`.
//!
//! A program is made once (`program.rs`) and replayed as one submit (`replay.rs`); buffers and
//! read-backs are in `buffers.rs`; errors that wgpu reports later surface at the next call (`fault.rs`).

mod adapters;
mod buffers;
mod fault;
mod preprocess;
mod program;
mod replay;
mod sources;

use std::collections::VecDeque;

use super::{AdapterInfo, AdapterKind, ComputeError, Opening, Ticket, Traits, cpu::Host};

pub(super) use program::{Compiled, wgsl};

/// An opened adapter.
pub(super) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: fault::Faults,
    buffers: buffers::Buffers,
    /// Pipelines made so far.
    ready: Vec<program::Ready>,
    /// WGSL that tests put in place of a kernel's own.
    altered: Vec<(&'static str, String)>,
    checked: bool,
    kind: AdapterKind,
    /// Operations and bytes a second that such an adapter surely reaches.
    rates: (f64, f64),
    in_flight: VecDeque<wgpu::SubmissionIndex>,
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
        let (limits, features) = if opening.minimal {
            (wgpu::Limits::default(), wgpu::Features::empty())
        } else {
            (found.adapter.limits(), found.adapter.features() & adapters::useful())
        };
        let descriptor =
            wgpu::DeviceDescriptor { required_limits: limits, required_features: features, ..Default::default() };
        let asked = pollster::block_on(found.adapter.request_device(&descriptor));
        let (device, queue) = asked.map_err(|e| wrong(&found.info.name, e.to_string()))?;
        let faults = fault::Faults::listen(&device);
        let kind = found.info.kind;
        Ok(Gpu {
            buffers: buffers::Buffers::new(&device, &queue, &faults),
            device,
            queue,
            faults,
            ready: Vec::new(),
            altered: Vec::new(),
            checked: opening.checked,
            kind,
            rates: match kind {
                AdapterKind::Discrete => (4e12, 2e11),
                AdapterKind::Integrated | AdapterKind::Virtual => (2e11, 2e10),
                AdapterKind::Software | AdapterKind::Cpu => (2e9, 1e9),
            },
            in_flight: VecDeque::new(),
        })
    }

    /// Bytes that tensors may take: where the device's memory is the computer's, half of what is free;
    /// else the driver decides at each allocation.
    pub(super) fn budget(&self) -> u64 {
        match self.kind {
            AdapterKind::Discrete | AdapterKind::Virtual => u64::MAX,
            AdapterKind::Integrated | AdapterKind::Software | AdapterKind::Cpu => Host::budget() / 2,
        }
    }

    pub(super) fn traits(&self) -> Traits {
        let limits = self.device.limits();
        Traits {
            cpu: false,
            software: self.kind == AdapterKind::Software,
            max_binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            max_groups: limits.max_compute_workgroups_per_dimension,
            workgroup_storage: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            units: match self.kind {
                AdapterKind::Discrete => 132,
                AdapterKind::Integrated | AdapterKind::Virtual => 16,
                AdapterKind::Software | AdapterKind::Cpu => 1,
            },
        }
    }

    pub(super) fn alloc(&mut self, index: usize, name: &str, bytes: u64) -> Result<(), ComputeError> {
        self.buffers.alloc(index, name, bytes)
    }

    /// Frees buffer `index`; returns its elements.
    pub(super) fn free(&mut self, index: usize) -> usize {
        (self.buffers.free(index) / 4) as usize
    }

    pub(super) fn write(&mut self, index: usize, offset: usize, bytes: &[u8]) -> Result<(), ComputeError> {
        self.buffers.write(index, offset, bytes)
    }

    pub(super) fn read(&mut self, index: usize, offset: usize, len: usize) -> Result<Vec<f32>, ComputeError> {
        self.buffers.read(index, offset, len)
    }

    pub(super) fn request(&mut self, index: usize, offset: usize, len: usize) -> Result<Ticket, ComputeError> {
        self.buffers.request(index, offset, len)
    }

    pub(super) fn collect(&mut self, id: u64, wait: bool) -> Result<Option<Vec<f32>>, ComputeError> {
        self.buffers.collect(id, wait)
    }

    /// From now on, programs compiled here take this WGSL for that kernel.
    pub(super) fn alter(&mut self, kernel: &'static str, wgsl: String) {
        self.ready.retain(|_| false);
        self.altered.retain(|(name, _)| *name != kernel);
        self.altered.push((kernel, wgsl));
    }
}
