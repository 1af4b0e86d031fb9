//! Follows a file that another process writes: appended to in pieces, truncated, rotated, replaced, or not there yet.
//! None of these is an error.

use std::{
    io::{self, Read, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    error::{At, StoreError},
    fs::{Fs, Links},
};

/// Bytes before the place of the next read by which a replaced file is recognised.
const BEFORE: usize = 256;

/// A file and the place of the next read.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    next: u64,
    /// The bytes before that place, as they were when they were read.
    before: Vec<u8>,
}

/// What one read found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// New bytes; a line may begin or end anywhere in them.
    pub bytes: Vec<u8>,
    /// The file is another one than before, or was cut: the bytes are from its start.
    pub restarted: bool,
}

impl Follow {
    /// Follows a file from its start; it need not exist yet.
    pub fn new(path: PathBuf) -> Follow {
        Follow { path, next: 0, before: Vec::new() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on, at most `most` bytes. A file that is missing gives nothing, and is read where it was left if it
    /// returns as it was.
    ///
    /// # Errors
    /// If the file cannot be opened or read.
    pub fn read(&mut self, disk: &dyn Fs, most: usize) -> Result<Piece, StoreError> {
        let (mut reader, len) = match disk.open(&self.path, Links::Follow) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Piece::default()),
            opened => opened.at("open", &self.path)?,
        };
        let restarted = self.next > len || !self.is_same(&mut reader).at("read", &self.path)?;
        if restarted {
            (self.next, self.before) = (0, Vec::new());
        }
        reader.seek(SeekFrom::Start(self.next)).at("read", &self.path)?;
        let mut bytes = Vec::new();
        Read::take(&mut reader, most as u64).read_to_end(&mut bytes).at("read", &self.path)?;
        self.next += bytes.len() as u64;
        self.before.extend_from_slice(&bytes);
        self.before.drain(..self.before.len().saturating_sub(BEFORE));
        Ok(Piece { bytes, restarted })
    }

    /// Whether the bytes before the place are the ones that were read there.
    fn is_same(&self, reader: &mut dyn crate::base::io::ReadSeek) -> io::Result<bool> {
        let mut there = vec![0; self.before.len()];
        reader.seek(SeekFrom::Start(self.next - there.len() as u64))?;
        match reader.read_exact(&mut there) {
            // It was cut since its length was read.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
            Ok(()) => Ok(there == self.before),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{fs, io::Write as _};

    use super::*;
    use crate::store::RealFs;

    fn read(follow: &mut Follow) -> (String, bool) {
        let piece = follow.read(&RealFs, 1 << 20).unwrap();
        (String::from_utf8(piece.bytes).unwrap(), piece.restarted)
    }

    fn same(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    #[test]
    fn a_file_is_followed_however_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut follow = Follow::new(path.clone());
        assert_eq!(read(&mut follow), same(""), "it is not there yet");
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(read(&mut follow), same("one\ntw"));
        assert_eq!(read(&mut follow), same(""));
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\n").unwrap();
        assert_eq!(read(&mut follow), same("o\n"));
        // Replaced by a file that begins the same, and is longer.
        fs::write(dir.path().join("new"), "one\ntwo\nthree\n").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(read(&mut follow), same("three\n"));
        // Cut.
        fs::write(&path, "four\n").unwrap();
        assert_eq!(read(&mut follow), ("four\n".to_owned(), true));
        // Rotated: another file, longer than the place of the next read.
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        assert_eq!(read(&mut follow), same(""));
        fs::write(&path, "five\nsix\n").unwrap();
        assert_eq!(read(&mut follow), ("five\nsix\n".to_owned(), true));
        // Gone and back as it was.
        fs::rename(&path, dir.path().join("away")).unwrap();
        assert_eq!(read(&mut follow), same(""));
        fs::rename(dir.path().join("away"), &path).unwrap();
        assert_eq!(read(&mut follow), same(""));
        fs::write(&path, "").unwrap();
        assert_eq!(read(&mut follow), (String::new(), true));
    }

    #[test]
    fn a_long_file_is_read_in_portions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text = (0..1000).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        fs::write(&path, &text).unwrap();
        let (mut follow, mut all) = (Follow::new(path), String::new());
        loop {
            let piece = follow.read(&RealFs, 777).unwrap();
            assert!(!piece.restarted && piece.bytes.len() <= 777);
            if piece.bytes.is_empty() {
                break;
            }
            all.push_str(std::str::from_utf8(&piece.bytes).unwrap());
        }
        assert!(all == text);
    }
}
