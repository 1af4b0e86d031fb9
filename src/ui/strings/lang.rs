//! A text in the screen's two languages, and the table of texts.

use serde::{Deserialize, Serialize};

/// The language of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// Chinese.
    Zh,
    /// English, as in the `C` locale.
    #[default]
    En,
}

impl Lang {
    /// The other language.
    #[must_use]
    pub fn other(self) -> Lang {
        match self {
            Lang::Zh => Lang::En,
            Lang::En => Lang::Zh,
        }
    }
}

/// One text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tr(pub &'static str, pub &'static str);

impl Tr {
    /// The text in a language.
    pub fn get(self, lang: Lang) -> &'static str {
        match lang {
            Lang::Zh => self.0,
            Lang::En => self.1,
        }
    }
}

impl Tr {
    /// A noun after a number: in English without its s after 1.
    pub fn of(self, count: u64, lang: Lang) -> &'static str {
        let word = self.get(lang);
        if lang == Lang::En && count == 1 { word.strip_suffix('s').unwrap_or(word) } else { word }
    }
}

/// `what: text`, with the colon of the language.
pub fn labelled(lang: Lang, what: Tr, text: &str) -> String {
    format!("{}{}{text}", what.get(lang), if lang == Lang::Zh { "：" } else { ": " })
}

/// A table of texts: `NAME = "Chinese", "English";`.
macro_rules! strings {
    ($($name:ident = $zh:literal, $en:literal;)*) => {
        $(#[doc = $en] pub const $name: Tr = Tr($zh, $en);)*
        /// Every text, for tests.
        #[cfg(test)]
        pub(super) const ALL: &[Tr] = &[$($name),*];
    };
}

pub(super) use strings;
