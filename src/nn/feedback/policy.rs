//! The clipped loss of a policy, for PPO and GRPO, and the clipped value loss.

use super::{Mismatch, expect, mean};

/// How token losses are reduced to a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mean {
    /// Over all tokens: PPO as in TRL, and GRPO with `loss_type` `dapo` and `bnpo`.
    Tokens,
    /// Over the tokens of each answer, then over answers: GRPO as published, `loss_type` `grpo`.
    Answers,
    /// The sum divided by this: `dr_grpo` with answers × longest answer.
    Fixed(f64),
}

/// The objective of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// ε below 1: a ratio under 1 − ε is clipped.
    pub clip_low: f32,
    /// ε above 1.
    pub clip_high: f32,
    /// β of the k3 term in the loss, as in GRPO; 0 for PPO, whose KL is in the reward.
    pub kl: f32,
    /// How token losses are averaged.
    pub mean: Mean,
}

impl Objective {
    /// PPO's: a single ε, mean over tokens, no KL term.
    pub fn ppo(clip: f32) -> Objective {
        Objective { clip_low: clip, clip_high: clip, kl: 0.0, mean: Mean::Tokens }
    }
}

/// The tokens of a minibatch, answer by answer.
#[derive(Clone, Copy, Debug)]
pub struct PolicyTokens<'a> {
    /// log π of each token under the current policy.
    pub new: &'a [f32],
    /// log π of each token when the answers were sampled.
    pub old: &'a [f32],
    /// log π_ref; required with a KL term, otherwise it may be empty.
    pub reference: &'a [f32],
    /// The advantage of each token.
    pub advantages: &'a [f32],
    /// Tokens of each answer.
    pub lengths: &'a [usize],
}

/// The loss of a policy's minibatch. Statistics are means over all tokens; 0 without tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyLoss {
    /// The loss, including the KL term.
    pub loss: f64,
    /// −∂loss/∂log π of each token: the weights of [`crate::nn::PolicyLearner::backward`].
    pub weights: Vec<f32>,
    /// Share of tokens for which the clipped loss is larger, which have no policy gradient.
    pub clip_fraction: f64,
    /// ½ · mean (log π − log π_old)²: TRL's `approxkl`.
    pub approx_kl: f64,
    /// Mean log π_old − log π: the k1 estimate of KL(π_old ‖ π) (Schulman 2020); may be negative.
    pub old_kl: f64,
    /// Mean k3 to the reference, e^d − d − 1 with d = log π_ref − log π; 0 without a reference.
    pub reference_kl: f64,
    /// Mean of π/π_old.
    pub ratio: f64,
    /// Variance of π/π_old.
    pub ratio_var: f64,
}

/// The clipped surrogate (Schulman et al. 2017, eq. 7): for each token max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε)) with ρ =
/// π/π_old, plus β·k3 (Shao et al. 2024, eq. 4).
///
/// ∂/∂log π of the first term is −A·ρ where it is not clipped, else 0; of the second β·(1 − e^d). Nothing is clamped: a
/// ratio that overflows f32 gives a weight that is not finite, and the update is skipped.
pub fn policy_loss(tokens: &PolicyTokens<'_>, objective: &Objective) -> Result<PolicyLoss, Mismatch> {
    let PolicyTokens { new, old, reference, advantages, lengths } = *tokens;
    let n = new.len();
    expect("log-probabilities", n, lengths.iter().sum())?;
    expect("old log-probabilities", old.len(), n)?;
    expect("advantages", advantages.len(), n)?;
    if !reference.is_empty() || objective.kl != 0.0 {
        expect("reference log-probabilities", reference.len(), n)?;
    }
    let (low, high) = (1.0 - f64::from(objective.clip_low), 1.0 + f64::from(objective.clip_high));
    let beta = f64::from(objective.kl);
    let mut all = PolicyLoss { weights: Vec::with_capacity(n), ..PolicyLoss::default() };
    let mut ratios = Vec::with_capacity(n);
    let mut at = 0;
    for length in lengths {
        let share = match objective.mean {
            Mean::Tokens => 1.0 / n as f64,
            Mean::Answers => 1.0 / (*length as f64 * lengths.len() as f64),
            Mean::Fixed(by) => 1.0 / by,
        };
        for i in at..at + length {
            let change = f64::from(new[i]) - f64::from(old[i]);
            let (ratio, advantage) = (change.exp(), f64::from(advantages[i]));
            let (free, clipped) = (-advantage * ratio, -advantage * ratio.clamp(low, high));
            let over = clipped > free;
            let mut weight = if over { 0.0 } else { -free };
            // A NaN ratio or advantage must show in the loss.
            let mut loss = if over { clipped } else { free };
            if let Some(reference) = reference.get(i) {
                let d = f64::from(*reference) - f64::from(new[i]);
                let k3 = d.exp_m1() - d;
                all.reference_kl += k3;
                loss += beta * k3;
                weight += beta * d.exp_m1();
            }
            all.loss += share * loss;
            all.weights.push((share * weight) as f32);
            all.clip_fraction += f64::from(u8::from(over));
            all.approx_kl += 0.5 * change * change;
            all.old_kl -= change;
            ratios.push(ratio);
        }
        at += length;
    }
    let tokens = n.max(1) as f64;
    for sum in [&mut all.clip_fraction, &mut all.approx_kl, &mut all.old_kl, &mut all.reference_kl] {
        *sum /= tokens;
    }
    all.ratio = mean(ratios.iter().copied());
    all.ratio_var = mean(ratios.iter().map(|r| (r - all.ratio).powi(2)));
    Ok(all)
}

