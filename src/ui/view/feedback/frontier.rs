//! The true score against KL, evaluation by evaluation, together with the sibling stages, so that they can be compared
//! at equal KL.

use ratatui::layout::Rect;

use crate::{
    base::StageId,
    protocol::PolicyReport,
    ui::{
        chart::{Trail, Trails},
        paint::{Pieces, put_pieces},
        state::Stage,
        strings,
        theme::Role,
        view::pen::{Canvas, Pen, below},
    },
};

/// A stage's colour among its siblings.
fn colour(stage: &Stage) -> Role {
    let siblings = StageId::ALL.into_iter().filter(|s| s.aligns());
    let roles = [Role::Train, Role::Valid, Role::Kept].into_iter().cycle();
    siblings.zip(roles).find(|(id, _)| Some(*id) == stage.id).map_or(Role::Train, |(_, role)| role)
}

/// The true score against KL, evaluation by evaluation, of this stage and its siblings. The reward model's score uses
/// the axis at the right.
pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let inner = pen.title(buf, area, &Vec::new());
    let has_policy = |s: &&Stage| s.aligns() && !s.feedback.policy.is_empty();
    let mut stages: Vec<&Stage> = state.stages.all().iter().filter(has_policy).collect();
    if inner.height == 0 {
        return;
    }
    if stages.is_empty() {
        pen.words(buf, inner, pen.nothing(strings::NO_REPORT));
        return;
    }
    // The stage in view is drawn last.
    stages.sort_by_key(|s| state.stages.is_shown(s));
    let points = |s: &Stage, of: fn(&PolicyReport) -> f64| -> Vec<(f64, f64)> {
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
    let chart = Trails { trails, holds: None, unit: "KL" };
    chart.render(buf, Rect { width: place.width.saturating_sub(1), ..place }, state.theme, pen.glyphs);
}
