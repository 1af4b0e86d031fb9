//! What every layer may use: text of strangers made safe to show, and panics that are expected.

pub mod clean;
pub mod panics;
