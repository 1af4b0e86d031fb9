//! Decodes bytes to text: for texts, conversations, pairs, ids and settings.
//!
//! In this order: a byte order mark; UTF-16 and UTF-32 by their zero bytes or by the decoded characters; UTF-8, if most
//! non-ASCII bytes are valid UTF-8; a Chinese, Japanese or Korean encoding that `chardetng` detects and the text
//! confirms; Windows-1252 (and Latin-1), if bytes above ASCII are letters that occur singly between ASCII ones. Other
//! bytes stay unchanged: their lines are then rejected and located. Detection starts at the first non-ASCII byte,
//! wherever it is.

use std::{
    cell::Cell,
    collections::HashSet,
    io::{self, Read},
    rc::Rc,
};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    BIG5, Decoder, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252,
};
use memchr::{memchr_iter, memmem};

use crate::data::error::DataError;

/// Bytes that are examined to detect an encoding.
const HEAD: usize = 256 << 10;
/// Fewer distinct pairs of non-ASCII bytes than this are too few for statistics.
const SHORT: usize = 24;
/// The byte order mark.
pub(in crate::data) const MARK: char = '\u{FEFF}';
/// The beginning of a Git LFS pointer.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The encoding of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Utf8,
    Other(&'static Encoding),
    Utf32 { big: bool },
}

impl Kind {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Utf8 => None,
            Self::Other(encoding) => Some(encoding.name()),
            Self::Utf32 { big: true } => Some("UTF-32BE"),
            Self::Utf32 { big: false } => Some("UTF-32LE"),
        }
    }
}

/// A decoded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text, without byte order marks at the start of a line; lines end in `\n` or `\r\n`.
    pub text: String,
    /// The encoding it was converted from, if it was not UTF-8.
    pub encoding: Option<&'static str>,
}

/// Decodes a whole file, such as settings. A binary file, one in no known encoding, or a Git LFS pointer is an error.
pub fn to_text(bytes: Vec<u8>) -> Result<Text, DataError> {
    if is_pointer(&bytes) {
        return Err(DataError::Pointer);
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    // As in a streamed read, the first window with a non-ASCII byte decides.
    let kind = if is_plain(head) { detect(&bytes)? } else { detect(head)? };
    let invalid = |e: &std::str::Utf8Error, bytes: &[u8]| {
        let offset = e.valid_up_to();
        let line = memchr_iter(b'\n', &bytes[..offset]).count() as u64 + 1;
        DataError::InvalidUtf8 { offset: offset as u64, line }
    };
    let mut text = match kind {
        Kind::Utf8 => String::from_utf8(bytes).map_err(|e| invalid(&e.utf8_error(), e.as_bytes()))?,
        Kind::Other(encoding) => {
            let (text, faulty) = encoding.decode_with_bom_removal(&bytes);
            if faulty {
                return Err(DataError::Undecodable(encoding.name()));
            }
            text.into_owned()
        }
        Kind::Utf32 { big } => quads(&bytes, big).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
    };
    if text.contains(MARK) {
        text = text.split_inclusive(['\n', '\r']).map(|line| line.trim_start_matches(MARK)).collect();
    }
    if text.contains('\r') && !text.contains('\n') {
        text = text.replace('\r', "\n");
    }
    Ok(Text { text, encoding: kind.name() })
}

/// Whether a file with this beginning is a Git LFS pointer.
pub fn is_pointer(head: &[u8]) -> bool {
    head.strip_prefix(MARK.to_string().as_bytes()).unwrap_or(head).starts_with(POINTER)
}

/// Whether bytes are valid UTF-8 text.
pub(super) fn is_text(head: &[u8]) -> bool {
    let found = Utf8::of(head);
    !head.is_empty() && found.bad == 0 && found.control == 0
}

/// Whether nothing in the bytes identifies an encoding.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.is_ascii() && !bytes.contains(&0)
}

