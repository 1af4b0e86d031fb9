//! Files of token ids: `{"input_ids": [[…],…], "labels": [[…],…]}`.

use std::path::Path;

use serde::Deserialize;

use super::Failure;
use crate::{
    nn::IGNORE_INDEX,
    store::{Links, RealFs, read_limited},
};

/// Largest file of ids.
const LIMIT: u64 = 1 << 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    input_ids: Vec<Vec<i64>>,
    labels: Option<Vec<Vec<i64>>>,
}

/// Rows of ids with their labels (the ids themselves where the file has none), unshifted.
pub(crate) struct Ids {
    pub rows: Vec<Vec<u32>>,
    pub labels: Vec<Vec<i32>>,
}

impl Ids {
    /// Reads a file and checks every number against the vocabulary.
    pub(crate) fn read(path: &Path, vocab: usize) -> Result<Ids, Failure> {
        let bytes = read_limited(&RealFs, path, LIMIT, Links::Follow).map_err(crate::train::TrainError::from)?;
        let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
        let file: File =
            serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)).map_err(|e| {
                wrong(format!(
                    "{e}; expected {{\"input_ids\": [[…], …]}} and, optionally, \"labels\" of the same shape"
                ))
            })?;
        if file.input_ids.is_empty() {
            return Err(wrong("input_ids has no row".to_owned()));
        }
        let inside = |id: i64| usize::try_from(id).is_ok_and(|id| id < vocab);
        let mut rows = Vec::new();
        for (r, row) in file.input_ids.iter().enumerate() {
            if row.is_empty() {
                return Err(wrong(format!("input_ids row {r} is empty")));
            }
            if let Some((t, id)) = row.iter().enumerate().find(|(_, id)| !inside(**id)) {
                return Err(wrong(format!("input_ids row {r}, place {t}: {id} is outside the vocabulary of {vocab}")));
            }
            rows.push(row.iter().map(|id| *id as u32).collect());
        }
        let labels = file.labels.unwrap_or_else(|| file.input_ids.clone());
        if labels.len() != rows.len() {
            return Err(wrong(format!("labels has {} rows, input_ids has {}", labels.len(), rows.len())));
        }
        let mut checked = Vec::new();
        for (r, (row, ids)) in labels.iter().zip(&file.input_ids).enumerate() {
            if row.len() != ids.len() {
                return Err(wrong(format!("labels row {r} has {} numbers, its input_ids {}", row.len(), ids.len())));
            }
            if let Some((t, l)) = row.iter().enumerate().find(|(_, l)| **l != i64::from(IGNORE_INDEX) && !inside(**l)) {
                return Err(wrong(format!(
                    "labels row {r}, place {t}: {l} is neither {IGNORE_INDEX} nor in the vocabulary of {vocab}"
                )));
            }
            checked.push(row.iter().map(|l| *l as i32).collect());
        }
        Ok(Ids { rows, labels: checked })
    }

    /// The longest row.
    pub(crate) fn width(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Rows `range` as one block of `width` columns: ids filled with 0, labels shifted by one and
    /// filled with −100. Causal attention keeps the filling away from the text before it.
    pub(crate) fn block(&self, range: std::ops::Range<usize>, width: usize) -> (Vec<u32>, Vec<i32>) {
        let mut ids = Vec::with_capacity(range.len() * width);
        let mut targets = Vec::with_capacity(range.len() * width);
        for r in range {
            let (row, labels) = (&self.rows[r], &self.labels[r]);
            ids.extend(row.iter().copied().chain(std::iter::repeat(0)).take(width));
            targets.extend(labels.iter().skip(1).copied().chain(std::iter::repeat(IGNORE_INDEX)).take(width));
        }
        (ids, targets)
    }
}
