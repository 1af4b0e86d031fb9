//! The device: one interface to both engines, and the owner of every buffer.

mod program;
mod record;

use std::{ops::Range, time::Instant};

use half::f16;

use super::{
    adapter::{EngineInfo, Matrices},
    error::ComputeError,
    gpu::{Compiled, Gpu},
    host::{self, Host},
    kernel::{Call, Kernel, Traits, work},
    tensor::{ALIGNMENT, DType, Element, Tensor},
};

pub use program::{KernelTime, Program};
pub use record::Recording;

/// A pending read-back; see [`Device::request`].
#[derive(Debug)]
pub struct Ticket {
    id: u64,
    /// The tensor to be read.
    tensor: Tensor,
    /// Its bytes, filled at once on the CPU engine.
    ready: Option<Vec<u8>>,
}

enum Engine {
    Cpu(Host),
    Gpu(Box<Gpu>),
}

/// An opened engine with its buffers.
pub struct Device {
    engine: Engine,
    info: EngineInfo,
    matrices: Matrices,
    /// Bytes allocated and not freed.
    used: u64,
    /// The highest value of `used`.
    most: u64,
    /// Limit on `used`; allocation beyond it is refused.
    budget: u64,
    next: usize,
    /// For a device that only counts: the traits of the device it represents.
    stands_for: Option<Traits>,
    /// Buffers that calls borrow for partial results; see [`super::Recording::scratch`].
    scratch: Vec<Tensor>,
}

impl Device {
    /// Makes programs compiled from now on use this WGSL for a kernel: for tests that a check fails for a wrong kernel.
    /// The CPU engine ignores it.
    #[doc(hidden)]
    pub fn alter(&mut self, kernel: &'static str, wgsl: String) {
        if let Engine::Gpu(gpu) = &mut self.engine {
            gpu.alter(kernel, wgsl);
        }
    }

