//! Converts traditional Chinese to simplified.
//!
//! Uses OpenCC's tables (Apache-2.0) through the crate `ferrous-opencc`. Text that is stored is converted by phrases,
//! as in OpenCC (乾坤 stays, 乾燥 becomes 干燥); text that is only compared is converted by characters, which is faster and
//! the same on both sides.

use std::sync::LazyLock;

use ferrous_opencc::{OpenCC, config::BuiltinConfig};

use crate::data::error::DataError;

/// The converter; its tables are unpacked on first use.
static CONVERTER: LazyLock<Result<OpenCC, String>> =
    LazyLock::new(|| OpenCC::from_config(BuiltinConfig::T2s).map_err(|e| e.to_string()));

/// The Unicode blocks of Han characters with traditional forms.
const FIRST: u32 = 0x3400;
const LAST: u32 = 0x9FFF;

/// The simplified form of every character of these blocks.
static CHARACTERS: LazyLock<Vec<char>> = LazyLock::new(|| {
    let converter = CONVERTER.as_ref().ok();
    let one = |code: u32| {
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        let converted = converter.map(|t2s| t2s.convert(c.encode_utf8(&mut [0; 4])));
        let mut chars = converted.as_deref().unwrap_or_default().chars();
        match (chars.next(), chars.next()) {
            (Some(simplified), None) => simplified,
            _ => c,
        }
    };
    (FIRST..=LAST).map(one).collect()
});

/// A text in simplified characters.
pub fn simplified(text: &str) -> Result<String, DataError> {
    match &*CONVERTER {
        Ok(converter) => Ok(converter.convert(text)),
        Err(e) => Err(DataError::Shape(format!("cannot load the table of simplified characters: {e}"))),
    }
}

/// The simplified form of one character.
pub(in crate::data) fn simple(c: char) -> char {
    match u32::from(c) {
        code @ FIRST..=LAST => CHARACTERS[(code - FIRST) as usize],
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poems_come_out_simplified() {
        let traditional = "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。";
        let wanted = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。";
        assert_eq!(simplified(traditional).unwrap(), wanted);
        assert_eq!(simplified(wanted).unwrap(), wanted);
        assert_eq!(traditional.chars().map(simple).collect::<String>(), wanted);
        assert_eq!(simplified("乾坤 abc").unwrap(), "乾坤 abc");
    }
}
