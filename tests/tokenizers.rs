//! Imported tokenizers: published ones are read, and none costs more than its text is worth.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use danlu::data::Tokenizer;
use serde_json::{Value, json};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
// With literal line ends, as in DeepSeek's file.
const DEEPSEEK: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn several(of: &str, parts: impl Into<Value>) -> Value {
    json!({"type": "Sequence", of: parts.into()})
}

fn before(parts: Vec<Value>) -> Value {
    several("pretokenizers", parts)
}

fn begin(with: &str, id: u32) -> Value {
    let special = json!({"SpecialToken": {"id": with, "type_id": 0}});
    let (a, b) = (json!({"Sequence": {"id": "A", "type_id": 0}}), json!({"Sequence": {"id": "B", "type_id": 1}}));
    json!({"type": "TemplateProcessing", "single": [special, a], "pair": [special, a, special, b],
        "special_tokens": {with: {"id": with, "ids": [id], "tokens": [with]}}})
}

/// A byte-level tokenizer of single bytes with these parts.
fn bytes(normalizer: Value, pre_tokenizer: Value, post_processor: Value) -> Value {
    let byte = |b: u8| match b {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => char::from(b),
        0..=0x20 => char::from_u32(0x100 + u32::from(b)).unwrap(),
        0x7F..=0xA0 => char::from_u32(0x121 + u32::from(b) - 0x7F).unwrap(),
        0xAD => '\u{143}',
    };
    let mut vocab: serde_json::Map<String, Value> = (0..=255).map(|b: u8| (byte(b).to_string(), json!(b))).collect();
    vocab.insert("aa".to_owned(), json!(256));
    json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 257, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": byte_level(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": [["a", "a"]]}})
}

/// A tokenizer in SentencePiece's manner with these parts.
fn pieces(normalizer: Value, pre_tokenizer: Value, decoder: Value) -> Value {
    let mut vocab: serde_json::Map<String, Value> =
        (0..=255).map(|b: u8| (format!("<0x{b:02X}>"), json!(u32::from(b) + 3))).collect();
    for (id, token) in ["<unk>", "<s>", "</s>"].iter().enumerate() {
        vocab.insert((*token).to_owned(), json!(id));
    }
    for (id, token) in ["▁", "a", "aa", "▁a", "春", "\n"].iter().enumerate() {
        vocab.insert((*token).to_owned(), json!(id + 259));
    }
    json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": begin("<s>", 1), "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": ["a a", "▁ a"]}})
}

fn prepended() -> Value {
    several(
        "normalizers",
        vec![
            json!({"type": "Prepend", "prepend": "▁"}),
            json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
        ],
    )
}

fn llama_decoder(strip: bool) -> Value {
    let mut parts = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    parts.extend(strip.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    several("decoders", parts)
}

/// The parts of published tokenizers.
fn published() -> Vec<(&'static str, Value)> {
    let metaspace =
        |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
    let digits = |each: bool| json!({"type": "Digits", "individual_digits": each});
    vec![
        ("GPT-2", bytes(Value::Null, byte_level(true), byte_level(true))),
        ("SmolLM", bytes(Value::Null, before(vec![digits(true), byte_level(true)]), Value::Null)),
        ("GPT-NeoX", bytes(json!({"type": "NFC"}), byte_level(true), begin("<s>", 257))),
        (
            "Llama 3",
            bytes(
                Value::Null,
                before(vec![split(LLAMA3), byte_level(false)]),
                several("processors", vec![byte_level(true), begin("<s>", 257)]),
            ),
        ),
        ("Qwen2", bytes(json!({"type": "NFC"}), before(vec![split(QWEN2), byte_level(false)]), byte_level(false))),
        ("Mistral NeMo", bytes(Value::Null, before(vec![split(TEKKEN), byte_level(false)]), begin("<s>", 257))),
        (
            "DeepSeek V3",
            bytes(
                several("normalizers", Vec::<Value>::new()),
                before(vec![
                    split(r"\p{N}{1,3}"),
                    split("[一-龥\u{3040}-ゟ゠-ヿ]+"),
                    split(DEEPSEEK),
                    byte_level(false),
                ]),
                byte_level(true),
            ),
        ),
        (
            "Falcon",
            bytes(
                Value::Null,
                before(vec![
                    json!({"type": "Punctuation", "behavior": "Contiguous"}),
                    byte_level(true),
                    digits(false),
                    split("[0-9][0-9][0-9]"),
                ]),
                Value::Null,
            ),
        ),
        (
            "BLOOM",
            bytes(
                Value::Null,
                before(vec![split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), byte_level(false)]),
                byte_level(false),
            ),
        ),
        ("Llama 2", pieces(prepended(), Value::Null, llama_decoder(true))),
        ("TinyLlama", pieces(prepended(), Value::Null, llama_decoder(true))),
        ("Phi-3", pieces(prepended(), Value::Null, llama_decoder(true))),
        ("Mistral", pieces(Value::Null, metaspace("first"), llama_decoder(true))),
        (
            "Gemma",
            pieces(
                json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
                json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}),
                llama_decoder(false),
            ),
        ),
    ]
}

