//! The errors of the data layer. All of them are bad input; the callers map them to exit 2.

/// An error of the data layer. It names the place inside the input; the caller, who opened the
/// file, adds its name.
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
    /// The JSON cannot be parsed at all.
    #[error("is not JSON: {reason} at line {line}, column {column}")]
    Json {
        /// The parser's words.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The bytes are no text in any encoding.
    #[error("is not text: byte {offset} is zero, as in a program or a picture; leave the file out of the source")]
    Binary {
        /// Offset of the first zero byte, from 0.
        offset: u64,
    },
    /// Bytes that are no character of the encoding that the rest is in.
    #[error("has bytes that are not {0}; save the file as UTF-8")]
    Undecodable(&'static str),
    /// What Git LFS leaves in the place of a file that it has not fetched.
    #[error("is a Git LFS pointer, not the file itself; run git lfs pull in the clone")]
    Pointer,
    /// A page of a web site in the place of data.
    #[error("is a web page (HTML){title}, not the file itself; download it again", title = .0.as_ref().map_or(String::new(), |t| format!(" titled {t:?}")))]
    WebPage(Option<String>),
    /// Prepared data of ours that are not what was written.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// The file as a whole is not what its ending says, or has no column of text.
    #[error("{0}")]
    Shape(String),
    /// The input is larger than a reader takes.
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
        /// Records that were rejected on the way.
        rejected: u64,
        /// Where and why the first of them was.
        first: Option<(u64, String)>,
    },
    /// No conversation was found.
    #[error("holds no conversation{}", chat_hint(*.rejected, .first.as_ref()))]
    NoConversation {
        /// Records that were rejected on the way.
        rejected: u64,
        /// Where and why the first of them was.
        first: Option<(u64, String)>,
    },
    /// No pair of answers was found.
    #[error("holds no preference{}", preference_hint(*.rejected, *.undecided, .first.as_ref()))]
    NoPreference {
        /// Records that were rejected on the way.
        rejected: u64,
        /// Votes that preferred neither answer.
        undecided: u64,
        /// Where and why the first rejected one was.
        first: Option<(u64, String)>,
    },
    /// Preferences that cannot be used.
    #[error("preferences: {0}")]
    Preferences(String),
    /// Conversations or examples that cannot be used together.
    #[error("conversations: {0}")]
    Conversations(String),
    /// A tokenizer file that cannot be used, or a vocabulary that cannot be trained.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A mix that cannot be drawn from.
    #[error("mix: {0}")]
    Mix(String),
}

impl From<std::io::Error> for DataError {
    /// An error of this layer that came through a reader is itself again.
    fn from(e: std::io::Error) -> Self {
        e.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}

fn chat_hint(rejected: u64, first: Option<&(u64, String)>) -> String {
    match first {
        Some(_) => hint(rejected, first),
        None => "; expected JSON Lines or a JSON array with \"messages\", \"conversations\", \"instruction\" and \"output\", or \"prompt\" and \"completion\"".to_owned(),
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
