//! The parsers, their examples, and their mutations.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use danlu::{
    base::StageId,
    data::{
        DataError, Format, History, Ids, Shape, Tokenizer, facts,
        read::{Packing, ReadOptions, documents},
        read_chats, read_preferences,
        stored::{
            shard::{self, ShardWriter},
            unit::{Cleaned, Summary, Unit, UnitWriter},
        },
        tokenizer::{TextGroup, train_bpe, train_char},
    },
    nn::{Architecture, ModelConfig, ParamTable},
    store::{
        CheckpointId, Links, Log, Run, RunView, StoreError, TensorRef, contents, each_record, read_from, read_model,
        read_shapes, read_tensors, write_tensors,
    },
    train::{
        TrainError,
        checkpoint::{self, State},
        config::RunConfig,
        model_folder,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{fault::FaultFs, gguf_file, mutate, texts::Chance};

/// Examples, and a reader that returns 0 or the exit code of its error.
type Opened = (Vec<Vec<u8>>, Box<dyn FnMut(&[u8]) -> u8>);

/// A parser of foreign bytes.
pub(crate) struct Parser {
    pub name: &'static str,
    pub open: fn() -> Opened,
    pub change: fn(&[u8], &mut Chance) -> Vec<u8>,
    /// Whether every mutation must be detected; otherwise some must be accepted.
    pub sealed: bool,
}

/// All parsers.
pub(crate) const PARSERS: &[Parser] = &[
    Parser { name: "safetensors", open: tensors, change: mutate::safetensors, sealed: false },
    Parser { name: "safetensors_index", open: index, change: mutate::json, sealed: false },
    Parser { name: "config_json", open: config, change: mutate::json, sealed: false },
    Parser { name: "config_beside_weights", open: config_beside, change: mutate::json, sealed: false },
    Parser { name: "generation_config", open: generation, change: mutate::json, sealed: false },
    Parser { name: "tokenizer_json", open: tokenizer, change: mutate::json, sealed: false },
    Parser { name: "tokenizer_config", open: tokenizer_config, change: mutate::json, sealed: false },
    Parser { name: "manifest", open: manifest, change: mutate::json, sealed: true },
    Parser { name: "manifest_beside", open: manifest_beside, change: mutate::json, sealed: false },
    Parser { name: "sealed_state", open: sealed_state, change: mutate::json, sealed: false },
    Parser { name: "sealed_config", open: sealed_config, change: mutate::json, sealed: false },
    Parser { name: "sealed_optimizer", open: sealed_optimizer, change: mutate::safetensors, sealed: false },
    Parser { name: "run_toml", open: run_toml, change: mutate::toml, sealed: false },
    Parser { name: "ids", open: ids, change: mutate::json, sealed: false },
    Parser { name: "text", open: text, change: mutate::bytes, sealed: false },
    Parser { name: "text_json", open: text_json, change: mutate::json_lines, sealed: false },
    Parser { name: "text_table", open: text_table, change: mutate::bytes, sealed: false },
    Parser { name: "text_packed", open: text_packed, change: packed, sealed: false },
    Parser { name: "parquet", open: parquet, change: mutate::bytes, sealed: false },
    Parser { name: "conversations", open: conversations, change: mutate::json_lines, sealed: false },
    Parser { name: "preferences", open: preferences, change: mutate::json_lines, sealed: false },
    Parser { name: "logs", open: logs, change: mutate::json_lines, sealed: false },
    Parser { name: "shard", open: shards, change: resealed_shard, sealed: false },
    Parser { name: "gguf", open: gguf, change: mutate::bytes, sealed: false },
    Parser { name: "tokenizer_facts", open: tokenizer_facts, change: mutate::json, sealed: false },
    Parser { name: "foreign_config", open: foreign_config, change: mutate::json, sealed: false },
    Parser { name: "unit", open: units, change: resealed_unit, sealed: false },
];

/// An input and its reader.
pub(crate) type Large = (Vec<u8>, Box<dyn FnMut(&[u8]) -> u8>);

/// Creates one at a time, to limit memory.
pub(crate) type MakeLarge = fn() -> Large;

/// Inputs of many megabytes that are as expensive as possible for a parser.
pub(crate) const LARGE: &[(&str, MakeLarge)] = &[
    ("ids_of_one_row", || (format!("{{\"input_ids\":[[{}0]]}}", "0,".repeat(15_000_000)).into_bytes(), ids().1)),
    ("ids_of_many_rows", || (format!("{{\"input_ids\":[{}[0]]}}", "[0],".repeat(8_000_000)).into_bytes(), ids().1)),
    ("ids_and_labels", || {
        let row = "1,".repeat(7_000_000);
        (format!("{{\"labels\":[[{row}1]],\"input_ids\":[[{row}1]]}}").into_bytes(), ids().1)
    }),
    ("ids_of_brackets", || (format!("{{\"input_ids\":{}", "[".repeat(20_000_000)).into_bytes(), ids().1)),
    ("tokenizer_of_empty_lists", || {
        let whole = String::from_utf8(published().remove(0)).unwrap();
        let end = whole.rfind('}').unwrap();
        (format!("{},\"zzz\":[{}[]]}}", &whole[..end], "[],".repeat(6_000_000)).into_bytes(), tokenizer().1)
    }),
    ("tokenizer_of_parts", || {
        let parts = "{\"type\":\"NFC\"},".repeat(1_000_000);
        let text = format!(
            "{{\"version\":\"1.0\",\"normalizer\":{{\"type\":\"Sequence\",\"normalizers\":[{parts}{{\"type\":\"NFC\"}}]}},\"model\":{{}}}}"
        );
        (text.into_bytes(), tokenizer().1)
    }),
    ("config_of_empty_lists", || {
        (format!("{{\"z\":[{}[]]}}", "[],".repeat(5_000_000)).into_bytes(), config_beside().1)
    }),
    ("index_of_empty_lists", || {
        (format!("{{\"z\":[{}[]],\"weight_map\":{{}}}}", "[],".repeat(5_000_000)).into_bytes(), index().1)
    }),
    ("state_of_empty_lists", || (format!("{{\"z\":[{}[]]}}", "[],".repeat(5_000_000)).into_bytes(), sealed_state().1)),
    ("json_of_empty_objects", || (format!("[{}{{}}]", "{},".repeat(5_000_000)).into_bytes(), text_json().1)),
];

fn code<T>(result: Result<T, impl Into<TrainError>>) -> u8 {
    result.map_or_else(|e| e.into().exit_code(), |_| 0)
}

/// Data errors have no exit code; the verb that reads data exits with 2.
fn data<T>(result: Result<T, DataError>) -> u8 {
    code(result)
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn tiny() -> ModelConfig {
    ModelConfig::llama(2, 8, 2, 1, 16, 270, 32)
}

/// The weights of a model as a file.
fn weights(table: &ParamTable, prefix: &str, more: &[(&str, &[usize])]) -> Vec<u8> {
    let mut all: Vec<(String, Vec<usize>)> =
        table.tensors.iter().map(|t| (format!("{prefix}{}", t.name), t.shape.clone())).collect();
    all.extend(more.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())));
    let zeros = vec![0.0; table.slab_len];
    let tensors: Vec<TensorRef<'_>> =
        all.iter().map(|(name, shape)| TensorRef { name, shape, data: &zeros[..shape.iter().product()] }).collect();
    let mut bytes = Vec::new();
    write_tensors(&mut bytes, &tensors, &BTreeMap::from([("steps".to_owned(), vec![1, 2])])).unwrap();
    bytes
}

