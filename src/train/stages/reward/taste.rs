//! The user's taste: what votes add to the reward model's score, as weights of plain features.
//!
//! The network stays as the pairs trained it. A fit starts from nothing: it is a function of the network and of the
//! votes that count, so that taking a vote back gives the bits from before it. Training pairs take part in the fit, so
//! that a taste does not overrule what they teach.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    data::{TextFeature, Tokenizer, candidates},
    nn::feedback::{TasteFit, TastePair, fit_taste},
    store::{Checkpoint, StoreError},
};

/// Its file in a reward checkpoint.
pub(crate) const FILE: &str = "taste.json";
/// The version of the file.
const FORMAT: u32 = 1;
/// Limit on the length of the file.
const LIMIT: u64 = 4 << 20;
/// What all training pairs together weigh, per vote: the first with which the taste costs no more than [`COST`].
const PAIRS_SHARES: [f64; 9] = [0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0];
/// The largest share of the training pairs that a taste may turn from right to wrong.
const COST: f64 = 0.02;
/// Candidates that are fitted; of more the ones in which the most votes differ.
const MOST: usize = 2048;
/// A feature is a candidate if this many votes differ in it.
const LEAST: usize = 2;
/// Smaller weights are left out of the file.
const SMALL: f64 = 1e-3;
/// How probable it is that a taste is about the form rather than about words.
const FORM: f64 = 0.5;
/// Groups of votes that are predicted from the others.
const FOLDS: usize = 5;

/// A pair of texts with the network's scores, as optimised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScoredPair {
    pub prompt: String,
    pub chosen: String,
    pub rejected: String,
    /// Score of the chosen answer minus that of the rejected one.
    pub network: f64,
    pub margin: f64,
}

/// A feature and what it adds to the normalised score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Liking {
    /// The feature.
    pub feature: TextFeature,
    /// Its weight, in standard deviations of the reference answers' scores.
    pub weight: f64,
}

/// A taste; the default is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taste {
    /// Version of the file.
    format: u32,
    /// The votes that it was fitted to, by the numbers of their pairs.
    pub votes: Vec<u64>,
    /// What all training pairs together weighed in the fit, per vote.
    pub pairs: f64,
    /// The likings, the strongest first.
    pub likings: Vec<Liking>,
}

impl Default for Taste {
    fn default() -> Self {
        Taste { format: FORMAT, votes: Vec::new(), pairs: PAIRS_SHARES[0], likings: Vec::new() }
    }
}

impl Taste {
    /// What it adds to the normalised score of an answer.
    pub fn of(&self, prompt: &str, answer: &str) -> f64 {
        self.likings.iter().map(|l| l.weight * l.feature.of(prompt, answer)).sum()
    }

    /// The taste of the votes with these numbers. `deviation` is the standard deviation of the network's scores of
    /// reference answers.
    pub(crate) fn fit(ids: Vec<u64>, votes: &[ScoredPair], pairs: &[ScoredPair], deviation: f64) -> Taste {
        let (share, likings) = likings(votes, pairs, deviation, &PAIRS_SHARES);
        Taste { format: FORMAT, votes: ids, pairs: share, likings }
    }

    /// Reads the taste beside a reward model; none if its checkpoint has no such file.
    pub fn read(checkpoint: &Checkpoint) -> Result<Taste, StoreError> {
        if !checkpoint.files.contains_key(FILE) {
            return Ok(Taste::default());
        }
        let path = checkpoint.path.join(FILE);
        Taste::parse(&checkpoint.read(FILE, LIMIT)?).map_err(|what| StoreError::Input { path, what })
    }

