//! A model's own chat template: conversations as the model was trained on them, tokenized as transformers tokenizes what
//! its template renders.
//!
//! A template is used if every conversation is rendered as its beginning, continued: then the prompt that an answer is
//! sampled for is what the answer followed in training, and where an answer begins and ends is found by rendering the
//! conversation up to it. Otherwise danlu's template takes its place.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use super::{Tokenizer, edges::Edges, pieces};
use crate::{
    base::panics,
    data::{
        error::DataError,
        template::{CHAT_TEMPLATE, ChatTemplate, Message},
    },
};

/// Characters that no text contains: one is put into what a user's text spells of a special token, until the template
/// is rendered.
const MARKS: Range<u32> = 0xFDD0..0xFDF0;

/// A template with what follows from it.
#[derive(Debug)]
pub(super) struct Own {
    template: ChatTemplate,
    /// Encodes rendered text, in which special tokens are tokens: from the beginning of a text, and after one.
    first: tokenizers::Tokenizer,
    rest: Option<tokenizers::Tokenizer>,
    /// Whether a part after a special token is encoded as the beginning of a text is.
    every: bool,
    /// The special tokens as text.
    special: Vec<String>,
    /// The token that ends an answer, and its text.
    end: u32,
    end_text: String,
    /// Whether the system's words are put before the first question, since the template refuses a system's turn.
    folds_system: bool,
    /// What opens an answer, where the template does not open it when asked to.
    opening: String,
    /// Whether an answer follows a special token.
    after_special: bool,
    /// What opens a user's turn at the beginning of a conversation.
    asks: String,
}

/// A rendered conversation as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The tokens of each of the assistant's turns, in order, with the one that ends it.
    pub answers: Vec<Range<usize>>,
}

/// The template that `tokenizer_config.json` has, if it is not danlu's.
fn foreign(config: &Value) -> Option<String> {
    let source = match config.get("chat_template")? {
        Value::String(source) => source.as_str(),
        // Several, by name.
        Value::Array(all) => {
            let named = |name: &str| all.iter().find(|t| t["name"] == name).and_then(|t| t["template"].as_str());
            named("default").or_else(|| all.first()?["template"].as_str())?
        }
        _ => return None,
    };
    (!source.trim_end().ends_with(CHAT_TEMPLATE.trim_end())).then(|| source.to_owned())
}

/// The special tokens that `tokenizer_config.json` names, which a template may use.
fn named(config: &Value) -> BTreeMap<String, String> {
    let Value::Object(fields) = config else { return BTreeMap::new() };
    let token = |(name, value): (&String, &Value)| {
        let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
        Some((name.clone(), text.to_owned()))
    };
    fields.iter().filter(|(name, _)| name.ends_with("_token")).filter_map(token).collect()
}

/// The words of the conversation that a template is tried with.
const SYSTEM_WORDS: &str = "Behave";
const WORDS: [&str; 4] = ["Whence", "Thence", "Whither", "Thither"];

impl Own {
    /// The template in `config`, with the reason where it cannot be used; None if it is danlu's or there is none.
    pub(super) fn find(
        config: &Value,
        model: &tokenizers::Tokenizer,
        edges: &Edges,
        special: Vec<(String, u32)>,
    ) -> Option<Result<Self, String>> {
        let source = foreign(config)?;
        Some(Self::new(&source, named(config), model, edges, special))
    }

