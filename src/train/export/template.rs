//! Checks the structure of a chat template in Jinja, which a program refuses to load as a whole when it is broken.

/// Blocks, which `end` and their name close.
const BLOCKS: [&str; 9] = ["if", "for", "macro", "call", "filter", "set", "generation", "with", "block"];
/// Tags that stand for themselves.
const SINGLE: [&str; 7] = ["break", "continue", "do", "include", "import", "from", "extends"];

/// What is wrong with a template, if so.
pub(super) fn fault(template: &str) -> Option<String> {
    let (mut rest, mut open) = (template, Vec::<&str>::new());
    while let Some(start) = ["{{", "{%", "{#"].into_iter().filter_map(|mark| rest.find(mark)).min() {
        let (mark, inside) = (&rest[start..start + 2], &rest[start + 2..]);
        if mark == "{#" {
            let Some(end) = inside.find("#}") else { return Some("a {# is not closed".to_owned()) };
            rest = &inside[end + 2..];
            continue;
        }
        let end = match end_of(inside, if mark == "{{" { "}}" } else { "%}" }) {
            Ok(end) => end,
            Err(what) => return Some(format!("{mark}{}: {what}", shown(inside))),
        };
        rest = &inside[end + 2..];
        if mark == "{{" {
            continue;
        }
        let tag = inside[..end].trim_start_matches(['-', '+']).trim();
        let word = tag.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let wrong = |what: &str| Some(format!("{{%{}: {what}", shown(inside)));
        match (word, word.strip_prefix("end")) {
            ("raw", _) => {
                let after = rest.find("endraw").and_then(|at| Some(at + rest[at..].find("%}")? + 2));
                let Some(after) = after else { return wrong("it has no endraw") };
                rest = &rest[after..];
            }
            // A value, not a block.
            ("set", _) if tag.contains('=') => {}
            ("elif", _) if open.last() != Some(&"if") => return wrong("it is in no if"),
            ("else", _) if !matches!(open.last(), Some(&("if" | "for"))) => return wrong("it is in no if or for"),
            ("elif" | "else", _) => {}
            (_, Some(block)) if BLOCKS.contains(&block) => match open.pop() {
                Some(opened) if opened == block => {}
                Some(opened) => return wrong(&format!("it closes a {opened}")),
                None => return wrong("it closes nothing"),
            },
            (word, _) if BLOCKS.contains(&word) => open.push(word),
            (word, _) if SINGLE.contains(&word) => {}
            _ => return wrong("there is no such tag"),
        }
    }
    open.pop().map(|block| format!("a {block} is not closed"))
}

/// Where the mark `end` closes what precedes it: outside of strings and brackets.
fn end_of(text: &str, end: &str) -> Result<usize, String> {
    let (mut brackets, mut quote, mut escaped) = (Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        if let Some(quoted) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quoted => quote = None,
                _ => {}
            }
            continue;
        }
        if brackets.is_empty() && text[at..].starts_with(end) {
            return Ok(at);
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' => brackets.push(')'),
            '[' => brackets.push(']'),
            '{' => brackets.push('}'),
            ')' | ']' | '}' if brackets.pop() != Some(c) => return Err(format!("a {c} closes nothing")),
            _ => {}
        }
    }
    Err(match (quote, brackets.pop()) {
        (Some(quote), _) => format!("a {quote} is not closed"),
        (None, Some(bracket)) => format!("a {bracket} is missing"),
        (None, None) => format!("{end} is missing"),
    })
}

/// The beginning of a tag for a message.
fn shown(inside: &str) -> String {
    let line: String = inside.chars().take(30).collect();
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::CHAT_TEMPLATE;

    #[test]
    fn whole_templates_are_accepted() {
        for template in [
            CHAT_TEMPLATE,
            "",
            "no Jinja } }} %} at all",
            "{{ {'a': [1, (2)]}['a'] }}",
            "{% set x = 'a %} b' %}{# } {% if #}{%- if x -%}{{ x }}{%- elif y %}{% else %}{% endif %}",
            "{% set x %}text{% endset %}{% for a in b if a %}{% else %}{% break %}{% endfor %}",
            "{% raw %}{{ {% if {% endraw %}{% macro f(a=1) %}{% endmacro %}",
            "{{ \"it\\\"s }}\" }}",
        ] {
            assert_eq!(fault(template), None, "{template}");
        }
    }

    #[test]
    fn broken_ones_are_named() {
        for (template, words) in [
            ("{% if x %}a", "a if is not closed"),
            ("{% for m in messages %}{% endif %}", "endif %}: it closes a for"),
            ("a {% endfor %}", "it closes nothing"),
            ("{{ messages[0 }}", "closes nothing"),
            ("{{ messages[0]", "}} is missing"),
            ("{{ f(x ", "a ) is missing"),
            ("{{ 'a }}", "a ' is not closed"),
            ("{% if x ", "%} is missing"),
            ("{# a", "{# is not closed"),
            ("{% else %}", "it is in no if or for"),
            ("{% for a in b %}{% elif c %}{% endfor %}", "it is in no if"),
            ("{% fi x %}", "there is no such tag"),
            ("{% %}", "there is no such tag"),
            ("{% raw %} {{", "it has no endraw"),
        ] {
            let said = fault(template).unwrap_or_default();
            assert!(said.contains(words), "{template}: {said}");
        }
    }
}
