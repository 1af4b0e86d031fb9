//! Versions: the use of every document, and the resulting streams.
//!
//! ```text
//! data/version-<key>   "danlu-vs", version u32, length of the header u64, header: JSON, the sources and their units
//!                      a byte per document: its state
//!                      32 bytes per removed document: its number u32, that of the one it repeats u32,
//!                        the value and the threshold u64 (bits of floats), why u32, 0 u32
//!                      blake3 of everything before it (32 bytes)
//! ```
//! All numbers are little-endian; documents are numbered through all units in order.

use std::{collections::BTreeMap, sync::Arc};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    library::{ids_name, named, open, quality_name, unit_name},
    units::short,
};
use crate::{
    data::{
        DataError, Packed, Picker,
        clean::Funnel,
        dedup::{EXACT_DUPLICATE, NEAR_DUPLICATE},
        quality::QUALITY,
        stored::shard::{self, Shards, Table},
    },
    store::{Links, Preparer, ReadSeek, RunView, StoreError, read_limited},
    train::config::RunConfig,
};

const MAGIC: &[u8; 8] = b"danlu-vs";
const VERSION: u32 = 2;
const ROW: usize = 32;
/// Limit on the size of a version file.
const LONGEST: u64 = 16 << 30;
/// Shards whose tables are in memory at a time.
const SHARDS_AT_ONCE: usize = 64;

/// The rule under which documents with an unseen probe are removed.
pub(crate) const PROBE: &str = "probe";

/// State: trained on.
pub(crate) const TRAINED: u8 = 0;
/// State: held out.
pub(crate) const HELD_OUT: u8 = 1;
/// State: removed.
pub(crate) const GONE: u8 = 2;
/// The bits of these states.
pub(crate) const STATE: u8 = 3;
/// Flag: the document contains a probe of recall.
pub(crate) const RECALLED: u8 = 4;
/// Flag: the document contains an unseen probe.
pub(crate) const UNSEEN: u8 = 8;

/// Why a document that passed the rules was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Exact,
    Near,
    Probe,
    Quality,
}

impl Why {
    /// All reasons in the order of their numbers on disk.
    const ALL: [Self; 4] = [Self::Exact, Self::Near, Self::Probe, Self::Quality];

    /// The rule under which it is counted.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Exact => EXACT_DUPLICATE,
            Self::Near => NEAR_DUPLICATE,
            Self::Probe => PROBE,
            Self::Quality => QUALITY,
        }
    }
}

/// A removed document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gone {
    pub document: u32,
    /// The document that it repeats.
    pub of: Option<u32>,
    pub why: Why,
    /// The measured value and the threshold.
    pub value: f64,
    pub threshold: f64,
}

/// The classifier that filtered the sources; empty without one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct QualityMeta {
    /// The hash of everything that verdicts depend on, apart from the text.
    pub key: String,
    /// The hash of the classifier.
    pub model: String,
    /// A note about it for the user.
    pub note: String,
}

/// A unit of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UnitMeta {
    pub key: String,
    /// Documents that passed the rules.
    pub documents: u32,
    /// Documents dropped by each rule.
    pub dropped: BTreeMap<String, u64>,
}

/// Statistics of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceMeta {
    pub name: String,
    pub units: Vec<UnitMeta>,
    /// In, out, and what each rule took.
    pub funnel: Funnel,
    /// Notes: files not read to their end, and other findings.
    pub notes: Vec<String>,
    /// Some of the files not read to their end, each with the reason.
    pub failed: Vec<String>,
    /// Place and reason of the first rejected record, and the number of rejected ones.
    pub first: Option<String>,
}

/// The header of a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The hash of everything that the selection depends on.
    pub selection: String,
    /// The hash of the probes.
    pub probes: String,
    pub sources: Vec<SourceMeta>,
    pub quality: QualityMeta,
    /// The tokenizer's key and vocabulary size; empty before there is one.
    pub tokenizer: String,
    pub vocab_size: usize,
}

/// A version in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Version {
    pub header: Header,
    /// The state of each document.
    pub states: Vec<u8>,
    /// The removed documents, sorted.
    pub gone: Vec<Gone>,
}

/// The file name of a version.
pub(crate) fn version_name(key: &str) -> String {
    format!("version-{key}")
}

/// The key of a version.
pub(crate) fn version_key(selection: &str, tokenizer: &str, config: &RunConfig) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{VERSION}\n{selection}\n{tokenizer}").as_bytes());
    for source in &config.source {
        hash.update(format!("\n{:?}", source.name).as_bytes());
    }
    short(&hash)
}

impl Version {
    /// Key, first document and number of documents of every unit.
    pub(crate) fn units(&self) -> impl Iterator<Item = (&UnitMeta, u32)> {
        self.header.sources.iter().flat_map(|s| &s.units).scan(0, |next, unit| {
            let first = *next;
            *next += unit.documents;
            Some((unit, first))
        })
    }

    /// The removed documents of a unit whose first document is `first`.
    pub(crate) fn gone_in(&self, unit: &UnitMeta, first: u32) -> impl Iterator<Item = &Gone> {
        let end = first + unit.documents;
        let from = self.gone.partition_point(|g| g.document < first);
        self.gone[from..].iter().take_while(move |g| g.document < end)
    }

