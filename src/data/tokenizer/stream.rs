//! Decodes ids one at a time.

use super::{Decoding, Tokenizer};

/// Ids after which an imported decoder's incomplete text is emitted anyway.
const LONGEST_CHARACTER: usize = 8;

/// Decodes ids one at a time. The concatenated output, including [`StreamDecoder::finish`], equals
/// [`Tokenizer::decode`] (for an imported decoder: wherever its bytes are UTF-8).
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// Bytes of an incomplete character.
    held: Vec<u8>,
    /// For an imported decoder: the ids decoded together, how many of them were emitted, and their text.
    window: Vec<u32>,
    written: usize,
    prefix: String,
}

impl StreamDecoder {
    pub(super) fn new(tokenizer: Tokenizer, skip_special: bool, before: &[u32]) -> Self {
        let (window, prefix) = tail(&tokenizer, skip_special, before);
        Self { tokenizer, skip_special, held: Vec::new(), written: window.len(), window, prefix }
    }

    /// Adds an id; returns the text it completes, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        if self.tokenizer.0.decoding == Decoding::Other {
            return self.push_foreign(id);
        }
        self.held.extend_from_slice(self.tokenizer.bytes_of(id, self.skip_special));
        let keep = unfinished(&self.held);
        let rest = self.held.split_off(self.held.len() - keep);
        let done = std::mem::replace(&mut self.held, rest);
        (!done.is_empty()).then(|| String::from_utf8_lossy(&done).into_owned())
    }

    /// Returns the text that is still held back.
    pub fn finish(&mut self) -> Option<String> {
        if self.tokenizer.0.decoding == Decoding::Other {
            let text = self.tokenizer.decode(&self.window, self.skip_special);
            let new = text.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
            self.window.clear();
            self.prefix.clear();
            self.written = 0;
            return (!new.is_empty()).then_some(new);
        }
        let done = std::mem::take(&mut self.held);
        (!done.is_empty()).then(|| String::from_utf8_lossy(&done).into_owned())
    }

    /// A decoder may depend on adjacent tokens (spaces between words), so the last emitted ids are decoded again with
    /// the new ones and only the difference is emitted.
    fn push_foreign(&mut self, id: u32) -> Option<String> {
        self.window.push(id);
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        let waits = text.ends_with('\u{FFFD}') && self.window.len() - self.written < LONGEST_CHARACTER;
        if waits || text.len() <= self.prefix.len() {
            return None;
        }
        let new = text.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
        self.window.drain(..self.written);
        self.written = self.window.len();
        self.prefix = self.tokenizer.decode(&self.window, self.skip_special);
        (!new.is_empty()).then_some(new)
    }
}

/// The last ids that decode to some text, and that text: an imported decoder strips the space before the first word.
fn tail(tokenizer: &Tokenizer, skip_special: bool, before: &[u32]) -> (Vec<u32>, String) {
    if tokenizer.0.decoding != Decoding::Other {
        return (Vec::new(), String::new());
    }
    let mut ids = LONGEST_CHARACTER;
    loop {
        let window = &before[before.len().saturating_sub(ids)..];
        let text = tokenizer.decode(window, skip_special);
        if !text.is_empty() || window.len() == before.len() {
            return (window.to_vec(), text);
        }
        ids *= 2;
    }
}

/// How many bytes at the end are the beginning of an incomplete character.
fn unfinished(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(_) => return 0,
            Err(e) => match e.error_len() {
                None => return rest.len() - e.valid_up_to(),
                Some(bad) => rest = &rest[e.valid_up_to() + bad..],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unfinished;

    #[test]
    fn only_what_can_be_completed_is_held() {
        assert_eq!(unfinished(b""), 0);
        assert_eq!(unfinished("春".as_bytes()), 0);
        assert_eq!(unfinished(&"春".as_bytes()[..2]), 2);
        assert_eq!(unfinished(b"a\xE6"), 1);
        assert_eq!(unfinished(b"\xFF\xE6\x98"), 2);
        assert_eq!(unfinished(b"\xFF"), 0);
        assert_eq!(unfinished(b"\xE6a"), 0);
    }
}
