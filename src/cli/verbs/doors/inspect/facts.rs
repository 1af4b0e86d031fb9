//! What the files beside the weights say: configuration, tokenizer, manifest, metadata.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::tables::{aligned, one_line, shape};
use crate::{
    cli::{Failure, Outcome},
    data::{self, LARGEST_FILE},
    store::{
        Contents, GgufHeader, LFS_POINTER, Links, List, MetaValue, RealFs, Wrapping, is_lfs_pointer, manifest_beside,
        open_limited,
    },
    train::{TrainError, export::state, model_folder},
    ui::{
        Lang,
        strings::Tr,
        text::{bytes, grouped, shorten},
    },
};

/// Cells of a value of the metadata.
const LONGEST: usize = 100;
/// Bytes of a text of the metadata in JSON.
const LONGEST_JSON: usize = 4096;
/// Elements of a list that are shown.
const FIRST: usize = 4;

/// The facts of a folder (or of a GGUF file).
#[derive(Default)]
pub(super) struct Facts {
    config: Option<Map<String, Value>>,
    tokenizer: Option<data::Facts>,
    chat_template: bool,
    /// What trained a checkpoint, and on what.
    engine: Option<[String; 2]>,
    manifest: Option<Manifest>,
}

/// The comparison with a manifest.
struct Manifest {
    files: usize,
    differences: Vec<String>,
}

impl Facts {
    /// Reads the files beside the weights at `path`, if that is a folder or an index in one.
    pub(super) fn read(path: &Path, found: &Contents) -> Result<Facts, Failure> {
        let dir: PathBuf = match &found.wrapping {
            Wrapping::Gguf(_) => return Ok(Facts::default()),
            Wrapping::Sharded(_) if path.is_file() => path.parent().unwrap_or(Path::new("")).to_owned(),
            _ if path.is_file() => return Ok(Facts::default()),
            _ => path.to_owned(),
        };
        let mut facts = Facts::default();
        if let Some(text) = model_folder::read_text(&dir, "config.json")? {
            let config = serde_json::from_str(&text).map_err(|e| {
                Failure::usage(format!("{}: it is no JSON object: {e}", dir.join("config.json").display()))
            })?;
            facts.config = Some(config);
        }
        let tokenizer = dir.join("tokenizer.json");
        if tokenizer.exists() {
            let wrong = |what: &str| Failure::usage(format!("{}: {what}", tokenizer.display()));
            let limit = LARGEST_FILE as u64;
            let (mut file, _) = open_limited(&RealFs, &tokenizer, limit, Links::Follow).map_err(TrainError::from)?;
            let mut start = Vec::new();
            file.by_ref().take(64).read_to_end(&mut start).map_err(|e| wrong(&e.to_string()))?;
            if is_lfs_pointer(&start) {
                return Err(wrong(LFS_POINTER));
            }
            let read = data::facts(start.as_slice().chain(file));
            facts.tokenizer = Some(read.map_err(|e| wrong(&e.to_string()))?);
        }
        let settings = model_folder::read_text(&dir, "tokenizer_config.json")?;
        facts.chat_template = dir.join("chat_template.jinja").exists()
            || settings.is_some_and(|text| {
                serde_json::from_str::<Value>(&text).is_ok_and(|all| !all["chat_template"].is_null())
            });
        if let Some(manifest) = manifest_beside(&RealFs, &dir, Links::Follow).map_err(TrainError::from)? {
            let differences = manifest.differences().map_err(TrainError::from)?;
            let state = state(&dir)?;
            let of = |key: &str| state[key].as_str().map(str::to_owned);
            facts.engine = of("engine").zip(of("adapter")).map(|(engine, adapter)| [engine, adapter]);
            facts.manifest = Some(Manifest { files: manifest.len(), differences });
        }
        Ok(facts)
    }

    pub(super) fn is_checkpoint(&self) -> bool {
        self.manifest.is_some()
    }

