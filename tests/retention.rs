//! Which checkpoints are kept, and what is never removed.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "common/fault.rs"]
mod fault;

use std::path::Path;

use danlu::base::StageId;
use danlu::store::{Checkpoint, CheckpointId, Fs, Keep, MANIFEST, NewFile, Run, Saved, Saver, StoreError};
use fault::{Fault, FaultFs};

const DIR: &str = "/runs/poems";

fn open(disk: &FaultFs) -> Result<Run, StoreError> {
    Run::open(disk.shared(), Path::new(DIR)).or_else(|_| Run::create(disk.shared(), Path::new(DIR), ""))
}

fn save(saver: &Saver, stage: StageId, step: u64) -> Result<Saved, StoreError> {
    saver.save(stage, step, vec![NewFile::bytes("state.json", format!("{{\"step\":{step}}}"))])
}

/// A disk with a run of one checkpoint.
fn base() -> FaultFs {
    let disk = FaultFs::new();
    save(&open(&disk).expect("creates").saver(), StageId::Pretrain, 1).expect("saves");
    disk
}

/// Retention if everything loads.
fn keep(newest: usize) -> Keep<'static> {
    Keep { newest, pinned: &[], best: &[], before: None, loads: &|_| Ok(()), known: &|_| Ok(()) }
}

/// A damaged best checkpoint used to count as the best: the best one that loads was removed.
#[test]
fn the_best_checkpoint_that_loads_is_kept_beside_better_ones_that_do_not() {
    let disk = base();
    let run = open(&disk).expect("opens");
    for step in 2..=8 {
        save(&run.saver(), StageId::Pretrain, step).expect("saves");
    }
    drop(run);
    let left = |good: &[u64], best: &[u64]| {
        let run = open(&disk.copy()).expect("opens");
        let loads = |c: &Checkpoint| {
            if good.contains(&c.id.step) { Ok(()) } else { Err(c.read("missing", 1).expect_err("is not there")) }
        };
        let best: Vec<CheckpointId> = best.iter().map(|step| CheckpointId::new(StageId::Pretrain, *step)).collect();
        let keep = Keep { newest: 2, pinned: &[], best: &best, before: None, loads: &loads, known: &|_| Ok(()) };
        run.saver().retain(StageId::Pretrain, &keep).expect("retains");
        run.view().checkpoints().list().expect("lists").iter().map(|id| id.step).collect::<Vec<_>>()
    };
    assert_eq!(left(&[1, 2, 3, 4, 5, 6, 7, 8], &[3, 5, 2]), [3, 7, 8]);
    assert_eq!(left(&[2, 5, 7, 8], &[3, 5, 2]), [3, 5, 7, 8], "the unreadable one stays beside the next");
    assert_eq!(left(&[7, 8], &[8, 3]), [7, 8], "the best is among the newest");
    assert_eq!(left(&[7, 8], &[]), [7, 8]);
}

#[test]
fn retention_keeps_one_that_loads_and_one_from_before_the_trouble() {
    let steps = |disk: &FaultFs, newest: usize, before: Option<u64>, good: &[u64]| {
        let run = open(disk).expect("opens");
        let loads = |c: &Checkpoint| {
            if good.contains(&c.id.step) { Ok(()) } else { Err(c.read("missing", 1).expect_err("is not there")) }
        };
        let keep = Keep { newest, pinned: &[], best: &[], before, loads: &loads, known: &|_| Ok(()) };
        run.saver().retain(StageId::Pretrain, &keep).expect("retains");
        run.view().checkpoints().list().expect("lists").iter().map(|id| id.step).collect::<Vec<_>>()
    };
    let disk = base();
    let run = open(&disk).expect("opens");
    for step in 2..=8 {
        save(&run.saver(), StageId::Pretrain, step).expect("saves");
    }
    drop(run);
    let all = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(steps(&disk.copy(), 3, None, &all), [6, 7, 8]);
    assert_eq!(steps(&disk.copy(), 3, None, &[2, 4]), [4, 6, 7, 8], "the newest that loads");
    assert_eq!(steps(&disk.copy(), 3, Some(7), &all), [6, 7, 8], "it is among the newest");
    assert_eq!(steps(&disk.copy(), 3, Some(6), &all), [5, 6, 7, 8]);
    assert_eq!(steps(&disk.copy(), 3, Some(6), &[1, 3, 6]), [3, 6, 7, 8], "the newest before that loads");
    assert_eq!(steps(&disk.copy(), 1, Some(6), &[2, 7]), [2, 7, 8], "both");
    assert_eq!(steps(&disk.copy(), 1, Some(1), &all), [8], "there is none from before");
    assert_eq!(steps(&disk.copy(), 1, None, &[]), [8]);
}

