//! A tokenizer as other engines need it: every token with its kind, and the merges in the form of SentencePiece (a
//! score for each token) or of GPT-2 (a list of pairs).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::Tokenizer;
use crate::data::error::DataError;

/// SentencePiece's sign for a space.
const SPACE: &str = "\u{2581}";
/// The score of a token that no merge makes: below that of every merge.
const UNMERGED: f32 = -1e6;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Part of a text.
    Normal,
    /// Marks the structure of a text: special tokens.
    Control,
    /// Added to the vocabulary as a whole, and not special.
    UserDefined,
    /// No token has this id.
    Unused,
    /// A single byte.
    Byte,
}

/// How merges work.
#[derive(Clone, Debug, PartialEq)]
pub enum Merging {
    /// SentencePiece's: of all neighbours that make a token, the two whose token has the highest score join first.
    Scores {
        /// The score of every token.
        scores: Vec<f32>,
        /// Whether a text gets a space before it.
        space_prefix: bool,
    },
    /// GPT-2's, on the bytes of words.
    Pairs {
        /// The pairs, in order.
        pairs: Vec<(String, String)>,
        /// llama.cpp's name for the way a text is split into words.
        split: &'static str,
    },
}

/// A tokenizer's tokens and merges.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    /// The tokens by id.
    pub tokens: Vec<(String, TokenKind)>,
    /// The merges.
    pub merging: Merging,
    /// Tokens that other engines cannot tell from another one, and that became unused: those with a literal U+2581,
    /// SentencePiece's sign for a space.
    pub lost: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    byte_fallback: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

impl Tokenizer {
    /// The tokens and merges for `size` rows of an embedding.
    ///
    /// # Errors
    ///
    /// A tokenizer that llama.cpp has no name for: another split of words, another normalizer.
    pub fn vocabulary(&self, size: usize) -> Result<Vocabulary, DataError> {
        let refused = |what: String| DataError::Tokenizer(what);
        // This text was checked when the tokenizer was read.
        let file: File = serde_json::from_str(self.json()).map_err(|e| refused(e.to_string()))?;
        let bytes_are_tokens = file.model.byte_fallback == Some(true);
        let mut by_id: BTreeMap<u32, (String, TokenKind)> = BTreeMap::new();
        for (token, id) in file.model.vocab {
            let kind = if bytes_are_tokens && is_byte(&token) { TokenKind::Byte } else { TokenKind::Normal };
            by_id.insert(id, (token, kind));
        }
        for added in file.added_tokens {
            let kind = if added.special { TokenKind::Control } else { TokenKind::UserDefined };
            by_id.insert(added.id, (added.content, kind));
        }
        if let Some((id, (token, _))) = by_id.last_key_value()
            && *id as usize >= size
        {
            return Err(refused(format!("the token {token:?} has the id {id}, but the model has {size} rows")));
        }
        let pairs: Vec<(String, String)> = file.model.merges.into_iter().filter_map(Merge::pair).collect();
        let unused = |id: usize| (format!("[UNUSED_{id}]"), TokenKind::Unused);
        let mut tokens: Vec<_> = (0..size).map(|id| by_id.remove(&(id as u32)).unwrap_or_else(|| unused(id))).collect();
        if !bytes_are_tokens {
            let split = split(file.normalizer.as_ref(), file.pre_tokenizer.as_ref()).map_err(refused)?;
            let merging = Merging::Pairs { pairs, split };
            return Ok(Vocabulary { tokens, merging, lost: Vec::new() });
        }
        let space_prefix = space_prefix(file.normalizer.as_ref(), file.pre_tokenizer.as_ref()).map_err(refused)?;
        let spaced = |text: &str| text.replace(' ', SPACE);
        let mut ranks: HashMap<String, f32> = HashMap::new();
        for (rank, (a, b)) in pairs.iter().enumerate() {
            // The first merge that makes a token decides.
            ranks.entry(spaced(&format!("{a}{b}"))).or_insert(-(rank as f32) - 1.0);
        }
        let taken: HashSet<String> =
            tokens.iter().map(|(t, _)| t).filter(|t| t.contains(' ')).map(|t| spaced(t)).collect();
        let mut lost = Vec::new();
        for (id, (token, kind)) in tokens.iter_mut().enumerate() {
            if *kind != TokenKind::Normal {
                continue;
            }
            if taken.contains(token) {
                let (name, unused) = unused(id);
                *kind = unused;
                lost.push(std::mem::replace(token, name));
            } else {
                *token = spaced(token);
            }
        }
        let score = |(token, kind): &(String, TokenKind)| match kind {
            TokenKind::Normal => ranks.get(token).copied().unwrap_or(UNMERGED),
            _ => 0.0,
        };
        let scores = tokens.iter().map(score).collect();
        Ok(Vocabulary { tokens, merging: Merging::Scores { scores, space_prefix }, lost })
    }
}

