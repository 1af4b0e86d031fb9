//! Generation: reading tokens with a key/value cache, and drawing the next one.

mod batch;
mod sample;
mod single;
mod steps;

pub use batch::{BatchDecoder, Completion, Prompt};
pub use sample::{Drawn, Sampling, draw, sample};
pub use single::Decoder;
