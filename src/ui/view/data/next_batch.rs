//! The next batch: its rows, each with source and beginning.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, put},
    state::batch::Row,
    strings,
    text::{fit, pad, width},
    theme::Role,
    view::pen::{Canvas, Pen},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let data = &state.data;
    let mut facts: Pieces = Vec::new();
    if let Some(next) = &data.next {
        let rows = next.rows.len() + next.more;
        let context = next.rows.iter().map(|r| r.tokens.len()).max().unwrap_or(0);
        facts.push(pen.piece(format!("{}  ", strings::at_step(state.lang, next.step)), Role::Dim));
        facts.push(pen.piece(format!("{rows} {} {context}", pen.glyphs.times), Role::Text));
    }
    let inner = pen.title(buf, area, &facts);
    let Some(next) = &data.next else {
        let words =
            data.refused.as_ref().map_or_else(|| state.tr(strings::NO_NEXT), |r| r.get(pen.state.lang).as_str());
        pen.words(buf, inner, words);
        return;
    };
    let limit = next.rows.len().saturating_sub(inner.height as usize);
    let from = pen.scrolled(limit, buf);
    let name = (inner.width / 5).clamp(6, 14);
    let x = inner.x + 2 + name + 1;
    let end = inner.right().saturating_sub(1);
    for (at, row) in next.rows.iter().skip(from).take(inner.height as usize).enumerate() {
        let y = inner.y + at as u16;
        let task = strings::task(&row.raw).map(|t| pen.glyphs.arrows(state.tr(t)));
        let source = task.as_deref().unwrap_or(&row.source);
        put(buf, inner.x + 2, y, inner.right(), &pad(source, name as usize), pen.style(Role::Dim));
        put(buf, x, y, end, &beginning(row, end.saturating_sub(x) as usize), pen.style(Role::Text));
    }
}

/// As much of a row as fits.
fn beginning(row: &Row, cells: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for token in &row.tokens {
        let wide = width(&token.shown);
        if used + wide > cells.saturating_sub(1) {
            text.push_str(fit(&token.shown, cells.saturating_sub(used + 1)));
            text.push('⋯');
            break;
        }
        text.push_str(&token.shown);
        used += wide;
    }
    text
}
