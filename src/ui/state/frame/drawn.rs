//! The layout of the newest frame. Keys and requests to the trainer depend on it: how far a text can be scrolled, how
//! wide a field is, which panels are visible, what lies under the mouse.

use ratatui::layout::Rect;

use super::Panel;
use crate::ui::keys::Key;

/// What a click means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    /// The same as this key.
    Key(Key),
    /// Selects this row of the list that has the keys.
    Row(usize),
}

/// The layout of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The whole screen.
    pub area: Rect,
    /// The panels and their areas.
    pub panels: Vec<(Panel, Rect)>,
    /// The charts over the steps of the stage in view: the cells inside their axes.
    pub charts: Vec<Rect>,
    /// What can be clicked beside panels and charts; the last one on top.
    pub targets: Vec<(Rect, Click)>,
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
    /// The panel in this cell.
    pub fn panel_at(&self, at: (u16, u16)) -> Option<Panel> {
        self.panels.iter().find(|(_, place)| place.contains(at.into())).map(|(panel, _)| *panel)
    }

    /// The chart in this cell.
    pub fn chart_at(&self, at: (u16, u16)) -> Option<Rect> {
        self.charts.iter().find(|place| place.contains(at.into())).copied()
    }

    /// What a click on this cell means.
    pub fn target_at(&self, at: (u16, u16)) -> Option<Click> {
        self.targets.iter().rev().find(|(place, _)| place.contains(at.into())).map(|(_, target)| *target)
    }

    /// Whether more than a panel's title was drawn.
    pub fn shows(&self, panel: Panel) -> bool {
        self.panels.iter().any(|(p, place)| *p == panel && place.height > 1)
    }
}
