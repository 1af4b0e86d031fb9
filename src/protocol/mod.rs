//! What the screen and the command line exchange with a trainer: commands in, events out.
//!
//! The same types are the lines of `metrics.jsonl`, `events.jsonl` and `--json` ([`Line`]); a field's serde name is its
//! name there. This layer sits above `data` and `nn`, whose values it carries (a turn of a chat, how tokens are
//! sampled, what the cleaning dropped), and below everything that trains or draws.

mod command;
mod data;
mod event;
mod feedback;
mod line;
mod preparation;
mod report;
mod run;
mod setting;
mod tree;
mod vote;

pub(crate) use self::line::unix_time;
pub use self::{
    command::{Ask, Care, Command, Find, Who},
    data::{
        BatchView, Cause, DocumentView, Documents, DroppedDocument, DroppedView, Edit, Funnel, RoomSource, RoomView,
        RuleView, TokenView, TokenizerView, Trial, Twin,
    },
    event::{Event, Follows, Past, StagePast, Watching},
    feedback::{ActionView, Refit, RolloutView, SanityCheck, Taught},
    line::Line,
    preparation::{GivenUp, Monitor, Preparation, Progress, Work},
    report::{Absent, JudgedAnswer, LineChance, Metric, PolicyReport, RewardReport, SourceUse, StepReport, TaskReport},
    run::{Manner, RunInfo, SourceInfo, StageInfo, TaskInfo},
    setting::{Origin, Setting},
    tree::{
        BestOf, Comparison, Differing, ForkPoint, InspectedRow, Inspection, SameProbe, SameStep, TrainedCurve,
        TrainedRun, TreeCheckpoint, TreeCurve, TreeProbe, TreeRun, fork_parents, run_kept,
    },
    vote::{Choice, Pair, Tally, Vote},
};
pub use crate::{
    data::{LeftOut, Role, TextFeature, Turn},
    nn::Sampling,
};
