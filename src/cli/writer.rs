//! Writes bytes to stdout and stderr.
//!
//! A verb that saves on a signal passes its lines to one thread per stream: a write that blocks, because the reader of
//! the pipe has stopped or the terminal is paused, then blocks only that thread, and the verb still sees the signal.
//! Other verbs write directly; a signal ends them at once.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

/// Capacity of the channel to a writer thread.
const LINES: usize = 256;
/// Interval at which the stop flag is checked while a line waits.
const LOOK: Duration = Duration::from_millis(50);
/// How long to wait after a signal for a reader that reads nothing.
const GRACE: Duration = Duration::from_secs(1);

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// A message to the writer thread.
enum Work {
    Write(Vec<u8>),
    /// Answered once everything before it is written.
    Done(Sender<()>),
}

/// The verb's side of a writer thread.
struct Lane {
    work: Sender<Work>,
    /// Whether something was written since the last [`Lane::finish`].
    busy: AtomicBool,
    /// The error that ended the thread, until it is reported, and whether there was one.
    error: Arc<Mutex<Option<io::Error>>>,
    ended: Arc<AtomicBool>,
    /// The reader does not read and a signal arrived: no more waiting.
    given_up: AtomicBool,
    stop: Arc<AtomicBool>,
}

static LANES: OnceLock<[Lane; 2]> = OnceLock::new();

fn lane(stream: Stream) -> Option<&'static Lane> {
    LANES.get().map(|[out, err]| if stream == Stream::Out { out } else { err })
}

/// From now on both streams are written by threads; `stop` is set by a signal.
pub(super) fn start(stop: &Arc<AtomicBool>) -> io::Result<()> {
    let lanes = [Lane::start("stdout", io::stdout(), stop)?, Lane::start("stderr", io::stderr(), stop)?];
    // On a second call the threads exist already and are used.
    let _there = LANES.set(lanes);
    Ok(())
}

/// Writes bytes in order. The error may belong to an earlier call; after a signal a stream that does not accept bytes
/// counts as closed.
pub(super) fn write(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    let Some(lane) = lane(stream) else { return direct(stream, bytes) };
    // Keep the order between the streams, as far as the reader reads.
    let other = if stream == Stream::Out { Stream::Err } else { Stream::Out };
    if let Some(other) = self::lane(other) {
        let _late = other.finish();
    }
    lane.write(bytes)
}

/// Waits until everything is written; after a signal for at most a second.
pub(super) fn finish() {
    for stream in [Stream::Out, Stream::Err] {
        if let Some(lane) = lane(stream) {
            let _late = lane.finish();
        }
    }
}

/// Ends the process after the output is written.
pub(super) fn exit(code: i32) -> ! {
    finish();
    std::process::exit(code)
}

fn direct(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    fn all(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
        to.write_all(bytes).and_then(|()| to.flush())
    }
    match stream {
        Stream::Out => all(io::stdout().lock(), bytes),
        Stream::Err => all(io::stderr().lock(), bytes),
    }
}

impl Lane {
    fn start(name: &str, to: impl Write + Send + 'static, stop: &Arc<AtomicBool>) -> io::Result<Lane> {
        let (work, jobs) = bounded(LINES);
        let error = Arc::new(Mutex::new(None));
        let ended = Arc::new(AtomicBool::new(false));
        let (failed, over) = (Arc::clone(&error), Arc::clone(&ended));
        let work_off = move || {
            if let Err(e) = serve(to, &jobs) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
            over.store(true, Ordering::SeqCst);
        };
        thread::Builder::new().name(name.to_owned()).spawn(work_off)?;
        let (busy, given_up) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Lane { work, busy, error, ended, given_up, stop: Arc::clone(stop) })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.busy.store(true, Ordering::Relaxed);
        self.give(Work::Write(bytes.to_vec()))
    }

    fn finish(&self) -> io::Result<()> {
        if !self.busy.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let (done, waits) = bounded(1);
        self.give(Work::Done(done))?;
        let mut patience = Patience::default();
        loop {
            match waits.recv_timeout(LOOK) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(self.failure()),
                Err(RecvTimeoutError::Timeout) => patience.wait(self)?,
            }
        }
    }

    fn give(&self, mut work: Work) -> io::Result<()> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(gone());
        }
        let mut patience = Patience::default();
        loop {
            match self.work.send_timeout(work, LOOK) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Disconnected(_)) => return Err(self.failure()),
                Err(SendTimeoutError::Timeout(back)) => work = back,
            }
            patience.wait(self)?;
        }
    }

    fn failure(&self) -> io::Error {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(gone)
    }
}

/// Since when the reader has read nothing after the signal.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    fn wait(&mut self, lane: &Lane) -> io::Result<()> {
        if lane.ended.load(Ordering::SeqCst) {
            return Err(lane.failure());
        }
        if lane.stop.load(Ordering::SeqCst) && self.0.get_or_insert_with(Instant::now).elapsed() >= GRACE {
            lane.given_up.store(true, Ordering::Relaxed);
            return Err(gone());
        }
        Ok(())
    }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn serve(mut to: impl Write, jobs: &Receiver<Work>) -> io::Result<()> {
    for job in jobs {
        match job {
            Work::Write(bytes) => to.write_all(&bytes).and_then(|()| to.flush())?,
            // The requester may have stopped waiting.
            Work::Done(done) => drop(done.try_send(())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A reader that reads only when allowed to.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
            self.1.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_nobody_takes_is_waited_for_until_a_signal_comes() {
        let stop = Arc::new(AtomicBool::new(false));
        let ((take, may), (to, took)) = (bounded(LINES * 4), bounded(LINES * 4));
        let lane = Lane::start("slow", Slow(may, to), &stop).unwrap();
        lane.write(b"one\n").unwrap();
        take.send(()).unwrap();
        lane.finish().unwrap();
        assert_eq!(took.recv().unwrap(), b"one\n");
        // One more than fits: the last write would block forever.
        stop.store(true, Ordering::SeqCst);
        let lost = (0..LINES + 2).map(|i| lane.write(format!("{i}\n").as_bytes())).find_map(Result::err).unwrap();
        assert_eq!(lost.kind(), io::ErrorKind::BrokenPipe);
        assert!(lane.finish().is_err() && lane.write(b"more").is_err(), "and nothing is waited for again");
    }

    #[test]
    fn the_error_of_a_write_reaches_who_writes_next() {
        let ((take, may), (to, _took)) = (bounded::<()>(1), bounded(1));
        let lane = Lane::start("full", Slow(may, to), &Arc::default()).unwrap();
        drop(take);
        lane.write(b"one\n").unwrap();
        assert_eq!(lane.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(lane.write(b"two\n").is_err());
    }
}
