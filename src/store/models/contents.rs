//! What a file or folder of weights contains, from the headers alone.

use std::{io::Read as _, path::Path};

use serde_json::Value;

use super::{
    foreign::{is_lfs_pointer, no_model, no_safetensors},
    gguf::{
        read::read_gguf,
        value::{GgufHeader, GgufTensor},
    },
};
use crate::store::{
    error::{At, StoreError},
    fs::{Entry, Fs, Kind, Links, open_input, read_limited},
    safetensors::{Header, read_header, read_headers, read_indexed},
};

/// Most tensor files beside the weights that are listed.
const MAX_OTHERS: usize = 256;
/// Limit on the length of adapter_config.json.
const SETTINGS_LIMIT: u64 = 1 << 20;

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Its element type: `F32`, `BF16`, `Q8_0` …
    pub dtype: String,
    /// Its dimensions, slowest first.
    pub shape: Vec<u64>,
    /// The product of the dimensions.
    pub elements: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The index of its file in [`Contents::files`].
    pub file: usize,
}

/// How the weights are packed.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrapping {
    /// A safetensors file.
    Safetensors,
    /// Shards with an index of this name.
    Sharded(String),
    /// A GGUF file with its keys.
    Gguf(Box<GgufHeader>),
}

/// A file of tensors beside the weights: an optimiser's state, a value net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorFiles {
    /// Its path from the folder.
    pub name: String,
    /// Its tensors.
    pub tensors: usize,
    /// Their elements.
    pub elements: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a file or folder contains.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// How the weights are packed.
    pub wrapping: Wrapping,
    /// The files with the weights.
    pub files: Vec<String>,
    /// The tensors, in the order of the files and of the bytes in each.
    pub tensors: Vec<Item>,
    /// `__metadata__` of safetensors files; the first of each key.
    pub metadata: Vec<(String, String)>,
    /// Other files of tensors in the folder.
    pub others: Vec<TensorFiles>,
    /// adapter_config.json, when the weights are a PEFT adapter.
    pub adapter: Option<Value>,
}

/// Reads the headers of the weights at `path`: a safetensors or GGUF file, the index of a sharded model, or a folder
/// with one of them. Links are followed, since a model's folder may consist of them.
///
/// # Errors
///
/// A path that is none of them, with what it is if it is recognised (a pickle, a Git LFS pointer …), and headers that
/// contradict themselves or their file.
pub fn contents(disk: &dyn Fs, path: &Path) -> Result<Contents, StoreError> {
    let links = Links::Follow;
    match disk.list(path) {
        Ok(_) => folder(disk, path, links),
        Err(_) => file(disk, path, links),
    }
}

