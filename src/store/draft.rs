//! A folder of prepared data: hidden while it is filled, published whole or not at all.
//!
//! What is in it can be made again, so nobody's work hangs on it; the readers of its files check them.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use super::{
    error::{At, StoreError},
    fs::{Fs, Kind, Links, ReadSeek, WriteFile, clear_away},
    names::{Scratch, is_plain},
};

/// Bytes gathered before they are written.
const CHUNK: usize = 1 << 18;

/// A file of a draft, written at its end.
pub type DraftFile = io::BufWriter<Box<dyn WriteFile>>;

/// A hidden folder. Dropped without [`Draft::publish`], it goes.
#[derive(Debug)]
pub struct Draft {
    disk: Arc<dyn Fs>,
    parent: PathBuf,
    hidden: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Draft {
    /// A draft of the folder `name` in `parent`.
    pub(super) fn new(disk: Arc<dyn Fs>, parent: PathBuf, name: &str) -> Result<Self, StoreError> {
        if !is_plain(name) {
            let what = format!("{name:?} cannot name a folder of the run: letters, digits, ., _, - expected");
            return Err(StoreError::input(parent, what));
        }
        let hidden = parent.join(Scratch::Making.name(name));
        disk.make_dir(&hidden).at("make the folder", &hidden)?;
        Ok(Self { disk, target: parent.join(name), parent, hidden, published: false })
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        if is_plain(name) {
            return Ok(self.hidden.join(name));
        }
        Err(StoreError::input(&self.hidden, format!("{name:?} cannot name a file: letters, digits, ., _, - expected")))
    }

    /// Makes a new file.
    pub fn create(&self, name: &str) -> Result<DraftFile, StoreError> {
        let path = self.path(name)?;
        let file = self.disk.create(&path).at("create", &path)?;
        Ok(io::BufWriter::with_capacity(CHUNK, file))
    }

    /// Writes a file out to the disk.
    pub fn finish(&self, name: &str, mut file: DraftFile) -> Result<(), StoreError> {
        let path = self.path(name)?;
        file.flush().at("write", &path)?;
        file.get_mut().sync().at("sync", &path)?;
        Ok(())
    }

    /// Opens a file that was written before.
    pub fn open(&self, name: &str) -> Result<Box<dyn ReadSeek>, StoreError> {
        let path = self.path(name)?;
        Ok(self.disk.open(&path, Links::Refuse).at("open", &path)?.0)
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.disk.remove(&path).at("remove", &path)
    }

    /// An error of one of the files.
    pub fn failed(&self, name: &str, doing: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { doing, path: self.hidden.join(name), source }
    }

    /// Gives the folder its name, in the place of one that is there.
    pub fn publish(mut self) -> Result<PathBuf, StoreError> {
        self.disk.sync_dir(&self.hidden).at("sync the folder", &self.hidden)?;
        if let Some(kind) = self.disk.kind(&self.target).at("look at", &self.target)? {
            clear_away(&*self.disk, &self.target, kind)?;
        }
        self.disk.rename(&self.hidden, &self.target).at("publish", &self.target)?;
        self.published = true;
        self.disk.sync_dir(&self.parent).at("sync the folder", &self.parent)?;
        Ok(self.target.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what stays is swept when the run is opened.
            let _left = clear_away(&*self.disk, &self.hidden, Kind::Dir);
        }
    }
}
