//! Writes GGUF files: the same header and tensors give the same bytes.

use std::io::{self, Write};

use half::{bf16, f16};

use super::{
    dtype::GgmlType,
    value::{List, MetaValue, Number},
};

/// Bytes to which tensors are aligned.
const ALIGNMENT: u64 = 32;
/// Elements of a block of Q8_0.
const BLOCK: usize = 32;
/// Elements converted at a time: whole blocks.
const CHUNK: usize = 1 << 16;

/// The element types that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufDtype {
    /// 32 bits, exact.
    F32,
    /// 16 bits.
    F16,
    /// 16 bits with the exponent of f32.
    Bf16,
    /// 8 bits a number and a scale for each 32.
    Q8_0,
}

impl GgufDtype {
    /// All of them.
    pub const ALL: [GgufDtype; 4] = [GgufDtype::F32, GgufDtype::F16, GgufDtype::Bf16, GgufDtype::Q8_0];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            GgufDtype::F32 => "f32",
            GgufDtype::F16 => "f16",
            GgufDtype::Bf16 => "bf16",
            GgufDtype::Q8_0 => "q8_0",
        }
    }

    /// `general.file_type`: what most tensors are.
    pub fn file_type(self) -> u32 {
        match self {
            GgufDtype::F32 => 0,
            GgufDtype::F16 => 1,
            GgufDtype::Q8_0 => 7,
            GgufDtype::Bf16 => 32,
        }
    }

    /// Its type number in the file.
    fn id(self) -> u32 {
        match self {
            GgufDtype::F32 => 0,
            GgufDtype::F16 => 1,
            GgufDtype::Q8_0 => 8,
            GgufDtype::Bf16 => 30,
        }
    }

    /// Elements a row must be a multiple of.
    pub fn block(self) -> usize {
        if self == GgufDtype::Q8_0 { BLOCK } else { 1 }
    }

    fn bytes(self, row: usize, elements: usize) -> u64 {
        let kind = GgmlType::numbered(self.id());
        kind.and_then(|kind| kind.size(row as u64, elements as u64)).unwrap_or(0)
    }

    /// The largest magnitude that does not become infinite.
    pub fn most(self) -> f32 {
        /// The largest f32 that is rounded to a finite f16.
        const HALF: f32 = 65_519.996;
        match self {
            GgufDtype::F32 => f32::MAX,
            // Above it bf16 rounds up to infinity.
            GgufDtype::Bf16 => 3.394_819_5e38,
            GgufDtype::F16 => HALF,
            // The scale of a block is an f16.
            GgufDtype::Q8_0 => HALF * 127.0,
        }
    }

    /// Converts a chunk of whole blocks.
    fn convert(self, from: &[f32], to: &mut Vec<u8>) {
        to.clear();
        match self {
            GgufDtype::F32 => from.iter().for_each(|x| to.extend(x.to_le_bytes())),
            GgufDtype::F16 => from.iter().for_each(|x| to.extend(f16::from_f32(*x).to_le_bytes())),
            GgufDtype::Bf16 => from.iter().for_each(|x| to.extend(bf16::from_f32(*x).to_le_bytes())),
            GgufDtype::Q8_0 => {
                for block in from.chunks(BLOCK) {
                    let largest = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    let scale = largest / 127.0;
                    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    to.extend(f16::from_f32(scale).to_le_bytes());
                    to.extend(block.iter().map(|x| ((x * inverse).round() as i8).cast_unsigned()));
                }
            }
        }
    }
}

/// A tensor to write, its rows already in the order of the file.
#[derive(Clone, Debug)]
pub struct GgufOut<'a> {
    /// Its name.
    pub name: String,
    /// Its dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Its type in the file; the last dimension must be whole blocks of it.
    pub dtype: GgufDtype,
    /// Its elements in row order.
    pub data: std::borrow::Cow<'a, [f32]>,
}

impl GgufOut<'_> {
    fn bytes(&self) -> u64 {
        self.dtype.bytes(self.shape.last().copied().unwrap_or(1), self.data.len())
    }
}

