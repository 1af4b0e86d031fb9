//! Which documents are held out for evaluation.
//!
//! Decided by content: a document and its duplicates, in whichever sources they are, fall on one
//! side, so that an evaluation loss never measures what was trained on. Duplicates are found by the
//! hash of the body's letters and digits; spaces, punctuation and a poem's title do not count.

use std::collections::HashSet;

use crate::data::{clean::script::simple, document::Source};

/// The share of documents held out.
pub const SHARE: f64 = 0.08;
/// Sources with fewer different documents than this give none of their own.
const FEWEST: usize = 10;

/// A document's identity under which duplicates meet.
pub type Key = [u8; 16];

/// The documents' indices per source, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Documents to train on.
    pub train: Vec<Vec<usize>>,
    /// Documents to evaluate on.
    pub held_out: Vec<Vec<usize>>,
}

/// A text's letters and digits, as duplicates are compared by.
pub fn normalise(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The same in simplified characters, as probes are looked for.
pub fn normalise_in_one_script(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).map(simple).collect()
}

/// The hash of a text's [`normalise`]d form; of the text itself where nothing is left of it.
pub fn key(text: &str) -> Key {
    let normal = normalise(text);
    let hash = blake3::hash(if normal.is_empty() { text.trim() } else { &normal }.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    key
}

/// Splits all sources at once. `protected` texts (probes) are never held out, nor are documents that
/// contain one, nor documents of a source with `hold_out = false`, nor a source's last documents.
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

/// Splits what has these keys, per source; those in `keep` are never held out.
pub(crate) fn split_keys(keys: &[Vec<Key>], mut keep: HashSet<Key>) -> Split {
    loop {
        let held = chosen(keys, &keep);
        // A small source whose every document is held out elsewhere would be left with nothing.
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

/// The keys held out: by the hash itself, and at least one of every source large enough.
fn chosen(keys: &[Vec<Key>], keep: &HashSet<Key>) -> HashSet<Key> {
    let mut held = HashSet::new();
    for source in keys {
        let mut different = HashSet::new();
        if !source.iter().any(|key| different.insert(key) && different.len() == FEWEST) {
            continue;
        }
        // Few of many: only those below the share are gathered.
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
