//! The corpus compiled into the binary, so that a first run needs no file and no network.

use crate::data::{
    error::DataError,
    reader::{self, Format},
    source::Source,
};

/// A prompt completed again and again while the model learns, and what it should become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The prompt.
    pub prompt: &'static str,
    /// What follows it in the corpus.
    pub expected: &'static str,
}

/// The probes of a run on the built-in corpus.
pub const PROBES: &[Probe] =
    &[Probe { prompt: "春眠不觉晓，", expected: "处处闻啼鸟。夜来风雨声，花落知多少。" }];

struct File {
    name: &'static str,
    format: Format,
    text: &'static str,
    /// Share of drawn tokens. The short poems weigh far more than their size: they are what a
    /// newcomer watches being learned by heart.
    weight: f64,
    /// Nothing is held out of what is to be learned by heart.
    hold_out: bool,
}

const FILES: &[File] = &[
    File {
        name: "poems-short",
        format: Format::JsonLines,
        text: include_str!("../../assets/corpus/poems-short.jsonl"),
        weight: 0.35,
        hold_out: false,
    },
    File {
        name: "tang300",
        format: Format::JsonLines,
        text: include_str!("../../assets/corpus/tang300.jsonl"),
        weight: 0.25,
        hold_out: true,
    },
    File {
        name: "classical",
        format: Format::Text,
        text: include_str!("../../assets/corpus/classical.txt"),
        weight: 0.15,
        hold_out: true,
    },
    File {
        name: "modern-zh",
        format: Format::Text,
        text: include_str!("../../assets/corpus/modern-zh.txt"),
        weight: 0.15,
        hold_out: true,
    },
    File {
        name: "english",
        format: Format::Text,
        text: include_str!("../../assets/corpus/english.txt"),
        weight: 0.10,
        hold_out: true,
    },
];

/// The built-in sources with their default weights.
pub fn sources() -> Result<Vec<Source>, DataError> {
    let source = |file: &File| {
        Ok(Source {
            name: file.name.to_owned(),
            documents: reader::read(file.format, file.text.as_bytes())?.documents,
            weight: file.weight,
            hold_out: file.hold_out,
        })
    };
    FILES.iter().map(source).collect()
}

/// The probes' texts in full, which are never held out.
pub fn protected() -> Vec<String> {
    PROBES.iter().map(|p| format!("{}{}", p.prompt, p.expected)).collect()
}
