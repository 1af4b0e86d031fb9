//! The corpus compiled into the binary, so that a first run needs no file and no network.

pub mod rules;

use serde::Deserialize;

use self::rules::Rule;
use crate::data::{
    chat::{
        Conversation,
        examples::{ChatSource, ExampleSet},
        reader::read_chats,
    },
    document::Source,
    error::DataError,
    preference::{Preference, read_preferences},
    read::{self, Format},
    tokenizer::Tokenizer,
};

/// A prompt that is completed repeatedly while the model learns, with the expected continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The prompt.
    pub prompt: &'static str,
    /// Its continuation in the corpus.
    pub expected: &'static str,
    /// Whether the text is trained on, so that the probe measures recall.
    pub recall: bool,
}

/// The default probes. The text of the first is in no built-in source and is removed from the user's: it shows how much
/// of the second is recall.
pub const PROBES: &[Probe] = &[
    Probe {
        prompt: "人闲桂花落，", expected: "夜静春山空。月出惊山鸟，时鸣春涧中。", recall: false
    },
    Probe {
        prompt: "春眠不觉晓，", expected: "处处闻啼鸟。夜来风雨声，花落知多少。", recall: true
    },
];

struct File {
    name: &'static str,
    format: Format,
    text: &'static str,
    /// Share of drawn tokens. The short poems have a much larger share than their size, so that a newcomer can watch
    /// them being memorised.
    weight: f64,
    /// Whether documents may be held out; false for texts that are to be memorised.
    hold_out: bool,
}

const FILES: &[File] = &[
    File {
        name: "poems-short",
        format: Format::JsonLines,
        text: include_str!("../../../assets/corpus/poems-short.jsonl"),
        weight: 0.35,
        hold_out: false,
    },
    File {
        name: "tang300",
        format: Format::JsonLines,
        text: include_str!("../../../assets/corpus/tang300.jsonl"),
        weight: 0.25,
        hold_out: true,
    },
    File {
        name: "classical",
        format: Format::Text,
        text: include_str!("../../../assets/corpus/classical.txt"),
        weight: 0.15,
        hold_out: true,
    },
    File {
        name: "modern-zh",
        format: Format::Text,
        text: include_str!("../../../assets/corpus/modern-zh.txt"),
        weight: 0.15,
        hold_out: true,
    },
    File {
        name: "english",
        format: Format::Text,
        text: include_str!("../../../assets/corpus/english.txt"),
        weight: 0.10,
        hold_out: true,
    },
];

/// The built-in sources' names and default weights.
pub fn weights() -> Vec<(&'static str, f64)> {
    FILES.iter().map(|f| (f.name, f.weight)).collect()
}

/// The built-in sources with their default weights.
pub fn sources() -> Result<Vec<Source>, DataError> {
    let source = |file: &File| {
        Ok(Source {
            name: file.name.to_owned(),
            documents: read::read(file.format, file.text.as_bytes())?.items,
            weight: file.weight,
            hold_out: file.hold_out,
        })
    };
    FILES.iter().map(source).collect()
}

/// The full texts of the probes that are to be memorised; they are never held out.
pub fn protected() -> Vec<String> {
    PROBES.iter().filter(|p| p.recall).map(|p| format!("{}{}", p.prompt, p.expected)).collect()
}

/// A question that is asked repeatedly during fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatProbe {
    /// The task that it belongs to.
    pub task: &'static str,
    /// The question, which is in no training file.
    pub prompt: &'static str,
    /// The reference answer.
    pub expected: &'static str,
}

/// The default questions for the built-in conversations.
pub const CHAT_PROBES: &[ChatProbe] = &[
    ChatProbe { task: "zh-en", prompt: "翻译：我喜欢喝茶。", expected: "I like to drink tea." },
    ChatProbe { task: "en-zh", prompt: "翻译：Where do you want to go?", expected: "你想去哪里？" },
];

struct ChatFile {
    name: &'static str,
    train: &'static str,
    held_out: &'static str,
    /// Share of drawn rows.
    weight: f64,
}

