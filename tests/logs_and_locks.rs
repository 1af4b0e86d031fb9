//! Logs with a torn end, users' additions to them, the process id in a lock, and the most recently used run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "common/fault.rs"]
mod fault;

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use danlu::store::{Fs, Lock, Log, RealFs, Run, StoreError, each_record, each_record_back, newest_run};
use fault::{Data, Fault, FaultFs, Names};
use serde_json::json;

const FAULTS: [Fault; 4] = [Fault::NoSpace, Fault::Io, Fault::Denied, Fault::Short];

fn base() -> FaultFs {
    let disk = FaultFs::new();
    drop(Run::create(disk.shared(), Path::new("/runs/poems"), "").expect("a run"));
    disk.copy()
}

#[test]
fn torn_ends_are_cut() {
    let disk = base();
    let path = Path::new("/runs/poems/events.jsonl");
    for (text, left, cut) in [
        ("", "", 0),
        ("{\"a\":1}\n", "{\"a\":1}\n", 0),
        ("{\"a\":1}\n{\"b\"", "{\"a\":1}\n", 4),
        ("{\"a\":1}\n\0\0\0\0\n\0\0", "{\"a\":1}\n", 7),
        ("{\"a\":1}", "", 7),
        ("garbage\n{\"a\":1}\n", "garbage\n{\"a\":1}\n", 0),
    ] {
        disk.poke(path, text.as_bytes()).expect("writes");
        let mut log = Log::open(disk.shared(), path).expect("opens");
        let torn = log.torn().cloned();
        assert_eq!(torn.as_ref().map_or(0, |t| t.bytes), cut, "{text:?}");
        let kept = torn.map_or(Vec::new(), |t| disk.peek(&t.kept).expect("kept"));
        assert_eq!([left.as_bytes(), &kept].concat(), text.as_bytes(), "no byte is lost");
        assert_eq!(disk.peek(path).expect("there"), left.as_bytes(), "{text:?}");
        log.append(&json!({"c": 3})).expect("appends");
        assert!(disk.peek(path).expect("there").ends_with(b"\n{\"c\":3}\n") || left.is_empty());
    }
    let long = [&b"{\"a\":1}\n"[..], &vec![b'x'; 3 << 20]].concat();
    disk.poke(path, &long).expect("writes");
    let log = Log::open(disk.shared(), path).expect("opens");
    let torn = log.torn().expect("torn");
    assert_eq!((torn.bytes, disk.peek(&torn.kept).expect("kept").len()), (3 << 20, 3 << 20));
    assert_eq!(torn.kept, Path::new("/runs/poems/events.jsonl.4.torn"), "the fourth");
}

/// From the end, a block at a time, and no further than asked: a guard that is opened reads the newest steps only.
#[test]
fn the_newest_records_are_read_from_the_end_alone() {
    let disk = base();
    let path = Path::new("/runs/poems/metrics.jsonl");
    let pad = "x".repeat(200);
    let line = |n: usize| format!("{{\"n\":{n},\"pad\":\"{pad}\"}}\n");
    let newest = |most: usize| {
        let mut found: Vec<u64> = Vec::new();
        each_record_back(&disk, path, |record| {
            found.push(record["n"].as_u64().expect("n"));
            found.len() < most
        })
        .expect("reads");
        found
    };
    assert!(newest(9).is_empty(), "a missing log");
    // 40 MB: more than a hundred thousand lines over many blocks.
    let count = 180_000;
    let whole: String = (0..count).map(line).collect();
    disk.poke(path, whole.as_bytes()).expect("writes");
    disk.mark();
    assert_eq!(newest(1000), (count as u64 - 1000..count as u64).rev().collect::<Vec<_>>());
    assert!(disk.calls() <= 4, "{} operations", disk.calls());
    assert_eq!(newest(usize::MAX), (0..count as u64).rev().collect::<Vec<_>>());
    // The same records as forwards, whatever lies where the blocks meet.
    let long = "y".repeat((1 << 20) + 7);
    for (what, text) in [
        ("empty", String::new()),
        ("torn", format!("{}{}{{\"n\": 3", line(1), line(2))),
        ("not json", format!("{}oops\n\n{}", line(1), line(2))),
        ("a line too long", format!("{}{long}\n{}", line(1), line(2))),
        ("two of them", format!("{}{long}{long}{long}\n{}{long}{long}\n{}", line(1), line(2), line(3))),
        ("no line end", long.clone()),
        ("a block of ends", "\n".repeat(1 << 20) + &line(4)),
        ("an end at the edge", format!("{}{}\n", line(1), "z".repeat((1 << 20) - 1))),
        (
            "lines of a block",
            (0..40).flat_map(|n| [format!("{{\"n\":{n},\"p\":\"{}\"}}\n", "w".repeat(n * 9999))]).collect(),
        ),
    ] {
        disk.poke(path, text.as_bytes()).expect("writes");
        let mut forwards: Vec<u64> = Vec::new();
        each_record(&disk, path, |record| forwards.extend(record["n"].as_u64())).expect("reads");
        forwards.reverse();
        assert_eq!(newest(usize::MAX), forwards, "{what}");
    }
}

