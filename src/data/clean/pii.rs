//! Masks personal data: e-mail and IPv4 addresses, Chinese telephone and identity numbers.
//!
//! Masks are written as in LLMBook 4.3. Numbers are validated first: an identity number has a date and a checksum (GB
//! 11643-1999, ISO 7064 MOD 11-2), a mobile number a known prefix, a landline number an area code, an address four
//! bytes. Separators, country codes and full-width characters are accepted. Parts of URLs, git remotes, file names,
//! packages and versions are not personal data.

use memchr::memchr_iter;

/// The weights of an identity number's digits: powers of 2 modulo 11.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/// Number of masked items of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// E-mail addresses.
    pub emails: u64,
    /// IPv4 addresses.
    pub addresses: u64,
    /// Chinese telephone numbers, mobile and landline.
    pub phones: u64,
    /// Chinese identity numbers.
    pub identities: u64,
}

impl Masked {
    /// The sum of all kinds.
    pub fn total(self) -> u64 {
        self.emails + self.addresses + self.phones + self.identities
    }
}

/// The mask of an e-mail address.
const EMAIL: &str = "**MASKED**EMAIL**";
/// The mask of an IPv4 address.
const ADDRESS: &str = "**MASKED**IPADDRESS**";
/// The mask of a telephone number.
const PHONE: &str = "**MASKED**PHONE**";
/// The mask of an identity number.
const IDENTITY: &str = "**MASKED**IDCARD**";

/// The text prepared for searching, one byte per character: full-width forms and variants of dashes and spaces as plain
/// ones, words for versions and sections as [`SECTION`], other non-ASCII characters as [`OTHER`].
struct Plain {
    bytes: Vec<u8>,
    /// Byte offset of each character in the text, and of the end.
    starts: Vec<usize>,
}

/// A character that is not ASCII.
const OTHER: u8 = 0x80;
/// A character that marks a version or section number, as in 第1.2.3.4节.
const SECTION: u8 = 0x81;

impl Plain {
    fn new(text: &str) -> Self {
        let plain = |c: char| match c {
            '\u{FF01}'..='\u{FF5E}' => (u32::from(c) - 0xFEE0) as u8,
            '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{3000}' => b' ',
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' => b'-',
            c if c.is_ascii() => c as u8,
            '版' | '本' | '章' | '节' | '条' | '款' | '图' | '表' | '第' | '项' | '录' | '§' => SECTION,
            _ => OTHER,
        };
        let bytes = text.chars().map(plain).collect();
        let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        Self { bytes, starts }
    }
}

/// The text with everything masked, or `None` if there is nothing to mask.
pub fn mask(text: &str, masked: &mut Masked) -> Option<String> {
    // Most texts contain no character that a match could begin with.
    if !text.contains('@')
        && !text.contains('\u{FF20}')
        && !text.chars().any(|c| c.is_ascii_digit() || ('０'..='９').contains(&c))
    {
        return None;
    }
    let Plain { bytes, starts } = Plain::new(text);
    let mut out = String::new();
    // Everything before `done` has been copied to `out`.
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        let Some((start, end, mask)) = found(&bytes, at, done, masked) else {
            at += 1;
            continue;
        };
        out.push_str(&text[starts[done]..starts[start]]);
        out.push_str(mask);
        (done, at) = (end, end);
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[starts[done]..]);
    Some(out)
}

/// The item that begins at `at` (or has its @ there), with its range; never before `done`.
fn found(bytes: &[u8], at: usize, done: usize, masked: &mut Masked) -> Option<(usize, usize, &'static str)> {
    if bytes[at] == b'@' {
        let (start, end) = email(bytes, at, done)?;
        masked.emails += 1;
        return Some((start, end, EMAIL));
    }
    // Numbers are only recognised from their beginning.
    let opens = bytes[at].is_ascii_digit() || matches!(bytes[at], b'+' | b'(');
    if !opens || at > done && is_part(bytes[at - 1]) {
        return None;
    }
    // Inside another number, a version or a product code.
    let inside = at > done + 1 && matches!(bytes[at - 1], b'.' | b'-') && bytes[at - 2].is_ascii_digit();
    let whole = |end: usize| {
        let (next, after) = (bytes.get(end), bytes.get(end + 1));
        let goes_on = next.is_some_and(|b| is_part(*b))
            || matches!(next, Some(b'.' | b'-')) && after.is_some_and(u8::is_ascii_digit);
        !inside && !goes_on && !in_address(bytes, at, end)
    };
    if let Some(end) = identity(bytes, at).filter(|end| whole(*end)) {
        masked.identities += 1;
        return Some((at, end, IDENTITY));
    }
    if let Some(end) = phone(bytes, at).filter(|end| whole(*end)) {
        masked.phones += 1;
        return Some((at, end, PHONE));
    }
    let end = at + address(&bytes[at..])?;
    if !whole(end) || is_version(bytes, at, end) {
        return None;
    }
    masked.addresses += 1;
    Some((at, end, ADDRESS))
}

