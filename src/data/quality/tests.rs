//! The classifier on the built-in sources, and against its closed forms.

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::data::{builtin_sources, document::Document};

/// Documents of two built-in sources: those trained on, and every fifth held out.
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
fn sources_are_told_apart_held_out() {
    for (good, bad, least) in [("tang300", "classical", 0.99), ("modern-zh", "classical", 0.99)] {
        let (train, test) = told_apart(good, bad);
        let classifier = Classifier::train(&train).unwrap();
        let scores: Vec<(f64, bool)> = test.iter().map(|s| (classifier.score(&s.features), s.good)).collect();
        let right = scores.iter().filter(|(score, good)| (*score >= 0.5) == *good).count();
        let found = auc(&scores).unwrap();
        assert!(found >= least, "{good} and {bad}: {found}, {right} of {} right", scores.len());
        // The minimum is one: the order of the examples is none of it.
        let turned: Vec<Sample> = train.iter().rev().cloned().collect();
        let other = Classifier::train(&turned).unwrap();
        assert!(test.iter().all(|s| (classifier.score(&s.features) - other.score(&s.features)).abs() < 1e-4));
        assert_eq!(classifier, Classifier::train(&train).unwrap(), "the same examples, the same bits");
    }
}

#[test]
fn what_is_no_different_is_not_told_apart() {
    let sources = builtin_sources().unwrap();
    let documents = &sources.iter().find(|s| s.name == "tang300").unwrap().documents;
    let sample = |(i, text): (u64, &str)| Sample { features: Features::of(text), good: key(i)[0] < 128, weight: 1.0 };
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
    assert!(error.contains("not wanted"), "{error}");
}
