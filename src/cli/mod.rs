//! The command line: one verb a file.
//!
//! `--json` prints one JSON object a line on stdout and nothing else there; progress and errors go to
//! stderr. Exit codes: 0 done, 1 the work failed, 2 bad usage or input, 3 run locked, 4 device or
//! memory, 101 a bug.

mod adapters;
mod bench;
mod check;
mod data;
mod failure;
mod generate;
mod heap;
mod ids;
mod output;
mod overfit;
mod recipe;
mod score;
mod signals;
mod train;
mod workbench;
mod writer;

use std::{collections::HashMap, process::ExitCode};

use clap::{
    Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub(crate) use failure::{Failure, Outcome};

use crate::{
    base::{clean, panics},
    compute::{Device, Opening, Precision},
};

/// danlu（丹炉）: train a small ChatGPT in the terminal and watch it learn.
#[derive(Parser)]
#[command(name = "danlu", version, about, subcommand_required = false)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    workbench: workbench::Workbench,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Options that every verb takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Engine: auto, cpu, or any part of an adapter's name
    #[arg(long, global = true, default_value = "auto")]
    pub adapter: String,
    /// Language of the screen: zh or en
    #[arg(long, global = true)]
    pub lang: Option<String>,
    /// Type of activations and products: auto, f32, or f16 where the adapter has it
    #[arg(long, global = true, default_value = "auto")]
    pub precision: String,
    /// Seed of everything random
    #[arg(long, global = true)]
    pub seed: Option<u64>,
}

#[derive(Subcommand)]
enum Verb {
    /// Train one stage without a screen; goes on from the newest checkpoint
    Train(train::Train),
    /// All stages unattended, from random weights to PPO, with a report; goes on from where it stopped
    Recipe(recipe::Recipe),
    /// Continue a text (or token ids) with a run's newest checkpoint or a model's folder
    Generate(generate::Generate),
    /// Clean and tokenise a run's text: the funnel, the mix, the tokenizer
    Data(data::Data),
    /// Log-probabilities of every next token, and the loss
    Score(score::Score),
    /// Train on one batch at a constant rate: loss and gradient norms
    Overfit(overfit::Overfit),
    /// List adapters and say which one `auto` takes
    Adapters(adapters::Adapters),
    /// Compare every kernel with its CPU twin on this adapter
    Check(check::Check),
    /// Measure a training step on random tokens
    Bench(bench::Bench),
}

/// Parses, runs, and turns the result into an exit code.
pub fn main() -> ExitCode {
    let code = verb();
    writer::finish();
    code
}

fn verb() -> ExitCode {
    signals::outlive_the_file_size_limit();
    std::panic::set_hook(Box::new(|info| {
        if !panics::expected() {
            output::panicked(info);
        }
    }));
    let command = command();
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    if let Some(what) = missing_value(&command, arguments) {
        output::error(&what);
        return ExitCode::from(2);
    }
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => {
            if let Some(what) = no_number(&e) {
                output::error(&what);
                return ExitCode::from(2);
            }
            let code = if e.use_stderr() { 2 } else { 0 };
            // Nothing is left to report to if the terminal is gone.
            let _ = said_cleanly(e).print();
            return ExitCode::from(code);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure.to_string());
            ExitCode::from(failure.code)
        }
    }
}

/// The command line; a value may begin with `-`, as texts, paths and numbers do.
fn command() -> clap::Command {
    let values = |arg: Arg| {
        // One whose value may be left out is followed by the next option.
        let always = arg.get_num_args().is_none_or(|n| n.min_values() > 0);
        if arg.get_action().takes_values() && always { arg.allow_hyphen_values(true) } else { arg }
    };
    Cli::command().mut_args(values).mut_subcommands(|verb| verb.mut_args(values))
}

/// An option that is followed by another one instead of its value. A prompt may be any text.
fn missing_value(command: &clap::Command, arguments: impl Iterator<Item = String>) -> Option<String> {
    let all = command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments));
    let options: HashMap<String, bool> = all
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), arg.is_allow_hyphen_values_set())))
        .chain([("--help".to_owned(), false), ("--version".to_owned(), false)])
        .collect();
    let mut waiting: Option<String> = None;
    for argument in arguments {
        match waiting.take() {
            Some(option) if option != "--prompt" && options.contains_key(&argument) => {
                return Some(format!(
                    "{option} is followed by the option {argument} and has no value; give one, or write {option}={argument} if that is the value"
                ));
            }
            Some(_) => {}
            None => waiting = options.get(&argument).is_some_and(|takes| *takes).then_some(argument),
        }
    }
    None
}

