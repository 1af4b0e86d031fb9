//! The tree of runs: opening it, moving in it, and what its keys ask for.

use std::path::PathBuf;

use super::{leaving, msg::Cmd, requests};
use crate::{
    protocol::{Care, Command, Comparison, Inspection, TrainedRun, TreeRun, run_kept},
    ui::{
        editor::Editor,
        state::{AppState, Both, Level, Overlay, Question, Request, steps::Walk, tree::Naming},
        strings,
        text::bytes,
    },
};

/// Shows the runs; asks the trainer for them.
pub(crate) fn open(state: &mut AppState) -> Vec<Cmd> {
    state.tree.open = true;
    (state.voting.open, state.data.open, state.typing) = (false, false, false);
    refresh(state)
}

/// Asks for the runs again.
pub(crate) fn refresh(state: &mut AppState) -> Vec<Cmd> {
    let mut cmds = requests::ask(state, Request::Tree, Command::ShowRuns);
    cmds.extend(compare(state));
    cmds
}

/// The trainer's list.
pub(crate) fn on_runs(state: &mut AppState, runs: Vec<TreeRun>, unread: Vec<String>) {
    requests::answered(state, &Request::Tree);
    // The list is asked for again and again.
    for why in unread.iter().filter(|why| !state.tree.unread.contains(why)).cloned().collect::<Vec<_>>() {
        state.record(Level::Alert, Both::new(|_| why.clone()));
    }
    state.tree.unread = unread;
    let here = state.open_run().cloned();
    state.tree.set(runs, here.as_ref());
}

/// The training losses of the compared runs.
pub(crate) fn on_trained(state: &mut AppState, runs: &[TrainedRun]) {
    requests::answered(state, &Request::Trained);
    state.tree.set_trained(runs);
}

pub(crate) fn on_compared(state: &mut AppState, comparison: Comparison) {
    requests::answered(state, &Request::Compare);
    state.tree.comparison = Some(comparison);
}

/// Shows or hides what is in the weights of the chosen checkpoint.
pub(crate) fn inspect(state: &mut AppState) -> Vec<Cmd> {
    state.tree.inspecting = !state.tree.inspecting;
    ask_inspected(state)
}

/// Asks for the tensors of the chosen checkpoint, if they are to be shown and are not there.
fn ask_inspected(state: &mut AppState) -> Vec<Cmd> {
    let tree = &state.tree;
    let Some(path) = tree.checkpoint().filter(|_| tree.inspecting).map(|c| c.path.clone()) else { return Vec::new() };
    if tree.inspected.as_ref().is_some_and(|there| there.path == path) {
        return Vec::new();
    }
    // A newer choice replaces an answer that is on its way.
    requests::send(state, Request::Inspect, Command::Inspect { path })
}

pub(crate) fn on_inspected(state: &mut AppState, inspection: Inspection) {
    requests::answered(state, &Request::Inspect);
    (state.tree.inspected, state.tree.inspected_from) = (Some(inspection), 0);
}

pub(crate) fn on_forked(state: &mut AppState, path: PathBuf, open: bool, notes: Vec<String>) -> Vec<Cmd> {
    requests::answered(state, &Request::Fork);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let text = Both::new(|lang| strings::forked(lang, &name));
    state.record(Level::State, text.clone());
    state.remark(text);
    for note in notes {
        state.record(Level::Note, Both::new(|lang| strings::trainer(lang, &note)));
    }
    if open { leave_for(state, path) } else { refresh(state) }
}

pub(crate) fn on_cared(state: &mut AppState, care: &Care, freed: u64) -> Vec<Cmd> {
    requests::answered(state, &Request::Care);
    if let Care::Rename { run, name } = care {
        state.tree.rename(run, name);
    }
    let text = Both::new(|lang| match care {
        Care::Rename { run, name } => strings::renamed(lang, &name_of(run), name),
        Care::Pin { checkpoint, pinned, .. } => strings::pinned(lang, checkpoint, *pinned),
        Care::RemoveCheckpoint { checkpoint, .. } => strings::removed(lang, checkpoint, &bytes(freed)),
        Care::RemoveRun { run } => strings::removed(lang, &name_of(run), &bytes(freed)),
    });
    state.record(Level::State, text.clone());
    state.remark(text);
    refresh(state)
}

