//! Scores on held-out examples of each task, and their change.

use ratatui::layout::Rect;

use crate::protocol::TaskReport;
use crate::ui::{
    paint::{Pieces, bar, put, put_right},
    state::Task,
    strings::{self, Tr},
    text::{figure, pad},
    theme::Role,
    view::pen::{Canvas, Pen},
};

/// A column: its title, its cells, and its text.
type Column = (Tr, u16, fn(&Task) -> Option<(String, Role)>);

/// From the right. A narrow panel drops the first ones first.
const COLUMNS: [Column; 7] = [
    (strings::EXAMPLES, 6, |t| t.newest.as_ref().map(|n| (n.examples.to_string(), Role::Dim))),
    (strings::LOSS, 7, |t| t.newest.as_ref().map(|n| (figure(n.eval_loss), Role::Text))),
    (strings::ENDED, 6, |t| percent(t, |n| n.end_rate, Role::Text)),
    (strings::CHANGE, 7, |t| points(t, |n| n.char_f1)),
    (F1, 5, |t| percent(t, |n| n.char_f1, Role::Text)),
    (strings::CHANGE, 7, |t| points(t, |n| n.exact_match)),
    (strings::EXACT, 6, |t| percent(t, |n| n.exact_match, Role::Bright)),
];
const F1: Tr = Tr("F1", "F1");

fn percent(task: &Task, score: fn(&TaskReport) -> f64, role: Role) -> Option<(String, Role)> {
    let share = score(task.newest.as_ref()?);
    Some(if share.is_finite() { (format!("{:.0}%", 100.0 * share), role) } else { ("-".to_owned(), Role::Bad) })
}

/// A change in percentage points with its sign.
fn points(task: &Task, score: fn(&TaskReport) -> f64) -> Option<(String, Role)> {
    let change = 100.0 * task.change(score)?;
    Some(match change {
        c if !c.is_finite() => ("-".to_owned(), Role::Dim),
        c if c.abs() < 0.05 => ("=".to_owned(), Role::Dim),
        c => (format!("{c:+.1}"), if c > 0.0 { Role::Good } else { Role::Bad }),
    })
}

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let step = stage.tasks.iter().filter_map(|t| t.newest.as_ref()).map(|n| n.step).max();
    let rows = (area.height as usize).saturating_sub(2);
    let limit = stage.tasks.len().saturating_sub(rows);
    // With the focus scrolled back from the last task; otherwise from the first.
    let back = pen.scrolled(limit, buf);
    let first = if pen.focused() { limit - back } else { 0 };
    let mut facts: Pieces = Vec::new();
    if limit > 0 {
        let seen = format!("{}-{} / {}  ", first + 1, first + rows, stage.tasks.len());
        facts.push(pen.piece(seen, Role::Dim));
    }
    if stage.demonstrations > 0 {
        let by_hand = format!("{} {}  ", state.tr(strings::BY_HAND), stage.demonstrations);
        facts.push(pen.piece(by_hand, Role::Text));
    }
    if let Some(step) = step {
        facts.push(pen.piece(strings::at_step(state.lang, step), Role::Dim));
    }
    let inner = pen.title(buf, area, &facts);
    if stage.tasks.is_empty() {
        let words = if stage.is_tuning() { strings::NO_SCORE } else { strings::NO_TASK };
        pen.words(buf, inner, pen.nothing(words));
        return;
    }
    let name = if inner.width >= 60 { 15 } else { 12 };
    let columns = match inner.width {
        64.. => 7,
        58.. => 6,
        48.. => 5,
        40.. => 4,
        _ => 2,
    };
    let columns = &COLUMNS[COLUMNS.len() - columns..];
    let mut x = inner.right().saturating_sub(2);
    let ends: Vec<u16> = columns
        .iter()
        .map(|(_, wide, _)| {
            let end = x;
            x = x.saturating_sub(*wide);
            end
        })
        .collect();
    let bar_from = inner.x + 2 + name + 1;
    let bar_cells = x.saturating_sub(bar_from + 1).min(24);
    let dim = pen.style(Role::Dim);
    let mut y = inner.y;
    if inner.height > 1 {
        put(buf, inner.x + 2, y, inner.right(), state.tr(strings::TASK), dim);
        for ((title, wide, _), end) in columns.iter().zip(&ends) {
            put_right(buf, end.saturating_sub(*wide), y, *end, state.tr(*title), dim);
        }
        y += 1;
    }
    for task in stage.tasks.iter().skip(first) {
        if y >= inner.bottom() {
            break;
        }
        let shown = pad(&pen.glyphs.arrows(task.name(state.lang)), name as usize);
        put(buf, inner.x + 2, y, inner.right(), &shown, pen.style(Role::Text));
        if let Some(newest) = &task.newest {
            let styles = (pen.style(Role::Train), dim);
            bar(buf, bar_from, y, bar_cells, newest.exact_match, styles, pen.glyphs);
        }
        for ((_, wide, value), end) in columns.iter().zip(&ends) {
            let (text, role) = value(task).unwrap_or_else(|| ("-".to_owned(), Role::Dim));
            put_right(buf, end.saturating_sub(*wide), y, *end, &text, pen.style(role));
        }
        y += 1;
    }
}
