//! A plot on a grid of cells: braille dots (or ASCII), series painted one over the other so that
//! colours do not bleed, ticks at round numbers, and what is not finite shown as a gap with a mark.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::ui::{
    paint::put,
    series::Series,
    text::{figure, grouped, short, width},
    theme::{Glyphs, Role, Theme},
};

/// The bit of a braille character for a dot, by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Dots on a grid of cells; a later layer takes a cell over from an earlier one.
struct Canvas {
    area: Rect,
    cells: Vec<(u8, u8)>,
}

impl Canvas {
    fn new(area: Rect) -> Canvas {
        Canvas { area, cells: vec![(0, 0); area.width as usize * area.height as usize] }
    }

    fn dots_wide(&self) -> usize {
        self.area.width as usize * 2
    }

    fn dots_high(&self) -> usize {
        self.area.height as usize * 4
    }

    fn dot(&mut self, layer: u8, x: usize, y: usize) {
        if x >= self.dots_wide() || y >= self.dots_high() {
            return;
        }
        let cell = &mut self.cells[y / 4 * self.area.width as usize + x / 2];
        if cell.0 != layer {
            *cell = (layer, 0);
        }
        cell.1 |= DOTS[x % 2][y % 4];
    }

    /// A line between two dots (Bresenham 1965).
    fn line(&mut self, layer: u8, from: (usize, usize), to: (usize, usize)) {
        let (mut x, mut y) = (from.0 as i64, from.1 as i64);
        let (to_x, to_y) = (to.0 as i64, to.1 as i64);
        let (dx, dy) = ((to_x - x).abs(), -(to_y - y).abs());
        let (step_x, step_y) = ((to_x - x).signum(), (to_y - y).signum());
        let mut error = dx + dy;
        loop {
            self.dot(layer, x as usize, y as usize);
            if (x, y) == (to_x, to_y) {
                return;
            }
            let twice = 2 * error;
            if twice >= dy {
                error += dy;
                x += step_x;
            }
            if twice <= dx {
                error += dx;
                y += step_y;
            }
        }
    }

    fn paint(&self, buf: &mut Buffer, glyphs: &Glyphs, styles: &[Style], ascii: &[&str]) {
        for (at, &(layer, dots)) in self.cells.iter().enumerate().filter(|(_, c)| c.1 != 0) {
            let x = self.area.x + (at % self.area.width as usize) as u16;
            let y = self.area.y + (at / self.area.width as usize) as u16;
            let layer = layer as usize - 1;
            let braille = char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ');
            let mut utf8 = [0; 4];
            let glyph = if glyphs.braille { braille.encode_utf8(&mut utf8) } else { ascii[layer] };
            put(buf, x, y, self.area.right(), glyph, styles[layer]);
        }
    }
}

/// From values to rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// Holds everything from `low` to `high` with some air; logarithmic only over positive values.
    pub fn new(low: f64, high: f64, log: bool) -> Scale {
        if !low.is_finite() || !high.is_finite() || low > high {
            return Scale { low: 0.0, high: 1.0, log: false };
        }
        let log = log && low > 0.0;
        let (a, b) = if log { (low.ln(), high.ln()) } else { (low, high) };
        let air = if b > a { (b - a) * 0.04 } else { (a.abs() * 0.1).max(1e-9) };
        Scale { low: a - air, high: b + air, log }
    }

    /// Without an axis to read, noise of a few percent must not look like a mountain range.
    fn widen(&mut self) {
        let least = 0.25 * self.low.abs().max(self.high.abs());
        let missing = (least - (self.high - self.low)).max(0.0) / 2.0;
        self.low -= missing;
        self.high += missing;
    }

    /// 0 at the bottom, 1 at the top.
    fn place(&self, value: f64) -> f64 {
        let v = if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        (v - self.low) / (self.high - self.low)
    }

    /// Round numbers inside, at most about `most`.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
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

