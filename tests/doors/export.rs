//! `danlu export`: what is written is what the model is, and nothing is overwritten unasked.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use danlu::{
    data::Tokenizer,
    store::{GgufHeader, Links, MetaValue, RealFs, contents, read_gguf},
    train::model_folder,
};
use serde_json::{Value, json};

use crate::common::{
    Done, checkpoint, copy_all, danlu, finetune, golden, ids_file, json_file, no_leftovers, scratch, snapshot,
    stage_checkpoint, text, train,
};

fn export(args: &[&str]) -> Done {
    danlu([&["export"], args].concat())
}

fn header(path: &Path) -> GgufHeader {
    read_gguf(&RealFs, path, Links::Refuse).expect("a GGUF file")
}

/// Texts of many kinds, hostile ones first; none has U+2581.
fn texts() -> Vec<String> {
    let all = json_file(&golden("").parent().unwrap().join("fixtures/texts.json"));
    let all: Vec<String> = all.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect();
    assert!(all.len() >= 600 && all.iter().all(|t| !t.contains('\u{2581}')), "{}", all.len());
    all
}

/// The tokens of a file by text.
fn tokens(header: &GgufHeader) -> Vec<String> {
    let list = header.list("tokenizer.ggml.tokens").unwrap();
    (0..list.len() as usize).map(|at| list.text(at).unwrap().into_owned()).collect()
}

/// SentencePiece's BPE as llama.cpp runs it on a file of model `llama`: neighbours whose join is a token are joined, the
/// highest score first and the leftmost of equals; what is no token then becomes its bytes.
struct Spm {
    ids: HashMap<String, usize>,
    scores: Vec<f64>,
    space_prefix: bool,
}

impl Spm {
    fn new(header: &GgufHeader) -> Spm {
        let number = |value: MetaValue| match value {
            MetaValue::Float(x) => x,
            other => panic!("{other:?}"),
        };
        Spm {
            ids: tokens(header).into_iter().enumerate().map(|(id, token)| (token, id)).collect(),
            scores: header.list("tokenizer.ggml.scores").unwrap().numbers().map(number).collect(),
            space_prefix: header.get("tokenizer.ggml.add_space_prefix") != Some(&MetaValue::Bool(false)),
        }
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let text = if self.space_prefix { format!(" {text}") } else { text.to_owned() };
        let mut pieces: Vec<String> = text.replace(' ', "\u{2581}").chars().map(String::from).collect();
        loop {
            let join =
                |at: usize| self.ids.get(&(pieces[at].clone() + &pieces[at + 1])).map(|id| (at, self.scores[*id]));
            let best = (0..pieces.len().saturating_sub(1)).filter_map(join);
            // Of equal scores the leftmost.
            let best = best.reduce(|a, b| if b.1 > a.1 { b } else { a });
            let Some((at, _)) = best else { break };
            let right = pieces.remove(at + 1);
            pieces[at].push_str(&right);
        }
        let id = |token: &str| self.ids.get(token).map(|id| *id as u32);
        let bytes = |piece: &String| match id(piece) {
            Some(id) => vec![id],
            None => piece.bytes().map(|b| id(&format!("<0x{b:02X}>")).expect("a byte token")).collect(),
        };
        pieces.iter().flat_map(bytes).collect()
    }
}

/// A pretrained run with `more` settings.
fn pretrained(dir: &Path, name: &str, more: &[&str]) -> PathBuf {
    let run = dir.join(name);
    train(&run, &[&["steps=3", "save_steps=0"], more].concat(), &[]).good();
    run
}