fn small_tokenizer() -> Tokenizer {
    train_char(&[TextGroup { weight: 1.0, texts: vec!["春眠不觉晓"] }], 270).unwrap()
}

fn tensors() -> Opened {
    let disk = FaultFs::new();
    let path = PathBuf::from("/m.safetensors");
    let read = move |bytes: &[u8]| {
        disk.poke(&path, bytes).unwrap();
        code(read_tensors(&disk, &path, Links::Refuse))
    };
    (vec![weights(&ParamTable::new(&tiny()), "", &[])], Box::new(read))
}

fn gguf() -> Opened {
    let disk = FaultFs::new();
    let path = PathBuf::from("/m.gguf");
    let read = move |bytes: &[u8]| {
        disk.poke(&path, bytes).unwrap();
        code(contents(&disk, &path))
    };
    (vec![gguf_file::small()], Box::new(read))
}

fn tokenizer_facts() -> Opened {
    (published(), Box::new(|bytes: &[u8]| data(facts(bytes))))
}

fn foreign_config() -> Opened {
    let read = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let sums = |shape: Architecture| (shape.training_flops(u64::MAX), shape.training_bytes(1 << 32, 1 << 32, true));
        code(Architecture::from_json(&text).map(sums))
    };
    let gpt2 = json!({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50_257});
    let mixtral = json!({"model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14_336, "vocab_size": 32_000,
        "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 32_768});
    let all = [gpt2, mixtral, tiny().to_json()];
    (all.iter().map(|config| config.to_string().into_bytes()).collect(), Box::new(read))
}

fn index() -> Opened {
    let disk = FaultFs::new();
    let table = ParamTable::new(&tiny());
    let file = weights(&table, "", &[]);
    disk.poke(Path::new("/a.safetensors"), &file).unwrap();
    let map: BTreeMap<String, &str> = table
        .tensors
        .iter()
        .map(|t| (t.name.clone(), "a.safetensors"))
        .chain([("steps".to_owned(), "a.safetensors")])
        .collect();
    let example = json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string().into_bytes();
    let read = move |bytes: &[u8]| {
        disk.poke(Path::new("/model.safetensors.index.json"), bytes).unwrap();
        code(
            read_shapes(&disk, Path::new("/"), Links::Refuse)
                .and_then(|_| read_model(&disk, Path::new("/"), Links::Refuse)),
        )
    };
    (vec![example], Box::new(read))
}

fn config() -> Opened {
    let read = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let one = ModelConfig::from_json(&text).map(|config| ParamTable::new(&config));
        code(one.or_else(|_| ModelConfig::from_scalar_json(&text).map(|config| ParamTable::scalar(&config))))
    };
    let all = [
        tiny().to_json(),
        tiny().to_scalar_json(),
        json!({"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9, "intermediate_size": 4, "num_hidden_layers": 1, "rope_scaling": null, "eos_token_id": [1, 2]}),
    ];
    (all.map(|c| c.to_string().into_bytes()).to_vec(), Box::new(read))
}

/// A model's folder on this disk.
struct Folder {
    dir: tempfile::TempDir,
    config: Vec<u8>,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = tiny().to_json().to_string().into_bytes();
        let folder = Self { dir, config };
        folder.put("config.json", &folder.config);
        let zeros = vec![0.0; ParamTable::new(&tiny()).slab_len];
        let table = ParamTable::new(&tiny());
        let mut file = Vec::new();
        write_tensors(&mut file, &model_folder::tensors(&table, &zeros), &BTreeMap::new()).unwrap();
        folder.put("model.safetensors", &file);
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let mut file = fs::File::create(self.dir.path().join(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn load(&self) -> u8 {
        code(model_folder::load(self.dir.path()))
    }
}

fn config_beside() -> Opened {
    let folder = Folder::new();
    let example = folder.config.clone();
    let read = move |bytes: &[u8]| {
        folder.put("config.json", bytes);
        folder.load()
    };
    (vec![example], Box::new(read))
}

fn generation() -> Opened {
    let folder = Folder::new();
    let example =
        json!({"do_sample": true, "temperature": 0.8, "top_k": 40, "eos_token_id": [0, 2], "pad_token_id": 1});
    let read = move |bytes: &[u8]| {
        folder.put("generation_config.json", bytes);
        match model_folder::read_text(folder.dir.path(), "generation_config.json") {
            Ok(_) => folder.load(),
            Err(e) => e.exit_code(),
        }
    };
    (vec![example.to_string().into_bytes()], Box::new(read))
}

/// Reads a tokenizer and uses it as verbs do.
fn use_tokenizer(json: &str, config: Option<&str>) -> u8 {
    let tokenizer = match Tokenizer::from_json(json, config) {
        Ok(tokenizer) => tokenizer,
        Err(e) => return data::<()>(Err(e)),
    };
    let long = "春 a <0x41>\n".repeat(40);
    for text in ["", "a", "春眠 The fox  said\u{1F600} <|user|> </s>\n\n", &long, &" ".repeat(600), &"a".repeat(600)]
    {
        let Ok(ids) = tokenizer.encode(text) else { return 2 };
        tokenizer.decode(&ids, false);
        let mut stream = tokenizer.stream(true);
        for id in &ids {
            drop(stream.push(*id));
        }
        stream.finish();
    }
    let all: Vec<u32> = (0..tokenizer.vocab_size().min(300) as u32).collect();
    tokenizer.decode(&all, true);
    // A tokenizer that cannot get the template's tokens reports that.
    drop(tokenizer.with_chat());
    drop(tokenizer.config_json(32, Some("x")));
    0
}

/// Published tokenizers, reduced to a few tokens.
fn published() -> Vec<Vec<u8>> {
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let bytes = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
        "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "æ": 4, "ĺ": 5, "¥": 6, "Ċ": 7}, "merges": [["a", "b"]]});
    let llama3 = json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(8, "<|begin_of_text|>"), special(9, "<|end_of_text|>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
        "post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [8], "tokens": ["<|begin_of_text|>"]}}}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": bytes});
    let llama2 = json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
            "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0xE6>": 3, "<0x98>": 4, "<0xA5>": 5, "▁": 6, "a": 7, "▁a": 8}, "merges": ["▁ a"]}});
    let bpe = train_bpe(&[TextGroup { weight: 1.0, texts: vec!["the fox and the house"] }], 280).unwrap();
    vec![
        small_tokenizer().json().as_bytes().to_vec(),
        bpe.json().as_bytes().to_vec(),
        llama3.to_string().into_bytes(),
        llama2.to_string().into_bytes(),
    ]
}

