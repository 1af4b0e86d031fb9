//! Crashes, full disks, power cuts, flipped bits: the store has the old state or the new one.
//!
//! Exhaustive: every operation is failed in turn, and the power is cut after every one.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "common/fault.rs"]
mod fault;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use danlu::base::StageId;
use danlu::store::{
    Checkpoint, CheckpointId, Fs, Keep, Links, Log, MANIFEST, NewFile, RESERVE, Run, RunView, Saved, Saver, StoreError,
    TensorRef, export_tensors, newest_run, next_run_name, read_from, read_tensors,
};
use fault::{Data, Fault, FaultFs, Names};
use serde_json::json;

const DIR: &str = "/runs/poems";
const CONFIG: &str = "size = \"1m\"\n";
const FAULTS: [Fault; 4] = [Fault::NoSpace, Fault::Io, Fault::Denied, Fault::Short];

/// Operations that read the turns of the runs beside it; opening succeeds even if they fail.
const LOOKS: usize = 4;

/// The contents of a checkpoint of `step`; all files differ between steps.
fn weights(step: u64) -> (Vec<f32>, Vec<f32>) {
    let at = |i: usize| step as f32 + i as f32 / 64.0;
    ((0..24).map(at).collect(), (0..8).map(|i| -at(i)).collect())
}

fn save(saver: &Saver, stage: StageId, step: u64) -> Result<Saved, StoreError> {
    let (embed, norm) = weights(step);
    let model = vec![
        TensorRef { name: "model.norm.weight", shape: &[8], data: &norm },
        TensorRef { name: "model.embed_tokens.weight", shape: &[3, 8], data: &embed },
    ];
    let counters = BTreeMap::from([("applied_steps".to_owned(), vec![step as i64])]);
    let optimizer = vec![TensorRef { name: "m", shape: &[24], data: &embed }];
    let files = vec![
        NewFile::tensors("model.safetensors", model.clone(), BTreeMap::new())?,
        NewFile::tensors("value/model.safetensors", model, BTreeMap::new())?,
        NewFile::tensors("optimizer.safetensors", optimizer, counters)?,
        NewFile::bytes("state.json", format!("{{\"step\":{step}}}")),
    ];
    saver.save(stage, step, files)
}

/// The step of a verified checkpoint, after checking that all files belong to it.
fn step_of(checkpoint: &Checkpoint) -> u64 {
    let step = checkpoint.id.step;
    let (embed, norm) = weights(step);
    for name in ["model.safetensors", "value/model.safetensors"] {
        let mut file = checkpoint.tensors(name).expect(name);
        assert_eq!(file.take("model.embed_tokens.weight", &[3, 8]).expect("embed"), embed);
        assert_eq!(file.take("model.norm.weight", &[8]).expect("norm"), norm);
        file.require_empty().expect("nothing else");
        file.require_finite().expect("finite");
    }
    let optimizer = checkpoint.tensors("optimizer.safetensors").expect("optimizer");
    assert_eq!(optimizer.counter("applied_steps").expect("counter"), step as i64);
    let state = checkpoint.read("state.json", 1000).expect("state");
    assert_eq!(state, format!("{{\"step\":{step}}}").into_bytes());
    step
}

/// A disk with a run that has one durable checkpoint, at step 1.
fn base() -> FaultFs {
    let disk = FaultFs::new();
    let run = Run::create(disk.shared(), Path::new(DIR), CONFIG).expect("a run");
    save(&run.saver(), StageId::Pretrain, 1).expect("the first save");
    drop(run);
    disk.copy()
}

/// The run in a folder, created if missing.
fn open_or_create(disk: &FaultFs, dir: &Path) -> Result<Run, StoreError> {
    let path = dir.join("run.toml");
    match disk.kind(&path).map_err(|source| StoreError::Io { doing: "look at", path, source })? {
        Some(_) => Run::open(disk.shared(), dir),
        None => Run::create(disk.shared(), dir, CONFIG),
    }
}

fn open(disk: &FaultFs) -> Result<Run, StoreError> {
    Run::open(disk.shared(), Path::new(DIR))
}

