//! Cuts a JSON array, or concatenated objects, into records without parsing them.
//!
//! A parser would stop at the first error and hold the whole file. Here brackets outside strings are counted, so that
//! an invalid record affects only itself. JSON does not allow a line break in a string, so one there means that the
//! string was never closed: it ends there, and so does a record that began on the same line.

use std::io::BufRead;

use crate::data::error::DataError;

/// A record, or why it is invalid.
#[derive(Debug, PartialEq)]
pub(in crate::data) enum Record<'a> {
    Whole(&'a [u8]),
    TooLong,
    /// A string without a closing quotation mark, with the line on which it opens.
    OpenString(u64),
    /// The input ended inside it.
    Unfinished,
    /// The input ended between records, but inside the array.
    Unclosed,
}

#[allow(clippy::struct_excessive_bools, reason = "independent facts about the input, not states")]
pub(in crate::data) struct Records<R> {
    input: R,
    limit: usize,
    offset: u64,
    buffer: Vec<u8>,
    /// Length of the record in bytes; only the beginning of a long one is kept.
    length: usize,
    /// Whether the records are elements of an array.
    in_array: bool,
    /// Whether what follows the first array is not read.
    first_only: bool,
    ended: bool,
    /// The line of the next byte, and whether the previous byte was `\r`.
    line: u64,
    after_return: bool,
    /// The line on which the newest record begins.
    begins: u64,
}

/// The state of the scanner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a record.
    Between,
    /// In an object or array, at this depth.
    Nested(usize),
    /// In a string, at this depth (0: the string is the record).
    Text(usize),
    /// After a backslash in a string.
    Escape(usize),
    /// In a number, a word or garbage.
    Bare,
}

/// The effect of a byte.
enum Step {
    To(State),
    /// It is the record's last byte.
    Ends,
    /// The previous byte was the record's last.
    Ended,
}

impl<R: BufRead> Records<R> {
    pub(in crate::data) fn new(input: R, limit: usize) -> Self {
        let (buffer, length) = (Vec::new(), 0);
        let (in_array, first_only, ended, after_return) = (false, false, false, false);
        Self { input, limit, offset: 0, buffer, length, in_array, first_only, ended, line: 1, after_return, begins: 1 }
    }

    /// Only the records of the array with which the input begins; `line` is that of its bracket.
    pub(in crate::data) fn of_array(input: R, limit: usize, line: u64) -> Self {
        Self { first_only: true, line, ..Self::new(input, limit) }
    }

    /// Bytes a record may have.
    pub(in crate::data) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes read.
    pub(in crate::data) fn offset(&self) -> u64 {
        self.offset
    }

    /// The line on which the newest record begins.
    pub(in crate::data) fn begins(&self) -> u64 {
        self.begins
    }

    pub(in crate::data) fn next(&mut self) -> Result<Option<Record<'_>>, DataError> {
        self.buffer.clear();
        self.length = 0;
        let mut state = State::Between;
        // The line on which the newest string opens, and that of the first unclosed one.
        let (mut opens, mut open) = (0, None);
        while !self.ended {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                self.ended = true;
                break;
            }
            // The range of this chunk that belongs to the record.
            let (mut from, mut used, mut done) = (0, 0, false);
            while used < chunk.len() && !done {
                let byte = chunk[used];
                let mut step = step(state, byte, &mut self.in_array);
                if matches!(byte, b'\n' | b'\r')
                    && let State::Text(depth) | State::Escape(depth) = state
                {
                    open.get_or_insert(opens);
                    let ends = depth == 0 || self.begins == self.line;
                    step = if ends { Step::Ended } else { Step::To(State::Nested(depth)) };
                }
                if !matches!(step, Step::Ended) {
                    self.line += u64::from(byte == b'\r' || byte == b'\n' && !self.after_return);
                    self.after_return = byte == b'\r';
                }
                match step {
                    Step::To(next) => {
                        if state == State::Between && next != state {
                            self.begins = self.line;
                        }
                        if matches!(next, State::Text(_)) && !matches!(state, State::Text(_) | State::Escape(_)) {
                            opens = self.line;
                        }
                        state = next;
                        used += 1;
                        if self.first_only && state == State::Between && byte == b']' {
                            self.ended = true;
                            done = true;
                        }
                    }
                    Step::Ends => {
                        used += 1;
                        done = true;
                    }
                    Step::Ended => done = true,
                }
                if state == State::Between {
                    from = used;
                }
            }
            let part = &chunk[from..used];
            self.length += part.len();
            let room = self.limit.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&part[..part.len().min(room)]);
            self.input.consume(used);
            self.offset += used as u64;
            if done && !self.ended {
                return Ok(Some(match open {
                    Some(line) => Record::OpenString(line),
                    None => self.record(),
                }));
            }
        }
        if let (State::Text(_) | State::Escape(_), None) = (state, open) {
            open = Some(opens);
        }
        match state {
            State::Between => Ok(std::mem::take(&mut self.in_array).then_some(Record::Unclosed)),
            State::Bare => Ok(Some(self.record())),
            State::Nested(_) | State::Text(_) | State::Escape(_) => {
                self.in_array = false;
                Ok(Some(open.map_or(Record::Unfinished, Record::OpenString)))
            }
        }
    }

    fn record(&self) -> Record<'_> {
        if self.length > self.limit { Record::TooLong } else { Record::Whole(&self.buffer) }
    }
}

