//! `danlu completions`: the script with which a shell completes verbs and options.

use clap::Args;
use clap_complete::Shell;

use crate::cli::{Outcome, arguments, output};

/// Print the script with which a shell completes verbs and options
#[derive(Args)]
pub(in crate::cli) struct Completions {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

impl Completions {
    pub(in crate::cli::verbs) fn run(&self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut arguments::command(), "danlu", &mut script);
        output::lines(&String::from_utf8_lossy(&script));
        Ok(())
    }
}
