//! A run's text as token streams, with its tokenizer.
//!
//! The built-in corpus is small and chosen: it is encoded as it is, in memory. User text is cleaned unit by unit
//! (`prepare::clean`), freed of duplicates, parted (`select`) and tokenised (`tokens`) to disk, each once, and streamed
//! from there. What all documents are for is a `version`; editing a file makes its unit again, and a new version.

pub(super) mod conversations;
mod dropped;
mod files;
pub(super) mod live;
mod marks;
mod prepare;
mod trial;
mod view;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

pub use dropped::dropped;
pub(super) use files::{files, find_sources};
pub use marks::Marks;
pub use trial::trial;
pub use view::room;

use self::prepare::version::{Version, version_name};
use crate::{
    data::{self, Packed, Tokenizer, clean::Funnel},
    store::{Preparer, Run, RunView, StoreError},
    train::{
        config::{ProbeConfig, RunConfig, TokenizerKind},
        error::TrainError,
        run::model_folder,
    },
};

/// Largest file of conversations or preferences, which are held in memory.
pub(super) const FILE_LIMIT: u64 = 512 << 20;

/// What a character of the conversations counts when a tokenizer is trained, all of them together, where
/// all text together counts 1.
const CHAT_WEIGHT: f64 = 0.25;

/// The version of the corpus in the binary.
const BUILTIN: &str = "builtin";

/// Sources, tokenizer and probes of a run.
#[derive(Clone)]
pub struct Corpus {
    /// Token streams, training and held out, of every source in its order; also of one with nothing left.
    pub packed: Arc<Vec<Packed>>,
    /// The run's tokenizer.
    pub tokenizer: Tokenizer,
    /// The fixed prompts.
    pub probes: Vec<ProbeConfig>,
    /// Hash over all text, in order: tells a resume whether the data are what they were.
    pub digest: String,
    /// Every source's name, weight and way through the rules, those included of which nothing is left.
    pub funnels: Vec<(String, f64, Funnel)>,
    /// Files that were not read to their end: the source, and the file with the reason.
    pub failed: Vec<(String, String)>,
    /// What the user should know: files skipped, records rejected.
    pub notes: Vec<String>,
    /// The key of the version of the data that this is.
    pub version: String,
    /// What had to be done for it.
    pub effort: Effort,
}

/// What was not there yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Units that were cleaned.
    pub cleaned: usize,
    /// Documents that were held against others for duplicates.
    pub compared: usize,
    /// Units that were tokenised.
    pub tokenised: usize,
}

/// A preparation of a run's text that may run in a thread beside the one that owns the run.
#[derive(Debug)]
pub struct Preparing {
    /// The run's configuration.
    pub config: RunConfig,
    /// The right to write prepared data, from [`Run::preparer`].
    pub preparer: Preparer,
    /// A folder with tokenizer.json; where it has none, one is trained.
    pub known: PathBuf,
    /// The tokens that a tokenizer has at most.
    pub vocab_size: usize,
    /// Whether a tokenizer from elsewhere gets the tokens of the chat template that it lacks.
    pub chat: bool,
    /// Set where the work is to be given up, which then ends with [`TrainError::Stopped`].
    pub stop: Arc<AtomicBool>,
}

impl Preparing {
    /// Reads the sources. What other versions need stays; see [`prune`].
    pub fn run(&self) -> Result<Corpus, TrainError> {
        load(&self.config, &self.preparer, &self.known, self.vocab_size, self.chat, &self.stop)
    }
}

impl Corpus {
    /// Reads the sources and takes the tokenizer from `known` (a folder with tokenizer.json), or trains
    /// one of at most `vocab_size` tokens. For a stage of `chat` a tokenizer from elsewhere gets the tokens of
    /// the chat template that it lacks. Where `stop` is set meanwhile, the work ends with [`TrainError::Stopped`].
    /// What was prepared earlier stays; see [`prune`].
    pub fn load(
        config: &RunConfig,
        run: &Run,
        known: &Path,
        vocab_size: usize,
        chat: bool,
        stop: &AtomicBool,
    ) -> Result<Corpus, TrainError> {
        load(config, &run.preparer(), known, vocab_size, chat, stop)
    }

    /// The same with the weights that a configuration gives its sources.
    pub(super) fn weighed(&self, config: &RunConfig) -> Corpus {
        let mut packed = Vec::clone(&self.packed);
        for source in &mut packed {
            source.weight = config.weight(&source.name).unwrap_or(source.weight);
        }
        Corpus { packed: Arc::new(packed), ..self.clone() }
    }

    /// The corpus in the binary.
    fn builtin(
        config: &RunConfig,
        run_dir: &Path,
        known: Option<Tokenizer>,
        vocab_size: usize,
        probes: Vec<ProbeConfig>,
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
            // The stages of a run share a tokenizer, so it is made for what the later ones say as well.
            let all: f64 = sources.iter().map(|s| s.weight).sum();
            let conversations = conversations::conversations(config, run_dir)?;
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
    stop: &AtomicBool,
) -> Result<Corpus, TrainError> {
    let known = match model_folder::tokenizer(known)? {
        Some(tokenizer) => Some(fits(if chat { tokenizer.with_chat()? } else { tokenizer }, vocab_size)?),
        None => None,
    };
    let probes = probes(config);
    if config.source.is_empty() {
        return Corpus::builtin(config, preparer.view().dir(), known, vocab_size, probes);
    }
    let work = prepare::Work { config, preparer, probes: &probes, vocab_size, stop };
    let prepare::Prepared { packed, tokenizer, funnels, failed, notes, version, effort } = work.run(known)?;
    let digest = digest(&packed);
    Ok(Corpus { packed: Arc::new(packed), tokenizer, probes, digest, funnels, failed, notes, version, effort })
}

/// The streams of an earlier version of a run's text, if all of it is still on disk and whole. Weights are those of
/// the configuration, by name.
pub fn open_version(view: &RunView, key: &str, config: &RunConfig) -> Option<Vec<Packed>> {
    Version::read(view, key)?.streams(view, config).ok()
}

/// Removes what was prepared but for the version `current`, those in `keep`, and what they need. Streams of a version
/// that is removed cannot be read any more.
pub fn prune(preparer: &Preparer, current: &str, keep: &[String]) -> Result<(), StoreError> {
    let mut wanted: HashSet<String> = HashSet::new();
    for key in keep.iter().map(String::as_str).chain([current]) {
        match Version::read(preparer.view(), key) {
            Some(version) => {
                wanted.extend(version.needs());
                wanted.insert(version_name(key));
            }
            // It was read or written just now; if it cannot be read any more, nothing is known of what it needs.
            None if key == current && key != BUILTIN => return Ok(()),
            None => {}
        }
    }
    let is_small = |name: &str| name.starts_with("files-") || name.starts_with("tokenizer-");
    preparer.clear(|name| wanted.contains(name) || is_small(name))
}

/// Refuses a tokenizer that has more tokens than the model.
fn fits(tokenizer: Tokenizer, vocab_size: usize) -> Result<Tokenizer, TrainError> {
    if tokenizer.vocab_size() <= vocab_size {
        return Ok(tokenizer);
    }
    Err(TrainError::Input(format!(
        "the tokenizer has {} tokens, the model's vocab_size is {vocab_size}; raise model.vocab_size",
        tokenizer.vocab_size()
    )))
}

/// The configured probes, or 春晓.
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
