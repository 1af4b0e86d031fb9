//! Streams of token ids, and the batches and evaluation windows cut from them.

pub mod batch;
pub mod example;
pub mod ids;
pub mod mix;
pub mod pack;
pub mod shuffle;
pub mod stream;
pub mod windows;
