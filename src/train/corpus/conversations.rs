//! A run's conversations: the files of `[[sft.source]]` or the built-in ones, and the demonstrations.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{FILE_LIMIT, Reading, SourceFile, files};
use crate::{
    base::StageId,
    data::{
        self, BY_HAND, ChatSource, Conversation, DataError, Example, ExampleSet, Fitted, Format, Tokenizer, Turn,
        TurnText, Unread, encode, example_sets, read::to_text, read_chat_file, read_chats_as,
    },
    protocol::{Monitor, Work},
    store::{Links, RealFs, open_limited, read_limited},
    train::{
        config::{ProbeConfig, RunConfig, SourceConfig},
        error::TrainError,
    },
};

/// Conversations between two looks at whether the work was given up.
const AT_ONCE: u64 = 256;

/// Encoded conversations.
pub(crate) struct Chats {
    /// The sources.
    pub sets: Vec<ExampleSet>,
    /// Demonstrations, each with the first step at which it can be drawn.
    pub by_hand: Vec<(u64, Example)>,
    /// The probe questions.
    pub probes: Vec<ChatProbe>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// A question that is asked repeatedly.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChatProbe {
    /// The task it belongs to, if any.
    pub task: Option<String>,
    /// The question.
    pub prompt: String,
    /// The reference answer.
    pub expected: String,
}

impl Chats {
    /// Reads and encodes everything for rows of `context` tokens.
    pub(crate) fn load(
        config: &RunConfig,
        run_dir: &Path,
        tokenizer: &Tokenizer,
        context: usize,
        monitor: &Monitor,
    ) -> Result<Chats, TrainError> {
        let mut notes = Vec::new();
        let sets = if config.stage(StageId::Sft).source.is_empty() {
            data::builtin_chats(tokenizer, context)?
        } else {
            let sources = read_sources(config, run_dir, &mut notes, monitor)?;
            let asked: Vec<&str> = config.stage(StageId::Sft).probe.iter().map(|p| p.prompt.as_str()).collect();
            encoded(sources, &asked, (tokenizer, context), monitor)?
        };
        for set in &sets {
            for fitted in [&set.fitted, &set.held_out_fitted] {
                let why = fitted.refusal.as_ref();
                notes.extend(why.map(|why| {
                    format!("source {}: {} conversations are left out, the first since {why}", set.name, fitted.refused)
                }));
            }
            notes.extend(fitting_note(&set.name, &set.fitted));
            notes.extend(fitting_note(&format!("{} (held out)", set.name), &set.held_out_fitted));
        }
        if sets.iter().all(|s| s.examples.is_empty()) {
            return Err(TrainError::Input(format!(
                "no conversation fits the context of {context} tokens; raise sft.context, or shorten the answers"
            )));
        }
        let probes = probes(config, &sets);
        let by_hand = read_by_hand(&path(run_dir), config.turns(), (tokenizer, context), &mut notes)?;
        Ok(Chats { sets, by_hand, probes, notes })
    }
}

/// The sources' examples; reports how many are encoded.
fn encoded(
    sources: Vec<ChatSource>,
    asked: &[&str],
    (tokenizer, context): (&Tokenizer, usize),
    monitor: &Monitor,
) -> Result<Vec<ExampleSet>, TrainError> {
    let all: usize = sources.iter().map(|s| s.conversations.len() + s.split.len()).sum();
    let begun = AtomicU64::new(0);
    let begin = || {
        let before = begun.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(AT_ONCE) {
            if monitor.is_given_up() {
                return Err(DataError::Io(io::ErrorKind::Interrupted.into()));
            }
            monitor.report(Work::Tokenize, before, all as u64);
        }
        Ok(())
    };
    let sets = example_sets(sources, asked, tokenizer, context, &begin);
    monitor.check()?;
    Ok(sets?)
}

/// The conversations of the run, as far as they exist already; those that the data hold out with `split`.
pub(crate) fn conversations(
    config: &RunConfig,
    run_dir: &Path,
    split: bool,
    monitor: &Monitor,
) -> Result<Vec<Conversation>, TrainError> {
    if config.stage(StageId::Sft).source.is_empty() {
        // A run on user text does not spend its vocabulary on the built-in conversations.
        return Ok(if config.source.is_empty() { data::builtin_conversations()? } else { Vec::new() });
    }
    // Errors in a file are reported when fine-tuning starts.
    let sources = match read_sources(config, run_dir, &mut Vec::new(), monitor) {
        Err(TrainError::Stopped) => return Err(TrainError::Stopped),
        read => read.unwrap_or_default(),
    };
    let of = |s: ChatSource| s.conversations.into_iter().chain(s.split.into_iter().filter(move |_| split));
    Ok(sources.into_iter().flat_map(of).collect())
}

/// A note on what fitting to the context changed, if anything.
fn fitting_note(name: &str, f: &Fitted) -> Option<String> {
    if f.shortened + f.dropped == 0 {
        return None;
    }
    let at: Vec<String> = f.dropped_at.iter().take(3).map(|(n, tokens)| format!("{n} ({tokens} tokens)")).collect();
    let which = if at.is_empty() { String::new() } else { format!(": number {}", at.join(", ")) };
    Some(format!(
        "source {name}: {} conversations lost their first exchanges to fit the context, {} do not fit at all and are left out{which}",
        f.shortened, f.dropped
    ))
}