/// Whether a byte continues a number or word.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Number of characters examined around a position.
const AROUND: usize = 400;

/// The part of a word before `at`; words end at spaces, brackets and other scripts.
fn before(bytes: &[u8], at: usize) -> &[u8] {
    let ends = |b: &u8| b.is_ascii_whitespace() || !b.is_ascii() || b"\"'`<>()[]{}|".contains(b);
    let length = bytes[..at].iter().rev().take(AROUND).take_while(|b| !ends(b)).count();
    &bytes[at - length..at]
}

/// File extensions, none of which is a domain.
const FILES: &str = "png jpg jpeg gif svg webp ico bmp tif tiff pdf css scss less js jsx ts tsx vue json jsonl html htm xml \
    yml yaml toml txt csv tsv log lock wav avi ttf woff gz tgz tar rar exe git";

/// Whether a list contains a word, ignoring case.
fn is_in(words: &str, word: &[u8]) -> bool {
    words.split_ascii_whitespace().any(|w| w.as_bytes().eq_ignore_ascii_case(word))
}

/// Whether a file extension follows this dot.
fn is_file(bytes: &[u8], dot: usize) -> bool {
    let ending = bytes.get(dot + 1..).unwrap_or_default();
    let length = ending.iter().take_while(|b| is_part(**b)).count();
    bytes.get(dot) == Some(&b'.') && is_in(FILES, &ending[..length])
}

/// Whether a number is part of a URL, a path or a file name.
fn in_address(bytes: &[u8], start: usize, end: usize) -> bool {
    let word = before(bytes, start);
    if word.windows(3).any(|w| w == b"://") || word.starts_with(b"www.") {
        return true;
    }
    // A scheme before a colon is not a folder: tel:…/….
    let path = word.rsplit(|b| *b == b':').next().unwrap_or(word);
    let slashes = memchr_iter(b'/', path).count() + usize::from(bytes.get(end) == Some(&b'/'));
    let rooted = matches!(path.first(), Some(b'/' | b'.' | b'~'));
    slashes > 0 && path.iter().any(u8::is_ascii_alphabetic) && (rooted || slashes > 1) || is_file(bytes, end)
}

/// The address around an @.
fn email(bytes: &[u8], at: usize, done: usize) -> Option<(usize, usize)> {
    let local = |b: &u8| is_part(*b) || b".%+-".contains(b);
    let start = at - bytes[done..at].iter().rev().take_while(|b| local(b)).count();
    let start = start + bytes[start..at].iter().take_while(|b| **b == b'.').count();
    let domain = bytes[at + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b".-".contains(b)).count();
    let mut end = at + 1 + domain;
    // Punctuation at the end of a sentence is not part of the address.
    while end > at + 1 && b".-".contains(&bytes[end - 1]) {
        end -= 1;
    }
    let domain = &bytes[at + 1..end];
    let top = domain.iter().rposition(|b| *b == b'.').filter(|dot| *dot > 0)?;
    let letters = domain[top + 1..].iter().all(u8::is_ascii_alphabetic);
    let is_one = start < at && letters && domain.len() - top > 2;
    (is_one && !is_remote(bytes, start, at, end) && !is_package(bytes, at, top)).then_some((start, end))
}

/// Whether an address is a remote of git or scp, or part of a URL.
fn is_remote(bytes: &[u8], start: usize, at: usize, end: usize) -> bool {
    let opens = bytes.get(end + 1).is_some_and(|b| b.is_ascii_alphabetic() || b"/~._".contains(b));
    let path = || bytes[end + 1..].iter().take(AROUND).take_while(|b| b.is_ascii() && !b.is_ascii_whitespace());
    let is_path = bytes.get(end) == Some(&b':') && opens && path().any(|b| *b == b'/');
    let word = before(bytes, start);
    &bytes[start..at] == b"git" || is_path || word.windows(3).any(|w| w == b"://") && !word.contains(&b'?')
}

