//! A histogram with zero marked.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    canvas::Canvas,
    scale::{linear_ticks, tick_label},
};
use crate::ui::{
    paint::put,
    text::width,
    theme::{Glyphs, Role, Theme},
};

/// Values in bins of equal width, one bin per cell.
pub struct Histogram<'a> {
    /// The values; infinite and NaN ones are left out.
    pub values: &'a [f32],
    /// Style of the bins below zero.
    pub below: Style,
    /// Style of the others.
    pub above: Style,
}

impl Histogram<'_> {
    /// Minimum and maximum, including zero; symmetric if one side is almost empty.
    fn range(&self) -> Option<(f64, f64)> {
        let finite = || self.values.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite());
        let (low, high) = finite().fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        (high > low).then_some((low, high))
    }

    /// Number of values in each of `bins` bins; zero is a bin edge.
    fn counts(&self, range: (f64, f64), bins: usize) -> (Vec<usize>, usize) {
        let span = range.1 - range.0;
        let zero = ((-range.0 / span) * bins as f64).round().clamp(0.0, bins as f64) as usize;
        let mut counts = vec![0; bins];
        for value in self.values.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite()) {
            // Separate bins for each sign, so that none holds both.
            let bin = if value < 0.0 {
                ((value - range.0) / -range.0 * zero as f64) as usize
            } else {
                zero + (value / range.1.max(f64::MIN_POSITIVE) * (bins - zero) as f64) as usize
            };
            let (first, last) = if value < 0.0 { (0, zero.max(1) - 1) } else { (zero.min(bins - 1), bins - 1) };
            counts[bin.clamp(first, last)] += 1;
        }
        (counts, zero)
    }

    /// Draws it with the axis in the last row.
    pub fn render(&self, buf: &mut Buffer, area: Rect, theme: Theme, glyphs: &Glyphs) {
        let area = area.intersection(buf.area);
        let Some(range) = self.range().filter(|_| area.width >= 4 && area.height >= 2) else { return };
        let inner = Rect { height: area.height - 1, ..area };
        let mut canvas = Canvas::new(inner);
        let high = canvas.dots_high();
        let (counts, zero) = self.counts(range, inner.width as usize);
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        // The dotted vertical at zero, under the bins.
        (0..high).step_by(3).for_each(|y| canvas.dot(1, (2 * zero).min(canvas.dots_wide() - 1), y));
        for (x, count) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            let layer = if x < zero { 2 } else { 3 };
            let rows = (count * (high - 1)).div_ceil(most);
            for row in 0..=rows {
                canvas.dot(layer, 2 * x, high - 1 - row);
                canvas.dot(layer, 2 * x + 1, high - 1 - row);
            }
        }
        canvas.paint(buf, glyphs, &[theme.style(Role::Dim), self.below, self.above], &[":", "-", "#"]);
        axis(buf, Rect { y: inner.bottom(), height: 1, ..area }, range, theme);
    }
}

/// Draws round numbers under the bins, zero first.
fn axis(buf: &mut Buffer, area: Rect, range: (f64, f64), theme: Theme) {
    let place = |value: f64| {
        let share = (value - range.0) / (range.1 - range.0);
        area.x + (share * f64::from(area.width.saturating_sub(1))).round() as u16
    };
    let mut labels = vec![0.0];
    labels.extend(linear_ticks(range.0, range.1, f64::from(area.width / 9).max(1.0)));
    let mut taken: Vec<(u16, u16)> = Vec::new();
    for value in labels {
        let label = if value > 0.0 { format!("+{}", tick_label(value)) } else { tick_label(value) };
        let wide = width(&label) as u16;
        let x = place(value).saturating_sub(wide / 2).max(area.x).min(area.right().saturating_sub(wide));
        if taken.iter().any(|t| x < t.1 + 1 && t.0 < x + wide + 1) {
            continue;
        }
        let role = if value == 0.0 { Role::Bright } else { Role::Dim };
        put(buf, x, area.y, area.right(), &label, theme.style(role));
        taken.push((x, x + wide));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::theme::GlyphSet;

    fn counts(values: &[f32], bins: usize) -> (Vec<usize>, usize) {
        let histogram = Histogram { values, below: Style::new(), above: Style::new() };
        histogram.counts(histogram.range().unwrap_or((0.0, 1.0)), bins)
    }

    #[test]
    fn every_value_is_counted_on_its_side_of_zero() {
        let values = [-1.0, -0.01, 0.0, 0.01, 0.5, 3.0, f32::NAN];
        for bins in 2..40 {
            let (counts, zero) = counts(&values, bins);
            assert_eq!(counts.iter().sum::<usize>(), 6, "{bins}");
            if zero > 0 {
                assert_eq!(counts[..zero].iter().sum::<usize>(), 2, "{bins}");
            }
        }
        assert_eq!(counts(&[-2.0, -1.0], 4), (vec![1, 0, 1, 0], 4));
        assert_eq!(counts(&[1.0, 4.0], 4), (vec![0, 1, 0, 1], 0));
    }

    #[test]
    fn any_size_is_drawn_without_a_panic() {
        for values in [&[][..], &[0.0], &[f32::NAN], &[-1.0], &[f32::MAX, f32::MIN]] {
            let histogram = Histogram { values, below: Style::new(), above: Style::new() };
            for (wide, high) in [(0, 0), (1, 1), (4, 2), (7, 3), (40, 8)] {
                let area = Rect::new(0, 0, wide, high);
                let mut buf = Buffer::empty(area);
                histogram.render(&mut buf, area, Theme::default(), GlyphSet::Line.glyphs());
            }
        }
    }
}
