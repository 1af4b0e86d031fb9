//! Finds the files of a source's path.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{arrow, splits};
use crate::{
    base::StageId,
    data::read::{ENDINGS, Format, Packing, RECORD_ENDINGS},
    protocol::{Monitor, Work},
    store::is_prepared,
    train::{
        config::{RunConfig, SourceConfig, Splits},
        error::TrainError,
    },
};

/// A file of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Format and compression.
    pub kind: (Format, Packing),
    /// Whether its name says that it is measured and not trained on.
    pub held_out: bool,
}

impl SourceFile {
    /// Its length in bytes; 0 if it cannot be read.
    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }
}

/// The reading of files one after the other, as far as it is.
pub(crate) struct Reading<'a> {
    monitor: &'a Monitor,
    /// Bytes of the files begun so far, and of all.
    begun: u64,
    all: u64,
}

impl<'a> Reading<'a> {
    /// Of these files.
    pub(crate) fn new<'f>(monitor: &'a Monitor, files: impl Iterator<Item = &'f SourceFile>) -> Reading<'a> {
        Reading { monitor, begun: 0, all: files.map(SourceFile::length).sum() }
    }

    /// Reports that a file is begun; an error once the work is given up.
    pub(crate) fn begin(&mut self, file: &SourceFile) -> Result<(), TrainError> {
        self.monitor.check()?;
        self.monitor.report(Work::Chats, self.begun, self.all);
        self.begun += file.length();
        Ok(())
    }
}

/// Checks that every source has files, for a run without a folder. A path relative to a missing folder is checked when
/// the run is opened.
pub(crate) fn find_sources(config: &RunConfig, run_dir: &Path) -> Result<(), TrainError> {
    let run_dir = &config.root(run_dir);
    let there = |s: &&SourceConfig| Path::new(&s.path).is_absolute() || run_dir.is_dir();
    let splits = config.splits();
    config.source.iter().filter(there).try_for_each(|s| text_files(run_dir, splits, s, &mut Vec::new()).map(drop))?;
    for stage in StageId::ALL {
        let (table, sources) = (format!("{stage}.source"), &config.stage(stage).source);
        sources.iter().filter(there).try_for_each(|s| files(config, run_dir, &table, s, &mut Vec::new()).map(drop))?;
    }
    Ok(())
}

/// The files of conversations or preferences of a source's path; a relative one starts at `root`.
pub(crate) fn files(
    config: &RunConfig,
    root: &Path,
    table: &str,
    source: &SourceConfig,
    notes: &mut Vec<String>,
) -> Result<Vec<SourceFile>, TrainError> {
    let kind = |p: &Path| {
        let (format, packing) = Format::of_name(&p.file_name()?.to_string_lossy())?;
        (!matches!(format, Format::Text | Format::Markdown)).then_some((format, packing))
    };
    let listing = Listing { root, splits: config.splits(), table, source, endings: RECORD_ENDINGS };
    listing.files(kind, notes)
}

/// The text files of a source's path.
pub(super) fn text_files(
    root: &Path,
    splits: Splits,
    source: &SourceConfig,
    notes: &mut Vec<String>,
) -> Result<Vec<SourceFile>, TrainError> {
    let kind = |p: &Path| Format::of_name(&p.file_name()?.to_string_lossy());
    Listing { root, splits, table: "source", source, endings: ENDINGS }.files(kind, notes)
}

/// What to list.
struct Listing<'a> {
    /// Where relative paths start.
    root: &'a Path,
    splits: Splits,
    /// The table of run.toml that names the source.
    table: &'a str,
    source: &'a SourceConfig,
    /// The endings that are read.
    endings: &'static str,
}