macro_rules! chat_file {
    ($name:literal, $weight:literal) => {
        ChatFile {
            name: $name,
            train: include_str!(concat!("../../../assets/sft/train/", $name, ".jsonl")),
            held_out: include_str!(concat!("../../../assets/sft/heldout/", $name, ".jsonl")),
            weight: $weight,
        }
    };
}

/// Translation has most of the rows: it is the task that a model of this size can visibly learn.
const CHATS: &[ChatFile] = &[
    chat_file!("zh-en", 0.32),
    chat_file!("en-zh", 0.23),
    chat_file!("translate-free", 0.12),
    chat_file!("rewrite", 0.16),
    chat_file!("qa", 0.07),
    chat_file!("continue", 0.02),
    chat_file!("recite", 0.02),
    chat_file!("chat", 0.06),
];

fn read_conversations(text: &str) -> Result<Vec<Conversation>, DataError> {
    Ok(read_chats(Format::JsonLines, text.as_bytes())?.items)
}

/// The built-in training conversations.
pub fn conversations() -> Result<Vec<Conversation>, DataError> {
    let all: Result<Vec<_>, _> = CHATS.iter().map(|file| read_conversations(file.train)).collect();
    Ok(all?.concat())
}

/// The built-in conversations for rows of `context` tokens, one source per task.
pub fn chats(tokenizer: &Tokenizer, context: usize) -> Result<Vec<ExampleSet>, DataError> {
    let set = |file: &ChatFile| {
        let source = ChatSource {
            name: file.name.to_owned(),
            conversations: read_conversations(file.train)?,
            weight: file.weight,
            hold_out: false,
            split: Vec::new(),
        };
        ExampleSet::given(&source, read_conversations(file.held_out)?, (tokenizer, context), &|| Ok(()))
    };
    CHATS.iter().map(set).collect()
}

/// A question of a task that has a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPrompt {
    /// The task, named by its rule.
    pub task: Rule,
    /// The question.
    pub prompt: String,
}

const PAIRS: &str = include_str!("../../../assets/preference/pairs.jsonl");
const RANKED: &str = include_str!("../../../assets/preference/ranked.jsonl");
const HELD_OUT_PAIRS: &str = include_str!("../../../assets/preference/heldout.jsonl");
const PROMPTS: &str = include_str!("../../../assets/preference/prompts.jsonl");
const JUDGE: &str = include_str!("../../../assets/preference/judge.jsonl");

/// The built-in training pairs, including rankings. A tenth of the labels in `pairs.jsonl` are wrong on purpose.
pub fn preferences() -> Result<Vec<Preference>, DataError> {
    let mut all = read_preferences(Format::JsonLines, PAIRS.as_bytes())?.pairs.items;
    all.extend(read_preferences(Format::JsonLines, RANKED.as_bytes())?.pairs.items);
    Ok(all)
}

/// The built-in held-out pairs; every label agrees with the rule.
pub fn held_out_preferences() -> Result<Vec<Preference>, DataError> {
    Ok(read_preferences(Format::JsonLines, HELD_OUT_PAIRS.as_bytes())?.pairs.items)
}

/// The built-in questions for rollouts.
pub fn prompts() -> Result<Vec<TaskPrompt>, DataError> {
    read_prompts(PROMPTS)
}

/// The built-in questions for the final evaluation; no stage trains on them.
pub fn judge_prompts() -> Result<Vec<TaskPrompt>, DataError> {
    read_prompts(JUDGE)
}

fn read_prompts(text: &str) -> Result<Vec<TaskPrompt>, DataError> {
    #[derive(Deserialize)]
    struct Record {
        task: String,
        prompt: String,
    }
    let prompt = |line: &str| {
        let record: Record =
            serde_json::from_str(line).map_err(|e| DataError::Preferences(format!("a built-in question: {e}")))?;
        let task = Rule::of_task(&record.task)
            .ok_or_else(|| DataError::Preferences(format!("there is no rule named {:?}", record.task)))?;
        Ok(TaskPrompt { task, prompt: record.prompt })
    };
    text.lines().map(prompt).collect()
}
