//! `danlu export --for trl` and `danlu import`: what is handed over is what danlu would train on, and what comes back is
//! a checkpoint of the run. The trainings themselves: tests/handover.rs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use danlu::{
    base::StageId,
    data::{Batcher, ChatRows, History, builtin_chats},
    protocol::Monitor,
    store::{RealFs, Run, RunView},
    train::{Corpus, config::RunConfig, model_folder},
};
use serde_json::{Value, json};

use crate::common::{
    Done, TINY, checkpoint, checkpoints, copy_all, danlu, finetune, ids_file, json_file, no_leftovers, objects,
    scratch, snapshot, stage_checkpoint, text, train,
};

/// The settings of a tiny run as run.toml, with more lines.
fn new_run(dir: &Path, name: &str, more: &str) -> PathBuf {
    let run = dir.join(name);
    fs::create_dir_all(&run).unwrap();
    let sets: Vec<&str> = TINY.iter().copied().filter(|set| set.starts_with("model.")).collect();
    fs::write(run.join("run.toml"), format!("size = \"1m\"\n{}\n{more}\n", sets.join("\n"))).unwrap();
    run
}

fn hand_over(run: &Path, stage: &str, out: &Path, more: &[&str]) -> Done {
    let (run, out) = (text(run), text(out));
    danlu([&["export", "--for", "trl", "--run", &run, "--stage", stage, &out], more].concat())
}

fn import(run: &Path, stage: &str, from: &Path) -> Done {
    danlu(["import", "--run", &text(run), "--stage", stage, &text(from), "--json"])
}

/// A NumPy file of 32-bit integers: its shape and its numbers.
fn array(path: &Path) -> (Vec<usize>, Vec<i32>) {
    let bytes = fs::read(path).unwrap();
    let head = 10 + usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && head.is_multiple_of(64));
    let told = String::from_utf8_lossy(&bytes[10..head]).into_owned();
    assert!(told.contains("'<i4'") || told.contains("'<u4'"), "{told}");
    let shape = told.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0.to_owned();
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let numbers: Vec<i32> = bytes[head..].chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(numbers.len(), shape.iter().product::<usize>());
    (shape, numbers)
}

/// What danlu's own trainer drew: tokens of each step.
fn trained_tokens(run: &Path, stage: &str) -> Vec<i64> {
    let all = objects(&fs::read_to_string(run.join("metrics.jsonl")).unwrap());
    let totals = all.iter().filter(|l| l["stage"] == stage).map(|l| l["total_tokens"].as_i64().unwrap());
    let mut last = 0;
    totals.map(|total| total - std::mem::replace(&mut last, total)).collect()
}

fn config(run: &Path, stage: StageId) -> (RunConfig, Run) {
    let view = RunView::open(RealFs::shared(), run).unwrap();
    let config = RunConfig::parse(&view.config().unwrap(), &[], stage).unwrap();
    (config, Run::open(RealFs::shared(), run).unwrap())
}

/// The rows of a hand-over and their tokens as `batcher` draws them.
fn drawn_alike(out: &Path, mut batcher: Batcher) {
    let told = json_file(&out.join("handover.json"));
    let number = |name: &str| told["plan"][name].as_u64().unwrap() as usize;
    let (steps, rows, micros, window) =
        (number("steps"), number("batch_size"), number("accumulation"), number("context"));
    let (shape, mut numbers) = (vec![steps * rows * micros, 3, window], Vec::new());
    let mut tokens = Vec::new();
    let begin = told["step"].as_u64().unwrap();
    for step in 0..steps as u64 {
        for micro in 0..micros {
            let batch = batcher.batch(begin + step, micro).unwrap();
            let starts = batch.starts.clone().unwrap_or_else(|| vec![0; rows * window]);
            for row in 0..rows {
                let cut = row * window..(row + 1) * window;
                numbers.extend(batch.ids[cut.clone()].iter().map(|id| *id as i32));
                numbers.extend(&batch.targets[cut.clone()]);
                numbers.extend(starts[cut].iter().map(|at| *at as i32));
            }
            tokens.push(batch.tokens as i32);
        }
    }
    assert_eq!(array(&out.join("rows/rows-00000.npy")), (shape, numbers));
    assert_eq!(array(&out.join("rows/tokens.npy")), (vec![steps * micros], tokens));
}

