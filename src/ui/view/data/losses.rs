//! Training and validation loss of each source, with their curves.

use ratatui::layout::Rect;

use crate::ui::{
    chart::{Curve, Plot},
    paint::{Pieces, put, put_right},
    strings,
    text::{figure, pad},
    theme::Role,
    view::pen::{Canvas, Pen},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let facts: Pieces = pen.labelled([
        ("", state.tr(strings::TRAIN).to_owned(), Role::Train),
        ("", state.tr(strings::VALID).to_owned(), Role::Valid),
    ]);
    let inner = pen.title(buf, area, &facts);
    let Some(run) = &pen.stage.run else {
        pen.words(buf, inner, pen.nothing(strings::NO_RUN));
        return;
    };
    let limit = run.sources.len().saturating_sub(inner.height as usize);
    let from = pen.scrolled(limit, buf);
    let name = (inner.width / 4).clamp(8, 24);
    let x = inner.x + 2 + name;
    for (at, source) in run.sources.iter().enumerate().skip(from).take(inner.height as usize) {
        let y = inner.y + (at - from) as u16;
        put(buf, inner.x + 2, y, inner.right(), &pad(&source.name, name as usize), pen.style(Role::Text));
        let train = pen.value(&source.train).map_or_else(|| "-".to_owned(), figure);
        put_right(buf, x, y, x + 7, &train, pen.style(Role::Train));
        let valid = pen.value(&source.valid).map_or_else(|| "-".to_owned(), figure);
        put_right(buf, x + 7, y, x + 15, &valid, pen.style(Role::Valid));
        let place = Rect { x: x + 17, y, width: inner.right().saturating_sub(x + 18), height: 1 };
        let curve = |series, role| Curve::line(series, pen.style(role));
        let curves = vec![curve(&source.train, Role::Train), curve(&source.valid, Role::Valid)];
        let plot = Plot { curves, ..pen.chart() };
        plot.render(buf, place, state.theme, pen.glyphs);
    }
}
