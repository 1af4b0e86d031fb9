//! The test double of [`RealFs`](danlu::store::RealFs): a disk in memory that fails and loses power on command.
//!
//! Tests ask two questions of code that writes, each in an exhaustive loop:
//! - *Does it survive any single error?* [`FaultFs::fail_at`] fails the Nth operation; the test raises N until
//!   [`FaultFs::fired`] stays false.
//! - *Does it survive a power cut at any moment?* [`FaultFs::mark`] starts a log of every change to the disk;
//!   [`FaultFs::crash`] returns the disk as it may look after any prefix of that log, with unsynced data kept, lost,
//!   zeroed or half-written.
//!
//! The model is the weakest that POSIX allows: a file's bytes are durable after a sync of the file, a name is durable
//! after a sync of its folder, and neither implies the other.

#![allow(missing_docs, unreachable_pub, reason = "seen by tests only")]
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use danlu::store::{Entry, Fs, Kind, Links, Lock, ReadSeek, Synced, WriteFile};

/// EIO on every Unix.
const EIO: i32 = 5;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC.
    NoSpace,
    /// EIO.
    Io,
    /// EACCES.
    Denied,
    /// A write stores half the bytes and the next one gives ENOSPC; operations that do not write give ENOSPC.
    Short,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::NoSpace | Self::Short => io::ErrorKind::StorageFull.into(),
            Self::Io => io::Error::from_raw_os_error(EIO),
            Self::Denied => io::ErrorKind::PermissionDenied.into(),
        }
    }
}

/// What happens to written, unsynced bytes in a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// They reached the disk.
    Kept,
    /// They are lost, and so is the length they gave the file.
    Lost,
    /// The length is there, the bytes are zeros.
    Zeroed,
    /// The first half of the writes is there; the middle one in part.
    Half,
}

impl Data {
    /// All four variants.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Lost, Self::Zeroed, Self::Half];
}

/// What happens in a power cut to names that were created, changed or removed in a folder since its last sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The folder keeps its latest names.
    Kept,
    /// The folder has the names of its last sync.
    Lost,
    /// Lost in the oldest folder with unsynced names, kept in the others: a rename is lost while removals inside the
    /// renamed folder last.
    OldestLost,
    /// Lost in the newest such folder, kept in the others.
    NewestLost,
}

impl Names {
    /// All four variants.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Lost, Self::OldestLost, Self::NewestLost];
}

/// A change to the disk. Files are identified by node number, as an open file is.
#[derive(Clone, Debug)]
enum Op {
    MakeDir(PathBuf),
    Create(PathBuf),
    Change(usize, Change),
    Sync(usize),
    SyncDir(PathBuf),
    Rename { from: PathBuf, to: PathBuf, replace: bool },
    Exchange(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Debug)]
