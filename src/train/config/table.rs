//! How a table of run.toml is declared: one row per key, with type, range, default and meaning. Parsing, checks,
//! `--set`, `danlu config` and docs/config.md are derived from the rows.

use super::issue::{ConfigIssue, wrong};
use crate::{
    base::StageId,
    nn::{ModelConfig, PRESETS},
};

/// How a checkpoint of another stage is named.
pub(super) const CHECKPOINT: &str = "\"best\", \"latest\" or a step";

/// What a default may depend on apart from its own table.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The run's size.
    pub size: &'a str,
    /// The stage that the table belongs to.
    pub stage: StageId,
    /// The model's maximum context.
    pub positions: usize,
}

impl Site<'_> {
    /// Selects by the run's size from values for `1m`, `5m`, `12m`, `27m` and `124m`.
    pub(super) fn sized<T: Copy>(self, by_size: [T; 5]) -> T {
        by_size[self.index()]
    }

    /// The preset of the run's size.
    pub(super) fn preset(self) -> ModelConfig {
        PRESETS[self.index()].config()
    }

    fn index(self) -> usize {
        PRESETS.iter().position(|p| p.name == self.size).unwrap_or(PRESETS.len() - 1)
    }
}

/// Computes a default from the other values of its table.
type DefaultValue = fn(&toml::Table, Site<'_>) -> Option<toml::Value>;

/// A key of run.toml.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The range of a numeric value.
    pub range: Range,
    /// The stages whose tables have it; empty for a key of another table.
    pub stages: &'static [StageId],
    /// Whether it is mandatory in its table.
    pub required: bool,
    /// Its default in a table with these values; None if it has none.
    pub(super) default: DefaultValue,
    /// Its meaning, in English and Chinese.
    pub help: [&'static str; 2],
}

impl Key {
    /// A key of a table that is declared without the macro.
    pub(super) const fn new(name: &'static str, kind: Kind, help: [&'static str; 2]) -> Key {
        Key { name, kind, range: Range::ANY, stages: &[], required: false, default: |_, _| None, help }
    }

    /// Adds a default.
    pub(super) const fn or(self, default: DefaultValue) -> Key {
        Key { default, ..self }
    }

    /// Makes it mandatory.
    pub(super) const fn required(self) -> Key {
        Key { required: true, ..self }
    }

    /// Whether the table of a stage (or any other table) has this key.
    pub fn is_of(&self, stage: Option<StageId>) -> bool {
        stage.is_none_or(|stage| self.stages.contains(&stage))
    }

    /// The default, if it depends on nothing else.
    pub fn plain_default(&self) -> Option<toml::Value> {
        (self.default)(&toml::Table::new(), Site { size: "", stage: StageId::default(), positions: 0 })
    }

    /// Checks a value; `path` is the key including its table.
    fn check(&self, path: &str, value: &toml::Value) -> Result<(), ConfigIssue> {
        let refused = |expected: &str| wrong(format!("{path} is {value}; expected {expected}"));
        let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
        match self.kind {
            Kind::Count if value.as_integer().is_none_or(|n| n < 0) => return refused("a whole number, 0 or more"),
            Kind::Number if number.is_none() => return refused("a number"),
            Kind::Flag if !value.is_bool() => return refused("true or false"),
            Kind::Text if !value.is_str() => return refused("a string in quotes"),
            Kind::Choice(names) if value.as_str().is_none_or(|name| !names.contains(&name)) => {
                return refused(&format!("one of {}", names.join(", ")));
            }
            Kind::Checkpoint if !names_a_checkpoint(value) => return refused(CHECKPOINT),
            Kind::Weights | Kind::Rules => {
                let Some(table) = value.as_table() else { return refused("a table of names with a number each") };
                let is = |v: &toml::Value| {
                    v.is_float() || v.is_integer() || (matches!(self.kind, Kind::Rules) && v.is_bool())
                };
                if let Some((name, value)) = table.iter().find(|(_, value)| !is(value)) {
                    let off = if matches!(self.kind, Kind::Rules) { ", or false to disable the rule" } else { "" };
                    return wrong(format!("{path}.{name} is {value}; expected a number{off}"));
                }
            }
            Kind::Table(keys) => {
                let Some(table) = value.as_table() else { return refused("a table") };
                return check(table, keys, path);
            }
            Kind::Tables(keys) => {
                let tables = value.as_array().map(|all| all.iter().map(toml::Value::as_table));
                let Some(tables) = tables.and_then(Iterator::collect::<Option<Vec<_>>>) else {
                    return refused(&format!("one or more tables [[{path}]]"));
                };
                for table in tables {
                    check(table, keys, path)?;
                    if let Some(key) = keys.iter().find(|key| key.required && !table.contains_key(key.name)) {
                        return wrong(format!("a [[{path}]] has no {}; add it", key.name));
                    }
                }
            }
            Kind::Count | Kind::Number | Kind::Flag | Kind::Text | Kind::Choice(_) | Kind::Checkpoint => {}
        }
        match number {
            Some(number) if !self.range.has(number) => refused(&self.range.words()),
            _ => Ok(()),
        }
    }
}

