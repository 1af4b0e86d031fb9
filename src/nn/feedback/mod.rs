//! The mathematics of human feedback on the host: what happens to scores and log-probabilities between the forward and
//! the backward pass on the device.
//!
//! Tokens are flat lists: the actions of one answer after another, without prompts and padding; `lengths` has the
//! number of each answer's actions. An *action* is a sampled token, including the one that ends the answer. In the rows
//! of a model the numbers of an action are at the position before it: its log-probability is read there (the target of
//! that row is the action), and the value of the state in which it is taken. Sums are computed in f64; the results for
//! the device are f32.
//!
//! Losses come with analytic gradients. `tests/golden/make_feedback.py` has PyTorch's for the same numbers, and the
//! unit tests compare each with central differences.
//!
//! Sources: Christiano et al. 2017 and Ouyang et al. 2022 (pairwise reward loss, PPO with a per-token KL), Schulman et
//! al. 2015 (GAE) and 2017 (PPO), Ziegler et al. 2019 (adaptive KL), Rafailov et al. 2023 (DPO), Shao et al. 2024
//! (GRPO), Schulman 2020 (k1 and k3); where papers leave a choice, Hugging Face's TRL, whose metric names callers use.

mod dpo;
mod policy;
mod returns;
mod reward;
mod taste;

pub use dpo::{DpoLoss, DpoPair, dpo_loss};
pub use policy::{
    GroupAdvantages, Mean, Objective, PolicyLoss, PolicyTokens, ValueLoss, group_advantages, policy_loss, value_loss,
};
pub use returns::{AdaptiveKl, Gae, KlRewards, gae, kl_rewards, whiten};
pub use reward::{Pair, PairLoss, book_positions, pairwise_loss};
pub use taste::{TasteFit, TastePair, fit_taste};

/// Lists whose lengths do not match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {got} were given, {want} are expected")]
pub struct Mismatch {
    /// Which list.
    pub what: &'static str,
    /// Its length.
    pub got: usize,
    /// The expected length.
    pub want: usize,
}

fn expect(what: &'static str, got: usize, want: usize) -> Result<(), Mismatch> {
    if got == want { Ok(()) } else { Err(Mismatch { what, got, want }) }
}

/// σ(x), without overflow for large |x|.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// log σ(x), exact to rounding for large |x|.
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// The mean; 0 for an empty list.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len();
    if n == 0 { 0.0 } else { values.sum::<f64>() / n as f64 }
}

/// The sum over each answer's tokens: sequence log-probabilities.
pub fn sums(tokens: &[f32], lengths: &[usize]) -> Result<Vec<f32>, Mismatch> {
    expect("tokens", tokens.len(), lengths.iter().sum())?;
    let mut rest = tokens;
    let sum = |length: &usize| {
        let (these, more) = rest.split_at(*length);
        rest = more;
        these.iter().map(|x| f64::from(*x)).sum::<f64>() as f32
    };
    Ok(lengths.iter().map(sum).collect())
}

/// Each answer's number repeated for all of its tokens: sequence weights.
pub fn spread(answers: &[f32], lengths: &[usize]) -> Result<Vec<f32>, Mismatch> {
    expect("answers", answers.len(), lengths.len())?;
    Ok(answers.iter().zip(lengths).flat_map(|(x, n)| std::iter::repeat_n(*x, *n)).collect())
}

#[cfg(test)]
pub(crate) mod slope {
    //! Central differences.

    /// Checks a gradient: every element against (f(x + h) − f(x − h)) / 2h.
    pub(crate) fn check(x: &[f32], gradient: &[f32], f: impl Fn(&[f32]) -> f64) {
        assert_eq!(x.len(), gradient.len());
        for i in 0..x.len() {
            let at = |h: f32| {
                let mut moved = x.to_vec();
                moved[i] += h;
                (f64::from(moved[i]), f(&moved))
            };
            // The actual distance of the two points in f32.
            let ((high, above), (low, below)) = (at(1e-3), at(-1e-3));
            let want = (above - below) / (high - low);
            let error = (f64::from(gradient[i]) - want).abs();
            assert!(error < 1e-6 + 1e-5 * want.abs(), "element {i}: {} where the slope is {want}", gradient[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_spreads_are_by_answer() {
        assert_eq!(sums(&[1.0, 2.0, 4.0], &[2, 0, 1]), Ok(vec![3.0, 0.0, 4.0]));
        assert_eq!(spread(&[1.0, 2.0, 4.0], &[2, 0, 1]), Ok(vec![1.0, 1.0, 4.0]));
        let error = sums(&[1.0], &[2]).expect_err("a token is missing");
        assert_eq!(error.to_string(), "tokens: 1 were given, 2 are expected");
        assert!(spread(&[1.0], &[]).is_err());
    }

    #[test]
    fn the_logistic_function_has_no_edges() {
        for x in [-800.0, -40.0, -1.0, 0.0, 1e-9, 3.0, 40.0, 800.0] {
            assert!((sigmoid(x) + sigmoid(-x) - 1.0).abs() < 1e-15);
            assert!((log_sigmoid(x) - log_sigmoid(-x) - x).abs() < 1e-12 * x.abs().max(1.0));
        }
        assert!((log_sigmoid(0.0) + std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(log_sigmoid(-1e6), -1e6);
    }
}
