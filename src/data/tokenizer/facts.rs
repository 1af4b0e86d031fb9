//! What a `tokenizer.json` says about itself, counted while it is read: no vocabulary is kept.

use std::{fmt, io::Read};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::parts::{AtMost, MOST_PARTS};
use crate::data::error::DataError;

/// Facts of a tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The model.
    pub model: ModelFacts,
    /// Number of added tokens, special ones included.
    #[serde(rename = "added_tokens")]
    pub added: Count,
    /// The type of the pre-tokenizer.
    pub pre_tokenizer: Option<Part>,
    /// The type of the normalizer.
    pub normalizer: Option<Part>,
}

/// Facts of a tokenizer's model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    /// `BPE`, `Unigram`, `WordPiece` …
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Number of tokens.
    pub vocab: Count,
    /// Number of merges.
    pub merges: Count,
    /// Whether characters without a token become bytes.
    pub byte_fallback: Option<bool>,
}

/// The type of a component; of a sequence the types of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Part {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(alias = "normalizers")]
    pretokenizers: AtMost<Inner, MOST_PARTS>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Inner {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or("?"))?;
        let inner: Vec<&str> = self.pretokenizers.0.iter().filter_map(|part| part.kind.as_deref()).collect();
        if inner.is_empty() { Ok(()) } else { write!(f, "({})", inner.join(", ")) }
    }
}

/// The number of entries of a list or an object, none of which is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                let mut count = Count(0);
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count.0 += 1;
                }
                Ok(count)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut count = Count(0);
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count.0 += 1;
                }
                Ok(count)
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Reads the facts of a `tokenizer.json`.
///
/// # Errors
///
/// What is no JSON object with the fields of a tokenizer.
pub fn facts(file: impl Read) -> Result<Facts, DataError> {
    serde_json::from_reader(std::io::BufReader::new(file)).map_err(|e| DataError::Tokenizer(e.to_string()))
}
