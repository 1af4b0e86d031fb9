//! `danlu inspect`: what it says about true files, and that it refuses hostile ones.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    common::{command, danlu, golden, scratch, text},
    gguf::{self, Value as G},
};

fn inspect(path: &Path) -> Vec<Value> {
    danlu(["inspect", &text(path), "--json"]).good().objects()
}

fn sum(lines: &[Value], key: &str) -> u64 {
    lines.iter().map(|line| line[key].as_u64().unwrap()).sum()
}

fn elements(line: &Value) -> u64 {
    line["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product()
}

/// The fixture run of the newest format.
fn run() -> std::path::PathBuf {
    golden("").parent().unwrap().join("fixtures/runs/state-2")
}

#[test]
fn the_lines_are_the_tensors_and_the_last_their_sum() {
    for path in [golden("tied"), golden("tied").join("model.safetensors"), golden("gqa_untied")] {
        let mut lines = inspect(&path);
        let last = lines.pop().unwrap();
        assert_eq!(last["tensors"], lines.len());
        assert_eq!(last["bytes"], sum(&lines, "bytes"));
        assert_eq!(last["parameters"], lines.iter().map(elements).sum::<u64>());
        for line in &lines {
            let mut keys: Vec<_> = line.as_object().unwrap().keys().collect();
            keys.sort();
            assert_eq!(keys, ["bytes", "dtype", "shape", "tensor"]);
            assert_eq!(line["bytes"], 4 * elements(line));
        }
        let parts = last["parts"].as_object().unwrap();
        assert_eq!(parts.values().map(|p| p["parameters"].as_u64().unwrap()).sum::<u64>(), last["parameters"]);
        assert!(!parts.contains_key("other"), "{parts:?}");
    }
    let last = inspect(&golden("tied")).pop().unwrap();
    assert_eq!((&last["kind"], &last["config"]["architectures"]), (&json!("folder"), &json!(["LlamaForCausalLM"])));
    let layers: u64 = last["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["last"].as_u64().unwrap() + 1 - l["first"].as_u64().unwrap())
        .sum();
    assert_eq!(layers, last["config"]["num_hidden_layers"]);
}

#[test]
fn a_checkpoint_is_checked_against_its_manifest() {
    let dir = scratch();
    let copy = dir.path().join("copy");
    crate::common::copy_all(&run().join("checkpoints/ppo-00000002"), &copy);
    let last = inspect(&copy).pop().unwrap();
    assert_eq!((&last["kind"], &last["manifest"]["differences"]), (&json!("checkpoint"), &json!([])));
    assert_eq!(last["tokenizer"]["type"], "BPE");
    assert!(last["tokenizer"]["tokens"].as_u64().unwrap() > 256 && last["tokenizer"]["chat_template"] == true);
    let others: Vec<_> = last["others"].as_array().unwrap().iter().map(|o| o["file"].as_str().unwrap()).collect();
    assert_eq!(others, ["optimizer.safetensors", "value/model.safetensors", "value/optimizer.safetensors"]);
    // One bit of the weights.
    let weights = copy.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let done = danlu(["inspect", &text(&copy), "--json"]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.contains("model.safetensors") && done.err.lines().count() == 1, "{}", done.err);
    let last = done.objects().pop().unwrap();
    assert_eq!(last["manifest"]["differences"].as_array().unwrap().len(), 1);
}

#[test]
fn a_run_lists_its_checkpoints_and_the_furthest_in_full() {
    let last = inspect(&run()).pop().unwrap();
    let names: Vec<_> =
        last["checkpoints"].as_array().unwrap().iter().map(|c| c["checkpoint"].as_str().unwrap()).collect();
    assert_eq!(names, ["pretrain-00000002", "sft-00000002", "reward-00000002", "ppo-00000002"]);
    assert!(last["path"].as_str().unwrap().ends_with("ppo-00000002"));
    // A damaged one is named, and the others are listed.
    let dir = scratch();
    let copy = dir.path().join("copy");
    crate::common::copy_all(&run(), &copy);
    fs::write(copy.join("checkpoints/sft-00000002/model.safetensors"), "x").unwrap();
    let all = inspect(&copy).pop().unwrap()["checkpoints"].take();
    assert!(all[1]["error"].as_str().unwrap().contains("model.safetensors") && all[2]["parameters"].is_u64(), "{all}");
    assert!(danlu(["inspect", &text(&copy)]).good().out.contains("1 bytes"));
    let dir = scratch();
    fs::write(dir.path().join("run.toml"), "").unwrap();
    danlu(["inspect", &text(dir.path())]).refused(2, &["no checkpoint yet", "danlu train"]);
}

#[test]
fn pages_are_in_two_languages_and_alike_layers_are_shown_once() {
    let model = text(&golden("gqa_untied"));
    let page = |more: &[&str]| danlu([&["inspect", &model], more].concat()).good().out.clone();
    let (en, zh) = (page(&["--lang", "en"]), page(&["--lang", "zh"]));
    for (page, words) in [
        (&en, ["tensor ", "token embedding", "share", "parameters", "LlamaForCausalLM"]),
        (&zh, ["张量", "词嵌入", "占比", "个参数", "LlamaForCausalLM"]),
    ] {
        assert!(words.iter().all(|word| page.contains(word)), "{page}");
    }
    let tree = page(&["--lang", "en", "--tree"]);
    assert!(tree.contains("×)") && tree.contains("self_attn") && tree.contains("q_proj.weight"), "{tree}");
    assert!(!tree.contains("layers.0."), "{tree}");
}

#[test]
fn a_gguf_file_shows_its_keys_and_nothing_reaches_the_terminal_raw() {
    let dir = scratch();
    let path = dir.path().join("m.gguf");
    fs::write(&path, gguf::small()).unwrap();
    let lines = inspect(&path);
    assert_eq!(lines[1], json!({"tensor": "blk.0.attn_q.weight", "shape": [32, 32], "dtype": "Q8_0", "bytes": 1088}));
    assert_eq!(lines[0]["shape"], json!([6, 32]), "slowest first");
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["tensors"], &last["parameters"]),
        (&json!("gguf"), &json!(3), &json!(192 + 1024 + 32))
    );
    assert_eq!(last["metadata"]["tokenizer.ggml.tokens"]["length"], 6);
    assert_eq!(last["metadata"]["llama.rope.freq_base"], Value::Null, "NaN");
    let page = danlu(["inspect", &text(&path)]);
    assert!(
        !page.good().out.contains('\u{1b}') && page.out.contains("NaN") && page.out.contains("Q8_0"),
        "{}",
        page.out
    );
}

