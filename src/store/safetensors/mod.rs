//! Tensors in files: the safetensors format, read with limits and written reproducibly.
//!
//! The header is checked before any data is read or buffer allocated: its length against the file's, every product for
//! overflow, every tensor's offsets against its neighbours' (the `safetensors` crate does the latter). Half-precision
//! tensors are converted to f32; integers are counters, read as i64.

mod header;
mod model;
mod strings;
mod write;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use ::safetensors::Dtype;
use half::{bf16, f16, slice::HalfFloatSliceExt};

pub(super) use self::model::{read_headers, read_indexed};
pub use self::{
    header::{Header, TensorEntry, read_header},
    model::{Shapes, read_model, read_shapes},
    write::{TensorRef, Written, export_tensors, tensors_len, write_tensors},
};
use super::{
    error::{At, StoreError},
    fs::{Fs, Links},
};

/// Longest header, as the format has it. It is read in one pass, and long texts in it are kept in part.
pub const MAX_HEADER: u64 = 100_000_000;
/// Longest index of a sharded model: a hundred thousand tensors fit in.
const MAX_INDEX: u64 = 16 << 20;
/// Most tensors in a file or a model.
pub const MAX_TENSORS: usize = 100_000;
/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Elements converted to f32 at a time.
const CHUNK: usize = 1 << 18;

/// A tensor in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorData {
    /// Its Hugging Face name.
    pub name: String,
    /// Its dimensions, slowest first; none for a scalar.
    pub shape: Vec<usize>,
    /// Its elements in row order.
    pub data: Vec<f32>,
}

/// A tensor with infinite or NaN elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// The tensor.
    pub name: String,
    /// Number of such elements.
    pub count: usize,
    /// Index of the first one.
    pub first: usize,
}

/// The contents of a file (or of a sharded model).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// The file or folder, for error messages.
    pub path: PathBuf,
    /// Floating-point tensors by name.
    pub tensors: BTreeMap<String, TensorData>,
    /// Integer tensors (U32, I64) by name.
    pub counters: BTreeMap<String, Vec<i64>>,
    /// Tensors with an infinity or a NaN.
    pub non_finite: Vec<NonFinite>,
}

impl TensorFile {
    /// Fails unless there is a tensor with this name and shape.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<(), StoreError> {
        let Some(tensor) = self.tensors.get(name) else {
            let what = format!("the tensor {name:?} is missing; is this the weights file of this model?");
            return Err(StoreError::input(&self.path, what));
        };
        if tensor.shape != shape {
            let what = format!(
                "the tensor {name:?} has shape {:?}, expected {shape:?}; does config.json belong to these weights?",
                tensor.shape
            );
            return Err(StoreError::input(&self.path, what));
        }
        Ok(())
    }

    /// Removes and returns the tensor with this name and shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, StoreError> {
        self.require(name, shape)?;
        Ok(self.tensors.remove(name).map(|tensor| tensor.data).unwrap_or_default())
    }

    /// A counter of one element.
    pub fn counter(&self, name: &str) -> Result<i64, StoreError> {
        match self.counters.get(name).map(Vec::as_slice) {
            Some([value]) => Ok(*value),
            Some(values) => {
                let what = format!("the counter {name:?} has {} elements, and 1 is expected", values.len());
                Err(StoreError::input(&self.path, what))
            }
            None => Err(StoreError::input(&self.path, format!("the counter {name:?} is missing"))),
        }
    }

    /// Fails if a tensor contains an infinity or a NaN.
    pub fn require_finite(&self) -> Result<(), StoreError> {
        let Some(worst) = self.non_finite.first() else { return Ok(()) };
        let more = match self.non_finite.len() {
            1 => String::new(),
            n => format!(", and {} more tensors", n - 1),
        };
        let what = format!(
            "{} elements of the tensor {:?} are not finite (the first at {}){more}; these weights cannot be used",
            worst.count, worst.name, worst.first
        );
        Err(StoreError::input(&self.path, what))
    }

    /// Fails if some tensors were not taken.
    pub fn require_empty(&self) -> Result<(), StoreError> {
        let Some(name) = self.tensors.keys().next() else { return Ok(()) };
        let what = format!(
            "{} tensors do not belong to the model, {name:?} among them; does config.json belong to these weights?",
            self.tensors.len()
        );
        Err(StoreError::input(&self.path, what))
    }

    fn add(&mut self, name: &str, shape: &[usize], values: Values) {
        match values {
            Values::Whole(values) => {
                self.counters.insert(name.to_owned(), values);
            }
            Values::Float(data) => {
                // By bits: an exponent of all ones is an infinity or a NaN.
                let bad = |x: &f32| x.to_bits() & 0x7f80_0000 == 0x7f80_0000;
                if let Some(first) = data.iter().position(bad) {
                    let count = data[first..].iter().filter(|x| bad(x)).count();
                    self.non_finite.push(NonFinite { name: name.to_owned(), count, first });
                }
                let tensor = TensorData { name: name.to_owned(), shape: shape.to_vec(), data };
                self.tensors.insert(name.to_owned(), tensor);
            }
        }
    }
}

