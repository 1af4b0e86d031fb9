//! Models in training: a trunk with its optimiser, and its outputs.

mod learner;
mod masked;
mod policy;
mod scalar;
mod training;

pub use learner::Learner;
pub use policy::PolicyLearner;
pub use scalar::ScalarLearner;
