//! Decides which files are cleaned together: a unit is a sequence of neighbouring files of one source.
//!
//! A large file is a unit. Small ones are joined, and split where the hash of a path says so, so that adding or
//! removing a file does not move any other file to another unit.

use std::path::Path;

use super::{
    library::unit_name,
    stamps::{self, Found},
};
use crate::{
    protocol::Monitor,
    store::Preparer,
    train::{
        config::{RunConfig, SourceConfig},
        corpus::files::SourceFile,
        error::TrainError,
    },
};

/// Raise it when the same files would give a different result.
const VERSION: &str = "2";
/// The previous version. A run trained on its units keeps them, and its bits, until their files change.
const EARLIER: &str = "1";
/// Minimum size of a file that is a unit of its own.
const LARGE: u64 = 256 << 10;
/// Average number of small files per unit.
const JOINED: u8 = 8;

/// A unit before cleaning.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The hash of everything that its documents depend on.
    pub key: String,
    /// Its files, with their stamps.
    pub files: Vec<(SourceFile, Option<stamps::Stamp>)>,
    /// Whether an earlier version of danlu cleaned it.
    pub earlier: bool,
    /// Whether its documents are held out by the names of its files.
    pub held_out: bool,
}

/// The units of all sources in order, and notes on skipped files.
pub(crate) struct Plan {
    pub units: Vec<Vec<Planned>>,
    pub notes: Vec<Vec<String>>,
}

/// Finds the files of all sources and groups them.
pub(crate) fn plan(config: &RunConfig, preparer: &Preparer, monitor: &Monitor) -> Result<Plan, TrainError> {
    let (mut listed, mut notes) = (Vec::new(), Vec::new());
    // Paths below it are hashed without it, so that a moved run and a fork keep their units.
    let root = config.root(preparer.view().dir());
    for source in &config.source {
        let mut passed_over = Vec::new();
        listed.push(crate::train::corpus::files::text_files(&root, config.splits(), source, &mut passed_over)?);
        notes.push(passed_over);
    }
    let all: Vec<&SourceFile> = listed.iter().flatten().collect();
    let mut found = stamps::contents(preparer, &all, monitor)?.into_iter();
    let view = preparer.view();
    let trained = !view.checkpoints().list()?.is_empty();
    let kept = |key: &str| trained && view.has_prepared(&unit_name(key));
    let mut units = Vec::new();
    for ((source, files), notes) in config.source.iter().zip(&listed).zip(&mut notes) {
        let files = files.iter().map(|file| (file.clone(), found.next().unwrap_or_default())).collect();
        let of_source = of_source(source, files, &root, &kept);
        if of_source.iter().any(|unit| unit.earlier) {
            notes.push(format!(
                "source {}: text cleaned by an earlier danlu is used unchanged, since the run was trained on it; remove unit-* in {} to clean it again",
                source.name,
                view.data_dir().display()
            ));
        }
        units.push(of_source);
    }
    Ok(Plan { units, notes })
}

/// Everything in a source's settings that its cleaned documents depend on.
fn settings(source: &SourceConfig) -> String {
    let how = (source.profile, &source.rules, &source.field, source.documents, source.simplify, source.dedup());
    format!("{how:?}")
}

fn of_source(
    source: &SourceConfig,
    files: Vec<(SourceFile, Found)>,
    run: &Path,
    kept: &dyn Fn(&str) -> bool,
) -> Vec<Planned> {
    let settings = settings(source);
    let (mut units, mut joined) = (Vec::new(), Vec::new());
    let mut close = |files: &mut Vec<(SourceFile, Found)>| {
        if !files.is_empty() {
            units.push(planned(&settings, std::mem::take(files), run, kept));
        }
    };
    let mut held_out = false;
    for file in files {
        // A unit is held out as a whole or not at all.
        if std::mem::replace(&mut held_out, file.0.held_out) != held_out {
            close(&mut joined);
        }
        if file.1.stamp.is_some_and(|s| s.length >= LARGE) {
            close(&mut joined);
            close(&mut vec![file]);
            continue;
        }
        let cut =
            blake3::hash(within(&file.0.path, run).to_string_lossy().as_bytes()).as_bytes()[0].is_multiple_of(JOINED);
        joined.push(file);
        if cut {
            close(&mut joined);
        }
    }
    close(&mut joined);
    units
}

/// A path relative to the run, which survives moving the run.
fn within<'p>(path: &'p Path, run: &Path) -> &'p Path {
    path.strip_prefix(run).unwrap_or(path)
}

