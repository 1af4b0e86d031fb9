//! Repairs invalid JSON that other tools write.
//!
//! Python writes NaN, Infinity and -Infinity, pandas and datasets mostly for missing values; they become null, as do
//! numbers that overflow. Unpaired surrogates (`\ud83d`, a text cut within an emoji) and brackets nested too deep for a
//! parser are replaced by a marker, so that they cost a record only if the field is read.

/// Replaces an unpaired surrogate: a code point that no text contains.
pub(in crate::data) const HALF: char = '\u{FDD0}';
/// Replaces a value that is nested too deep.
pub(in crate::data) const DEEP: char = '\u{FDD1}';
/// Depth of nesting that is kept; the fields that are read need six.
const DEEPEST: usize = 64;

/// The repaired text, or None if nothing needed repair.
pub(super) fn mended(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    // Everything before `done` was copied to `out` or dropped.
    let (mut at, mut done, mut depth) = (0, 0, 0_usize);
    let mut put = |out: &mut String, from: usize, to: usize, instead: &str| {
        out.push_str(&text[done..from]);
        out.push_str(instead);
        done = to;
    };
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'"' => {
                at = string(bytes, at, &mut |from, to| {
                    if depth <= DEEPEST {
                        put(&mut out, from, to, HALF.encode_utf8(&mut [0; 4]));
                    }
                });
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth == DEEPEST + 1 {
                    put(&mut out, at, at, &format!("\"{DEEP}\""));
                }
            }
            b'}' | b']' => {
                if depth == DEEPEST + 1 {
                    put(&mut String::new(), at + 1, at + 1, "");
                }
                depth = depth.saturating_sub(1);
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || b"+-._".contains(b);
                at += bytes[at..].iter().take_while(|b| word(b)).count();
                let token = &text[start..at];
                let number = token.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
                let missing = matches!(token, "NaN" | "Infinity" | "-Infinity")
                    || number && token.parse::<f64>().is_ok_and(f64::is_infinite) && !token.contains(['i', 'I']);
                if missing && depth <= DEEPEST {
                    put(&mut out, start, at, "null");
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if done == 0 || depth > DEEPEST {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// Scans the string that opens at `at`; reports the range of every unpaired surrogate and returns the position after
/// the string.
fn string(bytes: &[u8], at: usize, half: &mut impl FnMut(usize, usize)) -> usize {
    let unit = |at: usize| -> Option<u32> {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match (byte, unit(at)) {
            (b'"', _) => return at + 1,
            (b'\\', Some(0xD800..0xDC00)) if matches!(unit(at + 6), Some(0xDC00..0xE000)) => at += 12,
            (b'\\', Some(0xD800..0xE000)) => {
                half(at, at + 6);
                at += 6;
            }
            (b'\\', _) => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_python_writes_is_taken() {
        for (text, wanted) in [
            ("{\"a\": NaN, \"b\": [Infinity, -Infinity]}", "{\"a\":null,\"b\":[null,null]}"),
            ("{\"a\": 1e999, \"b\": -1E+400}", "{\"a\":null,\"b\":null}"),
            ("{\"a\": \"\\ud83d\", \"b\": \"x\\ud83d\\ude00\\udc00\"}", "{\"a\":\"\u{FDD0}\",\"b\":\"x😀\u{FDD0}\"}"),
            (
                "{\"NaN\": \"NaN \\\\ud800 \\\" Infinity\", \"x\": NaN}",
                "{\"NaN\":\"NaN \\\\ud800 \\\" Infinity\",\"x\":null}",
            ),
        ] {
            let mended = mended(text).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&mended).unwrap().to_string(), wanted, "{mended}");
        }
        let long = format!("{{\"a\": {}, \"text\": \"b\"}}", "9".repeat(400));
        assert_eq!(serde_json::from_str::<Value>(&mended(&long).unwrap()).unwrap()["text"], "b");
        let deep = format!("{{\"a\": {}NaN, \"\\ud800\"{}, \"text\": \"b\"}}", "[".repeat(300), "]".repeat(300));
        assert_eq!(serde_json::from_str::<Value>(&mended(&deep).unwrap()).unwrap()["text"], "b");
    }

    #[test]
    fn what_is_no_json_stays_so() {
        for text in
            ["{\"a\": 1}", "{\"a\": nan}", "{\"a\": None}", "{\"a\": \"", "{a", "\"\\u12", "春", "", "NaNs", "[[["]
        {
            assert_eq!(mended(text), None, "{text}");
        }
    }
}
