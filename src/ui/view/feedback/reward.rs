//! A reward model: how often it tells held-out pairs apart, beside the guess by length, and by how much.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{Pen, below, put_rows};
use crate::ui::{
    chart::{Curve, Histogram, Plot},
    paint::{Pieces, put_pieces},
    series::Series,
    state::{Panel, Phase},
    strings,
    text::grouped,
    theme::Role,
};

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}%", 100.0 * share) } else { "-".to_owned() }
}

/// The share of held-out pairs told apart with its interval, that of the guess by length, and in training.
pub(super) fn accuracy(pen: &Pen, area: Rect, buf: &mut Buffer) {
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
    let facts = pen.fitting(facts, Panel::Accuracy, area.width as usize);
    let mut inner = pen.title(buf, area, Panel::Accuracy, &facts);
    if inner.height == 0 {
        return;
    }
    let trained = feedback.metric(&["accuracy"]);
    if feedback.reward.is_none() && trained.is_none() {
        nothing_yet(pen, inner, buf);
        return;
    }
    if inner.height >= 8 {
        let g = pen.glyphs;
        let pairs = feedback.reward.as_ref().map(|r| {
            format!("{} {} {}", state.tr(strings::HELD_OUT), grouped(r.pairs as u64), state.tr(strings::PAIRS))
        });
        let legend: Pieces = vec![
            pen.piece(g.train, Role::Train),
            pen.piece(format!(" {}  ", state.tr(strings::TRAIN)), Role::Dim),
            pen.piece(g.valid, Role::Valid),
            pen.piece(format!(" {}  ", pairs.unwrap_or_else(|| state.tr(strings::HELD_OUT).to_owned())), Role::Dim),
            pen.piece(g.train, Role::Kept),
            pen.piece(format!(" {}", state.tr(strings::BY_LENGTH)), Role::Dim),
        ];
        put_pieces(buf, inner.x + 2, inner.y, inner.right().saturating_sub(1), &legend);
        inner = below(inner, 1);
    }
    let empty = Series::default();
    let (kept, valid) = (pen.style(Role::Kept), pen.style(Role::Valid));
    let curves = vec![
        Curve {
            series: trained.unwrap_or(&empty),
            smoothing: state.smoothing,
            band: None,
            line: pen.style(Role::Train),
            points: false,
        },
        Curve { series: &feedback.by_length, smoothing: 0, band: None, line: kept, points: false },
        Curve { series: &feedback.accuracy, smoothing: 0, band: Some(valid), line: valid, points: true },
    ];
    let now = Some(pen.stage.steps_done());
    let plot = Plot { steps: pen.steps(), now, curves, axes: true, holds: Some((0.5, 1.0)), ..Plot::default() };
    let margin = Rect { width: inner.width.saturating_sub(1), ..inner };
    plot.render(buf, margin, state.theme, pen.glyphs);
}

/// Why there is nothing to show, and what to do.
pub(super) fn nothing_yet(pen: &Pen, inner: Rect, buf: &mut Buffer) {
    let (state, stage) = (pen.state, pen.stage);
    let here = state.switching() == Some(stage.name.as_str());
    let going = format!("{} {}", state.tr(strings::SWITCHING), stage.title(state.lang));
    let words = match (&stage.phase, &stage.run) {
        (Phase::Resting, _) if stage.told_step.is_none() => strings::NEVER_TRAINED,
        (Phase::Resting, _) => strings::TRAINED_BEFORE,
        (_, Some(_)) => strings::NO_REPORT,
        (_, None) => strings::NO_RUN,
    };
    let words = if here { going.as_str() } else { state.tr(words) };
    pen.words(buf, below(inner, inner.height / 2), words);
}

/// Scores of the better answers less those of the others, over held-out pairs.
pub(super) fn margins(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let report = pen.stage.feedback.reward.as_ref();
    let mut facts: Pieces = Vec::new();
    if let Some(r) = report {
        facts = vec![
            pen.piece(format!("{:+.2}  ", r.margin), Role::Bright),
            pen.piece(strings::at_step(state.lang, r.step), Role::Dim),
        ];
    }
    let mut inner = pen.title(buf, area, Panel::Margins, &facts);
    let Some(r) = report else {
        pen.words(buf, inner, pen.nothing(strings::NO_REPORT));
        return;
    };
    if inner.height >= 4 {
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
    let histogram = Histogram { values: &r.margins, below: pen.style(Role::Bad), above: pen.style(Role::Train) };
    let margin = Rect { x: inner.x + 2, width: inner.width.saturating_sub(4), ..inner };
    histogram.render(buf, margin, state.theme, pen.glyphs);
}