/// Whatever fails, and wherever the power is cut, the torn end is in the log or in the file beside it.
#[test]
fn a_torn_end_is_kept_through_errors_and_power_cuts() {
    let path = Path::new("/runs/poems/metrics.jsonl");
    let base = base();
    base.poke(path, b"{\"a\":1}\n{\"b\":2").expect("writes");
    let somewhere = |disk: &FaultFs, context: &str| {
        let files = disk.files();
        let there = files.iter().filter(|f| f.to_string_lossy().contains("metrics.jsonl")).filter_map(|f| disk.peek(f));
        assert!(there.into_iter().any(|bytes| bytes.ends_with(b"{\"b\":2")), "{context}: {files:?}");
        assert!(disk.peek(path).expect("there").starts_with(b"{\"a\":1}\n"), "{context}");
    };
    let disk = base.copy();
    disk.mark();
    Log::open(disk.shared(), path).expect("opens");
    for prefix in 0..=disk.changes() {
        for data in Data::ALL {
            for names in Names::ALL {
                somewhere(&disk.crash(prefix, data, names), &format!("after {prefix}, {data:?} {names:?}"));
            }
        }
    }
    for fault in FAULTS {
        for n in 0.. {
            let disk = base.copy();
            disk.fail_at(n, fault);
            let opened = Log::open(disk.shared(), path);
            let fired = disk.fired();
            disk.heal();
            assert_eq!(opened.is_err(), fired, "{fault:?} at {n}");
            drop(opened);
            somewhere(&disk, &format!("{fault:?} at {n}"));
            let mut log = Log::open(disk.shared(), path).expect("opens");
            log.append(&json!({"c": 3})).expect("appends");
            assert_eq!(disk.peek(path).expect("there"), b"{\"a\":1}\n{\"c\":3}\n");
            if !fired {
                break;
            }
        }
    }
}

/// How a log of a run is opened.
type Open = fn(&Run) -> Result<Log, StoreError>;

/// A vote in the workbench used to cut everything after the last line of JSON.
#[test]
fn lines_that_the_user_wrote_into_a_log_stay() {
    for typed in [
        "{\"prompt\": \"a\"}\n{\"a slip\": \n{\"prompt\": \"b\"} oops\n",
        "no JSON at all",
        "{\"whole\": 1}\n\n\n",
        "\u{feff}{\"a\":1}\r\n",
    ] {
        let disk = base();
        let run = Run::open(disk.shared(), Path::new("/runs/poems")).unwrap();
        let logs: [(&str, Open); 3] = [
            ("/runs/poems/preferences.jsonl", Run::preferences),
            ("/runs/poems/data/marks.jsonl", Run::marks),
            ("/runs/poems/data/sft/by-hand.jsonl", Run::demonstrations),
        ];
        for (path, open) in logs {
            drop(open(&run).unwrap());
            disk.poke(Path::new(path), typed.as_bytes()).unwrap();
            let mut log = open(&run).unwrap();
            log.append(&json!({"c": 3})).unwrap();
            assert_eq!(log.torn(), None, "{path}");
            let there = String::from_utf8(disk.peek(Path::new(path)).unwrap()).unwrap();
            let end = if typed.ends_with('\n') { "" } else { "\n" };
            assert_eq!(there, format!("{typed}{end}{{\"c\":3}}\n"), "{path}");
        }
    }
}

