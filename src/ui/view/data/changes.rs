//! Changes during training, and edits that could not be used; newest first.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, put_pieces},
    state::Change,
    strings,
    text::wrap,
    theme::Role,
    view::pen::{Canvas, Pen},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let changes = &pen.stage.changes;
    let mut facts: Pieces = Vec::new();
    if !changes.is_empty() {
        facts.push(pen.piece(changes.len().to_string(), Role::Dim));
    }
    let inner = pen.title(buf, area, &facts);
    if changes.is_empty() {
        pen.words(buf, inner, state.tr(strings::NO_CHANGES));
        return;
    }
    let cells = inner.width.saturating_sub(3) as usize;
    let scroll = if pen.focused() { state.scroll } else { 0 };
    let rows = inner.height as usize;
    let mut lines: Vec<Pieces> = Vec::new();
    let mut all = true;
    for change in changes.iter().rev() {
        if lines.len() > scroll + 2 * rows {
            all = false;
            break;
        }
        lines.extend(entry(pen, change, cells));
    }
    let most = lines.len().saturating_sub(rows);
    let from = pen.scrolled(if all { most } else { most.max(scroll + rows) }, buf).min(most);
    for (at, line) in lines.iter().skip(from).take(rows).enumerate() {
        put_pieces(buf, inner.x + 2, inner.y + at as u16, inner.right().saturating_sub(1), line);
    }
}

/// Time, cause and first step; below it the change.
fn entry<'a>(pen: &Pen, change: &'a Change, cells: usize) -> Vec<Pieces<'a>> {
    let state = pen.state;
    let mut head: Pieces = vec![pen.piece(format!("{}  ", state.stamp(change.at)), Role::Dim)];
    if let Some(cause) = change.cause {
        head.push(pen.piece(format!("{} ", strings::letter(cause)), Role::Focus));
        head.push(pen.piece(format!("{}  ", state.tr(strings::cause(cause))), Role::Text));
        head.push(pen.piece(strings::from_step(state.lang, change.step), Role::Text));
    } else {
        head.push(pen.piece(format!("{} {}", pen.glyphs.cross, state.tr(strings::BROKEN)), Role::Bad));
    }
    if let Some(seconds) = change.seconds.filter(|s| s.is_finite()) {
        head.push(pen.piece(format!("  {seconds:.1} s"), Role::Dim));
    }
    if change.replayed {
        head.push(pen.piece(format!("  {}", state.tr(strings::REPLAYED)), Role::Valid));
    }
    let role = if change.cause.is_some() { Role::Bright } else { Role::Bad };
    let mut lines = vec![head];
    let text = change.text.get(state.lang);
    for line in wrap(text, cells.saturating_sub(2), 0) {
        lines.push(vec![pen.piece("  ", Role::Text), pen.piece(&text[line], role)]);
    }
    lines
}
