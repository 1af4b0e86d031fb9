//! Bytes as they arrive, as lines.

/// Longest line, in bytes; what is longer is passed over.
const LONGEST: usize = 1 << 20;

/// The lines of a stream of bytes. A line may arrive in any pieces; a carriage return, which a progress bar writes, ends a
/// line too.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// Whether the line is longer than any may be.
    too_long: bool,
}

impl Lines {
    /// Adds bytes; calls `take` with each line that they complete. Returns the number of lines that were too long.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> usize {
        let mut passed = 0;
        let mut pieces = bytes.split(|b| matches!(b, b'\n' | b'\r')).peekable();
        while let Some(piece) = pieces.next() {
            if self.rest.len() + piece.len() > LONGEST {
                self.too_long = true;
                self.rest.clear();
            }
            if !self.too_long {
                self.rest.extend_from_slice(piece);
            }
            if pieces.peek().is_none() {
                break;
            }
            if std::mem::take(&mut self.too_long) {
                passed += 1;
            } else {
                take(&self.rest);
            }
            self.rest.clear();
        }
        passed
    }

    /// The last line, if it lacks only its end: one that is `whole` is complete without.
    pub(super) fn last(&mut self, whole: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let there = !self.rest.is_empty() && !self.too_long && whole(&self.rest);
        there.then(|| std::mem::take(&mut self.rest))
    }

    /// Forgets a line that has begun: its file was replaced.
    pub(super) fn forget(&mut self) {
        *self = Lines::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> (Vec<String>, usize, Option<Vec<u8>>) {
        let (mut lines, mut got, mut passed) = (Lines::default(), Vec::new(), 0);
        for piece in pieces {
            passed += lines.push(piece, |line| got.push(String::from_utf8_lossy(line).into_owned()));
        }
        (got, passed, lines.last(|_| true))
    }

    #[test]
    fn lines_arrive_in_any_pieces() {
        let text = "{\"a\": 1}\r\n 10%|x\r{'b': 2}\n春\nrest".as_bytes();
        let whole = all(&[text]);
        assert_eq!(whole.0, ["{\"a\": 1}", "", " 10%|x", "{'b': 2}", "春"]);
        assert_eq!(whole.2.as_deref(), Some(&b"rest"[..]));
        for size in 1..9 {
            assert_eq!(all(&text.chunks(size).collect::<Vec<_>>()), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let long = vec![b'x'; 3 << 20];
        let (lines, passed, rest) = all(&[&long, b"y\nnext\n"]);
        assert_eq!((lines, passed, rest), (vec!["next".to_owned()], 1, None));
    }
}
