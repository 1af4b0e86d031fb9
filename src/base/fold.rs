//! Text as it is compared when somebody looks for it: case and width do not matter.

/// The ASCII form of a full-width character; others are unchanged.
pub fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '、' => '/',
        '。' => '.',
        '\u{3000}' => ' ',
        _ => c,
    }
}

/// Half-width and lower case.
pub fn folded(text: &str) -> String {
    text.chars().map(half_width).flat_map(char::to_lowercase).collect()
}
