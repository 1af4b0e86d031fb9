//! A model from elsewhere keeps its own chat template: rendered text, ids, labels and loss as transformers makes them
//! (`tests/golden/make_templates.py`), in training, answers, checkpoints and exports; and reward, dpo, ppo and grpo
//! begin from its weights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::{danlu, foreign, json_file, scratch, stage_checkpoint, text};
use danlu::data::{
    Conversation, Preference, Role, Tokenizer, Turn, Words,
    chat::{encode, encode_prompt},
    encode_pairs, read_in,
    template::{ChatTemplate, Message},
};
use serde_json::{Value, json};

const KINDS: [&str; 3] = ["chatml", "llama3", "tinyllama"];

fn golden() -> Value {
    json_file(&common::golden("templates.json"))
}

fn turns(messages: &Value) -> Vec<Turn> {
    let turn = |m: &Value| {
        let role = match m["role"].as_str().unwrap() {
            "system" => Role::System,
            "user" => Role::User,
            _ => Role::Assistant,
        };
        Turn::new(role, m["content"].as_str().unwrap())
    };
    messages.as_array().unwrap().iter().map(turn).collect()
}

fn messages(turns: &[Turn]) -> Vec<Message> {
    let role = |role: Role| match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    turns.iter().map(|turn| Message::new(role(turn.role), turn.content.as_str())).collect()
}

/// The tokenizer's settings with the template in them.
fn settings(case: &Value) -> Value {
    let mut settings = case["tokenizer_config"].clone();
    if case["chat_template"].is_string() {
        settings["chat_template"] = case["chat_template"].clone();
    }
    settings
}

fn tokenizer(case: &Value) -> Tokenizer {
    Tokenizer::from_json(&case["tokenizer"].to_string(), Some(&settings(case).to_string())).unwrap()
}

/// A model's folder as transformers writes it, the template in a file of its own.
fn model(dir: &Path, kind: &str) -> PathBuf {
    let case = &golden()["kinds"][kind];
    let vocab = tokenizer(case).vocab_size();
    let folder = foreign(dir, kind, &case["tokenizer"], &case["tokenizer_config"], vocab);
    if let Some(template) = case["chat_template"].as_str() {
        fs::write(folder.join("chat_template.jinja"), template).unwrap();
    }
    folder
}

#[test]
fn text_ids_labels_and_prompts_are_those_of_transformers() {
    let golden = golden();
    let conversations = golden["conversations"].as_array().unwrap();
    assert!(conversations.len() >= 20);
    for kind in KINDS {
        let case = &golden["kinds"][kind];
        let tokenizer = tokenizer(case);
        let template = tokenizer.own_template().unwrap_or_else(|| panic!("{kind}: {:?}", tokenizer.refused_template()));
        assert_eq!(tokenizer.turn_end(), case["end"].as_u64().map(|id| id as u32), "{kind}");
        for (made, given) in case["cases"].as_array().unwrap().iter().zip(conversations) {
            let turns = turns(given);
            assert_eq!(template.render(&messages(&turns), false).unwrap(), made["text"], "{kind}");
            let (_, asked) = turns.split_last().unwrap();
            let prompt = encode_prompt(asked, &tokenizer).unwrap();
            assert_eq!(json!(prompt), made["prompt"], "{kind}: {given}");
            let example = encode(&Conversation { turns, task: None }, &tokenizer).unwrap();
            assert_eq!(json!(example.ids), made["ids"], "{kind}: {given}");
            assert_eq!(json!(example.labels), made["labels"], "{kind}: {given}");
        }
    }
}

