//! The rules: name, measure, threshold, and the source of the number.
//!
//! Gopher: Rae et al. 2021, tables A1 and A2. C4: Raffel et al. 2020, §2.2. FineWeb: Penedo et al. 2024, §3.6, as in
//! datatrove's filters. FineWeb-2: Penedo et al. 2025, datatrove's `configs/cmn_Hani.yml`. StarCoder: Li et al. 2023,
//! §3.1, after Chen et al. 2021 (Codex). A number of danlu's has its reason beside it.
//!
//! The Chinese numbers were fitted to segmented words; here a word is one Han character or a run of letters. The n-gram
//! rules therefore see shorter n-grams with a lower share: they drop fewer documents than in the original, never more.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::{
    Profile,
    measure::Measure::{
        self, AlphanumericShare, BoilerplateLines, Braces, BulletLines, ChineseStopWords, DuplicateLineCharacters,
        DuplicateLines, DuplicateNgrams, DuplicateParagraphCharacters, DuplicateParagraphs, EllipsisLines,
        EnglishStopWords, EnglishWords, HanLetters, LetterShare, Letters, LinesPerWord, LongestLine, LoremIpsum,
        LostCharacters, MeanLineLength, MeanWordLength, PunctuatedLines, ShortLines, SymbolsPerWord, TopNgram, Words,
        WordsWithLetters,
    },
};

/// A bound on a measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Keeps values from this one up.
    AtLeast(f64),
    /// Keeps values up to this one.
    AtMost(f64),
}
use Bound::{AtLeast, AtMost};

impl Bound {
    /// Whether a value is kept.
    pub fn keeps(self, value: f64) -> bool {
        match self {
            AtLeast(t) => value >= t,
            AtMost(t) => value <= t,
        }
    }

    /// The threshold.
    pub fn threshold(self) -> f64 {
        let (AtLeast(t) | AtMost(t)) = self;
        t
    }

    /// The same kind of bound with another threshold.
    #[must_use]
    pub fn moved(self, to: f64) -> Self {
        match self {
            AtLeast(_) => AtLeast(to),
            AtMost(_) => AtMost(to),
        }
    }
}

/// A cleaning rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in funnels and run.toml.
    pub name: &'static str,
    /// The measured property.
    pub measure: Measure,
    /// The values that are kept.
    pub bound: Bound,
    /// The source of the number.
    pub source: &'static str,
}

/// A rule's setting in run.toml: `too_short = 20` or `boilerplate = false`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// Another threshold, in the same direction.
    Bound(f64),
    /// The rule is off.
    Off,
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bound(bound) => to.serialize_f64(*bound),
            Self::Off => to.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, the rule's threshold, or false to disable the rule")
            }

            fn visit_f64<E: de::Error>(self, bound: f64) -> Result<Setting, E> {
                Ok(Setting::Bound(bound))
            }

            fn visit_i64<E: de::Error>(self, bound: i64) -> Result<Setting, E> {
                Ok(Setting::Bound(bound as f64))
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Setting, E> {
                if on { Err(E::invalid_value(de::Unexpected::Bool(on), &self)) } else { Ok(Setting::Off) }
            }
        }
        from.deserialize_any(Either)
    }
}

const fn rule(name: &'static str, measure: Measure, bound: Bound, source: &'static str) -> Rule {
    Rule { name, measure, bound, source }
}

const GOPHER: &str = "Gopher";
const C4: &str = "C4";
const FINEWEB: &str = "FineWeb";
const FINEWEB2: &str = "FineWeb-2 cmn_Hani";
const STARCODER: &str = "StarCoder";
const OURS: &str = "ours";

const PROSE_EN: &[Rule] = &[
    rule("too_short", Words, AtLeast(50.0), GOPHER),
    rule("too_long", Words, AtMost(100_000.0), GOPHER),
    rule("long_words", MeanWordLength, AtMost(10.0), GOPHER),
    rule("short_words", MeanWordLength, AtLeast(3.0), GOPHER),
    rule("symbols", SymbolsPerWord, AtMost(0.1), GOPHER),
    rule("bullets", BulletLines, AtMost(0.9), GOPHER),
    rule("ellipses", EllipsisLines, AtMost(0.3), GOPHER),
    rule("few_letters", WordsWithLetters, AtLeast(0.8), GOPHER),
    rule("stop_words", EnglishStopWords, AtLeast(2.0), GOPHER),
    // English is recognised by its most common words: about half of English prose, almost none in other languages; 0.15
    // is in between (the built-in corpus measures 0.42 to 0.61).
    rule("language", EnglishWords, AtLeast(0.15), OURS),
    rule("placeholder", LoremIpsum, AtMost(0.0), C4),
    rule("braces", Braces, AtMost(0.0), C4),
    rule("boilerplate", BoilerplateLines, AtMost(0.3), OURS),
    rule("duplicate_lines", DuplicateLines, AtMost(0.3), GOPHER),
    rule("duplicate_paragraphs", DuplicateParagraphs, AtMost(0.3), GOPHER),
    rule("duplicate_line_characters", DuplicateLineCharacters, AtMost(0.2), GOPHER),
    rule("duplicate_paragraph_characters", DuplicateParagraphCharacters, AtMost(0.2), GOPHER),
    rule("line_punctuation", PunctuatedLines, AtLeast(0.12), FINEWEB),
    rule("short_lines", ShortLines, AtMost(0.67), FINEWEB),
    rule("line_breaks", LinesPerWord, AtMost(0.3), FINEWEB),
    rule("top_2gram", TopNgram(2), AtMost(0.2), GOPHER),
    rule("top_3gram", TopNgram(3), AtMost(0.18), GOPHER),
    rule("top_4gram", TopNgram(4), AtMost(0.16), GOPHER),
    rule("duplicate_5grams", DuplicateNgrams(5), AtMost(0.15), GOPHER),
    rule("duplicate_6grams", DuplicateNgrams(6), AtMost(0.14), GOPHER),
    rule("duplicate_7grams", DuplicateNgrams(7), AtMost(0.13), GOPHER),
    rule("duplicate_8grams", DuplicateNgrams(8), AtMost(0.12), GOPHER),
    rule("duplicate_9grams", DuplicateNgrams(9), AtMost(0.11), GOPHER),
    rule("duplicate_10grams", DuplicateNgrams(10), AtMost(0.1), GOPHER),
];