#[test]
fn torn_lines_of_danlu_are_reported() {
    let disk = base();
    let run = Run::open(disk.shared(), Path::new("/runs/poems")).unwrap();
    run.make_report_dir().unwrap();
    for path in ["/runs/poems/edits.jsonl", "/runs/poems/report/answers.jsonl"] {
        disk.poke(Path::new(path), b"{\"a\":1}\n{\"b").unwrap();
    }
    let torn = run.mend_logs().unwrap();
    let kept: Vec<String> = torn.iter().map(|t| t.kept.display().to_string()).collect();
    assert_eq!(kept, ["/runs/poems/edits.jsonl.1.torn", "/runs/poems/report/answers.jsonl.1.torn"]);
    assert_eq!(disk.peek(&torn[0].kept).unwrap(), b"{\"b");
    assert!(torn[0].to_string().contains("3 bytes") && torn[0].to_string().contains("edits.jsonl.1.torn"));
    assert_eq!(run.mend_logs().unwrap(), [], "once");
}

/// The first milliseconds of an owner: the lock is taken, but the process id is missing or the previous owner's.
#[test]
fn a_lock_that_is_refused_names_its_owner() {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    for before in [String::new(), format!("{}\n7\n", ended.id()), "12".repeat(30), "no number\n".to_owned()] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs::write(&path, &before).unwrap();
        let owner = File::options().write(true).open(&path).unwrap();
        owner.try_lock().unwrap();
        let late = path.clone();
        let writes = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            fs::write(late, format!("{}\n1\n", std::process::id())).unwrap();
        });
        let Lock::Busy(text) = RealFs.lock(&path, "x").unwrap() else { panic!("it is taken") };
        assert_eq!(text.lines().next(), Some(std::process::id().to_string().as_str()), "before it: {before:?}");
        writes.join().unwrap();
        // A lock that is freed meanwhile is taken.
        fs::write(&path, "").unwrap();
        let frees = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            drop(owner);
        });
        assert!(matches!(RealFs.lock(&path, "12345\n1\n").unwrap(), Lock::Held(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "12345\n1\n", "nothing is left of a longer text");
        frees.join().unwrap();
    }
}

#[test]
fn no_date_makes_a_run_the_newest() {
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    fs::create_dir(&runs).unwrap();
    let [a, b, c] = ["run-0001", "run-0002", "run-0003"].map(|name| runs.join(name));
    for run in [&a, &b, &c] {
        drop(Run::create(RealFs::shared(), run, "").unwrap());
    }
    let date = |run: &Path, at: SystemTime| {
        for name in ["run.toml", "lock"] {
            File::options().write(true).open(run.join(name)).unwrap().set_modified(at).unwrap();
        }
    };
    let newest = || newest_run(&RealFs, &runs).unwrap().unwrap();
    assert_eq!(newest(), c);
    // In the year 2096; and one used last while the clock was at 1970.
    date(&a, far);
    assert_eq!(newest(), c);
    drop(Run::open(RealFs::shared(), &b).unwrap());
    date(&b, SystemTime::UNIX_EPOCH);
    date(&c, far);
    assert_eq!(newest(), b);
    // Opened repeatedly it stays the newest, and the turn does not grow.
    for _ in 0..3 {
        drop(Run::open(RealFs::shared(), &b).unwrap());
    }
    assert!(fs::read_to_string(b.join("lock")).unwrap().ends_with("\n4\n"));
    // Runs of a danlu that wrote no turn are ordered by dates; those in the future are ignored.
    for run in [&a, &b, &c] {
        fs::write(run.join("lock"), "123\n").unwrap();
    }
    date(&a, SystemTime::now() - Duration::from_mins(1));
    date(&b, SystemTime::now() - Duration::from_hours(1));
    date(&c, far);
    assert_eq!(newest(), a);
}
