//! Options that verbs share, and opening the device they name.

use std::path::PathBuf;

use clap::Args;

use super::{
    failure::{Failure, Outcome},
    quiet, reading,
};
use crate::{
    base::StageId,
    compute::{Device, Opening, Precision},
    train::Setup,
    ui::Lang,
};

/// Options that every verb accepts.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Engine: auto, cpu, or any part of an adapter's name
    #[arg(long, global = true, default_value = "auto")]
    pub adapter: String,
    /// Language of the screen: zh or en
    #[arg(long, global = true)]
    pub lang: Option<String>,
    /// Type of activations and products: auto, f32, or f16 where the adapter has it
    #[arg(long, global = true)]
    pub precision: Option<String>,
    /// Seed of everything random
    #[arg(long, global = true)]
    pub seed: Option<u64>,
}

impl Common {
    pub(super) fn check(&self) -> Outcome {
        self.precision()?;
        if let Some(lang) = self.lang.as_deref().filter(|l| !["zh", "en"].contains(l)) {
            return Err(Failure::usage(format!("unknown --lang {lang:?}; expected zh or en")));
        }
        Ok(())
    }

    /// `--precision`, where it is given.
    pub(crate) fn precision(&self) -> Result<Option<Precision>, Failure> {
        match self.precision.as_deref() {
            None => Ok(None),
            Some("auto") => Ok(Some(Precision::Auto)),
            Some("f32") => Ok(Some(Precision::F32)),
            Some("f16") => Ok(Some(Precision::F16)),
            Some(other) => Err(Failure::usage(format!("unknown --precision {other:?}; expected auto, f32 or f16"))),
        }
    }

    /// Opens the chosen engine in the precision of `--precision`, without it in f32.
    pub(crate) fn device(&self) -> Result<Device, Failure> {
        self.open(match self.precision()? {
            Some(Precision::F16) => Precision::F16,
            None | Some(Precision::Auto | Precision::F32) => Precision::F32,
        })
    }

    /// Opens the chosen engine for training: each stage sets its own precision.
    pub(crate) fn training_device(&self) -> Result<Device, Failure> {
        self.open(Precision::Auto)
    }

    fn open(&self, precision: Precision) -> Result<Device, Failure> {
        let shaders = std::env::var_os("DANLU_SHADERS").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let opening = Opening { precision, shaders, ..Opening::default() };
        Ok(quiet::quietly(|| Device::open_with(&self.adapter, opening))?)
    }

    /// The language of `--lang`, or that of the locale.
    pub(crate) fn language(&self) -> Lang {
        language(self.lang.as_deref(), |name| std::env::var(name).ok())
    }

    /// The language of `--lang`, or the one that the screen remembers, or that of the locale.
    pub(crate) fn screen_language(&self, remembered: Option<Lang>) -> Lang {
        remembered.filter(|_| self.lang.is_none()).unwrap_or_else(|| self.language())
    }
}

/// Chinese for `zh` and Chinese locales; English for all others, for `C` and if none is set.
fn language(asked: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Lang {
    // An empty variable counts as unset, as in POSIX.
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|v| !v.is_empty());
    let name = asked.map(str::to_owned).or(locale);
    if name.is_some_and(|name| name.starts_with("zh")) { Lang::Zh } else { Lang::En }
}

/// Options of the verbs that train a run.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The run's folder; created if missing. Default: the newest in ./runs, or a new one there
    #[arg(long)]
    pub run: Option<PathBuf>,
    /// Size of a new run: auto, 1m, 5m, 12m, 27m, 124m
    #[arg(long)]
    pub size: Option<String>,
    /// Override a key of run.toml: sft.steps=400, model.dropout=0.1, …
    #[arg(long, value_parser = pair)]
    pub set: Vec<(String, String)>,
}

impl RunArgs {
    /// The options for a stage.
    pub(crate) fn setup(&self, common: &Common, stage: StageId) -> Setup {
        // `check` has refused any other word.
        let precision = common.precision().ok().flatten();
        Setup {
            stage,
            size: self.size.clone(),
            seed: common.seed,
            precision,
            sets: self.set.clone(),
            progress: reading::progress(common.language()),
            ..Setup::default()
        }
    }
}

/// Splits `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_unless_the_locale_is_chinese() {
        let of = |set: &[(&str, &str)], asked| {
            language(asked, |name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        for english in [None, Some(("LANG", "C")), Some(("LC_ALL", "POSIX")), Some(("LANG", "de_DE.UTF-8"))] {
            assert_eq!(of(english.as_slice(), None), Lang::En, "{english:?}");
        }
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")], None), Lang::Zh);
        assert_eq!(of(&[("LC_ALL", "en_US.UTF-8"), ("LANG", "zh_CN.UTF-8")], None), Lang::En);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_MESSAGES", "zh_TW")], None), Lang::Zh);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")], Some("en")), Lang::En);
        assert_eq!(of(&[], Some("zh")), Lang::Zh);
    }
}
