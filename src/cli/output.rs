//! The only file that prints. All printed text is cleaned: see [`clean`].

use std::{
    io::{self, Write},
    panic::PanicHookInfo,
};

use serde::Serialize;

use super::{
    Failure, Outcome,
    writer::{self, Stream},
};
use crate::base::{clean, panics};

/// Longest line on stderr in bytes; longer ones are cut.
const LONGEST_NOTE: usize = 16 << 10;

/// One JSON object on stdout, flushed. A closed pipe ends the process quietly.
pub(crate) fn json(value: &impl Serialize) {
    try_json(value).unwrap_or_else(|e| lost(&e));
}

/// The same for callers that must save first: it returns the error.
pub(crate) fn try_json(value: &impl Serialize) -> io::Result<()> {
    let mut line = io::BufWriter::with_capacity(CHUNK, Stdout);
    clean::write_json(&mut line, value)?;
    line.write_all(b"\n")?;
    line.flush()
}

/// Bytes of a line written at once: an event is shorter, a result may be hundreds of times as long.
const CHUNK: usize = 1 << 18;

/// Cleaned text on its way to stdout.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One line on stdout, flushed.
pub(crate) fn text(line: &str) {
    put(&(clean::line(line) + "\n"));
}

/// Lines on stdout, flushed.
pub(crate) fn lines(text: &str) {
    put(&clean::block(text));
}

/// Streams a text to stdout, flushing each piece. Ordinary writing is unchanged, also when a character arrives in two
/// pieces; use [`json`] for text that must be exact.
#[derive(Default)]
pub(crate) struct Flowing(clean::Cleaner);

impl Flowing {
    pub(crate) fn push(&mut self, piece: &str) {
        put(&self.0.push(piece));
    }

    /// Writes what is held back and a line end.
    pub(crate) fn finish(mut self) {
        put(&(self.0.finish() + "\n"));
    }
}

fn put(clean: &str) {
    write(clean.as_bytes()).unwrap_or_else(|e| lost(&e));
}

fn write(bytes: &[u8]) -> io::Result<()> {
    writer::write(Stream::Out, bytes)
}

/// Ends the process: quietly if the reader closed the pipe, with a failure if output was lost.
fn lost(e: &io::Error) {
    match unwritten(e) {
        Ok(()) => writer::exit(0),
        Err(failure) => {
            error(&failure.to_string());
            writer::exit(failure.code.into());
        }
    }
}

/// The outcome of an error on stdout: a closed pipe is not a failure, a full disk is.
pub(crate) fn unwritten(e: &io::Error) -> Outcome {
    if e.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(Failure::work(format!("cannot write to stdout: {e}; check where it is redirected (free space, permissions)")))
}

/// One line of progress on stderr.
pub(crate) fn note(line: &str) {
    let mut line = clean::line(line);
    if line.len() > LONGEST_NOTE {
        line.truncate(line.floor_char_boundary(LONGEST_NOTE));
        line.push('⋯');
    }
    write_note(&line);
}

/// A panic's message, on stderr.
pub(crate) fn panicked(info: &PanicHookInfo<'_>) {
    write_note(&panics::described(info));
}

fn write_note(clean: &str) {
    // Lost progress output is no reason to stop.
    let _ = writer::write(Stream::Err, format!("{clean}\n").as_bytes());
}

/// One error line on stderr.
pub(crate) fn error(line: &str) {
    note(&format!("danlu: {line}"));
}
