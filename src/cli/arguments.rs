//! Parses the command line, with errors that name the option and what it expects.

use std::{collections::HashMap, process::ExitCode};

use clap::{
    Arg, CommandFactory as _, FromArgMatches as _, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Common, output,
    verbs::{GROUPS, Verb, Workbench},
};
use crate::{
    base::NoStage,
    train::{config::NoStart, tree::NoPoint},
};

/// danlu（丹炉）: train a small ChatGPT in the terminal and watch it learn.
#[derive(Parser)]
#[command(name = "danlu", version, about, subcommand_required = false)]
pub(super) struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub workbench: Workbench,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Parses the arguments of the process; for an error or `--help` prints the message and returns the exit code.
pub(super) fn parse() -> Result<Cli, ExitCode> {
    let command = command();
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let bad_usage = |what: String| {
        output::error(&what);
        ExitCode::from(2)
    };
    if let Some(what) = missing_value(&command, arguments) {
        return Err(bad_usage(what));
    }
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|e| {
        if e.use_stderr() {
            return bad_usage(bad_value(&e).unwrap_or_else(|| sentence(&e)));
        }
        // If the terminal is gone there is nowhere to report to.
        let _ = e.print();
        ExitCode::SUCCESS
    })
}

/// The clap command; values may begin with `-`, as texts, paths and numbers do.
pub(super) fn command() -> clap::Command {
    let values = |arg: Arg| {
        // An option with an optional value may be followed by the next option.
        let always = arg.get_num_args().is_none_or(|n| n.min_values() > 0);
        let named = arg.get_long().is_some();
        if named && arg.get_action().takes_values() && always { arg.allow_hyphen_values(true) } else { arg }
    };
    let command = Cli::command().mut_args(values).mut_subcommands(|verb| verb.mut_args(values));
    let help =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}", grouped(&command));
    command.help_template(help)
}

/// The verbs in groups, each with its first line of help.
fn grouped(command: &clap::Command) -> String {
    let mut text = String::new();
    for (title, verbs) in GROUPS {
        text.extend([format!("{title}:\n")]);
        for name in verbs {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            text.extend([format!("  {name:<12} {}\n", about.map(ToString::to_string).unwrap_or_default())]);
        }
        text.push('\n');
    }
    text + "Without a verb the workbench opens. danlu VERB --help lists the options of a verb.\n\n"
}

/// An option followed by another one instead of its value. A prompt may be any text.
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

/// The error for a value that is not a number, a stage or a known word, in one sentence.
fn bad_value(error: &clap::Error) -> Option<String> {
    if let (
        ErrorKind::InvalidValue,
        Some(ContextValue::String(option)),
        Some(ContextValue::String(value)),
        Some(ContextValue::Strings(known)),
    ) = (
        error.kind(),
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
        error.get(ContextKind::ValidValue),
    ) {
        let option = option.split(' ').next().unwrap_or(option);
        if known.is_empty() {
            return Some(format!("{option} is {value:?}; give it a value"));
        }
        return Some(format!("{option} is {value:?}; expected one of {}", known.join(", ")));
    }
    let (Some(ContextValue::String(option)), Some(ContextValue::String(value)), ErrorKind::ValueValidation) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue), error.kind())
    else {
        return None;
    };
    let source = std::error::Error::source(error)?;
    if source.is::<NoStage>() || source.is::<NoStart>() || source.is::<NoPoint>() {
        return Some(source.to_string());
    }
    let reason = source.to_string();
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