/// Whether a value is `best`, `latest` or a step.
fn names_a_checkpoint(value: &toml::Value) -> bool {
    value.as_str().is_some_and(|word| ["best", "latest"].contains(&word)) || value.as_integer().is_some_and(|n| n >= 0)
}

/// Checks a table; `at` is its name, empty at the top level.
pub(super) fn check(table: &toml::Table, keys: &'static [Key], at: &str) -> Result<(), ConfigIssue> {
    let stage: Option<StageId> = at.parse().ok();
    for (name, value) in table {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match keys.iter().find(|key| key.name == name) {
            Some(key) if key.is_of(stage) => key.check(&path, value)?,
            Some(key) => {
                let there: Vec<String> = key.stages.iter().map(|stage| format!("[{stage}]")).collect();
                return wrong(format!(
                    "unknown key {name:?}: [{at}] has no such key; set it in {}",
                    there.join(" or ")
                ));
            }
            None => {
                let known: Vec<&str> = keys.iter().filter(|key| key.is_of(stage)).map(|key| key.name).collect();
                let list = known.join(", ");
                return wrong(match nearest(name, &known) {
                    Some(near) => format!("unknown key {name:?}; did you mean {near:?}? Known here: {list}"),
                    None => format!("unknown key {name:?}; known here: {list}"),
                });
            }
        }
    }
    Ok(())
}

/// The known name that is most similar to an unknown one.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, name) = known.iter().map(|k| (strsim::damerau_levenshtein(unknown, k), *k)).min()?;
    (distance <= 1 + unknown.len() / 3).then_some(name)
}

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number, 0 or more.
    Count,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// A string.
    Text,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// `best`, `latest`, or a step.
    Checkpoint,
    /// Numbers by name.
    Weights,
    /// Numbers by name, or false.
    Rules,
    /// A table.
    Table(&'static [Key]),
    /// A list of tables.
    Tables(&'static [Key]),
}

/// Largest number that is finite on the device.
const LARGEST: f64 = f32::MAX as f64;

/// The range of a number. Most numbers reach the device as `f32`, so values that overflow there are out of range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    least: f64,
    most: f64,
    /// Whether `least` and `most` themselves are excluded.
    open: [bool; 2],
}

impl Range {
    /// 0 or more.
    pub(super) const ANY: Range = Range::at_least(0.0);
    /// 1 or more.
    pub(super) const ONE: Range = Range::at_least(1.0);
    /// More than 0.
    pub(super) const POSITIVE: Range = Range { open: [true, false], ..Range::ANY };
    /// 0 to 1.
    pub(super) const SHARE: Range = Range { most: 1.0, ..Range::ANY };
    /// 0 or more and less than 1.
    pub(super) const FRACTION: Range = Range { open: [false, true], ..Range::SHARE };
    /// More than 0, at most 1.
    pub(super) const PART: Range = Range { open: [true, false], ..Range::SHARE };

    /// `least` or more.
    pub(super) const fn at_least(least: f64) -> Range {
        Range { least, most: LARGEST, open: [false, false] }
    }

    /// More than `least`.
    pub(super) const fn above(least: f64) -> Range {
        Range { open: [true, false], ..Range::at_least(least) }
    }

    /// The range with this maximum.
    pub(super) const fn up_to(self, most: f64) -> Range {
        Range { most, ..self }
    }

    /// 0 or more and less than `most`.
    pub(super) const fn below(most: f64) -> Range {
        Range { most, ..Range::FRACTION }
    }

    /// Whether a number is in the range.
    pub(super) fn has(&self, x: f64) -> bool {
        let above = if self.open[0] { x > self.least } else { x >= self.least };
        let below = if self.open[1] { x < self.most } else { x <= self.most };
        above && below
    }

    /// The range in an error message.
    pub fn words(&self) -> String {
        let Range { least, most, open } = self;
        let largest = *most >= LARGEST;
        match open {
            [false, false] if largest => format!("{least} or more, within the range of f32"),
            [true, _] if largest => format!("more than {least}, within the range of f32"),
            [false, false] => format!("{least} to {most}"),
            [true, _] => format!("more than {least}, at most {most}"),
            [false, true] => format!("{least} or more and less than {most}"),
        }
    }

    /// The range in mathematical notation.
    pub fn symbols(&self) -> String {
        let Range { least, most, open: [above, below] } = self;
        if *most >= LARGEST {
            return format!("{} {least}", if *above { ">" } else { "≥" });
        }
        format!("{}{least}, {most}{}", if *above { "(" } else { "[" }, if *below { ")" } else { "]" })
    }
}

/// A type of values.
pub(super) trait Value {
    /// Its kind.
    const KIND: Kind;
    /// The value as TOML.
    fn toml(&self) -> toml::Value;
}

macro_rules! value {
    ($($type:ty: $kind:expr, |$value:ident| $toml:expr;)*) => {
        $(impl Value for $type {
            const KIND: Kind = $kind;

            fn toml(&self) -> toml::Value {
                let $value = self;
                $toml
            }
        })*
    };
}

