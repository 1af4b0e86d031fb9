//! The screen as a function of the state: which panels where, and what lies over them.

mod align;
mod batch;
mod chat;
mod field;
mod frame;
mod guard;
mod help;
mod log;
mod loss;
mod mix;
mod overlay;
mod pick;
mod places;
mod probe;
mod reward;
mod rollout;
mod room;
mod run;
mod tasks;
mod votes;

use std::{borrow::Cow, ops::Range};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use self::places::Size;
use crate::ui::{
    paint::{Pieces, put},
    state::{AppState, Panel, Phase, Stage},
    strings::{self, Tr},
    text::wrap,
    theme::{Glyphs, Role},
};

/// A caret's column and row.
pub type Caret = (u16, u16);

/// What the panels draw with.
pub(crate) struct Pen<'a> {
    pub(crate) state: &'a AppState,
    /// The stage looked at.
    pub(crate) stage: &'a Stage,
    pub(crate) glyphs: &'static Glyphs,
}

impl Pen<'_> {
    pub(crate) fn style(&self, role: Role) -> Style {
        self.state.theme.style(role)
    }

    /// A small chart's or a column's rule, which no focus goes to; the rows below it.
    pub(crate) fn subtitle(&self, buf: &mut Buffer, area: Rect, title: &str, facts: &Pieces) -> Rect {
        crate::ui::paint::rule(buf, area, title, facts, false, self.state.theme, self.glyphs);
        below(area, 1)
    }

    /// From the stage's beginning to the end planned: the empty part is what is still to come.
    pub(crate) fn steps(&self) -> (f64, f64) {
        let planned = self.stage.run.as_ref().map_or(1, |r| r.info.steps);
        (0.0, planned.max(self.stage.steps_done()).max(1) as f64)
    }

    /// A rule with the panel's title; the rows below it.
    pub(crate) fn title(&self, buf: &mut Buffer, area: Rect, panel: Panel, facts: &Pieces) -> Rect {
        let focused = self.state.focus == panel;
        let title = self.state.tr(panel.title());
        crate::ui::paint::rule(buf, area, title, facts, focused, self.state.theme, self.glyphs);
        below(area, 1)
    }

    /// One piece of text.
    pub(crate) fn piece<'p>(&self, text: impl Into<Cow<'p, str>>, role: Role) -> (Cow<'p, str>, Style) {
        (text.into(), self.style(role))
    }

    /// Why the stage looked at has nothing to show, if another has the trainer; else `or`.
    pub(crate) fn nothing(&self, or: Tr) -> &'static str {
        self.state.tr(if self.stage.phase == Phase::Resting { strings::NOT_HERE } else { or })
    }

    /// Words in an otherwise empty panel.
    pub(crate) fn words(&self, buf: &mut Buffer, area: Rect, text: &str) {
        let lines = wrap(text, area.width.saturating_sub(4) as usize, 0);
        for (row, line) in lines.into_iter().take(area.height as usize).enumerate() {
            let y = area.y + row as u16;
            put(buf, area.x + 2, y, area.right(), &text[line], self.style(Role::Dim));
        }
    }

    /// Label and value pairs in one row.
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

    /// Label and value pairs for a panel's title: those in front go first where there is not room for all, a
    /// label with its value.
    pub(crate) fn fitting<'p>(&self, mut facts: Pieces<'p>, panel: Panel, cells: usize) -> Pieces<'p> {
        let room = cells.saturating_sub(crate::ui::text::width(self.state.tr(panel.title())) + 6);
        while facts.len() > 2 && crate::ui::paint::pieces_width(&facts) > room {
            facts.drain(..2);
            facts[0].0 = facts[0].0.trim_start().to_owned().into();
        }
        facts
    }

    /// Facts in one row, with dots between.
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

/// Rows of pieces below each other, whole pairs dropped from the end where a row is too long.
pub(crate) fn put_rows(buf: &mut Buffer, area: Rect, rows: Vec<Pieces>) {
    let end = area.right().saturating_sub(1);
    for (at, mut row) in rows.into_iter().take(area.height as usize).enumerate() {
        while row.len() > 2 && crate::ui::paint::pieces_width(&row) > end.saturating_sub(area.x + 2) as usize {
            row.truncate((row.len() - 1) / 2 * 2);
        }
        crate::ui::paint::put_pieces(buf, area.x + 2, area.y + at as u16, end, &row);
    }
}