#[test]
fn a_char_model_tokenises_in_llama_cpp_as_here() {
    let dir = scratch();
    let run = pretrained(dir.path(), "char", &["model.vocab_size=2000"]);
    let file = dir.path().join("char.gguf");
    let done = export(&["--run", &text(&run), "--gguf", &text(&file), "--dtype", "f32", "--json"]).object();
    assert_eq!(done["bytes"], fs::metadata(&file).unwrap().len());
    let header = header(&file);
    assert_eq!(
        (header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")),
        (Some("llama"), Some("default"))
    );
    let tokenizer = model_folder::tokenizer(&checkpoint(&run, 3)).unwrap().unwrap();
    assert!(tokenizer.is_char());
    let spm = Spm::new(&header);
    assert!(!spm.space_prefix);
    let mut count = 0;
    for text in texts() {
        let ours = tokenizer.encode(&text).unwrap();
        assert_eq!(spm.encode(&text), ours, "{text:?}");
        count += ours.len();
    }
    assert!(count > 10_000, "{count} tokens");
    // Ids that llama.cpp would otherwise guess.
    let end = u64::from(tokenizer.end_of_text().unwrap());
    for (key, id) in [("eos", end), ("bos", end), ("padding", u64::from(tokenizer.pad().unwrap()))] {
        assert_eq!(header.number(&format!("tokenizer.ggml.{key}_token_id")), Some(id), "{key}");
    }
    for key in ["add_bos_token", "add_eos_token", "add_space_prefix"] {
        assert_eq!(header.get(&format!("tokenizer.ggml.{key}")), Some(&MetaValue::Bool(false)), "{key}");
    }
    let types: Vec<MetaValue> = header.list("tokenizer.ggml.token_type").unwrap().numbers().collect();
    let of = |token: &str| types[tokenizer.id(token).unwrap() as usize].clone();
    let kinds = [("<|im_end|>", 3), ("<0x41>", 6), ("春", 1)];
    assert!(kinds.iter().all(|(token, kind)| of(token) == MetaValue::Signed(*kind)));
    assert!(!header.text("tokenizer.chat_template").unwrap().contains("endgeneration"));
}

#[test]
fn a_byte_level_model_keeps_its_tokens_and_merges() {
    let dir = scratch();
    let run = pretrained(dir.path(), "bpe", &["tokenizer=\"bpe\"", "model.vocab_size=1200"]);
    let file = dir.path().join("bpe.gguf");
    export(&["--run", &text(&run), "--gguf", &text(&file), "--dtype", "f16"]).good();
    let header = header(&file);
    assert_eq!((header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")), (Some("gpt2"), Some("gpt-2")));
    // A tokenizer of the file's tokens, merges and split.
    let merges = header.list("tokenizer.ggml.merges").unwrap();
    let merges: Vec<String> = (0..merges.len() as usize).map(|at| merges.text(at).unwrap().into_owned()).collect();
    let vocab: BTreeMap<String, usize> = tokens(&header)
        .into_iter()
        .enumerate()
        .filter(|(_, t)| !t.starts_with("[UNUSED_"))
        .map(|(id, t)| (t, id))
        .collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let rebuilt = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": level, "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges}});
    let rebuilt = Tokenizer::from_json(&rebuilt.to_string(), None).unwrap();
    let tokenizer = model_folder::tokenizer(&checkpoint(&run, 3)).unwrap().unwrap();
    for text in texts() {
        assert_eq!(rebuilt.encode(&text).unwrap(), tokenizer.encode(&text).unwrap(), "{text:?}");
    }
}

/// The numbers of a tensor of a file.
fn values(path: &Path, header: &GgufHeader, name: &str) -> Vec<f32> {
    let tensor = header.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let all = fs::read(path).unwrap();
    let bytes = &all[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize];
    let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
    match tensor.dtype.name {
        "F32" => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        "F16" => bytes.chunks(2).map(half).collect(),
        "BF16" => bytes.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        "Q8_0" => bytes.chunks(34).flat_map(|b| b[2..].iter().map(|q| f32::from(q.cast_signed()) * half(b))).collect(),
        other => panic!("{other}"),
    }
}

/// It used to be written as it was, and llama.cpp refused the file.
#[test]
fn a_broken_chat_template_is_named_and_left_out() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    let model = dir.path().join("model");
    copy_all(&checkpoint(&run, 3), &model);
    fs::remove_file(model.join("manifest.json")).unwrap();
    let path = model.join("tokenizer_config.json");
    let config = json_file(&path);
    for (name, template, broken) in [
        ("broken", "{% for m in messages %}{{ m['content'] }}", Some("a for is not closed")),
        ("whole", "{% for m in messages %}{{ m['content'] }}{% endfor %}", None),
    ] {
        let mut config = config.clone();
        config["chat_template"] = json!(template);
        fs::write(&path, config.to_string()).unwrap();
        let file = dir.path().join(format!("{name}.gguf"));
        let done = export(&["--model", &text(&model), "--gguf", &text(&file)]);
        assert_eq!(done.good().err.contains("the chat template is broken"), broken.is_some(), "{}", done.err);
        assert!(broken.is_none_or(|what| done.err.contains(what)), "{}", done.err);
        assert_eq!(header(&file).text("tokenizer.chat_template"), broken.is_none().then_some(template));
    }
}

