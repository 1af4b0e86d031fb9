//! Packs whole examples into rows.
//!
//! An example of n tokens takes n − 1 positions of a row: its last token is only a target. Examples in one row do not
//! see each other: `starts` has, for every position, the start of its example, which is all that attention and position
//! embeddings need.

use std::collections::BTreeSet;

use crate::data::{
    error::DataError,
    tokens::example::{Example, IGNORED},
};

/// Limit on the rows that are open during planning.
const OPEN_ROWS: usize = 128;

/// A row of examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedRow {
    /// The inputs.
    pub ids: Vec<u32>,
    /// The next token of each position where it is trained, [`IGNORED`] elsewhere and in the padding.
    pub targets: Vec<i32>,
    /// For every position the first position of its example; a padding position is its own start.
    pub starts: Vec<u32>,
    /// Positions that are not padding.
    pub places: usize,
}

/// Plans which examples share a row of `window` positions. `lengths` are token counts; the examples in `order` are
/// placed one by one, each into the fullest open row with room, else into a new one. Rows are in the order they were
/// opened, so a shuffled order gives shuffled rows. Deterministic.
pub fn plan(lengths: &[usize], order: &[usize], window: usize) -> Result<Vec<Vec<usize>>, DataError> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    // Open rows by (free positions, row).
    let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
    for example in order {
        let Some(length) = lengths.get(*example) else {
            return Err(DataError::Conversations(format!(
                "the order names example {example}, of {} examples",
                lengths.len()
            )));
        };
        let places = length.saturating_sub(1);
        if places > window {
            return Err(too_long(*example, places, window));
        }
        let fullest = open.range((places, 0)..).next().copied();
        let (free, row) = fullest.unwrap_or((window, rows.len()));
        if row == rows.len() {
            rows.push(Vec::new());
        }
        open.remove(&(free, row));
        rows[row].push(*example);
        open.insert((free - places, row));
        if open.len() > OPEN_ROWS {
            open.pop_first();
        }
    }
    Ok(rows)
}

/// A row with these examples, padded with `pad`.
pub fn fill_row(examples: &[&Example], window: usize, pad: u32) -> Result<PackedRow, DataError> {
    let mut row = PackedRow {
        ids: Vec::with_capacity(window),
        targets: Vec::with_capacity(window),
        starts: Vec::with_capacity(window),
        places: 0,
    };
    for (at, example) in examples.iter().enumerate() {
        let places = example.ids.len().saturating_sub(1);
        if row.ids.len() + places > window {
            return Err(too_long(at, row.ids.len() + places, window));
        }
        let start = row.ids.len() as u32;
        row.ids.extend_from_slice(&example.ids[..places]);
        row.targets.extend(example.labels.iter().skip(1));
        row.starts.resize(row.ids.len(), start);
    }
    row.places = row.ids.len();
    row.starts.extend(row.ids.len() as u32..window as u32);
    row.ids.resize(window, pad);
    row.targets.resize(window, IGNORED);
    Ok(row)
}

fn too_long(example: usize, places: usize, window: usize) -> DataError {
    DataError::Conversations(format!(
        "with example {example} a row would have {places} places, more than its {window}; fit the examples to this window first"
    ))
}
