//! The one file that creates, writes, renames and removes files.
//!
//! Everything durable goes through the trait [`Fs`]. It has two implementations: [`RealFs`], and for tests a disk in
//! memory that fails and loses power on command (`tests/common/fault.rs`). Links are never followed when writing or
//! removing; only regular files are opened; folders are created with mode 0700, files with 0600.

use std::{
    ffi::OsString,
    fmt::Debug,
    fs::{self, File, FileType, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::error::{At, StoreError};
use crate::base::io::ReadSeek;

/// How long the owner of a lock may take to write its process id.
const UNNAMED: Duration = Duration::from_millis(500);

/// A file open for writing at its end.
pub trait WriteFile: Write + Send {
    /// Waits until bytes and length are on the disk.
    fn sync(&mut self) -> io::Result<Synced>;
    /// Truncates the file (or extends it with zeros).
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// Whether a sync reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The bytes survive a power cut.
    Yes,
    /// This file system cannot promise it (some network shares); reported to the user.
    Unsupported,
}

/// Whether a path may be a symbolic link. Never inside a run; a model or data folder may consist of links, as the
/// Hugging Face cache does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A link is an error.
    Refuse,
    /// The link is followed.
    Follow,
}

/// The kind of a folder entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A link, whatever it points to.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, which need not be UTF-8.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
    /// Bytes, for a file.
    pub len: u64,
    /// When it was last written, if the system reports it.
    pub modified: Option<SystemTime>,
    /// How many names the file has, where the system reports it; removing one of several frees nothing.
    pub names: u64,
}

impl Entry {
    /// The name as text; empty if it is not UTF-8, which no name of danlu's is.
    pub fn text(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }
}

/// The result of [`Fs::lock`].
pub enum Lock {
    /// Held until the value is dropped or the process ends.
    Held(Box<dyn Send + Sync>),
    /// Held by another process, with the text in the lock file.
    Busy(String),
}

/// The operations of a disk. Only `replace` replaces anything, and `exchange` leaves both folders under a name.
pub trait Fs: Debug + Send + Sync {
    /// Creates one folder; an error if the name exists.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// The same, with the permissions of the folder `like` where the system has any.
    fn make_dir_like(&self, path: &Path, like: &Path) -> io::Result<()>;
    /// Creates a file; an error if the name exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;
    /// Opens a file for writing at its end; creates it if missing.
    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;
    /// Opens a regular file for reading; returns its length too.
    fn open(&self, path: &Path, links: Links) -> io::Result<(Box<dyn ReadSeek>, u64)>;
    /// Renames a file or folder; an error if the new name exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a regular file a second name on the same file system; an error if that exists. Only for files that are
    /// never changed in place.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Exchanges the names of two folders atomically; [`io::ErrorKind::Unsupported`] where the system cannot.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// Replaces a file by another atomically.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, a link (not its target) or an empty folder.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The entries of a folder, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// The kind of a path, without following links; `None` if it does not exist.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;
    /// Waits until the names in a folder are on the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<Synced>;
    /// Bytes this process may still write; `None` if the system does not report it.
    fn free_space(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Locks the file at `path` and writes `holder` into it, or returns the current owner.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl RealFs {
    /// The file system as a shared [`Fs`].
    pub fn shared() -> Arc<dyn Fs> {
        Arc::new(Self)
    }
}

/// Options for opening files: close-on-exec (std sets it), links refused unless allowed, and non-blocking in case the
/// name is a pipe.
fn options(links: Links) -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let mut flags = OFlags::NONBLOCK;
        if links == Links::Refuse {
            flags |= OFlags::NOFOLLOW;
        }
        options.custom_flags(flags.bits() as i32).mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = links;
    options
}

/// Opens regular files only. Where the system cannot refuse links on opening, the path is checked first.
fn open_regular(options: &OpenOptions, path: &Path, links: Links) -> io::Result<File> {
    if cfg!(not(unix)) && links == Links::Refuse && fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link where a file is expected"));
    }
    let file = options.open(path).map_err(|error| {
        let link = links == Links::Refuse && fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        if link { io::Error::new(io::ErrorKind::InvalidInput, "it is a link where a file is expected") } else { error }
    })?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "a folder, not a file" } else { "a pipe or device, not a regular file" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(file)
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        k if k.is_symlink() => Kind::Link,
        k if k.is_dir() => Kind::Dir,
        k if k.is_file() => Kind::File,
        _ => Kind::Other,
    }
}

