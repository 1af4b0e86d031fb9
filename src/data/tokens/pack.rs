//! Packs sources into token streams for training and evaluation, and into texts for training the tokenizer.

use super::stream::Stream;
use crate::data::{
    chat::Conversation,
    document::Source,
    error::DataError,
    split::Split,
    tokenizer::{TextGroup, Tokenizer},
};

/// A source's two streams.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The source's name.
    pub name: String,
    /// Its share, as given.
    pub weight: f64,
    /// The training stream.
    pub train: Stream,
    /// The held-out stream; may be empty.
    pub held_out: Stream,
}

/// Packs both sides of every source.
pub fn pack(sources: &[Source], split: &Split, tokenizer: &Tokenizer) -> Result<Vec<Packed>, DataError> {
    let side = |source: &Source, indices: &[usize]| {
        Stream::pack(indices.iter().filter_map(|i| source.documents.get(*i)), tokenizer)
    };
    sources
        .iter()
        .zip(split.train.iter().zip(&split.held_out))
        .map(|(source, (train, held_out))| {
            Ok(Packed {
                name: source.name.clone(),
                weight: source.weight,
                train: side(source, train)?,
                held_out: side(source, held_out)?,
            })
        })
        .collect()
}

/// The training documents for the tokenizer's trainer: a character counts as often as it will be drawn, so that a small
/// source with a large weight gets its rare characters into the vocabulary.
pub fn training_texts<'a>(sources: &'a [Source], split: &Split) -> Vec<TextGroup<'a>> {
    sources
        .iter()
        .zip(&split.train)
        .map(|(source, indices)| {
            let texts: Vec<&str> = indices.iter().filter_map(|i| Some(source.documents.get(*i)?.text())).collect();
            let characters: usize = texts.iter().map(|t| t.chars().count()).sum();
            TextGroup { weight: source.weight / characters.max(1) as f64, texts }
        })
        .collect()
}

/// Conversations for the tokenizer's trainer; all their characters together count `weight`.
pub fn chat_texts(conversations: &[Conversation], weight: f64) -> TextGroup<'_> {
    let texts: Vec<&str> = conversations.iter().flat_map(|c| &c.turns).map(|t| t.content.as_str()).collect();
    let characters: usize = texts.iter().map(|t| t.chars().count()).sum();
    TextGroup { weight: weight / characters.max(1) as f64, texts }
}
