//! Duplicates: the same text ([`exact`]) and nearly the same ([`minhash`], [`bands`], [`near`]), across all
//! sources. Of duplicates the first in the sources' order survives.

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

/// Which duplicates of a source's documents are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dedup {
    /// None.
    Off,
    /// Those that are the same but for spaces.
    Exact,
    /// Those, and what is nearly the same.
    Near,
}

impl Dedup {
    /// What a profile does where nothing else is asked for.
    pub fn of(profile: Profile) -> Self {
        if profile == Profile::None { Self::Exact } else { Self::Near }
    }
}

/// The rule of an exact duplicate.
pub const EXACT_DUPLICATE: &str = "exact_duplicate";
/// The rule of a near duplicate.
pub const NEAR_DUPLICATE: &str = "near_duplicate";
