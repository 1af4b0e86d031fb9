//! Files written by other software, from outside: reading costs no more than they are worth, and they are refused in
//! one sentence.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Done, checkpoint, copy_all, danlu, golden, ids_file, json_file, scratch, text, train};
use danlu::{
    base::panics,
    data::read::{Format, ReadOptions, documents},
};
use serde_json::{Value, json};

/// A checkpoint of a tiny run.
fn saved() -> &'static Path {
    static SAVED: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, folder) = SAVED.get_or_init(|| {
        let dir = scratch();
        train(&dir.path().join("run"), &["steps=2"], &[]).good();
        let folder = checkpoint(&dir.path().join("run"), 2);
        (dir, folder)
    });
    folder
}

/// All verbs that accept a model by path.
fn by_path(model: &Path, dir: &Path) -> Vec<(&'static str, Done)> {
    let (model, run) = (text(model), text(&dir.join("from")));
    let ids = ids_file(dir, "ids.json", &json!({"input_ids": [[1, 2, 3]]}));
    let verbs = vec![
        ("generate", danlu(["generate", "--model", &model, "--prompt", "春", "--max-new-tokens", "1", "--json"])),
        ("score", danlu(["score", "--model", &model, "--ids", &ids, "--json"])),
        ("overfit", danlu(["overfit", "--model", &model, "--ids", &ids, "--steps", "1", "--json"])),
        ("train --from", danlu(["train", "--run", &run, "--from", &model, "--set", "steps=1", "--json"])),
    ];
    let _ = fs::remove_dir_all(run);
    verbs
}

fn all_refused(model: &Path, dir: &Path, words: &[&str]) {
    for (verb, done) in by_path(model, dir) {
        assert!(done.code == Some(2), "{verb}: {:?} {}", done.code, done.err);
        done.refused(2, words);
    }
}

fn all_good(model: &Path, dir: &Path) {
    for (verb, done) in by_path(model, dir) {
        assert!(done.code == Some(0), "{verb}: {:?} {}", done.code, done.err);
    }
}

/// The first of these used to abort the process: memory was allocated for data that the file did not have.
#[test]
fn a_config_that_is_not_that_of_the_weights() {
    let dir = scratch();
    let model = dir.path().join("model");
    copy_all(saved(), &model);
    fs::remove_file(model.join("manifest.json")).unwrap();
    let config = json_file(&model.join("config.json"));
    let changed = |edits: Value, words: &[&str]| {
        let mut config = config.clone();
        for (key, value) in edits.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(model.join("config.json"), config.to_string()).unwrap();
        all_refused(&model, dir.path(), words);
    };
    for edits in [
        json!({"vocab_size": 1 << 20, "hidden_size": 65_536}),
        json!({"hidden_size": 65_536, "intermediate_size": 1 << 20, "num_hidden_layers": 512}),
        json!({"num_hidden_layers": 512}),
        json!({"num_attention_heads": 1024, "num_key_value_heads": 1024, "head_dim": 256}),
        json!({"num_key_value_heads": 1}),
        json!({"intermediate_size": 1 << 20}),
        json!({"vocab_size": 599}),
        json!({"head_dim": 32}),
    ] {
        changed(edits, &["model", "tensor"]);
    }
    // One layer fewer than the weights have.
    let done = danlu(["score", "--model", &text(&golden("tied")), "--ids", "none"]);
    assert_eq!(done.code, Some(2));
    for (key, value) in [
        ("num_hidden_layers", json!(1_u64 << 63)),
        ("max_position_embeddings", json!(u64::MAX)),
        ("hidden_size", json!(-1)),
        ("vocab_size", json!(1e300)),
        ("intermediate_size", json!("many")),
        ("num_attention_heads", json!(0)),
        ("head_dim", json!(1_u64 << 40)),
    ] {
        changed(json!({key: value}), &["config.json", key]);
    }
    // danlu's are a hundred times smaller.
    fs::write(model.join("config.json"), format!("{{\"z\":[{}[]]}}", "[],".repeat(500_000))).unwrap();
    all_refused(&model, dir.path(), &["config.json", "1048576"]);
}

