//! The only place that prints. All printed text is cleaned: see [`clean`].

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

/// Bytes of a line on stderr; more is cut, for it is there to be read.
const LONGEST_NOTE: usize = 16 << 10;

/// One JSON object on stdout, flushed. A closed pipe ends the process quietly.
pub(crate) fn json(value: &impl Serialize) {
    try_json(value).unwrap_or_else(|e| lost(&e));
}

/// The same for one who has something to save first: the error is the caller's.
pub(crate) fn try_json(value: &impl Serialize) -> io::Result<()> {
    let mut line = io::BufWriter::with_capacity(CHUNK, Stdout);
    clean::write_json(&mut line, value)?;
    line.write_all(b"\n")?;
    line.flush()
}

/// Bytes of a line that are written at once: a line of events is less, a result may be hundreds of times as long.
const CHUNK: usize = 1 << 18;

/// What is clean already, on its way out.
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

/// A text on stdout as it comes, flushed piece by piece. What is ordinary writing arrives to the byte, also
/// where a character of two parts comes in two pieces; [`json`] is the way for a text that must arrive exactly.
#[derive(Default)]
pub(crate) struct Flowing(clean::Cleaner);

impl Flowing {
    pub(crate) fn push(&mut self, piece: &str) {
        put(&self.0.push(piece));
    }

    /// Writes what is held back, and a line end.
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

/// Ends the process: quietly if the reader closed the pipe, with a failure if a reader would miss something.
fn lost(e: &io::Error) {
    match unwritten(e) {
        Ok(()) => writer::exit(0),
        Err(failure) => {
            error(&failure.to_string());
            writer::exit(failure.code.into());
        }
    }
}

/// What an error of stdout comes to: a closed pipe is no failure, a full disk behind it is.
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
    tell(&line);
}

/// What a panic says, on stderr.
pub(crate) fn panicked(info: &PanicHookInfo<'_>) {
    tell(&panics::described(info));
}

fn tell(clean: &str) {
    // Progress without a reader is no reason to stop.
    let _ = writer::write(Stream::Err, format!("{clean}\n").as_bytes());
}

/// One line of error on stderr.
pub(crate) fn error(line: &str) {
    note(&format!("danlu: {line}"));
}
