//! One document, token by token: below each token a bar with its loss under the current weights.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, put, put_pieces},
    state::{AppState, Panel, Request, batch::Token, data::Document},
    strings,
    text::{figure, fit, grouped, shorten, width},
    theme::Role,
    view::{
        field::finding,
        pen::{Canvas, Pen},
    },
};

/// Bars by height, one cell wide on every terminal.
const LEVELS: [&str; 7] = ["⣀", "⣄", "⣤", "⣦", "⣶", "⣷", "⣿"];
/// The same for consoles without braille.
const DIGITS: [&str; 7] = ["1", "2", "3", "4", "5", "6", "7"];

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let data = &state.data;
    let mut facts: Pieces = Vec::new();
    if let Some(document) = &data.document {
        facts.extend(mark(pen));
        let name = data.source().map_or("", |s| s.name.as_str());
        facts.push(pen.piece(format!("{}  ", shorten(name, 20)), Role::Dim));
        let place = format!("{} / {}", grouped(data.index as u64 + 1), grouped(document.of as u64));
        facts.push(pen.piece(place, Role::Bright));
    }
    let inner = pen.title(buf, area, &facts);
    let mut inner = finding(pen, Panel::PREVIEW, inner, buf);
    let Some(document) = &data.document else {
        let waits = state.awaits(&Request::Document) || data.refused.is_none();
        let words = if waits {
            state.tr(strings::NO_DOCUMENT)
        } else {
            data.refused.as_ref().map_or("", |r| r.get(state.lang).as_str())
        };
        pen.words(buf, inner, words);
        return;
    };
    let vocabulary = pen.stage.run.as_ref().map_or(2, |r| r.info.vocab_size.max(2));
    let full = (vocabulary as f64).ln();
    if inner.height >= 5 {
        let rows = if inner.height >= 8 { foot(pen, document, full) } else { foot(pen, document, full)[..1].to_vec() };
        inner.height -= rows.len() as u16;
        for (row, pieces) in rows.iter().enumerate() {
            put_pieces(buf, inner.x + 2, inner.bottom() + row as u16, inner.right().saturating_sub(1), pieces);
        }
    }
    flow(pen, document, full, inner, buf);
}

/// The text with a row of bars below each line, from the scroll position.
fn flow(pen: &Pen, document: &Document, full: f64, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let Some(row) = document.tokens.rows.first() else { return };
    let cells = area.width.saturating_sub(4).max(2) as usize;
    let lines = document.tokens.lines(0, cells);
    // A line and its bars stay together.
    let shown = (area.height / 2).max(1) as usize;
    let from = pen.scrolled(lines.len().saturating_sub(shown), buf);
    let end = area.right().saturating_sub(1);
    for (at, line) in lines.into_iter().skip(from).take(shown).enumerate() {
        let y = area.y + 2 * at as u16;
        let mut x = area.x + 2;
        for token in &row.tokens[line] {
            let text = fit(&token.shown, cells);
            let aside = token.special || text == "␊";
            let style = pen.style(if aside { Role::Dim } else { Role::Text });
            let after = put(buf, x, y, end, text, style);
            if y + 1 < area.bottom() {
                let bar = bar(pen, token, full).repeat(width(text));
                put(
                    buf,
                    x,
                    y + 1,
                    after,
                    &bar,
                    token.heat().map_or(pen.style(Role::Dim), |h| state.theme.heat_of_bar(h)),
                );
            }
            x = after;
        }
    }
}

/// A token's bar: its loss relative to a uniform guess over the vocabulary.
fn bar(pen: &Pen, token: &Token, full: f64) -> &'static str {
    let Some(loss) = token.loss.filter(|l| !l.is_nan()) else { return " " };
    let place = (f64::from(loss) / full * LEVELS.len() as f64).floor().clamp(0.0, (LEVELS.len() - 1) as f64);
    if pen.glyphs.braille { LEVELS[place as usize] } else { DIGITS[place as usize] }
}

/// The label of the visible text, stored or pending.
fn mark<'a>(pen: &Pen) -> Pieces<'a> {
    let state = pen.state;
    let Some(document) = &state.data.document else { return Vec::new() };
    marked(pen, state, &document.text, document.mark)
}

/// The label of a text: requested, set since the screen opened, or stored before.
pub(crate) fn marked<'a>(pen: &Pen, state: &AppState, text: &str, stored: Option<bool>) -> Pieces<'a> {
    let asked = state.requests.iter().any(|w| matches!(w, Request::Mark(about, _) if about == text));
    if asked {
        return vec![pen.piece(format!("{}  ", state.tr(strings::REQUESTED)), Role::Focus)];
    }
    match state.data.label_set(text).unwrap_or(stored) {
        Some(true) => {
            vec![pen.piece(format!("{} {}  ", pen.glyphs.tick, state.tr(strings::MARKED_KEEP)), Role::Good)]
        }
        Some(false) => {
            vec![pen.piece(format!("{} {}  ", pen.glyphs.cross, state.tr(strings::MARKED_DROP)), Role::Bad)]
        }
        None => Vec::new(),
    }
}

/// Length and mean loss of the document; what labels are for.
fn foot<'a>(pen: &Pen, document: &Document, full: f64) -> Vec<Pieces<'a>> {
    let state = pen.state;
    let shown = document.shown;
    let mut first: Pieces = vec![pen.piece(grouped(document.length as u64), Role::Bright)];
    let mut words = format!(" {}", strings::TOKENS.of(document.length as u64, state.lang));
    if shown < document.length {
        words = format!("{words} ({} {})", state.tr(strings::BEGINNING), grouped(shown as u64));
    }
    first.push(pen.piece(words, Role::Dim));
    if let Some(mean) = document.loss {
        first.push(pen.piece(format!("  {} ", state.tr(strings::MEAN_LOSS)), Role::Dim));
        first.push(pen.piece(figure(mean), Role::Bright));
    }
    first.push(pen.piece(format!("  {}", strings::at_step(state.lang, document.step)), Role::Dim));
    first.push(pen.piece(format!("  {} {full:.1}", state.tr(strings::LOSS_SCALE)), Role::Dim));
    vec![first, marks(pen)]
}

/// The number of labelled texts, and what labels are for.
fn marks<'a>(pen: &Pen) -> Pieces<'a> {
    let state = pen.state;
    let mut pieces: Pieces = Vec::new();
    if let Some((keep, drop)) = state.data.marks {
        let [wanted, unwanted] = [strings::WANTED_TEXT, strings::UNWANTED_TEXT].map(|w| state.tr(w));
        let counts = format!("{wanted} {keep} {unwanted} {drop}  ");
        pieces.push(pen.piece(counts, Role::Text));
    }
    pieces.push(pen.piece(state.tr(strings::MARKS_TRAIN), Role::Dim));
    pieces
}