#[test]
fn the_rows_are_those_that_danlu_draws_in_its_order() {
    let dir = scratch();
    let more = "[pretrain]\nbatch_size = 3\ncontext = 24\ngradient_accumulation_steps = 2\neval_steps = 0\nprobe_steps = 0\n[sft]\nbatch_size = 2\ncontext = 64\neval_steps = 0\nprobe_steps = 0";
    let run = new_run(dir.path(), "r", more);
    let out = dir.path().join("pretrain");
    let done = hand_over(&run, "pretrain", &out, &["--steps", "5"]);
    // The size is said before anything is written.
    let bytes: u64 = snapshot(&out).values().map(|bytes| bytes.len() as u64).sum();
    assert!(done.good().err.contains(&format!("5 steps, 30 rows, {bytes} bytes")), "{}", done.err);
    let told = json_file(&out.join("handover.json"));
    let (config_of, open) = config(&run, StageId::Pretrain);
    let vocab = config_of.model().unwrap().vocab_size;
    let corpus = Corpus::load(&config_of, &open, &open.view().data_dir(), vocab, false, &Monitor::default()).unwrap();
    let history: History = serde_json::from_value(told["history"].clone()).unwrap();
    drawn_alike(&out, Batcher::new(Arc::clone(&corpus.packed), 0, history).unwrap());
    drop(open);

    // Its own training begins with the loss of the first rows under the exported model.
    let train = |stage: &str| danlu(["train", "--run", &text(&run), "--stage", stage, "--steps", "5"]);
    train("pretrain").good();
    assert_eq!(trained_tokens(&run, "pretrain"), [144; 5]);
    let (_, numbers) = array(&out.join("rows/rows-00000.npy"));
    let row = |row: &[i32]| {
        let (ids, targets) = (&row[..24], &row[24..48]);
        assert_eq!(ids[1..], targets[..23], "a target is the token that follows");
        ids.iter().chain(&targets[23..]).copied().collect::<Vec<i32>>()
    };
    let first: Vec<Vec<i32>> = numbers.chunks_exact(72).take(6).map(row).collect();
    let ids = ids_file(dir.path(), "ids.json", &json!({"input_ids": first}));
    let scored = danlu(["score", "--model", &text(&out.join("model")), "--ids", &ids, "--json"]).object();
    let logged = objects(&fs::read_to_string(run.join("metrics.jsonl")).unwrap())[0]["loss"].as_f64().unwrap();
    assert!((scored["loss"].as_f64().unwrap() - logged).abs() < 1e-5, "{} {logged}", scored["loss"]);

    let out = dir.path().join("sft");
    hand_over(&run, "sft", &out, &["--steps", "4"]).good();
    let told = json_file(&out.join("handover.json"));
    assert_eq!((&told["packed"], &told["parent"]), (&json!(true), &json!("pretrain-00000005")));
    assert_eq!(told["parent_digest"], json_file(&checkpoint(&run, 5).join("manifest.json"))["digest"]);
    let tokenizer = model_folder::tokenizer(&checkpoint(&run, 5)).unwrap().unwrap();
    let sets = builtin_chats(&tokenizer, 64).unwrap();
    let rows = ChatRows::new(&sets, 0, 64, true, tokenizer.pad().unwrap()).unwrap();
    let history: History = serde_json::from_value(told["history"].clone()).unwrap();
    drawn_alike(&out, Batcher::with_chats(Arc::clone(&corpus.packed), Some(rows), 0, history).unwrap());
    let (_, tokens) = array(&out.join("rows/tokens.npy"));
    train("sft").good();
    assert_eq!(trained_tokens(&run, "sft")[..4], tokens.iter().map(|n| i64::from(*n)).collect::<Vec<_>>());
    // The weights are those of the parent, and every file is named with its hash.
    let model = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
    assert_eq!(model(&out.join("model")), model(&checkpoint(&run, 5)));
    for (name, file) in told["files"].as_object().unwrap() {
        let bytes = fs::read(out.join(name)).unwrap();
        let hash = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!((&file["bytes"], &file["blake3"]), (&json!(bytes.len()), &json!(hash)), "{name}");
    }
    for name in ["rows/rows-00000.npy", "heldout/whole.npy", "model/model.safetensors", "model/tokenizer.json"] {
        assert!(!told["files"][name].is_null(), "{name}");
    }
    for name in ["train.py", "danlu_handover.py", "requirements.txt", "accelerate.yaml"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let readme = fs::read_to_string(out.join("README.md")).unwrap();
    for command in ["python train.py", "torchrun --nproc-per-node 8", "torchrun --nnodes 2", "--stage sft"] {
        assert!(readme.contains(command), "{command}");
    }
    assert!(told["sources"].as_array().unwrap().iter().all(|s| s["license"] == "public domain; compilation MIT"));
}

/// Preference pairs, one to three about a prompt.
const PAIRS: usize = 90;

/// A tiny run with a pretrained and a fine-tuned stage, and its own preference pairs.
fn fine_tuned(dir: &Path) -> PathBuf {
    let pairs: String = (0..PAIRS)
        .map(|at| {
            let prompt = format!("第 {} 题", if at < 30 { at } else { at / 3 });
            json!({"prompt": prompt, "chosen": "好。", "rejected": format!("不好，{at}。")}).to_string() + "\n"
        })
        .collect();
    fs::write(dir.join("pairs.jsonl"), pairs).unwrap();
    let more = format!(
        "[pretrain]\nbatch_size = 2\ncontext = 32\n[sft]\nbatch_size = 2\ncontext = 64\n[reward]\nbatch_size = 4\n[dpo]\nbatch_size = 4\n[grpo]\nrollouts = 8\nnum_generations = 4\n[[reward.source]]\nname = \"pairs\"\npath = {:?}\n",
        text(&dir.join("pairs.jsonl"))
    );
    let run = new_run(dir, "r", &more);
    for stage in ["pretrain", "sft"] {
        danlu(["train", "--run", &text(&run), "--stage", stage, "--steps", "2"]).good();
    }
    run
}

#[test]
fn preferences_and_prompts_are_messages_in_the_order_of_steps() {
    let dir = scratch();
    let run = fine_tuned(dir.path());
    let lines = |path: PathBuf| objects(&fs::read_to_string(path).unwrap());
    for (stage, label) in [("reward", "LlamaForSequenceClassification"), ("dpo", "LlamaForCausalLM")] {
        let out = dir.path().join(stage);
        hand_over(&run, stage, &out, &["--steps", "6"]).good();
        let (train, held) = (lines(out.join("preferences.jsonl")), lines(out.join("heldout.jsonl")));
        assert_eq!(train.len() + held.len(), PAIRS);
        assert!(!held.is_empty());
        for pair in train.iter().chain(&held) {
            assert_eq!((&pair["prompt"][0]["role"], &pair["chosen"][0]["role"]), (&json!("user"), &json!("assistant")));
        }
        let (shape, order) = array(&out.join("rows/order.npy"));
        assert_eq!(shape[0], 6);
        let (_, tokens) = array(&out.join("rows/tokens.npy"));
        let drawn: Vec<Vec<i32>> =
            order.chunks_exact(shape[1]).map(|row| row.iter().copied().filter(|at| *at >= 0).collect()).collect();
        for step in &drawn {
            let of = |at: &i32| train[*at as usize]["prompt"].clone();
            // All pairs of a prompt are in one step of the reward model.
            let whole = |at: &i32| {
                let n = train.iter().filter(|pair| pair["prompt"] == of(at)).count();
                step.iter().filter(|other| of(other) == of(at)).count() == n
            };
            assert!(stage == "dpo" && step.len() == 4 || stage == "reward" && step.iter().all(whole), "{step:?}");
        }
        assert_eq!(json_file(&out.join("model/config.json"))["architectures"], json!([label]));
        danlu(["train", "--run", &text(&run), "--stage", stage, "--steps", "6"]).good();
        assert_eq!(trained_tokens(&run, stage), tokens.iter().map(|n| i64::from(*n)).collect::<Vec<_>>(), "{stage}");
    }
    let out = dir.path().join("grpo");
    hand_over(&run, "grpo", &out, &["--steps", "3"]).good();
    let told = json_file(&out.join("handover.json"));
    assert_eq!(lines(out.join("prompts.jsonl")).len(), 6);
    assert_eq!(told["reward_model"][0], "reward-00000006");
    let weights = |dir: PathBuf| fs::read(dir.join("model.safetensors")).unwrap();
    assert!(weights(out.join("reward")) == weights(stage_checkpoint(&run, "reward", 6)));
    assert!(told["files"]["reward/model.safetensors"].is_object());
}

/// What cannot be handed over is refused in a sentence, and nothing is written.
#[test]
fn what_has_no_counterpart_is_refused() {
    let dir = scratch();
    let run = fine_tuned(dir.path());
    let out = dir.path().join("out");
    // Opening a run renews its lock.
    let seen = |dir: &Path| {
        let mut all = snapshot(dir);
        all.retain(|path, _| !path.ends_with("lock"));
        all
    };
    let refused = |args: &[&str], stage: &str, words: &[&str]| {
        let before = seen(dir.path());
        hand_over(&run, stage, &out, args).refused(2, words);
        assert!(seen(dir.path()) == before, "{stage} {args:?} wrote something");
    };
    refused(&["--set", "model.dropout=0.1"], "pretrain", &["model.dropout is 0.1", "set model.dropout = 0"]);
    refused(&["--set", "dpo.label_smoothing=0.1"], "dpo", &["label_smoothing", "set dpo.label_smoothing = 0"]);
    refused(&["--set", "reward.mode=\"book\""], "reward", &["book", "reward.mode = \"standard\""]);
    refused(&["--set", "pretrain.steps=2"], "pretrain", &["complete at step 2", "--steps N"]);
    refused(&[], "ppo", &["ppo cannot be handed over", "grpo or dpo"]);
    refused(&[], "grpo", &["needs a checkpoint of reward", "danlu train --stage reward"]);
    refused(&["--steps", "0"], "sft", &["--steps is 0"]);
    refused(&["--steps", "90000000"], "sft", &["more than the 10000000000", "lower --steps"]);
    refused(&["--step", "2"], "sft", &["--step names a checkpoint"]);
    refused(&["--set", "sft.batch=2"], "sft", &["unknown key", "batch_size"]);
    danlu(["train", "--run", &text(&run), "--stage", "dpo", "--steps", "1"]).good();
    refused(&[], "dpo", &["dpo of this run has begun", "danlu fork"]);
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine.txt"), "mine").unwrap();
    refused(&[], "sft", &["already exists", "--force"]);
    hand_over(&run, "sft", &out, &["--steps", "9", "--force"]).good();
    assert_eq!(fs::read_to_string(out.join("mine.txt")).unwrap(), "mine");
    no_leftovers(dir.path());
    danlu(["export", "--for", "trl", "--run", &text(&run), "--stage", "sft"]).refused(2, &["give a folder"]);
    let auto = dir.path().join("auto");
    fs::create_dir(&auto).unwrap();
    fs::write(auto.join("run.toml"), "").unwrap();
    hand_over(&auto, "pretrain", &dir.path().join("o"), &[]).refused(2, &["size is \"auto\"", "size = \"124m\""]);
}

/// A stage in its middle is handed over with a word about its moments, from its newest step on.
#[test]
fn a_stage_in_its_middle_says_what_stays_behind() {
    let dir = scratch();
    let run = fine_tuned(dir.path());
    let out = dir.path().join("out");
    let done = hand_over(&run, "sft", &out, &["--steps", "5"]);
    assert!(done.good().err.contains("moments of AdamW stay here and begin at zero"), "{}", done.err);
    let told = json_file(&out.join("handover.json"));
    assert_eq!((&told["step"], &told["plan"]["steps"]), (&json!(2), &json!(3)));
    let all = json!(told["notes"]).to_string();
    assert!(all.contains("moments of AdamW") && all.contains("edits of run.toml"), "{all}");
    let weights = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
    assert!(weights(&out.join("model")) == weights(&stage_checkpoint(&run, "sft", 2)));
    let (_, tokens) = array(&out.join("rows/tokens.npy"));
    let twin = dir.path().join("twin");
    copy_all(&run, &twin);
    danlu(["train", "--run", &text(&twin), "--stage", "sft", "--steps", "5"]).good();
    assert_eq!(trained_tokens(&twin, "sft")[2..], tokens.iter().map(|n| i64::from(*n)).collect::<Vec<_>>());
    // Back: the steps before the hand-over stay those of danlu.
    trained(&out, &twin, "sft", 5);
    let done = import(&run, "sft", &out).object();
    assert_eq!((&done["step"], &done["logged"]), (&json!(5), &json!(3)));
    assert_eq!(trained_tokens(&run, "sft"), trained_tokens(&twin, "sft"));
    assert!(checkpoints(&run).contains(&"sft-00000002".to_owned()), "the older one stays");
}

/// More tokens than fit on a disk as rows: the texts, without the order, and that is said.
#[test]
fn beyond_ten_billion_tokens_the_texts_are_given() {
    let dir = scratch();
    let run = new_run(dir.path(), "r", "");
    let out = dir.path().join("out");
    let done = hand_over(&run, "pretrain", &out, &["--steps", "9765626"]);
    assert!(done.good().err.contains("an order of its own"), "{}", done.err);
    let told = json_file(&out.join("handover.json"));
    let shards = told["shards"].as_array().unwrap();
    let shares: f64 = shards.iter().map(|shard| shard["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9 && shards.len() > 2, "{shards:?}");
    for shard in shards {
        let (shape, _) = array(&out.join(shard["ids"].as_str().unwrap()));
        assert_eq!(json!(shape[0]), shard["tokens"]);
    }
    assert!(!out.join("rows").exists() && out.join("heldout/sample.npy").is_file());
    // One step fewer is written as rows, whose size is said before the disk is looked at.
    let few = hand_over(&run, "pretrain", &dir.path().join("rows"), &["--steps", "1"]);
    assert!(few.good().err.contains("1 steps, 16 rows"), "{}", few.err);
}

/// What train.py would leave in OUT/out/model, with the weights and the log of a run of danlu's.
fn trained(out: &Path, twin: &Path, stage: &str, step: usize) -> PathBuf {
    let model = out.join("out/model");
    fs::create_dir_all(&model).unwrap();
    let checkpoint = stage_checkpoint(twin, stage, step);
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(checkpoint.join(name), model.join(name)).unwrap();
    }
    for name in ["metrics.jsonl", "events.jsonl"] {
        fs::copy(twin.join(name), model.join(name)).unwrap();
    }
    seal(out, step);
    model
}

/// Writes the handover.json of OUT/out/model with the files as they are.
fn seal(out: &Path, step: usize) {
    let (mut told, model) = (json_file(&out.join("handover.json")), out.join("out/model"));
    let names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "metrics.jsonl",
        "events.jsonl",
    ];
    let files: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| {
            let bytes = fs::read(model.join(name)).unwrap();
            let hash = blake3::hash(&bytes).to_hex().to_string();
            ((*name).to_owned(), json!({"bytes": bytes.len(), "blake3": hash}))
        })
        .collect();
    told["result"] = json!({"step": step, "engine": "transformers 5.24.0, 8 × cuda", "adapter": "NVIDIA H200",
        "driver": "torch 2.11.0", "precision": "bf16", "files": files});
    fs::write(model.join("handover.json"), told.to_string()).unwrap();
}