/// They used to become infinite in the file.
#[test]
fn weights_beyond_a_type_are_refused_before_anything_is_written() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    let model = dir.path().join("model");
    copy_all(&checkpoint(&run, 3), &model);
    fs::remove_file(model.join("manifest.json")).unwrap();
    let path = model.join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let size = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&whole[8..8 + size]).unwrap();
    let at = 8 + size + header["model.embed_tokens.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
    for (dtype, value, fits) in [
        ("f16", 65_504.0_f32, true),
        ("f16", 70_000.0, false),
        ("f16", -1e30, false),
        ("q8_0", 8e6, true),
        ("q8_0", 1e30, false),
        ("bf16", 1e30, true),
        ("bf16", f32::MAX, false),
        ("f32", f32::MAX, true),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let out = dir.path().join(format!("{dtype} {value}.gguf"));
        let done = export(&["--model", &text(&model), "--gguf", &text(&out), "--dtype", dtype]);
        if fits {
            done.good();
        } else {
            done.refused(2, &["model.embed_tokens.weight has", dtype, "choose --dtype bf16 or f32"]);
        }
        assert_eq!(out.exists(), fits, "{dtype} {value}");
    }
}

#[test]
fn every_tensor_has_its_numbers_in_each_type() {
    let dir = scratch();
    // Grouped heads, so that query and key rows are paired by different numbers of heads.
    let more = [
        "model.num_attention_heads=4",
        "model.num_key_value_heads=2",
        "model.num_hidden_layers=2",
        "model.tie_word_embeddings=false",
    ];
    let run = pretrained(dir.path(), "r", &more);
    let folder = checkpoint(&run, 3);
    let (config, table, slab) = model_folder::load(&folder).unwrap();
    for (dtype, bound) in [("f32", 0.0), ("f16", 1.0 / 2048.0), ("bf16", 1.0 / 256.0), ("q8_0", 1.0 / 127.0)] {
        let file = dir.path().join(format!("{dtype}.gguf"));
        export(&["--model", &text(&folder), "--gguf", &text(&file), "--dtype", dtype]).good();
        let header = header(&file);
        assert_eq!(header.tensors.len(), table.tensors.len());
        let found = contents(&RealFs, &file).unwrap();
        assert_eq!(found.parameters(), table.parameters() as u64, "inspect counts the same");
        for tensor in &table.tensors {
            let layer = tensor.name.split('.').nth(2).unwrap_or_default();
            let name = match tensor.name.rsplit('.').nth(1).unwrap() {
                "embed_tokens" => "token_embd.weight".to_owned(),
                "norm" => "output_norm.weight".to_owned(),
                "lm_head" => "output.weight".to_owned(),
                part => {
                    let short = [
                        ("q_proj", "attn_q"),
                        ("k_proj", "attn_k"),
                        ("v_proj", "attn_v"),
                        ("o_proj", "attn_output"),
                        ("gate_proj", "ffn_gate"),
                        ("up_proj", "ffn_up"),
                        ("down_proj", "ffn_down"),
                        ("input_layernorm", "attn_norm"),
                        ("post_attention_layernorm", "ffn_norm"),
                    ];
                    let (_, short) = short.iter().find(|(long, _)| *long == part).unwrap();
                    format!("blk.{layer}.{short}.weight")
                }
            };
            let (there, mut here) = (values(&file, &header, &name), table.slice(&slab, tensor).to_vec());
            if name.contains("attn_q.") || name.contains("attn_k.") {
                // Row 2i of a head is row i of its first half, row 2i + 1 row i of the second.
                let (size, width) = (config.head_dim, config.hidden_size);
                let old = here.clone();
                for (row, to) in here.chunks_mut(width).enumerate() {
                    let (head, within) = (row / size, row % size);
                    let from = head * size + within / 2 + (within % 2) * (size / 2);
                    to.copy_from_slice(&old[from * width..(from + 1) * width]);
                }
            }
            assert_eq!(there.len(), here.len());
            let largest = here.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let bound = if tensor.shape.len() == 1 { 0.0 } else { bound };
            for (a, b) in there.iter().zip(&here) {
                assert!((a - b).abs() <= bound * largest, "{dtype} {name}: {a} for {b}");
            }
        }
    }
}

