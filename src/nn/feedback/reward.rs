//! The loss of the reward model over pairs of answers.

use super::{log_sigmoid, sigmoid};

/// Two scored answers to one prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// r_w, the score of the chosen answer.
    pub chosen: f32,
    /// r_l, the score of the rejected answer.
    pub rejected: f32,
    /// The minimum desired difference (Touvron et al. 2023, Llama 2); usually 0.
    pub margin: f32,
    /// The weight of the pair: a user's vote may weigh more than a built-in pair. Usually 1.
    pub weight: f32,
}

impl Pair {
    /// A pair of weight 1 without margin.
    pub fn new(chosen: f32, rejected: f32) -> Pair {
        Pair { chosen, rejected, margin: 0.0, weight: 1.0 }
    }
}

/// The loss of pairs. Means are weighted by the pairs; 0 without pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairLoss {
    /// The loss, including centring.
    pub loss: f64,
    /// ∂loss/∂chosen of each pair.
    pub dchosen: Vec<f32>,
    /// ∂loss/∂rejected of each pair.
    pub drejected: Vec<f32>,
    /// Share of pairs whose chosen answer scores higher; equal scores count half.
    pub accuracy: f64,
    /// Mean r_w − r_l.
    pub margin: f64,
    /// Mean of all scores.
    pub mean_reward: f64,
}

/// Mean over pairs of −log σ(r_w − r_l − margin) + centre · (r_w + r_l)².
///
/// The first term is Bradley and Terry's (1952; Ouyang et al. 2022, eq. 1), under which all scores may drift together;
/// the second (Eisenstein et al. 2023; `center_rewards_coefficient` of TRL, 0.01 there) keeps their mean near 0. All
/// pairs of a prompt's ranked answers belong in one step: the caller adds the gradients of an answer that occurs in
/// several pairs.
pub fn pairwise_loss(pairs: &[Pair], centre: f32) -> PairLoss {
    let total: f64 = pairs.iter().map(|p| f64::from(p.weight)).sum();
    if total == 0.0 {
        let zeros = vec![0.0; pairs.len()];
        return PairLoss { dchosen: zeros.clone(), drejected: zeros, ..PairLoss::default() };
    }
    let centre = f64::from(centre);
    let mut all = PairLoss::default();
    for p in pairs {
        let share = f64::from(p.weight) / total;
        let (w, l) = (f64::from(p.chosen), f64::from(p.rejected));
        let lead = w - l - f64::from(p.margin);
        all.loss += share * (centre * (w + l).powi(2) - log_sigmoid(lead));
        let (pull, drift) = (-sigmoid(-lead), 2.0 * centre * (w + l));
        all.dchosen.push((share * (drift + pull)) as f32);
        all.drejected.push((share * (drift - pull)) as f32);
        all.accuracy += share * if w > l { 1.0 } else { 0.5 * f64::from(u8::from(w == l)) };
        all.margin += share * (w - l);
        all.mean_reward += share * (w + l) / 2.0;
    }
    all
}

