//! Parses keys that were typed before the screen was up, or during the query for character widths: bytes that were read
//! with the answer, so that crossterm never sees them.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

const PASTE: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// Parses events; also returns how many bytes they took, since the rest may be incomplete.
pub(super) fn events(bytes: &[u8]) -> (Vec<Event>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let Some((event, used)) = first(&bytes[at..]) else { break };
        found.extend(event);
        at += used;
    }
    (found, at)
}

/// The column of the first cursor report, which is removed from the bytes.
pub(super) fn take_report(bytes: &mut Vec<u8>) -> Option<u16> {
    let starts: Vec<usize> = bytes.windows(2).enumerate().filter(|(_, w)| w == b"\x1b[").map(|(at, _)| at).collect();
    for at in starts {
        let Some((params, b'R', used)) = sequence(&bytes[at..]) else { continue };
        let column = std::str::from_utf8(params).ok().and_then(|p| p.split_once(';')?.1.parse().ok());
        if let Some(column) = column {
            bytes.drain(at..at + used);
            return Some(column);
        }
    }
    None
}

/// Parameters, final byte and length of `ESC [ … x`; None if incomplete.
fn sequence(bytes: &[u8]) -> Option<(&[u8], u8, usize)> {
    let rest = bytes.strip_prefix(b"\x1b[")?;
    let end = rest.iter().position(|b| (0x40..=0x7e).contains(b))?;
    Some((&rest[..end], rest[end], end + 3))
}

/// The first event and its length; no event for bytes that are not a key. None if more bytes are needed.
fn first(bytes: &[u8]) -> Option<(Option<Event>, usize)> {
    let plain = |code| Some(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    match bytes {
        [0x1b, b'[', ..] if bytes.starts_with(PASTE) => {
            let text = &bytes[PASTE.len()..];
            let end = text.windows(PASTE_END.len()).position(|w| w == PASTE_END)?;
            let pasted = String::from_utf8_lossy(&text[..end]).into_owned();
            Some((Some(Event::Paste(pasted)), PASTE.len() + end + PASTE_END.len()))
        }
        [0x1b, b'[', ..] => {
            let (params, last, used) = sequence(bytes)?;
            Some((special(params, last), used))
        }
        [0x1b, b'O', last, ..] => Some((special(b"", *last), 3)),
        [] | [0x1b] | [0x1b, b'O'] => None,
        [0x1b, 0x1b, ..] => Some((plain(KeyCode::Esc), 1)),
        [0x1b, rest @ ..] => {
            let (event, used) = first(rest)?;
            let alt = event.map(|event| match event {
                Event::Key(key) => Event::Key(KeyEvent::new(key.code, key.modifiers | KeyModifiers::ALT)),
                other => other,
            });
            Some((alt, used + 1))
        }
        // The earlier line discipline has turned Enter into a line feed.
        [b'\r' | b'\n', ..] => Some((plain(KeyCode::Enter), 1)),
        [b'\t', ..] => Some((plain(KeyCode::Tab), 1)),
        [0x7f, ..] => Some((plain(KeyCode::Backspace), 1)),
        [byte @ 0..0x20, ..] => {
            let key = match byte {
                0 => ' ',
                1..=26 => (b'a' + byte - 1) as char,
                _ => (b'4' + byte - 0x1c) as char,
            };
            Some((Some(Event::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL))), 1))
        }
        [lead, ..] => {
            let long = match lead {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => 1,
            };
            let whole = bytes.get(..long)?;
            let c = std::str::from_utf8(whole).ok().and_then(|s| s.chars().next());
            Some((c.and_then(|c| plain(KeyCode::Char(c))), if c.is_some() { long } else { 1 }))
        }
    }
}

