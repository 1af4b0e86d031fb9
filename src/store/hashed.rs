//! Files that are counted and hashed while they are written.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    error::{At, StoreError},
    fs::{Fs, Links, Synced, open_input},
};

/// Bytes per read and write when hashing.
pub(super) const CHUNK: usize = 1 << 20;

/// Writes the content of a file.
pub(super) type Fill<'a> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'a>;

/// Length and hash of a written file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInfo {
    /// Its length.
    pub bytes: u64,
    /// blake3 of its bytes, in hexadecimal.
    pub blake3: String,
}

/// Lengths and hashes of files, taken while they are written.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<Mutex<BTreeMap<String, FileInfo>>>);

impl Book {
    /// What is known so far, by name.
    pub fn read(&self) -> BTreeMap<String, FileInfo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The content of a file that is entered under `name` when it is written.
    pub(super) fn noting<'a>(&self, name: String, fill: Fill<'a>) -> Fill<'a> {
        let book = Arc::clone(&self.0);
        Box::new(move |to| {
            let mut hashing = Hashing::new(to);
            fill(&mut hashing)?;
            let (_, info) = hashing.finish();
            book.lock().unwrap_or_else(PoisonError::into_inner).insert(name, info);
            Ok(())
        })
    }
}

/// A writer that counts and hashes what it passes on.
struct Hashing<W> {
    to: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    fn new(to: W) -> Self {
        Self { to, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    fn finish(self) -> (W, FileInfo) {
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

/// Gives a file that is never changed in place a second name, or copies it where the file system has no such names.
pub(super) fn link_or_copy(disk: &dyn Fs, from: &Path, to: &Path) -> Result<(), StoreError> {
    match disk.link(from, to) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(e).at("create", to),
        // Another file system, or one without such names.
        Err(_) => {}
    }
    copy(disk, from, to)
}

/// Copies a file and syncs the copy.
pub(super) fn copy(disk: &dyn Fs, from: &Path, to: &Path) -> Result<(), StoreError> {
    let (mut reader, len) = open_input(disk, from, Links::Refuse)?;
    let fill: Fill<'_> = Box::new(move |to| io::copy(&mut reader, to).map(drop));
    write_file(disk, to, len, fill).map(drop)
}

/// Creates a file, lets `fill` write it, syncs it. The flag is `false` where sync is not supported.
pub(super) fn write_file(
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
