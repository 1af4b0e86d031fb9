//! Makes untrusted text safe to display.
//!
//! Data, model output, file names, settings and error messages may contain anything: escape sequences that move the
//! cursor or fill the clipboard, overrides of the writing direction, invisible characters. All printed text passes
//! through here: fields of the screen as [`Clean`], lines of stdout and stderr through [`line()`] and [`block`], a
//! model's streamed text through a [`Cleaner`], JSON through [`json`]. One function decides which characters are
//! replaced, and one how they are shown.

use std::{fmt, fmt::Write as _, io, ops::Deref};

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

/// Longest displayed field, in bytes.
pub const LONGEST_FIELD: usize = 4096;
/// Longest displayed text of several lines, in bytes.
pub const LONGEST_BLOCK: usize = 65_536;
/// Combining marks per letter; more would smear over the lines around.
const MOST_MARKS: usize = 4;

/// Text that is safe on a grid of cells: control characters become pictures (`␛`), invisible and direction-changing
/// characters their code points (`⟨U+202E⟩`), tabs become spaces, and the length is limited. Joiners and variation
/// selectors are always replaced: they would make a text's width depend on the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clean(String);

impl Clean {
    /// One line: a line feed becomes `␊`.
    pub fn line(text: &str) -> Clean {
        Clean::new(text, false, LONGEST_FIELD)
    }

    /// Text that keeps its line feeds.
    pub fn block(text: &str) -> Clean {
        Clean::new(text, true, LONGEST_BLOCK)
    }