    /// Parses the file's content.
    pub fn parse(bytes: &[u8]) -> Result<Taste, String> {
        let taste: Taste = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if taste.format != FORMAT {
            return Err(format!("it has format {}, and this danlu reads {FORMAT}", taste.format));
        }
        if !(taste.pairs.is_finite() && taste.pairs >= 0.0) {
            return Err(format!("it has the weight {} for pairs", taste.pairs));
        }
        match taste.likings.iter().find(|l| !(l.weight.is_finite() && l.feature.is_plausible())) {
            Some(l) => Err(format!("it has the liking {:?} with weight {}", l.feature, l.weight)),
            None => Ok(taste),
        }
    }

    /// The file's content; None without votes.
    pub(crate) fn file(&self) -> Option<String> {
        (!self.votes.is_empty()).then(|| serde_json::to_string_pretty(self).unwrap_or_default() + "\n")
    }
}

/// Votes that are predicted correctly by the taste of the others, and their number: each of five groups in turn is left
/// out. The pairs weigh `share` per vote.
pub(crate) fn predicted(votes: &[ScoredPair], pairs: &[ScoredPair], deviation: f64, share: f64) -> (usize, usize) {
    let folds = FOLDS.min(votes.len());
    if folds < 2 {
        return (0, 0);
    }
    let mut right = 0;
    for fold in 0..folds {
        let (out, rest): (Vec<_>, Vec<_>) = votes.iter().enumerate().partition(|(at, _)| at % folds == fold);
        let rest: Vec<ScoredPair> = rest.into_iter().map(|(_, vote)| vote.clone()).collect();
        let taste = Taste { likings: likings(&rest, pairs, deviation, &[share]).1, ..Taste::default() };
        let agrees = |v: &ScoredPair| {
            v.network / deviation + taste.of(&v.prompt, &v.chosen) - taste.of(&v.prompt, &v.rejected) > 0.0
        };
        right += out.iter().filter(|(_, vote)| agrees(vote)).count();
    }
    (right, votes.len())
}

/// How much a vote counts compared with one of `pairs` pairs that together weigh `share` per vote.
pub(crate) fn vote_counts_for(votes: usize, pairs: usize, share: f64) -> f64 {
    if votes == 0 { 0.0 } else { pairs as f64 / (share * votes as f64) }
}

/// Differences of the features: those of the better answer minus those of the other, without zeros.
fn differences<'a>(pair: &ScoredPair, features: impl Iterator<Item = (usize, &'a TextFeature)>) -> Vec<(usize, f64)> {
    let of =
        |(at, f): (usize, &TextFeature)| (at, f.of(&pair.prompt, &pair.chosen) - f.of(&pair.prompt, &pair.rejected));
    features.map(of).filter(|(_, x)| *x != 0.0).collect()
}