    pub(super) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    /// Exit code 2 when a file is not the one that was saved.
    pub(super) fn verdict(&self, path: &Path) -> Outcome {
        match self.manifest.as_ref().and_then(|manifest| manifest.differences.first()) {
            Some(first) => Err(Failure::usage(format!(
                "{}: {first}, as manifest.json lists it; copy the folder again, or use another checkpoint",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Lines for a reader.
    pub(super) fn page(&self, found: &Contents, lang: Lang) -> String {
        let say = |zh: &'static str, en: &'static str| Tr(zh, en).get(lang).to_owned();
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |name: String, value: String| rows.push(vec![name, value]);
        if let Wrapping::Sharded(index) = &found.wrapping {
            row(say("分片", "shards"), format!("{} ({index})", found.files.len()));
        }
        if let Some(config) = &self.config {
            let of = |key: &str| config.get(key).map(plain).unwrap_or_default();
            let name = config.get("architectures").and_then(|all| all.get(0)).map_or_else(|| of("model_type"), plain);
            row(say("模型", "model"), name);
            for key in SHAPE {
                if let Some(value) = config.get(key).filter(|value| !value.is_null()) {
                    row(key.to_owned(), plain(value));
                }
            }
        }
        if let Some(adapter) = &found.adapter {
            for key in ["base_model_name_or_path", "peft_type", "r", "lora_alpha", "target_modules"] {
                if let Some(value) = adapter.get(key) {
                    row(key.to_owned(), plain(value));
                }
            }
        }
        if let Some(text) = self.tokenizer(lang) {
            row(say("分词器", "tokenizer"), text);
        }
        for other in &found.others {
            let (tensors, elements) = (grouped(other.tensors as u64), grouped(other.elements));
            row(
                other.name.clone(),
                match lang {
                    Lang::Zh => format!("{tensors} 个张量，{elements} 个数，{}", bytes(other.bytes)),
                    Lang::En => format!("{tensors} tensors, {elements} numbers, {}", bytes(other.bytes)),
                },
            );
        }
        for (key, value) in metadata(found) {
            row(key, value);
        }
        if let Some([engine, adapter]) = &self.engine {
            row(
                say("训练", "trained by"),
                if adapter == engine { engine.clone() } else { format!("{engine} ({adapter})") },
            );
        }
        if let Some(manifest) = &self.manifest {
            let files = manifest.files;
            let text = match (lang, manifest.differences.as_slice()) {
                (Lang::Zh, []) => format!("{files} 个文件的 blake3 与 manifest.json 一致"),
                (Lang::En, []) => format!("the blake3 of all {files} files is that of manifest.json"),
                (Lang::Zh, all) => format!("与 manifest.json 不符：{}", all.join("；")),
                (Lang::En, all) => format!("differs from manifest.json: {}", all.join("; ")),
            };
            row(say("校验", "check"), text);
        }
        if rows.is_empty() {
            return String::new();
        }
        for row in &mut rows {
            row[1] = shorten(&one_line(&row[1]), LONGEST);
        }
        pairs(rows)
    }

    fn tokenizer(&self, lang: Lang) -> Option<String> {
        let facts = self.tokenizer.as_ref()?;
        let (tokens, merges, added) =
            (grouped(facts.model.vocab.0), grouped(facts.model.merges.0), grouped(facts.added.0));
        let mut text = facts.model.kind.clone().unwrap_or_else(|| "?".to_owned());
        text.extend([match lang {
            Lang::Zh => format!("，{tokens} 个词元，{merges} 个合并，{added} 个附加词元"),
            Lang::En => format!(", {tokens} tokens, {merges} merges, {added} added tokens"),
        }]);
        let mut more = |zh, en| text.push_str(Tr(zh, en).get(lang));
        if facts.model.byte_fallback == Some(true) {
            more("，字节回退", ", byte fallback");
        }
        if self.chat_template {
            more("，有对话模板", ", a chat template");
        }
        if let Some(part) = &facts.pre_tokenizer {
            text.extend([format!(", pre-tokenizer {part}")]);
        }
        if let Some(part) = &facts.normalizer {
            text.extend([format!(", normalizer {part}")]);
        }
        Some(text)
    }

    /// The same for JSON.
    pub(super) fn objects(&self, found: &Contents) -> Map<String, Value> {
        let mut all = Map::new();
        if let Some([engine, adapter]) = &self.engine {
            all.insert("engine".to_owned(), json!(engine));
            all.insert("adapter".to_owned(), json!(adapter));
        }
        if let Some(config) = &self.config {
            let keys = ["architectures", "model_type"].into_iter().chain(SHAPE);
            let config: Map<String, Value> =
                keys.filter_map(|key| Some((key.to_owned(), config.get(key)?.clone()))).collect();
            all.insert("config".to_owned(), Value::Object(config));
        }
        if let Some(facts) = &self.tokenizer {
            let model = &facts.model;
            let tokenizer = json!({
                "type": model.kind, "tokens": model.vocab.0, "merges": model.merges.0, "added_tokens": facts.added.0,
                "byte_fallback": model.byte_fallback.unwrap_or(false), "chat_template": self.chat_template,
                "pre_tokenizer": facts.pre_tokenizer.as_ref().map(ToString::to_string),
                "normalizer": facts.normalizer.as_ref().map(ToString::to_string),
            });
            all.insert("tokenizer".to_owned(), tokenizer);
        }
        let metadata: Map<String, Value> = match &found.wrapping {
            Wrapping::Gguf(header) => header.pairs.iter().map(|(key, value)| (key.clone(), object(value))).collect(),
            _ => found.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect(),
        };
        all.insert("metadata".to_owned(), Value::Object(metadata));
        let other = |o: &crate::store::TensorFiles| json!({"file": o.name, "tensors": o.tensors, "parameters": o.elements, "bytes": o.bytes});
        all.insert("others".to_owned(), Value::Array(found.others.iter().map(other).collect()));
        if let Some(manifest) = &self.manifest {
            let object = json!({"files": manifest.files, "differences": manifest.differences});
            all.insert("manifest".to_owned(), object);
        }
        if let Some(adapter) = &found.adapter {
            all.insert("adapter".to_owned(), adapter.clone());
        }
        all
    }
}

/// Keys of a config.json that are shown.
const SHAPE: [&str; 16] = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "num_local_experts",
    "num_experts_per_tok",
    "max_position_embeddings",
    "rope_theta",
    "tie_word_embeddings",
    "n_embd",
    "n_layer",
    "n_head",
    "n_positions",
];

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Two columns, both to the left.
fn pairs(rows: Vec<Vec<String>>) -> String {
    let names = aligned("", rows.iter().map(|row| vec![row[0].clone()]));
    let lines = names.lines().zip(&rows).map(|(name, row)| format!("{name}  {}\n", row[1]));
    lines.collect::<String>() + "\n"
}

fn metadata(found: &Contents) -> Vec<(String, String)> {
    match &found.wrapping {
        Wrapping::Gguf(header) => header
            .pairs
            .iter()
            .map(|(key, value)| (key.clone(), shown(header, key, value)))
            .chain([("GGUF".to_owned(), format!("version {}", header.version))])
            .collect(),
        _ => found.metadata.clone(),
    }
}

/// A value of a GGUF header as text; a token id also as its token.
fn shown(header: &GgufHeader, key: &str, value: &MetaValue) -> String {
    let token = || {
        let id = usize::try_from(header.number(key)?).ok()?;
        Some(header.list("tokenizer.ggml.tokens")?.text(id)?.into_owned())
    };
    match value {
        MetaValue::Unsigned(n) if key.ends_with("_token_id") => match token() {
            Some(token) => format!("{n} {token:?}"),
            None => n.to_string(),
        },
        MetaValue::Unsigned(n) => n.to_string(),
        MetaValue::Signed(n) => n.to_string(),
        MetaValue::Float(x) => shortest(*x).to_string(),
        MetaValue::Bool(yes) => yes.to_string(),
        MetaValue::Text(text) => text.clone(),
        MetaValue::List(list) => {
            let first = first(list).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let more = if list.len() > FIRST as u64 { ", …" } else { "" };
            format!("{} × [{first}{more}]", shape(&[list.len()]))
        }
    }
}

/// A number that was an f32 with the digits that an f32 needs.
fn shortest(x: f64) -> f64 {
    if f64::from(x as f32) == x { (x as f32).to_string().parse().unwrap_or(x) } else { x }
}

fn first(list: &List) -> Vec<Value> {
    match list {
        List::Texts { .. } => (0..FIRST).map_while(|at| Some(json!(list.text(at)?))).collect(),
        _ => list.numbers().take(FIRST).map(|value| object(&value)).collect(),
    }
}

fn object(value: &MetaValue) -> Value {
    match value {
        MetaValue::Unsigned(n) => json!(n),
        MetaValue::Signed(n) => json!(n),
        // NaN and infinities become null.
        MetaValue::Float(x) => json!(shortest(*x)),
        MetaValue::Bool(yes) => json!(yes),
        MetaValue::Text(text) if text.len() > LONGEST_JSON => {
            json!(format!("{}⋯", &text[..text.floor_char_boundary(LONGEST_JSON)]))
        }
        MetaValue::Text(text) => json!(text),
        MetaValue::List(list) => json!({"length": list.len(), "first": first(list)}),
    }
}