const PROSE_ZH: &[Rule] = &[
    rule("too_short", Words, AtLeast(50.0), GOPHER),
    // Each Han character counts as a word; a Chinese word has about 1.6 of them.
    rule("too_long", Words, AtMost(160_000.0), GOPHER),
    rule("long_words", MeanWordLength, AtMost(5.0), FINEWEB2),
    rule("symbols", SymbolsPerWord, AtMost(0.1), GOPHER),
    rule("bullets", BulletLines, AtMost(0.9), GOPHER),
    rule("ellipses", EllipsisLines, AtMost(0.3), GOPHER),
    rule("few_letters", WordsWithLetters, AtLeast(0.735), FINEWEB2),
    rule("stop_words", ChineseStopWords, AtLeast(2.0), GOPHER),
    // FineWeb-2 has a classifier threshold of 0.692 here; the share of Han characters among letters serves the same
    // purpose.
    rule("language", HanLetters, AtLeast(0.692), FINEWEB2),
    rule("boilerplate", BoilerplateLines, AtMost(0.3), OURS),
    rule("duplicate_lines", DuplicateLines, AtMost(0.287), FINEWEB2),
    rule("duplicate_line_characters", DuplicateLineCharacters, AtMost(0.2), GOPHER),
    rule("duplicate_paragraphs", DuplicateParagraphs, AtMost(0.3), GOPHER),
    rule("duplicate_paragraph_characters", DuplicateParagraphCharacters, AtMost(0.2), GOPHER),
    rule("line_punctuation", PunctuatedLines, AtLeast(0.106), FINEWEB2),
    rule("line_breaks", LinesPerWord, AtMost(0.178), FINEWEB2),
    rule("top_2gram", TopNgram(2), AtMost(0.256), FINEWEB2),
    rule("top_3gram", TopNgram(3), AtMost(0.201), FINEWEB2),
    rule("top_4gram", TopNgram(4), AtMost(0.171), FINEWEB2),
    rule("duplicate_5grams", DuplicateNgrams(5), AtMost(0.198), FINEWEB2),
    rule("duplicate_6grams", DuplicateNgrams(6), AtMost(0.182), FINEWEB2),
    rule("duplicate_7grams", DuplicateNgrams(7), AtMost(0.167), FINEWEB2),
    rule("duplicate_8grams", DuplicateNgrams(8), AtMost(0.154), FINEWEB2),
    rule("duplicate_9grams", DuplicateNgrams(9), AtMost(0.14), FINEWEB2),
    rule("duplicate_10grams", DuplicateNgrams(10), AtMost(0.127), FINEWEB2),
];

/// The rules for prose would drop every 绝句, with its 20 characters and four lines: fewer than 50 words and five
/// sentences.
const POETRY: &[Rule] = &[
    // The shortest form, 十六字令, has 16 characters; a shorter text is a fragment.
    rule("too_short", Letters, AtLeast(14.0), OURS),
    // The longest famous ones (长恨歌, 孔雀东南飞, 离骚) have 840 to 2,500.
    rule("too_long", Letters, AtMost(5000.0), OURS),
    // □ and ■ mark lost characters; ? replaces characters that an encoding could not hold.
    rule("lost_characters", LostCharacters, AtMost(0.05), OURS),
    // In verse letters outnumber punctuation about five to one; tables and notes have fewer.
    rule("few_letters", LetterShare, AtLeast(0.6), OURS),
    rule("boilerplate", BoilerplateLines, AtMost(0.3), OURS),
    // Refrains are verse; one couplet repeated throughout is not.
    rule("duplicate_lines", DuplicateLines, AtMost(0.5), OURS),
];

const CODE: &[Rule] = &[
    rule("too_short", Letters, AtLeast(20.0), OURS),
    rule("long_lines", MeanLineLength, AtMost(100.0), STARCODER),
    rule("longest_line", LongestLine, AtMost(1000.0), STARCODER),
    rule("few_letters", AlphanumericShare, AtLeast(0.25), STARCODER),
    rule("duplicate_lines", DuplicateLines, AtMost(0.6), OURS),
];

/// The rules of a profile, in order of application.
pub fn rules(profile: Profile) -> &'static [Rule] {
    match profile {
        Profile::ProseEn => PROSE_EN,
        Profile::ProseZh => PROSE_ZH,
        Profile::Poetry => POETRY,
        Profile::Code => CODE,
        Profile::None => &[],
    }
}

/// The same with a source's own settings, by rule name. Names that the profile does not have are ignored here; reading
/// run.toml reports them.
pub fn rules_with(profile: Profile, settings: &BTreeMap<String, Setting>) -> Vec<Rule> {
    let set = |rule: &Rule| match settings.get(rule.name) {
        None => Some(*rule),
        Some(Setting::Off) => None,
        Some(Setting::Bound(to)) => Some(Rule { bound: rule.bound.moved(*to), ..*rule }),
    };
    rules(profile).iter().filter_map(set).collect()
}