enum Change {
    Append(Vec<u8>),
    SetLen(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Append(new) => bytes.extend_from_slice(new),
            Self::SetLen(len) => bytes.resize(*len, 0),
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    File { live: Vec<u8>, synced: Vec<u8>, pending: Vec<Change>, written: u64 },
    Dir { live: BTreeMap<String, usize>, synced: BTreeMap<String, usize> },
}

/// The contents of the disk; node 0 is the root.
#[derive(Clone, Debug)]
struct Disk {
    nodes: Vec<Node>,
    clock: u64,
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk {
    fn new() -> Self {
        Self { nodes: vec![Node::Dir { live: BTreeMap::new(), synced: BTreeMap::new() }], clock: 0 }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Node::Dir { live, .. } = &self.nodes[at] else { return Err(io::ErrorKind::NotADirectory.into()) };
            at = *live.get(name.to_string_lossy().as_ref()).ok_or_else(not_found)?;
        }
        Ok(at)
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut BTreeMap<String, usize>> {
        let at = self.find(path)?;
        match &mut self.nodes[at] {
            Node::Dir { live, .. } => Ok(live),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The parent folder of a path, and the name in it.
    fn place(&mut self, path: &Path) -> io::Result<(&mut BTreeMap<String, usize>, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        Ok((self.dir(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let number = self.nodes.len();
        let (dir, name) = self.place(path)?;
        if dir.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        dir.insert(name, number);
        self.nodes.push(node);
        Ok(number)
    }

    /// Applies `op`; returns the number of the node it made, if any.
    fn apply(&mut self, op: &Op) -> io::Result<usize> {
        self.clock += 1;
        let clock = self.clock;
        match op {
            Op::MakeDir(path) => self.add(path, Node::Dir { live: BTreeMap::new(), synced: BTreeMap::new() }),
            Op::Create(path) => {
                self.add(path, Node::File { live: Vec::new(), synced: Vec::new(), pending: Vec::new(), written: clock })
            }
            Op::Change(number, change) => {
                if let Node::File { live, pending, written, .. } = &mut self.nodes[*number] {
                    change.apply(live);
                    pending.push(change.clone());
                    *written = clock;
                }
                Ok(*number)
            }
            Op::Sync(number) => {
                if let Node::File { live, synced, pending, .. } = &mut self.nodes[*number] {
                    synced.clone_from(live);
                    pending.clear();
                }
                Ok(*number)
            }
            Op::SyncDir(path) => {
                let number = self.find(path)?;
                if let Node::Dir { live, synced } = &mut self.nodes[number] {
                    synced.clone_from(live);
                }
                Ok(number)
            }
            Op::Rename { from, to, replace } => {
                let number = self.find(from)?;
                let (dir, name) = self.place(to)?;
                if dir.contains_key(&name) && !replace {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                dir.insert(name, number);
                let (dir, name) = self.place(from)?;
                dir.remove(&name);
                Ok(number)
            }
            Op::Exchange(one, other) => {
                let (first, second) = (self.find(one)?, self.find(other)?);
                let (dir, name) = self.place(one)?;
                dir.insert(name, second);
                let (dir, name) = self.place(other)?;
                dir.insert(name, first);
                Ok(first)
            }
            Op::Remove(path) => {
                let number = self.find(path)?;
                if matches!(&self.nodes[number], Node::Dir { live, .. } if !live.is_empty()) {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                let (dir, name) = self.place(path)?;
                dir.remove(&name);
                Ok(number)
            }
        }
    }

    /// The disk after power returns; everything on it counts as synced.
    fn after_power_cut(mut self, data: Data, names: Names) -> Self {
        let unsynced = |node: &Node| matches!(node, Node::Dir { live, synced } if live != synced);
        let oldest = self.nodes.iter().position(unsynced);
        let newest = self.nodes.iter().rposition(unsynced);
        for (number, node) in self.nodes.iter_mut().enumerate() {
            match node {
                Node::Dir { live, synced } => {
                    let lost = match names {
                        Names::Kept => false,
                        Names::Lost => true,
                        Names::OldestLost => oldest == Some(number),
                        Names::NewestLost => newest == Some(number),
                    };
                    if lost {
                        live.clone_from(synced);
                    } else {
                        synced.clone_from(live);
                    }
                }
                Node::File { live, synced, pending, .. } => {
                    match data {
                        Data::Kept => {}
                        Data::Lost => live.clone_from(synced),
                        Data::Zeroed => {
                            // What was there before the first unsynced change is kept.
                            let safe = pending.iter().fold(synced.len(), |safe, change| match change {
                                Change::Append(_) => safe,
                                Change::SetLen(len) => safe.min(*len),
                            });
                            let safe = safe.min(live.len());
                            live[safe..].fill(0);
                        }
                        Data::Half => {
                            live.clone_from(synced);
                            let middle = pending.len() / 2;
                            for (at, change) in pending.iter().take(middle + 1).enumerate() {
                                match change {
                                    Change::Append(new) if at == middle => {
                                        live.extend_from_slice(&new[..new.len() / 2]);
                                    }
                                    change => change.apply(live),
                                }
                            }
                        }
                    }
                    synced.clone_from(live);
                    pending.clear();
                }
            }
        }
        self
    }
}

#[derive(Debug)]
struct State {
    disk: Disk,
    base: Disk,
    log: Vec<Op>,
    calls: usize,
    plan: Option<(usize, Fault, bool)>,
    short: bool,
    fired: bool,
    free: u64,
    exchanges: bool,
    locked: BTreeMap<PathBuf, String>,
}

impl State {
    /// Counts an operation and returns the fault planned for it.
    fn turn(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let (at, fault, on) = self.plan?;
        let hit = call == at || (on && call > at);
        self.fired |= hit;
        hit.then_some(fault)
    }

    fn step(&mut self) -> io::Result<()> {
        self.turn().map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn change(&mut self, op: Op) -> io::Result<usize> {
        let number = self.disk.apply(&op)?;
        self.log.push(op);
        Ok(number)
    }
}

/// A disk in memory whose operations can be made to fail and whose power can be cut. Clones share the disk.
#[derive(Clone, Debug)]
pub struct FaultFs(Arc<Mutex<State>>);

impl Default for FaultFs {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultFs {
    /// An empty disk with 1 TiB free.
    pub fn new() -> Self {
        Self::of(Disk::new(), 1 << 40)
    }

    fn of(disk: Disk, free: u64) -> Self {
        let base = disk.clone();
        Self(Arc::new(Mutex::new(State {
            disk,
            base,
            log: Vec::new(),
            calls: 0,
            plan: None,
            short: false,
            fired: false,
            free,
            exchanges: true,
            locked: BTreeMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while holding the lock has failed already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as a shared [`Fs`].
    pub fn shared(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }

    /// An independent copy of the contents, all synced, without locks or planned faults.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        Self::of(state.disk.clone().after_power_cut(Data::Kept, Names::Kept), state.free)
    }

    /// Marks everything so far as synced, forgets planned faults and restarts log and count.
    pub fn mark(&self) {
        let mut state = self.state();
        state.disk = state.disk.clone().after_power_cut(Data::Kept, Names::Kept);
        state.base = state.disk.clone();
        state.log.clear();
        state.calls = 0;
        state.plan = None;
        state.short = false;
        state.fired = false;
    }

    /// Fails the `n`-th operation from now (0 is the next), reads included, and none after it.
    pub fn fail_at(&self, n: usize, fault: Fault) {
        let mut state = self.state();
        state.plan = Some((state.calls + n, fault, false));
        state.fired = false;
    }

    /// Fails the `n`-th operation from now and all after it.
    pub fn fail_from(&self, n: usize, fault: Fault) {
        let mut state = self.state();
        state.plan = Some((state.calls + n, fault, true));
        state.fired = false;
    }

    /// Cancels the planned faults.
    pub fn heal(&self) {
        let mut state = self.state();
        state.plan = None;
        state.short = false;
    }

    /// Whether a planned fault has happened.
    pub fn fired(&self) -> bool {
        self.state().fired
    }

    /// Operations since [`Self::mark`], reads included.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Operations since [`Self::mark`] that changed the disk: the prefixes [`Self::crash`] can take.
    pub fn changes(&self) -> usize {
        self.state().log.len()
    }

    /// The disk after the first `prefix` changes since [`Self::mark`] and then a power cut.
    #[must_use]
    pub fn crash(&self, prefix: usize, data: Data, names: Names) -> Self {
        let state = self.state();
        let mut disk = state.base.clone();
        for op in &state.log[..prefix.min(state.log.len())] {
            // It succeeded the first time on the same disk.
            let _number = disk.apply(op);
        }
        Self::of(disk.after_power_cut(data, names), state.free)
    }

    /// Whether the disk can exchange two names, as Linux and macOS can.
    pub fn set_exchanges(&self, can: bool) {
        self.state().exchanges = can;
    }

    /// Sets the value that [`Fs::free_space`] returns.
    pub fn set_free_space(&self, bytes: u64) {
        self.state().free = bytes;
    }

    /// A file's bytes, without counting as an operation.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        match &state.disk.nodes[state.disk.find(path).ok()?] {
            Node::File { live, .. } => Some(live.clone()),
            Node::Dir { .. } => None,
        }
    }

    /// Writes bytes to a file (created if missing), synced and not counted as an operation: for tests that damage
    /// files.
    pub fn poke(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let number = match state.disk.find(path) {
            Ok(number) => number,
            Err(_) => state.disk.apply(&Op::Create(path.to_owned()))?,
        };
        for op in [Change::SetLen(0), Change::Append(bytes.to_vec())] {
            state.disk.apply(&Op::Change(number, op))?;
        }
        state.disk.apply(&Op::Sync(number))?;
        Ok(())
    }

    /// The paths of all files, for tests that inspect the whole disk.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let state = self.state();
        let mut found = BTreeSet::new();
        let mut open = vec![(PathBuf::from("/"), 0)];
        while let Some((path, number)) = open.pop() {
            match &state.disk.nodes[number] {
                Node::File { .. } => {
                    found.insert(path);
                }
                Node::Dir { live, .. } => open.extend(live.iter().map(|(name, n)| (path.join(name), *n))),
            }
        }
        found
    }
}

/// A file open for writing.
struct Writer {
    fs: FaultFs,
    number: usize,
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut state = self.fs.state();
        if state.short {
            state.short = false;
            return Err(Fault::NoSpace.error());
        }
        let taken = match state.turn() {
            None => buf.len(),
            Some(Fault::Short) if buf.len() > 1 => {
                state.short = true;
                buf.len() / 2
            }
            Some(fault) => return Err(fault.error()),
        };
        state.change(Op::Change(self.number, Change::Append(buf[..taken].to_vec())))?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for Writer {
    fn sync(&mut self) -> io::Result<Synced> {
        let mut state = self.fs.state();
        state.step()?;
        state.change(Op::Sync(self.number))?;
        Ok(Synced::Yes)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        state.step()?;
        state.change(Op::Change(self.number, Change::SetLen(len as usize)))?;
        Ok(())
    }
}

/// A file open for reading: its bytes when it was opened.
struct Reader {
    fs: FaultFs,
    bytes: Cursor<Vec<u8>>,
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.fs.state().step()?;
        self.bytes.read(buf)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// Frees the lock when dropped, as the kernel does.
struct Guard {
    fs: FaultFs,
    path: PathBuf,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.fs.state().locked.remove(&self.path);
    }
}

impl Fs for FaultFs {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.change(Op::MakeDir(path.to_owned()))?;
        Ok(())
    }

    fn make_dir_like(&self, path: &Path, _like: &Path) -> io::Result<()> {
        self.make_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.step()?;
        let number = state.change(Op::Create(path.to_owned()))?;
        Ok(Box::new(Writer { fs: self.clone(), number }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.step()?;
        let number = match state.disk.find(path) {
            Ok(number) => number,
            Err(_) => state.change(Op::Create(path.to_owned()))?,
        };
        Ok(Box::new(Writer { fs: self.clone(), number }))
    }

    fn open(&self, path: &Path, _links: Links) -> io::Result<(Box<dyn ReadSeek>, u64)> {
        let mut state = self.state();
        state.step()?;
        match &state.disk.nodes[state.disk.find(path)?] {
            Node::File { live, .. } => {
                let len = live.len() as u64;
                Ok((Box::new(Reader { fs: self.clone(), bytes: Cursor::new(live.clone()) }), len))
            }
            Node::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.change(Op::Rename { from: from.to_owned(), to: to.to_owned(), replace: false })?;
        Ok(())
    }

    /// This disk has no second names, like FAT: the bytes are copied.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        self.state().step()?;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !state.exchanges {
            return Err(io::ErrorKind::Unsupported.into());
        }
        state.change(Op::Exchange(one.to_owned(), other.to_owned()))?;
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.change(Op::Rename { from: from.to_owned(), to: to.to_owned(), replace: true })?;
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.change(Op::Remove(path.to_owned()))?;
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.step()?;
        let names = state.disk.dir(path)?.clone();
        let entry = |(name, number): (String, usize)| match &state.disk.nodes[number] {
            Node::File { live, written, .. } => Entry {
                name: name.into(),
                kind: Kind::File,
                len: live.len() as u64,
                modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(*written)),
                names: 1,
            },
            Node::Dir { .. } => Entry { name: name.into(), kind: Kind::Dir, len: 0, modified: None, names: 1 },
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        let mut state = self.state();
        state.step()?;
        Ok(state.disk.find(path).ok().map(|number| match &state.disk.nodes[number] {
            Node::File { .. } => Kind::File,
            Node::Dir { .. } => Kind::Dir,
        }))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<Synced> {
        let mut state = self.state();
        state.step()?;
        state.change(Op::SyncDir(path.to_owned()))?;
        Ok(Synced::Yes)
    }

    fn free_space(&self, _path: &Path) -> io::Result<Option<u64>> {
        let mut state = self.state();
        state.step()?;
        Ok(Some(state.free))
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let mut state = self.state();
        state.step()?;
        if let Some(owner) = state.locked.get(path) {
            return Ok(Lock::Busy(owner.clone()));
        }
        let number = match state.disk.find(path) {
            Ok(number) => number,
            Err(_) => state.change(Op::Create(path.to_owned()))?,
        };
        state.change(Op::Change(number, Change::SetLen(0)))?;
        state.change(Op::Change(number, Change::Append(holder.as_bytes().to_vec())))?;
        state.locked.insert(path.to_owned(), holder.to_owned());
        Ok(Lock::Held(Box::new(Guard { fs: self.clone(), path: path.to_owned() })))
    }
}
