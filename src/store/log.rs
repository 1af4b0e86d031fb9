//! Append-only JSON logs, one object per line: metrics.jsonl, events.jsonl, preferences.jsonl.
//!
//! A line is written in one call. A line torn by a crash is cut when the log is next opened and kept in a file beside
//! it. Lines past the step of a resume are moved to another file. Nothing is lost.

use std::{
    io::{self, BufRead, BufReader, Read, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    error::{At, StoreError},
    fs::{Fs, Links, Synced, WriteFile, open_input},
    names::{Scratch, next_name},
};
use crate::base::{StageId, StageName, clean, io::ReadSeek};

/// Longest line, in bytes.
const LONGEST: usize = 1 << 20;

/// Most bytes [`read_from`] reads in one call.
const PORTION: u64 = 4 << 20;

/// A log open for appending. Only the owner of the run's lock has one.
pub struct Log {
    disk: Arc<dyn Fs>,
    path: PathBuf,
    /// None while the file is being replaced; opened again when needed.
    file: Option<Box<dyn WriteFile>>,
    len: u64,
    cut: Option<Torn>,
    /// Whether a failed append left part of a line at the end.
    torn: bool,
}

/// What was cut from the end of a log on opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The log.
    pub log: PathBuf,
    /// How many bytes.
    pub bytes: u64,
    /// The file beside the log that holds them.
    pub kept: PathBuf,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { log, bytes, kept } = self;
        write!(
            f,
            "{bytes} bytes after the last complete line of {}, torn by a crash, were moved to {}",
            log.display(),
            kept.display()
        )
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("path", &self.path).field("len", &self.len).finish_non_exhaustive()
    }
}

/// A line of the file.
struct Line {
    bytes: Vec<u8>,
    /// Offset of its end, newline included.
    end: u64,
    /// Whether it is a complete line of JSON.
    good: bool,
}

/// Reads the lines of a file, one at a time in memory.
struct Lines {
    reader: BufReader<Box<dyn ReadSeek>>,
    at: u64,
}

impl Lines {
    fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let read = Read::take(&mut self.reader, LONGEST as u64 + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.at += read as u64;
        let mut whole = bytes.last() == Some(&b'\n');
        if !whole && bytes.len() > LONGEST {
            // Longer than any line danlu writes: skip it without keeping it.
            self.at += skip_line(&mut self.reader)?;
            whole = false;
        }
        let good = whole && serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
        Ok(Some(Line { bytes, end: self.at, good }))
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let newline = buffer.iter().position(|b| *b == b'\n');
        let used = newline.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        skipped += used as u64;
        if newline.is_some() {
            return Ok(skipped);
        }
    }
}

/// The fields by which a line is selected.
#[derive(Deserialize)]
struct Mark {
    stage: Option<StageName>,
    step: Option<u64>,
}

impl Mark {
    fn is_of(&self, stage: StageId) -> bool {
        self.stage.as_ref().is_some_and(|s| *s == stage)
    }
}

impl Log {
    /// Opens the log at `path`; creates it if missing. A line that a crash tore at the end is moved to
    /// `<name>.<n>.torn`, with n from 1.
    pub fn open(disk: Arc<dyn Fs>, path: &Path) -> Result<Self, StoreError> {
        let file = disk.append(path).at("open", path)?;
        let mut lines = lines(&*disk, path)?;
        // A power cut may also leave lines of zeros: everything after the last valid line is cut.
        let mut good_end = 0;
        while let Some(line) = lines.next().at("read", path)? {
            if line.good {
                good_end = line.end;
            }
        }
        let bytes = lines.at - good_end;
        drop(lines);
        let mut log = Self { disk, path: path.to_owned(), file: Some(file), len: good_end, cut: None, torn: bytes > 0 };
        if bytes > 0 {
            // Make the copy durable first, then cut: a crash in between leaves the bytes in both files.
            let kept = log.keep_end(good_end)?;
            log.mend()?;
            log.cut = Some(Torn { log: path.to_owned(), bytes, kept });
        }
        Ok(log)
    }

