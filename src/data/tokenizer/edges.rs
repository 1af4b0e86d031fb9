//! What a tokenizer adds at the edges of a text: the tokens of its post-processor, and the prefix (`▁`, a space) that
//! some put before the first word.
//!
//! transformers 5 uses the post-processor of `tokenizer.json` alone; if that file exists, `add_bos_token` and
//! `add_eos_token` of `tokenizer_config.json` are ignored. The prefix belongs to the beginning of a text, or of each
//! part between special tokens, and never to a place where a long text is cut for encoding.

use serde_json::Value;
use tokenizers::{Encoding, Token};

use super::{Decoding, Tokenizer, pieces};
use crate::{base::panics, data::error::DataError};

/// What a tokenizer adds at the edges of a text.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Tokens before a text.
    pub begin: Vec<u32>,
    /// Whether end-of-text is added after it.
    pub ends: bool,
    /// Encodes a text that continues another; `None` if the tokenizer adds no prefix.
    pub inside: Option<tokenizers::Tokenizer>,
    /// Whether a part after a special token gets the prefix too.
    pub prefixes_turns: bool,
    /// Whether to encode as earlier versions of danlu did, without tokens before a text and with the prefix before
    /// every part: an existing run keeps its encoding.
    pub as_before: bool,
    /// A contradiction between `tokenizer_config.json` and the post-processor.
    pub remark: Option<String>,
}

/// Keys of `tokenizer_config.json` that contradict the post-processor.
const FLAGS: [&str; 2] = ["add_bos_token", "add_eos_token"];

impl Edges {
    /// The edges of a tokenizer with the end-of-text token `end`.
    pub(super) fn new(model: &tokenizers::Tokenizer, end: Option<u32>, config: &Value) -> Result<Self, DataError> {
        let (begin, behind) = around(model)?;
        let name = |ids: &[u32]| ids.iter().filter_map(|id| model.id_to_token(*id)).collect::<Vec<_>>().join(" ");
        if behind.iter().any(|id| Some(*id) != end) || behind.len() > 1 {
            return Err(DataError::Tokenizer(format!(
                "its post-processor puts {:?} after every text; only the end-of-text token can be there: change post_processor in tokenizer.json, or name that token as eos_token in tokenizer_config.json",
                name(&behind)
            )));
        }
        let flag = |key: &str| config.get(key).and_then(Value::as_bool);
        let [bos, eos] = FLAGS.map(flag);
        let remark = if bos.is_some_and(|bos| bos == begin.is_empty()) {
            let what = if begin.is_empty() {
                "nothing before a text".to_owned()
            } else {
                format!("{:?} before a text", name(&begin))
            };
            Some((FLAGS[0], bos, what))
        } else if eos.is_some_and(|eos| eos == behind.is_empty()) {
            let what = if behind.is_empty() {
                "nothing after a text".to_owned()
            } else {
                format!("{:?} after a text", name(&behind))
            };
            Some((FLAGS[1], eos, what))
        } else {
            None
        };
        let remark = remark.map(|(key, value, what)| {
            format!(
                "tokenizer_config.json says {key}: {}, and the post-processor of tokenizer.json puts {what}; the latter is used, as in transformers 5",
                value.unwrap_or_default()
            )
        });
        let (inside, prefixes_turns) = without_prefix(model)?;
        Ok(Self { begin, ends: !behind.is_empty(), inside, prefixes_turns, as_before: false, remark })
    }

    /// Whether texts are encoded as in earlier versions of danlu.
    pub(super) fn are_plain(&self) -> bool {
        self.as_before || (self.begin.is_empty() && !self.ends && self.inside.is_none())
    }

    /// The edges as in earlier versions of danlu.
    pub(super) fn as_before(model: &tokenizers::Tokenizer) -> Result<Self, DataError> {
        let (inside, _) = without_prefix(model)?;
        Ok(Self { prefixes_turns: inside.is_some(), as_before: true, ..Self::default() })
    }
}

