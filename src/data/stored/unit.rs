//! Units: the cleaned documents of a few files, in one file that is read in parts.
//!
//! ```text
//! header   "danlu-un", version u32
//! blocks   each of some documents, one after the other:
//!            keys          16 bytes a document (split.rs)
//!            table         32 bytes a document: place, bytes read, length, head's length, file, check
//!            fingerprints  16 bytes a document; 0 where duplicates do not matter (dedup/exact.rs)
//!            bands         14 columns of 8 bytes a document; 0 where there are none (dedup/minhash.rs)
//!            verdicts      a JSON line for each document that the rules dropped
//!            texts         the documents' text, one after the other
//! footer   JSON: files, funnel, notes, and of every block its counts and the hash of each of its parts
//! end      length of the footer u64, blake3 of the footer (32 bytes)
//! ```
//! All numbers are little-endian. The columns can be read alone, a block at a time. A part is checked by its hash when
//! it is read, a text by its document's check.

use std::{
    io::{SeekFrom, Write},
    num::NonZeroU128,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{number, short_hash as short};
use crate::{
    base::io::ReadSeek,
    data::{clean::Funnel, dedup::BANDS, document::Document, error::DataError, read::Unread, split::Key},
};

const MAGIC: &[u8; 8] = b"danlu-un";
const VERSION: u32 = 1;
const HEADER: u64 = 12;
const END: u64 = 8 + 32;
/// Limit on the length of a footer.
const LONGEST_FOOTER: u64 = 1 << 30;
/// Hashed parts of a block: keys, table, fingerprints, the bands, verdicts.
const PARTS: usize = 4 + BANDS;
/// Bytes per document in each of them except the verdicts.
const WIDTHS: [u64; PARTS - 1] = {
    let mut widths = [8; PARTS - 1];
    (widths[0], widths[1], widths[2]) = (16, 32, 16);
    widths
};

/// A document that passed the rules.
#[derive(Clone, Debug)]
pub struct Cleaned {
    /// Its text.
    pub document: Document,
    /// Its key for the split.
    pub key: Key,
    /// Its fingerprint for exact duplicates; None where they are not removed.
    pub fingerprint: Option<NonZeroU128>,
    /// Its bands for near duplicates; None where they are not removed, or without letters.
    pub bands: Option<[u64; BANDS]>,
    /// The index of its file in the unit.
    pub file: u32,
    /// The record's place in the file.
    pub place: u64,
    /// Bytes of its text before cleaning.
    pub bytes: u64,
}

/// A row of the table of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record's place in its file.
    pub place: u64,
    /// Bytes of its text before cleaning.
    pub bytes: u64,
    /// Offset of the cleaned text among those of the block.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
    /// Length of its head in bytes.
    pub head: u32,
    /// The index of its file in the unit.
    pub file: u32,
    check: u32,
}

/// The first rejected record: file, place, reason.
pub type FirstFault = (u32, u64, String);

