//! What must hold before a policy's first update, or all that follows is noise.
//!
//! Rollouts, scoring and update are one and the same distribution: so the KL to a reference that is the policy
//! itself is 0, the first ratio is 1, nothing is clipped, and the sampler, which reads a cache, agrees with the
//! forward pass that is differentiated.

use super::roles::{Measured, largest};
use crate::{base::StageId, compute::DType, protocol::Lamp};

/// The largest |KL| of an answer at a stage's start, in nats.
const KL: f64 = 1e-4;
/// The largest |ratio − 1| of a token.
const RATIO: f64 = 1e-6;
/// The largest difference of a log-probability, in nats.
const SAMPLER: f64 = 1e-3;
/// The same in half precision, where a logit of 16 to 32 has steps of 2⁻⁶ and the cache is rounded too; 9.6e-3 was
/// read at `1m` on an H200.
const HALF_SAMPLER: f64 = 5e-2;
/// How far DPO's first loss may be from ln 2, and its first margins from 0.
const DPO: f64 = 1e-4;

/// The KL of answers under a policy that is still its reference.
pub(crate) fn kl(measured: &Measured) -> Lamp {
    let value = measured.kl().into_iter().map(f64::abs).fold(0.0, largest);
    Lamp::new("kl", value, KL)
}

/// The first minibatch's largest |ratio − 1|, and its share of clipped tokens.
pub(crate) fn first((ratio, clipped): (f64, f64)) -> [Lamp; 2] {
    [Lamp::new("ratio", ratio, RATIO), Lamp::new("clipfrac", clipped, 0.0)]
}

/// The sampler against the scoring.
pub(crate) fn sampler(measured: &Measured) -> Lamp {
    Lamp::new("sampler", measured.sampler_gap(), if measured.act == DType::F16 { HALF_SAMPLER } else { SAMPLER })
}

/// DPO's first loss is ln 2, and its margins are 0.
pub(crate) fn dpo(loss: f64, margin: f64) -> [Lamp; 2] {
    [Lamp::new("loss", (loss - std::f64::consts::LN_2).abs(), DPO), Lamp::new("margin", margin, DPO)]
}

/// What is said where one does not hold.
pub(crate) fn broken(stage: StageId, lamps: &[Lamp]) -> Option<String> {
    let out: Vec<String> = lamps
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