/// The effect of the next byte; outside a record it may also open or close the array.
fn step(state: State, byte: u8, in_array: &mut bool) -> Step {
    let next = match (state, byte) {
        (State::Between, b'[') if !*in_array => {
            *in_array = true;
            state
        }
        (State::Between, b']') if *in_array => {
            *in_array = false;
            state
        }
        (State::Between, b'{' | b'[') => State::Nested(1),
        (State::Between, b'"') => State::Text(0),
        // Joined files have byte order marks between records.
        (State::Between, b',' | 0xEF | 0xBB | 0xBF) => state,
        (State::Between, _) if byte.is_ascii_whitespace() => state,
        (State::Between, _) => State::Bare,
        (State::Nested(1), b'}' | b']') | (State::Text(0), b'"') => return Step::Ends,
        (State::Nested(depth), b'}' | b']') => State::Nested(depth - 1),
        (State::Nested(depth), b'{' | b'[') => State::Nested(depth + 1),
        (State::Text(depth), b'"') => State::Nested(depth),
        (State::Text(depth), b'\\') => State::Escape(depth),
        (State::Nested(depth), b'"') | (State::Escape(depth), _) => State::Text(depth),
        (State::Bare, b',' | b']' | b'{' | b'\n' | b'\r') => return Step::Ended,
        (State::Nested(_) | State::Text(_) | State::Bare, _) => state,
    };
    Step::To(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn records(text: &str, chunk: usize) -> Vec<String> {
        let mut records = Records::new(BufReader::with_capacity(chunk, text.as_bytes()), 1 << 20);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            found.push(match record {
                Record::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Record::TooLong => "too long".into(),
                Record::OpenString(line) => format!("open on {line}"),
                Record::Unfinished => format!("unfinished from {}", records.begins()),
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
                ("[\"a,\\\"]\",{}]", vec!["\"a,\\\"]\"", "{}"]),
                ("[{} {}]", vec!["{}", "{}"]),
                ("[{},", vec!["{}", "unclosed"]),
                ("[{},{\"a\":\"", vec!["{}", "open on 1"]),
                ("[{},\n\r\n\r{\"a\":[", vec!["{}", "unfinished from 4"]),
                ("nonsense {}", vec!["nonsense ", "{}"]),
                ("[1", vec!["1", "unclosed"]),
                ("[{}]\u{FEFF}[{}]\n\u{FEFF}{}", vec!["{}", "{}", "{}"]),
                // An unclosed string costs only its own record, reported at its opening.
                ("[\n{\"a\":\"b},\n{\"a\":\"c\"}\n]", vec!["open on 2", "{\"a\":\"c\"}"]),
                ("[\n{\n\"a\":\"b\",\n\"b\":\"c,\r\n\"d\":\"e\"\n},{\"a\":\"c\"}]", vec!["open on 4", "{\"a\":\"c\"}"]),
                ("[\n{\n\"a\":\n\"b", vec!["open on 4"]),
            ] {
                assert_eq!(records(text, chunk), wanted, "{text} in chunks of {chunk}");
            }
        }
    }
}