enum Values {
    Float(Vec<f32>),
    Whole(Vec<i64>),
}

/// Reads all tensors of a file.
pub fn read_tensors(disk: &dyn Fs, path: &Path, links: Links) -> Result<TensorFile, StoreError> {
    let mut file = TensorFile { path: path.to_owned(), ..TensorFile::default() };
    read_into(disk, path, links, &mut file, &|_| true)?;
    Ok(file)
}

/// Reads the tensors of a file into `file`; a name that `wanted` rejects is an error.
fn read_into(
    disk: &dyn Fs,
    path: &Path,
    links: Links,
    file: &mut TensorFile,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let (header, mut reader) = header::open(disk, path, links)?;
    // In file order, so that reading is sequential.
    for entry in &header.tensors {
        if entry.elements == 0 {
            let what =
                format!("the tensor {:?} has shape {:?}; every dimension must be at least 1", entry.name, entry.shape);
            return Err(StoreError::input(path, what));
        }
        if !wanted(&entry.name) {
            return Err(not_in_the_index(path, &entry.name));
        }
        let values = read_values(&mut *reader, entry.dtype, entry.elements).at("read", path)?;
        let Some(values) = values else {
            let what = format!(
                "the tensor {:?} is {}; expected F32, F16, BF16, U32 or I64: convert the model with transformers",
                entry.name, entry.dtype
            );
            return Err(StoreError::input(path, what));
        };
        file.add(&entry.name, &entry.shape, values);
    }
    Ok(())
}

fn not_in_the_index(path: &Path, tensor: &str) -> StoreError {
    let what = format!("the tensor {tensor:?} is not in the index; the files do not belong together");
    StoreError::input(path, what)
}

/// Allocates `n` zeros; running out of memory is an error instead of an abort.
pub(crate) fn zeros<T: Clone + Default>(n: usize) -> std::io::Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(n).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    all.resize(n, T::default());
    Ok(all)
}

/// Reads `n` elements; `None` for an unsupported type. The header was compared with the file's length before, so
/// buffers are at most twice the file's size.
fn read_values(reader: &mut dyn Read, dtype: Dtype, n: usize) -> std::io::Result<Option<Values>> {
    Ok(Some(match dtype {
        Dtype::F32 => {
            let mut data: Vec<f32> = zeros(n)?;
            reader.read_exact(bytemuck::cast_slice_mut(&mut data))?;
            for x in &mut data {
                *x = f32::from_bits(u32::from_le(x.to_bits()));
            }
            Values::Float(data)
        }
        Dtype::F16 | Dtype::BF16 => {
            let mut data: Vec<f32> = zeros(n)?;
            let mut bits = vec![0u16; CHUNK.min(n)];
            for part in data.chunks_mut(CHUNK) {
                let bits = &mut bits[..part.len()];
                reader.read_exact(bytemuck::cast_slice_mut(bits))?;
                for x in &mut *bits {
                    *x = u16::from_le(*x);
                }
                if dtype == Dtype::F16 {
                    bytemuck::cast_slice::<u16, f16>(bits).convert_to_f32_slice(part);
                } else {
                    bytemuck::cast_slice::<u16, bf16>(bits).convert_to_f32_slice(part);
                }
            }
            Values::Float(data)
        }
        Dtype::I64 => {
            let mut data: Vec<i64> = zeros(n)?;
            reader.read_exact(bytemuck::cast_slice_mut(&mut data))?;
            for x in &mut data {
                *x = i64::from_le(*x);
            }
            Values::Whole(data)
        }
        Dtype::U32 => {
            let mut data: Vec<u32> = zeros(n)?;
            reader.read_exact(bytemuck::cast_slice_mut(&mut data))?;
            Values::Whole(data.iter().map(|x| i64::from(u32::from_le(*x))).collect())
        }
        _ => return Ok(None),
    }))
}
