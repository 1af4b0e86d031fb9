//! A record to a conversation: the four forms, and what a conversation must be.

use serde_json::{Map, Value};

use super::Form;
use crate::data::chat::{Conversation, Role, Turn};

pub(in crate::data) type Fields = Map<String, Value>;

/// The conversation a record stands for, or the reason there is none.
pub(super) fn conversation(record: &Value) -> Result<(Form, Conversation), String> {
    let Value::Object(fields) = record else {
        return Err(format!("expected an object, found {}", kind(record)));
    };
    let mut turns = Vec::new();
    if let Some(system) = field(fields, "system") {
        turns.push(Turn::new(Role::System, text(system, "\"system\"")?));
    }
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
        let completion = field(fields, "completion").ok_or("\"prompt\" without \"completion\"; both are expected")?;
        turns.extend(side(prompt, "prompt", Role::User)?);
        turns.extend(side(completion, "completion", Role::Assistant)?);
        Form::PromptCompletion
    } else {
        return Err("no field that is known: \"messages\", \"conversations\", \"instruction\" with \"output\", or \"prompt\" with \"completion\"".into());
    };
    // An empty system turn says nothing, and many files have one in every record.
    turns.retain(|t| t.role != Role::System || !t.content.trim().is_empty());
    check(&turns)?;
    Ok((form, Conversation { turns, task: task(fields)? }))
}

/// A field that is there and not null.
pub(in crate::data) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|v| !v.is_null())
}

/// What a value is, in words.
pub(in crate::data) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A string with its line ends as `\n`, otherwise as it is.
pub(in crate::data) fn text(value: &Value, what: &str) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains('\r') => Ok(text.replace("\r\n", "\n")),
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{what} is {}, not a string", kind(other))),
    }
}

pub(in crate::data) fn task(fields: &Fields) -> Result<Option<String>, String> {
    match field(fields, "task") {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(value) => Ok(Some(text(value, "\"task\"")?.trim().to_owned()).filter(|t| !t.is_empty())),
    }
}

/// `instruction` and `input`, answered by `output`.
fn alpaca(fields: &Fields, instruction: &Value) -> Result<Vec<Turn>, String> {
    let output = field(fields, "output").ok_or("\"instruction\" without \"output\"; both are expected")?;
    let mut turns = alpaca_question(fields, instruction)?;
    turns.push(Turn::new(Role::Assistant, text(output, "\"output\"")?));
    Ok(turns)
}

/// `history`, then `instruction` and `input`, which ask together, as in LLaMA-Factory: on a line each.
pub(in crate::data) fn alpaca_question(fields: &Fields, instruction: &Value) -> Result<Vec<Turn>, String> {
    let mut turns = Vec::new();
    if let Some(history) = field(fields, "history") {
        let wrong = || "\"history\" is no list of pairs [question, answer]".to_owned();
        for pair in history.as_array().ok_or_else(wrong)? {
            let Some([question, answer]) = pair.as_array().map(Vec::as_slice) else { return Err(wrong()) };
            turns.push(Turn::new(Role::User, text(question, "a question in \"history\"")?));
            turns.push(Turn::new(Role::Assistant, text(answer, "an answer in \"history\"")?));
        }
    }
    let mut question = text(instruction, "\"instruction\"")?;
    if let Some(input) = field(fields, "input") {
        let input = text(input, "\"input\"")?;
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

/// A side of prompt and completion: a string of one role, or messages.
pub(in crate::data) fn side(value: &Value, name: &str, role: Role) -> Result<Vec<Turn>, String> {
    match value {
        Value::Array(_) => list(value, name),
        Value::String(_) => Ok(vec![Turn::new(role, text(value, name)?)]),
        other => Err(format!("\"{name}\" is {}; a string or a list of messages is expected", kind(other))),
    }
}

/// A list of messages, each with `role` and `content`, or `from` and `value`.
pub(in crate::data) fn list(value: &Value, name: &str) -> Result<Vec<Turn>, String> {
    let Value::Array(messages) = value else {
        return Err(format!("\"{name}\" is {}, not a list of messages", kind(value)));
    };
    let turn = |(at, message): (usize, &Value)| {
        message_turn(message).map_err(|reason| format!("message {} of \"{name}\": {reason}", at + 1))
    };
    messages.iter().enumerate().map(turn).collect()
}

pub(in crate::data) fn message_turn(message: &Value) -> Result<Turn, String> {
    let Value::Object(fields) = message else {
        return Err(format!("expected an object, found {}", kind(message)));
    };
    let pick = |names: [&'static str; 2]| names.into_iter().find_map(|n| Some((n, fields.get(n)?)));
    let Some((_, role)) = pick(["role", "from"]) else {
        return Err("it has neither \"role\" nor \"from\"".into());
    };
    let role = role_of(&text(role, "the role")?)?;
    if ["tool_calls", "function_call"]
        .into_iter()
        .any(|name| field(fields, name).is_some_and(|calls| calls.as_array().is_none_or(|calls| !calls.is_empty())))
    {
        return Err("it calls a tool, which is not supported".into());
    }
    match pick(["content", "value"]) {
        Some((name, content)) => Ok(Turn::new(role, text(content, &format!("\"{name}\""))?)),
        None => Err("it has neither \"content\" nor \"value\"".into()),
    }
}

fn role_of(name: &str) -> Result<Role, String> {
    match name {
        "system" => Ok(Role::System),
        "user" | "human" => Ok(Role::User),
        "assistant" | "gpt" => Ok(Role::Assistant),
        "tool" | "function" | "function_call" | "observation" | "ipython" => {
            Err(format!("the role {name:?} is a tool's; tools are not supported"))
        }
        other => {
            let short: String = other.chars().take(40).collect();
            Err(format!("unknown role {short:?}; known are system, user (human) and assistant (gpt)"))
        }
    }
}

/// Refuses turns that are no conversation to learn from: perhaps a system turn, then questions and
/// answers by turns, an answer last.
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
