//! Checkpoints: published whole or not at all, verified before they are loaded.
//!
//! A save writes a hidden folder, syncs each file, writes the manifest last, renames the folder and syncs
//! the parent. There is no pointer to the latest: the newest that verifies is it.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::{At, StoreError},
    fs::{Fs, Kind, Links, Synced, clear_away, open_input, read_limited},
    lock::RunLock,
    manifest::{CheckpointId, FileInfo, MANIFEST, Manifest, is_inside},
    names::{Scratch, is_stage},
    safetensors::{TensorFile, TensorRef, read_tensors, tensors_len, write_tensors},
};
use crate::base::io::ReadSeek;

/// Bytes left free beside every save: logs and the system go on.
pub const RESERVE: u64 = 64 << 20;

/// Bytes handled at once when hashing and writing.
const CHUNK: usize = 1 << 20;

type Fill<'a> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'a>;

/// A file to be saved: its name in the checkpoint, its exact length, and how to write it.
pub struct NewFile<'a> {
    name: String,
    bytes: u64,
    fill: Fill<'a>,
}

impl fmt::Debug for NewFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<'a> NewFile<'a> {
    /// A file of these bytes. `name` is a plain name, or one in one folder (`value/config.json`).
    pub fn bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::writer(name, bytes.len() as u64, move |to| to.write_all(&bytes))
    }

    /// A safetensors file, streamed from where the tensors lie. `counters` are stored as I64.
    pub fn tensors(
        name: &str,
        tensors: Vec<TensorRef<'a>>,
        counters: BTreeMap<String, Vec<i64>>,
    ) -> Result<Self, StoreError> {
        let bytes = tensors_len(&tensors, &counters)?;
        Ok(Self::writer(name, bytes, move |to| write_tensors(to, &tensors, &counters)))
    }

    /// A file that `fill` writes; it must write exactly `bytes` bytes.
    pub fn writer(name: &str, bytes: u64, fill: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'a) -> Self {
        Self { name: name.to_owned(), bytes, fill: Box::new(fill) }
    }
}

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
        Ok(self.checkpoint(id, path, manifest))
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
        Ok(self.checkpoint(id, path, manifest))
    }

    fn checkpoint(&self, id: &CheckpointId, path: PathBuf, manifest: Manifest) -> Checkpoint {
        Checkpoint {
            id: id.clone(),
            path,
            serial: manifest.serial,
            files: manifest.files,
            digest: manifest.digest,
            disk: Arc::clone(&self.disk),
        }
    }

    /// Candidates. Within a stage the step orders them; across stages the count of saves does, and one whose
    /// manifest cannot be read stands first, to be reported.
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

    fn serial(&self, id: &CheckpointId) -> Result<Option<u64>, StoreError> {
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

/// What a save did.
#[derive(Debug)]
pub struct Saved {
    /// The new checkpoint, as it will verify.
    pub checkpoint: Checkpoint,
    /// `false` if the file system cannot promise that it survives a power cut: to be shown.
    pub durable: bool,
}

/// The right to save: a run's checkpoints together with its lock, which it keeps alive. Goes to the writer
/// thread.
#[derive(Clone, Debug)]
pub struct Saver {
    pub(super) checkpoints: Checkpoints,
    _lock: Arc<RunLock>,
}

impl Saver {
    pub(crate) fn new(checkpoints: Checkpoints, lock: Arc<RunLock>) -> Self {
        Self { checkpoints, _lock: lock }
    }

    /// The same checkpoints, for reading.
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// Publishes a checkpoint: when this returns it is durable under its name, and before that no name shows
    /// it. A name that is taken is never replaced; the new one gets a revision. On error nothing has changed
    /// but free space, and calling again is right.
    pub fn save(&self, stage: &str, step: u64, files: Vec<NewFile<'_>>) -> Result<Saved, StoreError> {
        let Checkpoints { disk, dir } = &self.checkpoints;
        let id = self.free_id(stage, step)?;
        let target = dir.join(id.to_string());
        check_names(&target, &files)?;
        let mut serial = 1;
        for other in self.checkpoints.list()? {
            // One that is damaged or not ours to read orders nothing and prevents no save.
            let known = match self.checkpoints.serial(&other) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => None,
                known => known?,
            };
            serial = serial.max(known.unwrap_or(0).saturating_add(1));
        }
        // The manifest is small beside the reserve; the rest is counted to the byte.
        let need = files.iter().fold(RESERVE, |sum, file| sum.saturating_add(file.bytes));
        if let Some(there) = disk.free_space(dir).at("look at the free space of", dir)?
            && there < need
        {
            return Err(StoreError::NoRoom { path: target, need, reserve: RESERVE, there });
        }

        let hidden = dir.join(Scratch::Making.name(&id.to_string()));
        let filled = self.fill(&hidden, &id, serial, files).and_then(|(manifest, durable)| {
            disk.rename(&hidden, &target).at("publish", &target)?;
            Ok((manifest, durable))
        });
        let (manifest, durable) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // Best effort, so that a full disk is not fuller; the first error is the one to tell. What
                // stays is swept when the run is opened.
                let _left = clear_away(&**disk, &hidden, Kind::Dir);
                return Err(error);
            }
        };
        let durable = durable & (disk.sync_dir(dir).at("sync the folder", dir)? == Synced::Yes);
        let checkpoint = Checkpoint {
            id,
            path: target,
            serial,
            files: manifest.files,
            digest: manifest.digest,
            disk: Arc::clone(disk),
        };
        Ok(Saved { checkpoint, durable })
    }

    /// The name for a save: its revision is one above the last that is there.
    fn free_id(&self, stage: &str, step: u64) -> Result<CheckpointId, StoreError> {
        if !is_stage(stage) {
            let what = "a stage's name has 1 to 32 of a-z, 0-9 and _";
            return Err(StoreError::input(stage, what));
        }
        let mut id = CheckpointId::new(stage, step);
        for other in self.checkpoints.list()? {
            if other.stage == id.stage && other.step == step {
                id.revision = id.revision.max(other.revision + 1);
            }
        }
        Ok(id)
    }

    /// Writes and syncs the hidden folder, manifest last.
    fn fill(
        &self,
        hidden: &Path,
        id: &CheckpointId,
        serial: u64,
        files: Vec<NewFile<'_>>,
    ) -> Result<(Manifest, bool), StoreError> {
        let disk = &*self.checkpoints.disk;
        disk.make_dir(hidden).at("make the folder", hidden)?;
        let mut durable = true;
        let mut infos = BTreeMap::new();
        let mut folders = Vec::new();
        for file in files {
            if let Some((folder, _)) = file.name.split_once('/') {
                let folder = hidden.join(folder);
                if !folders.contains(&folder) {
                    disk.make_dir(&folder).at("make the folder", &folder)?;
                    folders.push(folder);
                }
            }
            let (info, synced) = write_file(disk, &hidden.join(&file.name), file.bytes, file.fill)?;
            durable &= synced;
            infos.insert(file.name, info);
        }
        for folder in &folders {
            durable &= disk.sync_dir(folder).at("sync the folder", folder)? == Synced::Yes;
        }
        let manifest = Manifest::new(id, serial, infos);
        let text = manifest.text();
        let (_, synced) = write_file(
            disk,
            &hidden.join(MANIFEST),
            text.len() as u64,
            Box::new(|to: &mut dyn Write| to.write_all(text.as_bytes())),
        )?;
        durable &= synced;
        durable &= disk.sync_dir(hidden).at("sync the folder", hidden)? == Synced::Yes;
        Ok((manifest, durable))
    }
}

