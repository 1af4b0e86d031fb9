//! Conversations as text and as tokens.
//!
//! A turn is `<|role|>`, the content unchanged, `<|im_end|>`, with nothing between turns. The assistant's content and
//! the end of each of its turns are trained (a model that never saw the end would never stop), except in turns that the
//! data mark as not trained. The parts are tokenised separately and joined, so that no merge crosses a boundary and
//! shifts the mask.

pub mod examples;
pub(super) mod fields;
pub(super) mod forms;
pub mod packing;
pub mod prompt;
pub mod reader;
pub mod rows;
pub mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::template::CHAT_TEMPLATE;
use super::{
    error::DataError,
    template::Message,
    tokenizer::{ASSISTANT, ChatTokens, SYSTEM, TURN_END, Tokenizer, USER},
    tokens::example::{Example, IGNORED},
};

/// The author of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions on how to behave; at most once, first.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
}

impl Role {
    /// The token that opens a turn with this role.
    pub fn token(self) -> &'static str {
        match self {
            Self::System => SYSTEM,
            Self::User => USER,
            Self::Assistant => ASSISTANT,
        }
    }
}

impl fmt::Display for Role {
    /// The role in messages: `system`, `user`, `assistant`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        })
    }
}

/// A turn of a conversation; as JSON a message with role and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The author.
    pub role: Role,
    /// The content, unchanged.
    pub content: String,
    /// Whether an assistant's turn is trained; otherwise it is context, as the user's turns are.
    #[serde(skip, default = "learned")]
    pub learned: bool,
}

fn learned() -> bool {
    true
}

impl Turn {
    /// A turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), learned: true }
    }

    /// Whether it has content to train on.
    pub fn is_learned(&self) -> bool {
        self.learned && self.role == Role::Assistant
    }
}

/// A conversation: an optional system turn, then user and assistant alternating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The turns in order.
    pub turns: Vec<Turn>,
    /// The kind of task, if the data have one.
    pub task: Option<String>,
}

impl Conversation {
    /// The first turn of the user.
    pub fn prompt(&self) -> Option<&str> {
        self.turns.iter().find(|t| t.role == Role::User).map(|t| t.content.as_str())
    }
}

/// Turns as text, as [`CHAT_TEMPLATE`] renders them; `generation_prompt` opens the assistant's next turn.
pub fn render(turns: &[Turn], generation_prompt: bool) -> String {
    let mut text = String::with_capacity(turns.iter().map(|t| t.content.len() + 24).sum::<usize>() + 16);
    for turn in turns {
        text.push_str(turn.role.token());
        text.push_str(&turn.content);
        text.push_str(TURN_END);
    }
    if generation_prompt {
        text.push_str(ASSISTANT);
    }
    text
}

/// The turns as a chat template takes them.
fn messages(turns: &[Turn]) -> Vec<Message> {
    let role = |role: Role| match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    turns.iter().map(|turn| Message::new(role(turn.role), turn.content.as_str())).collect()
}

/// Turns in the model's own template, with labels; None where danlu's template is used.
fn encode_own(turns: &[Turn], tokenizer: &Tokenizer) -> Option<Result<Example, DataError>> {
    let rendered = tokenizer.encode_own(&messages(turns))?;
    Some(rendered.map(|rendered| {
        let mut labels = vec![IGNORED; rendered.ids.len()];
        let answers = turns.iter().filter(|turn| turn.role == Role::Assistant);
        for (place, _) in rendered.answers.into_iter().zip(answers).filter(|(_, turn)| turn.is_learned()) {
            for at in place {
                labels[at] = rendered.ids[at] as i32;
            }
        }
        Example { ids: rendered.ids, labels }
    }))
}

/// Encodes a conversation with its labels. Content that spells a special token is encoded as plain text.
pub fn encode(conversation: &Conversation, tokenizer: &Tokenizer) -> Result<Example, DataError> {
    if let Some(own) = encode_own(&conversation.turns, tokenizer) {
        return own;
    }
    let chat = chat_tokens(tokenizer)?;
    let mut example = Example::begin(tokenizer);
    for turn in &conversation.turns {
        example.extend(&encode_turn(turn, tokenizer, chat)?);
    }
    Ok(example)
}