/// Written into a checkpoint and read again, it is the same; the tokens that a conversation in danlu's template needs
/// are not added.
#[test]
fn what_is_kept_reads_back() {
    for kind in KINDS {
        let case = &golden()["kinds"][kind];
        let theirs = tokenizer(case);
        let kept = theirs.with_template(true).unwrap();
        assert!(
            kept.chat().is_none() && kept.pad().is_some() && kept.vocab_size() == theirs.vocab_size() + 1,
            "{kind}"
        );
        let template = kept.own_template().unwrap().source().to_owned();
        let written = kept.config_json(64, Some(&template));
        let again = Tokenizer::from_own_json(kept.json(), Some(&written)).unwrap();
        assert_eq!(again.own_template().unwrap().source(), template, "{kind}");
        assert_eq!(again.own_template().unwrap().tokens(), kept.own_template().unwrap().tokens(), "{kind}");
        let turns = [Turn::new(Role::User, "Hello!"), Turn::new(Role::Assistant, "Hello.")];
        let of = |t: &Tokenizer| encode(&Conversation { turns: turns.to_vec(), task: None }, t).unwrap();
        assert_eq!(of(&again), of(&theirs), "{kind}");
        // danlu's template instead.
        let ours = theirs.with_chat().unwrap();
        assert!(ours.own_template().is_none() && ours.chat().is_some(), "{kind}");
        assert_ne!(of(&ours), of(&theirs), "{kind}");
    }
}

#[test]
fn words_that_spell_a_special_token_stay_words() {
    for kind in KINDS {
        let case = &golden()["kinds"][kind];
        let tokenizer = tokenizer(case);
        let end = tokenizer.token(tokenizer.turn_end().unwrap()).unwrap().to_owned();
        let words = format!("a{end}b {end}{end} <|im_start|>system\u{FDD0}");
        let turns = vec![Turn::new(Role::User, words.as_str()), Turn::new(Role::Assistant, words.as_str())];
        let plain = vec![Turn::new(Role::User, "a"), Turn::new(Role::Assistant, "b")];
        let special = |turns: &[Turn]| {
            let example = encode(&Conversation { turns: turns.to_vec(), task: None }, &tokenizer).unwrap();
            (example.ids.iter().copied().filter(|id| tokenizer.is_special(*id)).collect::<Vec<u32>>(), example)
        };
        let (of_words, example) = special(&turns);
        assert_eq!(of_words, special(&plain).0, "{kind}");
        let learned: Vec<u32> = example.labels.iter().filter(|l| **l >= 0).map(|l| *l as u32).collect();
        let text = tokenizer.decode_rest(&example.ids[..1], &learned, true);
        assert_eq!(text.trim_end(), words, "{kind}");
    }
}

/// Turns that are marked as context are no answers to learn.
#[test]
fn only_learned_answers_have_labels() {
    let case = &golden()["kinds"]["chatml"];
    let tokenizer = tokenizer(case);
    let mut turns: Vec<Turn> = ["q", "first", "q", "second"]
        .into_iter()
        .enumerate()
        .map(|(i, words)| Turn::new([Role::User, Role::Assistant][i % 2], words))
        .collect();
    turns[1].learned = false;
    let example = encode(&Conversation { turns, task: None }, &tokenizer).unwrap();
    let learned: Vec<u32> = example.labels.iter().filter(|l| **l >= 0).map(|l| *l as u32).collect();
    assert_eq!(tokenizer.decode(&learned, false), "second<|im_end|>");
}

#[test]
fn pairs_and_long_prompts_are_in_the_template_too() {
    for kind in KINDS {
        let case = &golden()["kinds"][kind];
        let tokenizer = tokenizer(case);
        let prompt = vec![Turn::new(Role::System, "Be kind."), Turn::new(Role::User, "Who walked home?")];
        let pair = Preference::new(prompt.clone(), "The fox walked home.".into(), "The bird.".into(), None, false);
        let (pairs, fitted) = encode_pairs(&[pair], &tokenizer, 256).unwrap();
        assert_eq!((pairs.len(), fitted.dropped), (1, 0), "{kind}");
        for (side, words) in [(&pairs[0].chosen, "The fox walked home."), (&pairs[0].rejected, "The bird.")] {
            assert_eq!(side.last + 1, side.ids.len(), "{kind}");
            assert_eq!(Some(side.ids[side.last]), tokenizer.turn_end(), "{kind}");
            let text = tokenizer.decode_rest(&side.ids[..side.first], &side.ids[side.first..side.last], true);
            assert_eq!(text, words, "{kind}");
            let asked = encode_prompt(&prompt, &tokenizer).unwrap();
            assert!(side.ids.starts_with(&asked) && side.first == asked.len(), "{kind}");
        }
        let long = [Turn::new(Role::System, "s".repeat(40)), Turn::new(Role::User, "Who walked home? ".repeat(40))];
        for window in [64, 100, 160] {
            let asked = read_in(Words::Chat(&long), &tokenizer, window, 16).unwrap();
            assert!(
                asked.ids.len() + 16 <= window && asked.left_out.tokens > 0,
                "{kind} {window}: {}",
                asked.ids.len()
            );
            let shortest = encode_prompt(&[Turn::new(Role::User, "")], &tokenizer).unwrap();
            assert_eq!(asked.ids.last(), shortest.last(), "{kind}");
        }
    }
}

