//! The only place that prints.

use std::io::Write;

use serde::Serialize;

/// One JSON object on stdout, flushed. A closed pipe ends the process quietly.
pub(crate) fn json(value: &impl Serialize) {
    let line = serde_json::to_string(value).unwrap_or_else(|e| format!("{{\"event\":\"error\",\"text\":\"{e}\"}}"));
    text(&line);
}

/// One line on stdout, flushed.
pub(crate) fn text(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A piece of text on stdout without a line end, flushed.
pub(crate) fn piece(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// One line of progress on stderr.
pub(crate) fn note(line: &str) {
    // Progress that nobody reads is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One line of error on stderr.
pub(crate) fn error(line: &str) {
    note(&format!("danlu: {line}"));
}
