//! Host memory and the loop that runs calls on it.

use crate::compute::{
    AdapterInfo, AdapterKind, Arity, ComputeError, DType, Needs, Tensor, Traits,
    record::{Args, Call},
};

/// The buffers of the CPU engine.
#[derive(Default)]
pub(in crate::compute) struct Host {
    buffers: Vec<Vec<f32>>,
}

impl Host {
    pub(in crate::compute) fn info() -> AdapterInfo {
        AdapterInfo {
            name: format!("cpu ({} threads)", rayon::current_num_threads()),
            kind: AdapterKind::Cpu,
            backend: "cpu".into(),
            driver: format!("{:?}", pulp::Arch::new()).chars().take_while(|c| c.is_alphanumeric()).collect(),
            max_binding: 0,
            features: Vec::new(),
        }
    }

    pub(in crate::compute) fn traits() -> Traits {
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

    /// Bytes that tensors may take: what the system says is available where it says so (Linux), else
    /// no bound.
    pub(in crate::compute) fn budget() -> u64 {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
        let kib = line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.map_or(u64::MAX, |k| k.saturating_mul(1024))
    }

    pub(in crate::compute) fn alloc(&mut self, index: usize, len: usize) {
        if self.buffers.len() <= index {
            self.buffers.resize_with(index + 1, Vec::new);
        }
        self.buffers[index] = vec![0.0; len];
    }

    /// Frees a buffer; returns its bytes.
    pub(in crate::compute) fn free(&mut self, index: usize) -> u64 {
        std::mem::take(&mut self.buffers[index]).len() as u64 * 4
    }

    pub(in crate::compute) fn write(&mut self, tensor: &Tensor, bytes: &[u8]) {
        let out: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffers[tensor.buffer][tensor.offset..]);
        out[..bytes.len()].copy_from_slice(bytes);
    }

    pub(in crate::compute) fn read(&self, tensor: &Tensor) -> Vec<f32> {
        self.buffers[tensor.buffer][tensor.offset..tensor.offset + tensor.len()].to_vec()
    }

    pub(in crate::compute) fn run(&mut self, calls: &[Call]) -> Result<(), ComputeError> {
        for call in calls {
            // A recording does not know how long buffers are: a view past the end is refused here.
            for t in &call.args {
                let there = self.buffers[t.buffer].len();
                if t.offset.checked_add(t.len()).is_none_or(|end| end > there) {
                    let what = format!(
                        "{} reaches past its buffer: {} elements from {}, {there} are there",
                        t.name,
                        t.len(),
                        t.offset
                    );
                    return Err(ComputeError::Shape { op: call.kernel.name, what });
                }
            }
            // Written buffers leave the table for the length of the call; the recording has checked
            // that none of them is bound twice, so the reads are all still there.
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