impl Merge {
    fn pair(self) -> Option<(String, String)> {
        match self {
            Merge::Pair(a, b) => Some((a, b)),
            Merge::Joined(text) => text.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())),
        }
    }
}

/// `<0x41>`.
fn is_byte(token: &str) -> bool {
    let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok())
}

fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or_default()
}

/// The parts of a sequence, or the part itself.
fn parts<'a>(part: Option<&'a Value>, list: &str) -> Vec<&'a Value> {
    match part {
        None | Some(Value::Null) => Vec::new(),
        Some(part) if kind(part) == "Sequence" => {
            part[list].as_array().map(|all| all.iter().collect()).unwrap_or_default()
        }
        Some(part) => vec![part],
    }
}

/// Whether a tokenizer with byte tokens puts a space before a text: those of danlu do not, Llama 2's do.
fn space_prefix(normalizer: Option<&Value>, pre_tokenizer: Option<&Value>) -> Result<bool, String> {
    let (normal, words) = (parts(normalizer, "normalizers"), parts(pre_tokenizer, "pretokenizers"));
    let spaces = |part: &Value| kind(part) == "Replace" && part["pattern"]["String"] == " " && part["content"] == SPACE;
    match (normal.as_slice(), words.as_slice()) {
        ([], []) => Ok(false),
        ([prepend, replace], []) if kind(prepend) == "Prepend" && prepend["prepend"] == SPACE && spaces(replace) => Ok(true),
        ([replace], []) if spaces(replace) => Ok(false),
        ([], [words]) if kind(words) == "Metaspace" && words["replacement"] == SPACE && words["split"] != true => {
            match words["prepend_scheme"].as_str() {
                Some("first" | "always") => Ok(true),
                Some("never") => Ok(false),
                _ => Err("its Metaspace has no prepend_scheme; GGUF files have no such setting".to_owned()),
            }
        }
        _ => Err("its normalizer or pre-tokenizer is neither danlu's nor Llama 2's; GGUF files have no name for it, so use the Hugging Face folder".to_owned()),
    }
}

/// llama.cpp's name for the split of a byte-level tokenizer.
fn split(normalizer: Option<&Value>, pre_tokenizer: Option<&Value>) -> Result<&'static str, String> {
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let normal = parts(normalizer, "normalizers");
    // llama.cpp does not normalise; composed text, which is nearly all, is its own NFC.
    if normal.iter().any(|part| kind(part) != "NFC") {
        return Err("its normalizer has no counterpart in GGUF files; use the Hugging Face folder".to_owned());
    }
    let words = parts(pre_tokenizer, "pretokenizers");
    let level = |part: &Value, regex: bool| {
        kind(part) == "ByteLevel" && part["add_prefix_space"] != true && (part["use_regex"] != false) == regex
    };
    let pattern = |part: &Value| {
        let isolated = kind(part) == "Split" && part["behavior"] == "Isolated" && part["invert"] != true;
        part["pattern"]["Regex"].as_str().filter(|_| isolated).map(str::to_owned)
    };
    match words.as_slice() {
        [one] if level(one, true) => Ok("gpt-2"),
        [digits, words] if kind(digits) == "Digits" && digits["individual_digits"] == true && level(words, true) => {
            Ok("smollm")
        }
        [first, last] if level(last, false) => match pattern(first).as_deref() {
            Some(LLAMA3) => Ok("llama-bpe"),
            Some(QWEN2) => Ok("qwen2"),
            _ => Err(UNNAMED.to_owned()),
        },
        _ => Err(UNNAMED.to_owned()),
    }
}

const UNNAMED: &str = "it splits texts into words by a pattern that is none of GPT-2's, Llama 3's, Qwen2's and SmolLM's; GGUF files name patterns, so use the Hugging Face folder";
