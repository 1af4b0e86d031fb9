//! Reads a `tokenizer.json`, which may be hostile: the crate trusts its files (a merge whose result is longer than
//! every token makes it panic), so everything it relies on is checked first.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    Decoding, END_OF_TEXT, Inner, PAD, Tokenizer,
    edges::Edges,
    own::Own,
    parts::{self, AtMost, Part},
};
use crate::{base::panics, data::error::DataError};

/// Most bytes of a `tokenizer.json`.
pub const LARGEST_FILE: usize = 64 << 20;
/// Most ids of a vocabulary.
const MOST_IDS: u32 = 1 << 20;

/// Most bytes of an end_of_word_suffix, which every word gets.
const LONGEST_SUFFIX: usize = 16;
/// Most merges of a model.
const MOST_MERGES: usize = 1 << 21;
/// Most added tokens.
const MOST_ADDED: usize = 1 << 16;
/// Most bytes of a token, which is also the most text that one token can decode to. Tokens trained by danlu have at
/// most twice the bytes that are trained on at once.
const LONGEST_TOKEN: usize = 16_384;
/// Most bytes of an added token: every text is searched for it.
const LONGEST_ADDED: usize = 512;
/// Most bytes of a `tokenizer_config.json`.
pub const LARGEST_CONFIG: usize = 4 << 20;

#[derive(Deserialize)]
struct File {
    model: Model,
    decoder: Option<Part>,
    normalizer: Option<Part>,
    pre_tokenizer: Option<Part>,
    post_processor: Option<Part>,
    #[serde(default)]
    added_tokens: AtMost<Added, MOST_ADDED>,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    vocab: Vocabulary,
    #[serde(default)]
    merges: AtMost<Merge, MOST_MERGES>,
}

/// The tokens and their ids. Other value types are skipped: the model's kind is checked first.
#[derive(Default)]
struct Vocabulary(HashMap<String, u32>);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of ids by token")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut all = HashMap::new();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    if all.len() as u64 == u64::from(MOST_IDS) {
                        return Err(A::Error::custom(format!("the vocabulary has more than {MOST_IDS} tokens")));
                    }
                    if token.len() > LONGEST_TOKEN {
                        return Err(A::Error::custom(format!("a token has more than {LONGEST_TOKEN} bytes")));
                    }
                    all.insert(token, id);
                }
                Ok(Vocabulary(all))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vocabulary, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocabulary::default())
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

fn wrong<T>(what: impl Into<String>) -> Result<T, DataError> {
    Err(DataError::Tokenizer(what.into()))
}

impl Tokenizer {
    /// Parses a tokenizer from the texts of `tokenizer.json` and, if it exists, `tokenizer_config.json` (which names
    /// EOS and PAD).
    pub fn from_json(tokenizer: &str, config: Option<&str>) -> Result<Self, DataError> {
        Self::read(tokenizer, config, false)
    }

    /// The same for files that danlu wrote. Earlier versions (no `add_bos_token` in `tokenizer_config.json`) put no
    /// token before a text; such a run keeps that.
    pub fn from_own_json(tokenizer: &str, config: Option<&str>) -> Result<Self, DataError> {
        let says = config.and_then(|c| serde_json::from_str::<Value>(c).ok());
        Self::read(tokenizer, config, says.is_none_or(|c| c.get("add_bos_token").is_none()))
    }

