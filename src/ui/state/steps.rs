//! Movements in a panel, list or text.

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