/// Three saves of one step used to count as the newest three: the steps before it were removed.
#[test]
fn several_saves_of_a_step_count_once() {
    let disk = base();
    let run = open(&disk).expect("opens");
    for step in [2, 3, 4, 4, 4] {
        save(&run.saver(), StageId::Pretrain, step).expect("saves");
    }
    let there = || run.view().checkpoints().list().expect("lists");
    run.saver().retain(StageId::Pretrain, &keep(3)).expect("retains");
    assert_eq!(there().iter().map(|id| (id.step, id.revision)).collect::<Vec<_>>(), [(2, 0), (3, 0), (4, 2)]);
    // The last save of a step does not load: the one before it is the newest that does.
    save(&run.saver(), StageId::Pretrain, 4).expect("saves");
    let loads =
        |c: &Checkpoint| if c.id.revision == 2 { Ok(()) } else { Err(c.read("missing", 1).expect_err("is not there")) };
    let keep = Keep { newest: 1, pinned: &[], best: &[], before: None, loads: &loads, known: &|_| Ok(()) };
    run.saver().retain(StageId::Pretrain, &keep).expect("retains");
    assert_eq!(there().iter().map(|id| (id.step, id.revision)).collect::<Vec<_>>(), [(4, 2), (4, 3)]);
}

#[test]
fn retention_never_removes_the_only_good_one() {
    let disk = base();
    let run = open(&disk).expect("opens");
    let saver = run.saver();
    for step in 2..=4 {
        save(&saver, StageId::Pretrain, step).expect("saves");
    }
    for step in 3..=4 {
        let path = saver.checkpoints().path(&CheckpointId::new(StageId::Pretrain, step));
        disk.poke(&path.join("state.json"), b"{}").expect("damages");
    }
    let gone = saver.retain(StageId::Pretrain, &keep(2)).expect("retains");
    assert_eq!(gone.removed, [CheckpointId::new(StageId::Pretrain, 1)]);
    let found = saver.checkpoints().newest_verified(Some(StageId::Pretrain)).expect("searches");
    assert_eq!(found.skipped.len(), 2);
    assert_eq!(found.found.expect("the good one").id.step, 2);
}

type Spoil = fn(&FaultFs, &Path);

/// F4, and all other reasons for which a checkpoint cannot be read.
#[test]
fn retention_never_removes_what_it_cannot_read() {
    let manifest = |step: u64| Path::new(DIR).join(format!("checkpoints/pretrain-{step:08}")).join(MANIFEST);
    let spoilt: [(&str, Spoil); 6] = [
        ("a newer format", |disk, path| disk.poke(path, br#"{"format": 99, "x": []}"#).expect("writes")),
        ("a format beyond 32 bits", |disk, path| disk.poke(path, br#"{"format": 99999999999}"#).expect("writes")),
        ("another manifest", |disk, path| disk.poke(path, b"{}").expect("writes")),
        ("no manifest", |disk, path| disk.remove(path).expect("removes")),
        ("a file that is missing", |disk, path| disk.remove(&path.with_file_name("state.json")).expect("removes")),
        ("a file that is cut", |disk, path| disk.poke(&path.with_file_name("state.json"), b"{").expect("writes")),
    ];
    for (what, spoil) in spoilt {
        let disk = base();
        let run = open(&disk).expect("opens");
        for step in 2..=5 {
            save(&run.saver(), StageId::Pretrain, step).expect("saves");
        }
        spoil(&disk, &manifest(2));
        let retained = run.saver().retain(StageId::Pretrain, &keep(2)).expect(what);
        let left: Vec<_> = retained.left.iter().map(|s| s.id.step).collect();
        assert_eq!((retained.removed.len(), left), (2, vec![2]), "{what}");
        assert_eq!(run.view().checkpoints().list().expect("lists").len(), 3, "{what}");
        // Nor does it keep anything from being saved.
        save(&run.saver(), StageId::Pretrain, 6).expect(what);
    }
    // A kind that the store does not judge: its state has a newer format.
    let disk = base();
    let run = open(&disk).expect("opens");
    save(&run.saver(), StageId::Pretrain, 2).expect("saves");
    let known = |c: &Checkpoint| c.read("missing", 1).map(drop);
    let keep = Keep { newest: 1, pinned: &[], best: &[], before: None, loads: &|_| Ok(()), known: &known };
    let retained = run.saver().retain(StageId::Pretrain, &keep).expect("retains");
    assert_eq!((retained.removed.len(), retained.left.len()), (0, 1));
}

/// A removal that fails half-way is completed with the next removal, not only when the run is next opened.
#[test]
fn a_removal_that_failed_is_tried_again_after_the_next_save() {
    let mut failed = 0;
    for at in 0.. {
        let disk = base();
        let run = open(&disk).expect("opens");
        for step in 2..=4 {
            save(&run.saver(), StageId::Pretrain, step).expect("saves");
        }
        disk.mark();
        disk.fail_at(at, Fault::Io);
        let _reported = run.saver().retain(StageId::Pretrain, &keep(2));
        let fired = disk.fired();
        disk.heal();
        let there = || disk.list(&Path::new(DIR).join("checkpoints")).expect("lists");
        failed += usize::from(there().iter().any(|entry| entry.text().starts_with(".del-")));
        save(&run.saver(), StageId::Pretrain, 5).expect("saves");
        run.saver().retain(StageId::Pretrain, &keep(2)).expect("retains");
        let names: Vec<_> = there().iter().map(|entry| entry.text().to_owned()).collect();
        assert_eq!(names, ["pretrain-00000004", "pretrain-00000005"], "the call {at} failed");
        if !fired {
            break;
        }
    }
    assert!(failed >= 4, "{failed} removals failed half-way");
}