#[test]
fn what_was_trained_elsewhere_is_a_checkpoint_with_its_lineage() {
    let dir = scratch();
    let sets = ["batch_size=2", "context=32", "eval_steps=3", "probe_steps=0"];
    let run =
        new_run(dir.path(), "r", "[pretrain]\nbatch_size = 2\ncontext = 32\n[sft]\nbatch_size = 2\ncontext = 64\n");
    let (out, twin) = (dir.path().join("out"), dir.path().join("twin"));
    hand_over(&run, "pretrain", &out, &["--steps", "6"]).good();
    copy_all(&run, &twin);
    train(&twin, &sets, &["--steps", "6"]).good();
    let model = trained(&out, &twin, "pretrain", 6);
    let done = import(&run, "pretrain", &out).object();
    assert_eq!((&done["step"], &done["logged"]), (&json!(6), &json!(6)));
    assert_eq!(done["engine"], "transformers 5.24.0, 8 × cuda");

    let made = checkpoint(&run, 6);
    assert!(fs::read(made.join("model.safetensors")).unwrap() == fs::read(model.join("model.safetensors")).unwrap());
    let bytes = fs::read(made.join("optimizer.safetensors")).unwrap();
    let moments = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(moments.tensors().iter().all(|(_, t)| t.data().iter().all(|byte| *byte == 0)), "the moments are fresh");
    let (state, theirs) = (json_file(&made.join("state.json")), json_file(&checkpoint(&twin, 6).join("state.json")));
    for key in ["stage", "step", "seed", "history", "data", "total_tokens", "parent", "parent_digest", "format"] {
        assert_eq!(state[key], theirs[key], "{key}");
    }
    assert_eq!((&state["engine"], &state["adapter"]), (&json!("transformers 5.24.0, 8 × cuda"), &json!("NVIDIA H200")));
    // The curve is that of the other trainer, and its held-out figure ranks the checkpoint.
    let lines = |run: &Path, name: &str| objects(&fs::read_to_string(run.join(name)).unwrap());
    assert_eq!(lines(&run, "metrics.jsonl"), lines(&twin, "metrics.jsonl"));
    let events = lines(&run, "events.jsonl");
    assert!(events.iter().all(|event| event["event"] != "saved"));
    assert!(events.iter().any(|event| event["text"] == "steps 1 to 6 were trained by transformers 5.24.0, 8 × cuda"));
    let listed = danlu(["runs", "--dir", &text(dir.path()), "--json"]);
    let listed: Vec<Value> = listed.good().objects().into_iter().filter(|line| line["run"] == "r").collect();
    assert!(listed.len() == 1 && listed[0]["best"] == true && listed[0]["eval_loss"].is_f64(), "{listed:?}");
    let tree = danlu(["runs", "--dir", &text(dir.path())]);
    assert!(tree.good().out.contains("r  1m  transformers 5.24.0, 8 × cuda"), "{}", tree.out);

    let shown = danlu(["inspect", &text(&made)]);
    assert!(shown.good().out.contains("transformers 5.24.0, 8 × cuda (NVIDIA H200)"), "{}", shown.out);

    // danlu continues from it, says who trained it, and the next stage starts from it.
    let more = train(&run, &sets, &["--steps", "7"]);
    let said = "the checkpoint was made on NVIDIA H200 (torch 2.11.0)";
    assert!(more.good().out.contains(said), "{}", more.out);
    import(&run, "pretrain", &out).refused(2, &["at step 7, past step 0"]);
    let tree = danlu(["runs", "--dir", &text(dir.path())]);
    assert!(tree.good().out.contains("trained by transformers 5.24.0, 8 × cuda"), "{}", tree.out);
    finetune(&run, &["batch_size=2", "context=64"], &["--steps", "1"]).good();
    assert_eq!(json_file(&stage_checkpoint(&run, "sft", 1).join("state.json"))["parent"], "pretrain-00000007");
}

