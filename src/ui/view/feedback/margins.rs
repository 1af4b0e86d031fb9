//! A reward model's margins: scores of chosen answers minus those of rejected ones, over held-out pairs.

use ratatui::layout::Rect;

use crate::ui::{
    chart::Histogram,
    paint::Pieces,
    strings,
    text::grouped,
    theme::Role,
    view::pen::{Canvas, Pen, below, put_rows},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let report = pen.stage.feedback.reward.as_ref();
    let mut facts: Pieces = Vec::new();
    if let Some(r) = report {
        facts = vec![
            pen.piece(format!("{:+.2}  ", r.margin), Role::Bright),
            pen.piece(strings::at_step(state.lang, r.step), Role::Dim),
        ];
    }
    let mut inner = pen.title(buf, area, &facts);
    let Some(r) = report else {
        pen.words(buf, inner, pen.nothing(strings::NO_REPORT));
        return;
    };
    if inner.height >= 4 && !r.margins.is_empty() {
        let wrong = r.margins.iter().filter(|m| **m < 0.0).count();
        let right = r.margins.iter().filter(|m| **m > 0.0).count();
        let row = pen.labelled([
            (state.tr(strings::WRONG_SIDE), grouped(wrong as u64), Role::Bad),
            (state.tr(strings::RIGHT_SIDE), grouped(right as u64), Role::Good),
            (state.tr(strings::CHOSEN_LESS), String::new(), Role::Dim),
        ]);
        put_rows(buf, inner, vec![row]);
        inner = below(inner, 1);
    }
    if r.margins.is_empty() {
        pen.words(buf, inner, state.tr(strings::NO_MARGINS));
        return;
    }
    let histogram = Histogram { values: &r.margins, below: pen.style(Role::Bad), above: pen.style(Role::Train) };
    let margin = Rect { x: inner.x + 2, width: inner.width.saturating_sub(4), ..inner };
    histogram.render(buf, margin, state.theme, pen.glyphs);
}
