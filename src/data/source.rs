//! Sources and their packed token streams.

use crate::data::{
    chat::Conversation,
    document::Document,
    error::DataError,
    split::Split,
    tokenizer::{TextGroup, Tokenizer},
};

/// One named body of documents.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its documents.
    pub documents: Vec<Document>,
    /// Its share of drawn tokens, relative to the other sources' weights.
    pub weight: f64,
    /// Whether some documents may be held out; `false` where all are to be memorised.
    pub hold_out: bool,
}

/// Documents as token ids, each followed by EOS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    tokens: Vec<u32>,
    /// Where each document starts, and where the last one ends.
    starts: Vec<usize>,
    /// Tokens of each document's head.
    heads: Vec<u32>,
    bytes: u64,
}

/// A source's two streams.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The source's name.
    pub name: String,
    /// Its share, as given.
    pub weight: f64,
    /// What is trained on.
    pub train: Stream,
    /// What is evaluated on; may be empty.
    pub held_out: Stream,
}

impl Stream {
    /// Encodes documents and packs them one after the other.
    pub fn pack<'a>(
        documents: impl IntoIterator<Item = &'a Document>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let Some(end) = tokenizer.end_of_text() else {
            return Err(DataError::Tokenizer("it has no end-of-text token to put between documents".into()));
        };
        let mut stream = Self { starts: vec![0], ..Self::default() };
        for document in documents {
            let head = tokenizer.encode(document.head())?;
            stream.heads.push(head.len() as u32);
            stream.tokens.extend(head);
            stream.tokens.extend(tokenizer.encode(document.body())?);
            stream.tokens.push(end);
            stream.starts.push(stream.tokens.len());
            stream.bytes += document.text().len() as u64;
        }
        Ok(stream)
    }

    /// All ids.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The number of documents.
    pub fn documents(&self) -> usize {
        self.heads.len()
    }

    /// The ids of a document, its EOS last.
    pub fn document(&self, index: usize) -> &[u32] {
        &self.tokens[self.starts[index]..self.starts[index + 1]]
    }

    /// The ids of a document without its head.
    pub fn body(&self, index: usize) -> &[u32] {
        &self.document(index)[self.heads[index] as usize..]
    }

    /// Whether a document has a head that can be left out.
    pub fn has_head(&self, index: usize) -> bool {
        self.heads[index] > 0
    }

    /// Bytes of text behind the ids.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of text per token (EOS counts as a token, writes no byte).
    pub fn bytes_per_token(&self) -> f64 {
        self.bytes as f64 / self.tokens.len().max(1) as f64
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// Packs every source's two sides.
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

/// The training documents as the tokenizer's trainer wants them: a character counts as often as it
/// will be drawn, so that a small source of great weight gets its rare characters in.
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

/// Conversations as the tokenizer's trainer wants them; all their characters together count `weight`.
pub fn chat_texts(conversations: &[Conversation], weight: f64) -> TextGroup<'_> {
    let texts: Vec<&str> = conversations.iter().flat_map(|c| &c.turns).map(|t| t.content.as_str()).collect();
    let characters: usize = texts.iter().map(|t| t.chars().count()).sum();
    TextGroup { weight: weight / characters.max(1) as f64, texts }
}
