//! Checks the parts of an imported `tokenizer.json` around its model before the crate builds them.
//!
//! Such a file is a program: its normalizer can make a text a million times longer, its patterns can search forever,
//! its template can name tokens that do not exist. So each part must be on a list, a pattern must equal one of a known
//! tokenizer, and the growth of a text under all of them together is limited. The list covers the published BPE
//! tokenizers: GPT-2, Llama 1 to 3, Mistral, Qwen, Gemma, Phi, SmolLM, DeepSeek, Falcon, StarCoder, BLOOM, GPT-NeoX,
//! Command R and similar.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

use crate::data::error::DataError;

/// Depth of nested parts.
const DEEPEST: usize = 4;
/// Most parts of one kind, over all sequences.
pub(super) const MOST_PARTS: usize = 24;
/// Most factor by which a text may grow.
const MOST_GROWTH: usize = 72;
/// Most bytes of a string that a part searches for or inserts.
const LONGEST_STRING: usize = 64;
/// Most pieces of a template.
const MOST_PIECES: usize = 32;

/// Patterns of known tokenizers, with the models that use them. Each runs in linear time.
const PATTERNS: &[(&str, &str)] = &[
    ("GPT-2", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    ("GPT-2", r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    (
        "Llama 3",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "GPT-4",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    (
        "Qwen2",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "Qwen3.5",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "Ling",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    (
        "Seed-Coder",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "MiniCPM",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "GPT-4o",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "Mistral's Tekken",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    ("DeepSeek", r"\p{N}{1,3}"),
    ("DeepSeek", "[一-龥\u{3040}-ゟ゠-ヿ]+"),
    (
        "DeepSeek",
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
    ),
    ("DeepSeek Coder", r"[\r\n]"),
    ("DeepSeek Coder", r"\s?\p{L}+"),
    ("DeepSeek Coder", r"\s?\p{P}+"),
    ("DeepSeek Coder", "[一-龥\u{800}-一가-\u{d7ff}]+"),
    ("StarCoder", r"\p{N}"),
    ("StarCoder", r"\p{N}+"),
    ("StarCoder", r"\d"),
    ("StarCoder", r"\d+"),
    ("Falcon", "[0-9][0-9][0-9]"),
    ("BLOOM", r" ?[^(\s|[.,!?…。，、।۔،])]+"),
    ("BLOOM", r" ?[^(\s|.,!?…。，、।۔،)]+"),
    ("Gemma", r"[^\n]+|[\n]+"),
    ("T5", " {2,}"),
    ("CLIP", r"\s+"),
];

fn wrong<T>(what: impl Into<String>) -> Result<T, DataError> {
    Err(DataError::Tokenizer(what.into()))
}

/// At most `N` elements; parsing stops at the first one too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AtMost<T, const N: usize>(pub(super) Vec<T>);

impl<T, const N: usize> Default for AtMost<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for V<T, N> {
            type Value = AtMost<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    if all.len() == N {
                        return Err(A::Error::custom(format!("a list has more than {N} elements")));
                    }
                    all.push(one);
                }
                Ok(AtMost(all))
            }
        }
        deserializer.deserialize_seq(V::<T, N>(PhantomData))
    }
}

/// A normalizer, pre-tokenizer, decoder or post-processor: the fields that are checked.
#[derive(Deserialize)]
pub(super) struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, alias = "pretokenizers", alias = "decoders", alias = "processors")]
    normalizers: AtMost<Part, MOST_PARTS>,
    pattern: Option<Pattern>,
    content: Option<String>,
    prepend: Option<String>,
    suffix: Option<String>,
    stop: Option<u64>,
    single: Option<AtMost<Piece, MOST_PIECES>>,
    pair: Option<AtMost<Piece, MOST_PIECES>>,
    #[serde(default)]
    special_tokens: BTreeMap<String, SpecialToken>,
}

impl Part {
    /// Its kind, or the kinds of a sequence's parts.
    pub(super) fn kinds(&self) -> Vec<&str> {
        match self.kind.as_str() {
            "Sequence" => self.normalizers.0.iter().map(|part| part.kind.as_str()).collect(),
            kind => vec![kind],
        }
    }
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Deserialize)]
enum Piece {
    Sequence { id: String },
    SpecialToken { id: String },
}

#[derive(Deserialize)]
struct SpecialToken {
    #[serde(rename = "ids")]
    _ids: AtMost<u32, MOST_PIECES>,
    #[serde(rename = "tokens")]
    _tokens: AtMost<IgnoredAny, MOST_PIECES>,
}

/// A place for parts and the kinds allowed there.
struct Place {
    name: &'static str,
    kinds: &'static [&'static str],
}

const NORMALIZER: Place = Place {
    name: "normalizer",
    kinds: &[
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Lowercase",
        "Strip",
        "StripAccents",
        "Nmt",
        "Prepend",
        "Replace",
        "ByteLevel",
    ],
};
const PRE_TOKENIZER: Place = Place {
    name: "pre-tokenizer",
    kinds: &[
        "ByteLevel",
        "Metaspace",
        "Split",
        "Digits",
        "Punctuation",
        "Whitespace",
        "WhitespaceSplit",
        "UnicodeScripts",
        "BertPreTokenizer",
    ],
};
const DECODER: Place = Place {
    name: "decoder",
    kinds: &["ByteLevel", "ByteFallback", "Fuse", "Metaspace", "Replace", "Strip", "BPEDecoder"],
};
const POST_PROCESSOR: Place = Place {
    name: "post-processor",
    kinds: &["ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"],
};

