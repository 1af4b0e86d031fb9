//! Commands to a trainer.

use std::path::PathBuf;

use super::{Choice, Sampling, Turn};
use crate::base::StageId;

/// The prompt of a model's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A text, continued as it is.
    Text(String),
    /// A conversation that ends with the user, answered in the chat template.
    Chat(Vec<Turn>),
}

/// A change to the runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Care {
    /// Rename a run.
    Rename {
        /// Its folder.
        run: PathBuf,
        /// Its new name.
        name: String,
    },
    /// Keep a checkpoint whatever newer ones there are, or no longer.
    Pin {
        /// The folder of its run.
        run: PathBuf,
        /// Its name.
        checkpoint: String,
        /// Whether it is kept.
        pinned: bool,
    },
    /// Remove a checkpoint that nothing names.
    RemoveCheckpoint {
        /// The folder of its run.
        run: PathBuf,
        /// Its name.
        checkpoint: String,
    },
    /// Remove a run that nothing names.
    RemoveRun {
        /// Its folder.
        run: PathBuf,
    },
}

/// The weights that answer a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The weights under training, as they are now.
    Live,
    /// The checkpoint that the stage started from.
    Parent,
    /// The run's pretrained model, which knows no template.
    Base,
}

/// A text that is looked for in the documents of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// The text; its case and width do not matter.
    pub text: String,
    /// Whether to look backwards.
    pub back: bool,
}

