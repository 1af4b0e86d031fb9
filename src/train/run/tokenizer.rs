//! The run's tokenizer in `data/`, restored from a checkpoint if it is damaged: every checkpoint contains a copy.

use crate::{
    data::{SPECIAL_TOKENS, Tokenizer},
    store::{CheckpointId, Checkpoints, Links, Run, StoreError, read_limited},
    train::{
        config::{RunConfig, TokenizerKind},
        error::TrainError,
    },
};

/// The tokenizer and its settings, as named in `data/` and checkpoints.
const FILES: [&str; 2] = ["tokenizer.json", "tokenizer_config.json"];
/// Limit on their length.
const LIMIT: u64 = 64 << 20;

/// The contents of both files; the settings may be missing.
type Bytes = [Option<Vec<u8>>; 2];

/// Checks that the tokenizer in `data/` is the one that the run's checkpoints were trained with; otherwise (missing,
/// unreadable or different) restores it from the newest checkpoint that verifies. The old file is kept under another
/// name. A run without checkpoints trains a new one.
pub fn heal_tokenizer(run: &Run, notes: &mut Vec<String>) -> Result<(), TrainError> {
    let checkpoints = run.view().checkpoints();
    let ids = newest_first(&checkpoints)?;
    let ours = match read(run)? {
        [None, _] if ids.is_empty() => return Ok(()),
        ours => ours,
    };
    // Bytes that equal a checkpoint's need no further check.
    let hashes = ours.each_ref().map(|bytes| bytes.as_ref().map(|b| blake3::hash(b).to_hex().to_string()));
    let told = |id: &CheckpointId| checkpoints.files(id).unwrap_or_default();
    let same = |id: &CheckpointId| {
        let told = told(id);
        FILES.iter().zip(&hashes).all(|(name, hash)| told.get(*name).map(|f| &f.blake3) == hash.as_ref())
    };
    if ids.iter().any(same) {
        return Ok(());
    }
    let why = match load(&ours) {
        // Written by another version of danlu, or extended by chat template tokens since.
        Ok(ours) if ids.is_empty() || ids.iter().any(|id| agrees(&checkpoints, id, &ours)) => return Ok(()),
        Ok(_) => "it differs from that of every checkpoint".to_owned(),
        Err(why) => why,
    };
    let path = run.view().data_dir().join(FILES[0]);
    if ids.is_empty() {
        notes.push(format!("{}: {why}; no checkpoint has one yet, so it is trained again", path.display()));
        return set_aside(run, notes);
    }
    let found = checkpoints.newest_that(None, |c| {
        let bytes = FILES.map(|name| c.read(name, LIMIT).ok());
        let whole = load(&bytes).map(|_| ());
        whole.map_err(|what| StoreError::Input { path: c.file(FILES[0]), what })?;
        Ok((c.id, bytes))
    })?;
    let Some((id, bytes)) = found.found else {
        let newest = found.skipped.first().map_or_else(String::new, |s| format!("; the newest, {}: {}", s.id, s.error));
        return Err(TrainError::Input(format!(
            "{}: {why}; no checkpoint of the run can restore it{newest}",
            path.display()
        )));
    };
    notes.push(format!("{}: {why}; it was restored from the checkpoint {id}", path.display()));
    set_aside(run, notes)?;
    for (name, bytes) in FILES.iter().zip(bytes) {
        if let Some(bytes) = bytes {
            run.write_data(name, &bytes)?;
        }
    }
    Ok(())
}

fn newest_first(checkpoints: &Checkpoints) -> Result<Vec<CheckpointId>, TrainError> {
    let mut ids = checkpoints.list()?;
    ids.reverse();
    Ok(ids)
}

/// The files in `data/`. A missing or damaged one is None; a refusal of the system (permissions, too many open files)
/// is an error, since it says nothing about the bytes.
fn read(run: &Run) -> Result<Bytes, TrainError> {
    let (view, mut bytes) = (run.view(), [None, None]);
    for (name, bytes) in FILES.iter().zip(&mut bytes) {
        let path = view.data_dir().join(name);
        match read_limited(&**view.disk(), &path, LIMIT, Links::Follow) {
            Ok(read) => *bytes = Some(read),
            Err(e) if e.is_about_the_bytes() => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(bytes)
}

/// The tokenizer in two files, or the error.
fn load(bytes: &Bytes) -> Result<Tokenizer, String> {
    let [Some(json), settings] = bytes else { return Err("it is missing, or cannot be read".to_owned()) };
    let json = std::str::from_utf8(json).map_err(|e| format!("it is damaged: not UTF-8: {e}"))?;
    let settings = settings.as_deref().map(|s| std::str::from_utf8(s).map_err(|e| format!("{}: {e}", FILES[1])));
    Tokenizer::from_json(json, settings.transpose()?).map_err(|e| format!("it is damaged: {e}"))
}

/// Whether a checkpoint's tokenizer equals this one or was extended to it.
fn agrees(checkpoints: &Checkpoints, id: &CheckpointId, ours: &Tokenizer) -> bool {
    let same = |theirs: &Tokenizer| {
        let value = |t: &Tokenizer| serde_json::from_str::<serde_json::Value>(t.json()).ok();
        let ends = |t: &Tokenizer| (t.end_of_text(), t.pad());
        ends(theirs) == ends(ours) && value(theirs) == value(ours)
    };
    let Ok(checkpoint) = checkpoints.verify(id) else { return false };
    let Ok(theirs) = load(&FILES.map(|name| checkpoint.read(name, LIMIT).ok())) else { return false };
    same(&theirs) || [false, true].into_iter().any(|own| theirs.with_template(own).is_ok_and(|grown| same(&grown)))
}

/// Renames the existing files, and notes the new path.
fn set_aside(run: &Run, notes: &mut Vec<String>) -> Result<(), TrainError> {
    let mut moved = Vec::new();
    for name in FILES {
        moved.extend(run.set_aside(name)?);
    }
    if let Some(path) = moved.first() {
        notes.push(format!("what was there is now {}", path.display()));
    }
    Ok(())
}

/// Rejects a tokenizer kind in run.toml that differs from that of the run's own tokenizer.
pub fn keeps_tokenizer(config: &RunConfig, tokenizer: &Tokenizer, text: &str) -> Result<(), TrainError> {
    let ours = (0..).zip(SPECIAL_TOKENS).all(|(id, token)| tokenizer.token(id) == Some(token));
    // For a run started with --from the key has its default.
    let imported = text.parse::<toml::Table>().is_ok_and(|t| {
        t.get("model").and_then(|m| m.get("rms_norm_eps")).is_some()
            && t.get("model").and_then(|m| m.get("vocab_size")).is_some()
    });
    let has = if tokenizer.is_char() { TokenizerKind::Char } else { TokenizerKind::Bpe };
    if !ours || imported || has == config.tokenizer {
        return Ok(());
    }
    let name = |kind| if kind == TokenizerKind::Char { "char" } else { "bpe" };
    Err(TrainError::Input(format!(
        "the run has a {} tokenizer, not {}; a run keeps its tokenizer: set tokenizer = \"{}\" back, or start a new run",
        name(has),
        name(config.tokenizer),
        name(has)
    )))
}
