//! Pairs of answers to learn a preference from: the built-in ones, and answers that the run's own model gives.
//!
//! At least half of what is trained on are the model's own answers: a reward model that never saw them would
//! judge noise. They are drawn once, when the stage begins, and kept in the run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{config::ConfigIssue, error::TrainError, prepare::Opening};
use crate::{
    compute::rng::{self, Purpose},
    data::{self, DataError, Role, Tokenizer, Turn, encode_prompt, rules::Rule},
    nn::{BatchDecoder, ModelConfig, Prompt, Sampling, Weights},
};

/// The file of the run's own answers, in its `data/`.
const OWN: &str = "reward-own.jsonl";
/// Answers drawn for a prompt.
const EACH: usize = 24;
/// Pairs made of one prompt's answers.
const PAIRS_EACH: usize = 8;
/// With fewer pairs of the model's own all built-in ones are learned from.
const LEAST_OWN: usize = 100;
/// Texts written at once.
const ROWS: usize = 128;
/// Tokens that an answer may have.
pub(super) const LONGEST: usize = 40;
/// Of the labels of pairs that are trained on, this share is flipped: people err, and so do the built-in pairs.
const FLIPPED: f64 = 0.1;

/// Two answers to one question, as whole conversations that end with the end token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PairExample {
    pub chosen: Vec<u32>,
    pub rejected: Vec<u32>,
}

/// What a reward model is trained and judged on.
pub(super) struct Pairs {
    pub train: Vec<PairExample>,
    pub held_out: Vec<PairExample>,
    /// Hash over all of them.
    pub digest: String,
}

#[derive(Deserialize)]
struct Line {
    task: Option<String>,
    prompt: String,
    #[serde(default)]
    chosen: String,
    #[serde(default)]
    rejected: String,
}

/// Prompts of a file, with the task whose rule judges them.
pub(super) fn prompts(text: &str) -> Result<Vec<(Rule, String)>, TrainError> {
    let prompt = |line: Line| Some((Rule::of_task(line.task.as_deref()?)?, line.prompt));
    Ok(lines(text)?.into_iter().filter_map(prompt).collect())
}

fn lines(text: &str) -> Result<Vec<Line>, TrainError> {
    let line = |(i, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|e| TrainError::Data(DataError::Json { reason: e.to_string(), line: i + 1, column: e.column() }))
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect()
}

