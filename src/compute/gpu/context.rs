//! An opened wgpu device, shared by all parts of the engine.

use super::fault::Faults;
use crate::compute::error::ComputeError;

/// Handles to one device; clones are the same device.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) faults: Faults,
}

impl Context {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Context {
        Context { faults: Faults::listen(&device), device, queue }
    }

    /// Lets callbacks run; with `wait`, until all submitted work is done.
    pub(super) fn poll(&self, wait: bool) -> Result<(), ComputeError> {
        self.polled(if wait { wgpu::PollType::wait_indefinitely() } else { wgpu::PollType::Poll })
    }

    /// Polls, and returns errors that the device reported meanwhile.
    pub(super) fn polled(&self, kind: wgpu::PollType) -> Result<(), ComputeError> {
        let polled = self.device.poll(kind);
        self.faults.check()?;
        polled.map(|_| ()).map_err(|e| ComputeError::Lost { reason: e.to_string() })
    }
}
