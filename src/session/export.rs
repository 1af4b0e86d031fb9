//! Exports of a screen that only reads: outside the folder that it reads.

use std::path::{Path, PathBuf};

use crate::{
    protocol::Event,
    store::{RealFs, write_new, write_numbered},
};

/// Writes an export: to `path`, else under `name` in the current folder. Nothing is written into `kept`.
pub(super) fn export(kept: Option<&Path>, name: &str, path: Option<&PathBuf>, bytes: &[u8]) -> Event {
    let folder = path.map_or_else(|| PathBuf::from("."), |path| folder_of(path));
    if kept.is_some_and(|kept| is_inside(&folder, kept)) {
        let text = "nothing is written into the folder that is read here; name a file elsewhere: export svg FILE";
        return Event::Refused { text: text.to_owned() };
    }
    let written = match path {
        Some(path) => write_new(&RealFs, path, bytes).map(|()| path.clone()),
        None => write_numbered(&RealFs, &folder, name, bytes),
    };
    match written {
        Ok(path) => Event::Exported { path },
        Err(e) => Event::Refused { text: e.to_string() },
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether a folder is another one or in it. One that cannot be found is refused where it is written to.
fn is_inside(folder: &Path, other: &Path) -> bool {
    match (folder.canonicalize(), other.canonicalize()) {
        (Ok(folder), Ok(other)) => folder.starts_with(other),
        _ => false,
    }
}
