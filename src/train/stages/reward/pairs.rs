//! The pairs to learn from: the built-in ones, and pairs of answers sampled from the run's own model.
//!
//! At least half of the training pairs are the model's own answers: a reward model that never saw them would judge
//! noise. They are sampled once, when the stage starts, and stored in the run.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::json;

use crate::{
    base::{StageId, shell},
    compute::rng::{self, AnswerSeed, Purpose, Stream},
    data::{
        self, Format, PairExample, Preference, PreferenceReading, PreferenceSource, Tokenizer, Unread, encode_pairs,
        read_preference_file, read_preferences, split_preference_sources,
    },
    nn::{BatchDecoder, ModelConfig, Prompt, Weights},
    protocol::{Monitor, Work},
    store::{Links, RealFs, RunView, open_limited},
    train::{
        config::{RunConfig, SourceConfig},
        corpus::{FILE_LIMIT, Reading, SourceFile, files},
        error::TrainError,
        stages::{
            opening::{Counting, Opening},
            sampling::{LONGEST, drawn, question},
        },
    },
};

/// The file of the model's own answers in the run's `data/`.
const OWN: &str = "reward-own.jsonl";
/// Answers sampled per prompt.
const EACH: usize = 24;
/// Pairs per prompt.
const PAIRS_EACH: usize = 8;
/// With fewer pairs of the model's own, all built-in ones are used.
const LEAST_OWN: usize = 100;
/// Texts generated at a time.
const ROWS: usize = 128;
/// Share of training labels that are flipped: human labels have errors, and so do the built-in pairs.
const FLIPPED: f64 = 0.1;

/// Training and held-out pairs of a reward model.
pub(crate) struct Pairs {
    pub train: Vec<PairExample>,
    pub held_out: Vec<PairExample>,
    /// Hash over all pairs.
    pub digest: String,
}

/// Where the model's own answers come from.
pub(crate) enum Answers<'a> {
    /// Sampled from this model if there are none.
    Drawn {
        model: &'a ModelConfig,
        weights: &'a Weights,
        /// The digest of its checkpoint.
        parent: &'a str,
        /// Whether the stage starts with it: answers of another model are then sampled again.
        begins: bool,
    },
    /// Only existing ones.
    Kept,
}

/// The run's pairs: of `[[reward.source]]`, or the built-in ones and the model's own answers, which are sampled if
/// missing.
pub(crate) fn gather(o: &mut Opening<'_>, answers: &Answers<'_>, tokenizer: &Tokenizer) -> Result<Pairs, TrainError> {
    Ok(gather_texts(o, answers, tokenizer)?.0)
}

/// The same, with the texts that [`PairExample::at`] counts: training, then held out.
pub(crate) fn gather_texts(
    o: &mut Opening<'_>,
    answers: &Answers<'_>,
    tokenizer: &Tokenizer,
) -> Result<(Pairs, [Vec<Preference>; 2]), TrainError> {
    let (train, held_out) = if o.config.stage(StageId::Reward).source.is_empty() {
        let own = own_answers(o, answers, tokenizer)?;
        // A model whose answers are all good or all bad gives no pairs.
        let own = if own.is_empty() { Vec::new() } else { own_pairs(o, &own)? };
        let mut train = data::builtin_preferences()?;
        // At least half are the model's own, if it gave enough good and bad answers; the built-in ones fill the rest.
        if own.len() >= LEAST_OWN {
            train.truncate(own.len());
        } else {
            o.notes.push(format!(
                "only {} pairs of the model's own answers: most pairs are built-in ones; fine-tune the model further for more of its own",
                own.len()
            ));
        }
        o.notes.push(format!("{} pairs of the model's own answers, {} built-in ones", own.len(), train.len()));
        train.extend(own);
        (train, data::builtin_held_out_preferences()?)
    } else {
        split_preference_sources(read_sources(o.config, o.run.view().dir(), o.notes, &o.setup.monitor())?)
    };
    let most = o.plan.context;
    let mut encode = |which: &str, all: &[Preference]| -> Result<Vec<PairExample>, TrainError> {
        let (pairs, fitted) = encode_pairs(all, tokenizer, most)?;
        if fitted.dropped > 0 {
            o.notes.push(format!("{} {which} do not fit the context of {most} and are left out", fitted.dropped));
        }
        Ok(pairs)
    };
    let texts = [train, held_out];
    let (train, held_out) = (encode("pairs", &texts[0])?, encode("held-out pairs", &texts[1])?);
    if train.is_empty() || held_out.is_empty() {
        return Err(TrainError::Input(format!(
            "reward: {} pairs are left to train on and {} held out; give more pairs about different prompts, or raise reward.context (now {most})",
            train.len(),
            held_out.len()
        )));
    }
    let mut hash = blake3::Hasher::new();
    for pair in train.iter().chain(&held_out) {
        for side in [&pair.chosen.ids, &pair.rejected.ids] {
            hash.update(&(side.len() as u64).to_le_bytes());
            hash.update(bytemuck::cast_slice(side));
        }
    }
    Ok((Pairs { train, held_out, digest: hash.finalize().to_hex().to_string() }, texts))
}

