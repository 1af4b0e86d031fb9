//! The probe: a fixed prompt, its newest completion, and earlier completions below as a time-lapse; for probes of tasks
//! a list of their newest completions, until the panel is expanded. Correct characters are coloured, bold and
//! underlined, so that colour is not needed to see them.

use std::ops::Range;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::ui::{
    paint::{Pieces, bar, put, put_pieces, put_right},
    state::{Phase, Probe, ProbeEntry},
    strings,
    text::{fit, grouped, shorten, width, wrap},
    theme::Role,
    view::pen::{Canvas, Pen, below, parts},
};

/// Most rows of an earlier completion.
const HIGH: usize = 2;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let probe = stage.probes.get(stage.probe);
    let newest = probe.and_then(|p| stage.completion(p));
    let mut facts: Pieces = Vec::new();
    if let Some(task) = probe.filter(|_| state.expanded).and_then(|p| p.task(state.lang)) {
        facts.push(pen.piece(format!("{}  ", pen.glyphs.arrows(task)), Role::Bright));
    }
    if stage.probes.len() > 1 {
        facts.push(pen.piece(format!("{}/{}  ", stage.probe + 1, stage.probes.len()), Role::Dim));
    }
    if let Some(probe) = probe.filter(|p| !p.entries.is_empty()) {
        let words = if probe.recall { strings::RECALL } else { strings::UNSEEN };
        facts.push(pen.piece(format!("{}  ", state.tr(words)), Role::Kept));
    }
    if let Some(film) = state.film {
        let mark = if film.running { pen.glyphs.pulse[0] } else { pen.glyphs.empty };
        facts.push(pen.piece(format!("{mark} {}  ", state.tr(strings::FILM)), Role::Focus));
    }
    if stage.probing {
        let words = if stage.phase == Phase::Running { strings::WAITING } else { strings::WRITING };
        facts.push(pen.piece(format!("{}  ", state.tr(words)), Role::Focus));
    }
    if let (Some(probe), Some(entry)) = (probe, newest) {
        facts.push(pen.piece(strings::at_step(state.lang, entry.step), Role::Dim));
        if let Some((more, fewer)) = entry.astray {
            facts.push(pen.piece(format!("  {}", strings::astray(state.lang, more, fewer)), Role::Valid));
        }
        let all = entry.score == probe.length;
        if probe.came_true(entry) {
            facts.push(pen.piece("  ", Role::Text));
            facts.push(pen.piece(format!(" {} ", state.tr(strings::CAME_TRUE)), Role::Chosen));
        }
        let mark = if all { format!("{} ", pen.glyphs.tick) } else { String::new() };
        let score = format!("  {mark}{}/{}", entry.score, probe.length);
        facts.push(pen.piece(score, if all { Role::Good } else { Role::Bright }));
    }
    let inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    let (Some(probe), Some(entry)) = (probe, newest) else {
        let words = if stage.is_finished() { strings::NO_PROBE_CAME } else { strings::NO_PROBE };
        pen.words(buf, inner, pen.nothing(words));
        return;
    };
    if stage.is_tuning() && !state.expanded {
        list(pen, inner, buf);
        return;
    }
    let mut rest = below(inner, newest_lines(pen, probe, entry, inner, buf));
    if rest.height > 0 {
        let share = entry.score as f64 / probe.length.max(1) as f64;
        let styles = (pen.style(Role::Good), pen.style(Role::Dim));
        bar(buf, rest.x + 2, rest.y, rest.width.saturating_sub(4), share, styles, pen.glyphs);
        rest = below(rest, 2);
        history(pen, probe, entry, rest, buf);
    }
}

