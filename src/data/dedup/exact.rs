//! Exact duplicates: equal after NFC, white space collapsed, Chinese converted to simplified characters.

use std::num::NonZeroU128;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::data::clean::{Profile, script::simple};

/// A fingerprint that is equal for equal texts; different ones collide with probability 2⁻¹²⁸.
pub fn fingerprint(profile: Profile, body: &str) -> NonZeroU128 {
    let mut normal = String::with_capacity(body.len());
    let one_script = matches!(profile, Profile::ProseZh | Profile::Poetry);
    let mut push = |c: char| {
        if !c.is_whitespace() {
            normal.push(if one_script { simple(c) } else { c });
        } else if !normal.is_empty() && !normal.ends_with(' ') {
            normal.push(' ');
        }
    };
    match is_nfc_quick(body.chars()) {
        IsNormalized::Yes => body.chars().for_each(&mut push),
        _ => body.nfc().for_each(&mut push),
    }
    let hash = blake3::hash(normal.trim_end().as_bytes());
    let (head, _) = hash.as_bytes().split_at(16);
    NonZeroU128::new(head.iter().fold(0, |n, b| (n << 8) | u128::from(*b))).unwrap_or(NonZeroU128::MIN)
}

/// For each document the first earlier one with the same fingerprint, if any. `None` as a fingerprint leaves a document
/// out.
pub fn duplicates(fingerprints: &[Option<NonZeroU128>]) -> Vec<(u32, u32)> {
    let mut order: Vec<u32> = (0..fingerprints.len() as u32).filter(|i| fingerprints[*i as usize].is_some()).collect();
    order.sort_unstable_by_key(|i| (fingerprints[*i as usize], *i));
    let mut found = Vec::new();
    let mut first = None;
    for document in order {
        match first {
            Some((of, kept)) if of == fingerprints[document as usize] => found.push((document, kept)),
            _ => first = Some((fingerprints[document as usize], document)),
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_one_number() {
        let of = |text: &str| fingerprint(Profile::Poetry, text);
        assert_eq!(of("春眠 不觉晓\n"), of(" 春眠\u{3000}\u{3000}不覺曉"));
        assert_eq!(of("cafe\u{301}"), of("café"));
        assert_ne!(of("春眠不觉晓"), of("春眠不觉晓。"));
        assert_ne!(fingerprint(Profile::None, "覺"), fingerprint(Profile::None, "觉"));
        let n = NonZeroU128::new;
        assert_eq!(duplicates(&[n(2), n(1), n(0), n(1), n(2), n(1)]), [(3, 1), (4, 0), (5, 1)]);
    }
}
