//! How far a policy has moved from its reference, and how its answers change: KL, entropy, end rate, length as small
//! charts.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::ui::{
    chart::{Curve, Plot},
    paint::{Pieces, put_pieces},
    series::Series,
    state::{Feedback, View},
    strings::{self, Tr},
    text::{figure, percent},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

const KL: [&str; 2] = ["objective/kl", "kl"];

/// A small chart: its title, its metric by step, its series by evaluation, and its format.
struct Gauge {
    title: Tr,
    metric: &'static [&'static str],
    evaluated: Option<fn(&Feedback) -> &Series>,
    format: fn(f64) -> String,
}

const OF_KL: Gauge = Gauge { title: Tr("KL", "KL"), metric: &KL, evaluated: Some(|f| &f.kl), format: figure };
const ENDED: Gauge =
    Gauge { title: strings::END_RATE, metric: &["guard/end_rate"], evaluated: Some(|f| &f.end_rate), format: percent };
const LENGTH: Gauge = Gauge {
    title: strings::LENGTH,
    metric: &["guard/length"],
    evaluated: Some(|f| &f.length),
    format: |x| format!("{x:.1}"),
};
const ENTROPY: Gauge =
    Gauge { title: strings::ENTROPY, metric: &["objective/entropy", "entropy"], evaluated: None, format: figure };
const DEVIATION: Gauge =
    Gauge { title: strings::GROUP_DEVIATION, metric: &["reward_std"], evaluated: None, format: figure };
const IMPLICIT: Gauge =
    Gauge { title: strings::IMPLICIT_ACCURACY, metric: &["rewards/accuracies"], evaluated: None, format: percent };
const MARGIN: Gauge =
    Gauge { title: strings::IMPLICIT_MARGIN, metric: &["rewards/margins"], evaluated: None, format: figure };

/// The small charts of a stage: the deviation within groups where the stage measures it, else the entropy.
fn gauges(view: View, feedback: &Feedback) -> [&'static Gauge; 4] {
    match view {
        View::Direct => [&OF_KL, &IMPLICIT, &MARGIN, &ENDED],
        _ if feedback.metric(DEVIATION.metric).is_some() => [&OF_KL, &DEVIATION, &ENDED, &LENGTH],
        _ => [&OF_KL, &ENTROPY, &ENDED, &LENGTH],
    }
}

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let mut facts: Pieces = Vec::new();
    let mut metrics = vec![(state.tr(strings::KL_COEF), "kl_coef"), ("clipfrac", "policy/clipfrac_avg")];
    metrics.extend([("approx KL", "policy/approxkl_avg"), (state.tr(strings::LOSS), "loss/value_avg")]);
    for (label, name) in metrics {
        if let Some(value) = feedback.newest(&[name]) {
            let label =
                if name == "loss/value_avg" { format!("{} V", state.tr(strings::LOSS)) } else { label.to_owned() };
            let gap = if facts.is_empty() { "" } else { "  " };
            facts.push(pen.piece(format!("{gap}{label} "), Role::Dim));
            facts.push(pen.piece(figure(value), Role::Text));
        }
    }
    let facts = pen.fitting(facts, area.width as usize);
    let inner = pen.title(buf, area, &facts);
    let gauges = gauges(pen.stage.view(), feedback);
    // Two by two in a column, if there are enough rows.
    let (across, down) = if inner.width < 60 && inner.height >= 6 { (2, 2) } else { (4, 1) };
    for (at, gauge) in gauges.into_iter().enumerate() {
        let (column, row) = (at as u16 % across, at as u16 / across);
        let from = inner.width * column / across;
        let to = inner.width * (column + 1) / across;
        let top = inner.height * row / down;
        let high = inner.height * (row + 1) / down - top;
        let place = Rect { x: inner.x + from, width: to - from, y: inner.y + top, height: high };
        self::gauge(pen, gauge, place, buf);
    }
}

fn gauge(pen: &Pen, gauge: &Gauge, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let empty = Series::default();
    let by_step = feedback.metric(gauge.metric);
    let evaluated = gauge.evaluated.map_or(&empty, |of| of(feedback));
    let newest = by_step.and_then(|series| pen.value(series)).or_else(|| pen.value(evaluated));
    let value = newest.map_or_else(|| "-".to_owned(), gauge.format);
    let row: Pieces = vec![pen.piece(format!("{} ", state.tr(gauge.title)), Role::Dim), pen.piece(value, Role::Bright)];
    put_pieces(buf, area.x + 2, area.y, area.right().saturating_sub(1), &row);
    let bad = newest.is_some_and(|n| !n.is_finite());
    let line = pen.style(if bad { Role::Bad } else { Role::Train });
    let curves = vec![
        // Without a metric per step the evaluations are joined by a line.
        Curve { points: by_step.is_some(), ..Curve::line(evaluated, pen.style(Role::Valid)) },
        Curve::line(by_step.unwrap_or(&empty), line),
    ];
    let plot = Plot { curves, ..pen.chart() };
    let place = below(area, 1);
    let margin = Rect { x: place.x + 2, width: place.width.saturating_sub(4), ..place };
    plot.render(buf, margin, state.theme, pen.glyphs);
}
