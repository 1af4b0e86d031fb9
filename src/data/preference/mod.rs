//! Human feedback: a prompt, the chosen answer and the rejected one.
//!
//! A record that does not parse or has no preference is counted, located and skipped, as in [`chat::reader`]. A ranking
//! becomes all its pairs; votes for neither answer are counted and left out.

mod features;
mod forms;
mod pairs;
mod reader;

pub use self::{
    features::{TextFeature, candidates},
    forms::PreferenceForm,
    pairs::{
        PairExample, PairsFitted, PreferenceSource, Side, encode_pairs, split_preference_sources, split_preferences,
    },
    reader::{PreferenceReading, read_preference_file, read_preferences},
};
use super::{
    chat::{self, Turn},
    split::{self, Key},
};

/// A prompt with a better and a worse answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The prompt: a conversation that ends with the user.
    pub prompt: Vec<Turn>,
    /// The better answer.
    pub chosen: String,
    /// The worse one.
    pub rejected: String,
    /// The kind of task, if the data have one.
    pub task: Option<String>,
    /// The same for all pairs about one prompt.
    pub group: u64,
    /// Whether it is a vote cast in danlu.
    pub votes: bool,
}

impl Preference {
    /// A pair of answers.
    pub fn new(prompt: Vec<Turn>, chosen: String, rejected: String, task: Option<String>, votes: bool) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = prompt_key(&prompt);
        Self { prompt, chosen, rejected, task, group: u64::from_be_bytes([a, b, c, d, e, f, g, h]), votes }
    }

    /// The hash of its prompt, which decides whether it is held out.
    pub fn key(&self) -> Key {
        prompt_key(&self.prompt)
    }
}

fn prompt_key(prompt: &[Turn]) -> Key {
    split::key(&chat::render(prompt, false))
}
