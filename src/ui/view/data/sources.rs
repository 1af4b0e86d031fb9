//! The sources: weights, usage, state, and the loss on each.

use ratatui::layout::Rect;

use super::figures::first;
use crate::protocol::SourceUse;
use crate::ui::{
    paint::{Pieces, bar, put, put_right},
    state::{Request, Source, data},
    strings::{self, Tr},
    text::{Clean, grouped, pad, short, shorten, wrap},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

/// Columns from the right: title and width in cells.
const COLUMNS: [(Tr, u16); 4] = [(strings::STATE, 11), (strings::SEEN, 7), (strings::SHARE, 6), (strings::TOKENS, 7)];
/// How long a change is shown, in seconds.
const RECENT: u64 = 24 * 3600;

/// A source of the run with its data.
struct Row<'a> {
    raw: &'a str,
    name: &'a str,
    weight: f64,
    tokens: usize,
    used: Option<SourceUse>,
    run: Option<&'a Source>,
    data: Option<&'a data::Source>,
}

/// The run's sources with their data; before the data have arrived, the run's only.
fn rows<'a>(pen: &Pen<'a>) -> Vec<Row<'a>> {
    let data = &pen.state.data;
    let run = pen.stage.run.as_ref();
    let known = |raw: &str| {
        let run = run?;
        let at = run.info.sources.iter().position(|s| s.name == raw)?;
        let used = pen.stage.step.as_ref().and_then(|s| s.sources.get(at)).copied();
        Some((run.sources.get(at)?, used))
    };
    if data.sources.is_empty() {
        let all = run.map_or(&[][..], |r| &r.info.sources);
        let row = |s: &'a crate::protocol::SourceInfo| {
            let (source, used) = known(&s.name)?;
            let (raw, name) = (s.name.as_str(), source.name.as_str());
            Some(Row { raw, name, weight: source.weight, tokens: s.tokens, used, run: Some(source), data: None })
        };
        return all.iter().filter_map(row).collect();
    }
    let row = |source: &'a data::Source| {
        let (run, used) = known(&source.raw.name).map_or((None, None), |(run, used)| (Some(run), used));
        let (raw, name) = (source.raw.name.as_str(), source.name.as_str());
        Row { raw, name, weight: source.raw.weight, tokens: source.raw.tokens, used, run, data: Some(source) }
    };
    data.sources.iter().map(row).collect()
}

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let data = &state.data;
    let mut facts: Pieces = Vec::new();
    if state.awaits(&Request::Data) {
        facts.push(pen.piece(state.tr(strings::NO_DATA), Role::Dim));
    } else if is_watched(pen) {
        facts.push(pen.piece(format!("{} {}", state.tr(strings::WATCHED_BY), data.watching), Role::Good));
    } else if !data.watching.is_empty() {
        let why = shorten(&data.watching, area.width as usize / 2);
        facts.push(pen.piece(format!("{}: {why}", state.tr(strings::NO_WATCH)), Role::Valid));
    }
    let mut inner = pen.title(buf, area, &facts);
    let rows = rows(pen);
    if rows.is_empty() {
        let words =
            data.refused.as_ref().map_or_else(|| pen.nothing(strings::NO_RUN), |r| r.get(pen.state.lang).as_str());
        pen.words(buf, inner, words);
        return;
    }
    let drawn: u64 = rows.iter().filter_map(|r| r.used).map(|u| u.tokens).sum();
    let total: f64 = rows.iter().map(|r| r.weight).sum();
    let name = (inner.width / 4).clamp(8, 24);
    let columns = if inner.width >= 56 { 4 } else { 2 };
    let dim = pen.style(Role::Dim);
    let x = inner.x + 2 + name + 1;
    let right = inner.right().saturating_sub(1);
    if inner.height as usize > rows.len() {
        put(buf, inner.x + 2, inner.y, inner.right(), state.tr(strings::SOURCE), dim);
        put(buf, x, inner.y, inner.right(), state.tr(strings::WEIGHT), dim);
        let mut end = right;
        for (title, wide) in &COLUMNS[..columns] {
            put_right(buf, end.saturating_sub(*wide), inner.y, end, state.tr(*title), dim);
            end = end.saturating_sub(*wide);
        }
        inner = below(inner, 1);
    }
    // Details of the selected one, if there is room.
    let chosen = rows.iter().position(|r| r.raw == data.chosen).unwrap_or(0);
    let (foot, role) = about(pen, &rows[chosen]);
    let lines = wrap(&foot, inner.width.saturating_sub(4) as usize, 0);
    let spare = (inner.height as usize).saturating_sub(rows.len()).min(lines.len());
    inner.height -= spare as u16;
    // Below the list, after an empty row if there is room.
    let gap = u16::from(inner.height as usize > rows.len());
    let foot_at = inner.y + inner.height.min(rows.len() as u16) + gap;
    for (row, line) in lines.iter().take(spare).enumerate() {
        put(buf, inner.x + 2, foot_at + row as u16, right, &foot[line.clone()], pen.style(role));
    }
    let from = first(chosen, inner.height as usize);
    for (at, row) in rows.iter().enumerate().skip(from).take(inner.height as usize) {
        let y = inner.y + (at - from) as u16;
        if at == chosen {
            put(buf, inner.x + 1, y, inner.right(), pen.glyphs.chosen, pen.style(Role::Focus));
        }
        let role = if at == chosen { Role::Bright } else { Role::Text };
        put(buf, inner.x + 2, y, inner.right(), &pad(row.name, name as usize), pen.style(role));
        let mut end = right;
        for (title, wide) in &COLUMNS[..columns] {
            let none = || "-".to_owned();
            let (text, role) = match *title {
                strings::STATE => how(pen, row),
                strings::SEEN => (row.used.map_or_else(none, |u| format!("{:.2}", u.epoch)), Role::Text),
                strings::SHARE => match row.used {
                    Some(u) if drawn > 0 => (format!("{:.0}%", 100.0 * u.tokens as f64 / drawn as f64), Role::Text),
                    _ => (none(), Role::Text),
                },
                _ if total.is_nan() => (none(), Role::Text),
                _ => (short(row.tokens as f64), Role::Text),
            };
            put_right(buf, end.saturating_sub(*wide - 1), y, end, &text, pen.style(role));
            end = end.saturating_sub(*wide);
        }
        let weight = if total > 0.0 { row.weight / total } else { 0.0 };
        let cells = end.saturating_sub(x + 6).min(40);
        bar(buf, x, y, cells, weight, (pen.style(Role::Train), dim), pen.glyphs);
        let number = if total.is_nan() { "  -".to_owned() } else { format!("{:>3.0}%", 100.0 * weight) };
        put(buf, x + cells + 1, y, inner.right(), &number, pen.style(Role::Bright));
    }
}