    /// Writes it to disk.
    pub(crate) fn write(&self, preparer: &Preparer, key: &str) -> Result<(), StoreError> {
        let header = serde_json::to_vec(&self.header).unwrap_or_default();
        let mut bytes = Vec::with_capacity(20 + header.len() + self.states.len() + self.gone.len() * ROW + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&self.states);
        for gone in &self.gone {
            bytes.extend_from_slice(&gone.document.to_le_bytes());
            bytes.extend_from_slice(&gone.of.unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(&gone.value.to_bits().to_le_bytes());
            bytes.extend_from_slice(&gone.threshold.to_bits().to_le_bytes());
            bytes.extend_from_slice(&(gone.why as u32).to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
        }
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        preparer.write(&version_name(key), &bytes).map(drop)
    }

    /// Reads the version with this key, if it exists and is intact.
    pub(crate) fn read(view: &RunView, key: &str) -> Option<Self> {
        let path = view.data_dir().join(version_name(key));
        Self::parse(&read_limited(&**view.disk(), &path, LONGEST, Links::Refuse).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, hash) = bytes.split_last_chunk::<32>()?;
        let (magic, rest) = body.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        if magic != MAGIC || u32::from_le_bytes(*version) != VERSION || blake3::hash(body).as_bytes() != hash {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (header, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        let counts = header.sources.iter().flat_map(|s| &s.units).map(|u| u64::from(u.documents));
        let documents = u32::try_from(counts.sum::<u64>()).ok()?;
        let (states, rest) = rest.split_at_checked(documents as usize)?;
        let (rows, []) = rest.as_chunks::<ROW>() else { return None };
        let small = |row: &[u8; ROW], at: usize| row[at..at + 4].iter().rev().fold(0, |n, b| (n << 8) | u32::from(*b));
        let mut gone = Vec::with_capacity(rows.len());
        for row in rows {
            let float = |at| f64::from_bits(u64::from(small(row, at)) | u64::from(small(row, at + 4)) << 32);
            let (document, of) = (small(row, 0), Some(small(row, 4)).filter(|n| *n != u32::MAX));
            if document >= documents || of.is_some_and(|of| of >= documents) {
                return None;
            }
            let why = *Why::ALL.get(small(row, 24) as usize)?;
            gone.push(Gone { document, of, why, value: float(8), threshold: float(16) });
        }
        if !gone.is_sorted_by(|a, b| a.document < b.document) {
            return None;
        }
        Some(Self { header, states: states.to_vec(), gone })
    }

    /// The streams of all sources, from the shards on disk, each of which is read once for verification.
    pub(crate) fn streams(&self, view: &RunView, config: &RunConfig) -> Result<Vec<Packed>, DataError> {
        let names: Vec<String> = self.units().map(|(unit, _)| ids_name(&unit.key, &self.header.tokenizer)).collect();
        let units: Vec<(usize, &UnitMeta)> =
            self.header.sources.iter().enumerate().flat_map(|(i, s)| s.units.iter().map(move |u| (i, u))).collect();
        let mut pickers = vec![[Picker::default(), Picker::default()]; self.header.sources.len()];
        let mut states = self.states.as_slice();
        for (first, some) in (0..).step_by(SHARDS_AT_ONCE).zip(units.chunks(SHARDS_AT_ONCE)) {
            let tables: Result<Vec<Table>, DataError> = names[first..first + some.len()]
                .par_iter()
                .map(|name| table(view, name, self.header.vocab_size))
                .collect();
            for (number, ((source, unit), table)) in (first..).zip(some.iter().zip(tables?)) {
                if table.lengths.len() != unit.documents as usize {
                    return Err(DataError::Damaged(format!(
                        "{}: its documents differ from those of its unit",
                        names[number]
                    )));
                }
                let (mine, rest) = states.split_at(table.lengths.len());
                states = rest;
                let mut from = 0;
                for (document, state) in mine.iter().enumerate() {
                    if let Some(picker) = pickers[*source].get_mut(usize::from(state & STATE)) {
                        picker.pick(number as u32, &table, document, from);
                    }
                    from += u64::from(table.lengths[document]);
                }
            }
        }
        let opener = {
            let view = view.clone();
            move |number: u32| -> std::io::Result<Box<dyn ReadSeek>> {
                let name = names.get(number as usize).ok_or(std::io::ErrorKind::NotFound)?;
                view.open_prepared(name).map_err(std::io::Error::other)
            }
        };
        let shards = Arc::new(Shards::new(self.header.vocab_size, Box::new(opener)));
        let packed = self.header.sources.iter().zip(pickers).map(|(source, [train, held_out])| Packed {
            name: source.name.clone(),
            weight: config.source.iter().find(|s| s.name == source.name).map_or(0.0, |s| s.weight),
            train: train.stream(Arc::clone(&shards)),
            held_out: held_out.stream(Arc::clone(&shards)),
        });
        Ok(packed.collect())
    }

    /// The names of the files it needs, except its own.
    pub(crate) fn needs(&self) -> impl Iterator<Item = String> {
        let model = Some(&self.header.quality.model).filter(|model| !model.is_empty());
        let of_units =
            self.units().flat_map(|(unit, _)| [unit_name(&unit.key), ids_name(&unit.key, &self.header.tokenizer)]);
        of_units.chain(model.map(|model| quality_name(model)))
    }
}

/// The table of a shard.
pub(crate) fn table(view: &RunView, name: &str, vocab_size: usize) -> Result<Table, DataError> {
    shard::open(&mut *open(view, name)?, vocab_size).map_err(named(name))
}