/// A template that danlu cannot use, and why.
#[test]
fn templates_that_do_not_continue_are_refused() {
    let case = &golden()["kinds"]["chatml"];
    for (template, why) in [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "no special token ends an answer"),
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}", "does not begin with"),
        ("{% for m in messages %}{{ m.content }} .. <|im_end|>{% endfor %}", "other text follows an answer"),
        ("{% for m in messages %}{{ m.content ~ m.content }}<|im_end|>{% endfor %}", "2 times"),
        ("{% for m in messages %}{{ m.content }", "template"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ strftime_now('%d') }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}", "strftime_now"),
    ] {
        let mut settings = settings(case);
        settings["chat_template"] = json!(template);
        let tokenizer = Tokenizer::from_json(&case["tokenizer"].to_string(), Some(&settings.to_string())).unwrap();
        assert!(tokenizer.own_template().is_none(), "{template}");
        let said = tokenizer.refused_template().unwrap();
        assert!(said.contains(why), "{template}: {said}");
    }
    // The system's words go before the question where a template refuses them; one that does not open an answer is
    // opened here.
    let alternate = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('no system') }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}";
    let mut settings = settings(case);
    settings["chat_template"] = json!(alternate);
    let tokenizer = Tokenizer::from_json(&case["tokenizer"].to_string(), Some(&settings.to_string())).unwrap();
    let prompt = encode_prompt(&[Turn::new(Role::System, "Be kind."), Turn::new(Role::User, "q")], &tokenizer).unwrap();
    assert_eq!(tokenizer.decode(&prompt, false), "<|im_start|>user: Be kind.\n\nq<|im_end|><|im_start|>assistant: ");
    let several =
        json!([{"name": "tool_use", "template": "x"}, {"name": "default", "template": case["chat_template"]}]);
    settings["chat_template"] = several;
    let tokenizer = Tokenizer::from_json(&case["tokenizer"].to_string(), Some(&settings.to_string())).unwrap();
    assert_eq!(tokenizer.own_template().map(ChatTemplate::source), case["chat_template"].as_str());
}

