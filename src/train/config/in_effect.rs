//! What an open stage uses of run.toml: some keys change while it trains, the others when it is opened again.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    issue::ConfigIssue,
    listing::{Entry, written},
    run_config::RunConfig,
};
use crate::{
    base::StageId,
    protocol::{Origin, Setting},
};

/// Top-level keys and tables that an open stage rereads.
const LIVE: [&str; 9] = ["source", "splits", "mix", "probe", "watch", "quality", "sampling", "root", "account"];
/// The keys of its own table that it rereads.
const LIVE_OF_STAGE: [&str; 8] = [
    "learning_rate",
    "eval_steps",
    "probe_steps",
    "save_steps",
    "patience",
    "pretrain_share",
    "by_hand_share",
    "kl_coef",
];
/// Those that a stage of text rereads besides: the others draw their batches by the first step's.
const LIVE_OF_TEXT: [&str; 2] = ["batch_size", "gradient_accumulation_steps"];
/// The key of the model that such a stage rereads, and no other stage uses.
pub(crate) const DROPOUT: &str = "model.dropout";

/// How a saved change of a key applies while `stage` is open.
#[derive(Clone, Copy, PartialEq)]
enum Applies {
    /// To the next steps.
    Now,
    /// When `stage` is opened again.
    Reopened,
    /// To another stage, which reads its table when it is opened.
    Elsewhere,
}

/// See [`Applies`]; `path` is the key with its table.
fn applies(path: &str, stage: StageId) -> Applies {
    let (table, name) = path.split_once('.').unwrap_or((path, ""));
    match table.parse::<StageId>() {
        Ok(other) if other != stage => Applies::Elsewhere,
        Ok(_) if LIVE_OF_STAGE.contains(&name) => Applies::Now,
        Ok(_) if stage.draws_text() && LIVE_OF_TEXT.contains(&name) => Applies::Now,
        Err(_) if path == DROPOUT => {
            if stage.draws_text() {
                Applies::Now
            } else {
                Applies::Elsewhere
            }
        }
        Err(_) if LIVE.contains(&table) => Applies::Now,
        _ => Applies::Reopened,
    }
}

/// Changed keys of run.toml that the open stage cannot apply; they take effect when it is next opened.
pub(crate) fn held_back(old: &RunConfig, new: &RunConfig, stage: StageId) -> Result<Vec<String>, ConfigIssue> {
    let (old, new) = (flat(old)?, flat(new)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let held =
        keys.into_iter().filter(|key| old.get(*key) != new.get(*key) && applies(key, stage) == Applies::Reopened);
    Ok(held.cloned().collect())
}

/// Whether a change of this key applies to a stage from its next step on.
pub(crate) fn applies_now(key: &str, stage: StageId) -> bool {
    applies(key, stage) == Applies::Now
}

/// Every key of a configuration with its value as text.
fn flat(config: &RunConfig) -> Result<BTreeMap<String, String>, ConfigIssue> {
    fn walk(at: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    walk(&if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, value, into);
                }
            }
            value => drop(into.insert(at.to_owned(), value.to_string())),
        }
    }
    let table: toml::Table =
        config.to_toml()?.parse().map_err(|e: toml::de::Error| ConfigIssue::File(e.to_string()))?;
    let mut keys = BTreeMap::new();
    walk("", &toml::Value::Table(table), &mut keys);
    Ok(keys)
}

/// Every key of run.toml with the value that the open stage uses.
pub(crate) struct InEffect {
    stage: StageId,
    /// The paths of the keys that options of the command line set.
    options: Vec<String>,
    settings: Vec<Setting>,
}

impl InEffect {
    /// The keys of a stage that was opened with `config`: that of the run.toml in `text` and of the `--set` pairs.
    pub(crate) fn open(
        config: &RunConfig,
        text: &str,
        pairs: Vec<(String, String)>,
        stage: StageId,
    ) -> Result<InEffect, ConfigIssue> {
        let full = |(key, _): (String, String)| {
            if key.contains('.') || RunConfig::is_top_level(&key) { key } else { format!("{stage}.{key}") }
        };
        let mut opened = InEffect { stage, options: pairs.into_iter().map(full).collect(), settings: Vec::new() };
        opened.settings = opened.read(config, text)?;
        Ok(opened)
    }

