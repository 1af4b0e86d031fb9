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

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub(crate) use failure::{Failure, Outcome};

use crate::compute::{Device, Opening, Precision};

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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { 2 } else { 0 };
            // Nothing is left to report to if the terminal is gone.
            let _ = e.print();
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

fn run(cli: Cli) -> Outcome {
    let common = cli.common;
    common.check()?;
    heap::begin()?;
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