/// The first step of fine-tuning on whole conversations: the loss of transformers' Llama on them, with the new row at
/// the mean of the old ones.
#[test]
fn the_loss_of_a_step_is_that_of_transformers() {
    let golden = golden();
    for kind in KINDS {
        let dir = scratch();
        let (folder, case) = (model(dir.path(), kind), &golden["kinds"][kind]);
        let which: Vec<usize> = serde_json::from_value(case["step"]["conversations"].clone()).unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let line = |at: usize| json!({"messages": golden["conversations"][at]}).to_string() + "\n";
        fs::write(data.join("train.jsonl"), which.iter().map(|at| line(*at)).collect::<String>()).unwrap();
        fs::write(data.join("test.jsonl"), line(2)).unwrap();
        let run = dir.path().join("run");
        let sets =
            [format!("sft.source=[{{name=\"mine\",path={:?}}}]", text(&data)), format!("batch_size={}", which.len())];
        let more = ["packing=false", "context=64", "eval_steps=0", "probe_steps=0", "steps=1"];
        let mut args: Vec<String> =
            ["train", "--json", "--stage", "sft", "--from", &text(&folder), "--run", &text(&run)]
                .map(str::to_owned)
                .into();
        for set in sets.iter().map(String::as_str).chain(more) {
            args.extend(["--set".to_owned(), set.to_owned()]);
        }
        let lines = danlu(args).good().objects();
        let loss = lines.iter().find(|l| l["step"] == 1 && l.get("event").is_none()).unwrap()["loss"].as_f64().unwrap();
        let wanted = case["step"]["loss"].as_f64().unwrap();
        assert!((loss - wanted).abs() < 1e-4, "{kind}: {loss} against {wanted}");
        println!("{kind}: loss {loss:.6}, transformers' {wanted:.6}");
        let told: String = lines.iter().filter_map(|l| l["text"].as_str()).collect::<Vec<_>>().join("\n");
        assert!(told.contains("the model keeps its own chat template"), "{told}");
        // The checkpoint has their files, and continues from them.
        let checkpoint = stage_checkpoint(&run, "sft", 1);
        let saved = json_file(&checkpoint.join("tokenizer_config.json"));
        assert_eq!(saved["chat_template"], settings(case)["chat_template"], "{kind}");
        assert_eq!(saved["bos_token"], case["tokenizer_config"]["bos_token"], "{kind}");
        let generation = json_file(&checkpoint.join("generation_config.json"));
        assert!(generation["eos_token_id"].as_array().unwrap().contains(&case["end"]), "{kind}: {generation}");
        let toml = fs::read_to_string(run.join("run.toml")).unwrap();
        assert!(toml.contains("chat = \"own\"\nturns = \"as-written\"\n"), "{toml}");
        let exported = dir.path().join("hf");
        danlu(["export", "--run", &text(&run), "--hf", &text(&exported)]).good();
        assert_eq!(json_file(&exported.join("tokenizer_config.json"))["chat_template"], saved["chat_template"]);
        let ask = ["generate", "--chat", "--prompt", "Hello!", "--max-new-tokens", "4", "--json", "--model"];
        for folder in [&checkpoint, &folder] {
            danlu(ask.iter().copied().chain([text(folder).as_str()])).good();
        }
        // Without the option it continues.
        let again = danlu(["train", "--json", "--stage", "sft", "--steps", "1", "--run", &text(&run)]);
        assert!(again.good().out.contains("\"step\":2"), "{}", again.out);
    }
}

/// `chat = "danlu"` adds danlu's tokens and template, as before.
#[test]
fn danlus_template_can_be_asked_for() {
    let dir = scratch();
    let folder = model(dir.path(), "llama3");
    let run = dir.path().join("run");
    let more = ["--stage", "sft", "--steps", "1", "--from", &text(&folder)];
    let done = danlu(
        [
            "train",
            "--json",
            "--run",
            &text(&run),
            "--set",
            "chat=danlu",
            "--set",
            "context=64",
            "--set",
            "batch_size=2",
        ]
        .into_iter()
        .chain(["--set", "eval_steps=0", "--set", "probe_steps=0"])
        .chain(more),
    );
    done.good();
    let saved = json_file(&stage_checkpoint(&run, "sft", 1).join("tokenizer_config.json"));
    assert!(saved["chat_template"].as_str().unwrap().contains("<|user|>"));
    assert!(!fs::read_to_string(run.join("run.toml")).unwrap().contains("turns ="));
}

/// A run of an earlier version has no key `turns`: its rows stay what they were, and its bits.
#[test]
fn an_old_run_reads_turns_as_before() {
    let dir = scratch();
    let folder = model(dir.path(), "chatml");
    let data = dir.path().join("train.jsonl");
    let line = |i: usize| {
        let system = [json!({"role": "system", "content": ""}), json!({"role": "system", "content": " "})];
        let turns = [
            json!({"role": "user", "content": format!("q{i}\r\nq")}),
            json!({"role": "assistant", "content": "a\r\nb"}),
        ];
        let system = i.is_multiple_of(2).then(|| system[i / 2 % 2].clone());
        json!({"messages": system.into_iter().chain(turns).collect::<Vec<_>>()}).to_string() + "\n"
    };
    fs::write(&data, (0..20).map(line).collect::<String>()).unwrap();
    let source = format!("sft.source=[{{name=\"mine\",path={:?}}}]", text(&data));
    let train = |run: &Path, more: &[&str]| {
        let mut args: Vec<String> =
            ["train", "--json", "--stage", "sft", "--run", &text(run)].map(str::to_owned).into();
        for set in ["context=64", "batch_size=4", "eval_steps=0", "probe_steps=0", "packing=false"] {
            args.extend(["--set".to_owned(), set.to_owned()]);
        }
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        danlu(args).good().objects()
    };
    let from = text(&folder);
    let begin = |name: &str, turns: &[&str], steps: &str| {
        let run = dir.path().join(name);
        let mut more = vec!["--from", from.as_str(), "--set", source.as_str(), "--steps", steps];
        for set in turns {
            more.extend(["--set", *set]);
        }
        train(&run, &more);
        run
    };
    let (whole, old, new) =
        (begin("whole", &["turns=tidy"], "2"), begin("old", &["turns=tidy"], "1"), begin("new", &[], "2"));
    let toml = fs::read_to_string(old.join("run.toml")).unwrap();
    let before = toml.replacen("turns = \"tidy\"\n", "", 1);
    assert_ne!(toml, before);
    fs::write(old.join("run.toml"), &before).unwrap();
    let told = train(&old, &["--steps", "1"]);
    assert!(!told.iter().any(|l| l["text"].as_str().is_some_and(|t| t.contains("have changed"))), "{told:?}");
    assert_eq!(fs::read_to_string(old.join("run.toml")).unwrap(), before);
    let [whole, old, new] = [&whole, &old, &new].map(|run| common::tensors(&stage_checkpoint(run, "sft", 2)));
    assert_eq!(whole, old, "to the bit");
    assert_ne!(whole, new);
}

