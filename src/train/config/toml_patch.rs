//! Changes single values in the text of run.toml; comments, order and formatting are kept.

use toml_edit::{DocumentMut, Item, Table, Value};

use super::issue::ConfigIssue;

/// The byte order mark that Windows editors write.
const MARK: &str = "\u{feff}";

/// Changes the weight of a text source: in its `[[source]]`, or in `[mix]` for a built-in one.
pub(crate) fn weight(text: &str, name: &str, weight: f64) -> Result<String, ConfigIssue> {
    changed(text, |document| {
        if document.contains_key("source") {
            set(source(document, name)?, "weight", weight.into());
        } else {
            let mix = document.entry("mix").or_insert_with(|| Item::Table(Table::new()));
            let mix = mix.as_table_like_mut().ok_or_else(|| ConfigIssue::File("mix is not a table".to_owned()))?;
            set(mix, name, weight.into());
        }
        Ok(())
    })
}

/// Sets `size`.
pub(crate) fn size(text: &str, size: &str) -> Result<String, ConfigIssue> {
    changed(text, |document| {
        let there = document.contains_key("size");
        set(document.as_table_mut(), "size", size.into());
        if !there {
            // A new key is inserted in front; the user's keys keep their order.
            let first = |key: &toml_edit::Key| usize::from(key.get() != "size");
            document.as_table_mut().sort_values_by(|a, _, b, _| first(a).cmp(&first(b)));
        }
        Ok(())
    })
}

/// Sets keys, each named with its table (`pretrain.steps`), to values in TOML; a value that is none is a string.
pub(crate) fn keys(text: &str, pairs: &[(String, String)]) -> Result<String, ConfigIssue> {
    pairs.iter().try_fold(text.to_owned(), |text, (path, value)| {
        let value = value.parse::<Value>().unwrap_or_else(|_| value.as_str().into());
        // An edit without effect is no error here.
        let before: toml::Table = text.parse().map_err(|e: toml::de::Error| ConfigIssue::File(e.to_string()))?;
        if at(&before, path) == format!("v = {value}").parse::<toml::Table>().ok().as_ref().and_then(|t| t.get("v")) {
            return Ok(text);
        }
        changed(&text, |document| {
            let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
            let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
            for name in tables.split('.').filter(|name| !name.is_empty()) {
                let inner = table.entry(name).or_insert_with(|| Item::Table(Table::new()));
                table = inner.as_table_like_mut().ok_or_else(|| ConfigIssue::File(format!("{name} is not a table")))?;
            }
            if tables.is_empty() && !table.contains_key(key) {
                // A new key of the top level goes before every table.
                let document = document.as_table_mut();
                set(document, key, value);
                let first = |k: &toml_edit::Key| usize::from(k.get() != key);
                document.sort_values_by(|a, _, b, _| first(a).cmp(&first(b)));
            } else {
                set(table, key, value);
            }
            Ok(())
        })
    })
}

/// The value of a key that is named with its table.
fn at<'t>(table: &'t toml::Table, path: &str) -> Option<&'t toml::Value> {
    let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = table;
    for name in tables.split('.').filter(|name| !name.is_empty()) {
        table = table.get(name)?.as_table()?;
    }
    table.get(key)
}

/// Sets the threshold of a source's rule, or removes it.
pub(crate) fn rule(text: &str, name: &str, rule: &str, bound: Option<f64>) -> Result<String, ConfigIssue> {
    changed(text, |document| {
        let source = source(document, name)?;
        if let Some(bound) = bound {
            let rules = source.entry("rules").or_insert(toml_edit::value(toml_edit::InlineTable::new()));
            let rules =
                rules.as_table_like_mut().ok_or_else(|| ConfigIssue::File("rules is not a table".to_owned()))?;
            set(rules, rule, bound.into());
        } else if let Some(rules) = source.get_mut("rules").and_then(Item::as_table_like_mut) {
            rules.remove(rule);
            if rules.is_empty() {
                source.remove("rules");
            }
        }
        Ok(())
    })
}