/// Prompt, completion and reference of each probe, scrolled so that the selected one is visible.
fn list(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let (state, stage) = (pen.state, pen.stage);
    let height = area.height as usize;
    // With enough room the reference is below each.
    let high = if 3 * stage.probes.len() <= height || height == 3 { 3 } else { 2.min(height) };
    let first = (stage.probe + 1).saturating_sub((height / high).max(1));
    let end = area.right().saturating_sub(2);
    let mut y = area.y;
    for (at, probe) in stage.probes.iter().enumerate().skip(first) {
        let Some(entry) = stage.completion(probe) else { continue };
        if y + high.min(2) as u16 > area.bottom() {
            break;
        }
        let chosen = at == stage.probe && stage.probes.len() > 1;
        let mark = if chosen { pen.glyphs.chosen } else { " " };
        put(buf, area.x + 1, y, end, mark, pen.style(Role::Focus));
        let all = entry.score == probe.length;
        let tick = if all { format!("{} ", pen.glyphs.tick) } else { String::new() };
        let score = format!("{tick}{}/{}", entry.score, probe.length);
        let role = if all { Role::Good } else { Role::Dim };
        let edge = put_right(buf, area.x + 2, y, end, &score, pen.style(role)).saturating_sub(1);
        let mut x = area.x + 2;
        if let Some(task) = probe.task(state.lang) {
            x = put(buf, x, y, edge, &format!("{} ", pen.glyphs.arrows(task)), pen.style(Role::Bright));
        }
        put(buf, x, y, edge, &shorten(&probe.prompt, edge.saturating_sub(x) as usize), pen.style(Role::Dim));
        if high > 1 {
            let cells = end.saturating_sub(area.x + 4) as usize;
            put_pieces(buf, area.x + 4, y + 1, end, &said(pen, entry, 0..fit(&entry.text, cells).len()));
            if width(&entry.text) > cells {
                put(buf, end.saturating_sub(1), y + 1, end, pen.glyphs.more, pen.style(Role::Dim));
            }
        }
        if high > 2 && y + 2 < area.bottom() {
            let wanted = format!("{} {}", state.tr(strings::WANTED), probe.expected);
            let wanted = shorten(&wanted, end.saturating_sub(area.x + 4) as usize);
            put(buf, area.x + 4, y + 2, end, &wanted, pen.style(Role::Dim));
        }
        y += high as u16;
    }
}

/// A line of a completion; an empty one is named.
fn said<'a>(pen: &Pen, entry: &'a ProbeEntry, line: Range<usize>) -> Pieces<'a> {
    if entry.text.trim().is_empty() {
        return vec![pen.piece(pen.state.tr(strings::NOTHING_SAID), Role::Dim)];
    }
    let piece = |(part, right): (Range<usize>, bool)| {
        let style = if right { right_style(pen) } else { pen.style(Role::Text) };
        (entry.text[part].into(), style)
    };
    parts(line, &entry.right).into_iter().map(piece).collect()
}

fn right_style(pen: &Pen) -> Style {
    pen.style(Role::Good).add_modifier(Modifier::UNDERLINED)
}

/// Draws the prompt and the newest completion, wrapped; returns the number of rows.
fn newest_lines(pen: &Pen, probe: &Probe, entry: &ProbeEntry, area: Rect, buf: &mut Buffer) -> u16 {
    if let Some(rows) = verses(pen, probe, entry, area, buf) {
        return rows;
    }
    let cells = area.width.saturating_sub(5) as usize;
    let most = if area.height > 8 { area.height / 2 } else { area.height } as usize;
    let prompt = probe.prompt.as_str();
    let dim = |line: Range<usize>| -> Pieces { vec![pen.piece(&prompt[line], Role::Dim)] };
    let mut lines: Vec<Pieces> = wrap(prompt, cells, 2).into_iter().map(dim).collect();
    let answer = |cells: usize| match wrap(&entry.text, cells, 2) {
        lines if entry.text.trim().is_empty() => lines.into_iter().take(0).chain(std::iter::once(0..0)).collect(),
        lines => lines,
    };
    // With enough room the prompt has a separate row; otherwise the completion follows it.
    let before = width(prompt);
    if area.height < 5 && lines.len() == 1 && before + 2 < cells {
        let whole = answer(cells - before);
        lines[0].extend(said(pen, entry, whole[0].clone()));
        lines.extend(whole.into_iter().skip(1).map(|line| said(pen, entry, line)));
    } else {
        lines.extend(answer(cells).into_iter().map(|line| said(pen, entry, line)));
    }
    let shown = lines.len().min(most);
    for (row, line) in lines.iter().take(shown).enumerate() {
        put_pieces(buf, area.x + 2, area.y + row as u16, area.right().saturating_sub(1), line);
    }
    shown as u16
}

/// Marks at which a line of verse ends.
const ENDS: &str = "，。！？；,.!?;";

