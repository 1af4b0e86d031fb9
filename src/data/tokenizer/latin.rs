//! Merges of Latin letters for the `char` tokenizer.
//!
//! A Han character carries about as much as a short English word, a Latin letter far less: with one token per letter an
//! English sentence takes four times the tokens of the Chinese one, most of them spent on spelling. So Latin words are
//! merged, including a preceding space (` tea`), and everything else stays one token per character.

use std::collections::BTreeSet;

use serde_json::Value;
use tokenizers::{
    Trainer as _,
    models::bpe::{BPE, BpeTrainer},
};

use super::pieces;
use crate::data::error::DataError;

/// Minimum occurrences of a merged pair.
const FEWEST: u64 = 8;
/// Letters of the longest word used for training.
const LONGEST: usize = 32;

/// The most frequent merges of `all`, best first, at most `most`.
pub(super) fn merges(all: &[&str], most: usize) -> Result<Vec<(String, String)>, DataError> {
    let failed = |e: tokenizers::Error| DataError::Tokenizer(format!("training failed: {e}"));
    let texts = || all.iter().flat_map(|t| pieces::pieces(t, pieces::TRAINED_AT_ONCE));
    let letters: BTreeSet<char> = texts().flat_map(str::chars).filter(|c| is_part(*c)).collect();
    if most == 0 || letters.is_empty() {
        return Ok(Vec::new());
    }
    let mut trainer =
        BpeTrainer::builder().show_progress(false).vocab_size(letters.len() + most).min_frequency(FEWEST).build();
    trainer.feed(texts(), |text| Ok(words(text))).map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    // The crate exposes merges only in its JSON.
    let file = serde_json::to_value(&model).map_err(|e| DataError::Tokenizer(format!("training failed: {e}")))?;
    let part = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
    let merge = |m: &Value| Some((part(m.get(0))?, part(m.get(1))?));
    Ok(file
        .get("merges")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(merge).collect())
        .unwrap_or_default())
}

/// A space belongs to the following word.
fn is_part(c: char) -> bool {
    c == ' ' || c.is_ascii_alphabetic()
}

/// Runs of Latin letters, each with a preceding space.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        let goes_on = c.is_ascii_alphabetic() && word.len() < LONGEST;
        if !goes_on && word.len() > 1 {
            all.push(std::mem::take(&mut word));
        }
        if !goes_on {
            word.clear();
        }
        if is_part(c) {
            word.push(c);
        }
    }
    if word.len() > 1 {
        all.push(word);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_the_space_before_them() {
        assert_eq!(words("I like tea. 茶a b好 go"), ["I", " like", " tea", " b", " go"].map(str::to_owned)[1..]);
        assert_eq!(words("tea  time"), ["tea", " time"]);
        assert!(words("春眠不觉晓，").is_empty());
    }
}
