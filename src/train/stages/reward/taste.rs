//! The user's taste: what votes add to the reward model's score, as weights of plain features.
//!
//! The network stays as the pairs trained it. A fit starts from nothing: it is a function of the network and of the
//! votes that count, so that taking a vote back gives the bits from before it. Training pairs take part in the fit, so
//! that a taste does not overrule what they teach: a taste is as strong as the held-out pairs allow.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    data::{TextFeature, Tokenizer, candidates},
    nn::feedback::{TasteFit, TastePair, fit_taste},
    store::{Checkpoint, StoreError},
};

/// Its file in a reward checkpoint.
pub(crate) const FILE: &str = "taste.json";
/// The version of the file, and of one with a [`Leak`].
const FORMATS: [u32; 2] = [1, 2];
/// Limit on the length of the file.
const LIMIT: u64 = 4 << 20;
/// What all training pairs together weigh, per vote, in the fits that are tried. Without held-out pairs to judge by, those
/// from [`DEFAULT_SHARE`] on.
const PAIRS_SHARES: [f64; 14] = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0];
/// See [`PAIRS_SHARES`].
const DEFAULT_SHARE: f64 = 0.5;
/// How much of a fitted taste is kept, in the fits that are judged by held-out pairs; without a [`Leak`] one of the
/// first [`PLAIN`].
const STRENGTHS: [f64; 14] = [1.0, 0.8, 0.65, 0.5, 0.35, 0.25, 0.9, 0.72, 0.57, 0.42, 0.3, 0.2, 0.16, 0.12];
/// See [`STRENGTHS`].
const PLAIN: usize = 6;
/// With a leak, held-out pairs with a smaller lead do not count as right, since a reward is computed in `f32`.
const LEAST_LEAD: f64 = 1e-5;
/// The held-out accuracy that a taste leaves to a network that has it.
const ACCURACY: f64 = 0.9;
/// The largest share of the pairs of a less accurate network, or of training pairs, that a taste may turn from right to
/// wrong.
const COST: f64 = 0.02;
/// Candidates that are fitted; of more the ones in which the most votes differ.
const MOST: usize = 2048;
/// A feature is a candidate if this many votes differ in it.
const LEAST: usize = 2;
/// Smaller weights are left out of the file.
const SMALL: f64 = 1e-3;
/// The largest weight, mean or deviation that is read from a file, and the smallest deviation.
const LARGEST: f64 = 1e9;
/// See [`LARGEST`].
const TINY: f64 = 1e-6;
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
    /// Score of the chosen answer minus that of the rejected one, with the slope of a leak if there is one.
    pub network: f64,
    pub margin: f64,
}

impl ScoredPair {
    /// What the chosen answer has before the rejected one. `deviation` is that of the network's scores, with a leak times
    /// its own.
    fn lead(&self, taste: &Taste, deviation: f64) -> f64 {
        self.network / deviation + taste.of(&self.prompt, &self.chosen) - taste.of(&self.prompt, &self.rejected)
    }
}

/// A feature and what it adds to the normalised score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Liking {
    /// The feature.
    pub feature: TextFeature,
    /// Its weight, in standard deviations of the reference answers' scores.
    pub weight: f64,
}

/// How the network's normalised score enters the reward beside a taste: below 0, the mean of the reference answers, by
/// a small slope (as LeakyReLU), then normalised again by the mean and deviation that these answers have now.
///
/// Twenty votes say little about how bad a bad answer is, and neither do the pairs, which need only the good one above
/// it. So a taste decides between bad answers, and between good ones as far as the held-out pairs allow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// The slope below 0.
    pub negative_slope: f64,
    /// Mean of the reference answers' scores with this slope.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
}

impl Leak {
    /// `scores` are the normalised scores of the reference answers.
    pub(crate) fn new(negative_slope: f64, scores: &[f64]) -> Leak {
        let leak = Leak { negative_slope, mean: 0.0, deviation: 1.0 };
        let n = scores.len().max(1) as f64;
        let mean = scores.iter().map(|s| leak.leaked(*s)).sum::<f64>() / n;
        let var = scores.iter().map(|s| (leak.leaked(*s) - mean).powi(2)).sum::<f64>() / n;
        Leak { mean, deviation: var.sqrt().max(TINY), ..leak }
    }