/// A folder with nothing but a run.toml is a new run too, and a setting of the user stays.
#[test]
fn a_new_run_from_a_template_reads_turns_as_written() {
    let dir = scratch();
    let folder = model(dir.path(), "tinyllama");
    let begin = |run: &Path| {
        let mut args: Vec<String> =
            ["train", "--stage", "sft", "--steps", "1", "--from", &text(&folder), "--run", &text(run)]
                .map(str::to_owned)
                .into();
        let sets = ["context=64", "batch_size=2", "eval_steps=0", "probe_steps=0"];
        args.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        danlu(args).good();
        fs::read_to_string(run.join("run.toml")).unwrap()
    };
    let key = "turns = \"as-written\"\n";
    let toml = begin(&dir.path().join("first"));
    assert!(toml.contains(key), "{toml}");
    for (name, written) in [("bare", ""), ("tidy", "turns = \"tidy\"\n")] {
        let run = dir.path().join(name);
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("run.toml"), toml.replacen(key, written, 1)).unwrap();
        let expected = if written.is_empty() { key } else { written };
        let toml = begin(&run);
        assert!(toml.contains(expected) && toml.matches("turns").count() == 1, "{name}: {toml}");
    }
}

fn begin(run: &Path, stage: &str, folder: &Path, more: &[&str]) -> common::Done {
    let sets = ["context=256", "batch_size=4", "eval_steps=0", "save_steps=0", "rollouts=8", "response_length=8"];
    let of: BTreeMap<&str, &[&str]> =
        BTreeMap::from([("reward", &sets[..4]), ("dpo", &sets[1..4]), ("ppo", &sets[2..]), ("grpo", &sets[2..])]);
    let mut args: Vec<String> = ["train", "--json", "--stage", stage, "--run", &text(run)].map(str::to_owned).into();
    if !folder.as_os_str().is_empty() {
        args.extend(["--from".to_owned(), text(folder)]);
    }
    for set in of[stage] {
        args.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    args.extend(more.iter().map(|m| (*m).to_owned()));
    danlu(args)
}

/// Every stage of alignment begins from outside weights: the reference is made of them, also when the stage is opened
/// again, and weights that changed meanwhile are refused.
#[test]
fn alignment_begins_from_outside_weights() {
    let dir = scratch();
    let folder = model(dir.path(), "chatml");
    let mut config = json_file(&folder.join("config.json"));
    config["max_position_embeddings"] = json!(512);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let pairs = dir.path().join("pairs.jsonl");
    let line = |i: usize| {
        let (chosen, rejected) = (format!("yes {i}"), format!("no {i}"));
        json!({"prompt": format!("q {i}"), "chosen": chosen, "rejected": rejected}).to_string() + "\n"
    };
    fs::write(&pairs, (0..40).map(line).collect::<String>()).unwrap();
    let run = dir.path().join("run");
    begin(&run, "ppo", &folder, &["--steps", "1"]).refused(2, &["ppo needs a checkpoint of reward", "--from"]);
    assert!(!run.exists(), "nothing is written");
    let source = format!("reward.source=[{{name=\"mine\",path={:?}}}]", text(&pairs));
    let with = ["--set", &source, "--steps", "1"];
    let parent = |stage: &str, step: usize| json_file(&stage_checkpoint(&run, stage, step).join("state.json"));
    for stage in ["reward", "dpo", "ppo", "grpo"] {
        let done = begin(&run, stage, &folder, &with);
        let state = parent(stage, 1);
        assert!(done.good().out.contains("its own chat template"), "{stage}: {}", done.out);
        assert_eq!(state["parent"], text(&folder.canonicalize().unwrap()), "{stage}");
        assert_eq!(state["parent_digest"].as_str().map(str::len), Some(64), "{stage}");
        // Opened again, it continues, without the option.
        begin(&run, stage, Path::new(""), &with).good();
        assert_eq!(parent(stage, 2)["parent_digest"], state["parent_digest"], "{stage}");
        begin(&run, stage, &folder, &with).refused(2, &["--from", "no effect"]);
    }
    // DPO's first loss is ln 2: policy and reference are the same.
    let lines = common::objects(&fs::read_to_string(run.join("metrics.jsonl")).unwrap());
    let loss = lines.iter().find(|line| line["stage"] == "dpo").unwrap()["loss"].as_f64().unwrap();
    assert!((loss - std::f64::consts::LN_2).abs() < 1e-4, "{loss}");
    let weights = folder.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let at = bytes.len() - 1;
    bytes[at - 1] ^= 1;
    fs::write(&weights, bytes).unwrap();
    begin(&run, "dpo", Path::new(""), &with).refused(2, &["have changed since dpo started from them"]);
}

/// New rows are the mean of the old ones.
#[test]
fn new_rows_begin_at_the_mean() {
    let dir = scratch();
    let folder = model(dir.path(), "tinyllama");
    let run = dir.path().join("run");
    let sets = ["chat=danlu", "context=64", "batch_size=2", "eval_steps=0", "probe_steps=0", "learning_rate=0"];
    let mut args: Vec<String> =
        ["train", "--stage", "sft", "--steps", "1", "--from", &text(&folder), "--run", &text(&run)]
            .map(str::to_owned)
            .into();
    args.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
    danlu(args).good();
    let rows = |folder: &Path| {
        let bytes = fs::read(folder.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let table = file.tensor("model.embed_tokens.weight").unwrap();
        let width = table.shape()[1];
        let numbers: Vec<f32> =
            table.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        numbers.chunks_exact(width).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let (old, new) = (rows(&folder), rows(&stage_checkpoint(&run, "sft", 1)));
    assert!(new.len() > old.len() && new[..old.len()] == old[..]);
    for row in &new[old.len()..] {
        for (at, x) in row.iter().enumerate() {
            let mean = old.iter().map(|row| f64::from(row[at])).sum::<f64>() / old.len() as f64;
            assert!((f64::from(*x) - mean).abs() < 1e-7, "{x} {mean}");
        }
    }
}

/// The same weights under Mistral's names give the same numbers.
#[test]
fn a_mistral_without_a_window_scores_as_llama() {
    let dir = scratch();
    let folder = model(dir.path(), "llama3");
    let rows = common::ids_file(dir.path(), "rows.json", &json!({"input_ids": [[5, 9, 2, 7, 40]]}));
    let score = || danlu(["score", "--model", &text(&folder), "--ids", &rows, "--json"]);
    let llama = score().object();
    let change = |more: &[(&str, Value)]| {
        let path = folder.join("config.json");
        let mut config = json_file(&path);
        for (key, value) in more {
            config[*key] = value.clone();
        }
        fs::write(path, config.to_string()).unwrap();
    };
    change(&[
        ("architectures", json!(["MistralForCausalLM"])),
        ("model_type", json!("mistral")),
        ("sliding_window", Value::Null),
    ]);
    assert_eq!(score().object(), llama);
    change(&[("sliding_window", json!(32))]);
    score().refused(2, &["sliding_window is 32", "max_position_embeddings 64"]);
}