    /// Copies everything after `from` to the next free `<name>.<n>.torn`.
    fn keep_end(&self, from: u64) -> Result<PathBuf, StoreError> {
        let dir = self.dir().to_owned();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = next_name(&*self.disk, &dir, &name, ".torn")?;
        let hidden = dir.join(Scratch::Making.name("torn"));
        let written = (|| {
            let mut to = self.disk.create(&hidden).at("create", &hidden)?;
            let (mut reading, _) = open_input(&*self.disk, &self.path, Links::Refuse)?;
            reading.seek(SeekFrom::Start(from)).at("read", &self.path)?;
            let mut chunk = vec![0; 1 << 16];
            loop {
                let read = reading.read(&mut chunk).at("read", &self.path)?;
                if read == 0 {
                    break;
                }
                to.write_all(&chunk[..read]).at("write", &hidden)?;
            }
            to.sync().at("sync", &hidden)?;
            drop(to);
            self.disk.rename(&hidden, &kept).at("name", &kept)
        })();
        self.or_clean(&hidden, written)?;
        self.disk.sync_dir(&dir).at("sync the folder", &dir)?;
        Ok(kept)
    }

    /// Opens a log that the user may edit too; creates it if missing. Nothing is cut; an unterminated last line gets
    /// its newline.
    pub fn open_whole(disk: Arc<dyn Fs>, path: &Path) -> Result<Self, StoreError> {
        let mut file = disk.append(path).at("open", path)?;
        let mut lines = lines(&*disk, path)?;
        let mut ended = true;
        while let Some(line) = lines.next().at("read", path)? {
            ended = line.bytes.last() == Some(&b'\n');
        }
        let mut len = lines.at;
        drop(lines);
        if !ended {
            file.write_all(b"\n").at("append to", path)?;
            len += 1;
        }
        Ok(Self { disk, path: path.to_owned(), file: Some(file), len, cut: None, torn: false })
    }

    /// What was cut when the log was opened.
    pub fn torn(&self) -> Option<&Torn> {
        self.cut.as_ref()
    }

