//! Loading a checkpoint: verified before it is used. There is no pointer to the latest; the newest that verifies is it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::manifest::{CheckpointId, Manifest};
use crate::{
    base::io::ReadSeek,
    store::{
        error::{At, StoreError},
        fs::{Fs, Kind, Links, open_input, read_limited},
        hashed::{CHUNK, FileInfo},
        safetensors::{TensorFile, read_tensors},
    },
};

/// A checkpoint that verified when it was looked at.
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
    /// A hash over all of it: the name a descendant knows it by in `state.json`.
    pub digest: String,
    disk: Arc<dyn Fs>,
}

impl Checkpoint {
    /// Where a file of it lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A whole file of at most `limit` bytes; one the manifest does not name is an error.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        self.known(name)?;
        read_limited(&*self.disk, &self.file(name), limit, Links::Refuse)
    }

    /// A safetensors file of it.
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

/// A checkpoint that was passed over, and why, for the person to read.
#[derive(Debug)]
pub struct Skipped {
    /// Which.
    pub id: CheckpointId,
    /// What is wrong with it.
    pub error: StoreError,
}

/// The outcome of a search: what was found, and what was passed over on the way.
#[derive(Debug)]
pub struct Found<T> {
    /// The newest that passed; `None` if there is none.
    pub found: Option<T>,
    /// Newer ones that did not, newest first. Never silent: show them.
    pub skipped: Vec<Skipped>,
}

impl<T> Found<T> {
    /// What the user should know of those that were passed over.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.skipped.iter().map(|s| format!("checkpoint {} was passed over: {}", s.id, s.error))
    }
}

/// The checkpoints of a run, for reading. Needs no lock.
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

    /// All that are published, by stage, step and revision, verified or not.
    pub fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        let entries = match self.disk.list(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.at("list", &self.dir)?,
        };
        // A link may point anywhere and is none of ours.
        let folders = entries.iter().filter(|entry| entry.kind == Kind::Dir);
        let mut ids: Vec<_> = folders.filter_map(|entry| CheckpointId::parse(entry.text())).collect();
        ids.sort();
        Ok(ids)
    }

    /// The folder of a checkpoint.
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

    /// What the manifest of a checkpoint says of its files, which are not looked at.
    pub fn files(&self, id: &CheckpointId) -> Result<BTreeMap<String, FileInfo>, StoreError> {
        Ok(Manifest::read(&*self.disk, &self.path(id), id)?.files)
    }

    /// The newest checkpoint of a stage (or, without one, the one saved last) whose bytes are all as saved.
    pub fn newest_verified(&self, stage: Option<&str>) -> Result<Found<Checkpoint>, StoreError> {
        self.newest_that(stage, Ok)
    }

    /// The newest checkpoint that verifies and that `accept` loads. An error of `accept` about the bytes
    /// (a shape that does not fit, a value that is no number) passes on to the next older one and is reported;
    /// any other ends the search.
    pub fn newest_that<T>(
        &self,
        stage: Option<&str>,
        mut accept: impl FnMut(Checkpoint) -> Result<T, StoreError>,
    ) -> Result<Found<T>, StoreError> {
        let mut skipped = Vec::new();
        for id in self.newest_first(stage)? {
            match self.verify(&id).and_then(&mut accept) {
                Ok(found) => return Ok(Found { found: Some(found), skipped }),
                Err(error) if error.is_about_the_bytes() => skipped.push(Skipped { id, error }),
                Err(error) => return Err(error),
            }
        }
        Ok(Found { found: None, skipped })
    }

    /// Whether a checkpoint is what its manifest says as far as that shows without reading it all: the manifest is of
    /// a known format, and every file is there with its length.
    pub(super) fn look(&self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
        let path = self.path(id);
        let manifest = Manifest::read(&*self.disk, &path, id)?;
        for (name, info) in &manifest.files {
            open_of_length(&*self.disk, &path, name, info, Links::Refuse)?;
        }
        Ok(self.checkpoint(id.clone(), manifest))
    }

    /// The checkpoint that a manifest describes.
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

    /// Candidates. Within a stage the step orders them; across stages the count of saves does, and one whose
    /// manifest cannot be read comes first, to be reported.
    pub(super) fn newest_first(&self, stage: Option<&str>) -> Result<Vec<CheckpointId>, StoreError> {
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

/// Opens a file of a checkpoint that has the length in the manifest.
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
    // The length first: it costs nothing, and says more than a hash.
    if len != info.bytes {
        let what = format!("{name} has {len} bytes, and {} were saved", info.bytes);
        return Err(StoreError::damaged(dir, what));
    }
    Ok(reader)
}

/// Compares one file with what the manifest says of it.
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