    /// The score with the slope, not normalised.
    pub(crate) fn leaked(&self, score: f64) -> f64 {
        if score < 0.0 { self.negative_slope * score } else { score }
    }

    fn of(&self, score: f64) -> f64 {
        (self.leaked(score) - self.mean) / self.deviation
    }

    /// What is wrong with one that was read from a file.
    fn fault(&self) -> Option<String> {
        let Leak { negative_slope, mean, deviation } = self;
        if !(*negative_slope > 0.0 && *negative_slope <= 1.0) {
            return Some(format!("leak.negative_slope is {negative_slope}; expected more than 0, at most 1"));
        }
        if mean.abs() > LARGEST {
            return Some(format!("leak.mean is {mean}; expected −{LARGEST} to {LARGEST}"));
        }
        if !(*deviation >= TINY && *deviation <= LARGEST) {
            return Some(format!("leak.deviation is {deviation}; expected {TINY} to {LARGEST}"));
        }
        None
    }
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
    /// How much of the fit the held-out pairs left, up to 1; [`Taste::likings`] have been multiplied by it.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub strength: f64,
    /// How the network's score enters the reward; as it is without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak: Option<Leak>,
    /// The likings, the strongest first.
    pub likings: Vec<Liking>,
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn whole() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_whole(strength: &f64) -> bool {
    *strength == 1.0
}

impl Default for Taste {
    fn default() -> Self {
        Taste {
            format: FORMATS[0],
            votes: Vec::new(),
            pairs: DEFAULT_SHARE,
            strength: 1.0,
            leak: None,
            likings: Vec::new(),
        }
    }
}

/// What holds a taste back, beside the training pairs that take part in its fit.
#[derive(Clone, Copy)]
pub(crate) enum Judge<'a> {
    /// Of the training pairs only a few are turned from right to wrong (`vote_fit = "head"`). The network is surer of
    /// these pairs than of any others, so that this says little about others.
    Pairs,
    /// The accuracy on these held-out pairs (`vote_fit = "taste"`).
    HeldOut(&'a [ScoredPair]),
}

impl Taste {
    /// The reward of an answer whose normalised score by the network is `network`.
    pub fn reward(&self, network: f64, prompt: &str, answer: &str) -> f64 {
        if self.likings.is_empty() {
            return network;
        }
        self.leak.map_or(network, |leak| leak.of(network)) + self.of(prompt, answer)
    }

    /// What its likings add.
    pub fn of(&self, prompt: &str, answer: &str) -> f64 {
        self.likings.iter().map(|l| l.weight * l.feature.of(prompt, answer)).sum()
    }

