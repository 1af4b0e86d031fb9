//! Imported models: danlu computes what transformers computes, and folders that are not models are named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{danlu, foreign, imported, json_file, metrics, scratch, stage_checkpoint, text};
use danlu::data::Tokenizer;
use serde_json::{Value, json};

fn edges() -> Value {
    serde_json::from_str(include_str!("golden/edges.json")).unwrap()
}

/// A model with a tokenizer of `tests/golden/edges.json`.
fn model(dir: &Path, kind: &str) -> PathBuf {
    let case = &edges()["kinds"][kind];
    let vocab = case["tokenizer"]["model"]["vocab"].as_object().unwrap().len();
    foreign(dir, kind, &case["tokenizer"], &case["tokenizer_config"], vocab)
}

fn change(path: &Path, with: impl Fn(&mut Value)) {
    let mut file = json_file(path);
    with(&mut file);
    fs::write(path, file.to_string()).unwrap();
}

fn generate(model: &Path, more: &[&str]) -> common::Done {
    let model = text(model);
    danlu([&["--adapter", "cpu", "generate", "--model", &model][..], more].concat())
}

const GREEDY: [&str; 4] = ["--temperature", "0", "--json", "--ignore-eos"];

#[test]
fn a_prompt_is_gone_on_with_from_transformers_ids() {
    let dir = scratch();
    for (kind, begin) in [("llama3", 1), ("two", 2), ("eos", 1), ("roberta", 1), ("none", 0), ("legacy", 1)] {
        let folder = model(dir.path(), kind);
        let mut ids: Vec<u32> = serde_json::from_value(edges()["kinds"][kind]["texts"][0]["ids"].clone()).unwrap();
        let ends = ["eos", "roberta"].contains(&kind);
        if ends {
            ids.pop();
        }
        let rows = common::ids_file(dir.path(), "ids.json", &json!({"input_ids": [ids]}));
        let told = generate(&folder, &[&["--ids", &rows, "--max-new-tokens", "6"][..], &GREEDY].concat()).object();
        let done = generate(&folder, &[&["--prompt", "the lake was", "--max-new-tokens", "6"][..], &GREEDY].concat());
        assert_eq!(done.object()["ids"], json!(told["ids"][0].as_array().unwrap()[ids.len()..]), "{kind}");
        assert_eq!(done.err.contains("end-of-text token after every text"), ends, "{kind}: {}", done.err);
        assert_eq!(done.err.contains("add_bos_token"), kind == "none", "{kind}: {}", done.err);
        assert!(ids.len() > begin);
    }
}

/// Without the begin-of-text token the continuation changes, or the test above would show nothing.
#[test]
fn the_begin_token_changes_the_continuation() {
    let dir = scratch();
    let folder = model(dir.path(), "llama3");
    let ask = [&["--prompt", "the lake was", "--max-new-tokens", "12"][..], &GREEDY].concat();
    let with = generate(&folder, &ask).object();
    change(&folder.join("tokenizer.json"), |file| file["post_processor"] = Value::Null);
    assert_ne!(generate(&folder, &ask).object()["ids"], with["ids"]);
}

