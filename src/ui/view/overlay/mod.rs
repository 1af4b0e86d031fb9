//! Overlays: the palette, the help, the config pane, a stage's card, questions, the wait for a save.

mod card;
mod config;
mod help;

use ratatui::{buffer::Buffer, layout::Rect};

use super::pen::{Canvas, Pen};
use crate::ui::{
    actions::{ACTIONS, palette},
    editor::Editor,
    paint::{clear, put, put_right, rule},
    panels,
    state::{Both, Click, Overlay, Question},
    strings,
    text::{Clean, bytes, pad, shorten, width, wrap},
    theme::Role,
};

/// Draws the topmost overlay. An overlay above a field takes its cursor.
pub(super) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let caret = buf.drawn.caret.take();
    match &pen.state.overlay {
        Some(Overlay::Help { scroll }) => help::draw(pen, *scroll, area, buf),
        Some(Overlay::Palette { field, chosen, why }) => palette(pen, field, (*chosen, why.as_ref()), area, buf),
        Some(Overlay::Config(pane)) => config::draw(pen, pane, area, buf),
        Some(Overlay::Card) => card::draw(pen, area, buf),
        Some(Overlay::Ask { question, chosen }) => ask(pen, question, *chosen, area, buf),
        None if pen.state.leaving.is_some() && !pen.state.is_finished() => leaving(pen, area, buf),
        None => buf.drawn.caret = caret,
    }
}

/// Clears a centred area and draws a frame; returns the area inside.
fn popup(pen: &Pen, wide: u16, high: u16, title: &str, area: Rect, buf: &mut Buffer) -> Rect {
    let wide = (wide + 4).min(area.width);
    let high = (high + 2).min(area.height);
    let x = area.x + (area.width - wide) / 2;
    let y = area.y + (area.height - high) / 2;
    let place = Rect { x, y, width: wide, height: high };
    clear(buf, place);
    rule(buf, place, title, &Vec::new(), false, pen.state.theme, pen.glyphs);
    let dim = pen.style(Role::Dim);
    if high > 1 {
        let last = place.bottom() - 1;
        for x in place.left()..place.right() {
            put(buf, x, last, place.right(), pen.glyphs.rule, dim);
        }
        for y in place.top()..place.bottom() {
            let [left, right] = match y {
                _ if y == place.y => [pen.glyphs.corners[0], pen.glyphs.corners[1]],
                _ if y == last => [pen.glyphs.corners[2], pen.glyphs.corners[3]],
                _ => [pen.glyphs.divider; 2],
            };
            put(buf, place.x, y, place.right(), left, dim);
            put(buf, place.right() - 1, y, place.right(), right, dim);
        }
    }
    Rect { x: x + 2, y: y + 1, width: wide.saturating_sub(4), height: high.saturating_sub(2) }
}

fn palette(pen: &Pen, field: &Editor, (chosen, why): (usize, Option<&Both>), area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let found = palette::search(ACTIONS, state, field.text());
    let rows = (area.height.saturating_sub(6)).clamp(1, 14) as usize;
    let wide = area.width.saturating_sub(4).min(56);
    let inner = popup(pen, wide, rows as u16 + 1, state.tr(strings::PALETTE_TITLE), area, buf);
    if inner.width < 4 || inner.height == 0 {
        return;
    }
    let mut x = put(buf, inner.x, inner.y, inner.right(), ": ", pen.style(Role::Focus));
    let (lines, (row, column)) = field.layout((inner.right() - x) as usize);
    x = put(buf, x, inner.y, inner.right(), &lines[row], pen.style(Role::Bright)).min(x + column as u16);
    buf.drawn.caret = Some((x.min(inner.right() - 1), inner.y));
    if found.is_empty() {
        put(buf, inner.x + 2, inner.y + 1, inner.right(), state.tr(strings::PALETTE_NONE), pen.style(Role::Dim));
    }
    if let Some(why) = why {
        let text = why.get(state.lang);
        let lines = wrap(text, inner.width.saturating_sub(4) as usize, 0);
        for (row, line) in lines.into_iter().take(inner.height.saturating_sub(3) as usize).enumerate() {
            put(buf, inner.x + 2, inner.y + 3 + row as u16, inner.right(), &text[line], pen.style(Role::Bad));
        }
    }
    let shown = (inner.height as usize).saturating_sub(1).max(1);
    let first = (chosen + 1).saturating_sub(shown);
    if found.len() > shown {
        let seen = format!("{}-{} / {}", first + 1, (first + shown).min(found.len()), found.len());
        put_right(buf, x + 1, inner.y, inner.right(), &seen, pen.style(Role::Dim));
    }
    for (row, entry) in found.iter().enumerate().skip(first).take(shown) {
        let y = inner.y + 1 + (row - first) as u16;
        if y >= inner.bottom() {
            break;
        }
        let here = row == chosen;
        let mark = if here { pen.glyphs.chosen } else { " " };
        let name = entry.title(state.lang);
        let text = pad(&format!("{mark} {name}"), inner.width as usize);
        put(buf, inner.x, y, inner.right(), &text, pen.style(if here { Role::Chosen } else { Role::Text }));
        buf.drawn.targets.push((Rect { y, height: 1, ..inner }, Click::Row(row)));
        let beside = entry.keys(state.lang).unwrap_or_default();
        if width(&name) + 4 + width(&beside) <= inner.width as usize {
            let dim = if here { Role::Chosen } else { Role::Dim };
            put_right(buf, inner.x, y, inner.right(), &beside, pen.style(dim));
        }
    }
}

