//! What panels draw with: state, styles, canvas, and rows that several panels share.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut, Range},
};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::base::StageId;
use crate::protocol::StepReport;
use crate::ui::{
    chart::{Abscissa, Axis, Curve, Mark, Plot, time_label},
    paint::{Pieces, pieces_width, put, put_pieces, rule},
    series::Series,
    state::{AppState, Drawn, Panel, Phase, Stage},
    strings::{self, Tr},
    text::{figure, grouped, short, width, wrap},
    theme::{Glyphs, Role},
};

/// The context for drawing a panel.
#[derive(Clone, Copy)]
pub(crate) struct Pen<'a> {
    pub(crate) state: &'a AppState,
    /// The stage in view.
    pub(crate) stage: &'a Stage,
    pub(crate) glyphs: &'static Glyphs,
    /// The panel being drawn.
    pub(crate) panel: Panel,
    /// Its title.
    pub(crate) title: Tr,
}

/// The cells, and the layout that is recorded while drawing.
pub(crate) struct Canvas<'b> {
    buf: &'b mut Buffer,
    pub(crate) drawn: Drawn,
}

impl<'b> Canvas<'b> {
    pub(crate) fn new(buf: &'b mut Buffer) -> Canvas<'b> {
        Canvas { buf, drawn: Drawn::default() }
    }
}

impl Deref for Canvas<'_> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        self.buf
    }
}

impl DerefMut for Canvas<'_> {
    fn deref_mut(&mut self) -> &mut Buffer {
        self.buf
    }
}

