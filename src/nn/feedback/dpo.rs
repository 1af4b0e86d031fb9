//! Direct preference optimisation.

use super::{log_sigmoid, sigmoid};

/// The log-probabilities of two answers to one prompt, summed over their tokens ([`super::sums`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpoPair {
    /// log π of the preferred answer.
    pub chosen: f32,
    /// log π of the rejected answer.
    pub rejected: f32,
    /// log π_ref of the preferred answer.
    pub chosen_reference: f32,
    /// log π_ref of the rejected answer.
    pub rejected_reference: f32,
}

/// The loss of pairs with metrics under TRL's names `rewards/…`. Means over pairs; 0 without pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DpoLoss {
    /// The loss.
    pub loss: f64,
    /// −∂loss/∂log π of each chosen answer: the weight of each of its tokens ([`super::spread`]).
    pub chosen_weights: Vec<f32>,
    /// The same for the rejected answers.
    pub rejected_weights: Vec<f32>,
    /// Mean β·(log π − log π_ref) of the preferred answers.
    pub chosen: f64,
    /// The same for the rejected answers.
    pub rejected: f64,
    /// Share of pairs whose chosen answer has the larger one; 0 at the start, when all are equal.
    pub accuracies: f64,
    /// Mean difference of the two.
    pub margins: f64,
}

/// Mean over pairs of −(1 − s)·log σ(h) − s·log σ(−h), where h = β·[(log π_w − log π_ref,w) −
/// (log π_l − log π_ref,l)] (Rafailov et al. 2023, eq. 7) and s smooths labels that may be flipped
/// (Mitchell 2023, conservative DPO). ln 2 at the start.
pub fn dpo_loss(pairs: &[DpoPair], beta: f32, label_smoothing: f32) -> DpoLoss {
    let (beta, smooth) = (f64::from(beta), f64::from(label_smoothing));
    let share = 1.0 / pairs.len().max(1) as f64;
    let mut all = DpoLoss::default();
    for p in pairs {
        let chosen = beta * (f64::from(p.chosen) - f64::from(p.chosen_reference));
        let rejected = beta * (f64::from(p.rejected) - f64::from(p.rejected_reference));
        let lead = chosen - rejected;
        all.loss -= share * ((1.0 - smooth) * log_sigmoid(lead) + smooth * log_sigmoid(-lead));
        let weight = share * beta * ((1.0 - smooth) * sigmoid(-lead) - smooth * sigmoid(lead));
        all.chosen_weights.push(weight as f32);
        all.rejected_weights.push(-weight as f32);
        all.chosen += share * chosen;
        all.rejected += share * rejected;
        all.accuracies += share * f64::from(u8::from(chosen > rejected));
        all.margins += share * lead;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{super::slope, *};

    fn pairs(x: &[f32]) -> Vec<DpoPair> {
        let pair =
            |x: &[f32]| DpoPair { chosen: x[0], rejected: x[1], chosen_reference: -11.0, rejected_reference: -9.5 };
        x.chunks(2).map(pair).collect()
    }

    #[test]
    fn weights_are_slopes() {
        let x = [-10.0, -12.0, -14.0, -9.0, -11.0, -9.5, -30.0, -8.0];
        for (beta, smooth) in [(0.1, 0.0), (0.5, 0.0), (0.1, 0.2)] {
            let l = dpo_loss(&pairs(&x), beta, smooth);
            let both = l.chosen_weights.iter().zip(&l.rejected_weights);
            let gradient: Vec<f32> = both.flat_map(|(w, l)| [-w, -l]).collect();
            slope::check(&x, &gradient, |x| dpo_loss(&pairs(x), beta, smooth).loss);
        }
    }

    #[test]
    fn a_policy_that_is_its_reference_has_ln_2() {
        let l = dpo_loss(&pairs(&[-11.0, -9.5]), 0.1, 0.0);
        assert!((l.loss - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!((l.accuracies, l.margins, l.chosen, l.rejected), (0.0, 0.0, 0.0, 0.0));
        assert_eq!((l.chosen_weights, l.rejected_weights), (vec![0.05], vec![-0.05]));
        assert_eq!(dpo_loss(&[], 0.1, 0.0), DpoLoss::default());
    }
}