    /// The taste of the votes with these numbers. `deviation` is the standard deviation of the network's scores of
    /// reference answers. With a leak the scores of the pairs have its slope.
    pub(crate) fn fit(
        ids: Vec<u64>,
        votes: &[ScoredPair],
        pairs: &[ScoredPair],
        (deviation, leak): (f64, Option<Leak>),
        judge: Judge<'_>,
    ) -> Taste {
        let fits = Fits::new(votes, pairs, deviation);
        let (share, strength, weights) = match judge {
            Judge::HeldOut(held) if !held.is_empty() => fits.judged(votes, held, leak),
            Judge::HeldOut(_) | Judge::Pairs => {
                let (share, weights) = fits.cheap();
                (share, 1.0, weights)
            }
        };
        let likings = fits.likings(&weights, leak.map_or(strength, |leak| strength / leak.deviation));
        Taste { format: FORMATS[usize::from(leak.is_some())], votes: ids, pairs: share, strength, leak, likings }
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
        let [plain, leaky] = FORMATS;
        let Head { format } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if !FORMATS.contains(&format) {
            return Err(format!("its format is {format}; this danlu reads {plain} and {leaky}"));
        }
        let taste: Taste = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match (format == leaky, taste.leak) {
            (true, None) => return Err(format!("it has no leak; format {leaky} has one")),
            (false, Some(_)) => return Err(format!("it has a leak; format {plain} has none")),
            (_, leak) => leak.and_then(|leak| leak.fault()).map_or(Ok(()), Err)?,
        }
        if !(taste.pairs.is_finite() && taste.pairs >= 0.0) {
            return Err(format!("it has the weight {} for pairs", taste.pairs));
        }
        if !(taste.strength > 0.0 && taste.strength <= 1.0) {
            return Err(format!("it has the strength {}", taste.strength));
        }
        match taste.likings.iter().find(|l| !(l.weight.abs() <= LARGEST && l.feature.is_plausible())) {
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
/// out. The pairs weigh as much as in `taste`, and as much of a fit is kept.
pub(crate) fn predicted(votes: &[ScoredPair], pairs: &[ScoredPair], deviation: f64, taste: &Taste) -> (usize, usize) {
    let folds = FOLDS.min(votes.len());
    if folds < 2 {
        return (0, 0);
    }
    let mut right = 0;
    for fold in 0..folds {
        let (out, rest): (Vec<_>, Vec<_>) = votes.iter().enumerate().partition(|(at, _)| at % folds == fold);
        let rest: Vec<ScoredPair> = rest.into_iter().map(|(_, vote)| vote.clone()).collect();
        let fits = Fits::new(&rest, pairs, deviation);
        let unit = taste.leak.map_or(1.0, |leak| leak.deviation);
        let likings = fits.likings(&fits.weights(&fits.fit(taste.pairs).1), taste.strength / unit);
        let of_rest = Taste { likings, ..Taste::default() };
        right += out.iter().filter(|(_, vote)| vote.lead(&of_rest, deviation * unit) > 0.0).count();
    }
    (right, votes.len())
}

/// How much a vote counts compared with one of `pairs` pairs that together weigh `share` per vote.
pub(crate) fn vote_counts_for(votes: usize, pairs: usize, share: f64) -> f64 {
    if votes == 0 { 0.0 } else { pairs as f64 / (share * votes as f64) }
}

/// A weight as a file has it: small ones are left out, and six decimals are read back to the bit.
fn written(weight: f64) -> f64 {
    let rounded = (weight * 1e6).round() / 1e6;
    if rounded.abs() >= SMALL { rounded } else { 0.0 }
}

/// Differences of the features: those of the better answer minus those of the other, without zeros.
fn differences<'a>(pair: &ScoredPair, features: impl Iterator<Item = (usize, &'a TextFeature)>) -> Vec<(usize, f64)> {
    let of =
        |(at, f): (usize, &TextFeature)| (at, f.of(&pair.prompt, &pair.chosen) - f.of(&pair.prompt, &pair.rejected));
    features.map(of).filter(|(_, x)| *x != 0.0).collect()
}

/// The votes and pairs of a fit as differences of candidate features.
struct Fits {
    features: Vec<TextFeature>,
    /// How probable it is that a taste is about a feature.
    priors: Vec<f64>,
    /// A typical difference of each feature among the votes.
    units: Vec<f64>,
    /// The votes and then the pairs, in these units.
    rows: Vec<TastePair>,
    /// Number of votes.
    cast: usize,
    deviation: f64,
}

impl Fits {
    fn new(votes: &[ScoredPair], pairs: &[ScoredPair], deviation: f64) -> Fits {
        let mut counts: BTreeMap<TextFeature, usize> = BTreeMap::new();
        for vote in votes {
            let all: BTreeSet<TextFeature> =
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
        Fits { features, priors, units, rows, cast, deviation }
    }

    /// The rows and their fit, where all pairs together weigh `share` per vote.
    fn fit(&self, share: f64) -> (Vec<TastePair>, TasteFit) {
        let each = share * self.cast as f64 / (self.rows.len() - self.cast).max(1) as f64;
        let mut weighed = self.rows.clone();
        weighed[self.cast..].iter_mut().for_each(|row| row.weight = each);
        let fitted = fit_taste(&weighed, &self.priors);
        (weighed, fitted)
    }

    /// The weights of a fit, in standard deviations of the network's scores.
    fn weights(&self, fitted: &TasteFit) -> Vec<f64> {
        let in_deviations = |(w, unit): (&f64, &f64)| w / unit / (fitted.share * self.deviation);
        fitted.weights.iter().zip(&self.units).map(in_deviations).collect()
    }

    /// The first of the shares at which few training pairs are turned from right to wrong, or else the last, with its
    /// weights.
    fn cheap(&self) -> (f64, Vec<f64>) {
        let most = COST * (self.rows.len() - self.cast) as f64;
        let mut last = (DEFAULT_SHARE, Vec::new());
        for share in PAIRS_SHARES.into_iter().filter(|share| *share >= DEFAULT_SHARE) {
            let (weighed, fitted) = self.fit(share);
            let odds = |p: &TastePair| {
                let liked = p.features.iter().map(|(f, x)| fitted.weights[*f] * x);
                fitted.share * p.network + liked.sum::<f64>()
            };
            let turned = weighed[self.cast..].iter().filter(|p| p.network > 0.0 && odds(p) <= 0.0).count();
            last = (share, self.weights(&fitted));
            if turned as f64 <= most {
                break;
            }
        }
        last
    }

    /// Of the fits and strengths that leave the held-out pairs their accuracy, the one with which most votes are ordered
    /// correctly. Of equal ones, with a leak, that which moves the held-out pairs most; without, as in runs of earlier
    /// versions, that in which the pairs weigh least, then the strongest. Share, strength and weights; without any such
    /// fit no weights.
    fn judged(&self, votes: &[ScoredPair], held: &[ScoredPair], leak: Option<Leak>) -> (f64, f64, Vec<f64>) {
        let differences = |pairs: &[ScoredPair]| -> Vec<_> {
            pairs.iter().map(|p| differences(p, self.features.iter().enumerate())).collect()
        };
        let (of_votes, of_held) = (differences(votes), differences(held));
        let moves = |differ: &[(usize, f64)], weights: &[f64]| differ.iter().map(|(f, x)| weights[*f] * x).sum::<f64>();
        let right = |pairs: &[ScoredPair], differ: &[Vec<(usize, f64)>], (weights, strength): (&[f64], f64), least| {
            let lead = |(pair, differ): (&ScoredPair, &Vec<(usize, f64)>)| {
                pair.network / self.deviation + strength * moves(differ, weights)
            };
            pairs.iter().zip(differ).filter(|both| lead(*both) > least).count()
        };
        let none = vec![0.0; self.features.len()];
        let before = right(held, &of_held, (&none, 0.0), 0.0) as f64 / held.len() as f64;
        let floor = held.len() as f64 * if before >= ACCURACY { ACCURACY } else { before - COST };
        let (strengths, least) = if leak.is_some() { (&STRENGTHS[..], LEAST_LEAD) } else { (&STRENGTHS[..PLAIN], 0.0) };
        let (mut best, mut found) = (None, (PAIRS_SHARES[PAIRS_SHARES.len() - 1], 1.0, none));
        for share in PAIRS_SHARES {
            let weights = self.weights(&self.fit(share).1);
            for strength in strengths.iter().copied() {
                // With a leak as they are written, so that the reward has the accuracy that is judged here.
                let written: Option<Vec<f64>> = leak.map(|leak| {
                    weights.iter().map(|w| written(strength / leak.deviation * w) * leak.deviation).collect()
                });
                let kept = written.as_deref().map_or((&weights[..], strength), |all| (all, 1.0));
                let moved = match &written {
                    Some(all) => of_held.iter().map(|differ| moves(differ, all).powi(2)).sum::<f64>(),
                    None => 0.0,
                };
                let counts = (right(votes, &of_votes, kept, 0.0), moved);
                if right(held, &of_held, kept, least) as f64 >= floor && best.is_none_or(|best| counts > best) {
                    best = Some(counts);
                    found = (share, strength, weights.clone());
                }
            }
        }
        found
    }

    /// The likings with these weights, the strongest first.
    fn likings(&self, weights: &[f64], strength: f64) -> Vec<Liking> {
        let mut all: Vec<Liking> = self
            .features
            .iter()
            .zip(weights.iter().map(|weight| written(strength * weight)))
            .filter(|(_, weight)| *weight != 0.0)
            .map(|(feature, weight)| Liking { feature: feature.clone(), weight })
            .collect();
        all.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()).then_with(|| a.feature.cmp(&b.feature)));
        all
    }
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
            let taste = Taste::fit((1..=20).collect(), &cast, &[], (1.0, None), Judge::Pairs);
            let (before, after) = (agreement(&Taste::default(), &unseen), agreement(&taste, &unseen));
            assert!(before < 0.6 && after > 0.8, "{name}: {before} to {after} by {:?}", taste.likings);
            let (right, of) = predicted(&cast, &[], 1.0, &taste);
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
        let fit = |pairs: &[ScoredPair]| Taste::fit(Vec::new(), &cast, pairs, (1.0, None), Judge::Pairs);
        let (free, held) = (fit(&[]), fit(&pairs));
        assert!(right(&held) > right(&free) + 20, "{} of 100 without them, {} with", right(&free), right(&held));
    }

