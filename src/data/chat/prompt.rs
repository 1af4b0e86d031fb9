//! Fits a prompt into the window.
//!
//! The answer's share of the window is reserved: as many tokens as are requested, at most half of it. A prompt that
//! does not fit beside it is cut at the front: a conversation loses its oldest exchanges, a single text or question its
//! beginning. The tokenizer's prefix, a system turn and the tokens of the template stay.

use serde::{Deserialize, Serialize};

use crate::data::{
    chat::{self, Role, Turn},
    error::DataError,
    tokenizer::Tokenizer,
};

/// What to answer.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// A text to be continued.
    Text(&'a str),
    /// A conversation that ends in a question.
    Chat(&'a [Turn]),
}

/// A prompt cut to the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The ids.
    pub ids: Vec<u32>,
    /// What was cut.
    pub left_out: LeftOut,
}

/// What was cut from a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Tokens, including those of whole turns.
    pub tokens: usize,
    /// Whole exchanges, oldest first.
    pub exchanges: usize,
}

impl LeftOut {
    /// Whether nothing was cut.
    pub fn is_nothing(&self) -> bool {
        self.tokens == 0
    }
}

/// The tokens left for a prompt in a window when `answer` tokens are requested.
pub fn most_read(window: usize, answer: usize) -> usize {
    window.saturating_sub(answer.clamp(1, (window / 2).max(1))).max(1)
}

/// Cuts a prompt so that an answer of `answer` tokens fits the window too.
pub fn read_in(words: Words<'_>, tokenizer: &Tokenizer, window: usize, answer: usize) -> Result<Asked, DataError> {
    let most = most_read(window, answer);
    match words {
        Words::Text(text) => {
            let begin = tokenizer.begin();
            let ids = tokenizer.encode(text)?;
            let keep = ids.len().min(most.saturating_sub(begin.len()).max(1));
            let tokens = ids.len() - keep;
            Ok(Asked { ids: [begin, &ids[tokens..]].concat(), left_out: LeftOut { tokens, exchanges: 0 } })
        }
        Words::Chat(turns) => conversation(turns, tokenizer, most),
    }
}

/// The newest exchanges of a conversation, starting with a question, with at most `most` tokens.
fn conversation(turns: &[Turn], tokenizer: &Tokenizer, most: usize) -> Result<Asked, DataError> {
    let system = usize::from(turns.first().is_some_and(|t| t.role == Role::System));
    let (head, rest) = turns.split_at(system);
    let all = chat::encode_prompt(turns, tokenizer)?.len();
    let questions: Vec<usize> = (0..rest.len()).filter(|i| rest[*i].role == Role::User).collect();
    for (exchanges, start) in questions.iter().enumerate() {
        let ids = chat::encode_prompt(&[head, &rest[*start..]].concat(), tokenizer)?;
        if ids.len() <= most {
            let tokens = all - ids.len();
            return Ok(Asked { ids, left_out: LeftOut { tokens, exchanges } });
        }
    }
    // Even the last question is too long: its beginning is cut, and the system turn if it leaves no room for it.
    let Some(last) = questions.last() else {
        let ids = chat::encode_prompt(turns, tokenizer)?;
        return Ok(Asked { ids, left_out: LeftOut::default() });
    };
    if tokenizer.own_template().is_some() {
        return cut_question(head, &rest[*last..], tokenizer, (most, all), questions.len() - 1);
    }
    let question = tokenizer.encode_turn(&rest[*last].content)?;
    let around = |head: &[Turn]| -> Result<(Vec<u32>, Vec<u32>), DataError> {
        let whole = chat::encode_prompt(&[head, &rest[*last..]].concat(), tokenizer)?;
        let before = tokenizer.begin().len() + chat::encode_turns(head, tokenizer)?.len() + 1;
        Ok((whole[..before].to_vec(), whole[before + question.len()..].to_vec()))
    };
    let mut frame = around(head)?;
    if frame.0.len() + frame.1.len() >= most {
        frame = around(&[])?;
    }
    let keep = most.saturating_sub(frame.0.len() + frame.1.len()).clamp(question.len().min(1), question.len());
    let ids = [frame.0, question[question.len() - keep..].to_vec(), frame.1].concat();
    Ok(Asked { left_out: LeftOut { tokens: all - ids.len(), exchanges: questions.len() - 1 }, ids })
}

