//! The file names that the store accepts and the temporary names it makes.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path, PathBuf},
    process,
};

use super::{
    error::{At, StoreError},
    fs::{Fs, clear_away},
};

/// Longest name of a run, a checkpoint or a file in one, in bytes.
pub const MAX_NAME: usize = 64;

/// Whether `name` is a plain name: `[A-Za-z0-9._-]{1,64}`, no leading dot.
pub fn is_plain(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Longest file name of common file systems, in bytes.
pub(super) const LONGEST: usize = 255;

/// Why a folder cannot have this name, if so. A run's name may be in any script, with spaces and punctuation, as long
/// as the file system accepts it, it names a single folder, and a terminal can show it.
pub fn refuse_name(name: &str) -> Option<String> {
    let windows = ['<', '>', ':', '"', '|', '?', '*', '\\'];
    if name.is_empty() || name == "." || name == ".." {
        return Some("it has no name; choose one".to_owned());
    }
    if name.len() > LONGEST {
        return Some(format!(
            "its name has {} bytes, more than the {LONGEST} that file systems allow; choose a shorter one",
            name.len()
        ));
    }
    if name.contains('/') || name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Some("its name contains a control character or /; choose another name".to_owned());
    }
    if is_scratch(name) {
        return Some("its name is reserved for files that danlu is writing; choose another name".to_owned());
    }
    if cfg!(windows) && (name.contains(windows) || name.ends_with(['.', ' '])) {
        return Some(
            "its name contains or ends in a character that Windows does not allow; choose another name".to_owned(),
        );
    }
    None
}

/// Whether a folder with this name is listed among the runs; hidden ones are not.
pub(crate) fn is_listed(name: &str) -> bool {
    !name.starts_with('.')
}

/// Whether `name` is a valid stage name: lower case, so that no file system confuses two names, and without `-`, which
/// ends the stage in a checkpoint's name.
pub(crate) fn is_stage(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Prefixes of prepared data in `data/`; one or two hashes follow. Earlier versions wrote `text-` and `tokens-`.
const PREPARED: [&str; 8] = ["files-", "unit-", "version-", "tokenizer-", "ids-", "quality-", "text-", "tokens-"];

/// Whether `name` is prepared data. The user's own files lie beside it and are never removed with it.
pub fn is_prepared(name: &str) -> bool {
    let Some(rest) = PREPARED.iter().find_map(|kind| name.strip_prefix(kind)) else { return false };
    let is_hash = |h: &str| h.len() == 24 && h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let rest = rest.strip_suffix(".json").unwrap_or(rest);
    is_hash(rest) || (name.starts_with("ids-") && rest.split_once('-').is_some_and(|(a, b)| is_hash(a) && is_hash(b)))
}

/// The next free `<stem>.<n><ending>` in a folder, with n from 1.
pub(super) fn next_name(disk: &dyn Fs, dir: &Path, stem: &str, ending: &str) -> Result<PathBuf, StoreError> {
    let number = |name: &str| name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(ending)?.parse::<u64>().ok();
    let entries = disk.list(dir).at("list", dir)?;
    let last = entries.iter().filter_map(|entry| number(entry.text())).max().unwrap_or(0);
    Ok(dir.join(format!("{stem}.{}{ending}", last.saturating_add(1))))
}

/// The next free name in the folder `runs`: `run-0001`, `run-0002` …
pub fn next_run_name(disk: &dyn Fs, runs: &Path) -> Result<String, StoreError> {
    let entries = match disk.list(runs) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.at("list", runs)?,
    };
    let numbers = entries.iter().filter_map(|entry| entry.text().strip_prefix("run-")?.parse::<u64>().ok());
    Ok(format!("run-{:04}", numbers.max().unwrap_or(0).saturating_add(1)))
}

/// The purpose of a temporary name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scratch {
    /// Being written.
    Making,
    /// Being removed.
    Removing,
}

