//! Decides which documents are held out for evaluation.
//!
//! The content decides: a document and its duplicates, in whichever source, are on one side, so that an evaluation loss
//! never measures training text. Duplicates have the same hash of the body's letters and digits; spaces, punctuation
//! and a poem's title do not count.

use std::collections::HashSet;

use crate::data::{clean::script::simple, document::Source};

/// The share of documents held out.
pub const SHARE: f64 = 0.08;
/// A source with fewer distinct documents holds none out.
const FEWEST: usize = 10;

/// The hash that identifies a document and its duplicates.
pub type Key = [u8; 16];

/// The indices of documents per source, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Training documents.
    pub train: Vec<Vec<usize>>,
    /// Documents for evaluation.
    pub held_out: Vec<Vec<usize>>,
}

/// A text's letters and digits, by which duplicates are compared.
pub fn normalise(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The same in simplified characters, for finding probes.
pub fn normalise_in_one_script(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).map(simple).collect()
}

/// The hash of a [`normalise`]d text; of the text itself if nothing is left of it.
pub fn key(text: &str) -> Key {
    let normal = normalise(text);
    let hash = blake3::hash(if normal.is_empty() { text.trim() } else { &normal }.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    key
}

/// Splits all sources at once. Never held out: `protected` texts (probes), documents that contain one, documents of a
/// source with `hold_out = false`, and the last remaining documents of a source.
pub fn split(sources: &[Source], protected: &[&str]) -> Split {
    let probes: Vec<String> = protected.iter().map(|t| normalise(t)).filter(|t| !t.is_empty()).collect();
    let mut keep: HashSet<Key> = HashSet::new();
    let keys: Vec<Vec<Key>> = sources
        .iter()
        .map(|source| {
            let documents = source.documents.iter().map(|d| {
                let normal = normalise(d.body());
                let key = key(d.body());
                if !source.hold_out || probes.iter().any(|p| normal.contains(p.as_str())) {
                    keep.insert(key);
                }
                key
            });
            documents.collect()
        })
        .collect();
    split_keys(&keys, keep)
}

/// Splits documents with these keys, per source; those in `keep` are never held out.
pub(crate) fn split_keys(keys: &[Vec<Key>], mut keep: HashSet<Key>) -> Split {
    loop {
        let held = chosen(keys, &keep);
        // A small source with all its documents held out by other sources would have no training text.
        let emptied: Vec<&Vec<Key>> =
            keys.iter().filter(|k| !k.is_empty() && k.iter().all(|key| held.contains(key))).collect();
        if emptied.is_empty() {
            let side = |wanted: bool| {
                let of = |k: &Vec<Key>| (0..k.len()).filter(|i| held.contains(&k[*i]) == wanted).collect();
                keys.iter().map(of).collect()
            };
            return Split { train: side(false), held_out: side(true) };
        }
        keep.extend(emptied.into_iter().flatten());
    }
}

/// The keys held out: by the hash, and at least one of every large enough source.
fn chosen(keys: &[Vec<Key>], keep: &HashSet<Key>) -> HashSet<Key> {
    let mut held = HashSet::new();
    for source in keys {
        let mut different = HashSet::new();
        if !source.iter().any(|key| different.insert(key) && different.len() == FEWEST) {
            continue;
        }
        // Only the smallest hashes are collected.
        let free = || source.iter().filter(|k| !keep.contains(*k));
        let mut any = false;
        for key in free().filter(|k| fraction(k) < SHARE) {
            any = true;
            held.insert(*key);
        }
        if !any {
            held.extend(free().min());
        }
    }
    held
}

/// A key as a number in [0, 1).
fn fraction(key: &Key) -> f64 {
    let head = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    f64::from(head) / 4_294_967_296.0
}
