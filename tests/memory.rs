//! Memory from outside: the reported memory is the memory used, and with little left danlu refuses and never aborts.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, process::Command};

use common::{DANLU, Done, Running, scratch, train_args};

/// Peak resident memory of a process, in bytes.
fn peak(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
}

/// The peak after two saves, relative to what was reported when the stage started.
fn ratio(run: &mut Running) -> f64 {
    let told = run.until(|line| line["event"] == "started");
    for _ in 0..2 {
        run.until(|line| line["event"] == "saved");
    }
    let (memory, host) = (told["memory_bytes"].as_f64().unwrap(), told["host_memory_bytes"].as_f64().unwrap());
    assert_eq!(memory, host, "on the CPU engine the device is the process");
    peak(run.child.id()) / host
}

#[test]
fn the_footprint_is_what_is_allocated() {
    let dir = scratch();
    let shapes: [(&str, &[&str]); 3] = [
        // Almost nothing: the process itself dominates.
        ("tiny", &[]),
        // The host's copies during a save.
        ("wide", &["model.hidden_size=256", "model.intermediate_size=704", "model.vocab_size=4096"]),
        // Activations.
        ("long", &["model.max_position_embeddings=256", "batch_size=16", "context=256"]),
    ];
    for (name, shape) in shapes {
        let run = dir.path().join(name);
        let sets: Vec<&str> = shape.iter().copied().chain(["steps=100000000", "save_steps=3"]).collect();
        for times in 1..=2 {
            let mut running = Running::start(&run, &sets);
            let ratio = ratio(&mut running);
            running.signal("TERM");
            running.end().0.good();
            // Five percent on an idle machine; with other work a save and a step may coincide.
            assert!((ratio - 1.0).abs() <= 0.08, "{name}, start {times}: the peak is {ratio:.3} of what was told");
        }
    }
}

/// danlu under a limit of the shell's `ulimit`, in KiB.
fn limited(which: &str, kib: u64, args: &[String]) -> Done {
    let script = format!("ulimit -{which} {kib}; exec \"$0\" \"$@\"");
    Command::new("sh").args(["-c", &script, DANLU]).args(args).args(["--adapter", "cpu"]).output().unwrap().into()
}

#[test]
fn under_a_limit_it_trains_or_refuses() {
    let dir = scratch();
    let (mut trained, mut refused) = (0, 0);
    // The first two of each are less than the minimum at start.
    for (which, limits) in [("v", [40_u64, 44, 72, 160, 1280]), ("d", [8, 16, 72, 160, 1280])] {
        for mib in limits {
            let run = dir.path().join(format!("{which}{mib}"));
            let args = train_args(&run, &["model.hidden_size=128", "steps=2", "save_steps=1"], &[]);
            let done = limited(which, mib << 10, &args);
            match done.code {
                Some(0) => trained += 1,
                Some(4) => {
                    refused += 1;
                    assert!(done.err.contains("bytes"), "{}", done.err);
                    assert_eq!(done.err.lines().filter(|l| l.starts_with("danlu: ")).count(), 1, "{}", done.err);
                }
                code => panic!("ulimit -{which} {mib} MiB: {code:?}\n{}", done.err),
            }
        }
    }
    assert!(trained >= 2 && refused >= 2, "{trained} trained, {refused} refused: the limits try nothing");
}

#[test]
fn a_refusal_names_bytes_what_bounds_them_and_a_setting_that_fits() {
    let dir = scratch();
    let run = dir.path().join("run");
    let args = |more: &[&str]| {
        let all = [&["model.vocab_size=4096", "model.hidden_size=128", "batch_size=512"], more].concat();
        train_args(&run, &all, &["--steps", "1"])
    };
    // 200 MiB of addresses hold the process and some rows, not 512.
    let done = limited("v", 200 << 10, &args(&[]));
    assert_eq!(done.code, Some(4), "{}", done.err);
    assert!(!run.exists(), "a run that does not fit is not made");
    for words in ["pretrain needs ", " available", "ulimit -v leaves", "a fifth of which stays free"] {
        assert!(done.err.contains(words), "{words}: {}", done.err);
    }
    let setting = |key: &str| {
        let value = done.err.split(&format!("--set {key}=")).nth(1).unwrap_or_else(|| panic!("{key}: {}", done.err));
        format!("{key}={}", value.split_whitespace().next().unwrap())
    };
    let fits = [setting("batch_size"), setting("gradient_accumulation_steps")];
    limited("v", 200 << 10, &args(&[&fits[0], &fits[1]])).good();
    assert!(run.join("run.toml").is_file());
}
