//! The CPU engine: buffers in host memory, and the loop that runs calls on them.

mod memory;

use super::{
    adapter::{AdapterInfo, AdapterKind},
    cpu::{Args, Arity},
    error::ComputeError,
    kernel::{Call, Needs, Traits},
    tensor::{DType, Tensor},
};

pub(super) use memory::budget;
pub use memory::{Bound, Resident, Room, resident, room, room_under};

/// The buffers of the CPU engine.
#[derive(Default)]
pub(super) struct Host {
    buffers: Vec<Vec<f32>>,
    /// For an engine that only counts: the sizes of the buffers, which are not allocated.
    counted: Option<Vec<u64>>,
}

impl Host {
    pub(super) fn info() -> AdapterInfo {
        AdapterInfo {
            name: format!("cpu ({} threads)", rayon::current_num_threads()),
            kind: AdapterKind::Cpu,
            backend: "cpu".into(),
            driver: format!("{:?}", pulp::Arch::new()).chars().take_while(|c| c.is_alphanumeric()).collect(),
            max_binding: 0,
            features: Vec::new(),
        }
    }

    pub(super) fn traits() -> Traits {
        Traits {
            cpu: true,
            software: false,
            max_binding: u64::MAX,
            max_groups: u32::MAX,
            workgroup_storage: 0,
            max_invocations: 0,
            offers: Needs::Common,
            act: DType::F32,
            units: 0,
        }
    }

    /// An engine that only counts buffers: nothing can be run on it.
    pub(super) fn counting() -> Host {
        Host { buffers: Vec::new(), counted: Some(Vec::new()) }
    }

    /// Allocates a zeroed buffer; false if there is not enough memory. All pages are touched now, so that the counted
    /// memory equals the used memory and does not grow during training.
    pub(super) fn alloc(&mut self, index: usize, bytes: u64) -> bool {
        if let Some(counted) = &mut self.counted {
            counted.resize(counted.len().max(index + 1), 0);
            counted[index] = bytes;
            return true;
        }
        if self.buffers.len() <= index {
            self.buffers.resize_with(index + 1, Vec::new);
        }
        let (mut buffer, len) = (Vec::new(), bytes as usize / DType::F32.bytes());
        if buffer.try_reserve_exact(len).is_err() {
            return false;
        }
        buffer.resize(len, 0.0);
        self.buffers[index] = buffer;
        true
    }

    /// Frees a buffer; returns its bytes.
    pub(super) fn free(&mut self, index: usize) -> u64 {
        match &mut self.counted {
            Some(counted) => std::mem::take(&mut counted[index]),
            None => (std::mem::take(&mut self.buffers[index]).len() * DType::F32.bytes()) as u64,
        }
    }

    pub(super) fn write(&mut self, tensor: &Tensor, bytes: &[u8]) {
        if self.counted.is_some() {
            return;
        }
        let out: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffers[tensor.buffer][tensor.offset..]);
        out[..bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes of a view; empty on an engine that only counts.
    pub(super) fn bytes(&self, tensor: &Tensor) -> &[u8] {
        if self.counted.is_some() {
            return &[];
        }
        bytemuck::cast_slice(&self.buffers[tensor.buffer][tensor.offset..tensor.offset + tensor.len()])
    }

    pub(super) fn run(&mut self, calls: &[Call]) -> Result<(), ComputeError> {
        if self.counted.is_some() {
            return Ok(());
        }
        for call in calls {
            // A recording does not know the length of buffers: reject a view past the end here.
            for t in &call.args {
                let there = self.buffers[t.buffer].len();
                if t.offset.checked_add(t.len()).is_none_or(|end| end > there) {
                    let what = format!(
                        "{} reaches past its buffer: {} elements from {}, {there} available",
                        t.name,
                        t.len(),
                        t.offset
                    );
                    return Err(ComputeError::Shape { op: call.kernel.name, what });
                }
            }
            // Written buffers are moved out of the table during the call; the recording has checked that none of them
            // is bound twice, so all reads are still there.
            let (reads, writes) = call.args.split_at(call.kernel.reads());
            let mut taken: Vec<Vec<f32>> = writes.iter().map(|t| std::mem::take(&mut self.buffers[t.buffer])).collect();
            let read: Vec<&[f32]> =
                reads.iter().map(|t| &self.buffers[t.buffer][t.offset..t.offset + t.len()]).collect();
            let mut write: Vec<&mut [f32]> =
                taken.iter_mut().zip(writes).map(|(b, t)| &mut b[t.offset..t.offset + t.len()]).collect();
            let done = (call.kernel.twin)(&call.params, Args { read: &read, write: &mut write });
            for (buffer, tensor) in taken.into_iter().zip(writes) {
                self.buffers[tensor.buffer] = buffer;
            }
            done.map_err(|Arity| ComputeError::Kernel {
                kernel: call.kernel.name.into(),
                reason: "the CPU twin binds other tensors".into(),
            })?;
        }
        Ok(())
    }
}
