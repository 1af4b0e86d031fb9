//! The doors: `inspect` looks into the files of a model, `estimate` says what one costs, `export` takes one away, `import`
//! takes a stage back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod completions;
mod estimate;
mod export;
#[cfg(unix)]
mod folders;
mod gguf;
mod handover;
mod inspect;