impl Tokenizer {
    /// The tokens before every text and conversation: usually the begin-of-text token, or none.
    pub fn begin(&self) -> &[u32] {
        &self.0.edges.begin
    }

    /// The edges as part of a name for encoded data; empty if nothing is added to a text.
    pub fn edges(&self) -> String {
        let edges = &self.0.edges;
        if edges.are_plain() { String::new() } else { format!("begin {:?}, cut without a prefix", edges.begin) }
    }

    /// Whether end-of-text is added after every text. Not after a prompt, which is continued.
    pub fn ends_texts(&self) -> bool {
        self.0.edges.ends
    }

    /// A contradiction in the tokenizer's files, if there is one.
    pub fn remark(&self) -> Option<&str> {
        self.0.edges.remark.as_deref()
    }

    /// Encodes a prompt: a text with the tokens before it.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, DataError> {
        Ok([self.begin(), &self.encode(text)?].concat())
    }

    /// Encodes a text that follows a special token, as the content of a turn does.
    pub fn encode_turn(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let edges = &self.0.edges;
        let prefixed = edges.prefixes_turns && self.turns_follow_special();
        let inside = edges.inside.as_ref().filter(|_| !prefixed);
        self.encode_from(inside.unwrap_or(&self.0.model), text)
    }

    /// Encodes a text that continues another one.
    pub fn encode_rest(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.encode_from(self.0.edges.inside.as_ref().unwrap_or(&self.0.model), text)
    }

    /// Encodes a document: prefix, `head`, `body`, end-of-text; also returns the number of tokens of the head including
    /// the prefix (0 without a head).
    pub fn encode_document(&self, head: &str, body: &str) -> Result<(Vec<u32>, usize), DataError> {
        let Some(end) = self.end_of_text() else {
            return Err(DataError::Tokenizer("it has no end-of-text token to put between documents".into()));
        };
        let mut ids = self.begin().to_vec();
        let length = if head.is_empty() {
            ids.extend(self.encode(body)?);
            0
        } else {
            ids.extend(self.encode(head)?);
            let length = ids.len();
            ids.extend(self.encode_rest(body)?);
            length
        };
        ids.push(end);
        Ok((ids, length))
    }

    /// Decodes ids that continue `before`: without what a decoder does at the beginning of a text (SentencePiece's
    /// removes a space).
    pub fn decode_rest(&self, before: &[u32], ids: &[u32], skip_special: bool) -> String {
        if self.0.decoding != Decoding::Other {
            return self.decode(ids, skip_special);
        }
        let mut stream = self.stream_rest(before, skip_special);
        let mut text: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
        text.extend(stream.finish());
        text
    }

    /// Decodes the content of a turn after `before`: the inverse of [`Self::encode_turn`].
    pub fn decode_turn(&self, before: &[u32], ids: &[u32], skip_special: bool) -> String {
        let text = self.decode_rest(before, ids, skip_special);
        match text.strip_prefix(' ') {
            Some(words) if self.0.edges.prefixes_turns && self.turns_follow_special() => words.to_owned(),
            _ => text,
        }
    }

    fn encode_from(&self, first: &tokenizers::Tokenizer, text: &str) -> Result<Vec<u32>, DataError> {
        let rest = self.0.edges.inside.as_ref().unwrap_or(&self.0.model);
        let mut ids = Vec::with_capacity(text.len() / 2);
        for (at, piece) in pieces::pieces(text, pieces::ENCODED_AT_ONCE).enumerate() {
            let model = if at == 0 { first } else { rest };
            let failed = |why: String| DataError::Tokenizer(format!("encoding failed: {why}"));
            let encoding = panics::caught(|| model.encode_fast(piece, false))
                .map_err(|panics::Panicked| failed("a part of tokenizer.json panics on the text".to_owned()))?
                .map_err(|e| failed(e.to_string()))?;
            ids.extend_from_slice(encoding.get_ids());
        }
        Ok(ids)
    }

    /// Encodes a text from its beginning.
    pub(super) fn encode_whole(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.encode_from(&self.0.model, text)
    }
}

