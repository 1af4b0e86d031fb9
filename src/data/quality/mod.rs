//! A quality classifier: how similar a text is to the wanted ones.
//!
//! GPT-3 (Brown et al. 2020, appendix A) filtered Common Crawl by a logistic regression on Spark's HashingTF, with
//! curated texts as positives. Here a text's words, Han characters and pairs of adjacent Han characters are counted
//! into 2^18 buckets and divided by their Euclidean norm, so that length has no influence; script and case are folded,
//! since neither indicates quality. The weights minimise
//!
//! ```text
//! L(w, b) = Σ sᵢ log(1 + exp(−yᵢ (w·xᵢ + b))) + λ/2 |w|²,  yᵢ = ±1,  Σ sᵢ = ½ over each class
//! ```
//! which is convex: the minimum is unique, whatever the order of the examples.

mod features;
mod regression;

use serde::{Deserialize, Serialize};

use super::{clean::Verdict, error::DataError, split::Key};
pub use features::{BUCKETS, Features};
pub use regression::Sample;
use regression::{Problem, sigmoid};

/// The rule of documents that the classifier drops.
pub const QUALITY: &str = "quality";

/// The classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// The weight of every bucket, and the bias.
    weights: Vec<f64>,
}

impl Classifier {
    /// Trains on texts of both classes.
    pub fn train(samples: &[Sample]) -> Result<Self, DataError> {
        for (good, what) in [(true, "wanted"), (false, "unwanted")] {
            if !samples.iter().any(|s| s.good == good && s.weight > 0.0) {
                return Err(DataError::Shape(format!("quality: no {what} text to learn from")));
            }
        }
        // Round to f32 at once, so that a stored classifier gives the same scores.
        let weights = Problem::new(samples).minimum().into_iter().map(|w| f64::from(w as f32)).collect();
        Ok(Self { weights })
    }

    /// The probability that a text is wanted, 0 to 1; ½ if both classes are equally likely.
    pub fn score(&self, features: &Features) -> f64 {
        sigmoid(features.dot(&self.weights) + self.weights[BUCKETS])
    }

    /// The weights as little-endian f32.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.weights.iter().flat_map(|w| (*w as f32).to_le_bytes()).collect()
    }

    /// Parses the bytes that `to_bytes` wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        let weights: Vec<f64> = numbers.iter().map(|n| f64::from(f32::from_le_bytes(*n))).collect();
        let whole = rest.is_empty() && weights.len() == BUCKETS + 1 && weights.iter().all(|w| w.is_finite());
        whole.then_some(Self { weights })
    }
}

/// Selects documents by their score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Keeps a document if a draw from the Pareto distribution with this α exceeds 1 − score, as GPT-3 did with α = 9:
    /// most of the high scores and a few low ones, P(kept | score) = (2 − score)^−α.
    Pareto(f64),
    /// Keeps documents with at least this score.
    Threshold(f64),
}

impl Selection {
    /// The verdict on a document with this score, if it is dropped. The draw is a function of its key, so it is
    /// reproducible.
    pub fn verdict(self, score: f64, key: &Key) -> Option<Verdict> {
        let (kept, threshold) = match self {
            Self::Pareto(alpha) => {
                let threshold = 1.0 - pareto(alpha, key);
                (score > threshold, threshold)
            }
            Self::Threshold(threshold) => (score >= threshold, threshold),
        };
        (!kept).then(|| Verdict { rule: QUALITY.to_owned(), value: score, threshold })
    }
}

/// A draw like numpy's `random.pareto(alpha)`, (1 − U)^(−1/α) − 1, with U in [0, 1) from bytes of the key that are used
/// for nothing else.
fn pareto(alpha: f64, key: &Key) -> f64 {
    let n = key[8..16].iter().fold(0_u64, |n, b| (n << 8) | u64::from(*b));
    let u = (n >> 11) as f64 / (1_u64 << 53) as f64;
    (1.0 - u).powf(-1.0 / alpha) - 1.0
}

