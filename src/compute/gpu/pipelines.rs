//! Pipelines: one per kernel, built in parallel.

use std::{num::NonZeroU64, time::Instant};

use rayon::prelude::*;
use tracing::{debug, error, info};

use super::context::Context;
use crate::compute::{
    cpu::PARAM_WORDS,
    error::ComputeError,
    kernel::{Access, Kernel},
    shader::{Expanded, Sources},
};

/// Bytes of a parameter block.
pub(super) const BLOCK: u64 = (PARAM_WORDS * size_of::<u32>()) as u64;

/// The pipeline of a kernel on a device.
pub(super) struct Ready {
    kernel: &'static Kernel,
    /// The WGSL it was built from.
    source: Expanded,
    /// Replaced by a newer one for new programs.
    retired: bool,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) pipeline: wgpu::ComputePipeline,
}

/// Shaders compiled without bounds and loop checks, which are expensive for them; tests/kernels/main.rs runs the same
/// WGSL with checks over the same shapes.
const TRUSTED: &[&str] = &[
    "matmul",
    "attention",
    "attention_wide",
    "attention_coop",
    "attention_row",
    "attention_step",
    "matmul_coop",
    "matmul_few",
    "mlp_row",
    "sample",
];

/// The pipelines of one device.
pub(super) struct Pipelines {
    context: Context,
    sources: Sources,
    ready: Vec<Ready>,
    /// WGSL with which tests replace a kernel's own.
    altered: Vec<(&'static str, String)>,
    /// Whether to keep runtime checks everywhere.
    checked: bool,
}

impl Pipelines {
    /// An empty list. Shaders from a folder keep their runtime checks.
    pub(super) fn new(context: &Context, sources: Sources, checked: bool) -> Pipelines {
        let checked = checked || sources.watched();
        Pipelines { context: context.clone(), sources, ready: Vec::new(), altered: Vec::new(), checked }
    }

    /// Makes programs compiled from now on use this WGSL for a kernel.
    pub(super) fn alter(&mut self, kernel: &'static str, wgsl: String) {
        // Compiled programs keep the old one.
        self.ready.iter_mut().filter(|r| r.kernel.name == kernel).for_each(|r| r.retired = true);
        self.altered.retain(|(name, _)| *name != kernel);
        self.altered.push((kernel, wgsl));
    }

    /// Rebuilds pipelines whose source files in the folder were written since the last check. A shader that does not
    /// compile leaves the old pipeline in place.
    pub(super) fn follow(&mut self) {
        if self.sources.changed() {
            match self.reload() {
                Ok(kernels) => info!(?kernels, "shaders read again"),
                Err(error) => error!(%error, "the shader stays as it was"),
            }
        }
    }

    /// Rebuilds pipelines whose WGSL has changed, and returns their kernels. A shader that does not compile leaves the
    /// old pipeline in place; the others are rebuilt, and the first error is returned.
    pub(super) fn reload(&mut self) -> Result<Vec<&'static str>, ComputeError> {
        let (mut remade, mut wrong) = (Vec::new(), None);
        for place in 0..self.ready.len() {
            let Ready { kernel, source, retired, .. } = &self.ready[place];
            let made = match self.source(kernel) {
                Ok(now) if *retired || now.text == source.text => continue,
                Ok(now) => self.made(kernel, now),
                Err(error) => Err(error),
            };
            match made {
                Ok(ready) => {
                    remade.push(ready.kernel.name);
                    self.ready[place] = ready;
                }
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        wrong.map_or(Ok(remade), Err)
    }

    /// The pipeline with this index.
    pub(super) fn at(&self, place: usize) -> &Ready {
        &self.ready[place]
    }

    /// Builds missing pipelines in parallel: a driver takes tens of milliseconds for each.
    pub(super) fn prepare(&mut self, kernels: &[&'static Kernel]) -> Result<(), ComputeError> {
        let mut missing: Vec<&'static Kernel> = Vec::new();
        for kernel in kernels.iter().copied() {
            if self.place(kernel).is_none() && !missing.iter().any(|m| m.name == kernel.name) {
                missing.push(kernel);
            }
        }
        let made = missing.into_par_iter().map(|kernel| self.made(kernel, self.source(kernel)?));
        let made: Result<Vec<Ready>, _> = made.collect();
        self.context.faults.check()?;
        self.ready.extend(made?);
        Ok(())
    }

    /// The index of a kernel's pipeline.
    pub(super) fn place(&self, kernel: &Kernel) -> Option<usize> {
        self.ready.iter().position(|r| r.kernel.name == kernel.name && !r.retired)
    }

    /// The current WGSL of a kernel.
    fn source(&self, kernel: &Kernel) -> Result<Expanded, ComputeError> {
        match self.altered.iter().find(|(name, _)| *name == kernel.name) {
            Some((_, text)) => Ok(Expanded::of(text.clone())),
            None => kernel.expand(&self.sources),
        }
    }

    fn made(&self, kernel: &'static Kernel, source: Expanded) -> Result<Ready, ComputeError> {
        let start = Instant::now();
        // An error scope belongs to the thread that opened it.
        let scope = self.context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let trusted = !self.checked && TRUSTED.contains(&kernel.source);
        let (module, ready) = self.pipeline(kernel, source, trusted);
        if let Some(error) = pollster::block_on(scope.pop()) {
            // If the compiler reports a location, file and line come first.
            let info = pollster::block_on(module.get_compilation_info());
            let place = info.messages.iter().find_map(|m| ready.source.origin(m.location?.line_number as usize));
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            return Err(ComputeError::Kernel { kernel: kernel.name.into(), reason: format!("{place}{error}") });
        }
        debug!(kernel = kernel.name, ms = start.elapsed().as_millis(), "pipeline made");
        Ok(ready)
    }

    fn pipeline(&self, kernel: &'static Kernel, source: Expanded, trusted: bool) -> (wgpu::ShaderModule, Ready) {
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
        let layout = self
            .context
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = self.context.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(source.text.as_str().into()),
        };
        let module = if trusted {
            self.trusted_module(descriptor)
        } else {
            self.context.device.create_shader_module(descriptor)
        };
        let pipeline = self.context.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes workgroup memory before reading it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        (module, Ready { kernel, source, retired: false, layout, pipeline })
    }

    #[allow(
        unsafe_code,
        reason = "wgpu marks the absence of runtime checks so; the same WGSL passes with them, on every adapter, in tests/kernels/main.rs"
    )]
    fn trusted_module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        // SAFETY: kernels guard every index by the sizes in their parameters, which the functions of `ops` check
        // against the bound tensors; numbers read from a tensor are clamped to those sizes before they are used as an
        // index or bound (`first_key` of attention.wgsl); loops end by the sizes.
        unsafe { self.context.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}
