//! Checkpoints: published whole or not at all, verified before they are loaded.

mod adopt;
mod beside;
mod load;
mod manifest;
mod retention;
mod save;

pub(super) use self::retention::{Swept, sweep};
pub use self::{
    beside::{ManifestBeside, manifest_beside},
    load::{Checkpoint, Checkpoints, Found, Skipped},
    manifest::{CheckpointId, MANIFEST},
    retention::{Keep, Retained},
    save::{NewFile, RESERVE, Saved, Saver},
};
