//! Maps values to positions, and chooses round numbers for the axis.

use crate::ui::text::{figure, short};

/// Maps values to rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// Includes `low` to `high` with a margin; logarithmic only for positive values.
    pub(super) fn new(low: f64, high: f64, log: bool) -> Scale {
        if !low.is_finite() || !high.is_finite() || low > high {
            return Scale { low: 0.0, high: 1.0, log: false };
        }
        let log = log && low > 0.0;
        let (a, b) = if log { (low.ln(), high.ln()) } else { (low, high) };
        let air = if b > a { (b - a) * 0.04 } else { (a.abs() * 0.1).max(1e-9) };
        Scale { low: a - air, high: b + air, log }
    }

    /// Widens the range, so that without an axis noise of a few percent does not fill the height.
    pub(super) fn widen(&mut self) {
        let least = 0.25 * self.low.abs().max(self.high.abs());
        let missing = (least - (self.high - self.low)).max(0.0) / 2.0;
        self.low -= missing;
        self.high += missing;
    }

    /// The relative height of a value: 0 at the bottom, 1 at the top.
    pub(super) fn place(&self, value: f64) -> f64 {
        let v = if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        (v - self.low) / (self.high - self.low)
    }

    /// Round numbers in the range, about `most` at most.
    pub(super) fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(1) as f64;
        if self.log {
            let (low, high) = (self.low.exp(), self.high.exp());
            let rungs: &[&[f64]] =
                &[&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], &[1.0, 2.0, 4.0, 8.0], &[1.0, 3.0], &[1.0]];
            for rung in rungs {
                let ticks: Vec<f64> = (low.log10().floor() as i32..=high.log10().floor() as i32)
                    .flat_map(|decade| rung.iter().map(move |m| m * 10_f64.powi(decade)))
                    .filter(|t| (low..=high).contains(t))
                    .collect();
                if ticks.len() as f64 <= most && ticks.len() >= 2 {
                    return ticks;
                }
            }
            return linear_ticks(low, high, most);
        }
        linear_ticks(self.low, self.high, most)
    }
}

pub(super) fn linear_ticks(low: f64, high: f64, most: f64) -> Vec<f64> {
    let rough = (high - low) / most;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).take(100).map(|i| i as f64 * step).collect()
}

/// A step as `1.2k` or `10k`, without redundant zeros.
pub(super) fn step_label(step: f64) -> String {
    let text = short(step);
    match text.strip_suffix(['k', 'M', 'B']) {
        Some(number) if number.contains('.') => {
            format!("{}{}", number.trim_end_matches('0').trim_end_matches('.'), &text[number.len()..])
        }
        _ => text,
    }
}

/// A value on an axis, as short as possible.
pub(super) fn tick_label(tick: f64) -> String {
    if tick == 0.0 {
        "0".to_owned()
    } else if tick.abs() >= 1000.0 || tick.abs() < 0.01 {
        short(tick)
    } else {
        let text = figure(tick);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Scale::new(2.0, 8.0, false).ticks(4), [2.0, 4.0, 6.0, 8.0]);
        let log = Scale::new(0.5, 80.0, true).ticks(6);
        assert!(log.len() >= 2 && log.len() <= 6, "{log:?}");
        assert!(Scale::new(f64::NAN, 1.0, false).ticks(4).len() <= 6);
        assert!(!Scale::new(3.0, 3.0, true).ticks(3).is_empty());
    }
}
