//! The doors: what is in a model's files, what a model costs, how it leaves, and how it returns.

pub(super) mod completions;
pub(super) mod estimate;
pub(super) mod export;
pub(super) mod import;
pub(super) mod inspect;
mod parts;
pub(super) mod source;