#[test]
fn every_end_of_both_files_ends_a_text() {
    let dir = scratch();
    let folder = model(dir.path(), "llama3");
    let ask = ["--prompt", "the lake was", "--max-new-tokens", "4", "--temperature", "0", "--json"];
    let first = generate(&folder, &[&ask[..], &["--ignore-eos"]].concat()).object()["ids"][0].clone();
    let config = |ends: Value| change(&folder.join("config.json"), |c| c["eos_token_id"] = ends.clone());
    let stops = |stops: bool, what: &str| {
        let said = generate(&folder, &ask).object();
        assert_eq!(said["finish_reason"], if stops { "stop" } else { "length" }, "{what}: {said}");
        assert_eq!(said["ids"].as_array().unwrap().is_empty(), stops, "{what}");
    };
    for ends in [json!(first), json!([1, first]), json!([first, 1, null, 99_999, -1])] {
        config(ends.clone());
        stops(true, &format!("config {ends}"));
    }
    for ends in [json!(null), json!([]), json!([1]), json!(99_999), json!([-1])] {
        config(ends.clone());
        stops(false, &format!("config {ends}"));
        fs::write(folder.join("generation_config.json"), json!({"eos_token_id": [1, first]}).to_string()).unwrap();
        stops(true, &format!("config {ends}, generation_config too"));
        fs::remove_file(folder.join("generation_config.json")).unwrap();
    }
    // Unused ids are not checked.
    change(&folder.join("config.json"), |c| {
        (c["pad_token_id"], c["bos_token_id"]) = (json!(-1), json!(128_000));
    });
    generate(&folder, &ask).good();
    config(json!("</s>"));
    generate(&folder, &ask).refused(2, &["config.json", "eos_token_id", "a list of them"]);
}

/// Trained from a model with a begin-of-text token, a run puts it before its texts, records it in all files, and
/// resumes to the bit.
#[test]
fn training_begins_texts_as_its_checkpoint_says() {
    let dir = scratch();
    for kind in ["llama3", "legacy", "two"] {
        let folder = model(dir.path(), kind);
        let begin: Vec<u32> = serde_json::from_value(edges()["kinds"][kind]["begin"].clone()).unwrap();
        let train = |run: &str, more: &[&str]| {
            let run = dir.path().join(format!("{kind}-{run}"));
            let sets = ["pretrain.context=32", "batch_size=2", "eval_steps=0", "probe_steps=0", "steps=4"];
            let mut args: Vec<String> = ["--adapter", "cpu", "train", "--run"].map(str::to_owned).into();
            args.push(text(&run));
            args.extend(sets.iter().flat_map(|s| ["--set".to_owned(), (*s).to_owned()]));
            args.extend(more.iter().map(|s| (*s).to_owned()));
            danlu(args).good();
            run
        };
        let from = text(&folder);
        let whole = train("whole", &["--from", &from]);
        let parts = train("parts", &["--from", &from, "--steps", "2"]);
        train("parts", &[]);
        let (a, b) = (stage_checkpoint(&whole, "pretrain", 4), stage_checkpoint(&parts, "pretrain", 4));
        assert_eq!(common::tensors(&a), common::tensors(&b), "{kind}");
        let read = |name: &str| fs::read_to_string(a.join(name)).unwrap();
        let tokenizer = Tokenizer::from_json(&read("tokenizer.json"), Some(&read("tokenizer_config.json"))).unwrap();
        assert_eq!(tokenizer.begin(), begin, "{kind}");
        let settings = json_file(&a.join("tokenizer_config.json"));
        assert_eq!(settings["bos_token"], "<s>", "{kind}");
        assert_eq!((&settings["add_bos_token"], &settings["add_eos_token"]), (&json!(true), &json!(false)));
        assert_eq!(json_file(&a.join("config.json"))["bos_token_id"], json!(tokenizer.begin_of_text()), "{kind}");
        assert!(json_file(&a.join("tokenizer.json"))["post_processor"].is_object(), "{kind}");
    }
}