/// Detects the encoding of a text from its beginning.
fn detect(head: &[u8]) -> Result<Kind, DataError> {
    match head {
        [0xFF, 0xFE, 0, 0, ..] => return Ok(Kind::Utf32 { big: false }),
        [0, 0, 0xFE, 0xFF, ..] => return Ok(Kind::Utf32 { big: true }),
        [0x84, 0x31, 0x95, 0x33, ..] => return Ok(Kind::Other(GB18030)),
        _ => {}
    }
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok(if encoding == UTF_8 { Kind::Utf8 } else { Kind::Other(encoding) });
    }
    if is_plain(head) {
        return Ok(Kind::Utf8);
    }
    let utf8 = Utf8::of(head);
    let zero = head.iter().position(|b| *b == 0);
    if zero.is_none() && utf8.is_likely() {
        return Ok(Kind::Utf8);
    }
    for big in [false, true] {
        if zero.is_some() && head.len() >= 4 && usual(quads(head, big).map(Result::ok)).is_good() {
            return Ok(Kind::Utf32 { big });
        }
    }
    for encoding in [UTF_16LE, UTF_16BE] {
        if wide(encoding, head) {
            return Ok(Kind::Other(encoding));
        }
    }
    if let Some(at) = zero {
        // Occasional zero bytes spoil only their own records; programs and images are full of them.
        if utf8.is_text(head) {
            return Ok(Kind::Utf8);
        }
        let rest: Vec<u8> = head.iter().copied().filter(|b| *b != 0).collect();
        let few = (head.len() - rest.len()).max(utf8.control) * 20 <= head.len();
        return match legacy(&rest).filter(|_| few) {
            Some(encoding) => Ok(Kind::Other(encoding)),
            None => Err(DataError::Binary { offset: at as u64 }),
        };
    }
    Ok(legacy(head).map_or(Kind::Utf8, Kind::Other))
}

/// UTF-8 statistics of some bytes.
struct Utf8 {
    /// Valid non-ASCII characters.
    good: usize,
    /// Invalid positions.
    bad: usize,
    /// Invalid positions that begin a character.
    halves: usize,
    /// Runs of zero bytes and of other control characters that do not occur in text.
    control: usize,
}

impl Utf8 {
    fn of(bytes: &[u8]) -> Self {
        let mut found = Self { good: 0, bad: 0, halves: 0, control: 0 };
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            let mut last = false;
            for c in chunk.valid().chars() {
                found.good += usize::from(!c.is_ascii());
                let control = c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{C}' | '\u{85}');
                found.control += usize::from(control && !last);
                last = control;
            }
            // The end may be in the middle of a character.
            let cut =
                chunks.peek().is_none() && std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none());
            found.bad += usize::from(!chunk.invalid().is_empty() && !cut);
            found.halves += usize::from(chunk.invalid().len() > 1 && !cut);
        }
        found
    }

    /// Whether most non-ASCII bytes are UTF-8, or were before the text was cut. Two bytes of GBK are valid UTF-8 by
    /// chance in one of seven cases.
    fn is_likely(&self) -> bool {
        self.good > self.bad || self.bad == self.halves
    }

    /// Whether the bytes are text with some faults: few relative to the characters or to the lines.
    fn is_text(&self, bytes: &[u8]) -> bool {
        let faults = self.bad + self.control;
        let lines = || bytes.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty());
        let whole = |line: &&[u8]| !line.contains(&0) && std::str::from_utf8(line).is_ok();
        self.is_likely() && faults * 20 <= bytes.len() || lines().filter(whole).count() * 2 > lines().count()
    }
}

/// Number of decoded characters, and of those that are common in text.
#[derive(Default)]
struct Usual {
    all: usize,
    good: usize,
    spaces: usize,
}

impl Usual {
    /// Whether almost all are letters and punctuation in use; some may be damaged.
    fn is_good(&self) -> bool {
        self.all > 0 && self.good * 100 >= self.all * 95
    }
}

/// Counts characters; None is a decoding error.
fn usual(text: impl Iterator<Item = Option<char>>) -> Usual {
    let mut found = Usual::default();
    for c in text {
        found.all += 1;
        let Some(c) = c else { continue };
        let good = c.is_ascii_graphic()
            || matches!(c, ' ' | '\n' | '\r' | '\t' | MARK | '\u{A0}'..='\u{24F}' | '\u{370}'..='\u{52F}')
            || matches!(c, '\u{2010}'..='\u{2027}' | '\u{3000}'..='\u{30FF}' | '\u{AC00}'..='\u{D7A3}' | '\u{FF00}'..='\u{FFEF}')
            // The common block; wrong decodings produce rare characters.
            || ('\u{4E00}'..'\u{A000}').contains(&c);
        found.good += usize::from(good);
        found.spaces += usize::from(matches!(c, ' ' | '\n' | '。' | '，' | '、' | '的'));
    }
    found
}