/// Whether files are watched, by notifications or polling.
fn is_watched(pen: &Pen) -> bool {
    matches!(pen.state.data.watching.as_str(), "notify" | "poll")
}

/// The state of a source, in a few cells.
fn how(pen: &Pen, row: &Row) -> (String, Role) {
    let state = pen.state;
    if state.awaits(&Request::Weigh(row.raw.to_owned())) {
        return (state.tr(strings::REQUESTED).to_owned(), Role::Focus);
    }
    if let Some(broken) = row.data.and_then(|t| t.broken.as_ref()) {
        return (format!("{} {broken}", pen.glyphs.cross), Role::Bad);
    }
    let since = row.run.and_then(|r| r.edited).map(|at| state.now.saturating_sub(at).as_secs());
    if let Some(seconds) = since.filter(|s| *s < RECENT) {
        return (strings::edited_ago(state.lang, seconds), Role::Bright);
    }
    let watched = row.data.is_some_and(|t| !t.path.is_empty()) && is_watched(pen);
    (state.tr(if watched { strings::STATE_WATCHED } else { strings::STATE_OK }).to_owned(), Role::Good)
}

/// Details of a source in one or two lines.
fn about(pen: &Pen, row: &Row) -> (String, Role) {
    let state = pen.state;
    let Some(source) = row.data else {
        return (state.data.refused.as_ref().map_or("", |r| r.get(pen.state.lang).as_str()).to_owned(), Role::Dim);
    };
    if let Some(broken) = &source.broken {
        return (format!("{} {broken}", pen.glyphs.cross), Role::Bad);
    }
    let path = if source.path.is_empty() { state.tr(strings::BUILT_IN) } else { source.path.as_str() };
    let profile =
        if source.profile.is_empty() { String::new() } else { format!(" {} {}", pen.glyphs.dot, source.profile) };
    let (trained, held) = (grouped(source.raw.documents as u64), grouped(source.raw.held_out_documents as u64));
    let documents = strings::DOCUMENTS.of(source.raw.documents as u64, state.lang);
    let words = [documents, state.tr(strings::HELD_OUT_TOO)];
    let text = format!("{path}{profile} {} {trained} {} + {held} {}", pen.glyphs.dot, words[0], words[1]);
    let lines: Vec<&str> = [text.as_str()].into_iter().chain(state.data.notes.iter().map(Clean::as_str)).collect();
    (lines.join("\n"), Role::Dim)
}
