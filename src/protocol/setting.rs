//! The configuration in effect, key by key.

/// Where the value of a key comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// It is the default.
    #[default]
    Default,
    /// run.toml sets it.
    File,
    /// An option of the command line sets it: `--set`, `--size`, `--seed`, `--precision` or `--start`.
    Option,
}

/// A key of run.toml with the value that the open stage uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// Its table; empty at the top level.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The value in effect, as TOML; empty if it has none.
    pub value: String,
    /// Its default, as TOML; empty if it has none.
    pub default: String,
    /// The range of a number or the allowed names, in English and Chinese; empty for other types.
    pub range: [String; 2],
    /// Where the value comes from.
    pub origin: Origin,
    /// The first step with this value, counted from 1, if it was changed while the stage was trained.
    pub changed: Option<usize>,
    /// The value in the current run.toml, as TOML, if the stage uses it only when it is opened again.
    pub next: Option<String>,
    /// Its meaning, in English and Chinese.
    pub help: [&'static str; 2],
}
