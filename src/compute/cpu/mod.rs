//! The CPU engine: a twin of every kernel, and the memory they work on.

use super::{
    AdapterInfo, AdapterKind, Arity, ComputeError, Tensor, Traits,
    record::{Args, Call, Params},
};

pub(super) fn fill(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn add(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn scale(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn dropout(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn sum(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn column_sum(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn square_sum(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn embedding_forward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn embedding_backward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn rmsnorm_forward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn add_rmsnorm_forward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn rmsnorm_backward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn rope(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn attention_forward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn attention_delta(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn attention_backward_q(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn attention_backward_kv(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn cache_append(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn attention_decode(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn swiglu_forward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn swiglu_backward(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn cross_entropy(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn adamw_prepare(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn adamw(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn matmul_nn(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn matmul_nt(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}
pub(super) fn matmul_tn(_p: &Params, _a: Args<'_>) -> Result<(), Arity> {
    Err(Arity)
}

/// Host memory and the loop that runs calls.
#[derive(Default)]
pub(super) struct Host {
    buffers: Vec<Vec<f32>>,
}

impl Host {
    pub(super) fn info() -> AdapterInfo {
        AdapterInfo {
            name: format!("cpu ({} threads)", rayon::current_num_threads()),
            kind: AdapterKind::Cpu,
            backend: "cpu".into(),
            driver: format!("{:?}", pulp::Arch::new()),
            max_binding: 0,
            features: Vec::new(),
        }
    }

    pub(super) fn traits() -> Traits {
        Traits {
            cpu: true,
            software: false,
            max_binding: u64::MAX,
            max_groups: 65_535,
            workgroup_storage: 0,
            max_invocations: 0,
        }
    }

    pub(super) fn budget() -> u64 {
        u64::MAX
    }

    pub(super) fn alloc(&mut self, index: usize, len: usize) {
        if self.buffers.len() <= index {
            self.buffers.resize_with(index + 1, Vec::new);
        }
        self.buffers[index] = vec![0.0; len];
    }

    pub(super) fn free(&mut self, index: usize) -> usize {
        std::mem::take(&mut self.buffers[index]).len()
    }

    pub(super) fn write(&mut self, tensor: &Tensor, bytes: &[u8]) {
        let out: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffers[tensor.buffer][tensor.offset..]);
        out[..bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn read(&self, tensor: &Tensor) -> Vec<f32> {
        self.buffers[tensor.buffer][tensor.offset..tensor.offset + tensor.len()].to_vec()
    }

    pub(super) fn run(&mut self, calls: &[Call]) -> Result<(), ComputeError> {
        for call in calls {
            // Written buffers leave the table for the length of the call; the recording has checked
            // that none of them is bound twice, so the reads are all still there.
            let split = call.kernel.bindings.iter().filter(|a| **a == super::Access::Read).count();
            let (reads, writes) = call.args.split_at(split);
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
