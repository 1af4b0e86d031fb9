//! Cutting a JSON array, or objects one after the other, into records without parsing them.
//!
//! A parser would end at the first fault, and hold the whole file. Here brackets are counted outside
//! strings, so that a record that is no JSON spoils only itself.

use std::io::BufRead;

use crate::data::{error::DataError, reader::LONGEST_LINE};

/// A record, or the reason there is none.
pub(super) enum Record<'a> {
    Whole(&'a [u8]),
    TooLong,
    /// The input ended inside it.
    Unfinished,
    /// The input ended between records, but inside the array.
    Unclosed,
}

pub(super) struct Records<R> {
    input: R,
    offset: u64,
    buffer: Vec<u8>,
    /// Bytes of the record, which may be more than are kept.
    length: usize,
    /// Inside an array of records.
    in_array: bool,
    ended: bool,
}

/// Where a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a record.
    Between,
    /// In an object or an array, that many brackets deep.
    Nested(usize),
    /// In a string of such.
    Text(usize),
    /// After a backslash of such.
    Escape(usize),
    /// In something that is neither: a number, a word, a string.
    Bare,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, offset: 0, buffer: Vec::new(), length: 0, in_array: false, ended: false }
    }

    /// Bytes read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, DataError> {
        self.buffer.clear();
        self.length = 0;
        let mut state = State::Between;
        while !self.ended {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                self.ended = true;
                break;
            }
            // The record's part of this chunk, and whether it ends there.
            let (mut used, mut done, mut from) = (0, false, 0);
            for byte in chunk {
                let before = state;
                let mut keep = true;
                state = match (state, byte) {
                    (State::Between, b'[') if !self.in_array => {
                        self.in_array = true;
                        State::Between
                    }
                    (State::Between, b']') if self.in_array => {
                        self.in_array = false;
                        State::Between
                    }
                    (State::Between, b'{' | b'[') => State::Nested(1),
                    (State::Between, b',') => State::Between,
                    (State::Between, b) if b.is_ascii_whitespace() => State::Between,
                    (State::Between, _) => State::Bare,
                    (State::Nested(depth), b'{' | b'[') => State::Nested(depth + 1),
                    (State::Nested(1), b'}' | b']') => {
                        done = true;
                        State::Between
                    }
                    (State::Nested(depth), b'}' | b']') => State::Nested(depth - 1),
                    (State::Nested(depth), b'"') => State::Text(depth),
                    (State::Nested(depth), _) => State::Nested(depth),
                    (State::Text(depth), b'\\') => State::Escape(depth),
                    (State::Text(depth), b'"') => State::Nested(depth),
                    (State::Text(depth) | State::Escape(depth), _) => State::Text(depth),
                    (State::Bare, b',' | b']' | b'{' | b'\n') => {
                        // The byte belongs to what follows.
                        done = true;
                        keep = false;
                        State::Between
                    }
                    (State::Bare, _) => State::Bare,
                };
                if before == State::Between && state == State::Between && !done {
                    from = used + 1;
                }
                used += usize::from(keep);
                if done {
                    break;
                }
            }
            let part = &chunk[from.min(used)..used];
            self.length += part.len();
            let room = LONGEST_LINE.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&part[..part.len().min(room)]);
            self.input.consume(used);
            self.offset += used as u64;
            if done {
                return Ok(Some(self.record()));
            }
        }
        match state {
            State::Between => Ok(std::mem::take(&mut self.in_array).then_some(Record::Unclosed)),
            State::Bare => Ok(Some(self.record())),
            State::Nested(_) | State::Text(_) | State::Escape(_) => {
                self.in_array = false;
                Ok(Some(Record::Unfinished))
            }
        }
    }

    fn record(&self) -> Record<'_> {
        if self.length > LONGEST_LINE { Record::TooLong } else { Record::Whole(&self.buffer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn records(text: &str, chunk: usize) -> Vec<String> {
        let mut records = Records::new(BufReader::with_capacity(chunk, text.as_bytes()));
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push(match record {
                Record::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Record::TooLong => "too long".into(),
                Record::Unfinished => "unfinished".into(),
                Record::Unclosed => "unclosed".into(),
            });
        }
        assert_eq!(records.offset(), text.len() as u64);
        found
    }

    #[test]
    fn records_end_where_their_brackets_do() {
        for chunk in [1, 2, 3, 7, 1000] {
            for (text, wanted) in [
                ("", vec![]),
                (" [ ] ", vec![]),
                (
                    "[{\"a\":[1,{\"b\":\"]}\\\"\"}]}, 3,\"x\", [1]]",
                    vec!["{\"a\":[1,{\"b\":\"]}\\\"\"}]}", "3", "\"x\"", "[1]"],
                ),
                ("{\"春\":1}\n{}\r\n{}", vec!["{\"春\":1}", "{}", "{}"]),
                ("[{} {}]", vec!["{}", "{}"]),
                ("[{},", vec!["{}", "unclosed"]),
                ("[{},{\"a\":\"", vec!["{}", "unfinished"]),
                ("nonsense {}", vec!["nonsense ", "{}"]),
                ("[1", vec!["1", "unclosed"]),
            ] {
                assert_eq!(records(text, chunk), wanted, "{text} in chunks of {chunk}");
            }
        }
    }
}