fn planned(settings: &str, files: Vec<(SourceFile, Found)>, run: &Path, kept: &dyn Fn(&str) -> bool) -> Planned {
    let held_out = files.iter().any(|(file, _)| file.held_out);
    let key = |version: &str| {
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{version}\n{settings}").as_bytes());
        if held_out {
            hash.update(b"\nheld out");
        }
        for (file, found) in &files {
            // An unreadable file must get another key when it becomes readable.
            let content = found.content.as_deref().unwrap_or("unread");
            hash.update(format!("\n{:?} {content} {}", file.kind, within(&file.path, run).display()).as_bytes());
        }
        short(&hash)
    };
    let before = Some(key(EARLIER)).filter(|key| kept(key));
    let (earlier, key) = (before.is_some(), before.unwrap_or_else(|| key(VERSION)));
    let files = files.into_iter().map(|(file, found)| (file, found.stamp)).collect();
    Planned { key, files, earlier, held_out }
}

/// A hash as used in names.
pub(crate) fn short(hash: &blake3::Hasher) -> String {
    hash.finalize().to_hex()[..24].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::read::{Format, Packing};

    fn files(numbers: impl IntoIterator<Item = u32>, large: u32) -> Vec<(SourceFile, Found)> {
        let one = |n: u32| {
            let kind = (Format::Text, Packing::Plain);
            let file = SourceFile { path: format!("/poems/{n:04}.txt").into(), kind, held_out: false };
            let length = if n == large { LARGE } else { 1000 };
            let stamp = Some(stamps::Stamp { length, ..stamps::Stamp::default() });
            (file, Found { stamp, content: Some(format!("{n}")) })
        };
        numbers.into_iter().map(one).collect()
    }

    #[test]
    fn a_file_that_comes_or_goes_moves_no_other() {
        let keys = |files| -> HashSet<String> {
            of_source(&SourceConfig::default(), files, Path::new("/run"), &|_| false)
                .into_iter()
                .map(|u| u.key)
                .collect()
        };
        let all = keys(files(0..400, 200));
        assert!((400 / 16..400 / 4).contains(&all.len()), "{} units of 400 files", all.len());
        for n in 0..400 {
            let less = keys(files((0..400).filter(|i| *i != n), 200));
            // Its unit changes or disappears; if it separated two units, they merge.
            let (old, new) = (all.difference(&less).count(), less.difference(&all).count());
            assert!(new <= 1 && old <= if n == 200 { 3 } else { 2 }, "without {n}: {old} units became {new}");
        }
        let alone = of_source(&SourceConfig::default(), files(0..400, 200), Path::new("/run"), &|_| false);
        assert!(alone.iter().any(|u| u.files.len() == 1 && u.files[0].0.path.ends_with("0200.txt")));
        let poetry = SourceConfig { simplify: true, ..SourceConfig::default() };
        let other: HashSet<String> =
            of_source(&poetry, files(0..400, 200), Path::new("/run"), &|_| false).into_iter().map(|u| u.key).collect();
        assert!(all.is_disjoint(&other), "other settings, other units");
    }

    #[test]
    fn a_unit_is_held_out_as_a_whole() {
        let of = |held: usize| {
            let mut all = files(0..400, 1000);
            all.iter_mut().take(held).for_each(|(file, _)| file.held_out = true);
            of_source(&SourceConfig::default(), all, Path::new("/run"), &|_| false)
        };
        let (none, some) = (of(0), of(5));
        assert!(none.iter().all(|unit| !unit.held_out));
        let named: usize = some.iter().filter(|unit| unit.held_out).map(|unit| unit.files.len()).sum();
        assert_eq!(named, 5);
        assert!(some.iter().all(|unit| unit.files.iter().all(|(file, _)| file.held_out == unit.held_out)));
        let keys = |units: &[Planned]| units.iter().map(|unit| unit.key.clone()).collect::<HashSet<String>>();
        assert!(keys(&of(400)).is_disjoint(&keys(&none)), "the same files, held out, are other units");
    }

    #[test]
    fn a_run_continues_with_data_cleaned_by_an_earlier_version() {
        let source = SourceConfig::default();
        let of =
            |numbers, kept: &dyn Fn(&str) -> bool| of_source(&source, files(numbers, 200), Path::new("/run"), kept);
        let (new, old) = (of(0..400, &|_| false), of(0..400, &|_| true));
        assert!(new.iter().all(|unit| !unit.earlier) && old.iter().all(|unit| unit.earlier));
        let keys: HashSet<&str> = old.iter().map(|unit| unit.key.as_str()).collect();
        assert!(new.iter().all(|unit| !keys.contains(unit.key.as_str())));
        // New files are cleaned by the current version.
        let mixed = of(0..401, &|key| keys.contains(key));
        let (earlier, today): (Vec<&Planned>, Vec<&Planned>) = mixed.iter().partition(|unit| unit.earlier);
        assert!(earlier.len() + 1 >= old.len() && today.len() == 1, "{} {}", earlier.len(), today.len());
    }
}
