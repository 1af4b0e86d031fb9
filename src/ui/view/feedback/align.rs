//! A policy: what its answers are worth to the rule and to the reward model, how far it has gone from where
//! it started, how it writes, and worth against distance beside that of its siblings.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    Pen, below,
    reward::{nothing_yet, percent},
};
use crate::ui::{
    chart::{Curve, Plot, Trail, Trails},
    paint::{Pieces, put_pieces},
    series::Series,
    state::{Feedback, Panel, Stage},
    strings::{self, Tr},
    text::figure,
    theme::Role,
};

/// TRL's names for the mean score of an update's answers.
const REWARD: [&str; 2] = ["objective/scores", "reward"];
const KL: [&str; 2] = ["objective/kl", "kl"];

/// A small chart: its title, what steps tell of it, what evaluations do, and its format.
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

/// The small charts of a stage.
fn gauges(stage: &str) -> [&'static Gauge; 4] {
    match stage {
        "dpo" => [&OF_KL, &IMPLICIT, &MARGIN, &ENDED],
        "grpo" => [&OF_KL, &DEVIATION, &ENDED, &LENGTH],
        _ => [&OF_KL, &ENTROPY, &ENDED, &LENGTH],
    }
}

/// A score with its sign, where there is one.
fn signed(score: f64) -> String {
    if score.is_finite() { format!("{score:+.2}") } else { "-".to_owned() }
}

/// The rule's score and the reward model's, side by side: neither is measured in the other's units.
pub(super) fn score(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let newest = feedback.policy.last();
    let facts: Pieces = match newest {
        Some(p) => pen.labelled([
            ("distinct-2", format!("{:.2}", p.distinct2), Role::Text),
            (state.tr(strings::REWARD_SCORE), signed(p.reward), Role::Train),
            (state.tr(strings::TRUE_SCORE), format!("{:.2}", p.true_score), Role::Valid),
            ("95%", format!("{:.2}-{:.2}", p.ci95.0, p.ci95.1), Role::Text),
        ]),
        None => Vec::new(),
    };
    let facts = pen.fitting(facts, Panel::Score, area.width as usize);
    let inner = pen.title(buf, area, Panel::Score, &facts);
    if inner.height == 0 {
        return;
    }
    if newest.is_none() && feedback.metric(&REWARD).is_none() {
        nothing_yet(pen, inner, buf);
        return;
    }
    let half = inner.width / 2;
    let left = Rect { width: half, ..inner };
    let right = Rect { x: inner.x + half, width: inner.width - half, ..inner };
    let valid = pen.style(Role::Valid);
    let empty = Series::default();
    let truth = [Curve { series: &feedback.true_score, smoothing: 0, band: Some(valid), line: valid, points: true }];
    let worth = [
        Curve {
            series: feedback.metric(&REWARD).unwrap_or(&empty),
            smoothing: 0,
            band: Some(pen.style(Role::Band)),
            line: pen.style(Role::Train),
            points: false,
        },
        Curve { series: &feedback.evaluated, smoothing: 0, band: None, line: pen.style(Role::Good), points: true },
    ];
    let prompts = newest.map_or(0, |p| p.prompts);
    let mut legend = [
        vec![
            pen.piece(pen.glyphs.valid, Role::Valid),
            pen.piece(format!(" {} ", state.tr(strings::TRUE_SCORE)), Role::Dim),
            pen.piece(prompts.to_string(), Role::Dim),
            pen.piece(format!(" {}", state.tr(strings::EXAMPLES)), Role::Dim),
        ],
        vec![
            pen.piece(pen.glyphs.valid, Role::Good),
            pen.piece(format!(" {} {}", state.tr(strings::REWARD_SCORE), state.tr(strings::EVALUATED)), Role::Dim),
        ],
    ];
    if feedback.metric(&REWARD).is_some() {
        legend[1].push(pen.piece(format!("  {}", pen.glyphs.train), Role::Train));
        legend[1].push(pen.piece(format!(" {}", state.tr(strings::IN_STEP)), Role::Dim));
    }
    for (at, (curves, place)) in
        [(truth.into_iter().collect(), left), (Vec::from(worth), right)].into_iter().enumerate()
    {
        put_pieces(buf, place.x + 2, place.y, place.right().saturating_sub(1), &legend[at]);
        let holds = (at == 0).then_some((0.0, 1.0));
        let now = Some(pen.stage.steps_done());
        let plot = Plot { steps: pen.steps(), now, curves, axes: true, holds, ..Plot::default() };
        let place = below(place, 1);
        plot.render(buf, Rect { width: place.width.saturating_sub(1), ..place }, state.theme, pen.glyphs);
    }
}

