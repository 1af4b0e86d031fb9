//! The sanity checks of the first update, and the guard: the metrics it watches, or why it stopped the stage.

use ratatui::layout::Rect;

use crate::ui::{
    paint::{Pieces, pieces_width},
    state::Guard,
    strings,
    text::{Clean, percent, wrap},
    theme::Role,
    view::pen::{Canvas, Pen, put_rows},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let holding = feedback.checks.iter().filter(|l| l.holds).count();
    let mut facts: Pieces = Vec::new();
    if !feedback.checks.is_empty() {
        let all = holding == feedback.checks.len();
        let (mark, role) = if all { (pen.glyphs.tick, Role::Good) } else { (pen.glyphs.cross, Role::Bad) };
        facts.push(pen.piece(format!("{mark} {holding}/{}", feedback.checks.len()), role));
    }
    let inner = pen.title(buf, area, &facts);
    let mut rows = Vec::new();
    if let Some(guard) = &feedback.guard {
        let head = format!("{}  {}", state.tr(strings::GUARDED), strings::at_step(state.lang, guard.step));
        rows.push(vec![pen.piece(format!("{} {head}", pen.glyphs.cross), Role::Bad)]);
        for text in [advice(pen, guard), guard.reason.get(pen.state.lang).to_string()] {
            let lines = wrap(&text, inner.width.saturating_sub(4) as usize, 2);
            rows.extend(lines.into_iter().map(|l| vec![pen.piece(text[l].to_owned(), Role::Text)]));
        }
    }
    rows.extend(checks(pen, inner.width.saturating_sub(4) as usize));
    if feedback.checks.is_empty() && feedback.guard.is_none() {
        rows.push(vec![pen.piece(pen.nothing(strings::NO_CHECKS), Role::Dim)]);
    }
    // The metrics it watches, once there are updates.
    let watched = |name: &str| feedback.newest(&[name]);
    if let (Some(distinct), None) = (watched("guard/distinct2"), &feedback.guard) {
        let strikes = watched("guard/strikes").unwrap_or(0.0);
        let (words, role) =
            if strikes > 0.0 { (strings::GUARD_STRIKES, Role::Bad) } else { (strings::GUARD_QUIET, Role::Text) };
        let mut row = vec![pen.piece(state.tr(words), role)];
        if strikes > 0.0 {
            row.push(pen.piece(format!(" {strikes:.0}"), role));
        }
        rows.push(row);
        let shown = |name: &str, format: fn(f64) -> String| watched(name).map_or_else(|| "-".to_owned(), format);
        rows.push(pen.labelled([
            ("distinct-2", format!("{distinct:.2}"), Role::Text),
            (state.tr(strings::REPETITION), shown("guard/repetition", percent), Role::Text),
            (state.tr(strings::END_RATE), shown("guard/end_rate", percent), Role::Text),
            (state.tr(strings::LENGTH), shown("guard/length", |x| format!("{x:.0}")), Role::Text),
        ]));
    }
    put_rows(buf, inner, rows);
}

/// What to do after the guard stopped a stage.
pub(crate) fn advice(pen: &Pen, guard: &Guard) -> String {
    let state = pen.state;
    match &guard.checkpoint {
        checkpoint if guard.may_go_on && !state.is_finished() => {
            strings::guard_goes_back(state.lang, checkpoint.as_ref().map(Clean::as_str))
        }
        None => state.tr(strings::GUARD_NO_CHECKPOINT).to_owned(),
        Some(checkpoint) if state.is_finished() => strings::guard_next_time(state.lang, checkpoint),
        Some(checkpoint) => strings::guard_reopens(state.lang, checkpoint),
    }
}

/// `3e-8`, and 0 as 0.
fn small(x: f64) -> String {
    if x == 0.0 { "0".to_owned() } else { format!("{x:.0e}") }
}

/// Each check with its value and bound, as many per row as fit.
fn checks<'a>(pen: &Pen, cells: usize) -> Vec<Pieces<'a>> {
    let mut rows: Vec<Pieces> = Vec::new();
    for check in &pen.stage.feedback.checks {
        let (mark, role) = if check.holds { (pen.glyphs.tick, Role::Good) } else { (pen.glyphs.cross, Role::Bad) };
        let mut pieces = vec![
            pen.piece(format!("{mark} "), role),
            pen.piece(format!("{} ", check.name), Role::Dim),
            pen.piece(small(check.value), if check.holds { Role::Text } else { Role::Bad }),
            pen.piece(format!(" / {}", small(check.bound)), Role::Dim),
        ];
        match rows.last_mut() {
            Some(row) if pieces_width(row) + pieces_width(&pieces) + 2 <= cells => {
                row.push(pen.piece("  ", Role::Dim));
                row.append(&mut pieces);
            }
            _ => rows.push(pieces),
        }
    }
    rows
}