fn name_of(run: &std::path::Path) -> String {
    run.file_name().unwrap_or(run.as_os_str()).to_string_lossy().into_owned()
}

/// Moves the cursor.
pub(crate) fn walk(state: &mut AppState, to: Walk) -> Vec<Cmd> {
    let tree = &mut state.tree;
    match to {
        Walk::PageUp | Walk::PageDown if tree.inspecting => {
            let last = tree.inspected.as_ref().map_or(0, |i| i.rows.len().saturating_sub(1));
            tree.inspected_from = to.from(tree.inspected_from, last);
        }
        Walk::Previous | Walk::Next => tree.move_place(to == Walk::Next),
        to => {
            let last = tree.rows.len().saturating_sub(1);
            let row = to.from(tree.row, last);
            tree.move_row(row);
        }
    }
    ask_inspected(state)
}

/// Whether the chosen checkpoint is where the open run is now.
fn is_here(state: &AppState) -> bool {
    let run = state.tree.run().map(|run| &run.path);
    let newest = state.tree.checkpoint().is_none_or(|c| c.newest && state.live().id.is_some_and(|id| c.stage == id));
    run == state.open_run() && newest
}

/// Enter: opens the chosen run, or goes back to the chosen checkpoint; asks first.
pub(crate) fn enter(state: &mut AppState) -> Vec<Cmd> {
    if is_here(state) {
        state.remark(Both::new(|lang| strings::TREE_HERE.get(lang).to_owned()));
        return Vec::new();
    }
    let Some(run) = state.tree.run() else { return Vec::new() };
    let question = match state.tree.checkpoint() {
        Some(checkpoint)
            if !(checkpoint.newest && checkpoint.needed_by.is_empty()) || Some(&run.path) == state.open_run() =>
        {
            Question::GoBack(run.path.clone(), checkpoint.checkpoint.clone())
        }
        _ => Question::Open(run.path.clone()),
    };
    state.overlay = Some(Overlay::Ask { question, chosen: 0 });
    Vec::new()
}

/// Goes back to a checkpoint: a fork without changes, which is opened.
pub(crate) fn go_back(state: &mut AppState, run: PathBuf, checkpoint: String) -> Vec<Cmd> {
    requests::ask(state, Request::Fork, Command::Fork { run, checkpoint, sets: Vec::new(), open: true })
}

/// Forks the open run at the newest checkpoint of the live stage; None if it has none.
pub(crate) fn fork_newest(state: &mut AppState, sets: Vec<(String, String)>) -> Option<Vec<Cmd>> {
    let live = state.live();
    let saved = live.saved.as_ref().map(|c| c.step).max(live.start_step);
    let resumed = live.run.as_ref().map(|run| run.info.resumed_at).filter(|step| *step > 0);
    let step = saved.max(resumed).filter(|step| *step > 0)?;
    let (run, checkpoint) = (state.open_run().cloned()?, format!("{}-{step}", live.short()));
    Some(requests::ask(state, Request::Fork, Command::Fork { run, checkpoint, sets, open: false }))
}

/// Closes this run, saved, and opens another one.
pub(crate) fn leave_for(state: &mut AppState, run: PathBuf) -> Vec<Cmd> {
    state.tree.next = Some(run);
    leaving::leave(state, true, false)
}

/// Asks for the settings of a fork.
pub(crate) fn ask_fork(state: &mut AppState) {
    if let (Some(run), Some(checkpoint)) = (state.tree.run(), state.tree.checkpoint()) {
        let naming = Naming::Fork(run.path.clone(), checkpoint.checkpoint.clone());
        state.tree.naming = Some((naming, Editor::default()));
    }
}

/// Asks for a run's new name.
pub(crate) fn ask_name(state: &mut AppState) {
    if let Some(run) = state.tree.run() {
        let mut field = Editor::default();
        field.insert(&run.run);
        state.tree.naming = Some((Naming::Rename(run.path.clone()), field));
    }
}

