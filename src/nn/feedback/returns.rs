//! From scores to advantages: the KL in the reward, GAE, whitening.

use super::{Mismatch, expect};

/// Rewards of tokens, and the KL that was subtracted.
#[derive(Clone, Debug, PartialEq)]
pub struct KlRewards {
    /// The reward of each token.
    pub rewards: Vec<f32>,
    /// Each answer's Σ (log π − log π_ref): the k1 estimate of its KL, in nats.
    pub kl: Vec<f32>,
}

/// −β · (log π − log π_ref) for every token, plus the answer's score at its last one (Ziegler et al. 2019, eq. 2;
/// Ouyang et al. 2022). An answer without tokens has no reward.
pub fn kl_rewards(
    logprobs: &[f32],
    reference: &[f32],
    scores: &[f32],
    lengths: &[usize],
    beta: f32,
) -> Result<KlRewards, Mismatch> {
    expect("log-probabilities", logprobs.len(), lengths.iter().sum())?;
    expect("reference log-probabilities", reference.len(), logprobs.len())?;
    expect("scores", scores.len(), lengths.len())?;
    let beta = f64::from(beta);
    let (mut rewards, mut kl) = (Vec::with_capacity(logprobs.len()), Vec::with_capacity(lengths.len()));
    for (score, length) in scores.iter().zip(lengths) {
        let (start, mut total) = (rewards.len(), 0.0);
        for i in start..start + length {
            let k1 = f64::from(logprobs[i]) - f64::from(reference[i]);
            let score = if i + 1 == start + length { f64::from(*score) } else { 0.0 };
            rewards.push((score - beta * k1) as f32);
            total += k1;
        }
        kl.push(total as f32);
    }
    Ok(KlRewards { rewards, kl })
}

/// Advantages, and the returns as targets for the value net.
#[derive(Clone, Debug, PartialEq)]
pub struct Gae {
    /// A_t of each token.
    pub advantages: Vec<f32>,
    /// A_t + V_t of each token.
    pub returns: Vec<f32>,
}

/// Generalised advantage estimation (Schulman et al. 2015), answer by answer: δ_t = r_t + γ·V_{t+1} − V_t, A_t = δ_t +
/// γλ·A_{t+1}, from the last token back. After the last token value and advantage are 0, whether the answer ended or
/// was cut (TRL's convention).
pub fn gae(rewards: &[f32], values: &[f32], lengths: &[usize], gamma: f32, lambda: f32) -> Result<Gae, Mismatch> {
    expect("rewards", rewards.len(), lengths.iter().sum())?;
    expect("values", values.len(), rewards.len())?;
    let (gamma, lambda) = (f64::from(gamma), f64::from(lambda));
    let (mut advantages, mut returns) = (vec![0.0; rewards.len()], vec![0.0; rewards.len()]);
    let mut start = 0;
    for length in lengths {
        let (mut next_value, mut next) = (0.0, 0.0);
        for i in (start..start + length).rev() {
            let value = f64::from(values[i]);
            next = f64::from(rewards[i]) + gamma * next_value - value + gamma * lambda * next;
            next_value = value;
            advantages[i] = next as f32;
            returns[i] = (next + value) as f32;
        }
        start += length;
    }
    Ok(Gae { advantages, returns })
}

/// Scales to mean 0 and standard deviation 1; with `shift_mean` false the mean is kept: (x − mean) · (var + 1e-8)^−½ (+
/// mean).
///
/// The variance is unbiased, as in TRL (`masked_whiten`); OpenAI's lm-human-preferences uses the biased one. A single
/// value has variance 0.
pub fn whiten(values: &mut [f32], shift_mean: bool) {
    let n = values.len() as f64;
    if values.is_empty() {
        return;
    }
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let squares = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    let factor = 1.0 / (squares / (n - 1.0).max(1.0) + 1e-8).sqrt();
    let back = if shift_mean { 0.0 } else { mean };
    for x in values.iter_mut() {
        *x = ((f64::from(*x) - mean) * factor + back) as f32;
    }
}

