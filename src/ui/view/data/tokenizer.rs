//! How well the tokenizer fits the text.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, put, put_pieces},
    strings,
    text::{grouped, wrap},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let data = &state.data;
    let mut facts: Pieces = Vec::new();
    if let Some(tokenizer) = &data.tokenizer {
        let vocabulary = format!("{} {}", state.tr(strings::VOCAB), grouped(tokenizer.vocab_size as u64));
        facts = pen.dotted([data.kind.as_str().to_owned(), vocabulary]);
    }
    let inner = pen.title(buf, area, &facts);
    let Some(tokenizer) = &data.tokenizer else {
        let words =
            data.refused.as_ref().map_or_else(|| state.tr(strings::NO_DATA), |r| r.get(pen.state.lang).as_str());
        pen.words(buf, inner, words);
        return;
    };
    let share = |x: f64| if x.is_finite() { format!("{:.2}%", 100.0 * x) } else { "-".to_owned() };
    let mean = |x: f64| if x.is_finite() { format!("{x:.2}") } else { "-".to_owned() };
    let figures = [
        (strings::CHARACTERS_PER_TOKEN, mean(tokenizer.characters_per_token)),
        (strings::BYTES_PER_TOKEN, mean(tokenizer.bytes_per_token)),
        (strings::UNKNOWN, share(tokenizer.unknown_share)),
        (strings::FALLBACK, share(tokenizer.fallback_share)),
    ]
    .map(|(label, value)| (state.tr(label), value, Role::Bright));
    // Two rows if they do not fit in one.
    let wide = inner.width.saturating_sub(3) as usize;
    let one = pen.labelled(figures.clone());
    let [a, b, c, d] = figures;
    let rows = if crate::ui::paint::pieces_width(&one) <= wide {
        vec![one]
    } else {
        vec![pen.labelled([a, b]), pen.labelled([c, d])]
    };
    let high = rows.len() as u16;
    let end = inner.right().saturating_sub(1);
    for (at, row) in rows.into_iter().take(inner.height as usize).enumerate() {
        put_pieces(buf, inner.x + 2, inner.y + at as u16, end, &row);
    }
    let rest = below(inner, high);
    // Spaces separate them, so a token that is a space is shown as a symbol.
    let top: Vec<&str> = data.top.iter().map(|t| if t.trim().is_empty() { "␠" } else { t.as_str() }).collect();
    let text = format!("{}  {}", state.tr(strings::TOP_TOKENS), top.join(" "));
    for (at, line) in wrap(&text, wide, 0).into_iter().take(rest.height as usize).enumerate() {
        put(buf, rest.x + 2, rest.y + at as u16, end, &text[line], pen.style(Role::Text));
    }
}
