//! Changing a value in the text of run.toml: comments, order and everything else stay as the person wrote them.

use toml_edit::{DocumentMut, Item, Table, Value};

use super::config::ConfigIssue;

/// The text with another weight of a source of text: in its `[[source]]`, or of a built-in one in `[mix]`.
pub(super) fn weight(text: &str, name: &str, weight: f64) -> Result<String, ConfigIssue> {
    changed(text, |document| {
        if document.contains_key("source") {
            set(source(document, name)?, "weight", weight.into());
        } else {
            let mix = document.entry("mix").or_insert_with(|| Item::Table(Table::new()));
            let mix = mix.as_table_like_mut().ok_or_else(|| ConfigIssue("mix is no table".to_owned()))?;
            set(mix, name, weight.into());
        }
        Ok(())
    })
}

/// The text with another bound of a source's rule, or without one of its own.
pub(super) fn rule(text: &str, name: &str, rule: &str, bound: Option<f64>) -> Result<String, ConfigIssue> {
    changed(text, |document| {
        let source = source(document, name)?;
        if let Some(bound) = bound {
            let rules = source.entry("rules").or_insert(toml_edit::value(toml_edit::InlineTable::new()));
            let rules = rules.as_table_like_mut().ok_or_else(|| ConfigIssue("rules is no table".to_owned()))?;
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
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| ConfigIssue(e.to_string()))?;
    change(&mut document)?;
    Ok(document.to_string())
}

/// The table of a source.
fn source<'d>(document: &'d mut DocumentMut, name: &str) -> Result<&'d mut dyn toml_edit::TableLike, ConfigIssue> {
    let missing = || ConfigIssue(format!("[[source]] {name:?} is not there any more"));
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

/// Sets a value; what stands beside it on its line stays.
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
    use crate::train::config::RunConfig;

    const TEXT: &str = "# mine\nsize = \"1m\" # small\n\n[[source]]\nname = \"a\"\npath = \"a.txt\"\nweight = 2 # much\n\n[[source]] # second\nname = \"b\"\npath = \"b.txt\"\n";

    #[test]
    fn everything_else_stays() {
        let text = weight(TEXT, "a", 0.25).unwrap();
        assert_eq!(text, TEXT.replace("weight = 2 #", "weight = 0.25 #"));
        let text = weight(TEXT, "b", 3.0).unwrap();
        assert_eq!(text, format!("{TEXT}weight = 3.0\n"));
        let inline = "source = [{ name = \"a\", path = \"a.txt\" }]\n";
        let text = weight(inline, "a", 0.5).unwrap();
        assert_eq!(RunConfig::parse(&text, &[], "pretrain").unwrap().source[0].weight, 0.5);
        assert!(weight(TEXT, "c", 1.0).unwrap_err().to_string().contains("\"c\" is not there"));
        assert!(weight("size = ", "a", 1.0).is_err());
    }

    #[test]
    fn the_built_in_mix_gets_a_table() {
        let text = weight("size = \"1m\" # small\n", "english", 0.2).unwrap();
        assert_eq!(text, "size = \"1m\" # small\n\n[mix]\nenglish = 0.2\n");
        let text = weight(&text, "english", 0.3).unwrap();
        assert_eq!(RunConfig::parse(&text, &[], "pretrain").unwrap().mix["english"], 0.3);
        assert!(RunConfig::parse("[mix]\nenglich = 1.0", &[], "pretrain").is_err());
    }

    #[test]
    fn bounds_come_and_go() {
        let with = rule(TEXT, "b", "too_short", Some(20.0)).unwrap();
        assert_eq!(with, format!("{TEXT}rules = {{ too_short = 20.0 }}\n"));
        assert_eq!(rule(&with, "b", "too_short", None).unwrap(), TEXT);
        assert_eq!(rule(TEXT, "a", "too_short", None).unwrap(), TEXT);
    }
}
