//! `DANLU_LOG=level[,file]`: a log of internal events for debugging. Off by default.
//!
//! It is written to the file, else to stderr; while the screen uses the terminal, to `danlu.log` in the run's folder.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::level_filters::LevelFilter;

use super::{Failure, Outcome, output};
use crate::store::{Fs as _, RealFs, WriteFile};

/// The log's file name in a run's folder.
const NAME: &str = "danlu.log";

/// The destination of lines.
enum Sink {
    Stderr,
    File(Box<dyn WriteFile>),
    /// Buffered until the run's folder is known.
    Kept(Vec<u8>),
}

/// The sink as the formatter's writer.
#[derive(Clone)]
struct Lines(Arc<Mutex<Sink>>);

impl Lines {
    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    /// Writes a complete line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.sink() {
            Sink::Stderr => output::note(String::from_utf8_lossy(line).trim_end()),
            Sink::File(file) => file.write_all(line)?,
            Sink::Kept(lines) => lines.extend_from_slice(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut *self.sink() {
            Sink::File(file) => file.flush(),
            Sink::Stderr | Sink::Kept(_) => Ok(()),
        }
    }
}

/// The log of this process.
#[derive(Clone, Default)]
pub(super) struct Log(Option<Lines>);

impl Log {
    /// Starts logging as the environment requests. With a `screen`, lines without a file are kept until
    /// [`Log::in_run`].
    pub(super) fn begin(screen: bool) -> Result<Log, Failure> {
        let Some((level, file)) = parse(env::var("DANLU_LOG").ok().as_deref())? else { return Ok(Log::default()) };
        let sink = match file {
            Some(file) => Sink::File(open(&file)?),
            None if screen => Sink::Kept(Vec::new()),
            None => Sink::Stderr,
        };
        let lines = Lines(Arc::new(Mutex::new(sink)));
        let writer = lines.clone();
        tracing_subscriber::fmt().with_max_level(level).with_writer(move || writer.clone()).init();
        Ok(Log(Some(lines)))
    }

    /// Sends lines without a file to the log in `folder`, a run.
    pub(super) fn in_run(&self, folder: &Path) -> Outcome {
        let Some(lines) = &self.0 else { return Ok(()) };
        let mut sink = lines.sink();
        if let Sink::Kept(kept) = &*sink {
            let path = folder.join(NAME);
            let mut file = open(&path)?;
            file.write_all(kept).map_err(|e| unwritten(&path, &e))?;
            *sink = Sink::File(file);
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Box<dyn WriteFile>, Failure> {
    RealFs.append(path).map_err(|e| unwritten(path, &e))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("DANLU_LOG: the log {} cannot be written: {error}", path.display()))
}

/// Level and file of `level[,file]`; None if logging is off.
fn parse(text: Option<&str>) -> Result<Option<(LevelFilter, Option<PathBuf>)>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let (level, file) = text.split_once(',').map_or((text, None), |(level, file)| (level, Some(PathBuf::from(file))));
    let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&level);
    let level = level.parse::<LevelFilter>().ok().filter(|_| known);
    let level = level.filter(|_| file.as_ref().is_none_or(|file| !file.as_os_str().is_empty())).ok_or_else(|| {
        Failure::usage(format!(
            "DANLU_LOG is {text:?}; expected error, warn, info, debug, trace or off, and a comma and a file if wanted"
        ))
    })?;
    Ok((level != LevelFilter::OFF).then_some((level, file)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn levels_and_files_are_read() {
        assert!(parse(None).unwrap().is_none() && parse(Some("")).unwrap().is_none());
        assert!(parse(Some("off")).unwrap().is_none());
        assert_eq!(parse(Some("debug")).unwrap(), Some((LevelFilter::DEBUG, None)));
        let file = PathBuf::from("a,b.log");
        assert_eq!(parse(Some("info,a,b.log")).unwrap(), Some((LevelFilter::INFO, Some(file))));
        for wrong in ["loud", "info,", ",x", "3", "INFO!"] {
            assert_eq!(parse(Some(wrong)).unwrap_err().code, 2, "{wrong}");
        }
    }
}
