//! Runs the binary from outside: arguments in; stdout, stderr and exit code out.

#![allow(missing_docs, unreachable_pub, reason = "seen by tests only")]
#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod fault;
pub mod feedback;
pub mod launch;
#[cfg(unix)]
pub mod pty;
pub mod texts;
#[cfg(unix)]
pub mod voter;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// The binary under test.
pub const DANLU: &str = env!("CARGO_BIN_EXE_danlu");

/// Settings of a run with steps of about a millisecond.
pub const TINY: &[&str] = &[
    "model.num_hidden_layers=1",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "model.vocab_size=600",
    "model.max_position_embeddings=64",
    "batch_size=2",
    "context=32",
    "learning_rate=3e-3",
    "warmup_steps=2",
    "eval_steps=0",
    "probe_steps=0",
];

/// The result of a finished process.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(o: Output) -> Done {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8 only");
        Done { code: o.status.code(), out: text(o.stdout), err: text(o.stderr) }
    }
}

impl Done {
    /// All lines of stdout as JSON objects; panics on anything else.
    pub fn objects(&self) -> Vec<Value> {
        objects(&self.out)
    }

    /// The only line of stdout.
    pub fn object(&self) -> Value {
        let mut all = self.good().objects();
        assert_eq!(all.len(), 1, "one object expected: {}", self.out);
        all.remove(0)
    }

    /// Exit code 0.
    pub fn good(&self) -> &Done {
        assert_eq!(self.code, Some(0), "stdout {}\nstderr {}", tail(&self.out), tail(&self.err));
        self
    }

    /// Refused: this exit code, one sentence on stderr that contains all of `words`, nothing on stdout.
    pub fn refused(&self, code: i32, words: &[&str]) {
        let all = format!("stdout {}\nstderr {}", tail(&self.out), tail(&self.err));
        assert_eq!(self.code, Some(code), "{all}");
        assert!(self.out.is_empty(), "{all}");
        assert_eq!(self.err.lines().count(), 1, "one line expected\n{all}");
        assert!(self.err.starts_with("danlu: "), "{all}");
        assert!(!self.err.contains("usize") && !self.err.contains("panicked"), "{all}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} expected\n{all}");
        }
    }
}

fn tail(text: &str) -> &str {
    let mut at = text.len().saturating_sub(2000);
    while !text.is_char_boundary(at) {
        at += 1;
    }
    &text[at..]
}

/// Every line as a JSON object.
pub fn objects(text: &str) -> Vec<Value> {
    let parse = |line: &str| -> Value {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert!(value.is_object(), "{line}");
        value
    };
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has an end");
    text.lines().map(parse).collect()
}

/// The adapter for all commands of this test, if not the CPU engine.
pub static ADAPTER: OnceLock<String> = OnceLock::new();

/// A command of the binary on the CPU engine, or on [`ADAPTER`].
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(DANLU);
    let adapter = ADAPTER.get().map_or("cpu", String::as_str);
    command.args(args).args(["--adapter", adapter]).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// Runs the binary on the CPU engine to its end.
pub fn danlu<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Done {
    command(args).output().expect("the binary starts").into()
}

/// The arguments of `train --json` for a tiny run in `dir`, with more settings and arguments.
pub fn train_args(dir: &Path, sets: &[&str], more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["train", "--json", "--size", "1m", "--run"].map(str::to_owned).into();
    args.push(text(dir));
    for set in TINY.iter().chain(sets) {
        args.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    args.extend(more.iter().map(|s| (*s).to_owned()));
    args
}

/// Trains a tiny run.
pub fn train(dir: &Path, sets: &[&str], more: &[&str]) -> Done {
    danlu(train_args(dir, sets, more))
}

/// Fine-tunes a tiny, pretrained run.
pub fn finetune(dir: &Path, sets: &[&str], more: &[&str]) -> Done {
    danlu(train_args(dir, sets, &[&["--stage", "sft"], more].concat()))
}

/// Sixty questions with short answers, some of them held out, as JSON Lines in `dir`; and the `--set` that makes them
/// the run's conversations.
pub fn counting(dir: &Path) -> String {
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let line = |i: usize| {
        let task = ["say", "count"][i % 2];
        let answer = [names[i / 10], names[i % 10]].join(" ");
        serde_json::json!({"task": task, "prompt": format!("{task} {i}"), "completion": answer}).to_string() + "\n"
    };
    let path = dir.join("counting.jsonl");
    fs::write(&path, (10..70).map(line).collect::<String>()).expect("written");
    format!("sft.source=[{{name=\"counting\",path={:?}}}]", text(&path))
}

/// A training process whose output is read line by line.
pub struct Running {
    pub child: Child,
    pub lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts `train --json` on a tiny run.
    pub fn start(dir: &Path, sets: &[&str]) -> Running {
        Running::start_with(dir, sets, &[])
    }

    /// The same with more arguments.
    pub fn start_with(dir: &Path, sets: &[&str], more: &[&str]) -> Running {
        let mut command = command(train_args(dir, sets, more));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, lines }
    }

    /// The next line.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("UTF-8 lines");
        (read > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}")))
    }

    /// Reads up to the first line that `wanted` accepts.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line().expect("the wanted line before the end");
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).stderr(Stdio::null()).status();
        assert!(sent.expect("kill starts").code().is_some());
    }

    /// Reads the rest and waits.
    pub fn end(mut self) -> (Done, Vec<Value>) {
        let mut rest = Vec::new();
        while let Some(line) = self.line() {
            rest.push(line);
        }
        (self.child.wait_with_output().expect("it ends").into(), rest)
    }
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// A temporary folder that is removed after the test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("danlu-").tempdir().expect("a folder")
}