#[test]
fn the_modelfile_has_the_template_only_where_the_model_speaks() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    let file = dir.path().join("base.gguf");
    let done = export(&["--run", &text(&run), "--gguf", &text(&file)]);
    assert!(done.good().out.contains("ollama create base -f"), "{}", done.out);
    let base = fs::read_to_string(dir.path().join("base.Modelfile")).unwrap();
    assert!(base.contains("FROM ./base.gguf") && base.contains("num_ctx 64") && !base.contains("im_end"), "{base}");
    finetune(&run, &["steps=2", "context=64", &crate::common::counting(dir.path())], &[]).good();
    let file = dir.path().join("chat.gguf");
    export(&["--run", &text(&run), "--gguf", &text(&file)]).good();
    let chat = fs::read_to_string(dir.path().join("chat.Modelfile")).unwrap();
    assert!(chat.contains("<|{{ .Role }}|>{{ .Content }}<|im_end|>") && chat.contains("stop \"<|im_end|>\""), "{chat}");
    assert_eq!(header(&file).text("general.name"), Some("sft-00000002"), "the furthest stage that speaks");
    // Words of commands as a shell and Ollama read them.
    let file = dir.path().join("it's mine.gguf");
    let done = export(&["--run", &text(&run), "--gguf", &text(&file)]);
    let beside = text(&dir.path().join("it'\\''s mine.Modelfile"));
    let ollama = format!("ollama create 'it'\\''s mine' -f '{beside}'");
    assert!(done.good().out.contains(&ollama) && done.out.contains("llama-cli -m '"), "{}", done.out);
    let named = fs::read_to_string(dir.path().join("it's mine.Modelfile")).unwrap();
    assert!(named.starts_with("FROM \"./it's mine.gguf\"\n"), "{named}");
    for name in ["base.Modelfile", "new.modelfile"] {
        let file = dir.path().join(name);
        export(&["--run", &text(&run), "--gguf", &text(&file), "--force"]).refused(2, &[name, "Modelfile of Ollama"]);
    }
    assert_eq!(fs::read_to_string(dir.path().join("base.Modelfile")).unwrap(), base);
    let file = dir.path().join("step.gguf");
    export(&["--run", &text(&run), "--stage", "pretrain", "--step", "3", "--gguf", &text(&file)]).good();
    assert_eq!(header(&file).text("general.name"), Some("pretrain-00000003"));
    export(&["--run", &text(&run), "--stage", "pretrain", "--step", "9", "--gguf", "x.gguf"])
        .refused(2, &["step 9", "there are: 3"]);
}

