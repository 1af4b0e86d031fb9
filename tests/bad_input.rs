//! Bad input of every kind: one sentence, the right exit code, nothing half-written, no panic.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{
    DANLU, Done, Running, checkpoint, checkpoints, command, copy, danlu, golden, ids_file, metrics, no_leftovers,
    scratch, snapshot, text, train, train_args,
};
use serde_json::{Value, json};

/// Refused, with the folder unchanged.
fn refused_untouched(dir: &Path, run: impl FnOnce() -> Done, code: i32, words: &[&str]) {
    let before = snapshot(dir);
    run().refused(code, words);
    assert!(snapshot(dir) == before, "something was written or changed");
}

#[test]
fn settings_that_cannot_be_used_make_no_run() {
    let dir = scratch();
    let run = dir.path().join("run");
    let cases: &[(&[&str], &[&str])] = &[
        (&["lerning_rate=1"], &["\"lerning_rate\"", "did you mean \"learning_rate\""]),
        (&["model.hiden_size=64"], &["did you mean \"hidden_size\""]),
        (&["sampling.topk=3"], &["did you mean \"top_k\""]),
        (&["pretrian.steps=3"], &["did you mean \"pretrain\""]),
        (&["quite_other=1"], &["\"quite_other\"", "known here", "learning_rate"]),
        (&["batch_size=many"], &["batch_size", "\"many\"", "whole number"]),
        (&["batch_size=-1"], &["batch_size", "-1", "whole number"]),
        (&["batch_size=0"], &["batch_size is 0", "1 or more"]),
        (&["learning_rate=fast"], &["learning_rate", "\"fast\"", "a number"]),
        (&["learning_rate=-1"], &["learning_rate is -1", "0 or more"]),
        (&["learning_rate=nan"], &["learning_rate"]),
        (&["adam_beta1=1.5"], &["adam_beta1 is 1.5", "less than 1"]),
        (&["lr_scheduler_type=wavy"], &["wavy", "cosine"]),
        (&["tokenizer=word"], &["word", "char", "bpe"]),
        (&["model=3"], &["model", "a table"]),
        (&["steps.deep=3"], &["unknown key \"steps\""]),
        (&["model.num_attention_heads=3"], &["hidden_size 32", "3 heads"]),
        (&["model.num_key_value_heads=5"], &["num_attention_heads 2", "num_key_value_heads 5"]),
        (&["model.dropout=1"], &["dropout is 1", "less than 1"]),
        (&["model.head_dim=5"], &["head_dim 5 is odd"]),
        (&["model.vocab_size=0"], &["vocab_size is 0"]),
        (&["context=65"], &["context is 65", "max_position_embeddings 64"]),
        (&["sampling.temperature=-1"], &["sampling.temperature is -1", "0 or more"]),
        (&["sampling.top_p=0"], &["sampling.top_p is 0", "at most 1"]),
        (&["sampling.repetition_penalty=0"], &["sampling.repetition_penalty is 0"]),
        (&["batch_size=9223372036854775807"], &["batch_size 9223372036854775807", "tokens per step", "lower"]),
        (&["gradient_accumulation_steps=9000000000000"], &["gradient_accumulation_steps 9000000000000", "lower"]),
        (&["source=[{name=\"a\",path=\"/nowhere/*.txt\"}]"], &["source a", "/nowhere/*.txt", "matches no"]),
        (&["source=[{name=\"a\",path=\"/nowhere/[x\"}]"], &["source a", "/nowhere/[x"]),
        (&["source=[{name=\"a\",path=\"x\",weight=-1}]"], &["\"a\"", "weight", "-1"]),
        (&["source=[{name=\"a\",path=\"x\",wieght=1}]"], &["did you mean \"weight\""]),
        (&["source=[{name=\"a\"}]"], &["path"]),
    ];
    for (sets, words) in cases {
        refused_untouched(dir.path(), || train(&run, sets, &[]), 2, words);
    }
    let args: &[(&[&str], &[&str])] = &[
        (&["--size", "9m"], &["\"9m\"", "1m, 5m"]),
        (&["--stage", "pertrain"], &["\"pertrain\"", "pretrain"]),
        (&["--steps", "0"], &["--steps is 0", "1 or more"]),
        (&["--adapter", "no such card"], &["no such card", "\"cpu\""]),
        (&["--precision", "int3"], &["int3", "f32"]),
        (&["--lang", "xx"], &["xx", "zh"]),
    ];
    for (more, words) in args {
        let folder = text(&run);
        let alone = [&["train", "--run", &folder], *more].concat();
        // Mesa's drivers write to stderr if this folder is missing.
        let envs = [("RUST_BACKTRACE", "0"), ("XDG_RUNTIME_DIR", dir.path().to_str().unwrap())];
        let run = || -> Done { Command::new(DANLU).args(&alone).envs(envs).output().unwrap().into() };
        refused_untouched(dir.path(), run, 2, words);
    }
    // The argument parser's errors are one sentence: what is wrong, and where to find help.
    for bad in [&["train", "--set", "nokey"][..], &["trian"], &["score"], &["generate", "--prompt", "x", "--ids", "y"]]
    {
        let done: Done = Command::new(DANLU).args(bad).current_dir(dir.path()).output().unwrap().into();
        done.refused(2, &["danlu: ", "--help lists what is expected"]);
        assert_eq!((done.out.as_str(), done.err.lines().count()), ("", 1), "{bad:?}: {}", done.err);
    }
    danlu(["train", "--steps", "-3"]).refused(2, &["--steps", "-3", "a whole number, 0 or more"]);
    let tip: Done = Command::new(DANLU).arg("trian").output().unwrap().into();
    assert!(tip.err.contains("'train'"), "{}", tip.err);
    assert!(snapshot(dir.path()).is_empty());
}

