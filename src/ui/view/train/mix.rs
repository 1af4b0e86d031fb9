//! The data: each source's share of the batches and its usage.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, bar, put, put_right},
    state::Request,
    strings::{self, Tr},
    text::{figure, pad, short},
    theme::Role,
    view::pen::{Canvas, Pen, tokens_read},
};

/// Columns from the right: title and width in cells.
const COLUMNS: [(Tr, u16); 4] = [(strings::VALID, 8), (strings::SEEN, 9), (strings::SHARE, 8), (strings::TOKENS, 9)];

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let mut facts: Pieces = Vec::new();
    if let Some(step) = &pen.stage.step {
        let (tokens, epoch) = tokens_read(step);
        facts.push(pen.piece(format!("{tokens} {}", state.tr(strings::TOKENS)), Role::Text));
        facts.push(pen.piece(format!("  {epoch} {}", state.tr(strings::EPOCH)), Role::Text));
    }
    let inner = pen.title(buf, area, &facts);
    let Some(run) = &pen.stage.run else {
        pen.words(buf, inner, pen.nothing(strings::NO_RUN));
        return;
    };
    let uses = pen.stage.step.as_ref().map_or(&[][..], |s| &s.sources);
    let drawn: u64 = uses.iter().map(|u| u.tokens).sum();
    let total: f64 = run.sources.iter().map(|s| s.weight).sum();
    let name = (inner.width / 4).clamp(6, 22);
    let mut y = inner.y;
    // A narrow panel drops the widest columns first.
    let columns = if inner.width >= 64 {
        4
    } else if inner.width >= 50 {
        3
    } else {
        2
    };
    if inner.height > run.sources.len() as u16 {
        let dim = pen.style(Role::Dim);
        put(buf, inner.x + 2, y, inner.right(), state.tr(strings::SOURCE), dim);
        put(buf, inner.x + 2 + name + 1, y, inner.right(), state.tr(strings::WEIGHT), dim);
        let mut end = inner.right().saturating_sub(2);
        for (title, wide) in &COLUMNS[4 - columns..] {
            put_right(buf, end.saturating_sub(*wide), y, end, state.tr(*title), dim);
            end = end.saturating_sub(*wide);
        }
        y += 1;
    }
    let rows = inner.bottom().saturating_sub(y).max(1) as usize;
    let focused = pen.focused();
    let chosen = run.info.sources.iter().position(|s| s.name == state.data.chosen).unwrap_or(0);
    let first = if focused { (chosen + 1).saturating_sub(rows) } else { 0 };
    for (at, source) in run.sources.iter().enumerate().skip(first) {
        if y >= inner.bottom() {
            break;
        }
        if focused && at == chosen {
            put(buf, inner.x + 1, y, inner.right(), pen.glyphs.chosen, pen.style(Role::Focus));
        }
        put(buf, inner.x + 2, y, inner.right(), &pad(&source.name, name as usize), pen.style(Role::Text));
        let mut end = inner.right().saturating_sub(2);
        let used = uses.get(at);
        for (title, wide) in &COLUMNS[4 - columns..] {
            let none = || "-".to_owned();
            let text = match *title {
                strings::VALID => source.valid.last().map_or_else(none, |l| figure(l.1)),
                strings::SEEN => used.map_or_else(none, |u| format!("{:.2}", u.epoch)),
                strings::SHARE => match used {
                    Some(u) if drawn > 0 => format!("{:.0}%", 100.0 * u.tokens as f64 / drawn as f64),
                    _ => none(),
                },
                _ if total.is_nan() => none(),
                _ => short(source.tokens as f64),
            };
            put_right(buf, end.saturating_sub(*wide), y, end, &text, pen.style(Role::Text));
            end = end.saturating_sub(*wide);
        }
        let x = inner.x + 2 + name + 1;
        let weight = if total > 0.0 { source.weight / total } else { 0.0 };
        let number = if total.is_nan() { "  -".to_owned() } else { format!("{:>3.0}%", 100.0 * weight) };
        let cells = end.saturating_sub(x + 6).min(40);
        bar(buf, x, y, cells, weight, (pen.style(Role::Train), pen.style(Role::Dim)), pen.glyphs);
        // A requested weight is not in effect yet.
        let asked = state.awaits(&Request::Weigh(run.info.sources[at].name.clone()));
        let number = if asked { format!("{number}?") } else { number };
        let role = if asked { Role::Focus } else { Role::Bright };
        put(buf, x + cells + 1, y, inner.right(), &number, pen.style(role));
        y += 1;
    }
}
