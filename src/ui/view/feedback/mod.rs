//! The panels of human feedback: the reward model, the policy, the votes.

pub mod accuracy;
pub mod drift;
pub mod frontier;
pub mod guard;
pub mod margins;
pub mod rollout;
pub mod score;
pub mod votes;
