//! `danlu inspect`: the tensors of a model's files and what is known about them, from their headers.

mod facts;
pub(super) mod tables;
mod tree;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    base::shell,
    cli::{Common, Failure, Outcome, output},
    store::{CheckpointId, Contents, RealFs, RunView, StoreError, Wrapping, contents},
    train::TrainError,
    ui::{
        Lang,
        strings::Tr,
        text::{bytes, grouped},
    },
};
use facts::Facts;

/// Look into a file or folder of weights: tensors, totals, metadata, tokenizer; only headers are read
#[derive(Args)]
pub(in crate::cli) struct Inspect {
    /// A .safetensors or .gguf file, an index of shards, a model's folder, a checkpoint or a run
    path: PathBuf,
    /// The tensors as a tree, with totals; layers that are alike are shown once
    #[arg(long)]
    tree: bool,
    /// One JSON object a line and tensor, and one with the totals
    #[arg(long)]
    json: bool,
}

/// A checkpoint of a run: parameters and bytes, or why its headers cannot be read.
struct Listed {
    name: String,
    found: Result<(u64, u64), StoreError>,
}

impl Inspect {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        let lang = common.language();
        let (path, run) = match self.checkpoints()? {
            Some((newest, all)) => (newest, Some(all)),
            None => (self.path.clone(), None),
        };
        let found = contents(&RealFs, &path).map_err(TrainError::from)?;
        let facts = Facts::read(&path, &found)?;
        if self.json {
            Self::objects(&path, &found, &facts, run.as_deref());
        } else {
            output::lines(&self.page(&path, &found, &facts, run.as_deref(), lang));
        }
        facts.verdict(&path)
    }

    /// The checkpoints of a run, and the path of the newest one of the furthest stage; None if the path is no run.
    fn checkpoints(&self) -> Result<Option<(PathBuf, Vec<Listed>)>, Failure> {
        if !self.path.join("run.toml").is_file() {
            return Ok(None);
        }
        let view = RunView::open(RealFs::shared(), &self.path).map_err(TrainError::from)?;
        let checkpoints = view.checkpoints();
        let ids = checkpoints.list().map_err(TrainError::from)?;
        // Sorted: the furthest stage is last.
        let newest = ids.last();
        let Some(newest) = newest.map(|id| checkpoints.path(id)) else {
            let (path, word) = (self.path.display(), shell::path(&self.path));
            return Err(Failure::usage(format!(
                "{path}: the run has no checkpoint yet; train it first: danlu train --run {word}"
            )));
        };
        let listed = |id: &CheckpointId| {
            let found = contents(&RealFs, &checkpoints.path(id));
            Listed { name: id.to_string(), found: found.map(|found| (found.parameters(), found.bytes())) }
        };
        Ok(Some((newest, ids.iter().map(listed).collect())))
    }

    fn objects(path: &Path, found: &Contents, facts: &Facts, run: Option<&[Listed]>) {
        for tensor in &found.tensors {
            let mut line = json!({
                "tensor": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype, "bytes": tensor.bytes,
            });
            if found.files.len() > 1 {
                line["file"] = json!(found.files[tensor.file]);
            }
            output::json(&line);
        }
        let mut last = json!({
            "tensors": found.tensors.len(), "parameters": found.parameters(), "bytes": found.bytes(),
            "path": path.to_string_lossy(), "kind": kind(found, facts).1, "files": found.files,
        });
        let object = last.as_object_mut();
        if let Some(object) = object {
            object.extend(tables::objects(found));
            object.extend(facts.objects(found));
            if let Some(all) = run {
                let line = |c: &Listed| match &c.found {
                    Ok((parameters, bytes)) => json!({"checkpoint": c.name, "parameters": parameters, "bytes": bytes}),
                    Err(e) => json!({"checkpoint": c.name, "error": e.to_string()}),
                };
                object.insert("checkpoints".to_owned(), Value::Array(all.iter().map(line).collect()));
            }
        }
        output::json(&last);
    }

    fn page(&self, path: &Path, found: &Contents, facts: &Facts, run: Option<&[Listed]>, lang: Lang) -> String {
        let say = |zh, en| Tr(zh, en).get(lang);
        let mut page = String::new();
        if let Some(all) = run {
            let rows = all.iter().map(|c| match &c.found {
                Ok((parameters, size)) => vec![c.name.clone(), grouped(*parameters), bytes(*size)],
                Err(e) => vec![format!("{}: {e}", c.name), String::new(), String::new()],
            });
            let head = say("检查点|参数|字节", "checkpoint|parameters|bytes");
            page.extend([format!("{}\n{}\n", self.path.display(), tables::aligned(head, rows))]);
        }
        page.extend([format!("{}: {}\n\n", path.display(), kind(found, facts).0.get(lang))]);
        page.push_str(&if self.tree { tree::page(found) } else { tables::tensors(found, lang) });
        page.push_str(&tables::totals(found, lang));
        page.push_str(&facts.page(found, lang));
        page.extend([format!(
            "{} {} · {} {} · {}\n",
            grouped(found.tensors.len() as u64),
            say("个张量", "tensors"),
            grouped(found.parameters()),
            say("个参数", "parameters"),
            bytes(found.bytes())
        )]);
        page
    }
}

/// What the path is, and the word for it in JSON.
fn kind(found: &Contents, facts: &Facts) -> (Tr, &'static str) {
    match &found.wrapping {
        _ if found.adapter.is_some() => (
            Tr(
                "PEFT 适配器（LoRA）：它只改动另一个模型，自己不是模型；先合并到底座（merge_and_unload）再使用",
                "a PEFT adapter (LoRA): it modifies another model and is none itself; merge it into its base (merge_and_unload) before use",
            ),
            "adapter",
        ),
        Wrapping::Gguf(_) => (Tr("GGUF 文件（llama.cpp）", "a GGUF file (llama.cpp)"), "gguf"),
        _ if facts.is_checkpoint() => (Tr("danlu 检查点", "a checkpoint of danlu"), "checkpoint"),
        Wrapping::Sharded(_) => (Tr("分片的 safetensors", "sharded safetensors"), "sharded"),
        Wrapping::Safetensors if facts.has_config() => (Tr("Hugging Face 文件夹", "a Hugging Face folder"), "folder"),
        Wrapping::Safetensors => (Tr("safetensors 文件", "a safetensors file"), "safetensors"),
    }
}