/// A question in the model's own template, of which as little of the beginning is cut as fits `most` tokens; without
/// the system turn if that leaves no room for it.
fn cut_question(
    head: &[Turn],
    rest: &[Turn],
    tokenizer: &Tokenizer,
    (most, all): (usize, usize),
    exchanges: usize,
) -> Result<Asked, DataError> {
    let Some((question, behind)) = rest.split_first() else { return Ok(Asked::default()) };
    let places: Vec<usize> = question.content.char_indices().map(|(at, _)| at).collect();
    let from = |head: &[Turn], at: usize| {
        let mut question = question.clone();
        question.content.drain(..places.get(at).copied().unwrap_or(question.content.len()));
        chat::encode_prompt(&[head, &[question], behind].concat(), tokenizer)
    };
    let whole = places.len().saturating_sub(1);
    let head = if from(head, whole)?.len() > most { &[] } else { head };
    // The first place from which it fits; more characters are more tokens.
    let (mut short, mut long) = (0, whole);
    while short < long {
        let middle = usize::midpoint(short, long);
        if from(head, middle)?.len() <= most { long = middle } else { short = middle + 1 }
    }
    let ids = from(head, long)?;
    Ok(Asked { left_out: LeftOut { tokens: all.saturating_sub(ids.len()), exchanges }, ids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::{TextGroup, train_char};

    fn tokenizer() -> Tokenizer {
        train_char(&[TextGroup { weight: 1.0, texts: vec!["abcdefgh"] }], 300).unwrap()
    }

    #[test]
    fn a_text_loses_its_beginning_and_the_answer_keeps_its_room() {
        let tokenizer = tokenizer();
        let text = "abcdefgh".repeat(40);
        for (window, answer, read) in
            [(256, 64, 192), (256, 1, 255), (256, 0, 255), (256, 1000, 128), (2, 64, 1), (1, 64, 1)]
        {
            let asked = read_in(Words::Text(&text), &tokenizer, window, answer).unwrap();
            assert_eq!((asked.ids.len(), asked.left_out.tokens), (read, 320 - read), "{window} {answer}");
            assert!(text.ends_with(&tokenizer.decode(&asked.ids, false)));
        }
        let asked = read_in(Words::Text("abc"), &tokenizer, 256, 1000).unwrap();
        assert!(asked.ids.len() == 3 && asked.left_out.is_nothing());
    }

    #[test]
    fn of_a_conversation_the_oldest_exchanges_go() {
        let tokenizer = tokenizer();
        let mut turns = vec![Turn::new(Role::System, "abc")];
        for word in ["a", "b", "c"] {
            turns.push(Turn::new(Role::User, word.repeat(20)));
            turns.push(Turn::new(Role::Assistant, word.repeat(10)));
        }
        turns.push(Turn::new(Role::User, "d".repeat(20)));
        let all = chat::encode_prompt(&turns, &tokenizer).unwrap().len();
        let read = |window| read_in(Words::Chat(&turns), &tokenizer, window, 16).unwrap();
        assert!(read(all + 16).left_out.is_nothing());
        for window in 40..all + 16 {
            let Asked { ids, left_out } = read(window);
            assert!(ids.len() + 16 <= window && ids.len() + left_out.tokens == all, "{window}: {left_out:?}");
            let text = tokenizer.decode(&ids, false);
            assert!(
                text.starts_with("<|system|>abc<|im_end|><|user|>") && text.ends_with("d<|im_end|><|assistant|>"),
                "{text}"
            );
            assert_eq!(text.matches("<|user|>").count(), 4 - left_out.exchanges);
        }
        assert_eq!(read(all + 15).left_out.exchanges, 1);
    }

    #[test]
    fn a_question_that_is_too_long_keeps_its_turn() {
        let tokenizer = tokenizer();
        let turns = [
            Turn::new(Role::System, "e".repeat(30)),
            Turn::new(Role::User, format!("{}{}", "a".repeat(50), "b".repeat(50))),
        ];
        let Asked { ids, left_out } = read_in(Words::Chat(&turns), &tokenizer, 120, 40).unwrap();
        let text = tokenizer.decode(&ids, false);
        assert_eq!((ids.len(), left_out.exchanges), (80, 0));
        assert!(text.starts_with(&format!("<|system|>{}<|im_end|><|user|>b", "e".repeat(30))), "{text}");
        assert!(text.ends_with("bb<|im_end|><|assistant|>"));
        // A system turn that leaves no room for the question is cut.
        let Asked { ids, .. } = read_in(Words::Chat(&turns), &tokenizer, 40, 10).unwrap();
        let text = tokenizer.decode(&ids, false);
        assert!(ids.len() == 30 && text.starts_with("<|user|>b"), "{text}");
    }
}
