//! The panels of a stage that trains.

pub mod batch;
pub mod loss;
pub mod mix;
pub mod probe;
pub mod run;
pub mod tasks;