#[test]
fn a_run_toml_that_cannot_be_used_is_left_as_it_is() {
    let dir = scratch();
    let cases: &[(&[u8], &[&str])] = &[
        (b"size = \"1m\"\n[pretrain]\nstep = 3\n", &["run.toml", "did you mean \"steps\""]),
        (b"size = \"1m\"\nsteps = 3\n", &["unknown key \"steps\""]),
        (b"size = \"2m\"\n", &["\"2m\""]),
        (b"size = ", &["run.toml", "line 1"]),
        (b"seed = \"x\"\n", &["seed", "whole number"]),
        (b"size = \"1m\"\nsize = \"5m\"\n", &["run.toml", "size"]),
        (b"\xff\xfe", &["run.toml", "UTF-8"]),
        (
            b"[[source]]\nname = \"a\"\npath = \"x.txt\"\n[[source]]\nname = \"a\"\npath = \"y.txt\"\n",
            &["\"a\"", "used twice"],
        ),
        (b"[[source]]\nname = \"a\"\npath = \"x.txt\"\nweight = 0\n", &["weight 0"]),
    ];
    for (i, (toml, words)) in cases.iter().enumerate() {
        let run = dir.path().join(format!("r{i}"));
        fs::create_dir(&run).unwrap();
        fs::write(run.join("run.toml"), toml).unwrap();
        danlu(["train", "--run", &text(&run)]).refused(2, words);
        assert_eq!(fs::read(run.join("run.toml")).unwrap(), *toml);
        assert!(!run.join("metrics.jsonl").exists() && checkpoints(&run).is_empty());
        no_leftovers(&run);
    }
}

#[test]
fn folders_that_are_no_runs() {
    let dir = scratch();
    let at = |name: &str| text(&dir.path().join(name));
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/letter.doc"), "x").unwrap();
    fs::create_dir(at("empty")).unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["train", "--run", &at("file"), "--steps", "1"], &["file", "folder"]),
        (&["train", "--run", &at("full"), "--steps", "1"], &["letter.doc", "choose"]),
        (&["train", "--run", &at("a\nb"), "--steps", "1"], &["control character", "choose another name"]),
        (&["generate", "--run", &at("none"), "--prompt", "x"], &["no such run", "--run"]),
        (&["generate", "--run", &at("empty"), "--prompt", "x"], &["no run.toml"]),
        (&["generate", "--model", &at("none"), "--prompt", "x"], &["none", "no config.json"]),
        (&["score", "--model", &at("empty"), "--ids", "x"], &["empty", "no config.json"]),
    ];
    for (args, words) in cases {
        refused_untouched(dir.path(), || danlu(*args), 2, words);
    }
    let done: Done = command(["generate", "--prompt", "x"]).current_dir(at("empty")).output().unwrap().into();
    done.refused(2, &["no run in ./runs", "--run", "--model"]);
}

