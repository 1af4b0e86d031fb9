//! Cleaned documents to token shards: probes kept out, some held out, a tokenizer, ids on disk.
//!
//! ```text
//! data/tokenizer-<key>.json     the tokenizer trained on these documents
//! data/tokens-<key>/ 0-train, 0-held-out, 1-train …   shards (data/shard.rs)
//!                    meta.json  documents that the probes kept out
//! ```

use std::{
    collections::HashSet,
    io::{self, BufReader, Read},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::clean::{Cleaned, ENTRY, number};
use crate::{
    data::{
        self, DataError, Packed, TextGroup, Tokenizer,
        clean::Tally,
        shard::{self, ShardWriter},
        source::Stream,
        split,
    },
    store::{Draft, DraftFile, Fs as _, Links, RealFs, Run, StoreError},
    train::{
        config::{ProbeConfig, RunConfig, TokenizerKind},
        error::TrainError,
        model_folder::read_text,
    },
};

/// Changes when the same documents would come out otherwise.
const VERSION: &str = "1";
/// Bytes of text that a tokenizer is trained on, all sources together.
const SAMPLE: u64 = 64 << 20;
/// Bytes of text that are worked on at once.
const AT_ONCE: usize = 4 << 20;
/// Letters of a probe's answer from which it gives the probe away without its question.
const TELLING: usize = 13;

/// Shards, the tokenizer they were made with, and what the probes kept out of every source.
pub(super) struct Tokens {
    pub packed: Vec<Packed>,
    pub tokenizer: Tokenizer,
    pub kept_out: Vec<Tally>,
}

/// meta.json of the shards.
#[derive(Serialize, Deserialize)]
struct Meta {
    kept_out: Vec<Tally>,
}

/// A cleaned document.
struct Cleansed {
    text: String,
    head: usize,
    key: split::Key,
}

/// What documents are for, a source.
struct Sides {
    /// Whether a document is held out.
    held_out: Vec<Vec<bool>>,
    /// Documents that hold a probe.
    kept_out: Vec<HashSet<usize>>,
    counted: Vec<Tally>,
}

/// The work on one run's documents.
pub(super) struct Tokenizing<'a> {
    pub run: &'a Run,
    pub config: &'a RunConfig,
    pub cleaned: &'a Cleaned,
    pub probes: &'a [ProbeConfig],
    pub stop: &'a AtomicBool,
}

