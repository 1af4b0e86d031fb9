//! Finds the files of a source's path.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::arrow;
use crate::{
    base::StageId,
    data::read::{ENDINGS, Format, Packing, RECORD_ENDINGS},
    store::is_prepared,
    train::{
        config::{RunConfig, SourceConfig},
        error::TrainError,
    },
};

/// A file of conversations or preferences, with format and compression.
pub(crate) type Records = (PathBuf, (Format, Packing));

/// A text file.
#[derive(Clone, Debug)]
pub(super) struct TextFile {
    /// Where it is.
    pub path: PathBuf,
    /// Format and compression.
    pub kind: (Format, Packing),
}

/// Checks that every source has files, for a run without a folder. A path relative to a missing folder is checked when
/// the run is opened.
pub(crate) fn find_sources(config: &RunConfig, run_dir: &Path) -> Result<(), TrainError> {
    let run_dir = &config.root(run_dir);
    let there = |s: &&SourceConfig| Path::new(&s.path).is_absolute() || run_dir.is_dir();
    config.source.iter().filter(there).try_for_each(|s| text_files(run_dir, s, &mut Vec::new()).map(drop))?;
    for stage in StageId::ALL {
        let (table, sources) = (format!("{stage}.source"), &config.stage(stage).source);
        sources.iter().filter(there).try_for_each(|s| files(run_dir, &table, s, &mut Vec::new()).map(drop))?;
    }
    Ok(())
}

/// The files of conversations or preferences of a source's path.
pub(crate) fn files(
    run_dir: &Path,
    table: &str,
    source: &SourceConfig,
    notes: &mut Vec<String>,
) -> Result<Vec<Records>, TrainError> {
    let kind = |p: &Path| {
        let (format, packing) = Format::of_name(&p.file_name()?.to_string_lossy())?;
        (!matches!(format, Format::Text | Format::Markdown)).then_some((format, packing))
    };
    named(run_dir, (table, &source.name, &source.path), RECORD_ENDINGS, kind, notes)
}

/// The text files of a source's path.
pub(super) fn text_files(
    run_dir: &Path,
    source: &SourceConfig,
    notes: &mut Vec<String>,
) -> Result<Vec<TextFile>, TrainError> {
    let kind = |p: &Path| Format::of_name(&p.file_name()?.to_string_lossy());
    let found = named(run_dir, ("source", &source.name, &source.path), ENDINGS, kind, notes)?;
    Ok(found.into_iter().map(|(path, kind)| TextFile { path, kind }).collect())
}

/// The files of a path: one file, all supported files of a folder, or a glob; sorted. Only the path in run.toml is a
/// pattern, since a run's folder may have brackets in its name. Skipped files are noted.
fn named<T>(
    run_dir: &Path,
    (table, name, path): (&str, &str, &str),
    endings: &str,
    kind: impl Fn(&Path) -> Option<T>,
    notes: &mut Vec<String>,
) -> Result<Vec<(PathBuf, T)>, TrainError> {
    let joined = run_dir.join(path);
    if Path::new(path).is_relative() && !run_dir.is_dir() {
        return Err(TrainError::Input(format!(
            "{table} {name}: {path:?} starts from the folder {}, which is not there; root in run.toml names it (a fork reads the files of the run it came from): put it back, or set root or {table}.path",
            run_dir.display()
        )));
    }
    let literal = |p: &Path| PathBuf::from(glob::Pattern::escape(&p.to_string_lossy()));
    if joined.is_file() {
        let Some(found) = kind(&joined) else {
            if let Some(how) = arrow::conversion(&joined, false) {
                return Err(TrainError::Input(format!("{table} {name}: {} {how}", joined.display())));
            }
            return Err(TrainError::Input(format!(
                "{table} {name}: {}: unknown file ending; expected {endings}",
                joined.display()
            )));
        };
        return Ok(vec![(joined, found)]);
    }
    let pattern = if joined.is_dir() { literal(&joined).join("**/*") } else { literal(run_dir).join(path) };
    let pattern = pattern.to_string_lossy().into_owned();
    let unusable =
        |e: glob::PatternError| TrainError::Input(format!("{table} {name}: {path:?} is not a valid path or glob: {e}"));
    let mut note = |text: String| notes.push(format!("{table} {name}: {text}"));
    let mut paths = Vec::new();
    if joined.is_dir() {
        walk(&joined, &mut paths, &mut note);
    } else if pattern.contains("**") {
        let wanted = glob::Pattern::new(&pattern).map_err(unusable)?;
        let root: PathBuf = Path::new(path)
            .components()
            .take_while(|c| !c.as_os_str().to_string_lossy().contains(['*', '?', '[']))
            .collect();
        walk(&run_dir.join(root), &mut paths, &mut note);
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
    // Exclude prepared data, since a source may be the folder they are in.
    let ours = |p: &PathBuf| p.components().any(|c| is_prepared(&c.as_os_str().to_string_lossy()));
    paths.retain(|p| !ours(p) && !is_marks(run_dir, p));
    let mut found = Vec::new();
    let mut others: Vec<PathBuf> = Vec::new();
    for path in paths {
        match kind(&path) {
            _ if path.is_dir() => {}
            Some(kind) if path.is_file() => found.push((path, kind)),
            Some(_) => note(format!(
                "{} is not a regular file (a pipe, a device, or a dangling link) and is skipped",
                path.display()
            )),
            None => others.push(path),
        }
    }
    let other = others.first().map(|p| format!("; {} has another ending", p.display())).unwrap_or_default();
    if let Some(first) = others.first() {
        note(format!("{} files with other endings are skipped, the first {}", others.len(), first.display()));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some((place, how)) = arrow::in_folder(&joined, &others) {
        found.retain(|(path, _)| !arrow::is_description(path));
        let text = format!("{} {how}", place.display());
        if found.is_empty() {
            return Err(TrainError::Input(format!("{table} {name}: {text}")));
        }
        note(text);
    }
    if found.is_empty() {
        return Err(TrainError::Input(format!(
            "{table} {name}: {} matches no readable file ({endings}){other}; check {table}.path in run.toml",
            joined.display()
        )));
    }
    Ok(found)
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
