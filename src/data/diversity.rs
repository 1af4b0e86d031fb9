//! Indicators of degenerate answers that need no reference.
//!
//! They reveal reward hacking: answers repeat themselves, become alike, grow or shrink, or do not end. All count
//! characters, so that they are comparable across tokenizers.

use std::collections::HashSet;

/// Indicators of a set of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Indicators {
    /// Answers in the set.
    pub answers: usize,
    /// [`distinct2`] of the set.
    pub distinct2: f64,
    /// Mean of [`repetition`].
    pub repetition: f64,
    /// Mean length in characters.
    pub length: f64,
    /// Share of answers with an end token.
    pub end_rate: f64,
}

/// Computes the indicators; each answer comes with whether the model ended it.
pub fn indicators<S: AsRef<str>>(answers: &[(S, bool)]) -> Indicators {
    let texts: Vec<&str> = answers.iter().map(|(text, _)| text.as_ref()).collect();
    let mean = |of: &dyn Fn(&str) -> f64| texts.iter().map(|t| of(t)).sum::<f64>() / texts.len().max(1) as f64;
    Indicators {
        answers: texts.len(),
        distinct2: distinct2(&texts),
        repetition: mean(&repetition),
        length: mean(&|t| t.chars().count() as f64),
        end_rate: answers.iter().filter(|(_, ended)| *ended).count() as f64 / texts.len().max(1) as f64,
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (char, char)> + '_ {
    text.chars().zip(text.chars().skip(1))
}

/// Distinct character bigrams over all character bigrams of a set of answers; no bigram spans two answers. 0 if there
/// is none.
///
/// It falls as a set grows and differs between tasks: compare equally many answers to the same prompts only.
pub fn distinct2<S: AsRef<str>>(answers: &[S]) -> f64 {
    let mut seen = HashSet::new();
    let mut all = 0_usize;
    for pair in answers.iter().flat_map(|a| pairs(a.as_ref())) {
        seen.insert(pair);
        all += 1;
    }
    seen.len() as f64 / all.max(1) as f64
}

/// Share of an answer's character bigrams that occurred earlier in it. 0 if there is none.
pub fn repetition(answer: &str) -> f64 {
    let mut seen = HashSet::new();
    let (mut all, mut again) = (0_usize, 0_usize);
    for pair in pairs(answer) {
        all += 1;
        again += usize::from(!seen.insert(pair));
    }
    again as f64 / all.max(1) as f64
}
