//! A run's text as token streams, with its tokenizer.
//!
//! The built-in corpus is small and curated: it is encoded in memory, unchanged. User text is cleaned unit by unit
//! (`prepare::clean`), deduplicated, split (`select`) and tokenised (`tokens`) to disk, each once, and streamed from
//! there. A `version` records the use of every document; editing a file makes its unit and a version again.

mod arrow;
pub(super) mod conversations;
mod dropped;
mod files;
pub(super) mod live;
mod marks;
mod prepare;
mod splits;
mod trial;
mod view;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

pub use dropped::dropped;
pub(super) use files::{Reading, SourceFile, files, find_sources};
pub use marks::Marks;
pub use trial::trial;
pub use view::room;

use self::prepare::version::{Version, version_name};
use crate::{
    data::{self, Packed, Tokenizer, clean::Funnel},
    protocol::{Monitor, Progress},
    store::{Preparer, Run, RunView, StoreError},
    train::{
        config::{ProbeConfig, RunConfig, TokenizerKind},
        error::TrainError,
        run::model_folder,
    },
};

/// Limit on a file of conversations or preferences, which are held in memory.
pub(super) const FILE_LIMIT: u64 = 512 << 20;

/// Weight of all characters of the conversations when a tokenizer is trained, relative to all text together.
const CHAT_WEIGHT: f64 = 0.25;

/// The version of the built-in corpus.
const BUILTIN: &str = "builtin";

/// Sources, tokenizer and probes of a run.
#[derive(Clone)]
pub struct Corpus {
    /// Token streams, training and held out, of all sources in order, including empty ones.
    pub packed: Arc<Vec<Packed>>,
    /// The run's tokenizer.
    pub tokenizer: Tokenizer,
    /// The probes.
    pub probes: Vec<ProbeConfig>,
    /// Hash over all text, in order: shows a resume whether the data have changed.
    pub digest: String,
    /// Name, weight and funnel of every source, including empty ones.
    pub funnels: Vec<(String, f64, Funnel)>,
    /// Files that could not be read to their end: source, and file with the reason.
    pub failed: Vec<(String, String)>,
    /// Notes for the user: files skipped, records rejected.
    pub notes: Vec<String>,
    /// The key of this version of the data.
    pub version: String,
    /// The work that was needed to make it.
    pub effort: Effort,
}

/// The work of a preparation; prepared data that existed do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Units cleaned.
    pub cleaned: usize,
    /// Documents compared for duplicates.
    pub compared: usize,
    /// Units tokenised.
    pub tokenised: usize,
}

/// Prepares a run's text; may run in a thread beside the owner of the run.
#[derive(Debug)]
pub struct Preparing {
    /// The run's configuration.
    pub config: RunConfig,
    /// The right to write prepared data, from [`Run::preparer`].
    pub preparer: Preparer,
    /// The folder of the tokenizer; without tokenizer.json there, one is trained.
    pub known: PathBuf,
    /// Most tokens of the vocabulary.
    pub vocab_size: usize,
    /// Whether to add missing chat template tokens to an imported tokenizer.
    pub chat: bool,
    /// Set to cancel the work, which then ends with [`TrainError::Stopped`].
    pub stop: Arc<AtomicBool>,
}

impl Preparing {
    /// Reads the sources. Other versions are kept; see [`prune`].
    pub fn run(&self) -> Result<Corpus, TrainError> {
        let monitor = Monitor::new(vec![Arc::clone(&self.stop)], Progress::default());
        load(&self.config, &self.preparer, &self.known, self.vocab_size, self.chat, &monitor)
    }
}

impl Corpus {
    /// Reads the sources, and the tokenizer in the folder `known`, or trains one with at most `vocab_size` tokens. With
    /// `chat` an imported tokenizer gets the chat template tokens that it lacks. Work that is given up ends with
    /// [`TrainError::Stopped`]. Data prepared earlier are kept; see [`prune`].
    pub fn load(
        config: &RunConfig,
        run: &Run,
        known: &Path,
        vocab_size: usize,
        chat: bool,
        monitor: &Monitor,
    ) -> Result<Corpus, TrainError> {
        load(config, &run.preparer(), known, vocab_size, chat, monitor)
    }

    /// The same corpus with the source weights of a configuration.
    pub(super) fn weighed(&self, config: &RunConfig) -> Corpus {
        let mut packed = Vec::clone(&self.packed);
        for source in &mut packed {
            source.weight = config.weight(&source.name).unwrap_or(source.weight);
        }
        Corpus { packed: Arc::new(packed), ..self.clone() }
    }

