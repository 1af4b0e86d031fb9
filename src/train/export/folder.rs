//! A model's folder without what only danlu reads.

use std::{io, path::Path};

use serde_json::Value;

use crate::{
    base::StageId,
    store::{Links, NewFile, RealFs, contents, manifest_beside, open_limited},
    train::{config::RunConfig, error::TrainError, run::model_folder},
};

/// The files beside the weights; transformers does not read what votes add to a reward model's score.
const FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "taste.json",
];

/// The files of a model that transformers reads, copied byte by byte when they are written.
///
/// # Errors
///
/// A folder without weights or config.json; files that are not those of the manifest beside them.
pub fn folder(dir: &Path) -> Result<Vec<NewFile<'static>>, TrainError> {
    let found = contents(&RealFs, dir)?;
    if model_folder::read_text(dir, "config.json")?.is_none() {
        return Err(TrainError::Input(format!(
            "{}: there is no config.json, so it is not a model's folder",
            dir.display()
        )));
    }
    let index = match &found.wrapping {
        crate::store::Wrapping::Sharded(index) => Some(index.clone()),
        _ => None,
    };
    let manifest = manifest_beside(&RealFs, dir, Links::Follow)?;
    let beside = FILES.iter().filter(|name| dir.join(name).exists()).map(|name| (*name).to_owned());
    let mut files = Vec::new();
    for name in beside.chain(index).chain(found.files) {
        if let Some(manifest) = &manifest {
            manifest.check(&name)?;
        }
        let (mut reader, bytes) = open_limited(&RealFs, &dir.join(&name), u64::MAX, Links::Follow)?;
        files.push(NewFile::writer(&name, bytes, move |to| io::copy(&mut reader, to).map(|_| ())));
    }
    Ok(files)
}

/// The state of a checkpoint as JSON; null for a folder that danlu did not write.
pub fn state(dir: &Path) -> Result<Value, TrainError> {
    let Some(text) = model_folder::read_text(dir, "state.json")? else { return Ok(Value::Null) };
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// The licence of the built-in data, as assets/README.md has it.
pub const BUILTIN_LICENCE: &str = "public domain; compilation MIT";

/// Whether a stage of a run draws from the built-in data alone.
pub fn is_builtin(config: &RunConfig, stage: StageId) -> bool {
    config.source.is_empty() && config.stage(stage).source.is_empty()
}
