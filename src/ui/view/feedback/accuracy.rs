//! A reward model's accuracy: on held-out pairs with its interval, of always choosing the longer answer, and during
//! training.

use ratatui::layout::Rect;

use crate::ui::{
    chart::{Curve, Plot},
    paint::{Pieces, put_pieces},
    series::Series,
    strings,
    text::{grouped, percent},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let mut facts: Pieces = Vec::new();
    if let Some(r) = &feedback.reward {
        let better = r.accuracy > r.by_length;
        let interval = format!("{}-{}", percent(r.ci95.0), percent(r.ci95.1));
        facts = pen.labelled([
            (state.tr(strings::BY_LENGTH), percent(r.by_length), Role::Kept),
            (state.tr(strings::HELD_OUT), percent(r.accuracy), if better { Role::Valid } else { Role::Bad }),
            ("95%", interval, Role::Text),
        ]);
    }
    let facts = pen.fitting(facts, area.width as usize);
    let mut inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    let trained = feedback.metric(&["accuracy"]);
    if feedback.reward.is_none() && trained.is_none() {
        pen.not_yet(buf, inner, strings::NO_REPORT);
        return;
    }
    let empty = Series::default();
    if let Some(step) = pen.cursor().filter(|_| inner.height >= 3) {
        let facts = pen.at_cursor(
            step,
            &[
                (state.tr(strings::TRAIN), trained.unwrap_or(&empty), Role::Train),
                (state.tr(strings::HELD_OUT), &feedback.accuracy, Role::Valid),
                (state.tr(strings::BY_LENGTH), &feedback.by_length, Role::Kept),
            ],
        );
        pen.readout(step, facts, Rect { height: 1, ..inner }, buf);
        inner = below(inner, 1);
    } else if inner.height >= 8 {
        let g = pen.glyphs;
        let pairs = feedback.reward.as_ref().map(|r| {
            format!(
                "{} {} {}",
                state.tr(strings::HELD_OUT),
                grouped(r.pairs as u64),
                strings::PAIRS.of(r.pairs as u64, state.lang)
            )
        });
        let legend = pen.legend([
            (g.train, Role::Train, state.tr(strings::TRAIN).to_owned()),
            (g.valid, Role::Valid, pairs.unwrap_or_else(|| state.tr(strings::HELD_OUT).to_owned())),
            (g.train, Role::Kept, state.tr(strings::BY_LENGTH).to_owned()),
        ]);
        put_pieces(buf, inner.x + 2, inner.y, inner.right().saturating_sub(1), &legend);
        inner = below(inner, 1);
    }
    let valid = pen.style(Role::Valid);
    let curves = vec![
        Curve { smoothing: state.smoothing, ..Curve::line(trained.unwrap_or(&empty), pen.style(Role::Train)) },
        Curve::line(&feedback.by_length, pen.style(Role::Kept)),
        Curve { band: Some(valid), ..Curve::points(&feedback.accuracy, valid) },
    ];
    let now = Some(pen.stage.steps_done());
    let plot = Plot { now, curves, axes: true, holds: Some((0.5, 1.0)), marks: pen.marks(), ..pen.chart() };
    pen.plot(buf, inner, &plot);
}
