//! Events of a trainer.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    BatchView, Care, Comparison, DocumentView, DroppedView, Edit, Inspection, LeftOut, LineChance, Manner, Pair,
    PolicyReport, Preparation, Refit, RewardReport, RolloutView, RoomView, RunInfo, SanityCheck, Setting, StepReport,
    Tally, TaskReport, TrainedRun, TreeRun, Trial, Vote,
    line::{Line, absent, number},
};
use crate::base::StageId;

/// An event of a trainer. Variants that serde skips are for the screen only; the others are lines of `events.jsonl`
/// under their snake-case names. Steps are batched while the receiver is busy, never dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The stage is ready; its first event.
    Started(Box<RunInfo>),
    /// What the run's files hold of earlier launches, for the workbench. Follows [`Event::Started`].
    #[serde(skip)]
    Past(Box<Past>),
    /// What the log of a watched training does.
    #[serde(skip)]
    Watching(Watching),
    /// Steps done since the last such event, in order; lines of `metrics.jsonl`.
    #[serde(skip)]
    Steps(Vec<StepReport>),
    /// Validation of one source (or of `all`).
    Eval {
        /// After this step.
        step: usize,
        /// The source's name, or `all` for the mean weighted by held-out tokens.
        source: String,
        /// Nats per token.
        #[serde(deserialize_with = "number")]
        eval_loss: f64,
        /// Bits per byte of text.
        #[serde(deserialize_with = "number")]
        eval_bits_per_byte: f64,
        /// Nats per token on a sample of the source's training text, under the same weights.
        train_loss: Option<f64>,
        /// Of the measurement at a stage's end, which is of all held-out data: the loss on the sample that earlier
        /// measurements took. Checkpoints are compared by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sampled_loss: Option<f64>,
    },
    /// Held-out scores of a task.
    Task(TaskReport),
    /// Held-out figures of a reward model.
    Reward(RewardReport),
    /// Held-out figures of a policy.
    Policy(PolicyReport),
    /// The sanity checks before the first update of a policy.
    #[serde(rename = "lamps")]
    SanityChecks {
        /// After this update.
        step: usize,
        /// Each with its bound.
        #[serde(rename = "lamps")]
        checks: Vec<SanityCheck>,
    },
    /// The guard stopped the stage. The weights are not saved.
    Guarded {
        /// After this update.
        step: usize,
        /// Which number was out of bounds.
        reason: String,
        /// The newest good checkpoint.
        checkpoint: Option<String>,
        /// Whether [`Command::Resume`](super::Command::Resume) continues with the weights as they are.
        may_go_on: bool,
    },
    /// The loss or the gradient norm spiked, and the stage returned to an earlier checkpoint with a lower learning
    /// rate. [`Event::Started`] follows.
    SetBack {
        /// Steps in that checkpoint.
        step: usize,
        /// The first step of the spike.
        spike: usize,
        /// The learning rate is lower up to this step.
        until: usize,
        /// The factor on the learning rate.
        #[serde(deserialize_with = "number")]
        factor: f64,
        /// Which number spiked.
        reason: String,
        /// The checkpoint; none where the stage starts over.
        checkpoint: Option<String>,
    },
    /// When the next events happened, in Unix seconds, where that is not now: in a film. None: now again.
    #[serde(skip)]
    Clock(Option<f64>),
    /// While a stage is being opened: what takes long, and how far it is.
    #[serde(skip)]
    Opening(Preparation),
    /// The answer to [`Command::ShowRollout`](super::Command::ShowRollout).
    #[serde(skip)]
    Rollout(Box<RolloutView>),
    /// Two answers to vote on.
    #[serde(skip)]
    Offered(Box<Pair>),
    /// A vote is on disk.
    Voted {
        /// The vote, with the scores of its answers.
        #[serde(flatten)]
        vote: Box<Vote>,
        /// All votes so far, this one included.
        #[serde(flatten)]
        tally: Tally,
    },
    /// The newest vote was taken back.
    Unvoted {
        /// The pair it was about.
        pair: u64,
        /// The votes without it.
        #[serde(flatten)]
        tally: Tally,
    },
    /// The votes of earlier launches.
    #[serde(skip)]
    Counted(Box<Tally>),
    /// The reward model was fitted to the votes.
    Refitted(Refit),
    /// The answer to [`Command::ShowBatch`](super::Command::ShowBatch).
    #[serde(skip)]
    Batch(Box<BatchView>),
    /// A demonstration is on disk and in the mix.
    Demonstrated {
        /// The first step that can draw it.
        step: usize,
        /// Demonstrations so far.
        count: usize,
    },
    /// The answer to [`Command::ShowRuns`](super::Command::ShowRuns).
    #[serde(skip)]
    Runs {
        /// The runs.
        runs: Vec<TreeRun>,
        /// Why folders beside them cannot be read, which may be runs.
        unread: Vec<String>,
    },
    /// The answer to [`Command::Compare`](super::Command::Compare).
    #[serde(skip)]
    Compared(Box<Comparison>),
    /// The answer to [`Command::ShowTrained`](super::Command::ShowTrained).
    #[serde(skip)]
    Trained(Vec<TrainedRun>),
    /// The answer to [`Command::Inspect`](super::Command::Inspect).
    #[serde(skip)]
    Inspected(Box<Inspection>),
    /// A fork was made.
    #[serde(skip)]
    Forked {
        /// Its folder.
        path: PathBuf,
        /// Whether the sender of the command wants to open it.
        open: bool,
        /// What it lacks, a sentence each.
        notes: Vec<String>,
    },
    /// A run or checkpoint was renamed, pinned or removed.
    #[serde(skip)]
    Cared {
        /// What was done.
        care: Care,
        /// Bytes that were freed.
        freed: u64,
    },
    /// A key of run.toml was set.
    #[serde(skip)]
    Set {
        /// Its name with its table.
        key: String,
        /// Whether it applies only when the stage is opened again.
        waits: bool,
    },
    /// An exported file is on disk.
    #[serde(skip)]
    Exported {
        /// The file.
        path: PathBuf,
    },
    /// A command that cannot be carried out. Training continues.
    Refused {
        /// Why, and what to do first.
        text: String,
    },
    /// The answer to [`Command::ShowRoom`](super::Command::ShowRoom); sent again after every edit.
    #[serde(skip)]
    Room(Box<RoomView>),
    /// A change of mix, data or learning rate is on disk and applies from the next batch.
    Edited(Box<Edit>),
    /// A saved edit cannot be used; training continues on the old version.
    Broken {
        /// After this step.
        step: usize,
        /// Where it is broken.
        text: String,
    },
    /// The answer to [`Command::ShowDocument`](super::Command::ShowDocument).
    #[serde(skip)]
    Document(Box<DocumentView>),
    /// The answer to [`Command::ShowNextBatch`](super::Command::ShowNextBatch), without losses.
    #[serde(skip)]
    NextBatch(Box<BatchView>),
    /// The answer to [`Command::ShowDropped`](super::Command::ShowDropped).
    #[serde(skip)]
    Dropped(Box<DroppedView>),
    /// Progress of a trial.
    #[serde(skip)]
    Tried(Box<Trial>),
    /// A label is on disk.
    Marked {
        /// Texts labelled as wanted, so far.
        keep: usize,
        /// Texts labelled as not wanted, so far.
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
        /// The reference.
        expected: String,
        /// Leading characters that are right.
        #[serde(rename = "match")]
        matched: usize,
        /// Characters of `expected`.
        length: usize,
        /// Whether the reference is training text, so that the probe measures recall. True in logs without the field.
        #[serde(default = "recall")]
        recall: bool,
        /// The lines of a reference that is trained on, each with its probability; empty in logs without the field.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<LineChance>,
    },
    /// `[sampling]` of run.toml has changed.
    #[serde(skip)]
    Manner(Manner),
    /// Every key of run.toml with the value in effect, table by table; sent when a stage begins and after every change.
    #[serde(skip)]
    Config(Vec<Setting>),
    /// A prompt that does not fit beside its answer was shortened.
    #[serde(skip)]
    PromptCut {
        /// The prompt's number.
        id: u64,
        /// What is left out.
        left_out: LeftOut,
    },
    /// A piece of an answer to [`Command::Prompt`](super::Command::Prompt).
    #[serde(skip)]
    PromptText {
        /// The prompt's number.
        id: u64,
        /// New characters.
        text: String,
        /// The step whose weights generated them; None for weights from outside the run.
        step: Option<usize>,
    },
    /// An answer's end.
    #[serde(skip)]
    PromptDone {
        /// The prompt's number.
        id: u64,
        /// The step whose weights answered; None for weights from outside the run.
        step: Option<usize>,
        /// Tokens generated.
        tokens: usize,
        /// Seconds taken.
        seconds: f64,
        /// `stop` (end of text), `length`, `cancelled`, or an error.
        finish_reason: String,
        /// The reward model's normalised score of the answer, where the stage has such a model.
        score: Option<f64>,
    },
    /// Stepping has stopped.
    Paused {
        /// Steps done.
        step: usize,
    },
    /// Stepping continues.
    Resumed {
        /// Steps done.
        step: usize,
    },
    /// A checkpoint is durable.
    Saved {
        /// Steps in it.
        step: usize,
        /// Its folder.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// Seconds taken.
        seconds: f64,
        /// Bytes written.
        bytes: u64,
        /// Whether it has the best held-out figure of the stage so far.
        #[serde(default)]
        best: bool,
    },
    /// The stage ends before its last step: so many evaluations in a row brought no better held-out figure.
    EndedEarly {
        /// Steps done.
        step: usize,
        /// The step of the best figure.
        best: usize,
        /// That figure.
        #[serde(deserialize_with = "number")]
        figure: f64,
        /// Evaluations since then.
        evaluations: usize,
    },
    /// A checkpoint could not be written; training is paused, the old ones are intact.
    SaveFailed {
        /// Steps that would have been in it.
        step: usize,
        /// Why and what to do.
        error: String,
    },
    /// A write other than a save failed (or the system had no thread): the stage pauses and keeps what was to be
    /// written; [`Command::Resume`](super::Command::Resume) or [`Command::Save`](super::Command::Save) tries again.
    StoreFailed {
        /// Steps done.
        step: usize,
        /// Why.
        error: String,
    },
    /// A note for the user.
    Note {
        /// At this step.
        step: usize,
        /// The note.
        text: String,
    },
    /// The stage has ended. This is the last event, unless the reason is `switched`: then the next stage's
    /// [`Event::Started`] follows.
    Finished {
        /// Steps done.
        step: usize,
        /// `done`, `stopped`, `switched`, or `failed: …`.
        reason: String,
        /// True when the work itself failed.
        failed: bool,
        /// Seconds of training since the stage was opened, pauses left out: the sum over all launches is the time the
        /// stage took.
        #[serde(default = "absent", deserialize_with = "number")]
        seconds: f64,
    },
}

