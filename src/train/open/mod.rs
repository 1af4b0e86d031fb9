//! From flags and a folder to a stage that is ready to train.

pub(super) mod footprint;
pub(super) mod notices;
pub(super) mod open_run;
pub(super) mod precision;
pub(super) mod prepare;
pub(super) mod setup;
