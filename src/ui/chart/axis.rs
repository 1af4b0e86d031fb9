//! The abscissa of a chart: steps, or what had passed until a step: tokens, or the time of training.

use serde::{Deserialize, Serialize};

use super::scale::{linear_ticks, step_label};

/// Most knots of a [`Pace`]; when there are more, every second one is dropped.
const KNOTS: usize = 4096;

/// What a chart's abscissa counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Abscissa {
    /// Steps.
    #[default]
    Step,
    /// Tokens trained on.
    Tokens,
    /// Time of training, without pauses.
    Time,
}

impl Abscissa {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Abscissa {
        match self {
            Abscissa::Step => Abscissa::Tokens,
            Abscissa::Tokens => Abscissa::Time,
            Abscissa::Time => Abscissa::Step,
        }
    }
}

/// What had passed at the end of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Knot {
    step: f64,
    tokens: f64,
    seconds: f64,
}

impl Knot {
    fn of(&self, unit: Abscissa) -> f64 {
        match unit {
            Abscissa::Step => self.step,
            Abscissa::Tokens => self.tokens,
            Abscissa::Time => self.seconds,
        }
    }
}

/// How many tokens and how much time had passed at each step, in constant memory.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    knots: Vec<Knot>,
}

impl Pace {
    /// Adds a step that took `seconds`. Steps left out before it count as much; a repeated step replaces what followed.
    pub fn push(&mut self, step: usize, tokens: u64, seconds: f64) {
        let step = step as f64;
        while self.knots.last().is_some_and(|k| k.step >= step) {
            self.knots.pop();
        }
        let before = self.knots.last().copied().unwrap_or_default();
        let took = if seconds.is_finite() { seconds.max(0.0) * (step - before.step) } else { 0.0 };
        self.knots.push(Knot { step, tokens: (tokens as f64).max(before.tokens), seconds: before.seconds + took });
        if self.knots.len() > KNOTS {
            let newest = self.knots.len() - 1;
            let mut at = 0;
            self.knots.retain(|_| {
                at += 1;
                at % 2 == 0 || at > newest
            });
        }
    }

    /// What had passed at a step. After the newest step it grows by its average.
    pub fn at(&self, unit: Abscissa, step: f64) -> f64 {
        if unit == Abscissa::Step {
            return step;
        }
        self.map(step, Abscissa::Step, unit)
    }

    /// The step at which so much had passed.
    pub fn step_at(&self, unit: Abscissa, passed: f64) -> f64 {
        if unit == Abscissa::Step {
            return passed;
        }
        self.map(passed, unit, Abscissa::Step)
    }

    fn map(&self, value: f64, from: Abscissa, to: Abscissa) -> f64 {
        let after = self.knots.partition_point(|k| k.of(from) < value);
        let start = Knot::default();
        let (a, b) = match self.knots.get(after) {
            Some(knot) => (if after == 0 { &start } else { &self.knots[after - 1] }, knot),
            None => match self.knots.last() {
                Some(last) => (&start, last),
                None => return value,
            },
        };
        let (low, high) = (a.of(from), b.of(from));
        if high <= low {
            return b.of(to);
        }
        a.of(to) + (b.of(to) - a.of(to)) * (value - low) / (high - low)
    }
}

/// The abscissa of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a> {
    /// The first and last visible step; the end may be in the future.
    pub steps: (f64, f64),
    /// What it counts.
    pub unit: Abscissa,
    /// Needed to count anything but steps.
    pub pace: Option<&'a Pace>,
}

impl Default for Axis<'_> {
    fn default() -> Self {
        Axis::from((0.0, 1.0))
    }
}

impl From<(f64, f64)> for Axis<'_> {
    fn from(steps: (f64, f64)) -> Self {
        Axis { steps, unit: Abscissa::Step, pace: None }
    }
}

impl Axis<'_> {
    fn passed(&self, step: f64) -> f64 {
        self.pace.map_or(step, |pace| pace.at(self.unit, step))
    }

    /// First and last value, the last greater than the first.
    fn range(&self) -> (f64, f64) {
        let (from, to) = (self.passed(self.steps.0), self.passed(self.steps.1));
        let least = if self.pace.is_some() && self.unit == Abscissa::Time { 1e-3 } else { 1.0 };
        (from, to.max(from + least))
    }

    /// The relative place of a step: 0 at the left end, 1 at the right, outside of that if it is not visible.
    pub fn place(&self, step: f64) -> f64 {
        let (from, to) = self.range();
        (self.passed(step) - from) / (to - from)
    }

    /// The same for many steps.
    pub(super) fn places(&self) -> impl Fn(f64) -> f64 + '_ {
        let (from, to) = self.range();
        move |step| (self.passed(step) - from) / (to - from)
    }

    /// The step at a relative place.
    pub fn step_at(&self, place: f64) -> f64 {
        let (from, to) = self.range();
        let passed = from + place * (to - from);
        self.pace.map_or(passed, |pace| pace.step_at(self.unit, passed))
    }

    /// Round values, about `most` at most: their places and labels. The ends come first.
    pub(super) fn ticks(&self, most: f64) -> Vec<(f64, String)> {
        let (from, to) = self.range();
        let time = self.pace.is_some() && self.unit == Abscissa::Time;
        let mut inner = if time { time_ticks(from, to, most) } else { linear_ticks(from, to, most) };
        if !time {
            // Steps and tokens are whole.
            inner.retain(|tick| tick.fract() == 0.0);
        }
        let values: Vec<f64> = [to, from].into_iter().chain(inner).collect();
        let labels = if time { time_labels(&values) } else { values.iter().map(|v| step_label(v.round())).collect() };
        values.into_iter().map(|value| (value - from) / (to - from)).zip(labels).collect()
    }

    /// A step's label.
    pub(super) fn label(&self, step: f64) -> String {
        match (self.pace, self.unit) {
            (Some(_), Abscissa::Time) => time_label(self.passed(step)),
            (Some(_), Abscissa::Tokens) => step_label(self.passed(step)),
            _ => crate::ui::text::grouped(step.max(0.0).round() as u64),
        }
    }
}