#[test]
fn hostile_gguf_files_are_refused_in_one_sentence() {
    let dir = scratch();
    let path = dir.path().join("m.gguf");
    let refused = |bytes: &[u8], words: &[&str]| {
        fs::write(&path, bytes).unwrap();
        danlu(["inspect", &text(&path)]).refused(2, words);
    };
    let good = gguf::small();
    for cut in [5, 11, 20, 60, 200, good.len() - 1] {
        refused(&good[..cut], &["m.gguf", "cut short"]);
    }
    let patched = |at: usize, bytes: &[u8]| {
        let mut all = good.clone();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    refused(&patched(4, &1_u32.to_le_bytes()), &["version 1", "convert"]);
    refused(&patched(4, &3_u32.to_be_bytes()), &["big-endian"]);
    refused(&patched(8, &1_000_000_000_u64.to_le_bytes()), &["1000000000 tensors", "allowed"]);
    refused(&patched(16, &u64::MAX.to_le_bytes()), &["keys", "allowed"]);
    refused(&patched(24, &u64::MAX.to_le_bytes()), &["a key of the header", "allowed"]);
    let long = |kind: u32, n: u64| G::Raw(9, [&kind.to_le_bytes()[..], &n.to_le_bytes()].concat());
    let key = |value: G| gguf::file(&[("k", value)], &[], 0);
    for kind in [0, 5, 8, 12] {
        refused(&key(long(kind, u64::MAX)), &["m.gguf"]);
        refused(&key(long(kind, 1 << 40)), &["m.gguf"]);
    }
    refused(&key(long(9, 1 << 40)), &["lists"]);
    refused(
        &key(G::Raw(
            9,
            [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &9_u32.to_le_bytes(), &1_u64.to_le_bytes()].concat(),
        )),
        &["lists in lists"],
    );
    refused(&key(G::Raw(99, vec![0; 8])), &["unknown type 99"]);
    refused(&gguf::file(&[("k", G::U32(1)), ("k", G::U32(2))], &[], 0), &["twice"]);
    for (value, said) in
        [(G::U32(0), "is 0;"), (G::U32(3), "is 3;"), (G::Text("a\nb"), "is \"a\\nb\";"), (G::Bool(true), "is true;")]
    {
        refused(&gguf::file(&[("general.alignment", value)], &[], 0), &["general.alignment", said]);
    }
    refused(&gguf::file(&[("general.alignment", G::Texts(vec!["a"]))], &[], 0), &["is a list of 1;"]);
    let other = [&b"GGML"[..], &good[4..]].concat();
    refused(&other, &["m.gguf", "does not begin with GGUF"]);
    refused(&fs::read(golden("tied").join("model.safetensors")).unwrap(), &["does not begin with GGUF"]);
    refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", &["Git LFS"]);
    refused(b"", &["does not begin with GGUF"]);
    let tensors = |all: &[gguf::Described<'_>], data| gguf::file(&[], all, data);
    refused(&tensors(&[("a", &[32], 0, 0), ("a", &[32], 0, 128)], 256), &["\"a\"", "twice"]);
    refused(&tensors(&[("a", &[32], 0, 0), ("b", &[32], 0, 64)], 256), &["overlaps"]);
    refused(&tensors(&[("a", &[32], 0, 0), ("b", &[32], 0, 1 << 40)], 256), &["cut short"]);
    refused(&tensors(&[("a", &[32], 0, u64::MAX - 31)], 256), &["cut short"]);
    refused(&tensors(&[("a", &[32], 0, 4)], 256), &["multiple of 32"]);
    refused(&tensors(&[("a", &[u64::MAX, u64::MAX], 0, 0)], 256), &["cannot have the shape"]);
    refused(&tensors(&[("a", &[33], 8, 0)], 256), &["cannot have the shape"]);
    refused(&tensors(&[("a", &[32], 77, 0)], 256), &["unknown type 77"]);
    refused(&tensors(&[("a", &[1; 40], 0, 0)], 256), &["40 dimensions"]);
}

#[test]
fn what_is_no_weights_is_named() {
    let dir = scratch();
    let at = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        text(&path)
    };
    let refused = |path: String, words: &[&str]| danlu(["inspect", &path]).refused(2, words);
    let padded = |start: &[u8]| [start, &[7; 64]].concat();
    refused(at("a.bin", &padded(b"PK\x03\x04\0\0\x08\x08")), &["pickle", "safe_serialization"]);
    refused(at("b.pkl", &padded(b"\x80\x04\x95\x10\0\0\0\0\0\0\0")), &["pickle", "can run code"]);
    refused(
        at("c.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        &["Git LFS", "git lfs pull"],
    );
    refused(at("d.safetensors", b"<!DOCTYPE html><html></html>"), &["web page"]);
    refused(at("e.json", b"{\"a\": 1}"), &["JSON, not weights"]);
    refused(at("f.safetensors", b""), &["0 bytes"]);
    refused(at("g.safetensors", &[&(1_u64 << 40).to_le_bytes()[..], b"{}"].concat()), &["more than the allowed"]);
    let deep = "[".repeat(100_000);
    refused(at("h.safetensors", &[&(deep.len() as u64).to_le_bytes()[..], deep.as_bytes()].concat()), &["invalid"]);
    let minus = br#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    refused(
        at("i.safetensors", &[&(minus.len() as u64).to_le_bytes()[..], minus, &[0; 4]].concat()),
        &["the tensor \"a\"", "expected a whole number, 0 or more"],
    );
    refused(text(&dir.path().join("nothing")), &["no such file"]);
    let folder = |name: &str, files: &[(&str, &[u8])]| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        for (name, bytes) in files {
            fs::write(path.join(name), bytes).unwrap();
        }
        text(&path)
    };
    refused(folder("empty", &[]), &["holds no weights"]);
    refused(folder("pickles", &[("pytorch_model.bin", b"PK")]), &["pickle"]);
    refused(folder("shard", &[("model-00001-of-00002.safetensors", b"")]), &["model.safetensors.index.json"]);
    refused(folder("many", &[("a.safetensors", b""), ("b.gguf", b"")]), &["several files", "a.safetensors, b.gguf"]);
    let one = fs::read(golden("tied").join("model.safetensors")).unwrap();
    let index = json!({"weight_map": {"model.norm.weight": "model.safetensors"}}).to_string();
    refused(
        folder("short", &[("x.safetensors.index.json", index.as_bytes()), ("model.safetensors", b"")]),
        &["0 bytes"],
    );
    let index = json!({"weight_map": {"no": "x.safetensors"}}).to_string();
    refused(
        folder("other", &[("x.safetensors.index.json", index.as_bytes()), ("x.safetensors", &one)]),
        &["not in the index"],
    );
    let pointer: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    refused(
        folder("pointer", &[("model.safetensors", &one), ("tokenizer.json", pointer)]),
        &["tokenizer.json", "Git LFS"],
    );
    refused(
        folder("broken", &[("model.safetensors", &one), ("config.json", b"[1")]),
        &["config.json", "no JSON object"],
    );
    // Found, and named for what it is.
    let adapter = folder("adapter", &[("adapter_model.safetensors", &one), ("adapter_config.json", b"{\"r\": 8}")]);
    let last = inspect(Path::new(&adapter)).pop().unwrap();
    assert_eq!((&last["kind"], &last["adapter"]["r"]), (&json!("adapter"), &json!(8)));
    assert!(danlu(["inspect", &adapter]).good().out.contains("merge_and_unload"));
}

