//! Formats of prepared data on disk: cleaned documents in units, their token ids in shards.

pub mod shard;
pub mod unit;

/// Reads a little-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// The first eight bytes of the hash of `bytes`, as a number.
fn short_hash(bytes: &[u8]) -> u64 {
    number(&blake3::hash(bytes).as_bytes()[..8])
}
