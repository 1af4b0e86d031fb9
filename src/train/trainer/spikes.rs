//! Detects spikes of the loss or the gradient norm, by comparing each step with the 128 before it.
//!
//! Healthy training has single outliers: a batch of odd text, a gradient norm fifty times the usual. What it never has,
//! measured over all stages (`tests/fixtures/steps`), are several outliers in a row. So a step beyond robust bounds
//! (median and median deviation) is a *strike*, and only consecutive strikes are a *spike*. A step that was not finite
//! is a strike too. A slowly rising loss moves its window along; it is detected by comparison with the lowest median of
//! the last [`MEMORY`] steps. Before there are enough steps to compare with, the loss of a stage that predicts text has an
//! absolute bound: far above what guessing gives.
//!
//! Independent of files and devices: the verdict is a function of the last [`REACH`] steps, so that a resumed stage sees
//! what an uninterrupted one sees, and reads no more of its log than these.

use std::collections::VecDeque;

use crate::train::{config::GuardSettings, run::rollbacks::WINDOW};

/// How many steps back a lowest median or a spike counts.
const MEMORY: u64 = 1 << 14;
/// Steps from which the state is the same as from all of them: before those that count, the windows fill.
pub(crate) const REACH: usize = MEMORY as usize + 8 * WINDOW;
/// Minimum number of steps before any is compared with others.
const LEAST: usize = 8;
/// Times the loss of guessing that the first steps may have. Healthy ones have about once.
const GUESSING: f64 = 4.0;
/// Number of recent steps whose median is compared with the lowest median, and minimum number for a lowest median.
const RECENT: usize = 32;
const SETTLED: usize = 64;
/// Allowed rise of the recent median, in deviations of one step.
const DRIFT: f64 = 3.0;
/// Consecutive skipped steps that are a spike, whatever the patience.
const SKIPS: usize = 3;
/// Consecutive steps within the old bounds after which a spike is over.
const OVER: usize = 16;
/// Factor from a median absolute deviation to the standard deviation of a normal distribution.
const NORMAL: f64 = 1.4826;
/// Minimum deviation of the logarithm of the gradient norm that counts, in its own deviations.
const NORM_DEVIATIONS: f64 = 8.0;
/// A gradient norm smaller by this factor while the loss is above its median: the model is saturated.
const VANISHED: f64 = 1000.0;

/// The numbers of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Steps done, including this one.
    pub step: u64,
    /// Its loss.
    pub loss: f64,
    /// Its gradient norm before clipping.
    pub grad_norm: f64,
    /// Whether it was not applied because a number was not finite.
    pub skipped: bool,
}

/// Consecutive outliers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spike {
    /// The first of them. Its loss belongs to the weights after the step before.
    pub since: u64,
    /// Which number spiked.
    pub reason: String,
}

/// The newest values, by time and sorted.
#[derive(Clone, Debug, Default)]
struct Window {
    times: VecDeque<f64>,
    sizes: Vec<f64>,
}

impl Window {
    fn push(&mut self, value: f64, most: usize) {
        if self.times.len() >= most
            && let Some(oldest) = self.times.pop_front()
        {
            self.sizes.remove(self.place(oldest));
        }
        self.times.push_back(value);
        self.sizes.insert(self.place(value), value);
    }

    fn place(&self, value: f64) -> usize {
        self.sizes.partition_point(|x| x.total_cmp(&value).is_lt())
    }

    fn len(&self) -> usize {
        self.sizes.len()
    }

    fn median(&self) -> f64 {
        self.sizes.get(self.len() / 2).copied().unwrap_or(0.0)
    }

    /// The median absolute deviation, scaled to a standard deviation.
    fn deviation(&self) -> f64 {
        let (median, mut low, mut high) = (self.median(), self.len() / 2, self.len() / 2);
        let mut distance = 0.0;
        // Nearest first, from the median outwards on both sides.
        for _ in 0..=self.len() / 2 {
            let below = low.checked_sub(1).and_then(|i| Some(median - self.sizes.get(i)?));
            let above = self.sizes.get(high).map(|x| x - median);
            match (below, above) {
                (Some(below), above) if above.is_none_or(|above| below < above) => (low, distance) = (low - 1, below),
                (_, Some(above)) => (high, distance) = (high + 1, above),
                _ => break,
            }
        }
        NORMAL * distance
    }
}