#[test]
fn files_of_ids() {
    let dir = scratch();
    let model = text(&golden("tied"));
    let cases: &[(Value, &[&str])] = &[
        (json!({"input_ids": [[1, 131]]}), &["input_ids row 0, place 1", "131", "vocabulary of 131"]),
        (json!({"input_ids": [[1, 2], [-1]]}), &["input_ids row 1, place 0", "-1"]),
        (json!({"input_ids": [[1, 2]], "labels": [[1]]}), &["labels row 0", "1 numbers", "2"]),
        (json!({"input_ids": [[1, 2]], "labels": []}), &["labels has 0 rows", "1"]),
        (json!({"input_ids": [[1, 2]], "labels": [[1, -99]]}), &["labels row 0, place 1", "-99", "-100"]),
        (json!({"input_ids": [[1, 2]], "labels": [[1, 131]]}), &["labels row 0, place 1", "131"]),
        (json!({"input_ids": []}), &["no row"]),
        (json!({"input_ids": [[1], []]}), &["row 1 is empty"]),
        (json!({"input_ids": [[1.5]]}), &["1.5", "input_ids"]),
        (json!({"input_ids": [1, 2]}), &["expected {\"input_ids\": [[…], …]}"]),
        (json!({"ids": [[1]]}), &["ids", "input_ids"]),
        (json!([[1]]), &["input_ids"]),
    ];
    for (value, words) in cases {
        let ids = ids_file(dir.path(), "bad.json", value);
        for verb in ["score", "overfit", "generate"] {
            let args = [verb, "--model", &model, "--ids", &ids, "--json"];
            refused_untouched(dir.path(), || danlu(args), 2, &[words, &["bad.json"][..]].concat());
        }
    }
    for (name, bytes, words) in
        [("text", &b"hello"[..], "line 1"), ("empty", b"", "EOF"), ("bytes", b"\xff\x00", "not text")]
    {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        danlu(["score", "--model", &model, "--ids", &text(&path)]).refused(2, &[name, words, "expected"]);
    }
    danlu(["score", "--model", &model, "--ids", &text(&dir.path().join("none"))]).refused(2, &["none", "no such file"]);
    danlu(["score", "--model", &model, "--ids", &text(dir.path())]).refused(2, &["folder"]);
    let none = ids_file(dir.path(), "none.json", &json!({"input_ids": [[1, 2]], "labels": [[-100, -100]]}));
    danlu(["overfit", "--model", &model, "--ids", &none]).refused(2, &["no label is trained on"]);
    let good = ids_file(dir.path(), "good.json", &json!({"input_ids": [[1, 2]]}));
    let numbers: &[(&str, &[&str], &str)] = &[
        ("overfit", &["--lr", "nan"], "--lr"),
        ("overfit", &["--clip=-1"], "--clip"),
        ("generate", &["--temperature", "inf"], "--temperature"),
        ("generate", &["--top-p", "0"], "--top-p"),
        ("generate", &["--repetition-penalty", "0"], "--repetition-penalty"),
    ];
    for (verb, more, word) in numbers {
        danlu([&[verb, "--model", &model, "--ids", &good][..], more].concat()).refused(2, &[word, "expected"]);
    }
    danlu(["generate", "--model", &model]).refused(2, &["--prompt", "--ids"]);
    danlu(["generate", "--model", &model, "--prompt", "x"]).refused(2, &["no tokenizer.json", "--ids does not"]);
}

/// Such numbers used to overflow and panic with exit code 101.
#[test]
fn sizes_past_counting() {
    let dir = scratch();
    let model = text(&golden("tied"));
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [[1, 2]]}));
    for n in ["18446744073709551615", "100000000"] {
        danlu(["generate", "--model", &model, "--ids", &ids, "--max-new-tokens", n])
            .refused(2, &["--max-new-tokens", n, "fewer"]);
        danlu(["bench", "--batch", n, "--ctx", "1024"]).refused(2, &["--batch", n, "lower"]);
        danlu(["bench", "--batch", "1", "--ctx", "1", "--steps", n]).refused(2, &["--steps", n]);
    }
    for flag in ["--layers", "--hidden", "--heads", "--kv-heads", "--ffn", "--vocab", "--batch", "--ctx", "--steps"] {
        for n in ["0", "18446744073709551615"] {
            let done = danlu(["bench", flag, n]);
            assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{flag} {n}: {}", done.err);
        }
    }
    danlu(["bench", "--layers", "512", "--hidden", "65536", "--heads", "512", "--ffn", "1048576"])
        .refused(4, &["bytes"]);
}

