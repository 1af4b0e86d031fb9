//! The command line: one verb a file, in `verbs/`.
//!
//! `--json` prints one JSON object a line on stdout and nothing else there; progress and errors go to
//! stderr. Exit codes: 0 done, 1 the work failed, 2 bad usage or input, 3 run locked, 4 device or
//! memory, 101 a bug.

mod arguments;
mod common;
mod failure;
mod heap;
mod log;
mod output;
mod quiet;
mod reading;
mod screen;
mod signals;
mod verbs;
mod writer;

use std::process::ExitCode;

pub(crate) use common::{Common, RunArgs};
pub(crate) use failure::{Failure, Outcome};
use log::Log;

use crate::base::panics;

/// Parses the arguments, runs the verb, and returns the exit code.
pub fn main() -> ExitCode {
    let code = parsed_and_run();
    writer::finish();
    code
}

fn parsed_and_run() -> ExitCode {
    signals::outlive_the_file_size_limit();
    std::panic::set_hook(Box::new(|info| {
        if !panics::expected() {
            output::panicked(info);
        }
    }));
    let result = match arguments::parse() {
        Ok(cli) => run(cli),
        Err(code) => return code,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure.to_string());
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: arguments::Cli) -> Outcome {
    let common = cli.common;
    common.check()?;
    heap::begin()?;
    // rayon would panic on first use if the system has no thread left.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|e| Failure::thread("the arithmetic", &e))?;
    let log = Log::begin(cli.verb.is_none())?;
    match cli.verb {
        Some(verb) => verb.run(&common),
        None => cli.workbench.run(&common, &log),
    }
}
