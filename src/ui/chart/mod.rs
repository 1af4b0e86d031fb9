//! A plot on a grid of cells: braille dots (or ASCII), series drawn over one another without mixing colours, ticks at
//! round numbers, and gaps with a mark where values are not finite.

mod axis;
mod canvas;
mod histogram;
mod scale;
mod trails;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

pub use self::{
    axis::{Abscissa, Axis, Pace, time_label},
    histogram::Histogram,
    trails::{Trail, Trails},
};
use self::{
    canvas::Canvas,
    scale::{Scale, labels},
};
use crate::ui::{
    paint::put,
    series::Series,
    text::{shorten, width},
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
    /// Written at the line's end, so that it can be told from others without colours.
    pub name: &'static str,
}

impl<'a> Curve<'a> {
    /// A line through the raw values.
    pub fn line(series: &'a Series, line: Style) -> Curve<'a> {
        Curve { series, smoothing: 0, band: None, line, points: false, name: "" }
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

/// The visible part of a curve.
struct Visible {
    columns: Vec<Option<Column>>,
    /// The dots of its line.
    line: Vec<(usize, f64)>,
}

fn visible(curve: &Curve, axis: &Axis, wide: usize) -> Visible {
    let mut columns: Vec<Option<Column>> = vec![None; wide];
    // The nearest values left and right of it, with their places in dots: lines lead there.
    let mut outside = [None, None];
    let dots = wide.saturating_sub(1) as f64;
    let part = curve.series.within(axis.steps.0, axis.steps.1);
    let place = axis.places();
    for bucket in part.buckets {
        let new = Column {
            min: bucket.min,
            max: bucket.max,
            line: if bucket.count > 0 { bucket.line(curve.smoothing) } else { f64::NAN },
            broken: bucket.broken > 0,
        };
        let middle = place(part.middle(bucket)) * dots;
        if !(-0.5..dots + 0.5).contains(&middle) {
            let value = (middle, new.line);
            if middle < 0.0 {
                outside[0] = Some(value);
            } else if middle > dots && outside[1].is_none() {
                outside[1] = Some(value);
            }
        }
        let (first, last) = part.span(bucket);
        let (first, last) = if part.width() > 1 && curve.band.is_some() && !curve.points {
            (place(first) * dots, place(last) * dots)
        } else {
            (middle, middle)
        };
        if wide == 0 || !(first.is_finite() && last.is_finite()) || last < -0.5 || first >= dots + 0.5 {
            continue;
        }
        let here = middle.round().clamp(-1.0, dots + 1.0);
        let [first, last] = [first, last].map(|x| x.round().clamp(0.0, dots) as usize);
        for (x, column) in (first..).zip(columns.get_mut(first..=last).unwrap_or_default()) {
            // The line goes through the middle of the bucket, the band is as wide as it.
            let new = if x as f64 == here { new } else { Column { line: f64::NAN, broken: false, ..new } };
            *column = Some(column.map_or(new, |old| Column {
                min: old.min.min(new.min),
                max: old.max.max(new.max),
                line: if new.line.is_finite() { new.line } else { old.line },
                broken: old.broken || new.broken,
            }));
        }
    }
    let line = if curve.points { Vec::new() } else { line(&columns, outside) };
    Visible { columns, line }
}

/// A line's dots, with those at the ends where it leaves the chart. A value that is not finite is a gap.
fn line(columns: &[Option<Column>], [before, after]: [Option<(f64, f64)>; 2]) -> Vec<(usize, f64)> {
    let inside = columns.iter().enumerate().filter_map(|(x, c)| Some((x, (*c)?)));
    let mut dots: Vec<(usize, f64)> =
        inside.filter(|(_, c)| c.line.is_finite() || c.broken).map(|(x, c)| (x, c.line)).collect();
    let at = |to: f64, a: (f64, f64), b: (f64, f64)| {
        let share = if b.0 > a.0 { ((to - a.0) / (b.0 - a.0)).clamp(0.0, 1.0) } else { 1.0 };
        a.1 + (b.1 - a.1) * share
    };
    let end = columns.len().saturating_sub(1);
    if let (Some(before), Some(after), true) = (before, after, dots.is_empty()) {
        let of = |x: usize| (x, at(x as f64, before, after));
        return [of(0), of(end)].into_iter().filter(|d| d.1.is_finite()).collect();
    }
    if let (Some(before), Some((x, y))) = (before, dots.first().copied().filter(|d| d.0 > 0)) {
        let y = at(0.0, before, (x as f64, y));
        if y.is_finite() {
            dots.insert(0, (0, y));
        }
    }
    if let (Some(after), Some((x, y))) = (after, dots.last().copied().filter(|d| d.0 < end)) {
        let y = at(end as f64, (x as f64, y), after);
        dots.extend(y.is_finite().then_some((end, y)));
    }
    dots
}

/// A change, marked at its step.
#[derive(Clone, Debug)]
pub struct Mark<'a> {
    /// The step.
    pub step: usize,
    /// A letter for the cause.
    pub letter: &'static str,
    /// What changed, written beside the letter where that hides nothing.
    pub label: &'a str,
}

/// A chart with axes.
#[derive(Default)]
pub struct Plot<'a> {
    /// The abscissa.
    pub axis: Axis<'a>,
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
    /// Changes.
    pub marks: Vec<Mark<'a>>,
    /// The step of the crosshair.
    pub cursor: Option<usize>,
}

impl Plot<'_> {
    /// The scale that includes every curve.
    fn scale(&self, parts: &[Visible]) -> Option<Scale> {
        let (mut low, mut high) = self.holds.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        for (curve, part) in self.curves.iter().zip(parts) {
            for (_, value) in part.line.iter().filter(|d| d.1.is_finite()) {
                (low, high) = (low.min(*value), high.max(*value));
            }
            for column in part.columns.iter().flatten() {
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

    /// Draws it; returns the cells of the curves, inside the axes. None without room.
    pub fn render(&self, buf: &mut Buffer, area: Rect, theme: Theme, glyphs: &Glyphs) -> Option<Rect> {
        let area = area.intersection(buf.area);
        let (mut left, below) = if self.axes { (6, 1) } else { (0, 0) };
        if area.width <= left + 1 || area.height <= below {
            return None;
        }
        let high = area.height - below;
        let inside = |left: u16| Rect { x: area.x + left, width: area.width - left, height: high, ..area };
        let seen = |inner: Rect| -> Vec<_> {
            let wide = Canvas::new(inner).dots_wide();
            self.curves.iter().map(|c| visible(c, &self.axis, wide)).collect()
        };
        let mut parts = seen(inside(left));
        let scale = self.scale(&parts);
        let ticks = scale.map_or_else(Vec::new, |scale| scale.ticks(high.into()));
        let labels = labels(&ticks);
        // Long labels push the axis to the right.
        let needed = labels.iter().map(|label| width(label) as u16 + 2).max().unwrap_or(0).min(area.width / 3);
        if self.axes && needed > left {
            left = needed;
            parts = seen(inside(left));
        }
        let inner = inside(left);
        let mut canvas = Canvas::new(inner);
        let (wide, high) = (canvas.dots_wide(), canvas.dots_high());
        if self.axes {
            self.under(buf, area, inner, theme, glyphs);
        }
        let Some(mut scale) = scale else { return Some(inner) };
        if self.axes {
            let dim = theme.style(Role::Dim);
            let mut before = None;
            for (tick, label) in ticks.into_iter().zip(&labels) {
                let row = ((1.0 - scale.place(tick)) * (high - 1) as f64).round() as usize / 4;
                if before.replace(row) == Some(row) {
                    continue;
                }
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
        let column = |step: usize| {
            let place = self.axis.place(step as f64);
            (0.0..=1.0).contains(&place).then(|| ((place * (wide - 1) as f64).round() as usize).min(wide - 1))
        };
        let changed: Vec<(usize, &Mark)> = self.marks.iter().filter_map(|m| Some((column(m.step)?, m))).collect();
        for (x, _) in &changed {
            (0..high).step_by(2).for_each(|y| canvas.dot(styles.len() as u8, *x, y));
        }
        for (curve, part) in self.curves.iter().zip(&parts) {
            if let Some(band) = curve.band {
                styles.push(band);
                ascii.push(":");
                for (x, column) in part.columns.iter().enumerate() {
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
        for part in &parts {
            for (x, _) in part.columns.iter().enumerate().filter(|(_, c)| c.is_some_and(|c| c.broken)) {
                (0..high).step_by(2).for_each(|y| canvas.dot(styles.len() as u8, x, y));
            }
        }
        if let Some(x) = self.cursor.and_then(column) {
            styles.push(theme.style(Role::Focus));
            ascii.push("+");
            (0..high).for_each(|y| canvas.dot(styles.len() as u8, x, y));
        }
        for (curve, part) in self.curves.iter().zip(&parts) {
            styles.push(curve.line);
            ascii.push(if curve.points { "o" } else { "*" });
            let layer = styles.len() as u8;
            if curve.points {
                let points = part.columns.iter().enumerate().filter_map(|(x, c)| Some((x, (*c)?.line)));
                for (x, value) in points.filter(|p| p.1.is_finite()) {
                    let y = to_dot(value);
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        canvas.dot(layer, x.min(wide.saturating_sub(2)) + dx, y.min(high.saturating_sub(2)) + dy);
                    }
                }
                continue;
            }
            let mut before: Option<(usize, usize)> = None;
            for &(x, value) in &part.line {
                if !value.is_finite() {
                    before = None;
                    continue;
                }
                let y = to_dot(value);
                canvas.line(layer, before.unwrap_or((x, y)), (x, y));
                before = Some((x, y));
            }
        }
        canvas.paint(buf, glyphs, &styles, &ascii);
        for (curve, part) in self.curves.iter().zip(&parts).filter(|(curve, _)| !curve.name.is_empty()) {
            let end = part.line.iter().rev().find(|dot| dot.1.is_finite());
            if let Some(&(x, value)) = end {
                let latest = inner.right().saturating_sub(width(curve.name) as u16);
                let x = (inner.x + (x / 2) as u16 + 1).min(latest).max(inner.x);
                put(buf, x, inner.y + (to_dot(value) / 4) as u16, inner.right(), curve.name, curve.line);
            }
        }
        for (x, mark) in &changed {
            let x = inner.x + (x / 2) as u16;
            put(buf, x, inner.y, inner.right(), mark.letter, theme.style(Role::Focus));
        }
        if self.axes && inner.height >= 6 {
            for (at, (x, mark)) in changed.iter().enumerate() {
                let next = changed.get(at + 1).map_or(inner.right(), |(x, _)| inner.x + (x / 2) as u16);
                beside(buf, inner, (inner.x + (x / 2) as u16 + 2, next), mark.label, theme.style(Role::Dim));
            }
        }
        Some(inner)
    }

    /// Draws the axis at the left and the steps, tokens or times below.
    fn under(&self, buf: &mut Buffer, area: Rect, inner: Rect, theme: Theme, glyphs: &Glyphs) {
        let dim = theme.style(Role::Dim);
        for y in inner.top()..inner.bottom() {
            put(buf, inner.x - 1, y, inner.x, glyphs.axis, dim);
        }
        // The widest spacing that has enough of them.
        let mut best = Vec::new();
        for cells in [14, 10, 8, 6, 4] {
            let placed = self.placed(area, inner, f64::from(inner.width / cells).max(1.0), theme);
            if placed.len() > best.len() {
                best = placed;
            }
            if best.len() >= LABELS {
                break;
            }
        }
        for (x, label, style) in best {
            put(buf, x, inner.bottom(), area.right(), &label, style);
        }
    }

    /// The labels below with about `most` ticks: the crosshair and the current step first, then the ends, then what fits
    /// between.
    fn placed(&self, area: Rect, inner: Rect, most: f64, theme: Theme) -> Vec<(u16, String, Style)> {
        let dim = theme.style(Role::Dim);
        let mut labels: Vec<(f64, String, Style)> = Vec::new();
        for (step, role) in [(self.cursor, Role::Focus), (self.now, Role::Bright)] {
            let step = step.map(|step| step as f64);
            if let Some(step) = step.filter(|step| (-1e-9..=1.0 + 1e-9).contains(&self.axis.place(*step))) {
                labels.push((self.axis.place(step), self.axis.label(step), theme.style(role)));
            }
        }
        labels.extend(self.axis.ticks(most).into_iter().map(|(place, label)| (place, label, dim)));
        let mut placed: Vec<(u16, String, Style)> = Vec::new();
        for (place, label, style) in labels {
            let wide = width(&label) as u16;
            let cells = f64::from(inner.width.saturating_sub(1));
            let middle = inner.x + (place.clamp(0.0, 1.0) * cells).round() as u16;
            let latest = area.right().saturating_sub(wide);
            let x = middle.saturating_sub(wide / 2).max(inner.x - 1).min(latest);
            let free = |(from, other, _): &(u16, String, Style)| {
                let end = from + width(other) as u16;
                x > end || *from > x + wide
            };
            if x >= area.x && placed.iter().all(free) {
                placed.push((x, label, style));
            }
        }
        placed
    }
}

/// Labels of steps, tokens or times that a chart has where there is room.
const LABELS: usize = 4;
/// Fewest cells of a label.
const LABEL: u16 = 8;
/// Rows from the top in which a label may be.
const LABEL_ROWS: u16 = 4;

/// Writes a label between two columns in the first of the upper rows that has room; nowhere if it would hide something.
fn beside(buf: &mut Buffer, inner: Rect, (from, to): (u16, u16), label: &str, style: Style) {
    let wanted = (width(label) as u16).min(36);
    for y in inner.y..inner.y + LABEL_ROWS.min(inner.height) {
        let free = (from..to.min(inner.right())).take_while(|x| buf[(*x, y)].symbol() == " ").count() as u16;
        // A free cell at the end keeps it apart from what follows.
        let room = free.saturating_sub(u16::from(from + free < inner.right()));
        if wanted > 0 && room >= wanted.min(LABEL) {
            put(buf, from, y, from + room, &shorten(label, room.min(wanted).into()), style);
            return;
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
        Plot { axis: (0.0, steps).into(), curves: vec![curve], axes, ..Plot::default() }
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
        let mark = |step, letter| Mark { step, letter, label: "" };
        let marked = Plot { marks: vec![mark(50, "f"), mark(500, "k")], ..plot(&series, 100.0, false) };
        let rows = drawn(&marked, 20, 6);
        assert_eq!(rows[0].chars().nth(10), Some('f'), "{rows:?}");
        assert!(rows.iter().all(|r| !r.contains('k')), "a step outside the axis has no mark");
        assert!(rows[1..].iter().all(|r| r.chars().nth(10) != Some(' ')), "{rows:?}");
        let plain = drawn(&plot(&series, 100.0, false), 20, 6);
        let changed = plain.concat().chars().zip(rows.concat().chars()).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 5, "only the cells above and below the curve");
    }

    #[test]
    fn a_label_is_beside_its_mark_and_hides_nothing() {
        let mut series = Series::default();
        for step in 0..=100 {
            series.push(step, 100.0 - step as f64);
        }
        let with = |label| {
            let mark = |step, letter, label| Mark { step, letter, label };
            let marks = vec![mark(3, "c", label), mark(50, "k", label), mark(80, "f", label)];
            drawn(&Plot { marks, ..plot(&series, 100.0, true) }, 80, 12)
        };
        let (plain, labelled) = (with(""), with("tang300 30 to 40"));
        assert!(labelled[0].contains("k tang300 30 to 40"), "{labelled:?}");
        // Between the last mark and the edge there is less room.
        assert!(labelled[0].contains("f tang300"), "{labelled:?}");
        for (plain, labelled) in plain.iter().zip(&labelled) {
            let hidden = plain.chars().zip(labelled.chars()).any(|(a, b)| a != ' ' && a != b);
            assert!(!hidden, "{plain}\n{labelled}");
        }
    }

    #[test]
    fn a_part_is_enlarged_and_its_line_reaches_the_edges() {
        let mut series = Series::default();
        for step in (0..=1000).step_by(100) {
            series.push(step, step as f64);
        }
        let part = Plot { axis: (420.0, 480.0).into(), ..plot(&series, 0.0, true) };
        let rows = drawn(&part, 40, 10);
        // Between two values: a straight line from edge to edge, with ticks of what is visible.
        for x in 10..38 {
            assert!(rows[..9].iter().any(|r| r.chars().nth(x).is_some_and(|c| c != ' ')), "{x}: {rows:?}");
        }
        let labels: Vec<&str> = rows[9].split_whitespace().collect();
        assert_eq!(labels, ["420", "440", "460", "480"]);
        let empty = Plot { axis: (2000.0, 3000.0).into(), ..plot(&series, 0.0, true) };
        assert!(drawn(&empty, 40, 10)[9].contains("3k"));
    }

    #[test]
    fn the_band_of_wide_buckets_has_no_gaps() {
        let mut series = Series::default();
        for step in 0..100_000 {
            series.push(step, (step % 7) as f64);
        }
        let curve = Curve { band: Some(Style::new()), ..Curve::line(&series, Style::new()) };
        let part = Plot { axis: (1000.0, 1400.0).into(), curves: vec![curve], ..Plot::default() };
        let rows = drawn(&part, 40, 4);
        assert!(rows.iter().all(|r| r.chars().all(|c| c != ' ')), "{rows:?}");
    }

    #[test]
    fn a_named_line_has_its_name_at_its_end() {
        let mut series = Series::default();
        (0..=50).for_each(|step| series.push(step, step as f64));
        let curve = Curve { name: "2", ..Curve::line(&series, Style::new()) };
        let rows = drawn(&Plot { axis: (0.0, 100.0).into(), curves: vec![curve], ..Plot::default() }, 20, 4);
        assert_eq!(rows.iter().map(|r| r.chars().position(|c| c == '2')).collect::<Vec<_>>()[0], Some(11), "{rows:?}");
    }

    #[test]
    fn the_crosshair_is_at_its_step_with_its_label() {
        let mut series = Series::default();
        series.push(0, 1.0);
        series.push(100, 2.0);
        let at = |cursor| drawn(&Plot { cursor, ..plot(&series, 100.0, true) }, 47, 8);
        let rows = at(Some(50));
        let column = |x: usize| rows[..7].iter().all(|r| r.chars().nth(x).is_some_and(|c| c != ' '));
        assert!((6..47).filter(|x| column(*x)).count() == 1 && column(26), "{rows:?}");
        assert!(rows[7].contains("50"));
        assert_eq!(at(Some(101)), at(None));
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
