//! From calls to what one replay needs: pipelines, made once a kernel, and bind groups, made once a call.

use std::num::NonZeroU64;

use rayon::prelude::*;

use super::{Gpu, preprocess};
use crate::compute::{Access, Cell, ComputeError, DType, Kernel, Needs, PARAM_WORDS, Tensor, cost::work, record::Call};

/// Bytes between parameter blocks: the largest offset alignment that an adapter may ask for.
const STRIDE: usize = 256;
/// Bytes of a parameter block.
const BLOCK: u64 = PARAM_WORDS as u64 * 4;

/// The GPU side of a program.
pub(in crate::compute) struct Compiled {
    pub(super) steps: Vec<Step>,
}

/// One dispatch.
pub(super) struct Step {
    pub(super) pipeline: wgpu::ComputePipeline,
    /// The pipeline's place in the cache: equal places are the same pipeline.
    pub(super) pipeline_id: usize,
    pub(super) group: wgpu::BindGroup,
    pub(super) grid: [u32; 3],
    /// What it is thought to take.
    pub(super) estimate_ms: f64,
}

/// A kernel made ready for one device.
pub(super) struct Ready {
    name: &'static str,
    layout: wgpu::BindGroupLayout,
    pipeline: wgpu::ComputePipeline,
}

/// Shaders that are compiled without bounds and loop checks, which cost them dearly; the same WGSL runs
/// checked over the same shapes in tests/kernels.rs.
const TRUSTED: &[&str] = &["matmul", "attention", "attention_wide", "attention_coop", "matmul_coop"];

/// The WGSL of a kernel, expanded.
pub(in crate::compute) fn wgsl(kernel: &Kernel) -> Result<String, ComputeError> {
    let mut defines: Vec<preprocess::Define> = kernel.defines.iter().flat_map(|group| group.iter().copied()).collect();
    let act = if kernel.act() == DType::F16 { "f16" } else { "f32" };
    let last = kernel.bindings.last().map(|b| b.cell);
    // The type of activations, and of what the last binding holds.
    defines.extend([("ACT", act), ("OUT", if last == Some(Cell::Act) { act } else { "f32" })]);
    if kernel.act() == DType::F16 {
        defines.push(("HALF", ""));
    }
    let text = preprocess::expand(kernel.source, &defines)
        .map_err(|reason| ComputeError::Kernel { kernel: kernel.name.into(), reason })?;
    Ok(match kernel.needs {
        Needs::Common => text,
        Needs::Half => format!("enable f16;\n{text}"),
        Needs::Matrix => format!("enable f16;\nenable wgpu_cooperative_matrix;\n{text}"),
    })
}

impl Gpu {
    pub(in crate::compute) fn compile(&mut self, calls: &[Call]) -> Result<Compiled, ComputeError> {
        self.faults.check()?;
        if calls.is_empty() {
            return Ok(Compiled { steps: Vec::new() });
        }
        let mut words = vec![0_u32; calls.len() * STRIDE / 4];
        for (slot, call) in words.chunks_exact_mut(STRIDE / 4).zip(calls) {
            slot[..PARAM_WORDS].copy_from_slice(&call.params.0);
        }
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = self.buffers.create("kernel parameters", bytes.len() as u64, usage)?;
        self.queue.write_buffer(&params, 0, bytes);
        self.prepare(&calls.iter().map(|call| call.kernel).collect::<Vec<_>>())?;
        let ready: Vec<usize> = calls.iter().filter_map(|call| self.place(call.kernel)).collect();
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut steps = Vec::with_capacity(calls.len());
        for (i, (call, id)) in calls.iter().zip(ready).enumerate() {
            let mut entries = vec![entry(0, &params, (i * STRIDE) as u64, BLOCK)];
            for (binding, tensor) in call.args.iter().enumerate() {
                let buffer = self.buffers.get(tensor)?;
                entries.push(entry(binding as u32 + 1, buffer, tensor.start(), span(tensor, buffer)));
            }
            let descriptor =
                wgpu::BindGroupDescriptor { label: None, layout: &self.ready[id].layout, entries: &entries };
            steps.push(Step {
                pipeline: self.ready[id].pipeline.clone(),
                pipeline_id: id,
                group: self.device.create_bind_group(&descriptor),
                grid: call.grid,
                estimate_ms: work(call).ms(self.rates),
            });
        }
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(ComputeError::Lost { reason: format!("binding failed: {error}") });
        }
        self.faults.check()?;
        Ok(Compiled { steps })
    }

    /// Makes the pipelines that are not there yet, side by side: a driver takes tens of milliseconds for each.
    pub(in crate::compute) fn prepare(&mut self, kernels: &[&'static Kernel]) -> Result<(), ComputeError> {
        let mut missing: Vec<&'static Kernel> = Vec::new();
        for kernel in kernels.iter().copied() {
            if self.place(kernel).is_none() && !missing.iter().any(|m| m.name == kernel.name) {
                missing.push(kernel);
            }
        }
        let made: Result<Vec<Ready>, _> = missing.into_par_iter().map(|kernel| self.made(kernel)).collect();
        self.faults.check()?;
        self.ready.extend(made?);
        Ok(())
    }

    /// The place of a kernel's pipeline.
    fn place(&self, kernel: &Kernel) -> Option<usize> {
        self.ready.iter().position(|r| r.name == kernel.name)
    }

    fn made(&self, kernel: &'static Kernel) -> Result<Ready, ComputeError> {
        let source = match self.altered.iter().find(|(name, _)| *name == kernel.name) {
            Some((_, source)) => source.clone(),
            None => wgsl(kernel)?,
        };
        // A scope holds for the thread that opened it.
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let trusted = !self.checked && TRUSTED.contains(&kernel.source);
        let made = self.pipeline(kernel, &source, trusted);
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(ComputeError::Kernel { kernel: kernel.name.into(), reason: error.to_string() }),
            None => Ok(made),
        }
    }

    fn pipeline(&self, kernel: &'static Kernel, source: &str, trusted: bool) -> Ready {
        let buffer = |binding: usize, ty, min| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: NonZeroU64::new(min) },
            count: None,
        };
        let mut entries = vec![buffer(0, wgpu::BufferBindingType::Uniform, BLOCK)];
        for (i, b) in kernel.bindings.iter().enumerate() {
            let ty = wgpu::BufferBindingType::Storage { read_only: b.access == Access::Read };
            entries.push(buffer(i + 1, ty, 16));
        }
        let layout =
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source: wgpu::ShaderSource::Wgsl(source.into()) };
        let module =
            if trusted { self.trusted_module(descriptor) } else { self.device.create_shader_module(descriptor) };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes what it reads of workgroup memory.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Ready { name: kernel.name, layout, pipeline }
    }

    #[allow(
        unsafe_code,
        reason = "wgpu marks the absence of runtime checks so; the same WGSL passes with them, on every adapter, in tests/kernels.rs"
    )]
    fn trusted_module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        // SAFETY: kernels guard every index by the sizes in their parameters, which the functions of
        // `ops` check against the tensors bound; numbers read from a tensor are cut to those sizes
        // before they index or bound anything (`first_key` of attention.wgsl); loops end by the sizes.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
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
