//! Text to tokens to batches. Takes `impl Read`; opens no file itself.
//!
//! The way of a text: [`mod@read`] makes documents of bytes, [`mod@split`] decides which are held out,
//! [`tokenizer`] turns them into ids, [`source`] packs them into streams, [`mix`] says how often
//! each source is drawn, [`batch`] draws, [`evaluate`] cuts the held-out streams into windows. On disk
//! cleaned documents lie in a [`mod@unit`], their ids in a [`shard`].
//!
//! The way of a conversation: [`chat_reader`] reads the usual forms, [`chat`] turns one into ids and
//! the labels that are learned, [`examples`] fits them to a context and holds some out, [`packing`]
//! fills rows with whole examples, [`chat_rows`] says which in which step.
//!
//! The way of a preference: [`preference`] reads the usual forms, makes pairs of tokens and holds some
//! out; [`rules`] are the truth of the built-in tasks, [`diversity`] what can be seen without it.

pub mod asked;
pub mod batch;
pub mod builtin;
pub mod chat;
pub mod chat_reader;
pub mod chat_rows;
pub mod clean;
pub mod dedup;
pub mod diversity;
pub mod document;
pub mod error;
pub mod evaluate;
pub mod examples;
pub mod ids;
pub mod mix;
pub mod packing;
pub mod preference;
pub mod quality;
pub mod read;
pub mod rules;
pub mod shard;
pub mod source;
pub mod split;
pub mod tokenizer;
pub mod unit;

pub use error::DataError;

pub use asked::{Asked, LeftOut, Words, most_read, read_in};
pub use batch::{Batch, Batcher};
pub use builtin::{
    CHAT_PROBES, ChatProbe, PROBES, TaskPrompt, chats as builtin_chats, conversations as builtin_conversations,
    held_out_preferences as builtin_held_out_preferences, judge_prompts as builtin_judge_prompts,
    preferences as builtin_preferences, prompts as builtin_prompts, sources as builtin_sources,
    weights as builtin_weights,
};
pub use chat::{CHAT_TEMPLATE, Conversation, Example, Role, Turn, encode, encode_prompt};
pub use chat_reader::{ChatReading, Form, read_chat_file, read_chats};
pub use chat_rows::ChatRows;
pub use diversity::{Indicators, distinct2, indicators, repetition};
pub use evaluate::{Windows, baseline, bits_per_byte, spread, windows};
pub use examples::{ChatSource, ExampleSet, Fitted, HeldOut, encode_all, example_sets};
pub use ids::{Ids, LARGEST_IDS, Rows};
pub use mix::{History, MOST_TOKENS, Shape, shares};
pub use packing::{PackedRow, fill_row, plan};
pub use preference::{
    PairExample, PairsFitted, Preference, PreferenceForm, PreferenceReading, Side, encode_pairs, read_preference_file,
    read_preferences, split_preferences,
};
pub use read::{Format, Unread, read};
pub use rules::{Fault, RULES, Rule, Verdict};
pub use source::{Packed, Source, chat_texts, pack, training_texts};
pub use split::split;
pub use tokenizer::{
    ChatTokens, LARGEST_CONFIG, SPECIAL_TOKENS, StreamDecoder, TextGroup, Tokenizer, train_bpe, train_char,
};