/// Whether bytes decode to plausible UTF-16.
fn wide(encoding: &'static Encoding, head: &[u8]) -> bool {
    let mut text = String::with_capacity(head.len() * 3 + 16);
    // Not marked as the end, because the head may be cut within a character.
    let _ = encoding.new_decoder_without_bom_handling().decode_to_string(head, &mut text, false);
    let found = usual(text.chars().map(|c| (c != char::REPLACEMENT_CHARACTER).then_some(c)));
    // Bytes decoded as UTF-16 by mistake also give Han characters, which are a third of the plane, but not the most
    // frequent ones.
    found.is_good() && found.spaces * 50 >= found.all
}

/// The legacy encoding of a text, if it can be detected.
fn legacy(head: &[u8]) -> Option<&'static Encoding> {
    if is_western(head) {
        return Some(WINDOWS_1252);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(head, false);
    let sensible = |guess: &'static Encoding| {
        let guess = if guess == GBK { GB18030 } else { guess };
        if ![GB18030, BIG5, SHIFT_JIS, EUC_JP, EUC_KR].contains(&guess) {
            return None;
        }
        let mut text = String::with_capacity(head.len() * 3 + 16);
        let _ = guess.new_decoder_without_bom_handling().decode_to_string(head, &mut text, false);
        // Pure ASCII would match any encoding.
        let found =
            usual(text.chars().filter(|c| !c.is_ascii()).map(|c| (c != char::REPLACEMENT_CHARACTER).then_some(c)));
        found.is_good().then_some(guess)
    };
    // A text too short for detection is most likely Chinese.
    let pairs = head.windows(2).filter(|pair| !pair[0].is_ascii());
    let mut seen = HashSet::new();
    let short = !pairs.into_iter().any(|pair| seen.insert([pair[0], pair[1]]) && seen.len() >= SHORT);
    if short && lone(head) {
        return None;
    }
    let [first, second]: [Option<&[u8]>; 2] = if short { [Some(b"cn"), None] } else { [None, Some(b"cn")] };
    if let Some(found) = sensible(detector.guess(first, Utf8Detection::Deny)) {
        return Some(found);
    }
    sensible(detector.guess(second, Utf8Detection::Deny))
}

/// Whether most non-ASCII bytes are isolated, which never happens in a two-byte encoding.
fn lone(head: &[u8]) -> bool {
    let above = |at: usize| head.get(at).is_some_and(|b| !b.is_ascii());
    let (mut all, mut alone) = (0_usize, 0_usize);
    for at in (0..head.len()).filter(|at| above(*at)) {
        all += 1;
        alone += usize::from(!above(at + 1) && !at.checked_sub(1).is_some_and(above));
    }
    alone * 2 > all
}

/// Whether non-ASCII bytes are Western letters and punctuation, each isolated among ASCII. A single one may be damage.
fn is_western(head: &[u8]) -> bool {
    let (mut all, mut alone, mut letters) = (0_usize, 0_usize, 0_usize);
    for (at, byte) in head.iter().enumerate().filter(|(_, b)| !b.is_ascii()) {
        let beside = [at.checked_sub(1), Some(at + 1)].map(|i| i.and_then(|i| head.get(i)));
        all += 1;
        alone += usize::from(beside.iter().flatten().all(|b| b.is_ascii()));
        // Letters, quotation marks, dashes, and the signs of currencies and degrees.
        letters += usize::from(match byte {
            0xC0..=0xFF | 0x8A | 0x8C | 0x8E | 0x9A | 0x9C | 0x9E | 0x9F => {
                beside.iter().flatten().any(|b| b.is_ascii_alphabetic())
                    || beside.iter().flatten().all(|b| b.is_ascii_whitespace() || b.is_ascii_punctuation())
            }
            0x80
            | 0x85
            | 0x91..=0x97
            | 0xA0
            | 0xA1
            | 0xA3
            | 0xA7
            | 0xA9
            | 0xAB
            | 0xAE
            | 0xB0..=0xB4
            | 0xB7
            | 0xBB..=0xBF => true,
            _ => false,
        });
    }
    let share = |part: usize, of: usize| part * 10 >= all * of;
    all >= 2 && share(alone, 7) && share(letters, 9) && all * 4 <= head.len()
}

