//! Decompresses gzip and Zstandard, with a limit on the expansion.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use super::Packing;

/// Most decompressed bytes per compressed byte. Text compresses 3 to 10 times, a table of one word 200 times; a zip
/// bomb 1,000 (gzip) to 100,000 times (zstd).
const MOST_EXPANSION: u64 = 300;
/// Decompressed bytes that are always allowed.
const FREE: u64 = 64 << 20;
/// Logarithm of the largest window of a Zstandard frame: that of `zstd --ultra -22`. The standard requires readers to
/// support 8 MiB.
#[cfg(feature = "zstd")]
const WINDOW: u32 = 27;

/// A reader of the decompressed bytes.
pub(super) fn unpacked(packing: Packing, input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let packed = Arc::new(AtomicU64::new(0));
    let counting = BufReader::with_capacity(1 << 16, Counting { input, read: Arc::clone(&packed) });
    Ok(match packing {
        Packing::Plain => Box::new(counting),
        Packing::Gzip => Box::new(Bounded { input: MultiGzDecoder::new(counting), packed, out: 0 }),
        Packing::Zstd => Box::new(Bounded { input: frames(counting)?, packed, out: 0 }),
    })
}

struct Counting<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Fails when the expansion exceeds the limit.
struct Bounded<R> {
    input: R,
    packed: Arc<AtomicU64>,
    out: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => invalid("the compressed data end early; the file may have been cut off"),
            // Zstandard's own errors.
            io::ErrorKind::Other => invalid(&format!("the compressed data are damaged: {e}")),
            _ => e,
        })?;
        self.out += read as u64;
        let packed = self.packed.load(Ordering::Relaxed);
        if self.out > FREE.saturating_add(packed.saturating_mul(MOST_EXPANSION)) {
            return Err(invalid(&format!(
                "{packed} compressed bytes expand to {} so far, more than {MOST_EXPANSION} each: a decompression bomb; unpack it yourself if it is not",
                self.out
            )));
        }
        Ok(read)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Zstandard frames one after the other, as `cat` and pzstd write them; skippable frames are skipped.
#[cfg(feature = "zstd")]
fn frames(input: impl BufRead + 'static) -> io::Result<impl Read> {
    let mut decoder = zstd::Decoder::with_buffer(input)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}

#[cfg(not(feature = "zstd"))]
fn frames(_input: impl BufRead) -> io::Result<io::Empty> {
    Err(invalid(
        "it is compressed with Zstandard, which this danlu was built without; build it with --features zstd, or unpack it",
    ))
}
