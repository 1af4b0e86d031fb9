//! The CPU twins judged by references that share no code with them.
//!
//! `forward` compares every operation with a plain f64 computation over a grid of shapes; `slopes`
//! compares the backward operations with central differences of the f64 forward; `properties` holds
//! what the documentation promises beside numbers; `refusals` what must be refused; `exponent` judges
//! the fast e^x through public operations; `determinism` compares bits across thread pools.
//!
//! The bound, everywhere: |got − want| ≤ 1e-5 · size · max(1, √(K / 1024)), where K is the number of
//! terms that one result sums and size is the largest magnitude in the reference result, or the
//! magnitude of the summed terms where a result may cancel to nothing ([`rig::Judge::check_floor`]).
//! f32 has a unit of 1.2e-7 and rounding errors of K terms grow like √K, so 1e-5 leaves room for the
//! order of a sum and none for a wrong formula. `cargo test --release --test twins -- --nocapture`
//! prints the largest error of each operation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::needless_range_loop,
    reason = "tests fail by panicking and report on stderr; a reference is written as its formula stands, with indices"
)]

mod determinism;
mod exponent;
mod forward;
mod properties;
mod reference;
mod refusals;
mod rig;
mod slopes;
