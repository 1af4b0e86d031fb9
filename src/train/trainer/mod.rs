//! The training loop: steps, and between them commands, validation, probes, prompts and saves.
//!
//! A [`Trainer`] is a stage that is ready. `main_loop::Loop` consists of parts, each of which owns its state and is
//! given the `core::Core` that all share. Whatever needs several parts is a method of the loop.

mod checkpoints;
mod commands;
mod core;
mod live_data;
mod main_loop;
mod outbox;
mod pace;
#[cfg(test)]
mod poison;
mod prompts;
mod ready;
mod recovery;
mod run;
mod spikes;
mod steps;
mod voting;

pub use self::{
    outbox::Emit,
    ready::{Summary, Trainer},
};