/// The model that made the answers of a file, according to its lines; None if they do not say.
#[derive(Deserialize)]
struct Made {
    parent: String,
    seed: u64,
}

/// The file of the model's own answers, which is made or replaced if necessary.
fn own_answers(o: &mut Opening<'_>, answers: &Answers<'_>, tokenizer: &Tokenizer) -> Result<String, TrainError> {
    let there = crate::train::run::model_folder::read_text(&o.run.view().data_dir(), OWN)?;
    let (model, weights, parent, begins) = match *answers {
        Answers::Drawn { model, weights, parent, begins } => (model, weights, parent, begins),
        Answers::Kept => {
            return there.ok_or_else(|| {
                TrainError::Input(format!(
                    "data/{OWN} is gone; danlu train --stage reward --run {} draws the answers again",
                    shell::path(o.run.view().dir())
                ))
            });
        }
    };
    if let Some(text) = there {
        let made = text.lines().next().and_then(|line| serde_json::from_str::<Made>(line).ok());
        match made {
            // Answers of unknown origin are kept; an empty file only costs time.
            None if !(begins && text.is_empty()) => return Ok(text),
            Some(made) if !begins || (made.parent == parent && made.seed == o.config.seed) => return Ok(text),
            Some(_) => o
                .notes
                .push(format!("data/{OWN} holds answers of another fine-tuned model or seed; they are drawn again")),
            None => {}
        }
    }
    let text = draw_own(o, model, weights, parent, tokenizer)?;
    o.run.write_data(OWN, text.as_bytes())?;
    Ok(text)
}

/// Preferences of the files in run.toml.
pub(crate) fn read_sources(
    config: &RunConfig,
    run_dir: &Path,
    notes: &mut Vec<String>,
    monitor: &Monitor,
) -> Result<Vec<PreferenceSource>, TrainError> {
    let found: Vec<(&SourceConfig, Vec<SourceFile>)> = config
        .stage(StageId::Reward)
        .source
        .iter()
        .map(|s| Ok((s, files(config, &config.root(run_dir), "reward.source", s, notes)?)))
        .collect::<Result<_, TrainError>>()?;
    let mut progress = Reading::new(monitor, found.iter().flat_map(|(_, files)| files));
    let mut all = Vec::new();
    for (s, files) in found {
        let (mut unread, mut source, mut first) = (Unread::default(), PreferenceSource::default(), None);
        for file @ SourceFile { path, kind, held_out } in &files {
            progress.begin(file)?;
            let named =
                |e: data::DataError| TrainError::Input(format!("reward.source {}: {} {e}", s.name, path.display()));
            let reading = open_limited(&RealFs, path, FILE_LIMIT, Links::Follow)
                .map_err(TrainError::from)
                .and_then(|(file, _)| read_preference_file(*kind, file, config.turns()).map_err(named));
            match reading {
                Ok(PreferenceReading { pairs: reading, .. }) => {
                    notes.extend(reading.notes(&format!("reward.source {}: {}", s.name, path.display())));
                    unread.join(reading.unread);
                    let part = if *held_out { &mut source.split } else { &mut source.pairs };
                    part.extend(reading.items);
                }
                // One file that cannot be read does not end a folder.
                Err(e) => {
                    if files.len() > 1 {
                        notes.push(format!("{e}; the file is skipped"));
                    }
                    first.get_or_insert(e);
                }
            }
        }
        if source.pairs.is_empty()
            && let Some(e) = first
        {
            return Err(e);
        }
        notes.extend(unread.summary().map(|fields| format!("reward.source {}: {fields}", s.name)));
        all.push(source);
    }
    Ok(all)
}

