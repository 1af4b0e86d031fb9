//! Plain features of an answer: what a taste can be about.
//!
//! A reward model that has seen twenty votes cannot tell which of thousands of directions in its hidden state they are
//! about. Length, marks and words are few, and a reader sees what was learned from them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Marks whose number is a feature.
const MARKS: [char; 14] = ['、', '，', '。', '！', '？', '；', '：', ',', '.', '!', '?', ';', ':', '…'];
/// Characters of the longest run that is a candidate for a word, in scripts without spaces.
const RUN: usize = 4;
/// Characters of the longest word in scripts with spaces.
const WORD: usize = 24;
/// Characters of an answer that are searched for candidates.
const SEARCHED: usize = 2000;
/// Longest text of a feature that is read from a file, in bytes.
const LONGEST: usize = 256;

/// A number that an answer has. Counts enter as their logarithm, ln(1 + n).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFeature {
    /// Characters.
    Length,
    /// 1 with at least this many characters, else 0.
    AtLeast(u32),
    /// Line breaks.
    Lines,
    /// How often a mark occurs.
    Count(char),
    /// Share of Latin letters among the characters.
    Latin,
    /// Share of digits.
    Digits,
    /// Share of different characters among all: 1 when none is repeated.
    Distinct,
    /// Share of the characters that also occur in the prompt.
    Borrowed,
    /// 1 if the text occurs, else 0.
    Has(String),
    /// 1 if the answer begins with the text.
    Begins(String),
    /// 1 if the answer ends with the text.
    Ends(String),
}

fn log_count(n: usize) -> f64 {
    (n as f64).ln_1p()
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

impl TextFeature {
    /// Its value for an answer to a prompt. Space around the answer does not count.
    pub fn of(&self, prompt: &str, answer: &str) -> f64 {
        let answer = answer.trim();
        let chars = || answer.chars();
        let n = || chars().count();
        let is = |yes: bool| f64::from(u8::from(yes));
        match self {
            Self::Length => log_count(n()),
            Self::AtLeast(least) => is(n() >= *least as usize),
            Self::Lines => log_count(chars().filter(|c| *c == '\n').count()),
            Self::Count(mark) => log_count(chars().filter(|c| c == mark).count()),
            Self::Latin => share(chars().filter(char::is_ascii_alphabetic).count(), n()),
            Self::Digits => share(chars().filter(char::is_ascii_digit).count(), n()),
            Self::Distinct => {
                let different: BTreeSet<char> = chars().collect();
                if different.is_empty() { 1.0 } else { share(different.len(), n()) }
            }
            Self::Borrowed => share(chars().filter(|c| prompt.contains(*c)).count(), n()),
            Self::Has(text) => is(answer.contains(text.as_str())),
            Self::Begins(text) => is(answer.starts_with(text.as_str())),
            Self::Ends(text) => is(answer.ends_with(text.as_str())),
        }
    }

    /// Whether it is one of the many that are about a text, not about the form.
    pub fn is_word(&self) -> bool {
        matches!(self, Self::Has(_) | Self::Begins(_) | Self::Ends(_))
    }

    /// Whether a feature read from a file is one that [`candidates`] can name.
    pub fn is_plausible(&self) -> bool {
        match self {
            Self::Has(text) | Self::Begins(text) | Self::Ends(text) => (1..=LONGEST).contains(&text.len()),
            _ => true,
        }
    }
}

/// The features that may tell an answer from another one.
pub fn candidates(answer: &str) -> BTreeSet<TextFeature> {
    let chars: Vec<char> = answer.trim().chars().take(SEARCHED).collect();
    let mut all: BTreeSet<TextFeature> = [
        TextFeature::Length,
        TextFeature::Lines,
        TextFeature::Latin,
        TextFeature::Digits,
        TextFeature::Distinct,
        TextFeature::Borrowed,
    ]
    .into();
    all.extend(MARKS.iter().filter(|m| chars.contains(m)).map(|m| TextFeature::Count(*m)));
    all.insert(TextFeature::AtLeast(chars.len() as u32));
    let text = |chars: &[char]| chars.iter().collect::<String>();
    for length in 1..=RUN.min(chars.len()) {
        all.extend(chars.windows(length).map(|run| TextFeature::Has(text(run))));
        all.insert(TextFeature::Begins(text(&chars[..length])));
        all.insert(TextFeature::Ends(text(&chars[chars.len() - length..])));
    }
    for word in chars.split(|c| !c.is_ascii_alphabetic()) {
        if (RUN + 1..=WORD).contains(&word.len()) {
            all.insert(TextFeature::Has(text(word)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_text() {
        let of = |feature: &TextFeature| feature.of("去杭州？", " 去看西湖、西湖。\n");
        assert_eq!(of(&TextFeature::Length), 8_f64.ln_1p());
        assert_eq!((of(&TextFeature::AtLeast(8)), of(&TextFeature::AtLeast(9))), (1.0, 0.0));
        assert_eq!((of(&TextFeature::Lines), of(&TextFeature::Count('、'))), (0.0, 1_f64.ln_1p()));
        assert_eq!((of(&TextFeature::Distinct), of(&TextFeature::Borrowed)), (6.0 / 8.0, 1.0 / 8.0));
        assert_eq!((of(&TextFeature::Has("西湖".into())), of(&TextFeature::Has("东湖".into()))), (1.0, 0.0));
        assert_eq!((of(&TextFeature::Begins("去看".into())), of(&TextFeature::Ends("湖。".into()))), (1.0, 1.0));
        assert_eq!(TextFeature::Latin.of("", "ab c1"), 0.6);
        assert_eq!(TextFeature::Digits.of("", "ab c1"), 0.2);
        // An empty answer has every feature, and none is NaN.
        for feature in candidates("") {
            assert!(feature.of("", "").is_finite(), "{feature:?}");
        }
    }

    #[test]
    fn words_and_runs_are_candidates() {
        let all = candidates("The doctor 说好。");
        for text in ["T", "The", "doctor", "说好。", "好"] {
            assert!(all.contains(&TextFeature::Has(text.into())), "{text}");
        }
        assert!(all.contains(&TextFeature::Begins("The ".into())) && all.contains(&TextFeature::Ends("。".into())));
        assert!(all.contains(&TextFeature::Count('。')) && !all.contains(&TextFeature::Count('，')));
        assert!(all.iter().all(TextFeature::is_plausible));
    }

    #[test]
    fn a_feature_is_written_as_it_reads() {
        let written = |feature: TextFeature| serde_json::to_string(&feature).unwrap_or_default();
        assert_eq!(written(TextFeature::Has("西湖".into())), r#"{"has":"西湖"}"#);
        assert_eq!(written(TextFeature::AtLeast(8)), r#"{"at_least":8}"#);
        assert_eq!(written(TextFeature::Length), r#""length""#);
        let long: TextFeature = TextFeature::Has("长".repeat(200));
        assert!(!long.is_plausible() && !TextFeature::Ends(String::new()).is_plausible());
    }
}
