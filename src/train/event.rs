//! What a trainer is told and what it tells: the vocabulary of the wall between threads.

use std::path::PathBuf;

pub use crate::nn::Sampling;

/// A wish from outside, applied between steps (or between two generated tokens).
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Stop stepping until [`Command::Resume`]; prompts are still answered.
    Pause,
    /// Go on stepping.
    Resume,
    /// Write a checkpoint now.
    Save,
    /// Complete the probes now.
    Probe,
    /// Complete a text with the live weights; tokens come as [`Event::PromptText`].
    Prompt {
        /// The asker's number for it; answers bear it.
        id: u64,
        /// The text to continue.
        text: String,
        /// How to draw tokens.
        sampling: Sampling,
        /// Most tokens to draw.
        max_new_tokens: usize,
    },
    /// Stop answering prompt `id`.
    Cancel {
        /// The prompt's number.
        id: u64,
    },
    /// End the stage here, saving first if asked.
    Stop {
        /// Whether to save.
        save: bool,
    },
}

/// A source as the run sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// Its share of drawn tokens, a fraction of 1.
    pub weight: f64,
    /// Documents trained on.
    pub documents: usize,
    /// Tokens trained on, one epoch.
    pub tokens: usize,
    /// Tokens held out for validation.
    pub held_out_tokens: usize,
}

/// What runs: sent once, first.
#[derive(Clone, Debug, PartialEq)]
pub struct RunInfo {
    /// The run's name.
    pub name: String,
    /// The run's folder.
    pub path: PathBuf,
    /// `pretrain`, …
    pub stage: String,
    /// The size preset, `1m` ….
    pub size: String,
    /// `cpu` or `wgpu`.
    pub engine: String,
    /// The adapter's name.
    pub adapter: String,
    /// Parameters of the model.
    pub parameters: usize,
    /// Vocabulary size.
    pub vocab_size: usize,
    /// Layers, hidden size, query heads, key/value heads, feed-forward size.
    pub layers: usize,
    /// Width.
    pub hidden_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Rows of a batch (all micro-batches together).
    pub batch: usize,
    /// Tokens of a row.
    pub context: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Steps at which the stage ends by itself.
    pub steps: usize,
    /// Step gone on from; 0 for a new run.
    pub resumed_at: usize,
    /// Bytes of device memory taken.
    pub memory: u64,
    /// The data.
    pub sources: Vec<SourceInfo>,
}

/// One optimiser step. Names are Hugging Face's.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: usize,
    /// Mean loss over the step's trained tokens, in nats.
    pub loss: f64,
    /// The rate of this step.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// False when the step was not applied because a number was not finite.
    pub applied: bool,
    /// Tokens a second over the recent steps, pauses and probes excluded.
    pub tokens_per_second: f64,
    /// Tokens trained on so far.
    pub total_tokens: u64,
    /// Passes over the sources, weighted.
    pub epoch: f64,
    /// Milliseconds of this step.
    pub step_ms: f64,
    /// Per source: tokens drawn so far and passes over it.
    pub sources: Vec<SourceUse>,
}

/// How much of a source was drawn so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceUse {
    /// Tokens drawn.
    pub tokens: u64,
    /// Passes over it.
    pub epoch: f64,
}

/// What a trainer tells. Steps are gathered while nobody listens, never dropped.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The stage is ready; first event.
    Started(Box<RunInfo>),
    /// Steps done since the last such event, in order.
    Steps(Vec<StepReport>),
    /// Validation of one source (or of `all`).
    Eval {
        /// After this step.
        step: usize,
        /// The source's name, or `all` for the mean weighted by held-out tokens.
        source: String,
        /// Nats a token.
        eval_loss: f64,
        /// Bits a byte of text.
        eval_bits_per_byte: f64,
    },
    /// A probe's completion.
    Probe {
        /// After this step.
        step: usize,
        /// The fixed prompt.
        prompt: String,
        /// The continuation, greedy.
        text: String,
        /// What it should be.
        expected: String,
        /// Leading characters that are right.
        matched: usize,
        /// Characters of `expected`.
        length: usize,
    },
    /// A piece of an answer to [`Command::Prompt`].
    PromptText {
        /// The prompt's number.
        id: u64,
        /// New characters.
        text: String,
        /// The step whose weights drew them.
        step: usize,
    },
    /// An answer's end.
    PromptDone {
        /// The prompt's number.
        id: u64,
        /// The step whose weights drew the last token.
        step: usize,
        /// Tokens drawn.
        tokens: usize,
        /// Seconds taken.
        seconds: f64,
        /// `stop` (end of text), `length`, `cancelled`, or an error in words.
        finish_reason: String,
    },
    /// Stepping has stopped.
    Paused {
        /// Steps done.
        step: usize,
    },
    /// Stepping goes on.
    Resumed {
        /// Steps done.
        step: usize,
    },
    /// A checkpoint is durable.
    Saved {
        /// Steps in it.
        step: usize,
        /// Its folder.
        path: PathBuf,
        /// Seconds taken.
        seconds: f64,
        /// Bytes written.
        bytes: u64,
    },
    /// A checkpoint could not be written; training is paused, the old ones stand.
    SaveFailed {
        /// Steps that would have been in it.
        step: usize,
        /// Why and what to do.
        error: String,
    },
    /// Something a person should know.
    Note {
        /// At this step.
        step: usize,
        /// In words.
        text: String,
    },
    /// The stage has ended; last event.
    Finished {
        /// Steps done.
        step: usize,
        /// `done`, `stopped`, or `failed: …`.
        reason: String,
        /// True when the work itself failed.
        failed: bool,
    },
}
