//! Completes a training's probes with the weights of its checkpoints, greedily, as its trainer would.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    asks::Ask,
    folders::{Done, Job},
};
use crate::{
    compute::{Device, room},
    data::{Role, Tokenizer, Turn, Words, read_in},
    nn::{Decoder, ModelConfig, ParamTable, Sampling, Weights},
    protocol::{Event, Who},
    train::{
        error::TrainError,
        run::model_folder::{self, read_text},
        stages::answer::Answer,
    },
};

/// Tokens that an answer may have beyond its reference.
const BEYOND: usize = 16;
/// Positions of the cache; a probe is short.
const WINDOW: usize = 512;
/// Bytes of memory for a parameter: the file, the buffer, and the buffer on the device.
const BYTES: u64 = 12;
/// How long tokens are drawn between two looks at whether to stop.
const PART: Duration = Duration::from_millis(100);

/// Completes probes on a device.
pub struct Completer {
    device: Device,
    stop: Arc<AtomicBool>,
}

impl Completer {
    /// Completes on this device, until `stop` is set.
    pub fn new(device: Device, stop: Arc<AtomicBool>) -> Completer {
        Completer { device, stop }
    }

    /// Completes the probes of a checkpoint.
    pub fn complete(&mut self, job: Job) -> Done {
        let mark = self.device.mark();
        let result = self.all(&job);
        self.device.release(mark);
        Done { job, result }
    }

    fn all(&mut self, job: &Job) -> Result<Vec<Event>, TrainError> {
        fits(&job.folder)?;
        let (config, table, slab) = model_folder::load(&job.folder)?;
        let tokenizer = tokenizer(job)?;
        let weights = Weights::alloc(&mut self.device, "watched", &table.into())?;
        weights.write(&mut self.device, &slab)?;
        drop(slab);
        let window = config.max_position_embeddings.min(WINDOW);
        let mut decoder = Decoder::new(&mut self.device, &config, &weights, window)?;
        let mut events = Vec::new();
        for ask in job.asks.iter().filter(|ask| !ask.chat || tokenizer.turn_end().is_some()) {
            let text = self.answer(&mut decoder, &tokenizer, ask)?;
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            let matched = text.chars().zip(ask.expected.chars()).take_while(|(a, b)| a == b).count();
            events.push(Event::Probe {
                step: job.step,
                task: ask.task.clone(),
                prompt: ask.prompt.clone(),
                text,
                expected: ask.expected.clone(),
                matched,
                length: ask.expected.chars().count(),
                recall: ask.recall,
                // The probability of each line is the trainer's to measure.
                lines: Vec::new(),
            });
        }
        Ok(events)
    }

    /// The greedy continuation, or the answer.
    fn answer(&mut self, decoder: &mut Decoder, tokenizer: &Tokenizer, ask: &Ask) -> Result<String, TrainError> {
        let question = [Turn::new(Role::User, ask.prompt.as_str())];
        let (words, room) = if ask.chat {
            (Words::Chat(&question), tokenizer.encode_turn(&ask.expected)?.len() + BEYOND)
        } else {
            (Words::Text(&ask.prompt), tokenizer.encode_rest(&ask.expected)?.len())
        };
        let tokens = read_in(words, tokenizer, decoder.capacity(), room)?.ids;
        if tokens.is_empty() {
            return Ok(String::new());
        }
        let before = tokens.clone();
        let mut answer = Answer::new(0, tokens, Who::Live, Sampling::greedy(), room, ask.chat, tokenizer);
        while answer.advance(&mut self.device, decoder, tokenizer, PART)?.1.is_none() {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
        }
        Ok(if ask.chat {
            tokenizer.decode_turn(&before, answer.drawn(), false)
        } else {
            tokenizer.decode_rest(&before, answer.drawn(), true)
        })
    }
}

/// Refuses a model for which there is no memory, before it is read.
fn fits(folder: &Path) -> Result<(), TrainError> {
    let Some(text) = read_text(folder, "config.json")? else { return Ok(()) };
    // What is wrong with it is said where it is read.
    let Ok(config) = ModelConfig::from_json(&text) else { return Ok(()) };
    let needed = ParamTable::new(&config).parameters() as u64 * BYTES;
    match room().map(|room| room.usable()) {
        Some(usable) if needed > usable => Err(TrainError::Input(format!(
            "{} needs {} MiB of memory, and {} MiB are free",
            folder.display(),
            needed >> 20,
            usable >> 20
        ))),
        _ => Ok(()),
    }
}

/// The tokenizer in the checkpoint, or beside it.
fn tokenizer(job: &Job) -> Result<Tokenizer, TrainError> {
    for folder in std::iter::once(&job.folder).chain(&job.tokenizers) {
        if let Some(tokenizer) = model_folder::tokenizer(folder)? {
            return Ok(tokenizer);
        }
    }
    Err(TrainError::Input(format!("{} has no tokenizer.json", job.folder.display())))
}
