//! A run's text as token streams, with its tokenizer.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    chats,
    config::{ProbeConfig, RunConfig, SourceConfig, TokenizerKind},
    error::TrainError,
    model_folder::read_text,
};
use crate::{
    data::{self, Packed, Source, Tokenizer},
    store::{Links, RealFs, StoreError, read_limited},
};

/// Largest source file: the streaming reader arrives with the data room.
pub(super) const FILE_LIMIT: u64 = 512 << 20;

/// What a character of the conversations counts when a tokenizer is trained, all of them together, where
/// all text together counts 1.
const CHAT_WEIGHT: f64 = 0.25;

/// Sources, tokenizer and probes of a run.
pub struct Corpus {
    /// Token streams, training and held out, per source.
    pub packed: Arc<Vec<Packed>>,
    /// The run's tokenizer.
    pub tokenizer: Tokenizer,
    /// The fixed prompts.
    pub probes: Vec<ProbeConfig>,
    /// Hash over all text, in order: tells a resume whether the data are what they were.
    pub digest: String,
    /// What a person should know: files passed over, records rejected.
    pub notes: Vec<String>,
}

impl Corpus {
    /// Reads the sources and takes the tokenizer from `known` (a folder with tokenizer.json), or trains
    /// one of at most `vocab_size` tokens. For a stage of `chat` a tokenizer from elsewhere gets the tokens of
    /// the chat template that it lacks.
    pub fn load(
        config: &RunConfig,
        run_dir: &Path,
        known: &Path,
        vocab_size: usize,
        chat: bool,
    ) -> Result<Corpus, TrainError> {
        let mut notes = Vec::new();
        let sources = if config.source.is_empty() {
            data::builtin_sources()?
        } else {
            read_sources(config, run_dir, &mut notes)?
        };
        let probes = probes(config);
        let protected: Vec<String> = probes.iter().map(|p| format!("{}{}", p.prompt, p.expected)).collect();
        let protected: Vec<&str> = protected.iter().map(String::as_str).collect();
        let split = data::split(&sources, &protected);
        let tokenizer = if let Some(json) = read_text(known, "tokenizer.json")? {
            let tokenizer = Tokenizer::from_json(&json, read_text(known, "tokenizer_config.json")?.as_deref())?;
            if chat { tokenizer.with_chat()? } else { tokenizer }
        } else {
            let mut texts = data::training_texts(&sources, &split);
            // The stages of a run share a tokenizer, so it is made for what the later ones say as well.
            let all: f64 = sources.iter().map(|s| s.weight).sum();
            let conversations = chats::conversations(config, run_dir)?;
            texts.push(data::chat_texts(&conversations, CHAT_WEIGHT * all));
            match config.tokenizer {
                TokenizerKind::Char => data::train_char(&texts, vocab_size)?,
                TokenizerKind::Bpe => data::train_bpe(&texts, vocab_size)?,
            }
        };
        if tokenizer.vocab_size() > vocab_size {
            return Err(TrainError::Input(format!(
                "the tokenizer has {} tokens, the model's vocab_size is {vocab_size}; raise model.vocab_size",
                tokenizer.vocab_size()
            )));
        }
        let packed = data::pack(&sources, &split, &tokenizer)?;
        let digest = digest(&packed);
        Ok(Corpus { packed: Arc::new(packed), tokenizer, probes, digest, notes })
    }
}

/// The configured probes, or 春晓.
fn probes(config: &RunConfig) -> Vec<ProbeConfig> {
    if !config.probe.is_empty() {
        return config.probe.clone();
    }
    data::PROBES.iter().map(|p| ProbeConfig { prompt: p.prompt.to_owned(), expected: p.expected.to_owned() }).collect()
}

fn digest(packed: &[Packed]) -> String {
    let mut hash = blake3::Hasher::new();
    for source in packed {
        hash.update(source.name.as_bytes());
        source.train.digest(&mut hash);
        source.held_out.digest(&mut hash);
    }
    hash.finalize().to_hex().to_string()
}

