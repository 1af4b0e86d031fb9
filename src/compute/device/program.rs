//! A compiled recording, and the profile of its kernels.

use crate::compute::{
    gpu::Compiled,
    kernel::{Call, Work, barriers},
};

/// A compiled recording. It belongs to the device that made it.
pub struct Program {
    pub(super) calls: Vec<Call>,
    /// The GPU's pipelines and bind groups; None on the CPU engine.
    pub(super) gpu: Option<Compiled>,
}

impl Program {
    /// Number of kernel calls in one replay.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Number of barriers in one replay of programs as one submit, by the rules of wgpu.
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

impl KernelTime {
    /// Adds one call to a profile.
    pub(super) fn add(times: &mut Vec<KernelTime>, name: &'static str, work: Work, ms: f64) {
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