impl Event {
    /// The step that it is about; None for what belongs to no step.
    pub fn step(&self) -> Option<usize> {
        Some(match self {
            Event::Started(info) => info.resumed_at,
            Event::Reward(report) => report.step,
            Event::Policy(report) => report.step,
            Event::Task(report) => report.step,
            Event::Edited(edit) => edit.step,
            Event::Eval { step, .. }
            | Event::Probe { step, .. }
            | Event::SetBack { spike: step, .. }
            | Event::SanityChecks { step, .. }
            | Event::Guarded { step, .. }
            | Event::Broken { step, .. }
            | Event::Paused { step }
            | Event::Resumed { step }
            | Event::Saved { step, .. }
            | Event::EndedEarly { step, .. }
            | Event::SaveFailed { step, .. }
            | Event::StoreFailed { step, .. }
            | Event::Note { step, .. }
            | Event::Demonstrated { step, .. }
            | Event::Finished { step, .. } => *step,
            _ => return None,
        })
    }
}

/// The past of a run. A stage that it has replaces what the screen knew of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Its stages; those that have no checkpoint are left out.
    pub stages: Vec<StagePast>,
    /// The newest lines of the log, of all stages, oldest first; None if only the stage that starts is sent.
    pub log: Option<Vec<Line<Event>>>,
}

/// A stage up to its newest checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePast {
    /// The stage.
    pub stage: StageId,
    /// Its steps in order; of many, those with the extremes of every so many.
    pub steps: Vec<StepReport>,
    /// Its launches, evaluations, scores, probes, checks and changes, in order.
    pub events: Vec<Line<Event>>,
}

/// What the log of a training that is watched does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watching {
    /// Whether more can be expected.
    pub state: Follows,
    /// When its newest line was written or arrived, in Unix seconds; None if that is not known.
    pub newest: Option<f64>,
    /// Lines of other output between its lines, which were passed over.
    pub passed: usize,
}

/// Whether more of a log can be expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Follows {
    /// There is no line yet.
    #[default]
    Awaited,
    /// Lines are shown as they arrive.
    Lines,
    /// No process trains the run.
    Nobody,
    /// The log says that the training is over.
    Over {
        /// Steps done.
        step: usize,
        /// `done`, `stopped`, or `failed: …`.
        reason: String,
        /// Whether the work itself failed.
        failed: bool,
    },
    /// The stream has ended.
    Ended,
}

fn recall() -> bool {
    true
}

/// A path that is not UTF-8 is logged with replacement characters.
fn lossy<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}