/// The folder of a golden case.
pub fn golden(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case)
}

/// Writes a file of ids.
pub fn ids_file(dir: &Path, name: &str, value: &Value) -> String {
    let path = dir.join(name);
    fs::write(&path, value.to_string()).expect("written");
    text(&path)
}

/// The checkpoints of a run by name.
pub fn checkpoints(run: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else { return Vec::new() };
    let mut all: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// The folder of pretraining's checkpoint at a step.
pub fn checkpoint(run: &Path, step: usize) -> PathBuf {
    stage_checkpoint(run, "pretrain", step)
}

/// The folder of a stage's checkpoint at a step.
pub fn stage_checkpoint(run: &Path, stage: &str, step: usize) -> PathBuf {
    run.join("checkpoints").join(format!("{stage}-{step:08}"))
}

/// A JSON file.
pub fn json_file(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The parts of metrics.jsonl that a resume must repeat to the bit, line by line.
pub fn metrics(run: &Path) -> Vec<String> {
    exact_metrics(run, |_| true)
}

/// The same for one stage.
pub fn stage_metrics(run: &Path, stage: &str) -> Vec<String> {
    exact_metrics(run, |line| line["stage"] == stage)
}

fn exact_metrics(run: &Path, which: impl Fn(&Value) -> bool) -> Vec<String> {
    let all = objects(&fs::read_to_string(run.join("metrics.jsonl")).expect("metrics.jsonl"));
    let exact = ["step", "loss", "grad_norm", "learning_rate", "total_tokens", "epoch", "applied"];
    all.iter()
        .filter(|line| which(line))
        .map(|line| exact.iter().map(|key| format!("{key} {}", line[*key])).collect::<Vec<_>>().join(" "))
        .collect()
}

/// The bytes of both tensor files of a checkpoint.
pub fn tensors(folder: &Path) -> [Vec<u8>; 2] {
    ["model.safetensors", "optimizer.safetensors"]
        .map(|name| fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{}: {e}", folder.join(name).display())))
}

/// Every file and folder below `dir` with its bytes (none for folders).
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, all);
                all.insert(path, Vec::new());
            } else {
                let bytes = fs::read(&path).expect("a file");
                all.insert(path, bytes);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(dir, &mut all);
    all
}

/// Panics if a half-written or half-removed file or folder is left in `dir`.
pub fn no_leftovers(dir: &Path) {
    for path in snapshot(dir).keys() {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(!name.starts_with(".tmp-") && !name.starts_with(".del-"), "left over: {}", path.display());
    }
}

/// Copies the files of a folder without its subfolders.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).expect("copied");
        }
    }
}

/// Copies a folder with its contents.
pub fn copy_all(from: &Path, to: &Path) {
    for (path, bytes) in snapshot(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        if path.is_dir() {
            fs::create_dir_all(&target).expect("a folder");
        } else {
            fs::create_dir_all(target.parent().unwrap()).expect("a folder");
            fs::write(&target, bytes).expect("written");
        }
    }
}

/// A model folder as written by other software: Llama, with a byte-level tokenizer that has one of danlu's tokens.
pub fn imported(dir: &Path) -> PathBuf {
    let all = json_file(&golden("chat.json"));
    let vocab = all["grown"]["vocab_size"][0].as_u64().unwrap() as usize;
    foreign(dir, "theirs", &all["grown"]["tokenizer"], &serde_json::json!({"eos_token": "</s>"}), vocab)
}

/// An imported Llama with this tokenizer: the golden model with a matching number of embedding rows.
pub fn foreign(dir: &Path, name: &str, tokenizer: &Value, settings: &Value, vocab: usize) -> PathBuf {
    let folder = dir.join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut config = json_file(&golden("tied").join("config.json"));
    config["vocab_size"] = serde_json::json!(vocab);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();
    let bytes = fs::read(golden("tied").join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> =
        file.tensors().into_iter().map(|(n, t)| (n, (t.shape().to_vec(), t.data().to_vec()))).collect();
    let (shape, data) = tensors.get_mut("model.embed_tokens.weight").unwrap();
    let width = shape[1];
    *data = (0..vocab * width).flat_map(|i| (((i * 7919 % 1009) as f32 - 504.0) / 20_000.0).to_le_bytes()).collect();
    shape[0] = vocab;
    let views = tensors.iter().map(|(name, (shape, data))| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
    });
    fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    folder
}

/// Replaces the bytes of a file in a checkpoint and updates the manifest, so that it verifies: a file from another run.
pub fn forge(checkpoint: &Path, name: &str, bytes: &[u8]) {
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let (path, manifest) = (checkpoint.join(name), checkpoint.join("manifest.json"));
    let old = fs::read(&path).unwrap();
    assert_eq!(old.len(), bytes.len());
    fs::write(&path, bytes).unwrap();
    let text = fs::read_to_string(&manifest).unwrap().replace(&hash(&old), &hash(bytes));
    let digest = json_file(&manifest)["digest"].as_str().unwrap().to_owned();
    let bare = text.replace(&digest, "");
    fs::write(manifest, text.replace(&digest, &hash(bare.as_bytes()))).unwrap();
}
