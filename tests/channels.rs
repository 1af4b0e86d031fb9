//! All ways in which foreign text reaches stdout, stderr or a log: no raw control character, and none that hides text
//! or reverses its direction.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use common::{Done, TINY, checkpoint, command, copy_all, counting, danlu, finetune, objects, scratch, text, train};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A change to the header of a weights file.
type Edit<'a> = &'a dyn Fn(&mut Value);

const OSC: &str = "\x1b]52;c;RVZJTA==\x07";
const CSI: &str = "\x1b[31;5mEVIL\x1b[2J";
/// One of every kind: OSC 52, colours, C1, bidi, zero width, tags, backspaces, a title, DCS, a link, line ends.
const ALL: &str = "\x1b]52;c;RVZJTA==\x07\x1b[31;5mEVIL\x1b[2J\u{9b}31m\u{85}\u{90}q\u{9c}a\u{202e}b\u{2066}\u{2069}\u{200e}z\u{200b}\u{200d}\u{feff}t\u{e0065}\u{e0076}\u{8}\u{8}\r\x07\u{7f}\x1b]0;EVILTITLE\x07\x1bPDCS\x1b\\\x1b]8;;http://evil\x1b\\LINK\u{2028}\u{2029}\u{2060}\u{ad}";
/// The same for names of files: no slash.
const NAME: &str = "ev\x1b[31;5mEVIL\u{9b}31m\u{202e}\u{200b}\u{e0065}\x07\u{7f}";