/// The loss of a value net's minibatch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueLoss {
    /// The loss.
    pub loss: f64,
    /// ∂loss/∂value of each token: the gradients of [`crate::nn::ScalarLearner::backward`].
    pub dvalues: Vec<f32>,
    /// Share of tokens for which the clipped loss is larger.
    pub clip_fraction: f64,
    /// ½ · mean (V − R)², without clipping.
    pub error: f64,
}

/// ½ · mean max((V − R)², (clip(V, V_old − ε, V_old + ε) − R)²): the value loss of OpenAI's baselines and of TRL. The
/// gradient is (V − R)/n where it is not clipped, else 0. An infinite ε never clips. The caller multiplies by its
/// coefficient.
pub fn value_loss(new: &[f32], old: &[f32], returns: &[f32], clip: f32) -> Result<ValueLoss, Mismatch> {
    let n = new.len();
    expect("old values", old.len(), n)?;
    expect("returns", returns.len(), n)?;
    let (clip, share) = (f64::from(clip), 1.0 / n.max(1) as f64);
    let mut all = ValueLoss { dvalues: Vec::with_capacity(n), ..ValueLoss::default() };
    for ((new, old), target) in new.iter().zip(old).zip(returns) {
        let (new, old, target) = (f64::from(*new), f64::from(*old), f64::from(*target));
        let (free, clipped) = ((new - target).powi(2), ((new - old).clamp(-clip, clip) + old - target).powi(2));
        // Within the clip range both are the same number, computed in two ways.
        let over = clipped > free && (new - old).abs() > clip;
        all.loss += 0.5 * share * if over { clipped } else { free };
        all.dvalues.push(if over { 0.0 } else { (share * (new - target)) as f32 });
        all.clip_fraction += share * f64::from(u8::from(over));
        all.error += 0.5 * share * free;
    }
    Ok(all)
}

/// Advantages of answers relative to their groups.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupAdvantages {
    /// One per answer; [`super::spread`] repeats it for the tokens.
    pub advantages: Vec<f32>,
    /// Share of groups with equal scores, from which nothing is learned.
    pub flat: f64,
}

