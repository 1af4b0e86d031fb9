//! The only place that prints.

use std::io::{self, Write};

use serde::Serialize;

use super::{Failure, Outcome};

/// One JSON object on stdout, flushed. A closed pipe ends the process quietly.
pub(crate) fn json(value: &impl Serialize) {
    try_json(value).unwrap_or_else(|e| lost(&e));
}

/// The same for one who has something to save first: the error is the caller's.
pub(crate) fn try_json(value: &impl Serialize) -> io::Result<()> {
    write(&(serde_json::to_string(value)? + "\n"))
}

/// One line on stdout, flushed.
pub(crate) fn text(line: &str) {
    piece(&format!("{line}\n"));
}

/// A piece of text on stdout without a line end, flushed.
pub(crate) fn piece(text: &str) {
    write(text).unwrap_or_else(|e| lost(&e));
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Ends the process: quietly where nobody reads on, with a failure where a reader would miss something.
fn lost(e: &io::Error) {
    match unwritten(e) {
        Ok(()) => std::process::exit(0),
        Err(failure) => {
            error(&failure.to_string());
            std::process::exit(failure.code.into());
        }
    }
}

/// What an error of stdout comes to: a closed pipe is no failure, a full disk behind it is.
pub(crate) fn unwritten(e: &io::Error) -> Outcome {
    if e.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(Failure::work(format!(
        "stdout cannot be written: {e}; check where it is redirected to (free space, permissions)"
    )))
}

/// One line of progress on stderr.
pub(crate) fn note(line: &str) {
    // Progress that nobody reads is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One line of error on stderr.
pub(crate) fn error(line: &str) {
    note(&format!("danlu: {line}"));
}
