//! Conversations, the chat template and its mask.

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sets the scene; first, if at all.
    System,
    /// Asks.
    User,
    /// Answers; the only one whose words are trained on.
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// The words.
    pub content: String,
}
