//! Candidate pairs: documents that share a band.
//!
//! A band is a column of hashes, one per document. It is read at once, or in passes over hash ranges if it has more
//! entries than fit the limit, and sorted so that equal hashes are adjacent. Memory therefore does not grow with the
//! number of documents.

use rayon::prelude::*;

use super::minhash::BANDS;
use crate::data::error::DataError;

/// Limit on the entries of a band in memory: 96 MiB.
pub const HELD: usize = 6 << 20;
/// Up to this many documents with the same hash are all compared with one another; further ones with the first ones and
/// the one before.
const ALL_PAIRS: usize = 16;
/// The number of first ones.
const FIRST_ONES: usize = 8;

/// All pairs (later, earlier) of documents that share a band, sorted, each once. `column` reads a band: it passes on
/// the hash of every document that has one and may be compared. At most `held` of `documents` entries are in memory
/// ([`HELD`] except in tests).
pub fn candidates(
    documents: usize,
    held: usize,
    mut column: impl FnMut(usize, &mut dyn FnMut(u32, u64)) -> Result<(), DataError>,
) -> Result<Vec<(u32, u32)>, DataError> {
    let mut pairs = Vec::new();
    let passes = documents.div_ceil(held.max(1)).max(1) as u64;
    for band in 0..BANDS {
        for pass in 0..passes {
            let mut list = Vec::new();
            column(band, &mut |document, hash| {
                if (u128::from(hash) * u128::from(passes)) >> 64 == u128::from(pass) {
                    list.push((hash, document));
                }
            })?;
            collect(list, &mut pairs);
        }
        pairs.sort_unstable();
        pairs.dedup();
    }
    Ok(pairs)
}

/// Adds the pairs within each group of equal hashes.
fn collect(mut list: Vec<(u64, u32)>, pairs: &mut Vec<(u32, u32)>) {
    list.par_sort_unstable();
    for group in list.chunk_by(|a, b| a.0 == b.0) {
        for (at, (_, later)) in group.iter().enumerate() {
            let first_ones = if group.len() <= ALL_PAIRS { at } else { at.min(FIRST_ONES) };
            pairs.extend(group[..first_ones].iter().map(|(_, earlier)| (*later, *earlier)));
            if at > first_ones {
                pairs.push((*later, group[at - 1].1));
            }
        }
    }
}
