//! `danlu completions` and the groups of `danlu --help`.

use std::process::Command;

use crate::common::{DANLU, Done};

fn run(args: &[&str]) -> Done {
    Command::new(DANLU).args(args).output().unwrap().into()
}

#[test]
fn every_shell_gets_a_script_with_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(&["completions", shell]);
        for word in ["inspect", "estimate", "export", "--gguf"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(done.good().out.contains(word), "{shell}: {word}");
        }
    }
    run(&["completions", "tcsh"]).refused(2, &["tcsh", "bash, elvish, fish"]);
    // bash itself reads it.
    let script = run(&["completions", "bash"]).out;
    let checked = Command::new("bash").args(["-n", "-c", &script]).output();
    assert!(checked.is_ok_and(|o| o.status.success() && o.stderr.is_empty()));
}

#[test]
fn help_is_in_groups() {
    let done = run(&["--help"]);
    for group in ["Train:\n  train ", "Look:\n  runs ", "Models:\n  generate ", "Doors:\n  export ", "Options:\n"] {
        assert!(done.good().out.contains(group), "{group:?} expected\n{}", done.out);
    }
}
