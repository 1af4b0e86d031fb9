//! Prepared data in `data/`: derived files, each published complete or not at all.
//!
//! A cache: safe to delete; readers verify what they read.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::{At, StoreError},
    fs::{Fs, Kind, Links, WriteFile, clear_away, write_atomically},
    lock::RunLock,
    names::{Scratch, is_plain, is_prepared},
    view::RunView,
};
use crate::base::io::ReadSeek;

/// Size of the write buffer in bytes.
const CHUNK: usize = 1 << 18;

/// The right to write and clear prepared data, for a thread beside the owner of the run. It shares the run's lock.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct Preparer {
    view: RunView,
    _lock: Arc<RunLock>,
}

impl Preparer {
    pub(super) fn new(view: RunView, lock: Arc<RunLock>) -> Self {
        Self { view, _lock: lock }
    }

    /// The run for reading.
    pub fn view(&self) -> &RunView {
        &self.view
    }

    /// A new file, hidden until it is published under this name or another of its kind.
    pub fn draft(&self, name: &str) -> Result<Draft, StoreError> {
        let dir = self.view.data_dir();
        let hidden = dir.join(Scratch::Making.name(checked(&dir, name)?));
        let file = self.view.disk().create(&hidden).at("create", &hidden)?;
        let file = Some(io::BufWriter::with_capacity(CHUNK, file));
        Ok(Draft { disk: Arc::clone(self.view.disk()), file, hidden, dir })
    }

    /// Replaces a file by these bytes atomically; durable on return.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let dir = self.view.data_dir();
        let path = dir.join(checked(&dir, name)?);
        write_atomically(&**self.view.disk(), &path, &Scratch::Making.name(name), bytes)?;
        Ok(path)
    }

    /// Waits until the names of published files are on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        let dir = self.view.data_dir();
        self.view.disk().sync_dir(&dir).at("sync the folder", &dir)?;
        Ok(())
    }

    /// Removes the prepared data that `wanted` rejects.
    pub fn clear(&self, wanted: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let (dir, disk) = (self.view.data_dir(), self.view.disk());
        for entry in disk.list(&dir).at("list", &dir)? {
            let ours = is_prepared(entry.text()) && matches!(entry.kind, Kind::Dir | Kind::File);
            if ours && !wanted(entry.text()) {
                clear_away(&**disk, &dir.join(&entry.name), entry.kind)?;
            }
        }
        Ok(())
    }
}

impl RunView {
    /// Opens a file of prepared data.
    pub fn open_prepared(&self, name: &str) -> Result<Box<dyn ReadSeek>, StoreError> {
        let path = self.data_dir().join(name);
        Ok(self.disk().open(&path, Links::Refuse).at("open", &path)?.0)
    }

    /// Whether prepared data with this name exists.
    pub fn has_prepared(&self, name: &str) -> bool {
        self.disk().kind(&self.data_dir().join(name)).is_ok_and(|kind| kind == Some(Kind::File))
    }
}

fn checked<'a>(dir: &Path, name: &'a str) -> Result<&'a str, StoreError> {
    if is_plain(name) {
        return Ok(name);
    }
    let what = format!("{name:?} cannot name a file of the run: letters, digits, ., _, - expected");
    Err(StoreError::input(dir, what))
}

/// A hidden file, removed on drop unless [`Draft::publish`] was called.
pub struct Draft {
    disk: Arc<dyn Fs>,
    /// None after it was closed.
    file: Option<io::BufWriter<Box<dyn WriteFile>>>,
    hidden: PathBuf,
    dir: PathBuf,
}

impl Draft {
    /// Syncs the file and renames it to `name`, replacing a file of that name. The name is durable after
    /// [`Preparer::sync`].
    pub fn publish(mut self, name: &str) -> Result<(), StoreError> {
        let target = self.dir.join(checked(&self.dir, name)?);
        if let Some(file) = &mut self.file {
            file.flush().at("write", &target)?;
            file.get_mut().sync().at("sync", &target)?;
        }
        self.disk.replace(&self.hidden, &target).at("publish", &target)?;
        self.file = None;
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Best effort: a leftover is swept when the run is next opened.
            let _left = self.disk.remove(&self.hidden);
        }
    }
}