/// The bounds for one step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    loss: f64,
    /// For the logarithm of the norm.
    norm: f64,
}

/// The statistics of a stage's steps so far.
#[derive(Clone, Debug)]
pub(crate) struct Spikes {
    plan: GuardSettings,
    losses: Window,
    /// Logarithms of gradient norms.
    norms: Window,
    recent: Window,
    /// The loss from which the first steps are strikes.
    ceiling: f64,
    /// Medians of the losses, each with its step and their deviation then; a median that is followed by a lower one is
    /// left out, so that the first is the lowest.
    medians: VecDeque<(u64, f64, f64)>,
    /// Consecutive strikes, and the first of them.
    strikes: usize,
    since: u64,
    /// Consecutive skipped steps.
    skipped: usize,
    /// A spike was reported: if the stage continues anyway, the next steps are the new normal.
    reported: bool,
    /// The first step of the newest spike, the bounds at that time, and the consecutive steps within them since.
    trouble: Option<(u64, Option<Bounds>, usize)>,
}

impl Spikes {
    /// No steps yet; `vocab_size` if the loss is that of predicting one of so many tokens.
    pub(crate) fn new(plan: GuardSettings, vocab_size: Option<usize>) -> Spikes {
        let guessing = vocab_size.map_or(f64::INFINITY, |n| (n.max(2) as f64).ln());
        Spikes {
            plan,
            ceiling: GUESSING * guessing,
            losses: Window::default(),
            norms: Window::default(),
            recent: Window::default(),
            medians: VecDeque::new(),
            strikes: 0,
            since: 0,
            skipped: 0,
            reported: false,
            trouble: None,
        }
    }

    /// Clears the window: the data change, or the user continues after a spike.
    pub(crate) fn start_over(&mut self) {
        let (trouble, skipped, ceiling) = (self.trouble, self.skipped, self.ceiling);
        *self = Spikes { ceiling, skipped, trouble, ..Spikes::new(self.plan.clone(), None) };
    }

    /// Whether the newest step was not applied.
    pub(crate) fn skipped(&self) -> bool {
        self.skipped > 0
    }

    /// Whether the newest step was an outlier.
    pub(crate) fn striking(&self) -> bool {
        self.strikes > 0
    }

    /// The first step of the newest spike; checkpoints from before it have good weights.
    pub(crate) fn trouble(&self) -> Option<u64> {
        self.trouble.map(|t| t.0)
    }

    /// Examines the next step.
    pub(crate) fn see(&mut self, seen: Seen) -> Option<Spike> {
        if std::mem::take(&mut self.reported) {
            self.start_over();
        }
        self.trouble.take_if(|trouble| trouble.0.saturating_add(MEMORY) <= seen.step);
        self.skipped = if seen.skipped { self.skipped + 1 } else { 0 };
        let bounds = self.bounds();
        let norm = seen.grad_norm.max(f64::MIN_POSITIVE).ln();
        let finite = seen.loss.is_finite() && seen.grad_norm.is_finite();
        let fault = if seen.skipped || !finite { Some(not_finite(seen)) } else { self.fault(seen, norm, bounds) };
        if let Some(reason) = fault {
            return self.strike(seen, bounds, reason);
        }
        self.strikes = 0;
        self.losses.push(seen.loss, WINDOW);
        self.norms.push(norm, WINDOW);
        self.recent.push(seen.loss, RECENT);
        self.settle(seen.loss, norm);
        let drift = self.drift(seen.step)?;
        self.troubled(drift.since, bounds);
        self.reported = true;
        Some(drift)
    }

    /// The bounds for the next step, once there are enough before it.
    fn bounds(&self) -> Option<Bounds> {
        (self.losses.len() >= LEAST).then(|| Bounds {
            loss: self.losses.median()
                + (self.plan.spike_deviations * self.losses.deviation()).max(self.plan.spike_loss),
            norm: self.norms.median() + (NORM_DEVIATIONS * self.norms.deviation()).max(self.plan.spike_grad_norm.ln()),
        })
    }