fn tokenizer() -> Opened {
    let read = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => use_tokenizer(text, None),
        Err(_) => 2,
    };
    (published(), Box::new(read))
}

fn tokenizer_config() -> Opened {
    let tokenizer = small_tokenizer();
    let read = move |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => use_tokenizer(tokenizer.json(), Some(text)),
        Err(_) => 2,
    };
    let other = json!({"eos_token": {"content": "<|endoftext|>"}, "bos_token": "<s>", "pad_token": null, "added_tokens_decoder": {"0": {"content": "x", "special": true}}, "chat_template": [{"name": "default", "template": "{{ x }}"}]});
    let examples =
        vec![small_tokenizer().config_json(32, Some("{{ x }}")).into_bytes(), other.to_string().into_bytes()];
    (examples, Box::new(read))
}

/// A run in memory with one checkpoint.
struct Saved {
    disk: FaultFs,
    dir: PathBuf,
    folder: PathBuf,
    config: ModelConfig,
    table: Arc<ParamTable>,
}

/// A manifest's entry of a file.
#[derive(Serialize, Deserialize)]
struct Info {
    bytes: u64,
    blake3: String,
}

/// The manifest as it is written.
#[derive(Serialize)]
struct Manifest {
    format: serde_json::Value,
    stage: String,
    step: u64,
    revision: u32,
    serial: u64,
    files: BTreeMap<String, Info>,
    digest: String,
}

