//! Encodes units into token shards, and trains the tokenizer.
//!
//! ```text
//! data/tokenizer-<key>.json       the tokenizer trained on the training documents
//! data/ids-<unit>-<tokenizer>     the ids of all documents of a unit (data/stored/shard.rs)
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::{
    library::{Library, ids_name, named, open_unit, unit_name},
    units::short,
    version::{STATE, TRAINED, Version, table},
};
use crate::{
    data::{
        self, DataError, TextGroup, Tokenizer,
        split::Key,
        stored::{shard::ShardWriter, unit::Unit},
    },
    protocol::{Monitor, Work},
    store::{Preparer, StoreError},
    train::{
        config::{RunConfig, TokenizerKind},
        error::TrainError,
    },
};

/// Raise it when the same documents would give a different result.
const VERSION: &str = "1";
/// Bytes of text for training a tokenizer, over all sources.
const SAMPLE: u64 = 64 << 20;

/// The tokenizer's hash in the names of shards.
pub(crate) fn tokenizer_key(tokenizer: &Tokenizer) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(VERSION.as_bytes()).update(tokenizer.json().as_bytes());
    hash.update(tokenizer.edges().as_bytes());
    short(&hash)
}

/// The file name of the tokenizer trained on a selection.
pub(crate) fn trained_name(config: &RunConfig, selection: &str, vocab_size: usize, chats: &TextGroup<'_>) -> String {
    let weights: Vec<f64> = config.source.iter().map(|s| s.weight).collect();
    let mut hash = blake3::Hasher::new();
    let how = format!("{VERSION} {selection} {:?} {vocab_size} {weights:?} {}", config.tokenizer, chats.weight);
    hash.update(how.as_bytes());
    for text in &chats.texts {
        hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    format!("tokenizer-{}.json", short(&hash))
}

/// Trains a tokenizer on the training documents and on `chats`; of much text, on a sample of each source by its weight.
pub(crate) fn train(
    library: &Library<'_>,
    config: &RunConfig,
    version: &Version,
    vocab_size: usize,
    chats: &TextGroup<'_>,
) -> Result<Tokenizer, TrainError> {
    // Probes were not yet excluded when sizes were counted.
    let sizes: Vec<u64> = version
        .header
        .sources
        .iter()
        .map(|s| s.funnel.kept.bytes + s.funnel.dropped.get(super::version::PROBE).map_or(0, |t| t.bytes))
        .collect();
    let weights: f64 = config.source.iter().map(|s| s.weight).sum();
    let part = |source: usize| {
        if sizes.iter().sum::<u64>() <= SAMPLE {
            return 1.0;
        }
        SAMPLE as f64 * config.source[source].weight / weights / sizes[source].max(1) as f64
    };
    let of_units = library.each(|number, unit| {
        let held = &library.units[number];
        let states = &version.states[held.first as usize..];
        let part = part(held.source);
        let (mut texts, mut first) = (Vec::new(), 0);
        for block in 0..unit.index().blocks() {
            let keys = unit.keys(block)?;
            let trained = |row: usize| states[first + row] & STATE == TRAINED && chance(&keys[row]) < part;
            texts.extend(unit.texts(block, trained)?.into_iter().map(|(_, _, text)| text));
            first += keys.len();
        }
        Ok(texts)
    })?;
    let mut samples: Vec<Vec<String>> = vec![Vec::new(); sizes.len()];
    for (held, texts) in library.units.iter().zip(of_units) {
        samples[held.source].extend(texts);
    }
    let mut groups: Vec<TextGroup<'_>> = samples
        .iter()
        .zip(&config.source)
        .map(|(texts, source)| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let characters: usize = texts.iter().map(|t| t.chars().count()).sum();
            TextGroup { weight: source.weight / characters.max(1) as f64, texts }
        })
        .collect();
    groups.push(chats.clone());
    Ok(match config.tokenizer {
        TokenizerKind::Char => data::train_char(&groups, vocab_size)?,
        TokenizerKind::Bpe => data::train_bpe(&groups, vocab_size)?,
    })
}

/// A number in [0, 1) from bytes of the key that do not decide the held-out split.
fn chance(key: &Key) -> f64 {
    f64::from(u32::from_le_bytes([key[4], key[5], key[6], key[7]])) / 4_294_967_296.0
}

/// Makes missing shards, and with `damaged` also damaged ones; returns their number.
pub(crate) fn encode(
    preparer: &Preparer,
    units: &[&str],
    tokenizer: &Tokenizer,
    damaged: bool,
    monitor: &Monitor,
) -> Result<usize, TrainError> {
    monitor.check()?;
    let (view, key, size) = (preparer.view(), tokenizer_key(tokenizer), tokenizer.vocab_size());
    let mut missing: Vec<&str> = units
        .par_iter()
        .filter(|unit| {
            let name = ids_name(unit, &key);
            !view.has_prepared(&name) || damaged && table(view, &name, size).is_err()
        })
        .copied()
        .collect();
    missing.sort_unstable();
    missing.dedup();
    let documents = |unit: &&str| Ok(u64::from(open_unit(view, unit)?.index().documents()));
    let (done, of) = (AtomicU64::new(0), missing.par_iter().map(documents).sum::<Result<u64, DataError>>()?);
    let encoded = |documents: usize| {
        let done = done.fetch_add(documents as u64, Ordering::Relaxed) + documents as u64;
        monitor.report(Work::Tokenize, done, of);
        Ok(monitor.check()?)
    };
    missing.par_iter().try_for_each(|unit| {
        let mut opened = open_unit(view, unit)?;
        of_unit(preparer, &mut opened, &ids_name(unit, &key), tokenizer, &encoded).map_err(|e| match e {
            TrainError::Data(e) => TrainError::Data(named(&unit_name(unit))(e)),
            e => e,
        })
    })?;
    if !missing.is_empty() {
        preparer.sync()?;
    }
    Ok(missing.len())
}

/// Writes the shard of a unit; `encoded` counts the documents and may give the work up.
fn of_unit(
    preparer: &Preparer,
    unit: &mut Unit,
    name: &str,
    tokenizer: &Tokenizer,
    encoded: &(dyn Fn(usize) -> Result<(), TrainError> + Sync),
) -> Result<(), TrainError> {
    let path = preparer.view().data_dir().join(name);
    let failed = |source: std::io::Error| StoreError::Io { doing: "write", path: path.clone(), source };
    let mut writer = ShardWriter::new(preparer.draft(name)?, tokenizer.vocab_size()).map_err(failed)?;
    for block in 0..unit.index().blocks() {
        let texts = unit.texts(block, |_| true)?;
        let ids: Result<Vec<(Vec<u32>, usize)>, DataError> = texts
            .par_iter()
            .map(|(_, entry, text)| {
                let (head, body) = text.split_at(entry.head as usize);
                tokenizer.encode_document(head, body)
            })
            .collect();
        for ((_, entry, _), (ids, head)) in texts.iter().zip(ids?) {
            writer.push(&ids, head, entry.length).map_err(failed)?;
        }
        encoded(texts.len())?;
    }
    writer.finish().map_err(failed)?.publish(name)?;
    Ok(())
}
