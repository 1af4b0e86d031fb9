//! A tokenizer as other engines need it: every token with its kind, and the merges in the form of SentencePiece (a
//! score for each token) or of GPT-2 (a list of pairs).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{Model as _, models::bpe::BPE};

use super::{
    SPECIAL_TOKENS, Tokenizer,
    splits::{self, Split},
};
use crate::{base::panics, data::error::DataError};

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
    /// SentencePiece's sign for a space, and with a zero byte, which ends a text there.
    pub lost: Vec<String>,
    /// Whether texts are composed (NFC) before they are encoded, which other engines do not do.
    pub composes: bool,
    /// A special token that a text which spells it becomes.
    pub spelled: Option<String>,
    /// Special tokens that swallow the white space beside them, which other engines do not do.
    pub swallowing: Vec<String>,
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
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    end_of_word_suffix: Option<String>,
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
    /// A tokenizer that llama.cpp has no name for (another split of words, another normalizer), or whose texts it would
    /// merge into other tokens.
    pub fn vocabulary(&self, size: usize) -> Result<Vocabulary, DataError> {
        let refused = |what: String| DataError::Tokenizer(what);
        // This text was checked when the tokenizer was read.
        let file: File = serde_json::from_str(self.json()).map_err(|e| refused(e.to_string()))?;
        let bytes_are_tokens = file.model.byte_fallback == Some(true);
        if file.model.end_of_word_suffix.is_some_and(|suffix| !suffix.is_empty()) {
            return Err(refused("it ends words with a suffix, which GGUF files have no key for".to_owned()));
        }
        if self.begin().len() > 1 {
            let count = self.begin().len();
            return Err(refused(format!("it puts {count} tokens before a text, and GGUF files name one at most")));
        }
        let mut by_id: BTreeMap<u32, (String, TokenKind)> = BTreeMap::new();
        for (token, id) in file.model.vocab {
            let kind = if bytes_are_tokens && is_byte(&token) { TokenKind::Byte } else { TokenKind::Normal };
            by_id.insert(id, (token, kind));
        }
        let mut swallowing = Vec::new();
        for added in file.added_tokens {
            if added.lstrip || added.rstrip {
                if !added.special {
                    let token = added.content;
                    return Err(refused(format!(
                        "its token {token:?} swallows the white space beside it (lstrip, rstrip), which GGUF files have no key for"
                    )));
                }
                swallowing.push(added.content.clone());
            }
            let kind = if added.special { TokenKind::Control } else { TokenKind::UserDefined };
            by_id.insert(added.id, (added.content, kind));
        }
        if let Some((id, (token, _))) = by_id.last_key_value()
            && *id as usize >= size
        {
            return Err(refused(format!("the token {token:?} has the id {id}, but the model has {size} rows")));
        }
        let pairs: Vec<(String, String)> = file.model.merges.into_iter().filter_map(Merge::pair).collect();
        let used: HashSet<String> = by_id.values().map(|(token, _)| token.clone()).collect();
        let unused = |id: usize| {
            let mut name = format!("[UNUSED_{id}]");
            while used.contains(&name) {
                name.push('_');
            }
            (name, TokenKind::Unused)
        };
        let mut tokens: Vec<_> = (0..size).map(|id| by_id.remove(&(id as u32)).unwrap_or_else(|| unused(id))).collect();
        let mut lost = Vec::new();
        for (id, token) in tokens.iter_mut().enumerate().filter(|(_, (token, _))| token.contains('\0')) {
            lost.push(std::mem::replace(token, unused(id)).0);
        }
        let ignores = file.model.ignore_merges == Some(true);
        let parts = (file.normalizer.as_ref(), file.pre_tokenizer.as_ref());
        if !bytes_are_tokens {
            let composes = splits::composes(parts.0).map_err(refused)?;
            let Split { name, ignores_merges } = splits::split(parts.1, ignores).map_err(refused)?;
            if ignores_merges != ignores
                && let Some(token) = self.not_alone(&tokens)?
            {
                let [does, does_not] =
                    if ignores { ["the tokenizer", "llama.cpp"] } else { ["llama.cpp", "the tokenizer"] };
                return Err(refused(format!(
                    "its merges do not make the token {token:?}: {does} takes a word that is this token as it is, and {does_not} merges its parts (ignore_merges, pre-tokenizer {name:?}); use the Hugging Face folder"
                )));
            }
            let merging = Merging::Pairs { pairs, split: name };
            return Ok(Vocabulary { tokens, merging, lost, composes, spelled: None, swallowing });
        }
        let missing = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>")).find(|token| !used.contains(token));
        if let Some(token) = missing {
            return Err(refused(format!(
                "it has no token {token}, which llama.cpp needs for bytes that are no other token"
            )));
        }
        let space_prefix = splits::space_prefix(parts.0, parts.1).map_err(refused)?;
        // danlu's own vocabularies are compared text by text (`tests/doors`).
        let ours = (0..).zip(SPECIAL_TOKENS).all(|(id, token)| self.token(id) == Some(token));
        if !ours && let Some(token) = self.merged_otherwise(&tokens, &pairs)? {
            return Err(refused(format!(
                "llama.cpp would join any two parts of the token {token:?}, and its merges join others; use the Hugging Face folder"
            )));
        }
        let spaced = |text: &str| text.replace(' ', SPACE);
        let mut ranks: HashMap<String, f32> = HashMap::new();
        for (rank, (a, b)) in pairs.iter().enumerate() {
            // The first merge that makes a token decides.
            ranks.entry(spaced(&format!("{a}{b}"))).or_insert(-(rank as f32) - 1.0);
        }
        let taken: HashSet<String> =
            tokens.iter().map(|(t, _)| t).filter(|t| t.contains(' ')).map(|t| spaced(t)).collect();
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
        // Any two neighbours that make a token are joined there, also a special one.
        let known: HashSet<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
        let joined = |(token, kind): &&(String, TokenKind)| {
            *kind == TokenKind::Control && cuts(token).any(|(a, b)| [a, b].iter().all(|part| is_symbol(part, &known)))
        };
        let spelled = tokens.iter().find(joined).map(|(token, _)| token.clone());
        let merging = Merging::Scores { scores, space_prefix };
        Ok(Vocabulary { tokens, merging, lost, composes: false, spelled, swallowing })
    }

    /// The model of this tokenizer with its merges alone, without taking words that are tokens as they are.
    fn merges_alone(&self) -> Result<BPE, DataError> {
        let refused = |what: String| DataError::Tokenizer(what);
        let mut file: Value = serde_json::from_str(self.json()).map_err(|e| refused(e.to_string()))?;
        let mut model = file["model"].take();
        model["ignore_merges"] = Value::Bool(false);
        // The crate's reader borrows from a text.
        let text = model.to_string();
        let built = panics::caught(|| serde_json::from_str::<BPE>(&text));
        built
            .map_err(|panics::Panicked| refused("its model cannot be built".to_owned()))?
            .map_err(|e| refused(e.to_string()))
    }

    /// The first token of a text that its own merges do not make of its characters.
    fn not_alone(&self, tokens: &[(String, TokenKind)]) -> Result<Option<String>, DataError> {
        let bpe = self.merges_alone()?;
        let normal = (0..).zip(tokens).filter(|(_, (_, kind))| *kind == TokenKind::Normal);
        Ok(normal
            .map(|(id, (token, _))| (id, token))
            .find(|(id, token)| !makes(&bpe, token, *id))
            .map(|(_, t)| t.clone()))
    }

    /// The first token that SentencePiece's way of merging makes of parts of which this tokenizer's merges make
    /// something else. It joins any two neighbours that are a token together. That comes to the same where all cuts of a
    /// token into two are merges, and where the merges make the token of its characters: in a longer text the same
    /// merges have happened before its last two parts meet.
    fn merged_otherwise(
        &self,
        tokens: &[(String, TokenKind)],
        pairs: &[(String, String)],
    ) -> Result<Option<String>, DataError> {
        let merges: HashSet<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let known: HashSet<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
        let normal = (0..).zip(tokens).filter(|(_, (_, kind))| *kind == TokenKind::Normal);
        let open = normal.map(|(id, (token, _))| (id, token.as_str())).filter(|(_, token)| {
            let joins = |(a, b): &(&str, &str)| is_symbol(a, &known) && is_symbol(b, &known);
            !cuts(token).filter(joins).all(|cut| merges.contains(&cut))
        });
        let open: Vec<(u32, &str)> = open.collect();
        if open.is_empty() {
            return Ok(None);
        }
        let bpe = self.merges_alone()?;
        Ok(open.into_iter().find(|(id, token)| !makes(&bpe, token, *id)).map(|(_, token)| token.to_owned()))
    }
}

/// Whether a model makes this token of its characters.
fn makes(bpe: &BPE, token: &str, id: u32) -> bool {
    panics::caught(|| bpe.tokenize(token))
        .is_ok_and(|made| made.is_ok_and(|made| made.len() == 1 && made.first().is_some_and(|only| only.id == id)))
}

/// All cuts of a text into two.
fn cuts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.char_indices().skip(1).map(|(at, _)| text.split_at(at))
}

/// Whether a text can be a symbol while merging: a character or a token.
fn is_symbol(text: &str, known: &HashSet<&str>) -> bool {
    text.chars().nth(1).is_none() || known.contains(text)
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
