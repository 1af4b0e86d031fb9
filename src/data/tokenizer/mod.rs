//! Text to token ids and back, with the `tokenizers` crate, in files that transformers reads.
//!
//! Two kinds are trained here (`train.rs`): `char`, a BPE model that merges only Latin letters and falls back to bytes,
//! and `bpe`, byte-level. An imported `tokenizer.json` is accepted if its model is BPE (`load.rs`); missing
//! conversation tokens are added (`grow.rs`).

mod edges;
mod facts;
mod grow;
mod latin;
mod load;
mod own;
mod parts;
mod pieces;
mod splits;
mod stream;
mod train;
mod vocabulary;

use std::sync::Arc;

use serde_json::{Value, json};

pub use facts::{Facts, facts};
pub use load::{LARGEST_CONFIG, LARGEST_FILE};
pub use own::Rendered;
pub use stream::StreamDecoder;
pub use train::{TextGroup, train_bpe, train_char};
pub use vocabulary::{Merging, TokenKind, Vocabulary};

use crate::{base::panics, data::error::DataError};

/// Ends a document; also the model's EOS token.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Pads a row; never equal to EOS, so that masks can distinguish them.
pub const PAD: &str = "<|pad|>";
/// Closes a turn of a conversation, as in ChatML.
pub const TURN_END: &str = "<|im_end|>";
/// Opens the system's turn.
pub const SYSTEM: &str = "<|system|>";
/// Opens a user's turn.
pub const USER: &str = "<|user|>";
/// Opens the assistant's turn.
pub const ASSISTANT: &str = "<|assistant|>";
/// The special tokens of every tokenizer trained here; their ids are their positions.
///
/// A turn opens with one token for its role, where ChatML has `<|im_start|>`, the role's name and a line break: with
/// one token per character the names would be a third of every example.
pub const SPECIAL_TOKENS: [&str; 6] = [END_OF_TEXT, PAD, TURN_END, SYSTEM, USER, ASSISTANT];

/// The special tokens of `tokenizer_config.json` that danlu sets itself.
const NAMED: [&str; 2] = ["eos_token", "pad_token"];

/// The ids that mark a conversation's turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatTokens {
    /// Opens the system's turn.
    pub system: u32,
    /// Opens a user's turn.
    pub user: u32,
    /// Opens the assistant's turn.
    pub assistant: u32,
    /// Closes every turn.
    pub end: u32,
}

/// How token strings become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoding {
    /// `<0xNN>` is a byte, everything else is itself (ByteFallback, then Fuse).
    ByteFallback,
    /// Every character represents a byte (GPT-2's table).
    ByteLevel,
    /// An imported decoder: left to the crate.
    Other,
}

#[derive(Debug)]
struct Inner {
    model: tokenizers::Tokenizer,
    json: String,
    decoding: Decoding,
    /// Token strings by id; `None` for a gap in the vocabulary.
    tokens: Vec<Option<String>>,
    /// The bytes of each token, for the two decodings known here.
    bytes: Vec<Box<[u8]>>,
    special: Vec<bool>,
    end: Option<u32>,
    pad: Option<u32>,
    byte_fallback: bool,
    /// The token that begins a text, if one is named.
    bos: Option<u32>,
    edges: edges::Edges,
    /// The model's own chat template, or why the one in its folder is not used.
    own: Option<own::Own>,
    refused: Option<String>,
}

/// A tokenizer. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Tokenizer(Arc<Inner>);