impl Saved {
    fn new() -> Self {
        let disk = FaultFs::new();
        let dir = PathBuf::from("/run");
        let run = Run::create(disk.shared(), &dir, "size = \"1m\"\n").unwrap();
        let tokenizer = small_tokenizer();
        let config = ModelConfig { eos_token_id: tokenizer.end_of_text(), pad_token_id: tokenizer.pad(), ..tiny() };
        let table = Arc::new(ParamTable::new(&config));
        let history = History::new(&[1.0], Shape { rows: 2, window: 16, micros: 1 }).unwrap();
        let state = State { step: 4, ..State::new(StageId::Pretrain, 42, history, "x".to_owned()) };
        let zeros = || vec![0.0; table.slab_len];
        let control = vec![0.0; danlu::compute::ops::CONTROL_F32];
        let part = checkpoint::Part {
            folder: "",
            config: config.to_json(),
            table: Arc::clone(&table),
            slabs: [zeros(), zeros(), zeros(), control],
            also: None,
            divisor: None,
        };
        let beside = checkpoint::Beside::new(&part);
        let parts = vec![(part, beside)];
        let files = checkpoint::files(&parts, &config, &tokenizer, &state).unwrap();
        let saved = run.saver().save(StageId::Pretrain, 4, files).unwrap();
        let folder = saved.checkpoint.path;
        drop(run);
        Self { disk, dir, folder, config, table }
    }

    fn peek(&self, name: &str) -> Vec<u8> {
        self.disk.peek(&self.folder.join(name)).unwrap()
    }