/// An error about a value that is no number, in plain words.
fn no_number(error: &clap::Error) -> Option<String> {
    let (Some(ContextValue::String(option)), Some(ContextValue::String(value)), ErrorKind::ValueValidation) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue), error.kind())
    else {
        return None;
    };
    let reason = std::error::Error::source(error)?.to_string();
    let whole = ["invalid digit", "integer", "is not in", "too large", "too small"].iter().any(|w| reason.contains(w));
    let expected = if reason.contains("float") {
        "a number"
    } else if whole {
        "a whole number, 0 or more"
    } else {
        return None;
    };
    let option = option.split(' ').next().unwrap_or(option);
    Some(format!("{option} is {value:?}; expected {expected}"))
}

/// The parser's error without what an argument must not do to a terminal: the same arguments, clean, fail in
/// the same way. They may come out of a script's loop over file names.
fn said_cleanly(error: clap::Error) -> clap::Error {
    let clean = std::env::args_os().map(|argument| clean::line(&argument.to_string_lossy()));
    match command().try_get_matches_from(clean).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Err(same) if same.kind() == error.kind() => same,
        _ => {
            let text = clean::block(&error.to_string());
            clap::Error::raw(error.kind(), text.strip_prefix("error: ").unwrap_or(&text).to_owned())
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let common = cli.common;
    common.check()?;
    heap::begin()?;
    // Made at its first use it would panic where the system has no thread left.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|e| Failure::thread("the arithmetic", &e))?;
    match cli.verb {
        Some(Verb::Train(verb)) => verb.run(&common),
        Some(Verb::Recipe(verb)) => verb.run(&common),
        Some(Verb::Generate(verb)) => verb.run(&common),
        Some(Verb::Data(verb)) => verb.run(&common),
        Some(Verb::Score(verb)) => verb.run(&common),
        Some(Verb::Overfit(verb)) => verb.run(&common),
        Some(Verb::Adapters(verb)) => verb.run(&common),
        Some(Verb::Check(verb)) => verb.run(&common),
        Some(Verb::Bench(verb)) => verb.run(&common),
        None => cli.workbench.run(&common),
    }
}

impl Common {
    fn check(&self) -> Outcome {
        self.precision()?;
        if let Some(lang) = self.lang.as_deref().filter(|l| !["zh", "en"].contains(l)) {
            return Err(Failure::usage(format!("--lang is {lang:?}; zh and en are there")));
        }
        Ok(())
    }

    fn precision(&self) -> Result<Precision, Failure> {
        match self.precision.as_str() {
            "auto" => Ok(Precision::Auto),
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            other => Err(Failure::usage(format!("--precision is {other:?}; auto, f32 and f16 are there"))),
        }
    }

    /// Opens the chosen engine.
    pub(crate) fn device(&self) -> Result<Device, Failure> {
        let opening = Opening { precision: self.precision()?, ..Opening::default() };
        Ok(Device::open_with(&self.adapter, opening)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Cli, String> {
        let line = line.iter().map(|s| (*s).to_owned());
        if let Some(what) = missing_value(&command(), line.clone()) {
            return Err(what);
        }
        let parsed = command().try_get_matches_from(["danlu".to_owned()].into_iter().chain(line));
        let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
        parsed.map_err(|e| no_number(&e).unwrap_or_else(|| e.to_string()))
    }

    #[test]
    fn a_value_may_begin_with_a_dash() {
        for prompt in ["- buy tea", "-5 degrees", "--", "-", "--json", "--no such option", "-h"] {
            let cli = parse(&["generate", "--model", "-m", "--prompt", prompt, "--temperature", "-1"]).unwrap();
            let Some(Verb::Generate(verb)) = cli.verb else { panic!("no generate") };
            assert_eq!(verb.asked(), Some(prompt));
        }
        for line in [
            &["train", "--run", "-runs/a", "--set", "-x=1", "--from", "-m"][..],
            &["recipe", "--run", "-a", "--set", "sft.steps=-1"],
            &["score", "--model", "-m", "--ids", "-ids.json"],
            &["--run", "-a", "--adapter", "-cpu"],
            &["data", "--run", "-a", "--dropped", "--json"],
        ] {
            assert!(parse(line).is_ok(), "{line:?}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn a_missing_value_and_a_wrong_number_are_told() {
        let error = |line: &[&str]| parse(line).err().unwrap_or_default();
        assert!(error(&["train", "--run", "--json"]).contains("--run is followed by the option --json"));
        assert!(error(&["--adapter", "--run", "a"]).contains("--adapter is followed"));
        for (option, value) in [("--max-new-tokens", "-5"), ("--top-k", "-1"), ("--seed", "-3"), ("--top-k", "1.5")] {
            let text = error(&["generate", "--prompt", "a", option, value]);
            assert_eq!(text, format!("{option} is {value:?}; expected a whole number, 0 or more"));
        }
        assert_eq!(error(&["generate", "--prompt", "a", "--top-p", "most"]), "--top-p is \"most\"; expected a number");
        assert!(error(&["bench", "--layers", "-1"]).contains("0 or more"));
        assert!(error(&["train", "--steps", "99999999999999999999999"]).contains("0 or more"));
    }
}
