//! The lines of a log in order, as they arrive: of one or two files, of trainer_state.json, or of a stream.

use std::{
    collections::VecDeque,
    io::Read as _,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crossbeam_channel::{Receiver, bounded};
use serde_json::Value;

use super::{
    lines::Lines,
    place::{self, Source, Watched},
    reader::{Read, Reader, What, is_whole},
};
use crate::{
    base::StageId,
    protocol::Event,
    store::{Follow, Fs},
    train::error::TrainError,
};

/// Bytes that are read at once.
const PORTION: usize = 1 << 16;
/// Portions of a stream that wait to be read.
const PORTIONS: usize = 64;
/// After this long without a byte, a line that lacks only its end is complete.
const QUIET: Duration = Duration::from_secs(1);

/// Bytes of a stream, or why there are no more: None at its end.
type Portion = Result<Vec<u8>, Option<String>>;

/// A log as it arrives.
pub(super) struct Feed {
    disk: Arc<dyn Fs>,
    kind: Kind,
}

enum Kind {
    /// Files that grow.
    Files(Vec<Log>),
    /// A file that is written again as a whole.
    State(State),
    /// A stream.
    Stream { log: Log, portions: Receiver<Portion>, end: End },
}

/// Whether a stream has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// It has ended.
    Ended,
    /// It could not be read on.
    Broken(String),
}

/// The lines of one file or stream.
struct Log {
    follow: Option<Follow>,
    lines: Lines,
    reader: Reader,
    ahead: VecDeque<Read>,
    /// When bytes arrived last.
    since: Instant,
    /// Lines too long to be read.
    too_long: usize,
}

struct State {
    place: PathBuf,
    /// The file that was read, as it was then.
    seen: Option<(PathBuf, u64, Option<SystemTime>)>,
    reader: Reader,
    ahead: VecDeque<Read>,
}

impl Log {
    fn new(path: Option<PathBuf>, stage: Option<StageId>) -> Log {
        let reader = Reader::new(stage);
        let (follow, lines, ahead) = (path.map(Follow::new), Lines::default(), VecDeque::new());
        Log { follow, lines, reader, ahead, since: Instant::now(), too_long: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.since = Instant::now();
        let Log { lines, reader, ahead, .. } = self;
        self.too_long += lines.push(bytes, |line| ahead.extend(reader.line(line)));
    }

    /// No byte has arrived for a while, or none will.
    fn rest(&mut self, ended: bool) {
        if !ended && self.since.elapsed() < QUIET {
            return;
        }
        if let Some(line) = self.lines.last(|line| ended || is_whole(line)) {
            self.ahead.extend(self.reader.line(&line));
        }
        self.ahead.extend(self.reader.rest(ended));
    }

    /// Reads on if nothing is ahead.
    fn fill(&mut self, disk: &dyn Fs) -> Result<(), TrainError> {
        while self.ahead.is_empty() {
            let Some(follow) = &mut self.follow else { return Ok(()) };
            let piece = follow.read(disk, PORTION)?;
            if piece.restarted {
                self.lines.forget();
                self.reader.restart();
            }
            if piece.bytes.is_empty() {
                self.rest(false);
                return Ok(());
            }
            self.push(&piece.bytes);
        }
        Ok(())
    }
}

impl State {
    fn fill(&mut self, disk: &dyn Fs) -> Result<(), TrainError> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        let Some(path) = place::newest_state(disk, &self.place) else { return Ok(()) };
        let Ok(there) = std::fs::metadata(&path) else { return Ok(()) };
        let now = Some((path, there.len(), there.modified().ok()));
        if now == self.seen {
            return Ok(());
        }
        let Some((path, ..)) = &now else { return Ok(()) };
        // A file that is half written is read again.
        let Some((fields, entries)) = place::entries(disk, path)? else { return Ok(()) };
        self.reader.restart();
        let planned = fields.get("max_steps").and_then(Value::as_u64).filter(|steps| *steps > 0);
        self.reader.planned = planned.map(|steps| steps as usize).or(self.reader.planned);
        for entry in &entries {
            self.ahead.extend(self.reader.entry(entry).unwrap_or_default());
        }
        self.seen = now;
        Ok(())
    }
}

