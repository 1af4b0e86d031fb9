//! The CPU twins compared with references that share no code with them.
//!
//! `forward` compares every operation with a plain f64 computation over a grid of shapes; `slopes` compares backward
//! operations with central differences of the f64 forward pass; `properties` tests other documented properties;
//! `refusals` tests what must be refused; `exponent` tests the fast e^x through public operations; `determinism`
//! compares bits across thread pools.
//!
//! The bound is always |got − want| ≤ 1e-5 · size · max(1, √(K / 1024)), where K is the number of terms in a sum and
//! size is the largest magnitude in the reference result, or the magnitude of the terms if a result may cancel to
//! nothing ([`rig::Judge::check_floor`]). The epsilon of f32 is 1.2e-7 and rounding errors of K terms grow like √K, so
//! 1e-5 allows for the order of a sum but not for a wrong formula. `cargo test --release --test twins -- --nocapture`
//! prints the largest error of each operation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::needless_range_loop,
    reason = "tests fail by panicking and report on stderr; a reference is written as its formula is written, with indices"
)]

mod determinism;
mod exponent;
mod forward;
mod properties;
mod reference;
mod refusals;
mod rig;
mod slopes;
