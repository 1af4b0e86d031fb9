//! What a run is: its stage, model, data and settings, sent once when the stage starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Sampling, line::number};
use crate::base::StageId;

/// The stage that runs and its settings: its first event. A line of the log has only the fields that serde does not
/// skip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The run's name.
    #[serde(rename = "run")]
    pub name: String,
    /// The run's folder.
    #[serde(skip)]
    pub path: PathBuf,
    /// The stage.
    #[serde(skip)]
    pub stage: StageId,
    /// The size preset, `1m` ….
    pub size: String,
    /// `cpu` or `wgpu`.
    pub engine: String,
    /// Type of activations and products, `f32` or `f16`; empty in logs of versions before it was logged.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub precision: String,
    /// The adapter's name.
    pub adapter: String,
    /// Parameters of the model.
    pub parameters: usize,
    /// Size of the vocabulary.
    #[serde(skip)]
    pub vocab_size: usize,
    /// Layers.
    #[serde(skip)]
    pub layers: usize,
    /// Width.
    #[serde(skip)]
    pub hidden_size: usize,
    /// Query heads.
    #[serde(skip)]
    pub heads: usize,
    /// Rows of a batch, over all micro-batches.
    pub batch: usize,
    /// Tokens per row.
    pub context: usize,
    /// The peak learning rate.
    #[serde(skip)]
    pub learning_rate: f64,
    /// Steps of the whole stage.
    pub steps: usize,
    /// The step resumed from; 0 for a new stage.
    #[serde(rename = "step")]
    pub resumed_at: usize,
    /// Whether prompts are answered in the chat template.
    #[serde(skip)]
    pub chat: bool,
    /// The checkpoint that the stage started from.
    pub parent: Option<String>,
    /// All stages, first to last.
    #[serde(skip)]
    pub stages: Vec<StageInfo>,
    /// The tasks of fine-tuning; empty while pretraining.
    #[serde(skip)]
    pub tasks: Vec<TaskInfo>,
    /// Demonstrations written in the workbench so far.
    #[serde(skip)]
    pub demonstrations: usize,
    /// Most bytes of device memory that the stage uses, saves included; on the CPU engine equal to `host_memory`.
    #[serde(rename = "memory_bytes")]
    pub memory: u64,
    /// Most bytes of the computer's memory that the process uses.
    #[serde(rename = "host_memory_bytes")]
    pub host_memory: u64,
    /// The data.
    pub sources: Vec<SourceInfo>,
    /// How prompts are answered.
    #[serde(skip)]
    pub manner: Manner,
    /// Whether only the run's files are read: nothing trains behind this screen.
    #[serde(skip)]
    pub read_only: bool,
    /// Whether another process trains it, and its log is followed.
    #[serde(skip)]
    pub watched: bool,
}

/// A stage of the run and its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// The stage.
    pub stage: StageId,
    /// Steps in its newest checkpoint; None if it was never trained.
    pub step: Option<usize>,
}

/// A task of fine-tuning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Its name.
    pub name: String,
    /// Training examples.
    pub examples: usize,
    /// Held-out examples.
    pub held_out: usize,
}

/// A data source. A field that an old log lacks reads as 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// Its share of drawn tokens, a fraction of 1.
    #[serde(deserialize_with = "number")]
    pub weight: f64,
    /// Training documents.
    pub documents: usize,
    /// Training tokens of one epoch.
    pub tokens: usize,
    /// Tokens held out for validation.
    pub held_out_tokens: usize,
}

/// The settings for answering prompts: `[sampling]` of run.toml.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// How tokens are sampled.
    pub sampling: Sampling,
    /// Most tokens of an answer.
    pub max_new_tokens: usize,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { sampling: Sampling::default(), max_new_tokens: 64 }
    }
}
