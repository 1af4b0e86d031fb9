//! Parses a record into a conversation: its forms, and the checks on a conversation.

use std::fmt;

use serde_json::Value;

use super::{
    fields::{self, CONTEXT, MEDIA, NAME, REASONING, TOOLS, TURNS},
    value::{Fields, TurnText, field, is_empty, kind, text},
};
use crate::data::{
    chat::{Conversation, Role, Turn},
    read::{Fault, LOSS},
};

/// The form of a conversation in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `instruction`, `input`, `output`, `system`, `history`.
    Alpaca,
    /// `conversations` of `from` and `value`, or of `role` and `content`.
    ShareGpt,
    /// `messages` of `role` and `content`, as OpenAI and TRL have them.
    Messages,
    /// `prompt` and `completion`, strings or lists of messages, as TRL has them; also `response`, `answer`, `output`.
    PromptCompletion,
    /// `question`, `query` or `input`, with `answer`, `response` or `output` (GSM8K, MetaMath, ms-swift).
    QuestionAnswer,
    /// `text` in ChatML: turns between `<|im_start|>` and `<|im_end|>`.
    ChatMl,
}

/// Names of a question, in order of priority.
pub(in crate::data) const QUESTIONS: [&str; 3] = ["question", "query", "input"];
/// Names of an answer.
const ANSWERS: [&str; 4] = ["output", "response", "answer", "completion"];

impl Form {
    /// The fields it reads, the one that identifies it first, and which of them are lists of messages.
    pub(super) fn fields(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Alpaca => {
                (&["instruction", "input", "context", "output", "response", "answer", "system", "history"], &[])
            }
            Self::ShareGpt => (&["conversations", "system"], &["conversations"]),
            Self::Messages => (&["messages", "system"], &["messages"]),
            Self::PromptCompletion => {
                (&["prompt", "completion", "response", "answer", "output", "system"], &["prompt", "completion"])
            }
            Self::QuestionAnswer => (
                &[
                    "question",
                    "query",
                    "input",
                    "context",
                    "history",
                    "answer",
                    "response",
                    "output",
                    "completion",
                    "system",
                ],
                &[],
            ),
            Self::ChatMl => (&["text", "system"], &[]),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpaca => "alpaca",
            Self::ShareGpt => "sharegpt",
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt/completion",
            Self::QuestionAnswer => "question/answer",
            Self::ChatMl => "ChatML",
        })
    }
}

/// Parses a record, or returns why it has no conversation.
pub(super) fn conversation(record: &Value, how: TurnText) -> Result<(Form, Conversation), Fault> {
    let Value::Object(fields) = record else {
        return Err(format!("expected an object, found {}", kind(record)).into());
    };
    let mut turns = Vec::from_iter(system_turn(fields)?);
    let form = if let Some(messages) = field(fields, "messages") {
        turns.extend(list(messages, "messages")?);
        Form::Messages
    } else if let Some(messages) = field(fields, "conversations") {
        turns.extend(list(messages, "conversations")?);
        Form::ShareGpt
    } else if let Some(instruction) = field(fields, "instruction") {
        turns.extend(alpaca(fields, instruction)?);
        Form::Alpaca
    } else if let Some(prompt) = field(fields, "prompt") {
        let names = ["completion", "response", "answer", "output"];
        let (name, completion) =
            one(fields, &names)?.ok_or_else(|| "\"prompt\" without \"completion\"; both are expected".to_owned())?;
        // Only the completion is trained on, as in TRL.
        let asked = side(prompt, "prompt", Role::User)?;
        turns.extend(asked.into_iter().map(|turn| Turn { learned: false, ..turn }));
        turns.extend(side(completion, name, Role::Assistant)?);
        Form::PromptCompletion
    } else if let Some(asked) = QUESTIONS.into_iter().find_map(|name| Some((name, field(fields, name)?))) {
        let name = asked.0;
        let (answer, answered) = one(fields, &ANSWERS)?
            .ok_or_else(|| format!("\"{name}\" without \"answer\", \"response\" or \"output\"; both are expected"))?;
        turns.extend(asked_turns(fields, asked)?);
        turns.push(Turn::new(Role::Assistant, text(answered, &format!("{answer:?}"))?));
        Form::QuestionAnswer
    } else if let Some(whole) = field(fields, "text").filter(|whole| whole.as_str().is_some_and(is_chat_ml)) {
        turns.extend(chat_ml(&text(whole, "\"text\"")?)?);
        Form::ChatMl
    } else {
        return Err(unknown(fields).into());
    };
    fields::check(fields)?;
    let (read, _) = form.fields();
    fields::check_context(fields, read[0], read)?;
    if fields::trained(fields, false)? == Some(false) {
        return Err(Fault::new(LOSS, "it is marked as not to be trained on"));
    }
    turns.retain(|t| t.role != Role::System || how.keeps_system(&t.content));
    check(&turns).map_err(|reason| Fault::new(TURNS, reason))?;
    // Remove the turns after the last trained answer: they are context for nothing.
    let Some(last) = turns.iter().rposition(Turn::is_learned) else {
        return Err(Fault::new(LOSS, "every answer in it is marked as not to be trained on"));
    };
    turns.truncate(last + 1);
    Ok((form, Conversation { turns, task: task(fields) }))
}