/// (r − mean)/(std + 1e-4) over the answers to a prompt (Shao et al. 2024; the constant and the unbiased standard
/// deviation are TRL's), or r − mean if `scale` is false (Liu et al. 2025, Dr. GRPO). `groups` has the number of
/// answers per prompt. A single answer has advantage 0.
pub fn group_advantages(scores: &[f32], groups: &[usize], scale: bool) -> Result<GroupAdvantages, Mismatch> {
    expect("scores", scores.len(), groups.iter().sum())?;
    let (mut advantages, mut flat, mut rest) = (Vec::with_capacity(scores.len()), 0, scores);
    for size in groups {
        let (these, more) = rest.split_at(*size);
        rest = more;
        let n = these.len() as f64;
        let centre = mean(these.iter().map(|r| f64::from(*r)));
        let squares: f64 = these.iter().map(|r| (f64::from(*r) - centre).powi(2)).sum();
        let by = if scale { (squares / (n - 1.0).max(1.0)).sqrt() + 1e-4 } else { 1.0 };
        let alike = these.windows(2).all(|w| w[0] == w[1]);
        flat += usize::from(alike);
        // If all are equal, their mean may still differ by a rounding error.
        advantages.extend(these.iter().map(|r| if alike { 0.0 } else { ((f64::from(*r) - centre) / by) as f32 }));
    }
    Ok(GroupAdvantages { advantages, flat: flat as f64 / groups.len().max(1) as f64 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{super::slope, *};

    const OLD: [f32; 7] = [-1.0, -2.0, -0.5, -3.0, -0.1, -1.5, -2.5];
    // Ratios inside, above and below the clip range, with advantages of both signs.
    const NEW: [f32; 7] = [-0.95, -1.5, -1.0, -2.9, -1.0, -0.8, -3.5];
    const REFERENCE: [f32; 7] = [-1.2, -1.0, -0.6, -2.0, -0.3, -1.0, -4.0];
    const ADVANTAGES: [f32; 7] = [1.0, 2.0, -1.5, -0.5, 0.7, -1.0, -2.0];
    const LENGTHS: [usize; 4] = [2, 1, 0, 4];

    fn tokens(new: &[f32]) -> PolicyTokens<'_> {
        PolicyTokens { new, old: &OLD, reference: &REFERENCE, advantages: &ADVANTAGES, lengths: &LENGTHS }
    }

    #[test]
    fn weights_are_slopes() {
        for mean in [Mean::Tokens, Mean::Answers, Mean::Fixed(11.0)] {
            for (kl, clip_low, clip_high) in [(0.0, 0.2, 0.2), (0.3, 0.2, 0.28), (0.04, 9.0, 9.0)] {
                let objective = Objective { clip_low, clip_high, kl, mean };
                let l = policy_loss(&tokens(&NEW), &objective).unwrap();
                let gradient: Vec<f32> = l.weights.iter().map(|w| -w).collect();
                slope::check(&NEW, &gradient, |new| policy_loss(&tokens(new), &objective).unwrap().loss);
            }
        }
    }

    /// Whatever the clip: while the policy is unchanged, the weight is the advantage over n.
    #[test]
    fn at_the_start_of_an_update_nothing_is_clipped() {
        let l = policy_loss(&tokens(&OLD), &Objective::ppo(0.2)).unwrap();
        assert_eq!((l.clip_fraction, l.approx_kl, l.old_kl, l.ratio, l.ratio_var), (0.0, 0.0, 0.0, 1.0, 0.0));
        for (w, a) in l.weights.iter().zip(ADVANTAGES) {
            assert!((w - a / 7.0).abs() < 1e-7);
        }
    }

    #[test]
    fn the_clip_takes_away_what_it_should() {
        let l = policy_loss(&tokens(&NEW), &Objective::ppo(0.2)).unwrap();
        // Above 1.2 with a positive advantage (the second), and below with a negative one (the third and the last); the
        // way back is not clipped.
        let zero: Vec<bool> = l.weights.iter().map(|w| *w == 0.0).collect();
        assert_eq!(zero, [false, true, true, false, false, false, true]);
        assert!((l.clip_fraction - 3.0 / 7.0).abs() < 1e-15);
    }

    #[test]
    fn what_is_no_number_shows() {
        let mut new = NEW;
        new[3] = f32::NAN;
        let l = policy_loss(&tokens(&new), &Objective::ppo(0.2)).unwrap();
        assert!(l.loss.is_nan() && l.weights[3].is_nan());
        let l = value_loss(&new, &OLD, &REFERENCE, 0.2).unwrap();
        assert!(l.loss.is_nan() && l.dvalues[3].is_nan());
    }

    #[test]
    fn lists_must_fit() {
        let short = PolicyTokens { advantages: &ADVANTAGES[1..], ..tokens(&NEW) };
        assert!(policy_loss(&short, &Objective::ppo(0.2)).is_err());
        let alone = PolicyTokens { reference: &[], ..tokens(&NEW) };
        assert!(policy_loss(&alone, &Objective::ppo(0.2)).is_ok());
        assert!(policy_loss(&alone, &Objective { kl: 0.1, ..Objective::ppo(0.2) }).is_err());
        let none = PolicyTokens { new: &[], old: &[], reference: &[], advantages: &[], lengths: &[] };
        assert_eq!(policy_loss(&none, &Objective::ppo(0.2)).unwrap().loss, 0.0);
        assert!(value_loss(&NEW, &OLD, &REFERENCE[1..], 0.2).is_err());
        assert!(group_advantages(&NEW, &[3, 3], true).is_err());
    }

    #[test]
    fn value_gradients_are_slopes() {
        // None of them at the edge of the clip range, where the loss has a kink.
        for clip in [0.2, 0.4, f32::INFINITY] {
            let l = value_loss(&NEW, &OLD, &REFERENCE, clip).unwrap();
            slope::check(&NEW, &l.dvalues, |new| value_loss(new, &OLD, &REFERENCE, clip).unwrap().loss);
            assert_eq!(l.clip_fraction > 0.0, clip < 1.0);
        }
    }

    #[test]
    fn groups_are_normalised_each_for_itself() {
        let all = group_advantages(&[1.0, 3.0, 0.7, 0.7, 0.7, 5.0], &[2, 3, 1], true).unwrap();
        let unit = 1.0 / (2.0_f64.sqrt() + 1e-4);
        assert!((f64::from(all.advantages[1]) - unit).abs() < 1e-7 && all.advantages[0] == -all.advantages[1]);
        assert_eq!(all.advantages[2..], [0.0; 4]);
        assert!((all.flat - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(group_advantages(&[1.0, 3.0], &[2], false).unwrap().advantages, [-1.0, 1.0]);
    }
}