    /// The keys, in the order of [`RunConfig::entries`].
    pub(crate) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Changes to the configuration of a saved run.toml, which applies from this step (counted from 1) on. Keys that
    /// the stage rereads only when it is opened keep their values.
    pub(crate) fn change(&mut self, config: &RunConfig, text: &str, step: usize) -> Result<(), ConfigIssue> {
        let saved = self.read(config, text)?;
        // A table that became unreadable since it was parsed has no keys to compare.
        for (now, saved) in self.settings.iter_mut().zip(saved) {
            let path = path(saved.table, saved.name);
            let same = now.value == saved.value;
            match applies(&path, self.stage) {
                Applies::Reopened if same => now.next = None,
                Applies::Reopened => now.next = Some(saved.value),
                Applies::Now if !same => *now = Setting { changed: Some(step), ..saved },
                Applies::Now => *now = Setting { changed: now.changed, ..saved },
                Applies::Elsewhere => *now = saved,
            }
        }
        Ok(())
    }

    /// The value in use of a key, as TOML.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|s| path(s.table, s.name) == key).map(|s| s.value.as_str())
    }

    /// The keys whose saved values wait until the stage is opened again: key, value in use, value that waits.
    pub(crate) fn waiting(&self) -> Vec<[String; 3]> {
        let of = |s: &Setting| Some([path(s.table, s.name), s.value.clone(), s.next.clone()?]);
        self.settings.iter().filter_map(of).collect()
    }

    /// Sets a key to the value in use, and the step (counted from 1) since which it is; a key without a table is the
    /// stage's own.
    pub(crate) fn set(&mut self, key: &str, value: &toml::Value, since: Option<usize>) {
        let wanted = if key.contains('.') { key.to_owned() } else { path(self.stage.name(), key) };
        if let Some(own) = self.settings.iter_mut().find(|s| path(s.table, s.name) == wanted) {
            (own.value, own.changed) = (written(value), since);
        }
    }

    fn read(&self, config: &RunConfig, text: &str) -> Result<Vec<Setting>, ConfigIssue> {
        let file: toml::Table = text.parse().unwrap_or_default();
        let setting = |entry: Entry| {
            let path = entry.path();
            let inside = |option: &String| *option == path || option.starts_with(&format!("{path}."));
            let table =
                if entry.table.is_empty() { Some(&file) } else { file.get(entry.table).and_then(|t| t.as_table()) };
            let origin = if self.options.iter().any(inside) {
                Origin::Option
            } else if table.is_some_and(|table| table.contains_key(entry.key.name)) {
                Origin::File
            } else {
                Origin::Default
            };
            Setting {
                table: entry.table,
                name: entry.key.name,
                value: entry.value().map(written).unwrap_or_default(),
                default: entry.default.as_ref().map(written).unwrap_or_default(),
                range: [0, 1].map(|lang| entry.key.describe(lang).unwrap_or_default()),
                origin,
                changed: None,
                next: None,
                help: entry.key.help,
            }
        };
        Ok(config.entries()?.into_iter().map(setting).collect())
    }
}