impl Tokenizer {
    /// Encodes a text from its beginning, without BOS and EOS. Text that spells a special token is encoded as text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.encode_whole(text)
    }

    /// Decodes ids. Ids without a token decode to nothing; invalid UTF-8 becomes U+FFFD. Equal to the output of a
    /// [`StreamDecoder`] for the same ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        if self.0.decoding == Decoding::Other {
            let decoded = panics::caught(|| self.0.model.decode(ids, skip_special));
            return decoded.ok().and_then(Result::ok).unwrap_or_default();
        }
        let mut bytes = Vec::with_capacity(ids.len() * 3);
        for id in ids {
            bytes.extend_from_slice(self.bytes_of(*id, skip_special));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Decodes ids one at a time, holding back the bytes of an unfinished character.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder {
        StreamDecoder::new(self.clone(), skip_special, &[])
    }

    /// The same for ids that follow `before`: see [`Self::decode_rest`].
    pub fn stream_rest(&self, before: &[u32], skip_special: bool) -> StreamDecoder {
        StreamDecoder::new(self.clone(), skip_special, before)
    }

    /// The number of ids: the largest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.0.tokens.len()
    }

    /// A token's string as in the file (`<0xE6>`, `Ġthe`); `None` if there is none.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.0.tokens.get(id as usize)?.as_deref()
    }

    /// The text of a single id: a special token's spelling, `<0xNN>` for incomplete bytes.
    pub fn written(&self, id: u32) -> String {
        let text = self.decode(&[id], false);
        if text.contains('\u{FFFD}') { self.token(id).unwrap_or_default().to_owned() } else { text }
    }

    /// The id of a token's string.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.model.token_to_id(token)
    }

    /// Whether an id is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.0.special.get(id as usize).copied().unwrap_or(false)
    }

    /// The token that ends a document. Always there in tokenizers trained here.
    pub fn end_of_text(&self) -> Option<u32> {
        self.0.end
    }

    /// The token that begins a text, if the tokenizer names one or adds one ([`Self::begin`]).
    pub fn begin_of_text(&self) -> Option<u32> {
        self.0.bos
    }

    /// The token that fills rows, different from [`Self::end_of_text`]. Always there in tokenizers
    /// trained here.
    pub fn pad(&self) -> Option<u32> {
        self.0.pad
    }

    /// The tokens of a conversation; `None` if one is missing or not special. Always present in tokenizers trained
    /// here; [`Self::with_chat`] adds them to others.
    pub fn chat(&self) -> Option<ChatTokens> {
        let special = |token: &str| self.id(token).filter(|id| self.is_special(*id));
        Some(ChatTokens {
            system: special(SYSTEM)?,
            user: special(USER)?,
            assistant: special(ASSISTANT)?,
            end: special(TURN_END)?,
        })
    }

    /// Whether unknown characters become byte tokens (`char`); otherwise all text is bytes (`bpe`).
    pub fn is_char(&self) -> bool {
        self.0.byte_fallback
    }

    /// The contents of `tokenizer.json`.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// The contents of a checkpoint's `tokenizer.json`: without post-processor if the run was started by a version of
    /// danlu that trained without its tokens.
    pub fn checkpoint_json(&self) -> String {
        if self.0.edges.as_before
            && let Ok(mut file) = serde_json::from_str::<Value>(&self.0.json)
            && file.get("post_processor").is_some_and(|p| !p.is_null())
        {
            file["post_processor"] = Value::Null;
            return format!("{file:#}");
        }
        self.0.json.clone()
    }

    /// The contents of `tokenizer_config.json`. It names the class, since `AutoTokenizer` would otherwise rebuild the
    /// tokenizer as the model type's own class.
    pub fn config_json(&self, model_max_length: usize, chat_template: Option<&str>) -> String {
        let text_of = |id: Option<u32>| id.and_then(|id| self.token(id));
        let decoder: serde_json::Map<String, Value> = (0..self.vocab_size() as u32)
            .filter(|id| self.is_special(*id))
            .filter_map(|id| {
                let content = self.token(id)?;
                let entry = json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true});
                Some((id.to_string(), entry))
            })
            .collect();
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model_max_length,
            "bos_token": text_of(self.0.bos),
            "eos_token": text_of(self.0.end),
            "pad_token": text_of(self.0.pad),
            "unk_token": null,
            "clean_up_tokenization_spaces": false,
            "added_tokens_decoder": decoder,
        });
        let Value::Object(fields) = &mut config else { return String::new() };
        if let Some(template) = self.own_template() {
            for (name, token) in template.tokens().iter().filter(|(name, _)| !NAMED.contains(&name.as_str())) {
                fields.insert(name.clone(), token.as_str().into());
            }
        }
        if !self.edges().is_empty() {
            // transformers uses the post-processor; here the keys record that training did too.
            fields.insert("add_bos_token".into(), (!self.begin().is_empty()).into());
            fields.insert("add_eos_token".into(), self.ends_texts().into());
        }
        if let Some(template) = chat_template {
            let begin = self.begin().iter().filter_map(|id| self.token(*id));
            let begin: Vec<String> = begin.map(|token| format!("{{{{- {} -}}}}", json!(token))).collect();
            // A model's own template begins a conversation as it was written to.
            let begin = if self.0.own.is_some() { String::new() } else { begin.concat() };
            fields.insert("chat_template".into(), format!("{begin}{template}").into());
        }
        format!("{config:#}\n")
    }

    /// The bytes of a token, for the two known decodings.
    fn bytes_of(&self, id: u32, skip_special: bool) -> &[u8] {
        if skip_special && self.is_special(id) {
            return &[];
        }
        self.0.bytes.get(id as usize).map_or(&[], |b| b)
    }
}
