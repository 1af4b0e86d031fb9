//! The panels of the data view.

pub mod changes;
pub mod dropped;
mod figures;
pub mod filters;
pub mod losses;
pub mod next_batch;
pub mod preview;
pub mod sources;
pub mod tokenizer;
