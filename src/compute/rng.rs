//! Random numbers by counter: a pure function of a key and an index, the same on every engine.
//!
//! There is no generator state, so resuming is exact. The mixing function is PCG's RXS-M-XS output permutation over a
//! 32-bit LCG step (O'Neill 2014; "pcg hash" in Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 2020),
//! applied in a chain over the key's words; the WGSL twin is `shaders/rng.wgsl`.

/// The purpose of a random number; separates the streams of a step.
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

/// A stream: what the random numbers of a seed and purpose decide, and in which epoch, row or pass. All streams in use
/// are listed here, so that no two share a number. Numbers that feed training must never change, since runs continue
/// with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The order of a text source's rows in an epoch.
    TextRows(usize, u64),
    /// The offset of a text source's windows in an epoch.
    TextShift(usize, u64),
    /// Which documents fill a row of a text source.
    TextFilling(usize, u64),
    /// Which documents in a row of a text source lose their head.
    TextHeads(usize, u64),
    /// The order of a source's conversations in an epoch, and which of a small source fill a row.
    Chats(usize, u64),
    /// The order of a stage's examples in an epoch: prompts, groups of pairs.
    Examples(u64),
    /// The order of answers in a pass over a step's rollouts.
    Minibatches(u64),
    /// The order of prompts for votes.
    VotePrompts(u64),
    /// The order of DPO's pairs in an epoch.
    DpoPairs(u64),
    /// The order of votes in an epoch of the reward model.
    Votes(u64),
    /// Seeds of answers: see [`AnswerSeed`].
    Answers,
    /// Sides of the answers in a vote, and which earlier vote is repeated.
    VoteSides,
    /// Which generated pairs have flipped labels.
    Flips,
}

impl Stream {
    /// Its number.
    pub const fn number(self) -> u64 {
        match self {
            Stream::TextRows(source, epoch) => of_source(source, 0, epoch),
            Stream::TextShift(source, epoch) => of_source(source, 1, epoch),
            Stream::TextFilling(source, row) => of_source(source, 2, row),
            Stream::TextHeads(source, row) => of_source(source, 3, row),
            Stream::Chats(source, epoch) => of_source(source, 8, epoch),
            Stream::Examples(epoch) => (1 << 46) | epoch,
            Stream::Minibatches(pass) => (1 << 46) | (1 << 40) | pass,
            Stream::VotePrompts(epoch) => (1 << 46) | (1 << 41) | epoch,
            Stream::DpoPairs(epoch) => (1 << 46) | (1 << 42) | epoch,
            Stream::Votes(epoch) => (1 << 46) | (1 << 43) | epoch,
            Stream::Answers => 1 << 44,
            Stream::VoteSides => (1 << 44) + 1,
            // Also the number for filling the first row of the first source; it cannot be changed any more.
            Stream::Flips => 1 << 45,
        }
    }
}

/// The streams of a source. The top bit stays free: [`below`] uses it.
const fn of_source(source: usize, part: u64, epoch: u64) -> u64 {
    ((source as u64 & 0x7FFF) << 48) | (part << 44) | (epoch & 0xFFF_FFFF_FFFF)
}

/// The number of an answer in [`Stream::Answers`]: each use of a seed has its own range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerSeed {
    /// Answers that a stage learns from.
    Learned(usize),
    /// Answers for a vote.
    Offered(usize),
    /// Generated prompts.
    Questions(usize),
    /// Answers to held-out prompts: the same in every report, so that two reports differ by their weights only.
    HeldOut(usize),
}

impl AnswerSeed {
    /// Its number.
    pub const fn number(self) -> u64 {
        match self {
            AnswerSeed::Learned(at) => at as u64,
            AnswerSeed::Offered(at) => (1 << 40) + at as u64,
            AnswerSeed::Questions(at) => (1 << 56) | at as u64,
            AnswerSeed::HeldOut(at) => i64::MAX as u64 + at as u64,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// All streams at the ends of their ranges, with their purposes.
    fn streams() -> Vec<(Purpose, Stream)> {
        let mut all = vec![
            (Purpose::Sample, Stream::Answers),
            (Purpose::Shuffle, Stream::VoteSides),
            (Purpose::Shuffle, Stream::Flips),
        ];
        for count in [0, 1, 2, 1 << 20, (1 << 40) - 1] {
            for stream in [Stream::Examples, Stream::Minibatches, Stream::VotePrompts, Stream::DpoPairs, Stream::Votes]
            {
                all.push((Purpose::Shuffle, stream(count)));
            }
            for source in [0, 1, 2, 0x7FFE, 0x7FFF] {
                all.push((Purpose::Shuffle, Stream::TextRows(source, count)));
                all.push((Purpose::Batch, Stream::TextShift(source, count)));
                all.push((Purpose::Shuffle, Stream::TextFilling(source, count)));
                all.push((Purpose::Batch, Stream::TextHeads(source, count)));
                all.push((Purpose::Shuffle, Stream::Chats(source, count)));
            }
        }
        all
    }

    #[test]
    fn no_two_streams_share_a_number() {
        let mut seen = HashMap::new();
        for (purpose, stream) in streams() {
            let number = stream.number();
            assert!(number < 1 << 63, "{stream:?} takes the bit of `below`");
            let Some(before) = seen.insert((purpose as u32, number), stream) else { continue };
            let known = [before, stream] == [Stream::Flips, Stream::TextFilling(0, 0)];
            assert!(known, "{stream:?} and {before:?} have the number {number}");
        }
    }

    #[test]
    fn no_two_answers_share_a_number() {
        let mut seen = HashMap::new();
        for at in [0, 1, 1 << 20, (1 << 38) - 1] {
            for answers in [AnswerSeed::Learned, AnswerSeed::Offered, AnswerSeed::Questions, AnswerSeed::HeldOut] {
                let (answers, number) = (answers(at), answers(at).number());
                assert_eq!(seen.insert(number, answers), None, "{answers:?}");
            }
        }
    }

    /// The numbers that are part of the bits of all existing runs.
    #[test]
    fn numbers_that_feed_training_stay() {
        for (stream, number) in [
            (Stream::TextRows(3, 5), 0x3_0000_0000_0005),
            (Stream::TextShift(3, 5), 0x3_1000_0000_0005),
            (Stream::TextFilling(3, 5), 0x3_2000_0000_0005),
            (Stream::TextHeads(3, 5), 0x3_3000_0000_0005),
            (Stream::Chats(3, 5), 0x3_8000_0000_0005),
            (Stream::Examples(5), 0x4000_0000_0005),
            (Stream::Minibatches(5), 0x4100_0000_0005),
            (Stream::DpoPairs(5), 0x4400_0000_0005),
            (Stream::Votes(5), 0x4800_0000_0005),
            (Stream::Answers, 0x1000_0000_0000),
            (Stream::VoteSides, 0x1000_0000_0001),
            (Stream::Flips, 0x2000_0000_0000),
        ] {
            assert_eq!(stream.number(), number, "{stream:?}");
        }
        assert_eq!(AnswerSeed::HeldOut(2).number(), i64::MAX as u64 + 2);
    }
}
