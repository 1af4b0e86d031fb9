//! Lines of UTF-8 in bounded memory, with the place of the first bad byte.

use std::io::{BufRead, BufReader, Read};

use crate::data::error::DataError;

/// Bytes a line of conversations or preferences may have.
pub(in crate::data) const LONGEST_LINE: usize = 1 << 20;

/// The buffer of a reading.
pub(in crate::data) fn buffered<R: Read>(input: R) -> BufReader<R> {
    BufReader::with_capacity(1 << 16, input)
}

/// Lines, counted.
pub(in crate::data) struct Lines<R> {
    input: BufReader<R>,
    /// Bytes read.
    pub(in crate::data) offset: u64,
    /// Lines read.
    pub(in crate::data) line: u64,
    limit: usize,
    buffer: Vec<u8>,
}

/// One line, or the reason it cannot be taken.
pub(in crate::data) enum Line<'a> {
    Text(&'a str),
    TooLong,
    /// With the offset of the first bad byte within the line, from 0.
    NotUtf8(usize),
}

impl<R: Read> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub(in crate::data) fn new(input: BufReader<R>, limit: usize) -> Self {
        Self { input, offset: 0, line: 0, limit, buffer: Vec::new() }
    }

    /// Bytes a line may have.
    pub(in crate::data) fn limit(&self) -> usize {
        self.limit
    }

    /// The next line without its ending (`\n` or `\r\n`) and without a leading byte order mark.
    pub(in crate::data) fn next(&mut self) -> Result<Option<Line<'_>>, DataError> {
        self.buffer.clear();
        let start = self.offset;
        let limit = self.limit as u64 + 2;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.offset += read as u64;
        self.line += 1;
        if read as u64 == limit && self.buffer.last() != Some(&b'\n') {
            self.skip_line()?;
            return Ok(Some(Line::TooLong));
        }
        let mut line: &[u8] = &self.buffer;
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) => return Ok(Some(Line::NotUtf8(e.valid_up_to()))),
        };
        let text = if start == 0 { text.strip_prefix('\u{FEFF}').unwrap_or(text) } else { text };
        Ok(Some(Line::Text(text)))
    }

    /// Reads on to the end of an overlong line without keeping it.
    fn skip_line(&mut self) -> Result<(), DataError> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(());
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let used = end.map_or(chunk.len(), |at| at + 1);
            self.input.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// The words for a line that is not UTF-8.
pub(in crate::data) fn not_utf8(at: usize) -> String {
    format!("not UTF-8: byte {} of it does not continue a character", at + 1)
}
