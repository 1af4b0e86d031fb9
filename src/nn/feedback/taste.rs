//! A taste learned from few votes: which plain features of an answer the voter likes.
//!
//! With twenty votes and thousands of candidate features (every word that occurs), a fit of all weights learns the votes
//! by heart. Here a vote is explained by few features: round after round, every candidate is fitted alone on top of what
//! is already explained, and counts as much as the votes make it probable (its marginal likelihood under a normal prior,
//! by Laplace's approximation). A candidate that no vote supports gets no weight, one among a thousand that separates
//! all votes gets nearly all, and several that the votes cannot tell apart share it. The rounds end when it is more
//! probable that nothing is left to explain.
//!
//! The fit is a pure function of its input with fixed numbers of iterations; sums are in the input's order.
//!
//! Sources: Bradley and Terry 1952 (the likelihood of a vote); MacKay 1992, «The evidence framework applied to
//! classification networks» (Laplace's approximation of the evidence); Hoeting et al. 1999 (averaging over models).

use rayon::prelude::*;

use super::{log_sigmoid, sigmoid};

/// Standard deviations of the prior of a weight, in log-odds per typical difference of its feature: a leaning and a
/// rule.
const SPREADS: [f64; 2] = [2.0, 6.0];
/// Standard deviation of the prior of the network's share around 1.
const SHARE_SPREAD: f64 = 0.3;
/// The least share that the network keeps.
const LEAST_SHARE: f64 = 0.1;
/// Most features explained one after another.
const ROUNDS: usize = 6;
/// Newton steps of a weight.
const STEPS: usize = 12;

/// A pair of answers to explain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TastePair {
    /// The network's score of the better answer minus that of the other, in log-odds.
    pub network: f64,
    /// The minimum desired difference; usually 0.
    pub margin: f64,
    /// The weight of the pair; 1 for a vote.
    pub weight: f64,
    /// The features in which the answers differ, and by how much: better minus other.
    pub features: Vec<(usize, f64)>,
}

/// A fitted taste: the log-odds of a pair are `share` · network + Σ weight · difference.
#[derive(Clone, Debug, PartialEq)]
pub struct TasteFit {
    /// The network's share: 1 as trained, less if the votes contradict it.
    pub share: f64,
    /// The weight of every feature; most are 0 or nearly so.
    pub weights: Vec<f64>,
}

/// A feature's values: the pairs that differ in it.
type Column = Vec<(usize, f64)>;

/// Log-odds of pairs, and their weights.
struct State<'a> {
    pairs: &'a [TastePair],
    /// What the features explain so far, less the margin.
    explained: Vec<f64>,
    share: f64,
}

impl State<'_> {
    fn odds(&self) -> Vec<f64> {
        self.pairs.iter().zip(&self.explained).map(|(p, e)| self.share * p.network + e).collect()
    }

    /// The most probable share of the network.
    fn fit_share(&mut self) {
        let precision = SHARE_SPREAD.powi(-2);
        for _ in 0..2 * STEPS {
            let (mut slope, mut curve) = ((1.0 - self.share) * precision, precision);
            for (p, odds) in self.pairs.iter().zip(self.odds()) {
                let wrong = sigmoid(-odds);
                slope += p.weight * wrong * p.network;
                curve += p.weight * wrong * (1.0 - wrong) * p.network * p.network;
            }
            self.share = (self.share + (slope / curve).clamp(-0.3, 0.3)).max(LEAST_SHARE);
        }
    }
}

/// The most probable weight of a feature beside the log-odds `base`, and the logarithm of how much more probable the
/// pairs are with it than without.
fn fit_one(column: &[(usize, f64)], pairs: &[TastePair], base: &[f64], spread: f64) -> (f64, f64) {
    let precision = spread.powi(-2);
    let (mut weight, mut curve) = (0.0, precision);
    for _ in 0..STEPS {
        let mut slope = -weight * precision;
        curve = precision;
        for (at, x) in column {
            let wrong = sigmoid(-(base[*at] + x * weight));
            slope += pairs[*at].weight * wrong * x;
            curve += pairs[*at].weight * wrong * (1.0 - wrong) * x * x;
        }
        weight += (slope / curve).clamp(-2.0, 2.0);
    }
    let gain =
        column.iter().map(|(at, x)| pairs[*at].weight * (log_sigmoid(base[*at] + x * weight) - log_sigmoid(base[*at])));
    let evidence = gain.sum::<f64>() - 0.5 * weight * weight * precision - 0.5 * (curve / precision).ln();
    (weight, evidence)
}