    fn new(text: &str, keep_lines: bool, longest: usize) -> Clean {
        let mut clean = String::with_capacity(text.len().min(longest));
        let mut marks = 0;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if clean.len() + 16 > longest {
                clean.push('⋯');
                break;
            }
            marks = if c.width() == Some(0) { marks + 1 } else { 0 };
            match c {
                '\n' if keep_lines => clean.push('\n'),
                '\r' if keep_lines && chars.peek() == Some(&'\n') => {}
                '\t' => clean.push_str("    "),
                _ if is_hidden(c) || is_uncertain(c) => picture(&mut clean, c),
                _ if marks > MOST_MARKS => {}
                _ => clean.push(c),
            }
        }
        Clean(clean)
    }

    /// Appends more text, as it streams in.
    pub fn push_block(&mut self, text: &str) {
        let more = Clean::block(text).0;
        if self.0.len() + more.len() <= LONGEST_BLOCK {
            self.0.push_str(&more);
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Clean {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line for stdout or stderr: a line feed becomes `␊`, so that no name can fake another line.
pub fn line(text: &str) -> String {
    cleaned(Cleaner { lines: false, ..Cleaner::default() }, text)
}

/// Text of many lines for stdout or stderr; line feeds and tabs stay.
pub fn block(text: &str) -> String {
    cleaned(Cleaner::default(), text)
}

fn cleaned(mut cleaner: Cleaner, text: &str) -> String {
    let mut clean = cleaner.push(text);
    clean.push_str(&cleaner.finish());
    clean
}

/// Cleans text that arrives in pieces on its way to stdout. Ordinary writing is unchanged, including joined emoji,
/// Persian and Indic joiners and variation selectors where they have an effect; elsewhere these characters become code
/// points, and control characters become pictures.
#[derive(Clone, Debug)]
pub struct Cleaner {
    /// Whether line feeds stay.
    lines: bool,
    /// The last character, if it was written unchanged.
    before: Option<char>,
    /// A character whose meaning depends on the next one.
    held: Option<char>,
}

impl Default for Cleaner {
    fn default() -> Self {
        Self { lines: true, before: None, held: None }
    }
}

impl Cleaner {
    /// Adds a piece; returns what can be shown now. At most one character is held back.
    pub fn push(&mut self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if let Some(held) = self.held.take() {
                self.settle(&mut clean, held, Some(c));
            }
            if c == '\r' || joins(c) {
                self.held = Some(c);
            } else {
                self.settle(&mut clean, c, None);
            }
        }
        clean
    }

    /// Returns what is still held back.
    pub fn finish(&mut self) -> String {
        let mut clean = String::new();
        if let Some(held) = self.held.take() {
            self.settle(&mut clean, held, None);
        }
        clean
    }

    fn settle(&mut self, clean: &mut String, c: char, after: Option<char>) {
        let plain = match c {
            '\t' => true,
            '\n' => self.lines,
            '\r' => {
                if self.lines && after == Some('\n') {
                    return;
                }
                false
            }
            c if joins(c) => belongs(self.before, c, after),
            c => !is_hidden(c),
        };
        if plain {
            clean.push(c);
        } else {
            picture(clean, c);
        }
        self.before = plain.then_some(c);
    }
}

/// A value as JSON in which every hidden character is escaped (`\u202e`): a terminal gets no raw control character, and
/// a parser gets the same strings.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    write_json(&mut text, value)?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// The same, indented.
pub fn json_pretty(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    serde_json::to_writer_pretty(Escaping(&mut text), value)?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// The same, written to a stream.
pub fn write_json(to: impl io::Write, value: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(Escaping(to), value)
}

/// Passes JSON on with its hidden characters escaped. Apart from line feeds in the layout they occur in strings only;
/// the serialiser writes whole characters.
struct Escaping<W>(W);

impl<W: io::Write> io::Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let mut rest = 0;
        for (at, c) in text.char_indices().filter(|&(_, c)| c != '\n' && is_hidden(c)) {
            self.0.write_all(&bytes[rest..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            rest = at + c.len_utf8();
        }
        self.0.write_all(&bytes[rest..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes the replacement of a character that must not reach a terminal.
fn picture(clean: &mut String, c: char) {
    match c {
        '\0'..='\u{1f}' => clean.push(char::from_u32(0x2400 + c as u32).unwrap_or('?')),
        '\u{7f}' => clean.push('\u{2421}'),
        // Writing to a String cannot fail.
        _ => drop(write!(clean, "⟨U+{:04X}⟩", c as u32)),
    }
}

/// Characters that a terminal obeys, does not show, or reverses text for: control characters, and most of Unicode's Cf
/// and Default_Ignorable_Code_Point.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{70f}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Characters that are harmless in a line of text but have no certain width on a grid: Arabic number signs, and private
/// use, on which fonts disagree.
fn is_uncertain(c: char) -> bool {
    matches!(c,
        '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{110bd}' | '\u{110cd}'
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// Joiners, non-joiners and variation selectors: hidden, yet part of ordinary writing in the right places.
fn joins(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a joiner or selector has an effect between these two characters. One alone, doubled, or between other
/// letters may carry hidden data.
fn belongs(before: Option<char>, c: char, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    let next = |of: fn(char) -> bool| after.is_some_and(of);
    match c {
        // 👩‍🚀 and क्‍ष; also after a variation selector or a skin tone.
        '\u{200d}' => {
            (is_pictograph(before) || before == '\u{fe0f}') && next(is_pictograph) || shapes(before) && next(shapes)
        }
        // می‌خواهم.
        '\u{200c}' => shapes(before) && next(shapes),
        '\u{fe0e}' | '\u{fe0f}' => {
            is_pictograph(before) || matches!(before, '0'..='9' | '#' | '*') && after == Some('\u{20e3}')
        }
        '\u{180b}'..='\u{180f}' => matches!(before, '\u{1820}'..='\u{18aa}'),
        '\u{fe00}'..='\u{fe0d}' => {
            is_han(before) || matches!(before, '\u{2200}'..='\u{22ff}' | '\u{2a00}'..='\u{2aff}')
        }
        _ => is_han(before),
    }
}

/// Unicode's Extended_Pictographic and the skin tones, by blocks.
fn is_pictograph(c: char) -> bool {
    matches!(c,
        '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | 'Ⓜ'
        | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '〰' | '〽' | '㊗' | '㊙'
        | '\u{1f000}'..='\u{1f1e5}' | '\u{1f200}'..='\u{1faff}')
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fdf}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Letters and signs of joining scripts: Arabic and related, Mongolian, and those of India and South-East Asia.
fn shapes(c: char) -> bool {
    let joining = matches!(c,
        '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
        | '\u{1a20}'..='\u{1aad}' | '\u{1b00}'..='\u{1c4f}' | '\u{a840}'..='\u{a8ff}' | '\u{a980}'..='\u{aaff}'
        | '\u{abc0}'..='\u{abff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' | '\u{11000}'..='\u{11aff}'
        | '\u{1e900}'..='\u{1e95f}');
    joining && !is_hidden(c) && !c.is_numeric()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// One character of every kind that must not reach a terminal.
    const HOSTILE: &str = "\x1b]52;c;RVZJTA==\x07\x1b[2J\u{9b}31m\u{85}\u{90}q\u{9c}a\u{202e}b\u{2066}\u{2069}\u{200f}\u{61c}\u{200b}\u{feff}\u{2060}\u{e0065}\u{e007f}\u{8}\r\u{7f}\u{2028}\u{2029}\0\u{ad}\u{3164}";

    #[test]
    fn controls_become_pictures() {
        assert_eq!(Clean::line("a\x1b[31mb\r\n\t\u{7f}\u{9b}").as_str(), "a␛[31mb␍␊    ␡⟨U+009B⟩");
        assert_eq!(Clean::line("夜\u{202e}来\u{200b}").as_str(), "夜⟨U+202E⟩来⟨U+200B⟩");
        assert_eq!(Clean::block("一\r\n二\n").as_str(), "一\n二\n");
        assert_eq!(Clean::line("e\u{301}").as_str(), "e\u{301}");
        assert_eq!(Clean::line("❤\u{fe0f}\u{e0b0}\u{6dd}").as_str(), "❤⟨U+FE0F⟩⟨U+E0B0⟩⟨U+06DD⟩");
        let zalgo = format!("e{}", "\u{301}".repeat(100));
        assert_eq!(Clean::line(&zalgo).chars().count(), 1 + MOST_MARKS);
        assert!(Clean::line(&"春".repeat(10_000)).len() <= LONGEST_FIELD);
    }

    #[test]
    fn a_stream_has_a_bound() {
        let mut text = Clean::default();
        for _ in 0..100 {
            text.push_block(&"花".repeat(1000));
        }
        assert!(text.len() <= LONGEST_BLOCK && text.len() > LONGEST_BLOCK / 2);
    }

    #[test]
    fn nothing_hidden_is_left() {
        for clean in
            [line(HOSTILE), block(HOSTILE), Clean::line(HOSTILE).to_string(), Clean::block(HOSTILE).to_string()]
        {
            assert!(!clean.contains(is_hidden), "{clean:?}");
        }
        assert_eq!(line("a\nb\tc"), "a␊b\tc");
        assert_eq!(block("a\r\nb\rc\n"), "a\nb␍c\n");
    }

    #[test]
    fn ordinary_writing_stays_to_the_byte() {
        for text in [
            "春眠不觉晓，处处闻啼鸟。",
            "👨‍👩‍👧 ❤️ ❤️‍🔥 👩🏽‍🚀 🏳️‍🌈 1️⃣ #️⃣ ☎︎ 🇨🇳 👍🏿",
            "می‌خواهم نمی‌دانم",  // Persian, U+200C
            "اَلْعَرَبِيَّةُ ٱلْفُصْحَىٰ ۝", // Arabic with marks
            "שָׁלוֹם עוֹלָם",
            "क्‍ष र्‌य ශ්‍රී ক্‌ষ",
            "e\u{301} a\u{308}\u{304} Việt ไทยน้ำ",
            "葛\u{e0100}飾 ∩\u{fe00} 齊\u{fe00}",
            "ᠠ\u{180b}ᠪ",
            "\u{e0b0} \u{f8ff}",
            "a\tb\nc",
        ] {
            assert_eq!(block(text), text);
            // The result must not depend on how the text is cut.
            let mut cleaner = Cleaner::default();
            let mut pieces: String = text.chars().map(|c| cleaner.push(&c.to_string())).collect();
            pieces.push_str(&cleaner.finish());
            assert_eq!(pieces, text);
        }
    }

    #[test]
    fn joiners_out_of_place_are_shown() {
        for (text, shown) in [
            ("a\u{200d}b", "a⟨U+200D⟩b"),
            ("👩\u{200d}", "👩⟨U+200D⟩"),
            ("\u{200d}👩", "⟨U+200D⟩👩"),
            ("👩\u{200d}\u{200d}👩", "👩⟨U+200D⟩⟨U+200D⟩👩"),
            ("pay\u{200c}pal", "pay⟨U+200C⟩pal"),
            ("a\u{fe0f}", "a⟨U+FE0F⟩"),
            // Bytes hidden as a row of variation selectors behind an emoji.
            ("😀\u{fe01}\u{e0101}", "😀⟨U+FE01⟩⟨U+E0101⟩"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}⟨U+FE0F⟩"),
            ("春\u{e0100}\u{e0100}", "春\u{e0100}⟨U+E0100⟩"),
            ("1\u{fe0f}", "1⟨U+FE0F⟩"),
            // Tag characters are never shown raw, not even those of a flag.
            ("🏴\u{e0067}\u{e007f}", "🏴⟨U+E0067⟩⟨U+E007F⟩"),
        ] {
            assert_eq!(block(text), shown);
        }
    }

    #[test]
    fn json_parses_back_to_the_same_strings() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "👩‍🚀 春\n"] });
        for text in [json(&value).unwrap(), json_pretty(&value).unwrap()] {
            assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
        assert_eq!(json(&"\u{7f}\u{e0001}a").unwrap(), r#""\u007f\udb40\udc01a""#);
        assert_eq!(json(&"春\\").unwrap(), r#""春\\""#);
    }
}