#[test]
fn published_tokenizers_are_read_and_give_every_text_back() {
    let texts = [
        "春 aa a 12345 don't\n\n  x".to_owned(),
        // One word; a run of spaces, line ends, digits, punctuation: what patterns are slow on.
        "a".repeat(70_000),
        " ".repeat(70_000) + "a",
        "\n ".repeat(5000),
        "1".repeat(9000),
        "'".repeat(9000),
        "A".repeat(9000) + "春" + &"é".repeat(900),
        "a\u{301}\u{308}".repeat(2000),
    ];
    for (name, json) in published() {
        let tokenizer = Tokenizer::from_json(&json.to_string(), None).unwrap_or_else(|e| panic!("{name}: {e}"));
        for text in &texts {
            let ids = tokenizer.encode(text).unwrap();
            let back = tokenizer.decode(&ids, true);
            let composed = ["GPT-NeoX", "Qwen2"].contains(&name) && text.contains('\u{301}');
            // A space that the tokenizer adds before a text is not removed where pieces are joined.
            let same = back == *text || back.replace(' ', "") == text.replace(' ', "");
            assert!(same || composed, "{name}: {text:.40} comes back as {back:.40}");
            assert!(ids.len() <= text.len() + 8, "{name}: {} ids of {} bytes", ids.len(), text.len());
        }
    }
}

/// The parts with one of them replaced.
fn with(place: &str, part: Value) -> String {
    let mut json = pieces(prepended(), Value::Null, llama_decoder(true));
    *json.pointer_mut(place).unwrap() = part;
    json.to_string()
}

fn refused(json: &str, words: &[&str]) {
    let error = Tokenizer::from_json(json, None).err().map(|e| e.to_string()).unwrap_or_default();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?} for {json:.200}");
    }
}

/// Twenty-six of these used to take 2.4 GiB and more than 25 s for a prompt of four letters.
#[test]
fn what_makes_a_text_longer_and_longer_is_refused() {
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let times = |n: usize, part: Value| several("normalizers", vec![part; n]);
    for n in [7, 20, 24] {
        refused(&with("/normalizer", times(n, replace("a", "aa"))), &["normalizer", "times longer"]);
    }
    refused(&with("/normalizer", times(26, replace("a", "aa"))), &["more than 24"]);
    refused(&with("/normalizer", replace("", "a")), &["string of 0 bytes"]);
    refused(&with("/normalizer", replace("a", &"b".repeat(1000))), &["content", "64 bytes"]);
    refused(
        &with("/normalizer", json!({"type": "Prepend", "prepend": "a".repeat(1_000_000)})),
        &["prepend", "64 bytes"],
    );
    refused(&with("/normalizer", times(3, json!({"type": "NFKD"}))), &["times longer"]);
    refused(&with("/decoder", several("decoders", vec![replace("a", "aaaaaaaaaa"); 2])), &["decoder", "times longer"]);
    let nested = (0..6).fold(json!({"type": "NFC"}), |inner, _| several("normalizers", vec![inner]));
    refused(&with("/normalizer", nested), &["deep"]);
    // Real files are below the limit.
    assert!(Tokenizer::from_json(&with("/normalizer", times(6, replace("a", "aa"))), None).is_ok());
}

#[test]
fn a_pattern_of_the_file_is_refused_and_a_known_one_named() {
    for pattern in
        [r"(?=(a+)+b)\1(a*)*\2b", "((a{1000}){1000}){1000}", r"(a+)+$", r"\p{L}+", "", "a|b", &"(".repeat(10_000)]
    {
        refused(
            &with("/pre_tokenizer", split(pattern)),
            &["pre-tokenizer Split", "unknown pattern", "Llama 3", "--ids"],
        );
        let replace = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "b"});
        refused(&with("/normalizer", replace.clone()), &["normalizer Replace", "unknown pattern"]);
        refused(&with("/decoder", replace), &["decoder Replace", "unknown pattern"]);
    }
}

