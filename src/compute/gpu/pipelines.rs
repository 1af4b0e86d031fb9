//! Pipelines: made once a kernel, side by side.

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

/// A kernel made ready for one device.
pub(super) struct Ready {
    kernel: &'static Kernel,
    /// The WGSL that it is made of.
    source: Expanded,
    /// Programs made from now on take another.
    retired: bool,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) pipeline: wgpu::ComputePipeline,
}

/// Shaders that are compiled without bounds and loop checks, which cost them dearly; the same WGSL runs
/// checked over the same shapes in tests/kernels/main.rs.
const TRUSTED: &[&str] = &["matmul", "attention", "attention_wide", "attention_coop", "matmul_coop"];

/// The pipelines of one device.
pub(super) struct Pipelines {
    context: Context,
    sources: Sources,
    ready: Vec<Ready>,
    /// WGSL that tests put in place of a kernel's own.
    altered: Vec<(&'static str, String)>,
    /// Keep runtime checks everywhere.
    checked: bool,
}

impl Pipelines {
    /// None yet. Shaders from a folder keep their runtime checks.
    pub(super) fn new(context: &Context, sources: Sources, checked: bool) -> Pipelines {
        let checked = checked || sources.watched();
        Pipelines { context: context.clone(), sources, ready: Vec::new(), altered: Vec::new(), checked }
    }

    /// From now on, that kernel is made of this WGSL.
    pub(super) fn alter(&mut self, kernel: &'static str, wgsl: String) {
        // Programs that are compiled already keep theirs.
        self.ready.iter_mut().filter(|r| r.kernel.name == kernel).for_each(|r| r.retired = true);
        self.altered.retain(|(name, _)| *name != kernel);
        self.altered.push((kernel, wgsl));
    }

    /// Remakes the pipelines whose sources were written since the last look, where they come from a folder. One
    /// that does not compile stays as it was.
    pub(super) fn follow(&mut self) {
        if self.sources.changed() {
            match self.reload() {
                Ok(kernels) => info!(?kernels, "shaders read again"),
                Err(error) => error!(%error, "the shader stays as it was"),
            }
        }
    }

    /// Remakes the pipelines whose WGSL is another now, and returns their kernels. One that does not compile
    /// stays as it was; the others are remade all the same, and the first error is returned.
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

    /// The pipeline at a place.
    pub(super) fn at(&self, place: usize) -> &Ready {
        &self.ready[place]
    }

    /// Makes the pipelines that are not there yet, side by side: a driver takes tens of milliseconds for each.
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

    /// The place of a kernel's pipeline.
    pub(super) fn place(&self, kernel: &Kernel) -> Option<usize> {
        self.ready.iter().position(|r| r.kernel.name == kernel.name && !r.retired)
    }

    /// The WGSL of a kernel as it is now.
    fn source(&self, kernel: &Kernel) -> Result<Expanded, ComputeError> {
        match self.altered.iter().find(|(name, _)| *name == kernel.name) {
            Some((_, text)) => Ok(Expanded::of(text.clone())),
            None => kernel.expand(&self.sources),
        }
    }

    fn made(&self, kernel: &'static Kernel, source: Expanded) -> Result<Ready, ComputeError> {
        let start = Instant::now();
        // A scope holds for the thread that opened it.
        let scope = self.context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let trusted = !self.checked && TRUSTED.contains(&kernel.source);
        let (module, ready) = self.pipeline(kernel, source, trusted);
        if let Some(error) = pollster::block_on(scope.pop()) {
            // Where the compiler says where, the file and the line come first.
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
                // Every kernel writes what it reads of workgroup memory.
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
        // SAFETY: kernels guard every index by the sizes in their parameters, which the functions of
        // `ops` check against the tensors bound; numbers read from a tensor are cut to those sizes
        // before they index or bound anything (`first_key` of attention.wgsl); loops end by the sizes.
        unsafe { self.context.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}
