//! The model whose cost is estimated, and the figures its run or its authors give.

use std::path::Path;

use crate::{
    base::StageId,
    cli::Failure,
    data::read::to_text,
    nn::{Architecture, ModelConfig, PRESETS, PUBLISHED},
    store::{Links, RealFs, RunView, read_limited},
    train::{TrainError, config::RunConfig},
};

/// Tokens for each parameter where nobody says how many: the ratio of Hoffmann et al. 2022 (Chinchilla).
pub(super) const PER_PARAMETER: u64 = 20;
/// Limit on the length of a config.json.
const LONGEST: u64 = 1 << 20;
/// Most tokens.
const MOST_TOKENS: f64 = 1e18;

/// Tokens to train on, and who says so.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tokens {
    /// `--tokens`.
    Given(u64),
    /// The model's authors.
    Published(u64),
    /// The plan of a run or of a size.
    Planned(u64),
    /// Twenty a parameter.
    Assumed(u64),
}

impl Tokens {
    pub(super) fn number(self) -> u64 {
        match self {
            Tokens::Given(n) | Tokens::Published(n) | Tokens::Planned(n) | Tokens::Assumed(n) => n,
        }
    }
}

/// A model with its defaults.
pub(super) struct Subject {
    pub name: String,
    pub shape: Architecture,
    /// The configuration, if danlu can train it.
    pub config: Option<ModelConfig>,
    pub tokens: Tokens,
    pub batch: u64,
    pub context: u64,
    /// `[account]` of a run.
    pub account: Power,
}

/// Power and price of the machine, where they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Power {
    pub watts: Option<f64>,
    pub price: Option<f64>,
    pub currency: Option<String>,
}

impl Subject {
    pub(super) fn preset(name: &str) -> Result<Subject, Failure> {
        if let Some(known) = PUBLISHED.iter().find(|known| known.name == name) {
            return Ok(Subject {
                tokens: known.tokens.map_or_else(|| assumed(&known.architecture), Tokens::Published),
                ..Subject::of(known.name.to_owned(), known.architecture)
            });
        }
        if !PRESETS.iter().any(|preset| preset.name == name) {
            let names: Vec<&str> = PUBLISHED.iter().map(|p| p.name).chain(PRESETS.iter().map(|p| p.name)).collect();
            return Err(Failure::usage(format!("there is no preset {name:?}; choose one of {}", names.join(", "))));
        }
        let size = [("size".to_owned(), format!("{name:?}"))];
        let config = RunConfig::parse("", &size, StageId::Pretrain).map_err(TrainError::from)?;
        Subject::planned(name.to_owned(), &config)
    }

    pub(super) fn config(path: &Path) -> Result<Subject, Failure> {
        let bytes = read_limited(&RealFs, path, LONGEST, Links::Follow).map_err(TrainError::from)?;
        let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
        let text = to_text(bytes).map_err(|e| wrong(format!("it {e}; expected a config.json")))?.text;
        let shape = Architecture::from_json(&text).map_err(|e| wrong(e.0))?;
        let config = ModelConfig::from_json(&text).ok();
        Ok(Subject { config, ..Subject::of(path.display().to_string(), shape) })
    }

    pub(super) fn run(run: &Path) -> Result<Subject, Failure> {
        let view = RunView::open(RealFs::shared(), run).map_err(TrainError::from)?;
        let text = view.config().map_err(TrainError::from)?;
        let mut config = RunConfig::parse(&text, &[], StageId::Pretrain).map_err(TrainError::from)?;
        if config.size == "auto" {
            // Settled when training starts; until then the size that the CPU engine gets.
            "1m".clone_into(&mut config.size);
        }
        Subject::planned(view.name(), &config)
    }

    /// The model and the plan of pretraining of a run.
    fn planned(name: String, config: &RunConfig) -> Result<Subject, Failure> {
        let model = config.model().map_err(TrainError::from)?;
        let account = config.account();
        let plan = config.plan(StageId::Pretrain).map_err(TrainError::from)?;
        let factors = [plan.batch_size, plan.accumulation, plan.context, plan.steps].map(|n| n as u64);
        let tokens = factors.into_iter().try_fold(1, u64::checked_mul).filter(|n| *n as f64 <= MOST_TOKENS);
        let tokens = tokens.ok_or_else(|| {
            let [rows, passes, context, steps] = factors;
            Failure::usage(format!(
                "{name}: its plan of {rows} × {passes} rows of {context} tokens for {steps} steps has more than {MOST_TOKENS:e} tokens; lower pretrain.steps"
            ))
        })?;
        Ok(Subject {
            name,
            shape: Architecture::from(&model),
            config: Some(model),
            tokens: Tokens::Planned(tokens),
            batch: plan.batch_size as u64,
            context: plan.context as u64,
            account: Power { watts: account.watts, price: account.price, currency: account.currency },
        })
    }

    fn of(name: String, shape: Architecture) -> Subject {
        Subject {
            name,
            shape,
            config: None,
            tokens: assumed(&shape),
            batch: 1,
            context: shape.positions,
            account: Power::default(),
        }
    }
}

fn assumed(shape: &Architecture) -> Tokens {
    // A model has at most 2^53 parameters.
    Tokens::Assumed(PER_PARAMETER * shape.active_parameters())
}

/// A number of tokens: `300B`, `3e11`, `2.5M`, `300_000_000_000`.
pub(super) fn count(text: &str) -> Result<u64, Failure> {
    let plain = text.trim().replace([',', '_'], "");
    let units = [("K", 1e3), ("M", 1e6), ("B", 1e9), ("G", 1e9), ("T", 1e12), ("万", 1e4), ("亿", 1e8)];
    let upper = plain.to_uppercase();
    let (number, unit) = units
        .iter()
        .find_map(|(unit, size)| Some((upper.strip_suffix(unit)?.trim_end(), *size)))
        .unwrap_or((upper.as_str(), 1.0));
    if let Ok(whole) = number.parse::<u64>()
        && unit == 1.0
        && whole as f64 <= MOST_TOKENS
    {
        return Ok(whole);
    }
    match number.parse::<f64>().map(|n| (n * unit).round()) {
        Ok(n) if (0.0..=MOST_TOKENS).contains(&n) => Ok(n as u64),
        _ => Err(Failure::usage(format!(
            "--tokens is {text:?}; expected a number up to {MOST_TOKENS:e}, such as 300B, 3e11 or 2.5M"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn tokens_are_read_in_the_spellings_of_the_field() {
        for (text, n) in [
            ("300B", 300_000_000_000),
            ("3e11", 300_000_000_000),
            ("300_000_000_000", 300_000_000_000),
            ("3000亿", 300_000_000_000),
            ("2.5M", 2_500_000),
            ("1t", 1_000_000_000_000),
            ("7", 7),
        ] {
            assert_eq!(count(text).unwrap(), n, "{text}");
        }
        for text in ["", "B", "18446744073709551615", "-1", "many", "nan", "inf", "1e30", "1e999B"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
