//! Reads the header of a GGUF file, with limits on everything that the file claims.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::{
    dtype::GgmlType,
    value::{GgufHeader, GgufTensor, List, MetaValue, Number},
};
use crate::{
    base::io::ReadSeek,
    store::{
        error::StoreError,
        fs::{Fs, Links, open_input},
        models::foreign::no_safetensors,
        safetensors::{MAX_RANK, MAX_TENSORS},
    },
};

/// Most bytes before the tensors. The vocabularies of published models take up to 20 MB.
const MAX_HEADER: u64 = 64 << 20;
/// Most key/value pairs.
const MAX_PAIRS: u64 = 1 << 16;
/// Longest key, as the format has it, and longest name of a tensor.
const MAX_KEY: u64 = 65_535;
const MAX_NAME: u64 = 512;
/// Most elements of lists in lists, which no known key has.
const MAX_NESTED: u64 = 1 << 16;
/// Bytes to which tensors are aligned unless `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;

/// Reads and checks the header of a GGUF file; the tensors' bytes are not read.
pub fn read_gguf(disk: &dyn Fs, path: &Path, links: Links) -> Result<GgufHeader, StoreError> {
    let (input, len) = open_input(disk, path, links)?;
    let mut reader = Reader { path, input: BufReader::with_capacity(1 << 16, input), at: 0, len };
    let magic = reader.array::<4>("the first bytes")?;
    if &magic != b"GGUF" {
        let what = no_safetensors(&magic).unwrap_or("the file does not begin with GGUF; it is another kind of file");
        return Err(reader.wrong(what));
    }
    let version = reader.u32("the version")?;
    if !matches!(version, 2 | 3) {
        let why = if matches!(version.swap_bytes(), 1..=3) {
            "the file is big-endian, and only little-endian files are read".to_owned()
        } else {
            format!("the file has version {version} of GGUF; versions 2 and 3 are read: convert the model again")
        };
        return Err(reader.wrong(why));
    }
    let tensors = reader.u64("the number of tensors")?;
    if tensors > MAX_TENSORS as u64 {
        return Err(reader.wrong(format!("the header claims {tensors} tensors, more than the allowed {MAX_TENSORS}")));
    }
    let count = reader.u64("the number of keys")?;
    if count > MAX_PAIRS {
        return Err(reader.wrong(format!("the header claims {count} keys, more than the allowed {MAX_PAIRS}")));
    }
    let pairs = reader.pairs(count)?;
    let mut header = GgufHeader { version, pairs, tensors: Vec::new() };
    let alignment = match header.get("general.alignment") {
        None => ALIGNMENT,
        Some(MetaValue::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => *n,
        Some(other) => {
            let what = format!("general.alignment is {other}; expected a power of two up to {}", 1 << 20);
            return Err(reader.wrong(what));
        }
    };
    for _ in 0..tensors {
        let tensor = reader.tensor(alignment)?;
        header.tensors.push(tensor);
    }
    place(&reader, &mut header.tensors, alignment)?;
    Ok(header)
}

/// Adds the start of the data to every offset; the tensors must lie in the file without overlap, under distinct names.
fn place(reader: &Reader<'_>, tensors: &mut [GgufTensor], alignment: u64) -> Result<(), StoreError> {
    let start = reader.at.next_multiple_of(alignment);
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_unstable_by_key(|&i| (tensors[i].offset, tensors[i].bytes));
    let mut free = 0;
    for i in order {
        let tensor = &mut tensors[i];
        let name = &tensor.name;
        if tensor.offset < free {
            return Err(reader.wrong(format!("the tensor {name:?} overlaps another; the file is damaged or malicious")));
        }
        let end = tensor.offset.checked_add(tensor.bytes).and_then(|end| Some((end, end.checked_add(start)?)));
        let Some((end, place)) = end.filter(|(_, place)| *place <= reader.len) else {
            return Err(reader.wrong(format!(
                "the tensor {name:?} ends after the {} bytes of the file; the file is cut short, download it again",
                reader.len
            )));
        };
        free = end;
        tensor.offset = place - tensor.bytes;
    }
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(reader.wrong(format!("the tensor {:?} appears twice", pair[0]))),
        None => Ok(()),
    }
}

/// Reads values and counts the bytes.
struct Reader<'a> {
    path: &'a Path,
    input: BufReader<Box<dyn ReadSeek>>,
    at: u64,
    len: u64,
}