/// A question and its answer as ids, the end token last.
pub(super) fn conversation(prompt: &str, answer: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, TrainError> {
    let turns = [Turn::new(Role::User, prompt), Turn::new(Role::Assistant, answer)];
    let conversation = data::Conversation { turns: turns.to_vec(), task: None };
    Ok(data::encode(&conversation, tokenizer)?.ids)
}

/// The question's ids, the assistant's turn opened.
pub(super) fn question(prompt: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, TrainError> {
    Ok(encode_prompt(&[Turn::new(Role::User, prompt)], tokenizer)?)
}

/// The place `at` of a shuffled 0..n, anew in every epoch.
pub(super) fn shuffled(seed: u64, epoch: u64, n: usize, at: usize) -> usize {
    // Fisher and Yates once an epoch would be the same; this needs no table. See `data::batch`.
    data::batch::permute(seed, (1 << 46) | epoch, n, at)
}

/// Reads the built-in pairs, and draws the model's own where that has not been done.
pub(super) fn gather(
    o: &mut Opening<'_>,
    model: &ModelConfig,
    weights: &Weights,
    tokenizer: &Tokenizer,
) -> Result<Pairs, TrainError> {
    let built_in = data::builtin_preferences();
    let own = if let Some(text) = super::model_folder::read_text(&o.run.view().data_dir(), OWN)? {
        text
    } else {
        let text = draw_own(o, model, weights, tokenizer, built_in.prompts)?;
        o.run.write_data(OWN, text.as_bytes())?;
        text
    };
    let most = o.plan.context;
    let mut dropped = 0;
    let mut encode = |all: Vec<Line>| -> Result<Vec<PairExample>, TrainError> {
        let mut pairs = Vec::new();
        for line in all {
            let chosen = conversation(&line.prompt, &line.chosen, tokenizer)?;
            let rejected = conversation(&line.prompt, &line.rejected, tokenizer)?;
            if chosen.len().max(rejected.len()) > most {
                dropped += 1;
            } else {
                pairs.push(PairExample { chosen, rejected });
            }
        }
        Ok(pairs)
    };
    let unreadable = |e: TrainError| {
        let path = o.run.view().data_dir().join(OWN);
        TrainError::Input(format!("{}: {e}; remove it to have the answers drawn anew", path.display()))
    };
    let own = encode(lines(&own).map_err(unreadable)?)?;
    let held_out = encode(lines(built_in.held_out)?)?;
    let mut train = encode(lines(built_in.pairs)?)?;
    if dropped > 0 {
        o.notes.push(format!("{dropped} pairs do not fit the context of {most} and are left out"));
    }
    // Half at least are the model's own, where it has answered well and badly often enough; of the built-in
    // ones as many as that leaves room for.
    if own.len() >= LEAST_OWN {
        train.truncate(own.len());
    } else {
        o.notes.push(format!(
            "the model told good answers from bad in {} pairs only: most of what is learned are built-in pairs; fine-tune it further for more of its own",
            own.len()
        ));
    }
    let (n_own, n_built_in) = (own.len(), train.len());
    train.extend(own);
    if train.is_empty() || held_out.is_empty() {
        return Err(TrainError::Run(ConfigIssue(format!(
            "reward: no pair is left that fits the context of {most}; raise reward.context"
        ))));
    }
    o.notes.push(format!(
        "{n_own} pairs of the model's own answers, {n_built_in} built-in ones, {} held out",
        held_out.len()
    ));
    let mut hash = blake3::Hasher::new();
    for pair in train.iter().chain(&held_out) {
        for side in [&pair.chosen, &pair.rejected] {
            hash.update(&(side.len() as u64).to_le_bytes());
            hash.update(bytemuck::cast_slice(side));
        }
    }
    Ok(Pairs { train, held_out, digest: hash.finalize().to_hex().to_string() })
}

/// Answers of the fine-tuned model, and of two to one question that the rule tells apart a pair. The rule
/// labels pairs, here and nowhere else in training.
fn draw_own(
    o: &mut Opening<'_>,
    model: &ModelConfig,
    weights: &Weights,
    tokenizer: &Tokenizer,
    asked: &str,
) -> Result<String, TrainError> {
    let seed = o.config.seed;
    let mark = o.device.mark();
    let asked = prompts(asked)?;
    let mut decoder = BatchDecoder::new(o.device, model, weights, ROWS, model.max_position_embeddings)?;
    let end = tokenizer.chat().map(|c| c.end);
    let known = tokenizer.vocab_size().min(model.vocab_size);
    let mut questions = Vec::with_capacity(asked.len() * EACH);
    for (i, (_, prompt)) in asked.iter().enumerate() {
        let ids = question(prompt, tokenizer)?;
        for j in 0..EACH {
            questions.push(Prompt {
                max_new_tokens: LONGEST.min(decoder.capacity().saturating_sub(ids.len())),
                ids: ids.clone(),
                sampling: drawn(seed, 1.0, i * EACH + j),
            });
        }
    }
    let answers = decoder.complete(o.device, &questions, known, end)?;
    drop(decoder);
    o.device.release(mark);
    let mut text = String::new();
    let mut pairs = 0_u64;
    for ((rule, prompt), answers) in asked.iter().zip(answers.chunks(EACH)) {
        let mut sides: BTreeMap<bool, Vec<String>> = BTreeMap::new();
        for a in answers {
            let answer = tokenizer.decode(&a.ids, true);
            // One that did not end cannot be told from one that did, once it is written out.
            if a.ended && !answer.trim().is_empty() {
                sides.entry(rule.judge(prompt, &answer, a.ended).good).or_default().push(answer);
            }
        }
        let (good, bad) = (sides.remove(&true).unwrap_or_default(), sides.remove(&false).unwrap_or_default());
        // Each answer of the rarer kind may stand in several pairs.
        let sides = good.iter().cycle().zip(bad.iter().cycle());
        let most = if good.is_empty() || bad.is_empty() { 0 } else { good.len().max(bad.len()).min(PAIRS_EACH) };
        for (good, bad) in sides.take(most) {
            let flip = f64::from(rng::uniform(seed, Purpose::Shuffle, 1 << 45, pairs)) < FLIPPED;
            let (chosen, rejected) = if flip { (bad, good) } else { (good, bad) };
            let line =
                json!({"task": rule.name(), "prompt": prompt, "chosen": chosen, "rejected": rejected, "flipped": flip});
            text.push_str(&line.to_string());
            text.push('\n');
            pairs += 1;
        }
    }
    Ok(text)
}

/// Sampling from the whole distribution, with a seed for each of many answers.
pub(super) fn drawn(seed: u64, temperature: f32, which: usize) -> Sampling {
    let mixed = u64::from(rng::bits(seed, Purpose::Sample, 1 << 44, which as u64));
    Sampling { temperature, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: (mixed << 32) | which as u64 }
}

/// Wilson's 95 % interval of a share.
pub(super) fn wilson(share: f64, n: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return (0.0, 1.0);
    }
    let n = n as f64;
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let by = 1.0 + Z * Z / n;
    (((centre - spread) / by).max(0.0), ((centre + spread) / by).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(0.9, 100);
        assert!((low - 0.8256).abs() < 1e-3 && (high - 0.9448).abs() < 1e-3, "{low} {high}");
        assert_eq!(wilson(0.5, 0), (0.0, 1.0));
    }
}
