//! Commands to a trainer and its events: all that the screen and the command line exchange with it.

mod data;
mod feedback;

use std::{borrow::Cow, path::PathBuf};

pub use crate::{
    data::{LeftOut, Role, Turn},
    nn::Sampling,
};
pub use data::{
    Cause, DocumentView, Documents, DroppedDocument, DroppedView, Edit, Funnel, RoomSource, RoomView, RuleView,
    TokenizerView, Trial, Twin,
};
pub use feedback::{ActionView, Choice, Lamp, Offer, PolicyReport, Refit, RewardReport, RolloutView, Tally, VotedPair};

/// What a model is asked to go on with.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A text, continued as it is.
    Text(String),
    /// A conversation that ends with the user, answered in the template.
    Chat(Vec<Turn>),
}

/// Whose weights answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The weights under training, as they are now.
    Live,
    /// Those of the checkpoint that the stage started from.
    Parent,
    /// Those of the run's pretrained model, which knows no template.
    Base,
}

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
    /// Answer a prompt; tokens come as [`Event::PromptText`].
    Prompt {
        /// The asker's number for it; answers bear it.
        id: u64,
        /// What to go on with. A stage before fine-tuning continues the last turn of a chat as text.
        ask: Ask,
        /// Whose weights answer.
        who: Who,
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
    /// Keep a corrected conversation as a demonstration, trained on from the next batch
    /// ([`Event::Demonstrated`], or [`Event::Refused`]).
    Demonstrate {
        /// The turns, the corrected answer last.
        turns: Vec<Turn>,
    },
    /// Tell the newest step's batch, token by token ([`Event::Batch`]).
    ShowBatch,
    /// Tell one answer of the newest update, token by token ([`Event::Rollout`]).
    ShowRollout {
        /// Which of them; taken modulo their number.
        which: usize,
    },
    /// Draw two answers of the live weights to be chosen between ([`Event::Offered`], or
    /// [`Event::Refused`]).
    Offer {
        /// What to ask; the run's own prompts in turn where it is none.
        prompt: Option<String>,
    },
    /// Choose between the answers of an offer ([`Event::Voted`]).
    Vote {
        /// The offer's number.
        pair: u64,
        /// The choice.
        choice: Choice,
        /// Seconds from the sight of the pair to the choice.
        seconds: f64,
    },
    /// Take the newest vote back ([`Event::Unvoted`], or [`Event::Refused`]).
    Unvote,
    /// Fit the reward model to the votes now ([`Event::Refitted`], or [`Event::Refused`]).
    Refit,
    /// Tell the data as they are now ([`Event::Room`], or [`Event::Refused`]).
    ShowRoom,
    /// Give a source of text more (or less) of the batches: so many twentieths of them, rounded to whole ones;
    /// written to run.toml ([`Event::Edited`], or [`Event::Refused`]).
    Weigh {
        /// The source.
        source: String,
        /// Twentieths; below 0 to take away.
        by: i32,
    },
    /// Tell a document that is trained on, with its losses ([`Event::Document`]).
    ShowDocument {
        /// Its source.
        source: String,
        /// Which of the source's training documents; taken modulo their number.
        index: usize,
    },
    /// Tell the batch that comes next ([`Event::NextBatch`]).
    ShowNextBatch,
    /// Tell documents that were dropped ([`Event::Dropped`]).
    ShowDropped {
        /// Of this source; of all where it is none.
        source: Option<String>,
        /// By this rule; by all where it is none.
        rule: Option<String>,
        /// The first of them, from 0.
        from: usize,
        /// How many.
        count: usize,
    },
    /// Try another bound of a rule: its effect is told while it is counted ([`Event::Tried`]). A newer trial ends
    /// the one before.
    TryRule {
        /// The source.
        source: String,
        /// The rule.
        rule: String,
        /// The bound.
        threshold: f64,
    },
    /// Set a rule's bound in run.toml, or the table's own where it is none; the text is cleaned anew
    /// ([`Event::Edited`], or [`Event::Refused`]).
    SetRule {
        /// The source.
        source: String,
        /// The rule.
        rule: String,
        /// The bound.
        threshold: Option<f64>,
    },
    /// Keep for the quality classifier that texts like this one are wanted, or not ([`Event::Marked`]).
    Mark {
        /// The text, or its beginning.
        text: String,
        /// Whether they are; none takes the mark away.
        keep: Option<bool>,
    },
    /// Read sources and run.toml again now, as if they had been saved.
    Reread,
    /// Save this stage and go to another one ([`Event::Started`] of that one, or [`Event::Refused`]).
    Stage {
        /// Its name.
        name: String,
    },
    /// End the stage here, saving first if asked.
    Stop {
        /// Whether to save.
        save: bool,
    },
}

