//! Lists every key of run.toml with value, default and meaning: for `danlu config`, the screen and docs/config.md.

use super::{
    issue::ConfigIssue,
    run_config::RunConfig,
    table::{Key, Kind},
};
use crate::base::StageId;

/// A key with its value and default in a run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its table; empty at the top level.
    pub table: &'static str,
    /// The key.
    pub key: &'static Key,
    /// Its value in run.toml; None if it is not set there.
    pub set: Option<toml::Value>,
    /// Its default, if it has one.
    pub default: Option<toml::Value>,
}

impl Entry {
    /// The value in effect, if there is one.
    pub fn value(&self) -> Option<&toml::Value> {
        self.set.as_ref().or(self.default.as_ref())
    }

    /// The key with its table: `pretrain.steps`.
    pub fn path(&self) -> String {
        if self.table.is_empty() { self.key.name.to_owned() } else { format!("{}.{}", self.table, self.key.name) }
    }
}

impl RunConfig {
    /// All keys: those of the top level first, then table by table. A list of tables (`[[source]]`) is one key.
    pub fn entries(&self) -> Result<Vec<Entry>, ConfigIssue> {
        let empty = toml::Table::new();
        let there: toml::Table =
            self.to_toml()?.parse().map_err(|e: toml::de::Error| ConfigIssue::File(e.to_string()))?;
        let tables = RunConfig::keys().iter().filter_map(|key| match key.kind {
            Kind::Table(keys) => Some((key.name, keys)),
            _ => None,
        });
        let mut entries = Vec::new();
        for (table, keys) in std::iter::once(("", RunConfig::keys())).chain(tables) {
            let stage: Option<StageId> = table.parse().ok();
            let site = self.site(stage.unwrap_or_default());
            let inside = there.get(table).and_then(toml::Value::as_table);
            let values = if table.is_empty() { &there } else { inside.unwrap_or(&empty) };
            for key in keys.iter().filter(|key| key.is_of(stage) && !matches!(key.kind, Kind::Table(_))) {
                let (set, default) = (values.get(key.name).cloned(), (key.default)(values, site));
                // A key that is always written counts as set only if it differs from the default.
                let set = set.filter(|set| Some(set) != default.as_ref());
                entries.push(Entry { table, key, set, default });
            }
        }
        Ok(entries)
    }

    /// The configuration as a run.toml with every key and its meaning, range and default; `lang` is 0 for English and 1
    /// for Chinese.
    pub fn explained(&self, lang: usize) -> Result<String, ConfigIssue> {
        let mut lines = Vec::new();
        let mut table = "";
        for entry in self.entries()? {
            if entry.table != table {
                table = entry.table;
                lines.push(format!("\n[{table}]"));
            }
            let mut about = vec![entry.key.help[lang].to_owned()];
            about.extend(entry.key.describe(lang));
            if let (Some(_), Some(default)) = (&entry.set, &entry.default) {
                about.push(format!("{} {}", ["default", "默认"][lang], written(default)));
            }
            lines.push(format!("# {}", about.join("; ")));
            lines.push(match entry.value() {
                Some(value) => format!("{} = {}", entry.key.name, written(value)),
                None => format!("# {} =", entry.key.name),
            });
        }
        Ok(lines.join("\n") + "\n")
    }
}

impl Key {
    /// The range of a number, or the allowed names; `lang` is 0 for English and 1 for Chinese.
    pub fn describe(&self, lang: usize) -> Option<String> {
        match self.kind {
            Kind::Count => Some(format!("{} {}", ["whole number", "整数"][lang], self.range.symbols())),
            Kind::Number => Some(self.range.symbols()),
            Kind::Choice(names) => Some(names.join(" | ")),
            Kind::Checkpoint => Some(["best | latest | a step", "best | latest | 步数"][lang].to_owned()),
            Kind::Flag | Kind::Text | Kind::Weights | Kind::Rules | Kind::Table(_) | Kind::Tables(_) => None,
        }
    }
}

/// A value as TOML; numbers with the fewest digits that identify them.
pub fn written(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(x) => format!("{x:?}"),
        toml::Value::Array(all) => format!("[{}]", all.iter().map(written).collect::<Vec<_>>().join(", ")),
        toml::Value::Table(table) => {
            let fields =
                table.iter().map(|(key, value)| format!("{} = {}", toml::Value::String(key.clone()), written(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::nn::PRESETS;

    const SOME: &str = "size = \"5m\"\nseed = 3\n[[source]]\nname = \"a\"\npath = \"x\"\nrules = {}\n[sft]\nsteps = 900\n\
                        [[sft.probe]]\nprompt = \"q\"\nexpected = \"a\"\n[ppo]\ntarget_kl = 6.0\nlam = 0.9\n";

    #[test]
    fn every_key_is_listed_with_its_value() {
        let config = RunConfig::parse(SOME, &[], StageId::Pretrain).unwrap();
        let entries = config.entries().unwrap();
        let of = |path: &str| entries.iter().find(|e| e.path() == path).unwrap();
        let value = |path: &str| of(path).value().map(written);
        assert_eq!((value("size"), value("seed")), (Some("\"5m\"".to_owned()), Some("3".to_owned())));
        assert_eq!(
            (value("sft.steps"), of("sft.steps").default.as_ref().map(written)),
            (Some("900".into()), Some("1200".into()))
        );
        assert_eq!(value("sft.decay_steps"), Some("450".to_owned()), "a default that depends on another key");
        assert_eq!((value("ppo.lam"), value("dpo.learning_rate")), (Some("0.9".into()), Some("2e-5".into())));
        assert_eq!((value("grpo.epsilon_high"), value("ppo.gamma")), (Some("0.2".into()), Some("1.0".into())));
        assert_eq!(value("quality.reference"), None);
        assert!(entries.iter().all(|e| e.path() != "ppo.packing" && e.path() != "pretrain.source"));
        assert_eq!(of("ppo.lam").set.is_some(), of("ppo.gamma").set.is_none());
    }

    #[test]
    fn the_explained_configuration_reads_back() {
        let mut all: Vec<RunConfig> =
            PRESETS.iter().map(|p| RunConfig { size: p.name.to_owned(), ..RunConfig::default() }).collect();
        all.push(RunConfig::parse(SOME, &[], StageId::Pretrain).unwrap());
        for config in all {
            for lang in 0..2 {
                let text = config.explained(lang).unwrap();
                let read = RunConfig::parse(&text, &[], StageId::Pretrain).unwrap_or_else(|e| panic!("{e}\n{text}"));
                for stage in StageId::ALL {
                    assert_eq!(read.settings(stage), config.settings(stage), "{stage} {}", config.size);
                }
                assert_eq!(read.model().unwrap(), config.model().unwrap());
                assert_eq!((read.guard_settings(), read.manner()), (config.guard_settings(), config.manner()));
                assert_eq!(
                    (&read.source, &read.stage(StageId::Sft).probe, read.seed),
                    (&config.source, &config.stage(StageId::Sft).probe, config.seed)
                );
                assert_eq!(read.explained(lang).unwrap().lines().count(), text.lines().count());
            }
        }
    }
}