/// Summary of a unit's files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The files.
    pub files: Vec<String>,
    /// Documents read, kept and dropped by rule.
    pub funnel: Funnel,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// Files that were not read to their end, each with the reason.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Unread fields of the accepted records.
    #[serde(default)]
    pub unread: Unread,
    /// Rejected records.
    pub faults: u64,
    /// The first of them.
    pub first_fault: Option<FirstFault>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Block {
    documents: u32,
    /// Bytes.
    verdicts: u64,
    texts: u64,
    hashes: Vec<u64>,
    /// The hash over fingerprints and bands.
    columns: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Footer {
    summary: Summary,
    blocks: Vec<Block>,
}

/// Writes a unit, block by block.
pub struct UnitWriter<W> {
    out: W,
    blocks: Vec<Block>,
    /// The hash of everything written.
    hash: blake3::Hasher,
}

impl<W: Write> UnitWriter<W> {
    /// Starts a unit.
    pub fn new(out: W) -> std::io::Result<Self> {
        let mut writer = Self { out, blocks: Vec::new(), hash: blake3::Hasher::new() };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    /// Adds documents, and the verdicts on those dropped between them: complete lines of JSON.
    pub fn push(&mut self, documents: &[Cleaned], verdicts: &[u8]) -> std::io::Result<()> {
        let mut hashes = Vec::with_capacity(PARTS);
        let mut columns = blake3::Hasher::new();
        let mut piece = Vec::with_capacity(documents.len() * 32);
        let mut part = |writer: &mut Self, fill: &dyn Fn(&Cleaned, &mut Vec<u8>)| {
            piece.clear();
            for document in documents {
                fill(document, &mut piece);
            }
            if hashes.len() >= 2 {
                columns.update(&piece);
            }
            hashes.push(short(&piece));
            writer.put(&piece)
        };
        part(self, &|d, to| to.extend_from_slice(&d.key))?;
        part(self, &|d, to| {
            let text = d.document.text();
            to.extend_from_slice(&d.place.to_le_bytes());
            to.extend_from_slice(&d.bytes.to_le_bytes());
            for n in [text.len() as u32, d.document.head().len() as u32, d.file, short(text.as_bytes()) as u32] {
                to.extend_from_slice(&n.to_le_bytes());
            }
        })?;
        part(self, &|d, to| to.extend_from_slice(&d.fingerprint.map_or(0, NonZeroU128::get).to_le_bytes()))?;
        for band in 0..BANDS {
            // 0 means none; a band with the value 0 becomes 1, in every document alike.
            part(self, &|d, to| to.extend_from_slice(&d.bands.map_or(0, |b| b[band].max(1)).to_le_bytes()))?;
        }
        hashes.push(short(verdicts));
        self.put(verdicts)?;
        let mut texts = 0;
        for d in documents {
            texts += d.document.text().len() as u64;
            self.put(d.document.text().as_bytes())?;
        }
        let verdicts = verdicts.len() as u64;
        let columns = number(&columns.finalize().as_bytes()[..8]);
        self.blocks.push(Block { documents: documents.len() as u32, verdicts, texts, hashes, columns });
        Ok(())
    }

    /// Writes the footer; returns the file, and the hash of its contents.
    pub fn finish(mut self, summary: Summary) -> std::io::Result<(W, blake3::Hash)> {
        let footer = serde_json::to_vec(&Footer { summary, blocks: std::mem::take(&mut self.blocks) })?;
        let hash = blake3::hash(&footer);
        self.put(&footer)?;
        self.put(&(footer.len() as u64).to_le_bytes())?;
        self.put(hash.as_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.hash.finalize()))
    }
}

/// The footer of a unit: its structure without the documents.
#[derive(Debug)]
pub struct Index {
    footer: Footer,
    /// Offset of each block.
    starts: Vec<u64>,
    documents: u32,
}

impl Index {
    /// The summary of its files.
    pub fn summary(&self) -> &Summary {
        &self.footer.summary
    }

    /// Number of documents.
    pub fn documents(&self) -> u32 {
        self.documents
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.footer.blocks.len()
    }

    /// Documents of a block.
    pub fn rows(&self, block: usize) -> usize {
        self.footer.blocks[block].documents as usize
    }
}

/// A unit open for reading.
pub struct Unit {
    file: Box<dyn ReadSeek>,
    index: Arc<Index>,
}

fn damaged(what: impl Into<String>) -> DataError {
    DataError::Damaged(what.into())
}

impl Unit {
    /// Opens a unit: reads and checks its footer.
    pub fn open(mut file: Box<dyn ReadSeek>) -> Result<Self, DataError> {
        let length = file.seek(SeekFrom::End(0))?;
        let mut head = [0; HEADER as usize];
        let mut end = [0; END as usize];
        if length < HEADER + END {
            return Err(damaged("it is too short"));
        }
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut head)?;
        if &head[..8] != MAGIC || number(&head[8..]) != u64::from(VERSION) {
            return Err(damaged("it was written by another version"));
        }
        file.seek(SeekFrom::Start(length - END))?;
        file.read_exact(&mut end)?;
        let size = number(&end[..8]);
        if size > LONGEST_FOOTER || size > length - HEADER - END {
            return Err(damaged("its footer is longer than the file"));
        }
        let mut footer = vec![0; size as usize];
        file.seek(SeekFrom::Start(length - END - size))?;
        file.read_exact(&mut footer)?;
        if blake3::hash(&footer).as_bytes()[..] != end[8..] {
            return Err(damaged("the hash of its footer does not agree"));
        }
        let footer: Footer = serde_json::from_slice(&footer).map_err(|e| damaged(format!("its footer: {e}")))?;
        let (mut starts, mut at, mut documents) = (Vec::with_capacity(footer.blocks.len()), HEADER, 0_u32);
        for block in &footer.blocks {
            starts.push(at);
            let rows = u64::from(block.documents) * WIDTHS.iter().sum::<u64>();
            let next = at.checked_add(rows).and_then(|n| n.checked_add(block.verdicts)?.checked_add(block.texts));
            let Some(next) = next.filter(|n| *n <= length - END - size && block.hashes.len() == PARTS) else {
                return Err(damaged("its blocks do not fit"));
            };
            at = next;
            documents = documents.checked_add(block.documents).ok_or_else(|| damaged("it has too many documents"))?;
        }
        if at != length - END - size || u64::from(documents) != footer.summary.funnel.kept.documents {
            return Err(damaged("its blocks do not add up"));
        }
        Ok(Self { file, index: Arc::new(Index { footer, starts, documents }) })
    }

    /// Opens a unit again whose footer is known.
    pub fn again(file: Box<dyn ReadSeek>, index: Arc<Index>) -> Self {
        Self { file, index }
    }

    /// Its footer.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Reads and verifies all of it.
    pub fn check(&mut self) -> Result<(), DataError> {
        for block in 0..self.index.blocks() {
            (0..PARTS).try_for_each(|part| self.part(block, part).map(drop))?;
            self.columns(block)?;
            self.texts(block, |_| true)?;
        }
        Ok(())
    }

    fn part(&mut self, block: usize, part: usize) -> Result<Vec<u8>, DataError> {
        let about = &self.index.footer.blocks[block];
        let rows = u64::from(about.documents);
        let before: u64 = WIDTHS[..part.min(PARTS - 1)].iter().sum();
        let size = WIDTHS.get(part).map_or(about.verdicts, |width| width * rows);
        let wanted = about.hashes[part];
        let mut bytes = vec![0; size as usize];
        self.file.seek(SeekFrom::Start(self.index.starts[block] + before * rows))?;
        self.file.read_exact(&mut bytes)?;
        if short(&bytes) == wanted { Ok(bytes) } else { Err(damaged("a hash does not agree with its bytes")) }
    }

    /// The documents' keys.
    pub fn keys(&mut self, block: usize) -> Result<Vec<Key>, DataError> {
        let bytes = self.part(block, 0)?;
        Ok(bytes.as_chunks::<16>().0.to_vec())
    }

    /// The rows of the documents.
    pub fn entries(&mut self, block: usize) -> Result<Vec<Entry>, DataError> {
        let bytes = self.part(block, 1)?;
        let mut offset = 0;
        let mut entries = Vec::with_capacity(bytes.len() / 32);
        for row in bytes.chunks_exact(32) {
            let small = |at: usize| number(&row[at..at + 4]) as u32;
            let entry = Entry {
                place: number(&row[..8]),
                bytes: number(&row[8..16]),
                offset,
                length: small(16),
                head: small(20),
                file: small(24),
                check: small(28),
            };
            if entry.head > entry.length || entry.file as usize >= self.index.footer.summary.files.len() {
                return Err(damaged("a document has more head than text, or no file"));
            }
            offset += u64::from(entry.length);
            entries.push(entry);
        }
        if offset != self.index.footer.blocks[block].texts {
            return Err(damaged("its texts do not add up"));
        }
        Ok(entries)
    }

    /// The documents' fingerprints for exact duplicates.
    pub fn fingerprints(&mut self, block: usize) -> Result<Vec<Option<NonZeroU128>>, DataError> {
        let bytes = self.part(block, 2)?;
        Ok(bytes.as_chunks::<16>().0.iter().map(|b| NonZeroU128::new(u128::from_le_bytes(*b))).collect())
    }

    /// One band of the documents; 0 for none.
    pub fn band(&mut self, block: usize, band: usize) -> Result<Vec<u64>, DataError> {
        let bytes = self.part(block, 3 + band.min(BANDS - 1))?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect())
    }

    /// Fingerprints and bands, read together.
    pub fn columns(&mut self, block: usize) -> Result<Columns, DataError> {
        let about = &self.index.footer.blocks[block];
        let rows = about.documents as usize;
        let before = (WIDTHS[0] + WIDTHS[1]) * u64::from(about.documents);
        let mut bytes = vec![0; rows * (16 + 8 * BANDS)];
        self.file.seek(SeekFrom::Start(self.index.starts[block] + before))?;
        self.file.read_exact(&mut bytes)?;
        if short(&bytes) == about.columns {
            Ok(Columns { rows, bytes })
        } else {
            Err(damaged("a hash does not agree with its bytes"))
        }
    }

    /// The verdicts on dropped documents, one JSON line each.
    pub fn verdicts(&mut self, block: usize) -> Result<Vec<u8>, DataError> {
        self.part(block, PARTS - 1)
    }

    /// A document's text.
    pub fn text(&mut self, block: usize, entry: &Entry) -> Result<String, DataError> {
        let about = &self.index.footer.blocks[block];
        let before = u64::from(about.documents) * WIDTHS.iter().sum::<u64>() + about.verdicts;
        if entry.offset + u64::from(entry.length) > about.texts {
            return Err(damaged("a text lies outside its block"));
        }
        let mut bytes = vec![0; entry.length as usize];
        self.file.seek(SeekFrom::Start(self.index.starts[block] + before + entry.offset))?;
        self.file.read_exact(&mut bytes)?;
        text_of(bytes, entry)
    }

    /// The selected texts of a block, with the documents' indices in it.
    pub fn texts(
        &mut self,
        block: usize,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Entry, String)>, DataError> {
        let entries = self.entries(block)?;
        let mut found = Vec::new();
        let mut rows = (0..entries.len()).filter(|row| wanted(*row)).peekable();
        let about = &self.index.footer.blocks[block];
        let before =
            self.index.starts[block] + u64::from(about.documents) * WIDTHS.iter().sum::<u64>() + about.verdicts;
        while let Some(first) = rows.next() {
            // Adjacent texts are read at once.
            let mut last = first;
            while rows.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            let from = entries[first].offset;
            let end = entries[last].offset + u64::from(entries[last].length);
            let mut bytes = vec![0; (end - from) as usize];
            self.file.seek(SeekFrom::Start(before + from))?;
            self.file.read_exact(&mut bytes)?;
            for (row, entry) in entries.iter().enumerate().take(last + 1).skip(first) {
                let start = (entry.offset - from) as usize;
                let text = text_of(bytes[start..start + entry.length as usize].to_vec(), entry)?;
                found.push((row, *entry, text));
            }
        }
        Ok(found)
    }
}

/// Fingerprints and bands of a block.
pub struct Columns {
    rows: usize,
    bytes: Vec<u8>,
}

impl Columns {
    /// A document's fingerprint for exact duplicates.
    pub fn fingerprint(&self, row: usize) -> Option<NonZeroU128> {
        let halves = [0, 8].map(|half| u128::from(number(&self.bytes[16 * row + half..][..8])));
        NonZeroU128::new(halves[0] | halves[1] << 64)
    }

    /// A document's bands; 0 for none.
    pub fn bands(&self, row: usize) -> [u64; BANDS] {
        std::array::from_fn(|band| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.bytes[16 * self.rows + 8 * (band * self.rows + row)..][..8]);
            u64::from_le_bytes(bytes)
        })
    }
}

fn text_of(bytes: Vec<u8>, entry: &Entry) -> Result<String, DataError> {
    if short(&bytes) as u32 != entry.check {
        return Err(damaged("a text is not the one that was written"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.is_char_boundary(entry.head as usize) => Ok(text),
        _ => Err(damaged("a text is no UTF-8")),
    }
}
