//! The edges of a text against transformers: tokenizers, ids and texts written by `tests/golden/make_edges.py`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use danlu::data::{CHAT_TEMPLATE, Role, Tokenizer, Turn, chat::encode_prompt};
use serde_json::{Value, json};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/edges.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn of(case: &Value) -> Tokenizer {
    Tokenizer::from_json(&case["tokenizer"].to_string(), Some(&case["tokenizer_config"].to_string())).unwrap()
}

fn kinds(made: &Value) -> impl Iterator<Item = (&String, &Value)> {
    made["kinds"].as_object().unwrap().iter()
}

#[test]
fn texts_begin_as_in_transformers() {
    let made = golden();
    assert!(kinds(&made).count() >= 12);
    for (kind, case) in kinds(&made) {
        let tokenizer = of(case);
        assert_eq!(tokenizer.begin(), ids(&case["begin"]), "{kind}");
        for text in case["texts"].as_array().unwrap() {
            // That class has no normalizer in transformers 5, whatever tokenizer.json contains.
            if kind == "llama" && text["text"].as_str().unwrap().starts_with(' ') {
                continue;
            }
            let mut wanted = ids(&text["ids"]);
            if tokenizer.ends_texts() {
                assert_eq!(wanted.pop(), tokenizer.end_of_text(), "{kind}");
            }
            assert_eq!(tokenizer.encode_prompt(text["text"].as_str().unwrap()).unwrap(), wanted, "{kind}: {text}");
        }
        let flags_differ = ["none", "flag"].contains(&kind.as_str());
        assert_eq!(tokenizer.remark().is_some(), flags_differ, "{kind}: {:?}", tokenizer.remark());
    }
}

#[test]
fn conversations_begin_and_go_on_as_in_transformers() {
    let made = golden();
    let role = |turn: &Value| match turn["role"].as_str().unwrap() {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    };
    let turns = made["turns"].as_array().unwrap().iter();
    let turns: Vec<Turn> = turns.map(|t| Turn::new(role(t), t["content"].as_str().unwrap())).collect();
    for (kind, case) in kinds(&made).filter(|(kind, _)| *kind != "llama") {
        assert_eq!(encode_prompt(&turns, &of(case)).unwrap(), ids(&case["chat"]), "{kind}");
    }
}

#[test]
fn a_continuation_is_the_whole_text_less_its_prompt() {
    let made = golden();
    for (kind, case) in kinds(&made) {
        let tokenizer = of(case);
        for follow in case["follows"].as_array().unwrap() {
            let (before, after) = (ids(&follow["before"]), ids(&follow["ids"]));
            let text = follow["text"].as_str().unwrap();
            assert_eq!(tokenizer.decode_rest(&before, &after, true), text, "{kind}");
            let mut stream = tokenizer.stream_rest(&before, true);
            let mut streamed: String = after.iter().filter_map(|id| stream.push(*id)).collect();
            streamed.extend(stream.finish());
            assert_eq!(streamed, text, "{kind}");
        }
    }
}

/// Encoding and decoding a turn's content gives it back, whatever precedes it.
#[test]
fn a_turn_keeps_its_words() {
    let made = golden();
    for (kind, case) in kinds(&made) {
        let tokenizer = of(case);
        let before = encode_prompt(&[Turn::new(Role::User, "the lake")], &tokenizer).unwrap();
        for words in ["the lake was", " walked", "tea\n春", "  the"] {
            let turn = tokenizer.encode_turn(words).unwrap();
            // No prefix is added before a word that begins with a space.
            let kept = tokenizer.decode_turn(&before, &turn, true);
            let same = kept == words || (["roberta", "always"].contains(&kind.as_str()) && kept == words[1..]);
            assert!(same, "{kind}: {words:?} became {kept:?}");
        }
    }
}

/// A text is cut into pieces of 64 KiB, and no piece but the first begins with a prefix.
#[test]
fn a_long_text_has_no_prefix_inside() {
    let made = golden();
    for (kind, case) in kinds(&made) {
        let tokenizer = of(case);
        for word in ["tea ", "春", "the lake\n"] {
            let text = word.repeat(200_000 / word.len());
            let (ids, short) = (tokenizer.encode(&text).unwrap(), tokenizer.encode(word).unwrap());
            let inside = tokenizer.encode_rest(word).unwrap();
            assert_eq!(tokenizer.decode(&ids, true).trim_start(), text, "{kind}");
            let most = short.len() + inside.len() * (text.len() / word.len() - 1);
            assert!(ids.len() <= most, "{kind}: {} ids where {most} are enough", ids.len());
        }
    }
}

/// danlu's own files read back to the same ids; those of earlier versions, without the key, put nothing before a text.
#[test]
fn what_is_saved_reads_back_and_old_runs_stay_as_they_are() {
    let made = golden();
    for (kind, case) in kinds(&made) {
        let tokenizer = of(case).with_chat().unwrap();
        let config = tokenizer.config_json(256, Some(CHAT_TEMPLATE));
        let again = Tokenizer::from_own_json(&tokenizer.checkpoint_json(), Some(&config)).unwrap();
        let question = [Turn::new(Role::User, "the lake")];
        assert_eq!(encode_prompt(&question, &again).unwrap(), encode_prompt(&question, &tokenizer).unwrap(), "{kind}");
        assert_eq!(again.encode_document("the", " lake").unwrap(), tokenizer.encode_document("the", " lake").unwrap());
        assert_eq!((again.begin(), again.begin_of_text()), (tokenizer.begin(), tokenizer.begin_of_text()), "{kind}");
        let mut old: Value = serde_json::from_str(&config).unwrap();
        old.as_object_mut().unwrap().retain(|key, _| !["add_bos_token", "add_eos_token"].contains(&key.as_str()));
        old["bos_token"] = json!(null);
        let old = Tokenizer::from_own_json(tokenizer.json(), Some(&old.to_string())).unwrap();
        assert!(old.begin().is_empty() || kind == "none", "{kind}");
        // Every part was encoded as the beginning of a text.
        let part = |text: &str| tokenizer.encode(text).unwrap();
        let (ids, head) = old.encode_document("the", " lake").unwrap();
        assert_eq!((ids[..ids.len() - 1].to_vec(), head), ([part("the"), part(" lake")].concat(), part("the").len()));
        let asked = encode_prompt(&question, &old).unwrap();
        assert_eq!(asked[1..asked.len() - 2], part("the lake"), "{kind}");
        let written: Value = serde_json::from_str(&old.checkpoint_json()).unwrap();
        let plain = tokenizer.edges().is_empty() && kind != "none";
        assert!(plain || written["post_processor"].is_null(), "{kind}: a checkpoint says what its training did");
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let made = golden();
    let refused = |kind: &str, change: &dyn Fn(&mut Value, &mut Value)| {
        let case = &made["kinds"][kind];
        let (mut file, mut config) = (case["tokenizer"].clone(), case["tokenizer_config"].clone());
        change(&mut file, &mut config);
        Tokenizer::from_json(&file.to_string(), Some(&config.to_string())).unwrap_err().to_string()
    };
    // [SEP] behind a text, where </s> ends one.
    let error = refused("bert", &|_, config| config["eos_token"] = json!("</s>"));
    assert!(error.contains("[SEP]") && error.contains("after every text"), "{error}");
    let error = refused("llama3", &|file, _| {
        file["post_processor"]["processors"][1]["special_tokens"]["<s>"]["ids"] = json!([9_999_999]);
    });
    assert!(error.contains("post"), "{error}");
}
