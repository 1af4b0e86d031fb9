//! Decides which candidates are near duplicates, by their true similarity to an earlier document that is kept.

use rayon::prelude::*;

use super::minhash::jaccard;
use crate::data::error::DataError;

/// Minimum similarity of near duplicates.
pub const LEAST: f64 = 0.7;
/// Bytes of text that are compared at a time; their shingles take about three times as much.
const AT_ONCE: usize = 16 << 20;

/// A near duplicate and the document it repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The document that is dropped.
    pub dropped: u32,
    /// The document that is kept.
    pub kept: u32,
    /// Their Jaccard similarity.
    pub similarity: f64,
}

/// Of sorted candidates (later, earlier), those with a similarity of at least [`LEAST`] whose earlier document is kept.
/// `size` returns a document's length, `sets` the shingles of some documents, given in ascending order.
pub fn verified(
    candidates: &[(u32, u32)],
    size: impl Fn(u32) -> usize,
    sets: impl Fn(&[u32]) -> Result<Vec<Vec<u64>>, DataError>,
) -> Result<Vec<Pair>, DataError> {
    let mut alike: Vec<Pair> = Vec::new();
    let mut rest = candidates;
    while !rest.is_empty() {
        // As many pairs as fit, at least one. A document in several pairs counts several times, which is on the safe
        // side.
        let mut bytes = 0;
        let fits = |pair: &&(u32, u32)| {
            bytes += size(pair.0) + size(pair.1);
            bytes <= AT_ONCE
        };
        let (some, left) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = left;
        let mut documents: Vec<u32> = some.iter().flat_map(|p| [p.0, p.1]).collect();
        documents.sort_unstable();
        documents.dedup();
        let found = sets(&documents)?;
        let set = |document: u32| documents.binary_search(&document).ok().and_then(|at| found.get(at));
        let compared = some.par_iter().filter_map(|(dropped, kept)| {
            let similarity = jaccard(set(*dropped)?, set(*kept)?);
            (similarity >= LEAST).then_some(Pair { dropped: *dropped, kept: *kept, similarity })
        });
        alike.par_extend(compared);
    }
    let mut found: Vec<Pair> = Vec::new();
    for group in alike.chunk_by(|a, b| a.dropped == b.dropped) {
        // The pairs before are decided. `found` is sorted by the dropped document.
        let stays = |p: &&Pair| found.binary_search_by_key(&p.kept, |f| f.dropped).is_err();
        if let Some(pair) = group.iter().find(stays) {
            found.push(*pair);
        }
    }
    Ok(found)
}
