//! `danlu estimate`: the figures of published and own models, and what it refuses.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::common::{DANLU, Done, checkpoint, danlu, golden, scratch, text, train};

fn estimate(args: &[&str]) -> Done {
    danlu([&["estimate"], args].concat())
}

/// In a folder without runs, so that nothing was measured.
fn nowhere(args: &[&str]) -> Done {
    let dir = scratch();
    std::process::Command::new(DANLU).arg("estimate").args(args).current_dir(dir.path()).output().unwrap().into()
}

fn run() -> PathBuf {
    golden("").parent().unwrap().join("fixtures/runs/state-2")
}

#[test]
fn gpt3_has_its_175_billion_parameters_and_3e23_operations() {
    let done = nowhere(&["--preset", "gpt3", "--json"]);
    let all = done.object();
    assert_eq!(all["parameters"], 174_604_259_328_u64);
    assert_eq!(all["tokens"], 300_000_000_000_u64);
    // To the digit: a number of JSON has no largest.
    assert!(done.out.contains("\"training_flops\":314287666790400000000000,"), "{}", done.out);
    let parts = all["parameters_by_part"].as_object().unwrap();
    assert_eq!(parts.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 174_604_259_328);
    for key in ["weights", "gradients", "moments", "activations", "logits", "kv_cache", "total"] {
        assert!(all["bytes"][key].as_u64().unwrap() > 0, "{key}");
    }
    assert_eq!(all["bytes"]["weights"], 4 * 174_604_259_328_u64);
    // Nothing was measured, so nothing is said.
    for key in ["seconds", "energy_wh", "cost"] {
        assert_eq!(all[key], Value::Null, "{key}");
    }
    let sources = all["published"].to_string();
    assert!(["1,287 MWh", "190 MWh", "355 years"].iter().all(|word| sources.contains(word)), "{sources}");
    let page = nowhere(&["--preset", "gpt3"]);
    assert!(page.good().out.contains("nothing was measured here"), "{}", page.out);
}

#[test]
fn tokens_precision_and_batch_change_what_they_should() {
    let of = |args: &[&str]| nowhere(&[&["--preset", "gpt2", "--json"], args].concat()).object();
    let plain = of(&[]);
    let twice = of(&["--tokens", "2e9"]);
    assert_eq!(twice["training_flops"].as_f64().unwrap(), 6.0 * 124_439_808.0 * 2e9);
    let rows = of(&["--batch", "8"]);
    for key in ["activations", "logits", "kv_cache"] {
        assert_eq!(rows["bytes"][key].as_u64(), plain["bytes"][key].as_u64().map(|n| 8 * n), "{key}");
    }
    let half = of(&["--precision", "f16"]);
    assert_eq!(half["bytes"]["weights"], 6 * 124_439_808);
    assert_eq!(half["bytes"]["activations"].as_u64(), plain["bytes"]["activations"].as_u64().map(|n| n / 2));
    let short = of(&["--context", "512"]);
    assert_eq!(2.0 * short["attention_flops"].as_f64().unwrap(), plain["attention_flops"].as_f64().unwrap());
}