/// Streamed or not, a continuation keeps the space that a decoder takes from the beginning of a text.
#[test]
fn a_continuation_keeps_its_first_space() {
    let dir = scratch();
    let folder = model(dir.path(), "legacy");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let tokenizer = Tokenizer::from_json(&read("tokenizer.json"), Some(&read("tokenizer_config.json"))).unwrap();
    let before = tokenizer.encode_prompt("the lake was").unwrap();
    let mut spaces = 0;
    for seed in 0..6 {
        let seed = seed.to_string();
        let ask = [
            "--seed",
            &seed,
            "--prompt",
            "the lake was",
            "--max-new-tokens",
            "12",
            "--temperature",
            "3",
            "--top-k",
            "0",
        ];
        let said = generate(&folder, &[&ask[..], &["--json", "--ignore-eos"]].concat()).object();
        let ids: Vec<u32> = serde_json::from_value(said["ids"].clone()).unwrap();
        assert_eq!(said["text"], tokenizer.decode_rest(&before, &ids, true));
        let streamed = generate(&folder, &[&ask[..], &["--ignore-eos"]].concat());
        let shown = |text: &str| {
            text.chars().filter(|c| !c.is_control() && !('\u{2400}'..='\u{243f}').contains(c)).collect::<String>()
        };
        assert_eq!(shown(&streamed.out), shown(said["text"].as_str().unwrap()));
        spaces += usize::from(tokenizer.token(ids[0]).is_some_and(|t| t.starts_with('▁')));
    }
    // Words are rare beside bytes here; the decoder's own test covers them.
    let walked = [tokenizer.id("▁walk").unwrap(), tokenizer.id("ed").unwrap()];
    assert_eq!(tokenizer.decode_rest(&before, &walked, true), " walked", "{spaces}");
}

#[test]
fn turns_that_do_not_fit_beside_the_answer_are_left_out_and_reported() {
    let dir = scratch();
    let folder = model(dir.path(), "llama3");
    let window = json_file(&folder.join("config.json"))["max_position_embeddings"].as_u64().unwrap() as usize;
    let prompt = "the lake was tea ".repeat(window);
    let said = generate(&folder, &[&["--prompt", &prompt, "--max-new-tokens", "8"][..], &GREEDY].concat());
    assert_eq!(said.object()["ids"].as_array().unwrap().len(), 8);
    assert!(
        said.err.contains("tokens of the prompt are left out") && said.err.contains(&format!("{window} positions"))
    );
    assert!(!said.err.contains("expect worse output"), "{}", said.err);
    let new = (window + 10).to_string();
    let said = generate(&folder, &[&["--prompt", "tea", "--max-new-tokens", &new][..], &GREEDY].concat());
    assert!(said.err.contains("expect worse output") && !said.err.contains("left out"), "{}", said.err);
    let rows = common::ids_file(dir.path(), "long.json", &json!({"input_ids": [vec![7; window + 1]]}));
    let said = generate(&folder, &["--ids", &rows, "--max-new-tokens", "1", "--json"]);
    assert!(said.good().err.contains("expect worse output"), "{}", said.err);
    let short = generate(&folder, &[&["--prompt", "tea", "--max-new-tokens", "4"][..], &GREEDY].concat());
    assert_eq!(short.good().err, "");
}

#[test]
fn byte_order_marks_and_utf_16_are_passed_over() {
    let dir = scratch();
    let ask = ["--prompt", "tea", "--max-new-tokens", "2", "--json"];
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        let folder = model(dir.path(), "llama3");
        fs::write(folder.join("generation_config.json"), "{\"eos_token_id\": 1}").unwrap();
        let plain = generate(&folder, &ask).object();
        let path = folder.join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("\u{feff}{text}")).unwrap();
        assert_eq!(generate(&folder, &ask).object(), plain, "{name}");
        let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&path, wide).unwrap();
        assert_eq!(generate(&folder, &ask).object(), plain, "{name} in UTF-16");
        fs::remove_dir_all(&folder).unwrap();
    }
    let folder = model(dir.path(), "llama3");
    let rows = dir.path().join("rows.json");
    fs::write(&rows, "\u{feff}{\"input_ids\": [[1, 2, 3]]}").unwrap();
    danlu(["--adapter", "cpu", "score", "--model", &text(&folder), "--ids", &text(&rows), "--json"]).good();
}

