//! Indicators of degenerate answers that need no reference.
//!
//! Reward hacking shows here: answers repeat themselves, become all alike, grow or shrink, or no longer end. All
//! counts are in characters, so that they mean the same under every tokenizer.

use std::collections::HashSet;

/// What is to be seen of a set of answers.
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
    /// Share of the answers that the model ended itself.
    pub end_rate: f64,
}

/// The indicators of answers, each with whether the model ended it.
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

/// Different pairs of neighbouring characters in a whole set of answers, over all such pairs in it. No
/// pair reaches from one answer to the next. 0 where there is none.
///
/// It falls as a set grows, and differs between tasks: compare answers to the same prompts only, as many
/// to each.
pub fn distinct2<S: AsRef<str>>(answers: &[S]) -> f64 {
    let mut seen = HashSet::new();
    let mut all = 0_usize;
    for pair in answers.iter().flat_map(|a| pairs(a.as_ref())) {
        seen.insert(pair);
        all += 1;
    }
    seen.len() as f64 / all.max(1) as f64
}

/// The share of an answer's pairs of neighbouring characters that it has had before. 0 where there is no
/// pair.
pub fn repetition(answer: &str) -> f64 {
    let mut seen = HashSet::new();
    let (mut all, mut again) = (0_usize, 0_usize);
    for pair in pairs(answer) {
        all += 1;
        again += usize::from(!seen.insert(pair));
    }
    again as f64 / all.max(1) as f64
}
