//! The verbs, one file each: its options, and what it does.

mod adapters;
mod bench;
mod check;
mod config;
mod data;
mod doors;
mod generate;
mod ids;
mod overfit;
mod recipe;
mod score;
mod train;
mod tree;
mod unattended;
mod workbench;

use clap::Subcommand;

pub(super) use self::workbench::Workbench;

use super::{Common, Outcome};

/// The verbs; without one the workbench opens.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Train one stage without a screen; continues from the newest checkpoint
    Train(train::Train),
    /// All stages unattended, from random weights to PPO, with a report; continues where it stopped
    Recipe(recipe::Recipe),
    /// Continue a text (or token ids) with a run's newest checkpoint or a model's folder
    Generate(generate::Generate),
    /// Clean and tokenize a run's text: the funnel, the mix, the tokenizer
    Data(data::Data),
    /// Every key of run.toml with its value, default and meaning, as TOML that can be read back
    Config(config::Config),
    /// Log-probabilities of every next token, and the loss
    Score(score::Score),
    /// Train on one batch at a constant rate: loss and gradient norms
    Overfit(overfit::Overfit),
    /// The runs of ./runs and their checkpoints: lineage, what was changed, held-out figures, the newest probe, bytes
    Runs(tree::Runs),
    /// A new run that begins with a checkpoint of another one, with other settings if some are given
    Fork(tree::Fork),
    /// Up to four runs side by side: settings that differ, held-out figures at the same steps, the best ones, the probes
    Compare(tree::Compare),
    /// A run's files on the screen, read only, also while another process trains it
    Replay(tree::Replay),
    /// A training of another process, read only, as it grows: a run, an exported stage, a log of Trainer or TRL, or a stream
    Watch(tree::Watch),
    /// Look into a file or folder of weights: tensors, totals, metadata, tokenizer; only headers are read
    Inspect(doors::inspect::Inspect),
    /// Write a model as GGUF (llama.cpp, Ollama) or as a clean Hugging Face folder, a run's logs or data, or a stage for TRL
    Export(doors::export::Export),
    /// Take a stage back that was trained elsewhere after export --for: a checkpoint with its lineage, and its curve
    Import(doors::import::Import),
    /// What a model costs: parameters, operations, bytes, time, energy and money, with every assumption
    Estimate(doors::estimate::Estimate),
    /// List adapters and which one `auto` picks
    Adapters(adapters::Adapters),
    /// Compare every kernel with its CPU twin on this adapter
    Check(check::Check),
    /// Measure a training step on random tokens
    Bench(bench::Bench),
    /// Print the script with which a shell completes verbs and options
    Completions(doors::completions::Completions),
}

/// The verbs as `danlu --help` groups them.
pub(super) const GROUPS: [(&str, &[&str]); 4] = [
    ("Train", &["train", "recipe", "data", "config", "fork"]),
    ("Look", &["runs", "compare", "replay", "watch", "inspect", "estimate", "adapters", "check", "bench"]),
    ("Models", &["generate", "score", "overfit"]),
    ("Doors", &["export", "import", "completions"]),
];

impl Verb {
    /// Runs the verb.
    pub(super) fn run(self, common: &Common) -> Outcome {
        match self {
            Self::Train(verb) => verb.run(common),
            Self::Recipe(verb) => verb.run(common),
            Self::Generate(verb) => verb.run(common),
            Self::Data(verb) => verb.run(common),
            Self::Config(verb) => verb.run(common),
            Self::Score(verb) => verb.run(common),
            Self::Overfit(verb) => verb.run(common),
            Self::Runs(verb) => verb.run(common),
            Self::Fork(verb) => verb.run(common),
            Self::Compare(verb) => verb.run(common),
            Self::Replay(verb) => verb.run(common),
            Self::Watch(verb) => verb.run(common),
            Self::Inspect(verb) => verb.run(common),
            Self::Export(verb) => verb.run(common),
            Self::Import(verb) => verb.run(common),
            Self::Estimate(verb) => verb.run(common),
            Self::Adapters(verb) => verb.run(common),
            Self::Check(verb) => verb.run(common),
            Self::Bench(verb) => verb.run(common),
            Self::Completions(verb) => verb.run(),
        }
    }

    /// The prompt of `generate`.
    #[cfg(test)]
    pub(super) fn prompt(&self) -> Option<&str> {
        match self {
            Self::Generate(verb) => verb.asked(),
            _ => None,
        }
    }
}
