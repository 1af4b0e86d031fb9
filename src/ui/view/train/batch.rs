//! The newest step's batch, token by token: which tokens were trained, their losses, and the selected token.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::ui::{
    paint::{Pieces, pieces_width, put, put_pieces},
    state::{
        Phase,
        batch::{Batch, LIKELY, Spot, Token},
    },
    strings,
    text::{figure, fit, pad, shorten},
    theme::Role,
    view::pen::{Canvas, Pen},
};

/// Width of the column of source names, including its gap.
const GUTTER: u16 = 12;

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let (state, stage) = (pen.state, pen.stage);
    let spot = stage.spot.filter(|_| pen.focused());
    let mut facts: Pieces = Vec::new();
    if let Some(batch) = &stage.batch {
        if spot.is_some() {
            facts.push(pen.piece(format!("{}  ", state.tr(strings::HELD)), Role::Focus));
        }
        let rows = batch.rows.len() + batch.more;
        let size = format!("{rows} {}  ", strings::ROWS.of(rows as u64, state.lang));
        facts.push(pen.piece(size, Role::Dim));
        facts.push(pen.piece(strings::at_step(state.lang, batch.step), Role::Dim));
    }
    let mut inner = pen.title(buf, area, &facts);
    if inner.height == 0 {
        return;
    }
    let gutter = if inner.width >= 50 { GUTTER } else { 2 };
    let cells = inner.width.saturating_sub(gutter + 3);
    buf.drawn.batch_cells = cells.max(1) as usize;
    let Some(batch) = stage.batch.as_ref().filter(|b| !b.rows.is_empty()) else {
        let words = match stage.phase {
            _ if pen.state.is_read_only() => strings::BATCH_READ_ONLY,
            Phase::Resting => strings::NO_BATCH_HERE,
            _ => strings::NO_BATCH,
        };
        pen.words(buf, inner, state.tr(words));
        return;
    };
    if inner.height >= 3 {
        inner.height -= 1;
        let foot = match spot.and_then(|s| batch.token(s)) {
            Some(token) => held(pen, token),
            None => legend(pen, inner.width),
        };
        put_pieces(buf, inner.x + 2, inner.bottom(), inner.right().saturating_sub(1), &foot);
    }
    flow(pen, batch, spot, gutter, cells, inner, buf);
}

/// Draws rows from the one with the cursor, scrolled so that it is visible.
fn flow(pen: &Pen, batch: &Batch, spot: Option<Spot>, gutter: u16, cells: u16, area: Rect, buf: &mut Buffer) {
    let start = spot.unwrap_or_default();
    let lines = batch.lines(start.row, cells as usize);
    let line = lines.iter().position(|l| l.contains(&start.token)).unwrap_or(0);
    let mut skip = (line + 1).saturating_sub(area.height as usize);
    let mut y = area.y;
    for row in start.row..batch.rows.len() {
        for (at, line) in batch.lines(row, cells as usize).into_iter().enumerate().skip(std::mem::take(&mut skip)) {
            if y >= area.bottom() {
                return;
            }
            let tokens = &batch.rows[row].tokens;
            if at == 0 && gutter == GUTTER {
                let raw = strings::task(&batch.rows[row].raw).map(|t| pen.glyphs.arrows(pen.state.tr(t)));
                let name = raw.as_deref().unwrap_or(&batch.rows[row].source);
                put(buf, area.x + 2, y, area.right(), &pad(name, GUTTER as usize - 3), pen.style(Role::Dim));
            } else if tokens[line.start].first {
                put(buf, area.x + gutter - 1, y, area.right(), pen.glyphs.dot, pen.style(Role::Dim));
            }
            let mut x = area.x + gutter;
            let end = x + cells;
            for token in line {
                let held = spot == Some(Spot { row, token });
                let shown = fit(&tokens[token].shown, cells as usize);
                x = put(buf, x, y, end, shown, look(pen, &tokens[token], held));
            }
            y += 1;
        }
    }
}

fn look(pen: &Pen, token: &Token, held: bool) -> Style {
    let style = token.heat().map_or_else(|| pen.style(Role::Dim), |heat| pen.state.theme.heat(heat));
    if held { Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD) } else { style }
}

/// Details of the selected token.
fn held<'a>(pen: &Pen, token: &Token) -> Pieces<'a> {
    let state = pen.state;
    let mut pieces: Pieces = vec![
        pen.piece(format!("{} ", pen.glyphs.chosen), Role::Focus),
        pen.piece(format!("[{}]", shorten(&token.text, 16)), Role::Bright),
    ];
    if let Some(loss) = token.loss.filter(|_| token.trained) {
        let p = 100.0 * f64::from(-loss).exp();
        let p = if p.is_finite() && p < 0.1 { "<0.1".to_owned() } else { format!("{p:.1}") };
        pieces.push(pen.piece(format!("  {} ", state.tr(strings::LOSS)), Role::Dim));
        pieces.push(pen.piece(figure(f64::from(loss)), Role::Bright));
        pieces.push(pen.piece(format!("  {} ", state.tr(strings::PROBABILITY)), Role::Dim));
        pieces.push(pen.piece(format!("{p}%"), Role::Bright));
    }
    let words = if token.trained { strings::TRAINED } else { strings::UNTRAINED };
    pieces.push(pen.piece(format!("  {}", state.tr(words)), if token.trained { Role::Good } else { Role::Dim }));
    pieces
}

/// The legend of the heat levels.
fn legend<'a>(pen: &Pen, wide: u16) -> Pieces<'a> {
    let state = pen.state;
    let mut pieces: Pieces = vec![pen.piece(format!("{} ", state.tr(strings::SCALE)), Role::Text)];
    for heat in 0..=LIKELY.len() {
        let text = match LIKELY.get(heat) {
            Some(least) => format!(">{:.0}%", 100.0 * least),
            None => format!("<{:.0}%", 100.0 * LIKELY[LIKELY.len() - 1]),
        };
        pieces.push((text.into(), state.theme.heat(heat)));
        pieces.push(pen.piece(" ", Role::Text));
    }
    pieces.push(pen.piece(format!(" {}", state.tr(strings::UNTRAINED)), Role::Dim));
    while pieces.len() > 1 && pieces_width(&pieces) > wide.saturating_sub(3) as usize {
        pieces.pop();
    }
    pieces
}
