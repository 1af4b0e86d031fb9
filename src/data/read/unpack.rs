//! Decompresses gzip and Zstandard, with a limit on the expansion.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;

use super::Packing;

/// Most decompressed bytes per compressed byte. Text compresses 3 to 10 times, a table of one word 200 times; a zip
/// bomb 1,000 (gzip) to 100,000 times (zstd).
const MOST_EXPANSION: u64 = 300;
/// Decompressed bytes that are always allowed.
const FREE: u64 = 64 << 20;
/// Most window size of a Zstandard frame: that of `zstd --ultra -22`. The standard requires readers to support 8 MiB.
const WINDOW: u64 = 128 << 20;

/// A reader of the decompressed bytes.
pub(super) fn unpacked(packing: Packing, input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let packed = Arc::new(AtomicU64::new(0));
    let counting = BufReader::with_capacity(1 << 16, Counting { input, read: Arc::clone(&packed) });
    Ok(match packing {
        Packing::Plain => Box::new(counting),
        Packing::Gzip => Box::new(Bounded { input: MultiGzDecoder::new(counting), packed, out: 0 }),
        Packing::Zstd => Box::new(Bounded { input: Frames::new(counting), packed, out: 0 }),
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

/// Concatenated Zstandard frames, as `cat` and pzstd make them; skippable frames are skipped.
struct Frames<R> {
    input: R,
    decoder: FrameDecoder,
    open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self { input, decoder, open: false }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::{
            BlockDecodingStrategy,
            errors::{FrameDecoderError, ReadFrameHeaderError},
        };
        let broken = |e: &dyn std::fmt::Display| invalid(&format!("not Zstandard: {e}"));
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.open {
                if self.input.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                match self.decoder.reset(&mut self.input) {
                    Ok(()) => self.open = true,
                    Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        length, ..
                    })) => {
                        io::copy(&mut (&mut self.input).take(u64::from(length)), &mut io::sink())?;
                    }
                    Err(e) => return Err(broken(&e)),
                }
                continue;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|e| broken(&e))?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let wrong = match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
                (Some(given), Some(found)) => given != found,
                _ => false,
            };
            if wrong {
                return Err(invalid("a frame's checksum does not match its data"));
            }
            self.open = false;
        }
    }
}
