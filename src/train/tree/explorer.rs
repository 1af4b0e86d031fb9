//! The runs beside this one: listed, compared, forked, renamed, pinned and removed on a thread, so that no step waits.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{
    care::{pin, remove_checkpoint, remove_whole_run, rename},
    compare::{MOST_COMPARED, compare},
    fork::{Forking, NoPoint, fork},
    survey::{Survey, survey},
    trained::trained,
};
use crate::{
    protocol::{Care, Command, Event, InspectedRow, Inspection},
    store::{Fs, OutlineRow, Run, RunView, Saver, contents},
    train::error::TrainError,
};

/// What is asked about the runs; one at a time, in order.
#[derive(Default)]
pub(crate) struct Explorer {
    waiting: VecDeque<Command>,
    work: Option<JoinHandle<Result<Event, TrainError>>>,
}

/// What a job needs of the open run.
struct Here {
    disk: Arc<dyn Fs>,
    dir: PathBuf,
    saver: Saver,
}

impl Explorer {
    /// Takes a request about the runs beside the open one; [`Self::advance`] has its answer.
    pub(crate) fn ask(&mut self, command: Command) {
        self.waiting.push_back(command);
    }

    /// The answer to a request that is done; begins the next one.
    pub(crate) fn advance(&mut self, open: &Run) -> Option<Result<Event, TrainError>> {
        let ended = || Err(TrainError::Refused("the thread that looked at the runs has ended; ask again".to_owned()));
        let answer = self.work.take_if(|work| work.is_finished()).map(|done| done.join().unwrap_or_else(|_| ended()));
        if answer.is_some() || self.work.is_some() {
            return answer;
        }
        let command = self.waiting.pop_front()?;
        let view = open.view();
        let here = Here { disk: Arc::clone(view.disk()), dir: view.dir().to_owned(), saver: open.saver() };
        if let Command::Care(care @ Care::Pin { run, checkpoint, pinned }) = &command
            && is_same(run, &here.dir)
        {
            let done = pin(&here.disk, Some(open), &here.dir, checkpoint, *pinned);
            return Some(done.map(|()| Event::Cared { care: care.clone(), freed: 0 }));
        }
        match thread::Builder::new().name("runs".to_owned()).spawn(move || work(&here, command)) {
            Ok(work) => self.work = Some(work),
            Err(e) => return Some(Err(TrainError::no_thread("looking at the runs", &e))),
        }
        None
    }
}

/// The answer to a request that only reads the runs beside the one in `dir`; None for others.
pub(in crate::train) fn look(disk: &Arc<dyn Fs>, dir: &Path, command: &Command) -> Option<Result<Event, TrainError>> {
    let runs = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let compared = |runs: &[PathBuf]| {
        let views = runs.iter().map(|run| RunView::open(Arc::clone(disk), run)).collect::<Result<Vec<_>, _>>()?;
        Ok(Event::Compared(Box::new(compare(&views)?)))
    };
    match command {
        Command::ShowRuns => Some(survey(disk, runs).map(|Survey { runs, unread }| Event::Runs { runs, unread })),
        Command::Compare { runs } => Some(compared(runs)),
        Command::ShowTrained { runs } => {
            let views = runs.iter().take(MOST_COMPARED).filter_map(|run| RunView::open(Arc::clone(disk), run).ok());
            Some(Ok(Event::Trained(views.map(|view| trained(&view)).collect())))
        }
        Command::Inspect { path } => Some(inspected(disk, path)),
        _ => None,
    }
}

/// The tensors of a checkpoint, from the headers of its files.
fn inspected(disk: &Arc<dyn Fs>, path: &Path) -> Result<Event, TrainError> {
    let found = contents(&**disk, path)?;
    let row = |row: OutlineRow| {
        let size = |size: &u64| size.to_string();
        let what = row
            .tensor
            .map(|(shape, dtype)| format!("{} {dtype}", shape.iter().map(size).collect::<Vec<_>>().join(" × ")));
        let (depth, name, elements, bytes) = (row.depth, row.name, row.elements, row.bytes);
        InspectedRow { depth, name, what: what.unwrap_or_default(), elements, bytes }
    };
    Ok(Event::Inspected(Box::new(Inspection {
        path: path.to_owned(),
        rows: found.outline().into_iter().map(row).collect(),
        tensors: found.tensors.len() as u64,
        parameters: found.parameters(),
        bytes: found.bytes(),
        others: found.others.iter().map(|file| (file.name.clone(), file.tensors as u64, file.bytes)).collect(),
    })))
}

fn work(here: &Here, command: Command) -> Result<Event, TrainError> {
    if let Some(answer) = look(&here.disk, &here.dir, &command) {
        return answer;
    }
    let view = |run: &Path| RunView::open(Arc::clone(&here.disk), run);
    match command {
        Command::Fork { run, checkpoint, sets, open } => {
            let at = checkpoint.parse().map_err(|e: NoPoint| TrainError::Refused(e.to_string()))?;
            let made = fork(&view(&run)?, &Forking { at, name: None, sets })?;
            Ok(Event::Forked { path: made.dir, open, notes: made.notes })
        }
        Command::Care(care) => {
            let freed = match &care {
                Care::Rename { run, name } => {
                    refuse_open(here, run)?;
                    rename(&here.disk, run, name)?;
                    0
                }
                Care::Pin { run, checkpoint, pinned } => {
                    pin(&here.disk, None, run, checkpoint, *pinned)?;
                    0
                }
                Care::RemoveCheckpoint { run, checkpoint } => {
                    let own = is_same(run, &here.dir).then_some(&here.saver);
                    remove_checkpoint(&here.disk, own, run, checkpoint)?
                }
                Care::RemoveRun { run } => {
                    refuse_open(here, run)?;
                    remove_whole_run(&here.disk, run)?
                }
            };
            Ok(Event::Cared { care, freed })
        }
        other => Err(TrainError::Bug(format!("{other:?} does not concern the runs"))),
    }
}

/// The open run is neither renamed nor removed under its own trainer.
fn refuse_open(here: &Here, run: &Path) -> Result<(), TrainError> {
    if is_same(run, &here.dir) {
        return TrainError::refused("this run is open; open another one first");
    }
    Ok(())
}

fn is_same(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole(a) == whole(b)
}