fn linear_ticks(low: f64, high: f64, most: f64) -> Vec<f64> {
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

/// What is drawn of one series.
pub struct Curve<'a> {
    /// The values.
    pub series: &'a Series,
    /// Index into the smoothings.
    pub smoothing: usize,
    /// Style of the span between least and greatest.
    pub band: Option<Style>,
    /// Style of the line.
    pub line: Style,
    /// Draw points, not a line.
    pub points: bool,
}

/// A column of dots: least, greatest, line, and whether something was not finite.
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
pub struct Plot<'a> {
    /// First and last step of the axis; the end may lie in the future.
    pub steps: (f64, f64),
    /// Where the run is, marked on the axis.
    pub now: Option<usize>,
    /// Logarithmic values.
    pub log: bool,
    /// In the order painted.
    pub curves: Vec<Curve<'a>>,
    /// With ticks and labels.
    pub axes: bool,
}

impl Plot<'_> {
    /// The scale that holds every curve.
    fn scale(&self, columns: &[Vec<Option<Column>>]) -> Option<Scale> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
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
        let (left, below) = if self.axes { (6, 1) } else { (0, 0) };
        if area.width <= left + 1 || area.height <= below {
            return;
        }
        let inner = Rect { x: area.x + left, width: area.width - left, height: area.height - below, ..area };
        let mut canvas = Canvas::new(inner);
        let (wide, high) = (canvas.dots_wide(), canvas.dots_high());
        let columns: Vec<_> = self.curves.iter().map(|c| columns(c, self.steps, wide)).collect();
        if self.axes {
            self.axis(buf, area, inner, theme, glyphs);
        }
        let Some(mut scale) = self.scale(&columns) else { return };
        if !self.axes {
            scale.widen();
        }
        if self.axes {
            let dim = theme.style(Role::Dim);
            for tick in scale.ticks(usize::from(inner.height / 3).max(2)) {
                let row = ((1.0 - scale.place(tick)) * (high - 1) as f64).round() as usize / 4;
                let label = tick_label(tick);
                let x = inner.x.saturating_sub(2 + label.len() as u16);
                put(buf, x, inner.y + row as u16, inner.x - 1, &label, dim);
            }
        }
        let to_dot = |value: f64| {
            let from_top = (1.0 - scale.place(value)).clamp(0.0, 1.0);
            (from_top * (high - 1) as f64).round() as usize
        };
        let mut styles = Vec::new();
        let mut ascii = Vec::new();
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
        // What is not finite: a dotted upright the height of the chart, under the lines.
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
    }

    /// The guide at the left and the steps below.
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
        // The run's own place first, then the ends, then what fits between.
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

/// `1.2k`, `10k`: no zeros that say nothing.
fn step_label(step: f64) -> String {
    let text = short(step);
    match text.strip_suffix(['k', 'M', 'B']) {
        Some(number) if number.contains('.') => {
            format!("{}{}", number.trim_end_matches('0').trim_end_matches('.'), &text[number.len()..])
        }
        _ => text,
    }
}

fn tick_label(tick: f64) -> String {
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

    fn drawn(plot: &Plot, wide: u16, high: u16) -> Vec<String> {
        let area = Rect::new(0, 0, wide, high);
        let mut buf = Buffer::empty(area);
        plot.render(&mut buf, area, Theme::default(), crate::ui::theme::GlyphSet::Line.glyphs());
        (0..high).map(|y| (0..wide).map(|x| buf[(x, y)].symbol()).collect()).collect()
    }

    fn plot(series: &Series, steps: f64, axes: bool) -> Plot<'_> {
        let curve = Curve { series, smoothing: 0, band: None, line: Style::new(), points: false };
        Plot { steps: (0.0, steps), now: None, log: false, curves: vec![curve], axes }
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
    fn ticks_are_round_and_few() {
        assert_eq!(Scale::new(2.0, 8.0, false).ticks(4), [2.0, 4.0, 6.0, 8.0]);
        let log = Scale::new(0.5, 80.0, true).ticks(6);
        assert!(log.len() >= 2 && log.len() <= 6, "{log:?}");
        assert!(Scale::new(f64::NAN, 1.0, false).ticks(4).len() <= 6);
        assert!(!Scale::new(3.0, 3.0, true).ticks(3).is_empty());
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
