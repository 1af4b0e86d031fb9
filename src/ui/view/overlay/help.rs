//! The help: every key, from the table of actions; and the training data of the run beside GPT-3's.

use ratatui::layout::Rect;

use crate::ui::view::pen::{Canvas, Pen, below, tokens_read};
use crate::ui::{
    actions::{ACTIONS, Act},
    paint::{Pieces, clear, put_pieces, rule},
    state::Mode,
    strings::{self, GPT3, Tr},
    text::{pad, short, width, wrap},
    theme::Role,
};

type Lines<'a> = Vec<Pieces<'a>>;

/// Covers everything between header and footer.
pub(super) fn draw(pen: &Pen, scroll: usize, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let edge = u16::from(area.height > 3);
    let place = Rect { y: area.y + edge, height: area.height - 2 * edge, ..area };
    clear(buf, place);
    let two = place.width >= 100;
    let inside = Rect { x: place.x + 2, width: place.width.saturating_sub(4), ..below(place, 1) };
    let column = if two { inside.width / 2 - 1 } else { inside.width };
    let columns = keys(pen, column as usize);
    let tables = [theirs(pen, column as usize), ours(pen, column as usize)];
    // In the data view the training mixes come first.
    let mut blocks = vec![columns, tables];
    if state.data.open {
        blocks.reverse();
    }
    let (mut left, mut right): (Lines, Lines) = (Vec::new(), Vec::new());
    for [mut beside, mut other] in blocks {
        if two {
            // The next block starts in the same row for both columns.
            let high = left.len().max(right.len());
            left.resize(high, Vec::new());
            right.resize(high, Vec::new());
            left.append(&mut beside);
            right.append(&mut other);
        } else {
            left.append(&mut beside);
            left.append(&mut other);
        }
    }
    let high = left.len().max(right.len());
    let limit = high.saturating_sub(inside.height as usize);
    buf.drawn.scroll_limit = limit;
    let mut facts: Pieces = Vec::new();
    if limit > 0 {
        let seen = (scroll.min(limit) + inside.height as usize).min(high);
        facts.push(pen.piece(format!("{seen}/{high}"), Role::Dim));
    }
    rule(buf, place, state.tr(strings::HELP_TITLE), &facts, false, state.theme, pen.glyphs);
    for (lines, x) in [(left, inside.x), (right, inside.x + column + 2)] {
        for (row, line) in lines.iter().skip(scroll.min(limit)).take(inside.height as usize).enumerate() {
            put_pieces(buf, x, inside.y + row as u16, (x + column).min(place.right()), line);
        }
    }
}

/// Every key, in two columns of `cells` cells.
fn keys<'a>(pen: &Pen, cells: usize) -> [Lines<'a>; 2] {
    let state = pen.state;
    let section = |mode: Mode, title: Tr| {
        let mut lines: Lines = head(pen, title);
        for action in ACTIONS.iter().filter(|a| (a.exists)(state)) {
            let Some(keys) = action.keys_text(mode) else { continue };
            // Keys that are the same in the view of a stage are listed there.
            if matches!(mode, Mode::Vote | Mode::Data | Mode::Tree) && action.has_nav_keys(mode) {
                continue;
            }
            let wide = 20.min(cells / 2);
            let keys = pad(&keys, wide);
            // Actions that are disabled now are dimmed.
            let now = mode != Mode::Nav || action.is_enabled(state);
            let roles = if now { (Role::Bright, Role::Text) } else { (Role::Dim, Role::Dim) };
            let (title, room) = (state.tr(action.title), cells.saturating_sub(width(&keys)).max(8));
            for (at, part) in wrap(title, room, 0).into_iter().enumerate() {
                let lead = if at == 0 { keys.clone() } else { " ".repeat(wide) };
                lines.push(vec![pen.piece(lead, roles.0), pen.piece(&title[part], roles.1)]);
            }
        }
        lines
    };
    let left = section(Mode::Nav, strings::HELP_NAV);
    let mut right = section(Mode::Data, strings::HELP_DATA);
    right.extend(section(Mode::Tree, strings::HELP_TREE));
    right.extend(section(Mode::Text, strings::HELP_TEXT));
    if state.live().talks() {
        right.extend(section(Mode::Edit, strings::HELP_EDIT));
    }
    if (Act::Vote.row().exists)(state) {
        right.extend(section(Mode::Vote, strings::HELP_VOTE));
    }
    right.push(Vec::new());
    for note in [strings::HELP_HAN, strings::HELP_MARKS] {
        notes(pen, note, cells, &mut right);
    }
    [left, right]
}