    /// Runs with `vote_fit = "head"` get the taste that they would have got from the version that began them.
    #[test]
    fn the_fit_of_earlier_runs_has_not_changed() {
        let (cast, pairs) =
            (votes(|a| a.chars().count() as f64, 200, 20), votes(|a| -(a.chars().count() as f64), 400, 100));
        let taste = Taste::fit((1..=20).collect(), &cast, &pairs, (1.5, None), Judge::Pairs);
        let strongest: Vec<String> =
            taste.likings.iter().take(3).map(|l| format!("{:?} {:.6}", l.feature, l.weight)).collect();
        assert_eq!((taste.pairs, taste.strength, taste.likings.len()), (0.5, 1.0, 77));
        assert_eq!(strongest, ["AtLeast(25) 0.018117", "Latin 0.016462", "Has(\"七\") 0.014997"]);
    }

    /// The same for `vote_fit = "taste"` without `vote_negative_slope`, where held-out pairs judge: the least weight of the
    /// pairs, then the greatest strength.
    #[test]
    fn the_fit_without_a_leak_has_not_changed() {
        let likes = |a: &str| a.chars().count() as f64;
        let scored = |pairs: Vec<ScoredPair>| -> Vec<ScoredPair> {
            let of = |(at, p): (usize, ScoredPair)| ScoredPair { network: 0.2 + (at % 7) as f64 / 2.0, ..p };
            pairs.into_iter().enumerate().map(of).collect()
        };
        let (cast, pairs) = (votes(likes, 200, 20), scored(votes(|a| -likes(a), 400, 100)));
        let held = scored(votes(|a| -likes(a), 0, 100));
        let taste = Taste::fit((1..=20).collect(), &cast, &pairs, (1.5, None), Judge::HeldOut(&held));
        let strongest: Vec<String> =
            taste.likings.iter().take(3).map(|l| format!("{:?} {:.6}", l.feature, l.weight)).collect();
        assert_eq!(
            (taste.pairs, taste.strength, taste.likings.len(), strongest.join("; ").as_str()),
            (0.35, 0.5, 71, "Length 0.229924; Latin 0.146346; Distinct -0.042887")
        );
        assert!(!taste.file().unwrap().contains("leak"));
    }