/// Round times in the range, about `most` at most.
fn time_ticks(low: f64, high: f64, most: f64) -> Vec<f64> {
    const ROUND: [f64; 17] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0,
        43_200.0,
    ];
    let rough = (high - low) / most;
    match ROUND.into_iter().find(|step| *step >= rough) {
        _ if rough < 1.0 => linear_ticks(low, high, most),
        Some(step) => super::scale::multiples(low, high, step),
        // Days.
        None => linear_ticks(low / 86_400.0, high / 86_400.0, most).into_iter().map(|d| d * 86_400.0).collect(),
    }
}

/// The labels of times: with as many digits as make those of different times different.
fn time_labels(times: &[f64]) -> Vec<String> {
    let labels = |digits: usize| -> Vec<String> {
        let label = |time: &f64| {
            if digits == 1 || time.abs() >= 60.0 { time_label(*time) } else { format!("{time:.digits$}s") }
        };
        times.iter().map(label).collect()
    };
    let clear = |labels: &Vec<String>| {
        labels.iter().enumerate().all(|(at, label)| {
            labels[..at].iter().zip(times).all(|(other, time)| other != label || (time - times[at]).abs() < 1e-9)
        })
    };
    (1..5).map(labels).find(clear).unwrap_or_else(|| labels(1))
}

/// A time as `0.5s`, `45s`, `1m30`, `2h`, `1h30`, `3d4h`.
pub fn time_label(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "-".to_owned();
    }
    if seconds.abs() < 10.0 && seconds.fract() != 0.0 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.max(0.0).round() as u64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, 0) => format!("{m}m"),
        (0, 0, m, s) => format!("{m}m{s:02}"),
        (0, h, 0, _) => format!("{h}h"),
        (0, h, m, _) => format!("{h}h{m:02}"),
        (d, 0, ..) => format!("{d}d"),
        (d, h, ..) => format!("{d}d{h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(steps: usize) -> Pace {
        let mut pace = Pace::default();
        for step in 1..=steps {
            // From the middle on twice as slow.
            pace.push(step, step as u64 * 100, if step > steps / 2 { 2.0 } else { 1.0 });
        }
        pace
    }

    #[test]
    fn steps_are_mapped_to_tokens_and_time_and_back() {
        for steps in [100, 10_000] {
            let (pace, half) = (pace(steps), steps as f64 / 2.0);
            assert!(pace.knots.len() <= KNOTS);
            assert_eq!(pace.at(Abscissa::Tokens, half), half * 100.0);
            let near = |a: f64, b: f64| assert!((a - b).abs() < 4.0, "{a} {b}");
            near(pace.at(Abscissa::Time, half), half);
            near(pace.at(Abscissa::Time, steps as f64), 3.0 * half);
            for unit in [Abscissa::Step, Abscissa::Tokens, Abscissa::Time] {
                for step in [0.0, 1.0, half, half + 7.0, 2.0 * half, 3.0 * half] {
                    let back = pace.step_at(unit, pace.at(unit, step));
                    assert!((back - step).abs() < 1e-6, "{unit:?}: {step} {back}");
                }
            }
            // The future at the average speed so far.
            near(pace.at(Abscissa::Time, 4.0 * half), 6.0 * half);
        }
    }

    #[test]
    fn a_set_back_stage_counts_the_steps_that_hold() {
        let mut pace = pace(100);
        pace.push(51, 5_100, 3.0);
        assert_eq!((pace.at(Abscissa::Time, 51.0), pace.at(Abscissa::Tokens, 51.0)), (53.0, 5_100.0));
        assert_eq!(Pace::default().at(Abscissa::Time, 7.0), 7.0);
        pace.push(60, 6_000, f64::NAN);
        assert!(pace.at(Abscissa::Time, 60.0).is_finite());
    }

    #[test]
    fn a_part_of_an_axis_is_placed_by_its_unit() {
        let pace = pace(100);
        let axis = Axis { steps: (0.0, 100.0), unit: Abscissa::Time, pace: Some(&pace) };
        assert!((axis.place(50.0) - 1.0 / 3.0).abs() < 1e-9 && (axis.step_at(1.0 / 3.0) - 50.0).abs() < 1e-9);
        let labels: Vec<String> = axis.ticks(5.0).into_iter().map(|t| t.1).collect();
        assert_eq!(labels, ["2m30", "0s", "0s", "30s", "1m", "1m30", "2m", "2m30"]);
        let axis = Axis { steps: (7.0, 7.0), ..Axis::default() };
        assert!(axis.place(7.0) == 0.0 && axis.place(8.0) == 1.0);
    }

    #[test]
    fn times_are_short() {
        let labels = [0.0, 0.5, 45.0, 90.0, 600.0, 3600.0, 5400.0, 86_400.0, 100_000.0].map(time_label);
        assert_eq!(labels, ["0s", "0.5s", "45s", "1m30", "10m", "1h", "1h30", "1d", "1d3h"]);
        assert_eq!(time_labels(&[0.5, 0.35, 0.4, 0.45]), ["0.50s", "0.35s", "0.40s", "0.45s"]);
        assert_eq!(time_labels(&[60.0, 30.0]), ["1m", "30s"]);
        assert!(time_ticks(0.0, 1e6, 6.0).len() >= 2 && time_ticks(0.0, 0.4, 4.0).len() >= 2);
    }
}
