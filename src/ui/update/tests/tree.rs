//! The tree of runs: what its keys ask for, and that nothing is done without a question.

use std::path::PathBuf;

use super::*;
use crate::{
    protocol::{Care, ForkPoint, TrainedCurve, TrainedRun, TreeCheckpoint, TreeCurve, TreeRun},
    ui::state::{Overlay, Question},
};

fn checkpoint(run: &str, stage: StageId, step: u64) -> TreeCheckpoint {
    TreeCheckpoint {
        run: run.to_owned(),
        checkpoint: format!("{stage}-{step:08}"),
        stage: stage.into(),
        step,
        bytes: 9,
        digest: format!("{run}{stage}{step}"),
        ..TreeCheckpoint::default()
    }
}

fn run(name: &str, checkpoints: Vec<TreeCheckpoint>) -> TreeRun {
    TreeRun { run: name.to_owned(), path: PathBuf::from("runs").join(name), checkpoints, ..TreeRun::default() }
}

/// Run r with two stages, a fork of it, and another run.
fn runs() -> Vec<TreeRun> {
    let mut of_r: Vec<TreeCheckpoint> = [4, 8, 12].map(|step| checkpoint("r", Pretrain, step)).into();
    of_r.push(checkpoint("r", Sft, 2));
    (of_r[2].newest, of_r[3].newest) = (true, true);
    let mut fork = run("f", vec![checkpoint("f", Pretrain, 8)]);
    fork.fork = Some(ForkPoint { run: "r".to_owned(), checkpoint: "x".to_owned(), digest: "rpretrain8".to_owned() });
    let mut other = run("a", vec![TreeCheckpoint { newest: true, ..checkpoint("a", Pretrain, 5) }]);
    other.curves.push(TreeCurve { stage: Pretrain.into(), metric: "eval_loss", points: vec![(5, 2.0)] });
    vec![other, fork, run("r", of_r)]
}

fn opened() -> AppState {
    let mut state = started();
    assert_eq!(press(&mut state, &[Key::char('T')]), [Cmd::Send(Command::ShowRuns)]);
    assert_eq!(state.mode(), Mode::Tree);
    event(&mut state, Event::Runs { runs: runs(), unread: Vec::new() });
    state
}

const DOWN: Key = Key::plain(Code::Down);
const LEFT: Key = Key::plain(Code::Left);

fn at(state: &AppState) -> Option<String> {
    state.tree.checkpoint().map(|c| format!("{}/{}", c.run, c.checkpoint))
}

#[test]
fn a_fork_is_below_the_run_it_came_from_and_the_cursor_begins_at_the_open_run() {
    let mut state = opened();
    let rows: Vec<(usize, bool)> = state.tree.rows.iter().map(|row| (row.depth, row.stage.is_none())).collect();
    // a; r with two stages; its fork.
    assert_eq!(rows, [(0, true), (0, false), (0, true), (0, false), (0, false), (1, true), (1, false)]);
    assert_eq!((state.tree.run().map(|run| run.run.as_str()), at(&state)), (Some("r"), None));
    press(&mut state, &[DOWN]);
    assert_eq!(at(&state).as_deref(), Some("r/pretrain-00000012"), "the newest");
    press(&mut state, &[LEFT, LEFT, LEFT]);
    assert_eq!(at(&state).as_deref(), Some("r/pretrain-00000004"));
    press(&mut state, &[Key::plain(Code::Right)]);
    // A new list keeps the place.
    event(&mut state, Event::Runs { runs: runs(), unread: Vec::new() });
    assert_eq!(at(&state).as_deref(), Some("r/pretrain-00000008"));
    press(&mut state, &[ESC]);
    assert_eq!(state.mode(), Mode::Nav);
}

#[test]
fn going_back_is_a_fork_without_changes_after_a_question() {
    let mut state = opened();
    press(&mut state, &[DOWN, LEFT]);
    assert_eq!(press(&mut state, &[ENTER]), []);
    assert!(matches!(&state.overlay, Some(Overlay::Ask { question: Question::GoBack(..), .. })));
    let sent = press(&mut state, &[ENTER]);
    let (run, checkpoint) = (PathBuf::from("runs/r"), "pretrain-00000008".to_owned());
    assert_eq!(sent, [Cmd::Send(Command::Fork { run, checkpoint, sets: Vec::new(), open: true })]);
    // It is opened when it is there: this run is saved first.
    let path = PathBuf::from("runs/run-0009");
    assert_eq!(
        event(&mut state, Event::Forked { path: path.clone(), open: true, notes: Vec::new() }),
        [Cmd::Send(Command::Stop { save: true })]
    );
    assert_eq!(state.tree.next, Some(path));
}

