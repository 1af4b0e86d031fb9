//! Says on stderr what takes long before a stage begins.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::output;
use crate::{
    protocol::{Progress, Work},
    train::config::RunConfig,
    ui::{Lang, strings},
};

/// How long work may take before a line says how far it is.
const LONG: Duration = Duration::from_secs(2);
/// Time between two lines of the same work.
const OFTEN: Duration = Duration::from_secs(10);

/// Notes that reading the user's text may take a while the first time.
pub(super) fn say_that_text_is_read(config: &RunConfig) {
    if let Some(first) = config.source.first().filter(|_| io::stderr().is_terminal()) {
        let more = config.source.len() - 1;
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let name = &first.name;
        output::note(&format!(
            "reading the sources: {name}{rest}; the prepared text is kept in data/, so only the first time is slow"
        ));
    }
}

/// Lines on stderr, if it is a terminal, once the work has taken a while.
pub(super) fn progress(lang: Lang) -> Progress {
    if !io::stderr().is_terminal() {
        return Progress::default();
    }
    let lines = Mutex::new(Lines::default());
    Progress::to(move |preparation| {
        let due = lines.lock().unwrap_or_else(PoisonError::into_inner).is_due(preparation.work, Instant::now());
        if due {
            output::note(&strings::preparation(lang, preparation));
        }
    })
}

/// When a line is due.
#[derive(Default)]
struct Lines {
    begun: Option<Instant>,
    last: Option<(Work, Instant)>,
}

impl Lines {
    /// Whether a report at this time becomes a line: of each work the first after a while, and one from time to time.
    fn is_due(&mut self, work: Work, now: Instant) -> bool {
        let begun = *self.begun.get_or_insert(now);
        let said = self.last.is_some_and(|(before, at)| before == work && now.duration_since(at) < OFTEN);
        if now.duration_since(begun) < LONG || said {
            return false;
        }
        self.last = Some((work, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_work_has_no_line_and_long_work_a_few() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let reports = [
            (Work::Hash, 0.0, false),
            (Work::Clean, 1.9, false),
            (Work::Clean, 2.0, true),
            (Work::Clean, 2.1, false),
            (Work::Clean, 11.9, false),
            (Work::Clean, 12.1, true),
            (Work::Select, 12.2, true),
            (Work::Tokenize, 12.3, true),
            (Work::Tokenize, 12.4, false),
        ];
        for (work, seconds, due) in reports {
            let now = start + Duration::from_secs_f64(seconds);
            assert_eq!(lines.is_due(work, now), due, "{work:?} at {seconds} s");
        }
    }
}
