//! The dictionaries that Python prints (`{'loss': '1.23', 'grad_norm': nan}`), read as JSON. Everything that JSON is, it
//! reads too, and the `NaN` and `Infinity` that Python's `json` writes, which JSON lacks: such a number becomes the text
//! of its name.

use serde_json::{Map, Number, Value};

/// Deepest nesting.
const DEEPEST: usize = 16;

/// Reads one value that takes up the whole text; None if it is none.
pub(super) fn value(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text };
    let value = parser.value(DEEPEST)?;
    parser.space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.space();
        match self.rest.chars().next()? {
            '{' => self.map(depth),
            '[' => self.list(depth, '[', ']'),
            '(' => self.list(depth, '(', ')'),
            quote @ ('\'' | '"') => self.text(quote).map(Value::String),
            c if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            c if c.is_alphabetic() || c == '_' => self.word(depth),
            _ => None,
        }
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        self.eat('{');
        while !self.eat('}') {
            if !map.is_empty() && !self.eat(',') {
                return None;
            }
            if self.eat('}') {
                break;
            }
            self.space();
            let quote = self.rest.chars().next().filter(|c| "'\"".contains(*c))?;
            let name = self.text(quote)?;
            if !self.eat(':') {
                return None;
            }
            map.insert(name, self.value(depth)?);
        }
        Some(Value::Object(map))
    }

    fn list(&mut self, depth: usize, open: char, close: char) -> Option<Value> {
        let mut list = Vec::new();
        self.eat(open);
        while !self.eat(close) {
            if !list.is_empty() && !self.eat(',') {
                return None;
            }
            if self.eat(close) {
                break;
            }
            list.push(self.value(depth)?);
        }
        Some(Value::Array(list))
    }

    fn text(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest[quote.len_utf8()..].chars();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => match chars.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    kind @ ('u' | 'x') => {
                        let digits: String = chars.by_ref().take(if kind == 'u' { 4 } else { 2 }).collect();
                        let code = u32::from_str_radix(&digits, 16).ok()?;
                        text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    c => text.push(c),
                },
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    fn number(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if let Ok(whole) = word.parse::<i64>() {
            return Some(whole.into());
        }
        named(word.parse::<f64>().ok()?)
    }

    /// `None`, `True`, `nan` …, or a call around a value, as `tensor(0.5)` and `np.float64(0.5)`.
    fn word(&mut self, depth: usize) -> Option<Value> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "None" | "null" => return Some(Value::Null),
            "True" | "true" => return Some(true.into()),
            "False" | "false" => return Some(false.into()),
            "nan" | "NaN" => return named(f64::NAN),
            "inf" | "Infinity" => return named(f64::INFINITY),
            _ => {}
        }
        if !self.rest.starts_with('(') {
            return None;
        }
        let Value::Array(mut inside) = self.list(depth, '(', ')')? else { return None };
        (inside.len() == 1).then(|| inside.remove(0))
    }
}

fn named(number: f64) -> Option<Value> {
    Some(Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_prints_is_read() {
        for (text, wanted) in [
            ("{'loss': '1.23', 'epoch': 0.5, 'n': 3, }", json!({"loss": "1.23", "epoch": 0.5, "n": 3})),
            (
                r#"{"loss": NaN, "lr": 2e-05, "on": true, "x": null}"#,
                json!({"loss": "NaN", "lr": 2e-5, "on": true, "x": null}),
            ),
            ("{'a': nan, 'b': -inf, 'c': inf}", json!({"a": "NaN", "b": "-inf", "c": "inf"})),
            (
                "{'r': np.float64(0.25), 't': tensor(1.5), 'l': [1, (2, 'x')]}",
                json!({"r": 0.25, "t": 1.5, "l": [1, [2, "x"]]}),
            ),
            (r"{'it\'s': '\u6625\n\x41', 'no': None, 'yes': True}", json!({"it's": "春\nA", "no": null, "yes": true})),
            ("{}", json!({})),
        ] {
            assert_eq!(value(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for text in [
            "{'loss': 1.0",
            "{'loss' 1}",
            "{loss: 1}",
            "{'a': 1} x",
            "{'a': f(1, 2)}",
            "{'a': x}",
            "",
            &deep,
            "{'a': '\\u12'}",
            "{'a': --1}",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
