//! A plot on a grid of cells: braille dots (or ASCII), series drawn over one another without mixing colours, ticks at
//! round numbers, and gaps with a mark where values are not finite.

mod canvas;
mod histogram;
mod scale;
mod trails;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use self::{
    canvas::Canvas,
    scale::{Scale, labels, linear_ticks, step_label},
};
pub use self::{
    histogram::Histogram,
    trails::{Trail, Trails},
};
use crate::ui::{
    paint::put,
    series::Series,
    text::{grouped, width},
    theme::{Glyphs, Role, Theme},
};

/// How a series is drawn.
pub struct Curve<'a> {
    /// The values.
    pub series: &'a Series,
    /// Index into the list of smoothings.
    pub smoothing: usize,
    /// Style of the range between minimum and maximum (for points, of their intervals).
    pub band: Option<Style>,
    /// Style of the line.
    pub line: Style,
    /// Whether to draw points instead of a line.
    pub points: bool,
}

impl<'a> Curve<'a> {
    /// A line through the raw values.
    pub fn line(series: &'a Series, line: Style) -> Curve<'a> {
        Curve { series, smoothing: 0, band: None, line, points: false }
    }

    /// A point for every value.
    pub fn points(series: &'a Series, line: Style) -> Curve<'a> {
        Curve { points: true, ..Curve::line(series, line) }
    }
}

/// A column of dots: minimum, maximum, line, and whether a value was not finite.
#[derive(Clone, Copy)]
struct Column {
    min: f64,
    max: f64,
    line: f64,
    broken: bool,
}

fn columns(curve: &Curve, steps: (f64, f64), wide: usize) -> Vec<Option<Column>> {
    let mut columns: Vec<Option<Column>> = vec![None; wide];
    let span = (steps.1 - steps.0).max(1.0);
    for bucket in curve.series.buckets() {
        let place = (curve.series.middle(bucket) - steps.0) / span;
        if !(0.0..=1.0).contains(&place) {
            continue;
        }
        let column = &mut columns[((place * (wide - 1) as f64).round() as usize).min(wide - 1)];
        let new = Column {
            min: bucket.min,
            max: bucket.max,
            line: if bucket.count > 0 { bucket.line(curve.smoothing) } else { f64::NAN },
            broken: bucket.broken > 0,
        };
        *column = Some(column.map_or(new, |old| Column {
            min: old.min.min(new.min),
            max: old.max.max(new.max),
            line: if new.line.is_finite() { new.line } else { old.line },
            broken: old.broken || new.broken,
        }));
    }
    columns
}

/// A chart with axes.
#[derive(Default)]
pub struct Plot<'a> {
    /// First and last step of the axis; the end may be in the future.
    pub steps: (f64, f64),
    /// The current step, marked on the axis.
    pub now: Option<usize>,
    /// Whether the value axis is logarithmic.
    pub log: bool,
    /// The curves in drawing order.
    pub curves: Vec<Curve<'a>>,
    /// Whether to draw ticks and labels.
    pub axes: bool,
    /// A range that the scale always includes.
    pub holds: Option<(f64, f64)>,
    /// Steps of changes, each with a letter for the cause.
    pub marks: Vec<(usize, &'static str)>,
}

impl Plot<'_> {
    /// The scale that includes every curve.
    fn scale(&self, columns: &[Vec<Option<Column>>]) -> Option<Scale> {
        let (mut low, mut high) = self.holds.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        for (curve, columns) in self.curves.iter().zip(columns) {
            for column in columns.iter().flatten() {
                let values: &[f64] = if curve.band.is_some() || curve.points {
                    &[column.min, column.max, column.line]
                } else {
                    &[column.line]
                };
                for value in values.iter().filter(|v| v.is_finite()) {
                    (low, high) = (low.min(*value), high.max(*value));
                }
            }
        }
        (low <= high).then(|| Scale::new(low, high, self.log))
    }

    /// Draws it.
    pub fn render(&self, buf: &mut Buffer, area: Rect, theme: Theme, glyphs: &Glyphs) {
        let area = area.intersection(buf.area);
        let (mut left, below) = if self.axes { (6, 1) } else { (0, 0) };
        if area.width <= left + 1 || area.height <= below {
            return;
        }
        let high = area.height - below;
        let inside = |left: u16| Rect { x: area.x + left, width: area.width - left, height: high, ..area };
        let seen = |inner: Rect| -> Vec<_> {
            let wide = Canvas::new(inner).dots_wide();
            self.curves.iter().map(|c| columns(c, self.steps, wide)).collect()
        };
        let mut columns = seen(inside(left));
        let scale = self.scale(&columns);
        let ticks = scale.map_or_else(Vec::new, |scale| scale.ticks(high.into()));
        let labels = labels(&ticks);
        // Long labels push the axis to the right.
        let needed = labels.iter().map(|label| width(label) as u16 + 2).max().unwrap_or(0).min(area.width / 3);
        if self.axes && needed > left {
            left = needed;
            columns = seen(inside(left));
        }
        let inner = inside(left);
        let mut canvas = Canvas::new(inner);
        let (wide, high) = (canvas.dots_wide(), canvas.dots_high());
        if self.axes {
            self.axis(buf, area, inner, theme, glyphs);
        }
        let Some(mut scale) = scale else { return };
        if self.axes {
            let dim = theme.style(Role::Dim);
            for (tick, label) in ticks.into_iter().zip(&labels) {
                let row = ((1.0 - scale.place(tick)) * (high - 1) as f64).round() as usize / 4;
                let x = inner.x.saturating_sub(2 + width(label) as u16).max(area.x);
                put(buf, x, inner.y + row as u16, inner.x - 1, label, dim);
            }
        } else {
            scale.widen();
        }
        let to_dot = |value: f64| {
            let from_top = (1.0 - scale.place(value)).clamp(0.0, 1.0);
            (from_top * (high - 1) as f64).round() as usize
        };
        let mut styles = Vec::new();
        let mut ascii = Vec::new();
        // Changes: a thin vertical under everything; its letter distinguishes it from a non-finite value.
        styles.push(theme.style(Role::Dim));
        ascii.push("|");
        let span = (self.steps.1 - self.steps.0).max(1.0);
        let changed: Vec<(usize, &str)> = self
            .marks
            .iter()
            .map(|(step, letter)| ((*step as f64 - self.steps.0) / span, *letter))
            .filter(|(place, _)| (0.0..=1.0).contains(place))
            .map(|(place, letter)| (((place * (wide - 1) as f64).round() as usize).min(wide - 1), letter))
            .collect();
        for (x, _) in &changed {
            (0..high).step_by(2).for_each(|y| canvas.dot(styles.len() as u8, *x, y));
        }
        for (curve, columns) in self.curves.iter().zip(&columns) {
            if let Some(band) = curve.band {
                styles.push(band);
                ascii.push(":");
                for (x, column) in columns.iter().enumerate() {
                    let Some(column) = column.filter(|c| c.min <= c.max) else { continue };
                    for y in to_dot(column.max)..=to_dot(column.min) {
                        canvas.dot(styles.len() as u8, x, y);
                    }
                }
            }
        }
        // Non-finite values: a dotted vertical over the whole height, under the lines.
        styles.push(theme.style(Role::Bad));
        ascii.push("!");
        for columns in &columns {
            for (x, _) in columns.iter().enumerate().filter(|(_, c)| c.is_some_and(|c| c.broken)) {
                (0..high).step_by(2).for_each(|y| canvas.dot(styles.len() as u8, x, y));
            }
        }
        for (curve, columns) in self.curves.iter().zip(&columns) {
            styles.push(curve.line);
            ascii.push(if curve.points { "o" } else { "*" });
            let layer = styles.len() as u8;
            let mut before: Option<(usize, usize)> = None;
            for (x, column) in columns.iter().enumerate().filter_map(|(x, c)| c.map(|c| (x, c))) {
                if !column.line.is_finite() {
                    before = None;
                    continue;
                }
                let y = to_dot(column.line);
                if curve.points {
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        canvas.dot(layer, x.min(wide.saturating_sub(2)) + dx, y.min(high.saturating_sub(2)) + dy);
                    }
                } else {
                    canvas.line(layer, before.unwrap_or((x, y)), (x, y));
                    before = Some((x, y));
                }
            }
        }
        canvas.paint(buf, glyphs, &styles, &ascii);
        for (x, letter) in changed {
            let x = inner.x + (x / 2) as u16;
            put(buf, x, inner.y, inner.right(), letter, theme.style(Role::Focus));
        }
    }