/// The parser's error and its hints in one sentence.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // The usage is what --help prints. A value may have any lines, so only the last such line ends the message, and an
    // error about a value has no usage.
    let text = &text[..text.rfind("\n\nFor more information").unwrap_or(text.len())];
    let about_a_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let told = text.rfind("\n\nUsage: ").filter(|_| !about_a_value).unwrap_or(text.len());
    let usage = text[told..].trim_start().strip_prefix("Usage: ").unwrap_or_default();
    let verb = usage.split_whitespace().take_while(|word| !word.starts_with(['-', '[', '<'])).collect::<Vec<_>>();
    let mut said = String::new();
    for line in text[..told].lines().map(str::trim).filter(|line| !line.is_empty()) {
        let hint = line.strip_prefix("tip: ");
        if !said.is_empty() {
            said.push_str(if hint.is_some() { "; " } else { " " });
        }
        said.push_str(hint.unwrap_or(line));
    }
    let verb = if verb.is_empty() { "danlu".to_owned() } else { verb.join(" ") };
    format!("{said}; {verb} --help lists what is expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_sentence_with_its_hint() {
        for (line, words) in [
            (
                &["train", "--stpes", "3"][..],
                &["unexpected argument '--stpes' found", "'--steps'", "danlu train --help"][..],
            ),
            (&["trian"], &["'trian'", "danlu --help"]),
            (&["fork", "a"], &["--at <AT>", "danlu fork --help"]),
            (&["inspect"], &["<PATH>", "danlu inspect --help"]),
            (&["inspect", ""], &["<PATH> is \"\"; give it a value"]),
            (&["train", "--run", ""], &["--run is \"\"; give it a value"]),
            (&["inspect", "a", "b"], &["unexpected argument 'b'", "danlu inspect --help"]),
            (&["train", "--from", "a", "--start", "best"], &["'--from <FROM>' cannot be used with '--start <START>'"]),
            (&["export", "--step", "3"], &["--stage <STAGE>"]),
            (&["train", "--set", "a"], &["\"a\" is not key=value"]),
            (&["train", "--steps", "1", "--steps", "2"], &["cannot be used multiple times"]),
            (&["train", "--set", "a\n\nUsage: b\nc"], &["is not key=value", "danlu --help"]),
        ] {
            let said = parse(line).err().unwrap_or_default();
            assert!(words.iter().all(|word| said.contains(word)), "{line:?}: {said}");
            assert!(!said.contains(['\n', '\u{1b}']) && !said.contains("error:"), "{said:?}");
        }
    }

    fn parse(line: &[&str]) -> Result<Cli, String> {
        let line = line.iter().map(|s| (*s).to_owned());
        if let Some(what) = missing_value(&command(), line.clone()) {
            return Err(what);
        }
        let parsed = command().try_get_matches_from(["danlu".to_owned()].into_iter().chain(line));
        let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
        parsed.map_err(|e| bad_value(&e).unwrap_or_else(|| sentence(&e)))
    }

    #[test]
    fn help_lists_every_verb_once() {
        let command = command();
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        let mut all: Vec<&str> =
            command.get_subcommands().map(clap::Command::get_name).filter(|n| *n != "help").collect();
        listed.sort_unstable();
        all.sort_unstable();
        assert_eq!(listed, all);
    }

    #[test]
    fn a_value_may_begin_with_a_dash() {
        for prompt in ["- buy tea", "-5 degrees", "--", "-", "--json", "--no such option", "-h"] {
            let cli = parse(&["generate", "--model", "-m", "--prompt", prompt, "--temperature", "-1"]).unwrap();
            assert_eq!(cli.verb.unwrap().prompt(), Some(prompt));
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
    fn a_missing_value_and_a_wrong_number_are_errors() {
        let error = |line: &[&str]| parse(line).err().unwrap_or_default();
        assert!(error(&["train", "--run", "--json"]).contains("--run is followed by the option --json"));
        assert!(error(&["--adapter", "--run", "a"]).contains("--adapter is followed"));
        for (option, value) in [("--max-new-tokens", "-5"), ("--top-k", "-1"), ("--seed", "-3"), ("--top-k", "1.5")] {
            let text = error(&["generate", "--prompt", "a", option, value]);
            assert_eq!(text, format!("{option} is {value:?}; expected a whole number, 0 or more"));
        }
        assert_eq!(error(&["generate", "--prompt", "a", "--top-p", "most"]), "--top-p is \"most\"; expected a number");
        assert_eq!(error(&["export", "--metrics", "xml"]), "--metrics is \"xml\"; expected one of tensorboard, csv");
        assert!(error(&["completions", "tcsh"]).contains("<SHELL> is \"tcsh\"; expected one of bash"));
        assert!(error(&["bench", "--layers", "-1"]).contains("0 or more"));
        assert!(error(&["train", "--steps", "99999999999999999999999"]).contains("0 or more"));
    }
}