/// Names that would move the cursor, reverse the text or fake a line.
#[test]
fn hostile_names_are_cleaned() {
    let dir = scratch();
    let name = "a\u{1b}[2J\n\u{202e}b\r\u{9b}\tc";
    let header = json!({name: {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}, "__metadata__": {name: name}});
    let header = header.to_string();
    let path = dir.path().join("m.safetensors");
    fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat()).unwrap();
    for more in [&["--tree"][..], &[], &["--json"]] {
        let done = danlu([&["inspect", &text(&path)], more].concat());
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!done.good().out.contains(bad), "{:?}", done.out);
    }
    // The same in a GGUF file: keys, texts, lists of texts, and the token of an id.
    let text_of = "line\none\ttwo\u{1b}[31m\u{9b}";
    let pairs = [
        ("general.architecture", G::Text("llama")),
        (text_of, G::Text(text_of)),
        ("tokenizer.ggml.tokens", G::Texts(vec![text_of, "\n"])),
        ("tokenizer.ggml.eos_token_id", G::U32(1)),
    ];
    let path = dir.path().join("m.gguf");
    fs::write(&path, gguf::file(&pairs, &[], 0)).unwrap();
    let page = danlu(["inspect", &text(&path)]).good().out.clone();
    assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page:?}");
    assert_eq!(page.lines().filter(|line| line.contains("line␊one␉two")).count(), 1, "{page}");
    let path = dir.path().join("m.safetensors");
    assert_eq!(inspect(&path)[0]["tensor"], name, "JSON keeps the name");
}

