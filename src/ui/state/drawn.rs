//! The layout of the newest frame. Keys and requests to the trainer depend on it: how far a text can be scrolled, how
//! wide a field is, which panels are visible.

use ratatui::layout::Rect;

use super::Panel;

/// The layout of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The whole screen.
    pub area: Rect,
    /// The panels and their areas.
    pub panels: Vec<(Panel, Rect)>,
    /// Column and row of the terminal's cursor, if a field has the keys.
    pub caret: Option<(u16, u16)>,
    /// Rows by which the focused panel can be scrolled.
    pub scroll_limit: usize,
    /// Cells per line in the batch panel.
    pub batch_cells: usize,
    /// Cells per line in the field that has the keys.
    pub field_cells: usize,
}

impl Drawn {
    /// Whether more than a panel's title was drawn.
    pub fn shows(&self, panel: Panel) -> bool {
        self.panels.iter().any(|(p, place)| *p == panel && place.height > 1)
    }
}
