//! Candidates: documents that share a band.
//!
//! Each band is a list of (hash, document), sorted so that equal hashes meet. The lists are held in memory up to a
//! bound, and beyond it go to a file a band; one band at a time is then read back, in as many passes over ranges of
//! hashes as the bound asks for. So memory does not grow with the documents.

use std::io::{self, BufRead, BufReader, Read};

use super::minhash::BANDS;

/// Entries held in memory, all bands together: 192 MiB.
pub const HELD: usize = 12 << 20;
/// Documents of one hash that are all compared with one another; beyond it with the first ones and the one before.
const ALL_PAIRS: usize = 16;
/// How many first ones.
const FIRST_ONES: usize = 8;
/// Bytes of an entry in a file: the hash and the document, little-endian.
const ENTRY: usize = 12;

/// Where bands go that are too many for memory.
pub trait Spill {
    /// Adds bytes at the end of a band's file.
    fn append(&mut self, band: usize, bytes: &[u8]) -> io::Result<()>;
    /// Reads a band's file from its start.
    fn open(&mut self, band: usize) -> io::Result<Box<dyn Read>>;
}

/// The bands of all documents so far.
#[derive(Debug)]
pub struct Bands {
    held: usize,
    memory: Vec<Vec<(u64, u32)>>,
    /// Entries of a band, and whether any are in files.
    entries: usize,
    spilled: bool,
}

impl Bands {
    /// Bands of which at most `held` entries stay in memory; [`HELD`] but in tests.
    pub fn new(held: usize) -> Self {
        Self { held: held.max(1), memory: vec![Vec::new(); BANDS], entries: 0, spilled: false }
    }

    /// Adds a document.
    pub fn push(&mut self, document: u32, bands: &[u64; BANDS], spill: &mut dyn Spill) -> io::Result<()> {
        for (list, hash) in self.memory.iter_mut().zip(bands) {
            list.push((*hash, document));
        }
        self.entries += 1;
        if self.memory[0].len() * BANDS >= self.held {
            let mut bytes = Vec::with_capacity(self.memory[0].len() * ENTRY);
            for (band, list) in self.memory.iter_mut().enumerate() {
                bytes.clear();
                for (hash, document) in list.drain(..) {
                    bytes.extend_from_slice(&hash.to_le_bytes());
                    bytes.extend_from_slice(&document.to_le_bytes());
                }
                spill.append(band, &bytes)?;
            }
            self.spilled = true;
        }
        Ok(())
    }

    /// Every pair of documents that share a band, (later, earlier), ascending, each once; documents that are out
    /// already are left out.
    pub fn candidates(mut self, out: &dyn Fn(u32) -> bool, spill: &mut dyn Spill) -> io::Result<Vec<(u32, u32)>> {
        let mut pairs = Vec::new();
        for band in 0..BANDS {
            let rest = std::mem::take(&mut self.memory[band]);
            if self.spilled {
                // One pass holds a band's share of what may be held, and no less than a few entries.
                let passes = self.entries.div_ceil((self.held / 2).max(1)).max(1) as u64;
                for pass in 0..passes {
                    let mine = |hash: u64| (u128::from(hash) * u128::from(passes)) >> 64 == u128::from(pass);
                    let mut list: Vec<(u64, u32)> = rest.iter().copied().filter(|(hash, _)| mine(*hash)).collect();
                    read(spill.open(band)?, |hash, document| {
                        if mine(hash) {
                            list.push((hash, document));
                        }
                    })?;
                    collect(list, out, &mut pairs);
                }
            } else {
                collect(rest, out, &mut pairs);
            }
            pairs.sort_unstable();
            pairs.dedup();
        }
        Ok(pairs)
    }
}

/// The entries of a file.
fn read(file: Box<dyn Read>, mut take: impl FnMut(u64, u32)) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut entry = [0; ENTRY];
    while !file.fill_buf()?.is_empty() {
        file.read_exact(&mut entry)?;
        let (hash, document) = entry.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |n, b| (n << 8) | u64::from(*b));
        take(number(hash), number(document) as u32);
    }
    Ok(())
}

/// The pairs within each group of equal hashes.
fn collect(mut list: Vec<(u64, u32)>, out: &dyn Fn(u32) -> bool, pairs: &mut Vec<(u32, u32)>) {
    list.retain(|(_, document)| !out(*document));
    list.sort_unstable();
    for group in list.chunk_by(|a, b| a.0 == b.0) {
        for (at, (_, later)) in group.iter().enumerate() {
            let first_ones = if group.len() <= ALL_PAIRS { at } else { at.min(FIRST_ONES) };
            pairs.extend(group[..first_ones].iter().map(|(_, earlier)| (*later, *earlier)));
            if at > first_ones {
                pairs.push((*later, group[at - 1].1));
            }
        }
    }
}