    /// The path of the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one object as one line. After an error the log is unchanged, and the append can be tried again.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), StoreError> {
        let mut line = clean::json(record)
            .map_err(|e| StoreError::input(&self.path, format!("a record cannot be written as JSON: {e}")))?
            .into_bytes();
        line.push(b'\n');
        if line.len() > LONGEST {
            let what = format!("a record of {} bytes is longer than a line may be ({LONGEST})", line.len());
            return Err(StoreError::input(&self.path, what));
        }
        self.mend()?;
        let path = &self.path;
        let file = opened(&*self.disk, path, &mut self.file)?;
        if let Err(error) = file.write_all(&line) {
            // Part of the line may be in the file. Cut it now or, if that fails too, before the next append.
            self.torn = file.set_len(self.len).is_err();
            return Err(error).at("append to", path);
        }
        self.len += line.len() as u64;
        Ok(())
    }

    /// Waits until all lines are on the disk. Called before a checkpoint is saved, so that no checkpoint is newer than
    /// its metrics.
    pub fn sync(&mut self) -> Result<Synced, StoreError> {
        self.mend()?;
        let file = opened(&*self.disk, &self.path, &mut self.file)?;
        let bytes = file.sync().at("sync", &self.path)?;
        let dir = self.dir();
        let name = self.disk.sync_dir(dir).at("sync the folder", dir)?;
        Ok(if bytes == Synced::Yes { name } else { bytes })
    }

    /// Moves lines with a step above `step` (of `stage`, if given) to `<name>.<n>.old.jsonl`, with n from 1; returns
    /// their number and the file. Lines without a step stay. Used by a resume.
    pub fn truncate_after_step(
        &mut self,
        stage: Option<StageId>,
        step: u64,
    ) -> Result<Option<(usize, PathBuf)>, StoreError> {
        self.move_out(&|mark| mark.step.is_some_and(|s| s > step) && stage.is_none_or(|stage| mark.is_of(stage)))
    }

    /// Does the same with every line of a stage that starts over.
    pub fn truncate_stage(&mut self, stage: StageId) -> Result<Option<(usize, PathBuf)>, StoreError> {
        self.move_out(&|mark| mark.is_of(stage))
    }

    fn move_out(&mut self, which: &dyn Fn(&Mark) -> bool) -> Result<Option<(usize, PathBuf)>, StoreError> {
        self.mend()?;
        let past = |line: &Line| serde_json::from_slice::<Mark>(&line.bytes).is_ok_and(|mark| which(&mark));
        let mut moved = 0;
        let mut reading = lines(&*self.disk, &self.path)?;
        while let Some(line) = reading.next().at("read", &self.path)? {
            moved += usize::from(past(&line));
        }
        drop(reading);
        if moved == 0 {
            return Ok(None);
        }
        let dir = self.dir().to_owned();
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let old = next_name(&*self.disk, &dir, &stem, ".old.jsonl")?;
        // Make the removed lines durable under their name first, then replace the log atomically. A crash in between
        // leaves lines in both files, never in neither.
        let (hidden, _) = self.write_part("old", &past)?;
        self.or_clean(&hidden, self.disk.rename(&hidden, &old).at("name", &old))?;
        self.disk.sync_dir(&dir).at("sync the folder", &dir)?;
        let (hidden, kept) = self.write_part("kept", &|line| !past(line))?;
        self.file = None;
        self.or_clean(&hidden, self.disk.replace(&hidden, &self.path).at("replace", &self.path))?;
        self.len = kept;
        self.disk.sync_dir(&dir).at("sync the folder", &dir)?;
        Ok(Some((moved, old)))
    }

    /// Cuts the remains of a failed append.
    fn mend(&mut self) -> Result<(), StoreError> {
        if self.torn {
            let file = opened(&*self.disk, &self.path, &mut self.file)?;
            file.set_len(self.len).at("cut the torn end of", &self.path)?;
            self.torn = false;
        }
        Ok(())
    }

    fn dir(&self) -> &Path {
        self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Writes the lines that `chosen` selects to a hidden file and syncs it; returns its length.
    fn write_part(&self, what: &str, chosen: &dyn Fn(&Line) -> bool) -> Result<(PathBuf, u64), StoreError> {
        let hidden = self.dir().join(Scratch::Making.name(what));
        let written = (|| {
            let mut to = io::BufWriter::new(self.disk.create(&hidden).at("create", &hidden)?);
            let mut reading = lines(&*self.disk, &self.path)?;
            let mut len = 0;
            while let Some(line) = reading.next().at("read", &self.path)? {
                if chosen(&line) {
                    to.write_all(&line.bytes).at("write", &hidden)?;
                    len += line.bytes.len() as u64;
                }
            }
            to.flush().at("write", &hidden)?;
            let (mut file, _) = to.into_parts();
            file.sync().at("sync", &hidden)?;
            Ok(len)
        })();
        let len = self.or_clean(&hidden, written)?;
        Ok((hidden, len))
    }

    /// Removes a hidden file if `result` is an error; a leftover is swept when the run is next opened.
    fn or_clean<T>(&self, hidden: &Path, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            let _left = self.disk.remove(hidden);
        }
        result
    }
}

fn opened<'a>(
    disk: &dyn Fs,
    path: &Path,
    file: &'a mut Option<Box<dyn WriteFile>>,
) -> Result<&'a mut dyn WriteFile, StoreError> {
    let open = match file.take() {
        Some(open) => open,
        None => disk.append(path).at("open", path)?,
    };
    Ok(&mut **file.insert(open))
}

fn lines(disk: &dyn Fs, path: &Path) -> Result<Lines, StoreError> {
    let (reader, _) = open_input(disk, path, Links::Refuse)?;
    Ok(Lines { reader: BufReader::with_capacity(1 << 16, reader), at: 0 })
}

/// The result of [`read_from`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tail {
    /// The records, oldest first.
    pub records: Vec<Value>,
    /// The offset of the next read.
    pub next: u64,
    /// Lines that are not JSON and were skipped.
    pub bad: usize,
    /// The log was shorter than `from` (a resume cut it): these records are from its start.
    pub restarted: bool,
}

/// Reads complete lines from byte `from`, at most 4 MiB, without a lock: for watching a log while another process
/// writes it. A missing log is empty.
pub fn read_from(disk: &dyn Fs, path: &Path, from: u64) -> Result<Tail, StoreError> {
    read_portion(disk, path, from, PORTION)
}