    /// Draws the axis at the left and the steps below.
    fn axis(&self, buf: &mut Buffer, area: Rect, inner: Rect, theme: Theme, glyphs: &Glyphs) {
        let dim = theme.style(Role::Dim);
        for y in inner.top()..inner.bottom() {
            put(buf, inner.x - 1, y, inner.x, glyphs.axis, dim);
        }
        let y = inner.bottom();
        let span = (self.steps.1 - self.steps.0).max(1.0);
        let place = |step: f64| {
            let cells = inner.width.saturating_sub(1) as f64;
            inner.x + (((step - self.steps.0) / span).clamp(0.0, 1.0) * cells).round() as u16
        };
        // The current step first, then the ends, then what fits between.
        let mut labels: Vec<(f64, String, Style)> = Vec::new();
        if let Some(now) = self.now {
            labels.push((now as f64, grouped(now as u64), theme.style(Role::Bright)));
        }
        labels.push((self.steps.1, step_label(self.steps.1), dim));
        labels.push((self.steps.0, step_label(self.steps.0), dim));
        for tick in linear_ticks(self.steps.0, self.steps.1, f64::from(inner.width / 14).max(1.0)) {
            labels.push((tick, step_label(tick), dim));
        }
        let mut taken: Vec<(u16, u16)> = Vec::new();
        for (step, label, style) in labels {
            let wide = width(&label) as u16;
            let middle = place(step);
            let latest = area.right().saturating_sub(wide);
            let x = middle.saturating_sub(wide / 2).max(inner.x - 1).min(latest);
            if x < area.x || taken.iter().any(|t| x < t.1 + 1 && t.0 < x + wide + 1) {
                continue;
            }
            put(buf, x, y, area.right(), &label, style);
            taken.push((x, x + wide));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(plot: &Plot, wide: u16, high: u16) -> Vec<String> {
        let area = Rect::new(0, 0, wide, high);
        let mut buf = Buffer::empty(area);
        plot.render(&mut buf, area, Theme::default(), crate::ui::theme::GlyphSet::Line.glyphs());
        (0..high).map(|y| (0..wide).map(|x| buf[(x, y)].symbol()).collect()).collect()
    }

    fn plot(series: &Series, steps: f64, axes: bool) -> Plot<'_> {
        let curve = Curve::line(series, Style::new());
        Plot { steps: (0.0, steps), curves: vec![curve], axes, ..Plot::default() }
    }

    #[test]
    fn a_falling_line_falls_and_the_future_is_empty() {
        let mut series = Series::default();
        for step in 0..50 {
            series.push(step, 8.0 - step as f64 / 10.0);
        }
        let rows = drawn(&plot(&series, 100.0, false), 20, 4);
        let filled = |row: &str| row.chars().position(|c| c != ' ');
        assert!(filled(&rows[0]) < filled(&rows[3]));
        for row in rows {
            assert!(row.chars().skip(11).all(|c| c == ' '), "{row:?}");
        }
    }

    #[test]
    fn what_is_not_finite_breaks_the_line_and_is_marked() {
        let mut series = Series::default();
        for step in 0..20 {
            series.push(step, if step == 10 { f64::NAN } else { 1.0 });
        }
        let rows = drawn(&plot(&series, 19.0, false), 10, 3);
        assert!(rows.iter().all(|r| r.chars().filter(|c| *c != ' ').count() >= 1), "{rows:?}");
        let only_broken = {
            let mut s = Series::default();
            s.push(1, f64::NAN);
            s
        };
        drawn(&plot(&only_broken, 10.0, true), 30, 6);
    }

    #[test]
    fn a_change_is_marked_at_its_step_and_hides_no_curve() {
        let mut series = Series::default();
        for step in 0..=100 {
            series.push(step, 1.0 + step as f64);
        }
        let marked = Plot { marks: vec![(50, "f"), (500, "k")], ..plot(&series, 100.0, false) };
        let rows = drawn(&marked, 20, 6);
        assert_eq!(rows[0].chars().nth(10), Some('f'), "{rows:?}");
        assert!(rows.iter().all(|r| !r.contains('k')), "a step outside the axis has no mark");
        assert!(rows[1..].iter().all(|r| r.chars().nth(10) != Some(' ')), "{rows:?}");
        let plain = drawn(&plot(&series, 100.0, false), 20, 6);
        let changed = plain.concat().chars().zip(rows.concat().chars()).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 5, "only the cells above and below the curve");
    }

    #[test]
    fn any_size_is_drawn_without_a_panic() {
        let mut series = Series::default();
        series.push(3, 4.0);
        for wide in 0..30 {
            for high in 0..8 {
                for axes in [true, false] {
                    drawn(&plot(&series, 10.0, axes), wide, high);
                }
            }
        }
    }
}
