//! Movements in a panel, list or text, and what they have made visible of a stage's charts.

use crate::ui::chart::Pace;

/// Rows per page.
const PAGE: usize = 10;

/// A movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Previous,
    Next,
}

impl Walk {
    /// The new position, in a list whose last position is `most`.
    pub(crate) fn from(self, at: usize, most: usize) -> usize {
        match self {
            Walk::Up | Walk::Previous => at.saturating_sub(1),
            Walk::Down | Walk::Next => (at + 1).min(most),
            Walk::PageUp => at.saturating_sub(PAGE),
            Walk::PageDown => (at + PAGE).min(most),
            Walk::First => 0,
            Walk::Last => most,
        }
        .min(most)
    }
}

/// A part of the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Its length in steps.
    pub span: f64,
    /// Its last step; None follows the newest.
    pub end: Option<f64>,
}

/// What is visible of a stage's charts.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    /// The visible part; without one all steps are visible.
    pub window: Option<Window>,
    /// Whether the planned steps are visible too, however few are done.
    pub planned: bool,
    /// The step of the crosshair.
    pub cursor: Option<usize>,
    /// Tokens and time at each step.
    pub pace: Pace,
}
