//! Documents packed into one stream of token ids, in memory or in shards on disk.

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::data::{
    document::Document,
    error::DataError,
    stored::shard::{Shards, Table},
    tokenizer::Tokenizer,
};

/// Ids read at a time in a full pass.
const READ_AT_ONCE: usize = 1 << 16;

/// Documents as token ids, each followed by EOS: in memory, or in shards on disk that are read in windows. A document
/// costs 24 bytes of memory.
#[derive(Clone, Debug)]
pub struct Stream {
    ids: Ids,
    /// The start of each document, and the end of the last.
    starts: Vec<usize>,
    /// Tokens of each document's head.
    heads: Vec<u32>,
    bytes: u64,
}

#[derive(Clone, Debug)]
enum Ids {
    Memory(Vec<u32>),
    Disk {
        shards: Arc<Shards>,
        /// For each document its shard and the offset of its ids.
        places: Vec<(u32, [u32; 2])>,
        /// The hash over the documents' hashes.
        digest: [u8; 32],
    },
}

/// Selects documents from shards, in order, for a stream.
#[derive(Clone, Debug)]
pub struct Picker {
    starts: Vec<usize>,
    heads: Vec<u32>,
    bytes: u64,
    places: Vec<(u32, [u32; 2])>,
    hash: blake3::Hasher,
}

impl Default for Picker {
    fn default() -> Self {
        Self { starts: vec![0], heads: Vec::new(), bytes: 0, places: Vec::new(), hash: blake3::Hasher::new() }
    }
}

impl Picker {
    /// Adds a document of the shard with this table; its ids begin at `from`.
    pub fn pick(&mut self, shard: u32, table: &Table, document: usize, from: u64) {
        let end = self.starts[self.heads.len()] + table.lengths[document] as usize;
        self.starts.push(end);
        self.heads.push(table.heads[document]);
        self.bytes += u64::from(table.texts[document]);
        self.places.push((shard, [from as u32, (from >> 32) as u32]));
        self.hash.update(&table.hashes[document].to_le_bytes());
    }

    /// The stream of the documents; their ids are read from `shards`.
    pub fn stream(mut self, shards: Arc<Shards>) -> Stream {
        self.starts.shrink_to_fit();
        self.heads.shrink_to_fit();
        self.places.shrink_to_fit();
        let ids = Ids::Disk { shards, places: self.places, digest: *self.hash.finalize().as_bytes() };
        Stream { ids, starts: self.starts, heads: self.heads, bytes: self.bytes }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self { ids: Ids::Memory(Vec::new()), starts: vec![0], heads: Vec::new(), bytes: 0 }
    }
}

impl Stream {
    /// Encodes documents and packs them one after the other.
    pub fn pack<'a>(
        documents: impl IntoIterator<Item = &'a Document>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let mut stream = Self::default();
        let mut ids = Vec::new();
        for document in documents {
            let (document_ids, head) = tokenizer.encode_document(document.head(), document.body())?;
            stream.heads.push(head as u32);
            ids.extend(document_ids);
            stream.starts.push(ids.len());
            stream.bytes += document.text().len() as u64;
        }
        stream.ids = Ids::Memory(ids);
        Ok(stream)
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.starts[self.heads.len()]
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a range of ids, cut at the stream's end.
    pub fn read(&self, range: Range<usize>, into: &mut Vec<u32>) -> Result<(), DataError> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let (shards, places) = match &self.ids {
            Ids::Memory(ids) => {
                into.extend_from_slice(&ids[start..end]);
                return Ok(());
            }
            Ids::Disk { shards, places, .. } => (shards, places),
        };
        let place = |document: usize| (places[document].0, wide(places[document].1));
        let mut at = start;
        while at < end {
            let first = self.starts.partition_point(|s| *s <= at) - 1;
            let (shard, begin) = place(first);
            // Documents that are adjacent in a shard too are read at once.
            let (mut last, mut next) = (first, self.starts[first + 1]);
            while next < end && place(last + 1) == (shard, begin + (next - self.starts[first]) as u64) {
                last += 1;
                next = self.starts[last + 1];
            }
            let count = next.min(end) - at;
            shards.read(shard, begin + (at - self.starts[first]) as u64, count, into)?;
            at += count;
        }
        Ok(())
    }

    /// All ids: for small streams and tests.
    pub fn tokens(&self) -> Result<Cow<'_, [u32]>, DataError> {
        match &self.ids {
            Ids::Memory(ids) => Ok(Cow::Borrowed(ids)),
            Ids::Disk { .. } => {
                let mut all = Vec::with_capacity(self.len());
                self.read(0..self.len(), &mut all)?;
                Ok(Cow::Owned(all))
            }
        }
    }

    /// Passes on all ids in order, in chunks.
    pub fn each(&self, mut take: impl FnMut(&[u32])) -> Result<(), DataError> {
        match &self.ids {
            Ids::Memory(ids) => take(ids),
            Ids::Disk { .. } => {
                let mut some = Vec::new();
                for from in (0..self.len()).step_by(READ_AT_ONCE) {
                    some.clear();
                    self.read(from..from + READ_AT_ONCE, &mut some)?;
                    take(&some);
                }
            }
        }
        Ok(())
    }

    /// Adds this stream's identity to a hash.
    pub fn digest(&self, hash: &mut blake3::Hasher) {
        hash.update(&(self.len() as u64).to_le_bytes());
        match &self.ids {
            Ids::Memory(ids) => hash.update(bytemuck::cast_slice(ids)),
            Ids::Disk { digest, .. } => hash.update(digest),
        };
    }

    /// The number of documents.
    pub fn documents(&self) -> usize {
        self.heads.len()
    }

    /// The range of a document's ids, its EOS last.
    pub fn document(&self, index: usize) -> Range<usize> {
        self.starts[index]..self.starts[index + 1]
    }

    /// The range of a document's ids without its head.
    pub fn body(&self, index: usize) -> Range<usize> {
        self.starts[index] + self.heads[index] as usize..self.starts[index + 1]
    }

    /// Whether a document has a head that can be omitted.
    pub fn has_head(&self, index: usize) -> bool {
        self.heads[index] > 0
    }

    /// Bytes of text behind the ids.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of text per token (EOS counts as a token without bytes).
    pub fn bytes_per_token(&self) -> f64 {
        self.bytes as f64 / self.len().max(1) as f64
    }
}

/// A number from two halves: with them a place takes twelve bytes instead of sixteen.
fn wide([low, high]: [u32; 2]) -> u64 {
    u64::from(low) | u64::from(high) << 32
}
