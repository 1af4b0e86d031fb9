//! The engine, the model and the progress.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::ui::{
    paint::{Pieces, bar, pieces_width, put_pieces, put_right},
    state::Run,
    strings,
    text::{bytes, figure, grouped, milliseconds, rate, short, shorten, width},
    theme::Role,
    view::pen::{Canvas, Pen},
};

pub(crate) fn draw(pen: &Pen, area: Rect, buf: &mut Canvas) {
    let state = pen.state;
    let Some(run) = &pen.stage.run else {
        let inner = pen.title(buf, area, &Vec::new());
        pen.words(buf, inner, pen.nothing(strings::NO_RUN));
        return;
    };
    // Some adapter names include the engine.
    let named = run.adapter.starts_with(run.engine.as_str());
    // A log of another trainer may name neither.
    let named = named || run.adapter.is_empty();
    let adapter = if run.adapter.is_empty() {
        or_none(run.engine.is_empty(), run.engine.to_string())
    } else {
        strings::adapter(state.lang, &run.adapter)
    };
    let engine = if named { String::new() } else { format!("{} {} ", run.engine, pen.glyphs.dot) };
    let title = width(state.tr(pen.title));
    let room = (area.width as usize).saturating_sub(title + 10 + width(&engine));
    let small = area.height <= 4;
    let mut facts: Pieces = Vec::new();
    if small {
        facts = vec![pen.piece(engine.clone(), Role::Dim), pen.piece(shorten(&adapter, room), Role::Text)];
    }
    let inner = pen.title(buf, area, &facts);
    let mut rows = Vec::new();
    let progress = inner.height.min(2);
    if small {
        // With little room: speed and norms in one row, progress in the other.
        rows.push(live(pen));
    } else {
        rows.push(vec![pen.piece(engine, Role::Dim), pen.piece(adapter, Role::Bright)]);
        let size = match run.precision.as_str() {
            "" => or_none(run.size.is_empty(), run.size.as_str().to_owned()),
            precision => format!("{} {precision}", run.size.as_str()),
        };
        rows.push(pen.dotted([
            size,
            format!(
                "{} {}",
                state.tr(strings::PARAMETERS),
                or_none(run.info.parameters == 0, short(run.info.parameters as f64))
            ),
            format!(
                "{} {}",
                state.tr(strings::VOCAB),
                or_none(run.info.vocab_size == 0, grouped(run.info.vocab_size as u64))
            ),
        ]));
        rows.push(pen.dotted([
            format!("{} {}", known(run.info.layers), strings::LAYERS.of(run.info.layers as u64, state.lang)),
            format!("{} {}", state.tr(strings::HIDDEN), known(run.info.hidden_size)),
            format!("{} {}", known(run.info.heads), strings::HEADS.of(run.info.heads as u64, state.lang)),
        ]));
        rows.push(taken(pen, run));
        rows.push(speed(pen));
    }
    let mut y = inner.y;
    for row in rows.iter_mut().take((inner.height - progress.min(inner.height)).max(1) as usize) {
        // A fact that does not fit is dropped whole.
        while row.len() > 2 && pieces_width(row) > inner.width.saturating_sub(3) as usize {
            row.truncate(row.len() - 2);
        }
        put_pieces(buf, inner.x + 2, y, inner.right().saturating_sub(1), row);
        y += 1;
    }
    if y < inner.bottom() {
        let room = inner.bottom() - y;
        let top = if room >= 3 { y + 1 } else { y };
        self::progress(pen, run, Rect { y: top, height: inner.bottom() - top, ..inner }, buf);
    }
}

/// A figure, or `-` for one that the log does not have.
fn or_none(absent: bool, figure: String) -> String {
    if absent { "-".to_owned() } else { figure }
}

/// A number that describes a run, which is not 0 where it is known.
fn known(number: usize) -> String {
    or_none(number == 0, number.to_string())
}

/// The current numbers, narrow enough for 38 cells.
fn live<'a>(pen: &Pen) -> Pieces<'a> {
    let state = pen.state;
    let Some(step) = &pen.stage.step else {
        return vec![pen.piece(state.tr(strings::NO_STEP), Role::Dim)];
    };
    let mut pieces: Pieces = Vec::new();
    for (label, value) in [
        (state.tr(strings::STEP_TIME), or_none(step.absent.step_ms, milliseconds(step.step_ms))),
        ("tok/s", or_none(step.absent.tokens_per_second, short(step.tokens_per_second))),
        ("lr", or_none(step.absent.learning_rate, rate(step.learning_rate))),
        ("grad", or_none(step.absent.grad_norm, figure(step.grad_norm))),
    ] {
        // Label and value are dropped together if there is no room.
        let gap = if pieces.is_empty() { "" } else { "  " };
        pieces.push(pen.piece(format!("{gap}{label} "), Role::Dim));
        pieces.push(pen.piece(value, Role::Bright));
    }
    pieces
}

/// The measured speed.
fn speed<'a>(pen: &Pen) -> Pieces<'a> {
    let Some(step) = &pen.stage.step else { return Vec::new() };
    pen.dotted([
        format!("{} {}", pen.state.tr(strings::STEP_TIME), or_none(step.absent.step_ms, milliseconds(step.step_ms))),
        format!("{} tok/s", or_none(step.absent.tokens_per_second, short(step.tokens_per_second))),
    ])
}

/// The batch, and the memory of the run.
fn taken<'a>(pen: &Pen, run: &Run) -> Pieces<'a> {
    let state = pen.state;
    let (rows, window) = (known(run.info.batch), known(run.info.context));
    let batch = format!("{} {rows} {} {window}", state.tr(strings::BATCH), pen.glyphs.times);
    let mut facts = vec![batch];
    if run.info.memory > 0 {
        let label = if run.engine.as_str() == "cpu" { strings::MEMORY_CPU } else { strings::MEMORY };
        facts.push(format!("{} {}", state.tr(label), bytes(run.info.memory)));
    }
    if run.engine.as_str() != "cpu" && run.info.host_memory > 0 {
        facts.push(format!("{} {}", state.tr(strings::MEMORY_HOST), bytes(run.info.host_memory)));
    }
    pen.dotted(facts)
}

/// Steps done of those planned, as numbers and as a bar; side by side in a single row.
fn progress(pen: &Pen, run: &Run, area: Rect, buf: &mut Buffer) {
    let done = pen.stage.steps_done();
    let share = if run.info.steps == 0 { 0.0 } else { done as f64 / run.info.steps as f64 };
    let words: Pieces = vec![
        pen.piece(format!("{} ", pen.state.tr(strings::STEP)), Role::Dim),
        pen.piece(grouped(done as u64), Role::Bright),
        pen.piece(format!(" / {}", or_none(run.info.steps == 0, grouped(run.info.steps as u64))), Role::Dim),
    ];
    let percent = or_none(run.info.steps == 0, format!("{:.0}%", (100.0 * share).floor()));
    let end = area.right().saturating_sub(2);
    let styles = (pen.style(Role::Train), pen.style(Role::Dim));
    put_pieces(buf, area.x + 2, area.y, end, &words);
    let right =
        put_right(buf, area.x + 2 + pieces_width(&words) as u16, area.y, end, &percent, pen.style(Role::Bright));
    if area.height > 1 {
        bar(buf, area.x + 2, area.y + 1, area.width.saturating_sub(4), share, styles, pen.glyphs);
    } else {
        let x = area.x + 2 + pieces_width(&words) as u16 + 2;
        bar(buf, x, area.y, right.saturating_sub(x + 2), share, styles, pen.glyphs);
    }
}
