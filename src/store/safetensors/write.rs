//! Writing safetensors files: the same tensors give the same bytes.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use super::{MAX_RANK, MAX_TENSORS, TensorData};
use crate::store::{
    error::{At, StoreError},
    fs::Fs,
    hashed::write_file,
    names::{EXPORT, Scratch, sweep_exports},
};

/// A borrowed tensor, written without a copy.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    /// Its Hugging Face name.
    pub name: &'a str,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// Its elements in row order.
    pub data: &'a [f32],
}

impl<'a> From<&'a TensorData> for TensorRef<'a> {
    fn from(tensor: &'a TensorData) -> Self {
        Self { name: &tensor.name, shape: &tensor.shape, data: &tensor.data }
    }
}

/// Length and hash of a written file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file's length.
    pub bytes: u64,
    /// blake3 of the file, in hexadecimal.
    pub blake3: String,
}

/// The header, and the tensors in file order.
struct Layout<'a, 'b> {
    header: Vec<u8>,
    order: Vec<&'b TensorRef<'a>>,
    data_bytes: u64,
}

/// Counters come first, since their elements are wider and so all offsets stay aligned; each group is sorted by name.
fn layout<'a, 'b>(
    tensors: &'b [TensorRef<'a>],
    counters: &BTreeMap<String, Vec<i64>>,
) -> Result<Layout<'a, 'b>, StoreError> {
    let wrong = |name: &str, what: &str| Err(StoreError::input(name, format!("cannot be written as a tensor: {what}")));
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|t| t.name);
    if order.len() + counters.len() > MAX_TENSORS {
        return wrong("", &format!("there are more than {MAX_TENSORS}"));
    }
    let mut entries = vec![r#""__metadata__":{"format":"pt"}"#.to_owned()];
    let mut at = 0u64;
    let mut entry = |name: &str, dtype: &str, shape: &[usize], bytes: u64| {
        // Serialising strings and lists of numbers cannot fail.
        let name = serde_json::to_string(name).unwrap_or_default();
        let shape = serde_json::to_string(shape).unwrap_or_default();
        let end = at + bytes;
        entries.push(format!(r#"{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{at},{end}]}}"#));
        at = end;
    };
    for (name, values) in counters {
        if values.is_empty() || name == "__metadata__" {
            return wrong(name, "a counter needs an element and a name that is not taken");
        }
        entry(name, "I64", &[values.len()], values.len() as u64 * 8);
    }
    for (i, tensor) in order.iter().enumerate() {
        let elements = tensor.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        if tensor.shape.len() > MAX_RANK || elements != Some(tensor.data.len()) || tensor.data.is_empty() {
            let what = format!("its shape {:?} and its {} elements do not agree", tensor.shape, tensor.data.len());
            return wrong(tensor.name, &what);
        }
        let twice = i > 0 && order[i - 1].name == tensor.name;
        if twice || counters.contains_key(tensor.name) || tensor.name == "__metadata__" {
            return wrong(tensor.name, "its name is taken");
        }
        entry(tensor.name, "F32", tensor.shape, tensor.data.len() as u64 * 4);
    }
    let mut header = format!("{{{}}}", entries.join(","));
    // Pad with spaces so that the data begins at a multiple of eight, as the format requires.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    Ok(Layout { header: header.into_bytes(), order, data_bytes: at })
}

/// The exact length that [`write_tensors`] writes.
pub fn tensors_len(tensors: &[TensorRef<'_>], counters: &BTreeMap<String, Vec<i64>>) -> Result<u64, StoreError> {
    let layout = layout(tensors, counters)?;
    Ok(8 + layout.header.len() as u64 + layout.data_bytes)
}

/// Writes a safetensors file: f32 tensors and I64 counters, names sorted, `{"format": "pt"}`.
pub fn write_tensors(
    to: &mut dyn Write,
    tensors: &[TensorRef<'_>],
    counters: &BTreeMap<String, Vec<i64>>,
) -> io::Result<()> {
    let layout = layout(tensors, counters).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    to.write_all(&(layout.header.len() as u64).to_le_bytes())?;
    to.write_all(&layout.header)?;
    for values in counters.values() {
        for value in values {
            to.write_all(&value.to_le_bytes())?;
        }
    }
    for tensor in layout.order {
        if cfg!(target_endian = "little") {
            to.write_all(bytemuck::cast_slice(tensor.data))?;
        } else {
            for x in tensor.data {
                to.write_all(&x.to_le_bytes())?;
            }
        }
    }
    Ok(())
}

/// Writes a new file outside a checkpoint; durable on return. An existing file is never replaced.
pub fn export_tensors(
    disk: &dyn Fs,
    path: &Path,
    tensors: &[TensorRef<'_>],
    counters: &BTreeMap<String, Vec<i64>>,
) -> Result<Written, StoreError> {
    let bytes = tensors_len(tensors, counters)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sweep_exports(disk, dir)?;
    let hidden = dir.join(Scratch::Making.name(EXPORT));
    let fill = Box::new(|to: &mut dyn Write| write_tensors(to, tensors, counters));
    let written = write_file(disk, &hidden, bytes, fill).and_then(|(info, _)| {
        disk.rename(&hidden, path).at("name", path)?;
        Ok(info)
    });
    match written {
        Ok(info) => {
            disk.sync_dir(dir).at("sync the folder", dir)?;
            Ok(Written { bytes: info.bytes, blake3: info.blake3 })
        }
        Err(error) => {
            // Report the first error.
            let _left = disk.remove(&hidden);
            Err(error)
        }
    }
}
