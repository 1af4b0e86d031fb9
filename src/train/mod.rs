//! Stages and the loop. No terminal, no stdout.

pub mod event;