#[test]
fn damaged_models() {
    let dir = scratch();
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [[1, 2, 3]]}));
    let good = fs::read(golden("tied").join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let data = 8 + header;
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let text = String::from_utf8(good[8..data].to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        with(8, text.replacen(from, to, 1).as_bytes())
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("truncated", good[..good.len() - 100].to_vec(), "model.safetensors"),
        ("cut in the header", good[..100].to_vec(), "model.safetensors"),
        ("cut in the length", good[..5].to_vec(), "model.safetensors"),
        ("empty", Vec::new(), "model.safetensors"),
        ("grown", [&good[..], b"more"].concat(), "model.safetensors"),
        ("header length past the file", with(0, &u64::MAX.to_le_bytes()), "model.safetensors"),
        ("header length a little off", with(0, &(header as u64 - 8).to_le_bytes()), "model.safetensors"),
        ("flipped bit in the header", with(8, b"["), "model.safetensors"),
        ("no safetensors at all", b"PK\x03\x04 this is a zip file, or was one".to_vec(), "model.safetensors"),
        ("another dtype", replaced("\"F32\"", "\"I32\""), "I32"),
        ("an unknown dtype", replaced("\"F32\"", "\"X32\""), "model.safetensors"),
        ("another name", replaced("model.norm.weight", "model.nrom.weight"), "model.norm.weight"),
        ("another shape", replaced("[131,32]", "[32,131]"), "model.embed_tokens.weight"),
        ("NaN", with(data + 4000, &f32::NAN.to_le_bytes()), "not finite"),
        ("infinity", with(data + 4000, &f32::INFINITY.to_le_bytes()), "not finite"),
    ];
    for (what, bytes, word) in cases {
        let model = dir.path().join("model");
        copy(&golden("tied"), &model);
        fs::write(model.join("model.safetensors"), bytes).unwrap();
        eprintln!("{what}");
        for verb in ["score", "overfit", "generate"] {
            danlu([verb, "--model", &text(&model), "--ids", &ids]).refused(2, &["model", word]);
        }
    }
    let model = dir.path().join("model");
    fs::remove_file(model.join("model.safetensors")).unwrap();
    danlu(["score", "--model", &text(&model), "--ids", &ids]).refused(2, &["model.safetensors"]);
    fs::create_dir(model.join("model.safetensors")).unwrap();
    danlu(["score", "--model", &text(&model), "--ids", &ids]).refused(2, &["model.safetensors"]);
    // A shard that is in the index and missing in the folder; one outside the folder.
    fs::remove_dir(model.join("model.safetensors")).unwrap();
    for shard in ["model-00001-of-00001.safetensors", "../model.safetensors", "/etc/passwd"] {
        let index = json!({"metadata": {}, "weight_map": {"model.norm.weight": shard}});
        fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
        danlu(["score", "--model", &text(&model), "--ids", &ids]).refused(2, &["safetensors"]);
    }
}