/// Characters that must not occur raw, from an independent list.
fn raw(text: &str) -> Vec<char> {
    let bad = |c: &char| {
        (*c < ' ' && *c != '\n' && *c != '\t')
            || matches!(c, '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(bad).collect()
}

/// The channels checked, and those in which foreign text occurred.
#[derive(Default)]
struct Channels {
    names: Vec<String>,
    seen: usize,
}

impl Channels {
    fn look(&mut self, name: &str, done: &Done) {
        for (stream, shown) in [("stdout", &done.out), ("stderr", &done.err)] {
            assert!(raw(shown).is_empty(), "{name}: {stream} has {:?}: {shown:?}", raw(shown));
        }
        assert!(
            matches!(done.code, Some(0..=3)) && !done.err.contains("panicked"),
            "{name}: {:?} {}",
            done.code,
            done.err
        );
        self.seen += usize::from(done.out.contains("EVIL") || done.err.contains("EVIL"));
        self.names.push(name.to_owned());
    }

    /// A refusal is one line, whatever a name contains.
    fn line(&mut self, name: &str, done: &Done) {
        self.look(name, done);
        assert_eq!(done.err.lines().count(), 1, "{name}: {}", done.err);
    }

    fn file(&mut self, name: &str, path: &Path) {
        let text = fs::read_to_string(path).unwrap();
        assert!(raw(&text).is_empty(), "{name}: {:?}", raw(&text));
        self.names.push(name.to_owned());
    }

    /// At least this many channels, and foreign text in at least this many of them.
    fn expect(&self, channels: usize, seen: usize) {
        assert!(self.names.len() >= channels && self.seen >= seen, "{} channels, {} seen", self.names.len(), self.seen);
    }
}

/// A TOML string with all unusual characters escaped.
fn escaped(text: &str) -> String {
    let mut all = String::from("\"");
    for c in text.chars() {
        match c {
            ' '..='~' if c != '"' && c != '\\' => all.push(c),
            c => write!(all, "\\U{:08X}", c as u32).unwrap(),
        }
    }
    all + "\""
}

const LINE: &str = "The furnace is warm and the text goes on and on, word by word.\n\n";

/// The settings of a tiny run, as tables.
fn tiny() -> String {
    let model = TINY.iter().filter_map(|set| set.strip_prefix("model."));
    let other = TINY.iter().filter(|set| !set.starts_with("model.")).copied();
    let lines = |sets: Vec<&str>| sets.join("\n");
    format!("[model]\n{}\n[pretrain]\n{}\nsteps=2\n", lines(model.collect()), lines(other.collect()))
}

/// A run's folder with a run.toml and files beside it.
fn run_with(dir: &Path, name: &str, toml: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let run = dir.join(name);
    fs::create_dir_all(run.join("src")).unwrap();
    for (file, bytes) in files {
        fs::write(run.join("src").join(file), bytes).unwrap();
    }
    fs::write(run.join("run.toml"), format!("size = \"1m\"\n{toml}")).unwrap();
    run
}

/// `data` and `train` in each of their forms.
fn verbs(channels: &mut Channels, name: &str, run: &Path) {
    let run = text(run);
    for args in [
        &["data", "--run", &run, "--json"][..],
        &["data", "--run", &run],
        &["data", "--run", &run, "--dropped"],
        &["data", "--run", &run, "--dropped", "--json"],
        &["train", "--run", &run],
        &["train", "--run", &run, "--json"],
    ] {
        let done = danlu(args);
        if args.contains(&"--json") {
            objects(&done.out);
        }
        channels.look(&format!("{name} · {args:?}"), &done);
    }
}

fn good() -> Vec<u8> {
    LINE.repeat(60).into_bytes()
}

#[test]
fn texts_sources_and_probes() {
    let (dir, mut channels) = (scratch(), Channels::default());
    let source = |extra: &str| format!("{}[[source]]\nname=\"s\"\npath=\"src\"\n{extra}", tiny());
    let hostile = LINE.repeat(60) + &format!("{ALL} words of the text are here.\n\n").repeat(40);
    let lines: String = (0..30).map(|i| json!({"text": format!("{ALL}{i}")}).to_string() + "\n").collect();
    let lines = format!("{lines}{{\"text\":{ALL}}}\n{ALL}\n");
    let probe =
        format!("[[probe]]\nprompt={}\nexpected={}\nrecall=true\n", escaped(&format!("The {ALL}")), escaped(ALL));
    let files = [("a.txt", hostile.into_bytes()), ("b.jsonl", lines.into_bytes())];
    verbs(&mut channels, "text", &run_with(dir.path(), "a", &source("profile=\"prose-en\"\n"), &files));
    let names = [
        "ev\u{202e}.txt",
        "ev\x1b[31mEVIL.json",
        "ev\x07.gz.txt.gz",
        "a\nb\r.parquet",
        "ev\u{9b}.csv",
        "odd\x1b[1m.xyz",
    ];
    let mut files = vec![("a.txt", good())];
    files.extend(names.iter().map(|name| (*name, b"{\"text\": \"a\"".to_vec())));
    verbs(&mut channels, "file names", &run_with(dir.path(), "b", &source(""), &files));
    let named = format!("{}[[source]]\nname={}\npath=\"src\"\n", tiny(), escaped(ALL));
    verbs(&mut channels, "source name", &run_with(dir.path(), "c", &named, &[("a.txt", good())]));
    let placed = format!("{}[[source]]\nname=\"s\"\npath={}\n", tiny(), escaped(&format!("nowhere{ALL}")));
    verbs(&mut channels, "source path", &run_with(dir.path(), "d", &placed, &[]));
    let probing = source(&probe).replace("probe_steps=0", "probe_steps=1");
    verbs(&mut channels, "probe", &run_with(dir.path(), "e", &probing, &[("a.txt", good())]));
    let field = source(&format!("field={}\n", escaped(ALL)));
    verbs(&mut channels, "field", &run_with(dir.path(), "f", &field, &[("a.jsonl", b"{\"text\":\"a\"}\n".repeat(10))]));
    // The folder's own name.
    let run = run_with(dir.path(), NAME, &tiny(), &[]);
    verbs(&mut channels, "run folder", &run);
    let run = text(&run);
    for args in [
        &["generate", "--run", &run, "--prompt", "x"][..],
        &["generate", "--run", &run, "--prompt", "x", "--stage", "sft"],
        &["train", "--run", &run, "--stage", "sft"],
        &["train", "--run", &run, "--set", "steps=3"],
    ] {
        channels.look(&format!("run folder · {args:?}"), &danlu(args));
    }
    for log in ["metrics.jsonl", "events.jsonl"] {
        channels.file(log, &dir.path().join("e").join(log));
        channels.file(log, &Path::new(&run).join(log));
    }
    channels.expect(46, 15);
}

#[test]
fn settings() {
    let (dir, mut channels) = (scratch(), Channels::default());
    let all = escaped(ALL);
    for (n, toml) in [
        format!("{all} = 1\n"),
        format!("[model]\n{all} = 1\n"),
        format!("size={all}\n"),
        format!("tokenizer={all}\n"),
        format!("x = \"{ALL}\"\n"),
        format!("{CSI} = 3\n"),
        format!("seed = {all}\n"),
        format!("[mix]\n{all} = 1.0\n"),
        format!("[[source]]\nname=\"s\"\npath=\"src\"\nprofile=\"prose-en\"\nrules={{ {all} = 3 }}\n"),
        format!("[[source]]\nname=\"s\"\npath=\"src\"\nprofile={all}\n"),
        format!("[pretrain]\nlr_scheduler_type={all}\n"),
        format!("[quality]\nreference={all}\n"),
        format!("[{all}]\n[{all}]\n"),
        format!("# {ALL}\nx=\n"),
        format!("a=\"{CSI}\n"),
        format!("a = '''{OSC}\n"),
    ]
    .iter()
    .enumerate()
    {
        let run = dir.path().join(n.to_string());
        fs::create_dir(&run).unwrap();
        fs::write(run.join("run.toml"), toml).unwrap();
        channels.line(toml, &danlu(["train", "--run", &text(&run)]));
    }
    // On the command line and in the environment.
    let run = text(&dir.path().join("none"));
    let evil = format!("{CSI}\u{202e}\u{9b}\u{e0065}\n\u{200b}");
    let pair = format!("{evil}={evil}");
    let value = format!("learning_rate={evil}");
    for args in [
        &["train", "--run", &run, "--set", &pair][..],
        &["train", "--run", &run, "--set", &value],
        &["train", "--run", &run, "--size", &evil],
        &["train", "--run", &run, "--stage", &evil],
        &["train", "--run", &run, "--from", &evil],
        &["train", "--run", &run, "--precision", &evil],
        &["train", "--run", &run, "--lang", &evil],
        &["generate", "--model", &evil, "--prompt", "x"],
        &["generate", "--run", &evil, "--prompt", "x"],
        &["generate", "--run", &run, "--stage", &evil, "--prompt", "x"],
        &["score", "--model", &evil, "--ids", &evil],
        &["overfit", "--model", &evil, "--ids", &evil],
        &["data", "--run", &evil],
        &["recipe", "--run", &evil, "--set", "steps=nothing"],
    ] {
        channels.line(&format!("{args:?}"), &danlu(args));
    }
    let adapter: Done = std::process::Command::new(common::DANLU)
        .args(["check", "--adapter", &evil])
        .env("XDG_RUNTIME_DIR", dir.path())
        .output()
        .unwrap()
        .into();
    channels.look("--adapter", &adapter);
    // The parser's message, which has several lines.
    let bare = format!("train{evil}");
    for args in [
        &[evil.as_str()][..],
        &["train", &evil],
        &[&bare],
        &["train", "--set", &evil],
        &["train", "--steps", &evil],
        &[&format!("--{evil}")],
        &["train", &format!("--run{evil}"), "x"],
        &["generate", "--temperature", &evil],
        &["generate", "--prompt", "x", "--ids", &evil, &evil],
    ] {
        let done = danlu(args);
        channels.look(&format!("{args:?}"), &done);
        let begins = ["error: ", "danlu: "].iter().any(|word| done.err.starts_with(word));
        assert!(begins && done.code == Some(2), "{args:?}: {}", done.err);
    }
    for name in ["LANG", "LC_ALL", "WGPU_BACKEND", "RUST_LOG"] {
        let done: Done = command(["train", "--run", &run, "--size", "9m"]).env(name, &evil).output().unwrap().into();
        channels.look(name, &done);
    }
    channels.expect(40, 15);
}

/// A trained run that the tests below copy.
fn trained() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = scratch();
        let run = dir.path().join("m");
        train(&run, &["steps=4", "save_steps=2"], &[]).good();
        (dir, run)
    });
    run
}

