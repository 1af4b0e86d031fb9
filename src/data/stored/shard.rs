//! Token shards: the ids of a unit's documents on disk, with header and hash, read in windows.
//!
//! ```text
//! header   "danlu-tk", version u32, bytes of an id (2 or 4) u32
//! ids      one document after the other, each ended by end-of-text
//! tables   tokens of each document u32; then of each document's head u32; then bytes of its text u32;
//!          then a hash of its ids u64
//! footer   ids u64, documents u64, bytes of text u64, blake3 of everything before it (32 bytes)
//! ```
//! All numbers are little-endian. Ids have two bytes where the vocabulary allows it.

use std::{
    fmt,
    io::{self, SeekFrom, Write},
    sync::{Mutex, PoisonError},
};

use super::{number, short_hash};
use crate::{base::io::ReadSeek, data::error::DataError};

const MAGIC: &[u8; 8] = b"danlu-tk";
const VERSION: u32 = 2;
const HEADER: u64 = 16;
const FOOTER: u64 = 24 + 32;
/// Bytes of table per document.
const ROW: u64 = 4 + 4 + 4 + 8;
/// Limit on shards that are open at once.
const OPEN: usize = 64;

/// Opens a shard by its number.
type Opener = Box<dyn Fn(u32) -> io::Result<Box<dyn ReadSeek>> + Send + Sync>;

/// Reads ids from shards, which are opened on demand.
pub struct Shards {
    opener: Opener,
    /// The open ones; the most recently used is last.
    opened: Mutex<Vec<(u32, Box<dyn ReadSeek>)>>,
    width: u64,
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("width", &self.width).finish_non_exhaustive()
    }
}

/// Writes a shard document by document.
pub struct ShardWriter<W> {
    out: W,
    hash: blake3::Hasher,
    width: usize,
    ids: u64,
    bytes: u64,
    lengths: Vec<u32>,
    heads: Vec<u32>,
    texts: Vec<u32>,
    hashes: Vec<u64>,
    piece: Vec<u8>,
}

/// Bytes per id for a vocabulary size.
fn width(vocab_size: usize) -> usize {
    if vocab_size <= 1 << 16 { 2 } else { 4 }
}

/// The hash of a document's ids.
fn hash_of(ids: &[u32]) -> u64 {
    short_hash(bytemuck::cast_slice(ids))
}