    #[test]
    fn a_taste_is_as_strong_as_held_out_pairs_allow() {
        let likes = |a: &str| a.chars().count() as f64;
        let cast = votes(likes, 200, 20);
        let ids = || (1..=20).collect();
        let right = |taste: &Taste, pairs: &[ScoredPair]| pairs.iter().filter(|p| p.lead(taste, 1.0) > 0.0).count();
        let sure = |pairs: Vec<ScoredPair>, network: f64| -> Vec<ScoredPair> {
            pairs.into_iter().map(|p| ScoredPair { network, ..p }).collect()
        };
        // The training pairs say nothing, because the network is too sure of them; the held-out ones prefer short answers.
        let pairs = sure(votes(|a| -likes(a), 400, 100), 30.0);
        for (network, floor) in [(0.5, 90), (3.0, 90)] {
            let held = sure(votes(|a| -likes(a), 0, 100), network);
            let free = Taste::fit(ids(), &cast, &pairs, (1.0, None), Judge::Pairs);
            let held_back = Taste::fit(ids(), &cast, &pairs, (1.0, None), Judge::HeldOut(&held));
            assert!(
                right(&held_back, &held) >= floor,
                "{network}: {} of 100 with {held_back:?}",
                right(&held_back, &held)
            );
            assert!(
                right(&free, &held) < right(&held_back, &held),
                "{network}: {} of 100 without",
                right(&free, &held)
            );
        }
        // Held-out pairs that have nothing against it: the votes are followed, whatever the training pairs weigh.
        let pairs = sure(votes(|a| -likes(a), 400, 100), 1.0);
        let agree = sure(votes(likes, 0, 100), 1.0);
        let free = Taste::fit(ids(), &cast, &pairs, (1.0, None), Judge::HeldOut(&agree));
        assert_eq!((free.pairs, right(&free, &agree)), (PAIRS_SHARES[0], 100), "{free:?}");
        assert_eq!(right(&free, &cast), 20);
        // A network that is worse than that may lose two pairs of a hundred.
        let half: Vec<ScoredPair> = votes(|a| -likes(a), 0, 100)
            .into_iter()
            .enumerate()
            .map(|(at, p)| ScoredPair { network: if at < 60 { 1.0 } else { -1.0 }, ..p })
            .collect();
        let taste = Taste::fit(ids(), &cast, &pairs, (1.0, None), Judge::HeldOut(&half));
        assert!(right(&taste, &half) >= 58, "{taste:?}");
        assert_eq!(Taste::parse(taste.file().unwrap().as_bytes()).unwrap(), taste);
        // No held-out pairs: as the training pairs allow.
        let none = Taste::fit(ids(), &cast, &pairs, (1.0, None), Judge::HeldOut(&[]));
        assert_eq!(none, Taste::fit(ids(), &cast, &pairs, (1.0, None), Judge::Pairs));
    }

