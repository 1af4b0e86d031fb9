//! Chat with the live weights: conversations in turns where the stage uses the chat template, plain continuation
//! before. The answer streams in and is marked with stage and step.

use ratatui::layout::Rect;

use super::{
    field,
    pen::{Canvas, Pen},
};
use crate::protocol::Who;
use crate::ui::{
    paint::{Pieces, pieces_width, put_pieces},
    state::{Answer, Exchange, Phase, Request, Target, chat::Edit},
    strings,
    text::{pad, width, wrap},
    theme::Role,
};

/// Most rows of the prompt field.
const FIELD: u16 = 4;
/// Minimum width in cells for two answers side by side.
const BESIDE: usize = 60;
/// Additional cells for each further answer.
const MORE: usize = 12;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let edit = state.chat.edit.as_ref().filter(|e| e.open && matches!(e.target, Target::Answer(_)));
    let mut facts: Pieces = Vec::new();
    if edit.is_some() {
        facts.push(pen.piece(state.tr(strings::EDIT_TITLE), Role::Focus));
    } else {
        let stage = state.live().id;
        let asked = std::iter::once(&Who::Live).chain(state.asked_beside());
        let names: Vec<&str> = asked.map(|who| state.whose(*who, stage)).collect();
        let drawn = state.chat.manner.sampling;
        let sampling = format!("temp {} {} top-k {}", drawn.temperature, pen.glyphs.dot, drawn.top_k);
        if !state.is_read_only() {
            facts.push(pen.piece(sampling, Role::Dim));
        }
        // Without room for both, who answers is what counts.
        if names.len() > 1 {
            facts.push(pen.piece(format!("  {}", names.join(" + ")), Role::Text));
        }
    }
    let inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    if let Some(edit) = edit {
        correcting(pen, edit, inner, buf);
        return;
    }
    let rows = if state.typing || !state.field.is_empty() {
        field::draw(pen, &state.field, pen.glyphs.prompt, state.typing, FIELD, inner, buf)
    } else {
        0
    };
    let body = Rect { height: inner.height - rows, ..inner };
    if state.chat.exchanges.is_empty() {
        let words = match state.live() {
            _ if state.is_read_only() => strings::CHAT_READ_ONLY,
            live if live.is_finished() => strings::CHAT_OVER,
            live if live.talks() => strings::NO_TALK,
            _ => strings::NO_CHAT,
        };
        pen.words(buf, body, state.tr(words));
    } else {
        scrollback(pen, state.chat.exchanges.len(), false, body, buf);
    }
}

/// The first `count` exchanges, built backwards from the newest and only as far as visible; few of them are aligned to
/// the top, or to the bottom.
fn scrollback(pen: &Pen, count: usize, foot: bool, area: Rect, buf: &mut Canvas) {
    let chat = &pen.state.chat;
    let rows = area.height as usize;
    if rows == 0 {
        return;
    }
    let scroll = if pen.focused() { pen.state.scroll } else { 0 };
    let cells = area.width.saturating_sub(3) as usize;
    let mut lines: Vec<Pieces> = Vec::new();
    if chat.fresh && count == chat.exchanges.len() {
        lines.push(separator(pen, cells));
    }
    // The lines of the selected exchange, counted from the newest.
    let mut chosen = None;
    let mut all = true;
    for (at, exchange) in chat.exchanges.iter().enumerate().take(count).rev() {
        let wanted = chat.picked.is_some() && chosen.is_none();
        if lines.len() >= rows + scroll + 16 && !wanted {
            all = false;
            break;
        }
        let from = lines.len();
        let picked = chat.picked == Some(exchange.answer.id);
        // The selected one is shown in full, the others so that their question stays in sight.
        let high = if picked { usize::MAX } else { rows };
        lines.extend(exchange_lines(pen, exchange, (cells, high), picked).into_iter().rev());
        if picked {
            chosen = Some((from, lines.len()));
        }
        if exchange.talk && exchange.first && at > 0 {
            lines.push(separator(pen, cells));
        }
    }
    let most = lines.len().saturating_sub(rows);
    let mut from = pen.scrolled(if all { most } else { most.max(scroll + 16) }, buf).min(most);
    if let Some((low, high)) = chosen {
        from = from.clamp(high.saturating_sub(rows).min(low), low.max(high.saturating_sub(rows))).min(most);
    }
    for (up, line) in lines[from..].iter().take(rows).enumerate() {
        let y = if lines.len() < rows && !foot {
            area.y + (lines.len() - 1 - up) as u16
        } else {
            area.bottom() - 1 - up as u16
        };
        put_pieces(buf, area.x, y, area.right().saturating_sub(1), line);
    }
}

fn separator<'a>(pen: &Pen, cells: usize) -> Pieces<'a> {
    let words = pen.state.tr(strings::NEW_TALK);
    let side = pen.glyphs.rule.repeat(cells.saturating_sub(width(words) + 4).min(24) / 2);
    vec![pen.piece(format!("  {side} {words} {side}"), Role::Dim)]
}