/// Whether the text after an @ is an image size, a file extension or a version.
fn is_package(bytes: &[u8], at: usize, top: usize) -> bool {
    let domain = &bytes[at + 1..];
    let mut labels = domain[..top].split(|b| *b == b'.');
    let (first, second) = (labels.next().unwrap_or_default(), labels.next());
    let number = |label: &[u8]| !label.is_empty() && label.iter().all(u8::is_ascii_digit);
    let size = first.strip_suffix(b"x").is_some_and(number) && second.is_none();
    let version = number(first.strip_prefix(b"v").unwrap_or(first))
        && second.is_some_and(|label| label.first().is_some_and(u8::is_ascii_digit) || label == b"x");
    size || version || is_file(bytes, at + 1 + top)
}

/// Groups of digits with at most one separator between two.
struct Groups {
    digits: Vec<u8>,
    /// Digits of each group.
    sizes: Vec<usize>,
    end: usize,
}

/// Reads up to `most` digits.
fn groups(bytes: &[u8], from: usize, most: usize) -> Groups {
    let mut read = Groups { digits: Vec::with_capacity(most), sizes: Vec::new(), end: from };
    let mut size = 0;
    while read.digits.len() < most {
        match bytes.get(read.end) {
            Some(digit) if digit.is_ascii_digit() => {
                read.digits.push(*digit);
                size += 1;
            }
            Some(b' ' | b'-' | b'.') if size > 0 && bytes.get(read.end + 1).is_some_and(u8::is_ascii_digit) => {
                read.sizes.push(std::mem::take(&mut size));
            }
            _ => break,
        }
        read.end += 1;
    }
    read.sizes.push(size);
    read
}

/// The end of the telephone number that begins here, including its country code.
fn phone(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let codes: [&[u8]; 6] = [b"(+86)", b"(0086)", b"(86)", b"+86", b"0086", b"86"];
    for code in codes.into_iter().filter(|code| rest.starts_with(code)) {
        let mut from = at + code.len();
        from += bytes[from..].iter().take(2).take_while(|b| b" -.".contains(b)).count();
        if let Some(end) = mobile(bytes, from) {
            return Some(end);
        }
        // In international format the area code has no leading 0.
        if code != b"86"
            && let Some(end) = landline(bytes, from, usize::from(bytes.get(from) != Some(&b'0')))
        {
            return Some(end);
        }
    }
    mobile(bytes, at).or_else(|| landline(bytes, at, 0))
}

/// The end of the mobile number that begins here.
fn mobile(bytes: &[u8], at: usize) -> Option<usize> {
    let read = groups(bytes, at, 11);
    let sizes: [&[usize]; 6] = [&[11], &[3, 4, 4], &[3, 8], &[7, 4], &[4, 3, 4], &[3, 3, 5]];
    let known = read.digits.len() == 11 && read.digits[0] == b'1' && (b'3'..=b'9').contains(&read.digits[1]);
    (known && sizes.contains(&read.sizes.as_slice())).then_some(read.end)
}