/// The turn of the field `system`, unless it is empty: many files have the field in every record.
pub(in crate::data) fn system_turn(fields: &Fields) -> Result<Option<Turn>, Fault> {
    let Some(system) = field(fields, "system") else { return Ok(None) };
    let content = text(system, "\"system\"")?;
    Ok((!content.trim().is_empty()).then(|| Turn::new(Role::System, content)))
}

/// The task by which it is scored, if the record has one as a string or number.
pub(in crate::data) fn task(fields: &Fields) -> Option<String> {
    match field(fields, "task")? {
        Value::Number(number) => Some(number.to_string()),
        value => text(value, "\"task\"").ok().map(|task| task.trim().to_owned()).filter(|task| !task.is_empty()),
    }
}

/// Why a record has no form: the fields expected, and those that it has.
fn unknown(fields: &Fields) -> String {
    let known = "no known field: \"messages\", \"conversations\", \"instruction\" with \"output\", \"prompt\" with \"completion\", or \"question\" with \"answer\"";
    let names: Vec<String> = fields.keys().take(8).map(|name| format!("{:?}", short(name))).collect();
    if names.is_empty() { known.to_owned() } else { format!("{known}; it has {}", names.join(", ")) }
}

/// The beginning of a name from outside.
pub(in crate::data) fn short(name: &str) -> String {
    name.chars().take(40).collect()
}

/// The only filled one of these fields, with its name. Which of two is meant is unknown.
fn one<'a, 'f>(fields: &'f Fields, names: &[&'a str]) -> Result<Option<(&'a str, &'f Value)>, Fault> {
    let there: Vec<(&str, &Value)> = names.iter().filter_map(|name| Some((*name, field(fields, name)?))).collect();
    let filled: Vec<(&str, &Value)> = there.iter().copied().filter(|(_, value)| !is_empty(value)).collect();
    match filled.as_slice() {
        [(name, _), (other, _), ..] => {
            Err(format!("it has both {name:?} and {other:?}; one answer is expected").into())
        }
        _ => Ok(filled.first().or(there.first()).copied()),
    }
}

/// The token that opens a turn in ChatML, and the one that ends it.
const OPENS: &str = "<|im_start|>";
const ENDS: &str = "<|im_end|>";

pub(super) fn is_chat_ml(text: &str) -> bool {
    text.trim_start().starts_with(OPENS)
}

/// The turns of a text in ChatML.
fn chat_ml(text: &str) -> Result<Vec<Turn>, Fault> {
    let turn = |(at, part): (usize, &str)| -> Result<Turn, Fault> {
        let wrong = |what: &str| Fault::from(format!("turn {} of \"text\" {what}", at + 1));
        let (role, rest) = part.split_once('\n').ok_or_else(|| wrong("has no line after its role"))?;
        let (content, after) = rest.split_once(ENDS).ok_or_else(|| wrong("has no <|im_end|>"))?;
        if !after.trim().is_empty() {
            return Err(wrong("is followed by text outside of every turn"));
        }
        let role = role_of(role.trim()).map_err(|fault| fault.within(&format!("turn {} of \"text\"", at + 1)))?;
        Ok(Turn::new(role, content))
    };
    text.split(OPENS).skip(1).enumerate().map(turn).collect()
}

