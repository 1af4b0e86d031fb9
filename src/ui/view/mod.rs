//! Draws the state: header, panels, footer, overlays.

mod bars;
pub mod chat;
pub mod data;
pub mod feedback;
mod field;
pub mod log;
mod overlay;
pub mod pen;
mod places;
pub mod spec;
pub mod train;
mod tree;
mod vote;

use ratatui::{buffer::Buffer, layout::Rect};

use self::{
    pen::{Canvas, Pen, upright},
    places::Size,
};
use crate::ui::{
    panels,
    state::{AppState, Drawn},
    strings::Tr,
    theme::MORE,
};

/// Draws everything; returns the layout, which the next keys need.
pub fn draw(state: &AppState, area: Rect, buf: &mut Buffer) -> Drawn {
    let area = area.intersection(buf.area);
    let mut canvas = Canvas::new(buf);
    if area.width == 0 || area.height == 0 {
        return canvas.drawn;
    }
    canvas.drawn.area = area;
    let pen =
        Pen { state, stage: state.shown(), glyphs: state.glyph_set.glyphs(), panel: state.focus, title: Tr("", "") };
    let size = places::size(area);
    let header = u16::from(area.height > 2);
    let footer = match (size, area.height) {
        (_, 0..=3) => 0,
        (Size::Small, _) => 1,
        _ => 2,
    };
    let body = Rect { y: area.y + header, height: area.height - header - footer, ..area };
    if header > 0 {
        bars::header(&pen, Rect { height: 1, ..area }, &mut canvas);
    }
    if state.tree.open {
        tree::draw(&pen, size, body, &mut canvas);
    } else if state.voting.open {
        vote::draw(&pen, size, body, &mut canvas);
    } else {
        panels(&pen, size, body, &mut canvas);
    }
    if footer > 0 {
        let place = Rect { y: area.bottom() - footer, height: footer, ..area };
        bars::footer(&pen, place, &mut canvas);
    }
    bars::strip(&pen, body, &mut canvas);
    overlay::draw(&pen, area, &mut canvas);
    if pen.glyphs.more != MORE {
        for cell in canvas.content.iter_mut().filter(|cell| cell.symbol() == MORE) {
            cell.set_symbol(pen.glyphs.more);
        }
    }
    canvas.drawn
}

/// Draws the panels of the view.
fn panels(pen: &Pen, size: Size, body: Rect, canvas: &mut Canvas) {
    let (panels, dividers) = places::arrange(pen.state, body, size);
    for (panel, place) in &panels {
        if let Some(spec) = panels::find(*panel) {
            let pen = Pen { panel: *panel, title: spec.title, ..*pen };
            (spec.draw)(&pen, *place, canvas);
        }
    }
    canvas.drawn.panels = panels;
    for x in dividers {
        upright(pen, x, body, canvas);
    }
}
