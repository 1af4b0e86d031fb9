//! `danlu config`, and docs/config.md, which `UPDATE_DOCS=1 cargo test --test config` makes from the tables of run.toml.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::{fs, path::Path};

use common::{danlu, scratch, text};
use danlu::{
    nn::PRESETS,
    train::config::{Entry, Key, Kind, RunConfig, written},
};
use serde_json::json;

const INTRO: [&str; 2] = [
    "# Configuration

[中文](config.zh.md)

`run.toml` in a run's folder holds the whole configuration. Every key has a default; an unknown key is an error that
names the nearest known one. `--set key=value` overrides a key for one launch: `--set pretrain.steps=500`,
`--set model.dropout=0.1`; a key without a table belongs to the stage that is trained. `danlu config --run RUN` prints
every key with the value that the run uses. A default that depends on the model's size is given for each size.

`tests/config.rs` makes this page from the tables in `src/train/config/`.
",
    "# 配置

[English](config.md)

run 目录里的 `run.toml` 是全部配置。每一项都有默认值；未知的键会报错，并给出最接近的已知键。`--set 键=值` 只在本次启动时
覆盖一项：`--set pretrain.steps=500`、`--set model.dropout=0.1`；不写表名的键属于正在训练的阶段。`danlu config --run RUN`
列出每个键和这个 run 实际使用的值。随模型大小而定的默认值按大小列出。

`tests/config.rs` 由 `src/train/config/` 里的表生成本页。
",
];

fn page(lang: usize) -> String {
    let sizes: Vec<(&str, Vec<Entry>)> = PRESETS
        .iter()
        .map(|p| (p.name, RunConfig { size: p.name.to_owned(), ..RunConfig::default() }.entries().unwrap()))
        .collect();
    let mut page = INTRO[lang].to_owned();
    let head = [["key", "default", "range", "meaning"], ["键", "默认值", "范围", "含义"]][lang].join(" | ");
    let begin = |page: &mut String, title: &str| {
        page.extend([format!("\n## {title}\n\n| {head} |\n| --- | --- | --- | --- |\n")]);
    };
    let row = |page: &mut String, key: &Key, default: &str| {
        let range = key.describe(lang).map_or(String::new(), |range| range.replace('|', "\\|"));
        page.extend([format!("| `{}` | {default} | {range} | {} |\n", key.name, key.help[lang])]);
    };
    let title = |name: &str, help: &str| format!("`{name}`{}{help}", [": ", "："][lang]);
    begin(&mut page, ["Top level", "顶层"][lang]);
    for (i, entry) in sizes[0].1.iter().enumerate() {
        if i > 0 && entry.table != sizes[0].1[i - 1].table {
            let table = RunConfig::keys().iter().find(|key| key.name == entry.table).unwrap();
            begin(&mut page, &title(&format!("[{}]", entry.table), table.help[lang]));
        }
        let values: Vec<(&str, String)> =
            sizes.iter().filter_map(|(size, all)| Some((*size, written(all[i].default.as_ref()?)))).collect();
        row(&mut page, entry.key, &default(&values));
    }
    for key in RunConfig::keys() {
        let Kind::Tables(keys) = key.kind else { continue };
        begin(&mut page, &title(&format!("[[{}]]", key.name), key.help[lang]));
        for key in keys {
            let default = match key.plain_default() {
                None if key.required => ["required", "必填"][lang].to_owned(),
                None => String::new(),
                Some(value) => format!("`{}`", written(&value)),
            };
            row(&mut page, key, &default);
        }
    }
    page
}

/// A default at every size; once if it is the same at all sizes.
fn default(values: &[(&str, String)]) -> String {
    match values {
        [] => String::new(),
        [(_, first), ..] if values.iter().all(|(_, value)| value == first) => format!("`{first}`"),
        _ => values.iter().map(|(size, value)| format!("{size}: `{value}`")).collect::<Vec<_>>().join(", "),
    }
}

#[test]
fn the_pages_are_those_of_the_tables() {
    for (lang, name) in ["config.md", "config.zh.md"].into_iter().enumerate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, page(lang)).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == page(lang), "docs/{name} is stale; write it with UPDATE_DOCS=1 cargo test --test config");
    }
}

#[test]
fn every_key_is_printed_and_reads_back() {
    let dir = scratch();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let toml = "size = \"5m\"\n[sft]\nsteps = 900\n[ppo]\ntarget_kl = 6.0\n";
    fs::write(run.join("run.toml"), toml).unwrap();
    let config = |run: &Path, more: &[&str]| danlu([&["config", "--run", &text(run)], more].concat());
    let printed = config(&run, &["--lang", "en"]).good().out.clone();
    for line in ["size = \"5m\"", "steps = 900", "decay_steps = 450", "target_kl = 6.0", "[grpo]", "# reference ="] {
        assert!(printed.lines().any(|l| l == line), "{line} in\n{printed}");
    }
    assert!(printed.contains("default 1200"), "{printed}");
    assert_eq!(fs::read_to_string(run.join("run.toml")).unwrap(), toml, "nothing is written");
    let again = dir.path().join("again");
    fs::create_dir(&again).unwrap();
    fs::write(again.join("run.toml"), &printed).unwrap();
    let value = |run: &Path| -> Vec<_> {
        let lines = config(run, &["--json"]).good().objects();
        lines.into_iter().map(|line| (line["key"].clone(), line["value"].clone())).collect()
    };
    assert_eq!(value(&again), value(&run), "what is printed reads back to the same values");
    let lines = config(&run, &["--json"]).objects();
    let steps = lines.iter().find(|line| line["key"] == "sft.steps").unwrap();
    assert_eq!((&steps["value"], &steps["default"], &steps["set"]), (&json!(900), &json!(1200), &json!(true)));
    fs::write(run.join("run.toml"), "[sft]\nstep = 900\n").unwrap();
    config(&run, &[]).refused(2, &["did you mean \"steps\""]);
}
