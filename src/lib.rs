//! danlu: a terminal workbench that trains a small ChatGPT from nothing.
//!
//! The layers, bottom to top: [`base`] (text made safe to show, stage names), [`compute`] (tensors, kernels,
//! recordings), then side by side [`nn`], [`data`] and [`store`], then [`protocol`] (commands and events), [`train`]
//! (stages and the loop), [`session`] (the trainer's thread and its channels), `ui` and `cli`. Dependencies point down
//! only; `tests/layers.rs` checks that.

pub mod base;
pub mod compute;
pub mod data;
pub mod nn;
pub mod protocol;
pub mod session;
pub mod store;
pub mod train;

pub mod cli;
pub mod ui;