/// Checks all four parts.
pub(super) fn check(
    normalizer: Option<&Part>,
    pre_tokenizer: Option<&Part>,
    decoder: Option<&Part>,
    post_processor: Option<&Part>,
) -> Result<(), DataError> {
    let all = [
        (NORMALIZER, normalizer),
        (PRE_TOKENIZER, pre_tokenizer),
        (DECODER, decoder),
        (POST_PROCESSOR, post_processor),
    ];
    for (place, part) in all {
        let Some(part) = part else { continue };
        let mut sum = Sum { parts: 0, growth: 1 };
        walk(&place, part, 0, &mut sum)?;
    }
    Ok(())
}

/// The totals over the parts of a place.
struct Sum {
    parts: usize,
    growth: usize,
}

fn walk(place: &Place, part: &Part, depth: usize, sum: &mut Sum) -> Result<(), DataError> {
    let name = place.name;
    sum.parts += 1;
    if depth > DEEPEST || sum.parts > MOST_PARTS {
        return wrong(format!(
            "its {name} nests deeper than {DEEPEST} or has more than {MOST_PARTS} parts, as no known tokenizer does; use another one"
        ));
    }
    if part.kind == "Sequence" {
        return part.normalizers.0.iter().try_for_each(|inner| walk(place, inner, depth + 1, sum));
    }
    if !place.kinds.contains(&part.kind.as_str()) {
        return wrong(format!(
            "its {name} {:?} is not supported; supported are {}. Use a model whose tokenizer has one of these, or encode the text with transformers and pass the ids with --ids",
            part.kind,
            place.kinds.join(", ")
        ));
    }
    for (what, text) in [("prepend", &part.prepend), ("content", &part.content), ("suffix", &part.suffix)] {
        if text.as_ref().is_some_and(|text| text.len() > LONGEST_STRING) {
            return wrong(format!("the {what:?} of its {name} {} has more than {LONGEST_STRING} bytes", part.kind));
        }
    }
    if part.kind == "BPEDecoder" && part.suffix.as_ref().is_none_or(String::is_empty) {
        return wrong("its decoder BPEDecoder names no suffix");
    }
    if part.stop.is_some_and(|stop| stop > 0) && part.kind == "Strip" {
        return wrong("its decoder Strip cuts the end of every token; only its beginning can be cut here");
    }
    let growth = match part.kind.as_str() {
        "NFC" | "NFD" => 3,
        // U+FDFA expands to eighteen letters.
        "NFKC" | "NFKD" => 11,
        "Lowercase" | "ByteLevel" if name == NORMALIZER.name => 2,
        "Replace" => {
            let content = part.content.as_ref().map_or(0, String::len);
            content.div_ceil(searched(name, part)?).max(1)
        }
        "Split" => searched(name, part).map(|_| 1)?,
        "TemplateProcessing" => template(part).map(|()| 1)?,
        _ => 1,
    };
    sum.growth = sum.growth.saturating_mul(growth);
    if sum.growth > MOST_GROWTH {
        return wrong(format!(
            "its {name} can make a text {} times longer, more than the allowed {MOST_GROWTH} times; the tokenizer is malicious or damaged",
            if sum.growth == usize::MAX { "endlessly many".to_owned() } else { sum.growth.to_string() }
        ));
    }
    Ok(())
}

/// The minimum length of a match.
fn searched(name: &str, part: &Part) -> Result<usize, DataError> {
    let kind = &part.kind;
    match &part.pattern {
        Some(Pattern::String(text)) if text.is_empty() || text.len() > LONGEST_STRING => wrong(format!(
            "its {name} {kind} searches for a string of {} bytes; 1 to {LONGEST_STRING} are allowed",
            text.len()
        )),
        Some(Pattern::String(text)) => Ok(text.len()),
        Some(Pattern::Regex(pattern)) => {
            // Some files contain line ends literally where others have escapes.
            let spelled = pattern.replace('\r', r"\r").replace('\n', r"\n");
            if PATTERNS.iter().any(|(_, known)| *known == spelled) {
                return Ok(1);
            }
            let mut names: Vec<&str> = PATTERNS.iter().map(|(whose, _)| *whose).collect();
            names.dedup();
            let beginning: String = pattern.chars().take(80).collect();
            wrong(format!(
                "its {name} {kind} has an unknown pattern, {beginning:?}{}; a pattern from a file can search forever, so only those of known tokenizers are used ({}). Use a model that has one of these, or encode the text with transformers and give the ids with --ids",
                if beginning.len() < pattern.len() { " …" } else { "" },
                names.join(", ")
            ))
        }
        None => wrong(format!("its {name} {kind} has no pattern")),
    }
}

/// A template must contain its text once and name only tokens that it lists: the crate does not check this.
fn template(part: &Part) -> Result<(), DataError> {
    for (what, pieces, sequences) in [("single", &part.single, "A"), ("pair", &part.pair, "AB")] {
        let Some(AtMost(pieces)) = pieces else { return wrong(format!("its template has no {what:?}")) };
        let mut seen = String::new();
        for piece in pieces {
            match piece {
                Piece::Sequence { id } => seen.push_str(id),
                Piece::SpecialToken { id } if !part.special_tokens.contains_key(id) => {
                    return wrong(format!("its template names {id:?}, which is not among the template's tokens"));
                }
                Piece::SpecialToken { .. } => {}
            }
        }
        if seen != sequences {
            return wrong(format!("its template {what:?} has the sequences {seen:?}; {sequences:?} was expected"));
        }
    }
    Ok(())
}