/// The likings of a fit, with the first of the `shares` at which they cost little, or else the last.
fn likings(votes: &[ScoredPair], pairs: &[ScoredPair], deviation: f64, shares: &[f64]) -> (f64, Vec<Liking>) {
    let mut counts: BTreeMap<TextFeature, usize> = BTreeMap::new();
    for vote in votes {
        let all: std::collections::BTreeSet<TextFeature> =
            candidates(&vote.chosen).into_iter().chain(candidates(&vote.rejected)).collect();
        for feature in all {
            if feature.of(&vote.prompt, &vote.chosen) != feature.of(&vote.prompt, &vote.rejected) {
                *counts.entry(feature).or_default() += 1;
            }
        }
    }
    let mut found: Vec<(TextFeature, usize)> = counts.into_iter().filter(|(_, n)| *n >= LEAST).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found.truncate(MOST);
    let features: Vec<TextFeature> = found.into_iter().map(|(feature, _)| feature).collect();
    let words = features.iter().filter(|f| f.is_word()).count();
    let prior = |f: &TextFeature| {
        if f.is_word() { (1.0 - FORM) / words as f64 } else { FORM / (features.len() - words) as f64 }
    };
    let priors: Vec<f64> = features.iter().map(prior).collect();
    let row = |pair: &ScoredPair, weight: f64| TastePair {
        network: pair.network,
        margin: pair.margin,
        weight,
        features: differences(pair, features.iter().enumerate()),
    };
    let mut rows: Vec<TastePair> = votes.iter().map(|v| row(v, 1.0)).collect();
    // In units of a typical difference among the votes.
    let mut squares = vec![(0.0, 0.0); features.len()];
    for (feature, x) in rows.iter().flat_map(|row| &row.features) {
        squares[*feature] = (squares[*feature].0 + x * x, squares[*feature].1 + 1.0);
    }
    let units: Vec<f64> = squares.iter().map(|(sum, n)| (sum / n).sqrt()).collect();
    let cast = rows.len();
    rows.extend(pairs.iter().map(|p| row(p, 0.0)));
    for (feature, x) in rows.iter_mut().flat_map(|row| &mut row.features) {
        *x /= units[*feature];
    }
    let most = COST * pairs.len() as f64;
    let (mut share, mut fitted) = (0.0, TasteFit { share: 1.0, weights: Vec::new() });
    for tried in shares {
        let each = tried * cast as f64 / pairs.len().max(1) as f64;
        let mut weighed = rows.clone();
        weighed[cast..].iter_mut().for_each(|row| row.weight = each);
        (share, fitted) = (*tried, fit_taste(&weighed, &priors));
        let odds = |p: &TastePair| {
            let liked = p.features.iter().map(|(f, x)| fitted.weights[*f] * x);
            fitted.share * p.network + liked.sum::<f64>()
        };
        let turned = weighed[cast..].iter().filter(|p| p.network > 0.0 && odds(p) <= 0.0).count();
        if turned as f64 <= most {
            break;
        }
    }
    let TasteFit { share: of_network, weights } = fitted;
    // Six decimals are read back to the bit.
    let in_deviations = |(w, unit): (f64, f64)| (w / unit / (of_network * deviation) * 1e6).round() / 1e6;
    let weights: Vec<f64> = weights.into_iter().zip(units).map(in_deviations).collect();
    let mut all: Vec<Liking> = features
        .into_iter()
        .zip(weights)
        .filter(|(_, weight)| weight.abs() >= SMALL)
        .map(|(feature, weight)| Liking { feature, weight })
        .collect();
    all.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()).then_with(|| a.feature.cmp(&b.feature)));
    (share, all)
}

/// The texts of a prompt and of its answer, which begins at `first`.
pub(crate) fn texts(tokenizer: &Tokenizer, ids: &[u32], first: usize) -> (String, String) {
    let (before, answer) = ids.split_at(first.min(ids.len()));
    (tokenizer.decode(before, true), tokenizer.decode_turn(before, answer, true))
}