/// A question and its answers within `cells` cells; several answers within `high` rows.
fn exchange_lines<'a>(
    pen: &Pen,
    exchange: &'a Exchange,
    (cells, high): (usize, usize),
    picked: bool,
) -> Vec<Pieces<'a>> {
    let state = pen.state;
    // Turns of a conversation name the speaker; a continued text does not.
    let (asks, answers) = if exchange.talk {
        (state.tr(strings::ROLE_USER).to_owned(), state.tr(strings::ROLE_MODEL).to_owned())
    } else {
        (pen.glyphs.prompt.to_owned(), String::new())
    };
    let indent = width(&asks).max(width(&answers)) + 1;
    let room = cells.saturating_sub(indent + 1);
    let mut lines: Vec<Pieces> = Vec::new();
    let prompt = exchange.prompt.as_str();
    for (at, range) in wrap(prompt, room, 2).into_iter().enumerate() {
        let (mark, role) = if at == 0 { (asks.as_str(), Role::Focus) } else { ("", Role::Text) };
        lines.push(vec![pen.piece(pad(mark, indent), role), pen.piece(&prompt[range], Role::Dim)]);
    }
    let n = 1 + exchange.beside.len();
    // One row is left empty below the answers.
    let left = high.saturating_sub(lines.len() + 1);
    if n == 1 {
        lines.extend(answer_lines(pen, exchange, &exchange.answer, &answers, (indent, room), usize::MAX));
    } else if is_wide(cells, n) {
        lines.extend(columns(pen, exchange, cells, left));
    } else {
        let each = (left / n).max(1);
        for answer in exchange.answers() {
            let label = state.whose(answer.who, exchange.stage);
            let mut rows = vec![vec![pen.piece(label, Role::Bright)]];
            if each > 1 {
                rows.extend(answer_lines(pen, exchange, answer, "", (indent, room), each - 1));
            } else {
                // All in one row.
                let room = room.saturating_sub(width(label) + 1);
                rows[0].extend(answer_lines(pen, exchange, answer, " ", (1, room), 1).swap_remove(0));
            }
            lines.extend(rows);
        }
    }
    for (at, line) in lines.iter_mut().enumerate() {
        let mark = if picked && at == 0 { format!(" {}", pen.glyphs.chosen) } else { "  ".to_owned() };
        line.insert(0, pen.piece(mark, Role::Focus));
    }
    lines.push(Vec::new());
    lines
}

/// Whether there is room for so many answers side by side.
fn is_wide(cells: usize, answers: usize) -> bool {
    cells >= BESIDE + MORE * answers.saturating_sub(2)
}

/// The answers side by side, from the same row on.
fn columns<'a>(pen: &Pen, exchange: &'a Exchange, cells: usize, high: usize) -> Vec<Pieces<'a>> {
    let n = 1 + exchange.beside.len();
    let wide = (cells - 3) / n;
    let mut rows: Vec<Pieces> = Vec::new();
    for (at, answer) in exchange.answers().enumerate() {
        let label = pen.piece(pen.state.whose(answer.who, exchange.stage), Role::Bright);
        let mut column = vec![vec![label]];
        let most = high.saturating_sub(1).max(1);
        column.extend(answer_lines(pen, exchange, answer, "", (0, wide.saturating_sub(2)), most));
        let high = rows.len().max(column.len());
        rows.resize(high, Vec::new());
        column.resize(high, Vec::new());
        for (row, piece) in rows.iter_mut().zip(column) {
            if at > 0 {
                let gap = (at * wide).saturating_sub(pieces_width(row));
                row.push(pen.piece(" ".repeat(gap), Role::Text));
                row.push(pen.piece(format!("{} ", pen.glyphs.divider), Role::Dim));
            }
            row.extend(piece);
        }
    }
    rows
}

