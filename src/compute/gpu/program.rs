//! Compiles calls into pipelines, one per kernel, and bind groups, one per call.

use std::num::NonZeroU64;

use super::{
    buffers::Buffers,
    context::Context,
    pipelines::{BLOCK, Pipelines},
};
use crate::compute::{
    cpu::PARAM_WORDS,
    error::ComputeError,
    kernel::{Call, Work, work},
    tensor::Tensor,
};

/// Bytes between parameter blocks: the largest offset alignment that an adapter may require.
const STRIDE: usize = 256;

/// A program compiled for the GPU.
pub(in crate::compute) struct Compiled {
    pub(super) steps: Vec<Step>,
}

/// One dispatch.
pub(super) struct Step {
    /// Index of the pipeline in [`Pipelines`].
    pub(super) pipeline: usize,
    pub(super) group: wgpu::BindGroup,
    pub(super) grid: [u32; 3],
    pub(super) kernel: &'static str,
    pub(super) work: Work,
    /// Its estimated time.
    pub(super) estimate_ms: f64,
}

impl Compiled {
    /// Compiles a list of calls for a device that reaches `rates` operations and bytes per second.
    pub(super) fn new(
        context: &Context,
        buffers: &Buffers,
        pipelines: &mut Pipelines,
        rates: (f64, f64),
        calls: &[Call],
    ) -> Result<Compiled, ComputeError> {
        context.faults.check()?;
        if calls.is_empty() {
            return Ok(Compiled { steps: Vec::new() });
        }
        let mut words = vec![0_u32; calls.len() * STRIDE / size_of::<u32>()];
        for (slot, call) in words.chunks_exact_mut(STRIDE / size_of::<u32>()).zip(calls) {
            slot[..PARAM_WORDS].copy_from_slice(&call.params.0);
        }
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = buffers.create("kernel parameters", bytes.len() as u64, usage)?;
        context.queue.write_buffer(&params, 0, bytes);
        pipelines.prepare(&calls.iter().map(|call| call.kernel).collect::<Vec<_>>())?;
        let places: Vec<usize> = calls.iter().filter_map(|call| pipelines.place(call.kernel)).collect();
        let scope = context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut steps = Vec::with_capacity(calls.len());
        for (i, (call, place)) in calls.iter().zip(places).enumerate() {
            let mut entries = vec![entry(0, &params, (i * STRIDE) as u64, BLOCK)];
            for (binding, tensor) in call.args.iter().enumerate() {
                let buffer = buffers.get(tensor)?;
                entries.push(entry(binding as u32 + 1, buffer, tensor.start(), span(tensor, buffer)));
            }
            let layout = &pipelines.at(place).layout;
            let work = work(call);
            steps.push(Step {
                pipeline: place,
                group: context.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: None,
                    layout,
                    entries: &entries,
                }),
                grid: call.grid,
                kernel: call.kernel.name,
                work,
                estimate_ms: work.ms(rates),
            });
        }
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(ComputeError::Lost { reason: format!("binding failed: {error}") });
        }
        context.faults.check()?;
        Ok(Compiled { steps })
    }
}

/// Bytes to bind: whole vectors, so that a kernel may read the last one. Buffers are multiples of 256 bytes.
fn span(tensor: &Tensor, buffer: &wgpu::Buffer) -> u64 {
    tensor.bytes().next_multiple_of(16).min(buffer.size() - tensor.start())
}

fn entry(binding: u32, buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindGroupEntry<'_> {
    let size = NonZeroU64::new(size);
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }),
    }
}
