//! What the newest frame laid out. Keys and requests to the trainer depend on it: how far a text can be scrolled, how
//! wide a field is, which panels are in sight.

use ratatui::layout::Rect;

use super::Panel;

/// What a frame laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The panels and their places.
    pub panels: Vec<(Panel, Rect)>,
    /// Column and row of the terminal's caret, if a field has the keys.
    pub caret: Option<(u16, u16)>,
    /// Rows by which what has the keys can be scrolled.
    pub scroll_limit: usize,
    /// Cells of a line in the batch panel.
    pub batch_cells: usize,
    /// Cells of a line in the field that has the keys.
    pub field_cells: usize,
}

impl Drawn {
    /// Whether more than a panel's title was drawn.
    pub fn shows(&self, panel: Panel) -> bool {
        self.panels.iter().any(|(p, place)| *p == panel && place.height > 1)
    }
}