#[test]
fn weights_with_a_manifest_are_what_was_saved() {
    let dir = scratch();
    // Whatever the folder's name.
    let model = dir.path().join("my model");
    copy_all(saved(), &model);
    all_good(&model, dir.path());
    let sentence = "delete manifest.json if you changed these files";
    let restored = |name: &str| fs::copy(saved().join(name), model.join(name)).unwrap();
    for name in
        ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
    {
        let bytes = fs::read(model.join(name)).unwrap();
        // Changes that keep the file readable: a bit of a weight, a space at the end.
        for at in [bytes.len() / 2, bytes.len() - 2] {
            let mut flipped = bytes.clone();
            if name == "model.safetensors" {
                flipped[at] ^= 1;
            } else {
                flipped.push(b' ');
            }
            fs::write(model.join(name), flipped).unwrap();
            all_refused(&model, dir.path(), &[name, sentence]);
        }
        restored(name);
    }
    all_good(&model, dir.path());
    // The manifest itself.
    let manifest = fs::read(model.join("manifest.json")).unwrap();
    let at = manifest.len() / 2;
    let flipped = |at: usize| {
        let mut bytes = manifest.clone();
        bytes[at] ^= 1;
        bytes
    };
    let config = fs::read(model.join("config.json")).unwrap();
    for bytes in [flipped(at), flipped(5), manifest[..at].to_vec(), Vec::new(), [&manifest[..], b" "].concat(), config]
    {
        fs::write(model.join("manifest.json"), bytes).unwrap();
        all_refused(&model, dir.path(), &["manifest.json", sentence]);
    }
    let newer = String::from_utf8(manifest.clone()).unwrap().replacen("\"format\": 1", "\"format\": 99", 1);
    fs::write(model.join("manifest.json"), newer).unwrap();
    all_refused(&model, dir.path(), &["format 99", "newer danlu"]);
    // Unread files may be missing, and another program's manifest is ignored.
    fs::write(model.join("manifest.json"), &manifest).unwrap();
    for name in ["optimizer.safetensors", "state.json"] {
        fs::remove_file(model.join(name)).unwrap();
    }
    all_good(&model, dir.path());
    fs::write(model.join("manifest.json"), "{\"name\": \"of another program\", \"files\": []}").unwrap();
    all_good(&model, dir.path());
    // A file added later is not part of the checkpoint.
    fs::write(model.join("manifest.json"), &manifest).unwrap();
    let mut known: Value = serde_json::from_slice(&manifest).unwrap();
    known["files"].as_object_mut().unwrap().remove("model.safetensors");
    fs::write(model.join("manifest.json"), known.to_string()).unwrap();
    all_refused(&model, dir.path(), &["manifest.json", sentence]);
    // The message is correct.
    let mut weights = fs::read(model.join("model.safetensors")).unwrap();
    let last = weights.len() - 3;
    weights[last] ^= 1;
    fs::write(model.join("model.safetensors"), weights).unwrap();
    fs::remove_file(model.join("manifest.json")).unwrap();
    all_good(&model, dir.path());
}

#[test]
fn files_of_ids_have_a_size() {
    let dir = scratch();
    let path = dir.path().join("ids.json");
    let model = text(&golden("tied"));
    fs::write(&path, format!("{{\"input_ids\":[[{}0]]}}", "0,".repeat(33_554_432))).unwrap();
    for verb in ["score", "overfit", "generate"] {
        danlu([verb, "--model", &model, "--ids", &text(&path)]).refused(2, &["ids.json", "67108864", "several files"]);
    }
    // Rows of one token have nothing to score, however many there are.
    fs::write(&path, format!("{{\"input_ids\":[{}[0]]}}", "[0],".repeat(200_000))).unwrap();
    let scored = danlu(["score", "--model", &model, "--ids", &text(&path), "--json"]).object();
    assert_eq!(scored["logprobs"].as_array().unwrap().len(), 200_001);
    assert_eq!(scored["loss"], Value::Null);
    // A batch is as wide as its longest row.
    fs::write(&path, format!("{{\"input_ids\":[{}[{}0]]}}", "[0],".repeat(100_000), "0,".repeat(100_000))).unwrap();
    danlu(["overfit", "--model", &model, "--ids", &text(&path)]).refused(2, &["100001 rows", "batch"]);
    fs::write(&path, format!("{{\"input_ids\":[[{}0]]}}", "0,".repeat(9_000_000))).unwrap();
    let done = danlu(["score", "--model", &model, "--ids", &text(&path)]);
    assert!(matches!(done.code, Some(2 | 4)) && done.err.lines().count() <= 2, "{:?} {}", done.code, done.err);
}

/// Unexpected panics of this process.
static UNEXPECTED: AtomicUsize = AtomicUsize::new(0);
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_panic_that_is_caught_prints_nothing() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let counter = if panics::expected() { &EXPECTED } else { &UNEXPECTED };
        counter.fetch_add(1, Ordering::Relaxed);
        if !panics::expected() {
            before(info);
        }
    }));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lists.parquet");
    let good = fs::read(fixture).unwrap();
    let kind = Format::of_name("a.parquet").unwrap();
    let mut found = Vec::new();
    for at in 0..good.len() {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let caught = EXPECTED.load(Ordering::Relaxed);
            documents(kind, &ReadOptions::default(), Cursor::new(bytes.clone()), &mut |_, _| {});
            if EXPECTED.load(Ordering::Relaxed) > caught && found.len() < 3 {
                found.push(bytes);
            }
        }
    }
    assert_eq!(UNEXPECTED.load(Ordering::Relaxed), 0);
    assert!(!found.is_empty(), "no change makes the crate panic: this test proves nothing");
    let dir = scratch();
    for (n, bytes) in found.iter().enumerate() {
        let run = dir.path().join(format!("run{n}"));
        fs::create_dir_all(run.join("src")).unwrap();
        fs::write(run.join("src/a.txt"), "The furnace is warm and the text goes on.\n\n".repeat(40)).unwrap();
        fs::write(run.join("src/b.parquet"), bytes).unwrap();
        fs::write(run.join("run.toml"), "size = \"1m\"\n[[source]]\nname = \"s\"\npath = \"src\"\n").unwrap();
        let done = danlu(["data", "--run", &text(&run)]);
        assert!(!done.err.contains("panicked"), "{}", done.err);
        assert!(done.good().err.contains("b.parquet") && done.err.contains("damaged"), "{}", done.err);
    }
}