/// A key with its table.
fn path(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const OPENED: &str = "size = \"1m\"\n[pretrain]\nlearning_rate = 3e-3\nsteps = 100\n[ppo]\nlam = 0.9\n";

    fn pairs() -> Vec<(String, String)> {
        vec![("eval_steps".to_owned(), "7".to_owned()), ("mix.tang300".to_owned(), "2".to_owned())]
    }

    fn config(text: &str) -> RunConfig {
        RunConfig::parse(text, &pairs(), StageId::Pretrain).unwrap()
    }

    fn opened() -> InEffect {
        InEffect::open(&config(OPENED), OPENED, pairs(), StageId::Pretrain).unwrap()
    }

    fn of<'s>(all: &'s InEffect, wanted: &str) -> &'s Setting {
        all.settings().iter().find(|s| path(s.table, s.name) == wanted).unwrap()
    }

    #[test]
    fn every_key_has_its_value_and_where_it_was_set() {
        let all = opened();
        assert_eq!(all.settings().len(), config(OPENED).entries().unwrap().len());
        for (path, value, default, origin) in [
            ("size", "\"1m\"", "\"auto\"", Origin::File),
            ("seed", "0", "0", Origin::Default),
            ("mix", "{ \"tang300\" = 2.0 }", "", Origin::Option),
            ("pretrain.learning_rate", "0.003", "0.003", Origin::File),
            ("pretrain.steps", "100", "1200", Origin::File),
            ("pretrain.eval_steps", "7", "100", Origin::Option),
            ("ppo.lam", "0.9", "0.95", Origin::File),
            ("quality.reference", "", "", Origin::Default),
        ] {
            let s = of(&all, path);
            assert_eq!((s.value.as_str(), s.origin), (value, origin), "{path}");
            assert!(s.default == default || path.ends_with("eval_steps"), "{path}: {}", s.default);
            assert_eq!((s.changed, &s.next), (None, &None), "{path}");
        }
    }

    #[test]
    fn a_saved_change_shows_what_the_stage_uses() {
        let mut all = opened();
        let saved = "size = \"5m\"\n[pretrain]\nlearning_rate = 1e-3\nsteps = 200\nsave_steps = 9\n[ppo]\nlam = 0.8\n\
                     [guard]\nrollbacks = 7\n[sampling]\ntop_k = 5\n";
        all.change(&config(saved), saved, 41).unwrap();
        for (path, value, changed, next) in [
            ("pretrain.learning_rate", "0.001", Some(41), None),
            ("pretrain.save_steps", "9", Some(41), None),
            ("sampling.top_k", "5", Some(41), None),
            ("size", "\"1m\"", None, Some("\"5m\"")),
            ("pretrain.steps", "100", None, Some("200")),
            ("guard.rollbacks", "3", None, Some("7")),
            ("ppo.lam", "0.8", None, None),
            ("seed", "0", None, None),
        ] {
            let s = of(&all, path);
            assert_eq!((s.value.as_str(), s.changed, s.next.as_deref()), (value, changed, next), "{path}");
        }
        // Defaults of the model follow the size; the model in memory does not.
        assert_eq!(of(&all, "model.hidden_size").next.as_deref(), Some("256"));
        all.change(&config(OPENED), OPENED, 50).unwrap();
        assert_eq!((of(&all, "pretrain.learning_rate").changed, &of(&all, "size").next), (Some(50), &None));
        assert_eq!(of(&all, "pretrain.save_steps").origin, Origin::Default);
        all.set("learning_rate", &toml::Value::Float(2e-3), Some(12));
        let rate = of(&all, "pretrain.learning_rate");
        assert_eq!((rate.value.as_str(), rate.changed), ("0.002", Some(12)));
        all.set("model.dropout", &toml::Value::Float(0.1), Some(13));
        assert_eq!((of(&all, "model.dropout").value.as_str(), of(&all, "model.dropout").changed), ("0.1", Some(13)));
    }

    #[test]
    fn a_note_names_what_waits_and_nothing_else() {
        let saved = "size = \"1m\"\nprecision = \"f32\"\n[pretrain]\nlearning_rate = 1e-3\nsteps = 200\npatience = 4\n\
                     [ppo]\nlam = 0.8\n[guard]\nrollbacks = 7\n";
        let held = held_back(&config(OPENED), &config(saved), StageId::Pretrain).unwrap();
        assert_eq!(held, ["guard.rollbacks", "precision", "pretrain.steps"]);
        // A stage of text takes up another batch and dropout; the others have no dropout, and keep their batch.
        let saved = format!("{OPENED}batch_size = 4\n[model]\ndropout = 0.1\n").replace("[ppo]", "[dpo]");
        let saved = saved.replace("lam = 0.9", "beta = 0.2").replace("steps = 100", "steps = 100\nbatch_size = 9");
        for (stage, waits) in [(StageId::Pretrain, &[][..]), (StageId::Dpo, &["dpo.batch_size", "dpo.beta"])] {
            let opened = "size = \"1m\"\n[pretrain]\nlearning_rate = 3e-3\nsteps = 100\n";
            assert_eq!(held_back(&config(opened), &config(&saved), stage).unwrap(), waits, "{stage}");
        }
    }
}
