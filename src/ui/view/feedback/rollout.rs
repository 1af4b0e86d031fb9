//! The rollout inspector: one answer of the newest update, a token per row, with all numbers of the update.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::ui::{
    paint::{Pieces, put, put_right},
    state::{Rollout, feedback::Action},
    strings::{self, Tr},
    text::{figure, fit, pad, shorten, width},
    theme::Role,
    view::pen::{Canvas, Pen, below},
};

/// A column: its title, its cells, and its text.
type Column = (Tr, u16, fn(&Action) -> Option<(String, Role)>);

/// In order; a narrow panel drops the columns of [`DROPPED`] one by one.
const COLUMNS: [Column; 7] = [
    (Tr("logp", "logp"), 8, |a| plain(a.logprob)),
    (strings::COL_REFERENCE, 8, |a| plain(a.reference)),
    (Tr("KL", "KL"), 8, |a| signed(a.kl(), false)),
    (strings::COL_VALUE, 8, |a| plain(a.value?)),
    (strings::COL_REWARD, 8, |a| signed(a.reward, true)),
    (strings::COL_ADVANTAGE, 8, |a| signed(a.advantage, true)),
    (strings::COL_RATIO, 8, |a| Some((figure(a.ratio), if a.clipped { Role::Bad } else { Role::Text }))),
];
/// The order in which columns are dropped.
const DROPPED: [usize; 4] = [1, 3, 4, 0];
/// Cells of the token, of the gap before it, and of the mark for a clipped ratio.
const TOKEN: u16 = 9;

fn plain(x: f64) -> Option<(String, Role)> {
    Some((figure(x), if x.is_finite() { Role::Text } else { Role::Bad }))
}

/// A number with its sign, optionally coloured by it.
fn signed(x: f64, judged: bool) -> Option<(String, Role)> {
    let text = if x.is_finite() { format!("{x:+.3}") } else { figure(x) };
    let role = match x {
        _ if !x.is_finite() => Role::Bad,
        _ if !judged || x.abs() < 5e-4 => Role::Text,
        x if x > 0.0 => Role::Good,
        _ => Role::Bad,
    };
    Some((text, role))
}

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, feedback) = (pen.state, &pen.stage.feedback);
    let token = feedback.token.filter(|_| pen.focused());
    let mut facts: Pieces = Vec::new();
    if let Some(r) = &feedback.rollout {
        if token.is_some() {
            facts.push(pen.piece(format!("{}  ", state.tr(strings::HELD)), Role::Focus));
        }
        facts.push(pen.piece(format!("{}  ", strings::at_step(state.lang, r.step)), Role::Dim));
        facts.push(pen.piece(format!("{}/{}", r.which + 1, r.of), Role::Text));
        facts.push(pen.piece(format!("  {} ", state.tr(strings::RM)), Role::Dim));
        facts.push(pen.piece(format!("{:+.2}", r.score), Role::Bright));
    }
    let mut inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    let Some(rollout) = feedback.rollout.as_ref().filter(|r| !r.actions.is_empty()) else {
        let words = if state.is_read_only() { strings::ROLLOUT_READ_ONLY } else { strings::NO_ROLLOUT };
        pen.words(buf, inner, pen.nothing(words));
        return;
    };
    if inner.height >= 5 {
        flow(pen, rollout, token, Rect { height: 2, ..inner }, buf);
        inner = below(inner, 2);
    }
    table(pen, rollout, token, inner, buf);
}