/// Decodes UTF-32; an invalid group of four bytes, or a remainder at the end, is Err.
fn quads(bytes: &[u8], big: bool) -> impl Iterator<Item = Result<char, ()>> {
    let skip = usize::from(bytes.starts_with(&[0xFF, 0xFE, 0, 0]) || bytes.starts_with(&[0, 0, 0xFE, 0xFF]));
    bytes.as_chunks::<4>().0.iter().skip(skip).map(move |four| quad(*four, big))
}

fn quad(four: [u8; 4], big: bool) -> Result<char, ()> {
    char::from_u32(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }).ok_or(())
}

/// The name of the encoding that an input is converted from, once detected; None for UTF-8.
pub(in crate::data) type Name = Rc<Cell<Option<&'static str>>>;

/// An input converted to UTF-8. A binary input ends with an error.
pub(in crate::data) struct Utf8Reader<R> {
    input: R,
    way: Way,
    name: Name,
    /// Bytes before the detection window.
    before: u64,
    /// Converted bytes, and how many of them were handed out.
    text: Vec<u8>,
    from: usize,
    /// The beginning of what may be a byte order mark.
    held: Vec<u8>,
    /// Whether the next byte is the first of a line.
    begins: bool,
    /// An error of the input, returned after the bytes before it.
    failed: Option<io::Error>,
    ended: bool,
}

/// The conversion.
enum Way {
    /// Nothing but ASCII so far.
    Unknown,
    Utf8,
    Other(Box<Decoder>),
    /// With the bytes of an incomplete character.
    Utf32 {
        big: bool,
        rest: Vec<u8>,
    },
}

impl<R: Read> Utf8Reader<R> {
    pub(in crate::data) fn new(input: R) -> Self {
        let name = Name::default();
        let (text, held) = (Vec::new(), Vec::new());
        Self {
            input,
            way: Way::Unknown,
            name,
            before: 0,
            text,
            from: 0,
            held,
            begins: true,
            failed: None,
            ended: false,
        }
    }

    /// Where the name of the encoding will be stored.
    pub(in crate::data) fn name(&self) -> Name {
        Rc::clone(&self.name)
    }