/// A reward model is measured here, so that its scores have a scale.
#[test]
fn a_reward_model_comes_back_measured() {
    let dir = scratch();
    let run = fine_tuned(dir.path());
    let (out, twin) = (dir.path().join("out"), dir.path().join("twin"));
    hand_over(&run, "reward", &out, &["--steps", "3"]).good();
    copy_all(&run, &twin);
    danlu(["train", "--run", &text(&twin), "--stage", "reward", "--steps", "3"]).good();
    let model = trained(&out, &twin, "reward", 3);
    // train.py saves the score as optimised; danlu's checkpoint has it divided by its deviation.
    let optimizer = fs::read(stage_checkpoint(&twin, "reward", 3).join("optimizer.safetensors")).unwrap();
    let optimizer = safetensors::SafeTensors::deserialize(&optimizer).unwrap();
    let mut bytes = fs::read(model.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let divided = file.tensor("score.weight").unwrap().data().to_vec();
    let at = bytes.windows(divided.len()).position(|part| part == divided).unwrap();
    bytes[at..at + divided.len()].copy_from_slice(optimizer.tensor("master.score.weight").unwrap().data());
    fs::write(model.join("model.safetensors"), bytes).unwrap();
    seal(&out, 3);
    import(&run, "reward", &model).good();
    let state = |run: &Path| json_file(&stage_checkpoint(run, "reward", 3).join("state.json"));
    for key in ["reward_scale", "reward_shift", "parent", "parent_digest", "data"] {
        assert_eq!(state(&run)[key], state(&twin)[key], "{key}");
    }
    let weights = |run: &Path| fs::read(stage_checkpoint(run, "reward", 3).join("model.safetensors")).unwrap();
    assert!(weights(&run) == weights(&twin));
    let accuracy = |run: &Path| {
        let events = objects(&fs::read_to_string(run.join("events.jsonl")).unwrap());
        events.iter().rfind(|e| e["event"] == "reward").unwrap()["heldout_accuracy"].clone()
    };
    assert!(accuracy(&run).is_number() && accuracy(&run) == accuracy(&twin));
    danlu(["train", "--run", &text(&run), "--stage", "grpo", "--steps", "1"]).good();
}

#[test]
fn a_folder_that_does_not_fit_is_refused_and_nothing_is_written() {
    let dir = scratch();
    let sets = ["batch_size=2", "context=32", "eval_steps=0", "probe_steps=0"];
    let more = "[pretrain]\nbatch_size = 2\ncontext = 32\n[sft]\nbatch_size = 2\ncontext = 64\n";
    let run = new_run(dir.path(), "r", more);
    let (out, twin) = (dir.path().join("out"), dir.path().join("twin"));
    hand_over(&run, "pretrain", &out, &["--steps", "3"]).good();
    import(&run, "pretrain", &out).refused(2, &["train.py has not written out/model"]);
    copy_all(&run, &twin);
    train(&twin, &sets, &["--steps", "3"]).good();
    let model = trained(&out, &twin, "pretrain", 3);
    let all = |dir: &Path| {
        let mut all = snapshot(dir);
        all.retain(|path, _| !path.ends_with("lock"));
        all
    };
    let refused = |run: &Path, stage: &str, from: &Path, words: &[&str]| {
        let before = all(dir.path());
        import(run, stage, from).refused(2, words);
        assert!(all(dir.path()) == before, "{words:?} wrote something");
    };
    let changed = |name: &str, change: &dyn Fn(&Path)| {
        let copy = dir.path().join(name);
        copy_all(&model, &copy);
        change(&copy);
        copy
    };
    let told = |copy: &Path, change: &dyn Fn(&mut Value)| {
        let mut told = json_file(&copy.join("handover.json"));
        change(&mut told);
        fs::write(copy.join("handover.json"), told.to_string()).unwrap();
    };
    refused(&run, "sft", &out, &["a hand-over of pretrain, not of sft"]);
    refused(&run, "pretrain", &run, &["there is no handover.json"]);
    refused(&run, "pretrain", &dir.path().join("nowhere"), &["no such folder"]);
    let newer = changed("newer", &|copy| told(copy, &|t| t["format"] = json!(2)));
    refused(&run, "pretrain", &newer, &["format 2", "reads 1"]);
    let other = changed("other", &|copy| fs::write(copy.join("handover.json"), "{\"format\": \"x\"}").unwrap());
    refused(&run, "pretrain", &other, &["not a handover.json of danlu"]);
    // Copied in part.
    let cut = changed("cut", &|copy| {
        let path = copy.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    refused(&run, "pretrain", &cut, &["model.safetensors has", "copy the folder again as a whole"]);
    let gone = changed("gone", &|copy| fs::remove_file(copy.join("metrics.jsonl")).unwrap());
    refused(&run, "pretrain", &gone, &["metrics.jsonl is missing"]);
    let flipped = changed("flipped", &|copy| {
        let path = copy.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    });
    refused(&run, "pretrain", &flipped, &["other bytes than handover.json says"]);
    let short = changed("short", &|copy| {
        let path = copy.join("metrics.jsonl");
        let lines = fs::read_to_string(&path).unwrap();
        let kept: String = lines.split_inclusive('\n').take(2).collect();
        fs::write(&path, &kept).unwrap();
        told(copy, &|t| {
            let hash = blake3::hash(kept.as_bytes()).to_hex().to_string();
            t["result"]["files"]["metrics.jsonl"] = json!({"bytes": kept.len(), "blake3": hash});
        });
    });
    refused(&run, "pretrain", &short, &["steps 1 to 2", "up to step 3"]);
    // Another run: its seed, its tokenizer, its shape, its parent.
    let seeded = changed("seeded", &|copy| told(copy, &|t| t["seed"] = json!(9)));
    refused(&run, "pretrain", &seeded, &["seed 9"]);
    let orphan = changed("orphan", &|copy| {
        told(copy, &|t| {
            t["parent"] = json!("pretrain-00000009");
            t["stage"] = json!("sft");
        });
    });
    refused(&run, "sft", &orphan, &["starts from pretrain-00000009", "does not have that checkpoint"]);
    let later = changed("later", &|copy| told(copy, &|t| t["step"] = json!(2)));
    refused(&run, "pretrain", &later, &["handed over at step 2", "no checkpoint of that step"]);
    let resealed = |copy: &Path, name: &str, bytes: &[u8]| {
        fs::write(copy.join(name), bytes).unwrap();
        told(copy, &|t| {
            let hash = blake3::hash(bytes).to_hex().to_string();
            t["result"]["files"][name] = json!({"bytes": bytes.len(), "blake3": hash});
        });
    };
    let words = changed("words", &|copy| {
        let mut tokenizer = json_file(&copy.join("tokenizer.json"));
        let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        let (a, b) = (vocab["春"].clone(), vocab["山"].clone());
        (vocab["春"], vocab["山"]) = (b, a);
        resealed(copy, "tokenizer.json", tokenizer.to_string().as_bytes());
    });
    refused(&run, "pretrain", &words, &["its tokenizer differs from the run's"]);
    let shaped = changed("shaped", &|copy| {
        let mut config = json_file(&copy.join("config.json"));
        config["rope_theta"] = json!(5000.0);
        config["rope_parameters"]["rope_theta"] = json!(5000.0);
        resealed(copy, "config.json", config.to_string().as_bytes());
    });
    refused(&run, "pretrain", &shaped, &["config.json differs from the model"]);
    assert!(checkpoints(&run).is_empty());
    import(&run, "pretrain", &out).good();
}
