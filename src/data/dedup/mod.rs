//! Duplicates across all sources: exact ([`exact`]) and near ([`minhash`], [`bands`], [`near`]). Of duplicates the
//! first in the order of sources is kept.

pub mod bands;
pub mod exact;
pub mod minhash;
pub mod near;

use serde::{Deserialize, Serialize};

pub use bands::candidates;
pub use exact::fingerprint;
pub use minhash::{BANDS, Shingling};
pub use near::{LEAST, Pair, verified};

use super::clean::Profile;

/// Which duplicates among a source's documents are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dedup {
    /// None.
    Off,
    /// Exact duplicates.
    Exact,
    /// Exact and near duplicates.
    Near,
}

impl Dedup {
    /// The default of a profile.
    pub fn of(profile: Profile) -> Self {
        if profile == Profile::None { Self::Exact } else { Self::Near }
    }
}

/// The rule of an exact duplicate.
pub const EXACT_DUPLICATE: &str = "exact_duplicate";
/// The rule of a near duplicate.
pub const NEAR_DUPLICATE: &str = "near_duplicate";