#[test]
fn a_folder_is_the_model_with_a_card() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r|u`n", &["steps=3", "eval_steps=3"]);
    let out = dir.path().join("my-model");
    let done = export(&["--run", &text(&run), "--hf", &text(&out), "--json", "--lang", "en"]).object();
    let mut names: Vec<&str> = done["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    names.sort_unstable();
    let wanted = [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, wanted);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    for word in [
        "license: unknown",
        "# my-model",
        "stage: pretrain",
        "| pretrain | tang300 |",
        "| public domain; compilation MIT |",
        "eval_loss",
        "```toml",
        "hidden_size = 32",
    ] {
        assert!(card.contains(word), "{word:?} expected\n{card}");
    }
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [[1, 2, 3, 4]]}));
    let score = |model: &Path| danlu(["score", "--model", &text(model), "--ids", &ids, "--json"]).object();
    assert_eq!(score(&out), score(&checkpoint(&run, 3)), "the same bytes");
    // Again: refused, then replaced with --force; other files stay.
    fs::write(out.join("mine.txt"), "mine").unwrap();
    let before = snapshot(&out);
    export(&["--run", &text(&run), "--hf", &text(&out)]).refused(2, &["already exists", "--force"]);
    assert!(snapshot(&out) == before);
    // Weights of another model would be read with or instead of the new ones.
    let stale = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "adapter_config.json"];
    for name in stale {
        fs::write(out.join(name), "{}").unwrap();
    }
    export(&["--run", &text(&run), "--hf", &text(&out), "--force", "--lang", "zh"]).good();
    assert!(stale.iter().all(|name| !out.join(name).exists()), "{:?}", snapshot(&out).keys());
    // A checkpoint of a run is never written into.
    let sealed = snapshot(&run);
    export(&["--run", &text(&run), "--hf", &text(&checkpoint(&run, 3)), "--force"])
        .refused(2, &["checkpoints/ of the run"]);
    assert!(snapshot(&run) == sealed);
    assert!(fs::read_to_string(out.join("README.md")).unwrap().contains("## 训练"));
    assert_eq!(fs::read_to_string(out.join("mine.txt")).unwrap(), "mine");
    no_leftovers(dir.path());
    // A model from elsewhere has no run behind it.
    let foreign = dir.path().join("foreign");
    export(&["--model", &text(&golden("tied")), "--hf", &text(&foreign)]).good();
    assert_eq!(
        fs::read(foreign.join("model.safetensors")).unwrap(),
        fs::read(golden("tied").join("model.safetensors")).unwrap()
    );
}

#[test]
fn logs_become_csv_and_tensorboard_with_the_same_numbers() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &["steps=3", "eval_steps=3"]);
    finetune(&run, &["steps=2", "context=64", &crate::common::counting(dir.path())], &[]).good();
    let csv = dir.path().join("csv");
    export(&["--run", &text(&run), "--metrics", "csv", &text(&csv)]).good();
    let table = fs::read_to_string(csv.join("pretrain.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0][..2], ["step", "time"]);
    assert_eq!(rows.len(), 1 + 3);
    let column = rows[0].iter().position(|name| *name == "loss").unwrap();
    let losses: Vec<f64> = rows[1..].iter().map(|row| row[column].parse().unwrap()).collect();
    assert!(
        csv.join("sft.csv").is_file()
            && fs::read_to_string(csv.join("pretrain-eval.csv")).unwrap().contains("eval_bits_per_byte")
    );
    let board = dir.path().join("board");
    export(&["--run", &text(&run), "--metrics", "tensorboard", &text(&board)]).good();
    let file = fs::read_dir(board.join("pretrain")).unwrap().next().unwrap().unwrap().path();
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
    // Records by their lengths; of each scalar the tag and the four bytes of its value.
    let (bytes, mut at, mut found) = (fs::read(file).unwrap(), 0, Vec::new());
    while at < bytes.len() {
        let len = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let record = &bytes[at + 12..at + 12 + len];
        let tag = b"train/loss\x15";
        if let Some(place) = record.windows(tag.len()).position(|w| w == tag) {
            found.push(f32::from_le_bytes(record[place + tag.len()..][..4].try_into().unwrap()));
        }
        at += 16 + len;
    }
    assert_eq!(at, bytes.len());
    assert_eq!(found, losses.iter().map(|x| *x as f32).collect::<Vec<_>>());
    export(&["--run", &text(&run), "--metrics", "csv", &text(&csv)]).refused(2, &["already exists"]);
}

#[test]
fn data_leaves_as_arrays_and_messages() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    let out = dir.path().join("data");
    export(&["--run", &text(&run), "--data", &text(&out)]).good();
    let header = json_file(&out.join("data.json"));
    let tokenizer = model_folder::tokenizer(&out).unwrap().unwrap();
    assert_eq!(header["vocab_size"], tokenizer.vocab_size());
    let sources = header["sources"].as_array().unwrap();
    assert!(sources.len() > 3 && sources[0]["license"] == "public domain; compilation MIT");
    for source in sources {
        for split in source["files"].as_array().unwrap() {
            let array = |name: &Value, size: usize| {
                let bytes = fs::read(out.join(name.as_str().unwrap())).unwrap();
                let head = 10 + usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
                assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && head.is_multiple_of(64));
                assert!(String::from_utf8_lossy(&bytes[10..head]).contains("'fortran_order': False"));
                bytes[head..]
                    .chunks(size)
                    .map(|b| b.iter().rev().fold(0_u64, |n, b| n << 8 | u64::from(*b)))
                    .collect::<Vec<_>>()
            };
            let (ids, starts) = (array(&split["ids"], 4), array(&split["starts"], 8));
            assert_eq!((&split["tokens"], &split["documents"]), (&json!(ids.len()), &json!(starts.len())));
            let end = u64::from(tokenizer.end_of_text().unwrap());
            assert!(starts.iter().skip(1).all(|at| ids[*at as usize - 1] == end), "a document ends before the next");
        }
    }
    let lines = |name: &str| crate::common::objects(&fs::read_to_string(out.join(name)).unwrap());
    let (chats, pairs) = (lines("conversations.jsonl"), lines("preferences.jsonl"));
    assert_eq!(header["conversations"]["records"], chats.len());
    assert_eq!(
        (&chats[0]["messages"][0]["role"], header["preferences"]["records"].as_u64()),
        (&json!("user"), Some(pairs.len() as u64))
    );
    assert_eq!(pairs[0]["chosen"][0]["role"], "assistant");
}

