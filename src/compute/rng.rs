//! Random numbers by counter: a pure function of a key and an index, the same on every engine.
//!
//! No generator state exists, so resuming is exact. The mixing function is PCG's RXS-M-XS output
//! permutation over a 32-bit LCG step (O'Neill 2014; "pcg hash" in Jarzynski and Olano,
//! "Hash Functions for GPU Rendering", JCGT 2020), applied in a chain over the key's words; the
//! WGSL twin is `shaders/rng.wgsl`.

/// What a random number is for; keeps streams of one step apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights.
    Init = 1,
    /// Which source and window a training row is drawn from.
    Batch = 2,
    /// Which documents are held out.
    Split = 3,
    /// The order of documents in an epoch.
    Shuffle = 4,
    /// Sampling a token.
    Sample = 5,
    /// Dropout masks.
    Dropout = 6,
    /// Random tokens for benchmarks and tests.
    Bench = 7,
}

/// One round: 32 bits in, 32 bits out, bijective.
pub fn mix(word: u32) -> u32 {
    let state = word.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let shifted = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (shifted >> 22) ^ shifted
}

/// 32 random bits for (seed, purpose, stream, index).
pub fn bits(seed: u64, purpose: Purpose, stream: u64, index: u64) -> u32 {
    let mut h = mix(seed as u32);
    for word in
        [(seed >> 32) as u32, purpose as u32, stream as u32, (stream >> 32) as u32, (index >> 32) as u32, index as u32]
    {
        h = mix(h ^ word);
    }
    h
}

/// A float in [0, 1) with 24 random bits.
pub fn uniform(seed: u64, purpose: Purpose, stream: u64, index: u64) -> f32 {
    (bits(seed, purpose, stream, index) >> 8) as f32 / 16_777_216.0
}

/// A standard normal number by Box and Muller, in f64 for the tails.
pub fn normal(seed: u64, purpose: Purpose, stream: u64, index: u64) -> f32 {
    let u = (f64::from(bits(seed, purpose, stream, index * 2)) + 1.0) / 4_294_967_297.0;
    let v = f64::from(bits(seed, purpose, stream, index * 2 + 1)) / 4_294_967_296.0;
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

/// An integer in 0..n (n > 0) by the high half of a 64-bit product.
pub fn below(seed: u64, purpose: Purpose, stream: u64, index: u64, n: usize) -> usize {
    let wide = (u64::from(bits(seed, purpose, stream, index)) << 32)
        | u64::from(bits(seed, purpose, stream ^ (1 << 63), index));
    ((u128::from(wide) * n as u128) >> 64) as usize
}