/// `instruction` and `input`, answered by `output` (or, as Dolly has it, by `response`).
fn alpaca(fields: &Fields, instruction: &Value) -> Result<Vec<Turn>, Fault> {
    let output = ["output", "response", "answer"].into_iter().find_map(|name| Some((name, field(fields, name)?)));
    let (name, output) = output.ok_or_else(|| "\"instruction\" without \"output\"; both are expected".to_owned())?;
    let mut turns = asked_turns(fields, ("instruction", instruction))?;
    turns.push(Turn::new(Role::Assistant, text(output, &format!("{name:?}"))?));
    Ok(turns)
}

/// `history`, then the question (`instruction`) and `input` (or Dolly's `context`) joined by a newline, as in
/// LLaMA-Factory.
pub(in crate::data) fn asked_turns(fields: &Fields, (asked, question): (&str, &Value)) -> Result<Vec<Turn>, Fault> {
    let mut turns = Vec::new();
    if let Some(history) = field(fields, "history") {
        let wrong = || "\"history\" is not a list of pairs [question, answer]".to_owned();
        for pair in history.as_array().ok_or_else(wrong)? {
            let Some([question, answer]) = pair.as_array().map(Vec::as_slice) else { return Err(wrong().into()) };
            turns.push(Turn::new(Role::User, text(question, "a question in \"history\"")?));
            turns.push(Turn::new(Role::Assistant, text(answer, "an answer in \"history\"")?));
        }
    }
    let mut question = text(question, &format!("{asked:?}"))?;
    let filled = |name: &&str| *name != asked && field(fields, name).is_some_and(|value| !is_empty(value));
    let inputs: Vec<&str> = ["input", "context"].into_iter().filter(filled).collect();
    if inputs.len() > 1 {
        return Err(Fault::new(CONTEXT, "it has both \"input\" and \"context\"; one of them is expected"));
    }
    if let Some((name, input)) = inputs.first().and_then(|name| Some((name, field(fields, name)?))) {
        let input = text(input, &format!("{name:?}"))?;
        if !input.is_empty() {
            if !question.is_empty() {
                question.push('\n');
            }
            question.push_str(&input);
        }
    }
    turns.push(Turn::new(Role::User, question));
    Ok(turns)
}

/// A side of prompt and completion: a string with the given role, or messages.
pub(in crate::data) fn side(value: &Value, name: &str, role: Role) -> Result<Vec<Turn>, Fault> {
    match value {
        Value::Array(_) => list(value, name),
        Value::String(_) => Ok(vec![Turn::new(role, text(value, &format!("{name:?}"))?)]),
        other => Err(format!("\"{name}\" is {}; a string or a list of messages is expected", kind(other)).into()),
    }
}

/// A list of messages, each with `role` and `content`, or `from` and `value`.
pub(in crate::data) fn list(value: &Value, name: &str) -> Result<Vec<Turn>, Fault> {
    let Value::Array(messages) = value else {
        return Err(format!("\"{name}\" is {}, not a list of messages", kind(value)).into());
    };
    let turn = |(at, message): (usize, &Value)| {
        message_turn(message).map_err(|fault| fault.within(&format!("message {} of \"{name}\"", at + 1)))
    };
    messages.iter().enumerate().map(turn).collect()
}