fn changed(
    text: &str,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), ConfigIssue>,
) -> Result<String, ConfigIssue> {
    let mark = if text.starts_with(MARK) { MARK } else { "" };
    let body = &text[mark.len()..];
    let mut document: DocumentMut = body.parse().map_err(|e: toml_edit::TomlError| ConfigIssue::File(e.to_string()))?;
    let before: toml::Table = body.parse().map_err(|e: toml::de::Error| ConfigIssue::File(e.to_string()))?;
    change(&mut document)?;
    let mut new = document.to_string();
    if body.contains("\r\n") {
        // Added lines get the file's line ends.
        new = new.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    // Parse the new text before it replaces the user's file.
    let after: toml::Table = new
        .parse()
        .map_err(|e: toml::de::Error| ConfigIssue::File(format!("not changed: the result would not parse: {e}")))?;
    if after == before && new != body {
        return Err(ConfigIssue::File("not changed: the edit would have had no effect".to_owned()));
    }
    Ok(format!("{mark}{new}"))
}

/// The table of a source.
fn source<'d>(document: &'d mut DocumentMut, name: &str) -> Result<&'d mut dyn toml_edit::TableLike, ConfigIssue> {
    let missing = || ConfigIssue::File(format!("[[source]] {name:?} is not there"));
    let sources = document.get_mut("source").ok_or_else(missing)?;
    let is = |table: &dyn toml_edit::TableLike| table.get("name").and_then(Item::as_str) == Some(name);
    let found: Option<&mut dyn toml_edit::TableLike> = match sources {
        Item::ArrayOfTables(tables) => {
            tables.iter_mut().find(|t| is(*t)).map(|t| -> &mut dyn toml_edit::TableLike { t })
        }
        Item::Value(Value::Array(tables)) => {
            let mut tables = tables.iter_mut().filter_map(Value::as_inline_table_mut);
            tables.find(|t| is(*t)).map(|t| -> &mut dyn toml_edit::TableLike { t })
        }
        _ => None,
    };
    found.ok_or_else(missing)
}