/// Names that stay inside the checkpoint, each once, also on a disk that does not tell cases apart.
fn check_names(target: &Path, files: &[NewFile<'_>]) -> Result<(), StoreError> {
    let mut seen = Vec::new();
    for file in files {
        let lower = file.name.to_ascii_lowercase();
        if !is_inside(&file.name) {
            let what = format!("{:?} cannot name a file of a checkpoint: letters, digits, ., _, - expected", file.name);
            return Err(StoreError::input(target, what));
        }
        if seen.contains(&lower) {
            return Err(StoreError::input(target, format!("{:?} is given twice", file.name)));
        }
        seen.push(lower);
    }
    Ok(())
}

/// Writes through to a file, counting and hashing on the way.
pub(crate) struct Hashing<W> {
    to: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    pub(crate) fn finish(self) -> (W, FileInfo) {
        (self.to, FileInfo { bytes: self.bytes, blake3: self.hasher.finalize().to_hex().to_string() })
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.to.write(buf)?;
        self.hasher.update(&buf[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Makes a file, lets `fill` write it, syncs it. The flag is `false` where the sync is not supported.
pub(crate) fn write_file(
    disk: &dyn Fs,
    path: &Path,
    bytes: u64,
    fill: Fill<'_>,
) -> Result<(FileInfo, bool), StoreError> {
    let file = disk.create(path).at("create", path)?;
    let mut buffered = io::BufWriter::with_capacity(CHUNK, Hashing::new(file));
    fill(&mut buffered).and_then(|()| buffered.flush()).at("write", path)?;
    let (hashing, _) = buffered.into_parts();
    let (mut file, info) = hashing.finish();
    if info.bytes != bytes {
        let what = format!("{} bytes were written where {bytes} were announced; this is a bug in danlu", info.bytes);
        return Err(StoreError::input(path, what));
    }
    let synced = file.sync().at("sync", path)?;
    Ok((info, synced == Synced::Yes))
}