/// The prompt, and the answer as text, scrolled so that the selected token is visible.
fn flow(pen: &Pen, rollout: &Rollout, token: Option<usize>, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let end = area.right().saturating_sub(1);
    let cells = end.saturating_sub(area.x + 2) as usize;
    let label = state.tr(strings::ROLE_USER);
    let x = put(buf, area.x + 2, area.y, end, &format!("{label} "), pen.style(Role::Focus));
    let room = cells.saturating_sub(width(label) + 1);
    put(buf, x, area.y, end, &shorten(&rollout.prompt, room), pen.style(Role::Dim));
    let label = state.tr(strings::ROLE_MODEL);
    let mut x = put(buf, area.x + 2, area.y + 1, end, &format!("{label} "), pen.style(Role::Good));
    let wide = |at: usize| width(&rollout.actions[at].text);
    let mut first = 0;
    let (mut used, held) = (0, token.unwrap_or(0));
    for at in 0..=held.min(rollout.actions.len() - 1) {
        used += wide(at);
        while used > room.saturating_sub(4) && first < at {
            used -= wide(first);
            first += 1;
        }
    }
    if first > 0 {
        x = put(buf, x, area.y + 1, end, "⋯", pen.style(Role::Dim));
    }
    for (at, action) in rollout.actions.iter().enumerate().skip(first) {
        let style = if token == Some(at) { held_style() } else { pen.style(Role::Text) };
        if x + wide(at) as u16 > end {
            put(buf, x, area.y + 1, end, "⋯", pen.style(Role::Dim));
            return;
        }
        x = put(buf, x, area.y + 1, end, &action.text, style);
    }
    if !rollout.ended {
        let words = format!("  {}", state.tr(strings::NOT_ENDED));
        put(buf, x, area.y + 1, end, &words, pen.style(Role::Bad));
    }
}

fn held_style() -> Style {
    Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
}

/// A token per row, scrolled so that the selected one is visible.
fn table(pen: &Pen, rollout: &Rollout, token: Option<usize>, area: Rect, buf: &mut Buffer) {
    let state = pen.state;
    let mut columns: Vec<usize> = (0..COLUMNS.len()).collect();
    // Omit the column of a stage without value net.
    if rollout.actions.iter().all(|a| a.value.is_none()) {
        columns.retain(|c| *c != 3);
    }
    // The mark for a clipped ratio is after the last column.
    let mark = width(state.tr(strings::CLIPPED)) as u16 + 2;
    let taken = |columns: &[usize]| 2 + TOKEN + columns.iter().map(|c| COLUMNS[*c].1).sum::<u16>() + mark + 1;
    for dropped in DROPPED {
        if taken(&columns) > area.width {
            columns.retain(|c| *c != dropped);
        }
    }
    let from = area.x + 2;
    let (dim, end) = (pen.style(Role::Dim), area.right().saturating_sub(1));
    let mut y = area.y;
    if area.height > 1 {
        put(buf, from, y, end, state.tr(strings::COL_TOKEN), dim);
        let mut x = from + TOKEN;
        for column in &columns {
            let (title, wide, _) = COLUMNS[*column];
            put_right(buf, x, y, (x + wide).min(end), state.tr(title), dim);
            x += wide;
        }
        y += 1;
    }
    let rows = area.bottom().saturating_sub(y) as usize;
    let first = token.map_or(0, |t| (t + 1).saturating_sub(rows).max(t.saturating_sub(rows / 2).min(t)));
    let first = first.min(rollout.actions.len().saturating_sub(rows));
    for (at, action) in rollout.actions.iter().enumerate().skip(first).take(rows) {
        let text = pad(fit(&action.text, TOKEN as usize - 1), TOKEN as usize - 1);
        let style = if token == Some(at) { held_style() } else { pen.style(Role::Text) };
        let chosen = if token == Some(at) { pen.glyphs.chosen } else { " " };
        put(buf, area.x + 1, y, end, chosen, pen.style(Role::Focus));
        put(buf, from, y, end, &text, style);
        let mut x = from + TOKEN;
        for column in &columns {
            let (_, wide, value) = COLUMNS[*column];
            let (text, role) = value(action).unwrap_or_else(|| ("-".to_owned(), Role::Dim));
            put_right(buf, x, y, (x + wide).min(end), &text, pen.style(role));
            x += wide;
        }
        if action.clipped {
            put(buf, x + 2, y, end, state.tr(strings::CLIPPED), pen.style(Role::Bad));
        }
        y += 1;
    }
}
