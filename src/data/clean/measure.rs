//! The measured properties of a text that rules compare with their thresholds.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
};

use unicode_segmentation::UnicodeSegmentation;

use crate::data::document::is_han;

/// A measure. Shares are fractions of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described where it is computed, in Text::measure")]
pub enum Measure {
    Words,
    Letters,
    LetterShare,
    AlphanumericShare,
    MeanWordLength,
    SymbolsPerWord,
    BulletLines,
    EllipsisLines,
    WordsWithLetters,
    EnglishStopWords,
    EnglishWords,
    ChineseStopWords,
    HanLetters,
    LoremIpsum,
    Braces,
    BoilerplateLines,
    DuplicateLines,
    DuplicateLineCharacters,
    DuplicateParagraphs,
    DuplicateParagraphCharacters,
    PunctuatedLines,
    ShortLines,
    LinesPerWord,
    MeanLineLength,
    LongestLine,
    LostCharacters,
    TopNgram(usize),
    DuplicateNgrams(usize),
}

/// Gopher's eight stop words; an English text has at least two of them.
const ENGLISH: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];
/// The most common words of written English (Brown corpus, the first forty).
const COMMON_ENGLISH: [&str; 40] = [
    "the", "of", "and", "to", "a", "in", "that", "is", "was", "he", "for", "it", "with", "as", "his", "on", "be", "at",
    "by", "i", "this", "had", "not", "are", "but", "from", "or", "have", "an", "they", "which", "one", "you", "were",
    "her", "all", "she", "there", "would", "their",
];
/// The first of FineWeb-2's stop words for Chinese.
const CHINESE: [char; 16] =
    ['的', '年', '在', '月', '是', '和', '日', '了', '有', '中', '不', '为', '一', '人', '这', '就'];
/// Bullets that begin a list item.
const BULLETS: [char; 8] = ['•', '‣', '▪', '●', '·', '*', '-', '–'];
/// Characters that end a sentence.
const ENDS: [char; 13] = ['.', '!', '?', '"', '\'', '”', '’', '。', '！', '？', '…', '；', '」'];
/// Boilerplate of web pages.
const BOILERPLATE: [&str; 16] = [
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
    "all rights reserved",
    "版权所有",
    "隐私政策",
    "点击这里",
    "上一篇",
    "下一篇",
    "返回顶部",
    "京公网安备",
    "icp备",
];
/// Lines with fewer characters are short (FineWeb).
const SHORT_LINE: usize = 30;

/// A text with what several measures need.
pub(super) struct Text<'a> {
    whole: &'a str,
    /// Lines that are not blank.
    lines: Vec<&'a str>,
    words: OnceCell<Vec<&'a str>>,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        Self { whole: text, lines, words: OnceCell::new() }
    }

    /// Words: runs of letters and digits; each Han character is a word.
    fn words(&self) -> &[&'a str] {
        self.words.get_or_init(|| self.whole.unicode_words().collect())
    }

    pub(super) fn measure(&self, measure: Measure) -> f64 {
        let lines = |is: &dyn Fn(&str) -> bool| share(self.lines.iter().filter(|l| is(l)).count(), self.lines.len());
        match measure {
            Measure::Words => self.words().len() as f64,
            Measure::Letters => self.letters() as f64,
            Measure::LetterShare => share(self.letters(), self.whole.chars().filter(|c| !c.is_whitespace()).count()),
            Measure::AlphanumericShare => {
                share(self.whole.chars().filter(|c| c.is_alphanumeric()).count(), self.whole.chars().count())
            }
            Measure::MeanWordLength => share(self.words().iter().map(|w| w.chars().count()).sum(), self.words().len()),
            Measure::SymbolsPerWord => {
                let dots = self.whole.matches("...").count();
                share(dots + self.whole.chars().filter(|c| matches!(c, '#' | '…')).count(), self.words().len())
            }
            Measure::BulletLines => lines(&|l| l.starts_with(BULLETS)),
            Measure::EllipsisLines => lines(&|l| l.ends_with('…') || l.ends_with("...")),
            // Words between spaces that contain a letter, not only digits and punctuation.
            Measure::WordsWithLetters => {
                let all: Vec<&str> = self.whole.split_whitespace().collect();
                share(all.iter().filter(|w| w.chars().any(char::is_alphabetic)).count(), all.len())
            }
            Measure::EnglishStopWords => {
                let there = |stop: &&&str| self.words().iter().any(|w| w.eq_ignore_ascii_case(stop));
                ENGLISH.iter().filter(there).count() as f64
            }
            Measure::EnglishWords => {
                let common = |w: &&&str| COMMON_ENGLISH.iter().any(|c| w.eq_ignore_ascii_case(c));
                share(self.words().iter().filter(common).count(), self.words().len())
            }
            Measure::ChineseStopWords => CHINESE.iter().filter(|c| self.whole.contains(**c)).count() as f64,
            Measure::HanLetters => share(self.whole.chars().filter(|c| is_han(*c)).count(), self.letters()),
            Measure::LoremIpsum => self.whole.to_lowercase().matches("lorem ipsum").count() as f64,
            Measure::Braces => self.whole.matches('{').count() as f64,
            Measure::BoilerplateLines => lines(&|l| {
                let lower = l.to_lowercase();
                BOILERPLATE.iter().any(|words| lower.contains(words))
            }),
            Measure::DuplicateLines => duplicates(self.lines.iter().copied(), |_| 1).0,
            Measure::DuplicateLineCharacters => duplicates(self.lines.iter().copied(), |l| l.chars().count()).1,
            Measure::DuplicateParagraphs => duplicates(self.paragraphs(), |_| 1).0,
            Measure::DuplicateParagraphCharacters => duplicates(self.paragraphs(), |p| p.chars().count()).1,
            Measure::PunctuatedLines => lines(&|l| l.ends_with(ENDS)),
            Measure::ShortLines => lines(&|l| l.chars().count() <= SHORT_LINE),
            Measure::LinesPerWord => share(self.lines.len().saturating_sub(1), self.words().len()),
            Measure::MeanLineLength => share(self.lines.iter().map(|l| l.chars().count()).sum(), self.lines.len()),
            Measure::LongestLine => self.lines.iter().map(|l| l.chars().count()).max().unwrap_or(0) as f64,
            Measure::LostCharacters => {
                let lost = self.whole.chars().filter(|c| matches!(c, '□' | '■' | '?' | '\u{FFFD}')).count();
                share(lost, self.whole.chars().filter(|c| !c.is_whitespace()).count())
            }
            Measure::TopNgram(n) => self.top_ngram(n),
            Measure::DuplicateNgrams(n) => self.duplicate_ngrams(n),
        }
    }

    fn letters(&self) -> usize {
        self.whole.chars().filter(|c| c.is_alphabetic()).count()
    }

    fn paragraphs(&self) -> impl Iterator<Item = &'a str> {
        self.whole.split("\n\n").map(str::trim).filter(|p| !p.is_empty())
    }

    /// Share of characters in the occurrences of the most frequent word n-gram.
    fn top_ngram(&self, n: usize) -> f64 {
        let words = self.words();
        let mut counts: HashMap<&[&str], usize> = HashMap::new();
        for gram in words.windows(n) {
            *counts.entry(gram).or_default() += 1;
        }
        let length = |gram: &[&str]| gram.iter().map(|w| w.chars().count()).sum::<usize>();
        // An n-gram that occurs once is not a repetition, however long it is.
        let most = counts.iter().filter(|(_, n)| **n > 1).map(|(gram, n)| (*n, length(gram))).max();
        share(most.map_or(0, |(n, length)| n * length), words.iter().map(|w| w.chars().count()).sum())
    }

    /// Share of characters in repeated word n-grams, each word counted once (datatrove's `find_all_duplicate`).
    fn duplicate_ngrams(&self, n: usize) -> f64 {
        let words = self.words();
        let mut seen: HashSet<&[&str]> = HashSet::new();
        let (mut at, mut repeated) = (0, 0);
        while at + n <= words.len() {
            let gram = &words[at..at + n];
            if seen.insert(gram) {
                at += 1;
            } else {
                repeated += gram.iter().map(|w| w.chars().count()).sum::<usize>();
                at += n;
            }
        }
        share(repeated, words.iter().map(|w| w.chars().count()).sum())
    }
}

fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// The shares of repeated items, by number and by size.
fn duplicates<'a>(items: impl Iterator<Item = &'a str>, size: impl Fn(&str) -> usize) -> (f64, f64) {
    let mut seen = HashSet::new();
    let (mut all, mut again, mut sizes, mut again_sizes) = (0, 0, 0, 0);
    for item in items {
        all += 1;
        sizes += size(item);
        if !seen.insert(item) {
            again += 1;
            again_sizes += size(item);
        }
    }
    (share(again, all), share(again_sizes, sizes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, measure: Measure, wanted: f64) {
        let value = Text::new(text).measure(measure);
        assert!((value - wanted).abs() < 1e-9, "{measure:?} of {text:?} is {value}, not {wanted}");
    }

    #[test]
    fn measures_by_hand() {
        is("The fox, 12 春眠", Measure::Words, 5.0);
        is("The fox, 12 春眠", Measure::MeanWordLength, 10.0 / 5.0);
        is("ab 1 ?", Measure::WordsWithLetters, 1.0 / 3.0);
        is("# a … b ...", Measure::SymbolsPerWord, 3.0 / 2.0);
        is("- a\nb\n* c\n\n• d", Measure::BulletLines, 0.75);
        is("a...\nb…\nc", Measure::EllipsisLines, 2.0 / 3.0);
        is("To be or", Measure::EnglishStopWords, 2.0);
        is("the cat of doom", Measure::EnglishWords, 0.5);
        is("春眠ab", Measure::HanLetters, 0.5);
        is("a\nb\na\na", Measure::DuplicateLines, 0.5);
        is("aaa\nb\naaa", Measure::DuplicateLineCharacters, 3.0 / 7.0);
        is("a\nb\n\nc\n\na\nb", Measure::DuplicateParagraphs, 1.0 / 3.0);
        is("a.\nb", Measure::PunctuatedLines, 0.5);
        is("a b c\nd", Measure::LinesPerWord, 0.25);
        is("春□眠□", Measure::LostCharacters, 0.5);
        is("春，眠", Measure::LetterShare, 2.0 / 3.0);
        // "a b" occurs twice, two characters each, of six.
        is("a b c a b d", Measure::TopNgram(2), 4.0 / 6.0);
        is("a b c d e f", Measure::TopNgram(2), 0.0);
        is("a b c a b d", Measure::DuplicateNgrams(2), 2.0 / 6.0);
        // Overlapping repetition counts each word once: a·a·a·a·a·a.
        is("a a a a a a", Measure::DuplicateNgrams(2), 4.0 / 6.0);
        is("", Measure::DuplicateNgrams(5), 0.0);
    }
}