    fn fault(&self, seen: Seen, norm: f64, bounds: Option<Bounds>) -> Option<String> {
        if bounds.is_none() && seen.loss > self.ceiling {
            let guessing = self.ceiling / GUESSING;
            return Some(format!("the loss is {:.3}, and guessing gives {guessing:.3}", seen.loss));
        }
        let (bounds, median) = (bounds?, self.losses.median());
        let usual = self.norms.median();
        if seen.loss > bounds.loss {
            return Some(format!("the loss is {:.3}, usually {median:.3}", seen.loss));
        }
        if norm > bounds.norm {
            return Some(format!("the gradient norm is {:.3e}, usually {:.3e}", seen.grad_norm, usual.exp()));
        }
        (seen.loss > median && norm < usual - VANISHED.ln()).then(|| {
            format!(
                "the loss has risen to {:.3} from {median:.3} and the gradient norm fallen to {:.1e} from {:.1e}",
                seen.loss,
                seen.grad_norm,
                usual.exp()
            )
        })
    }

    fn strike(&mut self, seen: Seen, bounds: Option<Bounds>, reason: String) -> Option<Spike> {
        if self.strikes == 0 {
            self.since = seen.step;
        }
        self.strikes += 1;
        self.reported = self.strikes >= self.plan.spike_patience || self.skipped >= SKIPS;
        if self.reported || seen.skipped {
            self.troubled(self.since, bounds);
        } else if let Some((_, _, quiet)) = self.trouble.as_mut().filter(|t| t.2 < OVER) {
            *quiet = 0;
        }
        if !self.reported {
            return None;
        }
        let times = self.strikes;
        Some(Spike { since: self.since, reason: format!("{reason} ({times} steps in a row out of bounds)") })
    }

    /// Records the start of a spike, unless an earlier one is not over.
    fn troubled(&mut self, since: u64, bounds: Option<Bounds>) {
        match &mut self.trouble {
            Some((_, _, quiet)) if *quiet < OVER => *quiet = 0,
            _ => self.trouble = Some((since, bounds, 0)),
        }
    }

    /// Counts a normal step towards the end of a spike.
    fn settle(&mut self, loss: f64, norm: f64) {
        if let Some((_, bounds, quiet)) = &mut self.trouble {
            let kept = bounds.is_none_or(|b| loss <= b.loss && norm <= b.norm);
            *quiet = if kept || *quiet >= OVER { *quiet + 1 } else { 0 };
        }
    }

    /// Whether the median of recent losses is far above the lowest median.
    fn drift(&mut self, step: u64) -> Option<Spike> {
        if self.losses.len() < SETTLED || self.recent.len() < RECENT {
            return None;
        }
        let (median, now) = (self.losses.median(), self.recent.median());
        while self.medians.pop_front_if(|(at, ..)| at.saturating_add(MEMORY) <= step).is_some() {}
        while self.medians.pop_back_if(|(_, last, _)| *last > median).is_some() {}
        self.medians.push_back((step, median, self.losses.deviation()));
        let (_, lowest, deviation) = *self.medians.front()?;
        (now > lowest + (DRIFT * deviation).max(self.plan.spike_loss)).then(|| Spike {
            since: step.saturating_add(1).saturating_sub(RECENT as u64),
            reason: format!("the median loss of {RECENT} steps has risen to {now:.3} from {lowest:.3}"),
        })
    }
}