#[test]
fn bad_input_writes_nothing() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    let (run, file) = (text(&run), text(&dir.path().join("m.gguf")));
    let before = snapshot(dir.path());
    let refused = |args: &[&str], words: &[&str]| {
        export(args).refused(2, words);
        assert!(snapshot(dir.path()) == before, "{args:?} wrote something");
    };
    refused(&[], &["--gguf FILE"]);
    refused(&["--run", &run, "--gguf", &file, "--hf", &run], &["give one of"]);
    refused(&["--run", &run, "--gguf", &file, "--dtype", "q4_k"], &["q4_k", "q8_0"]);
    refused(&["--run", &run, "--gguf", &text(&dir.path().join("no/m.gguf"))], &["no such folder"]);
    refused(&["--run", &run, "--gguf", &run], &["already exists"]);
    refused(&["--run", &run, "--gguf", &run, "--force"], &["a folder exists here"]);
    refused(&["--run", &run, "--stage", "sft", "--gguf", &file], &["no checkpoint of sft"]);
    refused(&["--run", "nowhere", "--gguf", &file], &["no such run"]);
    refused(&["--model", &text(&golden("tied")), "--gguf", &file], &["no tokenizer.json"]);
    refused(&["--model", &text(&golden("tied")), "--metrics", "csv"], &["has no logs"]);
    refused(&["--run", &run, "--hf", &file, "extra"], &["only --metrics"]);
    // A tokenizer that GGUF has no name for.
    let folder = dir.path().join("strange");
    crate::common::copy(&checkpoint(Path::new(&run), 3), &folder);
    fs::remove_file(folder.join("manifest.json")).unwrap();
    let mut tokenizer = json_file(&folder.join("tokenizer.json"));
    tokenizer["normalizer"] = json!({"type": "NFC"});
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    export(&["--model", &text(&folder), "--gguf", &file]).refused(2, &["normalizer", "Hugging Face folder"]);
    assert!(!Path::new(&file).exists());
    // Rows of a head size that no block of q8_0 fits.
    let odd = pretrained(dir.path(), "odd", &["model.hidden_size=24", "model.num_attention_heads=2"]);
    export(&["--run", &text(&odd), "--gguf", &file, "--dtype", "q8_0"]).refused(2, &["rows of 24", "--dtype f16"]);
    export(&["--run", &text(&odd), "--gguf", &file, "--dtype", "f16"]).good();
    // A reward model speaks no language.
    let reward = stage_checkpoint(&golden("").parent().unwrap().join("fixtures/runs/state-2"), "reward", 2);
    export(&["--model", &text(&reward), "--gguf", &file, "--force"]).refused(2, &["LlamaForSequenceClassification"]);
}