/// The key of an escape sequence.
fn special(params: &[u8], last: u8) -> Option<Event> {
    let text = std::str::from_utf8(params).ok()?;
    let mut numbers = text.split(';').map(|n| n.parse::<u8>().unwrap_or(1));
    let (number, held) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1).saturating_sub(1));
    let code = match (last, number) {
        (b'A', _) => KeyCode::Up,
        (b'B', _) => KeyCode::Down,
        (b'C', _) => KeyCode::Right,
        (b'D', _) => KeyCode::Left,
        (b'H', _) | (b'~', 1 | 7) => KeyCode::Home,
        (b'F', _) | (b'~', 4 | 8) => KeyCode::End,
        (b'Z', _) => KeyCode::BackTab,
        (b'P'..=b'S', _) => KeyCode::F(last - b'P' + 1),
        (b'~', 3) => KeyCode::Delete,
        (b'~', 5) => KeyCode::PageUp,
        (b'~', 6) => KeyCode::PageDown,
        (b'~', 11..=15) => KeyCode::F(number - 10),
        (b'~', 17..=21) => KeyCode::F(number - 11),
        (b'~', 23 | 24) => KeyCode::F(number - 12),
        (b'I', _) => return Some(Event::FocusGained),
        (b'O', _) => return Some(Event::FocusLost),
        _ => return None,
    };
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)] {
        modifiers.set(modifier, held & bit != 0);
    }
    Some(Event::Key(KeyEvent::new(code, modifiers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn the_cursor_report_is_taken_out_and_nothing_else() {
        for (read, column, left) in [
            (&b"\x1b[1;3R"[..], Some(3), &b""[..]),
            (b"abc\x1b[12;2Rq", Some(2), b"abcq"),
            ("春\x1b[A".as_bytes(), None, "春\x1b[A".as_bytes()),
            (b"\x1b[A\x1b[1;80R\x1b[B", Some(80), b"\x1b[A\x1b[B"),
            (b"\x1b[R\x1b[1;", None, b"\x1b[R\x1b[1;"),
            (b"", None, b""),
        ] {
            let mut bytes = read.to_vec();
            assert_eq!(take_report(&mut bytes), column, "{read:?}");
            assert_eq!(bytes, left, "{read:?}");
        }
    }

    #[test]
    fn bytes_are_the_keys_that_made_them() {
        let none = KeyModifiers::NONE;
        let all = "i春\n\r\t\x7f\x03\x1b[A\x1b[5~\x1b[3;3~\x1bq\x1bOP\x1b[Z\x1b[200~a\x1b[A\x1b[201~\x1b[99z\x1b[I";
        let (found, used) = events(all.as_bytes());
        assert_eq!(used, all.len());
        let wanted = [
            key(KeyCode::Char('i'), none),
            key(KeyCode::Char('春'), none),
            key(KeyCode::Enter, none),
            key(KeyCode::Enter, none),
            key(KeyCode::Tab, none),
            key(KeyCode::Backspace, none),
            key(KeyCode::Char('c'), KeyModifiers::CONTROL),
            key(KeyCode::Up, none),
            key(KeyCode::PageUp, none),
            key(KeyCode::Delete, KeyModifiers::ALT),
            key(KeyCode::Char('q'), KeyModifiers::ALT),
            key(KeyCode::F(1), none),
            key(KeyCode::BackTab, none),
            Event::Paste("a\u{1b}[A".to_owned()),
            Event::FocusGained,
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_beginning_is_kept_and_no_byte_stops_the_rest() {
        for cut in ["\u{1b}", "\u{1b}[", "\u{1b}[1;", "\u{1b}O", "\u{1b}[200~half"] {
            assert_eq!(events(format!("x{cut}").as_bytes()).1, 1, "{cut:?}");
        }
        assert_eq!(events("x春".as_bytes().split_last().map_or(&[][..], |(_, most)| most)).1, 1);
        let (found, used) = events(b"\xff\xe6\x41b");
        assert_eq!((found.len(), used), (2, 4), "bytes that are no text are passed over");
        // Parsing must end, whatever the bytes.
        let mut chance = 1_u64;
        for _ in 0..2000 {
            let some: Vec<u8> = (0..24)
                .map(|_| {
                    chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"\x1b[O~;12R\xe6\x98\xa5\xffaA\n\x00\x7f"[(chance >> 33) as usize % 17]
                })
                .collect();
            assert!(events(&some).1 <= some.len());
        }
    }
}
