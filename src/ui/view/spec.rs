//! What the row of a panel says: title, draw function, and place in each view.

use ratatui::layout::Rect;

use super::pen::{Canvas, Pen};
use crate::ui::{
    state::{Panel, View},
    strings::Tr,
};

type Draw = fn(&Pen, Rect, &mut Canvas);

/// A panel.
#[derive(Clone, Copy)]
pub struct PanelSpec {
    /// Its rank among all panels: they follow each other by it in a column and with Tab.
    pub order: u8,
    /// Its identifier.
    pub id: Panel,
    /// Its title.
    pub title: Tr,
    /// Draws it into an area.
    pub(crate) draw: Draw,
    /// The views that contain it, with its places there.
    pub places: &'static [Place],
}

/// A panel's place in a view, with two columns and with one column.
pub type Place = (View, Wide, Tall);

/// A place in the layout with two columns. Within a column panels follow by [`PanelSpec::order`].
#[derive(Clone, Copy, Debug)]
pub enum Wide {
    /// In the left column.
    Left(Rows),
    /// In the right column.
    Right(Rows),
    /// Hidden; with the focus it takes the place of the panel that [`crate::ui::panels::Layout::yields`].
    Hidden,
}

/// A place in the layout with one column.
#[derive(Clone, Copy, Debug)]
pub enum Tall {
    /// Always visible.
    Top(Rows),
    /// At the bottom, unless another bottom panel has the focus.
    Foot(Rows),
    /// At the bottom while it has the focus.
    Swap(Rows),
}

/// The height of a panel including its title.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// The remaining rows.
    Rest,
    /// A fixed number.
    Just(u16),
    /// The body's height divided by the first number, at least the second.
    Part(u16, u16),
    /// One row per source, at most this many.
    Sources(u16),
    /// One row per task, at most this many.
    Tasks(u16),
    /// One row per source plus this many, at most the body's height divided by the second number.
    Stock(u16, u16),
    /// Three rows per probe, at most half of the rows that log and engine leave.
    Probes,
    /// Half of the rows that the engine panel leaves.
    Half(u16),
}

impl PanelSpec {
    /// Its places in a view, if the view contains it.
    pub fn place(&self, view: View) -> Option<(Wide, Tall)> {
        self.places.iter().find(|p| p.0 == view).map(|p| (p.1, p.2))
    }
}

/// A row.
pub(crate) const fn panel(order: u8, id: Panel, title: Tr, draw: Draw, places: &'static [Place]) -> PanelSpec {
    PanelSpec { order, id, title, draw, places }
}