    #[test]
    fn a_leak_keeps_the_order_and_shrinks_differences_between_bad_answers() {
        let scores: Vec<f64> = (-20..=20).map(|s| f64::from(s) / 10.0).collect();
        let leak = Leak::new(0.1, &scores);
        let taste = Taste {
            leak: Some(leak),
            likings: vec![Liking { feature: TextFeature::Has("好".to_owned()), weight: 1.0 }],
            ..Taste::default()
        };
        let rewards: Vec<f64> = scores.iter().map(|s| taste.reward(*s, "", "坏")).collect();
        assert!(rewards.windows(2).all(|two| two[0] < two[1]), "{rewards:?}");
        let n = rewards.len() as f64;
        let (mean, square) = (rewards.iter().sum::<f64>() / n, rewards.iter().map(|r| r * r).sum::<f64>() / n);
        assert!(mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-12, "mean {mean}, mean square {square}");
        assert!(((rewards[10] - rewards[0]) / (rewards[40] - rewards[30]) - 0.1).abs() < 1e-9);
        assert!((taste.reward(0.0, "", "好") - taste.reward(0.0, "", "坏") - 1.0).abs() < 1e-12);
        // Without likings the reward is the network's score.
        assert_eq!(Taste { likings: Vec::new(), ..taste }.reward(-1.0, "", "好"), -1.0);
    }