/// How many names a file has.
#[cfg(unix)]
fn names_of(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn names_of(_metadata: &fs::Metadata) -> u64 {
    1
}

/// Distinguishes a sync that the file system does not support from one that failed.
fn synced(result: io::Result<()>) -> io::Result<Synced> {
    match result {
        Ok(()) => Ok(Synced::Yes),
        // SMB, 9p and FUSE answer an unsupported sync with EINVAL or ENOTSUP.
        Err(e) if matches!(e.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
            Ok(Synced::Unsupported)
        }
        Err(e) => Err(e),
    }
}

impl WriteFile for File {
    fn sync(&mut self) -> io::Result<Synced> {
        synced(self.sync_all())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }
}

impl Fs for RealFs {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn make_dir_like(&self, path: &Path, like: &Path) -> io::Result<()> {
        let permissions = fs::metadata(like)?.permissions();
        self.make_dir(path)?;
        fs::set_permissions(path, permissions)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(options(Links::Refuse).write(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(open_regular(options(Links::Refuse).append(true).create(true), path, Links::Refuse)?))
    }

    fn open(&self, path: &Path, links: Links) -> io::Result<(Box<dyn ReadSeek>, u64)> {
        let file = open_regular(options(links).read(true), path, links)?;
        let len = file.metadata()?.len();
        Ok((Box::new(file), len))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            use rustix::{
                fs::{CWD, RenameFlags, renameat_with},
                io::Errno,
            };
            match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // Old kernels and some network shares do not know the flag.
                Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
                result => return Ok(result?),
            }
        }
        // The run's lock keeps other processes from creating names here, so checking first is enough.
        if fs::symlink_metadata(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        use rustix::{
            fs::{CWD, RenameFlags, renameat_with},
            io::Errno,
        };
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            // Old kernels and some network shares do not know the flag.
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
            result => Ok(result?),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Metadata of the link, not of its target.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the folder was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            entries.push(Entry {
                name: entry.file_name(),
                kind: kind_of(metadata.file_type()),
                len: metadata.len(),
                modified: metadata.modified().ok(),
                names: names_of(&metadata),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(kind_of(metadata.file_type()))),
            // A path below a file does not exist, like one below a missing folder.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        synced(File::open(path)?.sync_all())
    }

    /// Windows cannot sync a folder: NTFS journals names. After a power cut there is the old or the new checkpoint, not
    /// always the very last one.
    #[cfg(not(unix))]
    fn sync_dir(&self, _path: &Path) -> io::Result<Synced> {
        Ok(Synced::Yes)
    }

    #[cfg(unix)]
    fn free_space(&self, path: &Path) -> io::Result<Option<u64>> {
        let stat = rustix::fs::statvfs(path)?;
        // `bavail`, not `bfree`: blocks reserved for root are not available.
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    #[cfg(not(unix))]
    fn free_space(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let mut options = options(Links::Refuse);
        options.read(true).write(true).create(true).truncate(false);
        let began = Instant::now();
        loop {
            let mut file = open_regular(&options, path, Links::Refuse)?;
            match file.try_lock() {
                Ok(()) => {
                    // The text only names the owner; the kernel holds the lock and frees it when the process ends, by
                    // kill -9 too.
                    file.write_all(holder.as_bytes())?;
                    file.set_len(holder.len() as u64)?;
                    return Ok(Lock::Held(Box::new(file)));
                }
                Err(TryLockError::WouldBlock) => {
                    // Windows refuses to read a locked file; the owner is not named there.
                    let mut text = String::new();
                    let _unread = file.take(64).read_to_string(&mut text);
                    // A new owner may not have written its process id yet, or not over the previous one.
                    if names_a_process(&text) || cfg!(not(unix)) || began.elapsed() >= UNNAMED {
                        return Ok(Lock::Busy(text));
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

/// The process id in the first line of a lock's text.
pub(super) fn owner(text: &str) -> Option<u32> {
    text.lines().next()?.trim().parse().ok()
}

/// Whether a lock's text names a living process.
#[cfg(unix)]
pub(super) fn names_a_process(text: &str) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = owner(text).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    // Another user's process is alive too, though it may not be signalled.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

#[cfg(not(unix))]
pub(super) fn names_a_process(_text: &str) -> bool {
    true
}

/// Creates the folder and its missing parents; syncs each new name.
pub(crate) fn ensure_dirs(disk: &dyn Fs, path: &Path) -> Result<(), StoreError> {
    if path.as_os_str().is_empty() || disk.kind(path).at("look at", path)?.is_some() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    ensure_dirs(disk, parent)?;
    match disk.make_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.at("make the folder", path)?,
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    disk.sync_dir(parent).at("sync the folder", parent)?;
    Ok(())
}

/// Removes a file, or a folder and everything in it. Links inside are removed, not followed. If something cannot be
/// removed, the rest still is; the first error is returned.
pub(crate) fn clear_away(disk: &dyn Fs, path: &Path, kind: Kind) -> Result<(), StoreError> {
    if kind == Kind::Dir {
        let mut first = Ok(());
        for entry in disk.list(path).at("list", path)? {
            let cleared = clear_away(disk, &path.join(&entry.name), entry.kind);
            first = first.and(cleared);
        }
        first?;
    }
    disk.remove(path).at("remove", path)
}

/// Opens a file of at most `limit` bytes.
pub fn open_limited(
    disk: &dyn Fs,
    path: &Path,
    limit: u64,
    links: Links,
) -> Result<(Box<dyn ReadSeek>, u64), StoreError> {
    let (reader, len) = open_input(disk, path, links)?;
    if len > limit {
        let what = format!("the file has {len} bytes, more than the allowed {limit}; is it the right file?");
        return Err(StoreError::input(path, what));
    }
    Ok((reader, len))
}

/// Reads a whole file of at most `limit` bytes.
pub fn read_limited(disk: &dyn Fs, path: &Path, limit: u64, links: Links) -> Result<Vec<u8>, StoreError> {
    let (reader, len) = open_limited(disk, path, limit, links)?;
    // A file that grows meanwhile is cut at the limit.
    let mut bytes = Vec::with_capacity(len as usize);
    reader.take(limit).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Opens a file that the user named; a missing or irregular file is an input error.
pub(crate) fn open_input(disk: &dyn Fs, path: &Path, links: Links) -> Result<(Box<dyn ReadSeek>, u64), StoreError> {
    disk.open(path, links).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::input(path, "no such file; check the path"),
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            StoreError::input(path, format!("a regular file was expected: {source}"))
        }
        _ => StoreError::Io { doing: "open", path: path.to_owned(), source },
    })
}

/// Replaces the file at `path` by `bytes` atomically; durable on return. `scratch` is an unused name beside it.
pub(crate) fn write_atomically(disk: &dyn Fs, path: &Path, scratch: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(scratch);
    let written = (|| {
        let mut file = disk.create(&temporary).at("create", &temporary)?;
        file.write_all(bytes).at("write", &temporary)?;
        file.sync().at("sync", &temporary)?;
        drop(file);
        disk.replace(&temporary, path).at("replace", path)
    })();
    if written.is_err() {
        // Best effort: report the first error; a leftover is swept when the run is next opened.
        let _left = disk.remove(&temporary);
    }
    written?;
    disk.sync_dir(dir).at("sync the folder", dir)?;
    Ok(())
}