    /// Writes a file together with a matching manifest.
    fn seal(&self, name: &str, bytes: &[u8]) {
        self.disk.poke(&self.folder.join(name), bytes).unwrap();
        let old: serde_json::Value = serde_json::from_slice(&self.peek("manifest.json")).unwrap();
        let mut files: BTreeMap<String, Info> = serde_json::from_value(old["files"].clone()).unwrap();
        files.insert(
            name.to_owned(),
            Info { bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_hex().to_string() },
        );
        let mut manifest = Manifest {
            format: old["format"].clone(),
            stage: "pretrain".into(),
            step: 4,
            revision: 0,
            serial: 1,
            files,
            digest: String::new(),
        };
        let text = |m: &Manifest| serde_json::to_string_pretty(m).unwrap() + "\n";
        manifest.digest = blake3::hash(text(&manifest).as_bytes()).to_hex().to_string();
        self.disk.poke(&self.folder.join("manifest.json"), text(&manifest).as_bytes()).unwrap();
    }

    fn load(&self) -> u8 {
        let view = RunView::open(self.disk.shared(), &self.dir).unwrap();
        let id = CheckpointId::new(StageId::Pretrain, 4);
        code(view.checkpoints().verify(&id).and_then(|c| checkpoint::load(&c, &self.config, &self.table)))
    }
}

fn sealed(name: &'static str) -> Opened {
    let saved = Saved::new();
    let example = saved.peek(name);
    let read = move |bytes: &[u8]| {
        saved.seal(name, bytes);
        saved.load()
    };
    (vec![example], Box::new(read))
}

fn sealed_state() -> Opened {
    sealed("state.json")
}

fn sealed_config() -> Opened {
    sealed("config.json")
}

fn sealed_optimizer() -> Opened {
    sealed("optimizer.safetensors")
}

fn manifest() -> Opened {
    let saved = Saved::new();
    let example = saved.peek("manifest.json");
    let read = move |bytes: &[u8]| {
        saved.disk.poke(&saved.folder.join("manifest.json"), bytes).unwrap();
        saved.load()
    };
    (vec![example], Box::new(read))
}

fn manifest_beside() -> Opened {
    let saved = Saved::new();
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "manifest.json"] {
        fs::write(dir.path().join(name), saved.peek(name)).unwrap();
    }
    let read = move |bytes: &[u8]| {
        fs::write(dir.path().join("manifest.json"), bytes).unwrap();
        code(model_folder::load(dir.path()))
    };
    (vec![saved.peek("manifest.json"), br#"{"name": "another program's", "version": 3}"#.to_vec()], Box::new(read))
}

const RUN: &str = "size = \"1m\"\nseed = 3\nwatch = \"off\"\n[[source]]\nname = \"s\"\npath = \"src\"\nprofile = \"prose-en\"\nrules = { too_short = 20 }\nweight = 1.0\n[[probe]]\nprompt = \"Zebra\"\nexpected = \"quagga\"\n[model]\nnum_hidden_layers=1\nhidden_size=32\nnum_attention_heads=2\nintermediate_size=64\nvocab_size=600\nmax_position_embeddings=64\nrms_norm_eps=1e-5\nrope_theta=10000.0\ninitializer_range=0.02\ndropout=0.1\n[pretrain]\nsteps=1\nbatch_size=2\ngradient_accumulation_steps=1\ncontext=32\nlearning_rate=3e-3\nlr_scheduler_type=\"wsd\"\nwarmup_steps=2\ndecay_steps=1\nweight_decay=0.1\nadam_beta1=0.9\nadam_beta2=0.95\nadam_epsilon=1e-8\nmax_grad_norm=1.0\neval_steps=1\nprobe_steps=1\nsave_steps=1\n[sampling]\ntemperature=0.7\ntop_k=3\ntop_p=0.9\nmax_new_tokens=4\n";

fn run_toml() -> Opened {
    let read = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return 2 };
        for stage in StageId::ALL {
            let config = match RunConfig::parse(text, &[("steps".to_owned(), "3".to_owned())], stage) {
                Ok(config) => config,
                Err(e) => return code::<()>(Err(e)),
            };
            // Another stage's defaults need not fit this model.
            let planned = config.model().map(|_| ()).and_then(|()| config.plan(stage).map(|_| ()));
            if let (Err(e), StageId::Pretrain) = (planned, stage) {
                return code::<()>(Err(e));
            }
            drop(config.to_toml());
        }
        0
    };
    (vec![RUN.as_bytes().to_vec(), b"size = \"1m\"\n".to_vec()], Box::new(read))
}