impl Pen<'_> {
    /// Whether the panel being drawn has the focus.
    pub(crate) fn focused(&self) -> bool {
        self.state.focus == self.panel
    }

    /// The panel's scroll position, limited to `limit`; the limit is recorded if the panel has the focus.
    pub(crate) fn scrolled(&self, limit: usize, canvas: &mut Canvas) -> usize {
        if !self.focused() {
            return 0;
        }
        canvas.drawn.scroll_limit = limit;
        self.state.scroll.min(limit)
    }

    pub(crate) fn style(&self, role: Role) -> Style {
        self.state.theme.style(role)
    }

    /// Draws the title of a small chart or column, which cannot be focused; returns the rows below.
    pub(crate) fn subtitle(&self, buf: &mut Buffer, area: Rect, title: &str, facts: &Pieces) -> Rect {
        rule(buf, area, title, facts, false, self.state.theme, self.glyphs);
        below(area, 1)
    }

    /// The abscissa of the stage's charts.
    pub(crate) fn axis(&self) -> Axis<'_> {
        self.stage.axis(self.state.abscissa)
    }

    /// The step of the crosshair, if it is visible.
    pub(crate) fn cursor(&self) -> Option<usize> {
        let (from, to) = self.stage.visible();
        self.stage.charts.cursor.filter(|step| (from..=to).contains(&(*step as f64)))
    }

    /// A chart of the stage without curves: its abscissa and the crosshair.
    pub(crate) fn chart(&self) -> Plot<'_> {
        Plot { axis: self.axis(), cursor: self.cursor(), ..Plot::default() }
    }

    /// The changes of the stage while it trained, for a chart over its steps.
    pub(crate) fn marks(&self) -> Vec<Mark<'_>> {
        let marked = self.stage.changes.iter().filter_map(|c| Some((c, strings::letter(c.cause?))));
        marked.map(|(c, letter)| Mark { step: c.step, letter, label: c.text.get(self.state.lang) }).collect()
    }

    /// The values of curves at the crosshair, each with the last step that it stands for unless that is the crosshair's.
    pub(crate) fn at_cursor(&self, step: usize, curves: &[(&str, &Series, Role)]) -> Pieces<'static> {
        let mut facts: Pieces = Vec::new();
        for (label, series, role) in curves {
            let Some((bucket, (_, last))) = series.at(step as f64).filter(|found| found.0.count > 0) else { continue };
            let last = last.min(series.last().map_or(last, |l| l.0 as f64)) as usize;
            let at = if last == step { String::new() } else { format!(" @{}", grouped(last as u64)) };
            facts.push(self.piece(format!("  {label} "), Role::Dim));
            facts.push(self.piece(format!("{}{at}", figure(bucket.line(0))), *role));
        }
        facts
    }

    /// Draws the crosshair's step, figures there, then tokens and time; without enough room the last are dropped.
    pub(crate) fn readout(&self, step: usize, facts: Pieces<'static>, area: Rect, buf: &mut Buffer) {
        let (state, pace) = (self.state, &self.stage.charts.pace);
        let known = |unit, label: String| if self.stage.counts(unit) { label } else { "-".to_owned() };
        let mut row = self.labelled([(state.tr(strings::STEP), grouped(step as u64), Role::Focus)]);
        row.extend(facts);
        for (label, value) in [
            (strings::TOKENS, known(Abscissa::Tokens, short(pace.at(Abscissa::Tokens, step as f64)))),
            (strings::TIME, known(Abscissa::Time, time_label(pace.at(Abscissa::Time, step as f64)))),
        ] {
            row.push(self.piece(format!("  {} ", state.tr(label)), Role::Dim));
            row.push(self.piece(value, Role::Text));
        }
        let end = area.right().saturating_sub(1);
        while row.len() > 2 && pieces_width(&row) > end.saturating_sub(area.x + 2) as usize {
            row.truncate(row.len() - 2);
        }
        put_pieces(buf, area.x + 2, area.y, end, &row);
    }

    /// A series' value at the crosshair, or the newest.
    pub(crate) fn value(&self, series: &Series) -> Option<f64> {
        let Some(step) = self.cursor() else { return series.last().map(|last| last.1) };
        let (bucket, _) = series.at(step as f64)?;
        Some(bucket.line(0))
    }

    /// Draws the panel's title; returns the rows below.
    pub(crate) fn title(&self, buf: &mut Buffer, area: Rect, facts: &Pieces) -> Rect {
        let title = self.state.tr(self.title);
        rule(buf, area, title, facts, self.focused(), self.state.theme, self.glyphs);
        below(area, 1)
    }

    /// One piece of text.
    pub(crate) fn piece<'p>(&self, text: impl Into<Cow<'p, str>>, role: Role) -> (Cow<'p, str>, Style) {
        (text.into(), self.style(role))
    }

    /// Why the stage in view has nothing to show: it was never trained, its logs do not have this, or `or`.
    pub(crate) fn nothing(&self, or: Tr) -> &'static str {
        let or = if self.state.is_watched() && or == strings::NO_RUN { strings::WATCH_AWAITED } else { or };
        self.state.tr(match (&self.stage.phase, self.stage.start_step) {
            (Phase::Resting, None) => strings::SOON,
            (Phase::Resting, Some(_)) => strings::NOT_LOGGED,
            _ => or,
        })
    }

    /// Draws why a panel of curves is empty and what to do; `or` if the stage has just started.
    pub(crate) fn not_yet(&self, buf: &mut Buffer, inner: Rect, or: Tr) {
        let (state, stage) = (self.state, self.stage);
        let here = state.switching().is_some() && state.switching() == stage.id;
        let going = format!("{} {}", state.tr(strings::SWITCHING), stage.title(state.lang));
        let words = match (&stage.phase, &stage.run) {
            (Phase::Resting, _) if stage.start_step.is_none() => strings::NEVER_TRAINED,
            (Phase::Resting, _) => strings::TRAINED_BEFORE,
            (_, Some(_)) => or,
            (_, None) if state.is_watched() => strings::WATCH_AWAITED,
            (_, None) => strings::NO_RUN,
        };
        let shown = if here { going.as_str() } else { state.tr(words) };
        let lesson = match stage.id {
            Some(id) if words == strings::NEVER_TRAINED && !here => self.lesson(id, inner.width),
            _ => Vec::new(),
        };
        let high = lesson.len() as u16 + 2;
        // In the middle, if there is room for the examples.
        let place = below(inner, inner.height.saturating_sub(if lesson.is_empty() { 1 } else { high }) / 2);
        self.words(buf, place, shown);
        for (row, line) in lesson.iter().enumerate().take(place.height.saturating_sub(2) as usize) {
            put_pieces(buf, place.x + 2, place.y + 2 + row as u16, place.right().saturating_sub(1), line);
        }
    }

    /// What a stage will learn, with examples.
    fn lesson(&self, stage: StageId, cells: u16) -> Vec<Pieces<'static>> {
        let lesson = strings::lesson(stage);
        let mut lines = vec![vec![self.piece(self.state.tr(lesson.about), Role::Text)]];
        for (question, answer, worse) in lesson.examples {
            let mut line = vec![self.piece(format!("{} {question} ", self.glyphs.prompt), Role::Dim)];
            line.push(self.piece(answer, Role::Good));
            if let Some(worse) = worse {
                let apart = pieces_width(&line) + width(worse) + 8 > cells as usize;
                if apart {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(self.piece(format!("  {} {worse}", self.glyphs.cross), Role::Bad));
            }
            lines.push(line);
        }
        lines
    }

    /// Draws a text in an otherwise empty panel.
    pub(crate) fn words(&self, buf: &mut Buffer, area: Rect, text: &str) {
        let lines = wrap(text, area.width.saturating_sub(4) as usize, 0);
        for (row, line) in lines.into_iter().take(area.height as usize).enumerate() {
            let y = area.y + row as u16;
            put(buf, area.x + 2, y, area.right(), &text[line], self.style(Role::Dim));
        }
    }

    /// A line with the range of its raw values behind it.
    pub(crate) fn banded<'s>(&self, series: &'s Series, role: Role) -> Curve<'s> {
        Curve { band: Some(self.style(Role::Band)), ..Curve::line(series, self.style(role)) }
    }

    /// Draws a plot, with a margin at the right, and records its place.
    pub(crate) fn plot(&self, buf: &mut Canvas, inner: Rect, plot: &Plot) {
        let margin = Rect { width: inner.width.saturating_sub(1), ..inner };
        let place = plot.render(buf, margin, self.state.theme, self.glyphs);
        buf.drawn.charts.extend(place);
    }

    /// The legend of a chart: marks, each with its role and label.
    pub(crate) fn legend<const N: usize>(&self, marks: [(&'static str, Role, String); N]) -> Pieces<'static> {
        let pieces = |(mark, role, label)| [self.piece(mark, role), self.piece(format!(" {label}  "), Role::Dim)];
        marks.into_iter().flat_map(pieces).collect()
    }

    /// Label and value pairs for one row.
    pub(crate) fn labelled<'p>(&self, facts: impl IntoIterator<Item = (&'p str, String, Role)>) -> Pieces<'p> {
        let mut pieces: Pieces = Vec::new();
        for (label, value, role) in facts {
            let gap = if pieces.is_empty() { "" } else { "  " };
            let space = if label.is_empty() { "" } else { " " };
            pieces.push(self.piece(format!("{gap}{label}{space}"), Role::Dim));
            pieces.push(self.piece(value, role));
        }
        pieces
    }

    /// Label and value pairs for a panel's title; without enough room the first pairs are dropped.
    pub(crate) fn fitting<'p>(&self, mut facts: Pieces<'p>, cells: usize) -> Pieces<'p> {
        let room = cells.saturating_sub(width(self.state.tr(self.title)) + 6);
        while facts.len() > 2 && pieces_width(&facts) > room {
            facts.drain(..2);
            facts[0].0 = facts[0].0.trim_start().to_owned().into();
        }
        facts
    }

    /// Facts for one row, separated by dots.
    pub(crate) fn dotted<'p>(&self, facts: impl IntoIterator<Item = String>) -> Pieces<'p> {
        let mut pieces: Pieces = Vec::new();
        for fact in facts {
            if !pieces.is_empty() {
                pieces.push(self.piece(format!(" {} ", self.glyphs.dot), Role::Dim));
            }
            pieces.push(self.piece(fact, Role::Text));
        }
        pieces
    }
}

