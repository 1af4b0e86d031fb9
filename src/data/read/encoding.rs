//! Bytes of any usual encoding to UTF-8, converted as they are read.
//!
//! In this order: a byte order mark; UTF-8, if most of what is not ASCII in the head is; UTF-16 by its zero bytes
//! or by what comes out; a Chinese, Japanese or Korean encoding that `chardetng` finds and the head agrees with.
//! What is none of these stays as it is: each of its lines is then rejected and located. One-byte encodings are
//! not guessed, since every file fits them.

use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{BIG5, Decoder, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE};

use crate::data::error::DataError;

/// Bytes that are looked at to tell an encoding.
const HEAD: u64 = 256 << 10;

/// The input as UTF-8, and the name of the encoding it is converted from, if it is.
pub(super) fn utf8<'a>(mut input: impl Read + 'a) -> Result<(Box<dyn Read + 'a>, Option<&'static str>), DataError> {
    let mut head = Vec::new();
    // What comes before a failure is still read; the failure is told when it is reached.
    let failed = input.by_ref().take(HEAD).read_to_end(&mut head).err();
    let found = detect(&head)?;
    let whole = io::Cursor::new(head).chain(Rest { failed, input });
    Ok(match found {
        None => (Box::new(whole), None),
        Some(encoding) => (Box::new(Decoding::new(whole, encoding)), Some(encoding.name())),
    })
}

/// What follows the head, or the failure that the head ended with.
struct Rest<R> {
    failed: Option<io::Error>,
    input: R,
}

impl<R: Read> Read for Rest<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.failed.take().map_or_else(|| self.input.read(buffer), Err)
    }
}

/// The encoding of a file with this head; `None` for UTF-8, or what is to be taken for it.
fn detect(head: &[u8]) -> Result<Option<&'static Encoding>, DataError> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Ok((encoding != UTF_8).then_some(encoding));
    }
    // By line, so that one bad byte does not make another encoding of a whole file.
    let (mut good, mut bad) = (0_u64, 0_u64);
    for line in head.split(|b| *b == b'\n').filter(|l| !l.is_ascii()) {
        match std::str::from_utf8(line) {
            Ok(_) => good += 1,
            Err(e) if e.error_len().is_none() && line.as_ptr_range().end == head.as_ptr_range().end => {}
            Err(_) => bad += 1,
        }
    }
    let zero = head.iter().position(|b| *b == 0);
    if zero.is_none() && bad <= good {
        return Ok(None);
    }
    // GB18030 text has no zero byte, and reads as Han characters in UTF-16 too seldom to be taken for it.
    for encoding in [UTF_16LE, UTF_16BE] {
        if sensible(encoding, head) {
            return Ok(Some(encoding));
        }
    }
    if let Some(at) = zero {
        return Err(DataError::Binary { offset: at as u64 });
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(head, false);
    let guess = detector.guess(None, Utf8Detection::Deny);
    let guess = if guess == GBK { GB18030 } else { guess };
    let known = [GB18030, BIG5, SHIFT_JIS, EUC_JP, EUC_KR].contains(&guess);
    Ok((known && sensible(guess, head)).then_some(guess))
}

/// Whether a head makes sense in an encoding: without a fault, and nearly all of it letters and marks that are
/// in use.
fn sensible(encoding: &'static Encoding, head: &[u8]) -> bool {
    let mut text = String::with_capacity(head.len() * 3 + 16);
    // Not told to be the end: the head may be cut within a character.
    let (_, _, faults) = encoding.new_decoder_without_bom_handling().decode_to_string(head, &mut text, false);
    let usual = |c: char| {
        c.is_ascii_graphic()
            || matches!(c, ' ' | '\n' | '\r' | '\t' | '\u{2010}'..='\u{2027}' | '\u{3000}'..='\u{30FF}' | '\u{AC00}'..='\u{D7A3}' | '\u{FF00}'..='\u{FFEF}')
            // The common block; rare characters are what a wrong encoding is made of.
            || ('\u{4E00}'..'\u{A000}').contains(&c)
    };
    let (mut all, mut good, mut spaces) = (0_usize, 0_usize, 0_usize);
    for c in text.chars() {
        all += 1;
        good += usize::from(usual(c));
        spaces += usize::from(matches!(c, ' ' | '\n' | '。' | '，' | '、' | '的'));
    }
    // Bytes read as UTF-16 by mistake fall on Han characters too, for they are a third of the plane; but not on
    // the most frequent ones.
    !faults && all > 0 && good * 100 >= all * 95 && (spaces * 50 >= all || ![UTF_16LE, UTF_16BE].contains(&encoding))
}

/// Converts while reading.
struct Decoding<R> {
    input: R,
    decoder: Decoder,
    /// Bytes not converted yet, and how many there are.
    raw: Vec<u8>,
    /// Converted bytes, and the part of them not handed out yet.
    text: Vec<u8>,
    from: usize,
    ended: bool,
}

impl<R: Read> Decoding<R> {
    fn new(input: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { input, decoder, raw: Vec::new(), text: Vec::new(), from: 0, ended: false }
    }

    /// Converts the next piece.
    fn fill(&mut self) -> io::Result<()> {
        const PIECE: usize = 1 << 16;
        self.raw.resize(PIECE, 0);
        let read = self.input.read(&mut self.raw)?;
        self.ended = read == 0;
        let room = self.decoder.max_utf8_buffer_length(read).unwrap_or(PIECE * 4);
        self.text.resize(room, 0);
        let (_, _, written, _) = self.decoder.decode_to_utf8(&self.raw[..read], &mut self.text, self.ended);
        self.text.truncate(written);
        self.from = 0;
        Ok(())
    }
}

impl<R: Read> Read for Decoding<R> {
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
        let (mut input, name) = utf8(io::Cursor::new(bytes.to_vec())).unwrap();
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        (text, name)
    }

    #[test]
    fn encodings_are_told_apart() {
        let text = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n".repeat(3);
        let english = "The furnace is warm.\nThe elixir is not done.\n".repeat(3);
        for wanted in [&text, &english, &format!("{english}{text}")] {
            let wide = |big: bool| -> Vec<u8> {
                wanted.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
            };
            assert_eq!(through(wanted.as_bytes()), (wanted.clone(), None));
            assert_eq!(through(&wide(false)), (wanted.clone(), Some("UTF-16LE")));
            assert_eq!(through(&wide(true)), (wanted.clone(), Some("UTF-16BE")));
            assert_eq!(through(&[&[0xFE, 0xFF], wide(true).as_slice()].concat()), (wanted.clone(), Some("UTF-16BE")));
        }
        for text in [&text, &text.repeat(5000)] {
            let (bytes, _, _) = GB18030.encode(text);
            assert_eq!(through(&bytes), (text.clone(), Some("gb18030")));
        }
        let (bytes, _, _) = BIG5.encode("春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。");
        assert_eq!(through(&bytes).1, Some("Big5"));
    }

    #[test]
    fn one_bad_byte_changes_no_encoding() {
        let mut bytes = "春眠不觉晓，\n处处闻啼鸟。\n夜来风雨声，\n".as_bytes().to_vec();
        bytes[4] = 0xFF;
        assert_eq!(detect(&bytes).unwrap(), None);
        assert_eq!(detect(b"caf\xe9 au lait\n").unwrap(), None);
        assert!(matches!(detect(b"\x7fELF\x02\x01\x01\x00\x80\xff\xfe\x00rest"), Err(DataError::Binary { offset: 7 })));
    }
}