#[test]
fn a_runs_own_log_gives_the_rate_and_stated_prices_the_cost() {
    let dir = scratch();
    let path = dir.path().join("run");
    train(&path, &["steps=20"], &[]).good();
    assert!(checkpoint(&path, 20).is_dir());
    let all = estimate(&["--run", &text(&path), "--watts", "250", "--price", "2", "--json"]).object();
    let first = &all["adapters"][0];
    assert_eq!((&first["engine"], &first["source"]), (&json!("cpu"), &json!("run")));
    let started: Vec<Value> = crate::common::objects(&fs::read_to_string(path.join("events.jsonl")).unwrap())
        .into_iter()
        .filter(|l| l["event"] == "started")
        .collect();
    assert_eq!(all["parameters"], started[0]["parameters"], "the run says the same");
    assert_eq!(all["tokens"], 20 * 2 * 32, "its plan");
    let (flops, rate) = (all["training_flops"].as_f64().unwrap(), first["flops_per_second"].as_f64().unwrap());
    let seconds = all["seconds"].as_f64().unwrap();
    assert!((seconds * rate / flops - 1.0).abs() < 1e-9);
    assert!((all["energy_wh"].as_f64().unwrap() - seconds / 3600.0 * 250.0).abs() < 1e-9);
    assert!((all["cost"].as_f64().unwrap() - seconds / 3600.0 * 2.0).abs() < 1e-12);
    // [account] of the run, which the options go before.
    let toml = path.join("run.toml");
    let written = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, format!("{written}\n[account]\nwatts = 65\nprice = 0.5\ncurrency = \"¥\"\n")).unwrap();
    let own = estimate(&["--run", &text(&path), "--price", "4", "--json"]).object();
    let hours = own["seconds"].as_f64().unwrap() / 3600.0;
    assert!((own["energy_wh"].as_f64().unwrap() - hours * 65.0).abs() < 1e-9, "{own}");
    assert!((own["cost"].as_f64().unwrap() - hours * 4.0).abs() < 1e-12, "{own}");
    assert_eq!(own["currency"], "¥");
    // A price or a plan beyond all numbers.
    estimate(&["--run", &text(&path), "--watts", "1e308", "--price", "1e308", "--tokens", "1e18"])
        .refused(2, &["beyond what a number holds"]);
    let endless = dir.path().join("endless");
    fs::create_dir(&endless).unwrap();
    fs::write(endless.join("run.toml"), "size = \"1m\"\n[pretrain]\nsteps = 1000000000000000000\n").unwrap();
    estimate(&["--run", &text(&endless)]).refused(2, &["more than 1e18 tokens", "pretrain.steps"]);
    // The fixture trained two steps: too few for a rate.
    assert_eq!(estimate(&["--run", &text(&run()), "--json"]).object()["adapters"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_measurement_is_made_only_when_asked() {
    let all = nowhere(&["--preset", "1m", "--measure", "--adapter", "cpu", "--json"]).object();
    let first = &all["adapters"][0];
    assert!(first["source"].as_str().unwrap().starts_with("measured now"), "{first}");
    assert!(first["flops_per_second"].as_f64().unwrap() > 0.0 && all["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn every_number_is_explained_in_two_languages() {
    let explained = |lang: &str| {
        let done = nowhere(&["--preset", "gpt3", "--explain", "--lang", lang]);
        assert!(!done.good().out.contains('\u{1b}'));
        done.out
    };
    let figures = [
        "50,257 × 12,288",
        "617,558,016",
        "12,288 × 12,288 + 12,288",
        "49,152 × 12,288 + 49,152",
        "1,812,099,072",
        "96 × 1,812,099,072",
        "174,604,259,328",
        "314287666790400000000000",
        "3.143e23",
    ];
    for (lang, words) in [
        ("en", ["Parameters", "one layer", "all parameters, N", "16 bytes a parameter", "1,287 MWh"]),
        ("zh", ["参数总数 N", "一层合计", "算力", "每个参数 16 字节", "1,287 MWh"]),
    ] {
        let page = explained(lang);
        for word in figures.iter().chain(&words) {
            assert!(page.contains(word), "{word:?} expected\n{page}");
        }
    }
    let moe = nowhere(&["--preset", "mixtral-8x7b", "--explain", "--lang", "en"]);
    assert!(moe.good().out.contains("8 experts × 14,336 × 4,096") && moe.out.contains("router"), "{}", moe.out);
}

#[test]
fn configurations_are_read_or_refused_in_one_sentence() {
    let own = estimate(&["--config", &text(&golden("tied").join("config.json")), "--json"]).object();
    let header = danlu(["inspect", &text(&golden("tied")), "--json"]).good().objects().pop().unwrap();
    assert_eq!(own["parameters"], header["parameters"], "estimate and inspect agree");
    let dir = scratch();
    let refused = |content: &str, words: &[&str]| {
        let path = dir.path().join("config.json");
        fs::write(&path, content).unwrap();
        nowhere(&["--config", &text(&path)]).refused(2, words);
    };
    refused("", &["config.json", "no JSON"]);
    refused("[]", &["no JSON object"]);
    refused(&"[".repeat(100_000), &["no JSON"]);
    refused("{}", &["model_type", "llama"]);
    refused("{\"model_type\": \"mamba\"}", &["mamba", "qwen3"]);
    refused("{\"model_type\": \"gpt2\", \"n_embd\": 1e30}", &["n_embd"]);
    let heads = |n: u64, kv: u64| {
        json!({"model_type": "llama", "hidden_size": 100, "num_hidden_layers": 1,
        "num_attention_heads": n, "num_key_value_heads": kv, "intermediate_size": 64, "vocab_size": 64})
    };
    refused(&heads(7, 7).to_string(), &["hidden_size is 100 and num_attention_heads 7", "a multiple of 7"]);
    refused(&heads(10, 4).to_string(), &["num_attention_heads is 10 and num_key_value_heads 4"]);
    refused(&heads(5, 10).to_string(), &["num_key_value_heads 10"]);
    let gpt =
        json!({"model_type": "gpt2", "n_embd": 100, "n_layer": 1, "n_head": 3, "n_positions": 8, "vocab_size": 9});
    refused(&gpt.to_string(), &["n_embd is 100 and n_head 3"]);
    let huge = json!({"model_type": "mixtral", "hidden_size": 1 << 20, "num_hidden_layers": 1024, "num_attention_heads": 1,
        "intermediate_size": 1 << 20, "vocab_size": 1 << 20, "num_local_experts": 1024, "num_experts_per_tok": 1});
    refused(&huge.to_string(), &["parameters", "at most"]);
    let usage = |args: &[&str], words: &[&str]| nowhere(args).refused(2, words);
    usage(&[], &["--preset", "--config", "--run"]);
    usage(&["--preset", "gpt2", "--run", "x"], &["give one of"]);
    usage(&["--preset", "gpt9"], &["\"gpt9\"", "gpt3", "124m"]);
    usage(&["--preset", "gpt2", "--tokens", "many"], &["--tokens is \"many\"", "300B"]);
    usage(&["--preset", "gpt2", "--batch", "0"], &["--batch is 0"]);
    usage(&["--preset", "gpt2", "--watts", "-1"], &["--watts is -1"]);
    let most = (1_u64 << 32).to_string();
    usage(&["--preset", "gpt3", "--batch", &most, "--context", &most], &["2^64 bytes", "--batch or --context"]);
    usage(&["--preset", "grok-1", "--batch", &most], &["2^64 bytes"]);
    usage(&["--preset", "gpt2", "--price", "nan"], &["--price is NaN"]);
    usage(&["--run", "nowhere"], &["no such run"]);
}
