//! The wgpu engine. Owns the only `wgpu::Instance`. (Under construction: opens no adapter yet.)

use super::{AdapterInfo, ComputeError, KernelTime, Program, Ticket, Traits, record::Call};

/// The GPU side of a program: pipelines and bind groups.
pub(super) struct Compiled;

/// An opened adapter.
pub(super) struct Gpu;

impl Gpu {
    /// The adapters that wgpu sees, in a stable order.
    pub(super) fn list() -> Vec<AdapterInfo> {
        Vec::new()
    }
    /// Opens adapter `index` of [`Gpu::list`].
    pub(super) fn open(index: usize) -> Result<Gpu, ComputeError> {
        Err(ComputeError::Open { adapter: index.to_string(), reason: "the GPU engine is not built yet".into() })
    }
    pub(super) fn budget(&self) -> u64 {
        0
    }
    pub(super) fn traits(&self) -> Traits {
        Traits {
            cpu: false,
            software: false,
            max_binding: 1 << 27,
            max_groups: 65_535,
            workgroup_storage: 16_384,
            max_invocations: 256,
        }
    }
    pub(super) fn alloc(&mut self, _index: usize, _name: &str, _bytes: u64) -> Result<(), ComputeError> {
        Ok(())
    }
    /// Frees buffer `index`; returns its elements.
    pub(super) fn free(&mut self, _index: usize) -> usize {
        0
    }
    pub(super) fn write(&mut self, _index: usize, _offset: usize, _bytes: &[u8]) -> Result<(), ComputeError> {
        Ok(())
    }
    pub(super) fn read(&mut self, _index: usize, _offset: usize, _len: usize) -> Result<Vec<f32>, ComputeError> {
        Ok(Vec::new())
    }
    pub(super) fn request(&mut self, _index: usize, _offset: usize, _len: usize) -> Result<Ticket, ComputeError> {
        Ok(Ticket { id: 0, ready: None })
    }
    pub(super) fn collect(&mut self, _id: u64, _wait: bool) -> Result<Option<Vec<f32>>, ComputeError> {
        Ok(None)
    }
    pub(super) fn compile(&mut self, _calls: &[Call]) -> Result<Compiled, ComputeError> {
        Ok(Compiled)
    }
    pub(super) fn replay(&mut self, _programs: &[&Program]) -> Result<(), ComputeError> {
        Ok(())
    }
    pub(super) fn profile(&mut self, _programs: &[&Program]) -> Result<Vec<KernelTime>, ComputeError> {
        Ok(Vec::new())
    }
    pub(super) fn wait(&mut self) -> Result<(), ComputeError> {
        Ok(())
    }
}