/// The configured questions; else those of the built-in data, and the first held-out example of every task.
fn probes(config: &RunConfig, sets: &[ExampleSet]) -> Vec<ChatProbe> {
    if !config.stage(StageId::Sft).probe.is_empty() {
        let probe = |p: &ProbeConfig| ChatProbe { task: None, prompt: p.prompt.clone(), expected: p.expected.clone() };
        return config.stage(StageId::Sft).probe.iter().map(probe).collect();
    }
    let mut all = Vec::new();
    if config.stage(StageId::Sft).source.is_empty() {
        all.extend(data::CHAT_PROBES.iter().map(|p| ChatProbe {
            task: Some(p.task.to_owned()),
            prompt: p.prompt.to_owned(),
            expected: p.expected.to_owned(),
        }));
    }
    for set in sets {
        let task = |c: &Conversation| c.task.clone().unwrap_or_else(|| set.name.clone());
        // Only short conversations: the question of a longer one makes no sense alone.
        let short = set
            .held_out
            .iter()
            .map(|h| &h.conversation)
            .find(|c| c.turns.len() == 2 && !all.iter().any(|p: &ChatProbe| p.task.as_ref() == Some(&task(c))));
        if let Some([question, answer]) = short.map(|c| c.turns.as_slice()) {
            all.push(ChatProbe {
                task: short.map(task),
                prompt: question.content.clone(),
                expected: answer.content.clone(),
            });
        }
    }
    all
}

fn read_sources(
    config: &RunConfig,
    run_dir: &Path,
    notes: &mut Vec<String>,
    monitor: &Monitor,
) -> Result<Vec<ChatSource>, TrainError> {
    let run_dir = &config.root(run_dir);
    let found: Vec<(&SourceConfig, Vec<SourceFile>)> = config
        .stage(StageId::Sft)
        .source
        .iter()
        .map(|s| Ok((s, files(config, run_dir, "sft.source", s, notes)?)))
        .collect::<Result<_, TrainError>>()?;
    let mut progress = Reading::new(monitor, found.iter().flat_map(|(_, files)| files));
    let mut sources = Vec::new();
    for (s, files) in found {
        let (mut conversations, mut split, mut unread, mut first) = (Vec::new(), Vec::new(), Unread::default(), None);
        for file @ SourceFile { path, kind, held_out } in &files {
            progress.begin(file)?;
            let reading = open_limited(&RealFs, path, FILE_LIMIT, Links::Follow)
                .map_err(TrainError::from)
                .and_then(|(file, _)| read_chat_file(*kind, file, config.turns()).map_err(|e| named(s, path, &e)));
            match reading {
                Ok(reading) => {
                    notes.extend(reading.notes(&format!("sft.source {}: {}", s.name, path.display())));
                    unread.join(reading.unread);
                    let part = if *held_out { &mut split } else { &mut conversations };
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
        if conversations.is_empty()
            && let Some(e) = first
        {
            return Err(e);
        }
        notes.extend(unread.summary().map(|fields| format!("sft.source {}: {fields}", s.name)));
        sources.push(ChatSource { name: s.name.clone(), conversations, weight: s.weight, hold_out: true, split });
    }
    Ok(sources)
}

/// An error in a file of a source.
fn named(source: &SourceConfig, path: &Path, e: &DataError) -> TrainError {
    TrainError::Input(format!("sft.source {}: {} {e}", source.name, path.display()))
}

/// The path of the demonstrations.
fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("data").join("sft").join("by-hand.jsonl")
}

/// A line of the demonstrations: a conversation, and the step from which it is drawn.
pub(crate) fn demonstration(turns: &[Turn], step: u64) -> Value {
    json!({"messages": turns, "task": BY_HAND, "step": step})
}

/// Parses such a line, or returns why it is invalid.
pub(crate) fn read_demonstration(line: &[u8], text: TurnText) -> Result<Conversation, String> {
    match read_chats_as(text, Format::JsonLines, line) {
        Ok(reading) => reading.items.into_iter().next().ok_or_else(|| "it is empty".to_owned()),
        Err(DataError::NoConversation { first: Some((_, why)), .. }) => Err(why),
        Err(e) => Err(e.to_string()),
    }
}

#[derive(Deserialize)]
struct Mark {
    #[serde(default)]
    step: u64,
}

/// The file of demonstrations converted to UTF-8. With an undecodable character it is left unchanged.
fn by_hand_bytes(path: &Path) -> Result<Vec<u8>, TrainError> {
    let bytes = read_limited(&RealFs, path, FILE_LIMIT, Links::Refuse)?;
    Ok(to_text(bytes.clone()).map_or(bytes, |read| read.text.into_bytes()))
}

/// The number of demonstrations, for stages that do not draw them.
pub(crate) fn count_by_hand(run_dir: &Path) -> Result<usize, TrainError> {
    let path = path(run_dir);
    if !path.exists() {
        return Ok(0);
    }
    let bytes = by_hand_bytes(&path)?;
    Ok(bytes.split(|b| *b == b'\n').filter(|line| read_demonstration(line, TurnText::Tidy).is_ok()).count())
}

/// The run's demonstrations, by the step from which they are drawn. Users may add lines; an invalid one is reported and
/// skipped.
fn read_by_hand(
    path: &Path,
    text: TurnText,
    (tokenizer, context): (&Tokenizer, usize),
    notes: &mut Vec<String>,
) -> Result<Vec<(u64, Example)>, TrainError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = by_hand_bytes(path)?;
    let mut found = Vec::new();
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty()) {
        let mut pass = |why: String| notes.push(format!("{} line {}: passed over: {why}", path.display(), i + 1));
        let conversation = match read_demonstration(line, text) {
            Ok(conversation) => conversation,
            Err(why) => {
                pass(why);
                continue;
            }
        };
        let example = encode(&conversation, tokenizer)?;
        if example.ids.len() > context + 1 {
            pass(format!("it has {} tokens, more than the context of {context}", example.ids.len()));
            continue;
        }
        let step = serde_json::from_slice::<Mark>(line).map_or(0, |m| m.step);
        found.push((step, example));
    }
    found.sort_by_key(|(step, _)| *step);
    Ok(found)
}