impl Listing<'_> {
    /// The files of a path: one file, all supported files of a folder, or a glob; held-out ones first, each part sorted.
    /// Only the path in run.toml is a pattern, since a run's folder may have brackets in its name. Skipped files are
    /// noted.
    fn files(
        &self,
        kind: impl Fn(&Path) -> Option<(Format, Packing)>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<SourceFile>, TrainError> {
        let Listing { root, table, endings, .. } = *self;
        let SourceConfig { name, path, .. } = self.source;
        let joined = root.join(path);
        if Path::new(path).is_relative() && !root.is_dir() {
            return Err(TrainError::Input(format!(
                "{table} {name}: {path:?} starts from the folder {}, which is not there; root in run.toml names it (a fork reads the files of the run it came from): put it back, or set root or {table}.path",
                root.display()
            )));
        }
        if joined.is_file() {
            let Some(kind) = kind(&joined) else {
                if let Some(how) = arrow::conversion(&joined, false) {
                    return Err(TrainError::Input(format!("{table} {name}: {} {how}", joined.display())));
                }
                return Err(TrainError::Input(format!(
                    "{table} {name}: {}: unknown file ending; expected {endings}",
                    joined.display()
                )));
            };
            return Ok(vec![SourceFile { path: joined, kind, held_out: false }]);
        }
        let mut note = |text: String| notes.push(format!("{table} {name}: {text}"));
        let (paths, top) = self.paths(&joined, &mut note)?;
        let (mut found, mut others, mut cards, mut irregular) = (Vec::new(), Vec::new(), Vec::new(), None);
        // A glob that spells a file's name out wants that file.
        let spelled =
            !joined.is_dir() && !Path::new(path).file_name().is_some_and(|n| is_pattern(&n.to_string_lossy()));
        for path in paths {
            let below = path.strip_prefix(&top).unwrap_or(&path);
            let by_name = self.splits == Splits::ByName;
            match kind(&path) {
                _ if path.is_dir() => {}
                _ if by_name && !spelled && splits::is_description(below) => cards.push(path),
                Some(kind) if path.is_file() => {
                    let held_out = by_name && splits::is_held_out(below);
                    found.push(SourceFile { path, kind, held_out });
                }
                Some(_) => {
                    note(format!("{} {IRREGULAR} and is skipped", path.display()));
                    irregular.get_or_insert(path);
                }
                None => others.push(path),
            }
        }
        let other = others.first().map(|p| format!("; {} has another ending", p.display())).unwrap_or_default();
        if let Some(first) = others.first() {
            note(format!("{} files with other endings are skipped, the first {}", others.len(), first.display()));
        }
        if let Some((place, how)) = arrow::in_folder(&joined, &others) {
            found.retain(|file| !arrow::is_description(&file.path));
            let text = format!("{} {how}", place.display());
            if found.is_empty() {
                return Err(TrainError::Input(format!("{table} {name}: {text}")));
            }
            note(text);
        }
        if let Some(first) = cards.iter().min() {
            note(format!(
                "{} files that describe the data or are hidden (README, LICENSE, dataset_infos.json) are not read, the first {}",
                cards.len(),
                first.display()
            ));
        }
        if found.is_empty() {
            let card = cards.first().map(|p| format!("; {} describes the data", p.display())).unwrap_or_default();
            // A link to nothing is not among what a path matches.
            let irregular =
                irregular.or_else(|| joined.symlink_metadata().is_ok_and(|m| m.is_symlink()).then(|| joined.clone()));
            let irregular = irregular.map(|p| format!("; {} {IRREGULAR}", p.display())).unwrap_or_default();
            return Err(TrainError::Input(format!(
                "{table} {name}: {} matches no readable file ({endings}){other}{card}{irregular}; check {table}.path in run.toml",
                joined.display()
            )));
        }
        let held_out = found.iter().filter(|file| file.held_out).count();
        if held_out == found.len() {
            for file in &mut found {
                file.held_out = false;
            }
            note("every file has the name of a held-out split, so they are trained on".to_owned());
        } else if held_out > 0 {
            let first = found.iter().filter(|file| file.held_out).map(|file| &file.path).min();
            note(format!(
                "{held_out} files are held out by their names and never trained on, the first {}",
                first.map(|path| path.display().to_string()).unwrap_or_default()
            ));
        }
        found.sort_by(|a, b| (!a.held_out, &a.path).cmp(&(!b.held_out, &b.path)));
        Ok(found)
    }

    /// Everything that the path names, and the folder below which names are the user's.
    fn paths(&self, joined: &Path, note: &mut dyn FnMut(String)) -> Result<(Vec<PathBuf>, PathBuf), TrainError> {
        let Listing { root, table, .. } = *self;
        let SourceConfig { name, path, .. } = self.source;
        let literal = |p: &Path| PathBuf::from(glob::Pattern::escape(&p.to_string_lossy()));
        let unusable = |e: glob::PatternError| {
            TrainError::Input(format!("{table} {name}: {path:?} is not a valid path or glob: {e}"))
        };
        let mut paths = Vec::new();
        let mut top = joined.to_owned();
        if joined.is_dir() {
            walk(joined, &mut paths, note);
        } else {
            let pattern = literal(root).join(path).to_string_lossy().into_owned();
            let fixed: PathBuf =
                Path::new(path).components().take_while(|c| !is_pattern(&c.as_os_str().to_string_lossy())).collect();
            top = root.join(fixed);
            if pattern.contains("**") {
                let wanted = glob::Pattern::new(&pattern).map_err(unusable)?;
                walk(&top, &mut paths, note);
                let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
                paths.retain(|p| wanted.matches_path_with(p, options));
            } else {
                for found in glob::glob(&pattern).map_err(unusable)? {
                    match found {
                        Ok(path) => paths.push(path),
                        Err(e) => note(format!("{} cannot be listed: {}", e.path().display(), e.error())),
                    }
                }
            }
        }
        // Exclude prepared data, since a source may be the folder they are in.
        let ours = |p: &PathBuf| p.components().any(|c| is_prepared(&c.as_os_str().to_string_lossy()));
        paths.retain(|p| !ours(p) && !is_marks(root, p));
        Ok((paths, top))
    }
}

/// What is no file, said of a path.
const IRREGULAR: &str = "is not a regular file (a pipe, a device, or a dangling link)";

/// Whether a part of a path is a glob.
fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// Whether a file is the run's marks, whose texts must not become training data.
fn is_marks(run_dir: &Path, path: &Path) -> bool {
    let marks = run_dir.join("data/marks.jsonl");
    path.file_name() == marks.file_name()
        && fs::canonicalize(path).ok().is_some_and(|p| fs::canonicalize(marks).is_ok_and(|m| p == m))
}

/// Lists everything below a folder except folders. A link to a folder is not followed, since it may form a cycle.
fn walk(dir: &Path, found: &mut Vec<PathBuf>, note: &mut dyn FnMut(String)) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => return note(format!("{} cannot be listed: {e}", dir.display())),
    };
    for entry in entries {
        let Ok((entry, kind)) = entry.and_then(|e| e.file_type().map(|kind| (e, kind))) else {
            note(format!("an entry of {} cannot be read", dir.display()));
            continue;
        };
        let path = entry.path();
        if kind.is_dir() {
            walk(&path, found, note);
        } else if kind.is_symlink() && path.is_dir() {
            note(format!("{} is a link to a folder and is not followed; name that folder itself", path.display()));
        } else {
            found.push(path);
        }
    }
}