#[test]
fn what_is_no_model_is_named() {
    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2336927755\n";
    let dir = scratch();
    let ask = ["--prompt", "tea"];
    for name in ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"] {
        let folder = model(dir.path(), "llama3");
        fs::write(folder.join(name), POINTER).unwrap();
        generate(&folder, &ask).refused(2, &[name, "Git LFS", "git lfs pull"]);
    }
    let weights = |bytes: &[u8], word: &str| {
        let folder = model(dir.path(), "llama3");
        fs::write(folder.join("model.safetensors"), bytes).unwrap();
        generate(&folder, &ask).refused(2, &["model.safetensors", word]);
    };
    weights(&[&b"GGUF\x03\0\0\0"[..], &[0; 64]].concat(), "GGUF");
    weights(&[&b"PK\x03\x04\0\0\x08\x08"[..], &[0; 64]].concat(), "pickle");
    weights(b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "web page");
    let instead = |names: &[&str], words: &[&str], config: bool| {
        let folder = model(dir.path(), "llama3");
        fs::remove_file(folder.join("model.safetensors")).unwrap();
        if !config {
            fs::remove_file(folder.join("config.json")).unwrap();
        }
        for name in names {
            fs::write(folder.join(name), "{}").unwrap();
        }
        generate(&folder, &ask).refused(2, words);
        fs::remove_dir_all(&folder).unwrap();
    };
    instead(&["adapter_config.json", "adapter_model.safetensors"], &["PEFT adapter", "merge_and_unload"], false);
    instead(&["adapter_model.bin"], &["PEFT adapter"], true);
    instead(&["pytorch_model.bin"], &["pickle", "safe_serialization"], true);
    instead(&["model-00001-of-00002.safetensors"], &["shards", "model.safetensors.index.json"], true);
    instead(&["model.Q4_K_M.gguf"], &["GGUF", "Hugging Face folder"], false);
    let folder = model(dir.path(), "llama3");
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let index = json!({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    generate(&folder, &ask).refused(2, &["model-00001-of-00002.safetensors", "not in the folder"]);
    let file = dir.path().join("model.gguf");
    fs::write(&file, "GGUF").unwrap();
    generate(&file, &ask).refused(2, &["GGUF"]);
}

/// A fine-tuned checkpoint ends its turns as its generation_config.json says, with the template and without.
#[test]
fn a_chat_stage_stops_at_its_own_ends() {
    let dir = scratch();
    let folder = imported(dir.path());
    let said = |more: &[&str]| {
        generate(
            &folder,
            &[&["--prompt", "tea", "--max-new-tokens", "3", "--temperature", "0", "--json"][..], more].concat(),
        )
        .object()
    };
    let end = said(&["--ignore-eos"])["ids"][0].clone();
    fs::write(folder.join("generation_config.json"), json!({"eos_token_id": [0, end]}).to_string()).unwrap();
    assert_eq!(said(&[])["finish_reason"], "stop");
    let model = text(&folder);
    let both = danlu(["--adapter", "cpu", "generate", "--model", &model, "--stage", "sft", "--prompt", "a"]);
    assert!(both.code == Some(2) && both.err.contains("--stage") && both.err.contains("--model"), "{}", both.err);
}

#[test]
fn a_run_is_called_what_its_user_says() {
    let dir = scratch();
    for name in ["我的丹炉", "my run", "-dash", "...", "炉🔥 v1.0 (copy)", ".hidden"] {
        let run = text(&dir.path().join(name));
        let args = ["--adapter", "cpu", "train", "--run", &run, "--size", "1m", "--steps", "1"];
        let sets = ["batch_size=2", "context=32", "eval_steps=0", "probe_steps=0"];
        danlu(args.into_iter().chain(sets.into_iter().flat_map(|s| ["--set", s]))).good();
        assert_eq!(metrics(Path::new(&run)).len(), 1, "{name}");
    }
    for (name, word) in
        [("a\nb", "control character"), ("\u{1b}[2J", "control character"), (&*"炉".repeat(90), "270 bytes")]
    {
        let run = text(&dir.path().join(name));
        let refused = danlu(["--adapter", "cpu", "train", "--run", &run, "--steps", "1"]);
        refused.refused(2, &[word, "choose"]);
    }
}
