//! Buffers, and a ring of staging buffers for read-backs.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use super::context::Context;
use crate::compute::{error::ComputeError, tensor::Tensor};

/// Maximum number of pending read-backs; beyond it the oldest is dropped.
const RING: usize = 64;
/// Bytes transferred at once: larger transfers are split, which limits staging memory.
pub(super) const PIECE: usize = 64 << 20;
/// The unit of copies in bytes.
const WORD: u64 = 4;

const PENDING: u8 = 0;
const MAPPED: u8 = 1;
const FAILED: u8 = 2;

/// A staging buffer; free if it has no ticket.
struct Slot {
    buffer: wgpu::Buffer,
    ticket: Option<u64>,
    bytes: u64,
    state: Arc<AtomicU8>,
    /// The submission that fills it.
    submission: Option<wgpu::SubmissionIndex>,
}

/// An encoded copy into a staging buffer.
pub(super) struct Copy {
    slot: usize,
    bytes: u64,
}

pub(super) struct Buffers {
    context: Context,
    all: Vec<Option<wgpu::Buffer>>,
    slots: Vec<Slot>,
    next_ticket: u64,
}

fn memory(what: &str, need: u64, there: u64) -> ComputeError {
    ComputeError::Memory {
        what: what.to_owned(),
        need,
        there,
        advice: "choose a smaller --size, batch or context".into(),
    }
}

impl Buffers {
    pub(super) fn new(context: &Context) -> Buffers {
        Buffers { context: context.clone(), all: Vec::new(), slots: Vec::new(), next_ticket: 1 }
    }