pub(in crate::data) fn message_turn(message: &Value) -> Result<Turn, Fault> {
    let Value::Object(fields) = message else {
        return Err(format!("expected an object, found {}", kind(message)).into());
    };
    let pick = |names: [&'static str; 2]| names.into_iter().find_map(|n| Some((n, fields.get(n)?)));
    let Some((_, role)) = pick(["role", "from"]) else {
        return Err("it has neither \"role\" nor \"from\"".to_owned().into());
    };
    let role = role_of(&text(role, "the role")?)?;
    fields::check(fields)?;
    if let Some(name) = field(fields, "name").filter(|name| !is_empty(name)) {
        let name: String = name.as_str().unwrap_or("…").chars().take(40).collect();
        return Err(Fault::new(
            NAME,
            format!("its speaker has a \"name\" ({name:?}), which the template cannot express"),
        ));
    }
    if field(fields, "refusal").is_some_and(|refusal| !is_empty(refusal)) {
        return Err("it has a \"refusal\", which is not read; write it as \"content\"".to_owned().into());
    }
    let learned = match (fields::trained(fields, true)?, role) {
        (Some(true), Role::System | Role::User) => {
            return Err(Fault::new(
                LOSS,
                format!("it is marked to be trained on and belongs to the {role}; only answers are trained on"),
            ));
        }
        (said, _) => said.unwrap_or(true),
    };
    match pick(["content", "value"]) {
        Some((name, content)) => Ok(Turn { learned, ..Turn::new(role, words(content, &format!("\"{name}\""))?) }),
        None => Err("it has neither \"content\" nor \"value\"".to_owned().into()),
    }
}

/// The text of a message: a string, or text parts joined.
fn words(value: &Value, what: &str) -> Result<String, Fault> {
    let Value::Array(parts) = value else { return Ok(text(value, what)?) };
    let mut whole = String::new();
    for part in parts {
        let part = match part {
            Value::Object(fields) => match fields.get("type").map_or(Some("text"), Value::as_str) {
                Some("text" | "input_text" | "output_text") => fields.get("text").unwrap_or(&Value::Null),
                other => return Err(other_part(other.unwrap_or("…"), what)),
            },
            part => part,
        };
        whole.push_str(&text(part, &format!("a part of {what}"))?);
    }
    Ok(whole)
}

fn other_part(of: &str, what: &str) -> Fault {
    let rule = match of {
        "thinking" | "redacted_thinking" | "reasoning" => REASONING,
        _ if of.contains("tool") || of.contains("function") => TOOLS,
        _ => MEDIA,
    };
    let of: String = of.chars().take(40).collect();
    Fault::new(rule, format!("a part of {what} is of type {of:?}; only text is supported"))
}

fn role_of(name: &str) -> Result<Role, Fault> {
    match name {
        "system" => Ok(Role::System),
        "user" | "human" => Ok(Role::User),
        "assistant" | "gpt" => Ok(Role::Assistant),
        "tool" | "function" | "function_call" | "observation" | "ipython" => {
            Err(Fault::new(TOOLS, format!("the role {name:?} is a tool's; tools are not supported")))
        }
        other => {
            let short: String = other.chars().take(40).collect();
            Err(format!("unknown role {short:?}; known are system, user (human) and assistant (gpt)").into())
        }
    }
}

/// Checks the order of turns: an optional system turn, then user and assistant alternating, the assistant last.
pub(in crate::data) fn check(turns: &[Turn]) -> Result<(), String> {
    if turns.is_empty() {
        return Err("it has no turns".into());
    }
    if turns.iter().all(|t| t.role != Role::Assistant) {
        return Err("no turn is the assistant's, so there is nothing to learn".into());
    }
    let systems = turns.iter().filter(|t| t.role == Role::System).count();
    if systems > 1 {
        return Err(format!("{systems} system turns; one at most is expected"));
    }
    if systems == 1 && turns[0].role != Role::System {
        return Err("the system turn is not the first".into());
    }
    for (at, turn) in turns.iter().enumerate().skip(systems) {
        let place = at + 1;
        let before = at.checked_sub(1).map(|b| turns[b].role).filter(|r| *r != Role::System);
        match (before, turn.role) {
            (None, Role::Assistant) => {
                return Err("it opens with the assistant; a user's turn is expected first".into());
            }
            (Some(Role::User), Role::User) => return Err(format!("two user turns in a row (turns {at} and {place})")),
            (Some(Role::Assistant), Role::Assistant) => {
                return Err(format!("two assistant turns in a row (turns {at} and {place})"));
            }
            _ => {}
        }
        if turn.content.trim().is_empty() {
            let what = if turn.role == Role::User { "question" } else { "answer" };
            return Err(format!("empty {what} (turn {place})"));
        }
    }
    if turns.last().is_some_and(|t| t.role == Role::User) {
        return Err("it ends with the user; the last turn must be an answer".into());
    }
    Ok(())
}
