//! `run.toml`: the whole configuration of a run. Everything has a default; unknown keys are errors that name the
//! nearest known one.
//!
//! `table` is the macro that declares a table; `source`, `quality`, `model`, `stages`, `guard` and `account` are the
//! tables;
//! `run_config` is the file; `plan` has the settings with all defaults filled in; `in_effect` says what of a changed file
//! an open stage uses.

mod account;
mod guard;
mod in_effect;
mod issue;
mod listing;
mod model;
pub(super) mod plan;
mod quality;
mod run_config;
pub(super) mod setup;
mod source;
mod stages;
mod start;
mod table;
pub(super) mod toml_patch;

pub use self::{
    account::AccountConfig,
    guard::GuardOverrides,
    issue::ConfigIssue,
    listing::{Entry, written},
    model::{ModelOverrides, SamplingOverrides},
    quality::{QualityConfig, QualityRule},
    run_config::{ChatFormat, RunConfig, TokenizerKind},
    source::{Documents, ProbeConfig, SourceConfig, Splits, UNKNOWN},
    stages::{LossType, RewardMode, StageOverrides, StageTables, VoteFit},
    start::{NoStart, Start},
    table::{Key, Kind, Range},
};
pub(crate) use self::{
    guard::GuardSettings,
    in_effect::{DROPOUT, InEffect, applies_now, held_back},
    stages::StageSettings,
};
