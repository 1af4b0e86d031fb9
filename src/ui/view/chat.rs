//! Talking to the weights as they are at this step; the answer streams in and is stamped with it.

use std::borrow::Cow;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{Caret, Pen};
use crate::session::Sampling;
use crate::ui::{
    paint::{Pieces, put, put_pieces},
    state::{Exchange, Panel},
    strings,
    text::wrap,
    theme::Role,
};

/// Rows the field may grow to.
const FIELD: usize = 4;

pub(super) fn draw(pen: &Pen, area: Rect, buf: &mut Buffer) -> Option<Caret> {
    let state = pen.state;
    let drawn = Sampling::default();
    let sampling = format!("temp {} {} top-k {}", drawn.temperature, pen.glyphs.dot, drawn.top_k);
    let facts = vec![pen.piece(sampling, Role::Dim)];
    let inner = pen.title(buf, area, Panel::Chat, &facts);
    if inner.height == 0 {
        return None;
    }
    let (field, caret) = field(pen, inner, buf);
    let body = Rect { height: inner.height - field, ..inner };
    if body.height == 0 {
        return caret;
    }
    if state.chat.is_empty() {
        let text = state.tr(if state.is_finished() { strings::CHAT_OVER } else { strings::NO_CHAT });
        for (row, line) in wrap(text, body.width.saturating_sub(5) as usize, 2).into_iter().enumerate() {
            if row < body.height as usize {
                put(buf, body.x + 2, body.y + row as u16, body.right(), &text[line], pen.style(Role::Dim));
            }
        }
        return caret;
    }
    // Built from the newest backwards, and no further than is seen.
    let rows = body.height as usize;
    let scroll = if state.focus == Panel::Chat { state.scroll } else { 0 };
    let mut lines: Vec<Pieces> = Vec::new();
    let mut all = true;
    for exchange in state.chat.iter().rev() {
        if lines.len() >= rows + scroll + 16 {
            all = false;
            break;
        }
        lines.extend(exchange_lines(pen, exchange, body.width.saturating_sub(5) as usize).into_iter().rev());
    }
    let most = lines.len().saturating_sub(rows);
    if state.focus == Panel::Chat {
        state.scroll_limit.set(if all { most } else { most.max(scroll + 16) });
    }
    let from = scroll.min(most);
    for (up, line) in lines[from..].iter().take(rows).enumerate() {
        let y = if lines.len() < rows { body.y + (lines.len() - 1 - up) as u16 } else { body.bottom() - 1 - up as u16 };
        put_pieces(buf, body.x + 2, y, body.right().saturating_sub(1), line);
    }
    caret
}

fn exchange_lines<'a>(pen: &Pen, exchange: &'a Exchange, cells: usize) -> Vec<Pieces<'a>> {
    let mut lines: Vec<Pieces> = Vec::new();
    let prompt = exchange.prompt.as_str();
    for (at, range) in wrap(prompt, cells.saturating_sub(2), 2).into_iter().enumerate() {
        let mark = if at == 0 { pen.glyphs.prompt } else { " " };
        lines.push(vec![pen.piece(format!("{mark} "), Role::Focus), pen.piece(&prompt[range], Role::Dim)]);
    }
    let answer = exchange.answer.as_str();
    for range in wrap(answer, cells.saturating_sub(2), 2) {
        lines.push(vec![pen.piece("  ", Role::Text), pen.piece(&answer[range], Role::Text)]);
    }
    lines.push(vec![pen.piece("  ", Role::Text), stamp(pen, exchange)]);
    lines.push(Vec::new());
    lines
}

fn stamp<'a>(pen: &Pen, exchange: &Exchange) -> (Cow<'a, str>, Style) {
    let state = pen.state;
    let dot = format!(" {} ", pen.glyphs.dot);
    let mut facts: Vec<String> = exchange.step.map(|s| strings::at_step(state.lang, s)).into_iter().collect();
    let mut role = Role::Dim;
    match &exchange.ending {
        None if exchange.step.is_none() => facts.push(state.tr(strings::WAITING).to_owned()),
        None => facts.push(pen.glyphs.pulse[exchange.answer.len() % 4].to_owned()),
        Some(ending) => {
            if ending.tokens > 0 {
                facts.push(format!("{} tok {:.1} s", ending.tokens, ending.seconds));
            }
            if let Some(words) = strings::finish_reason(&ending.reason) {
                facts.push(state.tr(words).to_owned());
            } else {
                facts.push(format!("{} {}", pen.glyphs.cross, ending.reason));
                role = Role::Bad;
            }
        }
    }
    pen.piece(facts.join(&dot), role)
}

/// The field at the panel's foot; returns its rows and the caret, if it has the keys.
fn field(pen: &Pen, area: Rect, buf: &mut Buffer) -> (u16, Option<Caret>) {
    let state = pen.state;
    if !state.typing && state.field.is_empty() {
        return (0, None);
    }
    let left = area.x + 4;
    let cells = area.right().saturating_sub(left + 1) as usize;
    let (rows, (caret_row, caret_column)) = state.field.layout(cells);
    let high = rows.len().min(FIELD).min(area.height as usize);
    // The rows around the caret.
    let first = (caret_row + 1).saturating_sub(high).min(rows.len() - high);
    let top = area.bottom() - high as u16;
    let role = if state.typing { Role::Bright } else { Role::Dim };
    put(
        buf,
        area.x + 2,
        top,
        area.right(),
        pen.glyphs.prompt,
        pen.style(if state.typing { Role::Focus } else { Role::Dim }),
    );
    for (at, row) in rows[first..first + high].iter().enumerate() {
        put(buf, left, top + at as u16, area.right(), row, pen.style(role));
    }
    let x = (left + caret_column as u16).min(area.right().saturating_sub(1));
    let caret = (x, top + (caret_row - first) as u16);
    (high as u16, state.typing.then_some(caret))
}