/// Imported tokenizers are named by the way they split text.
#[test]
fn imported_tokenizers_are_named_by_their_split() {
    let dir = scratch();
    let of = |name: &str, pre: Value, words: &[&str]| {
        let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let vocab: serde_json::Map<String, Value> = ["a", "b", "Ġ", "ab", "æ", "ĺ", "¥", "Ċ"]
            .iter()
            .enumerate()
            .map(|(i, t)| ((*t).to_owned(), json!(i)))
            .collect();
        let tokenizer = json!({"version": "1.0", "added_tokens": [{"id": 8, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
            "pre_tokenizer": pre, "decoder": level, "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]]}});
        let folder = crate::common::foreign(dir.path(), name, &tokenizer, &json!({"eos_token": "</s>"}), 16);
        let file = dir.path().join(format!("{name}.gguf"));
        let done = export(&["--model", &text(&folder), "--gguf", &text(&file)]);
        match words {
            [] => assert_eq!(
                header({
                    done.good();
                    &file
                })
                .text("tokenizer.ggml.pre"),
                Some(name)
            ),
            words => done.refused(2, words),
        }
    };
    let level =
        |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let split = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}, level(false)]})
    };
    of("gpt-2", level(true), &[]);
    of(
        "smollm",
        json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, level(true)]}),
        &[],
    );
    // Without ignore_merges; with it llama.cpp's name is llama-bpe.
    of(
        "smaug-bpe",
        split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        &[],
    );
    of(
        "qwen2",
        split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        &[],
    );
    of("starcoder", split(r"\p{N}"), &["in a way that is none of", "Hugging Face folder"]);
}

/// `--data r/data --force` used to exchange the run's own data for the export.
#[test]
fn what_belongs_to_a_run_is_not_written_over() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    let before = snapshot(&run);
    let at = |name: &str| text(&run.join(name));
    let model = text(&checkpoint(&run, 3));
    for (args, what) in [
        (["--data", &at("data")], "data/ of the run"),
        (["--hf", &at("data/model")], "data/ of the run"),
        (["--hf", &at("checkpoints/mine")], "checkpoints/ of the run"),
        (["--gguf", &text(&Path::new(&model).join("model.gguf"))], "checkpoints/ of the run"),
        (["--gguf", &at("metrics.jsonl")], "it is a file of the run"),
        (["--gguf", &at("run.toml")], "it is a file of the run"),
    ] {
        let done = export(&[&["--run", &text(&run), "--force"][..], &args].concat());
        done.refused(2, &[what, "choose another"]);
    }
    let metrics = ["--run", &text(&run), "--metrics", "csv", "--force", &at("checkpoints/logs")];
    export(&metrics).refused(2, &["checkpoints/ of the run"]);
    assert_eq!(snapshot(&run), before);
    // Beside them it may be, and be written again.
    for _ in 0..2 {
        export(&["--run", &text(&run), "--gguf", &at("r.gguf"), "--force"]).good();
        export(&["--run", &text(&run), "--hf", &at("exports/model"), "--force"]).good();
    }
}

/// A path that cannot be is bad input, not a failing disk; and `.` has the name of the folder.
#[cfg(unix)]
#[test]
fn paths_that_cannot_be_are_bad_input() {
    let dir = scratch();
    let run = pretrained(dir.path(), "r", &[]);
    std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
    let (circle, long) = (text(&dir.path().join("loop")), text(&dir.path().join("a".repeat(300))));
    let (model, under) = (text(&checkpoint(&run, 3)), text(&run.join("run.toml/x")));
    for path in [&circle, &long] {
        for args in [
            ["inspect", path, "--json", "--tree"],
            ["estimate", "--config", path, "--json"],
            ["generate", "--prompt=x", "--model", path],
            ["export", "--gguf=x.gguf", "--model", path],
            ["data", "--json", "--run", path],
        ] {
            let done = danlu(args);
            done.refused(2, &[]);
            assert!(!done.err.contains("check the disk"), "{args:?}: {}", done.err);
        }
    }
    for path in [&long, &under, &format!("{circle}/x")] {
        let done = export(&["--model", &model, "--hf", path]);
        done.refused(2, &[]);
        assert!(!done.err.contains("check the disk"), "{path}: {}", done.err);
    }
    no_leftovers(&run);
    let view = danlu::store::RunView::open(RealFs::shared(), &run.join("..").join("r")).unwrap();
    assert_eq!(view.name(), "r");
    let view = danlu::store::RunView::open(RealFs::shared(), &run.join("data").join("..")).unwrap();
    assert_eq!(view.name(), "r");
}