/// A line cut where marks begin and end.
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

/// How what differs between two texts looks.
pub(crate) fn marked_style(pen: &Pen) -> Style {
    pen.style(Role::Focus).add_modifier(Modifier::UNDERLINED)
}

/// `area` without its first rows.
pub(crate) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// Draws everything; returns where the terminal's own caret belongs, if a field has the keys.
pub fn draw(state: &AppState, area: Rect, buf: &mut Buffer) -> Option<Caret> {
    let area = area.intersection(buf.area);
    if area.width == 0 || area.height == 0 {
        return None;
    }
    let pen = Pen { state, stage: state.shown(), glyphs: state.glyph_set.glyphs() };
    let size = places::size(area);
    let header = u16::from(area.height > 2);
    let footer = match (size, area.height) {
        (_, 0..=3) => 0,
        (Size::Small, _) => 1,
        _ => 2,
    };
    let body = Rect { y: area.y + header, height: area.height - header - footer, ..area };
    if header > 0 {
        frame::header(&pen, Rect { height: 1, ..area }, buf);
    }
    state.scroll_limit.set(0);
    state.batch_cells.set(0);
    state.rollout_seen.set(false);
    state.room.next_seen.set(false);
    state.room.document_seen.set(false);
    let caret = if state.pick.open { pick::draw(&pen, size, body, buf) } else { panels(&pen, size, body, buf) };
    if footer > 0 {
        let place = Rect { y: area.bottom() - footer, height: footer, ..area };
        frame::footer(&pen, place, buf);
    }
    frame::strip(&pen, body, buf);
    overlay::draw(&pen, area, buf, caret)
}

/// The panels of the view, each in its place.
fn panels(pen: &Pen, size: Size, body: Rect, buf: &mut Buffer) -> Option<Caret> {
    let (panels, divider) = places::arrange(pen.state, body, size);
    let mut caret = None;
    for (panel, place) in &panels {
        match panel {
            Panel::Loss => loss::draw(pen, *place, buf),
            Panel::Tasks => tasks::draw(pen, *place, buf),
            Panel::Probe => probe::draw(pen, *place, buf),
            Panel::Batch => batch::draw(pen, *place, buf),
            Panel::Accuracy => reward::accuracy(pen, *place, buf),
            Panel::Margins => reward::margins(pen, *place, buf),
            Panel::Votes => votes::draw(pen, *place, buf),
            Panel::Score => align::score(pen, *place, buf),
            Panel::Drift => align::drift(pen, *place, buf),
            Panel::Frontier => align::frontier(pen, *place, buf),
            Panel::Lamps => guard::draw(pen, *place, buf),
            Panel::Rollout => rollout::draw(pen, *place, buf),
            Panel::Chat => caret = chat::draw(pen, *place, buf),
            Panel::Mix => mix::draw(pen, *place, buf),
            Panel::Sources => room::sources(pen, *place, buf),
            Panel::Filters => room::filters(pen, *place, buf),
            Panel::Dropped => room::dropped(pen, *place, buf),
            Panel::Losses => room::losses(pen, *place, buf),
            Panel::Tokenizer => room::tokenizer(pen, *place, buf),
            Panel::Preview => room::preview(pen, *place, buf),
            Panel::NextBatch => room::next_batch(pen, *place, buf),
            Panel::Changes => room::changes(pen, *place, buf),
            Panel::Run => run::draw(pen, *place, buf),
            Panel::Log => log::draw(pen, *place, buf),
        }
    }
    if let Some(x) = divider {
        upright(pen, x, body, buf);
    }
    caret
}

/// A divider over the area's height.
fn upright(pen: &Pen, x: u16, area: Rect, buf: &mut Buffer) {
    for y in area.top()..area.bottom() {
        put(buf, x, y, x + 1, pen.glyphs.divider, pen.style(Role::Dim));
    }
}