/// A stage of the line, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// Its name.
    pub name: String,
    /// The stage it starts from, if any.
    pub parent: Option<String>,
    /// Steps in its newest checkpoint; None where it was never trained.
    pub step: Option<usize>,
}

/// A task of fine-tuning as the run sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Its name.
    pub name: String,
    /// Examples trained on.
    pub examples: usize,
    /// Examples held out.
    pub held_out: usize,
}

/// How well held-out examples of a task are answered, greedily.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskReport {
    /// After this step.
    pub step: usize,
    /// The task.
    pub task: String,
    /// Held-out examples answered.
    pub examples: usize,
    /// Share of answers equal to the reference, character by character.
    pub exact_match: f64,
    /// Mean F1 over the answer's characters as a bag (as SQuAD's over words).
    pub char_f1: f64,
    /// Share of answers that ended by themselves.
    pub end_rate: f64,
    /// Nats a trained token of the reference answers.
    pub eval_loss: f64,
}

/// One token of a batch as it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenView {
    /// Its text; special tokens by their spelling, bytes of a cut character as `<0xNN>`.
    pub text: String,
    /// Whether it is a target (the label is not −100).
    pub trained: bool,
    /// −ln p of it, where it is.
    pub loss: Option<f32>,
    /// Whether an example starts with it.
    pub first: bool,
}

/// The newest step's batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchView {
    /// The step it belongs to.
    pub step: usize,
    /// Rows of tokens, padding left out, and the source each was drawn from.
    pub rows: Vec<(String, Vec<TokenView>)>,
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
    /// Whether prompts are answered in the chat template.
    pub chat: bool,
    /// The checkpoint that the stage started from.
    pub parent: Option<String>,
    /// All stages, first to last.
    pub stages: Vec<StageInfo>,
    /// The tasks of fine-tuning; none while pretraining.
    pub tasks: Vec<TaskInfo>,
    /// Demonstrations written by hand so far.
    pub demonstrations: usize,
    /// Bytes of the device's memory that the stage takes at most, saves included; on the CPU engine the same as
    /// `host_memory`.
    pub memory: u64,
    /// Bytes of the computer's memory that the process takes at most.
    pub host_memory: u64,
    /// The data.
    pub sources: Vec<SourceInfo>,
    /// How prompts are answered.
    pub manner: Manner,
}

/// How the prompts of the user are answered: `[sampling]` of run.toml.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Most tokens of an answer.
    pub max_new_tokens: usize,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { sampling: Sampling::default(), max_new_tokens: 64 }
    }
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
    /// What the stage tells beside these, under TRL's names.
    pub extra: Vec<Metric>,
}

