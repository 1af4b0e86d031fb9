//! Plots one quantity against another as trails in order of measurement.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    canvas::Canvas,
    scale::{Scale, labels, linear_ticks, tick_label},
};
use crate::ui::{
    paint::put,
    text::width,
    theme::{Glyphs, Role, Theme},
};

/// Points in order of measurement.
pub struct Trail {
    /// Abscissa and ordinate; infinite and NaN values are left out.
    pub points: Vec<(f64, f64)>,
    /// Its style.
    pub style: Style,
    /// Whether it uses the axis at the right.
    pub right: bool,
}

/// Trails over a common abscissa that starts at zero.
pub struct Trails {
    /// The trails in drawing order.
    pub trails: Vec<Trail>,
    /// A range that the left axis always includes.
    pub holds: Option<(f64, f64)>,
    /// The unit of the abscissa, at its end.
    pub unit: &'static str,
}

/// Cells of an axis, including its line.
const AXIS: u16 = 5;

impl Trails {
    fn scale(&self, right: bool) -> Option<Scale> {
        let start = self.holds.filter(|_| !right).unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        let values = self.trails.iter().filter(|t| t.right == right).flat_map(|t| &t.points);
        let finite = values.filter(|p| p.0.is_finite() && p.1.is_finite());
        let (low, high) = finite.fold(start, |(l, h), p| (l.min(p.1), h.max(p.1)));
        (low <= high).then(|| Scale::new(low, high, false))
    }

    /// Draws them.
    pub fn render(&self, buf: &mut Buffer, area: Rect, theme: Theme, glyphs: &Glyphs) {
        let area = area.intersection(buf.area);
        let scales = [self.scale(false), self.scale(true)];
        if area.height < 3 {
            return;
        }
        let rows = usize::from(area.height - 1);
        let axes = scales.each_ref().map(|scale| {
            let ticks = scale.as_ref().map_or_else(Vec::new, |scale| scale.ticks(rows));
            let labels = labels(&ticks);
            ticks.into_iter().zip(labels).collect::<Vec<_>>()
        });
        let cells = |axis: &[(f64, String)]| axis.iter().map(|(_, label)| width(label) as u16 + 1).max().unwrap_or(0);
        let left = cells(&axes[0]).max(AXIS);
        let right = if scales[1].is_some() { cells(&axes[1]).max(AXIS) } else { 1 };
        if area.width <= left + right + 2 {
            return;
        }
        let inner = Rect { x: area.x + left, width: area.width - left - right, height: area.height - 1, ..area };
        let far = self.trails.iter().flat_map(|t| &t.points).map(|p| p.0).filter(|x| x.is_finite());
        let far = far.fold(0.0_f64, f64::max);
        let far = if far > 0.0 { far * 1.04 } else { 1.0 };
        let mut canvas = Canvas::new(inner);
        let (wide, high) = (canvas.dots_wide(), canvas.dots_high());
        for ((scale, ticks), right) in scales.iter().zip(&axes).zip([false, true]) {
            if let Some(scale) = scale {
                axis(buf, inner, scale, ticks, right, theme, glyphs);
            } else if !right {
                line(buf, inner, inner.x - 1, theme, glyphs);
            }
        }
        let row = Rect { y: inner.bottom(), height: 1, ..area };
        let unit = width(self.unit) as u16;
        let end = area.right().saturating_sub(unit);
        put(buf, end, row.y, area.right(), self.unit, theme.style(Role::Dim));
        let ticks = Rect { width: row.width.saturating_sub(if unit > 0 { unit + 1 } else { 0 }), ..row };
        under(buf, ticks, inner, far, theme);
        let mut styles = Vec::new();
        for trail in &self.trails {
            styles.push(trail.style);
            let Some(scale) = scales[usize::from(trail.right)] else { continue };
            let layer = styles.len() as u8;
            let dot = |p: &(f64, f64)| {
                let x = (p.0 / far).clamp(0.0, 1.0) * (wide - 1) as f64;
                let y = (1.0 - scale.place(p.1)).clamp(0.0, 1.0) * (high - 1) as f64;
                (x.round() as usize, y.round() as usize)
            };
            let dots: Vec<_> = trail.points.iter().filter(|p| p.0.is_finite() && p.1.is_finite()).map(dot).collect();
            for pair in dots.windows(2) {
                canvas.line(layer, pair[0], pair[1]);
            }
            for (x, y) in &dots {
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    canvas.dot(layer, (*x).min(wide - 2) + dx, (*y).min(high - 2) + dy);
                }
            }
        }
        let ascii = ["*", "o", "+", "x", "."];
        let ascii: Vec<&str> = (0..styles.len()).map(|at| ascii[at % ascii.len()]).collect();
        canvas.paint(buf, glyphs, &styles, &ascii);
    }
}