fn file(disk: &dyn Fs, path: &Path, links: Links) -> Result<Contents, StoreError> {
    let (reader, _) = open_input(disk, path, links)?;
    let mut start = Vec::new();
    reader.take(64).read_to_end(&mut start).at("read", path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if start.starts_with(b"GGUF") {
        return gguf(disk, path, name, links);
    }
    let is_text = start.trim_ascii_start().starts_with(b"{") || start.starts_with(b"\xef\xbb\xbf{");
    if is_text && has_ending(&name, "json") {
        if !name.ends_with(".index.json") {
            let what = "it is JSON, not weights; give the model's folder, its .safetensors or .gguf file, or the .safetensors.index.json of shards";
            return Err(StoreError::input(path, what));
        }
        let headers = read_indexed(disk, path, links)?;
        return Ok(Contents::of(headers.files, headers.index));
    }
    if has_ending(&name, "gguf") {
        let what = no_safetensors(&start).unwrap_or(
            "it does not begin with GGUF, as a .gguf file does; it is damaged or another kind of file, download it again",
        );
        return Err(StoreError::input(path, what));
    }
    // A pickle may begin like the length of a header.
    if let Some(what) = no_safetensors(&start).filter(|_| start.first_chunk().is_none_or(|first| is_no_length(*first)))
    {
        return Err(StoreError::input(path, what));
    }
    Ok(Contents::of(vec![(name, read_header(disk, path, links)?)], None))
}

/// Whether eight bytes cannot be the length of a header: 2^48 and more.
fn is_no_length(first: [u8; 8]) -> bool {
    u64::from_le_bytes(first) >> 48 != 0
}

fn gguf(disk: &dyn Fs, path: &Path, name: String, links: Links) -> Result<Contents, StoreError> {
    let mut header = read_gguf(disk, path, links)?;
    let tensors = std::mem::take(&mut header.tensors);
    let item = |tensor: GgufTensor| Item {
        name: tensor.name,
        dtype: tensor.dtype.name.to_owned(),
        shape: tensor.shape,
        elements: tensor.elements,
        bytes: tensor.bytes,
        file: 0,
    };
    Ok(Contents {
        wrapping: Wrapping::Gguf(Box::new(header)),
        files: vec![name],
        tensors: tensors.into_iter().map(item).collect(),
        metadata: Vec::new(),
        others: Vec::new(),
        adapter: None,
    })
}

fn folder(disk: &dyn Fs, dir: &Path, links: Links) -> Result<Contents, StoreError> {
    let here = tensor_files(disk, dir, "")?;
    let weights = |name: &str| name == "model.safetensors" || name == "model.safetensors.index.json";
    let adapter = here.iter().any(|name| name == "adapter_model.safetensors");
    let mut contents = if here.iter().any(|name| weights(name)) {
        let headers = read_headers(disk, dir, links)?;
        Contents::of(headers.files, headers.index)
    } else if adapter {
        let name = "adapter_model.safetensors";
        let mut contents = Contents::of(vec![(name.to_owned(), read_header(disk, &dir.join(name), links)?)], None);
        contents.adapter = Some(settings(disk, &dir.join("adapter_config.json"), links)?);
        contents
    } else {
        let (indexes, rest): (Vec<&String>, Vec<&String>) = here.iter().partition(|name| has_ending(name, "json"));
        match (indexes.as_slice(), rest.as_slice()) {
            ([only], _) => {
                let headers = read_indexed(disk, &dir.join(only), links)?;
                Contents::of(headers.files, headers.index)
            }
            // A shard without its index is an error that no_model explains.
            ([], [only]) if !only.starts_with("model-") => file(disk, &dir.join(only), links)?,
            _ => return Err(StoreError::input(dir, nothing_here(disk, dir, &here))),
        }
    };
    let mut others: Vec<String> = here.into_iter().filter(|name| !contents.files.contains(name)).collect();
    for entry in disk.list(dir).at("list", dir)? {
        if entry.kind == Kind::Dir && !entry.text().is_empty() && !entry.text().starts_with('.') {
            others.extend(tensor_files(disk, &dir.join(entry.text()), &format!("{}/", entry.text()))?);
        }
    }
    others.retain(|name| has_ending(name, "safetensors"));
    for name in others.into_iter().take(MAX_OTHERS) {
        let header = read_header(disk, &dir.join(&name), links)?;
        contents.others.push(TensorFiles {
            name,
            tensors: header.tensors.len(),
            elements: header.tensors.iter().map(|tensor| tensor.elements as u64).sum(),
            bytes: header.tensors.iter().map(|tensor| tensor.bytes as u64).sum(),
        });
    }
    Ok(contents)
}

/// The names of the tensor files and indexes in a folder, after `prefix`.
fn tensor_files(disk: &dyn Fs, dir: &Path, prefix: &str) -> Result<Vec<String>, StoreError> {
    let entries = disk.list(dir).at("list", dir)?;
    let names = entries.iter().filter(|entry| matches!(entry.kind, Kind::File | Kind::Link)).map(Entry::text);
    let weights = |name: &str| {
        !name.starts_with('.')
            && (has_ending(name, "safetensors")
                || has_ending(name, "gguf")
                || name.ends_with(".safetensors.index.json"))
    };
    Ok(names.filter(|name| weights(name)).map(|name| format!("{prefix}{name}")).collect())
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

fn settings(disk: &dyn Fs, path: &Path, links: Links) -> Result<Value, StoreError> {
    if disk.kind(path).at("look at", path)?.is_none() {
        return Ok(Value::Null);
    }
    let bytes = read_limited(disk, path, SETTINGS_LIMIT, links)?;
    if is_lfs_pointer(&bytes) {
        return Err(StoreError::input(path, super::foreign::LFS_POINTER));
    }
    serde_json::from_slice(&bytes).map_err(|e| StoreError::input(path, format!("it is no JSON: {e}")))
}

/// The error message for a folder without weights that can be listed.
fn nothing_here(disk: &dyn Fs, dir: &Path, found: &[String]) -> String {
    match found {
        [] => no_model(disk, dir).map_or_else(
            || {
                "the folder holds no weights; expected model.safetensors, an index of shards, or a .gguf file"
                    .to_owned()
            },
            |what| format!("the folder holds no weights that can be read: {what}"),
        ),
        [first, ..] if first.starts_with("model-") => no_model(disk, dir).unwrap_or_default(),
        _ => format!("the folder holds several files of weights; give one of them: {}", found.join(", ")),
    }
}

impl Contents {
    fn of(files: Vec<(String, Header)>, index: Option<String>) -> Contents {
        let wrapping = index.map_or(Wrapping::Safetensors, Wrapping::Sharded);
        let mut contents = Contents {
            wrapping,
            files: Vec::new(),
            tensors: Vec::new(),
            metadata: Vec::new(),
            others: Vec::new(),
            adapter: None,
        };
        for (at, (name, header)) in files.into_iter().enumerate() {
            contents.files.push(name);
            for (key, value) in header.metadata {
                if contents.metadata.iter().all(|(known, _)| *known != key) {
                    contents.metadata.push((key, value));
                }
            }
            contents.tensors.extend(header.tensors.into_iter().map(|tensor| Item {
                name: tensor.name,
                dtype: tensor.dtype.to_string(),
                shape: tensor.shape.iter().map(|n| *n as u64).collect(),
                elements: tensor.elements as u64,
                bytes: tensor.bytes as u64,
                file: at,
            }));
        }
        contents
    }

    /// Elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.elements).fold(0, u64::saturating_add)
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes).fold(0, u64::saturating_add)
    }
}
