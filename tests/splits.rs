//! Data sets as they are downloaded: files named as a held-out split are measured and never trained on, cards and
//! licences are no text, and a run of an earlier version keeps training on all files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use common::{danlu, finetune, scratch, text, train};
use danlu::{
    base::StageId,
    data::{
        ChatSource, Conversation, Preference, PreferenceSource, Role, Tokenizer, Turn, example_sets,
        split_preference_sources,
    },
    train::config::{RunConfig, Splits},
};
use serde_json::{Value, json};

fn lines(records: impl IntoIterator<Item = Value>) -> String {
    records.into_iter().map(|record| record.to_string() + "\n").collect()
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn texts(range: std::ops::Range<usize>) -> String {
    lines(range.map(|i| json!({"text": format!("Document number {i} about tea and mountains, written for a test.")})))
}

/// A folder as `huggingface-cli download` leaves it: two shards of training text, both held-out splits, and the rest.
fn hub(dir: &Path) -> PathBuf {
    let folder = dir.join("hub");
    write(
        &folder,
        &[
            ("data/train-00000-of-00002.jsonl", &texts(0..30)),
            ("data/train-00001-of-00002.jsonl", &texts(30..60)),
            ("data/validation-00000-of-00001.jsonl", &texts(100..107)),
            // Three of these are in the training text too.
            ("data/test-00000-of-00001.jsonl", &texts(57..64)),
            ("README.md", "---\nlicense: mit\n---\n# A data card\n\nThis is no training text.\n"),
            ("LICENSE", "no text"),
            ("LICENSE.txt", "This licence is no training text either."),
            (".gitattributes", "*.parquet filter=lfs\n"),
            ("dataset_infos.json", "{\"text\": \"no training text\"}"),
            (".cache/huggingface/download/train.txt", "Neither is this."),
        ],
    );
    folder
}

fn run(dir: &Path, name: &str, toml: &str) -> PathBuf {
    let run = dir.join(name);
    write(&run, &[("run.toml", toml)]);
    run
}

fn notes(lines: &[Value]) -> String {
    lines.iter().filter_map(|line| line["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// The `source` line of `danlu data`, and its notes.
fn prepared(run: &Path) -> (Value, String) {
    let done = danlu(["data", "--json", "--run", &text(run)]);
    let all = done.good().objects();
    (all.iter().find(|line| line["event"] == "source").unwrap().clone(), notes(&all))
}

#[test]
fn files_named_as_a_split_are_held_out_and_cards_are_no_text() {
    let dir = scratch();
    let folder = hub(dir.path());
    let run = run(dir.path(), "run", &format!("[[source]]\nname = \"s\"\npath = {:?}\n", text(&folder)));
    let (source, notes) = prepared(&run);
    // 60 + 7 + 7 documents, of which three repeat others; the held-out copy is kept.
    assert_eq!(source["documents_in"], 74, "{source}");
    assert_eq!(source["documents_out"], 71, "{source}");
    assert_eq!(source["held_out_documents"], 14, "{source}");
    assert!(notes.contains("2 files are held out by their names and never trained on"), "{notes}");
    assert!(notes.contains("6 files that describe the data or are hidden"), "{notes}");
    let config = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(config.contains("splits = \"by-name\"\n"), "{config}");
    // Prepared again, nothing changes; the log of a stage has the same notes.
    assert_eq!(prepared(&run).0, source);
    let said = train(&run, &[], &["--steps", "2"]);
    assert!(said.good().out.contains("files are held out by their names"), "{}", said.out);
}

/// Duplicates are not dropped here, and another source has the held-out text too.
#[test]
fn what_a_split_has_is_trained_on_in_no_source() {
    let dir = scratch();
    let folder = dir.path().join("a");
    write(&folder, &[("train.jsonl", &texts(0..40)), ("sub/dev/x.jsonl", &texts(200..205))]);
    write(dir.path(), &[("b.jsonl", &texts(195..240))]);
    let source =
        |name: &str, path: &Path| format!("[[source]]\nname = {name:?}\npath = {:?}\ndedup = \"off\"\n", text(path));
    let toml = source("b", &dir.path().join("b.jsonl")) + &source("a", &folder);
    let run = run(dir.path(), "run", &toml);
    let all = danlu(["data", "--json", "--run", &text(&run)]).good().objects();
    let held = |name: &str| {
        let line = all.iter().find(|line| line["event"] == "source" && line["name"] == name).unwrap();
        line["held_out_documents"].as_u64().unwrap()
    };
    assert_eq!(held("a"), 5);
    // Its own share by hash, and at least the five.
    assert!((5..15).contains(&held("b")), "{}", held("b"));
}

#[test]
fn a_path_that_names_the_split_itself_is_trained_on() {
    let dir = scratch();
    let folder = dir.path().join("test");
    write(&folder, &[("test.jsonl", &texts(0..30)), ("dev.jsonl", &texts(30..60))]);
    for (name, path, told) in
        [("file", "test/test.jsonl", false), ("folder", "test", true), ("glob", "test/*.jsonl", true)]
    {
        let path = dir.path().join(path);
        let run = run(dir.path(), name, &format!("[[source]]\nname = \"s\"\npath = {:?}\n", text(&path)));
        let (source, notes) = prepared(&run);
        let held = source["held_out_documents"].as_u64().unwrap();
        assert!((1..12).contains(&held), "{name}: {source}");
        assert_eq!(notes.contains("every file has the name of a held-out split"), told, "{name}: {notes}");
    }
    // A card is read where a path spells its name, and a folder of cards holds no text.
    write(&folder.join("cards"), &[("README.md", &"A text about tea. ".repeat(9))]);
    let path = folder.join("cards/README.md");
    let card = run(dir.path(), "card", &format!("[[source]]\nname = \"s\"\npath = {:?}\n", text(&path)));
    assert_eq!(prepared(&card).0["documents_out"], 1);
    let path = folder.join("cards");
    let none = run(dir.path(), "none", &format!("[[source]]\nname = \"s\"\npath = {:?}\n", text(&path)));
    danlu(["data", "--run", &text(&none)]).refused(2, &["README.md describes the data", "source.path"]);
}

/// A run that was begun by an earlier version has no such key in its run.toml: its rows and bits stay.
#[test]
fn an_old_run_trains_on_all_files_as_before() {
    let dir = scratch();
    let folder = hub(dir.path());
    let toml = format!("size = \"1m\"\n[[source]]\nname = \"s\"\npath = {:?}\n", text(&folder));
    let old = run(dir.path(), "old", &toml);
    train(&old, &["splits=\"off\"", "steps=4"], &["--steps", "2"]).good();
    assert_eq!(fs::read_to_string(old.join("run.toml")).unwrap(), toml, "an option is not written");
    let said = train(&old, &["steps=4"], &[]);
    let told = notes(&said.good().objects());
    assert!(!told.contains("held out by their names") && !told.contains("data have changed"), "{told}");
    let whole = run(dir.path(), "whole", &format!("splits = \"off\"\n{toml}"));
    train(&whole, &["steps=4"], &[]).good();
    let [a, b] = [&old, &whole].map(|run| common::tensors(&common::checkpoint(run, 4)));
    assert_eq!(a, b, "to the bit");
    let (source, _) = prepared(&old);
    // Cards and hidden files are text there: README.md, LICENSE.txt, dataset_infos.json and the cache.
    assert_eq!(source["documents_in"], 78, "{source}");
    assert_eq!(fs::read_to_string(old.join("run.toml")).unwrap(), toml);
}

fn chat(i: usize) -> Value {
    json!({"messages": [{"role": "user", "content": format!("question {i}")}, {"role": "assistant", "content": format!("answer {i}")}]})
}

fn pair(i: usize) -> Value {
    json!({"prompt": format!("question {i}"), "chosen": format!("good {i}"), "rejected": format!("bad {i}")})
}

/// A folder of records with a split, a card, and a file that cannot be read.
fn records(dir: &Path, record: fn(usize) -> Value) -> PathBuf {
    let folder = dir.join("records");
    write(
        &folder,
        &[
            ("train.jsonl", &lines((0..40).map(record))),
            ("test.jsonl", &lines((38..45).map(record))),
            ("broken.jsonl", "{\"nothing\": 1}\n\u{0}\u{1}not json\n"),
            ("README.md", "# A card"),
            ("dataset_infos.json", "{}"),
        ],
    );
    folder
}

#[test]
fn conversations_named_as_a_split_are_held_out() {
    let dir = scratch();
    let folder = records(dir.path(), chat);
    let run = dir.path().join("run");
    train(&run, &[], &["--steps", "2"]).good();
    let set = format!("sft.source=[{{name=\"mine\",path={:?}}}]", text(&folder));
    let done = finetune(&run, &[&set, "eval_steps=1"], &["--steps", "1"]);
    let lines = done.good().objects();
    let told = notes(&lines);
    assert!(told.contains("sft.source mine: 1 files are held out by their names"), "{told}");
    assert!(told.contains("broken.jsonl") && told.contains("the file is skipped"), "{told}");
    assert!(!told.contains("README.md has another"), "{told}");
    let started = lines.iter().find(|line| line["event"] == "started").unwrap();
    let mine = started["sources"].as_array().unwrap().iter().find(|s| s["name"] == "mine").unwrap();
    assert_eq!(mine["documents"], 38, "two of the forty are in the split: {mine}");
    let measured = lines.iter().find(|line| line["event"] == "task" && line["task"] == "mine").unwrap();
    assert_eq!(measured["examples"], 7, "{measured}");
}

#[test]
fn pairs_named_as_a_split_are_held_out() {
    let dir = scratch();
    let folder = records(dir.path(), pair);
    let run = dir.path().join("run");
    train(&run, &[], &["--steps", "2"]).good();
    finetune(&run, &["sft.pretrain_share=0.0"], &["--steps", "1"]).good();
    let set = format!("reward.source=[{{name=\"mine\",path={:?}}}]", text(&folder));
    let done = train(&run, &[&set], &["--stage", "reward", "--steps", "1"]);
    let lines = done.good().objects();
    let told = notes(&lines);
    assert!(told.contains("reward.source mine: 1 files are held out by their names"), "{told}");
    assert!(told.contains("broken.jsonl") && told.contains("the file is skipped"), "{told}");
    let started = lines.iter().find(|line| line["event"] == "started").unwrap();
    assert_eq!(started["sources"][0]["documents"], 38, "{started}");
}

#[test]
fn a_source_keeps_its_own_split_beside_others_without_one() {
    let conversation = |i: usize| Conversation {
        turns: vec![Turn::new(Role::User, format!("q{i}")), Turn::new(Role::Assistant, format!("a{i}"))],
        task: None,
    };
    let source = |name: &str, all: std::ops::Range<usize>, split: std::ops::Range<usize>| ChatSource {
        name: name.to_owned(),
        conversations: all.map(conversation).collect(),
        weight: 1.0,
        hold_out: true,
        split: split.map(conversation).collect(),
    };
    let text = "qa0123456789";
    let group = danlu::data::TextGroup { weight: 1.0, texts: vec![text] };
    let tokenizer: Tokenizer = danlu::data::train_char(&[group], 300).unwrap();
    let sets = example_sets(
        vec![source("plain", 0..200, 0..0), source("split", 100..300, 290..310)],
        &[],
        &tokenizer,
        64,
        &|| Ok(()),
    )
    .unwrap();
    let prompts = |set: usize| -> HashSet<String> {
        sets[set].held_out.iter().map(|h| h.conversation.prompt().unwrap().to_owned()).collect()
    };
    assert_eq!(prompts(1), (290..310).map(|i| format!("q{i}")).collect::<HashSet<String>>());
    assert_eq!(sets[1].examples.len(), 190);
    // What the other source trains on is not held out here.
    assert!(!prompts(0).is_empty() && prompts(0).iter().all(|q| q[1..].parse::<usize>().unwrap() < 100));
    let pair = |i: usize| {
        let prompt = vec![Turn::new(Role::User, format!("q{i}"))];
        Preference::new(prompt, "good".to_owned(), "bad".to_owned(), None, false)
    };
    let of = |all: std::ops::Range<usize>, split: std::ops::Range<usize>| PreferenceSource {
        pairs: all.map(pair).collect(),
        split: split.map(pair).collect(),
    };
    let (train, held_out) = split_preference_sources(vec![of(0..200, 0..0), of(100..300, 290..310)]);
    let keys = |pairs: &[Preference]| pairs.iter().map(Preference::key).collect::<HashSet<_>>();
    assert!(keys(&train).is_disjoint(&keys(&held_out)));
    assert_eq!(train.len() + held_out.len(), 410);
    assert!(held_out.len() > 20 && held_out.len() < 50, "{}", held_out.len());
}

#[test]
fn a_new_run_says_that_names_count() {
    let config = RunConfig::parse("", &[], StageId::Pretrain).unwrap();
    assert_eq!(config.splits(), Splits::Off);
    let dir = scratch();
    let run = dir.path().join("new");
    train(&run, &[], &["--steps", "1"]).good();
    let config = RunConfig::parse(&fs::read_to_string(run.join("run.toml")).unwrap(), &[], StageId::Pretrain).unwrap();
    assert_eq!(config.splits(), Splits::ByName);
}
