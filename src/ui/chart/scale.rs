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
        // All zero: nothing to enlarge.
        let high = if low == 0.0 && high == 0.0 { 1.0 } else { high };
        let log = log && low > 0.0;
        let (a, b) = if log { (low.ln(), high.ln()) } else { (low, high) };
        // Less than two percent of the value is noise, and its ticks would need more digits than there is room for.
        let least = if log { 0.02 } else { 0.02 * a.abs().max(b.abs()) };
        let missing = (least - (b - a)).max(0.0) / 2.0;
        let (a, b) = (a - missing, b + missing);
        let air = if b > a { (b - a) * 0.04 } else { 1e-9 };
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

    /// Round numbers in the range for so many rows: at least four where there are eight rows.
    pub(super) fn ticks(&self, rows: usize) -> Vec<f64> {
        let least = (rows / 2).clamp(2, 4);
        if !self.log {
            return round(self.low, self.high, least, rows);
        }
        let (low, high) = (self.low.exp(), self.high.exp());
        let rungs: &[&[f64]] =
            &[&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 2.0, 4.0, 8.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]];
        let of = |rung: &&[f64]| -> Vec<f64> {
            (low.log10().floor() as i32..=high.log10().floor() as i32)
                .flat_map(|decade| rung.iter().map(move |m| m * 10_f64.powi(decade)))
                .filter(|t| (low..=high).contains(t))
                .collect()
        };
        let (first, last) = (low.log10().ceil() as i32, high.log10().floor() as i32);
        let decades = usize::try_from(last - first + 1).unwrap_or(0);
        if decades > rows.max(least) {
            // Every second decade, or fewer.
            return (first..=last).step_by(decades.div_ceil(rows.max(least))).map(|d| 10_f64.powi(d)).collect();
        }
        let found = rungs.iter().map(of).find(|ticks| (least..=rows.max(least)).contains(&ticks.len()));
        found.unwrap_or_else(|| round(low, high, least, rows))
    }
}

/// Multiples of 1, 2 or 5 times a power of ten: the fewest that are at least `least`, and at most `most` unless that is
/// impossible. Where these are too few or too many, multiples of 2.5 times one as well.
fn round(low: f64, high: f64, least: usize, most: usize) -> Vec<f64> {
    let some = multiples_of(&[5.0, 2.0, 1.0], (low, high), (least, most));
    if some.len() >= least {
        return some;
    }
    let more = multiples_of(&[5.0, 2.5, 2.0, 1.0], (low, high), (least, most));
    if more.len() > some.len() { more } else { some }
}

/// The multiples of such numbers times a power of ten.
fn multiples_of(numbers: &[f64], (low, high): (f64, f64), (least, most): (usize, usize)) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return Vec::new();
    }
    let top = span.log10().floor() as i32;
    let steps = (top - 3..=top + 1).rev().flat_map(|e| numbers.iter().map(move |m| m * 10_f64.powi(e)));
    let mut best = Vec::new();
    for step in steps {
        let ticks = multiples(low, high, step);
        if ticks.len() > most.max(2) {
            break;
        }
        best = ticks;
        if best.len() >= least {
            break;
        }
    }
    best
}

/// The multiples of a step in the range.
pub(super) fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).take(100).map(|i| i as f64 * step).collect()
}

/// Round numbers in the range, about `most` at most.
pub(super) fn linear_ticks(low: f64, high: f64, most: f64) -> Vec<f64> {
    let rough = (high - low) / most;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    multiples(low, high, step)
}

/// The labels of an axis, all different, as short as possible.
pub(super) fn labels(ticks: &[f64]) -> Vec<String> {
    let distinct = |labels: &[String]| labels.iter().enumerate().all(|(at, label)| !labels[..at].contains(label));
    let short: Vec<String> = ticks.iter().map(|tick| tick_label(*tick)).collect();
    if distinct(&short) {
        return short;
    }
    let tiny = ticks.iter().all(|tick| tick.abs() < 0.01);
    let precise =
        |tick: &f64, digits: usize| if tiny { format!("{tick:.digits$e}") } else { format!("{tick:.digits$}") };
    let exact = |digits: usize| ticks.iter().map(|tick| precise(tick, digits)).collect::<Vec<_>>();
    (0..9).map(exact).find(|labels| distinct(labels)).unwrap_or(short)
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
    } else if tick.abs() < 0.01 {
        format!("{tick:.1e}").replace(".0e", "e")
    } else if tick.abs() >= 1000.0 {
        step_label(tick)
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
        assert_eq!(Scale::new(0.0, 0.0, false).ticks(4), Scale::new(0.0, 1.0, false).ticks(4));
        let narrow = Scale::new(0.676, 0.694, false).ticks(9);
        assert!((4..=9).contains(&narrow.len()), "{narrow:?}");
        for decades in [7, 9, 12, 18] {
            let wide = Scale::new(1e-3, 10_f64.powi(decades - 3), true).ticks(8);
            assert!((4..=8).contains(&wide.len()), "{decades}: {wide:?}");
        }
    }

    /// A bug: `8.331 8.331 8.33`, `-0.7 -0.7` and `.105 .105` beside one axis.
    #[test]
    fn eight_rows_have_four_different_labels_at_every_magnitude() {
        let ranges = [
            (8.3296, 8.3313),
            (-0.745, -0.705),
            (0.0951, 0.1049),
            (2.1, 2.2),
            (1.0, 8.3),
            (0.5, 6.0),
            (0.4, 5.9),
            (1e-5, 3e-3),
            (2.1e-4, 2.2e-4),
            (4_100.0, 9_300.0),
            (18_000.0, 18_900.0),
            (0.0, 1.0),
            (-3.0, 4.0),
            (3.0, 3.0),
            (0.0, 0.0),
            (1.0, 1e9),
        ];
        for (low, high) in ranges {
            for log in [false, true] {
                for rows in [8, 11, 20] {
                    let ticks = Scale::new(low, high, log).ticks(rows);
                    let labels = labels(&ticks);
                    let different: std::collections::BTreeSet<_> = labels.iter().collect();
                    assert_eq!(different.len(), labels.len(), "{low} to {high}: {labels:?}");
                    let enough = (4..=rows).contains(&labels.len()) || low == high && low == 0.0;
                    assert!(enough, "{low} to {high}, log {log}, {rows} rows: {labels:?}");
                    assert!(labels.iter().all(|l| l.len() <= 7), "{labels:?}");
                }
            }
        }
    }
}
