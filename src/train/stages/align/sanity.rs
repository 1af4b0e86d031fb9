//! The sanity checks before a policy's first update.
//!
//! Rollouts, scoring and update must use the same distribution: the KL to the reference, which still equals the policy,
//! is 0, the first ratio is 1, nothing is clipped, and the sampler, which uses a KV cache, agrees with the
//! differentiated forward pass.

use super::roles::{Measured, largest};
use crate::{base::StageId, compute::DType, protocol::SanityCheck};

/// Largest |KL| of an answer at the start of a stage, in nats.
const KL: f64 = 1e-4;
/// Largest |ratio − 1| of a token.
const RATIO: f64 = 1e-6;
/// Largest difference of a log-probability, in nats.
const SAMPLER: f64 = 1e-3;
/// The same in half precision, where a logit of 16 to 32 has steps of 2⁻⁶ and the cache is rounded too; 9.6e-3 was
/// measured at `1m` on an H200.
const HALF_SAMPLER: f64 = 5e-2;
/// Largest distance of DPO's first loss from ln 2, and of its first margins from 0.
const DPO: f64 = 1e-4;

/// The KL of answers while the policy equals its reference.
pub(crate) fn kl(measured: &Measured) -> SanityCheck {
    let value = measured.kl().into_iter().map(f64::abs).fold(0.0, largest);
    SanityCheck::new("kl", value, KL)
}

/// The first minibatch's largest |ratio − 1|, and its clipped share.
pub(crate) fn first((ratio, clipped): (f64, f64)) -> [SanityCheck; 2] {
    [SanityCheck::new("ratio", ratio, RATIO), SanityCheck::new("clipfrac", clipped, 0.0)]
}

/// Sampler against scoring pass.
pub(crate) fn sampler(measured: &Measured) -> SanityCheck {
    SanityCheck::new("sampler", measured.sampler_gap(), if measured.act == DType::F16 { HALF_SAMPLER } else { SAMPLER })
}

/// DPO's first loss must be ln 2, and its margins 0.
pub(crate) fn dpo(loss: f64, margin: f64) -> [SanityCheck; 2] {
    [SanityCheck::new("loss", (loss - std::f64::consts::LN_2).abs(), DPO), SanityCheck::new("margin", margin, DPO)]
}

/// The message for checks that failed.
pub(crate) fn broken(stage: StageId, checks: &[SanityCheck]) -> Option<String> {
    let out: Vec<String> = checks
        .iter()
        .filter(|l| !l.holds)
        .map(|l| format!("{} is off by {:.2e}, at most {:.0e} is expected", l.name, l.value, l.bound))
        .collect();
    (!out.is_empty()).then(|| {
        format!(
            "{stage} stopped at its first update, since it would learn noise: {}; `danlu check` tests whether this adapter computes correctly",
            out.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_named() {
        assert_eq!(broken(StageId::Ppo, &first((0.0, 0.0))), None);
        let words = broken(StageId::Ppo, &first((f64::NAN, 0.25))).unwrap_or_default();
        assert!(words.contains("ratio is off by NaN") && words.contains("clipfrac is off by 2.50e-1"), "{words}");
        assert!(broken(StageId::Dpo, &dpo(0.7, 0.0)).is_some_and(|w| w.contains("loss") && !w.contains("margin")));
    }
}
