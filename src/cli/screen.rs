//! Opens the screen with the settings that the user's config folder remembers, and keeps there what the user changes.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use etcetera::BaseStrategy as _;

use super::{Common, Failure, output, quiet};
use crate::{
    session::Session,
    store::{Fs, Kind, Links, RealFs, StoreError, ensure_dirs, read_limited, write_atomically},
    ui::{self, Keep, Settings, UiOptions},
};

/// More than any settings of danlu's.
const LIMIT: u64 = 64 << 10;

/// Shows a session until the user leaves; with `piped` standard input was a stream before it was the terminal.
pub(crate) fn show(session: Session, common: &Common, piped: bool) -> Result<ui::Outcome, Failure> {
    let (disk, path) = (RealFs::shared(), file());
    let settings = path.as_ref().map_or_else(Settings::default, |path| {
        load(&*disk, path).unwrap_or_else(|why| {
            output::note(&format!("{why}; the screen has its default settings"));
            Settings::default()
        })
    });
    let options = UiOptions {
        lang: common.screen_language(settings.lang),
        stop: Arc::new(AtomicBool::new(false)),
        stderr: quiet::sink(),
        settings,
        piped,
        keep: path.clone().map_or_else(Keep::default, |path| {
            // What cannot be saved is reported at the end.
            Keep::with(move |settings| drop(save(&RealFs, &path, settings)))
        }),
        ..UiOptions::default()
    };
    let outcome = ui::run(session, options).map_err(|e| Failure::work(e.to_string()))?;
    if let Some(path) = path.filter(|_| outcome.settings != settings)
        && let Err(why) = save(&*disk, &path, outcome.settings)
        && !outcome.terminal_gone
    {
        output::note(&format!("the screen's settings are not remembered: {why}"));
    }
    Ok(outcome)
}

/// `danlu/screen.toml` in the user's config folder: `$XDG_CONFIG_HOME` or `~/.config`, on Windows `%APPDATA%`. None for
/// a user without a home folder.
fn file() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("danlu").join("screen.toml"))
}

fn load(disk: &dyn Fs, path: &Path) -> Result<Settings, String> {
    if !matches!(disk.kind(path), Ok(Some(Kind::File | Kind::Link))) {
        return Ok(Settings::default());
    }
    let bytes = read_limited(disk, path, LIMIT, Links::Follow).map_err(|e| e.to_string())?;
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = std::str::from_utf8(&bytes).map_err(|e| wrong(&e))?;
    toml::from_str(text).map_err(|e| wrong(&e.message()))
}

fn save(disk: &dyn Fs, path: &Path, settings: Settings) -> Result<(), StoreError> {
    let text = toml::to_string(&settings).unwrap_or_default();
    if let Some(folder) = path.parent() {
        ensure_dirs(disk, folder)?;
    }
    // Two processes that end at once do not share a file.
    write_atomically(disk, path, &format!(".screen-{}.toml", std::process::id()), text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::ui::Lang;

    #[test]
    fn settings_come_back_and_a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, path) = (RealFs, dir.path().join("new/danlu/screen.toml"));
        assert_eq!(load(&disk, &path).unwrap(), Settings::default());
        for settings in [
            Settings::default(),
            Settings { lang: Some(Lang::Zh), mouse: false, smoothing: 3, log_loss: false, ..Settings::default() },
        ] {
            save(&disk, &path, settings).unwrap();
            assert_eq!(load(&disk, &path).unwrap(), settings);
        }
        // Of a newer version, with a key that this one does not know.
        std::fs::write(&path, "mouse = false\nsound = true\n").unwrap();
        assert_eq!(load(&disk, &path).unwrap(), Settings { mouse: false, ..Settings::default() });
        for broken in ["mouse = 3", "mouse", "theme = \"loud\"", "lang = \"de\""] {
            std::fs::write(&path, broken).unwrap();
            let why = load(&disk, &path).unwrap_err();
            assert!(why.contains("screen.toml") && !why.contains('\n'), "{broken}: {why}");
        }
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
}
