//! Every metric of the stage by its name in the logs: the newest value, or that at the crosshair, and its range.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, put, put_right},
    series::Series,
    state::Panel,
    strings,
    text::{figure, pad, shorten, width},
    theme::Role,
    view::{
        field::finding,
        pen::{Canvas, Pen, below},
    },
};

/// Cells of a value, and of a range.
const VALUE: usize = 12;
const RANGE: usize = 24;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let (metrics, keeps) = (pen.stage.metrics(), state.keeper(Panel::METRICS));
    let kept: Vec<&(String, &Series)> = metrics.iter().filter(|m| keeps(&m.0)).collect();
    let mut facts: Pieces = Vec::new();
    if !metrics.is_empty() {
        if kept.len() < metrics.len() {
            facts.push(pen.piece(format!("{} / ", kept.len()), Role::Bright));
        }
        facts.push(pen.piece(metrics.len().to_string(), Role::Dim));
    }
    let inner = pen.title(buf, area, &facts);
    let mut inner = finding(pen, Panel::METRICS, inner, buf);
    if metrics.is_empty() {
        pen.not_yet(buf, inner, strings::NO_STEP);
        return;
    }
    if kept.is_empty() {
        pen.words(buf, inner, state.tr(strings::FIND_NONE));
        return;
    }
    let end = inner.right().saturating_sub(1);
    let cells = end.saturating_sub(inner.x + 2) as usize;
    let (value, range) = (VALUE, if cells >= 60 { RANGE } else { 0 });
    let name = cells.saturating_sub(value + range);
    let columns = [inner.x + 2 + name as u16, inner.x + 2 + (name + value) as u16];
    if inner.height > 3 {
        let dim = pen.style(Role::Dim);
        let at = if pen.cursor().is_some() { strings::STEP } else { strings::METRICS_NEWEST };
        let place = pen.cursor().map_or_else(String::new, |step| format!(" {}", crate::ui::text::grouped(step as u64)));
        put_right(buf, columns[0], inner.y, columns[1], &format!("{}{place}", state.tr(at)), dim);
        if range > 0 {
            put_right(buf, columns[1], inner.y, end, state.tr(strings::METRICS_RANGE), dim);
        }
        inner = below(inner, 1);
    }
    let from = pen.scrolled(kept.len().saturating_sub(inner.height as usize), buf);
    for (row, (title, series)) in kept.into_iter().skip(from).take(inner.height as usize).enumerate() {
        let y = inner.y + row as u16;
        let title = pad(&shorten(title, name.saturating_sub(1)), name);
        put(buf, inner.x + 2, y, columns[0], &title, pen.style(Role::Text));
        let newest = pen.value(series);
        let role = if newest.is_some_and(f64::is_finite) { Role::Bright } else { Role::Bad };
        put_right(buf, columns[0], y, columns[1], &newest.map_or_else(|| "-".to_owned(), figure), pen.style(role));
        let seen = (range > 0).then(|| range_of(pen, series)).flatten();
        if let Some(text) = seen.filter(|text| width(text) < range) {
            put_right(buf, columns[1], y, end, &text, pen.style(Role::Dim));
        }
    }
}

/// The least and the greatest value in the visible steps.
fn range_of(pen: &Pen, series: &Series) -> Option<String> {
    let (from, to) = pen.stage.visible();
    let part = series.within(from, to);
    let inside = part.buckets.iter().filter(|b| b.count > 0 && (from..=to).contains(&part.middle(b)));
    let (low, high) =
        inside.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), b| (low.min(b.min), high.max(b.max)));
    (low <= high).then(|| format!("{} .. {}", figure(low), figure(high)))
}