/// The area under the ROC curve: the share of (wanted, unwanted) pairs in which the wanted text scores higher, ties
/// counting half. None if a class is empty.
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let good = scores.iter().filter(|s| s.1).count() as f64;
    let bad = scores.len() as f64 - good;
    let (mut below, mut won) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let good = tied.iter().filter(|s| s.1).count() as f64;
        let bad = tied.len() as f64 - good;
        won += good * (below + 0.5 * bad);
        below += bad;
    }
    (good * bad > 0.0).then(|| won / (good * bad))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::data::{builtin_sources, document::Document};

    /// Documents of two built-in sources: training samples, and every fifth held out.
    pub(super) fn told_apart(good: &str, bad: &str) -> (Vec<Sample>, Vec<Sample>) {
        let sources = builtin_sources().unwrap();
        let of = |name: &str| sources.iter().find(|s| s.name == name).unwrap().documents.iter().enumerate();
        let sample = |good: bool| {
            move |(i, d): (usize, &Document)| {
                (i, Sample { features: Features::of(d.body()), good, weight: 1.0 + (i % 3) as f64 })
            }
        };
        let all: Vec<(usize, Sample)> = of(good).map(sample(true)).chain(of(bad).map(sample(false))).collect();
        let (test, train): (Vec<_>, Vec<_>) = all.into_iter().partition(|(i, _)| i % 5 == 0);
        let plain = |v: Vec<(usize, Sample)>| v.into_iter().map(|(_, s)| s).collect();
        (plain(train), plain(test))
    }

    fn key(n: u64) -> Key {
        std::array::from_fn(|i| blake3::hash(&n.to_le_bytes()).as_bytes()[i])
    }

    #[test]
    fn sources_are_distinguished_on_held_out_documents() {
        for (good, bad, least) in [("tang300", "classical", 0.99), ("modern-zh", "classical", 0.99)] {
            let (train, test) = told_apart(good, bad);
            let classifier = Classifier::train(&train).unwrap();
            let scores: Vec<(f64, bool)> = test.iter().map(|s| (classifier.score(&s.features), s.good)).collect();
            let right = scores.iter().filter(|(score, good)| (*score >= 0.5) == *good).count();
            let found = auc(&scores).unwrap();
            assert!(found >= least, "{good} and {bad}: {found}, {right} of {} right", scores.len());
            // The minimum is unique, so the order of the examples does not matter.
            let turned: Vec<Sample> = train.iter().rev().cloned().collect();
            let other = Classifier::train(&turned).unwrap();
            assert!(test.iter().all(|s| (classifier.score(&s.features) - other.score(&s.features)).abs() < 1e-4));
            assert_eq!(classifier, Classifier::train(&train).unwrap(), "the same examples, the same bits");
        }
    }

    #[test]
    fn equal_sources_are_not_distinguished() {
        let sources = builtin_sources().unwrap();
        let documents = &sources.iter().find(|s| s.name == "tang300").unwrap().documents;
        let sample =
            |(i, text): (u64, &str)| Sample { features: Features::of(text), good: key(i)[0] < 128, weight: 1.0 };
        let samples: Vec<Sample> = (0..).zip(documents.iter().map(Document::body)).map(sample).collect();
        let (train, test) = samples.split_at(samples.len() / 2);
        let classifier = Classifier::train(train).unwrap();
        let found = auc(&test.iter().map(|s| (classifier.score(&s.features), s.good)).collect::<Vec<_>>()).unwrap();
        assert!((0.35..0.65).contains(&found), "{found}");
    }

    #[test]
    fn pareto_keeps_as_often_as_its_closed_form() {
        let keys: Vec<Key> = (0..40_000).map(key).collect();
        for alpha in [9.0, 2.0] {
            for score in [0.0, 0.25, 0.5, 0.75, 0.95, 1.0] {
                let kept = keys.iter().filter(|k| Selection::Pareto(alpha).verdict(score, k).is_none()).count();
                let share = kept as f64 / keys.len() as f64;
                let wanted = (2.0_f64 - score).powf(-alpha);
                let sigma = (wanted * (1.0 - wanted) / keys.len() as f64).sqrt();
                assert!((share - wanted).abs() <= 4.0 * sigma + 1e-4, "{alpha} {score}: {share}, not {wanted}");
            }
        }
        let verdict = Selection::Threshold(0.5).verdict(0.25, &key(1)).unwrap();
        assert_eq!((verdict.rule.as_str(), verdict.value, verdict.threshold), (QUALITY, 0.25, 0.5));
        assert_eq!(Selection::Threshold(0.5).verdict(0.5, &key(1)), None);
        let verdict = keys.iter().find_map(|k| Selection::Pareto(9.0).verdict(0.5, k)).unwrap();
        assert!(verdict.value <= verdict.threshold);
    }

    #[test]
    fn the_area_under_the_curve_by_hand() {
        assert_eq!(auc(&[(0.9, true), (0.8, false), (0.7, true), (0.1, false)]), Some(0.75));
        assert_eq!(auc(&[(0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(auc(&[(0.5, true)]), None);
    }

    #[test]
    fn a_classifier_reads_back_and_damage_is_seen() {
        let sample = |text: &str, good| Sample { features: Features::of(text), good, weight: 1.0 };
        let samples = [sample("春眠不觉晓", true), sample("buy cheap pills now", false)];
        let classifier = Classifier::train(&samples).unwrap();
        assert!(classifier.score(&samples[0].features) > 0.5 && classifier.score(&samples[1].features) < 0.5);
        let bytes = classifier.to_bytes();
        assert_eq!(Classifier::from_bytes(&bytes).unwrap(), classifier);
        assert_eq!(Classifier::from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(
            Classifier::from_bytes(&[&[0, 0, 0xC0, 0x7F], &bytes[4..]].concat()),
            None,
            "a weight that is no number"
        );
        let error = Classifier::train(&samples[..1]).unwrap_err().to_string();
        assert!(error.contains("no unwanted text"), "{error}");
    }
}