#[test]
fn parts_that_are_not_known_are_named() {
    for (place, part, words) in [
        (
            "/normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            &["normalizer \"Precompiled\"", "NFC", "--ids"][..],
        ),
        ("/normalizer", json!({"prepend": "x"}), &["missing field `type`"]),
        ("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}), &["pre-tokenizer \"FixedLength\""]),
        ("/pre_tokenizer", json!({"type": "Split", "behavior": "Isolated", "invert": false}), &["no pattern"]),
        ("/decoder", json!({"type": "CTC"}), &["decoder \"CTC\""]),
        ("/decoder", json!({"type": "WordPiece", "prefix": "##", "cleanup": true}), &["decoder \"WordPiece\""]),
        // The crate panics on a token that is shorter than what is cut.
        ("/decoder", json!({"type": "Strip", "content": "a", "start": 0, "stop": 1_u64 << 60}), &["cuts the end"]),
        ("/post_processor", json!({"type": "Other"}), &["post-processor \"Other\""]),
        ("/post_processor", several("processors", vec![byte_level(true); 1000]), &["24"]),
        ("/model/type", json!("Unigram"), &["Unigram", "only \"BPE\""]),
        ("/model/vocab", json!({"a".repeat(20_000): 1}), &["16384 bytes"]),
        ("/model/end_of_word_suffix", json!("</w>".repeat(1000)), &["end_of_word_suffix", "16 bytes"]),
        ("/added_tokens/0/content", json!("x".repeat(600)), &["512 bytes"]),
        ("/added_tokens/0/id", json!(1 << 21), &["above"]),
    ] {
        refused(&with(place, part), words);
    }
    let lstrip = json!({"id": 400, "content": "a", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": false});
    refused(&with("/added_tokens/0", lstrip), &["lstrip"]);
}

/// Found by tests/fuzz: the crate panicked while it built the decoder.
#[test]
fn settings_of_another_type_are_refused() {
    let deep = (0..130).fold(json!(1), |inner, _| json!([inner]));
    for value in [deep, json!({"a": 1}), json!("x"), json!(1e300)] {
        let mut part = byte_level(true);
        part["add_prefix_space"] = value;
        for place in ["/decoder", "/pre_tokenizer", "/post_processor"] {
            refused(&with(place, part.clone()), &["tokenizer.json"]);
        }
    }
}

/// The crate looks up what such a template names: it used to panic on the first text.
#[test]
fn templates_that_name_what_is_not_there() {
    let a = json!({"Sequence": {"id": "A", "type_id": 0}});
    let b = json!({"Sequence": {"id": "B", "type_id": 0}});
    let s = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let other = json!({"SpecialToken": {"id": "<x>", "type_id": 0}});
    for (single, pair, word) in [
        (json!([b]), json!([a, b]), "\"B\""),
        (json!([a, a]), json!([a, b]), "\"AA\""),
        (json!([]), json!([a, b]), "\"\""),
        (json!([other, a]), json!([a, b]), "<x>"),
        (json!([s, a]), json!([a, b, b]), "\"ABB\""),
        (json!(vec![s; 100]), json!([a, b]), "more than 32"),
    ] {
        let mut template = begin("<s>", 1);
        (template["single"], template["pair"]) = (single, pair);
        refused(&with("/post_processor", template), &[word]);
    }
    let mut template = begin("<s>", 1);
    template["special_tokens"]["<s>"]["ids"] = json!(vec![1; 100]);
    refused(&with("/post_processor", template), &["more than 32"]);
}

/// The crate panics on the four parts that the second template produces.
#[test]
fn templates_after_templates() {
    for parts in [vec![begin("<s>", 1); 3], vec![begin("<s>", 1); 6]] {
        refused(&with("/post_processor", several("processors", parts)), &["post-processor", "tokenizer.json"]);
    }
    let one = with("/post_processor", several("processors", vec![byte_level(true), begin("<s>", 1)]));
    let tokenizer = Tokenizer::from_json(&one, None).unwrap();
    assert_eq!(tokenizer.encode_prompt("a").unwrap(), [&[1], &tokenizer.encode("a").unwrap()[..]].concat());
    // The file written to a checkpoint keeps the post-processor.
    assert!(tokenizer.json().contains("TemplateProcessing"));
}

#[test]
fn counts_have_a_bound() {
    let added: Vec<Value> = (0..70_000)
        .map(|i| json!({"id": 1000 + i, "content": format!("<t{i}>"), "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}))
        .collect();
    refused(&with("/added_tokens", added.into()), &["more than 65536"]);
    // Unread fields take no memory: sixty megabytes of empty lists.
    let whole = with("/version", json!("1.0"));
    let padded = format!("{},\"zzz\":[{}[]]}}", &whole[..whole.len() - 1], "[],".repeat(5_000_000));
    let error = Tokenizer::from_json(&padded, None).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    let config = format!("{{\"z\":[{}[]]}}", "[],".repeat(2_000_000));
    let error = Tokenizer::from_json(&whole, Some(&config)).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json") && error.contains("too large"), "{error}");
}
