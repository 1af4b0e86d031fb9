//! Text to tokens to batches. Takes `impl Read`; opens no file itself.
//!
//! Texts: [`mod@read`] makes documents of bytes, [`clean`], [`dedup`] and [`quality`] drop some of them, [`mod@split`]
//! decides which are held out, [`tokenizer`] encodes them, [`tokens`] packs the ids into streams and cuts batches and
//! evaluation windows from them. [`stored`] is their format on disk.
//!
//! Conversations: [`chat::reader`] reads the common forms, [`chat`] encodes one with labels, [`chat::examples`] fits
//! them to a context and holds some out, [`chat::packing`] fills rows with whole examples, [`chat::rows`] decides which
//! row is drawn at which step.
//!
//! Preferences: [`preference`] reads the common forms, encodes pairs and holds some out; [`builtin::rules`] judge the
//! built-in tasks, [`diversity`] measures answers without a reference.

pub mod builtin;
pub mod chat;
pub mod clean;
pub mod dedup;
pub mod diversity;
pub mod document;
pub mod error;
pub mod preference;
pub mod quality;
pub mod read;
pub mod split;
pub mod stored;
pub mod template;
pub mod tokenizer;
pub mod tokens;

pub use error::DataError;

pub use builtin::{
    CHAT_PROBES, ChatProbe, PROBES, TaskPrompt, chats as builtin_chats, conversations as builtin_conversations,
    held_out_preferences as builtin_held_out_preferences, judge_prompts as builtin_judge_prompts,
    preferences as builtin_preferences, prompts as builtin_prompts,
    rules::{Fault, RULES, Rule, Verdict},
    sources as builtin_sources, weights as builtin_weights,
};
pub use chat::{
    CHAT_TEMPLATE, Conversation, Role, Turn, encode, encode_prompt,
    examples::{Begun, ChatSource, ExampleSet, Fitted, HeldOut, encode_all, example_sets},
    forms::Form,
    packing::{PackedRow, fill_row, plan},
    prompt::{Asked, LeftOut, Words, most_read, read_in},
    reader::{ChatReading, read_chat_file, read_chats, read_chats_as},
    rows::{BY_HAND, ChatRows},
    value::TurnText,
};
pub use diversity::{Indicators, distinct2, indicators, repetition};
pub use document::Source;
pub use preference::{
    PairExample, PairsFitted, Preference, PreferenceForm, PreferenceReading, PreferenceSource, Side, TextFeature,
    candidates, encode_pairs, read_preference_file, read_preferences, split_preference_sources, split_preferences,
};
pub use read::{Format, Unread, read};
pub use split::split;
pub use tokenizer::{
    ChatTokens, Facts, LARGEST_CONFIG, LARGEST_FILE, Merging, Rendered, SPECIAL_TOKENS, StreamDecoder, TextGroup,
    TokenKind, Tokenizer, Vocabulary, facts, train_bpe, train_char,
};
pub use tokens::{
    batch::{Batch, Batcher},
    example::{Example, IGNORED},
    ids::{Ids, LARGEST_IDS, Rows},
    mix::{History, MOST_TOKENS, Shape, shares},
    pack::{Packed, chat_texts, pack, training_texts},
    stream::{Picker, Stream},
    windows::{Windows, baseline, bits_per_byte, spread, windows},
};