    /// Creates a buffer inside error scopes: an allocation failure is an error instead of a lost device.
    pub(super) fn create(
        &self,
        what: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, ComputeError> {
        let limit = self.context.device.limits().max_buffer_size;
        if bytes > limit {
            return Err(memory(&format!("{what} in one buffer"), bytes, limit));
        }
        let full = self.context.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let wrong = self.context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffer = self.context.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage,
            mapped_at_creation: false,
        });
        let wrong = pollster::block_on(wrong.pop());
        let full = pollster::block_on(full.pop());
        self.context.faults.check()?;
        match (full, wrong) {
            (None, None) => Ok(buffer),
            (Some(_), _) => Err(memory(what, bytes, 0)),
            (None, Some(error)) => Err(ComputeError::Lost { reason: error.to_string() }),
        }
    }

    pub(super) fn alloc(&mut self, index: usize, what: &str, bytes: u64) -> Result<(), ComputeError> {
        use wgpu::BufferUsages as U;
        let buffer = self.create(what, bytes, U::STORAGE | U::COPY_SRC | U::COPY_DST)?;
        if self.all.len() <= index {
            self.all.resize_with(index + 1, || None);
        }
        self.all[index] = Some(buffer);
        Ok(())
    }

    /// Releases a buffer; returns its bytes. Programs that bind it keep it alive.
    pub(super) fn free(&mut self, index: usize) -> u64 {
        self.all.get_mut(index).and_then(Option::take).map_or(0, |b| b.size())
    }

    /// The whole buffer of a view.
    pub(super) fn get(&self, tensor: &Tensor) -> Result<&wgpu::Buffer, ComputeError> {
        let buffer = self.all.get(tensor.buffer).and_then(Option::as_ref);
        let wrong = |what: String| ComputeError::Shape { op: "buffer", what };
        let buffer = buffer.ok_or_else(|| wrong(format!("buffer {} was freed", tensor.buffer)))?;
        let each = tensor.dtype.bytes();
        let there = buffer.size() / each as u64;
        if (tensor.offset as u64).checked_add(tensor.len() as u64).is_none_or(|end| end > there) {
            return Err(wrong(format!(
                "a view reaches past its buffer: {} elements from {}, {there} available",
                tensor.len(),
                tensor.offset
            )));
        }
        Ok(buffer)
    }

    /// Writes whole elements at the start of a view.
    pub(super) fn write(&mut self, tensor: &Tensor, bytes: &[u8]) -> Result<(), ComputeError> {
        let start = tensor.start();
        self.get(tensor)?;
        if !start.is_multiple_of(WORD) || !(bytes.len() as u64).is_multiple_of(WORD) {
            return self.write_halves(tensor, bytes);
        }
        let buffer = self.get(tensor)?;
        for (i, piece) in bytes.chunks(PIECE).enumerate() {
            self.context.queue.write_buffer(buffer, start + (i * PIECE) as u64, piece);
            if bytes.len() > PIECE {
                self.context.queue.submit([]);
                self.context.poll(true)?;
            }
        }
        self.context.faults.check()
    }

    /// The same if the first or last half of a word belongs to a neighbour, since copies are in words.
    fn write_halves(&mut self, tensor: &Tensor, bytes: &[u8]) -> Result<(), ComputeError> {
        let (start, words) = words(tensor, bytes.len() as u64);
        let id = self.request(tensor, bytes.len() as u64)?;
        let mut all = self.collect(id, true)?.unwrap_or_default();
        let at = (tensor.start() - start) as usize;
        all[at..at + bytes.len()].copy_from_slice(bytes);
        self.context.queue.write_buffer(self.get(tensor)?, start, &all[..words as usize]);
        self.context.faults.check()
    }

    /// Requests the whole words that contain the first `bytes` bytes of a view; returns an id for [`Buffers::collect`].
    pub(super) fn request(&mut self, tensor: &Tensor, bytes: u64) -> Result<u64, ComputeError> {
        let mut encoder = self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let copy = self.copy(&mut encoder, tensor, bytes)?;
        let submission = self.context.queue.submit([encoder.finish()]);
        self.arrange(copy, submission)
    }

    /// Encodes the copy of [`Buffers::request`].
    pub(super) fn copy(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        tensor: &Tensor,
        bytes: u64,
    ) -> Result<Copy, ComputeError> {
        let (start, bytes) = words(tensor, bytes);
        let slot = self.slot(bytes)?;
        let source = self.get(tensor)?;
        encoder.copy_buffer_to_buffer(source, start, &self.slots[slot].buffer, 0, bytes);
        Ok(Copy { slot, bytes })
    }

    /// Maps an encoded copy once its submission is done.
    pub(super) fn arrange(&mut self, copy: Copy, submission: wgpu::SubmissionIndex) -> Result<u64, ComputeError> {
        self.context.faults.check()?;
        let id = self.next_ticket;
        self.next_ticket += 1;
        let state = Arc::new(AtomicU8::new(PENDING));
        let done = state.clone();
        let slot = &mut self.slots[copy.slot];
        slot.buffer.slice(..copy.bytes).map_async(wgpu::MapMode::Read, move |result| {
            done.store(if result.is_ok() { MAPPED } else { FAILED }, Ordering::Release);
        });
        (slot.ticket, slot.bytes, slot.state, slot.submission) = (Some(id), copy.bytes, state, Some(submission));
        Ok(id)
    }

    /// A free staging buffer of at least `bytes`: an existing one, a new one, or the oldest reclaimed.
    fn slot(&mut self, bytes: u64) -> Result<usize, ComputeError> {
        let fits = |s: &Slot| s.ticket.is_none() && s.buffer.size() >= bytes && s.buffer.size() / 16 <= bytes.max(4096);
        if let Some(i) = self.slots.iter().position(fits) {
            return Ok(i);
        }
        let size = bytes.next_power_of_two().max(256).min(self.context.device.limits().max_buffer_size);
        let buffer = self.create("a read-back", size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        let slot = Slot { buffer, ticket: None, bytes: 0, state: Arc::default(), submission: None };
        if self.slots.len() < RING {
            self.slots.push(slot);
            return Ok(self.slots.len() - 1);
        }
        let oldest = (0..self.slots.len()).min_by_key(|i| self.slots[*i].ticket).unwrap_or(0);
        self.slots[oldest] = slot;
        Ok(oldest)
    }

    /// The requested words, if they have arrived.
    pub(super) fn collect(&mut self, id: u64, wait: bool) -> Result<Option<Vec<u8>>, ComputeError> {
        let Some(i) = self.slots.iter().position(|s| s.ticket == Some(id)) else {
            let what = "this ticket was already collected, or dropped for newer ones".to_owned();
            return Err(ComputeError::Shape { op: "collect", what });
        };
        let state = self.slots[i].state.clone();
        if state.load(Ordering::Acquire) == PENDING {
            // Wait only for the submission that fills this one: later steps stay in flight.
            let submission_index = self.slots[i].submission.clone();
            let kind =
                if wait { wgpu::PollType::Wait { submission_index, timeout: None } } else { wgpu::PollType::Poll };
            self.context.polled(kind)?;
        }
        match state.load(Ordering::Acquire) {
            PENDING if wait => Err(ComputeError::Lost { reason: "a read-back did not arrive".into() }),
            PENDING => Ok(None),
            FAILED => {
                self.context.faults.check()?;
                Err(ComputeError::Lost { reason: "a read-back could not be mapped".into() })
            }
            _ => {
                let slot = &mut self.slots[i];
                let view = slot.buffer.slice(..slot.bytes).get_mapped_range();
                let values = view.map_err(|e| ComputeError::Lost { reason: e.to_string() })?.to_vec();
                slot.buffer.unmap();
                slot.ticket = None;
                // Large staging buffers are for checkpoints and are not kept.
                if slot.buffer.size() > 4 << 20 {
                    self.slots.swap_remove(i);
                }
                Ok(Some(values))
            }
        }
    }
}

/// Start and length in bytes of the whole words that contain the first `bytes` bytes of a view. Buffers are whole
/// words.
fn words(tensor: &Tensor, bytes: u64) -> (u64, u64) {
    let first = tensor.start() / WORD * WORD;
    (first, (tensor.start() + bytes).next_multiple_of(WORD) - first)
}
