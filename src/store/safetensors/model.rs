//! The weights of a model folder: one file, or shards with an index.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    MAX_INDEX, TensorFile,
    header::{Header, Names, read_header},
    not_in_the_index, read_into, read_tensors,
};
use crate::store::{
    error::StoreError,
    fs::{Fs, Links, read_limited},
    models::foreign::{LFS_POINTER, is_lfs_pointer, no_model},
};

/// The weights in one file.
const SINGLE: &str = "model.safetensors";
/// The index of a sharded model.
const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: Names,
}

/// Where the weights of a folder are: in one file, or in shards, each with the tensors that the index assigns to it.
enum Places {
    One(PathBuf),
    Many { index: PathBuf, map: BTreeMap<String, String> },
}

impl Places {
    fn find(disk: &dyn Fs, dir: &Path, links: Links) -> Result<Places, StoreError> {
        let single = dir.join(SINGLE);
        // If both exist, use the single file, as transformers does.
        if is_there(disk, &single, links) {
            return Ok(Places::One(single));
        }
        let index = dir.join(INDEX);
        if !is_there(disk, &index, links) {
            return Err(StoreError::input(dir, nothing_here(disk, dir)));
        }
        Places::of_index(disk, index, links)
    }

    /// The shards of an index, all of which must be in its folder.
    fn of_index(disk: &dyn Fs, index: PathBuf, links: Links) -> Result<Places, StoreError> {
        let dir = index.parent().unwrap_or(Path::new("")).to_owned();
        let text = read_limited(disk, &index, MAX_INDEX, links)?;
        if is_lfs_pointer(&text) {
            return Err(StoreError::input(&index, LFS_POINTER));
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let Index { weight_map: Names(map) } = serde_json::from_slice(text)
            .map_err(|e| StoreError::input(&index, format!("the index is invalid: {e}")))?;
        let mut lower = BTreeMap::new();
        for shard in map.values().collect::<BTreeSet<_>>() {
            check_shard_name(&index, shard)?;
            if let Some(twin) = lower.insert(shard.to_ascii_lowercase(), shard) {
                let what = format!(
                    "the shards {twin:?} and {shard:?} differ only in case; some file systems cannot tell them apart"
                );
                return Err(StoreError::input(&index, what));
            }
        }
        for shard in map.values().collect::<BTreeSet<_>>() {
            if !is_there(disk, &dir.join(shard), links) {
                let (n, all) = (map.values().filter(|home| *home == shard).count(), map.len());
                let what = format!(
                    "{n} of {all} tensors are in the shard {shard:?}, which is not in the folder; download it too"
                );
                return Err(StoreError::input(&index, what));
            }
        }
        Ok(Places::Many { index, map })
    }
}

/// The shapes of a model's tensors, from the headers of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shapes {
    /// The folder, for error messages.
    pub path: PathBuf,
    /// The shapes by name.
    pub tensors: BTreeMap<String, Vec<usize>>,
    /// The names of the files, including the index.
    pub files: Vec<String>,
}

impl Shapes {
    /// Fails unless there is a tensor with this name and shape.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<(), StoreError> {
        match self.tensors.get(name) {
            Some(there) if there == shape => Ok(()),
            Some(there) => {
                let what = format!(
                    "the tensor {name:?} has shape {there:?}, expected {shape:?}; does config.json belong to these weights?"
                );
                Err(StoreError::input(&self.path, what))
            }
            None => {
                let what = format!("the tensor {name:?} is missing; is this the weights file of this model?");
                Err(StoreError::input(&self.path, what))
            }
        }
    }
}

/// Reads only the headers of a model's files.
pub fn read_shapes(disk: &dyn Fs, dir: &Path, links: Links) -> Result<Shapes, StoreError> {
    let headers = read_headers(disk, dir, links)?;
    let mut shapes = Shapes { path: dir.to_owned(), files: headers.index.into_iter().collect(), ..Shapes::default() };
    for (file, header) in headers.files {
        shapes.tensors.extend(header.tensors.into_iter().map(|tensor| (tensor.name, tensor.shape)));
        shapes.files.push(file);
    }
    Ok(shapes)
}

/// The headers of a model's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Headers {
    /// The name of the index of a sharded model.
    pub(in crate::store) index: Option<String>,
    /// The files by name with their headers.
    pub(in crate::store) files: Vec<(String, Header)>,
}