/// Draws rows of pieces; in a row that is too long, pairs are dropped from the end.
pub(crate) fn put_rows(buf: &mut Buffer, area: Rect, rows: Vec<Pieces>) {
    let end = area.right().saturating_sub(1);
    for (at, mut row) in rows.into_iter().take(area.height as usize).enumerate() {
        while row.len() > 2 && pieces_width(&row) > end.saturating_sub(area.x + 2) as usize {
            row.truncate((row.len() - 1) / 2 * 2);
        }
        put_pieces(buf, area.x + 2, area.y + at as u16, end, &row);
    }
}

/// Splits a line where marks begin and end.
pub(crate) fn parts(line: Range<usize>, marks: &[Range<usize>]) -> Vec<(Range<usize>, bool)> {
    let mut parts = Vec::new();
    let mut at = line.start;
    for mark in marks.iter().filter(|m| m.end > line.start && m.start < line.end) {
        let (from, to) = (mark.start.max(at), mark.end.min(line.end));
        parts.push((at..from, false));
        parts.push((from..to, true));
        at = to;
    }
    parts.push((at..line.end, false));
    parts
}

/// The style of differences between two texts.
pub(crate) fn marked_style(pen: &Pen) -> Style {
    pen.style(Role::Focus).add_modifier(Modifier::UNDERLINED)
}

/// `area` without its first rows.
pub(crate) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// Draws a vertical divider over the area's height.
pub(crate) fn upright(pen: &Pen, x: u16, area: Rect, buf: &mut Buffer) {
    for y in area.top()..area.bottom() {
        put(buf, x, y, x + 1, pen.glyphs.divider, pen.style(Role::Dim));
    }
}

/// Tokens and epochs that were read, as far as the log has them.
pub(crate) fn tokens_read(step: &StepReport) -> (String, String) {
    let none = || "-".to_owned();
    let tokens = if step.absent.total_tokens { none() } else { short(step.total_tokens as f64) };
    let epoch = if step.absent.epoch { none() } else { format!("{:.2}", step.epoch) };
    (tokens, epoch)
}
