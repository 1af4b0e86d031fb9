//! The features of a text: its words, Han characters and pairs of adjacent Han characters, hashed into buckets.

use crate::data::{clean::script::simple, document::is_han};

/// Bits of a bucket index.
const BITS: u32 = 18;
/// Number of buckets.
pub const BUCKETS: usize = 1 << BITS;
/// A text as (bucket, value) with norm 1; empty for a text without letters and digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features(pub(super) Vec<(u32, f32)>);

/// Salts that separate the hashes of words, characters and pairs.
const WORD: u64 = 0xCBF2_9CE4_8422_2325;
const PAIR: u64 = 1 << 63;

/// The bucket of a hash (SplitMix64's finaliser).
fn bucket(hash: u64) -> u32 {
    let x = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> (64 - BITS)) as u32
}

impl Features {
    /// Computes the features of a text.
    pub fn of(text: &str) -> Self {
        let mut found = Vec::new();
        let (mut word, mut before) = (None, None);
        for c in text.chars().map(simple) {
            let letter = c.is_alphanumeric();
            if is_han(c) || !letter {
                found.extend(word.take().map(bucket));
            }
            if is_han(c) {
                found.push(bucket(u64::from(c)));
                found.extend(before.map(|b| bucket(PAIR | (u64::from(b) << 32) | u64::from(c))));
            } else if letter {
                // FNV-1a, one character at a time.
                let add = |hash: u64, c: char| (hash ^ u64::from(c)).wrapping_mul(0x0100_0000_01B3);
                word = Some(c.to_lowercase().fold(word.unwrap_or(WORD), add));
            }
            before = is_han(c).then_some(c);
        }
        found.extend(word.map(bucket));
        found.sort_unstable();
        let mut counts: Vec<(u32, f32)> = Vec::new();
        for bucket in found {
            match counts.last_mut() {
                Some((last, n)) if *last == bucket => *n += 1.0,
                _ => counts.push((bucket, 1.0)),
            }
        }
        let norm = counts.iter().map(|(_, n)| f64::from(*n).powi(2)).sum::<f64>().sqrt();
        Self(counts.into_iter().map(|(at, n)| (at, (f64::from(n) / norm) as f32)).collect())
    }

    pub(super) fn dot(&self, weights: &[f64]) -> f64 {
        self.0.iter().map(|(at, x)| weights[*at as usize] * f64::from(*x)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_without_case_script_and_length() {
        let of = Features::of;
        assert_eq!(of("The furnace, THE Furnace!"), of("the furnace"));
        assert_eq!(of("處處聞啼鳥"), of("处处闻啼鸟"));
        assert_eq!(of(" 。…\n"), Features::default());
        // Three characters and two pairs; the comma separates one of them.
        assert_eq!((of("春眠晓").0.len(), of("春眠，晓").0.len(), of("春眠abc晓 x1").0.len()), (5, 4, 6));
        assert_ne!(of("春眠"), of("眠春"));
        let norm: f64 = of("a a b 春 春 春").0.iter().map(|(_, x)| f64::from(*x).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
    }
}