value! {
    usize: Kind::Count, |n| toml::Value::Integer(i64::try_from(*n).unwrap_or(i64::MAX));
    f64: Kind::Number, |x| toml::Value::Float(*x);
    // As written: 0.95 is 0.95, not 0.949999988.
    f32: Kind::Number, |x| toml::Value::Float(x.to_string().parse().unwrap_or(f64::from(*x)));
    bool: Kind::Flag, |flag| toml::Value::Boolean(*flag);
    String: Kind::Text, |text| toml::Value::String(text.clone());
}

/// Implements [`Value`] for an enum with serde names.
macro_rules! choice {
    ($type:ty: $($name:literal)|+) => {
        impl $crate::train::config::table::Value for $type {
            const KIND: $crate::train::config::table::Kind =
                $crate::train::config::table::Kind::Choice(&[$($name),+]);

            fn toml(&self) -> toml::Value {
                toml::Value::try_from(self).unwrap_or_else(|_| toml::Value::String(String::new()))
            }
        }
    };
}

/// The keys of a table whose struct is written by hand: a row is `name: kind, = default, "English", "Chinese";`, with
/// `required,` in the place of a default where the table must have the key.
macro_rules! keys {
    ($($name:ident: $kind:expr, $(= $default:expr,)? $($required:ident,)? $en:literal, $zh:literal;)*) => {
        &[$(
            $crate::train::config::table::Key::new(stringify!($name), $kind, [$en, $zh])
                $(.or(|_, _| Some($crate::train::config::table::Value::toml(&$default))))?
                $(.$required())?,
        )*]
    };
}

/// The type of a key in a table's settings: with a default there is always a value.
macro_rules! setting {
    ($type:ty) => { Option<$type> };
    ($type:ty, $default:expr) => { $type };
}

/// The value of a key in a table's settings.
macro_rules! settled {
    ($table:ident, $site:ident, $key:ident) => {
        $table.$key.clone()
    };
    ($table:ident, $site:ident, $key:ident, $default:expr) => {
        $table.$key($site)
    };
}

/// Declares a table: its struct with an optional field per key, `KEYS`, for each key with a default a method that
/// returns the value in effect, and a struct of all these values, which `settings` fills in. A row is `name: type
/// [stages], range, = default, "English", "Chinese";`, where the default is a function of the table and the [`Site`].
macro_rules! table {
    (
        $(#[$about:meta])*
        $name:ident => $settings:ident {
            $($key:ident: $type:ty $([$($stage:ident)+])?, $range:ident $(($bound:literal))?, $(= $default:expr,)? $en:literal, $zh:literal;)*
            $(+ $list:ident: $item:ty [$($of:ident)+], $list_en:literal, $list_zh:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(#[doc = $en] #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type>,)*
            $(#[doc = $list_en] #[serde(default, skip_serializing_if = "Vec::is_empty")] pub $list: Vec<$item>,)*
        }

        #[doc = concat!("[`", stringify!($name), "`] with every default filled in.")]
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $settings {
            $(#[doc = $en] pub(crate) $key: $crate::train::config::table::setting!($type $(, $default)?),)*
        }

        impl $name {
            /// The keys of the table.
            pub const KEYS: &'static [$crate::train::config::table::Key] = &[
                $($crate::train::config::table::Key {
                    name: stringify!($key),
                    kind: <$type as $crate::train::config::table::Value>::KIND,
                    range: $crate::train::config::table::Range::$range $(($bound))?,
                    stages: &[$($($crate::base::StageId::$stage),+)?],
                    required: false,
                    default: |table, site| {
                        let _ = (table, site);
                        None::<toml::Value> $(.or_else(|| {
                            let default: fn(&$name, $crate::train::config::table::Site<'_>) -> $type = $default;
                            let table: $name = table.clone().try_into().unwrap_or_default();
                            Some($crate::train::config::table::Value::toml(&default(&table, site)))
                        }))?
                    },
                    help: [$en, $zh],
                },)*
                $($crate::train::config::table::Key {
                    stages: &[$($crate::base::StageId::$of),+],
                    ..$crate::train::config::table::Key::new(
                        stringify!($list),
                        $crate::train::config::table::Kind::Tables(<$item>::KEYS),
                        [$list_en, $list_zh],
                    )
                },)*
            ];

            /// The values of all keys in a run.
            pub(super) fn settings(&self, site: $crate::train::config::table::Site<'_>) -> $settings {
                let _ = site;
                $settings { $($key: $crate::train::config::table::settled!(self, site, $key $(, $default)?),)* }
            }

            $($(
                #[doc = $en]
                pub(super) fn $key(&self, site: $crate::train::config::table::Site<'_>) -> $type {
                    let default: fn(&$name, $crate::train::config::table::Site<'_>) -> $type = $default;
                    self.$key.unwrap_or_else(|| default(self, site))
                }
            )?)*
        }
    };
}

pub(super) use {choice, keys, setting, settled, table};