/// KL with its coefficient, entropy, ends, length: small charts on the same steps.
pub(super) fn drift(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let mut facts: Pieces = Vec::new();
    let mut told = vec![(state.tr(strings::KL_COEF), "kl_coef"), ("clipfrac", "policy/clipfrac_avg")];
    told.extend([("approx KL", "policy/approxkl_avg"), (state.tr(strings::LOSS), "loss/value_avg")]);
    for (label, name) in told {
        if let Some(value) = feedback.newest(&[name]) {
            let label =
                if name == "loss/value_avg" { format!("{} V", state.tr(strings::LOSS)) } else { label.to_owned() };
            let gap = if facts.is_empty() { "" } else { "  " };
            facts.push(pen.piece(format!("{gap}{label} "), Role::Dim));
            facts.push(pen.piece(figure(value), Role::Text));
        }
    }
    let facts = pen.fitting(facts, Panel::Drift, area.width as usize);
    let inner = pen.title(buf, area, Panel::Drift, &facts);
    let gauges = gauges(&pen.stage.name);
    // In a column two by two, where there are rows for that.
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
    let newest = by_step.and_then(Series::last).or(evaluated.last());
    let value = newest.map_or_else(|| "-".to_owned(), |n| (gauge.format)(n.1));
    let row: Pieces = vec![pen.piece(format!("{} ", state.tr(gauge.title)), Role::Dim), pen.piece(value, Role::Bright)];
    put_pieces(buf, area.x + 2, area.y, area.right().saturating_sub(1), &row);
    let bad = newest.is_some_and(|n| !n.1.is_finite());
    let line = pen.style(if bad { Role::Bad } else { Role::Train });
    let curves = vec![
        // Where only evaluations tell it, their points are joined.
        Curve { series: evaluated, smoothing: 0, band: None, line: pen.style(Role::Valid), points: by_step.is_some() },
        Curve { series: by_step.unwrap_or(&empty), smoothing: 0, band: None, line, points: false },
    ];
    let plot = Plot { steps: pen.steps(), curves, ..Plot::default() };
    let place = below(area, 1);
    let margin = Rect { x: place.x + 2, width: place.width.saturating_sub(4), ..place };
    plot.render(buf, margin, state.theme, pen.glyphs);
}

/// A stage's colour among its siblings.
fn colour(stage: &Stage) -> Role {
    match stage.name.as_str() {
        "dpo" => Role::Valid,
        "grpo" => Role::Kept,
        _ => Role::Train,
    }
}

/// The rule's score against KL, evaluation by evaluation; the siblings' beside it, so that they can be
/// compared at equal KL. The reward model's on the axis at the right.
pub(super) fn frontier(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let inner = pen.title(buf, area, Panel::Frontier, &Vec::new());
    let told = |s: &&Stage| s.aligns() && !s.feedback.policy.is_empty();
    let mut stages: Vec<&Stage> = state.stages.all().iter().filter(told).collect();
    if inner.height == 0 {
        return;
    }
    if stages.is_empty() {
        pen.words(buf, inner, pen.nothing(strings::NO_REPORT));
        return;
    }
    // The stage looked at is painted last.
    stages.sort_by_key(|s| state.stages.is_shown(s));
    let points = |s: &Stage, of: fn(&crate::protocol::PolicyReport) -> f64| -> Vec<(f64, f64)> {
        s.feedback.policy.iter().map(|p| (p.kl, of(p))).collect()
    };
    let mut trails = Vec::new();
    if !pen.stage.feedback.policy.is_empty() {
        let style = pen.style(Role::Dim);
        trails.push(Trail { points: points(pen.stage, |p| p.reward), style, right: true });
    }
    for stage in &stages {
        let style = pen.style(colour(stage));
        trails.push(Trail { points: points(stage, |p| p.true_score), style, right: false });
    }
    let mut legend: Pieces = vec![pen.piece(format!("{} ", state.tr(strings::TRUE_SCORE)), Role::Dim)];
    for stage in stages.iter().rev() {
        legend.push(pen.piece(format!("{} ", pen.glyphs.train), colour(stage)));
        legend.push(pen.piece(format!("{} ", stage.short()), Role::Text));
    }
    if trails.len() > stages.len() {
        legend.push(pen.piece(format!("{} ", pen.glyphs.train), Role::Dim));
        legend.push(pen.piece(state.tr(strings::REWARD_SCORE), Role::Dim));
    }
    put_pieces(buf, inner.x + 2, inner.y, inner.right().saturating_sub(1), &legend);
    let place = below(inner, 1);
    let chart = Trails { trails, holds: None };
    chart.render(buf, Rect { width: place.width.saturating_sub(1), ..place }, state.theme, pen.glyphs);
    if place.height >= 3 {
        let label: Pieces = vec![pen.piece(" KL", Role::Dim)];
        put_pieces(buf, place.right().saturating_sub(5), place.bottom() - 1, place.right().saturating_sub(1), &label);
    }
}
