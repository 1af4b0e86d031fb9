//! The content hashes of files, without reading unchanged files again.
//!
//! ```text
//! data/files-<version>   a line with the blake3 of the rest; then JSON: stamp and hash of every file
//! ```

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    protocol::{Monitor, Work},
    store::{Fs as _, Links, Preparer, RealFs, read_limited},
    train::{corpus::files::SourceFile, error::TrainError},
};

/// The file's name; a new format needs a new name.
const NAME: &str = "files-000000000000000000000001";
/// Limit on the size of the file.
const LONGEST: u64 = 1 << 30;
/// A file modified this shortly before it was read may change again within the same clock tick without a visible
/// change: its hash is not stored (git's rule for racy entries, with one second there). In nanoseconds.
const RACY: i64 = 2_000_000_000;

/// Metadata that change when a file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Length in bytes.
    pub length: u64,
    /// Times of the last change of content and of metadata, in nanoseconds.
    pub modified: i64,
    pub changed: i64,
    /// Identifies the file on its disk.
    pub inode: u64,
}

/// A file's stamp; None if it cannot be read.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let mut stamp = Stamp { length: found.len(), modified: nanoseconds(found.modified().ok()?), ..Stamp::default() };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        stamp.changed = found.ctime().saturating_mul(1_000_000_000).saturating_add(found.ctime_nsec());
        stamp.inode = found.ino();
    }
    Some(stamp)
}

fn nanoseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|t| i64::try_from(t.as_nanos()).ok()).unwrap_or(i64::MAX)
}

/// A file with its hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub stamp: Option<Stamp>,
    /// The hash of its bytes; None if it could not be read.
    pub content: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Known {
    files: BTreeMap<String, (Stamp, String)>,
}

/// The hashes of files; a file is only read if its stamp has changed.
pub(crate) fn contents(
    preparer: &Preparer,
    files: &[&SourceFile],
    monitor: &Monitor,
) -> Result<Vec<Found>, TrainError> {
    let known = read(preparer).unwrap_or_default();
    let began = nanoseconds(SystemTime::now());
    let stamped: Vec<(Option<Stamp>, Option<String>)> = files
        .par_iter()
        .map(|file| {
            let stamp = stamp(&file.path);
            let before = file.path.to_str().and_then(|path| known.files.get(path));
            (stamp, before.filter(|(then, _)| stamp == Some(*then)).map(|(_, content)| content.clone()))
        })
        .collect();
    let unread = stamped.iter().filter(|(_, content)| content.is_none());
    let (done, of) = (AtomicU64::new(0), unread.filter_map(|(stamp, _)| Some(stamp.as_ref()?.length)).sum());
    let read = |bytes: usize| {
        let done = done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        monitor.report(Work::Hash, done, of);
        !monitor.is_given_up()
    };
    let found: Vec<Found> = files
        .par_iter()
        .zip(stamped)
        .map(|(file, (stamp, known))| Found { stamp, content: known.or_else(|| content(&file.path, &read)) })
        .collect();
    monitor.check()?;
    let mut next = Known::default();
    for (file, found) in files.iter().zip(&found) {
        let (Some(path), Some(stamp), Some(content)) = (file.path.to_str(), found.stamp, &found.content) else {
            continue;
        };
        if stamp.modified.max(stamp.changed).saturating_add(RACY) < began {
            next.files.insert(path.to_owned(), (stamp, content.clone()));
        }
    }
    if next.files != known.files
        && let Ok(json) = serde_json::to_string(&next)
    {
        preparer.write(NAME, format!("{}\n{json}", blake3::hash(json.as_bytes())).as_bytes())?;
    }
    Ok(found)
}

fn read(preparer: &Preparer) -> Option<Known> {
    let view = preparer.view();
    let bytes = read_limited(&**view.disk(), &view.data_dir().join(NAME), LONGEST, Links::Refuse).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (hash, json) = text.split_once('\n')?;
    (blake3::hash(json.as_bytes()).to_string() == hash).then(|| serde_json::from_str(json).ok()).flatten()
}

/// Hashes a file, unless `read` gives it up.
fn content(path: &Path, read: &dyn Fn(usize) -> bool) -> Option<String> {
    let (mut file, _) = RealFs.open(path, Links::Follow).ok()?;
    let mut hash = blake3::Hasher::new();
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hash.finalize().to_hex()[..32].to_owned()),
            n if read(n) => hash.update(&piece[..n]),
            _ => return None,
        };
    }
}
