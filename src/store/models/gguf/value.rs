//! The header of a GGUF file in memory.

use std::{borrow::Cow, fmt};

use super::dtype::GgmlType;

/// A type of numbers in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Unsigned, of so many bytes.
    Unsigned(u8),
    /// Signed, of so many bytes.
    Signed(u8),
    /// Floating-point, of so many bytes.
    Float(u8),
    /// True or false, of one byte.
    Bool,
}

impl Number {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Number::Unsigned(n) | Number::Signed(n) | Number::Float(n) => n.into(),
            Number::Bool => 1,
        }
    }

    /// The value in little-endian bytes.
    pub(super) fn value(self, raw: &[u8]) -> MetaValue {
        let mut wide = [0; 8];
        wide[..raw.len()].copy_from_slice(raw);
        let bits = u64::from_le_bytes(wide);
        match self {
            Number::Unsigned(_) => MetaValue::Unsigned(bits),
            Number::Signed(n) => {
                let unused = 64 - 8 * u32::from(n);
                MetaValue::Signed((bits << unused).cast_signed() >> unused)
            }
            Number::Float(4) => MetaValue::Float(f32::from_bits(bits as u32).into()),
            Number::Float(_) => MetaValue::Float(f64::from_bits(bits)),
            Number::Bool => MetaValue::Bool(bits != 0),
        }
    }
}

/// A value of the header.
#[derive(Clone, Debug, PartialEq)]
pub enum MetaValue {
    /// A whole number, 0 or more.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// A number, possibly NaN or infinite.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text; invalid UTF-8 is replaced.
    Text(String),
    /// A list.
    List(List),
}

impl fmt::Display for MetaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaValue::Unsigned(n) => n.fmt(f),
            MetaValue::Signed(n) => n.fmt(f),
            MetaValue::Float(x) => x.fmt(f),
            MetaValue::Bool(yes) => yes.fmt(f),
            MetaValue::Text(text) => write!(f, "{text:?}"),
            MetaValue::List(list) => write!(f, "a list of {}", list.len()),
        }
    }
}

/// A list of the header, in little more memory than its bytes in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum List {
    /// Numbers of one type.
    Numbers {
        /// Their type.
        kind: Number,
        /// Their bytes.
        raw: Vec<u8>,
    },
    /// Texts.
    Texts {
        /// All texts, one after another.
        bytes: Vec<u8>,
        /// Where each ends.
        ends: Vec<u32>,
    },
    /// Lists, of which only the number is kept.
    Lists(u64),
}

impl List {
    /// Number of elements.
    pub fn len(&self) -> u64 {
        match self {
            List::Numbers { kind, raw } => raw.len() as u64 / kind.bytes(),
            List::Texts { ends, .. } => ends.len() as u64,
            List::Lists(n) => *n,
        }
    }

    /// True when there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A text of the list.
    pub fn text(&self, at: usize) -> Option<Cow<'_, str>> {
        let List::Texts { bytes, ends } = self else { return None };
        let end = *ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| ends[before] as usize);
        Some(String::from_utf8_lossy(&bytes[start..end]))
    }

    /// The numbers of the list; empty for texts.
    pub fn numbers(&self) -> impl Iterator<Item = MetaValue> + '_ {
        let (kind, raw) = match self {
            List::Numbers { kind, raw } => (*kind, raw.as_slice()),
            _ => (Number::Bool, &[][..]),
        };
        raw.chunks_exact(kind.bytes() as usize).map(move |raw| kind.value(raw))
    }
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, slowest first (the file has them the other way round).
    pub shape: Vec<u64>,
    /// Its element type.
    pub dtype: GgmlType,
    /// The product of the dimensions.
    pub elements: u64,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// The header of a GGUF file, consistent in itself and with the length of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufHeader {
    /// The version of the format: 2 or 3.
    pub version: u32,
    /// The key/value pairs in the order of the file.
    pub pairs: Vec<(String, MetaValue)>,
    /// The tensors in the order of the file.
    pub tensors: Vec<GgufTensor>,
}

impl GgufHeader {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&MetaValue> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            MetaValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The list of a key.
    pub fn list(&self, key: &str) -> Option<&List> {
        match self.get(key)? {
            MetaValue::List(list) => Some(list),
            _ => None,
        }
    }

    /// The whole number, 0 or more, of a key.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            MetaValue::Unsigned(n) => Some(*n),
            MetaValue::Signed(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }
}
