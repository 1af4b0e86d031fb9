//! Every parser of foreign bytes, on mutated examples: no panic, no exit code other than 0, 2 and 4, no more memory
//! than twice the input plus 64 MiB, no case longer than ten seconds.
//!
//! Five hundred cases per parser; `-- --ignored` runs 20,000, and `DANLU_FUZZ_CASES=1000000` any number. Cases are a
//! function of the parser's name and `DANLU_FUZZ_SEED` (0); a failing case is kept in target/tmp.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

#[path = "../common/fault.rs"]
mod fault;
#[path = "../doors/gguf.rs"]
mod gguf_file;
mod mutate;
mod parsers;
#[path = "../common/texts.rs"]
mod texts;

use std::{
    env, fs,
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use danlu::base::panics;
use libtest_mimic::{Arguments, Failed, Trial};
use parsers::{PARSERS, Parser};
use texts::Chance;

/// Bytes that a case may use beyond twice its input.
const SPARE: usize = 64 << 20;
/// Most seconds per case.
const PATIENCE: u64 = 10;

/// When the current case began, in milliseconds since the start; 0 for none.
static BEGAN: AtomicU64 = AtomicU64::new(0);

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn main() {
    // One at a time, because memory is measured for the whole process.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    // A panic is caught and reported with its case.
    std::panic::set_hook(Box::new(|info| {
        if !panics::expected() {
            eprintln!("{info}");
        }
    }));
    let start = Instant::now();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            let began = BEGAN.load(Ordering::Relaxed);
            if began > 0 && start.elapsed().as_millis() as u64 > began + 1000 * PATIENCE {
                eprintln!("fuzz: a case has run for more than {PATIENCE} s; it is the newest file in target/tmp");
                process::exit(1);
            }
        }
    });
    let trial = |parser: &'static Parser, cases: u64, name: String| {
        Trial::test(name, move || run(parser, number("DANLU_FUZZ_CASES").unwrap_or(cases), start))
    };
    let short = PARSERS.iter().map(|parser| trial(parser, 500, parser.name.to_owned()));
    let long =
        PARSERS.iter().map(|parser| trial(parser, 20_000, format!("{}_long", parser.name)).with_ignored_flag(true));
    let large = parsers::LARGE.iter().map(|(name, make)| Trial::test(format!("large_{name}"), move || large(*make)));
    libtest_mimic::run(&arguments, short.chain(large).chain(long).collect()).exit();
}

/// Resident memory of the process, as Linux reports it; not measured on other systems.
struct Pages {
    before: Option<usize>,
}

impl Pages {
    /// Starts counting from the current value.
    fn begin() -> Self {
        let counts_anew = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { before: Pages::field("VmRSS:").filter(|_| counts_anew) }
    }

    /// The most memory used since.
    fn taken(&self) -> usize {
        self.before.zip(Pages::field("VmHWM:")).map_or(0, |(before, most)| most.saturating_sub(before))
    }

    fn field(name: &str) -> Option<usize> {
        let text = fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib << 10)
    }
}

fn large(make: fn() -> parsers::Large) -> Result<(), Failed> {
    let (input, mut read) = make();
    let pages = Pages::begin();
    let code = panics::caught(|| read(&input)).map_err(|_| "it panics")?;
    let taken = pages.taken();
    if taken > 2 * input.len() + SPARE || !matches!(code, 0 | 2) {
        return Err(format!("code {code}, {taken} bytes of memory for {} of input", input.len()).into());
    }
    Ok(())
}

fn run(parser: &Parser, cases: u64, start: Instant) -> Result<(), Failed> {
    let (examples, mut read) = (parser.open)();
    for (n, example) in examples.iter().enumerate() {
        // Also initialises lazily created data.
        let code = panics::caught(|| read(example)).map_err(|_| format!("example {n} panics"))?;
        if code != 0 {
            return Err(format!("example {n} is refused with {code}").into());
        }
    }
    let base =
        parser.name.bytes().fold(number("DANLU_FUZZ_SEED").unwrap_or(0), |sum, b| sum.wrapping_mul(31) + u64::from(b));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}.bin", parser.name));
    let (mut accepted, mut most, mut longest) = (0, 0, Duration::ZERO);
    for case in 0..cases {
        let mut chance = Chance(base.wrapping_add(case.wrapping_mul(0x9E37_79B9)));
        let example = chance.of(&examples).clone();
        let input = (parser.change)(&example, &mut chance);
        let failed = |what: String| {
            fs::write(&kept, &input).expect("kept");
            Err(Failed::from(format!("case {case}: {what}; it is {}", kept.display())))
        };
        let pages = Pages::begin();
        BEGAN.store(start.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        let began = Instant::now();
        let outcome = panics::caught(|| read(&input));
        BEGAN.store(0, Ordering::Relaxed);
        longest = longest.max(began.elapsed());
        let taken = pages.taken();
        most = most.max(taken.saturating_sub(2 * input.len()));
        match outcome {
            Err(_) => return failed("it panics".to_owned()),
            Ok(0) => accepted += 1,
            Ok(2 | 4) => {}
            Ok(code) => return failed(format!("exit code {code}")),
        }
        if taken > 2 * input.len() + SPARE {
            return failed(format!("{taken} bytes of memory for {} of input", input.len()));
        }
        if began.elapsed().as_secs() >= PATIENCE {
            return failed(format!("{:?}", began.elapsed()));
        }
    }
    if number("DANLU_FUZZ_CASES").is_some() {
        eprintln!(
            "{}: {cases} cases, {accepted} accepted, {} KiB beyond twice the input, {longest:?} the longest",
            parser.name,
            most >> 10
        );
    }
    if parser.sealed && accepted > 0 {
        return Err(format!("{accepted} changes were not found out").into());
    }
    // Mutations that are all rejected test only the first check.
    if !parser.sealed && accepted == 0 && cases >= 500 {
        return Err("no case was accepted: the changes reach nothing".into());
    }
    Ok(())
}