/// The adaptive KL coefficient (Ziegler et al. 2019, section 2.2): a controller that keeps the KL of an answer near a
/// target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveKl {
    /// The current β.
    pub coefficient: f64,
    /// The target KL, in nats per answer.
    pub target: f64,
    /// Episodes over which β may grow by about a factor of e^0.2: 10,000 in the paper.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// Updates β after `episodes` answers with mean KL `kl`: e = clip(kl/target − 1, ±0.2), β ← β·(1 +
    /// e·episodes/horizon).
    pub fn update(&mut self, kl: f64, episodes: usize) {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        self.coefficient *= 1.0 + error * episodes as f64 / self.horizon;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn with_no_values_advantages_are_the_rewards_to_come() {
        let rewards = [1.0, 0.0, -2.0, 4.0, 0.5];
        let all = gae(&rewards, &[0.0; 5], &[3, 2], 1.0, 1.0).unwrap();
        assert_eq!(all.advantages, [-1.0, -2.0, -2.0, 4.5, 0.5]);
        assert_eq!(all.returns, all.advantages);
    }

    #[test]
    fn with_lambda_0_advantages_are_one_step_errors() {
        let (rewards, values) = ([1.0, 0.0, -2.0], [0.5, 0.25, 3.0]);
        let all = gae(&rewards, &values, &[3], 0.5, 0.0).unwrap();
        assert_eq!(all.advantages, [1.0 + 0.125 - 0.5, 1.5 - 0.25, -2.0 - 3.0]);
        assert_eq!(all.returns, [1.125, 1.5, -2.0]);
    }

    /// An answer is not affected by the next one in the list, and one without tokens is skipped.
    #[test]
    fn answers_do_not_see_each_other() {
        let (rewards, values) = ([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]);
        let all = gae(&rewards, &values, &[1, 0, 3], 0.9, 0.8).unwrap();
        let one = gae(&rewards[..1], &values[..1], &[1], 0.9, 0.8).unwrap();
        let other = gae(&rewards[1..], &values[1..], &[3], 0.9, 0.8).unwrap();
        assert_eq!(all.advantages, [one.advantages, other.advantages].concat());
        assert!(
            gae(&rewards, &values, &[3], 0.9, 0.8).is_err() && gae(&rewards, &values[1..], &[4], 0.9, 0.8).is_err()
        );
    }

    #[test]
    fn the_score_is_at_the_last_token_and_kl_everywhere() {
        let all = kl_rewards(&[-1.0, -2.0, -0.5], &[-1.5, -1.0, -0.5], &[3.0, 0.0, -7.0], &[2, 0, 1], 0.1).unwrap();
        assert_eq!(all.rewards, [-0.05, 3.1, -7.0]);
        assert_eq!(all.kl, [-0.5, 0.0, 0.0]);
        assert!(kl_rewards(&[-1.0], &[], &[1.0], &[1], 0.1).is_err());
    }

    #[test]
    fn whitening_has_mean_0_and_deviation_1() {
        let mut values = [1.0, 2.0, 3.0, 10.0];
        whiten(&mut values, true);
        let mean = values.iter().sum::<f32>() / 4.0;
        let var = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 3.0;
        assert!(mean.abs() < 1e-6 && (var - 1.0).abs() < 1e-6);
        let mut kept = [1.0, 2.0, 3.0, 10.0];
        whiten(&mut kept, false);
        for (a, b) in kept.iter().zip(&values) {
            assert!((a - b - 4.0).abs() < 1e-6);
        }
        let (mut one, mut none) = ([3.0], [0.0_f32; 0]);
        whiten(&mut one, true);
        whiten(&mut none, true);
        assert_eq!(one, [0.0]);
    }

    #[test]
    fn the_kl_coefficient_follows_its_target() {
        let mut kl = AdaptiveKl { coefficient: 0.2, target: 6.0, horizon: 10_000.0 };
        kl.update(12.0, 256);
        assert!((kl.coefficient / 0.2 - 1.00512).abs() < 1e-12);
        kl.update(0.0, 256);
        assert!((kl.coefficient / 0.2 - 1.00512 * 0.99488).abs() < 1e-12);
        kl.update(6.0, 256);
        assert!((kl.coefficient / 0.2 - 1.00512 * 0.99488).abs() < 1e-12);
    }
}