/// The end of the landline number that begins here: area code, separator, seven or eight digits. `short` is the number
/// of leading zeros missing from its area code.
fn landline(bytes: &[u8], at: usize, short: usize) -> Option<usize> {
    let open = usize::from(bytes.get(at) == Some(&b'('));
    let code = bytes[(at + open).min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let area = &bytes[at + open..at + open + code];
    let area = if short == 1 { [b"0", area].concat() } else { area.to_vec() };
    let digits = match area.as_slice() {
        [b'0', b'1', b'0'] | [b'0', b'2', _] => 8,
        [b'0', b'3'..=b'9', _, _] => 7,
        _ => return None,
    };
    let mut from = at + open + code;
    match (open, bytes.get(from)?) {
        (1, b')') => from += 1 + usize::from(matches!(bytes.get(from + 1), Some(b' ' | b'-'))),
        (0, b' ' | b'-') => from += 1,
        _ => return None,
    }
    let read = groups(bytes, from, 8);
    let sizes: [&[usize]; 5] = [&[8], &[4, 4], &[7], &[3, 4], &[4, 3]];
    let known = matches!(read.digits.first(), Some(b'2'..=b'8')) && read.digits.len() >= digits;
    (known && sizes.contains(&read.sizes.as_slice())).then_some(read.end)
}

/// Whether four numbers with dots are a version or section: by the word before or the character beside them.
fn is_version(bytes: &[u8], start: usize, end: usize) -> bool {
    const WORDS: &str = "section sections sec chapter clause article paragraph para appendix annex figure fig table item \
        rule version versions ver v release build update firmware driver sdk api revision";
    let words = &bytes[start.saturating_sub(AROUND)..start];
    let gap = words.iter().rev().take_while(|b| b" .:#=\"'".contains(b)).count();
    let word = words[..words.len() - gap].rsplit(|b| !b.is_ascii_alphabetic()).next().unwrap_or_default();
    let named = is_in(WORDS, word);
    // nginx/1.2.3.4, name-1.2.3.4, name@1.2.3.4, name==1.2.3.4, 1.2.3.4-rc1.
    let last = start.checked_sub(1).map(|at| bytes[at]);
    let second = start.checked_sub(2).map(|at| bytes[at]);
    let tied = matches!(last, Some(b'/' | b'-' | b'@' | b'^' | b'~')) && second.is_some_and(is_part)
        || last == Some(b'=') && matches!(second, Some(b'=' | b'>' | b'<' | b'~' | b'!'))
        || bytes.get(end) == Some(&b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic);
    // A heading: the number begins its line and words follow.
    let line =
        start == 0 || matches!(last, Some(b'\n' | b'#')) || last == Some(b' ') && matches!(second, Some(b'#' | b'\n'));
    let heading = line && bytes.get(end) == Some(&b' ') && bytes.get(end + 1).is_some_and(u8::is_ascii_uppercase);
    let small = bytes[start..end]
        .split(|b| *b == b'.')
        .all(|number| number.len() == 1 || number.len() == 2 && number[0] < b'3');
    let beside = words[..words.len() - gap].last() == Some(&SECTION) || bytes.get(end) == Some(&SECTION);
    named || tied || heading && small || beside
}

/// The length of the IPv4 address at the start.
fn address(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            (bytes.get(at) == Some(&b'.')).then_some(())?;
            at += 1;
        }
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = std::str::from_utf8(&bytes[at..at + digits]).ok()?;
        let plain = digits == 1 || !number.starts_with('0');
        (plain && number.parse::<u8>().is_ok()).then_some(())?;
        at += digits;
    }
    Some(at)
}

/// The end of the identity number that begins here: 17 digits with a date, and a check character; possibly in groups
/// for place, date and the rest.
fn identity(bytes: &[u8], at: usize) -> Option<usize> {
    let read = groups(bytes, at, 18);
    let (mut number, mut sizes, mut end) = (read.digits, read.sizes, read.end);
    if number.len() == 17 && matches!(bytes.get(end), Some(b'X' | b'x')) {
        number.push(b'X');
        *sizes.last_mut()? += 1;
        end += 1;
    }
    let known: [&[usize]; 4] = [&[18], &[6, 8, 4], &[6, 12], &[14, 4]];
    (number.len() == 18 && known.contains(&sizes.as_slice()) && is_identity(&number)).then_some(end)
}

