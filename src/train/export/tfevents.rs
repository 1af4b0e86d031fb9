//! Event files of TensorBoard: records of TFRecord (length, checksum, bytes, checksum), each an `Event` of protocol
//! buffers with scalars.

/// Castagnoli's polynomial, reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The constant of TFRecord's masked checksums.
const MASK: u32 = 0xA282_EAD8;

/// A file that holds its version only.
pub(super) fn begin(time: f64) -> Vec<u8> {
    let mut file = Vec::new();
    let mut event = Vec::new();
    wall_time(&mut event, time);
    bytes(&mut event, 3, b"brain.Event:2");
    record(&mut file, &event);
    file
}

/// Appends the scalars of a step.
pub(super) fn append(file: &mut Vec<u8>, time: f64, step: u64, scalars: &[(String, f64)]) {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut one = Vec::new();
        bytes(&mut one, 1, tag.as_bytes());
        one.push(2 << 3 | 5);
        one.extend((*value as f32).to_le_bytes());
        bytes(&mut summary, 1, &one);
    }
    let mut event = Vec::new();
    wall_time(&mut event, time);
    event.push(2 << 3);
    varint(&mut event, step);
    bytes(&mut event, 5, &summary);
    record(file, &event);
}

fn wall_time(event: &mut Vec<u8>, time: f64) {
    event.push(1 << 3 | 1);
    event.extend(time.to_le_bytes());
}

/// A field of bytes with a number below 16.
fn bytes(to: &mut Vec<u8>, field: u8, value: &[u8]) {
    to.push(field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn varint(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

fn record(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length).to_le_bytes());
    file.extend_from_slice(data);
    file.extend(masked(data).to_le_bytes());
}

fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(MASK)
}

/// CRC-32C, four bits at a time.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            let (mut value, mut bit) = (i as u32, 0);
            while bit < 4 {
                value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc: u32, byte| {
        let crc = crc ^ u32::from(*byte);
        let crc = TABLE[crc as usize & 15] ^ crc >> 4;
        TABLE[crc as usize & 15] ^ crc >> 4
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the algorithm, and those of RFC 3720.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
    }
}
