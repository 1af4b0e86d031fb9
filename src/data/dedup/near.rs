//! Candidates to duplicates: the true similarity decides, and an earlier document that stays.

use rayon::prelude::*;

use super::minhash::jaccard;
use crate::data::error::DataError;

/// The similarity from which documents are duplicates.
pub const LEAST: f64 = 0.7;
/// Later documents compared at once.
const AT_ONCE: usize = 4096;

/// A document that is nearly an earlier one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The one that is dropped.
    pub dropped: u32,
    /// The one that stays.
    pub kept: u32,
    /// Their Jaccard similarity.
    pub similarity: f64,
}

/// Of candidates (later, earlier), ascending, those whose similarity is [`LEAST`] at least and whose earlier
/// document stays. `shingles` gives a document's set.
pub fn verified(
    candidates: &[(u32, u32)],
    shingles: impl Fn(u32) -> Result<Vec<u64>, DataError> + Sync,
) -> Result<Vec<Pair>, DataError> {
    let mut found: Vec<Pair> = Vec::new();
    let groups: Vec<&[(u32, u32)]> = candidates.chunk_by(|a, b| a.0 == b.0).collect();
    for some in groups.chunks(AT_ONCE) {
        let compared: Result<Vec<Vec<Pair>>, DataError> = some
            .par_iter()
            .map(|group| {
                let later = shingles(group[0].0)?;
                let mut alike = Vec::new();
                for (dropped, kept) in *group {
                    let similarity = jaccard(&later, &shingles(*kept)?);
                    if similarity >= LEAST {
                        alike.push(Pair { dropped: *dropped, kept: *kept, similarity });
                    }
                }
                Ok(alike)
            })
            .collect();
        for alike in compared? {
            // Those before it are decided. `found` is in ascending order of what is dropped.
            let stays = |p: &&Pair| found.binary_search_by_key(&p.kept, |f| f.dropped).is_err();
            if let Some(pair) = alike.iter().find(stays) {
                found.push(*pair);
            }
        }
    }
    Ok(found)
}