/// Grok-1's tensors in one byte a parameter: 64 shards that take no room on the disk.
fn grok(dir: &Path) {
    let mut map = serde_json::Map::new();
    let mut shard = |name: &str, tensors: &[(String, Vec<u64>)]| {
        let mut header = serde_json::Map::new();
        let mut at = 0;
        for (tensor, shape) in tensors {
            let end = at + shape.iter().product::<u64>();
            header.insert(tensor.clone(), json!({"dtype": "I8", "shape": shape, "data_offsets": [at, end]}));
            map.insert(tensor.clone(), json!(name));
            at = end;
        }
        let header = Value::Object(header).to_string();
        let mut file = File::create(dir.join(name)).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(8 + header.len() as u64 + at).unwrap();
    };
    let (c, f) = (6144, 32_768);
    for layer in 0..64 {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let mut all: Vec<(String, Vec<u64>)> = vec![
            (name("self_attn.q_proj"), vec![c, c]),
            (name("self_attn.k_proj"), vec![1024, c]),
            (name("self_attn.v_proj"), vec![1024, c]),
            (name("self_attn.o_proj"), vec![c, c]),
            (name("block_sparse_moe.gate"), vec![8, c]),
        ];
        all.extend(["pre_attn", "post_attn", "pre_moe", "post_moe"].map(|n| (name(&format!("{n}_norm")), vec![c])));
        for expert in 0..8 {
            let part = |w: &str| name(&format!("block_sparse_moe.experts.{expert}.{w}"));
            all.extend([(part("w1"), vec![f, c]), (part("w2"), vec![c, f]), (part("w3"), vec![f, c])]);
        }
        shard(&format!("model-{:05}-of-00065.safetensors", layer + 1), &all);
    }
    let ends = [("model.embed_tokens.weight".to_owned(), vec![131_072, c]), ("model.norm.weight".to_owned(), vec![c])];
    shard("model-00065-of-00065.safetensors", &ends);
    let index = json!({"metadata": {"total_size": 315_684_820_992_u64}, "weight_map": map});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// The most memory that `inspect PATH --json` took until its first line, in KiB, and its lines. Everything has been read
/// when the first line is written; the rest waits in the pipe.
#[cfg(target_os = "linux")]
fn peak(path: &Path) -> (u64, Vec<String>) {
    let mut child = command(["inspect", &text(path), "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    let mut all = vec![first];
    all.extend(lines.map(Result::unwrap));
    assert!(child.wait().unwrap().success());
    (peak, all)
}

/// Headers of more than 16 MiB used to be refused; the format allows 100 MB.
#[cfg(target_os = "linux")]
#[test]
fn a_header_of_a_hundred_megabytes_is_read_in_little_memory() {
    let dir = scratch();
    let path = dir.path().join("m.safetensors");
    let count = 3000_u64;
    let tensors: Vec<String> = (0..count)
        .map(|i| format!("\"a.{i}\":{{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[{i},{}]}}", i + 1))
        .collect();
    let made = |length: usize| {
        let start = format!("{{{},\"__metadata__\":{{\"k\":\"v\",\"long\":\"", tensors.join(","));
        let end = "\"}}";
        let mut file = BufWriter::new(File::create(&path).unwrap());
        file.write_all(&(length as u64).to_le_bytes()).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        let chunk = "春".repeat(1 << 16);
        let mut left = length - start.len() - end.len();
        while left > 0 {
            // Whole characters, then single bytes.
            let part = if left >= chunk.len() { chunk.as_bytes() } else { &b"x"[..] };
            file.write_all(part).unwrap();
            left -= part.len();
        }
        file.write_all(end.as_bytes()).unwrap();
        file.write_all(&vec![0; count as usize]).unwrap();
    };
    made(100_000_000);
    let (peak, lines) = peak(&path);
    assert!(peak < 50 << 10, "{peak} KiB");
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!((&last["tensors"], &last["metadata"]["k"]), (&json!(count), &json!("v")));
    assert!(last["metadata"]["long"].as_str().is_none_or(|long| long.len() <= 65 << 10));
    made(100_000_001);
    danlu(["inspect", &text(&path)]).refused(2, &["100000001 bytes", "more than the allowed 100000000"]);
}

#[cfg(target_os = "linux")]
#[test]
fn three_hundred_gigabytes_are_listed_from_their_headers() {
    let dir = scratch();
    grok(dir.path());
    let (peak, mut all) = peak(dir.path());
    assert!(peak < 50 << 10, "{peak} KiB");
    let last: Value = serde_json::from_str(&all.pop().unwrap()).unwrap();
    assert_eq!(all.len(), 64 * 33 + 2);
    assert_eq!((&last["parameters"], &last["bytes"]), (&json!(315_684_820_992_u64), &json!(315_684_820_992_u64)));
    assert_eq!((&last["kind"], last["files"].as_array().unwrap().len()), (&json!("sharded"), 65));
    assert_eq!(last["parts"]["experts"]["parameters"], 64 * 8 * 3 * 6144 * 32_768_u64);
    assert_eq!(
        last["layers"],
        json!([{"first": 0, "last": 63, "tensors": 33, "parameters": 4_919_992_320_u64, "bytes": 4_919_992_320_u64}])
    );
    let tree = danlu(["inspect", &text(dir.path()), "--tree"]);
    assert!(tree.good().out.contains("0–63 (64×)") && tree.out.contains("0–7 (8×)"), "{}", tree.out);
}
