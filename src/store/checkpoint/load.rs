//! Loading a checkpoint. It is verified before use; there is no pointer to the latest one, the newest that verifies is
//! used.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::manifest::{CheckpointId, Manifest};
use crate::{
    base::{StageId, io::ReadSeek},
    store::{
        error::{At, StoreError},
        fs::{Fs, Kind, Links, open_input, read_limited},
        hashed::{CHUNK, FileInfo},
        safetensors::{TensorFile, read_tensors},
    },
};

/// A checkpoint that passed verification.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Stage, step, revision.
    pub id: CheckpointId,
    /// Its folder.
    pub path: PathBuf,
    /// Counts the saves of the run over all stages.
    pub serial: u64,
    /// Its files.
    pub files: BTreeMap<String, FileInfo>,
    /// blake3 of the whole checkpoint; a later stage's `state.json` refers to its parent by it.
    pub digest: String,
    disk: Arc<dyn Fs>,
}

impl Checkpoint {
    /// The path of one of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a whole file of at most `limit` bytes; a name that is not in the manifest is an error.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.known(name)?;
        read_limited(&*self.disk, &self.file(name), limit, Links::Refuse)
    }

    /// Reads one of its safetensors files.
    pub fn tensors(&self, name: &str) -> Result<TensorFile, StoreError> {
        self.known(name)?;
        read_tensors(&*self.disk, &self.file(name), Links::Refuse)
    }

    fn known(&self, name: &str) -> Result<(), StoreError> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        let there = self.files.keys().cloned().collect::<Vec<_>>().join(", ");
        Err(StoreError::input(self.file(name), format!("the checkpoint has no such file; it has {there}")))
    }
}

/// A checkpoint that was passed over, with the reason for the user.
#[derive(Debug)]
pub struct Skipped {
    /// Which.
    pub id: CheckpointId,
    /// What is wrong with it.
    pub error: StoreError,
}

/// The result of a search: the checkpoint found and those passed over.
#[derive(Debug)]
pub struct Found<T> {
    /// The newest checkpoint that passed; `None` if there is none.
    pub found: Option<T>,
    /// Newer ones that failed, newest first. Show them to the user.
    pub skipped: Vec<Skipped>,
}

impl<T> Found<T> {
    /// One sentence for the user about each that was passed over.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.skipped.iter().map(|s| format!("checkpoint {} was passed over: {}", s.id, s.error))
    }
}

/// The checkpoints of a run, for reading; needs no lock.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    pub(super) disk: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
}

impl Checkpoints {
    /// The checkpoints in the folder `dir`, which may be missing.
    pub fn new(disk: Arc<dyn Fs>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// All published checkpoints, by stage, step and revision; none is verified here.
    pub fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        let entries = match self.disk.list(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.at("list", &self.dir)?,
        };
        // danlu makes no links in this folder; a link is the user's.
        let folders = entries.iter().filter(|entry| entry.kind == Kind::Dir);
        let mut ids: Vec<_> = folders.filter_map(|entry| CheckpointId::parse(entry.text())).collect();
        ids.sort();
        Ok(ids)
    }

    /// The published checkpoint with this name; it is not verified here.
    pub fn named(&self, name: &str) -> Result<Option<CheckpointId>, StoreError> {
        let Some(id) = CheckpointId::parse(name) else { return Ok(None) };
        Ok(self.list()?.contains(&id).then_some(id))
    }