/// Whether the model's own answers exist. A model that gave no pair leaves an empty file and is sampled again.
pub(crate) fn has_own(run: &RunView) -> bool {
    crate::train::run::model_folder::read_text(&run.data_dir(), OWN)
        .is_ok_and(|text| text.is_some_and(|text| !text.is_empty()))
}

/// Counts the memory for sampling the model's own answers, which is freed before the first step.
pub(crate) fn count(on: &mut Counting<'_>, weights: &Weights) -> Result<(), TrainError> {
    if on.config.stage(StageId::Reward).source.is_empty() && !on.drawn {
        let mark = on.device.mark();
        BatchDecoder::new(on.device, on.model, weights, ROWS, on.model.max_position_embeddings)?;
        on.device.release(mark);
    }
    Ok(())
}

/// Samples answers from the fine-tuned model and pairs those of which the rule calls one good and one bad. The rule
/// labels pairs only here in training.
fn draw_own(
    o: &mut Opening<'_>,
    model: &ModelConfig,
    weights: &Weights,
    parent: &str,
    tokenizer: &Tokenizer,
) -> Result<String, TrainError> {
    let seed = o.config.seed;
    let mark = o.device.mark();
    let asked = data::builtin_prompts()?;
    let mut decoder = BatchDecoder::new(o.device, model, weights, ROWS, model.max_position_embeddings)?;
    let end = tokenizer.turn_end();
    let known = tokenizer.vocab_size().min(model.vocab_size);
    let mut questions = Vec::with_capacity(asked.len() * EACH);
    for (i, asked) in asked.iter().enumerate() {
        let ids = question(&asked.prompt, tokenizer)?;
        for j in 0..EACH {
            questions.push(Prompt {
                max_new_tokens: LONGEST.min(decoder.capacity().saturating_sub(ids.len())),
                ids: ids.clone(),
                sampling: drawn(seed, 1.0, AnswerSeed::Learned(i * EACH + j).number()),
            });
        }
    }
    let (monitor, of) = (o.setup.monitor(), questions.len() as u64);
    let answers = decoder.complete_watched(o.device, &questions, known, end, &mut |begun| {
        monitor.report(Work::Answers, begun as u64, of);
        !monitor.is_given_up()
    })?;
    drop(decoder);
    o.device.release(mark);
    monitor.check()?;
    let mut text = String::new();
    let mut pairs = 0_u64;
    for (asked, answers) in asked.iter().zip(answers.chunks(EACH)) {
        let (rule, prompt) = (asked.task, &asked.prompt);
        let before = question(prompt, tokenizer)?;
        let mut sides: BTreeMap<bool, Vec<String>> = BTreeMap::new();
        for a in answers {
            let answer = tokenizer.decode_turn(&before, &a.ids, true);
            // Once written as text, an unfinished answer looks like a finished one, so it is dropped.
            if a.ended && !answer.trim().is_empty() {
                sides.entry(rule.judge(prompt, &answer, a.ended).good).or_default().push(answer);
            }
        }
        let (good, bad) = (sides.remove(&true).unwrap_or_default(), sides.remove(&false).unwrap_or_default());
        // An answer of the rarer kind may be in several pairs.
        let sides = good.iter().cycle().zip(bad.iter().cycle());
        let most = if good.is_empty() || bad.is_empty() { 0 } else { good.len().max(bad.len()).min(PAIRS_EACH) };
        for (good, bad) in sides.take(most) {
            let flip = f64::from(rng::uniform(seed, Purpose::Shuffle, Stream::Flips.number(), pairs)) < FLIPPED;
            let (chosen, rejected) = if flip { (bad, good) } else { (good, bad) };
            let line = json!({"task": rule.name(), "prompt": prompt, "chosen": chosen, "rejected": rejected, "flipped": flip, "parent": parent, "seed": seed});
            text.push_str(&line.to_string());
            text.push('\n');
            pairs += 1;
        }
    }
    Ok(text)
}

/// The pairs of the model's own answers. An invalid line is an error, since danlu wrote them all.
fn own_pairs(o: &Opening<'_>, text: &str) -> Result<Vec<Preference>, TrainError> {
    let unreadable = |e: String| {
        let path = o.run.view().data_dir().join(OWN);
        TrainError::Input(format!("{}: {e}; remove it to draw the answers again", path.display()))
    };
    let reading = read_preferences(Format::JsonLines, text.as_bytes()).map_err(|e| unreadable(e.to_string()))?.pairs;
    if let Some((line, why)) = reading.reasons.first() {
        return Err(unreadable(format!("line {line}: {why}")));
    }
    Ok(reading.items)
}