fn read_sources(config: &RunConfig, run_dir: &Path, notes: &mut Vec<String>) -> Result<Vec<Source>, TrainError> {
    config
        .source
        .iter()
        .map(|s| {
            let files = files(run_dir, "source", &s.name, &s.path)?;
            let mut documents = Vec::new();
            for (path, format) in &files {
                let bytes = read_limited(&RealFs, path, FILE_LIMIT, Links::Follow)?;
                let reading = match data::read(*format, bytes.as_slice()) {
                    Ok(reading) => reading,
                    // One file without text among others is counted, not fatal.
                    Err(e @ data::DataError::Empty { .. }) if files.len() > 1 => {
                        notes.push(format!("source {}: {} {e}", s.name, path.display()));
                        continue;
                    }
                    Err(e) => return Err(TrainError::Input(format!("source {}: {} {e}", s.name, path.display()))),
                };
                if let (Some((place, why)), n) = (reading.reasons.first(), reading.rejected) {
                    notes.push(format!(
                        "source {}: {}: {n} records passed over, the first at {place}: {why}",
                        s.name,
                        path.display()
                    ));
                }
                documents.extend(reading.documents);
            }
            if documents.is_empty() {
                return Err(TrainError::Input(format!(
                    "source {}: {:?} holds no document; expected text in .txt, .jsonl or .json files",
                    s.name, s.path
                )));
            }
            Ok(Source { name: s.name.clone(), documents, weight: s.weight, hold_out: true })
        })
        .collect()
}

/// Checks that every source names files, for a run whose folder is not made yet. A path relative to a
/// folder that is not there cannot be looked up; it is when the run is opened.
pub(super) fn find_sources(config: &RunConfig, run_dir: &Path) -> Result<(), TrainError> {
    let there = |s: &&SourceConfig| Path::new(&s.path).is_absolute() || run_dir.is_dir();
    config.source.iter().filter(there).try_for_each(|s| files(run_dir, "source", &s.name, &s.path).map(drop))?;
    config.sft.source.iter().filter(there).try_for_each(|s| files(run_dir, "sft.source", &s.name, &s.path).map(drop))
}

/// The files that a source's path names: one file, all readable ones of a folder, or a glob; sorted.
/// Only what stands in run.toml is a pattern: a run's folder may have brackets in its name.
pub(super) fn files(
    run_dir: &Path,
    table: &str,
    name: &str,
    path: &str,
) -> Result<Vec<(PathBuf, data::Format)>, TrainError> {
    let joined = run_dir.join(path);
    let literal = |p: &Path| PathBuf::from(glob::Pattern::escape(&p.to_string_lossy()));
    let format = |p: &Path| p.extension().and_then(|e| data::Format::of_extension(&e.to_string_lossy()));
    if joined.is_file() {
        let Some(found) = format(&joined) else {
            return Err(TrainError::Input(format!(
                "{table} {name}: {} has an ending that is not read; .txt, .jsonl and .json are",
                joined.display()
            )));
        };
        return Ok(vec![(joined, found)]);
    }
    let pattern = if joined.is_dir() { literal(&joined).join("**/*") } else { literal(run_dir).join(path) };
    let pattern = pattern.to_string_lossy().into_owned();
    let paths = glob::glob(&pattern)
        .map_err(|e| TrainError::Input(format!("{table} {name}: {path:?} is no path or glob: {e}")))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|e| StoreError::Io { doing: "list", path: e.path().to_owned(), source: e.into() })?;
        if let (true, Some(format)) = (path.is_file(), format(&path)) {
            found.push((path, format));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    if found.is_empty() {
        return Err(TrainError::Input(format!(
            "{table} {name}: {} names no .txt, .jsonl or .json file; check {table}.path in run.toml",
            joined.display()
        )));
    }
    Ok(found)
}
