//! NumPy files.

use std::io::{self, Write};

use crate::store::NewFile;

/// A NumPy file (version 1.0) of this shape; `fill` writes its elements, little-endian, of a type such as `<u4`, whose
/// last digit is its bytes.
pub(super) fn npy<'a>(
    name: &str,
    kind: &str,
    shape: &[usize],
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'a,
) -> NewFile<'a> {
    let size = kind.chars().last().and_then(|digit| digit.to_digit(10)).unwrap_or(1) as usize;
    let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}{comma}), }}", lengths.join(", "));
    // The data begin at a multiple of 64.
    while !(head.len() + 11).is_multiple_of(64) {
        head.push(' ');
    }
    head.push('\n');
    let bytes = (10 + head.len() + shape.iter().product::<usize>() * size) as u64;
    NewFile::writer(name, bytes, move |to| {
        to.write_all(b"\x93NUMPY\x01\x00")?;
        to.write_all(&(head.len() as u16).to_le_bytes())?;
        to.write_all(head.as_bytes())?;
        fill(to)
    })
}