fn generate(model: &Path, more: &[&str]) -> Done {
    let length: &[&str] = if more.contains(&"--max-new-tokens") { &[] } else { &["--max-new-tokens", "2"] };
    danlu([&["generate", "--model", &text(model), "--prompt", "春"][..], length, more].concat())
}

/// The model of the trained run, without a manifest, one file changed.
fn model_with(dir: &Path, n: usize, name: &str, bytes: &[u8]) -> PathBuf {
    let model = dir.join(format!("model{n}"));
    copy_all(&checkpoint(trained(), 4), &model);
    fs::remove_file(model.join("manifest.json")).unwrap();
    fs::write(model.join(name), bytes).unwrap();
    model
}

fn read_json(path: &Path) -> Value {
    common::json_file(path)
}

#[test]
fn models() {
    let (dir, mut channels) = (scratch(), Channels::default());
    let from = checkpoint(trained(), 4);
    let mut n = 0;
    let mut file = |name: &str, bytes: &[u8]| {
        n += 1;
        model_with(dir.path(), n, name, bytes)
    };
    let config = read_json(&from.join("config.json"));
    for key in [
        "model_type",
        "hidden_act",
        "dtype",
        "hidden_size",
        "rope_scaling",
        "architectures",
        "quantization_config",
        "rope_parameters",
        "eos_token_id",
        "tie_word_embeddings",
    ] {
        let mut config = config.clone();
        config[key] = match key {
            "rope_scaling" | "rope_parameters" => json!({"rope_type": ALL, ALL: ALL}),
            "architectures" => json!([ALL]),
            _ => json!(ALL),
        };
        channels.line(key, &generate(&file("config.json", config.to_string().as_bytes()), &[]));
    }
    channels.line("config broken", &generate(&file("config.json", format!("{{\"a\": {ALL}").as_bytes()), &[]));
    // Weights.
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let norm = "model.norm.weight";
    let edits: [(&str, Edit); 5] = [
        ("tensor name", &|h| {
            let tensor = h.as_object_mut().unwrap().remove(norm).unwrap();
            h[ALL] = tensor;
        }),
        ("dtype", &|h| h[norm]["dtype"] = json!(ALL)),
        ("metadata", &|h| h["__metadata__"] = json!({"format": ALL, ALL: "x"})),
        ("unknown field", &|h| h[norm][ALL] = json!(1)),
        ("rank", &|h| h[norm]["shape"] = json!([1, 1, 1, 1, 32])),
    ];
    for (name, edit) in edits {
        let mut header = header.clone();
        edit(&mut header);
        let text = header.to_string();
        let whole = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + length..]].concat();
        channels.look(name, &generate(&file("model.safetensors", &whole), &[]));
    }
    for (name, index) in [
        ("shard name", json!({"weight_map": {ALL: format!("{ALL}.safetensors")}})),
        ("index field", json!({"weight_map": ALL})),
        ("missing shard", json!({"weight_map": {ALL: "a.safetensors"}})),
    ] {
        let model = file("model.safetensors.index.json", index.to_string().as_bytes());
        fs::remove_file(model.join("model.safetensors")).unwrap();
        channels.line(name, &generate(&model, &[]));
    }
    let model = file(&format!("{NAME}.bin"), b"x");
    fs::remove_file(model.join("model.safetensors")).unwrap();
    channels.line("pickle", &generate(&model, &[]));
    // Its tokenizer.
    let tokenizer = read_json(&from.join("tokenizer.json"));
    let added = json!({"id": 1 << 21, "content": ALL, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    let edits: [(&str, &str, Value); 9] = [
        ("type", "/model/type", json!(ALL)),
        ("unk", "/model/unk_token", json!(ALL)),
        ("merge", "/model/merges", json!([ALL])),
        ("added", "/added_tokens", json!([added])),
        ("pre", "/pre_tokenizer", json!({"type": ALL})),
        (
            "pattern",
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": ALL}, "behavior": "Isolated", "invert": false}),
        ),
        ("decoder", "/decoder", json!({"type": ALL})),
        ("normalizer", "/normalizer", json!({"type": "Replace", "pattern": {"Regex": ALL}, "content": ALL})),
        ("version", "/version", json!(ALL)),
    ];
    for (name, place, value) in edits {
        let mut tokenizer = tokenizer.clone();
        *tokenizer.pointer_mut(place).unwrap() = value;
        channels.line(name, &generate(&file("tokenizer.json", tokenizer.to_string().as_bytes()), &[]));
    }
    let broken = format!("{{{ALL}");
    channels.look("tokenizer_config", &generate(&file("tokenizer_config.json", broken.as_bytes()), &[]));
    let mut template = read_json(&from.join("tokenizer_config.json"));
    template["chat_template"] = json!(ALL);
    template["eos_token"] = json!(ALL);
    channels.look("template", &generate(&file("tokenizer_config.json", template.to_string().as_bytes()), &["--chat"]));
    channels.look("generation_config", &generate(&file("generation_config.json", broken.as_bytes()), &[]));
    // What it decodes to: a vocabulary with only this string.
    let mut evil = tokenizer.clone();
    let special: Vec<String> = tokenizer["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["content"].as_str().unwrap().to_owned())
        .collect();
    let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
    evil["model"]["merges"] = json!([]);
    evil["model"]["vocab"] = vocab
        .iter()
        .map(|(token, id)| {
            let keep = id.as_u64().unwrap() < 10 || special.contains(token) || token.len() > 3;
            (if keep { token.clone() } else { format!("{ALL}{token}") }, id.clone())
        })
        .collect::<serde_json::Map<String, Value>>()
        .into();
    let model = file("tokenizer.json", evil.to_string().as_bytes());
    let long = ["--max-new-tokens", "40", "--ignore-eos", "--temperature", "1.5"];
    let shown = generate(&model, &long);
    channels.look("vocabulary", shown.good());
    let exact = generate(&model, &[&long[..], &["--json"]].concat());
    channels.look("vocabulary --json", &exact);
    assert!(exact.object()["text"].as_str().unwrap().contains(ALL), "JSON keeps the text to the byte");
    assert!(shown.out.contains("␛[31;5mEVIL␛[2J⟨U+009B⟩31m"), "{}", shown.out);
    channels.look("prompt", &danlu(["generate", "--model", &text(&from), "--prompt", ALL, "--max-new-tokens", "2"]));
    // Ids.
    let keyed = format!("{{{}:1}}", json!(ALL));
    for (n, ids) in
        [keyed, json!({"input_ids": ALL}).to_string(), json!({"input_ids": [[ALL]]}).to_string(), ALL.to_owned()]
            .iter()
            .enumerate()
    {
        let path = dir.path().join(format!("{n}\u{202e}\x1b[1mEVIL\n.json"));
        fs::write(&path, ids).unwrap();
        for verb in ["score", "overfit", "generate"] {
            channels.line(verb, &danlu([verb, "--model", &text(&from), "--ids", &text(&path)]));
        }
    }
    // A folder's name, and a model that a run starts from.
    let named = dir.path().join(NAME);
    copy_all(&from, &named);
    channels
        .look("model folder", &danlu(["generate", "--model", &text(&named), "--prompt", "a", "--max-new-tokens", "1"]));
    fs::write(named.join("config.json"), "{}").unwrap();
    channels.line("model folder, broken", &danlu(["score", "--model", &text(&named), "--ids", "x"]));
    let run = dir.path().join("from");
    channels.look("--from", &danlu(["train", "--run", &text(&run), "--from", &text(&named)]));
    channels.expect(50, 15);
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
    format: Value,
    stage: Value,
    step: Value,
    revision: Value,
    serial: Value,
    files: BTreeMap<String, Info>,
    digest: String,
}

/// Writes a file of a checkpoint and a matching manifest.
fn reseal(folder: &Path, name: &str, bytes: &[u8], change: impl FnOnce(&mut Manifest)) {
    fs::write(folder.join(name), bytes).unwrap();
    let old = read_json(&folder.join("manifest.json"));
    let mut manifest = Manifest {
        format: old["format"].clone(),
        stage: old["stage"].clone(),
        step: old["step"].clone(),
        revision: old["revision"].clone(),
        serial: old["serial"].clone(),
        files: serde_json::from_value(old["files"].clone()).unwrap(),
        digest: String::new(),
    };
    let blake3 = blake3::hash(bytes).to_hex().to_string();
    manifest.files.insert(name.to_owned(), Info { bytes: bytes.len() as u64, blake3 });
    change(&mut manifest);
    let text = |m: &Manifest| serde_json::to_string_pretty(m).unwrap() + "\n";
    manifest.digest = blake3::hash(text(&manifest).as_bytes()).to_hex().to_string();
    fs::write(folder.join("manifest.json"), text(&manifest)).unwrap();
}

#[test]
fn runs_and_checkpoints() {
    let (dir, mut channels) = (scratch(), Channels::default());
    let mut n = 0;
    let mut hurt = |name: &str, channels: &mut Channels, how: &dyn Fn(&Path)| {
        n += 1;
        let run = dir.path().join(format!("run{n}"));
        copy_all(trained(), &run);
        how(&run);
        let run = text(&run);
        channels.look(name, &danlu(["generate", "--run", &run, "--prompt", "x", "--max-new-tokens", "1"]));
        channels.look(name, &danlu(["train", "--run", &run, "--steps", "1"]));
    };
    let folder = |run: &Path| checkpoint(run, 4);
    let manifest = |run: &Path, edit: &dyn Fn(&mut Value)| {
        let path = folder(run).join("manifest.json");
        let mut value = read_json(&path);
        edit(&mut value);
        fs::write(path, value.to_string()).unwrap();
    };
    let state = |run: &Path, edit: &dyn Fn(&mut Value)| {
        let mut value = read_json(&folder(run).join("state.json"));
        edit(&mut value);
        reseal(&folder(run), "state.json", value.to_string().as_bytes(), |_| {});
    };
    hurt("manifest field", &mut channels, &|run| manifest(run, &|m| m[ALL] = json!(1)));
    hurt("manifest format", &mut channels, &|run| manifest(run, &|m| m["format"] = json!(ALL)));
    hurt("manifest file", &mut channels, &|run| {
        let config = fs::read(folder(run).join("config.json")).unwrap();
        reseal(&folder(run), "config.json", &config, |m| {
            m.files.insert(ALL.to_owned(), Info { bytes: 1, blake3: "x".to_owned() });
        });
    });
    hurt("manifest stage", &mut channels, &|run| {
        let config = fs::read(folder(run).join("config.json")).unwrap();
        reseal(&folder(run), "config.json", &config, |m| m.stage = json!(ALL));
    });
    for key in ["danlu", "adapter", "driver", "parent", "step", "engine", "data", "history", "stage"] {
        hurt(key, &mut channels, &|run| state(run, &|s| s[key] = json!(ALL)));
    }
    hurt("state format", &mut channels, &|run| {
        state(run, &|s| {
            s["format"] = json!(7);
            s["danlu"] = json!(ALL);
        });
    });
    hurt("folder of a checkpoint", &mut channels, &|run| {
        fs::rename(folder(run), run.join("checkpoints").join(format!("pretrain-{NAME}"))).unwrap();
    });
    hurt("a file in a checkpoint", &mut channels, &|run| fs::write(folder(run).join(NAME), "x").unwrap());
    let record = |value: Value| value.to_string() + "\n";
    let events = [
        json!({"event": "note", "stage": "pretrain", "step": 1, "text": ALL}),
        json!({"event": "eval", "stage": "pretrain", "step": 1, "source": ALL, "eval_loss": 1.0, "eval_bits_per_byte": 1.0}),
        json!({"event": "probe", "stage": "pretrain", "step": 1, "prompt": ALL, "text": ALL, "expected": ALL, "matched": 0, "length": 1, "recall": false}),
        json!({"event": "edited", "stage": "pretrain", "step": 1, "cause": "files", "text": ALL}),
        json!({"stage": "pretrain", "step": 2, ALL: ALL}),
    ];
    let events: String = events.map(record).concat();
    for log in ["events.jsonl", "metrics.jsonl", "preferences.jsonl", "edits.jsonl", "data/marks.jsonl"] {
        hurt(log, &mut channels, &|run| {
            use std::io::Write as _;
            let mut file = File::options().append(true).create(true).mode(0o600).open(run.join(log)).unwrap();
            file.write_all(events.as_bytes()).unwrap();
        });
    }
    let foreign = dir.path().join("foreign");
    copy_all(trained(), &foreign);
    fs::rename(foreign.join("run.toml"), foreign.join("keep")).unwrap();
    fs::write(foreign.join(NAME), "x").unwrap();
    channels.look("foreign file", &danlu(["train", "--run", &text(&foreign)]));
    let locked = dir.path().join("locked");
    copy_all(trained(), &locked);
    fs::write(locked.join("lock"), ALL).unwrap();
    let lock = File::open(locked.join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = danlu(["train", "--run", &text(&locked)]);
    assert_eq!(refused.code, Some(3), "{}", refused.err);
    channels.look("lock", &refused);
    channels.expect(40, 5);
}

#[test]
fn conversations_and_preferences() {
    let (dir, mut channels) = (scratch(), Channels::default());
    let base = dir.path().join("base");
    train(&base, &["steps=2", "model.max_position_embeddings=512"], &[]).good();
    let own = dir.path().join("sft.jsonl");
    let line = |i: usize| json!({"task": format!("{ALL}{}", i % 2), "prompt": format!("say {i} {ALL}"), "completion": format!("one two {ALL}")});
    let mut lines: String = (0..60).map(|i| line(i).to_string() + "\n").collect();
    lines += &(json!({"messages": [{"role": ALL, "content": "x"}]}).to_string() + "\n" + ALL);
    fs::write(&own, lines).unwrap();
    let source = format!("sft.source=[{{name={},path={}}}]", escaped(ALL), escaped(&text(&own)));
    let sets = ["steps=1", "batch_size=2", "context=512", "eval_steps=1", "probe_steps=1", "warmup_steps=1"];
    for json in [false, true] {
        let run = dir.path().join(format!("run{json}"));
        copy_all(&base, &run);
        let mut args = vec!["train", "--stage", "sft", "--run"].into_iter().map(str::to_owned).collect::<Vec<_>>();
        args.push(text(&run));
        for set in [&sets[..], &[&source]].concat() {
            args.extend(["--set".to_owned(), set.to_owned()]);
        }
        args.extend(json.then(|| "--json".to_owned()));
        let done = danlu(&args);
        if json {
            objects(&done.out);
        }
        channels.look("sft", &done);
        for log in ["metrics.jsonl", "events.jsonl"] {
            channels.file(log, &run.join(log));
        }
    }
    // Pairs of answers in a run that has a fine-tuned model.
    let run = dir.path().join("pairs");
    copy_all(&base, &run);
    let counted = counting(dir.path());
    finetune(&run, &["steps=1", "batch_size=2", "context=64", "model.max_position_embeddings=512", &counted], &[])
        .good();
    let turn = |role: &str| json!([{"role": role, "content": ALL}]);
    let votes: String = (0..5)
        .map(|i| json!({"prompt": turn("user"), "chosen": turn("assistant"), "rejected": turn("assistant"), "step": 1, "pair": i, "choice": ALL}).to_string() + "\n")
        .collect();
    fs::write(run.join("preferences.jsonl"), votes).unwrap();
    // Answers of the run's own model, which would otherwise be sampled first.
    let pairs = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/preference/pairs.jsonl");
    fs::copy(pairs, run.join("data/reward-own.jsonl")).unwrap();
    for json in [&[][..], &["--json"]] {
        let run = text(&run);
        let args = [
            "train",
            "--stage",
            "reward",
            "--run",
            &run,
            "--set",
            "steps=1",
            "--set",
            "batch_size=2",
            "--set",
            "context=512",
        ];
        channels.look("reward", &danlu([&args[..], json].concat()));
    }
    channels.expect(8, 1);
}