fn ask(pen: &Pen, question: &Question, chosen: usize, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let live = state.live();
    let (title, words) = match question {
        Question::Quit if live.unsaved_steps() == 0 => {
            (strings::QUIT_TITLE, vec![(state.tr(strings::QUIT_ALL_SAVED).to_owned(), Role::Dim)])
        }
        Question::Quit if live.feedback.guard.is_some() => {
            let words = vec![(strings::since_save(state.lang, live.unsaved_steps()), Role::Dim)];
            (strings::QUIT_TITLE, [words, wrapped(state.tr(strings::QUIT_GUARDED), area)].concat())
        }
        Question::Quit => {
            (strings::QUIT_TITLE, vec![(strings::since_save(state.lang, live.unsaved_steps()), Role::Dim)])
        }
        Question::Switch(to) => {
            let to = state.stage_word(Some(*to));
            let text = strings::switch(state.lang, live.short(), live.steps_done(), to);
            let guarded = live.feedback.guard.as_ref().map(|_| wrapped(state.tr(strings::QUIT_GUARDED), area));
            let kept = vec![(state.tr(strings::SWITCH_KEPT).to_owned(), Role::Dim)];
            (strings::SWITCH_TITLE, [vec![(text, Role::Text)], guarded.unwrap_or(kept)].concat())
        }
        Question::GoBack(_, checkpoint) => {
            let lines = wrapped(state.tr(strings::GO_BACK_KEPT), area);
            (strings::GO_BACK_TITLE, [vec![(checkpoint.clone(), Role::Bright)], lines].concat())
        }
        Question::Open(run) => {
            let name = run.file_name().unwrap_or(run.as_os_str()).to_string_lossy();
            let kept = state.tr(strings::OPEN_KEPT).to_owned();
            (strings::OPEN_TITLE, vec![(Clean::line(&name).to_string(), Role::Bright), (kept, Role::Dim)])
        }
        Question::Export(panel, _) => {
            let title = panel.and_then(panels::find).map(|spec| state.tr(spec.title).to_owned());
            let kept = if state.is_read_only() { strings::EXPORT_HERE } else { strings::EXPORT_KEPT };
            let kept = state.tr(kept).to_owned();
            (strings::EXPORT_TITLE, title.map(|t| (t, Role::Bright)).into_iter().chain([(kept, Role::Dim)]).collect())
        }
        Question::Remove { name, bytes: size, .. } => {
            let text = strings::remove_what(state.lang, name, &bytes(*size));
            (strings::REMOVE_TITLE, vec![(Clean::line(&text).to_string(), Role::Text)])
        }
    };
    let choices = question.choices();
    let wide = words.iter().map(|w| width(&w.0)).max().unwrap_or(0).max(40) as u16;
    let high = (words.len() + choices.len() + 1) as u16;
    let inner = popup(pen, wide, high, state.tr(title), area, buf);
    let row = |buf: &mut Buffer, row: u16, text: &str, role: Role| {
        if row < inner.height {
            put(buf, inner.x, inner.y + row, inner.right(), text, pen.style(role));
        }
    };
    // The answers are shown even if there is no room for the rest.
    let top = inner.height.saturating_sub(choices.len() as u16);
    for (at, (text, role)) in words.iter().enumerate().take(top as usize) {
        row(buf, at as u16, &shorten(text, inner.width as usize), *role);
    }
    for (at, choice) in choices.iter().enumerate() {
        let here = at == chosen;
        let mark = if here { pen.glyphs.chosen } else { " " };
        let text = pad(&format!("{mark} {}", state.tr(*choice)), inner.width as usize);
        row(buf, top + at as u16, &text, if here { Role::Chosen } else { Role::Text });
        let place = Rect { y: inner.y + top + at as u16, height: 1, ..inner };
        buf.drawn.targets.push((place, Click::Row(at)));
    }
}

/// A text in lines that fit a popup.
fn wrapped(text: &str, area: Rect) -> Vec<(String, Role)> {
    let cells = area.width.saturating_sub(8).clamp(10, 60) as usize;
    wrap(text, cells, 0).into_iter().map(|line| (text[line].trim_end().to_owned(), Role::Dim)).collect()
}

fn leaving(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let save = state.leaving.as_ref().is_some_and(|l| l.save);
    let words = state.tr(if save { strings::LEAVING } else { strings::LEAVING_UNSAVED });
    let high = if area.height < 8 { 1 } else { 3 };
    let inner = popup(pen, 40, high, "", area, buf);
    if inner.height > 0 {
        let text = format!("{} {words}", pen.glyphs.pulse[state.now.as_secs() as usize % 4]);
        put(buf, inner.x, inner.y + high / 2, inner.right(), &text, pen.style(Role::Bright));
    }
}
