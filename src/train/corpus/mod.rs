//! A run's text as token streams, with its tokenizer.
//!
//! The built-in corpus is small and chosen: it is encoded as it is, in memory. Text of one's own is cleaned
//! (`clean`) and tokenised (`tokens`) to disk, once, and streamed from there.

mod clean;
mod files;
mod ledger;
mod marks;
mod tokens;
mod trial;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    chats,
    config::{ProbeConfig, RunConfig, SourceConfig, TokenizerKind},
    error::TrainError,
    model_folder::read_text,
};
use crate::{
    data::{self, Packed, Tokenizer, clean::Funnel},
    store::Run,
};
use ledger::SourceMeta;
use tokens::{Tokenizing, Tokens};

pub(super) use files::{files, find_sources};
pub use marks::Marks;
pub use trial::trial;

/// Largest file of conversations or preferences, which are held in memory.
pub(super) const FILE_LIMIT: u64 = 512 << 20;

/// The rule of a document that holds a probe which is to stay unseen.
const PROBE: &str = "probe";

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
    /// Every source's name, weight and way through the rules, those included of which nothing is left.
    pub funnels: Vec<(String, f64, Funnel)>,
    /// What a person should know: files passed over, records rejected.
    pub notes: Vec<String>,
}

impl Corpus {
    /// Reads the sources and takes the tokenizer from `known` (a folder with tokenizer.json), or trains
    /// one of at most `vocab_size` tokens. For a stage of `chat` a tokenizer from elsewhere gets the tokens of
    /// the chat template that it lacks. Where `stop` is set meanwhile, the work ends with [`TrainError::Stopped`].
    pub fn load(
        config: &RunConfig,
        run: &Run,
        known: &Path,
        vocab_size: usize,
        chat: bool,
        stop: &AtomicBool,
    ) -> Result<Corpus, TrainError> {
        let known = match read_text(known, "tokenizer.json")? {
            Some(json) => {
                let tokenizer = Tokenizer::from_json(&json, read_text(known, "tokenizer_config.json")?.as_deref())?;
                Some(fits(if chat { tokenizer.with_chat()? } else { tokenizer }, vocab_size)?)
            }
            None => None,
        };
        let probes = probes(config);
        if config.source.is_empty() {
            return Self::builtin(config, run.view().dir(), known, vocab_size, probes);
        }
        let cleaned = clean::cleaned(run, config, stop)?;
        let mut notes: Vec<String> = cleaned.meta.sources.iter().flat_map(|s| s.notes.iter().cloned()).collect();
        let sources = || config.source.iter().zip(&cleaned.meta.sources);
        let mut funnels: Vec<_> = sources().map(|(s, meta)| (s.name.clone(), s.weight, meta.funnel.clone())).collect();
        let all_gone = sources().all(|(_, meta)| meta.funnel.kept.documents == 0);
        for (source, meta) in sources() {
            if meta.funnel.kept.documents == 0 {
                let words = nothing_left(source, meta);
                if all_gone {
                    return Err(TrainError::Input(words));
                }
                notes.push(words);
            } else {
                notes.extend(meta.first.iter().map(|first| format!("source {}: {first}", source.name)));
            }
        }
        let conversations = if known.is_none() { chats::conversations(config, run.view().dir())? } else { Vec::new() };
        let all: f64 = config.source.iter().map(|s| s.weight).sum();
        let chats = data::chat_texts(&conversations, CHAT_WEIGHT * all);
        let work = Tokenizing { run, config, cleaned: &cleaned, probes: &probes, stop };
        let Tokens { mut packed, tokenizer, kept_out } = work.tokens(known, vocab_size, &chats)?;
        for ((name, _, funnel), out) in funnels.iter_mut().zip(kept_out) {
            if funnel.kept.documents > 0 && funnel.kept.documents == out.documents {
                notes.push(format!(
                    "source {name}: every document left in it holds a probe; set recall = true in [[probe]]"
                ));
            }
            funnel.drop_all(PROBE, out);
        }
        // The others are drawn from; what is left of none is said above.
        packed.retain(|source| !source.train.is_empty());
        if packed.is_empty() {
            return Err(TrainError::Input(notes.pop().unwrap_or_else(|| "no source holds a document".to_owned())));
        }
        let tokenizer = fits(tokenizer, vocab_size)?;
        let digest = digest(&packed);
        Ok(Corpus { packed: Arc::new(packed), tokenizer, probes, digest, funnels, notes })
    }

    /// The corpus in the binary.
    fn builtin(
        config: &RunConfig,
        run_dir: &Path,
        known: Option<Tokenizer>,
        vocab_size: usize,
        probes: Vec<ProbeConfig>,
    ) -> Result<Corpus, TrainError> {
        let sources = data::builtin_sources()?;
        let protected: Vec<String> = probes.iter().map(|p| format!("{}{}", p.prompt, p.expected)).collect();
        let protected: Vec<&str> = protected.iter().map(String::as_str).collect();
        let split = data::split(&sources, &protected);
        let tokenizer = if let Some(tokenizer) = known {
            tokenizer
        } else {
            let mut texts = data::training_texts(&sources, &split);
            // The stages of a run share a tokenizer, so it is made for what the later ones say as well.
            let all: f64 = sources.iter().map(|s| s.weight).sum();
            let conversations = chats::conversations(config, run_dir)?;
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
        Ok(Corpus { packed: Arc::new(packed), tokenizer, probes, digest, funnels, notes: Vec::new() })
    }
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

/// A source of which nothing is left: why.
fn nothing_left(source: &SourceConfig, meta: &SourceMeta) -> String {
    let name = &source.name;
    if let Some(note) = meta.notes.last().filter(|_| meta.funnel.documents_in == 0) {
        return note.clone();
    }
    let by_rule: Vec<String> =
        meta.funnel.dropped.iter().map(|(rule, tally)| format!("{} by {rule}", tally.documents)).collect();
    let why = if by_rule.is_empty() { "expected text in it".to_owned() } else { by_rule.join(", ") };
    let first = meta.first.as_ref().map_or(String::new(), |first| format!("; {first}"));
    format!(
        "source {name}: {:?} holds no document that is left after cleaning ({}): {why}{first}; set another profile, or correct the files",
        source.path,
        source.profile.name()
    )
}

/// The configured probes, or 春晓.
fn probes(config: &RunConfig) -> Vec<ProbeConfig> {
    if !config.probe.is_empty() {
        return config.probe.clone();
    }
    data::PROBES
        .iter()
        .map(|p| ProbeConfig {
            // The built-in probe is a poem of the training text: what it shows is recall.
            recall: true,
            prompt: p.prompt.to_owned(),
            expected: p.expected.to_owned(),
        })
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
