//! The modes, which decide who gets the keys.

/// A mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The panels of a stage; keys are commands.
    Nav,
    /// The panels of the data view.
    Data,
    /// The two answers to vote on.
    Vote,
    /// The prompt field.
    Text,
    /// The field of a corrected answer.
    Edit,
    /// The palette's field.
    Palette,
    /// A question with its choices.
    Dialog,
    /// The help.
    Help,
    /// The card of a stage.
    Card,
    /// The list of the config pane.
    Config,
    /// The filter of the config pane.
    Filter,
    /// What is looked for in a panel.
    Find,
    /// The tree of runs.
    Tree,
    /// A line typed in the tree.
    Name,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 14] = [
        Mode::Nav,
        Mode::Data,
        Mode::Vote,
        Mode::Text,
        Mode::Edit,
        Mode::Palette,
        Mode::Dialog,
        Mode::Help,
        Mode::Card,
        Mode::Config,
        Mode::Filter,
        Mode::Find,
        Mode::Tree,
        Mode::Name,
    ];

    /// Whether printable keys insert text.
    pub fn is_text(self) -> bool {
        matches!(self, Mode::Text | Mode::Edit | Mode::Palette | Mode::Filter | Mode::Find | Mode::Name)
    }
}