/// The same, of at most `most` bytes and the rest of a line.
pub fn read_portion(disk: &dyn Fs, path: &Path, from: u64, most: u64) -> Result<Tail, StoreError> {
    let (mut reader, len) = match disk.open(path, Links::Refuse) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Tail::default()),
        opened => opened.at("open", path)?,
    };
    let restarted = from > len;
    let from = if restarted { 0 } else { from };
    reader.seek(SeekFrom::Start(from)).at("read", path)?;
    let mut lines = Lines { reader: BufReader::with_capacity(1 << 16, reader), at: from };
    let mut tail = Tail { next: from, restarted, ..Tail::default() };
    while let Some(line) = lines.next().at("read", path)? {
        if line.bytes.last() != Some(&b'\n') && line.bytes.len() <= LONGEST {
            // Still being written.
            break;
        }
        tail.next = line.end;
        match serde_json::from_slice(&line.bytes) {
            Ok(record) if line.good => tail.records.push(record),
            _ => tail.bad += 1,
        }
        if line.end - from >= most {
            break;
        }
    }
    Ok(tail)
}

/// Calls `take` with every complete record of a log, oldest first. A missing log has none.
pub fn each_record(disk: &dyn Fs, path: &Path, mut take: impl FnMut(&Value)) -> Result<(), StoreError> {
    each_line(disk, path, |line| {
        if let Ok(record) = serde_json::from_slice(line) {
            take(&record);
        }
    })?;
    Ok(())
}

/// Calls `take` with the bytes of every complete line of a log, oldest first, one at a time in memory; returns the offset
/// after the last one. Lines longer than danlu writes are passed over. A missing log has none.
pub fn each_line(disk: &dyn Fs, path: &Path, mut take: impl FnMut(&[u8])) -> Result<u64, StoreError> {
    let reader = match disk.open(path, Links::Refuse) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened.at("open", path)?.0,
    };
    let mut reader = BufReader::with_capacity(1 << 18, reader);
    let (mut line, mut end) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = Read::take(&mut reader, LONGEST as u64 + 1).read_until(b'\n', &mut line).at("read", path)?;
        if line.last() == Some(&b'\n') {
            end += read as u64;
            take(&line);
            continue;
        }
        let rest = if line.len() > LONGEST { skip_line(&mut reader).at("read", path)? } else { 0 };
        // Without its end it is still being written.
        if rest == 0 {
            return Ok(end);
        }
        end += read as u64 + rest;
    }
}

/// Bytes that [`each_record_back`] reads at a time.
const BLOCK: usize = 1 << 20;

/// Calls `take` with the complete records of a log, newest first, until it returns false; what is older is not read. A
/// missing log has none.
pub fn each_record_back(disk: &dyn Fs, path: &Path, mut take: impl FnMut(&Value) -> bool) -> Result<(), StoreError> {
    let (mut reader, mut start) = match disk.open(path, Links::Refuse) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.at("open", path)?,
    };
    // The end of a line that begins before the bytes that were read; None where it is longer than a line may be.
    let mut rest: Option<Vec<u8>> = Some(Vec::new());
    while start > 0 {
        let len = BLOCK.min(usize::try_from(start).unwrap_or(BLOCK));
        start -= len as u64;
        let mut block = vec![0; len];
        reader.seek(SeekFrom::Start(start)).at("read", path)?;
        reader.read_exact(&mut block).at("read", path)?;
        // Where the first line begins in the block, if one does.
        let newline = block.iter().position(|b| *b == b'\n').map(|newline| newline + 1);
        let begins = if start == 0 { Some(0) } else { newline };
        let first = begins.unwrap_or(block.len());
        // Behind the last line end of the block is the beginning of the rest.
        let last = block.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1).max(first);
        let lines = block[first..last].split_inclusive(|b| *b == b'\n');
        let joined = rest.take().map(|rest| [&block[last..], &rest].concat());
        if begins.is_some() {
            let newest = joined.filter(|line| line.len() <= LONGEST);
            for line in newest.as_deref().into_iter().chain(lines.rev()) {
                if line.last() == Some(&b'\n')
                    && let Ok(record) = serde_json::from_slice(line)
                    && !take(&record)
                {
                    return Ok(());
                }
            }
            rest = Some(block[..first].to_vec());
        } else {
            // No line begins in the block.
            rest = joined.map(|joined| [&block[..], &joined].concat()).filter(|line| line.len() <= LONGEST);
        }
    }
    Ok(())
}
