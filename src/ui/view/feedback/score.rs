//! The quality of a policy's answers: the true score and the reward model's score on separate axes, since their units
//! differ.

use ratatui::layout::Rect;

use crate::ui::{
    chart::{Curve, Plot},
    paint::{Pieces, put_pieces},
    series::Series,
    strings,
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

/// TRL's names for the mean score of an update's answers.
const REWARD: [&str; 2] = ["objective/scores", "reward"];

/// A score with its sign, or a dash.
fn signed(score: f64) -> String {
    if score.is_finite() { format!("{score:+.2}") } else { "-".to_owned() }
}

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
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
    let facts = pen.fitting(facts, area.width as usize);
    let inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    if newest.is_none() && feedback.metric(&REWARD).is_none() {
        pen.not_yet(buf, inner, strings::NO_REPORT);
        return;
    }
    let half = inner.width / 2;
    let left = Rect { width: half, ..inner };
    let right = Rect { x: inner.x + half, width: inner.width - half, ..inner };
    let valid = pen.style(Role::Valid);
    let empty = Series::default();
    let truth = [Curve { band: Some(valid), ..Curve::points(&feedback.true_score, valid) }];
    let worth = [
        pen.banded(feedback.metric(&REWARD).unwrap_or(&empty), Role::Train),
        Curve::points(&feedback.evaluated, pen.style(Role::Good)),
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
        let row = Rect { height: 1, ..place };
        match pen.cursor() {
            Some(step) if at == 0 => {
                let truth = (state.tr(strings::TRUE_SCORE), &feedback.true_score, Role::Valid);
                pen.readout(step, pen.at_cursor(step, &[truth]), row, buf);
            }
            Some(step) => {
                let scores = feedback.metric(&REWARD).unwrap_or(&empty);
                let facts = pen.at_cursor(
                    step,
                    &[
                        (state.tr(strings::REWARD_SCORE), &feedback.evaluated, Role::Good),
                        (state.tr(strings::IN_STEP), scores, Role::Train),
                    ],
                );
                pen.readout(step, facts, row, buf);
            }
            None => {
                put_pieces(buf, row.x + 2, row.y, row.right().saturating_sub(1), &legend[at]);
            }
        }
        let holds = (at == 0).then_some((0.0, 1.0));
        let now = Some(pen.stage.steps_done());
        let plot = Plot { now, curves, axes: true, holds, marks: pen.marks(), ..pen.chart() };
        pen.plot(buf, below(place, 1), &plot);
    }
}
