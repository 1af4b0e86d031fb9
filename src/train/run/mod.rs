//! The files in a run's folder: checkpoints, their lineage, the tokenizer, logs.

pub(super) mod best;
pub mod checkpoint;
pub(super) mod lineage;
pub mod model_folder;
pub(super) mod pins;
pub(super) mod replay;
pub(super) mod rollbacks;
pub(super) mod tokenizer;