#[test]
fn model_configs_that_cannot_be_honoured() {
    let dir = scratch();
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [[1, 2, 3]]}));
    let good: Value = serde_json::from_str(&fs::read_to_string(golden("tied").join("config.json")).unwrap()).unwrap();
    let model = dir.path().join("model");
    copy(&golden("tied"), &model);
    let refused = |text_of: &str, words: &[&str]| {
        fs::write(model.join("config.json"), text_of).unwrap();
        danlu(["score", "--model", &text(&model), "--ids", &ids, "--json"])
            .refused(2, &[&["config.json"], words].concat());
    };
    let changes: &[(&str, Value, &[&str])] = &[
        ("hidden_act", json!("gelu"), &["hidden_act", "gelu", "silu"]),
        ("model_type", json!("gpt2"), &["model_type", "gpt2", "llama"]),
        ("attention_bias", json!(true), &["attention_bias"]),
        ("mlp_bias", json!(true), &["mlp_bias"]),
        ("rope_parameters", json!({"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5}), &["rope_type", "llama3"]),
        ("rope_scaling", json!({"type": "linear", "factor": 2.0}), &["linear"]),
        ("rope_theta", json!(7.0), &["rope_theta"]),
        ("dtype", json!("int4"), &["dtype", "int4"]),
        ("quantization_config", json!({"bits": 4}), &["quantization_config"]),
        ("sliding_window", json!(128), &["sliding_window"]),
        ("num_key_value_heads", json!(3), &["num_key_value_heads 3"]),
        ("vocab_size", json!(0), &["vocab_size is 0"]),
        ("vocab_size", json!(18_446_744_073_709_551_615_u64), &["vocab_size"]),
        ("hidden_size", json!("wide"), &["hidden_size", "whole number"]),
        ("hidden_size", json!(-32), &["hidden_size", "whole number"]),
        ("num_attention_heads", json!(0), &["num_attention_heads is 0"]),
        ("rms_norm_eps", json!(-1.0), &["rms_norm_eps is -1"]),
        ("eos_token_id", json!("</s>"), &["eos_token_id"]),
        ("intermediate_size", Value::Null, &["intermediate_size is missing"]),
    ];
    for (key, value, words) in changes {
        let mut config = good.clone();
        config[*key] = value.clone();
        refused(&config.to_string(), words);
    }
    refused("", &["not JSON"]);
    refused("{\"hidden_size\": 32,", &["not JSON", "line 1"]);
    refused("[]", &["not a JSON object"]);
    refused(&"[".repeat(100_000), &["not JSON"]);
    // Valid by itself, but different from the weights.
    for (key, value) in [
        ("tie_word_embeddings", json!(false)),
        ("num_hidden_layers", json!(4)),
        ("num_hidden_layers", json!(2)),
        ("hidden_size", json!(64)),
    ] {
        let mut config = good.clone();
        config[key] = value;
        fs::write(model.join("config.json"), config.to_string()).unwrap();
        danlu(["score", "--model", &text(&model), "--ids", &ids]).refused(2, &["model"]);
    }
}

/// A run's folder with one source.
fn run_with(dir: &Path, name: &str, path: &str) -> PathBuf {
    let run = dir.join(name);
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("run.toml"), format!("size = \"1m\"\n[[source]]\nname = \"letters\"\npath = {path:?}\n"))
        .unwrap();
    run
}

#[test]
fn sources_that_hold_no_text() {
    let dir = scratch();
    let files: &[(&str, &[u8])] = &[
        ("empty.txt", b""),
        ("blank.txt", b" \n\n \n"),
        ("latin.txt", b"caf\xe9 au lait\n"),
        ("binary.txt", b"\x7fELF\x02\x01\x01\x00\x80\xff\xfe\x00rest"),
        ("binary.bin", b"\x7fELF\x02\x01"),
        ("broken.json", b"{\"text\": \"a\""),
        ("none.jsonl", b"{\"titel\": 3}\n{\"titel\": 4}\n"),
    ];
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    fs::create_dir_all(dir.path().join("folder/deeper")).unwrap();
    fs::write(dir.path().join("folder/picture.png"), "x").unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("empty.txt", &["holds no document", "expected text"]),
        ("blank.txt", &["holds no document"]),
        ("latin.txt", &["not UTF-8", "byte 3", "line 1", "iconv"]),
        ("binary.txt", &["is not text", "byte 7"]),
        ("binary.bin", &["ending", ".txt, .md, .jsonl"]),
        ("broken.json", &["ends in the middle", "first at 1"]),
        ("none.jsonl", &["no document", "2 records", "first at 1"]),
        ("folder", &["matches no readable file", ".parquet", "source.path"]),
        ("missing.txt", &["matches no", "source.path"]),
        ("*.csv", &["matches no", "source.path"]),
        ("[x", &["not a valid path or glob"]),
    ];
    for (i, (path, words)) in cases.iter().enumerate() {
        let run = run_with(dir.path(), &format!("run{i}"), &format!("../{path}"));
        let before = fs::read(run.join("run.toml")).unwrap();
        danlu(train_args(&run, &["steps=1"], &[])).refused(2, &[words, &["source letters"][..]].concat());
        // The key that a new run has is the only change.
        let begun = [b"splits = \"by-name\"\n", &before[..]].concat();
        assert_eq!(fs::read(run.join("run.toml")).unwrap(), begun);
        assert!(
            !run.join("metrics.jsonl").exists()
                && !run.join("data/tokenizer.json").exists()
                && checkpoints(&run).is_empty()
        );
        no_leftovers(&run);
    }
    // After correcting the file the run works.
    fs::write(dir.path().join("empty.txt"), "The furnace is warm.\n\n".repeat(40)).unwrap();
    train(&dir.path().join("run0"), &["steps=1"], &[]).good();
    // A bad file among good ones is reported, and the others are used.
    let both = dir.path().join("both");
    fs::create_dir(&both).unwrap();
    fs::copy(dir.path().join("empty.txt"), both.join("good.txt")).unwrap();
    fs::write(both.join("blank.txt"), "").unwrap();
    fs::copy(dir.path().join("binary.txt"), both.join("binary.txt")).unwrap();
    let run = run_with(dir.path(), "run-both", "../both");
    let done = train(&run, &["steps=1"], &[]);
    for words in ["blank.txt holds no document", "binary.txt is not text"] {
        assert!(done.good().out.contains(words), "{words}: {}", done.out);
    }
}

