//! Published ways to split texts into words: danlu encodes as transformers (`tests/golden/make_splits.py`), and a GGUF file
//! names a way only if llama.cpp makes the same tokens (`tests/golden/check_imported.py`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use danlu::data::{Merging, TokenKind, Tokenizer, Vocabulary};
use serde_json::{Value, json};

fn golden() -> Value {
    common::json_file(&common::golden("splits.json"))
}

fn read(case: &Value) -> Tokenizer {
    Tokenizer::from_json(&case["tokenizer"].to_string(), Some(&case["tokenizer_config"].to_string())).unwrap()
}

/// The vocabulary for a GGUF file, or the sentence that refuses it.
fn vocabulary(case: &Value) -> Result<Vocabulary, String> {
    let tokenizer = read(case);
    tokenizer.vocabulary(tokenizer.vocab_size() + 2).map_err(|e| e.to_string())
}

/// FNV-1a over the ids as 32-bit integers.
fn fnv(ids: &[u32]) -> String {
    let byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    format!("{:016x}", ids.iter().flat_map(|id| id.to_le_bytes()).fold(0xCBF2_9CE4_8422_2325, byte))
}

#[test]
fn published_splits_give_the_ids_of_transformers() {
    let texts = common::json_file(&common::golden("").parent().unwrap().join("fixtures/texts.json"));
    let texts = texts.as_array().unwrap();
    assert!(texts.len() >= 600);
    for (kind, case) in golden().as_object().unwrap() {
        let tokenizer = read(case);
        let hashes = case["ids"].as_array().unwrap();
        assert_eq!(hashes.len(), texts.len());
        for (text, hash) in texts.iter().zip(hashes) {
            let ids = tokenizer.encode(text.as_str().unwrap()).unwrap();
            assert_eq!(fnv(&ids), *hash, "{kind}: {text}");
        }
    }
}

#[test]
fn a_gguf_file_names_the_split_or_is_refused() {
    let golden = golden();
    let named = [
        ("gpt2", "gpt-2"),
        ("gpt2_pattern", "gpt-2"),
        ("llama3", "llama-bpe"),
        ("llama3_merging", "smaug-bpe"),
        ("gpt4", "smaug-bpe"),
        ("ling", "bailingmoe"),
        ("qwen2", "qwen2"),
        ("qwen2_plain", "qwen2"),
        ("qwen35", "qwen35"),
        ("seed_coder", "seed-coder"),
        ("minicpm5", "minicpm5"),
        ("deepseek_v3", "deepseek-v3"),
        ("smollm", "smollm"),
        ("falcon", "falcon"),
        ("bloom", "bloom"),
    ];
    for (kind, name) in named {
        let found = vocabulary(&golden[kind]).unwrap_or_else(|e| panic!("{kind}: {e}"));
        let Merging::Pairs { split, pairs } = found.merging else { panic!("{kind}") };
        assert!(split == name && !pairs.is_empty(), "{kind}: {split}");
        assert_eq!(found.composes, golden[kind]["tokenizer"]["normalizer"]["type"] == "NFC", "{kind}");
    }
    for (kind, prefix) in [("llama2", true), ("llama2_trained", true), ("metaspace_never", false), ("gemma", false)] {
        let found = vocabulary(&golden[kind]).unwrap_or_else(|e| panic!("{kind}: {e}"));
        let Merging::Scores { space_prefix, scores } = found.merging else { panic!("{kind}") };
        assert!(space_prefix == prefix && scores.len() == found.tokens.len(), "{kind}");
    }
    let refused = [
        ("minicpm", "splits texts into words in a way that is none of"),
        ("gpt4o", "splits texts into words in a way that is none of"),
        ("tekken", "splits texts into words in a way that is none of"),
        ("deepseek_coder", "splits texts into words in a way that is none of"),
        ("metaspace_first", "puts a space before a text that begins without one"),
        ("metaspace_always", "puts a space before a text that begins without one"),
    ];
    for (kind, why) in refused {
        let said = vocabulary(&golden[kind]).unwrap_err();
        assert!(said.contains(why), "{kind}: {said}");
    }
    assert_eq!(named.len() + 4 + refused.len(), golden.as_object().unwrap().len());
}