impl Reader<'_> {
    fn wrong(&self, what: impl Into<String>) -> StoreError {
        StoreError::input(self.path, what)
    }

    /// Fails unless `bytes` more are in the file and within the limit of a header.
    fn claim(&self, bytes: u64, what: &str) -> Result<(), StoreError> {
        let end = self.at.checked_add(bytes);
        match end {
            Some(end) if end <= self.len.min(MAX_HEADER) => Ok(()),
            Some(end) if end <= self.len => Err(self.wrong(format!(
                "the header has more than the allowed {MAX_HEADER} bytes; the file is damaged or malicious"
            ))),
            _ => Err(self.wrong(format!(
                "the file ends inside {what}, after {} bytes; it is cut short or damaged, download it again",
                self.len
            ))),
        }
    }

    fn fill(&mut self, to: &mut [u8], what: &str) -> Result<(), StoreError> {
        self.claim(to.len() as u64, what)?;
        self.input.read_exact(to).map_err(|source| StoreError::Io {
            doing: "read",
            path: self.path.to_owned(),
            source,
        })?;
        self.at += to.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Appends `n` bytes, which the file must have.
    fn append(&mut self, to: &mut Vec<u8>, n: u64, what: &str) -> Result<(), StoreError> {
        self.claim(n, what)?;
        let start = to.len();
        to.resize(start + n as usize, 0);
        self.fill(&mut to[start..], what)
    }

    fn string(&mut self, most: u64, what: &str) -> Result<String, StoreError> {
        let len = self.u64(what)?;
        if len > most {
            return Err(self.wrong(format!("{what} would have {len} bytes, more than the allowed {most}")));
        }
        let mut bytes = Vec::new();
        self.append(&mut bytes, len, what)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    fn pairs(&mut self, count: u64) -> Result<Vec<(String, MetaValue)>, StoreError> {
        let mut pairs: Vec<(String, MetaValue)> = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..count {
            let key = self.string(MAX_KEY, "a key of the header")?;
            if !seen.insert(key.clone()) {
                return Err(self.wrong(format!("the key {key:?} appears twice")));
            }
            let kind = self.u32(&key)?;
            let value = self.value(kind, &key)?;
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<MetaValue, StoreError> {
        const TEXT: u32 = 8;
        const LIST: u32 = 9;
        match kind {
            TEXT => Ok(MetaValue::Text(self.string(MAX_HEADER, key)?)),
            LIST => {
                let (kind, count) = (self.u32(key)?, self.u64(key)?);
                Ok(MetaValue::List(match kind {
                    TEXT => self.texts(count, key)?,
                    LIST => self.lists(count, key)?,
                    _ => {
                        let kind = self.number(kind, key)?;
                        let bytes = count.saturating_mul(kind.bytes());
                        let mut raw = Vec::new();
                        self.append(&mut raw, bytes, key)?;
                        List::Numbers { kind, raw }
                    }
                }))
            }
            _ => {
                let kind = self.number(kind, key)?;
                let mut raw = [0; 8];
                let raw = &mut raw[..kind.bytes() as usize];
                self.fill(raw, key)?;
                Ok(kind.value(raw))
            }
        }
    }

    fn number(&self, kind: u32, key: &str) -> Result<Number, StoreError> {
        Ok(match kind {
            0 => Number::Unsigned(1),
            1 => Number::Signed(1),
            2 => Number::Unsigned(2),
            3 => Number::Signed(2),
            4 => Number::Unsigned(4),
            5 => Number::Signed(4),
            6 => Number::Float(4),
            7 => Number::Bool,
            10 => Number::Unsigned(8),
            11 => Number::Signed(8),
            12 => Number::Float(8),
            _ => return Err(self.wrong(format!("the key {key:?} has the unknown type {kind}"))),
        })
    }

    fn texts(&mut self, count: u64, key: &str) -> Result<List, StoreError> {
        // Each has at least its length.
        self.claim(count.saturating_mul(8), key)?;
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let len = self.u64(key)?;
            self.append(&mut bytes, len, key)?;
            ends.push(bytes.len() as u32);
        }
        Ok(List::Texts { bytes, ends })
    }

    /// Reads over lists in a list.
    fn lists(&mut self, count: u64, key: &str) -> Result<List, StoreError> {
        if count > MAX_NESTED {
            return Err(self.wrong(format!("the key {key:?} has {count} lists, more than the allowed {MAX_NESTED}")));
        }
        for _ in 0..count {
            let (kind, count) = (self.u32(key)?, self.u64(key)?);
            match kind {
                8 => drop(self.texts(count, key)?),
                9 => return Err(self.wrong(format!("the key {key:?} has lists in lists in lists"))),
                _ => {
                    let bytes = count.saturating_mul(self.number(kind, key)?.bytes());
                    self.skip(bytes, key)?;
                }
            }
        }
        Ok(List::Lists(count))
    }

    fn skip(&mut self, bytes: u64, what: &str) -> Result<(), StoreError> {
        self.claim(bytes, what)?;
        let mut left = bytes;
        while left > 0 {
            let here = self.input.fill_buf().map_or(0, <[u8]>::len) as u64;
            if here == 0 {
                return Err(self.wrong(format!("the file cannot be read after byte {}; check the disk", self.at)));
            }
            let step = here.min(left);
            self.input.consume(step as usize);
            self.at += step;
            left -= step;
        }
        Ok(())
    }

    fn tensor(&mut self, alignment: u64) -> Result<GgufTensor, StoreError> {
        let name = self.string(MAX_NAME, "a tensor's name")?;
        let rank = self.u32(&name)?;
        if rank as usize > MAX_RANK {
            return Err(self.wrong(format!("the tensor {name:?} has {rank} dimensions, more than {MAX_RANK}")));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(self.u64(&name)?);
        }
        let id = self.u32(&name)?;
        let Some(dtype) = GgmlType::numbered(id) else {
            return Err(self.wrong(format!(
                "the tensor {name:?} has the unknown type {id}; the file is damaged, or its type is newer than this danlu"
            )));
        };
        let offset = self.u64(&name)?;
        if !offset.is_multiple_of(alignment) {
            return Err(self.wrong(format!("the tensor {name:?} begins at {offset}, not at a multiple of {alignment}")));
        }
        let elements = shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size));
        let row = shape.first().copied().unwrap_or(1);
        let Some((elements, bytes)) = elements.and_then(|n| Some((n, dtype.size(row, n)?))) else {
            return Err(self.wrong(format!(
                "the tensor {name:?} of type {} cannot have the shape {shape:?}; the file is damaged or malicious",
                dtype.name
            )));
        };
        shape.reverse();
        Ok(GgufTensor { name, shape, dtype, elements, offset, bytes })
    }
}