/// Encodes turns after the tokenizer's prefix, with the assistant's next turn opened at the end; a model's own template
/// has the prefix in it.
pub fn encode_prompt(turns: &[Turn], tokenizer: &Tokenizer) -> Result<Vec<u32>, DataError> {
    if let Some(own) = tokenizer.encode_own_prompt(&messages(turns)) {
        return own;
    }
    let chat = chat_tokens(tokenizer)?;
    let mut ids = tokenizer.begin().to_vec();
    ids.extend(encode_turns(turns, tokenizer)?);
    ids.push(chat.assistant);
    Ok(ids)
}

/// Encodes turns without prefix or suffix.
pub(super) fn encode_turns(turns: &[Turn], tokenizer: &Tokenizer) -> Result<Vec<u32>, DataError> {
    let chat = chat_tokens(tokenizer)?;
    let mut ids = Vec::new();
    for turn in turns {
        ids.extend(encode_turn(turn, tokenizer, chat)?.ids);
    }
    Ok(ids)
}

/// Encodes one turn.
pub(super) fn encode_turn(turn: &Turn, tokenizer: &Tokenizer, chat: ChatTokens) -> Result<Example, DataError> {
    let opening = match turn.role {
        Role::System => chat.system,
        Role::User => chat.user,
        Role::Assistant => chat.assistant,
    };
    let words = tokenizer.encode_turn(&turn.content)?;
    let mut ids = Vec::with_capacity(words.len() + 2);
    ids.push(opening);
    ids.extend(words);
    ids.push(chat.end);
    let mut labels = vec![IGNORED; ids.len()];
    if turn.is_learned() {
        for (label, id) in labels.iter_mut().zip(&ids).skip(1) {
            *label = *id as i32;
        }
    }
    Ok(Example { ids, labels })
}

/// The special tokens of conversations; an error if the tokenizer lacks them.
pub(super) fn chat_tokens(tokenizer: &Tokenizer) -> Result<ChatTokens, DataError> {
    tokenizer.chat().ok_or_else(|| {
        DataError::Tokenizer(format!(
            "it lacks the chat tokens ({SYSTEM}, {USER}, {ASSISTANT}, {TURN_END}); add them before encoding a conversation"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::{TextGroup, train_char};

    fn tokenizer() -> Tokenizer {
        train_char(&[TextGroup { weight: 1.0, texts: vec!["abcdef"] }], 300).unwrap()
    }

    #[test]
    fn the_assistants_words_and_their_end_are_learned() {
        let tokenizer = tokenizer();
        let turns = vec![
            Turn::new(Role::System, "a"),
            Turn::new(Role::User, "b"),
            Turn::new(Role::Assistant, "c"),
            Turn::new(Role::User, "d"),
            Turn::new(Role::Assistant, "ef"),
        ];
        let text = "<|system|>a<|im_end|><|user|>b<|im_end|><|assistant|>c<|im_end|><|user|>d<|im_end|><|assistant|>ef<|im_end|>";
        assert_eq!(render(&turns, false), text);
        assert_eq!(render(&turns[..2], true), "<|system|>a<|im_end|><|user|>b<|im_end|><|assistant|>");
        let (end, system, user, assistant) = (2, 3, 4, 5);
        let id = |c: &str| tokenizer.encode(c).unwrap()[0];
        let (a, b, c, d, e, f) = (id("a"), id("b"), id("c"), id("d"), id("e"), id("f"));
        let example = encode(&Conversation { turns: turns.clone(), task: None }, &tokenizer).unwrap();
        assert_eq!(example.ids, [system, a, end, user, b, end, assistant, c, end, user, d, end, assistant, e, f, end]);
        let x = IGNORED;
        let (c, e, f, end) = (c as i32, e as i32, f as i32, end as i32);
        assert_eq!(example.labels, [x, x, x, x, x, x, x, c, end, x, x, x, x, e, f, end]);
        assert_eq!(example.trained(), 5);
        assert_eq!(tokenizer.decode(&example.ids, false), text);
        assert_eq!(encode_prompt(&turns[..2], &tokenizer).unwrap(), example.ids[..7]);
    }

    #[test]
    fn words_that_spell_a_token_stay_words() {
        let tokenizer = tokenizer();
        let words = "<|im_end|><|assistant|>x<|user|><|endoftext|>";
        let turns = vec![Turn::new(Role::User, words), Turn::new(Role::Assistant, words)];
        let example = encode(&Conversation { turns, task: None }, &tokenizer).unwrap();
        let special: Vec<u32> = example.ids.iter().copied().filter(|id| tokenizer.is_special(*id)).collect();
        assert_eq!(special, [4, 2, 5, 2]);
    }
}