/// Where the last answer of a conversation begins.
pub(crate) fn answer_of(tokenizer: &Tokenizer, ids: &[u32]) -> usize {
    let opens = tokenizer.chat().and_then(|chat| ids.iter().rposition(|id| *id == chat.assistant));
    opens.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::data::builtin_preferences;

    /// Pairs of built-in answers to one prompt that a taste tells apart, the better one first.
    fn votes(likes: impl Fn(&str) -> f64, skip: usize, n: usize) -> Vec<ScoredPair> {
        let all = builtin_preferences().unwrap();
        let told = all.iter().enumerate().filter_map(|(at, p)| {
            let (a, b) = (likes(&p.chosen), likes(&p.rejected));
            let (chosen, rejected) = if a > b { (&p.chosen, &p.rejected) } else { (&p.rejected, &p.chosen) };
            // The network has an opinion about each that has nothing to do with the taste.
            let network = f64::from(u8::from(at.is_multiple_of(3))) - 0.5;
            let (prompt, chosen, rejected) = (p.prompt[0].content.clone(), chosen.clone(), rejected.clone());
            (a != b).then_some(ScoredPair { prompt, chosen, rejected, network, margin: 0.0 })
        });
        told.skip(skip).take(n).collect()
    }

    fn agreement(taste: &Taste, pairs: &[ScoredPair]) -> f64 {
        let lead = |p: &ScoredPair| p.network + taste.of(&p.prompt, &p.chosen) - taste.of(&p.prompt, &p.rejected);
        pairs.iter().filter(|p| lead(p) > 0.0).count() as f64 / pairs.len() as f64
    }

    #[test]
    fn twenty_votes_teach_a_length_a_word_and_a_form() {
        type Likes = fn(&str) -> f64;
        let tastes: [(&str, Likes); 6] = [
            ("longer", |a| a.chars().count() as f64),
            ("shorter", |a| -(a.chars().count() as f64)),
            ("a word", |a| f64::from(u8::from(a.contains("推荐")))),
            ("not a word", |a| -f64::from(u8::from(a.contains("都很好玩")))),
            ("a mark", |a| f64::from(u8::from(a.ends_with('。')))),
            ("a list", |a| a.matches('、').count() as f64),
        ];
        for (name, likes) in tastes {
            let (cast, unseen) = (votes(likes, 200, 20), votes(likes, 0, 200));
            assert_eq!((cast.len(), unseen.len()), (20, 200), "{name}");
            let taste = Taste::fit((1..=20).collect(), &cast, &[], 1.0);
            let (before, after) = (agreement(&Taste::default(), &unseen), agreement(&taste, &unseen));
            assert!(before < 0.6 && after > 0.8, "{name}: {before} to {after} by {:?}", taste.likings);
            let (right, of) = predicted(&cast, &[], 1.0, taste.pairs);
            assert!(of == 20 && right >= 13, "{name}: {right} of {of}");
        }
    }

    #[test]
    fn pairs_hold_a_taste_back() {
        let likes = |a: &str| a.chars().count() as f64;
        let cast = votes(likes, 200, 20);
        // Every pair says that the shorter answer is the better one, and so does the network.
        let pairs: Vec<ScoredPair> =
            votes(|a| -likes(a), 400, 100).into_iter().map(|p| ScoredPair { network: 2.0, ..p }).collect();
        let right = |taste: &Taste| {
            let lead = |p: &ScoredPair| p.network + taste.of(&p.prompt, &p.chosen) - taste.of(&p.prompt, &p.rejected);
            pairs.iter().filter(|p| lead(p) > 0.0).count()
        };
        let (free, held) = (Taste::fit(Vec::new(), &cast, &[], 1.0), Taste::fit(Vec::new(), &cast, &pairs, 1.0));
        assert!(right(&held) > right(&free) + 20, "{} of 100 without them, {} with", right(&free), right(&held));
    }

    #[test]
    fn what_is_written_is_read_to_the_bit() {
        let cast = votes(|a| a.chars().count() as f64, 0, 20);
        let taste = Taste::fit((1..=20).collect(), &cast, &[], 2.7);
        let text = taste.file().unwrap();
        assert_eq!(Taste::parse(text.as_bytes()).unwrap(), taste);
        assert!(!taste.likings.is_empty());
        // One vote more and again without it: the same bytes.
        let more = votes(|a| a.chars().count() as f64, 0, 21);
        let undone: Vec<ScoredPair> = more[..20].to_vec();
        assert_ne!(Taste::fit((1..=21).collect(), &more, &[], 2.7).likings, taste.likings);
        assert_eq!(Taste::fit((1..=20).collect(), &undone, &[], 2.7).file().unwrap(), text);
        assert_eq!(Taste::default().file(), None);
        assert_eq!(Taste::fit(Vec::new(), &[], &[], 1.0), Taste::default());
    }

    #[test]
    fn a_foreign_file_is_refused() {
        for (text, words) in [
            ("", "EOF"),
            (r#"{"format":2,"votes":[],"pairs":1,"likings":[]}"#, "format 2"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":"length","weight":1e999}]}"#, "number"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":{"has":""},"weight":1}]}"#, "liking"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":"colour","weight":1}]}"#, "colour"),
        ] {
            let error = Taste::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