    fn new(
        source: &str,
        tokens: BTreeMap<String, String>,
        model: &tokenizers::Tokenizer,
        edges: &Edges,
        special: Vec<(String, u32)>,
    ) -> Result<Self, String> {
        let template = ChatTemplate::new(source, tokens)?;
        let [question, answer, again, more] = WORDS;
        let turns = [
            Message::new("system", SYSTEM_WORDS),
            Message::new("user", question),
            Message::new("assistant", answer),
            Message::new("user", again),
            Message::new("assistant", more),
        ];
        let asked = template.render(&turns[1..2], true)?;
        let rendered = |turns: &[Message]| template.render(turns, false);
        let told = rendered(&turns[1..3])?;
        let all = rendered(&turns[1..])?;
        let place = |text: &str, word: &str| match text.match_indices(word).collect::<Vec<_>>()[..] {
            [(at, _)] => Ok(at),
            _ => Err(format!("it renders the words of a turn {} times", text.matches(word).count())),
        };
        let unstable = || "the rendering of a conversation does not begin with that of its first turns".to_owned();
        let between = told.strip_prefix(&asked).ok_or_else(unstable)?;
        let opening = between[..place(between, answer)?].to_owned();
        // A space before an answer is part of the answer's first token.
        let opening = if opening.trim().is_empty() { String::new() } else { opening };
        let asked_again = template.render(&turns[1..4], true)? + &opening;
        if !asked_again.starts_with(&told) || !all.starts_with(&asked_again) {
            return Err(unstable());
        }
        let asks = told[..place(&told, question)?].to_owned();
        // The first special token behind an answer ends it.
        let end_of = |text: &str, word: &str| -> Result<(u32, String), String> {
            let behind = &text[place(text, word)? + word.len()..];
            let first = special
                .iter()
                .filter(|(token, _)| !token.is_empty())
                .filter_map(|(token, id)| Some((behind.find(token.as_str())?, token, *id)));
            // Of two at one place the longer one.
            let (at, token, id) = first
                .min_by_key(|(at, token, _)| (*at, std::cmp::Reverse(token.len())))
                .ok_or("no special token ends an answer")?;
            if behind[..at].trim().is_empty() {
                Ok((id, token.clone()))
            } else {
                Err(format!("other text follows an answer before the special token {token:?}"))
            }
        };
        let (end, end_text) = end_of(&told, answer)?;
        if end_of(&all, more)?.0 != end {
            return Err("the last answer ends with another special token than the others".to_owned());
        }
        let systematic = template.render(&turns[..2], true).is_ok_and(|text| text.contains(SYSTEM_WORDS));
        let prompt = asked + &opening;
        let after_special = special.iter().any(|(token, _)| !token.is_empty() && prompt.ends_with(token.as_str()));
        let speaking = |model: &tokenizers::Tokenizer| {
            let mut model = model.clone();
            model.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
            model.set_encode_special_tokens(false);
            model
        };
        Ok(Self {
            template,
            first: speaking(model),
            rest: edges.inside.as_ref().map(speaking),
            every: edges.prefixes_turns,
            special: special.into_iter().map(|(token, _)| token).filter(|token| !token.is_empty()).collect(),
            end,
            end_text,
            folds_system: !systematic,
            opening,
            after_special,
            asks,
        })
    }

    /// The messages as the template takes them, and the mark in what they spell of special tokens.
    fn prepared(&self, turns: &[Message]) -> Result<(Vec<Message>, char), DataError> {
        let unused = |c: &char| !turns.iter().any(|turn| turn.content.contains(*c));
        let mark = MARKS.filter_map(char::from_u32).find(unused).ok_or_else(|| {
            DataError::Template("a text has every character from U+FDD0 to U+FDEF; remove one".to_owned())
        })?;
        let mut messages: Vec<Message> = turns.to_vec();
        if self.folds_system
            && let [system, question, ..] = messages.as_slice()
            && system.role == "system"
        {
            if !system.content.trim().is_empty() {
                messages[1].content = format!("{}\n\n{}", system.content, question.content);
            }
            messages.remove(0);
        }
        for message in &mut messages {
            for token in &self.special {
                let Some(first) = token.chars().next() else { continue };
                if message.content.contains(token.as_str()) {
                    let marked = format!("{first}{mark}{}", &token[first.len_utf8()..]);
                    message.content = message.content.replace(token.as_str(), &marked);
                }
            }
        }
        Ok((messages, mark))
    }

    fn render(&self, messages: &[Message], answering: bool) -> Result<String, DataError> {
        let text = self.template.render(messages, answering);
        let text = text.map_err(|why| DataError::Template(format!("the model's chat template: {why}")))?;
        Ok(if answering { text + &self.opening } else { text })
    }

    /// Encodes rendered text with the bytes that each token stands for. Text is cut at the marks, so that what it spells
    /// of a special token stays text.
    fn encode(&self, text: &str, mark: char) -> Result<Vec<(u32, Range<usize>)>, DataError> {
        let failed = |why: String| DataError::Tokenizer(format!("encoding failed: {why}"));
        let mut tokens = Vec::with_capacity(text.len() / 3);
        let mut at = 0;
        let inside = self.rest.as_ref().unwrap_or(&self.first);
        for part in text.split(mark) {
            let from = at;
            at += part.len() + mark.len_utf8();
            let mut start = from;
            // Long texts are cut behind the ends of turns, where tokens end anyway.
            let turns: Vec<&str> = if part.len() > pieces::ENCODED_AT_ONCE {
                part.split_inclusive(self.end_text.as_str()).collect()
            } else {
                vec![part]
            };
            for (turn, text) in turns.into_iter().enumerate() {
                for (n, piece) in pieces::pieces(text, pieces::ENCODED_AT_ONCE).enumerate() {
                    let begins = start == 0 || (n == 0 && turn > 0 && self.every);
                    let model = if begins { &self.first } else { inside };
                    let encoding = panics::caught(|| model.encode(piece, false))
                        .map_err(|panics::Panicked| failed("a part of tokenizer.json panics on the text".to_owned()))?
                        .map_err(|e| failed(e.to_string()))?;
                    let places = encoding.get_ids().iter().zip(encoding.get_offsets());
                    tokens.extend(places.map(|(id, (from, to))| (*id, start + from..start + to)));
                    start += piece.len();
                }
            }
        }
        Ok(tokens)
    }

