//! Chat templates in Jinja, rendered as transformers renders them: block lines trimmed, Python's string methods,
//! `raise_exception`, `tojson`, loop controls, the marks of `{% generation %}` ignored.
//!
//! `strftime_now` is undefined here: a conversation that renders differently tomorrow would change the bits of training.
//! Templates that ask whether it is defined, as Llama 3.2's does, then use the date they were published with.

use std::{collections::BTreeMap, fmt};

use minijinja::{
    Environment, Error, ErrorKind, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde},
};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The template that danlu trains with, for `tokenizer_config.json`: the same as [`render`](super::chat::render), with
/// the assistant's content marked for masks.
pub const CHAT_TEMPLATE: &str = include_str!("chat/chat_template.jinja");

/// Most bytes of a template.
const LONGEST: usize = 1 << 20;
/// Operations that a rendering may take, and more for every byte of the messages: an endless loop ends.
const FUEL: u64 = 1 << 20;
const FUEL_PER_BYTE: u64 = 256;

/// A message: role and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// Its words.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: &'static str, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A chat template of a model from elsewhere.
#[derive(Clone)]
pub struct ChatTemplate {
    source: String,
    environment: Environment<'static>,
    /// `bos_token`, `eos_token` …, as `tokenizer_config.json` names them.
    tokens: BTreeMap<String, String>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// A template with the special tokens that it may name.
    ///
    /// # Errors
    ///
    /// Text that is no template, as the end of a sentence.
    pub fn new(source: &str, tokens: BTreeMap<String, String>) -> Result<Self, String> {
        if source.len() > LONGEST {
            return Err(format!("it has {} bytes, more than {LONGEST}", source.len()));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|e| line(&e))?;
        environment.set_syntax(syntax);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |what: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, what))
        });
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("chat", without_marks(source)).map_err(|e| line(&e))?;
        Ok(Self { source: source.to_owned(), environment, tokens })
    }

    /// The template as it was read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The special tokens that it may name.
    pub fn tokens(&self) -> &BTreeMap<String, String> {
        &self.tokens
    }

    /// Renders messages; `generation_prompt` opens the assistant's next turn.
    ///
    /// # Errors
    ///
    /// What the template refuses or cannot do, as the end of a sentence.
    pub fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, String> {
        let bytes: usize = messages.iter().map(|m| m.content.len() + 64).sum();
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(FUEL + FUEL_PER_BYTE * bytes as u64));
        let mut context: BTreeMap<&str, Value> =
            self.tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str()))).collect();
        let message = |m: &Message| {
            Value::from_pairs([("role", Value::from(m.role)), ("content", Value::from(m.content.as_str()))])
        };
        context.insert("messages", messages.iter().map(message).collect::<Value>());
        context.insert("add_generation_prompt", generation_prompt.into());
        context.insert("tools", ().into());
        context.insert("documents", ().into());
        let template = environment.get_template("chat").map_err(|e| line(&e))?;
        template.render(Value::from_pairs(context)).map_err(|e| line(&e))
    }
}

/// An error of the template in a line.
fn line(e: &Error) -> String {
    let what = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
    match e.line() {
        Some(at) => format!("{what} (line {at} of the template)"),
        None => what,
    }
}

/// A template in which the marks of `{% generation %}` are a condition that always holds, so that the white space around
/// them is trimmed as in transformers.
fn without_marks(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let (before, after) = (&rest[..start], &rest[start + length + 2..]);
        let inner = &rest[start + 2..start + length];
        let (opens, closes) = (inner.strip_prefix(['-', '+']), inner.strip_suffix(['-', '+']));
        let word = inner.trim_matches(['-', '+']).trim();
        let mark = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        text.push_str(before);
        text.push_str("{%");
        match mark {
            Some(mark) => {
                text.push_str(if opens.is_some() { &inner[..1] } else { "" });
                text.extend([" ", mark, " "]);
                text.push_str(if closes.is_some() { &inner[inner.len() - 1..] } else { "" });
            }
            None => text.push_str(inner),
        }
        text.push_str("%}");
        rest = after;
    }
    text + rest
}

/// transformers' `tojson`: Python's `json.dumps` without escapes beyond those of JSON.
fn to_json(Serde(value): Serde<serde_json::Value>, options: Kwargs) -> Result<String, Error> {
    /// Python's separators.
    struct Spaced;
    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, to: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { to.write_all(b", ") }
        }

        fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, to: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { to.write_all(b", ") }
        }

        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, to: &mut W) -> std::io::Result<()> {
            to.write_all(b": ")
        }
    }
    let indent: Option<usize> = options.get("indent")?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            value
                .serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent.as_bytes())))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    };
    written.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rendered(source: &str) -> Result<String, String> {
        let tokens = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
        let messages = [Message::new("user", " <a> é "), Message::new("assistant", "b")];
        ChatTemplate::new(source, tokens)?.render(&messages, false)
    }

    #[test]
    fn pythons_methods_and_filters_are_there() {
        assert_eq!(rendered("{{ messages[0].content.strip() }}{{ eos_token }}").unwrap(), "<a> é</s>");
        assert_eq!(rendered("{{ messages[0]['content'] | trim | tojson }}").unwrap(), "\"<a> é\"");
        assert_eq!(
            rendered("{{ messages | tojson }}").unwrap(),
            "[{\"content\": \" <a> é \", \"role\": \"user\"}, {\"content\": \"b\", \"role\": \"assistant\"}]"
        );
        assert_eq!(
            rendered("{% for m in messages %}\n  {% if loop.last %}\nx\n  {% endif %}\n{% endfor %}").unwrap(),
            "x\n"
        );
        assert_eq!(
            rendered("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}a{% endfor %}").unwrap(),
            "a"
        );
        assert_eq!(rendered("{{ strftime_now is defined }}").unwrap(), "False");
    }

    #[test]
    fn marks_of_generation_trim_like_blocks() {
        let marked = "a \n{%- generation %}\nb{% endgeneration -%}\n c";
        assert_eq!(rendered(marked).unwrap(), rendered("a \n{%- if true %}\nb{% endif -%}\n c").unwrap());
    }

    #[test]
    fn what_a_template_refuses_is_said_and_endless_ones_end() {
        let error = rendered("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert!(error.contains("roles must alternate") && error.contains("line 1"), "{error}");
        for bad in [
            "{% for %}",
            "{{ x.y.z }}",
            "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
            "{{ strftime_now('%Y') }}",
        ] {
            assert!(rendered(bad).is_err(), "{bad}");
        }
    }
}
