//! The manifest, the last file written into a checkpoint: name, length and hash of every other file, and its own hash.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    base::{StageId, StageName},
    store::{
        error::StoreError,
        fs::{Fs, Links, read_limited},
        hashed::FileInfo,
        names::{is_plain, is_stage},
    },
};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";

/// The format this danlu writes.
const FORMAT: u32 = 1;

/// Limit on the length of a manifest, enough for more than ten thousand files.
pub(super) const LONGEST: u64 = 4 << 20;

/// Identifies a checkpoint: stage, step and revision, ordered in that order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointId {
    /// The stage, as in `pretrain`.
    pub stage: StageName,
    /// The step after which it was saved.
    pub step: u64,
    /// 0, unless the step was saved again after damage or a rollback.
    pub revision: u32,
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08}", self.stage, self.step)?;
        if self.revision > 0 { write!(f, "-r{}", self.revision) } else { Ok(()) }
    }
}

impl CheckpointId {
    /// The id of the first save of a step.
    pub fn new(stage: StageId, step: u64) -> Self {
        Self { stage: stage.into(), step, revision: 0 }
    }

    /// Parses a folder's name, such as `pretrain-00001200` or `pretrain-00001200-r1`.
    pub fn parse(name: &str) -> Option<Self> {
        let (stage, rest) = name.split_once('-')?;
        let (step, revision) = match rest.split_once("-r") {
            Some((step, revision)) => (step, revision.parse().ok()?),
            None => (rest, 0),
        };
        let id = Self { stage: stage.into(), step: step.parse().ok()?, revision };
        // Accept only the canonical spelling: not `+5`, missing zeros or `-r0`.
        (is_stage(stage) && id.to_string() == name).then_some(id)
    }
}

/// The contents of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    pub(crate) stage: StageName,
    pub(crate) step: u64,
    pub(crate) revision: u32,
    /// Number of the save, counted over all stages of the run: orders saves without a clock.
    pub(crate) serial: u64,
    pub(crate) files: BTreeMap<String, FileInfo>,
    /// blake3 of the manifest with this field empty; it identifies the whole checkpoint.
    pub(crate) digest: String,
}

/// The one field that every version of the manifest has.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

impl Manifest {
    pub(crate) fn new(id: &CheckpointId, serial: u64, files: BTreeMap<String, FileInfo>) -> Self {
        let mut manifest = Self {
            format: FORMAT,
            stage: id.stage.clone(),
            step: id.step,
            revision: id.revision,
            serial,
            files,
            digest: String::new(),
        };
        manifest.digest = manifest.own_digest();
        manifest
    }

    /// The manifest as it is written, to the byte.
    pub(crate) fn text(&self) -> String {
        // Serialising a struct of numbers, strings and a map with string keys cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn own_digest(&self) -> String {
        let empty = Self { digest: String::new(), ..self.clone() };
        blake3::hash(empty.text().as_bytes()).to_hex().to_string()
    }

    /// Reads and checks the manifest of the folder `dir`, which must belong to `id`.
    pub(crate) fn read(disk: &dyn Fs, dir: &Path, id: &CheckpointId) -> Result<Self, StoreError> {
        let damaged = |what: String| StoreError::damaged(dir, what);
        let bytes = match read_limited(disk, &dir.join(MANIFEST), LONGEST, Links::Refuse) {
            Err(StoreError::Input { what, .. }) => return Err(damaged(format!("{MANIFEST}: {what}"))),
            read => read?,
        };
        let manifest = Self::parse(dir, &bytes)?;
        let named = CheckpointId { stage: manifest.stage.clone(), step: manifest.step, revision: manifest.revision };
        if named != *id {
            return Err(damaged(format!("its {MANIFEST} is that of {named}; the folder was renamed or copied")));
        }
        Ok(manifest)
    }

    /// Checks the bytes of a manifest in `dir`, whatever the folder is called.
    pub(super) fn parse(dir: &Path, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |what: String| StoreError::damaged(dir, what);
        // Check the format first: this version cannot judge the fields of a later one.
        if let Ok(Format { format }) = serde_json::from_slice(bytes)
            && format > u64::from(FORMAT)
        {
            let what = format!(
                "{MANIFEST} has format {format}, and this danlu reads up to {FORMAT}; a newer danlu wrote it: update this one"
            );
            return Err(StoreError::newer(dir, what));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|e| damaged(format!("{MANIFEST} was changed or damaged: {e}")))?;
        // The bytes must be exactly what danlu writes, so that a flipped bit in a space or a name is found too.
        if manifest.text().as_bytes() != bytes || manifest.own_digest() != manifest.digest {
            return Err(damaged(format!("{MANIFEST} was changed or damaged (its hash differs)")));
        }
        if let Some(name) = manifest.files.keys().find(|name| !is_inside(name)) {
            return Err(damaged(format!("{MANIFEST} names {name:?}, which is not a file of a checkpoint")));
        }
        Ok(manifest)
    }
}

/// Whether `name` is a valid file name in a checkpoint: a plain name, or one inside one folder (`value/config.json`).
pub(crate) fn is_inside(name: &str) -> bool {
    let mut parts = name.split('/');
    parts.clone().count() <= 2 && parts.all(is_plain) && name != MANIFEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        for name in ["pretrain-00001200", "ppo-00000000", "distill-123456789", "reward-00000001-r12"] {
            assert_eq!(CheckpointId::parse(name).expect(name).to_string(), name);
        }
        for name in [
            "",
            "pretrain",
            "pretrain-",
            "pretrain-1200",
            "pretrain-+0001200",
            "Pretrain-00001200",
            "-00000001",
            "a-00000001-r0",
            "a-00000001-r01",
            "a-00000001-rx",
            ".tmp-a-00000001",
            "a-99999999999999999999999",
            "../a-00000001",
        ] {
            assert_eq!(CheckpointId::parse(name), None, "{name}");
        }
        assert!(CheckpointId::new(StageId::Sft, 9) < CheckpointId::new(StageId::Sft, 10));
    }

    #[test]
    fn file_names_stay_inside() {
        for name in ["config.json", "value/model.safetensors"] {
            assert!(is_inside(name), "{name}");
        }
        for name in ["", "/a", "a/", "../a", "a/../b", "a/b/c", "a\\b", "manifest.json", ".x", "value/.x", "a//b"] {
            assert!(!is_inside(name), "{name}");
        }
    }
}