/// Reads a stream on a separate thread, since a read waits.
fn listen(mut stream: Box<dyn std::io::Read + Send>) -> Result<Receiver<Portion>, TrainError> {
    let (to, portions) = bounded(PORTIONS);
    let work = move || {
        loop {
            let mut bytes = vec![0; PORTION];
            let portion = match stream.read(&mut bytes) {
                Ok(0) => Err(None),
                Ok(n) => {
                    bytes.truncate(n);
                    Ok(bytes)
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => Err(Some(e.to_string())),
            };
            let last = portion.is_err();
            if to.send(portion).is_err() || last {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("stream".to_owned()).spawn(work);
    thread.map_err(|e| TrainError::no_thread("reading standard input", &e))?;
    Ok(portions)
}

impl Feed {
    /// The lines of what is watched; `stage` is that of lines that name none.
    pub(super) fn new(
        watched: &Watched,
        stage: Option<StageId>,
        stream: Option<Box<dyn std::io::Read + Send>>,
    ) -> Result<Feed, TrainError> {
        let stage = stage.or(watched.handover.as_ref().map(|h| h.stage));
        let log = |path: PathBuf| Log::new(Some(path), stage);
        let kind = match &watched.source {
            Source::Run(view) => Kind::Files(vec![log(view.metrics_path()), log(view.events_path())]),
            Source::Files(files) => Kind::Files(files.iter().cloned().map(log).collect()),
            Source::State(place) => {
                let reader = Reader::new(stage);
                Kind::State(State { place: place.clone(), seen: None, reader, ahead: VecDeque::new() })
            }
            Source::Stream => {
                let stream = stream.unwrap_or_else(|| Box::new(std::io::empty()));
                Kind::Stream { log: Log::new(None, stage), portions: listen(stream)?, end: End::Open }
            }
        };
        Ok(Feed { disk: Arc::clone(&watched.disk), kind })
    }

    /// The next line; None if there is none now.
    ///
    /// # Errors
    /// If a file cannot be read. A file that is missing, cut or replaced is no error.
    pub(super) fn next(&mut self) -> Result<Option<Read>, TrainError> {
        let disk = &*self.disk;
        match &mut self.kind {
            Kind::Files(logs) => {
                logs.iter_mut().try_for_each(|log| log.fill(disk))?;
                let first = |best: Option<usize>, at: usize| match best {
                    Some(best) if !is_before(logs[at].ahead.front(), logs[best].ahead.front()) => Some(best),
                    _ => logs[at].ahead.front().map(|_| at).or(best),
                };
                let first = (0..logs.len()).fold(None, first);
                Ok(first.and_then(|at| logs[at].ahead.pop_front()))
            }
            Kind::State(state) => {
                state.fill(disk)?;
                Ok(state.ahead.pop_front())
            }
            Kind::Stream { log, portions, end } => {
                while log.ahead.is_empty() {
                    match portions.try_recv() {
                        Ok(Ok(bytes)) => log.push(&bytes),
                        Ok(Err(why)) => {
                            log.rest(true);
                            *end = why.map_or(End::Ended, End::Broken);
                            break;
                        }
                        Err(_) => {
                            log.rest(*end != End::Open);
                            break;
                        }
                    }
                }
                Ok(log.ahead.pop_front())
            }
        }
    }

    fn readers(&self) -> impl Iterator<Item = &Reader> {
        let logs: &[Log] = match &self.kind {
            Kind::Files(logs) => logs,
            Kind::Stream { log, .. } => std::slice::from_ref(log),
            Kind::State(_) => &[],
        };
        let state = if let Kind::State(state) = &self.kind { Some(&state.reader) } else { None };
        logs.iter().map(|log| &log.reader).chain(state)
    }

    /// Lines of other output that were passed over.
    pub(super) fn passed(&self) -> usize {
        let too_long = match &self.kind {
            Kind::Files(logs) => logs.iter().map(|log| log.too_long).sum(),
            Kind::Stream { log, .. } => log.too_long,
            Kind::State(_) => 0,
        };
        self.readers().map(|reader| reader.passed).sum::<usize>() + too_long
    }

    /// Steps planned, if the log says so.
    pub(super) fn planned(&self) -> Option<usize> {
        self.readers().find_map(|reader| reader.planned)
    }

    /// Whether lines name no step.
    pub(super) fn is_counted(&self) -> bool {
        self.readers().any(|reader| reader.counted)
    }

    /// Whether the stream has ended; a file never does.
    pub(super) fn end(&self) -> &End {
        if let Kind::Stream { end, .. } = &self.kind { end } else { &End::Open }
    }
}

/// Whether the first line of a log comes before that of another, which is first where nothing tells them apart. Lines
/// without times: a launch comes before its steps, and a step before the events about it.
fn is_before(a: Option<&Read>, b: Option<&Read>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_some() };
    if let (Some(a), Some(b)) = (a.time, b.time) {
        return a < b;
    }
    let launch = |read: &Read| matches!(read.what, What::Event(Event::Started(_)));
    match (launch(a), launch(b)) {
        // Another stage is launched when the steps of the one before are done.
        (true, false) if a.stage != b.stage => false,
        (false, true) if a.stage != b.stage => true,
        (true, _) => a.step < b.step || a.step == b.step && !launch(b),
        (_, true) => a.step <= b.step,
        _ => a.step < b.step,
    }
}
