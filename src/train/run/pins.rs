//! The checkpoints that the user keeps: `pins.jsonl`.

use serde::{Deserialize, Serialize};

use crate::store::{CheckpointId, Run, RunView, StoreError, each_record};

/// A line: from here on a checkpoint is kept, or no longer.
#[derive(Serialize, Deserialize)]
struct Pin {
    checkpoint: String,
    pinned: bool,
}

/// The checkpoints that are kept.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn read(view: &RunView) -> Result<Vec<CheckpointId>, StoreError> {
    let mut pinned: Vec<CheckpointId> = Vec::new();
    each_record(&**view.disk(), &view.pins_path(), |record| {
        let Ok(pin) = Pin::deserialize(record) else { return };
        let Some(id) = CheckpointId::parse(&pin.checkpoint) else { return };
        pinned.retain(|other| *other != id);
        if pin.pinned {
            pinned.push(id);
        }
    })?;
    Ok(pinned)
}

/// Keeps a checkpoint from now on, or no longer; durable on return.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(run: &Run, id: &CheckpointId, pinned: bool) -> Result<(), StoreError> {
    let mut log = run.pins()?;
    log.append(&Pin { checkpoint: id.to_string(), pinned })?;
    log.sync().map(drop)
}