    #[test]
    fn with_a_leak_a_taste_decides_between_bad_answers_and_not_against_good_ones() {
        let likes = |a: &str| a.chars().count() as f64;
        let dislikes = |a: &str| -likes(a);
        let scored = |pairs: Vec<ScoredPair>, leak: Option<Leak>, (chosen, rejected): (f64, f64)| -> Vec<ScoredPair> {
            let of = |score: f64| leak.map_or(score, |leak| leak.leaked(score));
            pairs.into_iter().map(|p| ScoredPair { network: of(chosen) - of(rejected), ..p }).collect()
        };
        let right = |taste: &Taste, pairs: &[ScoredPair], (chosen, rejected): (f64, f64)| {
            let lead = |p: &&ScoredPair| {
                taste.reward(chosen, &p.prompt, &p.chosen) > taste.reward(rejected, &p.prompt, &p.rejected)
            };
            pairs.iter().filter(lead).count()
        };
        // Both answers that are voted on are bad, by the network the shorter one is worse by far; of the others one is good.
        let (better, worse) = (-0.5, -2.5);
        for (good, deviation) in [(1.5, 0.5), (0.5, 0.5), (0.1, 0.2), (1.0, 2.0)] {
            let fit = |leak: Option<Leak>| {
                let cast = scored(votes(likes, 200, 20), leak, (worse, better));
                let pairs = scored(votes(dislikes, 400, 100), leak, (good, better));
                let held = scored(votes(dislikes, 0, 100), leak, (good, better));
                Taste::fit((1..=20).collect(), &cast, &pairs, (1.0, leak), Judge::HeldOut(&held))
            };
            let leaky = fit(Some(Leak { negative_slope: 0.1, mean: 0.4, deviation }));
            let unseen = votes(likes, 0, 100);
            let [before, after] = [&fit(None), &leaky].map(|taste| right(taste, &unseen, (worse, better)));
            assert!(after > before + 30 || good < 0.5, "{good}: {before} of 100 without a leak, {after} with");
            let held = right(&leaky, &votes(dislikes, 0, 100), (good, better));
            assert!(held >= 90, "{good}, {deviation}: {held} of 100 held-out pairs by {leaky:?}");
            let text = leaky.file().unwrap();
            assert!(text.contains("\"format\": 2") && text.contains("negative_slope"), "{text}");
            assert_eq!(Taste::parse(text.as_bytes()).unwrap(), leaky);
        }
    }

    #[test]
    fn what_is_written_is_read_to_the_bit() {
        let cast = votes(|a| a.chars().count() as f64, 0, 20);
        let taste = Taste::fit((1..=20).collect(), &cast, &[], (2.7, None), Judge::Pairs);
        let text = taste.file().unwrap();
        assert_eq!(Taste::parse(text.as_bytes()).unwrap(), taste);
        assert!(!taste.likings.is_empty());
        // One vote more and again without it: the same bytes.
        let more = votes(|a| a.chars().count() as f64, 0, 21);
        let undone: Vec<ScoredPair> = more[..20].to_vec();
        assert_ne!(Taste::fit((1..=21).collect(), &more, &[], (2.7, None), Judge::Pairs).likings, taste.likings);
        assert_eq!(Taste::fit((1..=20).collect(), &undone, &[], (2.7, None), Judge::Pairs).file().unwrap(), text);
        assert_eq!(Taste::default().file(), None);
        assert_eq!(Taste::fit(Vec::new(), &[], &[], (1.0, None), Judge::Pairs), Taste::default());
    }

    #[test]
    fn a_foreign_file_is_refused() {
        for (text, words) in [
            ("", "EOF"),
            (r#"{"format":3,"other":1}"#, "format is 3"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":"length","weight":1e300}]}"#, "weight"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":"length","weight":1e999}]}"#, "number"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":{"has":""},"weight":1}]}"#, "liking"),
            (r#"{"format":1,"votes":[],"pairs":1,"likings":[{"feature":"colour","weight":1}]}"#, "colour"),
            (r#"{"format":1,"votes":[],"pairs":1,"strength":1.5,"likings":[]}"#, "strength 1.5"),
            (r#"{"format":2,"votes":[],"pairs":1,"likings":[]}"#, "no leak"),
            (
                r#"{"format":1,"votes":[],"pairs":1,"leak":{"negative_slope":0.1,"mean":0,"deviation":1},"likings":[]}"#,
                "a leak",
            ),
            (
                r#"{"format":2,"votes":[],"pairs":1,"leak":{"negative_slope":0,"mean":0,"deviation":1},"likings":[]}"#,
                "negative_slope is 0; expected more than 0",
            ),
            (
                r#"{"format":2,"votes":[],"pairs":1,"leak":{"negative_slope":0.1,"mean":0,"deviation":0},"likings":[]}"#,
                "deviation is 0; expected",
            ),
            (
                r#"{"format":2,"votes":[],"pairs":1,"leak":{"negative_slope":0.1,"mean":1e300,"deviation":1},"likings":[]}"#,
                "leak.mean",
            ),
        ] {
            let error = Taste::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