/// A completion line by line, as a poem is written, each beside the probability of the line that it should be. None
/// without probabilities or room; else the number of rows.
fn verses(pen: &Pen, probe: &Probe, entry: &ProbeEntry, area: Rect, buf: &mut Buffer) -> Option<u16> {
    let text = entry.text.as_str();
    let mut lines = split(text, |_, c| ENDS.contains(c));
    if lines.len() != entry.lines.len() {
        // Not verse yet: as many characters as the lines should have.
        let mut ends = Vec::new();
        for (line, _) in &entry.lines {
            ends.push(ends.last().copied().unwrap_or(0) + line.chars().count());
        }
        ends.pop();
        lines = split(text, |count, _| ends.contains(&count));
    }
    let rows = lines.len().max(entry.lines.len()) + 1;
    let cells = area.width.saturating_sub(5) as usize;
    let chance = 7;
    let widest = lines.iter().map(|line| width(&text[line.clone()])).max().unwrap_or(0).max(width(&probe.prompt));
    // A bar and the history keep two rows.
    if entry.lines.is_empty() || rows + 2 > area.height as usize || widest + chance > cells {
        return None;
    }
    let end = area.right().saturating_sub(1);
    put(buf, area.x + 2, area.y, end, &probe.prompt, pen.style(Role::Dim));
    let dim = pen.style(Role::Dim);
    if width(&probe.prompt) + width(pen.state.tr(strings::LINE_CHANCE)) + 2 <= cells {
        put_right(buf, area.x, area.y, end, pen.state.tr(strings::LINE_CHANCE), dim);
    }
    for row in 0..rows - 1 {
        let y = area.y + 1 + row as u16;
        if let Some(line) = lines.get(row) {
            put_pieces(buf, area.x + 2, y, end, &said(pen, entry, line.clone()));
        }
        if let Some((_, probability)) = entry.lines.get(row) {
            let style = pen.style(if *probability >= 0.5 { Role::Good } else { Role::Dim });
            put_right(buf, area.x, y, end, &percent(*probability), style);
        }
    }
    Some(rows as u16)
}

/// Parts of a text, each ending with a character that `ends` it, given how many there are so far.
fn split(text: &str, ends: impl Fn(usize, char) -> bool) -> Vec<Range<usize>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for (count, (at, c)) in text.char_indices().enumerate() {
        if ends(count + 1, c) {
            parts.push(from..at + c.len_utf8());
            from = at + c.len_utf8();
        }
    }
    if from < text.len() || parts.is_empty() {
        parts.push(from..text.len());
    }
    parts
}

/// A probability with the digits that tell small ones apart.
fn percent(probability: f64) -> String {
    match 100.0 * probability {
        p if !p.is_finite() => "-".to_owned(),
        p if p >= 99.95 => "100%".to_owned(),
        p if p >= 10.0 => format!("{p:.0}%"),
        p if p >= 0.1 => format!("{p:.1}%"),
        _ => "<0.1%".to_owned(),
    }
}

/// Earlier completions, oldest first, thinned by a power of two so that rows do not jump.
fn history(pen: &Pen, probe: &Probe, now: &ProbeEntry, area: Rect, buf: &mut Canvas) {
    let earlier = &probe.entries[..probe.entries.iter().take_while(|e| e.step < now.step).count()];
    let end = area.right().saturating_sub(1);
    let score = |entry: &ProbeEntry| format!("{}/{}", entry.score, probe.length);
    let room = score(&ProbeEntry { score: probe.length, ..earlier.last().cloned().unwrap_or_default() }).len();
    let cells = (end as usize).saturating_sub(area.x as usize + 10 + room + 1).max(2);
    // A completion that does not fit takes the rows it needs, so that its end is seen.
    let lines = |entry: &ProbeEntry| wrap(&entry.text, cells, 2);
    let high = earlier.iter().map(|e| lines(e).len().clamp(1, HIGH)).max().unwrap_or(1);
    let rows = area.height as usize / high;
    if rows == 0 {
        return;
    }
    let mut stride = 1;
    while earlier.len().div_ceil(stride) > rows {
        stride *= 2;
    }
    let back = pen.scrolled(earlier.len().saturating_sub(rows), buf);
    let shown: Vec<&ProbeEntry> = if back > 0 {
        let end = earlier.len() - back;
        earlier[end.saturating_sub(rows)..end].iter().collect()
    } else {
        earlier.iter().step_by(stride).collect()
    };
    for (row, entry) in shown.into_iter().enumerate() {
        let y = area.y + (row * high) as u16;
        put_right(buf, area.x, y, area.x + 8, &grouped(entry.step as u64), pen.style(Role::Dim));
        put_right(buf, area.x + 8, y, end, &score(entry), pen.style(Role::Dim));
        let mut lines = lines(entry);
        if lines.is_empty() || entry.text.trim().is_empty() {
            lines = std::iter::once(0..0).collect();
        }
        let cut = lines.len() > high;
        for (at, line) in lines.into_iter().take(high).enumerate() {
            let edge = if at == 0 { end.saturating_sub(room as u16) } else { end };
            let x = put_pieces(buf, area.x + 10, y + at as u16, edge, &said(pen, entry, line));
            if cut && at + 1 == high {
                put(buf, x.min(end.saturating_sub(1)), y + at as u16, end, pen.glyphs.more, pen.style(Role::Dim));
            }
        }
    }
}
