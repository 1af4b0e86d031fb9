//! The header of a safetensors file, checked before it is used.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use ::safetensors::{
    Dtype, SafeTensorError,
    tensor::{Metadata, TensorInfo},
};
use serde::{
    Deserialize,
    de::{Deserializer, Error, MapAccess, SeqAccess, Visitor},
};

use super::{MAX_HEADER, MAX_RANK, MAX_TENSORS, strings::ShortStrings};
use crate::base::io::ReadSeek;
use crate::store::{
    error::{At, StoreError},
    fs::{Fs, Links, open_input},
    models::foreign::no_safetensors,
};

/// Longest tensor name.
const MAX_NAME: usize = 512;
/// Bytes of `__metadata__` that are kept; it is only displayed.
const MAX_METADATA: usize = 64 << 10;

/// The header's entry of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its element type in the file.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// The product of the dimensions.
    pub elements: usize,
    /// Its bytes in the file.
    pub bytes: usize,
}

/// A header that is consistent in itself and with the length of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensors in the order of their bytes.
    pub tensors: Vec<TensorEntry>,
    /// `__metadata__`, its first 64 KiB.
    pub metadata: BTreeMap<String, String>,
    /// The file's length.
    pub file_bytes: u64,
}

/// Reads and checks the header only.
pub fn read_header(disk: &dyn Fs, path: &Path, links: Links) -> Result<Header, StoreError> {
    Ok(open(disk, path, links)?.0)
}

/// Opens a file, checks its header and leaves the reader at the first byte of data.
pub(super) fn open(disk: &dyn Fs, path: &Path, links: Links) -> Result<(Header, Box<dyn ReadSeek>), StoreError> {
    let wrong = |what: String| StoreError::input(path, what);
    let (mut reader, file_bytes) = open_input(disk, path, links)?;
    if file_bytes < 8 {
        return Err(wrong(format!(
            "the file has {file_bytes} bytes, and a safetensors file begins with an 8-byte length; it is cut short or another kind of file"
        )));
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length).at("read", path)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        let mut start = length.to_le_bytes().to_vec();
        reader.take(64).read_to_end(&mut start).at("read", path)?;
        if let Some(what) = no_safetensors(&start) {
            return Err(wrong(what.to_owned()));
        }
        return Err(wrong(format!(
            "the header would have {length} bytes, more than the allowed {MAX_HEADER}; this is not a safetensors file, or it is damaged"
        )));
    }
    if length > file_bytes - 8 {
        return Err(wrong(format!(
            "the header should have {length} bytes, but only {} follow; the file is cut short, download it again",
            file_bytes - 8
        )));
    }
    let text = BufReader::with_capacity(1 << 16, ShortStrings::new(reader.by_ref().take(length), MAX_METADATA));
    let RawHeader { tensors, metadata } = serde_json::from_reader(text).map_err(|e| {
        if e.is_io() {
            StoreError::Io { doing: "read", path: path.to_owned(), source: e.into() }
        } else {
            wrong(format!("the safetensors header is invalid: {e}"))
        }
    })?;
    reader.seek(SeekFrom::Start(8 + length)).at("read", path)?;

    let mut raw: Vec<_> = tensors.into_iter().map(|(name, raw)| (name, TensorInfo::from(raw))).collect();
    raw.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
    // The crate checks, with overflow-checked products, that the tensors are contiguous.
    let checked = Metadata::new(None, raw.clone()).map_err(|e| wrong(in_words(&e)))?;
    let data_bytes = checked.data_len() as u64;
    let promised = (length + 8).checked_add(data_bytes);
    if promised != Some(file_bytes) {
        return Err(wrong(format!(
            "the header describes {data_bytes} bytes of tensors, but {} follow; the file is cut short or has more after its end, download it again",
            file_bytes - 8 - length
        )));
    }
    let tensors = raw.into_iter().map(|(name, info)| TensorEntry {
        name,
        dtype: info.dtype,
        // The crate has checked this product.
        elements: info.shape.iter().product(),
        bytes: info.data_offsets.1 - info.data_offsets.0,
        shape: info.shape,
    });
    Ok((Header { tensors: tensors.collect(), metadata, file_bytes }, reader))
}

fn in_words(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::InvalidOffset(name) => {
            format!("the tensor {name:?} overlaps another or leaves a hole; the file is damaged or malicious")
        }
        SafeTensorError::TensorInvalidInfo => {
            "a tensor's bytes do not fit its shape and type; the file is damaged or malicious".to_owned()
        }
        SafeTensorError::ValidationOverflow => {
            "a tensor's dimensions multiply to more than any memory; the file is damaged or malicious".to_owned()
        }
        other => format!("the safetensors header is invalid: {other}"),
    }
}

/// The header as it is in the file. Limits apply during parsing, so that a small file cannot make a large structure.
struct RawHeader {
    tensors: BTreeMap<String, RawTensor>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (usize, usize),
}

impl From<RawTensor> for TensorInfo {
    fn from(raw: RawTensor) -> Self {
        Self { dtype: raw.dtype, shape: raw.shape.0, data_offsets: raw.data_offsets }
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
                let mut described = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        if std::mem::replace(&mut described, true) {
                            return Err(A::Error::custom("__metadata__ appears twice"));
                        }
                        header.metadata = map.next_value::<Described>()?.0;
                        continue;
                    }
                    if name.len() > MAX_NAME {
                        return Err(A::Error::custom(format!("a tensor's name has more than {MAX_NAME} bytes")));
                    }
                    if header.tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("there are more than {MAX_TENSORS} tensors")));
                    }
                    let tensor = map.next_value().map_err(|e| A::Error::custom(format!("the tensor {name:?}: {e}")))?;
                    if header.tensors.contains_key(&name) {
                        return Err(A::Error::custom(format!("the tensor {name:?} appears twice")));
                    }
                    header.tensors.insert(name, tensor);
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(V)
    }
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a shape of at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(size) = seq.next_element::<usize>()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("the shape has more than {MAX_RANK} dimensions")));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(V)
    }
}

struct Described(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Described {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Described;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Described, A::Error> {
                let (mut kept, mut bytes) = (BTreeMap::new(), 0);
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    // An entry costs more memory than its characters.
                    bytes += key.len() + value.len() + 16;
                    if bytes <= MAX_METADATA {
                        kept.insert(key, value);
                    }
                }
                Ok(Described(kept))
            }
        }
        deserializer.deserialize_map(V)
    }
}

/// An object of strings with at most [`MAX_TENSORS`] entries and unique keys: the index of a sharded model.
pub(super) struct Names(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of file names by tensor name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = BTreeMap::new();
                while let Some((name, file)) = map.next_entry::<String, String>()? {
                    if names.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("there are more than {MAX_TENSORS} tensors")));
                    }
                    if names.contains_key(&name) {
                        return Err(A::Error::custom(format!("the tensor {name:?} appears twice")));
                    }
                    names.insert(name, file);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(V)
    }
}
