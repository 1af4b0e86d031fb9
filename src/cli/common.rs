//! The options that every verb takes, and what they open.

use clap::Args;

use super::failure::{Failure, Outcome};
use crate::{
    compute::{Device, Opening, Precision},
    ui::Lang,
};

/// Options that every verb takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Engine: auto, cpu, or any part of an adapter's name
    #[arg(long, global = true, default_value = "auto")]
    pub adapter: String,
    /// Language of the screen: zh or en
    #[arg(long, global = true)]
    pub lang: Option<String>,
    /// Type of activations and products: auto, f32, or f16 where the adapter has it
    #[arg(long, global = true, default_value = "auto")]
    pub precision: String,
    /// Seed of everything random
    #[arg(long, global = true)]
    pub seed: Option<u64>,
}

impl Common {
    pub(super) fn check(&self) -> Outcome {
        self.precision()?;
        if let Some(lang) = self.lang.as_deref().filter(|l| !["zh", "en"].contains(l)) {
            return Err(Failure::usage(format!("--lang is {lang:?}; zh and en are there")));
        }
        Ok(())
    }

    fn precision(&self) -> Result<Precision, Failure> {
        match self.precision.as_str() {
            "auto" => Ok(Precision::Auto),
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            other => Err(Failure::usage(format!("--precision is {other:?}; auto, f32 and f16 are there"))),
        }
    }

    /// Opens the chosen engine.
    pub(crate) fn device(&self) -> Result<Device, Failure> {
        let opening = Opening { precision: self.precision()?, ..Opening::default() };
        Ok(Device::open_with(&self.adapter, opening)?)
    }

    /// The language asked for, or the one of the environment.
    pub(crate) fn language(&self) -> Lang {
        let named = self.lang.clone().or_else(|| {
            ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|k| std::env::var(k).ok().filter(|v| !v.is_empty()))
        });
        match named {
            Some(name) if !name.starts_with("zh") && !name.starts_with('C') && !name.starts_with("POSIX") => Lang::En,
            _ => Lang::Zh,
        }
    }
}
