//! Shuffled orders without a table.

use crate::compute::rng::{self, Purpose, Stream};

/// Position `at` of a shuffled 0..n: a Feistel network over the next power of four, iterated until the result is below
/// n.
pub(crate) fn permute(seed: u64, stream: Stream, n: usize, at: usize) -> usize {
    let stream = stream.number();
    let bits = n.next_power_of_two().trailing_zeros().div_ceil(2).max(1);
    let mask = (1_u64 << bits) - 1;
    let mut x = at as u64;
    loop {
        let (mut left, mut right) = (x >> bits, x & mask);
        for round in 0..6_u64 {
            let f = u64::from(rng::bits(seed, Purpose::Shuffle, stream, (round << 40) | right)) & mask;
            (left, right) = (right, left ^ f);
        }
        x = (left << bits) | right;
        if x < n as u64 {
            return x as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_is_one() {
        for n in [1, 2, 3, 4, 5, 34, 63, 64, 65, 1000] {
            let mut seen: Vec<usize> = (0..n).map(|i| permute(7, Stream::Examples(9), n, i)).collect();
            assert!(n < 34 || seen != (0..n).collect::<Vec<_>>());
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn permutations_place_evenly() {
        // Over 3400 epochs each of 34 documents should come first about equally often.
        let mut first = [0_u32; 34];
        for epoch in 0..3400 {
            first[permute(1, Stream::Examples(epoch), 34, 0)] += 1;
        }
        assert!(first.iter().all(|n| (50..160).contains(n)), "{first:?}");
    }
}
