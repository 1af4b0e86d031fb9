//! The errors of the data layer. All are bad input; callers map them to exit code 2.

/// An error of the data layer. It has the position inside the input; the caller, who opened the file, adds its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The input could not be read.
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
    /// The bytes are not UTF-8.
    #[error(
        "is not UTF-8: byte {offset} (line {line}) does not continue a character; convert the file to UTF-8 (for example with iconv)"
    )]
    InvalidUtf8 {
        /// Offset of the first bad byte, from 0.
        offset: u64,
        /// Its line, from 1.
        line: u64,
    },
    /// Invalid JSON.
    #[error("is not JSON: {reason} at line {line}, column {column}")]
    Json {
        /// The parser's message.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The bytes are not text in any encoding.
    #[error("is not text: byte {offset} is zero, as in a program or a picture; leave the file out of the source")]
    Binary {
        /// Offset of the first zero byte, from 0.
        offset: u64,
    },
    /// Bytes that are invalid in the detected encoding, which is named.
    #[error("has bytes that are not {0}; save the file as UTF-8")]
    Undecodable(&'static str),
    /// A Git LFS pointer in place of a file.
    #[error("is a Git LFS pointer, not the file itself; run git lfs pull in the clone")]
    Pointer,
    /// A web page in place of data.
    #[error("is a web page (HTML){title}, not the file itself; download it again", title = .0.as_ref().map_or(String::new(), |t| format!(" titled {t:?}")))]
    WebPage(Option<String>),
    /// Prepared data whose bytes are not those that were written.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// The file's content does not match its extension, or it has no text column.
    #[error("{0}")]
    Shape(String),
    /// The input exceeds a limit.
    #[error("is too large: {what} has more than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// No document was found.
    #[error("holds no document{}", hint(*.rejected, .first.as_ref()))]
    Empty {
        /// Rejected records.
        rejected: u64,
        /// Place and reason of the first one.
        first: Option<(u64, String)>,
    },
    /// No conversation was found.
    #[error("holds no conversation{}", chat_hint(*.rejected, .first.as_ref()))]
    NoConversation {
        /// Rejected records.
        rejected: u64,
        /// Place and reason of the first one.
        first: Option<(u64, String)>,
    },
    /// No pair of answers was found.
    #[error("holds no preference{}", preference_hint(*.rejected, *.undecided, .first.as_ref()))]
    NoPreference {
        /// Rejected records.
        rejected: u64,
        /// Votes that preferred neither answer.
        undecided: u64,
        /// Place and reason of the first rejected one.
        first: Option<(u64, String)>,
    },
    /// Unusable preference data.
    #[error("preferences: {0}")]
    Preferences(String),
    /// Conversations or examples that cannot be used together.
    #[error("conversations: {0}")]
    Conversations(String),
    /// A conversation that a model's own chat template does not render.
    #[error("{0}")]
    Template(String),
    /// An unusable tokenizer file, or a vocabulary that cannot be trained.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A mix that cannot be drawn from.
    #[error("mix: {0}")]
    Mix(String),
}

impl From<std::io::Error> for DataError {
    /// Recovers an error of this layer that was passed through a reader.
    fn from(e: std::io::Error) -> Self {
        e.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}

fn chat_hint(rejected: u64, first: Option<&(u64, String)>) -> String {
    match first {
        Some(_) => hint(rejected, first),
        None => "; expected records with \"messages\", \"conversations\", \"instruction\" and \"output\", \"prompt\" and \"completion\", or \"question\" and \"answer\"".to_owned(),
    }
}

fn preference_hint(rejected: u64, undecided: u64, first: Option<&(u64, String)>) -> String {
    match first {
        Some(_) => hint(rejected, first),
        None if undecided > 0 => format!("; {undecided} votes preferred neither answer, and there is no other record"),
        None => "; expected JSON Lines or a JSON array with \"prompt\", \"chosen\" and \"rejected\" (or a form of LLaMA-Factory, minimind or hh-rlhf)".to_owned(),
    }
}

fn hint(rejected: u64, first: Option<&(u64, String)>) -> String {
    match first {
        Some((place, reason)) => format!("; {rejected} records were rejected, the first at {place}: {reason}"),
        None => "; expected text in it".to_owned(),
    }
}
