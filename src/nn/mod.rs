//! The mathematics of the model: configuration, parameters, forward and backward, generation.
//!
//! Llama's layout under Hugging Face's names. Knows tensors and token ids; knows no text, no file and
//! no schedule of a stage. Shape letters as in [`crate::compute::ops`].

mod arithmetic;
mod batch_decode;
mod config;
mod decode;
mod evaluate;
pub mod feedback;
mod forward;
mod layout;
mod learner;
mod masked;
mod params;
mod policy;
mod sample;
mod scalar;
mod schedule;
mod training;

pub use arithmetic::{Estimate, estimate};
pub use batch_decode::{BatchDecoder, Completion, Prompt};
pub use config::{ConfigError, Head, ModelConfig, PRESETS, Preset, end_ids, preset};
pub use decode::Decoder;
pub use evaluate::{Evaluator, ScalarEvaluator};
pub use forward::logit_rows;
pub use learner::{AdamW, Learner, MicroBatch, StepOutcome};
pub use params::{ParamTable, ParamTensor, Weights};
pub use policy::PolicyLearner;
pub use sample::{Drawn, Sampling, draw, sample};
pub use scalar::{ScalarLearner, TokenRows};
pub use schedule::{Schedule, ScheduleKind};

/// A label that is not trained on, as in PyTorch and Hugging Face.
pub const IGNORE_INDEX: i32 = -100;

/// Targets for rows of ids: the label of the next position (shifted here), [`IGNORE_INDEX`] at the end.
pub fn shift_labels(labels: &[i32], context: usize) -> Vec<i32> {
    let row = |row: &[i32]| row.iter().skip(1).copied().chain([IGNORE_INDEX]).collect::<Vec<_>>();
    labels.chunks(context).flat_map(row).collect()
}