    /// A conversation with the places of its answers.
    fn conversation(&self, turns: &[Message]) -> Result<Rendered, DataError> {
        let (messages, mark) = self.prepared(turns)?;
        let text = self.render(&messages, false)?;
        let mut spans = Vec::new();
        for (at, message) in messages.iter().enumerate().filter(|(_, m)| m.role == "assistant") {
            let before = self.render(&messages[..at], true)?;
            if !text.starts_with(&before) {
                return Err(DataError::Template(format!(
                    "the model's chat template renders what precedes answer {:?} differently with and without it",
                    message.content.chars().take(20).collect::<String>()
                )));
            }
            let end = text[before.len()..].find(&self.end_text).map(|n| before.len() + n + self.end_text.len());
            let end = end.ok_or_else(|| {
                DataError::Template(format!("the model's chat template ends an answer without {:?}", self.end_text))
            })?;
            spans.push(before.len()..end);
        }
        let tokens = self.encode(&text, mark)?;
        let answers = spans.into_iter().map(|span| {
            let first = tokens.partition_point(|(_, place)| place.start < span.start);
            let last = tokens.partition_point(|(_, place)| place.end <= span.end);
            first..last.max(first)
        });
        let answers = answers.collect();
        Ok(Rendered { ids: tokens.into_iter().map(|(id, _)| id).collect(), answers })
    }
}

impl Tokenizer {
    /// The model's own chat template, if the folder has one that can be used.
    pub fn own_template(&self) -> Option<&ChatTemplate> {
        self.0.own.as_ref().map(|own| &own.template)
    }

    /// Why the folder's own chat template is not used.
    pub fn refused_template(&self) -> Option<&str> {
        self.0.refused.as_deref()
    }

    /// The token that ends a turn of the assistant: of the model's own template, else of danlu's.
    pub fn turn_end(&self) -> Option<u32> {
        self.0.own.as_ref().map(|own| own.end).or_else(|| self.chat().map(|chat| chat.end))
    }

    /// The tokens that a turn opens with in danlu's template; an answer that draws one of them has ended.
    pub fn turn_starts(&self) -> Vec<u32> {
        match self.chat().filter(|_| self.0.own.is_none()) {
            Some(chat) => vec![chat.system, chat.user, chat.assistant],
            None => Vec::new(),
        }
    }

    /// The beginning of a conversation up to the first question's words.
    pub fn opened_question(&self) -> Result<Option<Vec<u32>>, DataError> {
        match &self.0.own {
            Some(own) => {
                let tokens = own.encode(&own.asks, '\u{FDD0}')?;
                Ok(Some(tokens.into_iter().map(|(id, _)| id).collect()))
            }
            None => Ok(self.chat().map(|chat| [self.begin(), &[chat.user]].concat())),
        }
    }

    /// A conversation in the model's own template; None without one.
    pub fn encode_own(&self, turns: &[Message]) -> Option<Result<Rendered, DataError>> {
        self.0.own.as_ref().map(|own| own.conversation(turns))
    }

    /// A conversation that ends with a question, with the assistant's turn opened, in the model's own template.
    pub fn encode_own_prompt(&self, turns: &[Message]) -> Option<Result<Vec<u32>, DataError>> {
        let prompt = |own: &Own| {
            let (messages, mark) = own.prepared(turns)?;
            let tokens = own.encode(&own.render(&messages, true)?, mark)?;
            Ok(tokens.into_iter().map(|(id, _)| id).collect())
        };
        self.0.own.as_ref().map(prompt)
    }

    /// Whether the words of a turn follow a special token.
    pub(super) fn turns_follow_special(&self) -> bool {
        self.0.own.as_ref().is_none_or(|own| own.after_special)
    }
}
