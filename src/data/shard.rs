//! Token shards: a stream of ids on disk, with header and hash, read in windows.
//!
//! ```text
//! header   "danlu-tk", version u32, bytes of an id (2 or 4) u32
//! ids      one document after the other, each ended by end-of-text
//! tables   tokens of each document u32; then of each document's head u32
//! footer   ids u64, documents u64, bytes of text u64, blake3 of everything before it (32 bytes)
//! ```
//! All numbers are little-endian. Ids have two bytes where the vocabulary allows it.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{error::DataError, source::Stream};

const MAGIC: &[u8; 8] = b"danlu-tk";
const VERSION: u32 = 1;
const HEADER: u64 = 16;
const FOOTER: u64 = 24 + 32;

/// A file that is read at any place.
pub trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// The ids of an open shard. Cloning shares the file.
#[derive(Clone)]
pub struct Shard {
    file: Arc<Mutex<Box<dyn Source>>>,
    width: u64,
    ids: u64,
    /// blake3 of everything before the footer's end.
    hash: [u8; 32],
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("width", &self.width).field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl PartialEq for Shard {
    fn eq(&self, other: &Self) -> bool {
        (self.hash, self.ids) == (other.hash, other.ids)
    }
}

impl Eq for Shard {}

/// Writes a shard, one document after the other.
pub struct ShardWriter<W> {
    out: W,
    hash: blake3::Hasher,
    width: usize,
    ids: u64,
    bytes: u64,
    lengths: Vec<u32>,
    heads: Vec<u32>,
    piece: Vec<u8>,
}

impl<W: Write> ShardWriter<W> {
    /// A shard of ids below `vocab_size`.
    pub fn new(out: W, vocab_size: usize) -> io::Result<Self> {
        let width = if vocab_size <= 1 << 16 { 2 } else { 4 };
        let mut writer = Self {
            out,
            hash: blake3::Hasher::new(),
            width,
            ids: 0,
            bytes: 0,
            lengths: Vec::new(),
            heads: Vec::new(),
            piece: Vec::new(),
        };
        writer.piece.extend_from_slice(MAGIC);
        writer.piece.extend_from_slice(&VERSION.to_le_bytes());
        writer.piece.extend_from_slice(&(width as u32).to_le_bytes());
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a document's ids, end-of-text among them: the first `head` name it. `bytes` is its text's length.
    pub fn push(&mut self, ids: &[u32], head: usize, bytes: u64) -> io::Result<()> {
        for id in ids {
            self.piece.extend_from_slice(&id.to_le_bytes()[..self.width]);
        }
        self.ids += ids.len() as u64;
        self.bytes += bytes;
        self.lengths.push(ids.len() as u32);
        self.heads.push(head as u32);
        if self.piece.len() >= 1 << 18 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.piece);
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    /// Writes tables and footer, and gives the file back.
    pub fn finish(mut self) -> io::Result<W> {
        for table in [std::mem::take(&mut self.lengths), std::mem::take(&mut self.heads)] {
            for some in table.chunks(1 << 16) {
                for n in some {
                    self.piece.extend_from_slice(&n.to_le_bytes());
                }
                self.flush()?;
            }
            // Both are as long as there are documents, which the footer counts.
            self.lengths = table;
        }
        let documents = self.lengths.len() as u64;
        for number in [self.ids, documents, self.bytes] {
            self.piece.extend_from_slice(&number.to_le_bytes());
        }
        self.flush()?;
        self.out.write_all(self.hash.finalize().as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Opens a shard as a stream, after its hash is found to be right.
pub fn open(mut file: Box<dyn Source>) -> Result<Stream, DataError> {
    let damaged = |what: &str| DataError::Shape(format!("is no token shard of ours: {what}"));
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
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |n, b| (n << 8) | u64::from(*b));
    let (version, width) = (number(&head[8..12]), number(&head[12..16]));
    if &head[..8] != MAGIC || version != u64::from(VERSION) || ![2, 4].contains(&width) {
        return Err(damaged("it was written by another version"));
    }
    let mut counts = [0; 24];
    file.seek(SeekFrom::Start(length - FOOTER))?;
    file.read_exact(&mut counts)?;
    let [ids, documents, bytes] = [0, 8, 16].map(|at| number(&counts[at..at + 8]));
    let fits = ids.checked_mul(width).zip(documents.checked_mul(8)).and_then(|(i, d)| i.checked_add(d));
    if fits != Some(length - HEADER - FOOTER) {
        return Err(damaged("its length does not agree with its counts"));
    }
    file.seek(SeekFrom::Start(HEADER + ids * width))?;
    let mut table = |file: &mut Box<dyn Source>| -> Result<Vec<u32>, DataError> {
        let mut numbers = Vec::with_capacity(documents as usize);
        let mut left = documents as usize * 4;
        while left > 0 {
            let some = left.min(piece.len());
            file.read_exact(&mut piece[..some])?;
            numbers.extend(piece[..some].chunks_exact(4).map(|b| number(b) as u32));
            left -= some;
        }
        Ok(numbers)
    };
    let (lengths, heads) = (table(&mut file)?, table(&mut file)?);
    if lengths.iter().map(|n| u64::from(*n)).sum::<u64>() != ids || heads.iter().zip(&lengths).any(|(h, l)| h >= l) {
        return Err(damaged("its documents do not add up"));
    }
    let shard = Shard { file: Arc::new(Mutex::new(file)), width, ids, hash: given };
    Ok(Stream::of_shard(shard, &lengths, heads, bytes))
}

impl Shard {
    /// The number of ids.
    pub(super) fn len(&self) -> usize {
        self.ids as usize
    }

    /// The hash of the whole.
    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Appends `count` ids from a place on.
    pub(super) fn read(&self, from: usize, count: usize, into: &mut Vec<u32>) -> Result<(), DataError> {
        let mut bytes = vec![0; count * self.width as usize];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(HEADER + from as u64 * self.width))?;
            file.read_exact(&mut bytes)?;
        }
        match self.width {
            2 => into.extend(bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])))),
            _ => into.extend(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        }
        Ok(())
    }
}
