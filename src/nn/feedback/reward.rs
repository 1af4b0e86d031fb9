//! The reward model's loss over pairs of answers.

use super::{log_sigmoid, sigmoid};

/// Two scored answers to one prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// r_w, the score of the preferred answer.
    pub chosen: f32,
    /// r_l, the score of the other.
    pub rejected: f32,
    /// By how much the preferred answer should at least lead (Touvron et al. 2023, Llama 2); usually 0.
    pub margin: f32,
    /// What the pair counts for: a person's own vote may count for more than a built-in one. Usually 1.
    pub weight: f32,
}

impl Pair {
    /// A pair that counts once, without a margin.
    pub fn new(chosen: f32, rejected: f32) -> Pair {
        Pair { chosen, rejected, margin: 0.0, weight: 1.0 }
    }
}

/// What pairs come to. Means are weighted as the pairs are; 0 of no pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairLoss {
    /// The loss, centering included.
    pub loss: f64,
    /// ∂loss/∂chosen of each pair.
    pub dchosen: Vec<f32>,
    /// ∂loss/∂rejected of each pair.
    pub drejected: Vec<f32>,
    /// Share of pairs whose preferred answer scores higher; equal scores count half.
    pub accuracy: f64,
    /// Mean r_w − r_l.
    pub margin: f64,
    /// Mean of all scores.
    pub mean_reward: f64,
}

/// Mean over pairs of −log σ(r_w − r_l − margin) + centre · (r_w + r_l)².
///
/// The first term is Bradley and Terry's (1952; Ouyang et al. 2022, eq. 1), whose scores are free to drift
/// together; the second (Eisenstein et al. 2023; `center_rewards_coefficient` of TRL, 0.01 there) holds
/// their mean near 0. All pairs of a prompt's ranked answers belong into one step: the caller adds the
/// gradients of an answer that stands in several pairs.
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

    /// The published excerpt (LLMBook, code 8.1) takes BCE of the difference with the labels 0: that is
    /// −log σ(r_l − r_w), and it raises the rejected answer.
    #[test]
    fn inverted_labels_raise_the_rejected_answer() {
        let pair = Pair::new(0.4, -0.2);
        let inverted = Pair::new(pair.rejected, pair.chosen);
        assert!(pairwise_loss(&[pair], 0.0).dchosen[0] < 0.0, "a descent raises the chosen answer");
        assert!(pairwise_loss(&[inverted], 0.0).drejected[0] > 0.0, "and with the labels of the book lowers it");
    }

    #[test]
    fn no_pairs_and_pairs_of_no_weight_are_nothing() {
        assert_eq!(pairwise_loss(&[], 0.1), PairLoss::default());
        let none = pairwise_loss(&[Pair { weight: 0.0, ..Pair::new(1.0, 2.0) }], 0.1);
        assert_eq!((none.loss, none.dchosen), (0.0, vec![0.0]));
    }
}
