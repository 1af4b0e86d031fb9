//! Masking what belongs to a person: e-mail and IPv4 addresses, Chinese mobile and identity numbers.
//!
//! The masks are written as in LLMBook 4.3. Numbers are checked before they are masked: an identity number has a
//! date and a checksum (GB 11643-1999, ISO 7064 MOD 11-2), a mobile number a known head, an address four bytes.

/// The weights of an identity number's digits: powers of 2 modulo 11.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/// How many of each were masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// E-mail addresses.
    pub emails: u64,
    /// IPv4 addresses.
    pub addresses: u64,
    /// Chinese mobile numbers.
    pub phones: u64,
    /// Chinese identity numbers.
    pub identities: u64,
}

impl Masked {
    /// All of them.
    pub fn total(self) -> u64 {
        self.emails + self.addresses + self.phones + self.identities
    }
}

/// What stands where an e-mail address was.
const EMAIL: &str = "**MASKED**EMAIL**";
/// What stands where an IPv4 address was.
const ADDRESS: &str = "**MASKED**IPADDRESS**";
/// What stands where a mobile number was.
const PHONE: &str = "**MASKED**PHONE**";
/// What stands where an identity number was.
const IDENTITY: &str = "**MASKED**IDCARD**";

/// The text with everything masked, or `None` where there is nothing to mask.
pub fn mask(text: &str, masked: &mut Masked) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    // Everything before this is in `out`.
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        let Some((start, end, mask)) = found(bytes, at, done, masked) else {
            at += 1;
            continue;
        };
        out.push_str(&text[done..start]);
        out.push_str(mask);
        (done, at) = (end, end);
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// What begins at a digit, or has its @ here, from where to where; never before `done`.
fn found(bytes: &[u8], at: usize, done: usize, masked: &mut Masked) -> Option<(usize, usize, &'static str)> {
    if bytes[at] == b'@' {
        let (start, end) = email(bytes, at, done)?;
        masked.emails += 1;
        return Some((start, end, EMAIL));
    }
    // Numbers are looked at from their first digit only.
    if !bytes[at].is_ascii_digit() || at > done && is_part(bytes[at - 1]) {
        return None;
    }
    let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let alone = |length: usize| bytes.get(at + length).is_none_or(|b| !is_part(*b));
    if (digits == 18 || digits == 17 && matches!(bytes.get(at + 17), Some(b'X' | b'x')))
        && alone(18)
        && identity(&bytes[at..at + 18])
    {
        masked.identities += 1;
        return Some((at, at + 18, IDENTITY));
    }
    if digits == 11 && alone(11) && bytes[at] == b'1' && (b'3'..=b'9').contains(&bytes[at + 1]) {
        masked.phones += 1;
        return Some((at, at + 11, PHONE));
    }
    let length = address(&bytes[at..])?;
    let before = at > 0 && bytes[at - 1] == b'.';
    let after = bytes.get(at + length) == Some(&b'.') && bytes.get(at + length + 1).is_some_and(u8::is_ascii_digit);
    if before || after || !alone(length) {
        return None;
    }
    masked.addresses += 1;
    Some((at, at + length, ADDRESS))
}

/// Whether a byte goes on with a number or a word.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The address around an @.
fn email(bytes: &[u8], at: usize, done: usize) -> Option<(usize, usize)> {
    let local = |b: &u8| is_part(*b) || b".%+-".contains(b);
    let start = at - bytes[done..at].iter().rev().take_while(|b| local(b)).count();
    let start = start + bytes[start..at].iter().take_while(|b| **b == b'.').count();
    let domain = bytes[at + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b".-".contains(b)).count();
    let mut end = at + 1 + domain;
    // A sentence's end is none of the address's.
    while end > at + 1 && b".-".contains(&bytes[end - 1]) {
        end -= 1;
    }
    let domain = &bytes[at + 1..end];
    let top = domain.iter().rposition(|b| *b == b'.').filter(|dot| *dot > 0)?;
    let letters = domain[top + 1..].iter().all(u8::is_ascii_alphabetic);
    (start < at && letters && domain.len() - top > 2).then_some((start, end))
}

/// The length of an IPv4 address at the start.
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

/// Whether 17 digits and a check character are an identity number: a date within them, and the right check.
fn identity(number: &[u8]) -> bool {
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
    fn what_is_a_persons_is_masked() {
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
            // The check character is X.
            "110105194912310021 and 110105199913310029",
            "春眠不觉晓",
            "",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
