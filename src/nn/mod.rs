//! The model: configuration, parameters, forward and backward passes, generation.
//!
//! Llama's layout under Hugging Face's names. Works on tensors and token ids, independent of text, files and stages.
//! Shape letters as in [`crate::compute::ops`].

mod architecture;
mod arithmetic;
mod config;
mod decode;
mod evaluate;
pub mod feedback;
mod head;
mod layers;
mod learn;
mod optimizer;
mod params;
mod rows;
mod schedule;
mod trunk;

pub use architecture::{Architecture, Bias, Group, PUBLISHED, Published, TrainingBytes, Weight};
pub use arithmetic::{Estimate, estimate};
pub use config::{ConfigError, Head, ModelConfig, PRESETS, Preset, end_ids, preset};
pub use decode::{BatchDecoder, Completion, Decoder, Drawn, Prompt, Sampling, draw, sample};
pub use evaluate::{Evaluator, ScalarEvaluator};
pub use head::logit_rows;
pub use learn::{Learner, PolicyLearner, ScalarLearner};
pub use optimizer::{AdamW, StepOutcome};
pub use params::{NormAt, ParamTable, ParamTensor, Weights};
pub use rows::{IGNORE_INDEX, MicroBatch, TokenRows, shift_labels};
pub use schedule::{Schedule, ScheduleKind};