    /// Rereads the shaders in the folder that the device was opened with and rebuilds pipelines whose WGSL has changed,
    /// also in compiled programs; returns their kernels. Replays do this automatically shortly after a file is written.
    /// A shader that does not compile leaves the old pipeline in place: the error names file and line.
    pub fn reload_shaders(&mut self) -> Result<Vec<&'static str>, ComputeError> {
        match &mut self.engine {
            Engine::Cpu(_) => Ok(Vec::new()),
            Engine::Gpu(gpu) => gpu.reload(),
        }
    }

    /// The CPU engine on all cores.
    pub fn cpu() -> Device {
        let host = Host::info();
        let info =
            EngineInfo { engine: "cpu", adapter: host.name, driver: host.driver, revision: EngineInfo::CPU_REVISION };
        Device::new(Engine::Cpu(Host::default()), info, host::budget())
    }

    /// The wgpu engine on an opened adapter.
    pub(super) fn on_gpu(gpu: Gpu, info: EngineInfo) -> Device {
        let budget = gpu.budget();
        Device::new(Engine::Gpu(Box::new(gpu)), info, budget)
    }

    fn new(engine: Engine, info: EngineInfo, budget: u64) -> Device {
        let (matrices, scratch) = (Matrices::Absent, Vec::new());
        Device { engine, info, matrices, used: 0, most: 0, budget, next: 0, stands_for: None, scratch }
    }

    /// A device that only counts allocations: whatever is built on it reports, by [`Device::memory`], exactly the bytes
    /// that the real device would allocate. Recordings choose the same kernels; replays do nothing, and nothing can be
    /// read.
    #[must_use]
    pub fn counting(&self) -> Device {
        self.counting_as(self.traits())
    }

    /// [`Device::counting`] in place of a device with other traits.
    #[must_use]
    pub fn counting_as(&self, traits: Traits) -> Device {
        let counting = Device::new(Engine::Cpu(Host::counting()), self.info.clone(), u64::MAX);
        Device { stands_for: Some(traits), ..counting }
    }

    /// The engine in use.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// The state of its cooperative matrices.
    pub fn matrices(&self) -> &Matrices {
        &self.matrices
    }

    /// Makes activations and operands f16 or f32; false if the engine has only the other type.
    pub(super) fn set_half(&mut self, half: bool) -> bool {
        match &mut self.engine {
            Engine::Cpu(_) => !half,
            Engine::Gpu(gpu) => gpu.set_half(half),
        }
    }

    /// Records the result of the check of cooperative matrices; if they failed, kernels that use them are not chosen
    /// any more.
    pub(super) fn judge(&mut self, matrices: Matrices) {
        if let (Matrices::Failed(_), Engine::Gpu(gpu)) = (&matrices, &mut self.engine) {
            gpu.withdraw_matrices();
        }
        self.matrices = matrices;
        self.most = self.used;
    }

    /// Makes pipelines in parallel before they are first used.
    pub(super) fn prepare(&mut self, kernels: &[&'static Kernel]) -> Result<(), ComputeError> {
        match &mut self.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.prepare(kernels),
        }
    }

    /// The properties that recordings depend on.
    pub fn traits(&self) -> Traits {
        match (&self.engine, self.stands_for) {
            (_, Some(traits)) => traits,
            (Engine::Cpu(_), None) => Host::traits(),
            (Engine::Gpu(gpu), None) => gpu.traits(),
        }
    }

    /// Whether its tensors are in the computer's main memory.
    pub fn shares_memory(&self) -> bool {
        match &self.engine {
            Engine::Cpu(_) => true,
            Engine::Gpu(gpu) => gpu.shares_memory(),
        }
    }

    /// Bytes allocated and the limit.
    pub fn memory(&self) -> (u64, u64) {
        (self.used, self.budget)
    }

    /// The most bytes allocated at once, since the device was empty.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Bytes that a GPU's allocator reserved for buffers, in whole blocks.
    pub fn reserved(&self) -> Option<u64> {
        match &self.engine {
            Engine::Cpu(_) => None,
            Engine::Gpu(gpu) => gpu.reserved(),
        }
    }

    /// Whether a GPU has run a kernel yet: with the first one its driver allocates host memory. Always true of the CPU
    /// engine.
    pub fn worked(&self) -> bool {
        match &self.engine {
            Engine::Cpu(_) => true,
            Engine::Gpu(gpu) => gpu.worked(),
        }
    }

    /// Sets the memory limit, in bytes.
    pub fn set_budget(&mut self, bytes: u64) {
        self.budget = bytes;
    }

    /// A zeroed tensor in a new buffer.
    pub fn alloc(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor, ComputeError> {
        // An overflowing size exceeds any limit.
        let len = shape.iter().try_fold(1_usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX).min(usize::MAX / 8);
        let bytes = len.max(1).next_multiple_of(ALIGNMENT) as u64 * dtype.bytes() as u64;
        if self.used.saturating_add(bytes) > self.budget {
            return Err(self.full(name, bytes, self.budget));
        }
        let index = self.next;
        match &mut self.engine {
            // A counting device represents any other.
            Engine::Cpu(_) if dtype == DType::F16 && self.stands_for.is_none() => {
                let what = format!("{name} is f16, which the CPU engine does not have");
                return Err(ComputeError::Shape { op: "alloc", what });
            }
            Engine::Cpu(host) => {
                if !host.alloc(index, bytes) {
                    return Err(self.full(name, bytes, self.used));
                }
            }
            Engine::Gpu(gpu) => gpu.alloc(index, name, bytes)?,
        }
        self.next += 1;
        self.used = self.used.saturating_add(bytes);
        self.most = self.most.max(self.used);
        Ok(Tensor { name: name.into(), buffer: index, offset: 0, shape: shape.to_vec(), dtype })
    }

    fn full(&self, name: &str, bytes: u64, there: u64) -> ComputeError {
        ComputeError::Memory {
            what: name.to_owned(),
            need: self.used.saturating_add(bytes),
            there,
            advice: "choose a smaller --size, batch or context".to_owned(),
        }
    }

    /// A mark for [`Device::release`].
    pub fn mark(&self) -> usize {
        self.next
    }

    /// Frees all buffers allocated since the mark. Tensors and programs made since then must not be used again.
    pub fn release(&mut self, mark: usize) {
        // Forget scratch made since then too.
        self.scratch.retain(|t| t.buffer < mark);
        for index in mark..self.next {
            self.free_buffer(index);
        }
        if self.used == 0 {
            self.most = 0;
        }
    }

    /// Frees the buffers allocated between two marks, without scratch, which other programs may share. Tensors and
    /// programs made between them must not be used again.
    pub fn release_between(&mut self, marks: Range<usize>) {
        for index in marks.filter(|index| self.scratch.iter().all(|t| t.buffer != *index)).collect::<Vec<_>>() {
            self.free_buffer(index);
        }
    }

    fn free_buffer(&mut self, index: usize) {
        let bytes = match &mut self.engine {
            Engine::Cpu(host) => host.free(index),
            Engine::Gpu(gpu) => gpu.free(index),
        };
        self.used = self.used.saturating_sub(bytes);
    }

    /// A scratch buffer of at least `len` elements, existing or new. The device keeps it, so that successive programs
    /// share it.
    pub(super) fn scratch(&mut self, len: usize) -> Result<Tensor, ComputeError> {
        if let Some(found) = self.scratch.iter().find(|t| t.len() >= len) {
            return Ok(found.clone());
        }
        let made = self.alloc("scratch", &[len], DType::F32)?;
        self.scratch.push(made.clone());
        Ok(made)
    }

    /// Frees the buffer of a tensor. Views of it must not be used again.
    pub fn free(&mut self, tensor: &Tensor) {
        self.free_buffer(tensor.buffer);
    }

    /// Writes elements at the tensor's start, before the next replay.
    pub fn write<T: Element>(&mut self, tensor: &Tensor, data: &[T]) -> Result<(), ComputeError> {
        expect_type::<T>("write", tensor)?;
        if data.len() > tensor.len() {
            let what = format!("{} holds {} elements, {} were given", tensor.name, tensor.len(), data.len());
            return Err(ComputeError::Shape { op: "write", what });
        }
        let bytes = bytemuck::cast_slice(data);
        match &mut self.engine {
            Engine::Cpu(host) => host.write(tensor, bytes),
            Engine::Gpu(gpu) => gpu.write(tensor, bytes)?,
        }
        Ok(())
    }

    /// Reads a tensor back and waits for it.
    pub fn read<T: Element>(&mut self, tensor: &Tensor) -> Result<Vec<T>, ComputeError> {
        expect_type::<T>("read", tensor)?;
        match &mut self.engine {
            Engine::Cpu(host) => Ok(bytemuck::pod_collect_to_vec(host.bytes(tensor))),
            Engine::Gpu(gpu) => {
                let mut out = vec![T::zeroed(); tensor.len()];
                gpu.read(tensor, bytemuck::cast_slice_mut(&mut out))?;
                Ok(out)
            }
        }
    }

    /// Reads a tensor of floats, f16 widened.
    pub fn read_floats(&mut self, tensor: &Tensor) -> Result<Vec<f32>, ComputeError> {
        match tensor.dtype {
            DType::F16 => Ok(self.read::<f16>(tensor)?.into_iter().map(f16::to_f32).collect()),
            DType::F32 | DType::U32 => self.read(tensor),
        }
    }

    /// Requests a tensor as it is after the replays so far, without waiting.
    pub fn request(&mut self, tensor: &Tensor) -> Result<Ticket, ComputeError> {
        match &mut self.engine {
            Engine::Cpu(host) => Ok(Ticket { id: 0, ready: Some(host.bytes(tensor).to_vec()), tensor: tensor.clone() }),
            Engine::Gpu(_) if tensor.is_empty() => {
                Ok(Ticket { id: 0, ready: Some(Vec::new()), tensor: tensor.clone() })
            }
            Engine::Gpu(gpu) => Ok(Ticket { id: gpu.request(tensor)?, ready: None, tensor: tensor.clone() }),
        }
    }

    /// [`Device::replay`] and [`Device::request`] in one submit.
    pub fn replay_and_request(&mut self, programs: &[&Program], tensor: &Tensor) -> Result<Ticket, ComputeError> {
        if let Engine::Gpu(gpu) = &mut self.engine {
            if let Some(id) = gpu.submit(&compiled(programs), Some(tensor).filter(|t| !t.is_empty()))? {
                return Ok(Ticket { id, ready: None, tensor: tensor.clone() });
            }
        } else {
            self.replay(programs)?;
        }
        self.request(tensor)
    }

    /// The values of a ticket if they have arrived; with `wait`, blocks until they have. A ticket is answered once.
    pub fn collect<T: Element>(&mut self, ticket: &mut Ticket, wait: bool) -> Result<Option<Vec<T>>, ComputeError> {
        expect_type::<T>("collect", &ticket.tensor)?;
        if let Some(ready) = ticket.ready.take() {
            return Ok(Some(bytemuck::pod_collect_to_vec(&ready)));
        }
        match &mut self.engine {
            Engine::Cpu(_) => Ok(None),
            Engine::Gpu(gpu) => {
                let words = gpu.collect(ticket.id, wait)?;
                Ok(words.map(|words| bytemuck::pod_collect_to_vec(ticket.tensor.within_words(&words))))
            }
        }
    }

    /// Makes pipelines and bind groups for a list of calls, once.
    pub(super) fn compile(&mut self, calls: Vec<Call>) -> Result<Program, ComputeError> {
        let gpu = match &mut self.engine {
            Engine::Cpu(_) => None,
            Engine::Gpu(gpu) => Some(gpu.compile(&calls)?),
        };
        Ok(Program { calls, gpu })
    }

    /// Runs programs in order: one submit on a GPU.
    pub fn replay(&mut self, programs: &[&Program]) -> Result<(), ComputeError> {
        match &mut self.engine {
            Engine::Cpu(host) => {
                for program in programs {
                    host.run(&program.calls)?;
                }
                Ok(())
            }
            Engine::Gpu(gpu) => gpu.submit(&compiled(programs), None).map(|_| ()),
        }
    }

    /// Runs programs once and measures each kernel: by timestamp queries on a GPU (an empty list if it has none), by
    /// the clock on the CPU engine.
    pub fn profile(&mut self, programs: &[&Program]) -> Result<Vec<KernelTime>, ComputeError> {
        let mut times = Vec::new();
        match &mut self.engine {
            Engine::Gpu(gpu) => {
                for (name, work, ms) in gpu.profile(&compiled(programs))? {
                    KernelTime::add(&mut times, name, work, ms);
                }
                times.sort_by(|a, b| b.ms.total_cmp(&a.ms));
            }
            Engine::Cpu(host) => {
                for call in programs.iter().flat_map(|p| &p.calls) {
                    let start = Instant::now();
                    host.run(std::slice::from_ref(call))?;
                    KernelTime::add(&mut times, call.kernel.name, work(call), start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        Ok(times)
    }

    /// Waits until everything submitted is done.
    pub fn wait(&mut self) -> Result<(), ComputeError> {
        match &mut self.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(gpu) => gpu.wait(),
        }
    }
}

/// The programs as compiled by the GPU engine.
fn compiled<'a>(programs: &[&'a Program]) -> Vec<&'a Compiled> {
    programs.iter().filter_map(|p| p.gpu.as_ref()).collect()
}

/// Rejects a tensor with another element type than `T`.
fn expect_type<T: Element>(op: &'static str, tensor: &Tensor) -> Result<(), ComputeError> {
    if tensor.dtype == T::DTYPE {
        return Ok(());
    }
    let what = format!("{} holds {}, not {}", tensor.name, tensor.dtype.name(), T::DTYPE.name());
    Err(ComputeError::Shape { op, what })
}
