//! The weights of a model folder: one file, or many with an index.

use std::{collections::BTreeMap, io, path::Path};

use serde::Deserialize;

use super::{MAX_HEADER, TensorFile, header::Names, read_into, read_tensors};
use crate::store::{
    error::StoreError,
    foreign::{LFS_POINTER, is_lfs_pointer, no_model},
    fs::{Fs, Links, read_limited},
};

/// The weights in one file.
const SINGLE: &str = "model.safetensors";
/// The list of files, where there are many.
const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: Names,
}

/// Reads the weights of a Hugging Face folder, sharded or not. `links` says whether its files may be links,
/// as they are in the Hugging Face cache.
pub fn read_model(disk: &dyn Fs, dir: &Path, links: Links) -> Result<TensorFile, StoreError> {
    let single = dir.join(SINGLE);
    // transformers, too, takes the single file where both are there.
    if is_there(disk, &single, links) {
        return read_tensors(disk, &single, links);
    }
    let index = dir.join(INDEX);
    if !is_there(disk, &index, links) {
        return Err(StoreError::input(dir, nothing_here(disk, dir)));
    }
    let text = read_limited(disk, &index, MAX_HEADER, links)?;
    if is_lfs_pointer(&text) {
        return Err(StoreError::input(&index, LFS_POINTER));
    }
    let Index { weight_map: Names(map) } = serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
        .map_err(|e| StoreError::input(&index, format!("the index is wrong: {e}")))?;
    let mut shards = BTreeMap::<&str, Vec<&str>>::new();
    for (tensor, shard) in &map {
        shards.entry(shard).or_default().push(tensor);
    }
    let mut lower = BTreeMap::new();
    for shard in shards.keys() {
        check_shard_name(&index, shard)?;
        if let Some(twin) = lower.insert(shard.to_ascii_lowercase(), shard) {
            let what =
                format!("the shards {twin:?} and {shard:?} differ only in case; one disk cannot tell them apart");
            return Err(StoreError::input(&index, what));
        }
    }
    let mut file = TensorFile { path: dir.to_owned(), ..TensorFile::default() };
    for (shard, tensors) in shards {
        if !is_there(disk, &dir.join(shard), links) {
            let (n, all) = (tensors.len(), map.len());
            let what = format!(
                "it places {n} of {all} tensors in the shard {shard:?}, which is not in the folder; fetch it too"
            );
            return Err(StoreError::input(&index, what));
        }
        let belongs = |name: &str| map.get(name).is_some_and(|home| home == shard);
        read_into(disk, &dir.join(shard), links, &mut file, &belongs)?;
        let missing = tensors.iter().find(|t| !file.tensors.contains_key(**t) && !file.counters.contains_key(**t));
        if let Some(tensor) = missing {
            let what = format!("the index places the tensor {tensor:?} in {shard:?}, which does not hold it");
            return Err(StoreError::input(&index, what));
        }
    }
    Ok(file)
}

fn is_there(disk: &dyn Fs, path: &Path, links: Links) -> bool {
    // Any other error is said by whoever reads it next.
    let gone = |e: io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    !disk.open(path, links).is_err_and(gone)
}

/// A shard is a file in the same folder, by a plain name.
fn check_shard_name(index: &Path, shard: &str) -> Result<(), StoreError> {
    let outside = shard.is_empty()
        || shard.len() > 255
        || shard.starts_with('.')
        || shard.contains(['/', '\\', ':'])
        || shard.chars().any(char::is_control)
        || Path::new(shard).extension().is_none_or(|e| e != "safetensors");
    if outside {
        let what = format!("{shard:?} is no name of a .safetensors file in the same folder");
        return Err(StoreError::input(index, what));
    }
    Ok(())
}

/// What to tell someone whose folder has no weights we read.
fn nothing_here(disk: &dyn Fs, dir: &Path) -> String {
    match no_model(disk, dir) {
        Some(what) => format!("there is no {SINGLE}: {what}"),
        None if disk.list(dir).is_err() => "there is no such folder; check the path".to_owned(),
        None => format!("there is neither {SINGLE} nor {INDEX} in the folder; is it a model's?"),
    }
}