/// The tokens that the post-processor adds before and after a text.
fn around(model: &tokenizers::Tokenizer) -> Result<(Vec<u32>, Vec<u32>), DataError> {
    const TEXT: u32 = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(TEXT, "a".to_owned(), (0, 1))], 0);
    let wrong = |what: String| DataError::Tokenizer(format!("its post-processor {what}"));
    // The crate panics on a sequence of three templates.
    let framed = panics::caught(|| model.post_process(text, None, true))
        .map_err(|panics::Panicked| wrong("cannot be applied to a text; change it in tokenizer.json".to_owned()))?
        .map_err(|e| wrong(format!("fails: {e}")))?;
    let ids = framed.get_ids();
    let mut parts = ids.split(|id| *id == TEXT);
    let (Some(before), Some(behind), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong(
            "does not contain the text exactly once, unchanged; change post_processor in tokenizer.json".to_owned(),
        ));
    };
    if let Some(id) = before.iter().chain(behind).find(|id| model.id_to_token(**id).is_none()) {
        return Err(wrong(format!("adds the id {id}, which has no token; change post_processor in tokenizer.json")));
    }
    Ok((before.to_vec(), behind.to_vec()))
}

/// The tokenizer without the prefix of the first word, and whether the prefix is added to every part between special
/// tokens.
fn without_prefix(model: &tokenizers::Tokenizer) -> Result<(Option<tokenizers::Tokenizer>, bool), DataError> {
    let failed = |e: serde_json::Error| DataError::Tokenizer(format!("its prefix cannot be removed: {e}"));
    let mut found = Found::default();
    let mut normalizer = serde_json::to_value(model.get_normalizer()).map_err(failed)?;
    let mut words = serde_json::to_value(model.get_pre_tokenizer()).map_err(failed)?;
    strip(&mut normalizer, &mut found);
    strip(&mut words, &mut found);
    if !found.any {
        return Ok((None, false));
    }
    let mut inside = model.clone();
    inside.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
    let normalizer: Option<tokenizers::NormalizerWrapper> = serde_json::from_value(normalizer).map_err(failed)?;
    let words: Option<tokenizers::PreTokenizerWrapper> = serde_json::from_value(words).map_err(failed)?;
    inside.with_normalizer(normalizer).map_err(|e| DataError::Tokenizer(format!("its normalizer: {e}")))?;
    inside.with_pre_tokenizer(words);
    Ok((Some(inside), found.every))
}

/// A prefix of the first word.
#[derive(Default)]
struct Found {
    any: bool,
    /// It is added to every part, not only to the text.
    every: bool,
}

/// Removes prefixes from a normalizer or pre-tokenizer.
fn strip(part: &mut Value, found: &mut Found) {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "Prepend" => {
            (found.any, found.every) = (true, true);
            *part = Value::Null;
        }
        "Metaspace" if part["prepend_scheme"] != "never" => {
            found.any = true;
            found.every |= part["prepend_scheme"] != "first";
            part["prepend_scheme"] = "never".into();
        }
        "ByteLevel" if part["add_prefix_space"] == true => {
            (found.any, found.every) = (true, true);
            part["add_prefix_space"] = false.into();
        }
        // A cut inside a text is not a beginning, so no spaces are stripped there.
        "Strip" if part["strip_left"] == true => {
            (found.any, found.every) = (true, true);
            part["strip_left"] = false.into();
        }
        "Sequence" => {
            for list in ["normalizers", "pretokenizers"] {
                let Some(Value::Array(parts)) = part.get_mut(list) else { continue };
                for part in parts.iter_mut() {
                    strip(part, found);
                }
                parts.retain(|p| !p.is_null());
            }
        }
        _ => {}
    }
}
