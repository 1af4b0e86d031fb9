//! What the opening of a stage is busy with. A [`Monitor`] watches over it: the work reports how far it is, and can be
//! given up.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Work that takes long while a stage is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// The work.
    pub work: Work,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 where it is not counted.
    pub of: u64,
}

/// The kinds of such work, each with what it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Files are hashed, in bytes.
    Hash,
    /// Files are read and cleaned, in bytes.
    Clean,
    /// Documents are compared for duplicates and split; not counted.
    Select,
    /// A tokenizer is trained; not counted.
    Tokenizer,
    /// Documents or conversations are tokenised, in such.
    Tokenize,
    /// Files of conversations or pairs are read, in bytes.
    Chats,
    /// The run's own model answers questions, in answers.
    Answers,
}

/// The work was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp;

/// Minimum time between two reports of the same work.
const OFTEN: Duration = Duration::from_millis(50);

/// Where the opening of a stage reports what takes long.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Preparation) + Send + Sync>>);

impl Progress {
    /// Reports to this function.
    pub fn to(report: impl Fn(Preparation) + Send + Sync + 'static) -> Progress {
        Progress(Some(Arc::new(report)))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(reported)" } else { "Progress(silent)" })
    }
}

/// Watches over a preparation. The default one says nothing and never gives up.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    flags: Vec<Arc<AtomicBool>>,
    progress: Progress,
    last: Arc<Mutex<Option<(Work, Instant)>>>,
}

impl Monitor {
    /// Reports to `progress`; the work is given up once one of the flags is set.
    pub fn new(flags: Vec<Arc<AtomicBool>>, progress: Progress) -> Monitor {
        Monitor { flags, progress, last: Arc::default() }
    }

    /// Whether to end the work.
    pub(crate) fn is_given_up(&self) -> bool {
        self.flags.iter().any(|flag| flag.load(Ordering::Acquire))
    }

    /// An error once the work is given up.
    pub(crate) fn check(&self) -> Result<(), GivenUp> {
        if self.is_given_up() { Err(GivenUp) } else { Ok(()) }
    }

    /// Reports that `done` of `of` are done; `of` is 0 where the work is not counted. Reports that follow too soon are
    /// left out.
    pub(crate) fn report(&self, work: Work, done: u64, of: u64) {
        let Some(report) = &self.progress.0 else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|(before, at)| before == work && at.elapsed() < OFTEN) {
            return;
        }
        *last = Some((work, Instant::now()));
        report(Preparation { work, done: done.min(of), of });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_is_reported_and_what_follows_too_soon_is_not() {
        let seen: Arc<Mutex<Vec<Preparation>>> = Arc::default();
        let (sink, stop) = (Arc::clone(&seen), Arc::new(AtomicBool::new(false)));
        let progress = Progress::to(move |p| sink.lock().unwrap_or_else(PoisonError::into_inner).push(p));
        let monitor = Monitor::new(vec![Arc::default(), Arc::clone(&stop)], progress);
        for done in 0..5 {
            monitor.report(Work::Clean, done, 3);
        }
        monitor.clone().report(Work::Select, 0, 0);
        monitor.report(Work::Clean, 7, 3);
        let of = |work, done, of| Preparation { work, done, of };
        let expected = [of(Work::Clean, 0, 3), of(Work::Select, 0, 0), of(Work::Clean, 3, 3)];
        assert_eq!(*seen.lock().unwrap_or_else(PoisonError::into_inner), expected);
        assert!(monitor.check().is_ok());
        stop.store(true, Ordering::Release);
        assert!(monitor.check().is_err());
        assert!(Monitor::default().check().is_ok());
    }
}