/// An answer and the line under it, within `most` rows, at least one: its beginning, if there is not enough room.
fn answer_lines<'a>(
    pen: &Pen,
    exchange: &Exchange,
    answer: &'a Answer,
    label: &str,
    (indent, room): (usize, usize),
    most: usize,
) -> Vec<Pieces<'a>> {
    let text = answer.text.as_str();
    let mut lines: Vec<Pieces> = Vec::new();
    let silent = answer.ending.as_ref().is_some_and(|e| strings::finish_reason(&e.reason).is_some());
    if text.trim().is_empty() && silent {
        lines.push(vec![
            pen.piece(pad(label, indent), Role::Good),
            pen.piece(pen.state.tr(strings::NOTHING_SAID), Role::Dim),
        ]);
    }
    for (at, range) in wrap(text, room, 2).into_iter().enumerate() {
        let mark = if at == 0 { label } else { "" };
        lines.push(vec![pen.piece(pad(mark, indent), Role::Good), pen.piece(&text[range], Role::Text)]);
    }
    let (facts, role) = stamp(pen, exchange, answer);
    let dot = format!(" {} ", pen.glyphs.dot);
    let mut rows: Vec<String> = Vec::new();
    for fact in facts {
        match rows.last_mut() {
            Some(row) if width(row) + width(&dot) + width(&fact) <= room => {
                row.push_str(&dot);
                row.push_str(&fact);
            }
            _ => rows.push(fact),
        }
    }
    let indented = |part: String| vec![pen.piece(" ".repeat(indent), Role::Text), pen.piece(part, role)];
    let parts = rows.iter().flat_map(|row| wrap(row, room, 0).into_iter().map(|part| row[part].to_owned()));
    let mut under: Vec<Pieces> = parts.map(indented).collect();
    if under.len() + 1 > most {
        under.clear();
    }
    let high = most.saturating_sub(under.len()).max(1);
    if lines.len() > high {
        lines.truncate(high);
        lines.last_mut().into_iter().for_each(|last| last.push(pen.piece(pen.glyphs.more, Role::Focus)));
    }
    lines.append(&mut under);
    // Before the first token there is nothing to show in a single row.
    if lines.is_empty() {
        lines.push(Vec::new());
    }
    lines
}

/// The facts under an answer. They include the stage if it is not the live one.
fn stamp(pen: &Pen, exchange: &Exchange, answer: &Answer) -> (Vec<String>, Role) {
    let state = pen.state;
    let is_live = answer.who == Who::Live;
    let other = exchange.stage != state.live().id || exchange.stage.is_some_and(|stage| !stage.speaks());
    let named = exchange.beside.is_empty() && other;
    let whose = if named { format!("{} ", state.whose(Who::Live, exchange.stage)) } else { String::new() };
    let mut facts: Vec<String> = Vec::new();
    facts.extend(answer.step.map(|s| format!("{whose}{}", strings::at_step(state.lang, s))));
    let mut role = Role::Dim;
    match &answer.ending {
        None if answer.text.is_empty() => {
            let words = if state.live().phase == Phase::Running { strings::WAITING } else { strings::WRITING };
            facts.push(state.tr(words).to_owned());
        }
        None => facts.push(pen.glyphs.pulse[answer.text.len() % 4].to_owned()),
        Some(ending) => {
            if let Some(score) = ending.score {
                facts.insert(0, format!("{} {score:+.2}", state.tr(strings::RM)));
            }
            if ending.tokens > 0 {
                facts.push(format!("{} tok {:.1} s", ending.tokens, ending.seconds));
            }
            match (strings::finish_reason(&ending.reason), exchange.corrected.filter(|_| is_live)) {
                (_, Some(step)) => {
                    facts.push(format!("{} {}", pen.glyphs.tick, strings::corrected(state.lang, step)));
                    role = Role::Good;
                }
                (Some(words), None) => facts.push(state.tr(words).to_owned()),
                (None, None) => {
                    facts.push(format!("{} {}", pen.glyphs.cross, strings::trainer(state.lang, &ending.reason)));
                    role = Role::Bad;
                }
            }
        }
    }
    if !answer.left_out.is_nothing() {
        facts.push(strings::left_out(state.lang, answer.left_out));
    }
    let sent = |w: &Request| matches!(w, Request::Demonstrate(Target::Answer(id), _) if *id == answer.id);
    if state.requests.iter().any(sent) {
        facts.push(state.tr(strings::SENT).to_owned());
        role = Role::Focus;
    }
    (facts, role)
}

/// The conversation up to the question, and the field for the answer.
fn correcting(pen: &Pen, edit: &Edit, area: Rect, buf: &mut Canvas) {
    let chat = &pen.state.chat;
    let most = area.height.saturating_sub(3).max(1);
    let label = pen.state.tr(strings::ROLE_MODEL);
    let rows = field::draw(pen, &edit.field, label, true, most, area, buf);
    let mut above = Rect { height: area.height - rows, ..area };
    let Target::Answer(id) = edit.target else { return };
    let Some(at) = chat.find(id).filter(|_| above.height > 0) else { return };
    let prompt = chat.exchanges[at].prompt.as_str();
    let label = pen.state.tr(strings::ROLE_USER);
    let lines = wrap(prompt, area.width.saturating_sub(6) as usize, 2);
    let shown = lines.len().min(above.height as usize);
    // A long question shows its end.
    for (row, line) in lines[lines.len() - shown..].iter().enumerate() {
        let y = above.bottom() - (shown - row) as u16;
        let mark = if row == 0 { label } else { "" };
        let pieces =
            vec![pen.piece(pad(mark, width(label) + 1), Role::Focus), pen.piece(&prompt[line.clone()], Role::Dim)];
        put_pieces(buf, area.x + 2, y, area.right().saturating_sub(1), &pieces);
    }
    above.height -= shown as u16;
    let (from, last) = (chat.exchanges[at].first, at);
    if !from && last > 0 {
        scrollback(pen, last, true, above, buf);
    }
}