/// The header's bytes, padded to where the tensors begin.
fn header(pairs: &[(String, MetaValue)], tensors: &[GgufOut<'_>]) -> Vec<u8> {
    let mut to = b"GGUF".to_vec();
    to.extend(3_u32.to_le_bytes());
    to.extend((tensors.len() as u64).to_le_bytes());
    to.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        text(&mut to, key.as_bytes());
        put(&mut to, value);
    }
    let mut at = 0_u64;
    for tensor in tensors {
        text(&mut to, tensor.name.as_bytes());
        to.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|n| to.extend((*n as u64).to_le_bytes()));
        to.extend(tensor.dtype.id().to_le_bytes());
        to.extend(at.to_le_bytes());
        at = (at + tensor.bytes()).next_multiple_of(ALIGNMENT);
    }
    to.resize(to.len().next_multiple_of(ALIGNMENT as usize), 0);
    to
}

fn text(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

/// A value with its type: whole numbers as u32 and i32 where they fit, as llama.cpp expects them, floats as f32.
fn put(to: &mut Vec<u8>, value: &MetaValue) {
    let mut one = |kind: u32, bytes: &[u8]| {
        to.extend(kind.to_le_bytes());
        to.extend_from_slice(bytes);
    };
    match value {
        MetaValue::Unsigned(n) => match u32::try_from(*n) {
            Ok(n) => one(4, &n.to_le_bytes()),
            Err(_) => one(10, &n.to_le_bytes()),
        },
        MetaValue::Signed(n) => match i32::try_from(*n) {
            Ok(n) => one(5, &n.to_le_bytes()),
            Err(_) => one(11, &n.to_le_bytes()),
        },
        MetaValue::Float(x) => one(6, &(*x as f32).to_le_bytes()),
        MetaValue::Bool(yes) => one(7, &[u8::from(*yes)]),
        MetaValue::Text(value) => {
            one(8, &[]);
            text(to, value.as_bytes());
        }
        MetaValue::List(list) => {
            one(9, &[]);
            to.extend(list.kind().to_le_bytes());
            to.extend(list.len().to_le_bytes());
            match list {
                List::Numbers { raw, .. } => to.extend_from_slice(raw),
                List::Texts { bytes, ends } => {
                    let mut start = 0;
                    for end in ends {
                        text(to, &bytes[start..*end as usize]);
                        start = *end as usize;
                    }
                }
                List::Lists(_) => {}
            }
        }
    }
}

impl List {
    /// A list of texts.
    pub fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> List {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            ends.push(bytes.len() as u32);
        }
        List::Texts { bytes, ends }
    }

    /// A list of f32.
    pub fn of_floats(values: impl IntoIterator<Item = f32>) -> List {
        List::Numbers { kind: Number::Float(4), raw: values.into_iter().flat_map(f32::to_le_bytes).collect() }
    }

    /// A list of i32.
    pub fn of_integers(values: impl IntoIterator<Item = i32>) -> List {
        List::Numbers { kind: Number::Signed(4), raw: values.into_iter().flat_map(i32::to_le_bytes).collect() }
    }

    /// The number of its elements' type; lists of lists are not written.
    fn kind(&self) -> u32 {
        match self {
            List::Texts { .. } => 8,
            List::Lists(_) => 9,
            List::Numbers { kind, .. } => match kind {
                Number::Unsigned(1) => 0,
                Number::Signed(1) => 1,
                Number::Unsigned(2) => 2,
                Number::Signed(2) => 3,
                Number::Unsigned(4) => 4,
                Number::Signed(4) => 5,
                Number::Float(4) => 6,
                Number::Bool => 7,
                Number::Unsigned(_) => 10,
                Number::Signed(_) => 11,
                Number::Float(_) => 12,
            },
        }
    }
}

/// The exact length that [`write_gguf`] writes.
pub fn gguf_len(pairs: &[(String, MetaValue)], tensors: &[GgufOut<'_>]) -> u64 {
    let data: u64 = tensors.iter().map(|tensor| tensor.bytes().next_multiple_of(ALIGNMENT)).sum();
    header(pairs, tensors).len() as u64 + data
}

/// Writes a GGUF file of version 3.
pub fn write_gguf(to: &mut dyn Write, pairs: &[(String, MetaValue)], tensors: &[GgufOut<'_>]) -> io::Result<()> {
    to.write_all(&header(pairs, tensors))?;
    let mut bytes = Vec::new();
    for tensor in tensors {
        let mut written = 0;
        for chunk in tensor.data.chunks(CHUNK) {
            tensor.dtype.convert(chunk, &mut bytes);
            to.write_all(&bytes)?;
            written += bytes.len() as u64;
        }
        let padding = written.next_multiple_of(ALIGNMENT) - written;
        to.write_all(&[0; ALIGNMENT as usize][..padding as usize])?;
    }
    Ok(())
}