impl Scratch {
    fn prefix(self) -> &'static str {
        match self {
            Self::Making => ".tmp-",
            Self::Removing => ".del-",
        }
    }

    /// A hidden name made unique by the process id and a random number.
    pub(crate) fn name(self, base: &str) -> String {
        // The system seeds RandomState; this number names a folder and never affects training.
        let chance = RandomState::new().build_hasher().finish();
        format!("{}{base}-{}-{chance:016x}", self.prefix(), process::id())
    }

    /// Whether [`Scratch::name`] made this name, in this process or another.
    pub(crate) fn made(self, name: &str) -> bool {
        self.maker(name).is_some()
    }

    /// What a name made by [`Scratch::name`] is for, and the process that made it.
    pub(crate) fn maker(self, name: &str) -> Option<(&str, u32)> {
        let (rest, chance) = name.strip_prefix(self.prefix())?.rsplit_once('-')?;
        let (base, pid) = rest.rsplit_once('-')?;
        let ours = chance.len() == 16 && chance.bytes().all(|b| b.is_ascii_hexdigit()) && is_plain(base);
        Some((base, pid.parse().ok()?)).filter(|_| ours)
    }
}

/// Whether another process of this machine still exists; None where the system does not say, and for this process.
pub(super) fn is_alive(pid: u32) -> Option<bool> {
    if pid == process::id() {
        return None;
    }
    #[cfg(unix)]
    {
        use rustix::{io::Errno, process::Pid};
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
    }
    #[cfg(not(unix))]
    None
}

/// Removes what exports into `dir` left when their processes were killed. What cannot be removed stays.
///
/// # Errors
/// If the folder cannot be listed.
pub(super) fn sweep_exports(disk: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
    for entry in disk.list(dir).at("list", dir)? {
        let maker = Scratch::Making.maker(entry.text());
        if maker.is_some_and(|(base, pid)| base == EXPORT && is_alive(pid) == Some(false)) {
            let _left = clear_away(disk, &dir.join(&entry.name), entry.kind);
        }
    }
    Ok(())
}

/// What the temporary names of exports are for.
pub(super) const EXPORT: &str = "export";

/// Whether [`Scratch::name`] made `name`. Only such names are swept.
pub(crate) fn is_scratch(name: &str) -> bool {
    Scratch::Making.made(name) || Scratch::Removing.made(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names() {
        for good in ["a", "run-0001", "A.b_c-9"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", ".", "..", ".x", "a/b", "a\\b", "a\0", "诗", "a b", &"a".repeat(65)] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_runs_name_is_its_users() {
        for good in [
            "我的丹炉",
            "my run",
            "-dash",
            "...",
            ".hidden",
            "a ",
            " a",
            "炉🔥",
            "a:b",
            "é",
            &"a".repeat(255),
            "run.toml",
        ] {
            assert_eq!(refuse_name(good), None, "{good}");
        }
        let long = "炉".repeat(86);
        for bad in
            ["", ".", "..", "a/b", "a\0", "a\nb", "\u{1b}[2J", "\u{7f}", "\u{9b}", &long, &Scratch::Making.name("a")]
        {
            assert!(refuse_name(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn prepared_names_are_ours_alone() {
        for ours in [
            "unit-0123456789abcdef01234567",
            "tokenizer-0123456789abcdef01234567.json",
            "ids-0123456789abcdef01234567-0123456789abcdef01234567",
        ] {
            assert!(is_prepared(ours), "{ours}");
        }
        for other in [
            "text-files",
            "tokens-",
            "text-0123456789ABCDEF01234567",
            "tokens-0123456789abcdef0123456",
            "unit",
            "unit-0123456789abcdef01234567-0123456789abcdef01234567",
        ] {
            assert!(!is_prepared(other), "{other}");
        }
    }

    #[test]
    fn scratch_names_are_ours_alone() {
        assert!(is_scratch(&Scratch::Making.name("pretrain-00000001")));
        assert!(is_scratch(&Scratch::Removing.name("run.toml")));
        assert_ne!(Scratch::Making.name("a"), Scratch::Making.name("a"));
        for other in [".tmp-", ".tmp-mine", ".del-a-b-c", ".tmp-a-1-zzzzzzzzzzzzzzzz", "tmp-a-1-0123456789abcdef"] {
            assert!(!is_scratch(other), "{other}");
        }
    }
}