fn ids() -> Opened {
    let read = |bytes: &[u8]| match Ids::read(bytes, bytes.len() as u64, 10) {
        Ok(ids) => {
            let width = ids.width().min(1000);
            ids.block(0..ids.rows().len().min(8), width);
            0
        }
        Err(e) => data::<()>(Err(e)),
    };
    let example = json!({"input_ids": [[1, 2, 3, 4, 5], [6, 7]], "labels": [[1, 2, -100, 4, 5], [6, 7]]});
    (vec![example.to_string().into_bytes(), br#"{"input_ids": [[1, 2], [3]]}"#.to_vec()], Box::new(read))
}

/// Reads a text file as a source is read.
fn read_text(kind: (Format, Packing), bytes: &[u8]) -> u8 {
    let passed = documents(kind, &ReadOptions::default(), Cursor::new(bytes.to_vec()), &mut |_, _| {});
    passed.ended.map_or(0, |e| data::<()>(Err(e)))
}

/// Reads examples of several kinds; the first byte of an input selects the kind.
fn kinds(names: &[&str], more: Vec<(&str, Vec<u8>)>) -> Opened {
    let mut all: Vec<((Format, Packing), Vec<u8>)> =
        names.iter().map(|name| (Format::of_name(name).unwrap(), fixture(name))).collect();
    all.extend(more.into_iter().map(|(name, bytes)| (Format::of_name(name).unwrap(), bytes)));
    let formats: Vec<(Format, Packing)> = all.iter().map(|(kind, _)| *kind).collect();
    let examples = all.into_iter().map(|(_, bytes)| bytes).collect();
    let read = move |bytes: &[u8]| {
        let mut codes = formats.iter().map(|kind| read_text(*kind, bytes)).collect::<Vec<_>>();
        codes.sort_unstable();
        // Readers may refuse other kinds; nothing worse.
        codes.iter().copied().find(|code| *code != 0 && *code != 2).unwrap_or(codes[0])
    };
    (examples, Box::new(read))
}

fn text() -> Opened {
    kinds(
        &["poems.txt", "poem.md", "gb18030.txt", "big5.txt", "utf16-bom.txt", "utf16le.txt", "utf16be.txt"],
        Vec::new(),
    )
}

fn text_json() -> Opened {
    let array = json!([{"text": "a b c"}, {"title": "t", "paragraphs": ["x", "y"], "author": "z"}]).to_string();
    kinds(&["poems.jsonl"], vec![("a.json", array.into_bytes())])
}

fn text_table() -> Opened {
    kinds(&["poems.csv", "poems.tsv"], vec![("a.csv", b"id,text\n1,\"The furnace, is \"\"warm\"\" \"\n".repeat(9))])
}

fn text_packed() -> Opened {
    kinds(&["poems.jsonl.gz", "members.jsonl.gz", "poems.txt.zst", "frames.jsonl.zst"], Vec::new())
}

/// Compressed data, mutated inside or outside the compression.
fn packed(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    if of.starts_with(&[0x1f, 0x8b]) && chance.percent(50) {
        let mut plain = Vec::new();
        if std::io::copy(&mut flate2::read::MultiGzDecoder::new(of), &mut plain).is_ok() {
            let changed = mutate::bytes(&plain, chance);
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(&changed).unwrap();
            return gz.finish().unwrap();
        }
    }
    mutate::bytes(of, chance)
}

fn parquet() -> Opened {
    kinds(
        &[
            "plain.parquet",
            "lists.parquet",
            "snappy.parquet",
            "gzip.parquet",
            "lz4.parquet",
            "zstd.parquet",
            "brotli.parquet",
        ],
        Vec::new(),
    )
}

fn conversations() -> Opened {
    let lines = [
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
        json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
        json!({"instruction": "q", "input": "i", "output": "a", "history": [["q0", "a0"]]}),
        json!({"task": "t", "prompt": "say 1", "completion": "one"}),
    ];
    let text: String = lines.iter().flat_map(|l| [l.to_string(), "\n".to_owned()]).collect();
    let read = |bytes: &[u8]| {
        drop(read_chats(Format::Json, bytes));
        data(read_chats(Format::JsonLines, bytes))
    };
    (vec![text.into_bytes()], Box::new(read))
}

fn preferences() -> Opened {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let lines = [
        json!({"prompt": [turn("user", "q")], "chosen": [turn("assistant", "a")], "rejected": [turn("assistant", "b")], "step": 1, "pair": 1, "choice": "a"}),
        json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        json!({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}),
    ];
    let text: String = lines.iter().flat_map(|l| [l.to_string(), "\n".to_owned()]).collect();
    let read = |bytes: &[u8]| {
        drop(read_preferences(Format::Json, bytes));
        data(read_preferences(Format::JsonLines, bytes))
    };
    (vec![text.into_bytes()], Box::new(read))
}

fn logs() -> Opened {
    let metrics: String = (1..9)
        .map(|step| json!({"stage": "pretrain", "step": step, "loss": 4.5, "time": 1.0}).to_string() + "\n")
        .collect();
    let events = json!({"event": "note", "stage": "sft", "step": 2, "text": "x"}).to_string() + "\n" + &metrics;
    let read = |bytes: &[u8]| {
        let disk = FaultFs::new();
        let path = Path::new("/metrics.jsonl");
        disk.poke(path, bytes).unwrap();
        let all = || -> Result<(), StoreError> {
            read_from(&disk, path, 0)?;
            each_record(&disk, path, |_| {})?;
            drop(Log::open_whole(disk.shared(), path)?);
            let mut log = Log::open(disk.shared(), path)?;
            log.truncate_after_step(Some(StageId::Pretrain), 4)?;
            log.append(&json!({"step": 1}))
        };
        code(all())
    };
    (vec![metrics.into_bytes(), events.into_bytes()], Box::new(read))
}

fn shards() -> Opened {
    let mut writer = ShardWriter::new(Vec::new(), 600).unwrap();
    for n in 1..6_u32 {
        writer.push(&(0..n * 3).collect::<Vec<_>>(), 1, n * 7).unwrap();
    }
    let read = |bytes: &[u8]| data(shard::open(&mut Cursor::new(bytes.to_vec()), 600));
    (vec![writer.finish().unwrap()], Box::new(read))
}

/// Mutated bytes with a matching hash, so that parsing behind the hash is reached.
fn resealed_shard(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    let body = of.len() - 32;
    let mut changed = if chance.percent(10) { of[..body].to_vec() } else { mutate::bytes(&of[..body], chance) };
    let hash = blake3::hash(&changed);
    changed.extend_from_slice(hash.as_bytes());
    changed
}

fn units() -> Opened {
    let text = "The furnace is warm.";
    let document = danlu::data::document::Document::plain(text);
    let cleaned =
        Cleaned { document, key: [7; 16], fingerprint: None, bands: None, file: 0, place: 1, bytes: text.len() as u64 };
    let mut writer = UnitWriter::new(Vec::new()).unwrap();
    writer.push(&[cleaned], b"").unwrap();
    let mut summary = Summary::default();
    summary.funnel.kept.documents = 1;
    summary.files.push("a.txt".to_owned());
    let (bytes, _) = writer.finish(summary).unwrap();
    let read = |bytes: &[u8]| {
        let all = || -> Result<(), DataError> {
            let mut unit = Unit::open(Box::new(Cursor::new(bytes.to_vec())))?;
            unit.check()?;
            for block in 0..unit.index().blocks() {
                unit.keys(block)?;
                unit.fingerprints(block)?;
                unit.columns(block)?;
                unit.verdicts(block)?;
                for entry in unit.entries(block)? {
                    unit.text(block, &entry)?;
                }
            }
            Ok(())
        };
        data(all())
    };
    (vec![bytes], Box::new(read))
}

/// A unit's footer mutated with a matching hash, or any bytes.
fn resealed_unit(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    let tail = of.len() - 40;
    let length = u64::from_le_bytes(of[tail..tail + 8].try_into().unwrap()) as usize;
    if chance.percent(40) {
        return mutate::bytes(of, chance);
    }
    let footer = mutate::json(&of[tail - length..tail], chance);
    let hash = blake3::hash(&footer);
    [&of[..tail - length], &footer, &(footer.len() as u64).to_le_bytes(), hash.as_bytes()].concat()
}
