//! `start`: the checkpoint of its parent that a stage begins from.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::table::{CHECKPOINT, Kind, Value};

/// The checkpoint of its parent that a stage begins from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The one with the best held-out figure.
    Best,
    /// The newest.
    #[default]
    Latest,
    /// The one of this step.
    Step(u64),
}

/// A word that names no checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("--start is {word:?}; expected best, latest or a step")]
pub struct NoStart {
    word: String,
}

impl FromStr for Start {
    type Err = NoStart;

    fn from_str(text: &str) -> Result<Start, NoStart> {
        match text {
            "best" => Ok(Start::Best),
            "latest" => Ok(Start::Latest),
            step => step.parse().map(Start::Step).map_err(|_| NoStart { word: text.to_owned() }),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Best => f.write_str("best"),
            Start::Latest => f.write_str("latest"),
            Start::Step(step) => step.fmt(f),
        }
    }
}

impl Value for Start {
    const KIND: Kind = Kind::Checkpoint;

    fn toml(&self) -> toml::Value {
        match self {
            Start::Step(step) => toml::Value::Integer(i64::try_from(*step).unwrap_or(i64::MAX)),
            word => toml::Value::String(word.to_string()),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Start::Step(step) => step.serialize(to),
            word => to.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Start, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Step(u64),
            Word(String),
        }
        match Written::deserialize(from)? {
            Written::Step(step) => Ok(Start::Step(step)),
            Written::Word(word) => match word.parse() {
                Ok(Start::Step(_)) | Err(_) => Err(D::Error::custom(format!("expected {CHECKPOINT}"))),
                Ok(start) => Ok(start),
            },
        }
    }
}