/// Draws the line of an axis.
fn line(buf: &mut Buffer, inner: Rect, x: u16, theme: Theme, glyphs: &Glyphs) {
    for y in inner.top()..inner.bottom() {
        put(buf, x, y, x + 1, glyphs.axis, theme.style(Role::Dim));
    }
}

/// Draws the axis at one side with its ticks.
fn axis(
    buf: &mut Buffer,
    inner: Rect,
    scale: &Scale,
    ticks: &[(f64, String)],
    right: bool,
    theme: Theme,
    glyphs: &Glyphs,
) {
    let dim = theme.style(Role::Dim);
    let x = if right { inner.right() } else { inner.x - 1 };
    line(buf, inner, x, theme, glyphs);
    let mut last = None;
    for (tick, label) in ticks {
        let row = ((1.0 - scale.place(*tick)) * f64::from(inner.height - 1)).round() as u16;
        if last == Some(row) {
            continue;
        }
        last = Some(row);
        let wide = width(label) as u16;
        let (from, end) = if right { (x + 1, x + 1 + wide) } else { (x.saturating_sub(wide), x) };
        put(buf, from, inner.y + row, end, label, dim);
    }
}

/// Draws the ticks of the abscissa.
fn under(buf: &mut Buffer, area: Rect, inner: Rect, far: f64, theme: Theme) {
    let mut free = area.x;
    for tick in linear_ticks(0.0, far, f64::from(inner.width / 6).max(1.0)) {
        let label = tick_label(tick);
        let wide = width(&label) as u16;
        let middle = inner.x + (tick / far * f64::from(inner.width - 1)).round() as u16;
        let x = middle.saturating_sub(wide / 2).min(area.right().saturating_sub(wide));
        if x >= free {
            put(buf, x, area.y, area.right(), &label, theme.style(Role::Dim));
            free = x + wide + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::theme::GlyphSet;

    fn drawn(points: &[(f64, f64)], wide: u16, high: u16) -> String {
        let trail = |right| Trail { points: points.to_vec(), style: Style::new(), right };
        let area = Rect::new(0, 0, wide, high);
        let mut buf = Buffer::empty(area);
        let trails = Trails { trails: vec![trail(false), trail(true)], holds: Some((0.0, 1.0)), unit: "KL" };
        trails.render(&mut buf, area, Theme::default(), GlyphSet::Ascii.glyphs());
        let rows = (0..high).map(|y| (0..wide).map(|x| buf[(x, y)].symbol()).collect::<String>());
        rows.map(|r| r.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_trail_goes_from_its_first_point_to_its_newest() {
        let text = drawn(&[(0.0, 0.0), (2.0, 0.5), (4.0, 1.0)], 30, 8);
        let rows: Vec<&str> = text.lines().collect();
        let at = |row: &str| row.find(['*', 'o']);
        assert!(at(rows[0]) > at(rows[6]), "{text}");
        assert!(rows[7].contains('0') && rows[7].contains('4') && rows[7].ends_with(" KL"), "{text}");
    }

    #[test]
    fn any_size_is_drawn_without_a_panic() {
        for points in [&[][..], &[(0.0, 0.0)], &[(f64::NAN, 1.0), (1.0, f64::INFINITY)], &[(1e300, -1e300), (2.0, 1.0)]]
        {
            for wide in 0..24 {
                for high in 0..6 {
                    drawn(points, wide, high);
                }
            }
        }
    }
}