fn head<'a>(pen: &Pen, title: Tr) -> Lines<'a> {
    vec![Vec::new(), vec![pen.piece(pen.state.tr(title), Role::Focus)]]
}

fn notes(pen: &Pen, note: Tr, cells: usize, lines: &mut Lines) {
    let note = pen.state.tr(note);
    for range in wrap(note, cells.saturating_sub(2), 2) {
        lines.push(vec![pen.piece(&note[range], Role::Dim)]);
    }
}

/// A row of a table: a name, then right-aligned numbers with their widths.
fn row<'a>(pen: &Pen, name: &str, numbers: [&str; 3], role: Role, cells: usize) -> Pieces<'a> {
    let mut pieces: Pieces = vec![pen.piece(pad(name, cells.saturating_sub(37).clamp(10, 22)), role)];
    for (number, wide) in numbers.into_iter().zip([9, 9, 17]) {
        let gap = " ".repeat(usize::saturating_sub(wide, width(number)));
        pieces.push(pen.piece(format!("{gap}{number}"), role));
    }
    pieces
}

/// GPT-3's mix, and its predecessors.
fn theirs<'a>(pen: &Pen, cells: usize) -> Lines<'a> {
    let state = pen.state;
    let mut lines = head(pen, strings::HELP_GPT3);
    let titles = [strings::TOKENS, strings::WEIGHT, strings::HELP_300B].map(|t| state.tr(t));
    lines.push(row(pen, state.tr(strings::HELP_DATASET), titles, Role::Dim, cells));
    for (name, tokens, weight, epochs) in GPT3 {
        let numbers = [format!("{tokens} B"), format!("{weight}%"), epochs.to_owned()];
        lines.push(row(pen, name, [&numbers[0], &numbers[1], &numbers[2]], Role::Text, cells));
    }
    for note in [strings::HELP_101, strings::HELP_GPT2, strings::HELP_GPT1] {
        notes(pen, note, cells, &mut lines);
    }
    lines
}

/// The run's mix so far, under the same titles.
fn ours<'a>(pen: &Pen, cells: usize) -> Lines<'a> {
    let state = pen.state;
    let live = state.live();
    let mut lines = head(pen, strings::HELP_MIX);
    let Some(run) = &live.run else {
        notes(pen, strings::NO_RUN, cells, &mut lines);
        return lines;
    };
    let titles = [strings::TOKENS, strings::WEIGHT, strings::SEEN].map(|t| state.tr(t));
    lines.push(row(pen, state.tr(strings::HELP_DATASET), titles, Role::Dim, cells));
    let total: f64 = run.sources.iter().map(|s| s.weight).sum();
    for (at, source) in run.sources.iter().enumerate() {
        let used = live.step.as_ref().and_then(|s| s.sources.get(at));
        let weight = if total > 0.0 { 100.0 * source.weight / total } else { 0.0 };
        let epochs = used.map_or_else(|| "-".to_owned(), |u| format!("{:.2}", u.epoch));
        let unknown = || "-".to_owned();
        let tokens = if total.is_nan() { unknown() } else { short(source.tokens as f64) };
        let share = if total.is_nan() { unknown() } else { format!("{weight:.0}%") };
        let numbers = [tokens, share, epochs];
        lines.push(row(pen, &source.name, [&numbers[0], &numbers[1], &numbers[2]], Role::Text, cells));
    }
    if let Some(step) = &live.step {
        let (read, epochs) = tokens_read(step);
        lines.push(row(pen, state.tr(strings::HELP_READ), [&read, "100%", &epochs], Role::Dim, cells));
    }
    notes(pen, strings::HELP_EPOCHS, cells, &mut lines);
    lines
}
