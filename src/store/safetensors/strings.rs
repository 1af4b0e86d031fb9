//! JSON whose long strings are cut while it is read, so that parsing it needs memory for its structure alone.

use std::io::{self, Read};

/// Passes JSON on and leaves out what its strings have beyond `most` bytes, whole characters and escapes at a time.
pub(super) struct ShortStrings<R> {
    from: R,
    most: usize,
    at: At,
    /// Bytes of the current string so far.
    len: usize,
    /// The four digits of the newest `\u` escape, if nothing followed it: half of a pair must not be left alone.
    digits: Option<[u8; 4]>,
}

/// Where in the text the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Outside,
    String,
    /// Behind a backslash.
    Escape,
    /// Behind `\u` and so many digits.
    Unicode(usize),
}

impl<R> ShortStrings<R> {
    pub(super) fn new(from: R, most: usize) -> ShortStrings<R> {
        ShortStrings { from, most, at: At::Outside, len: 0, digits: None }
    }

    /// Whether the newest escape is the first half of a pair.
    fn is_open(&self) -> bool {
        self.digits.is_some_and(|[a, b, ..]| {
            a.eq_ignore_ascii_case(&b'd') && matches!(b, b'8' | b'9' | b'a' | b'b' | b'A' | b'B')
        })
    }

    /// Takes in a byte; returns whether it is passed on.
    fn keeps(&mut self, byte: u8) -> bool {
        match self.at {
            At::Outside => {
                if byte == b'"' {
                    (self.at, self.len, self.digits) = (At::String, 0, None);
                }
                return true;
            }
            At::String if byte == b'"' => {
                self.at = At::Outside;
                return true;
            }
            At::String => {
                // A cut is made before a character, and stays for the rest of the string.
                let begins = byte & 0xc0 != 0x80;
                if self.len < usize::MAX && self.len >= self.most && begins && !(byte == b'\\' && self.is_open()) {
                    self.len = usize::MAX;
                }
                self.digits = None;
                if byte == b'\\' {
                    self.at = At::Escape;
                }
            }
            At::Escape => self.at = if byte == b'u' { At::Unicode(0) } else { At::String },
            At::Unicode(n) => {
                let digits = self.digits.get_or_insert([0; 4]);
                digits[n] = byte;
                self.at = if n == 3 { At::String } else { At::Unicode(n + 1) };
            }
        }
        let kept = self.len < usize::MAX;
        self.len = self.len.saturating_add(1);
        kept
    }
}

impl<R: Read> Read for ShortStrings<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.from.read(to)?;
            let mut kept = 0;
            for at in 0..read {
                let byte = to[at];
                if self.keeps(byte) {
                    to[kept] = byte;
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str, most: usize) -> Value {
        serde_json::from_reader(ShortStrings::new(text.as_bytes(), most)).unwrap()
    }

    #[test]
    fn long_strings_are_cut_before_a_character() {
        for (text, most, cut) in [
            (r#"["abc"]"#, 3, json!(["abc"])),
            (r#"["abcd", "e"]"#, 3, json!(["abc", "e"])),
            (r#"["春眠"]"#, 1, json!(["春"])),
            (r#"["a\"b\\"]"#, 2, json!(["a\""])),
            (r#"["\u6625\u7720"]"#, 2, json!(["\u{6625}"])),
            (r#"["\ud83d\ude00\ud83d\ude00"]"#, 1, json!(["\u{1f600}"])),
            (r#"{"abc": {"def": 1}}"#, 1, json!({"a": {"d": 1}})),
        ] {
            assert_eq!(read(text, most), cut, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_string_keeps_a_beginning_of_about_the_limit(text in ".{0,60}", most in 0_usize..40, plain in any::<bool>()) {
            let mut written = serde_json::to_string(&json!({"k": text})).unwrap();
            if plain {
                // The same string in escapes.
                let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
                written = format!("{{\"k\": \"{escaped}\"}}");
            }
            let all = read(&written, most.max(1));
            let kept = all["k"].as_str().unwrap();
            prop_assert!(text.starts_with(kept));
            prop_assert!(kept.len() <= most.max(1) + 12);
            prop_assert!(kept == text || kept.len() + 12 >= most.max(1) / 6);
            prop_assert_eq!(&read(&written, usize::MAX - 1)["k"], &json!(text));
        }
    }
}
