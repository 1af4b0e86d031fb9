//! Reproducible random numbers, and texts made from them.

#![allow(missing_docs, unreachable_pub, reason = "seen by tests only")]
#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use danlu::data::clean::Funnel;

/// A sequence of random numbers from a seed (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    pub fn percent(&mut self, p: usize) -> bool {
        self.below(100) < p
    }

    /// `length` characters, each one of `of` Han characters.
    pub fn han(&mut self, length: usize, of: usize) -> String {
        (0..length).map(|_| char::from_u32(0x4E00 + self.below(of) as u32).unwrap()).collect()
    }
}

/// Lines of five characters for poem `i`, from `of` Han characters. No two poems are equal.
pub fn lines(i: u32, of: u32) -> [String; 4] {
    let han = |n: u32| char::from_u32(0x4E00 + (n.wrapping_mul(2_654_435_761) >> 16) % of).unwrap();
    [0, 1, 2, 3].map(|l| (0..5).map(|c| han(i * 97 + l * 11 + c + 1)).collect())
}

/// Texts as records, one a line.
pub fn jsonl(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    texts.into_iter().map(|text| serde_json::json!({"text": text.as_ref()}).to_string() + "\n").collect()
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Whether documents in = documents kept + documents dropped, also in bytes.
pub fn adds_up(funnel: &Funnel) -> bool {
    let dropped = funnel.dropped.values();
    funnel.documents_in == funnel.kept.documents + dropped.clone().map(|t| t.documents).sum::<u64>()
        && funnel.bytes_in == funnel.kept.bytes + dropped.map(|t| t.bytes).sum::<u64>()
}
