//! The config pane: every key of run.toml with the value in effect.

use crate::{
    base::fold::folded,
    protocol::{Origin, Setting},
    ui::{editor::Editor, strings::Lang, text::Clean},
};

/// A key. The values contain names and prompts of the user, so they are cleaned.
#[derive(Clone, Debug)]
pub struct ConfigKey {
    /// Its table; empty at the top level.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The value in effect; empty if it has none.
    pub value: Clean,
    /// Its default; empty if it has none.
    pub default: Clean,
    /// The range or the allowed names, in English and Chinese.
    pub range: [Clean; 2],
    /// Where the value comes from.
    pub origin: Origin,
    /// The step since which it has this value, if it was changed during training.
    pub changed: Option<usize>,
    /// The value that it gets when the stage is opened again.
    pub next: Option<Clean>,
    /// Its meaning, in English and Chinese.
    pub help: [&'static str; 2],
}

impl ConfigKey {
    fn new(setting: Setting) -> ConfigKey {
        let Setting { table, name, value, default, range, origin, changed, next, help } = setting;
        let (value, default) = (Clean::line(&value), Clean::line(&default));
        let (range, next) = (range.map(|r| Clean::line(&r)), next.map(|n| Clean::line(&n)));
        ConfigKey { table, name, value, default, range, origin, changed, next, help }
    }

    /// Whether its value is not the default.
    pub fn differs(&self) -> bool {
        self.value.as_str() != self.default.as_str()
    }

    /// Whether it is of interest: not the default, changed during training, or about to change.
    pub fn is_changed(&self) -> bool {
        self.differs() || self.changed.is_some() || self.next.is_some()
    }

    /// The key with its table.
    pub fn path(&self) -> String {
        if self.table.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.table, self.name) }
    }

    /// Its meaning in a language.
    pub fn help(&self, lang: Lang) -> &'static str {
        self.help[index(lang)]
    }

    /// Its range in a language; empty if it has none.
    pub fn range(&self, lang: Lang) -> &str {
        self.range[index(lang)].as_str()
    }

    /// Whether name or meaning, in either language, contain every one of these folded words.
    fn has(&self, words: &[String]) -> bool {
        let text = folded(&format!("{} {} {}", self.path(), self.help[0], self.help[1]));
        words.iter().all(|word| text.contains(word))
    }
}

fn index(lang: Lang) -> usize {
    usize::from(lang == Lang::Zh)
}

/// The keys; empty before they have arrived.
pub fn keys(settings: Vec<Setting>) -> Vec<ConfigKey> {
    settings.into_iter().map(ConfigKey::new).collect()
}

/// The open pane.
#[derive(Clone, Debug, Default)]
pub struct ConfigPane {
    /// The field of the filter.
    pub filter: Editor,
    /// Whether keys go to the filter.
    pub typing: bool,
    /// Whether only changed keys are listed.
    pub changed: bool,
    /// The selected row of the list.
    pub chosen: usize,
}

impl ConfigPane {
    /// The keys to list.
    pub fn found<'k>(&self, keys: &'k [ConfigKey]) -> Vec<&'k ConfigKey> {
        let words: Vec<String> = folded(self.filter.text()).split_whitespace().map(str::to_owned).collect();
        keys.iter().filter(|key| (!self.changed || key.is_changed()) && key.has(&words)).collect()
    }
}
