//! What the opening of a stage is busy with.

/// Work that takes long while a stage is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// The work.
    pub work: Work,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 where it is not counted.
    pub of: u64,
}

/// The kinds of such work, each with what it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Files are hashed, in bytes.
    Hash,
    /// Files are read and cleaned, in bytes.
    Clean,
    /// Documents are compared for duplicates and split; not counted.
    Select,
    /// A tokenizer is trained; not counted.
    Tokenizer,
    /// Documents or conversations are tokenised, in such.
    Tokenize,
    /// Files of conversations or pairs are read, in bytes.
    Chats,
    /// The run's own model answers questions, in answers.
    Answers,
}
