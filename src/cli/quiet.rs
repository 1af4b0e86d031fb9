//! Keeps what drivers print away from the terminal. A GPU driver or the Vulkan loader writes to standard error as it
//! likes (`error: XDG_RUNTIME_DIR is invalid …` on a server): the first thing that a user reads would be an error that is
//! none. The lines go to the log of `DANLU_LOG`.

#[cfg(unix)]
pub(super) use self::unix::{for_good, quietly, sink};

#[cfg(unix)]
mod unix {
    use std::{
        fs::File,
        io::{self, BufRead as _, BufReader},
        os::fd::OwnedFd,
        thread,
        time::Duration,
    };

    use crossbeam_channel::{Receiver, unbounded};
    use rustix::stdio::{dup2_stderr, stderr};
    use tracing::warn;

    /// How long the last line may take after the end.
    const LAST: Duration = Duration::from_millis(50);

    /// A pipe, and its lines, which a thread reads so that no writer waits.
    fn drained() -> io::Result<(File, Receiver<String>)> {
        let (reader, writer) = io::pipe()?;
        let (send, lines) = unbounded();
        thread::Builder::new().name("danlu-stderr".to_owned()).spawn(move || {
            let lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
            for line in lines {
                // Without a receiver the lines are discarded.
                let _ = send.send(String::from_utf8_lossy(&line).into_owned());
            }
        })?;
        Ok((File::from(OwnedFd::from(writer)), lines))
    }

    /// Runs `work` with standard error redirected; without a pipe or a thread it is left alone.
    pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
        let redirected = drained().ok().and_then(|(file, lines)| {
            let old = rustix::io::dup(stderr()).ok()?;
            dup2_stderr(&file).ok()?;
            Some((old, lines))
        });
        let result = work();
        if let Some((old, lines)) = redirected {
            // Nothing can be done if it fails, and nowhere to say it.
            let _ = dup2_stderr(&old);
            // Only now, since the log may be standard error itself.
            while let Ok(line) = lines.recv_timeout(LAST) {
                warn!(target: "driver", "{line}");
            }
        }
        result
    }

    /// Where standard error goes while the screen is up.
    pub(crate) fn sink() -> Option<File> {
        let (file, lines) = drained().ok()?;
        let log = move || lines.iter().for_each(|line| warn!(target: "driver", "{line}"));
        thread::Builder::new().name("danlu-driver-log".to_owned()).spawn(log).ok()?;
        Some(file)
    }

    /// Redirects standard error until the process ends: drivers print when they are unloaded as well.
    pub(crate) fn for_good() {
        if let Ok((file, _)) = drained() {
            let _ = dup2_stderr(&file);
        }
    }
}

/// Runs `work`.
#[cfg(not(unix))]
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// No file: standard error is left alone.
#[cfg(not(unix))]
pub(super) fn sink() -> Option<std::fs::File> {
    None
}

/// Does nothing.
#[cfg(not(unix))]
pub(super) fn for_good() {}