impl Tokenizing<'_> {
    /// The shards of the documents: those that are there, if nothing has changed, or new ones. Without a `known`
    /// tokenizer one of `vocab_size` tokens is trained, on the documents and on `chats` of a weight.
    pub(super) fn tokens(
        &self,
        known: Option<Tokenizer>,
        vocab_size: usize,
        chats: &TextGroup<'_>,
    ) -> Result<Tokens, TrainError> {
        let dir = self.run.view().data_dir();
        let mut sides = None;
        let tokenizer = if let Some(tokenizer) = known {
            tokenizer
        } else {
            let name = format!("tokenizer-{}.json", self.tokenizer_key(vocab_size, chats));
            if let Some(json) = read_text(&dir, &name)? {
                Tokenizer::from_json(&json, None)?
            } else {
                let sides = sides.insert(self.sides()?);
                let tokenizer = self.train(sides, vocab_size, chats)?;
                self.run.clear_prepared("tokenizer-")?;
                self.run.write_data(&name, tokenizer.json().as_bytes())?;
                tokenizer
            }
        };
        let name = format!("tokens-{}", self.key(&[tokenizer.json().as_bytes()]));
        let folder = dir.join(&name);
        if let Some((packed, kept_out)) = self.open(&folder) {
            return Ok(Tokens { packed, tokenizer, kept_out });
        }
        let sides = match sides {
            Some(sides) => sides,
            None => self.sides()?,
        };
        let draft = self.run.draft(&name)?;
        self.write(&draft, &sides, &tokenizer)?;
        self.run.clear_prepared("tokens-")?;
        draft.publish()?;
        let (packed, kept_out) = self.open(&folder).ok_or_else(|| {
            TrainError::Work(format!("{}: shards just written cannot be read back; check the disk", folder.display()))
        })?;
        Ok(Tokens { packed, tokenizer, kept_out })
    }

    /// A hash of the documents, the probes, and what else is given.
    fn key(&self, parts: &[&[u8]]) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(VERSION.as_bytes()).update(self.cleaned.key.as_bytes());
        for probe in self.probes {
            hash.update(format!("\n{:?} {:?} {}", probe.prompt, probe.expected, probe.recall).as_bytes());
        }
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hash.finalize().to_hex()[..24].to_owned()
    }

    fn tokenizer_key(&self, vocab_size: usize, chats: &TextGroup<'_>) -> String {
        let weights: Vec<f64> = self.config.source.iter().map(|s| s.weight).collect();
        let how = format!("{:?} {vocab_size} {weights:?} {}", self.config.tokenizer, chats.weight);
        let mut said = blake3::Hasher::new();
        for text in &chats.texts {
            said.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        self.key(&[how.as_bytes(), said.finalize().as_bytes()])
    }

    /// The shards in a folder, if they are whole.
    fn open(&self, folder: &Path) -> Option<(Vec<Packed>, Vec<Tally>)> {
        let (file, _) = RealFs.open(&folder.join("meta.json"), Links::Refuse).ok()?;
        let meta: Meta = serde_json::from_reader(file.take(1 << 20)).ok()?;
        let side = |name: String| -> Option<Stream> {
            let (file, _) = RealFs.open(&folder.join(name), Links::Refuse).ok()?;
            shard::open(Box::new(file)).ok()
        };
        let packed: Option<Vec<Packed>> = (0..)
            .zip(&self.config.source)
            .map(|(i, source): (usize, _)| {
                Some(Packed {
                    name: source.name.clone(),
                    weight: source.weight,
                    train: side(format!("{i}-train"))?,
                    held_out: side(format!("{i}-held-out"))?,
                })
            })
            .collect();
        Some((packed?, meta.kept_out))
    }

    /// Hands over all documents in order, some of one source at a time: the source, and the number that the first
    /// of them has in it.
    fn each(
        &self,
        mut take: impl FnMut(usize, usize, Vec<Cleansed>) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let open = |name: &str| -> Result<_, TrainError> {
            let path = self.cleaned.dir.join(name);
            let opened = RealFs.open(&path, Links::Refuse);
            let (file, _) = opened.map_err(|source| StoreError::Io { doing: "open", path, source })?;
            Ok(BufReader::with_capacity(1 << 18, file))
        };
        let failed = |source: io::Error| StoreError::Io { doing: "read", path: self.cleaned.dir.clone(), source };
        let (mut table, mut texts, mut at) = (open("documents")?, open("texts")?, 0);
        for (source, meta) in self.cleaned.meta.sources.iter().enumerate() {
            let count = meta.funnel.kept.documents as usize;
            let mut first = 0;
            while first < count {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(TrainError::Stopped);
                }
                let (mut some, mut bytes) = (Vec::new(), 0);
                while first + some.len() < count && bytes < AT_ONCE {
                    let mut entry = [0; ENTRY];
                    table.read_exact(&mut entry).map_err(failed)?;
                    let (offset, length) = (number(&entry[..8]), number(&entry[8..12]) as usize);
                    // What lies between belonged to a duplicate.
                    let between = offset.checked_sub(at).ok_or_else(|| self.damaged())?;
                    texts.seek_relative(between as i64).map_err(failed)?;
                    let mut text = vec![0; length];
                    texts.read_exact(&mut text).map_err(failed)?;
                    at = offset + length as u64;
                    bytes += length;
                    let text = String::from_utf8(text).map_err(|_| self.damaged())?;
                    let head = number(&entry[12..16]) as usize;
                    let mut key = [0; 32];
                    key.copy_from_slice(&entry[16..]);
                    if !text.is_char_boundary(head) {
                        return Err(self.damaged());
                    }
                    some.push(Cleansed { text, head, key });
                }
                let taken = some.len();
                take(source, first, some)?;
                first += taken;
            }
        }
        Ok(())
    }

    fn damaged(&self) -> TrainError {
        let dir = self.cleaned.dir.display();
        TrainError::Input(format!("{dir}: the cleaned text is damaged; remove the folder, it is made anew"))
    }

    /// Says what every document is for.
    fn sides(&self) -> Result<Sides, TrainError> {
        let plain = |text: &str| split::normalise_in_one_script(text);
        let learned: Vec<String> = self
            .probes
            .iter()
            .filter(|p| p.recall)
            .map(|p| plain(&format!("{}{}", p.prompt, p.expected)))
            .filter(|t| !t.is_empty())
            .collect();
        let mut unseen: Vec<String> = Vec::new();
        for p in self.probes.iter().filter(|p| !p.recall) {
            let answer = plain(&p.expected);
            let whole = plain(&format!("{}{}", p.prompt, p.expected));
            let telling = if answer.chars().count() >= TELLING { answer } else { whole };
            unseen.extend((!telling.is_empty()).then_some(telling));
        }
        let sources = self.config.source.len();
        let mut keys: Vec<Vec<split::Key>> = vec![Vec::new(); sources];
        let mut keep = HashSet::new();
        let mut kept_out = vec![HashSet::new(); sources];
        let mut counted = vec![Tally::default(); sources];
        self.each(|source, first, some| {
            let found: Vec<(bool, bool)> = some
                .par_iter()
                .map(|d| {
                    if learned.is_empty() && unseen.is_empty() {
                        return (false, false);
                    }
                    let body = plain(&d.text[d.head..]);
                    let holds = |probes: &[String]| probes.iter().any(|p| body.contains(p.as_str()));
                    (holds(&learned), holds(&unseen))
                })
                .collect();
            for (i, (document, (learned, unseen))) in some.iter().zip(found).enumerate() {
                keys[source].push(document.key);
                if learned {
                    keep.insert(document.key);
                } else if unseen {
                    kept_out[source].insert(first + i);
                    counted[source].documents += 1;
                    counted[source].bytes += document.text.len() as u64;
                }
            }
            Ok(())
        })?;
        let held = split::split_keys(&keys, keep).held_out;
        let held_out = keys
            .iter()
            .zip(held)
            .map(|(keys, held)| {
                let mut is = vec![false; keys.len()];
                for i in held {
                    is[i] = true;
                }
                is
            })
            .collect();
        Ok(Sides { held_out, kept_out, counted })
    }

    /// Trains a tokenizer on what is trained on; of much text on a part of each source by its weight.
    fn train(&self, sides: &Sides, vocab_size: usize, chats: &TextGroup<'_>) -> Result<Tokenizer, TrainError> {
        let sizes: Vec<u64> = self.cleaned.meta.sources.iter().map(|s| s.funnel.kept.bytes).collect();
        let weights: f64 = self.config.source.iter().map(|s| s.weight).sum();
        let part = |source: usize| {
            if sizes.iter().sum::<u64>() <= SAMPLE {
                return 1.0;
            }
            SAMPLE as f64 * self.config.source[source].weight / weights / sizes[source].max(1) as f64
        };
        let mut samples: Vec<Vec<String>> = vec![Vec::new(); sizes.len()];
        self.each(|source, first, some| {
            for (i, document) in (first..).zip(some) {
                // Other bytes of the key than those that hold a document out.
                let chance = number(&document.key[4..8]) as f64 / 4_294_967_296.0;
                let trained = !sides.held_out[source][i] && !sides.kept_out[source].contains(&i);
                if trained && chance < part(source) {
                    samples[source].push(document.text);
                }
            }
            Ok(())
        })?;
        let mut groups: Vec<TextGroup<'_>> = samples
            .iter()
            .zip(&self.config.source)
            .map(|(texts, source)| {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let characters: usize = texts.iter().map(|t| t.chars().count()).sum();
                TextGroup { weight: source.weight / characters.max(1) as f64, texts }
            })
            .collect();
        groups.push(chats.clone());
        Ok(match self.config.tokenizer {
            TokenizerKind::Char => data::train_char(&groups, vocab_size)?,
            TokenizerKind::Bpe => data::train_bpe(&groups, vocab_size)?,
        })
    }

    /// Writes the shards.
    fn write(&self, draft: &Draft, sides: &Sides, tokenizer: &Tokenizer) -> Result<(), TrainError> {
        let Some(end) = tokenizer.end_of_text() else {
            let lacks = "it has no end-of-text token to put between documents";
            return Err(DataError::Tokenizer(lacks.into()).into());
        };
        let names = |source: usize| [format!("{source}-train"), format!("{source}-held-out")];
        let open = |source: usize| -> Result<[ShardWriter<DraftFile>; 2], TrainError> {
            let one = |name: &String| -> Result<_, TrainError> {
                ShardWriter::new(draft.create(name)?, tokenizer.vocab_size())
                    .map_err(|e| draft.failed(name, "write", e).into())
            };
            let [train, held_out] = names(source);
            Ok([one(&train)?, one(&held_out)?])
        };
        let close = |source: usize, writers: [ShardWriter<DraftFile>; 2]| -> Result<(), TrainError> {
            for (name, writer) in names(source).iter().zip(writers) {
                let file = writer.finish().map_err(|e| draft.failed(name, "write", e))?;
                draft.finish(name, file)?;
            }
            Ok(())
        };
        let mut at = 0;
        let mut writers = Some(open(0)?);
        self.each(|source, first, some| {
            while at < source {
                if let Some(done) = writers.take() {
                    close(at, done)?;
                }
                at += 1;
                writers = Some(open(at)?);
            }
            let encoded: Result<Vec<(Vec<u32>, usize)>, DataError> = some
                .par_iter()
                .map(|document| {
                    let mut ids = tokenizer.encode(&document.text[..document.head])?;
                    let head = ids.len();
                    ids.extend(tokenizer.encode(&document.text[document.head..])?);
                    ids.push(end);
                    Ok((ids, head))
                })
                .collect();
            for (i, (document, (ids, head))) in (first..).zip(some.iter().zip(encoded?)) {
                if sides.kept_out[source].contains(&i) {
                    continue;
                }
                let side = usize::from(sides.held_out[source][i]);
                if let Some(writers) = &mut writers {
                    writers[side]
                        .push(&ids, head, document.text.len() as u64)
                        .map_err(|e| draft.failed(&names(source)[side], "write", e))?;
                }
            }
            Ok(())
        })?;
        if let Some(done) = writers.take() {
            close(at, done)?;
        }
        // A source of which nothing is left has its two shards all the same.
        for source in at + 1..self.config.source.len() {
            close(source, open(source)?)?;
        }
        let mut file = draft.create("meta.json")?;
        let meta = Meta { kept_out: sides.counted.clone() };
        let written = serde_json::to_writer(&mut file, &meta).map_err(io::Error::from);
        written.map_err(|e| draft.failed("meta.json", "write", e))?;
        draft.finish("meta.json", file)?;
        Ok(())
    }
}
