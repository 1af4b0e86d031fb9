//! The probe: a fixed prompt, its newest completion, and earlier completions below as a time-lapse; for probes of tasks
//! a list of their newest completions, until the panel is expanded. Correct characters are coloured, bold and
//! underlined, so that colour is not needed to see them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::ui::{
    paint::{Pieces, bar, put, put_pieces, put_right},
    state::{Probe, ProbeEntry},
    strings,
    text::{grouped, shorten, wrap},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let probe = stage.probes.get(stage.probe);
    let newest = probe.and_then(|p| p.entries.last());
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
    if stage.probing {
        facts.push(pen.piece(format!("{}  ", state.tr(strings::WAITING)), Role::Focus));
    }
    if let (Some(probe), Some(entry)) = (probe, newest) {
        facts.push(pen.piece(strings::at_step(state.lang, entry.step), Role::Dim));
        let all = entry.matched == probe.length;
        let mark = if all { format!("{} ", pen.glyphs.tick) } else { String::new() };
        let score = format!("  {mark}{}/{}", entry.matched, probe.length);
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
        let share = entry.matched as f64 / probe.length.max(1) as f64;
        let styles = (pen.style(Role::Good), pen.style(Role::Dim));
        bar(buf, rest.x + 2, rest.y, rest.width.saturating_sub(4), share, styles, pen.glyphs);
        rest = below(rest, 2);
        history(pen, probe, rest, buf);
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
        let Some(entry) = probe.entries.last() else { continue };
        if y + high.min(2) as u16 > area.bottom() {
            break;
        }
        let chosen = at == stage.probe && stage.probes.len() > 1;
        let mark = if chosen { pen.glyphs.chosen } else { " " };
        put(buf, area.x + 1, y, end, mark, pen.style(Role::Focus));
        let all = entry.matched == probe.length;
        let tick = if all { format!("{} ", pen.glyphs.tick) } else { String::new() };
        let score = format!("{tick}{}/{}", entry.matched, probe.length);
        let role = if all { Role::Good } else { Role::Dim };
        let edge = put_right(buf, area.x + 2, y, end, &score, pen.style(role)).saturating_sub(1);
        let mut x = area.x + 2;
        if let Some(task) = probe.task(state.lang) {
            x = put(buf, x, y, edge, &format!("{} ", pen.glyphs.arrows(task)), pen.style(Role::Bright));
        }
        put(buf, x, y, edge, &shorten(&probe.prompt, edge.saturating_sub(x) as usize), pen.style(Role::Dim));
        let text = format!("{}{}", entry.right, entry.rest);
        let shown = shorten(&text, end.saturating_sub(area.x + 4) as usize);
        let split = common(&shown, &entry.right);
        if high > 1 {
            let pieces: Pieces =
                vec![((&shown[..split]).into(), right_style(pen)), ((&shown[split..]).into(), pen.style(Role::Text))];
            put_pieces(buf, area.x + 4, y + 1, end, &pieces);
        }
        if high > 2 && y + 2 < area.bottom() {
            let wanted = format!("{} {}", state.tr(strings::WANTED), probe.expected);
            let wanted = shorten(&wanted, end.saturating_sub(area.x + 4) as usize);
            put(buf, area.x + 4, y + 2, end, &wanted, pen.style(Role::Dim));
        }
        y += high as u16;
    }
}

/// Bytes of the common prefix.
fn common(text: &str, other: &str) -> usize {
    let same = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    (0..=same).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

fn right_style(pen: &Pen) -> Style {
    pen.style(Role::Good).add_modifier(Modifier::UNDERLINED)
}

/// Draws the prompt and the newest completion, wrapped; returns the number of rows.
fn newest_lines(pen: &Pen, probe: &Probe, entry: &ProbeEntry, area: Rect, buf: &mut Buffer) -> u16 {
    let text = format!("{}{}{}", probe.prompt, entry.right, entry.rest);
    let marks = [probe.prompt.len(), probe.prompt.len() + entry.right.len()];
    // With enough room the prompt has a separate row.
    let apart = area.height >= 5;
    let mut lines = Vec::new();
    let cells = area.width.saturating_sub(5) as usize;
    if apart {
        lines.extend(wrap(&text[..marks[0]], cells, 2));
        lines.extend(wrap(&text[marks[0]..], cells, 2).into_iter().map(|r| r.start + marks[0]..r.end + marks[0]));
    } else {
        lines.extend(wrap(&text, cells, 2));
    }
    let most = if area.height > 8 { area.height / 2 } else { area.height };
    let styles = [pen.style(Role::Dim), right_style(pen), pen.style(Role::Text)];
    let shown = lines.len().min(most as usize);
    for (row, line) in lines.into_iter().take(shown).enumerate() {
        let mut x = area.x + 2;
        let y = area.y + row as u16;
        for (part, style) in [0..marks[0], marks[0]..marks[1], marks[1]..text.len()].into_iter().zip(styles) {
            let (from, to) = (line.start.max(part.start), line.end.min(part.end));
            if from < to {
                x = put(buf, x, y, area.right().saturating_sub(1), &text[from..to], style);
            }
        }
    }
    shown as u16
}

/// Earlier completions, oldest first, thinned by a power of two so that rows do not jump.
fn history(pen: &Pen, probe: &Probe, area: Rect, buf: &mut Canvas) {
    let earlier = &probe.entries[..probe.entries.len() - 1];
    let rows = area.height as usize;
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
        let y = area.y + row as u16;
        let step = grouped(entry.step as u64);
        put_right(buf, area.x, y, area.x + 8, &step, pen.style(Role::Dim));
        let score = format!("{}/{}", entry.matched, probe.length);
        let end = put_right(buf, area.x + 8, y, area.right().saturating_sub(1), &score, pen.style(Role::Dim));
        let cells = end.saturating_sub(area.x + 10 + 1) as usize;
        let text = shorten(&format!("{}{}", entry.right, entry.rest), cells);
        let split = common(&text, &entry.right);
        let pieces: Pieces =
            vec![((&text[..split]).into(), right_style(pen)), ((&text[split..]).into(), pen.style(Role::Text))];
        put_pieces(buf, area.x + 10, y, end, &pieces);
    }
}
