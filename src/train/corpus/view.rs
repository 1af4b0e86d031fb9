//! The data view of a run: sources, funnels, rules, and how well the tokenizer fits.

use std::collections::HashMap;

use super::Corpus;
use crate::{
    data::clean::{Bound, Funnel, rules},
    protocol::{RoomSource, RoomView, RuleView, TokenizerView},
    train::{
        config::{RunConfig, SourceConfig},
        error::TrainError,
    },
};

/// Ids per source used for measuring the tokenizer.
const MEASURED: usize = 1 << 18;
/// Number of most common tokens shown.
const TOP: usize = 24;
/// The unknown token of imported tokenizers; danlu's own fall back to bytes.
const UNKNOWN: [&str; 3] = ["<unk>", "[UNK]", "<|unk|>"];

/// The view of a corpus, with each source's share of drawn tokens. The trainer adds how files are watched and what is
/// broken.
pub fn room(corpus: &Corpus, config: &RunConfig, shares: &[f64]) -> Result<RoomView, TrainError> {
    let sources = corpus.packed.iter().enumerate().map(|(at, packed)| {
        let own = config.source.iter().find(|s| s.name == packed.name);
        let funnel = corpus.funnels.iter().find(|(name, _, _)| *name == packed.name);
        let funnel = funnel.map_or_else(Funnel::default, |(_, _, funnel)| funnel.clone());
        RoomSource {
            name: packed.name.clone(),
            path: own.map_or_else(String::new, |s| s.path.clone()),
            profile: own.map_or_else(String::new, |s| s.profile.name().to_owned()),
            weight: shares.get(at).copied().unwrap_or_default(),
            documents: packed.train.documents(),
            tokens: packed.train.len(),
            held_out_documents: packed.held_out.documents(),
            held_out_tokens: packed.held_out.len(),
            funnel,
            rules: own.map(rule_views).unwrap_or_default(),
            broken: None,
        }
    });
    let sources = sources.collect();
    Ok(RoomView { sources, tokenizer: measured(corpus)?, notes: corpus.notes.clone(), watching: String::new() })
}

/// The rules of a source's profile with the thresholds in effect.
fn rule_views(source: &SourceConfig) -> Vec<RuleView> {
    let holding = source.rules();
    let split = |bound: Bound| match bound {
        Bound::AtLeast(t) => (true, t),
        Bound::AtMost(t) => (false, t),
    };
    let view = |rule: &crate::data::clean::Rule| {
        let (at_least, published) = split(rule.bound);
        let off = if at_least { f64::NEG_INFINITY } else { f64::INFINITY };
        let threshold = holding.iter().find(|r| r.name == rule.name).map_or(off, |r| split(r.bound).1);
        RuleView { name: rule.name.to_owned(), at_least, threshold, published, source: rule.source.to_owned() }
    };
    rules(source.profile).iter().map(view).collect()
}

/// Measures the tokenizer on the beginning of every source's training text, equally.
fn measured(corpus: &Corpus) -> Result<TokenizerView, TrainError> {
    let tokenizer = &corpus.tokenizer;
    let (mut tokens, mut characters, mut bytes, mut fallback, mut unknown) = (0, 0, 0, 0, 0);
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for source in corpus.packed.iter() {
        let mut some = Vec::new();
        source.train.read(0..MEASURED, &mut some)?;
        unknown += some.iter().filter(|id| tokenizer.token(**id).is_some_and(|t| UNKNOWN.contains(&t))).count();
        some.retain(|id| !tokenizer.is_special(*id));
        let text = tokenizer.decode(&some, true);
        // The last character may be cut here and does not count as unknown.
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        unknown += text.matches(char::REPLACEMENT_CHARACTER).count();
        tokens += some.len();
        characters += text.chars().count();
        bytes += text.len();
        for id in some {
            *counts.entry(id).or_default() += 1;
        }
    }
    if tokenizer.is_char() {
        let is_byte = |id: u32| tokenizer.token(id).is_some_and(|t| t.starts_with("<0x") && t.len() == 6);
        fallback = counts.iter().filter(|(id, _)| is_byte(**id)).map(|(_, n)| n).sum();
    }
    let per = |n: usize| n as f64 / tokens.max(1) as f64;
    let mut top: Vec<(usize, u32)> = counts.into_iter().map(|(id, n)| (n, id)).collect();
    // Equally common tokens are ordered by id.
    top.sort_unstable_by_key(|(n, id)| (std::cmp::Reverse(*n), *id));
    Ok(TokenizerView {
        kind: if tokenizer.is_char() { "char" } else { "bpe" }.to_owned(),
        vocab_size: tokenizer.vocab_size(),
        characters_per_token: per(characters),
        bytes_per_token: per(bytes),
        fallback_share: per(fallback),
        unknown_share: unknown as f64 / (characters + unknown).max(1) as f64,
        top: top.iter().take(TOP).map(|(_, id)| tokenizer.written(*id)).collect(),
    })
}
