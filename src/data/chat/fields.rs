//! Fields of a record other than the text of its conversation or pair.
//!
//! A field that changes what is learned is applied, or its record is rejected; an empty one changes nothing. All other
//! unread fields are counted.

use serde_json::Value;

use super::value::{Fields, field, is_empty, kind};
use crate::data::read::{Fault, LOSS, Unread};

/// Rules under which records are rejected, in addition to those of [`read`](mod@crate::data::read). Invalid order or
/// roles of turns.
pub(in crate::data) const TURNS: &str = "turns";
/// Tool definitions and tool calls.
pub(in crate::data) const TOOLS: &str = "tools";
/// Reasoning, which the template does not support.
pub(in crate::data) const REASONING: &str = "reasoning";
/// Images, audio, video.
pub(in crate::data) const MEDIA: &str = "media";
/// A label that rates the answer.
pub(in crate::data) const LABEL: &str = "label";
/// A speaker's name.
pub(in crate::data) const NAME: &str = "name";
/// Context for the question, where the form does not support it.
pub(in crate::data) const CONTEXT: &str = "context";

/// The rule and the reason for which a record or message with this (non-empty) field is rejected.
fn refused(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "tool_calls" | "function_call" => (TOOLS, "it calls a tool, which is not supported"),
        "tools" | "functions" | "tool_choice" => (TOOLS, "tools are not supported"),
        "reasoning_content" | "reasoning" | "reasoning_details" | "reasoning_text" | "thinking"
        | "thinking_content" | "thinking_blocks" | "thought" | "thoughts" | "think" | "chain_of_thought" | "cot" => {
            (REASONING, "the template has no place for a train of thought; remove it, or write it into the answer")
        }
        "images" | "image" | "image_url" | "image_urls" | "videos" | "video" | "audios" | "audio" | "attachments" => {
            (MEDIA, "only text is supported")
        }
        "train_detail" | "mask_detail" | "masked" | "mask" | "ignore_loss" | "completion_mask" | "assistant_mask"
        | "assistant_masks" | "labels" | "margin" => {
            (LOSS, "it changes what is learned in a way that is not supported")
        }
        "system_prompt" | "system_message" => (CONTEXT, "a system turn is read from \"system\"; rename it"),
        "documents" => (CONTEXT, "it is not read; put what it says into the question"),
        _ => return None,
    })
}

/// Rejects a record or a message with a field that changes what is learned and is not supported.
pub(in crate::data) fn check(fields: &Fields) -> Result<(), Fault> {
    for (name, value) in fields {
        if let Some((rule, why)) = refused(name)
            && !is_empty(value)
        {
            let calls = matches!(name.as_str(), "tool_calls" | "function_call");
            return Err(Fault::new(rule, if calls { why.to_owned() } else { format!("it has {name:?}: {why}") }));
        }
    }
    match fields.iter().find(|(name, _)| matches!(name.as_str(), "label" | "kto_tag")) {
        Some((name, value)) if switch(value) == Some(false) => {
            Err(Fault::new(LABEL, format!("{name:?} says that its answer is a bad one, so it is not to be learned")))
        }
        Some((name, value)) if !is_empty(value) && switch(value).is_none() => Err(Fault::new(
            LABEL,
            format!("{name:?} is {}; true or false is expected (a good answer or a bad one)", kind(value)),
        )),
        _ => Ok(()),
    }
}

/// Rejects a record with context for the question in fields that its form does not read.
pub(in crate::data) fn check_context(fields: &Fields, form: &str, read: &[&str]) -> Result<(), Fault> {
    for name in ["context", "input", "history"] {
        if let Some(value) = fields.get(name)
            && !read.contains(&name)
            && !is_empty(value)
        {
            let why =
                format!("it has {name:?} beside {form:?}, where it is not read; put what it says into the question");
            return Err(Fault::new(CONTEXT, why));
        }
    }
    Ok(())
}

/// Parses true or false, also as 1 or 0.
fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is) => Some(*is),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        _ => None,
    }
}

/// Whether a record or message is to be trained on, if it says so: OpenAI's `weight`, axolotl's `train` and `training`,
/// ms-swift's and XTuner's `loss`, and similar.
pub(in crate::data) fn trained(fields: &Fields, of_message: bool) -> Result<Option<bool>, Fault> {
    let mut said: Option<(&str, bool)> = None;
    for name in ["weight", "train", "trainable", "training", "loss_mask", "loss_weight", "loss_scale", "loss"] {
        // In a record (not a message) `loss` is a measurement.
        let Some(value) = field(fields, name).filter(|_| of_message || name != "loss") else { continue };
        let Some(is) = switch(value) else {
            let what = if value.is_number() { value.to_string() } else { kind(value).to_owned() };
            let why = format!("{name:?} is {what}; only 1 or 0, true or false are supported");
            return Err(Fault::new(LOSS, why));
        };
        match said {
            Some((other, was)) if was != is => {
                return Err(Fault::new(LOSS, format!("{other:?} and {name:?} say different things")));
            }
            _ => said = Some((name, is)),
        }
    }
    Ok(said.map(|(_, is)| is))
}

/// Counts the fields of a record, and of messages in the named lists, that are neither read nor checked.
pub(in crate::data) fn count_unread(unread: &mut Unread, record: &Value, read: &[&str], lists: &[&str]) {
    let Value::Object(fields) = record else { return };
    for name in fields.keys().filter(|name| !read.contains(&name.as_str()) && !is_checked(name)) {
        unread.add("", name, 1);
    }
    for list in lists {
        let messages = match fields.get(*list) {
            Some(Value::Array(messages)) => messages.as_slice(),
            Some(message) => std::slice::from_ref(message),
            None => &[],
        };
        let known = |name: &str| {
            matches!(name, "role" | "from" | "content" | "value" | "loss" | "name" | "refusal") || is_checked(name)
        };
        for message in messages.iter().filter_map(Value::as_object) {
            for name in message.keys().filter(|name| !known(name)) {
                unread.add(list, name, 1);
            }
        }
    }
}

/// Whether a field is checked in both records and messages.
fn is_checked(name: &str) -> bool {
    const OTHERS: [&str; 10] = [
        "label",
        "kto_tag",
        "weight",
        "train",
        "trainable",
        "training",
        "loss_mask",
        "loss_weight",
        "loss_scale",
        "task",
    ];
    refused(name).is_some() || OTHERS.contains(&name)
}