/// Opens the run, expects no damage and no leftovers, and returns the newest step.
fn newest(disk: &FaultFs, context: &str) -> u64 {
    let run = open(disk).unwrap_or_else(|e| panic!("{context}: {e}"));
    let left: Vec<_> = disk.files().into_iter().filter(|p| p.to_string_lossy().contains("/.")).collect();
    assert!(left.is_empty(), "{context}: left over {left:?}");
    let found = run.view().checkpoints().newest_verified(Some(StageId::Pretrain)).expect(context);
    // A published name never shows a half-made checkpoint, so nothing is ever passed over.
    assert!(found.skipped.is_empty(), "{context}: {:?}", found.skipped);
    step_of(&found.found.unwrap_or_else(|| panic!("{context}: nothing verifies")))
}

/// Errors are sentences with a path and have exit code 1.
fn is_loud(error: &StoreError, context: &str) {
    assert_eq!(error.exit_code(), 1, "{context}: {error}");
    assert!(error.to_string().contains("/runs"), "{context}: {error}");
    assert!(error.to_string().contains(';'), "no advice in {error}");
}

#[test]
fn a_save_survives_any_one_fault() {
    let base = base();
    for fault in FAULTS {
        for n in 0.. {
            let context = format!("{fault:?} at {n}");
            let disk = base.copy();
            let run = open(&disk).expect("opens");
            disk.fail_at(n, fault);
            let result = save(&run.saver(), StageId::Pretrain, 2);
            let fired = disk.fired();
            disk.heal();
            match result {
                Err(error) => {
                    assert!(fired, "{context}: {error}");
                    is_loud(&error, &context);
                    let retried = save(&run.saver(), StageId::Pretrain, 2).expect(&context);
                    assert_eq!(step_of(&retried.checkpoint), 2);
                }
                // Only an unreadable old manifest is tolerated: saving must work beside it.
                Ok(saved) => {
                    assert!(!fired || matches!(fault, Fault::Io | Fault::Denied), "{context}: swallowed");
                    assert_eq!(step_of(&saved.checkpoint), 2);
                }
            }
            drop(run);
            assert_eq!(newest(&disk, &context), 2);
            if !fired {
                assert!(n > 20, "only {n} operations?");
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_stays_full_leaves_the_old_state() {
    let base = base();
    for fault in [Fault::NoSpace, Fault::Io] {
        for n in 0..200 {
            let context = format!("{fault:?} from {n}");
            let disk = base.copy();
            let run = open(&disk).expect("opens");
            disk.fail_from(n, fault);
            let result = save(&run.saver(), StageId::Pretrain, 2);
            if !disk.fired() {
                assert!(n > 20);
                break;
            }
            assert_eq!(result.is_err(), disk.fired(), "{context}");
            disk.heal();
            drop(run);
            assert!([1, 2].contains(&newest(&disk, &context)));
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_of_a_save_leaves_the_old_or_the_new() {
    let disk = base();
    let run = open(&disk).expect("opens");
    disk.mark();
    save(&run.saver(), StageId::Pretrain, 2).expect("saves");
    let changes = disk.changes();
    assert!(changes > 20, "only {changes} changes?");
    let mut seen = [0; 3];
    for prefix in 0..=changes {
        for data in Data::ALL {
            for names in Names::ALL {
                let context = format!("after {prefix} of {changes}, {data:?} {names:?}");
                let step = newest(&disk.crash(prefix, data, names), &context);
                seen[step as usize] += 1;
                assert!(prefix < changes || step == 2, "{context}: saved, and gone");
            }
        }
    }
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
}

/// The guarantee depends on each sync: without it the test above must fail. This tests the test double.
#[test]
fn the_twin_loses_what_was_not_synced() {
    let disk = FaultFs::new();
    let path = Path::new("/a");
    disk.mark();
    let mut file = disk.create(path).expect("creates");
    file.write_all(b"0123").expect("writes");
    file.sync().expect("syncs");
    file.write_all(b"4567").expect("writes");
    file.write_all(b"89ab").expect("writes");
    let all = disk.changes();
    let after = |data| disk.crash(all, data, Names::Kept).peek(path);
    assert_eq!(after(Data::Kept).as_deref(), Some(&b"0123456789ab"[..]));
    assert_eq!(after(Data::Lost).as_deref(), Some(&b"0123"[..]));
    assert_eq!(after(Data::Zeroed).as_deref(), Some(&b"0123\0\0\0\0\0\0\0\0"[..]));
    assert_eq!(after(Data::Half).as_deref(), Some(&b"0123456789"[..]));
    assert_eq!(disk.crash(all, Data::Kept, Names::Lost).peek(path), None, "its folder was not synced");
    disk.sync_dir(Path::new("/")).expect("syncs");
    assert!(disk.crash(all + 1, Data::Kept, Names::Lost).peek(path).is_some());
}

#[test]
fn opening_survives_any_one_fault() {
    let disk = base();
    let run = open(&disk).expect("opens");
    save(&run.saver(), StageId::Pretrain, 2).expect("saves");
    drop(run);
    // Leftovers as a kill leaves them, so that sweeping fails too.
    for name in [".tmp-pretrain-00000003-77-0123456789abcdef", ".del-pretrain-00000000-77-0123456789abcdef"] {
        let dir = Path::new(DIR).join("checkpoints").join(name);
        disk.make_dir(&dir).expect("makes");
        disk.poke(&dir.join("model.safetensors"), b"half").expect("writes");
    }
    for fault in FAULTS {
        let mut quiet = 0;
        for n in 0.. {
            let context = format!("{fault:?} at {n}");
            let disk = disk.copy();
            disk.fail_at(n, fault);
            let opened = open(&disk);
            let unswept = opened.as_ref().map_or(0, |run| run.unswept().len());
            let result = opened.and_then(|run| run.view().checkpoints().newest_verified(Some(StageId::Pretrain)));
            let fired = disk.fired();
            disk.heal();
            match result {
                Err(error) => {
                    assert!(fired, "{context}: {error}");
                    is_loud(&error, &context);
                }
                // What cannot be swept takes disk space and is reported.
                Ok(found) if unswept > 0 => {
                    assert!(fired && found.skipped.is_empty(), "{context}");
                    assert_eq!(step_of(&found.found.expect("the newest")), 2);
                }
                // Whether the other runs can be read does not matter for this one.
                Ok(found) if fired && found.skipped.is_empty() => quiet += 1,
                // A bad sector in the newest: the older one is used, with a report.
                Ok(found) if fired => {
                    assert_eq!((fault, found.skipped.len()), (Fault::Io, 1), "{context}");
                    assert_eq!(step_of(&found.found.expect("the older one")), 1);
                }
                Ok(found) => assert_eq!(step_of(&found.found.expect("the newest")), 2),
            }
            assert_eq!(newest(&disk, &context), 2);
            if !fired {
                assert!(n > 20, "only {n} operations?");
                assert!(quiet <= LOOKS, "{fault:?}: {quiet} errors were not told");
                break;
            }
        }
    }
}

#[test]
fn a_new_run_survives_any_one_fault_and_any_power_cut() {
    let dir = Path::new(DIR);
    for fault in FAULTS {
        let mut quiet = 0;
        for n in 0.. {
            let disk = FaultFs::new();
            disk.fail_at(n, fault);
            let result = open_or_create(&disk, dir);
            let fired = disk.fired();
            disk.heal();
            // A folder that cannot be swept is reported; everything else is an error, except reading the runs beside
            // it.
            let reported = result.as_ref().map_or(true, |run| !run.unswept().is_empty());
            assert!(fired || !reported, "{fault:?} at {n}");
            quiet += usize::from(fired && !reported);
            drop(result);
            let run = open_or_create(&disk, dir).expect("the second time");
            assert_eq!(run.view().config().expect("reads"), CONFIG);
            if !fired {
                assert!(quiet <= LOOKS, "{fault:?}: {quiet} errors were not told");
                break;
            }
        }
    }
    for fault in FAULTS {
        let mut quiet = 0;
        for n in 0.. {
            let disk = FaultFs::new();
            let runs = Path::new("/runs");
            disk.fail_at(n, fault);
            let result = Run::create_next(disk.shared(), runs, CONFIG);
            let fired = disk.fired();
            disk.heal();
            if let Err(error) = &result {
                assert!(error.to_string().contains('/'), "{error}");
            }
            let reported = result.as_ref().map_or(true, |run| !run.unswept().is_empty());
            assert!(fired || !reported, "{fault:?} at {n}");
            quiet += usize::from(fired && !reported);
            drop(result);
            Run::create_next(disk.shared(), runs, CONFIG).expect("the second time");
            if !fired {
                assert!(quiet <= LOOKS, "{fault:?}: {quiet} errors were not told");
                break;
            }
        }
    }
    let disk = FaultFs::new();
    disk.mark();
    drop(Run::create(disk.shared(), dir, CONFIG).expect("creates"));
    for prefix in 0..=disk.changes() {
        for data in Data::ALL {
            for names in Names::ALL {
                let context = format!("after {prefix}, {data:?} {names:?}");
                let crashed = disk.crash(prefix, data, names);
                if prefix == disk.changes() {
                    RunView::open(crashed.shared(), dir).expect("it was made, so it is there");
                }
                let disk = crashed;
                let run = open_or_create(&disk, dir).expect(&context);
                assert_eq!(run.view().config().expect(&context), CONFIG, "{context}");
            }
        }
    }
}

/// The layout of a folder that held only run.toml is as durable as that of a run made by danlu.
#[test]
fn the_first_save_in_a_bare_folder_lasts() {
    let disk = FaultFs::new();
    disk.make_dir(Path::new("/runs")).expect("makes");
    disk.make_dir(Path::new(DIR)).expect("makes");
    disk.poke(&Path::new(DIR).join("run.toml"), CONFIG.as_bytes()).expect("writes");
    disk.mark();
    let run = open(&disk).expect("opens");
    save(&run.saver(), StageId::Pretrain, 1).expect("saves");
    for data in Data::ALL {
        for names in Names::ALL {
            assert_eq!(newest(&disk.crash(disk.changes(), data, names), &format!("{data:?} {names:?}")), 1);
        }
    }
}

/// Retention if everything loads.
fn keep(newest: usize, pinned: &[CheckpointId]) -> Keep<'_> {
    Keep { newest, pinned, best: &[], before: None, loads: &|_| Ok(()), known: &|_| Ok(()) }
}

#[test]
fn retention_keeps_the_last_and_the_pinned_through_any_power_cut() {
    let disk = base();
    let run = open(&disk).expect("opens");
    let saver = run.saver();
    for step in 2..=5 {
        save(&saver, StageId::Pretrain, step).expect("saves");
    }
    save(&saver, StageId::Sft, 1).expect("saves");
    disk.mark();
    let pinned = CheckpointId::new(StageId::Pretrain, 2);
    let gone = saver.retain(StageId::Pretrain, &keep(2, std::slice::from_ref(&pinned))).expect("retains");
    assert!(gone.left.is_empty(), "{:?}", gone.left);
    assert_eq!(gone.removed, [CheckpointId::new(StageId::Pretrain, 1), CheckpointId::new(StageId::Pretrain, 3)]);
    let left: Vec<_> = saver.checkpoints().list().expect("lists").iter().map(ToString::to_string).collect();
    assert_eq!(left, ["pretrain-00000002", "pretrain-00000004", "pretrain-00000005", "sft-00000001"]);
    assert_eq!(saver.retain(StageId::Ppo, &keep(0, &[])).expect("nothing to do").removed, []);
    for prefix in 0..=disk.changes() {
        for data in Data::ALL {
            for names in Names::ALL {
                let context = format!("after {prefix}, {data:?} {names:?}");
                let disk = disk.crash(prefix, data, names);
                assert_eq!(newest(&disk, &context), 5);
                let checkpoints = RunView::open(disk.shared(), Path::new(DIR)).expect("views").checkpoints();
                for id in checkpoints.list().expect("lists") {
                    checkpoints.verify(&id).unwrap_or_else(|e| panic!("{context}: {e}"));
                }
            }
        }
    }
    // keep = 0 still keeps one.
    saver.retain(StageId::Pretrain, &keep(0, &[])).expect("retains");
    drop((run, saver));
    assert_eq!(newest(&disk, "keep 0"), 5);
}

#[test]
fn retention_survives_any_one_fault() {
    let base = base();
    let run = open(&base).expect("opens");
    for step in 2..=3 {
        save(&run.saver(), StageId::Pretrain, step).expect("saves");
    }
    drop(run);
    for fault in FAULTS {
        for n in 0.. {
            let context = format!("{fault:?} at {n}");
            let disk = base.copy();
            let run = open(&disk).expect("opens");
            disk.fail_at(n, fault);
            let result = run.saver().retain(StageId::Pretrain, &keep(1, &[]));
            let fired = disk.fired();
            disk.heal();
            // What cannot be read or removed is kept and reported; if the newest cannot be read, one more is kept.
            let whole = result.is_ok_and(|r| r.removed.len() == 2 && r.left.is_empty());
            assert!(whole != fired, "{context}");
            run.saver().retain(StageId::Pretrain, &keep(1, &[])).expect(&context);
            assert_eq!(run.view().checkpoints().list().expect(&context).len(), 1, "{context}");
            drop(run);
            assert_eq!(newest(&disk, &context), 3);
            if !fired {
                break;
            }
        }
    }
}

#[test]
fn damage_anywhere_is_found_and_the_older_one_serves() {
    let disk = base();
    let run = open(&disk).expect("opens");
    let saved = save(&run.saver(), StageId::Pretrain, 2).expect("saves").checkpoint;
    let checkpoints = run.view().checkpoints();
    let files: Vec<PathBuf> = disk.files().into_iter().filter(|path| path.starts_with(&saved.path)).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    let falls_back = |context: &str| {
        let found = checkpoints.newest_verified(Some(StageId::Pretrain)).expect(context);
        assert_eq!(found.skipped.len(), 1, "{context}: not found");
        let said = found.skipped[0].error.to_string();
        assert!(said.contains("pretrain-00000002"), "{said}");
        assert_eq!(found.skipped[0].error.exit_code(), 2);
        assert_eq!(found.found.expect(context).id.step, 1);
    };
    let mut tried = 0;
    for path in &files {
        let good = disk.peek(path).expect("a file");
        let mut damaged = Vec::new();
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            damaged.push(flipped);
        }
        for len in [0, 1, 7, 8, good.len() / 2, good.len() - 1] {
            damaged.push(good[..len].to_vec());
        }
        for more in [&b"\0"[..], b" ", b"\n", b"{}"] {
            damaged.push([&good[..], more].concat());
        }
        damaged.push(vec![0; good.len()]);
        for bytes in damaged {
            disk.poke(path, &bytes).expect("damages");
            falls_back(&format!("{path:?} with {} of {} bytes", bytes.len(), good.len()));
            tried += 1;
        }
        disk.remove(path).expect("removes");
        falls_back(&format!("{path:?} removed"));
        disk.poke(path, &good).expect("repairs");
    }
    assert!(tried > 500, "only {tried}");
    for a in &files {
        for b in files.iter().filter(|b| *b > a) {
            let (x, y) = (disk.peek(a).expect("a"), disk.peek(b).expect("b"));
            if x != y {
                disk.poke(a, &y).expect("swaps");
                disk.poke(b, &x).expect("swaps");
                falls_back(&format!("{a:?} and {b:?} swapped"));
                disk.poke(a, &x).expect("repairs");
                disk.poke(b, &y).expect("repairs");
            }
        }
    }
    // The manifest of another checkpoint, itself unharmed.
    let other =
        disk.peek(&checkpoints.path(&CheckpointId::new(StageId::Pretrain, 1)).join(MANIFEST)).expect("its manifest");
    let manifest = saved.path.join(MANIFEST);
    let good = disk.peek(&manifest).expect("ours");
    disk.poke(&manifest, &other).expect("swaps");
    falls_back("another's manifest");
    disk.poke(&manifest, &good).expect("repairs");
    assert_eq!(step_of(&checkpoints.verify(&saved.id).expect("repaired")), 2);
}

#[test]
fn a_newer_format_is_refused_politely() {
    let disk = base();
    let run = open(&disk).expect("opens");
    let saved = save(&run.saver(), StageId::Pretrain, 2).expect("saves").checkpoint;
    disk.poke(&saved.path.join(MANIFEST), br#"{"format": 2, "anything": []}"#).expect("writes");
    let found = run.view().checkpoints().newest_verified(None).expect("searches");
    assert!(found.skipped[0].error.to_string().contains("newer danlu"), "{}", found.skipped[0].error);
    assert!(found.skipped[0].error.is_newer());
    assert_eq!(found.found.expect("the older").id.step, 1);
}

#[test]
fn a_loader_that_refuses_falls_back_too() {
    let disk = base();
    let run = open(&disk).expect("opens");
    save(&run.saver(), StageId::Pretrain, 2).expect("saves");
    let found = run.view().checkpoints().newest_that(Some(StageId::Pretrain), |checkpoint| {
        let mut file = checkpoint.tensors("model.safetensors")?;
        let rows = if checkpoint.id.step == 2 { 4 } else { 3 };
        file.take("model.embed_tokens.weight", &[rows, 8]).map(|_| checkpoint.id.step)
    });
    let found = found.expect("searches");
    assert_eq!(found.found, Some(1));
    assert!(found.skipped[0].error.to_string().contains("[4, 8]"), "{}", found.skipped[0].error);
}

#[test]
fn names_are_never_replaced_and_order_needs_no_clock() {
    let disk = base();
    let run = open(&disk).expect("opens");
    let saver = run.saver();
    assert_eq!(save(&saver, StageId::Pretrain, 1).expect("saves").checkpoint.id.to_string(), "pretrain-00000001-r1");
    assert_eq!(save(&saver, StageId::Pretrain, 1).expect("saves").checkpoint.id.to_string(), "pretrain-00000001-r2");
    save(&saver, StageId::Sft, 7).expect("saves");
    save(&saver, StageId::Pretrain, 9).expect("saves");
    let newest = |stage| saver.checkpoints().newest_verified(stage).expect("searches").found.map(|c| c.id.to_string());
    assert_eq!(newest(None).as_deref(), Some("pretrain-00000009"), "the one saved last");
    assert_eq!(newest(Some(StageId::Sft)).as_deref(), Some("sft-00000007"));
    assert_eq!(newest(Some(StageId::Ppo)), None);
    for name in ["../x", "/x", MANIFEST, ""] {
        let error = saver.save(StageId::Sft, 1, vec![NewFile::bytes(name, *b"x")]).expect_err(name);
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    let twice = vec![NewFile::bytes("a.json", *b"x"), NewFile::bytes("A.json", *b"y")];
    assert_eq!(saver.save(StageId::Sft, 8, twice).expect_err("case clash").exit_code(), 2);
    let short = vec![NewFile::writer("a", 5, |to| to.write_all(b"1234"))];
    assert!(saver.save(StageId::Sft, 8, short).expect_err("short").to_string().contains("5 were announced"));
    let failing = vec![NewFile::writer("a", 5, |_| Err(io::Error::other("the device is gone")))];
    assert!(saver.save(StageId::Sft, 8, failing).expect_err("fails").to_string().contains("the device is gone"));
    assert!(disk.files().iter().all(|path| !path.to_string_lossy().contains(".tmp-")));
}

#[test]
fn a_full_disk_is_reported_before_anything_is_written() {
    let disk = base();
    let run = open(&disk).expect("opens");
    disk.set_free_space(RESERVE + 100);
    disk.mark();
    let error = save(&run.saver(), StageId::Pretrain, 2).expect_err("no room");
    assert!(matches!(error, StoreError::NoRoom { .. }) && error.exit_code() == 1, "{error}");
    assert_eq!(disk.changes(), 0);
    disk.set_free_space(RESERVE + 100_000);
    save(&run.saver(), StageId::Pretrain, 2).expect("room again");
}

#[test]
fn one_owner_at_a_time() {
    let disk = base();
    let run = open(&disk).expect("opens");
    let error = open(&disk).expect_err("taken");
    assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error:?}");
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains(&std::process::id().to_string()));
    // A save in flight holds the lock.
    let saver = run.saver();
    drop(run);
    assert!(open(&disk).is_err());
    RunView::open(disk.shared(), Path::new(DIR)).expect("looking needs no lock");
    drop(saver);
    open(&disk).expect("free");
}

fn lines(disk: &FaultFs, path: &Path) -> Vec<serde_json::Value> {
    let text = disk.peek(path).unwrap_or_default();
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a whole line")).collect()
}

#[test]
fn a_log_survives_faults_and_tears() {
    let path = Path::new("/runs/poems/metrics.jsonl");
    let record = |step: u64| json!({"stage": "pretrain", "step": step, "loss": 2.5});
    let base = base();
    for fault in FAULTS {
        for second in [None, Some(1)] {
            for n in 0.. {
                let disk = base.copy();
                let mut log = Log::open(disk.shared(), path).expect("opens");
                log.append(&record(1)).expect("appends");
                // With a second fault, the cut after a failed append fails too.
                if second.is_some() {
                    disk.fail_from(n, fault);
                } else {
                    disk.fail_at(n, fault);
                }
                let result = log.append(&record(2)).and_then(|()| log.sync());
                let fired = disk.fired();
                disk.heal();
                assert_eq!(result.is_err(), fired, "{fault:?} at {n}");
                if lines_or_torn(&disk, path) < 2 {
                    log.append(&record(2)).expect("retries");
                }
                log.append(&record(3)).expect("the log continues");
                assert_eq!(lines(&disk, path), [record(1), record(2), record(3)], "{fault:?} at {n}");
                if !fired {
                    break;
                }
            }
        }
    }
    // A power cut: what is then opened is a prefix of what was written, and can be appended to.
    let disk = base.copy();
    let mut log = Log::open(disk.shared(), path).expect("opens");
    log.sync().expect("syncs");
    disk.mark();
    for step in 1..6 {
        log.append(&record(step)).expect("appends");
    }
    for prefix in 0..=disk.changes() {
        for data in Data::ALL {
            let disk = disk.crash(prefix, data, Names::Kept);
            let mut log = Log::open(disk.shared(), path).expect("opens");
            log.append(&json!({"event": "resumed"})).expect("appends");
            let found = lines(&disk, path);
            for (at, line) in found[..found.len() - 1].iter().enumerate() {
                assert_eq!(*line, record(at as u64 + 1));
            }
        }
    }
}

/// Complete lines of the file, without a torn one at the end.
fn lines_or_torn(disk: &FaultFs, path: &Path) -> usize {
    String::from_utf8_lossy(&disk.peek(path).unwrap_or_default()).matches('\n').count()
}

#[test]
fn lines_past_the_resumed_step_move_aside_and_none_is_lost() {
    let path = Path::new("/runs/poems/metrics.jsonl");
    let base = base();
    let mut log = Log::open(base.shared(), path).expect("opens");
    let mut written = Vec::new();
    for (stage, last) in [("pretrain", 6), ("sft", 3)] {
        for step in 1..=last {
            written.push(json!({"stage": stage, "step": step}));
        }
    }
    written.push(json!({"event": "no step"}));
    for record in &written {
        log.append(record).expect("appends");
    }
    log.sync().expect("syncs");
    drop(log);
    let base = base.copy();
    let old = Path::new("/runs/poems/metrics.1.old.jsonl");
    let all_there = |disk: &FaultFs, context: &str| {
        let mut found = lines(disk, path);
        for n in 1..4 {
            found.extend(lines(disk, &PathBuf::from(format!("/runs/poems/metrics.{n}.old.jsonl"))));
        }
        for record in &written {
            assert!(found.contains(record), "{context}: {record} is lost");
        }
    };

    let disk = base.copy();
    let mut log = Log::open(disk.shared(), path).expect("opens");
    assert_eq!(log.truncate_after_step(Some(StageId::Pretrain), 6).expect("nothing"), None);
    disk.mark();
    let moved = log.truncate_after_step(Some(StageId::Pretrain), 4).expect("moves");
    assert_eq!(moved, Some((2, old.to_owned())));
    assert_eq!(lines(&disk, old), written[4..6]);
    for prefix in 0..=disk.changes() {
        for data in Data::ALL {
            for names in Names::ALL {
                all_there(&disk.crash(prefix, data, names), &format!("after {prefix}, {data:?} {names:?}"));
            }
        }
    }
    log.append(&json!({"stage": "pretrain", "step": 5})).expect("the log continues");
    assert_eq!(lines(&disk, path).len(), written.len() - 2 + 1);
    // Watching across the cut.
    let tail = read_from(&disk, path, 10_000).expect("reads");
    assert!(tail.restarted && tail.records.len() == written.len() - 1 && tail.bad == 0);
    assert_eq!(read_from(&disk, path, tail.next).expect("reads").records, Vec::<serde_json::Value>::new());
    assert_eq!(log.truncate_after_step(None, 1).expect("moves").map(|m| m.0), Some(6));

    for fault in FAULTS {
        for n in 0.. {
            let context = format!("{fault:?} at {n}");
            let disk = base.copy();
            let mut log = Log::open(disk.shared(), path).expect("opens");
            disk.fail_at(n, fault);
            let result = log.truncate_after_step(Some(StageId::Pretrain), 4);
            let fired = disk.fired();
            disk.heal();
            assert_eq!(result.is_err(), fired, "{context}");
            all_there(&disk, &context);
            log.truncate_after_step(Some(StageId::Pretrain), 4).expect(&context);
            log.append(&json!({"stage": "pretrain", "step": 5})).expect(&context);
            assert_eq!(lines(&disk, path).len(), written.len() - 1, "{context}");
            if !fired {
                break;
            }
        }
    }
}

#[test]
fn a_new_configuration_is_there_whole_or_not_at_all() {
    let disk = base();
    let run = open(&disk).expect("opens");
    disk.mark();
    run.write_config("size = \"5m\"\n").expect("writes");
    let all = disk.changes();
    for prefix in 0..=all {
        for data in Data::ALL {
            for names in Names::ALL {
                let view = RunView::open(disk.crash(prefix, data, names).shared(), Path::new(DIR)).expect("opens");
                let text = view.config().expect("reads");
                assert!(text == "size = \"5m\"\n" || (prefix < all && text == CONFIG), "{prefix} {data:?}: {text:?}");
            }
        }
    }
}

#[test]
fn runs_are_counted_and_the_newest_is_the_last_used() {
    let disk = FaultFs::new();
    let runs = Path::new("/runs");
    assert_eq!(newest_run(&disk, runs).expect("none"), None);
    assert_eq!(next_run_name(&disk, runs).expect("a name"), "run-0001");
    for n in 1..=3 {
        let run = Run::create_next(disk.shared(), runs, CONFIG).expect("creates");
        assert_eq!(run.view().name(), format!("run-{n:04}"));
    }
    disk.make_dir(Path::new("/runs/zzz")).expect("no run, for it has no run.toml");
    assert_eq!(newest_run(&disk, runs).expect("three"), Some(runs.join("run-0003")));
    let second = Run::open(disk.shared(), &runs.join("run-0002")).expect("opens");
    second.metrics().expect("opens").append(&json!({"step": 1})).expect("appends");
    assert_eq!(newest_run(&disk, runs).expect("three"), Some(runs.join("run-0002")));
    // A user's folder is left alone; an empty one, and one with only a run.toml, are accepted.
    disk.make_dir(Path::new("/home")).expect("makes");
    disk.poke(Path::new("/home/thesis.txt"), b"x").expect("writes");
    disk.mark();
    let error = open_or_create(&disk, Path::new("/home")).expect_err("not a run");
    assert!(error.to_string().contains("thesis.txt") && error.exit_code() == 2, "{error}");
    assert_eq!(disk.changes(), 0);
    open_or_create(&disk, Path::new("/runs/zzz")).expect("empty");
    disk.make_dir(Path::new("/mine")).expect("makes");
    disk.poke(Path::new("/mine/run.toml"), b"size = \"12m\"").expect("writes");
    let mine = open_or_create(&disk, Path::new("/mine")).expect("only run.toml");
    assert_eq!(mine.view().config().expect("reads"), "size = \"12m\"");
    for bad in ["/runs/a\nb".to_owned(), format!("/runs/{}", "x".repeat(256))] {
        let error = Run::create(disk.shared(), Path::new(&bad), CONFIG).expect_err(&bad);
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    assert_eq!(open(&disk).expect_err("no such run").exit_code(), 2);
}

#[test]
fn an_export_is_whole_and_replaces_nothing() {
    let path = Path::new("/out.safetensors");
    let data = [1.0, 2.0];
    let tensors = [TensorRef { name: "a", shape: &[2], data: &data }];
    for fault in FAULTS {
        for n in 0.. {
            let disk = FaultFs::new();
            disk.fail_at(n, fault);
            let result = export_tensors(&disk, path, &tensors, &BTreeMap::new());
            let fired = disk.fired();
            disk.heal();
            assert_eq!(result.is_err(), fired, "{fault:?} at {n}");
            let there = disk.peek(path).is_some();
            assert!(disk.files().len() == usize::from(there), "{:?}", disk.files());
            if there {
                assert_eq!(read_tensors(&disk, path, Links::Refuse).expect("whole").tensors["a"].data, data);
            }
            if !fired {
                assert_eq!(result.expect("written").bytes, disk.peek(path).expect("there").len() as u64);
                let error = export_tensors(&disk, path, &tensors, &BTreeMap::new()).expect_err("taken");
                assert!(error.to_string().contains("nothing is replaced"), "{error}");
                break;
            }
        }
    }
}