    /// The path of a checkpoint's folder.
    pub fn path(&self, id: &CheckpointId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Checks the manifest, every length and every hash.
    pub fn verify(&self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        let path = self.path(id);
        let manifest = Manifest::read(&*self.disk, &path, id)?;
        for (name, info) in &manifest.files {
            check_file(&*self.disk, &path, name, info, Links::Refuse)?;
        }
        Ok(self.checkpoint(id.clone(), manifest))
    }

    /// The files that a checkpoint's manifest lists; the files themselves are not read.
    pub fn files(&self, id: &CheckpointId) -> Result<BTreeMap<String, FileInfo>, StoreError> {
        Ok(Manifest::read(&*self.disk, &self.path(id), id)?.files)
    }

    /// The newest checkpoint of a stage (of any stage without one, by order of saving) whose bytes all verify.
    pub fn newest_verified(&self, stage: Option<StageId>) -> Result<Found<Checkpoint>, StoreError> {
        self.newest_that(stage, Ok)
    }

    /// The newest checkpoint that verifies and that `accept` loads. If `accept` fails because of the bytes (a wrong
    /// shape, a NaN), the checkpoint is reported and the next older one is tried; any other error ends the search.
    pub fn newest_that<T>(
        &self,
        stage: Option<StageId>,
        accept: impl FnMut(Checkpoint) -> Result<T, StoreError>,
    ) -> Result<Found<T>, StoreError> {
        self.first_that(self.newest_first(stage)?, accept)
    }

    /// The same among the checkpoints `ids`, in their order.
    pub fn first_that<T>(
        &self,
        ids: Vec<CheckpointId>,
        mut accept: impl FnMut(Checkpoint) -> Result<T, StoreError>,
    ) -> Result<Found<T>, StoreError> {
        let mut skipped = Vec::new();
        for id in ids {
            match self.verify(&id).and_then(&mut accept) {
                Ok(found) => return Ok(Found { found: Some(found), skipped }),
                Err(error) if error.is_about_the_bytes() => skipped.push(Skipped { id, error }),
                Err(error) => return Err(error),
            }
        }
        Ok(Found { found: None, skipped })
    }

    /// Checks a checkpoint without reading it all: the manifest has a known format, and every file exists with its
    /// length.
    pub(crate) fn look(&self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        let path = self.path(id);
        let manifest = Manifest::read(&*self.disk, &path, id)?;
        for (name, info) in &manifest.files {
            open_of_length(&*self.disk, &path, name, info, Links::Refuse)?;
        }
        Ok(self.checkpoint(id.clone(), manifest))
    }

    /// The checkpoint that this manifest describes.
    pub(super) fn checkpoint(&self, id: CheckpointId, manifest: Manifest) -> Checkpoint {
        Checkpoint {
            path: self.path(&id),
            id,
            serial: manifest.serial,
            files: manifest.files,
            digest: manifest.digest,
            disk: Arc::clone(&self.disk),
        }
    }

    /// All candidates, newest first: by step within a stage, by serial across stages. A checkpoint whose manifest
    /// cannot be read comes first, so that it is reported.
    pub(crate) fn newest_first(&self, stage: Option<StageId>) -> Result<Vec<CheckpointId>, StoreError> {
        let mut ids = self.list()?;
        if let Some(stage) = stage {
            ids.retain(|id| id.stage == stage);
            ids.reverse();
            return Ok(ids);
        }
        let mut keyed = Vec::with_capacity(ids.len());
        for id in ids {
            keyed.push((self.serial(&id)?.unwrap_or(u64::MAX), id));
        }
        keyed.sort();
        Ok(keyed.into_iter().rev().map(|(_, id)| id).collect())
    }

    pub(super) fn serial(&self, id: &CheckpointId) -> Result<Option<u64>, StoreError> {
        match Manifest::read(&*self.disk, &self.path(id), id) {
            Ok(manifest) => Ok(Some(manifest.serial)),
            Err(error) if error.is_about_the_bytes() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Opens a file of a checkpoint; its length must be the manifest's.
fn open_of_length(
    disk: &dyn Fs,
    dir: &Path,
    name: &str,
    info: &FileInfo,
    links: Links,
) -> Result<Box<dyn ReadSeek>, StoreError> {
    let (reader, len) = match open_input(disk, &dir.join(name), links) {
        Err(StoreError::Input { what, .. }) => return Err(StoreError::damaged(dir, format!("{name}: {what}"))),
        opened => opened?,
    };
    // Compare the length first: it is cheap, and its message says more than a wrong hash.
    if len != info.bytes {
        let what = format!("{name} has {len} bytes, and {} were saved", info.bytes);
        return Err(StoreError::damaged(dir, what));
    }
    Ok(reader)
}

/// Compares one file with its entry in the manifest.
pub(super) fn check_file(
    disk: &dyn Fs,
    dir: &Path,
    name: &str,
    info: &FileInfo,
    links: Links,
) -> Result<(), StoreError> {
    let path = dir.join(name);
    let mut reader = open_of_length(disk, dir, name, info, links)?;
    let len = info.bytes;
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK)).max(1)];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => hasher.update(&chunk[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(StoreError::Io { doing: "read", path, source }),
        };
    }
    if hasher.finalize().to_hex().as_str() != info.blake3 {
        return Err(StoreError::damaged(dir, format!("the bytes of {name} are not the ones that were saved")));
    }
    Ok(())
}