/// The positions at which two answers' scores are compared, \[chosen, rejected\], counted from each answer's first
/// token: the corrected objective of LLMBook's code 8.1 (its «book» mode here).
///
/// The excerpt applies BCE to reward(chosen) − reward(rejected) at every position of two rows of equal length.
/// Corrected: padding has no score; beyond the end of the shorter answer its last score is used, so that the token at
/// which each answer is finally read takes part in all remaining comparisons; and the label is 1 (the excerpt's comment
/// has 0, which raises the rejected answer).
pub fn book_positions(chosen: usize, rejected: usize) -> Vec<[usize; 2]> {
    let last = |n: usize, at: usize| at.min(n.saturating_sub(1));
    (0..chosen.max(rejected)).map(|at| [last(chosen, at), last(rejected, at)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::slope, *};

    fn pairs(x: &[f32]) -> Vec<Pair> {
        let pair = |(i, x): (usize, &[f32])| Pair {
            margin: 0.3 * i as f32,
            weight: 1.0 + i as f32 / 2.0,
            ..Pair::new(x[0], x[1])
        };
        x.chunks(2).enumerate().map(pair).collect()
    }

    #[test]
    fn gradients_are_slopes() {
        let x = [0.5, -0.3, -2.0, 4.0, 1.5, 1.25, 9.0, -9.0];
        for centre in [0.0, 0.01, 0.7] {
            let l = pairwise_loss(&pairs(&x), centre);
            let gradient: Vec<f32> = l.dchosen.iter().zip(&l.drejected).flat_map(|(a, b)| [*a, *b]).collect();
            slope::check(&x, &gradient, |x| pairwise_loss(&pairs(x), centre).loss);
        }
    }

    #[test]
    fn a_model_without_opinion_has_ln_2() {
        let l = pairwise_loss(&[Pair::new(0.7, 0.7), Pair::new(-1.0, -1.0)], 0.0);
        assert!((l.loss - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!((l.accuracy, l.margin), (0.5, 0.0));
        assert_eq!((l.dchosen, l.drejected), (vec![-0.25; 2], vec![0.25; 2]));
    }

    /// The published excerpt (LLMBook, code 8.1) applies BCE to the difference with label 0: that is −log σ(r_l − r_w),
    /// which raises the rejected answer.
    #[test]
    fn inverted_labels_raise_the_rejected_answer() {
        let pair = Pair::new(0.4, -0.2);
        let inverted = Pair::new(pair.rejected, pair.chosen);
        assert!(pairwise_loss(&[pair], 0.0).dchosen[0] < 0.0, "a descent raises the chosen answer");
        assert!(pairwise_loss(&[inverted], 0.0).drejected[0] > 0.0, "and with the labels of the book lowers it");
    }

    /// Scores of answers of 3 and 2 tokens: the book's objective is the mean over three comparisons, two of which use
    /// the shorter one's last score.
    #[test]
    fn the_book_compares_every_position_and_no_padding() {
        assert_eq!(book_positions(3, 2), [[0, 0], [1, 1], [2, 1]]);
        assert_eq!(book_positions(1, 1), [[0, 0]]);
        let x = [0.5, -0.25, 1.5, 0.75, -1.0];
        let compared = |x: &[f32]| -> Vec<Pair> {
            book_positions(3, 2).iter().map(|[c, r]| Pair::new(x[*c], x[3 + *r])).collect()
        };
        let by_hand = |lead: f64| -(1.0 / (1.0 + (-lead).exp())).ln();
        let want = (by_hand(-0.25) + by_hand(0.75) + by_hand(2.5)) / 3.0;
        let loss = pairwise_loss(&compared(&x), 0.0);
        assert!((loss.loss - want).abs() < 1e-6, "{} {want}", loss.loss);
        let mut gradient = [0.0; 5];
        for (i, [c, r]) in book_positions(3, 2).iter().enumerate() {
            gradient[*c] += loss.dchosen[i];
            gradient[3 + *r] += loss.drejected[i];
        }
        slope::check(&x, &gradient, |x| pairwise_loss(&compared(x), 0.0).loss);
        // Every score of the chosen answer rises and every score of the rejected one falls; with the excerpt's labels,
        // which swap the pairs, the opposite.
        assert!(gradient[..3].iter().all(|g| *g < 0.0) && gradient[3..].iter().all(|g| *g > 0.0));
        let inverted: Vec<Pair> = compared(&x).iter().map(|p| Pair::new(p.rejected, p.chosen)).collect();
        assert!(pairwise_loss(&inverted, 0.0).drejected.iter().all(|g| *g > 0.0), "the chosen answers fall");
    }

    #[test]
    fn no_pairs_and_pairs_of_no_weight_are_nothing() {
        assert_eq!(pairwise_loss(&[], 0.1), PairLoss::default());
        let none = pairwise_loss(&[Pair { weight: 0.0, ..Pair::new(1.0, 2.0) }], 0.1);
        assert_eq!((none.loss, none.dchosen), (0.0, vec![0.0]));
    }
}
