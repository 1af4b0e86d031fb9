//! Text to tokens to batches. Takes `impl Read`; opens no file itself.
//!
//! The way of a text: [`reader`] makes documents of bytes, [`mod@split`] decides which are held out,
//! [`tokenizer`] turns them into ids, [`source`] packs them into streams, [`mix`] says how often
//! each source is drawn, [`batch`] draws, [`evaluate`] cuts the held-out streams into windows.

pub mod batch;
pub mod builtin;
pub mod chat;
pub mod document;
pub mod error;
pub mod evaluate;
pub mod mix;
pub mod reader;
pub mod source;
pub mod split;
pub mod tokenizer;

pub use error::DataError;

pub use batch::{Batch, Batcher};
pub use builtin::{PROBES, sources as builtin_sources};
pub use evaluate::{Windows, baseline, bits_per_byte, windows};
pub use mix::{History, MOST_TOKENS, Shape};
pub use reader::{Format, read};
pub use source::{Packed, Source, pack, training_texts};
pub use split::split;
pub use tokenizer::{StreamDecoder, Tokenizer, train_bpe, train_char};