/// A run's folder was taken as part of the pattern, so its sources were not found.
#[test]
fn brackets_in_the_name_of_a_folder_are_no_pattern() {
    let dir = scratch();
    let odd = dir.path().join("we[ird] *");
    fs::create_dir_all(odd.join("texts")).unwrap();
    fs::write(odd.join("texts/a.txt"), "The furnace is warm.\n\n".repeat(40)).unwrap();
    for (i, path) in ["../texts", "../texts/*.txt", "../t?xts/[a-c].txt", &text(&odd.join("texts"))].iter().enumerate()
    {
        let run = run_with(&odd, &format!("run{i}"), path);
        train(&run, &["steps=1"], &[]).good();
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_it_is_begun() {
    let dir = scratch();
    let run =
        || danlu(["train", "--run", &text(&dir.path().join("run")), "--size", "124m", "--set", "batch_size=200000"]);
    refused_untouched(dir.path(), run, 4, &["out of device memory", " needs ", "bytes, ", " available", "batch_size="]);
}

#[test]
fn one_process_owns_a_run() {
    let dir = scratch();
    let run = dir.path().join("run");
    let mut owner = Running::start(&run, &["steps=100000000"]);
    owner.until(|line| line["step"] == 1);
    let pid = format!("process {}", owner.child.id());
    train(&run, &["steps=3"], &[]).refused(3, &["in use", &pid, "--run"]);
    // Reading needs no lock; there is just no checkpoint yet.
    danlu(["generate", "--run", &text(&run), "--prompt", "x"]).refused(2, &["no checkpoint"]);
    owner.signal("TERM");
    let (done, rest) = owner.end();
    assert_eq!(done.good().err, "");
    assert_eq!(rest.last().unwrap()["reason"], "stopped");
    let step = rest.last().unwrap()["step"].as_u64().unwrap() as usize;
    assert!(checkpoint(&run, step).is_dir() && metrics(&run).len() == step);
    danlu(["generate", "--run", &text(&run), "--prompt", "x", "--json"]).object();
    // A killed process holds no lock.
    let mut owner = Running::start(&run, &["steps=100000000"]);
    owner.until(|line| line["event"] == "started");
    owner.signal("KILL");
    owner.end();
    train(&run, &["steps=100000000"], &["--steps", "1"]).good();
}

/// As the user nobody, because root ignores permissions.
#[test]
fn a_folder_that_cannot_be_written() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, &["steps=2"], &[]).good();
    let before = snapshot(&run);
    let root = fs::metadata(dir.path())
        .is_ok_and(|_| fs::read("/proc/self/status").is_ok_and(|s| String::from_utf8_lossy(&s).contains("Uid:\t0\t")));
    let all = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    all(dir.path(), 0o755);
    for path in before.keys().chain([&run]) {
        all(path, if path.is_dir() { 0o555 } else { 0o444 });
    }
    let binary = dir.path().join("danlu");
    fs::copy(DANLU, &binary).unwrap();
    all(&binary, 0o755);
    let other = dir.path().join("locked");
    fs::create_dir(&other).unwrap();
    all(&other, 0o555);
    let as_nobody = |run: &Path| -> Done {
        let mut command = Command::new(&binary);
        command.args(train_args(run, &["steps=4"], &[])).args(["--adapter", "cpu"]).env("RUST_BACKTRACE", "0");
        if root {
            command.uid(65_534).gid(65_534);
        }
        command.output().unwrap().into()
    };
    as_nobody(&run).refused(1, &["run", "ermission"]);
    assert!(snapshot(&run) == before);
    as_nobody(&other.join("new")).refused(1, &["ermission"]);
    assert!(snapshot(&other).is_empty());
    all(&other, 0o755);
    for path in before.keys().chain([&run]) {
        all(path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    train(&run, &["steps=4"], &[]).good();
}

/// A limit on the file size stands in for a disk that fills up during a save.
#[test]
fn a_save_without_room_fails_aloud_and_leaves_the_old_checkpoint() {
    let dir = scratch();
    let run = dir.path().join("run");
    let sets = ["steps=6", "save_steps=3"];
    train(&run, &sets, &["--steps", "3"]).good();
    let args = train_args(&run, &sets, &["--adapter", "cpu"]);
    // 64 KiB: logs fit, the model does not. Ignored, SIGXFSZ becomes an error of the write.
    let limited = ["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"", DANLU];
    let done: Done = Command::new("sh").args(limited).args(&args).env("RUST_BACKTRACE", "0").output().unwrap().into();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(
        done.err.starts_with("danlu: ") && done.err.contains("model.safetensors") && done.err.contains("ulimit -f"),
        "{}",
        done.err
    );
    let lines = done.objects();
    assert!(lines.iter().any(|l| l["event"] == "save_failed"), "{}", done.out);
    assert_eq!((&lines.last().unwrap()["event"], &lines.last().unwrap()["failed"]), (&json!("finished"), &json!(true)));
    assert_eq!(checkpoints(&run), ["pretrain-00000003"]);
    no_leftovers(&run);
    let whole = dir.path().join("whole");
    train(&whole, &sets, &[]).good();
    train(&run, &sets, &[]).good();
    assert!(
        common::tensors(&checkpoint(&run, 6)) == common::tensors(&checkpoint(&whole, 6)),
        "after room was made the run continues to the same bits"
    );
}

/// A disk of 8 MiB, where mounting one is permitted: refused before a byte is written.
#[test]
#[cfg(target_os = "linux")]
fn a_small_disk_is_refused_before_the_save() {
    let dir = scratch();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&disk).stderr(Stdio::null()).status();
    if !mount.is_ok_and(|s| s.success()) {
        eprintln!("not permitted to mount: not tested here");
        return;
    }
    let run = disk.join("run");
    let done = train(&run, &["steps=3"], &[]);
    let left = checkpoints(&run);
    let kept = metrics(&run).len();
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    assert_eq!(done.code, Some(1), "{}", done.err);
    for word in ["not enough disk space for", "bytes needed", " free;", "free some space"] {
        assert!(done.err.contains(word), "{}", done.err);
    }
    assert_eq!((left.len(), kept), (0, 3));
}

#[test]
fn a_closed_pipe_is_a_quiet_end_and_training_is_saved() {
    let dir = scratch();
    let run = dir.path().join("run");
    let mut running = Running::start(&run, &["steps=100000000"]);
    running.until(|line| line["step"] == 5);
    let Running { child, lines } = running;
    drop(lines);
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let step = metrics(&run).len();
    assert!(step >= 5 && checkpoint(&run, step).is_dir(), "step {step}: {:?}", checkpoints(&run));
    // Closed before the first line.
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [[1, 2, 3]]}));
    for args in [
        vec!["score", "--ids", &ids, "--json"],
        vec!["overfit", "--ids", &ids, "--steps", "300"],
        vec!["generate", "--ids", &ids, "--max-new-tokens", "8"],
    ] {
        let mut command = command([&args[..], &["--model", &text(&golden("tied"))]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done: Done = child.wait_with_output().unwrap().into();
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// A full disk behind stdout was taken for a closed pipe: no output, and exit code 0.
#[test]
#[cfg(target_os = "linux")]
fn a_result_that_cannot_be_written_is_a_failure() {
    let dir = scratch();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [[1, 2, 3]]}));
    let done: Done = command(["score", "--model", &text(&golden("tied")), "--ids", &ids, "--json"])
        .stdout(full())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
        .into();
    done.refused(1, &["cannot write to stdout", "free space"]);
    let run = dir.path().join("run");
    let train = command(train_args(&run, &["steps=50"], &[])).stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let done: Done = train.wait_with_output().unwrap().into();
    done.refused(1, &["cannot write to stdout"]);
    no_leftovers(&run);
}
