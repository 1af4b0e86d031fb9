//! Opening a file of token ids.

use std::path::Path;

use crate::{
    cli::Failure,
    data::{DataError, Ids, LARGEST_IDS},
    store::{Links, RealFs, open_input},
    train::TrainError,
};

/// Reads a file and checks every number against the vocabulary.
pub(super) fn read(path: &Path, vocab: usize) -> Result<Ids, Failure> {
    let (input, bytes) = open_input(&RealFs, path, Links::Follow).map_err(TrainError::from)?;
    let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    if bytes > LARGEST_IDS {
        return Err(wrong(format!(
            "the file has {bytes} bytes, more than the allowed {LARGEST_IDS}; split its rows into several files"
        )));
    }
    Ids::read(input, bytes, vocab).map_err(|e| match e {
        DataError::Io(e) => Failure::work(format!("{} cannot be read: {e}; check the disk", path.display())),
        other => wrong(other.to_string()),
    })
}