/// A metric's name and value.
pub type Metric = (Cow<'static, str>, f64);

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
        /// Nats a token of a sample of the source's training text, spread over it, under the same weights.
        train_loss: Option<f64>,
    },
    /// Held-out scores of a task.
    Task(TaskReport),
    /// Held-out figures of a reward model.
    Reward(RewardReport),
    /// Held-out figures of a policy.
    Policy(PolicyReport),
    /// What must hold before the first update of a policy, measured.
    Lamps {
        /// After this update.
        step: usize,
        /// Each with its bound.
        lamps: Vec<Lamp>,
    },
    /// The guard has stopped the stage: what it saw. The weights are not saved.
    Guarded {
        /// After this update.
        step: usize,
        /// In words.
        reason: String,
        /// The newest good checkpoint.
        checkpoint: Option<String>,
        /// Whether [`Command::Resume`] continues with the weights as they are.
        may_go_on: bool,
    },
    /// The loss or the gradient norm had jumped, and the stage continues from a checkpoint from before, at a lower rate.
    /// [`Event::Started`] follows.
    SetBack {
        /// Steps in that checkpoint.
        step: usize,
        /// The first step of the spike.
        spike: usize,
        /// The rate is lower up to this step.
        until: usize,
        /// By what it is multiplied.
        factor: f64,
        /// What was seen.
        reason: String,
        /// The checkpoint; none where the stage starts over.
        checkpoint: Option<String>,
    },
    /// The answer to [`Command::ShowRollout`].
    Rollout(Box<RolloutView>),
    /// Two answers to choose between.
    Offered(Box<Offer>),
    /// A choice is on disk.
    Voted(Box<VotedPair>),
    /// The newest vote was taken back.
    Unvoted {
        /// The pair it was about.
        pair: u64,
        /// The votes without it.
        tally: Tally,
    },
    /// The reward model was fitted to the votes.
    Refitted(Refit),
    /// The answer to [`Command::ShowBatch`].
    Batch(Box<BatchView>),
    /// A demonstration is on disk and in the mix.
    Demonstrated {
        /// The first step that can draw it.
        step: usize,
        /// Demonstrations so far.
        count: usize,
    },
    /// A wish that cannot be fulfilled: why, and what to do first. Work goes on.
    Refused {
        /// In words.
        text: String,
    },
    /// The answer to [`Command::ShowRoom`]; told again after every edit.
    Room(Box<RoomView>),
    /// A change of mix, data or learning rate is on disk and holds from the next batch on.
    Edited(Box<Edit>),
    /// A saved edit cannot be used: where it is broken. The old version is trained on.
    Broken {
        /// After this step.
        step: usize,
        /// In words.
        text: String,
    },
    /// The answer to [`Command::ShowDocument`].
    Document(Box<DocumentView>),
    /// The answer to [`Command::ShowNextBatch`]: the batch of step `step`, without losses.
    NextBatch(Box<BatchView>),
    /// The answer to [`Command::ShowDropped`].
    Dropped(Box<DroppedView>),
    /// How far a trial is.
    Tried(Box<Trial>),
    /// A mark is on disk.
    Marked {
        /// Marks to keep and to drop, so far.
        keep: usize,
        /// See `keep`.
        drop: usize,
    },
    /// A probe's completion.
    Probe {
        /// After this step.
        step: usize,
        /// The task it belongs to; none for a probe of plain text.
        task: Option<String>,
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
        /// Whether the text is trained on, so that what is shown is recall.
        recall: bool,
    },
    /// run.toml says otherwise from now on how prompts are answered.
    Manner(Manner),
    /// A prompt that does not fit beside its answer is read in part.
    PromptCut {
        /// The prompt's number.
        id: u64,
        /// What of it is not read.
        left_out: LeftOut,
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
        /// The reward model's normalised score of the answer, where the stage has such a model.
        score: Option<f64>,
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
    /// The disk (or the system, which had no thread) refused something beside a save: the stage pauses, what was to be
    /// written is kept, and [`Command::Resume`] or [`Command::Save`] tries again.
    StoreFailed {
        /// Steps done.
        step: usize,
        /// Why.
        error: String,
    },
    /// Something a person should know.
    Note {
        /// At this step.
        step: usize,
        /// In words.
        text: String,
    },
    /// The stage has ended. The last event, unless the reason is `switched`: then the next stage's
    /// [`Event::Started`] follows.
    Finished {
        /// Steps done.
        step: usize,
        /// `done`, `stopped`, `switched`, or `failed: …`.
        reason: String,
        /// True when the work itself failed.
        failed: bool,
        /// Seconds since the stage was opened, pauses left out: of all sittings they add up to what it took.
        seconds: f64,
    },
}
