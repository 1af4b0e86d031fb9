//! Dropped documents: their places, the measured value and the threshold, the text, and for a duplicate the kept
//! document with the differences marked.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    figures::{first, number, rule_name},
    preview,
};
use crate::ui::{
    paint::{Pieces, pieces_width, put, put_right},
    state::data::Dropped,
    strings,
    text::{fit, grouped, shorten, shorten_front, wrap},
    theme::Role,
    view::pen::{Canvas, Pen, below, marked_style, parts, upright},
};

/// Minimum width in cells for a pair side by side.
const BESIDE: u16 = 52;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let data = &state.data;
    let page = data.page.as_ref().filter(|p| p.browse == data.browse);
    let mut facts: Pieces = Vec::new();
    if let Some(chosen) = data.dropped()
        && let Some(text) = &chosen.text
    {
        facts.extend(preview::marked(pen, state, text, None));
    }
    let rule = match &data.browse.rule {
        Some(raw) => {
            let cut = data.together.cuts.iter().find(|c| c.raw == *raw);
            cut.map_or("", |c| rule_name(state, &c.raw, &c.name))
        }
        None => state.tr(strings::ANY_RULE),
    };
    let source = match &data.browse.source {
        Some(raw) => data.sources.iter().find(|s| s.raw.name == *raw).map_or("", |s| s.name.as_str()),
        None => state.tr(strings::ALL_SOURCES),
    };
    facts.push(pen.piece(format!("{}  ", shorten(source, 16)), Role::Dim));
    facts.push(pen.piece(format!("{rule}  "), Role::Text));
    if let Some(page) = page.filter(|p| p.of > 0) {
        let place = format!("{} / {}", grouped(data.at as u64 + 1), grouped(page.of as u64));
        facts.push(pen.piece(place, Role::Bright));
    }
    let inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    let (Some(page), Some(chosen)) = (page, data.dropped()) else {
        let words = match (page, &data.refused) {
            (Some(page), _) if page.of == 0 => state.tr(strings::NONE_DROPPED),
            (None, Some(refused)) => refused.get(state.lang).as_str(),
            _ => state.tr(strings::WAIT_DROPPED),
        };
        pen.words(buf, inner, words);
        return;
    };
    // A third for the list, the rest for the selected one.
    let rows = (inner.height / 3).clamp(1, 8).min(page.items.len() as u16);
    let at = data.at - page.from;
    let from = first(at, rows as usize);
    for (row, item) in page.items.iter().skip(from).take(rows as usize).enumerate() {
        line(pen, item, from + row == at, inner, inner.y + row as u16, buf);
    }
    let rest = below(inner, rows);
    let facts = measured(pen, chosen);
    let room_for_place = (rest.width as usize).saturating_sub(pieces_width(&facts) + 8);
    // For a pair the places are above the texts.
    let place = if chosen.twin.is_some() {
        rule_name(state, &chosen.raw, &chosen.rule).to_owned()
    } else {
        shorten_front(&chosen.place, room_for_place)
    };
    let inner = pen.subtitle(buf, rest, &place, &facts);
    text(pen, chosen, inner, buf);
}

/// A row of the list: the measured value and the beginning.
fn line(pen: &Pen, item: &Dropped, chosen: bool, area: Rect, y: u16, buf: &mut Buffer) {
    let role = if chosen { Role::Bright } else { Role::Text };
    if chosen {
        put(buf, area.x + 1, y, area.right(), pen.glyphs.chosen, pen.style(Role::Focus));
    }
    let mut x = area.x + 2;
    if item.value != item.threshold || item.twin.is_some() {
        put_right(buf, x, y, x + 9, &number(item.value), pen.style(role));
    }
    x += 11;
    let end = area.right().saturating_sub(1);
    if pen.state.data.browse.rule.is_none() {
        let name = rule_name(pen.state, &item.raw, &item.rule);
        x = put(buf, x, y, end, &format!("{}  ", shorten(name, 18)), pen.style(Role::Dim));
    }
    let cells = end.saturating_sub(x) as usize;
    let beginning = fit(&item.shown, 4 * cells).replace('\n', " ");
    put(buf, x, y, end, &shorten(beginning.trim(), cells), pen.style(role));
}

/// `0.31 > 0.3`; for a duplicate the similarity.
fn measured<'a>(pen: &Pen, item: &Dropped) -> Pieces<'a> {
    let state = pen.state;
    let (value, threshold) = (number(item.value), number(item.threshold));
    if item.twin.is_some() && item.value >= 1.0 {
        return vec![pen.piece(state.tr(strings::SAME_TEXT), Role::Text)];
    }
    if item.twin.is_some() {
        let likeness = format!("{value} >= {threshold}");
        return vec![
            pen.piece(format!("{} ", state.tr(strings::SIMILARITY)), Role::Dim),
            pen.piece(likeness, Role::Bright),
        ];
    }
    let name = shorten(rule_name(state, &item.raw, &item.rule), 24);
    let mut facts: Pieces = vec![pen.piece(name, Role::Bright)];
    if item.value != item.threshold {
        let sign = if item.value < item.threshold { "<" } else { ">" };
        facts.push(pen.piece(format!("  {value} {sign} {threshold}"), Role::Text));
    }
    facts
}

/// The text; for a duplicate also the kept one, beside or below it, with the differences.
fn text(pen: &Pen, item: &Dropped, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let Some(twin) = &item.twin else {
        if item.text.is_none() {
            pen.words(buf, area, state.tr(strings::NO_TEXT));
            return;
        }
        side(pen, &item.shown, &[], area, buf);
        return;
    };
    let head = |title, place: &str, area: Rect, buf: &mut Buffer| {
        let x = put(buf, area.x + 2, area.y, area.right(), state.tr(title), pen.style(Role::Focus));
        let place = shorten_front(place, area.right().saturating_sub(x + 4) as usize);
        put(buf, x + 2, area.y, area.right(), &place, pen.style(Role::Dim));
        below(area, 1)
    };
    let (gone, stays) = if area.width >= BESIDE {
        let half = area.width / 2;
        upright(pen, area.x + half, area, buf);
        let right = Rect { x: area.x + half, width: area.width - half, ..area };
        (Rect { width: half, ..area }, right)
    } else {
        let half = area.height / 2;
        (Rect { height: half, ..area }, below(area, half))
    };
    if gone.height > 0 {
        let inner = head(strings::GOES, &item.place, gone, buf);
        side(pen, &item.shown, &item.marks[0], inner, buf);
    }
    if stays.height > 0 {
        let inner = head(strings::STAYS, &twin.place, stays, buf);
        side(pen, &twin.text, &item.marks[1], inner, buf);
    }
}

/// A text with its marks.
fn side(pen: &Pen, text: &str, marks: &[std::ops::Range<usize>], area: Rect, buf: &mut Buffer) {
    let marked = marked_style(pen);
    let lines = wrap(text, area.width.saturating_sub(4) as usize, 2);
    for (row, line) in lines.into_iter().take(area.height as usize).enumerate() {
        let mut x = area.x + 2;
        for (part, mark) in parts(line, marks) {
            let style = if mark { marked } else { pen.style(Role::Text) };
            x = put(buf, x, area.y + row as u16, area.right(), &text[part], style);
        }
    }
}