fn not_finite(seen: Seen) -> String {
    format!("loss {:.3} or gradient norm {:.3} is not finite", seen.loss, seen.grad_norm)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::compute::rng::{self, Purpose};
    use crate::train::config::RunConfig;

    fn plan() -> GuardSettings {
        RunConfig::default().guard_settings()
    }

    /// Feeds (loss, norm) from step 1 on; returns the spikes.
    fn feed(spikes: &mut Spikes, steps: &[(f64, f64)]) -> Vec<(u64, Spike)> {
        let see = |(i, (loss, grad_norm)): (usize, &(f64, f64))| {
            let skipped = !(loss.is_finite() && grad_norm.is_finite());
            let step = i as u64 + 1;
            spikes.see(Seen { step, loss: *loss, grad_norm: *grad_norm, skipped }).map(|s| (step, s))
        };
        steps.iter().enumerate().filter_map(see).collect()
    }

    fn spikes_in(steps: &[(f64, f64)]) -> Vec<(u64, Spike)> {
        feed(&mut Spikes::new(plan(), None), steps)
    }

    /// A healthy stage: a falling loss with noise, and occasional outliers of the norm.
    fn healthy(seed: u64, steps: usize, noise: f64) -> Vec<(f64, f64)> {
        let unit =
            |i: usize, stream: u64| f64::from(rng::bits(seed, Purpose::Shuffle, stream, i as u64)) / 2f64.powi(32);
        (0..steps)
            .map(|i| {
                let normal = (0..12).map(|k| unit(i, k)).sum::<f64>() - 6.0;
                let odd = if unit(i, 20) < 0.002 { 40.0 } else { 1.0 };
                (3.0 + 5.0 * (-(i as f64) / 60.0).exp() + noise * normal, odd * (0.8 + unit(i, 21)))
            })
            .collect()
    }

    #[test]
    fn the_window_is_the_newest_values_in_order() {
        let mut window = Window::default();
        let values: Vec<f64> = (0..300).map(|i| f64::from(i * 7919 % 101)).collect();
        for (i, value) in values.iter().enumerate() {
            window.push(*value, WINDOW);
            let mut newest = values[(i + 1).saturating_sub(WINDOW)..=i].to_vec();
            newest.sort_by(f64::total_cmp);
            assert_eq!(window.sizes, newest);
            let median = newest[newest.len() / 2];
            let mut distances: Vec<f64> = newest.iter().map(|x| (x - median).abs()).collect();
            distances.sort_by(f64::total_cmp);
            assert_eq!((window.median(), window.deviation()), (median, NORMAL * distances[distances.len() / 2]));
        }
    }

    #[test]
    fn spikes_are_seen_within_three_steps_and_named_by_their_first() {
        let mut jump = healthy(1, 200, 0.1);
        jump.extend((0..20).map(|i| (523.0 - f64::from(i), 30.0)));
        let seen = spikes_in(&jump);
        assert_eq!((seen[0].0, seen[0].1.since), (203, 201), "{seen:?}");
        assert!(seen[0].1.reason.contains("usually 3."), "{}", seen[0].1.reason);
        // Only the gradient, and NaN.
        let mut steep = healthy(1, 200, 0.1);
        steep.extend([(3.2, 1e4); 3]);
        assert_eq!(spikes_in(&steep)[0].1.since, 201);
        let mut broken = healthy(1, 200, 0.1);
        broken.extend([(523.0, 5.0), (f64::NAN, 1.0), (f64::INFINITY, f64::NAN)]);
        assert_eq!(spikes_in(&broken)[0].1.since, 201, "far off and not finite count together");
        // Saturated: the loss of guessing, and no gradient.
        let mut dead = healthy(1, 200, 0.1);
        dead.extend([(6.4, 0.0); 3]);
        assert_eq!(spikes_in(&dead)[0].1.since, 201);
        // At the first steps the only criterion is being finite.
        let seen = spikes_in(&[(8.3, 1.0), (f64::NAN, 1.0), (f64::NAN, 1.0), (f64::NAN, 1.0)]);
        assert_eq!((seen[0].0, seen[0].1.since), (4, 2));
    }

    /// They used to be judged by nothing but being finite.
    #[test]
    fn the_first_steps_of_a_stage_on_text_have_an_absolute_bound() {
        let seen = |losses: &[f64], vocab| {
            let steps: Vec<(f64, f64)> = losses.iter().map(|loss| (*loss, 1.0)).collect();
            feed(&mut Spikes::new(plan(), vocab), &steps).first().map(|(step, s)| (*step, s.since, s.reason.clone()))
        };
        let (step, since, reason) = seen(&[8.4, 523.0, 490.0, 470.0, 400.0], Some(4096)).unwrap();
        assert_eq!((step, since), (4, 2));
        assert!(reason.contains("the loss is 470.000, and guessing gives 8.318"), "{reason}");
        assert_eq!(seen(&[523.0; 8], None), None, "a loss of another kind");
        assert_eq!(seen(&[8.4, 523.0, 490.0, 9.0, 8.2, 8.0, 523.0, 7.9], Some(4096)), None, "not in a row");
        assert_eq!(seen(&[16.0, 25.0, 30.0, 33.0, 30.0, 25.0, 16.0], Some(4096)), None, "a hot warm-up");
        assert_eq!(seen(&[2.7; 8], Some(2)), None);
    }

    /// A resumed stage reads the last steps only.
    #[test]
    fn the_last_steps_give_the_state_of_all_of_them() {
        let mut steps = healthy(7, 2 * REACH + 777, 0.1);
        for at in [3, REACH - 9, REACH + 400, 2 * REACH] {
            for step in &mut steps[at..at + 5] {
                step.0 = 90.0;
            }
        }
        // A drift that begins before the steps that are read.
        for (i, step) in steps.iter_mut().enumerate().skip(REACH - 300) {
            step.0 += 0.9 * ((i + 300 - REACH) as f64 / 20_000.0).min(1.0);
        }
        let fold = |from: usize, to: usize| {
            let mut spikes = Spikes::new(plan(), Some(4096));
            for (i, (loss, grad_norm)) in steps.iter().enumerate().take(to).skip(from) {
                spikes.see(Seen { step: i as u64 + 1, loss: *loss, grad_norm: *grad_norm, skipped: false });
            }
            (spikes.bounds(), spikes.medians, spikes.trouble, spikes.strikes, spikes.reported)
        };
        for to in [REACH + 1, REACH + 403, REACH + 2000, 2 * REACH + 3, steps.len()] {
            assert_eq!(fold(to - REACH, to), fold(0, to), "at {to}");
        }
    }

    #[test]
    fn single_steps_far_off_are_none() {
        let mut odd = healthy(2, 400, 0.1);
        for i in [150, 151, 200, 202, 300] {
            odd[i] = (60.0, 900.0);
        }
        odd[250] = (f64::NAN, f64::NAN);
        assert_eq!(spikes_in(&odd), []);
    }

    #[test]
    fn a_slow_drift_is_seen_before_it_has_come_far() {
        for rate in [1.001_f64, 1.003, 1.01, 1.03] {
            let mut drift = healthy(3, 400, 0.1);
            drift.extend((0..6000).map(|i| (3.0 * rate.powi(i).min(200.0), 1.0)));
            let (step, spike) = spikes_in(&drift).remove(0);
            assert!(step > 400 && drift[step as usize - 1].0 < 6.0, "rate {rate}: {spike:?} at {step}");
        }
    }

    #[test]
    fn a_trouble_is_over_when_the_old_bounds_are_kept() {
        let mut spikes = Spikes::new(plan(), None);
        let mut steps = healthy(4, 200, 0.1);
        steps.extend([(50.0, 1.0); 40]);
        feed(&mut spikes, &steps);
        assert_eq!(spikes.trouble(), Some(201), "at 50 it has not recovered");
        let after = |spikes: &mut Spikes, from: u64, n: u64, loss: f64| {
            (from..from + n).for_each(|step| {
                spikes.see(Seen { step, loss, grad_norm: 1.0, skipped: false });
            });
        };
        after(&mut spikes, 241, 60, 3.0);
        after(&mut spikes, 301, 2, 50.0);
        assert!(spikes.striking() && !spikes.skipped());
        assert_eq!(spikes.trouble(), Some(201), "two steps are no spike");
        after(&mut spikes, 303, 1, 50.0);
        assert_eq!(spikes.trouble(), Some(301), "it had recovered, so this is another");
    }

    /// (stage, loss, norm) of every step of real runs.
    fn recorded(text: &str) -> Vec<(&str, Vec<(f64, f64)>)> {
        let mut stages: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let stage = fields.next().unwrap();
            let numbers: Vec<f64> = fields.map(|f| f.parse().unwrap()).collect();
            if stages.last().is_none_or(|(name, _)| *name != stage) {
                stages.push((stage, Vec::new()));
            }
            stages.last_mut().unwrap().1.push((numbers[0], numbers[1]));
        }
        stages
    }

    const HEALTHY: [(&str, &str); 6] = [
        ("1m-0", include_str!("../../../tests/fixtures/steps/1m-0.tsv")),
        ("1m-1", include_str!("../../../tests/fixtures/steps/1m-1.tsv")),
        ("1m-2", include_str!("../../../tests/fixtures/steps/1m-2.tsv")),
        ("5m-0", include_str!("../../../tests/fixtures/steps/5m-0.tsv")),
        ("5m-1", include_str!("../../../tests/fixtures/steps/5m-1.tsv")),
        ("5m-2", include_str!("../../../tests/fixtures/steps/5m-2.tsv")),
    ];

    #[test]
    fn healthy_stages_raise_no_alarm() {
        let mut steps = 0;
        for (run, text) in HEALTHY {
            let stages = recorded(text);
            assert_eq!(stages.len(), 6, "{run}");
            for (stage, seen) in stages {
                assert_eq!(spikes_in(&seen), [], "{run} {stage}");
                // Also with half the thresholds, except the patience: the figures are not borderline.
                let half = GuardSettings { spike_deviations: 6.0, spike_loss: 0.5, spike_grad_norm: 15.0, ..plan() };
                // A stage on text also with the bound of its first steps, at half.
                let vocab = ["pretrain", "sft"].contains(&stage).then_some(64);
                assert_eq!(feed(&mut Spikes::new(half, vocab), &seen), [], "{run} {stage} at half");
                steps += seen.len();
            }
        }
        assert!(steps > 3000, "only {steps} steps");
    }

    /// The loss of a step after a fault, from the last healthy one and the number of steps since.
    type Change = fn(f64, i32) -> f64;

    #[test]
    fn healthy_stages_that_go_wrong_raise_it() {
        for (run, text) in HEALTHY {
            for (stage, healthy) in recorded(text).into_iter().filter(|s| s.1.len() > 40) {
                let at = healthy.len() * 3 / 4;
                let spoilt: [(&str, u64, Change); 4] = [
                    ("4.8 to 523", 3, |_, _| 523.0),
                    ("not finite", 3, |_, _| f64::NAN),
                    ("up a nat every step", 40, |loss, i| loss + f64::from(i)),
                    ("doubled every tenth step", 150, |loss, i| (loss.abs() + 0.1) * 1.07_f64.powi(i)),
                ];
                for (what, within, change) in spoilt {
                    let mut steps = healthy[..at].to_vec();
                    steps.extend((0..300).map(|i| (change(healthy[at].0, i), healthy[at].1)));
                    let (step, spike) =
                        spikes_in(&steps).into_iter().next().unwrap_or_else(|| panic!("{run} {stage}: {what}"));
                    assert!(
                        step > at as u64 && step <= at as u64 + within,
                        "{run} {stage}: {what} at {step} of {at}: {spike:?}"
                    );
                    assert!(spike.since + RECENT as u64 > at as u64, "{run} {stage}: {what}: {spike:?}");
                }
            }
        }
    }

    /// 200 good steps, then a learning rate too large by these factors, with measured effects.
    #[test]
    fn rates_too_large_are_seen_in_a_few_steps() {
        for (rate, seen) in recorded(include_str!("../../../tests/fixtures/steps/diverged.tsv")) {
            let (step, spike) = spikes_in(&seen).remove(0);
            assert!((203..=206).contains(&step) && spike.since >= 202, "{rate}: {spike:?} at {step}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn no_false_alarm_and_no_missed_jump(seed in any::<u64>(), noise in 0.01..0.5_f64, at in 40..400_usize) {
            let mut steps = healthy(seed, 500, noise);
            prop_assert_eq!(spikes_in(&steps), vec![]);
            let usual = steps[at].0;
            for step in &mut steps[at..] {
                step.0 = usual + 40.0;
            }
            let seen = spikes_in(&steps);
            prop_assert!(seen.first().is_some_and(|(step, s)| *step <= at as u64 + 3 && s.since > at as u64 - 2), "{:?}", seen.first());
        }

        #[test]
        fn any_numbers_are_borne(steps in proptest::collection::vec((any::<f64>(), any::<f64>(), any::<bool>()), 0..300)) {
            let mut spikes = Spikes::new(plan(), Some(2));
            for (i, (loss, grad_norm, skipped)) in steps.into_iter().enumerate() {
                spikes.see(Seen { step: i as u64 + 1, loss, grad_norm, skipped });
            }
        }
    }
}
