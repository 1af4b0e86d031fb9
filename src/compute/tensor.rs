//! Tensors: names and shapes over device buffers.
//!
//! A [`Tensor`] is a view; the [`super::Device`] owns the bytes. Cloning a tensor copies the view.

use std::sync::Arc;

/// Alignment of the start of every bound view, in elements: 256 bytes of f32, the offset alignment of WebGPU's default
/// limits, and 128 bytes of f16. A device with a larger limit has no f16, so that slabs of both types share one layout.
pub const ALIGNMENT: usize = 64;

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 32-bit unsigned integer (also signed ones, by their bits).
    U32,
    /// 16-bit float. Only on devices opened for it; never on the CPU engine.
    F16,
}

impl DType {
    /// `f32`, `u32` or `f16`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::U32 => "u32",
            DType::F16 => "f16",
        }
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
        }
    }
}

/// A host type for writing and reading elements of a tensor.
pub trait Element: bytemuck::Pod {
    /// The element type of the tensor.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

impl Element for i32 {
    const DTYPE: DType = DType::U32;
}

impl Element for half::f16 {
    const DTYPE: DType = DType::F16;
}

/// A shaped view of part of a device buffer.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name in errors and memory plans.
    pub name: Arc<str>,
    /// Its buffer.
    pub(super) buffer: usize,
    /// First element within the buffer.
    pub(super) offset: usize,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        (self.len() * self.dtype.bytes()) as u64
    }

    /// Offset of its first byte in the buffer.
    pub(super) fn start(&self) -> u64 {
        (self.offset * self.dtype.bytes()) as u64
    }

    /// Its bytes within the whole words that contain it.
    pub(super) fn within_words<'a>(&self, words: &'a [u8]) -> &'a [u8] {
        let skip = (self.start() % DType::U32.bytes() as u64) as usize;
        words.get(skip..skip + self.bytes() as usize).unwrap_or_default()
    }

    /// Rows of the two-dimensional reading: the product of all but the last size.
    pub fn rows(&self) -> usize {
        let n = self.shape.len().saturating_sub(1);
        self.shape.iter().take(n).product()
    }

    /// The last size.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The rows `start .. start + count` of the two-dimensional reading. The caller keeps `start · cols` a multiple of
    /// [`ALIGNMENT`]; otherwise a kernel call rejects it.
    #[must_use]
    pub fn slice_rows(&self, start: usize, count: usize) -> Tensor {
        let mut view = self.clone();
        view.offset += start * self.cols();
        view.shape = vec![count, self.cols()];
        view
    }

    /// The same elements with another shape of equal length.
    #[must_use]
    pub fn view(&self, shape: &[usize]) -> Tensor {
        debug_assert_eq!(shape.iter().product::<usize>(), self.len(), "a view keeps the element count");
        let mut view = self.clone();
        view.shape = shape.to_vec();
        view
    }

    /// A named part: `len` elements from element `start`, with a shape of that length.
    #[must_use]
    pub fn part(&self, name: &str, start: usize, shape: &[usize]) -> Tensor {
        Tensor {
            name: name.into(),
            buffer: self.buffer,
            offset: self.offset + start,
            shape: shape.to_vec(),
            dtype: self.dtype,
        }
    }
}
