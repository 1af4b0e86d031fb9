//! Stages and the loop. No terminal, no stdout.

pub mod config;
pub mod event;