/// Sets a value and keeps the comment on its line.
fn set(table: &mut dyn toml_edit::TableLike, key: &str, mut value: Value) {
    if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
        *value.decor_mut() = old.decor().clone();
        *old = value;
    } else {
        table.insert(key, Item::Value(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{base::StageId, train::config::RunConfig};

    const TEXT: &str = "# mine\nsize = \"1m\" # small\n\n[[source]]\nname = \"a\"\npath = \"a.txt\"\nweight = 2 # much\n\n[[source]] # second\nname = \"b\"\npath = \"b.txt\"\n";

    #[test]
    fn everything_else_stays() {
        let text = weight(TEXT, "a", 0.25).unwrap();
        assert_eq!(text, TEXT.replace("weight = 2 #", "weight = 0.25 #"));
        let text = weight(TEXT, "b", 3.0).unwrap();
        assert_eq!(text, format!("{TEXT}weight = 3.0\n"));
        let inline = "source = [{ name = \"a\", path = \"a.txt\" }]\n";
        let text = weight(inline, "a", 0.5).unwrap();
        assert_eq!(RunConfig::parse(&text, &[], StageId::Pretrain).unwrap().source[0].weight, 0.5);
        assert!(weight(TEXT, "c", 1.0).unwrap_err().to_string().contains("\"c\" is not there"));
        assert!(weight("size = ", "a", 1.0).is_err());
    }

    #[test]
    fn a_size_is_settled_where_it_is_written_or_in_front() {
        let rest = "[pretrain]\nsteps = 1\nbatch_size = 2\ncontext = 32\neval_steps = 0\nprobe_steps = 0\n";
        let dotted = "pretrain.steps = 1\npretrain.batch_size = 2\npretrain.context = 32\npretrain.eval_steps = 0\npretrain.probe_steps = 0\n";
        let inline = "pretrain = { steps = 1, batch_size = 2, context = 32, eval_steps = 0, probe_steps = 0 }\n";
        let one = "\"1m\"";
        for (name, before, after) in [
            ("mark", format!("\u{feff}{rest}"), format!("\u{feff}size = {one}\n{rest}")),
            ("quoted", format!("\"size\" = \"auto\"\n{rest}"), format!("\"size\" = {one}\n{rest}")),
            ("literal", format!("'size' = 'auto' # mine\n{rest}"), format!("'size' = {one} # mine\n{rest}")),
            ("crlf", rest.replace('\n', "\r\n"), format!("size = {one}\n{rest}").replace('\n', "\r\n")),
            ("dotted", dotted.to_owned(), format!("size = {one}\n{dotted}")),
            ("inline", format!("# top\nseed = 3\n{inline}"), format!("size = {one}\n# top\nseed = 3\n{inline}")),
            (
                "model",
                format!("# size = \"5m\"\n{rest}[model]\ndropout = 0.1\n"),
                format!("size = {one}\n# size = \"5m\"\n{rest}[model]\ndropout = 0.1\n"),
            ),
            (
                "string",
                format!("tokenizer = \"\"\"char\"\"\"\n{rest}"),
                format!("size = {one}\ntokenizer = \"\"\"char\"\"\"\n{rest}"),
            ),
            ("spaced", format!("  size   =   \"auto\"   # x\n{rest}"), format!("  size   =   {one}   # x\n{rest}")),
        ] {
            let settled = size(&before, "1m").unwrap();
            assert_eq!(settled, after, "{name}");
            assert_eq!(RunConfig::parse(&settled, &[], StageId::Pretrain).unwrap().size, "1m", "{name}");
            assert_eq!(size(&settled, "1m").unwrap(), settled, "{name}");
        }
        for spoilt in ["size = ", "size.of = 3", "[size]\nx = 1"] {
            let new = size(spoilt, "1m");
            assert!(new.is_err() || RunConfig::parse(&new.unwrap(), &[], StageId::Pretrain).is_ok(), "{spoilt}");
        }
    }

    #[test]
    fn the_built_in_mix_gets_a_table() {
        let text = weight("size = \"1m\" # small\n", "english", 0.2).unwrap();
        assert_eq!(text, "size = \"1m\" # small\n\n[mix]\nenglish = 0.2\n");
        let text = weight(&text, "english", 0.3).unwrap();
        assert_eq!(RunConfig::parse(&text, &[], StageId::Pretrain).unwrap().mix["english"], 0.3);
        assert!(RunConfig::parse("[mix]\nenglich = 1.0", &[], StageId::Pretrain).is_err());
    }

    #[test]
    fn a_mark_and_line_ends_stay() {
        let windows = format!("{MARK}{}", TEXT.replace('\n', "\r\n"));
        let text = weight(&windows, "b", 3.0).unwrap();
        assert_eq!(text, format!("{windows}weight = 3.0\r\n"));
        let text = rule(&windows, "b", "too_short", Some(20.0)).unwrap();
        assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains('\n'), "{text:?}");
    }

    #[test]
    fn keys_are_set_where_they_are_or_in_their_table() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let text =
            keys(TEXT, &[pair("size", "\"5m\""), pair("root", "\"../a\""), pair("pretrain.steps", "7")]).unwrap();
        assert!(text.contains("size = \"5m\" # small") && text.contains("# mine"), "{text}");
        let config = RunConfig::parse(&text, &[], StageId::Pretrain).unwrap();
        assert_eq!((config.root.as_deref(), config.stage(StageId::Pretrain).steps), (Some("../a"), Some(7)));
        assert_eq!(keys(&text, &[pair("pretrain.steps", "7")]).unwrap(), text);
        let word = keys(TEXT, &[pair("sft.start", "best")]).unwrap();
        assert!(RunConfig::parse(&word, &[], StageId::Sft).is_ok());
    }

    #[test]
    fn bounds_come_and_go() {
        let with = rule(TEXT, "b", "too_short", Some(20.0)).unwrap();
        assert_eq!(with, format!("{TEXT}rules = {{ too_short = 20.0 }}\n"));
        assert_eq!(rule(&with, "b", "too_short", None).unwrap(), TEXT);
        assert_eq!(rule(TEXT, "a", "too_short", None).unwrap(), TEXT);
    }
}