/// Carries out what a line was typed for.
pub(crate) fn named(state: &mut AppState) -> Vec<Cmd> {
    let Some((naming, field)) = state.tree.naming.take() else { return Vec::new() };
    let text = field.text().trim().to_owned();
    match naming {
        Naming::Rename(run) if !text.is_empty() && text != name_of(&run) => {
            requests::ask(state, Request::Care, Command::Care(Care::Rename { run, name: text }))
        }
        Naming::Rename(_) => Vec::new(),
        Naming::Fork(run, checkpoint) => {
            let mut sets = Vec::new();
            for pair in text.split_whitespace() {
                let Some((key, value)) = pair.split_once('=') else {
                    let pair = pair.to_owned();
                    state.refuse(Both::new(|lang| strings::no_pair(lang, &pair)));
                    return Vec::new();
                };
                sets.push((key.to_owned(), value.to_owned()));
            }
            requests::ask(state, Request::Fork, Command::Fork { run, checkpoint, sets, open: false })
        }
    }
}

/// Adds the chosen run to the comparison, or takes it out.
pub(crate) fn pick(state: &mut AppState) -> Vec<Cmd> {
    if !state.tree.pick() {
        state.remark(Both::new(|lang| strings::TREE_MOST.get(lang).to_owned()));
        return Vec::new();
    }
    compare(state)
}

/// Asks for the comparison of the picked runs, and for the training losses of those that are not open here.
fn compare(state: &mut AppState) -> Vec<Cmd> {
    let (here, runs) = (state.open_run().cloned(), state.tree.picked.clone());
    let others: Vec<PathBuf> = runs.iter().filter(|run| Some(*run) != here.as_ref()).cloned().collect();
    let mut cmds = Vec::new();
    // A newer choice replaces an answer that is on its way.
    if !others.is_empty() {
        cmds.extend(requests::send(state, Request::Trained, Command::ShowTrained { runs: others }));
    }
    if runs.len() > 1 {
        cmds.extend(requests::send(state, Request::Compare, Command::Compare { runs }));
    }
    cmds
}

/// Keeps the chosen checkpoint whatever newer ones there are, or no longer.
pub(crate) fn pin(state: &mut AppState) -> Vec<Cmd> {
    let (Some(run), Some(checkpoint)) = (state.tree.run(), state.tree.checkpoint()) else { return Vec::new() };
    let care =
        Care::Pin { run: run.path.clone(), checkpoint: checkpoint.checkpoint.clone(), pinned: !checkpoint.pinned };
    requests::ask(state, Request::Care, Command::Care(care))
}

/// Asks whether to remove the chosen checkpoint or run.
pub(crate) fn ask_remove(state: &mut AppState) {
    let Some(run) = state.tree.run() else { return };
    let all = state.tree.runs.as_deref().unwrap_or_default();
    let kept = match state.tree.checkpoint() {
        Some(checkpoint) => checkpoint.kept(),
        None => all.iter().position(|other| other.path == run.path).and_then(|at| run_kept(all, at)),
    };
    let used = match run.used_by {
        _ if state.tree.checkpoint().is_none() && Some(&run.path) == state.open_run() => {
            Some("this run is open; open another one first".to_owned())
        }
        Some(pid) if Some(&run.path) != state.open_run() => {
            let path = run.path.display();
            let what = "wait until it ends, or choose another run with --run";
            Some(format!("the run {path} is in use by process {pid}; {what}"))
        }
        _ => None,
    };
    if let Some(why) = kept.or(used) {
        state.refuse(Both::trainer(&why));
        return;
    }
    let (care, name, size) = match state.tree.checkpoint() {
        Some(c) => (
            Care::RemoveCheckpoint { run: run.path.clone(), checkpoint: c.checkpoint.clone() },
            c.checkpoint.clone(),
            c.bytes,
        ),
        None => (Care::RemoveRun { run: run.path.clone() }, run.run.clone(), run.bytes),
    };
    let question = Question::Remove { care, name, bytes: size };
    state.overlay = Some(Overlay::Ask { question, chosen: 1 });
}

/// Removes what was asked about.
pub(crate) fn remove(state: &mut AppState, care: Care) -> Vec<Cmd> {
    requests::ask(state, Request::Care, Command::Care(care))
}