    /// Parses a tokenizer; `as_before` selects the edges of earlier versions.
    pub(super) fn read(tokenizer: &str, config: Option<&str>, as_before: bool) -> Result<Self, DataError> {
        if tokenizer.len() > LARGEST_FILE {
            return Err(DataError::TooLarge { what: "tokenizer.json".into(), limit: LARGEST_FILE as u64 });
        }
        if config.is_some_and(|c| c.len() > LARGEST_CONFIG) {
            return Err(DataError::TooLarge { what: "tokenizer_config.json".into(), limit: LARGEST_CONFIG as u64 });
        }
        let file: File = serde_json::from_str(tokenizer)
            .map_err(|e| DataError::Tokenizer(format!("tokenizer.json is not JSON: {e}")))?;
        let model = file.model;
        check_model(&model)?;
        parts::check(
            file.normalizer.as_ref(),
            file.pre_tokenizer.as_ref(),
            file.decoder.as_ref(),
            file.post_processor.as_ref(),
        )?;
        let decoding = decoding(file.decoder.as_ref());
        let AtMost(added_tokens) = file.added_tokens;
        added_tokens.iter().try_for_each(check_added)?;
        // The crate panics on what was not checked above (a setting of the wrong type, deep nesting).
        let mut inner = panics::caught(|| tokenizers::Tokenizer::from_bytes(tokenizer))
            .map_err(|panics::Panicked| {
                DataError::Tokenizer("tokenizer.json has a setting that cannot be read; is the file damaged?".into())
            })?
            .map_err(|e| DataError::Tokenizer(format!("tokenizer.json is refused: {e}")))?;
        if inner.with_truncation(None).is_err() {
            return wrong("truncation cannot be switched off");
        }
        inner.with_padding(None);
        let json = inner.to_string(true).map_err(|e| DataError::Tokenizer(format!("cannot be written: {e}")))?;
        // Not part of the file: text that spells a special token is encoded as text.
        inner.set_encode_special_tokens(true);
        let mut tokens: Vec<Option<String>> = Vec::new();
        for (token, id) in model.vocab.0 {
            place(&mut tokens, id, token);
        }
        let mut special = Vec::new();
        for added in added_tokens {
            // The crate renumbers added tokens if the vocabulary has a gap.
            if !added.content.is_empty() && inner.token_to_id(&added.content) != Some(added.id) {
                return wrong(format!("the added token {:?} does not get its id {}", added.content, added.id));
            }
            if added.special {
                special.push(added.id);
            }
            place(&mut tokens, added.id, added.content);
        }
        let mut is_special = vec![false; tokens.len()];
        for id in special {
            is_special[id as usize] = true;
        }
        let bytes =
            tokens.iter().map(|t| t.as_deref().map_or_else(Box::default, |t| token_bytes(t, decoding))).collect();
        let config = config_value(config)?;
        let (mut bos, end, pad) = named_tokens(&inner, &config);
        let edges = if as_before { Edges::as_before(&inner)? } else { Edges::new(&inner, end, &config)? };
        match edges.begin[..] {
            [begin] => bos = Some(begin),
            // A BOS token that is named but never added is ignored.
            _ if edges.are_plain() => bos = None,
            _ => {}
        }
        // Its tokens are in `edges`; otherwise it changes only offsets, which danlu does not use.
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let marked = (0..).zip(&is_special).zip(&tokens).filter(|((_, special), _)| **special);
        let marked = marked.filter_map(|((id, _), token)| Some((token.clone()?, id))).collect();
        let (own, refused) = match Own::find(&config, &inner, &edges, marked) {
            Some(Ok(own)) => (Some(own), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        Ok(Self(Arc::new(Inner {
            model: inner,
            json,
            decoding,
            tokens,
            bytes,
            special: is_special,
            end,
            pad: pad.filter(|p| Some(*p) != end),
            byte_fallback: model.byte_fallback.unwrap_or(false),
            bos,
            edges,
            own,
            refused,
        })))
    }
}

fn place(tokens: &mut Vec<Option<String>>, id: u32, token: String) {
    let at = id as usize;
    if tokens.len() <= at {
        tokens.resize(at + 1, None);
    }
    tokens[at] = Some(token);
}

/// Accepts a BPE model that the crate can build without panicking and that encodes deterministically.
fn check_model(model: &Model) -> Result<(), DataError> {
    match model.kind.as_deref() {
        Some("BPE") => {}
        Some(kind) => {
            return wrong(format!(
                "the model's type is {kind:?}; only \"BPE\" can be used (byte-level or with byte fallback)"
            ));
        }
        None => return wrong("tokenizer.json names no model type; \"BPE\" was expected"),
    }
    let Vocabulary(vocab) = &model.vocab;
    if vocab.is_empty() {
        return wrong("the vocabulary is empty");
    }
    if model.dropout.is_some_and(|p| p != 0.0) {
        return wrong("BPE dropout would encode the same text differently each time; set it to null");
    }
    if model.continuing_subword_prefix.as_ref().is_some_and(|p| !p.is_empty()) {
        return wrong("a continuing_subword_prefix is not supported");
    }
    if model.end_of_word_suffix.as_ref().is_some_and(|s| s.len() > LONGEST_SUFFIX) {
        return wrong(format!("the end_of_word_suffix has more than {LONGEST_SUFFIX} bytes"));
    }
    if let Some(unknown) = model.unk_token.as_ref().filter(|t| !vocab.contains_key(*t)) {
        return wrong(format!("the unk_token {unknown:?} is not in the vocabulary"));
    }
    let mut seen = HashSet::with_capacity(vocab.len());
    for (token, id) in vocab {
        if *id >= MOST_IDS {
            return wrong(format!("the id {id} of {token:?} is above {MOST_IDS}"));
        }
        if !seen.insert(*id) {
            return wrong(format!("two tokens share the id {id}; one is {token:?}"));
        }
    }
    for (rank, merge) in model.merges.0.iter().enumerate() {
        let (a, b) = match merge {
            Merge::Pair(a, b) => (a.as_str(), b.as_str()),
            Merge::Joined(text) if text.starts_with("#version") => continue,
            Merge::Joined(text) => match text.split_once(' ') {
                Some((a, b)) if !b.contains(' ') => (a, b),
                _ => return wrong(format!("merge {rank} is {text:?}; two tokens and one space were expected")),
            },
        };
        for token in [a, b, &format!("{a}{b}")] {
            if token.is_empty() || !vocab.contains_key(token) {
                return wrong(format!("merge {rank} needs {token:?}, which is not in the vocabulary"));
            }
        }
    }
    Ok(())
}

/// Accepts an added token with a valid id and bounded cost.
fn check_added(added: &Added) -> Result<(), DataError> {
    if added.id >= MOST_IDS {
        return wrong(format!("the id {} of the added token {:?} is above {MOST_IDS}", added.id, added.content));
    }
    if added.content.len() > LONGEST_ADDED {
        return wrong(format!("the added token of id {} has more than {LONGEST_ADDED} bytes", added.id));
    }
    // A special token is never searched for; for others the crate scans back over the text at each match.
    if !added.special && (added.single_word || added.lstrip) {
        return wrong(format!(
            "the added token {:?} is no special token and has single_word or lstrip; set both to false",
            added.content
        ));
    }
    Ok(())
}

/// The known decoding that a file's decoder is.
fn decoding(decoder: Option<&Part>) -> Decoding {
    match decoder.map(Part::kinds).as_deref() {
        Some(["ByteLevel"]) => Decoding::ByteLevel,
        Some(["ByteFallback", "Fuse"]) => Decoding::ByteFallback,
        _ => Decoding::Other,
    }
}

/// The bytes a token decodes to.
fn token_bytes(token: &str, decoding: Decoding) -> Box<[u8]> {
    match decoding {
        Decoding::ByteFallback => match token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')) {
            Some(hex) if hex.len() == 2 => match u8::from_str_radix(hex, 16) {
                Ok(byte) => Box::new([byte]),
                Err(_) => token.as_bytes().into(),
            },
            _ => token.as_bytes().into(),
        },
        // A token outside the table (an added one) decodes to its own text, as in the crate.
        Decoding::ByteLevel => {
            let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
            bytes.map_or_else(|| token.as_bytes().into(), Vec::into_boxed_slice)
        }
        Decoding::Other => Box::default(),
    }
}

/// The byte that GPT-2's table writes as `c`: printable ones as themselves, the others from U+0100 on.
fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x143 => Some(match code - 0x100 {
            n @ 0..=0x20 => n as u8,
            n @ 0x21..=0x42 => (n - 0x21 + 0x7F) as u8,
            _ => 0xAD,
        }),
        _ => None,
    }
}

