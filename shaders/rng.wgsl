// Random bits by counter: the twin of compute/rng.rs.

// One round of PCG's RXS-M-XS over a 32-bit LCG step.
fn mix(word: u32) -> u32 {
    let state = word * 747796405u + 2891336453u;
    let shifted = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (shifted >> 22u) ^ shifted;
}
