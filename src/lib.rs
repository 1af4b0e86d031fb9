//! danlu: a terminal workbench that trains a small ChatGPT from nothing.
//!
//! The house, bottom to top: [`base`] (text made safe to show), [`compute`] (tensors, kernels, recordings), then the peers [`nn`],
//! [`data`] and [`store`], then [`protocol`] (commands and events), [`train`] (stages and the loop), [`session`] (the wall
//! between threads), `ui` and `cli`. Arrows point down only; `tests/layers.rs` keeps it so.

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
