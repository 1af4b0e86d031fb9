//! The mathematics of the model: configuration, parameters, forward and backward, generation.