/// llama.cpp takes a word that is a token as it is for some names, and for others never.
#[test]
fn tokens_that_no_merge_makes_are_refused_where_they_would_differ() {
    let golden = golden();
    let changed = |kind: &str, change: &dyn Fn(&mut Value)| {
        let mut case = golden[kind].clone();
        change(&mut case["tokenizer"]);
        vocabulary(&case)
    };
    let unmade = |file: &mut Value| {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let id = vocab.len();
        vocab.insert("zqx".to_owned(), json!(id));
        for added in file["added_tokens"].as_array_mut().unwrap() {
            added["id"] = json!(added["id"].as_u64().unwrap() + 1);
        }
        file["post_processor"] = Value::Null;
    };
    let ignoring = |file: &mut Value| file["model"]["ignore_merges"] = json!(true);
    assert!(changed("qwen2_plain", &unmade).is_ok(), "llama.cpp merges too");
    for kind in ["qwen2_plain", "gpt2", "smollm"] {
        let said = changed(kind, &|file| {
            ignoring(file);
            unmade(file);
        });
        assert!(said.unwrap_err().contains("its merges do not make the token"), "{kind}");
    }
    // For Llama 3's pattern there is a name for each way.
    let both = changed("llama3_merging", &|file| {
        ignoring(file);
        unmade(file);
    });
    assert!(matches!(both.unwrap().merging, Merging::Pairs { split: "llama-bpe", .. }));
    assert!(matches!(changed("llama3_merging", &unmade).unwrap().merging, Merging::Pairs { split: "smaug-bpe", .. }));
    let said = changed("minicpm5", &|file| {
        file["model"]["ignore_merges"] = json!(false);
        unmade(file);
    });
    assert!(said.unwrap_err().contains("llama.cpp takes a word that is this token"));
    // SentencePiece joins any two neighbours that make a token.
    for kind in ["llama2", "llama2_trained", "gemma"] {
        let said = changed(kind, &|file| {
            let merges = file["model"]["merges"].as_array_mut().unwrap();
            let last = merges.last().unwrap().clone();
            let made = |pair: &Value| match pair.as_str() {
                Some(joined) => joined.replacen(' ', "", 1),
                None => format!("{}{}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            };
            merges.retain(|pair| made(pair) != made(&last));
        });
        assert!(said.unwrap_err().contains("would join any two parts of the token"), "{kind}");
    }
}

/// Settings that GGUF files have no key for.
#[test]
fn what_a_gguf_file_cannot_say_is_refused_or_told() {
    let golden = golden();
    let changed = |kind: &str, change: &dyn Fn(&mut Value)| {
        let mut case = golden[kind].clone();
        change(&mut case["tokenizer"]);
        vocabulary(&case)
    };
    let added = |file: &mut Value, token: &str, key: &str| {
        let all = file["added_tokens"].as_array_mut().unwrap();
        all.iter_mut().find(|added| added["content"] == token).unwrap()[key] = json!(true);
    };
    let said = changed("gpt2", &|file| added(file, "<mark>", "rstrip")).unwrap_err();
    assert!(said.contains("\"<mark>\" swallows the white space beside it"), "{said}");
    let found = changed("gpt2", &|file| added(file, "<|im_end|>", "rstrip")).unwrap();
    assert_eq!(found.swallowing, ["<|im_end|>"]);
    let spaced = |file: &mut Value| file["pre_tokenizer"]["pretokenizers"][0]["add_prefix_space"] = json!(true);
    assert!(changed("gpt2", &spaced).unwrap_err().contains("add_prefix_space"));
    let normalized = |file: &mut Value| file["normalizer"] = json!({"type": "Lowercase"});
    assert!(changed("gpt2", &normalized).unwrap_err().contains("normalizer Lowercase"));
    // A zero byte ends a text in llama.cpp.
    let zero = |file: &mut Value| {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let next = vocab.len();
        vocab.insert("\0".to_owned(), json!(next));
    };
    let found = changed("llama2", &zero).unwrap();
    assert_eq!(found.lost, ["\0"]);
    assert!(found.tokens.iter().all(|(token, _)| !token.contains('\0')));
    let bytes = |file: &mut Value| {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        let id = vocab.remove("<0x7F>").unwrap();
        vocab.insert("quite another token".to_owned(), id);
    };
    let said = changed("metaspace_never", &bytes).unwrap_err();
    assert!(said.contains("no token <0x7F>"), "{said}");
    // Ids without a token get names that no token has.
    let taken = |file: &mut Value| {
        let size = file["model"]["vocab"].as_object().unwrap().len();
        let all = file["added_tokens"].as_array_mut().unwrap();
        let mut more = all[0].clone();
        more["content"] = json!(format!("[UNUSED_{}]", size + 1));
        more["id"] = json!(size);
        all.push(more);
    };
    let found = changed("llama2", &taken).unwrap();
    let names: std::collections::HashSet<&str> = found.tokens.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(names.len(), found.tokens.len());
    let spare = found.tokens.iter().rev().take(2).map(|(token, kind)| (token.ends_with('_'), *kind));
    assert_eq!(spare.collect::<Vec<_>>(), [(false, TokenKind::Unused), (true, TokenKind::Unused)]);
}
