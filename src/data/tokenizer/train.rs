//! Trains vocabularies.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tokenizers::{
    AddedToken,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{SPECIAL_TOKENS, Tokenizer, latin, pieces};
use crate::data::error::DataError;

/// Most bytes for the `bpe` trainer; its counts are 32-bit, and more text changes few merges.
const TRAINED_BYTES: usize = 64 << 20;
/// One in this many tokens of a `char` vocabulary is for Latin words.
const LATIN_SHARE: usize = 4;
/// The largest vocabulary trained here.
const LARGEST_VOCABULARY: usize = 1 << 18;

/// Texts whose characters have the same weight.
#[derive(Clone, Debug)]
pub struct TextGroup<'a> {
    /// The weight of one occurrence of a character.
    pub weight: f64,
    /// The texts.
    pub texts: Vec<&'a str>,
}

/// Rejects a size without room for more than the reserved tokens.
fn check_size(vocab_size: usize) -> Result<(), DataError> {
    let least = SPECIAL_TOKENS.len() + 256 + 1;
    if (least..=LARGEST_VOCABULARY).contains(&vocab_size) {
        return Ok(());
    }
    Err(DataError::Tokenizer(format!(
        "a vocabulary of {vocab_size} cannot be trained; it must be between {least} ({} special tokens, 256 bytes and one more) and {LARGEST_VOCABULARY}",
        SPECIAL_TOKENS.len()
    )))
}

/// Trains a `char` tokenizer: special tokens, 256 byte tokens, then the characters with the largest weighted counts
/// (ties by code point) until the vocabulary is full or there are no more. At most a quarter of the vocabulary is for
/// Latin words (`latin.rs`).
pub fn train_char(groups: &[TextGroup<'_>], vocab_size: usize) -> Result<Tokenizer, DataError> {
    check_size(vocab_size)?;
    let mut weighted: HashMap<char, f64> = HashMap::new();
    for group in groups {
        // Integers within a group, so that the order of its texts cannot change the last bit of a sum.
        let mut counts: HashMap<char, u64> = HashMap::new();
        for c in group.texts.iter().flat_map(|t| t.chars()) {
            *counts.entry(c).or_default() += 1;
        }
        for (c, n) in counts {
            *weighted.entry(c).or_default() += group.weight * n as f64;
        }
    }
    let mut ranked: Vec<(char, f64)> = weighted.into_iter().filter(|(_, w)| *w > 0.0).collect();
    ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let bytes = (0..=255_u8).map(|b| format!("<0x{b:02X}>"));
    let room = vocab_size - SPECIAL_TOKENS.len() - 256;
    let texts: Vec<&str> = groups.iter().flat_map(|g| &g.texts).copied().collect();
    let mut merges = latin::merges(&texts, room / LATIN_SHARE)?;
    ranked.truncate(room - merges.len());
    // A merge needs its parts, but a letter may be too rare for the vocabulary.
    let mut there: HashSet<String> = ranked.iter().map(|(c, _)| c.to_string()).collect();
    merges.retain(|(a, b)| there.contains(a) && there.contains(b) && there.insert(format!("{a}{b}")));
    let merged = merges.iter().map(|(a, b)| format!("{a}{b}"));
    let characters = ranked.into_iter().map(|(c, _)| c.to_string()).chain(merged);
    let vocab: serde_json::Map<String, Value> = SPECIAL_TOKENS
        .iter()
        .map(|s| (*s).to_owned())
        .chain(bytes)
        .chain(characters)
        .take(vocab_size)
        .enumerate()
        .map(|(id, token)| (token, Value::from(id)))
        .collect();
    let special: Vec<Value> = SPECIAL_TOKENS
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let file = json!({
        "version": "1.0",
        "added_tokens": special,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "fuse_unk": false, "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": merges},
    });
    Tokenizer::from_json(&file.to_string(), None)
}

/// Trains a `bpe` tokenizer: byte-level BPE on GPT-2's word split. The groups' weights are not used: merges follow
/// plain counts.
pub fn train_bpe(groups: &[TextGroup<'_>], vocab_size: usize) -> Result<Tokenizer, DataError> {
    check_size(vocab_size)?;
    let failed = |e: tokenizers::Error| DataError::Tokenizer(format!("training failed: {e}"));
    let words = ByteLevel::new(false, true, true);
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(words)).with_decoder(Some(ByteLevel::default()));
    // Special tokens in training text are encoded as text too.
    tokenizer.set_encode_special_tokens(true);
    let special = SPECIAL_TOKENS.iter().map(|s| AddedToken::from(*s, true).normalized(false)).collect();
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .special_tokens(special)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut trainer = TrainerWrapper::BpeTrainer(trainer);
    let mut left = TRAINED_BYTES;
    let texts: Vec<&str> = groups
        .iter()
        .flat_map(|g| g.texts.iter())
        .flat_map(|t| pieces::pieces(t, pieces::TRAINED_AT_ONCE))
        .take_while(|p| {
            let fits = p.len() <= left;
            left = left.saturating_sub(p.len());
            fits
        })
        .collect();
    tokenizer.train(&mut trainer, texts.into_iter()).map_err(failed)?;
    let json = tokenizer.to_string(false).map_err(failed)?;
    Tokenizer::from_json(&json, None)
}
