//! The verbs as another program uses them: compared with transformers' numbers (`tests/golden/make.py`), and the shape
//! of every line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{DANLU, Done, checkpoint, danlu, golden, ids_file, objects, scratch, text, train};
use libtest_mimic::{Arguments, Trial};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};

const CASES: &[&str] = &["gqa_untied", "tied", "head_dim"];

fn answers(case: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(golden(case).join("golden.json")).unwrap()).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn rows(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().expect("rows").iter().map(floats).collect()
}

fn close(what: &str, got: &Value, want: f64, bound: f64) {
    let got = got.as_f64().unwrap_or_else(|| panic!("{what} is {got}"));
    assert!((got - want).abs() <= bound, "{what}: {got} where transformers has {want} (bound {bound})");
}

fn all_close(got: &Value, want: &[Vec<f64>], bound: f64) {
    let got = rows(got);
    assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), want.iter().map(Vec::len).collect::<Vec<_>>());
    for (r, (got, want)) in got.iter().zip(want).enumerate() {
        for (t, (x, y)) in got.iter().zip(want).enumerate() {
            assert!((x - y).abs() <= bound, "row {r}, place {t}: {x} where {y} is expected (bound {bound})");
        }
    }
}

fn keys(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

fn score(model: &Path, ids: &str, adapter: &str) -> Value {
    run(&["score", "--model", &text(model), "--ids", ids, "--json"], adapter).object()
}

/// Runs the binary on an adapter.
fn run(args: &[&str], adapter: &str) -> Done {
    Command::new(DANLU)
        .args(args)
        .args(["--adapter", adapter])
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it starts")
        .into()
}

fn scores_are_transformers(adapter: &str) {
    let dir = scratch();
    for case in CASES {
        let g = answers(case);
        let plain = ids_file(dir.path(), "plain.json", &json!({"input_ids": g["input_ids"]}));
        let labelled =
            ids_file(dir.path(), "labelled.json", &json!({"input_ids": g["input_ids"], "labels": g["labels"]}));
        for (ids, loss) in [(plain, "loss_all"), (labelled, "loss")] {
            let got = score(&golden(case), &ids, adapter);
            assert_eq!(keys(&got), ["logprobs", "loss"]);
            all_close(&got["logprobs"], &rows(&g["logprobs"]), 1e-4);
            close(loss, &got["loss"], g[loss].as_f64().unwrap(), 1e-4);
        }
    }
}

fn overfit_is_transformers(adapter: &str) {
    let dir = scratch();
    for case in CASES {
        let g = answers(case);
        let a = &g["adamw"];
        assert_eq!((floats(&a["betas"]), a["eps"].as_f64()), (vec![0.9, 0.95], Some(1e-8)), "the verb's constants");
        let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": g["input_ids"], "labels": g["labels"]}));
        let number = |key: &str| a[key].to_string();
        let done = run(
            &[
                "overfit",
                "--model",
                &text(&golden(case)),
                "--ids",
                &ids,
                "--json",
                "--steps",
                &number("steps"),
                "--lr",
                &number("learning_rate"),
                "--weight-decay",
                &number("weight_decay"),
                "--clip",
                &number("clip"),
            ],
            adapter,
        );
        let lines = done.good().objects();
        let (losses, norms) = (floats(&a["loss"]), floats(&a["grad_norm"]));
        assert_eq!((lines.len(), losses.len()), (20, 20));
        for (i, line) in lines.iter().enumerate() {
            let wanted: &[&str] =
                if i == 0 { &["grad_norm", "grad_norms", "loss", "step"] } else { &["grad_norm", "loss", "step"] };
            assert_eq!(keys(line), wanted);
            assert_eq!(line["step"], i + 1);
            close(&format!("{case} loss {i}"), &line["loss"], losses[i], 1e-4);
            close(&format!("{case} grad_norm {i}"), &line["grad_norm"], norms[i], 1e-3 * norms[i]);
        }
        let (got, want) = (lines[0]["grad_norms"].as_object().unwrap(), g["grad_norms"].as_object().unwrap());
        assert!(got.keys().eq(want.keys()), "every tensor by its name: {:?}", got.keys());
        for (name, norm) in want {
            let norm = norm.as_f64().unwrap();
            close(name, &got[name], norm, 1e-3 * norm);
        }
    }
}

fn greedy_is_transformers(adapter: &str) {
    let dir = scratch();
    for case in CASES {
        let g = &answers(case)["greedy"];
        let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": g["prompts"]}));
        let most = g["max_new_tokens"].to_string();
        let args = [
            "generate",
            "--model",
            &text(&golden(case)),
            "--ids",
            &ids,
            "--json",
            "--temperature",
            "0",
            "--max-new-tokens",
            &most,
            "--ignore-eos",
        ];
        let got = run(&args, adapter).object();
        assert_eq!(got, json!({"ids": g["ids"]}), "{case}");
    }
}

/// Rows of different lengths in one file score as each of them alone.
fn ragged_rows() {
    let dir = scratch();
    let g = answers("tied");
    let ids: Vec<Vec<u64>> = serde_json::from_value(g["input_ids"].clone()).unwrap();
    let want = rows(&g["logprobs"]);
    let lengths = [29, 1, 7, 2, 16];
    let ragged: Vec<&[u64]> = lengths.iter().enumerate().map(|(r, n)| &ids[r % 2][..*n]).collect();
    let wanted: Vec<Vec<f64>> = lengths.iter().enumerate().map(|(r, n)| want[r % 2][..n - 1].to_vec()).collect();
    let file = ids_file(dir.path(), "ids.json", &json!({"input_ids": ragged}));
    let got = score(&golden("tied"), &file, "cpu");
    all_close(&got["logprobs"], &wanted, 1e-4);
    let all = wanted.concat();
    close("loss", &got["loss"], -all.iter().sum::<f64>() / all.len() as f64, 1e-4);
    let alone = ids_file(dir.path(), "alone.json", &json!({"input_ids": [[5]]}));
    assert_eq!(score(&golden("tied"), &alone, "cpu"), json!({"logprobs": [[]], "loss": null}), "a mean of nothing");
    let model = text(&golden("tied"));
    let line = danlu(["overfit", "--model", &model, "--ids", &file, "--steps", "1", "--json"]).object();
    close("the loss of overfit", &line["loss"], got["loss"].as_f64().unwrap(), 1e-4);
}

/// Many rows are scored in several passes.
fn many_rows() {
    let dir = scratch();
    let g = answers("gqa_untied");
    let (ids, want) = (g["input_ids"].as_array().unwrap(), rows(&g["logprobs"]));
    let n = 700;
    let many: Vec<&Value> = (0..n).map(|r| &ids[r % ids.len()]).collect();
    let wanted: Vec<Vec<f64>> = (0..n).map(|r| want[r % ids.len()].clone()).collect();
    let file = ids_file(dir.path(), "ids.json", &json!({"input_ids": many}));
    all_close(&score(&golden("gqa_untied"), &file, "cpu")["logprobs"], &wanted, 1e-4);
}

/// A golden model, rewritten into `to`.
fn rewrite(case: &str, to: &Path, dtype: Dtype, shards: usize) {
    fs::create_dir_all(to).unwrap();
    fs::copy(golden(case).join("config.json"), to.join("config.json")).unwrap();
    let bytes = fs::read(golden(case).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in file.tensors() {
        let data = view.data().chunks_exact(4).flat_map(|b| {
            let x = f32::from_le_bytes(b.try_into().unwrap());
            match dtype {
                Dtype::F16 => half::f16::from_f32(x).to_le_bytes().to_vec(),
                Dtype::BF16 => half::bf16::from_f32(x).to_le_bytes().to_vec(),
                _ => b.to_vec(),
            }
        });
        all.push((name, view.shape().to_vec(), data.collect()));
    }
    let view = |t: &(String, Vec<usize>, Vec<u8>)| (t.0.clone(), t.1.clone(), t.2.clone());
    let write = |part: Vec<(String, Vec<usize>, Vec<u8>)>, name: &str| {
        let views: BTreeMap<_, _> =
            part.iter().map(|t| (t.0.clone(), TensorView::new(dtype, t.1.clone(), &t.2).unwrap())).collect();
        fs::write(to.join(name), safetensors::serialize(views, None).unwrap()).unwrap();
    };
    if shards == 1 {
        return write(all, "model.safetensors");
    }
    let mut map = Map::new();
    for shard in 0..shards {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let part: Vec<_> = all.iter().enumerate().filter(|(i, _)| i % shards == shard).map(|(_, t)| view(t)).collect();
        for t in &part {
            map.insert(t.0.clone(), json!(name));
        }
        write(part, &name);
    }
    let size: usize = all.iter().map(|t| t.2.len()).sum();
    let index = json!({"metadata": {"total_size": size}, "weight_map": map});
    fs::write(to.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// F16, BF16 and sharded files, and both spellings of the rotary base.
fn other_files_of_the_same_model() {
    let dir = scratch();
    for case in CASES {
        let g = answers(case);
        let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": g["input_ids"]}));
        let exact = score(&golden(case), &ids, "cpu");
        // Half precision keeps 11 bits of a weight, bfloat16 8; the logits here reach 10.
        for (dtype, shards, bound) in
            [(Dtype::F32, 3, 0.0), (Dtype::F16, 1, 0.02), (Dtype::F16, 2, 0.02), (Dtype::BF16, 1, 0.15)]
        {
            let folder = dir.path().join(format!("{case}-{dtype:?}-{shards}"));
            rewrite(case, &folder, dtype, shards);
            let got = score(&folder, &ids, "cpu");
            all_close(&got["logprobs"], &rows(&exact["logprobs"]), bound);
            assert_eq!(bound == 0.0, got == exact, "{dtype:?} is read as such");
        }
    }
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": answers("tied")["input_ids"]}));
    let old = dir.path().join("old");
    common::copy(&golden("tied"), &old);
    fs::copy(golden("tied").join("config.rope_theta.json"), old.join("config.json")).unwrap();
    assert_eq!(score(&old, &ids, "cpu"), score(&golden("tied"), &ids, "cpu"), "rope_theta and rope_parameters");
    // The spelling is read: another base gives other numbers.
    let config = fs::read_to_string(old.join("config.json")).unwrap().replace("500000.0", "10000.0");
    fs::write(old.join("config.json"), config).unwrap();
    assert_ne!(score(&old, &ids, "cpu"), score(&golden("tied"), &ids, "cpu"));
}

fn train_lines() {
    let dir = scratch();
    let run = dir.path().join("run");
    let sets = ["steps=6", "save_steps=4", "eval_steps=3", "probe_steps=2"];
    let done = train(&run, &sets, &[]);
    let lines = done.good().objects();
    assert_eq!(done.err, "", "with --json stderr is for trouble");
    let of = |name: &str| lines.iter().filter(|l| l["event"] == name).collect::<Vec<_>>();
    let steps: Vec<&Value> = lines.iter().filter(|l| l["event"].is_null()).collect();
    assert_eq!(steps.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    for (i, step) in steps.iter().enumerate() {
        assert_eq!((&step["stage"], &step["applied"]), (&json!("pretrain"), &json!(true)));
        for key in ["loss", "learning_rate", "grad_norm", "tokens_per_second", "epoch", "step_ms"] {
            assert!(step[key].as_f64().unwrap() > 0.0, "{key} of {step}");
        }
        assert_eq!(step["total_tokens"], 2 * 32 * (i + 1));
    }
    // Two steps of warm-up, then the peak, then the last fifth (one step here) towards 0.
    let rate = |i: usize| steps[i]["learning_rate"].as_f64().unwrap();
    assert!(rate(0) == 1.5e-3 && rate(1) == 3e-3 && rate(2) == 3e-3, "{} {} {}", rate(0), rate(1), rate(2));
    // A new model knows nothing: its loss is that of a uniform guess over the vocabulary.
    assert!((steps[0]["loss"].as_f64().unwrap() - 600_f64.ln()).abs() < 0.1, "{}", steps[0]);

    assert_eq!((lines[0]["event"].as_str(), of("started").len()), (Some("started"), 1));
    let started = of("started")[0];
    assert_eq!(
        (&started["engine"], &started["step"], &started["steps"], &started["size"]),
        (&json!("cpu"), &json!(0), &json!(6), &json!("1m"))
    );
    let shares: f64 = started["sources"].as_array().unwrap().iter().map(|s| s["weight"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "shares are fractions of 1");
    // Probes of recall, and of unseen text, at the same steps.
    for (recall, prompt) in [(true, "春眠不觉晓，"), (false, "人闲桂花落，")] {
        let asked = of("probe").into_iter().filter(|p| p["prompt"] == prompt && p["recall"] == recall);
        let steps: Vec<u64> = asked.map(|l| l["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [0, 2, 4, 6], "{prompt}");
    }
    for probe in of("probe") {
        let (length, matched) = (probe["length"].as_u64().unwrap(), probe["match"].as_u64().unwrap());
        assert!(length == 18 && matched <= length, "{probe}");
        assert!(probe["text"].is_string(), "{probe}");
        // What is trained on has the probability of each of its lines, beginning near chance.
        let lines = probe["lines"].as_array().cloned().unwrap_or_default();
        let texts: String = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(texts, if probe["recall"] == true { "处处闻啼鸟。夜来风雨声，花落知多少。" } else { "" });
        assert_eq!(lines.len(), if probe["recall"] == true { 3 } else { 0 });
        for line in lines {
            let chance = line["probability"].as_f64().unwrap();
            assert!(chance > 0.0 && chance < 0.1, "{line}");
        }
    }
    let evals: Vec<(u64, &str)> =
        of("eval").iter().map(|l| (l["step"].as_u64().unwrap(), l["source"].as_str().unwrap())).collect();
    for wanted in [(3, "all"), (6, "all"), (3, "tang300"), (6, "english")] {
        assert!(evals.contains(&wanted), "{evals:?}");
    }
    for eval in of("eval") {
        assert!(
            eval["eval_loss"].as_f64().unwrap() > 0.0 && eval["eval_bits_per_byte"].as_f64().unwrap() > 0.0,
            "{eval}"
        );
    }
    let saved: Vec<u64> = of("saved").iter().map(|l| l["step"].as_u64().unwrap()).collect();
    assert_eq!(saved, [4, 6]);
    for saved in of("saved") {
        let folder = PathBuf::from(saved["path"].as_str().unwrap());
        let bytes: u64 = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap())
            .filter(|e| e.file_name() != "manifest.json")
            .map(|e| e.metadata().unwrap().len())
            .sum();
        assert_eq!(saved["bytes"], bytes, "{saved}");
    }
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["reason"], &last["failed"], &last["step"]),
        (&json!("finished"), &json!("done"), &json!(false), &json!(6))
    );
    // The run's logs have the same lines, including times.
    let [metrics, events] =
        ["metrics.jsonl", "events.jsonl"].map(|n| objects(&fs::read_to_string(run.join(n)).unwrap()));
    assert!(metrics.iter().eq(steps));
    assert!(events.iter().eq(lines.iter().filter(|l| !l["event"].is_null())));
}

/// Without --json the text goes to stderr, and stdout stays empty.
fn train_prints_lines() {
    let dir = scratch();
    let run = dir.path().join("run");
    let args: Vec<String> =
        common::train_args(&run, &["steps=10"], &[]).into_iter().filter(|a| a != "--json").collect();
    let done = danlu(args);
    assert_eq!(done.good().out, "");
    for word in ["parameters on cpu", "step     10", "saved", "pretrain done at step 10"] {
        assert!(done.err.contains(word), "{word:?} in {}", done.err);
    }
}

fn generate_from_a_run() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, &["steps=8"], &[]).good();
    let made = |more: &[&str]| {
        let dir = text(&run);
        let args = [&["generate", "--run", &dir, "--prompt", "春眠", "--max-new-tokens", "9"], more].concat();
        danlu(args)
    };
    let got = made(&["--json", "--ignore-eos"]).object();
    assert_eq!(keys(&got), ["finish_reason", "ids", "text"]);
    assert_eq!((got["ids"].as_array().unwrap().len(), &got["finish_reason"]), (9, &json!("length")));
    assert!(got["ids"].as_array().unwrap().iter().all(|id| id.as_u64().unwrap() < 600));
    // Sampling is a function of the seed; text and JSON output agree.
    let [one, same, other] =
        ["5", "5", "6"].map(|seed| made(&["--json", "--temperature", "2", "--top-k", "0", "--seed", seed]).object());
    assert_eq!(one, same);
    assert_ne!(one, other, "another seed, another text");
    let words = made(&["--temperature", "0"]);
    let greedy = made(&["--json", "--temperature", "0"]).object();
    assert_eq!(words.good().out, danlu::base::clean::block(greedy["text"].as_str().unwrap()) + "\n");
    // A checkpoint is a model folder of its own.
    let args = [
        "generate",
        "--model",
        &text(&checkpoint(&run, 8)),
        "--prompt",
        "春眠",
        "--max-new-tokens",
        "9",
        "--json",
        "--temperature",
        "0",
    ];
    assert_eq!(danlu(args).object(), greedy);
    // Top-k of one is greedy at any temperature.
    assert_eq!(made(&["--json", "--top-k", "1", "--temperature", "1.5"]).object(), greedy);
}

fn eos_stops_unless_ignored() {
    let dir = scratch();
    let g = &answers("tied")["greedy"];
    let (prompt, whole) = (&g["prompts"][0], g["ids"][0].as_array().unwrap());
    let n = prompt.as_array().unwrap().len();
    // The third sampled token becomes the end of text.
    let end = &whole[n + 2];
    assert!(!whole[n..n + 2].contains(end), "the case has another continuation now: choose another token");
    let model = dir.path().join("model");
    common::copy(&golden("tied"), &model);
    let mut config: Value = serde_json::from_str(&fs::read_to_string(model.join("config.json")).unwrap()).unwrap();
    config["eos_token_id"] = end.clone();
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": [prompt]}));
    let args =
        ["generate", "--model", &text(&model), "--ids", &ids, "--temperature", "0", "--max-new-tokens", "12", "--json"];
    assert_eq!(danlu(args).object(), json!({"ids": [whole[..n + 2]]}));
    assert_eq!(danlu([&args[..], &["--ignore-eos"]].concat()).object(), json!({"ids": [whole]}));
}

fn bench_and_adapters() {
    let shape = [
        "bench",
        "--layers",
        "1",
        "--hidden",
        "32",
        "--heads",
        "4",
        "--kv-heads",
        "2",
        "--ffn",
        "64",
        "--ctx",
        "16",
        "--vocab",
        "50",
        "--batch",
        "2",
        "--steps",
        "3",
        "--json",
    ];
    let got = danlu(shape).object();
    for key in ["engine", "adapter", "params", "tokens_per_second", "ms_per_step", "tflops", "kernels"] {
        assert!(!got[key].is_null(), "{key} in {got}");
    }
    assert_eq!(got["engine"], "cpu");
    // Embedding, two norms, q k v o with half as many key/value heads, gate up down, last norm.
    assert_eq!(got["params"], 50 * 32 + 2 * 32 + (2 * 32 * 32 + 2 * 32 * 16) + 3 * 32 * 64 + 32);
    let (rate, ms) = (got["tokens_per_second"].as_f64().unwrap(), got["ms_per_step"].as_f64().unwrap());
    assert!((rate * ms / 1e3 - 32.0).abs() < 1e-6, "both are of one measurement");
    for kernel in got["kernels"].as_array().unwrap() {
        assert_eq!(keys(kernel), ["bytes", "calls", "flop", "ms", "name"]);
        assert!(kernel["calls"].as_u64().unwrap() > 0 && kernel["ms"].as_f64().unwrap() >= 0.0);
    }
    let lines = danlu(["adapters", "--json"]).good().objects();
    assert_eq!(lines.iter().filter(|l| l["auto"] == true).count(), 1, "auto takes one of them");
    assert!(
        lines.iter().any(|l| l["kind"] == "cpu" && l["name"].is_string() && l["backend"].is_string()),
        "the CPU engine is always there"
    );
}

type Check = fn(&str);

/// All verbs that promise a single JSON line on stdout print one.
fn help_names_what_works() {
    let help = danlu(["--help"]);
    for verb in ["train", "generate", "config", "score", "overfit", "adapters", "bench"] {
        assert!(help.good().out.contains(verb), "{}", help.out);
        assert!(danlu([verb, "--help"]).good().out.contains("--adapter"));
    }
    assert!(danlu(["--version"]).good().out.starts_with("danlu "));
}

fn main() {
    let args = Arguments::from_args();
    let tests: [(&str, fn()); 11] = [
        ("ragged_rows", ragged_rows),
        ("many_rows", many_rows),
        ("other_files_of_the_same_model", other_files_of_the_same_model),
        ("train_lines", train_lines),
        ("train_prints_lines", train_prints_lines),
        ("generate_from_a_run", generate_from_a_run),
        ("eos_stops_unless_ignored", eos_stops_unless_ignored),
        ("bench_and_adapters", bench_and_adapters),
        ("help_names_what_works", help_names_what_works),
        ("cpu/scores_are_transformers", || scores_are_transformers("cpu")),
        ("cpu/overfit_is_transformers", || overfit_is_transformers("cpu")),
    ];
    let mut trials: Vec<Trial> = tests.into_iter().map(|(name, test)| trial(name, test)).collect();
    trials.push(trial("cpu/greedy_is_transformers", || greedy_is_transformers("cpu")));
    let required = std::env::var_os("DANLU_REQUIRE_ADAPTER").is_some_and(|v| v == "1");
    let listed = danlu(["adapters", "--json"]).good().objects();
    let found = listed.iter().find(|l| l["kind"] != "cpu").map(|l| l["name"].as_str().unwrap().to_owned());
    let gpu: [(&str, Check); 3] =
        [("scores", scores_are_transformers), ("overfit", overfit_is_transformers), ("greedy", greedy_is_transformers)];
    for (name, test) in gpu {
        let adapter = found.clone();
        let test = move || test(&adapter.expect("no adapter is there, and DANLU_REQUIRE_ADAPTER=1 asks for one"));
        trials
            .push(trial(&format!("gpu/{name}_are_transformers"), test).with_ignored_flag(found.is_none() && !required));
    }
    libtest_mimic::run(&args, trials).exit();
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
