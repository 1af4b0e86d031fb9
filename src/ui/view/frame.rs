//! The first row and the last: what runs, how far it is, what the keys do.

use ratatui::{buffer::Buffer, layout::Rect};

use super::Pen;
use crate::ui::{
    actions::{self, Mode},
    paint::{Pieces, pieces_width, put, put_pieces, put_right},
    state::{Leaving, Phase},
    strings,
    text::{clock, shorten, width},
    theme::Role,
};

pub(super) fn header(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let right = status(pen);
    let x = area.right().saturating_sub(pieces_width(&right) as u16 + 1).max(area.x);
    let dot = format!(" {} ", pen.glyphs.dot);
    let mut left: Pieces = vec![pen.piece(" ", Role::Text)];
    if area.width >= 76 {
        left.push(pen.piece("丹炉 danlu", Role::Bright));
    }
    if let Some(run) = &state.run {
        if left.len() > 1 {
            left.push(pen.piece(dot.clone(), Role::Dim));
        }
        left.push(pen.piece(shorten(&run.name, 24), Role::Bright));
        left.push(pen.piece(dot.clone(), Role::Dim));
        // The stage's English name goes first where room is short.
        let stage = if area.width >= 76 { run.stage.as_str() } else { run.stage.split(' ').next().unwrap_or_default() };
        left.push(pen.piece(stage, Role::Text));
        if area.width >= 90 {
            left.push(pen.piece(dot, Role::Dim));
            left.push(pen.piece(run.size.as_str(), Role::Text));
        }
    } else if left.len() == 1 {
        left.push(pen.piece("丹炉 danlu", Role::Bright));
    }
    put_pieces(buf, area.x, area.y, x.saturating_sub(1), &left);
    put_pieces(buf, x, area.y, area.right(), &right);
}

/// What the stage is doing, for how long, and how long still.
fn status<'a>(pen: &Pen) -> Pieces<'a> {
    let state = pen.state;
    let g = pen.glyphs;
    let (mark, words, role) = match (&state.leaving, &state.phase) {
        (_, Phase::Finished { failed: true, .. }) => (g.cross, strings::FAILED, Role::Bad),
        (_, Phase::Finished { reason, .. }) if reason.as_str() == "done" => (g.tick, strings::DONE, Role::Good),
        (_, Phase::Finished { .. }) => (g.tick, strings::STOPPED, Role::Text),
        (Some(Leaving { save: true, .. }), _) => (g.pulse[0], strings::SAVING, Role::Focus),
        (Some(_), _) => (g.pulse[0], strings::LEAVING_UNSAVED, Role::Focus),
        (_, Phase::Starting) => (g.pulse[0], strings::PREPARING, Role::Dim),
        (_, Phase::Running) => (g.pulse[state.beats % g.pulse.len()], strings::RUNNING, Role::Good),
        (_, Phase::Pausing) => (g.pulse[0], strings::PAUSING, Role::Focus),
        (_, Phase::Paused) => (g.empty, strings::PAUSED, Role::Focus),
        (_, Phase::Resuming) => (g.pulse[0], strings::RESUMING, Role::Focus),
    };
    let mut pieces: Pieces = vec![pen.piece(format!("{mark} {}", state.tr(words)), role)];
    if state.saving && state.leaving.is_none() {
        pieces.push(pen.piece(format!("  {}", state.tr(strings::SAVING)), Role::Focus));
    }
    if state.started.is_some() {
        pieces.push(pen.piece(format!("  {}", clock(state.elapsed().as_secs())), Role::Text));
    }
    if let Some(seconds) = state.seconds_left() {
        let left = clock(seconds.min(1e9).ceil() as u64);
        pieces.push(pen.piece(format!("  {} ", state.tr(strings::LEFT)), Role::Dim));
        pieces.push(pen.piece(left, Role::Text));
    }
    pieces
}

pub(super) fn footer(pen: &Pen, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    if area.height > 1 {
        for x in area.left()..area.right() {
            put(buf, x, area.y, area.right(), pen.glyphs.rule, pen.style(Role::Dim));
        }
    }
    let y = area.bottom() - 1;
    let mut end = area.right().saturating_sub(1);
    if let Some((text, role)) = remark(pen) {
        let most = area.width as usize * 2 / 3;
        let text = shorten(&text, most);
        end = put_right(buf, area.x, y, end, &text, pen.style(role)).saturating_sub(2);
    }
    let mut x = area.x + 1;
    let badge = match state.mode() {
        Mode::Text => Some(strings::MODE_TEXT),
        Mode::Dialog => Some(strings::MODE_DIALOG),
        _ => None,
    };
    if let Some(badge) = badge {
        x = put(buf, x, y, end, &format!(" {} ", state.tr(badge)), pen.style(Role::Chosen)) + 2;
    }
    for (key, name) in actions::hints(state) {
        let key = key.to_string();
        let wide = width(&key) + 1 + width(name);
        if x as usize + wide > end as usize {
            break;
        }
        x = put(buf, x, y, end, &key, pen.style(Role::Bright));
        x = put(buf, x + 1, y, end, name, pen.style(Role::Dim)) + 2;
    }
}

/// What the footer has to say at its right end: trouble first.
fn remark(pen: &Pen) -> Option<(String, Role)> {
    let state = pen.state;
    if state.leaving.is_some() {
        return Some((state.tr(strings::LEAVE_NOW).to_owned(), Role::Dim));
    }
    if let Some(trouble) = &state.trouble {
        let words = state.tr(strings::LOG_SAVE_FAILED);
        return Some((format!("{} {words}: {trouble}", pen.glyphs.cross), Role::Bad));
    }
    if let Phase::Finished { reason, failed: true } = &state.phase {
        return Some((format!("{} {reason}", pen.glyphs.cross), Role::Bad));
    }
    state.notice.as_ref().map(|n| (n.0.as_str().to_owned(), Role::Text))
}