/// Reads the headers of a folder's weights.
pub(in crate::store) fn read_headers(disk: &dyn Fs, dir: &Path, links: Links) -> Result<Headers, StoreError> {
    headers_of(disk, dir, Places::find(disk, dir, links)?, links)
}

/// Reads the headers of the shards that an index lists; the tensors must be those of the index.
pub(in crate::store) fn read_indexed(disk: &dyn Fs, index: &Path, links: Links) -> Result<Headers, StoreError> {
    let dir = index.parent().unwrap_or(Path::new(""));
    headers_of(disk, dir, Places::of_index(disk, index.to_owned(), links)?, links)
}

fn headers_of(disk: &dyn Fs, dir: &Path, places: Places, links: Links) -> Result<Headers, StoreError> {
    let (index, mut map) = match places {
        Places::One(file) => {
            let files = vec![(SINGLE.to_owned(), read_header(disk, &file, links)?)];
            return Ok(Headers { index: None, files });
        }
        Places::Many { index, map } => (index, map),
    };
    let mut files = Vec::new();
    for shard in map.values().cloned().collect::<BTreeSet<_>>() {
        let path = dir.join(&shard);
        let header = read_header(disk, &path, links)?;
        for tensor in &header.tensors {
            if map.get(&tensor.name) != Some(&shard) {
                return Err(not_in_the_index(&path, &tensor.name));
            }
            map.remove(&tensor.name);
        }
        files.push((shard, header));
    }
    if let Some((tensor, shard)) = map.first_key_value() {
        return Err(not_in_the_shard(&index, tensor, shard));
    }
    let name = index.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Headers { index: name, files })
}

fn not_in_the_shard(index: &Path, tensor: &str, shard: &str) -> StoreError {
    let what = format!("the index assigns the tensor {tensor:?} to {shard:?}, which does not contain it");
    StoreError::input(index, what)
}

/// Reads the weights of a Hugging Face folder, sharded or not. `links` says whether files may be symbolic links, as in
/// the Hugging Face cache.
pub fn read_model(disk: &dyn Fs, dir: &Path, links: Links) -> Result<TensorFile, StoreError> {
    let (index, map) = match Places::find(disk, dir, links)? {
        Places::One(file) => return read_tensors(disk, &file, links),
        Places::Many { index, map } => (index, map),
    };
    let mut shards = BTreeMap::<&str, Vec<&str>>::new();
    for (tensor, shard) in &map {
        shards.entry(shard).or_default().push(tensor);
    }
    let mut file = TensorFile { path: dir.to_owned(), ..TensorFile::default() };
    for (shard, tensors) in shards {
        let belongs = |name: &str| map.get(name).is_some_and(|home| home == shard);
        read_into(disk, &dir.join(shard), links, &mut file, &belongs)?;
        let missing = tensors.iter().find(|t| !file.tensors.contains_key(**t) && !file.counters.contains_key(**t));
        if let Some(tensor) = missing {
            return Err(not_in_the_shard(&index, tensor, shard));
        }
    }
    Ok(file)
}

fn is_there(disk: &dyn Fs, path: &Path, links: Links) -> bool {
    // Any other error is reported by the read that follows.
    let gone = |e: io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    !disk.open(path, links).is_err_and(gone)
}

/// A shard must be a file in the same folder, with a plain name.
fn check_shard_name(index: &Path, shard: &str) -> Result<(), StoreError> {
    let outside = shard.is_empty()
        || shard.len() > 255
        || shard.starts_with('.')
        || shard.contains(['/', '\\', ':'])
        || shard.chars().any(char::is_control)
        || Path::new(shard).extension().is_none_or(|e| e != "safetensors");
    if outside {
        let what = format!("{shard:?} is not the name of a .safetensors file in the same folder");
        return Err(StoreError::input(index, what));
    }
    Ok(())
}

/// The error message for a folder without readable weights.
fn nothing_here(disk: &dyn Fs, dir: &Path) -> String {
    match no_model(disk, dir) {
        Some(what) => format!("there is no {SINGLE}: {what}"),
        None if disk.list(dir).is_err() => "there is no such folder; check the path".to_owned(),
        None => format!("the folder has neither {SINGLE} nor {INDEX}; is it a model's folder?"),
    }
}
