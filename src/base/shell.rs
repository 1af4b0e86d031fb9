//! Words of commands that are printed for the user to run.

use std::{borrow::Cow, path::Path};

/// A word as a POSIX shell reads it: in quotes where it has a character that means something there.
pub fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | '@' | '%' | ',');
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

/// The same for a path.
pub fn path(path: &Path) -> String {
    word(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_read_otherwise_is_quoted() {
        for plain in ["runs/run-0001", "我的/丹炉", "-a", "C:/x", "a+b@c,d%"] {
            assert_eq!(word(plain), plain);
        }
        for (text, quoted) in [
            ("", "''"),
            ("my run", "'my run'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("a;rm -rf b", "'a;rm -rf b'"),
            ("~", "'~'"),
            ("a\\b", "'a\\b'"),
            ("*", "'*'"),
        ] {
            assert_eq!(word(text), quoted);
        }
    }
}