/// Whether the date in an identity number and its check character are valid.
fn is_identity(number: &[u8]) -> bool {
    let value = |range: std::ops::Range<usize>| number[range].iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
    let (year, month, day) = (value(6..10), value(10..12), value(12..14));
    if !(1900..=2100).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return false;
    }
    let sum: u32 = number.iter().zip(WEIGHTS).map(|(b, w)| u32::from(b - b'0') * w).sum();
    b"10X98765432"[(sum % 11) as usize] == number[17].to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        mask(text, &mut Masked::default()).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn personal_data_is_masked() {
        assert_eq!(masked("write to a.b+c@mail.example.org."), format!("write to {EMAIL}."));
        assert_eq!(masked("信箱：x@y.cn，电话13800138000。"), format!("信箱：{EMAIL}，电话{PHONE}。"));
        assert_eq!(masked("at 192.168.0.1, then"), format!("at {ADDRESS}, then"));
        // The worked example of GB 11643-1999.
        assert_eq!(masked("证号11010519491231002X。"), format!("证号{IDENTITY}。"));
        assert_eq!(masked("440524188001010014 x"), "440524188001010014 x", "1880 is no year of anybody living");
        let all = "a@b.com 13912345678 8.8.8.8 11010519491231002x";
        let mut counted = Masked::default();
        assert_eq!(mask(all, &mut counted).unwrap(), format!("{EMAIL} {PHONE} {ADDRESS} {IDENTITY}"));
        assert_eq!(counted, Masked { emails: 1, addresses: 1, phones: 1, identities: 1 });
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "@name and a@b and a@b.c1 and @x.org",
            "1.2.3 and 256.1.1.1 and 1.2.3.4.5 and 01.2.3.4 and v1.2.3.4",
            "12345678901 and 138001380001 and x13800138000",
            // The check character should be X.
            "110105194912310021 and 110105199913310029",
            "春眠不觉晓",
            "",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn telephones_are_known_in_the_usual_spellings() {
        for number in [
            "138-1234-5678",
            "138 1234 5678",
            "138.1234.5678",
            "+8613812345678",
            "+86 13812345678",
            "+86-138-1234-5678",
            "8613812345678",
            "86-13812345678",
            "0086 138 1234 5678",
            "008613812345678",
            "(+86)13812345678",
            "（+86）138 1234 5678",
            "＋８６　１３８－１２３４－５６７８",
            "１３８１２３４５６７８",
            "138\u{2013}1234\u{2013}5678",
            "1381234 5678",
            "138\u{A0}1234\u{A0}5678",
            "010-12345678",
            "010-62345678",
            "0571-87654321",
            "(010)62345678",
            "（0571）8765432",
            "021 6234 5678",
            "+86-10-62345678",
            "+86 571 8765 4321",
            "0086-21-62345678",
        ] {
            if number == "010-12345678" {
                // No subscriber number begins with 1.
                assert_eq!(masked(number), number);
                continue;
            }
            assert_eq!(masked(&format!("电话：{number}，谢谢")), format!("电话：{PHONE}，谢谢"), "{number}");
            assert_eq!(masked(&format!("call {number}.")), format!("call {PHONE}."), "{number}");
        }
        assert_eq!(masked("tel:13812345678/13912345678 13712345678"), format!("tel:{PHONE}/{PHONE} {PHONE}"));
        assert_eq!(
            masked("证号 110105 19491231 002X，１１０１０５１９４９１２３１００２Ｘ"),
            format!("证号 {IDENTITY}，{IDENTITY}")
        );
        assert_eq!(masked("信箱 x＠y.cn，a@163.com、b@126.com"), format!("信箱 {EMAIL}，{EMAIL}、{EMAIL}"));
    }

    #[test]
    fn what_is_an_address_of_something_else_stays() {
        for text in [
            "git clone git@github.com:foo/bar.git or ssh://git@host.example.org/x.git",
            "scp deploy@web.example.org:/srv/app/x.tar . && rsync me@host.example.com:~/a/b .",
            "https://example.org/13812345678?id=11010519491231002X and https://user@example.org/x",
            "https://medium.com/@writer.name/story-13812345678",
            "icon foo@2x.png, foo@3x.webp and bar@dark.svg",
            "npm i left-pad@1.3.0-beta.one @types/node@18.x.dev go get example.org/y@v1.2.3-rc.final",
            "see section 1.2.3.4 of the law, § 1.2.3.4-a, version 10.0.1.2, Version: 1.2.3.4, v 1.2.3.4, fig. 1.2.3.4",
            "nginx/1.2.3.4 pip install name==1.2.3.4 name-1.2.3.4 name@1.2.3.4 1.2.3.4-rc1",
            "第1.2.3.4节，1.2.3.4款，版本 10.0.1.2，图1.2.3.4",
            "1.2.3.4 Scope\n## 2.3.4.5 Terms",
            "/data/calls/13812345678/a.wav and photo-13812345678.jpg and 13812345678.png",
            "9f13812345678ab and 1.13812345678 and 13812345678.5 and 978-13812345678 and 138-1234-5678-90",
            "2024-01-02 03:04:05, 400-123-4567, 0123-4567890, 1381 2345 678, 3.1415926535897932",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert_eq!(masked(text), text);
        }
        assert_eq!(
            masked("ping 8.8.8.8, ip=10.0.0.1, at 192.168.0.1:80"),
            format!("ping {ADDRESS}, ip={ADDRESS}, at {ADDRESS}:80")
        );
        assert_eq!(
            masked("192.168.0.1 GET /，地址1.2.3.4，Tel/13812345678"),
            format!("{ADDRESS} GET /，地址{ADDRESS}，Tel/{PHONE}")
        );
        assert_eq!(masked("mailto:a@b.com or <c@d.org>: hello"), format!("mailto:{EMAIL} or <{EMAIL}>: hello"));
    }
}