    /// The built-in corpus.
    fn builtin(
        config: &RunConfig,
        run_dir: &Path,
        known: Option<Tokenizer>,
        vocab_size: usize,
        probes: Vec<ProbeConfig>,
        monitor: &Monitor,
    ) -> Result<Corpus, TrainError> {
        let mut sources = data::builtin_sources()?;
        for source in &mut sources {
            source.weight = config.weight(&source.name).unwrap_or(source.weight);
        }
        let protected: Vec<String> =
            probes.iter().filter(|p| p.recall).map(|p| format!("{}{}", p.prompt, p.expected)).collect();
        let protected: Vec<&str> = protected.iter().map(String::as_str).collect();
        let split = data::split(&sources, &protected);
        let tokenizer = if let Some(tokenizer) = known {
            tokenizer
        } else {
            let mut texts = data::training_texts(&sources, &split);
            // The stages of a run share a tokenizer, so it is trained on the text of later stages too.
            let all: f64 = sources.iter().map(|s| s.weight).sum();
            let conversations = conversations::conversations(config, run_dir, false, monitor)?;
            texts.push(data::chat_texts(&conversations, CHAT_WEIGHT * all));
            fits(
                match config.tokenizer {
                    TokenizerKind::Char => data::train_char(&texts, vocab_size)?,
                    TokenizerKind::Bpe => data::train_bpe(&texts, vocab_size)?,
                },
                vocab_size,
            )?
        };
        let packed = data::pack(&sources, &split, &tokenizer)?;
        let digest = digest(&packed);
        let funnel = |source: &data::Source| {
            let mut funnel = Funnel::default();
            source.documents.iter().for_each(|d| funnel.keep(d.text().len() as u64, data::clean::Masked::default()));
            funnel.bytes_read = funnel.bytes_in;
            (source.name.clone(), source.weight, funnel)
        };
        let funnels = sources.iter().map(funnel).collect();
        Ok(Corpus {
            packed: Arc::new(packed),
            tokenizer,
            probes,
            digest,
            funnels,
            failed: Vec::new(),
            notes: Vec::new(),
            version: BUILTIN.to_owned(),
            effort: Effort::default(),
        })
    }
}

fn load(
    config: &RunConfig,
    preparer: &Preparer,
    known: &Path,
    vocab_size: usize,
    chat: bool,
    monitor: &Monitor,
) -> Result<Corpus, TrainError> {
    let known = match model_folder::tokenizer(known)? {
        Some(tokenizer) => {
            Some(fits(if chat { tokenizer.with_template(config.keeps_chat())? } else { tokenizer }, vocab_size)?)
        }
        None => None,
    };
    let probes = probes(config);
    if config.source.is_empty() {
        return Corpus::builtin(config, preparer.view().dir(), known, vocab_size, probes, monitor);
    }
    let text = prepare::Text { config, preparer, probes: &probes, vocab_size, monitor };
    let prepare::Prepared { packed, tokenizer, funnels, failed, notes, version, effort } = text.run(known)?;
    let digest = digest(&packed);
    Ok(Corpus { packed: Arc::new(packed), tokenizer, probes, digest, funnels, failed, notes, version, effort })
}

/// The streams of an earlier version of a run's text, if its files are all there and intact. Weights are those of the
/// configuration, by name.
pub fn open_version(view: &RunView, key: &str, config: &RunConfig) -> Option<Vec<Packed>> {
    Version::read(view, key)?.streams(view, config).ok()
}

/// Removes prepared data except the version `current`, those in `keep`, and what they need. Streams of removed versions
/// cannot be read any more.
pub fn prune(preparer: &Preparer, current: &str, keep: &[String]) -> Result<(), StoreError> {
    let mut wanted: HashSet<String> = HashSet::new();
    for key in keep.iter().map(String::as_str).chain([current]) {
        match Version::read(preparer.view(), key) {
            Some(version) => {
                wanted.extend(version.needs());
                wanted.insert(version_name(key));
            }
            // It was just read or written; if it is unreadable now, its needs are unknown.
            None if key == current && key != BUILTIN => return Ok(()),
            None => {}
        }
    }
    let is_small = |name: &str| name.starts_with("files-") || name.starts_with("tokenizer-");
    preparer.clear(|name| wanted.contains(name) || is_small(name))
}

/// Rejects a tokenizer with more tokens than the model.
fn fits(tokenizer: Tokenizer, vocab_size: usize) -> Result<Tokenizer, TrainError> {
    if tokenizer.vocab_size() <= vocab_size {
        return Ok(tokenizer);
    }
    Err(TrainError::Input(format!(
        "the tokenizer has {} tokens, the model's vocab_size is {vocab_size}; raise model.vocab_size",
        tokenizer.vocab_size()
    )))
}

/// The configured probes, or the default ones.
fn probes(config: &RunConfig) -> Vec<ProbeConfig> {
    if !config.probe.is_empty() {
        return config.probe.clone();
    }
    data::PROBES
        .iter()
        .map(|p| ProbeConfig { recall: p.recall, prompt: p.prompt.to_owned(), expected: p.expected.to_owned() })
        .collect()
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