#[test]
fn a_fork_with_settings_and_a_name_are_typed() {
    let mut state = opened();
    press(&mut state, &[DOWN, LEFT, Key::char('f')]);
    assert_eq!(state.mode(), Mode::Name);
    for c in "learning_rate=1e-3 steps=9".chars() {
        press(&mut state, &[Key::char(c)]);
    }
    let sent = press(&mut state, &[ENTER]);
    let sets = [("learning_rate", "1e-3"), ("steps", "9")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let (run, checkpoint) = (PathBuf::from("runs/r"), "pretrain-00000008".to_owned());
    assert_eq!(sent, [Cmd::Send(Command::Fork { run, checkpoint, sets, open: false })]);
    assert_eq!(
        event(&mut state, Event::Forked { path: "runs/x".into(), open: false, notes: Vec::new() }),
        [Cmd::Send(Command::ShowRuns)]
    );
    press(&mut state, &[Key::char('n')]);
    assert_eq!(state.mode(), Mode::Name);
    let sent = press(&mut state, &[Key::char('2'), ENTER]);
    assert_eq!(sent, [Cmd::Send(Command::Care(Care::Rename { run: "runs/r".into(), name: "r2".to_owned() }))]);
    // The cursor stays on the run, wherever its new name is in the list.
    let care = Care::Rename { run: "runs/r".into(), name: "0".to_owned() };
    event(&mut state, Event::Cared { care, freed: 0 });
    let mut renamed = runs();
    renamed.rotate_right(1);
    renamed[0].run = "0".to_owned();
    renamed[0].path = "runs/0".into();
    renamed[0].checkpoints.iter_mut().for_each(|c| c.run = "0".to_owned());
    event(&mut state, Event::Runs { runs: renamed, unread: Vec::new() });
    assert_eq!(state.tree.run().map(|run| run.run.as_str()), Some("0"));
    press(&mut state, &[Key::char('f'), Key::char('x'), ENTER]);
    assert!(state.notice.is_some(), "x is no setting");
    press(&mut state, &[ESC, Key::char('f'), ESC]);
    assert_eq!(state.mode(), Mode::Tree, "Esc closes the line first");
}

/// What keeps a checkpoint or run is in the list: the refusal needs no question.
#[test]
fn what_is_kept_is_refused_without_a_question() {
    let mut state = opened();
    let refused = |state: &mut AppState, keys: &[Key], why: &str| {
        assert_eq!(press(state, keys), []);
        assert!(state.overlay.is_none(), "{:?}", state.overlay);
        let notice = state.notice.take().expect("a reason").0;
        assert!(notice.get(Lang::En).as_str().contains(why), "{notice:?}");
    };
    refused(&mut state, &[Key::char('d')], "runs/r is not removed: f was forked from it");
    for (path, pid, why) in
        [("runs/a", Some(7), "the run runs/a is in use by process 7"), ("runs/r", None, "this run is open")]
    {
        let mut runs: Vec<TreeRun> = runs();
        runs.remove(1);
        runs[0].used_by = pid;
        let mut state = opened();
        event(&mut state, Event::Runs { runs, unread: Vec::new() });
        let row = state.tree.rows.iter().position(|row| {
            let run = state.tree.runs.as_ref().map(|runs| &runs[row.run].path);
            row.stage.is_none() && run.is_some_and(|run| run.as_path() == std::path::Path::new(path))
        });
        state.tree.row = row.expect("its row");
        refused(&mut state, &[Key::char('d')], why);
    }
    for (set, why) in [
        (true, "pretrain-00000004 is not removed: it is pinned"),
        (false, "pretrain-00000004 is not removed: sft-00000002, f began from it or learns from it"),
    ] {
        let mut runs = runs();
        let line = &mut runs[2].checkpoints[0];
        line.pinned = set;
        if !set {
            line.needed_by = vec!["sft-00000002".to_owned(), "f".to_owned()];
        }
        let mut state = opened();
        event(&mut state, Event::Runs { runs, unread: Vec::new() });
        refused(&mut state, &[DOWN, LEFT, LEFT, Key::char('d')], why);
    }
}

#[test]
fn nothing_is_deleted_without_a_yes() {
    let mut state = opened();
    press(&mut state, &[DOWN, LEFT, LEFT, Key::char('d')]);
    assert!(
        matches!(&state.overlay, Some(Overlay::Ask { question: Question::Remove { .. }, chosen: 1 })),
        "no is chosen"
    );
    assert_eq!(press(&mut state, &[ENTER]), []);
    let sent = press(&mut state, &[Key::char('d'), Key::plain(Code::Up), ENTER]);
    let care = Care::RemoveCheckpoint { run: "runs/r".into(), checkpoint: "pretrain-00000004".to_owned() };
    assert_eq!(sent, [Cmd::Send(Command::Care(care.clone()))]);
    event(&mut state, Event::Cared { care, freed: 4096 });
    assert!(
        state.log.back().is_some_and(|line| line.text.get(Lang::Zh).as_str().contains("4.0 KiB")),
        "{:?}",
        state.log.back()
    );
}

#[test]
fn up_to_four_runs_are_compared() {
    let mut state = opened();
    assert_eq!(press(&mut state, &[Key::char(' ')]), [], "the open run's own curves are there");
    let sent = press(&mut state, &[Key::plain(Code::Home), Key::char(' ')]);
    let trained = Command::ShowTrained { runs: vec!["runs/a".into()] };
    let compare = Command::Compare { runs: vec!["runs/r".into(), "runs/a".into()] };
    assert_eq!(sent, [Cmd::Send(trained), Cmd::Send(compare)]);
    let curve = |path: &str| TrainedRun {
        path: path.into(),
        curves: vec![TrainedCurve { stage: Pretrain.into(), every: 4, points: vec![(2, 5.0), (6, 4.0)] }],
    };
    event(&mut state, Event::Trained(vec![curve("runs/a"), curve("runs/b")]));
    assert!(!state.awaits(&Request::Trained));
    let stage = Pretrain.into();
    let overlaid = |state: &AppState| {
        let here = state.open_run();
        let of =
            |run: crate::ui::state::tree::Overlaid| (run.number, run.trained.and_then(crate::ui::series::Series::last));
        state.tree.overlaid(&stage, "eval_loss", here).map(of).collect::<Vec<_>>()
    };
    assert_eq!(overlaid(&state), [(1, Some((6, 4.0)))]);
    press(&mut state, &[Key::char(' ')]);
    assert_eq!(state.tree.picked, [PathBuf::from("runs/r")]);
    assert_eq!(overlaid(&state), []);
    event(&mut state, Event::Trained(vec![curve("runs/a")]));
    assert_eq!(overlaid(&state), [], "an answer that comes late lays nothing over the chart");
    let mut many = Vec::new();
    for i in 0..6 {
        many.push(run(&format!("n{i}"), vec![checkpoint("n", Pretrain, 1)]));
    }
    event(&mut state, Event::Runs { runs: many, unread: Vec::new() });
    assert!(state.tree.picked.is_empty(), "gone runs are not compared");
    press(&mut state, &[Key::plain(Code::Home)]);
    for _ in 0..6 {
        press(&mut state, &[Key::char(' '), DOWN, DOWN]);
    }
    assert_eq!(state.tree.picked.len(), 4);
}

#[test]
fn another_run_is_opened_after_this_one_is_saved() {
    let mut state = opened();
    press(&mut state, &[Key::plain(Code::Home), ENTER]);
    assert!(matches!(&state.overlay, Some(Overlay::Ask { question: Question::Open(run), .. }) if run.ends_with("a")));
    assert_eq!(press(&mut state, &[ENTER]), [Cmd::Send(Command::Stop { save: true })]);
    assert_eq!(state.tree.next, Some("runs/a".into()));
    // Where the open run is, there is nothing to go to.
    let mut state = opened();
    assert_eq!(press(&mut state, &[ENTER]), []);
    assert!(state.overlay.is_none() && state.notice.is_some());
}

#[test]
fn a_refusal_is_shown_and_the_tree_stays() {
    let mut state = opened();
    press(&mut state, &[DOWN, Key::char('p')]);
    event(&mut state, Event::Refused { text: "in use".to_owned() });
    assert_eq!((state.mode(), state.requests.len()), (Mode::Tree, 0));
    assert!(state.notice.is_some());
}

#[test]
fn the_tensors_of_the_checkpoint_under_the_cursor_are_shown() {
    let mut state = opened();
    let Some(runs) = &mut state.tree.runs else { panic!("no runs") };
    for checkpoint in runs.iter_mut().flat_map(|run| &mut run.checkpoints) {
        checkpoint.path = PathBuf::from("runs").join(&checkpoint.run).join(&checkpoint.checkpoint);
    }
    let asks = |path: &str| vec![Cmd::Send(Command::Inspect { path: path.into() })];
    press(&mut state, &[Key::char('i')]);
    assert!(state.notice.is_some() && !state.tree.inspecting, "a run has none of its own");
    press(&mut state, &[DOWN]);
    assert_eq!(press(&mut state, &[Key::char('i')]), asks("runs/r/pretrain-00000012"));
    let rows = vec![crate::protocol::InspectedRow { name: "model".to_owned(), ..Default::default() }; 30];
    let answer = |path: &str| {
        let path = path.into();
        Event::Inspected(Box::new(crate::protocol::Inspection { path, rows: rows.clone(), ..Default::default() }))
    };
    event(&mut state, answer("runs/r/pretrain-00000012"));
    assert!(state.tree.inspected.is_some() && !state.awaits(&Request::Inspect));
    press(&mut state, &[Key::plain(Code::PageDown)]);
    assert_eq!(state.tree.inspected_from, 10);
    assert_eq!(press(&mut state, &[LEFT]), asks("runs/r/pretrain-00000008"), "it follows the cursor");
    event(&mut state, answer("runs/r/pretrain-00000008"));
    assert_eq!(state.tree.inspected_from, 0);
    press(&mut state, &[ESC]);
    assert!(!state.tree.inspecting && state.tree.open);
}
