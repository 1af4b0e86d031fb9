//! The manifest in a folder of weights that the user names by path: a checkpoint that was copied, renamed or
//! downloaded.

use std::{collections::BTreeMap, io, path::Path};

use serde_json::Value;

use super::{
    load::check_file,
    manifest::{LONGEST, MANIFEST, Manifest},
};
use crate::store::{
    error::{At, StoreError},
    fs::{Fs, Links, read_limited},
    hashed::FileInfo,
};

/// Advice for a file whose bytes differ from the manifest.
const ADVICE: &str = "copy the folder again, or delete manifest.json if you changed these files";

/// The files of a folder, as its manifest lists them.
#[derive(Debug)]
pub struct ManifestBeside<'a> {
    disk: &'a dyn Fs,
    dir: &'a Path,
    links: Links,
    files: BTreeMap<String, FileInfo>,
}

/// The manifest of a folder with any name; `None` if danlu did not write one.
pub fn manifest_beside<'a>(
    disk: &'a dyn Fs,
    dir: &'a Path,
    links: Links,
) -> Result<Option<ManifestBeside<'a>>, StoreError> {
    let path = dir.join(MANIFEST);
    match disk.open(&path, links) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        opened => drop(opened.at("open", &path)?),
    }
    let bytes = read_limited(disk, &path, LONGEST, links)?;
    if is_foreign(&bytes) && disk.open(&dir.join("state.json"), links).is_err() {
        return Ok(None);
    }
    let manifest = Manifest::parse(dir, &bytes).map_err(|e| match e {
        StoreError::Damaged { what, .. } => StoreError::input(dir, format!("{what}; {ADVICE}")),
        newer => newer,
    })?;
    Ok(Some(ManifestBeside { disk, dir, links, files: manifest.files }))
}

impl ManifestBeside<'_> {
    /// The files that the manifest lists.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True when it lists no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How the files differ from the manifest, a sentence each: missing ones, and those with other bytes. Reads all of
    /// their bytes.
    pub fn differences(&self) -> Result<Vec<String>, StoreError> {
        let mut differences = Vec::new();
        for (name, info) in &self.files {
            match check_file(self.disk, self.dir, name, info, self.links) {
                Err(StoreError::Damaged { what, .. }) => differences.push(what),
                checked => checked?,
            }
        }
        Ok(differences)
    }

    /// Compares a file, if it exists, with the manifest.
    pub fn check(&self, name: &str) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let is_there = self.disk.open(&path, self.links).is_ok();
        let differs = |what: &str| StoreError::input(self.dir, format!("{what}; {ADVICE}"));
        match self.files.get(name) {
            Some(info) if is_there => match check_file(self.disk, self.dir, name, info, self.links) {
                Err(StoreError::Damaged { what, .. }) => Err(differs(&what)),
                checked => checked,
            },
            None if is_there => Err(differs(&format!("{name} is not among the files that were saved with {MANIFEST}"))),
            // A missing file is reported by the code that needs it.
            _ => Ok(()),
        }
    }
}

/// Whether the manifest is another program's: JSON with almost none of our fields. Bytes that are not JSON may be a
/// damaged manifest of ours.
fn is_foreign(bytes: &[u8]) -> bool {
    const OURS: [&str; 7] = ["format", "stage", "step", "revision", "serial", "files", "digest"];
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(fields)) => OURS.iter().filter(|key| fields.contains_key(**key)).count() < 4,
        Ok(_) => true,
        Err(_) => false,
    }
}