/// Fits a taste to pairs. `priors` has for every feature how probable it is before any vote that the taste is about it;
/// together 1 at most, where 1 means that a taste is as probable as none.
pub fn fit_taste(pairs: &[TastePair], priors: &[f64]) -> TasteFit {
    let mut columns: Vec<Column> = vec![Vec::new(); priors.len()];
    for (at, pair) in pairs.iter().enumerate() {
        for (feature, x) in pair.features.iter().filter(|(feature, _)| *feature < priors.len()) {
            columns[*feature].push((at, *x));
        }
    }
    let mut state = State { pairs, explained: pairs.iter().map(|p| -p.margin).collect(), share: 1.0 };
    let mut weights = vec![0.0; priors.len()];
    for _ in 0..ROUNDS {
        state.fit_share();
        let base = state.odds();
        let fits: Vec<[(f64, f64); SPREADS.len()]> =
            columns.par_iter().map(|column| SPREADS.map(|spread| fit_one(column, pairs, &base, spread))).collect();
        // Probabilities of all hypotheses, nothing left to explain among them, relative to the largest.
        let log = |(at, fit): (usize, &[(f64, f64); SPREADS.len()])| {
            fit.map(|(_, evidence)| evidence + (priors[at] / SPREADS.len() as f64).ln())
        };
        let logs: Vec<[f64; SPREADS.len()]> = fits.iter().enumerate().map(log).collect();
        let largest = logs.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
        let nothing = (-largest).exp();
        let total = nothing + logs.iter().flatten().map(|log| (log - largest).exp()).sum::<f64>();
        let step: Vec<f64> = fits
            .iter()
            .zip(&logs)
            .map(|(fit, logs)| fit.iter().zip(logs).map(|((w, _), log)| w * (log - largest).exp() / total).sum())
            .collect();
        for (at, pair) in pairs.iter().enumerate() {
            for (feature, x) in pair.features.iter().filter(|(feature, _)| *feature < priors.len()) {
                state.explained[at] += step[*feature] * x;
            }
        }
        weights.iter_mut().zip(&step).for_each(|(all, step)| *all += step);
        if nothing / total > 0.5 {
            break;
        }
    }
    state.fit_share();
    TasteFit { share: state.share, weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::rng;

    /// A number in −1, 0, 1 by counter.
    fn three(seed: u64, at: u64) -> f64 {
        f64::from(rng::bits(seed, rng::Purpose::Shuffle, 0, at) % 3) - 1.0
    }

    /// Votes whose better answer has more of the features of the taste; the other features are by chance.
    fn votes(seed: u64, n: usize, features: usize, taste: &[(usize, f64)]) -> Vec<TastePair> {
        let mut all = Vec::new();
        for at in 0.. {
            if all.len() == n {
                break;
            }
            let mut x: Vec<f64> = (0..features).map(|f| three(seed, (at * features + f) as u64)).collect();
            let liked: f64 = taste.iter().map(|(f, w)| w * x[*f]).sum();
            if liked == 0.0 {
                continue;
            }
            for x in &mut x {
                *x *= liked.signum();
            }
            let network = 2.0 * three(seed + 1, at as u64);
            let features = x.into_iter().enumerate().filter(|(_, x)| *x != 0.0).collect();
            all.push(TastePair { network, margin: 0.0, weight: 1.0, features });
        }
        all
    }

    fn agreement(fit: &TasteFit, pairs: &[TastePair]) -> f64 {
        let odds =
            |p: &TastePair| fit.share * p.network + p.features.iter().map(|(f, x)| fit.weights[*f] * x).sum::<f64>();
        pairs.iter().filter(|p| odds(p) > 0.0).count() as f64 / pairs.len() as f64
    }

    #[test]
    fn twenty_votes_find_one_feature_among_three_hundred() {
        let priors = [1.0 / 300.0; 300];
        for seed in 0..5 {
            let fit = fit_taste(&votes(seed, 20, 300, &[(7, 1.0)]), &priors);
            let unseen = agreement(&fit, &votes(seed + 50, 200, 300, &[(7, 1.0)]));
            assert!(unseen > 0.9, "seed {seed}: {unseen}, weight {}", fit.weights[7]);
        }
        // Disliked: the same with the other sign.
        let fit = fit_taste(&votes(1, 20, 300, &[(7, -1.0)]), &priors);
        assert!(fit.weights[7] < -1.0, "{}", fit.weights[7]);
    }

    #[test]
    fn more_votes_find_two() {
        let taste = [(7, 1.0), (30, -2.0)];
        let fit = fit_taste(&votes(3, 80, 100, &taste), &[0.01; 100]);
        let unseen = agreement(&fit, &votes(70, 300, 100, &taste));
        assert!(unseen > 0.85 && fit.weights[7] > 0.1 && fit.weights[30] < -1.0, "{unseen}");
    }

    #[test]
    fn votes_by_chance_teach_little() {
        // The better side is drawn: no feature has to do with it.
        let mut all = votes(9, 20, 300, &[(0, 1.0)]);
        for (at, pair) in all.iter_mut().enumerate() {
            let side = if three(77, at as u64) > 0.0 { 1.0 } else { -1.0 };
            pair.features.iter_mut().for_each(|(_, x)| *x *= side);
        }
        let fit = fit_taste(&all, &[1.0 / 300.0; 300]);
        let untaught = fit.weights.iter().filter(|w| w.abs() < 0.1).count();
        assert!(untaught > 270, "{untaught} of 300 stay at zero");
    }

    #[test]
    fn the_network_gives_way_where_votes_contradict_it() {
        let share = |network: f64, features: bool| {
            let mut all = votes(4, 20, 10, &[(2, 1.0)]);
            for pair in &mut all {
                pair.network = network;
                pair.features.retain(|_| features);
            }
            fit_taste(&all, &[0.1; 10]).share
        };
        // Without a feature that explains the votes the network is all there is to doubt.
        let (agrees, contradicts) = (share(1.0, false), share(-1.0, false));
        assert!((LEAST_SHARE..0.5).contains(&contradicts) && agrees > 1.0, "{agrees} {contradicts}");
        let explained = share(-1.0, true);
        assert!(explained > contradicts && explained < 1.0, "{explained}");
    }

    #[test]
    fn a_fit_is_a_function_of_its_votes() {
        let (all, priors) = (votes(5, 21, 100, &[(3, 1.0)]), [0.01; 100]);
        let (first, more) = (fit_taste(&all[..20], &priors), fit_taste(&all, &priors));
        assert_eq!(first, fit_taste(&all[..20], &priors));
        assert_ne!(first.weights, more.weights);
        let none = fit_taste(&[], &priors);
        assert_eq!((none.share, none.weights), (1.0, vec![0.0; 100]));
        assert_eq!(fit_taste(&all, &[]).weights, Vec::<f64>::new());
    }
}
