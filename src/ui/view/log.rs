//! The log, newest last.

use ratatui::layout::Rect;

use super::{
    field::finding,
    pen::{Canvas, Pen},
};
use crate::ui::{
    paint::{Pieces, put, put_pieces},
    state::{Level, LogLine, Panel},
    strings,
    text::{date, pad, wrap},
    theme::Role,
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let mut facts: Pieces = Vec::new();
    let kept = state.log_keeper();
    if !state.log.is_empty() {
        if state.found_in(Panel::LOG).is_some() {
            let count = state.log.iter().filter(|line| kept(line)).count();
            facts.push(pen.piece(format!("{count} / "), Role::Bright));
        }
        facts.push(pen.piece(state.log.len().to_string(), Role::Dim));
    }
    let inner = pen.title(buf, area, &facts);
    let inner = finding(pen, Panel::LOG, inner, buf);
    if inner.height == 0 {
        return;
    }
    if state.log.is_empty() {
        put(buf, inner.x + 2, inner.y, inner.right(), state.tr(strings::NO_LOG), pen.style(Role::Dim));
        return;
    }
    let rows = inner.height as usize;
    let chosen = state.log_chosen.filter(|_| pen.focused() || state.film.is_some());
    let scroll = if pen.focused() { state.scroll } else { 0 };
    let mut lines: Vec<Pieces> = Vec::new();
    // The rows of the chosen line, from the newest.
    let mut held: Option<(usize, usize)> = None;
    let mut all = true;
    let day = |line: &LogLine| line.at.map(|at| date(state.clock.local(at)));
    let mut after = Some(date(state.clock.local(state.time())));
    for (number, line) in (0..state.logged).rev().zip(state.log.iter().rev()).filter(|(_, line)| kept(line)) {
        let enough = match (chosen, held) {
            (None, _) => rows + scroll + 16,
            (Some(_), None) => usize::MAX,
            (Some(_), Some((_, last))) => last + rows,
        };
        if lines.len() >= enough {
            all = false;
            break;
        }
        // A day has its date above its lines, unless it is today.
        let of = day(line);
        if of != after
            && let Some(later) = after.filter(|_| !lines.is_empty())
        {
            lines.push(vec![pen.piece(format!(" {later}"), Role::Dim)]);
        }
        after = of;
        let here = chosen == Some(number);
        let from = lines.len();
        lines.extend(entry(pen, line, here, inner.width as usize).into_iter().rev());
        if here {
            held = Some((from, lines.len()));
        }
    }
    if lines.is_empty() {
        put(buf, inner.x + 2, inner.y, inner.right(), state.tr(strings::FIND_NONE), pen.style(Role::Dim));
        return;
    }
    if all && let Some(first) = after.filter(|first| *first != date(state.clock.local(state.time()))) {
        lines.push(vec![pen.piece(format!(" {first}"), Role::Dim)]);
    }
    let most = lines.len().saturating_sub(rows);
    let mut from = pen.scrolled(if all { most } else { most.max(scroll + 16) }, buf).min(most);
    if let Some((first, last)) = held {
        // In the middle, where the lines around it can be seen.
        from = (usize::midpoint(first, last).saturating_sub(rows / 2)).min(most);
    }
    let shown = (lines.len() - from).min(rows);
    for (up, line) in lines[from..].iter().take(rows).enumerate() {
        put_pieces(buf, inner.x + 1, inner.y + (shown - 1 - up) as u16, inner.right().saturating_sub(1), line);
    }
}

fn entry<'a>(pen: &Pen, line: &'a LogLine, chosen: bool, width: usize) -> Vec<Pieces<'a>> {
    let role = match line.level {
        Level::Save | Level::Recall => Role::Good,
        Level::Note | Level::State => Role::Text,
        Level::Edit => Role::Focus,
        Level::Alert => Role::Bad,
    };
    let [time, tag, _] = line.row(pen.state.clock, pen.state.lang);
    let text = line.text.get(pen.state.lang);
    let head = 18;
    let mut lines: Vec<Pieces> = Vec::new();
    for (at, range) in wrap(text, width.saturating_sub(head + 3).max(8), 2).into_iter().enumerate() {
        let mut pieces: Pieces = if at == 0 {
            let tag = pad(&tag, 6);
            let mark = if chosen { pen.glyphs.chosen } else { " " };
            let time = pen.piece(format!("{time:<8}  "), if chosen { Role::Bright } else { Role::Dim });
            vec![pen.piece(mark, Role::Focus), time, pen.piece(format!("{tag} "), role)]
        } else {
            vec![pen.piece(" ".repeat(head), Role::Text)]
        };
        pieces.push(pen.piece(&text[range], if line.level == Level::Alert { Role::Bad } else { Role::Text }));
        lines.push(pieces);
    }
    lines
}
