//! Conversations against transformers: text, ids and labels written by `tests/golden/make_chat.py`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use danlu::data::{
    CHAT_TEMPLATE, Conversation, Example, Role, Tokenizer, Turn,
    chat::{encode, encode_prompt, render},
    fill_row,
    tokenizer::{ASSISTANT, PAD, SYSTEM, USER},
};
use serde_json::Value;

fn golden(name: &str) -> Option<Value> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).ok().map(|text| serde_json::from_str(&text).unwrap())
}

fn conversation(messages: &Value) -> Conversation {
    let turn = |message: &Value| {
        let role = match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => panic!("{other}"),
        };
        Turn::new(role, message["content"].as_str().unwrap())
    };
    Conversation { turns: messages.as_array().unwrap().iter().map(turn).collect(), task: None }
}

/// A tokenizer as danlu writes it, of a kind that `make_tokenizer.py` shows to be what danlu trains.
fn trained_here(kind: &str) -> Tokenizer {
    let made = &golden("tokenizer.json").unwrap()[kind];
    Tokenizer::from_json(&made["tokenizer"].to_string(), Some(&made["tokenizer_config"].to_string())).unwrap()
}

fn compare(golden: &Value, kind: &str, tokenizer: &Tokenizer) {
    let conversations = golden["conversations"].as_array().unwrap();
    let cases = golden[kind]["cases"].as_array().unwrap();
    assert!(cases.len() >= 20 && cases.len() == conversations.len());
    for (case, given) in cases.iter().zip(conversations) {
        let conversation = conversation(&given["messages"]);
        let text = given["text"].as_str().unwrap();
        assert_eq!(render(&conversation.turns, false), text);
        let wanted = Example {
            ids: serde_json::from_value(case["ids"].clone()).unwrap(),
            labels: serde_json::from_value(case["labels"].clone()).unwrap(),
        };
        let example = encode(&conversation, tokenizer).unwrap();
        assert_eq!(example, wanted, "{kind}: {text:?}");
        assert_eq!(tokenizer.decode(&example.ids, false), text);
        let (_, asked) = conversation.turns.split_last().unwrap();
        let prompt = encode_prompt(asked, tokenizer).unwrap();
        assert_eq!(prompt, wanted.ids[..case["prompt"].as_u64().unwrap() as usize], "{kind}: {text:?}");
        assert_eq!(tokenizer.decode(&prompt, false), render(asked, true));
    }
}

#[test]
fn transformers_renders_encodes_and_masks_alike() {
    let golden = golden("chat.json").unwrap();
    for kind in ["char", "bpe"] {
        let tokenizer = trained_here(kind);
        let config: Value = serde_json::from_str(&tokenizer.config_json(256, Some(CHAT_TEMPLATE))).unwrap();
        assert_eq!(config, golden[kind]["tokenizer_config"], "the config transformers opened");
        compare(&golden, kind, &tokenizer);
    }
}

#[test]
fn a_grown_tokenizer_is_as_transformers_grows_it() {
    let golden = golden("chat.json").unwrap();
    let made = &golden["grown"];
    let sizes: [usize; 2] = serde_json::from_value(made["vocab_size"].clone()).unwrap();
    let before = Tokenizer::from_json(&made["tokenizer"].to_string(), None).unwrap();
    assert_eq!((before.vocab_size(), before.chat(), before.pad()), (sizes[0], None, None));
    let grown = before.with_chat().unwrap();
    assert_eq!(grown.vocab_size(), sizes[1]);
    assert_eq!(grown.token(grown.end_of_text().unwrap()), made["eos"].as_str());
    for (n, token) in [PAD, SYSTEM, USER, ASSISTANT].into_iter().enumerate() {
        assert_eq!(grown.id(token), Some((sizes[0] + n) as u32));
    }
    compare(&golden, "grown", &grown);
}

/// `packed_step.json` (`make_chat.py --step`) packs rows independently; ours must be equal.
#[test]
fn rows_are_packed_as_in_the_golden_step() {
    let golden = golden("packed_step.json").unwrap();
    for name in ["gqa_untied", "tied"] {
        let case = &golden[name];
        let part = |value: &Value, field: &str| value[field].clone();
        let examples: Vec<Example> = case["examples"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| Example {
                ids: serde_json::from_value(part(e, "ids")).unwrap(),
                labels: serde_json::from_value(part(e, "labels")).unwrap(),
            })
            .collect();
        let rows: Vec<Vec<usize>> = serde_json::from_value(part(case, "rows")).unwrap();
        let (window, pad) = (case["window"].as_u64().unwrap() as usize, case["pad"].as_u64().unwrap() as u32);
        for (at, row) in rows.iter().enumerate() {
            let members: Vec<&Example> = row.iter().map(|e| &examples[*e]).collect();
            let packed = fill_row(&members, window, pad).unwrap();
            assert_eq!(serde_json::json!(packed.ids), case["ids"][at]);
            assert_eq!(serde_json::json!(packed.targets), case["targets"][at]);
            assert_eq!(serde_json::json!(packed.starts), case["starts"][at]);
        }
    }
}