    /// Converts the next piece.
    fn fill(&mut self) -> io::Result<()> {
        const PIECE: u64 = 1 << 16;
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        let piece = if matches!(self.way, Way::Unknown) { HEAD as u64 } else { PIECE };
        let mut raw = Vec::new();
        self.failed = self.input.by_ref().take(piece).read_to_end(&mut raw).err();
        self.ended = self.failed.is_none() && (raw.len() as u64) < piece;
        if matches!(self.way, Way::Unknown) && !is_plain(&raw) {
            let kind = detect(&raw).map_err(|e| match e {
                DataError::Binary { offset } => io::Error::other(DataError::Binary { offset: self.before + offset }),
                e => io::Error::other(e),
            })?;
            self.name.set(kind.name());
            self.way = match kind {
                Kind::Utf8 => Way::Utf8,
                Kind::Other(encoding) => Way::Other(Box::new(encoding.new_decoder_with_bom_removal())),
                Kind::Utf32 { big } => Way::Utf32 { big, rest: Vec::new() },
            };
        }
        self.before += raw.len() as u64;
        self.from = 0;
        self.text = match &mut self.way {
            Way::Unknown | Way::Utf8 => raw,
            Way::Other(decoder) => {
                let room = decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len() * 4 + 16);
                let mut text = vec![0; room];
                let (_, _, written, _) = decoder.decode_to_utf8(&raw, &mut text, self.ended);
                text.truncate(written);
                text
            }
            Way::Utf32 { big, rest } => {
                rest.extend_from_slice(&raw);
                let whole = rest.len() / 4 * 4;
                let mut text = String::with_capacity(whole);
                text.extend(
                    rest[..whole]
                        .as_chunks::<4>()
                        .0
                        .iter()
                        .map(|f| quad(*f, *big).unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
                rest.drain(..whole);
                if self.ended && !rest.is_empty() {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
                text.into_bytes()
            }
        };
        self.pass_marks();
        Ok(())
    }

    /// Removes byte order marks at the start of a line, as in joined files.
    fn pass_marks(&mut self) {
        if !self.held.is_empty() {
            self.text.splice(0..0, self.held.drain(..));
        }
        let mark = MARK.encode_utf8(&mut [0; 3]).as_bytes().to_owned();
        if !self.ended {
            let cut = (1..mark.len()).rev().find(|n| self.text.ends_with(&mark[..*n])).unwrap_or(0);
            self.held = self.text.split_off(self.text.len() - cut);
        }
        let ends_line = |byte: u8| byte == b'\n' || byte == b'\r';
        let begins = std::mem::replace(&mut self.begins, false);
        let mut out: Vec<u8> = Vec::new();
        let mut done = 0;
        for at in memmem::find_iter(&self.text, &mark) {
            if if at == 0 { begins } else { ends_line(self.text[at - 1]) || done == at } {
                out.extend_from_slice(&self.text[done..at]);
                done = at + mark.len();
            }
        }
        if done > 0 {
            out.extend_from_slice(&self.text[done..]);
            self.text = out;
        }
        self.begins = self.text.last().map_or(begins, |byte| ends_line(*byte));
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.from == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let there = &self.text[self.from..];
        let taken = there.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&there[..taken]);
        self.from += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(bytes: &[u8]) -> (String, Option<&'static str>) {
        let mut input = Utf8Reader::new(bytes);
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        // Decoding at once gives the same result.
        if let Ok(whole) = to_text(bytes.to_vec()) {
            assert_eq!(whole, Text { text: text.clone(), encoding: input.name().get() });
        }
        (text, input.name().get())
    }

    const VERSE: &str = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n";
    const ENGLISH: &str = "The furnace is warm.\nThe elixir is not done.\n";
    const RECORD: &str = "{\"messages\": [{\"role\": \"user\", \"content\": \"你好\"}]}\n";

    fn wide(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    fn widest(text: &str, big: bool) -> Vec<u8> {
        text.chars().flat_map(|c| if big { u32::from(c).to_be_bytes() } else { u32::from(c).to_le_bytes() }).collect()
    }

    #[test]
    fn unicode_is_detected_with_and_without_a_mark() {
        for wanted in
            [VERSE.repeat(3), ENGLISH.repeat(3), format!("{ENGLISH}{VERSE}"), RECORD.to_owned(), VERSE.repeat(9000)]
        {
            let mark = MARK.to_string();
            assert_eq!(through(wanted.as_bytes()), (wanted.clone(), None));
            assert_eq!(through(format!("{mark}{wanted}").as_bytes()), (wanted.clone(), None));
            for big in [false, true] {
                let (two, four) = if big { ("UTF-16BE", "UTF-32BE") } else { ("UTF-16LE", "UTF-32LE") };
                for marked in [wanted.clone(), format!("{mark}{wanted}"), format!("{mark}{wanted}{mark}{wanted}")] {
                    let plain = marked.replace(MARK, "");
                    assert_eq!(through(&wide(&marked, big)), (plain.clone(), Some(two)));
                    assert_eq!(through(&widest(&marked, big)), (plain, Some(four)));
                }
            }
        }
    }

    #[test]
    fn other_encodings_are_detected_by_their_text() {
        let traditional = "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。";
        let japanese = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。";
        let korean = "나 보기가 역겨워 가실 때에는 말없이 고이 보내 드리우리다";
        let french = "Le café est prêt.\nÀ bientôt, garçon ! Où êtes-vous ?\n";
        let german = "{\"text\": \"Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch\"}\n";
        let spanish = "¿Dónde está la niña? “Aquí” – dijo el señor.\n";
        for (encoding, name, text) in [
            (GB18030, "gb18030", VERSE),
            (GB18030, "gb18030", RECORD),
            (GB18030, "gb18030", "你好，世界"),
            (GB18030, "gb18030", "{\"prompt\": \"天\", \"completion\": \"地玄黄\"}\n"),
            (BIG5, "Big5", traditional),
            (SHIFT_JIS, "Shift_JIS", japanese),
            (EUC_JP, "EUC-JP", japanese),
            (EUC_KR, "EUC-KR", korean),
            (WINDOWS_1252, "windows-1252", french),
            (WINDOWS_1252, "windows-1252", german),
            (WINDOWS_1252, "windows-1252", spanish),
        ] {
            for times in [1, 5000] {
                let text = text.repeat(times);
                let (bytes, _, lost) = encoding.encode(&text);
                assert!(!lost, "{text}");
                let (found, name_found) = through(&bytes);
                let beginning: String = found.chars().take(40).collect();
                assert!(name_found == Some(name) && found == text, "{name} {times}: {name_found:?} {beginning}");
            }
        }
        // The byte order mark of GB18030, and Chinese after much ASCII.
        let (bytes, _, _) = GB18030.encode(VERSE);
        assert_eq!(through(&[&b"\x84\x31\x95\x33"[..], &bytes].concat()), (VERSE.to_owned(), Some("gb18030")));
        let late = format!("{}{}", ENGLISH.repeat(20_000), VERSE.repeat(3));
        assert_eq!(through(&GB18030.encode(&late).0), (late, Some("gb18030")));
    }

    #[test]
    fn one_bad_byte_changes_no_encoding() {
        let mut bytes = VERSE.as_bytes().to_vec();
        bytes[4] = 0xFF;
        assert_eq!(detect(&bytes).unwrap(), Kind::Utf8);
        let on_one_line: Vec<u8> = bytes.iter().copied().filter(|b| *b != b'\n').collect();
        assert_eq!(detect(&on_one_line).unwrap(), Kind::Utf8);
        assert_eq!(detect(b"the furnace is w\xffarm\n").unwrap(), Kind::Utf8);
        assert_eq!(detect(b"the furnace \xe6\x98 is \xf0\x9f\x98 warm\n").unwrap(), Kind::Utf8);
        // A zero byte does not change the encoding; a program has none.
        for text in [VERSE.to_owned(), ENGLISH.repeat(2), format!("[{}]", RECORD.trim().repeat(4))] {
            let middle = text.char_indices().nth(20).map_or(0, |(at, _)| at);
            let spoiled = format!("{}\0{}", &text[..middle], &text[middle..]);
            assert_eq!(through(spoiled.as_bytes()), (spoiled.clone(), None));
            assert_eq!(through(&wide(&spoiled, false)), (spoiled.clone(), Some("UTF-16LE")));
            assert_eq!(through(&widest(&spoiled, true)), (spoiled.clone(), Some("UTF-32BE")));
            let (bytes, encoding, _) = GB18030.encode(&spoiled);
            assert_eq!(through(&bytes), (spoiled.clone(), Some(encoding.name()).filter(|_| !spoiled.is_ascii())));
        }
        let padded = format!("{VERSE}{VERSE}{}", "\0".repeat(4096));
        assert_eq!(through(padded.as_bytes()).1, None);
        let program =
            [&b"\x7fELF\x02\x01\x01\x00\x80\xff\xfe\x00rest"[..], &[0, 1, 2, 3, 0x90, 0xfe].repeat(50)].concat();
        assert!(matches!(detect(&program), Err(DataError::Binary { offset: 7 })));
        let error = Utf8Reader::new(program.as_slice()).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(DataError::from(error), DataError::Binary { offset: 7 }));
    }

    #[test]
    fn marks_go_where_a_file_begins() {
        let joined = "\u{FEFF}a\n\u{FEFF}b\r\u{FEFF}\u{FEFF}c d\u{FEFF}e";
        assert_eq!(through(joined.as_bytes()).0, "a\nb\rc d\u{FEFF}e");
        for size in 1..8 {
            let mut reader = Utf8Reader::new(Slow { bytes: joined.as_bytes(), size });
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a\nb\rc d\u{FEFF}e");
        }
        assert_eq!(to_text(b"a = 1\rb = 2\r".to_vec()).unwrap().text, "a = 1\nb = 2\n");
        assert_eq!(to_text(b"a = 1\r\nb = 2\r\n".to_vec()).unwrap().text, "a = 1\r\nb = 2\r\n");
        assert!(matches!(to_text(b"a = 1\nb = \xff\n".to_vec()), Err(DataError::InvalidUtf8 { offset: 10, line: 2 })));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:cdcd\nsize 12\n";
        assert!(matches!(to_text(pointer.to_vec()), Err(DataError::Pointer)));
    }

    /// A reader that returns a few bytes at a time.
    struct Slow<'a> {
        bytes: &'a [u8],
        size: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.size.min(buffer.len());
            self.bytes.read(&mut buffer[..size])
        }
    }
}