impl<W: Write> ShardWriter<W> {
    /// A shard of ids below `vocab_size`.
    pub fn new(out: W, vocab_size: usize) -> io::Result<Self> {
        let width = width(vocab_size);
        let mut writer = Self {
            out,
            hash: blake3::Hasher::new(),
            width,
            ids: 0,
            bytes: 0,
            lengths: Vec::new(),
            heads: Vec::new(),
            texts: Vec::new(),
            hashes: Vec::new(),
            piece: Vec::new(),
        };
        writer.piece.extend_from_slice(MAGIC);
        writer.piece.extend_from_slice(&VERSION.to_le_bytes());
        writer.piece.extend_from_slice(&(width as u32).to_le_bytes());
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a document's ids, including end-of-text; the first `head` belong to its name. `bytes` is the length of its
    /// text.
    pub fn push(&mut self, ids: &[u32], head: usize, bytes: u32) -> io::Result<()> {
        for id in ids {
            self.piece.extend_from_slice(&id.to_le_bytes()[..self.width]);
        }
        self.ids += ids.len() as u64;
        self.bytes += u64::from(bytes);
        self.lengths.push(ids.len() as u32);
        self.heads.push(head as u32);
        self.texts.push(bytes);
        self.hashes.push(hash_of(ids));
        if self.piece.len() >= 1 << 18 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.piece);
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    /// Writes tables and footer and returns the file.
    pub fn finish(mut self) -> io::Result<W> {
        let documents = self.hashes.len() as u64;
        for table in [&mut self.lengths, &mut self.heads, &mut self.texts].map(std::mem::take) {
            self.piece.extend(table.iter().flat_map(|n| n.to_le_bytes()));
            self.flush()?;
        }
        self.piece.extend(std::mem::take(&mut self.hashes).iter().flat_map(|n| n.to_le_bytes()));
        self.flush()?;
        for number in [self.ids, documents, self.bytes] {
            self.piece.extend_from_slice(&number.to_le_bytes());
        }
        self.flush()?;
        self.out.write_all(self.hash.finalize().as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The documents of a shard without their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Tokens of each document, including end-of-text.
    pub lengths: Vec<u32>,
    /// Tokens of each document's head.
    pub heads: Vec<u32>,
    /// Bytes of each document's text.
    pub texts: Vec<u32>,
    /// The hash of each document's ids.
    pub hashes: Vec<u64>,
}

/// Reads the table of a shard with ids below `vocab_size`, after verifying the hash of the file.
pub fn open(file: &mut dyn ReadSeek, vocab_size: usize) -> Result<Table, DataError> {
    let damaged = |what: &str| DataError::Damaged(what.to_owned());
    let length = file.seek(SeekFrom::End(0))?;
    if length < HEADER + FOOTER {
        return Err(damaged("it is too short"));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut hash = blake3::Hasher::new();
    let mut piece = vec![0; 1 << 18];
    let mut left = length - 32;
    let mut head = Vec::new();
    while left > 0 {
        let some = (left as usize).min(piece.len());
        file.read_exact(&mut piece[..some])?;
        hash.update(&piece[..some]);
        if head.is_empty() {
            head.extend_from_slice(&piece[..HEADER as usize]);
        }
        left -= some as u64;
    }
    let mut given = [0; 32];
    file.read_exact(&mut given)?;
    if *hash.finalize().as_bytes() != given {
        return Err(damaged("its hash does not agree with its bytes"));
    }
    let width = width(vocab_size) as u64;
    if &head[..8] != MAGIC || number(&head[8..12]) != u64::from(VERSION) || number(&head[12..16]) != width {
        return Err(damaged("it was written by another version"));
    }
    let mut counts = [0; 24];
    file.seek(SeekFrom::Start(length - FOOTER))?;
    file.read_exact(&mut counts)?;
    let [ids, documents, bytes] = [0, 8, 16].map(|at| number(&counts[at..at + 8]));
    let fits = ids.checked_mul(width).zip(documents.checked_mul(ROW)).and_then(|(i, d)| i.checked_add(d));
    if fits != Some(length - HEADER - FOOTER) {
        return Err(damaged("its length does not agree with its counts"));
    }
    file.seek(SeekFrom::Start(HEADER + ids * width))?;
    let mut rows = vec![0; (documents * ROW) as usize];
    file.read_exact(&mut rows)?;
    let (small, hashes) = rows.split_at(documents as usize * 12);
    let numbers = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
    let column = |at: usize| numbers(&small[at * documents as usize * 4..(at + 1) * documents as usize * 4]);
    let table = Table {
        lengths: column(0),
        heads: column(1),
        texts: column(2),
        hashes: hashes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect(),
    };
    let sum = |column: &[u32]| column.iter().map(|n| u64::from(*n)).sum::<u64>();
    let empty = table.heads.iter().zip(&table.lengths).any(|(head, length)| head >= length);
    if sum(&table.lengths) != ids || sum(&table.texts) != bytes || empty {
        return Err(damaged("its documents do not add up"));
    }
    Ok(table)
}

impl Shards {
    /// Shards with ids below `vocab_size`; `opener` opens one by its number.
    pub fn new(vocab_size: usize, opener: Opener) -> Self {
        Self { opener, opened: Mutex::new(Vec::new()), width: width(vocab_size) as u64 }
    }

    /// Appends `count` ids of a shard from an offset on.
    pub(in crate::data) fn read(
        &self,
        shard: u32,
        from: u64,
        count: usize,
        into: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        let mut bytes = vec![0; count * self.width as usize];
        {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let mut file = match opened.iter().rposition(|(n, _)| *n == shard) {
                Some(at) => opened.remove(at).1,
                None => (self.opener)(shard)?,
            };
            file.seek(SeekFrom::Start(HEADER + from * self.width))?;
            file.read_exact(&mut bytes)?;
            if opened.len() >= OPEN {
                opened.remove(0);
            }
            opened.push((shard, file));
        }
        match self.width {
            2 => into.extend(bytes.as_chunks::<2>().0.iter().map(|b| u32::from(u16::from_le_bytes(*b)))),
            _ => into.extend(bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b))),
        }
        Ok(())
    }
}
