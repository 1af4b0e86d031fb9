//! Learning from human feedback.
