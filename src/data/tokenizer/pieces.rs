//! Cuts long texts into pieces that encode separately as they would together.
//!
//! A hostile text (a megabyte of one letter or of spaces) is one word to a pre-tokenizer, and training merges is
//! quadratic in a word's length, so no piece exceeds a limit. Cuts are made where every supported split pattern starts
//! a new word: between a letter and white space or punctuation. Only a text without such a place is cut elsewhere; its
//! encoding may then be a token or two longer than in transformers.

/// Bytes encoded at a time.
pub(super) const ENCODED_AT_ONCE: usize = 1 << 16;
/// Bytes passed to the trainer at a time.
pub(super) const TRAINED_AT_ONCE: usize = 1 << 12;

/// The text in pieces of at most `limit` bytes (at least one character each).
pub(super) fn pieces(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest, limit));
        rest = after;
        Some(piece)
    })
}

/// The end of the first piece.
fn cut(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let mut hard = limit;
    while !text.is_char_boundary(hard) {
        hard -= 1;
    }
    if hard == 0 {
        return text.chars().next().map_or(text.len(), char::len_utf8);
    }
    // Walk back over pairs of characters; the character at `hard` itself may begin the next piece.
    let mut next = text[hard..].chars().next();
    for (at, c) in text[..hard].char_indices().rev() {
        if c.is_alphanumeric() && next.is_some_and(opens_a_word) {
            return at + c.len_utf8();
        }
        next = Some(c);
    }
    hard
}

/// Characters that no pattern joins to the preceding letter.
fn opens_a_word(c: char) -> bool {
    c.is_whitespace()
        || c.is_ascii_punctuation()
        || matches!(c, '，' | '。' | '、' | '；' | '：' | '！' | '？' | '“' | '”')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text() {
        for text in ["", "a", "春眠不觉晓，处处闻啼鸟。", "one two\nthree", &"a".repeat(100), &"鸟".repeat(50)]
        {
            for limit in [1, 2, 3, 5, 16] {
                let found: Vec<&str> = pieces(text, limit).collect();
                assert_eq!(found.concat(), text);
                assert!(found.iter().all(|p| p.len() <= limit.max(3) && !p.is_empty()));
            }
        }
    }

    #[test]
    fn cuts_fall_before_words() {
        assert_eq!(pieces("one two three", 9).collect::<Vec<_>>(), ["one two", " three"]);
        assert_eq!(pieces("one two three", 7).collect::<Vec<_>>(), ["one two", " three"]);
    }
}