/// Parses `tokenizer_config.json`; null if there is none.
fn config_value(config: Option<&str>) -> Result<Value, DataError> {
    let Some(text) = config else { return Ok(Value::Null) };
    serde_json::from_str(text).map_err(|e| DataError::Tokenizer(format!("tokenizer_config.json is not JSON: {e}")))
}

/// BOS, EOS and PAD: those of the config, else (except for BOS) the usual spellings.
fn named_tokens(inner: &tokenizers::Tokenizer, config: &Value) -> (Option<u32>, Option<u32>, Option<u32>) {
    let find = |key: &str, usual: &[&str]| match config.get(key) {
        Some(Value::String(content)) => inner.token_to_id(content),
        Some(Value::Object(token)) => token.get("content").and_then(Value::as_str).and_then(|c| inner.token_to_id(c)),
        _ => usual.iter().find_map(|t| inner.token_to_id(t)),
    };
    let end = find("eos_token", &[END_OF_TEXT, "</s>", "<|end_of_text|>"]);
    (find("bos_token", &[]), end, find("pad_token", &[PAD, "<pad>"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_table_is_gpt2s() {
        let mut found: Vec<u8> = (0..0x144_u32).filter_map(char::from_u32).filter_map(byte_of).collect();
        found.sort_unstable();
        assert_eq!(found, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
    }
}