/// A command to a trainer, carried out between two steps (or between two generated tokens).
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Stop stepping until [`Command::Resume`]; prompts are still answered.
    Pause,
    /// Continue stepping.
    Resume,
    /// Write a checkpoint now.
    Save,
    /// Complete the probes now.
    Probe,
    /// Answer a prompt; tokens arrive as [`Event::PromptText`](super::Event::PromptText).
    Prompt {
        /// The sender's number for it; every event of the answer carries it.
        id: u64,
        /// The prompt. A stage before fine-tuning continues the last turn of a chat as text.
        ask: Ask,
        /// The weights that answer.
        who: Who,
        /// How tokens are sampled.
        sampling: Sampling,
        /// The most tokens to generate.
        max_new_tokens: usize,
    },
    /// Stop answering prompt `id`.
    Cancel {
        /// The prompt's number.
        id: u64,
    },
    /// Keep a corrected conversation as a demonstration and train on it from the next batch
    /// ([`Event::Demonstrated`](super::Event::Demonstrated), or [`Event::Refused`](super::Event::Refused)).
    Demonstrate {
        /// The turns, the corrected answer last.
        turns: Vec<Turn>,
    },
    /// Send the newest step's batch, token by token ([`Event::Batch`](super::Event::Batch)).
    ShowBatch,
    /// Send one answer of the newest update, token by token ([`Event::Rollout`](super::Event::Rollout)).
    ShowRollout {
        /// Its index, modulo the number of answers.
        which: usize,
    },
    /// Generate two answers of the live weights to vote on ([`Event::Offered`](super::Event::Offered), or
    /// [`Event::Refused`](super::Event::Refused)).
    Offer {
        /// The prompt; without one the run's own prompts in turn.
        prompt: Option<String>,
    },
    /// Vote on an offer ([`Event::Voted`](super::Event::Voted)).
    Vote {
        /// The offer's number.
        pair: u64,
        /// The choice.
        choice: Choice,
        /// Seconds from the display of the pair to the choice.
        seconds: f64,
    },
    /// Take a vote back ([`Event::Unvoted`](super::Event::Unvoted), or
    /// [`Event::Refused`](super::Event::Refused)).
    Unvote {
        /// The number of its pair; None for the newest vote.
        pair: Option<u64>,
    },
    /// Fit the reward model to the votes now ([`Event::Refitted`](super::Event::Refitted), or
    /// [`Event::Refused`](super::Event::Refused)).
    Refit,
    /// Send the data as they are now ([`Event::Room`](super::Event::Room), or
    /// [`Event::Refused`](super::Event::Refused)).
    ShowRoom,
    /// Raise or lower a text source's share of the batches, in twentieths; the new weights are written to run.toml
    /// ([`Event::Edited`](super::Event::Edited), or [`Event::Refused`](super::Event::Refused)).
    Weigh {
        /// The source.
        source: String,
        /// Twentieths; negative lowers the share.
        by: i32,
    },
    /// Send a training document with its losses ([`Event::Document`](super::Event::Document)).
    ShowDocument {
        /// Its source.
        source: String,
        /// Its index among the source's training documents, modulo their number.
        index: usize,
        /// Look from there for the next document with a text.
        find: Option<Find>,
    },
    /// Send the batch that comes next ([`Event::NextBatch`](super::Event::NextBatch)).
    ShowNextBatch,
    /// Send dropped documents ([`Event::Dropped`](super::Event::Dropped)).
    ShowDropped {
        /// Only of this source.
        source: Option<String>,
        /// Only those dropped by this rule.
        rule: Option<String>,
        /// The first of them, from 0.
        from: usize,
        /// How many.
        count: usize,
    },
    /// Try another threshold of a rule; counts arrive as [`Event::Tried`](super::Event::Tried). A newer trial ends the
    /// one before.
    TryRule {
        /// The source.
        source: String,
        /// The rule.
        rule: String,
        /// The threshold.
        threshold: f64,
    },
    /// Set a rule's threshold in run.toml, or remove it from there so that the default holds; the text is cleaned again
    /// ([`Event::Edited`](super::Event::Edited), or [`Event::Refused`](super::Event::Refused)).
    SetRule {
        /// The source.
        source: String,
        /// The rule.
        rule: String,
        /// The threshold.
        threshold: Option<f64>,
    },
    /// Label a text for the quality classifier ([`Event::Marked`](super::Event::Marked)).
    Mark {
        /// The text, or its beginning.
        text: String,
        /// Whether texts like it are wanted; none removes the label.
        keep: Option<bool>,
    },
    /// Read sources and run.toml again now, as if they had been saved.
    Reread,
    /// Save this stage and switch to another one ([`Event::Started`](super::Event::Started) of that one, or
    /// [`Event::Refused`](super::Event::Refused)).
    Stage {
        /// The stage.
        stage: StageId,
    },
    /// Send the runs beside this one ([`Event::Runs`](super::Event::Runs)).
    ShowRuns,
    /// Compare runs ([`Event::Compared`](super::Event::Compared), or [`Event::Refused`](super::Event::Refused)).
    Compare {
        /// Their folders.
        runs: Vec<PathBuf>,
    },
    /// Send the training losses of runs ([`Event::Trained`](super::Event::Trained)).
    ShowTrained {
        /// Their folders.
        runs: Vec<PathBuf>,
    },
    /// Send what is in the weights of a checkpoint ([`Event::Inspected`](super::Event::Inspected), or
    /// [`Event::Refused`](super::Event::Refused)).
    Inspect {
        /// Its folder.
        path: PathBuf,
    },
    /// Make a new run that begins with a checkpoint ([`Event::Forked`](super::Event::Forked), or
    /// [`Event::Refused`](super::Event::Refused)).
    Fork {
        /// The folder of its run.
        run: PathBuf,
        /// Its name.
        checkpoint: String,
        /// Settings that differ.
        sets: Vec<(String, String)>,
        /// Whether the sender wants to open it.
        open: bool,
    },
    /// Rename, pin or remove ([`Event::Cared`](super::Event::Cared), or [`Event::Refused`](super::Event::Refused)).
    Care(Care),
    /// Set a key of run.toml ([`Event::Set`](super::Event::Set), or [`Event::Refused`](super::Event::Refused)).
    Set {
        /// Its name with its table; without one a key of the top level or of the stage's own table.
        key: String,
        /// Its value in TOML; what is none is a string.
        value: String,
    },
    /// While paused: take some steps, then pause again.
    Step {
        /// How many.
        steps: usize,
    },
    /// Save the stage and open it again, with the settings that wait for that.
    Reopen,
    /// Write an exported picture, text or table as a new file ([`Event::Exported`](super::Event::Exported), or
    /// [`Event::Refused`](super::Event::Refused)); no file is replaced.
    Export {
        /// Its name in the run's `exports/`; if it is taken, a number is added.
        name: String,
        /// Another file to write instead.
        path: Option<PathBuf>,
        /// Its contents.
        bytes: Vec<u8>,
    },
    /// End the stage here.
    Stop {
        /// Whether to save first.
        save: bool,
    },
}
