//! A stage handed over to torchrun, accelerate, transformers and TRL, and taken back.
//!
//! `give` writes a folder: the model a stage begins with, the rows or pairs that danlu itself would draw in the order of
//! its steps, and a script that trains on them. `back` makes a checkpoint of what the script saved.

pub(super) mod back;
mod files;
pub(super) mod give;
mod plan;
