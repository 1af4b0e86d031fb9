//! A run's data for other trainers: token ids as NumPy files, the tokenizer, conversations and preferences as messages.

use std::io;

use serde_json::{Value, json};

use super::{folder::BUILTIN_LICENCE, npy::npy};
use crate::{
    base::{StageId, clean},
    data::{Preference, Role, Turn, builtin_held_out_preferences, builtin_preferences},
    protocol::Monitor,
    store::{NewFile, Run, StoreError},
    train::{
        config::{RunConfig, UNKNOWN},
        corpus::{Corpus, conversations::conversations},
        error::TrainError,
        stages::reward::pairs,
    },
};

/// The files of a run's data.
///
/// # Errors
///
/// Conversations or preferences that cannot be read.
pub fn dataset<'a>(run: &Run, config: &RunConfig, corpus: &'a Corpus) -> Result<Vec<NewFile<'a>>, TrainError> {
    let mut files = Vec::new();
    let mut sources = Vec::new();
    for (at, source) in corpus.packed.iter().enumerate() {
        let mut streams = Vec::new();
        for (which, stream) in [("train", &source.train), ("held-out", &source.held_out)] {
            let (ids, starts) = (format!("source-{at:02}-{which}.npy"), format!("source-{at:02}-{which}-starts.npy"));
            streams.push(json!({"split": which, "ids": ids, "starts": starts, "tokens": stream.len(),
                "documents": stream.documents()}));
            files.push(npy(&ids, "<u4", &[stream.len()], move |to| {
                let mut result = Ok(());
                let each = stream.each(|ids| {
                    if result.is_ok() {
                        result = to.write_all(bytemuck::cast_slice(ids));
                    }
                });
                result.and(each.map_err(io::Error::other))
            }));
            let places: Vec<u64> = (0..stream.documents()).map(|d| stream.document(d).start as u64).collect();
            files.push(npy(&starts, "<u8", &[places.len()], move |to| to.write_all(bytemuck::cast_slice(&places))));
        }
        let [license, url] = match config.source.iter().find(|s| s.name == source.name) {
            Some(written) => written.origin(),
            None => [BUILTIN_LICENCE, UNKNOWN],
        };
        sources.push(
            json!({"name": source.name, "weight": source.weight, "license": license, "url": url, "files": streams}),
        );
    }
    let tokenizer = &corpus.tokenizer;
    let (mut chats, mut preferences) = (String::new(), String::new());
    let (mut chat_count, mut pair_count) = (0, 0);
    for chat in conversations(config, run.view().dir(), true, &Monitor::default())? {
        line(&mut chats, &json!({"messages": messages(&chat.turns), "task": chat.task}))?;
        chat_count += 1;
    }
    let all = if config.stage(StageId::Reward).source.is_empty() {
        let mut all = builtin_preferences()?;
        all.extend(builtin_held_out_preferences()?);
        all
    } else {
        let sources = pairs::read_sources(config, run.view().dir(), &mut Vec::new(), &Monitor::default())?;
        sources.into_iter().flat_map(|s| s.pairs.into_iter().chain(s.split)).collect()
    };
    for pair in &all {
        line(&mut preferences, &messages_of_pair(pair))?;
        pair_count += 1;
    }
    let header = json!({
        "format": 1,
        "run": run.view().name(),
        "dtype": "uint32",
        "vocab_size": tokenizer.vocab_size(),
        "end_of_text": tokenizer.end_of_text(),
        "pad": tokenizer.pad(),
        "note": "every document ends with end_of_text; starts are the positions of its documents in ids",
        "sources": sources,
        "conversations": {"file": "conversations.jsonl", "records": chat_count},
        "preferences": {"file": "preferences.jsonl", "records": pair_count},
    });
    files.push(NewFile::bytes("conversations.jsonl", chats));
    files.push(NewFile::bytes("preferences.jsonl", preferences));
    files.push(NewFile::bytes("tokenizer.json", tokenizer.checkpoint_json()));
    let window = config.model()?.max_position_embeddings;
    let template = crate::train::run::checkpoint::chat_template(tokenizer);
    files.push(NewFile::bytes("tokenizer_config.json", tokenizer.config_json(window, template)));
    let text = clean::json_pretty(&header).map_err(|e| TrainError::Input(format!("data.json: {e}")))?;
    files.push(NewFile::bytes("data.json", text + "\n"));
    Ok(files)
}

/// Turns as messages.
pub(super) fn messages(turns: &[Turn]) -> Value {
    turns.iter().map(|turn| json!({"role": turn.role, "content": turn.content})).collect()
}

/// A pair as messages: TRL takes texts as they are and applies no template to them; to messages it does.
pub(super) fn messages_of_pair(Preference { prompt, chosen, rejected, task, .. }: &Preference) -> Value {
    let answer = |text: &str| json!([{"role": Role::Assistant, "content": text}]);
    json!({"prompt": messages(prompt), "chosen": answer(chosen), "rejected": answer(rejected), "task": task})
}

/// Appends a record as a line.
pub(super) fn line(to: &mut String, record: &Value) -> Result<(), TrainError> {
    // Serialising JSON values cannot fail.
    to.push_str(&clean::json(record).map_err(|e| StoreError::Io {
        doing: "write",
        path: "conversations".into(),
        source: e.into(),
    })?);
    to.push('\n');
    Ok(())
}
