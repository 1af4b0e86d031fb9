//! The data layer: nothing is lost between text and ids, nothing held out is trained on, a batch is a function of its
//! position, shares are kept.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking and report on stdout"
)]

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use danlu::data::{
    Batcher, IGNORED, Packed, Source, Stream, builtin,
    document::{Document, is_han},
    pack,
    split::{key, normalise, split},
    tokenizer::{ChatTokens, SPECIAL_TOKENS, TextGroup, Tokenizer, train_bpe, train_char},
    tokens::{
        mix::{History, Phase, Shape, shares},
        windows,
    },
    training_texts,
};
use proptest::{prelude::*, test_runner::RngSeed};

const SHAPE: Shape = Shape { rows: 16, window: 64, micros: 2 };

fn group(texts: &[&'static str]) -> Vec<TextGroup<'static>> {
    vec![TextGroup { weight: 1.0, texts: texts.to_vec() }]
}

const SAMPLE: &[&str] = &[
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "The fox walked home. The fox said nothing at all, and the bird sang.\n\nThe fox slept.",
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
];

fn small_char() -> Tokenizer {
    train_char(&group(SAMPLE), 300).unwrap()
}

fn small_bpe() -> Tokenizer {
    train_bpe(&group(SAMPLE), 320).unwrap()
}

fn packed() -> (Vec<Source>, Tokenizer, Arc<Vec<Packed>>) {
    let sources = builtin::sources().unwrap();
    let protected = builtin::protected();
    let protected: Vec<&str> = protected.iter().map(String::as_str).collect();
    let split = split(&sources, &protected);
    let tokenizer = train_char(&training_texts(&sources, &split), 4096).unwrap();
    let packed = pack(&sources, &split, &tokenizer).unwrap();
    (sources, tokenizer, Arc::new(packed))
}

fn batcher(packed: &Arc<Vec<Packed>>, seed: u64, shape: Shape) -> Batcher {
    let weights: Vec<f64> = packed.iter().map(|p| p.weight).collect();
    Batcher::new(packed.clone(), seed, History::new(&weights, shape).unwrap()).unwrap()
}

/// Poems with different letters, so that a token identifies its document.
fn numbered(documents: usize, length: usize) -> Stream {
    let texts: Vec<Document> = (0..documents)
        .map(|d| Document::plain((0..length).map(|_| char::from_u32(0x4E00 + d as u32).unwrap()).collect::<String>()))
        .collect();
    let groups = [TextGroup { weight: 1.0, texts: texts.iter().map(Document::text).collect() }];
    let tokenizer = train_char(&groups, 263 + documents).unwrap();
    Stream::pack(&texts, &tokenizer).unwrap()
}

fn only(train: Stream) -> Arc<Vec<Packed>> {
    Arc::new(vec![Packed { name: "only".into(), weight: 1.0, train, held_out: Stream::default() }])
}

// Tokenizer

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn every_text_comes_back(text in any::<String>(), marked in "(a|春|<\\|im_end\\|>|<0x41>| |\n){0,20}") {
        thread_local! { static BOTH: [Tokenizer; 2] = [small_char(), small_bpe()]; }
        BOTH.with(|both| {
            for tokenizer in both {
                for text in [&text, &marked] {
                    let ids = tokenizer.encode(text).unwrap();
                    prop_assert_eq!(&tokenizer.decode(&ids, false), text);
                    prop_assert_eq!(&tokenizer.decode(&ids, true), text);
                    prop_assert!(ids.iter().all(|id| !tokenizer.is_special(*id)));
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn streams_write_what_decode_writes(ids in prop::collection::vec(0_u32..330, 0..60), skip: bool) {
        thread_local! { static BOTH: [Tokenizer; 2] = [small_char(), small_bpe()]; }
        BOTH.with(|both| {
            for tokenizer in both {
                let mut stream = tokenizer.stream(skip);
                let mut text: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
                text.extend(stream.finish());
                prop_assert_eq!(text, tokenizer.decode(&ids, skip));
            }
            Ok(())
        })?;
    }

    #[test]
    fn hostile_files_never_panic(at in 0_usize..4000, with in any::<char>(), cut: bool) {
        let mut json: Vec<char> = small_bpe().json().chars().collect();
        let at = at % json.len();
        if cut { json.truncate(at); } else { json[at] = with; }
        let json: String = json.into_iter().collect();
        if let Ok(tokenizer) = Tokenizer::from_json(&json, None) {
            let ids = tokenizer.encode("The fox 春 said").unwrap_or_default();
            tokenizer.decode(&ids, false);
        }
    }
}

#[test]
fn the_vocabulary_is_laid_out_as_designed() {
    let groups = [
        TextGroup { weight: 1.0, texts: vec!["bbbbaaac"] },
        TextGroup { weight: 10.0, texts: vec!["春"] },
        TextGroup { weight: 0.0, texts: vec!["never"] },
    ];
    let tokenizer = train_char(&groups, 265).unwrap();
    assert_eq!(tokenizer.vocab_size(), 265);
    for (id, special) in SPECIAL_TOKENS.iter().enumerate() {
        assert_eq!(tokenizer.token(id as u32), Some(*special));
        assert!(tokenizer.is_special(id as u32));
    }
    assert_eq!(tokenizer.end_of_text(), Some(0));
    assert_eq!(tokenizer.pad(), Some(1));
    assert_eq!(tokenizer.chat(), Some(ChatTokens { end: 2, system: 3, user: 4, assistant: 5 }));
    assert_eq!(tokenizer.token(6), Some("<0x00>"));
    assert_eq!(tokenizer.token(261), Some("<0xFF>"));
    // By weighted count, ties by code point; "c" finds no room and falls back to its byte.
    assert_eq!((262..266).map(|i| tokenizer.token(i)).collect::<Vec<_>>(), [Some("春"), Some("b"), Some("a"), None]);
    assert_eq!(tokenizer.encode("春abc").unwrap(), [262, 264, 263, 6 + u32::from(b'c')]);
    assert!(tokenizer.is_char() && !small_bpe().is_char());
    let bpe = small_bpe();
    assert_eq!(bpe.token(0), Some(SPECIAL_TOKENS[0]));
    assert!((263..=320).contains(&bpe.vocab_size()));
    assert!(bpe.encode("The fox").unwrap().len() < 7);
}

#[test]
fn special_tokens_in_a_text_are_text() {
    for tokenizer in [small_char(), small_bpe()] {
        for special in SPECIAL_TOKENS {
            let text = format!("a{special}{special}春");
            let ids = tokenizer.encode(&text).unwrap();
            assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{special}");
            assert_eq!(tokenizer.decode(&ids, true), text);
            let id = tokenizer.id(special).unwrap();
            assert_eq!(tokenizer.decode(&[id], false), special);
            assert_eq!(tokenizer.decode(&[id], true), "");
        }
    }
    // Training on such a text does not create one either.
    let texts = "<|endoftext|> <|user|> <|endoftext|> <|user|>";
    let tokenizer = train_bpe(&group(&[texts]), 300).unwrap();
    assert!(tokenizer.encode(texts).unwrap().iter().all(|id| !tokenizer.is_special(*id)));
}

#[test]
fn a_saved_tokenizer_is_the_same() {
    for tokenizer in [small_char(), small_bpe()] {
        let again = Tokenizer::from_json(tokenizer.json(), Some(&tokenizer.config_json(256, Some("{{x}}")))).unwrap();
        assert_eq!(again.json(), tokenizer.json());
        let text = "The fox <|pad|> 春眠\u{1F600}\0";
        assert_eq!(again.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        assert_eq!((again.end_of_text(), again.pad()), (Some(0), Some(1)));
    }
    let config: serde_json::Value = serde_json::from_str(&small_char().config_json(256, Some("t"))).unwrap();
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(config["eos_token"], "<|endoftext|>");
    assert_eq!(config["pad_token"], "<|pad|>");
    assert_eq!(config["chat_template"], "t");
}

#[test]
fn training_is_deterministic() {
    assert_eq!(small_bpe().json(), small_bpe().json());
    assert_eq!(small_char().json(), small_char().json());
}

#[test]
fn unusable_tokenizers_are_refused_with_the_reason() {
    let model = |fields: &str| format!("{{\"version\":\"1.0\",\"model\":{{{fields}}}}}");
    for (json, reason) in [
        ("{".to_owned(), "is not JSON"),
        ("{}".to_owned(), "missing field `model`"),
        (model("\"type\":\"WordPiece\",\"vocab\":{}"), "only \"BPE\""),
        (model("\"vocab\":{}"), "no model type"),
        (model("\"type\":\"BPE\",\"vocab\":{},\"merges\":[]"), "vocabulary is empty"),
        (model("\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"), "share the id 0"),
        (model("\"type\":\"BPE\",\"vocab\":{\"a\":4000000000},\"merges\":[]"), "above"),
        // The crate panics on this one: the merge's result is longer than every token.
        (model("\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\",\"b\"]]"), "needs \"ab\""),
        (model("\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]"), "two tokens and one space"),
        (model("\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]"), "dropout"),
        (model("\"type\":\"BPE\",\"unk_token\":\"u\",\"vocab\":{\"a\":0},\"merges\":[]"), "unk_token"),
        (model("\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\",\"vocab\":{\"a\":0},\"merges\":[]"), "prefix"),
    ] {
        let error = Tokenizer::from_json(&json, None).unwrap_err().to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
    let huge = " ".repeat((64 << 20) + 1);
    assert!(Tokenizer::from_json(&huge, None).unwrap_err().to_string().contains("too large"));
    assert!(train_char(&group(SAMPLE), 262).is_err());
    assert!(train_bpe(&group(SAMPLE), 0).is_err());
    assert!(train_bpe(&group(SAMPLE), usize::MAX).is_err());
}

#[test]
fn a_foreign_decoder_streams_too() {
    // The layout of Llama 2's tokenizer: "▁" for spaces, stripped at the start.
    let json = r#"{"version":"1.0","added_tokens":[{"id":3,"content":"</s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
        "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
        "model":{"type":"BPE","unk_token":null,"byte_fallback":true,"vocab":{"▁":0,"a":1,"▁a":2,"</s>":3,"<0xE6>":4,"<0x98>":5,"<0xA5>":6},"merges":["▁ a"]}}"#;
    let tokenizer = Tokenizer::from_json(json, None).unwrap();
    let ids = tokenizer.encode("a a春a").unwrap();
    assert_eq!(ids, [2, 2, 4, 5, 6, 1]);
    assert_eq!(tokenizer.end_of_text(), Some(3));
    assert_eq!(tokenizer.pad(), None);
    let mut stream = tokenizer.stream(true);
    let parts: Vec<Option<String>> = ids.iter().chain(&[3]).map(|id| stream.push(*id)).collect();
    let text: String = parts.iter().flatten().cloned().chain(stream.finish()).collect();
    assert_eq!(text, "a a春a");
    assert_eq!(parts[2], None);
}

/// Texts that take a quadratic encoder or trainer minutes.
#[test]
fn long_hostile_texts_come_back_whole() {
    let tokenizers = [small_char(), small_bpe()];
    for text in
        ["a".repeat(100_000), " ".repeat(100_000), "鸟".repeat(100_000), "\u{301}".repeat(100_000), "<|".repeat(50_000)]
    {
        for tokenizer in &tokenizers {
            let ids = tokenizer.encode(&text).unwrap();
            assert_eq!(tokenizer.decode(&ids, false), text);
        }
        train_bpe(&[TextGroup { weight: 1.0, texts: vec![&text] }], 400).unwrap();
    }
}

#[test]
fn transformers_gives_the_same_ids() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tokenizer.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let texts = |of: &'static str| -> Vec<&str> {
        golden[of].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect()
    };
    let groups = [TextGroup { weight: 1.0, texts: texts("plain") }, TextGroup { weight: 3.0, texts: texts("heavy") }];
    let size = |kind: &str| golden[kind]["vocab_size"].as_u64().unwrap() as usize;
    let made =
        [("char", train_char(&groups, size("char")).unwrap()), ("bpe", train_bpe(&groups, size("bpe")).unwrap())];
    for (kind, tokenizer) in made {
        let json: serde_json::Value = serde_json::from_str(tokenizer.json()).unwrap();
        assert_eq!(json, golden[kind]["tokenizer"], "{kind}");
        let config: serde_json::Value = serde_json::from_str(&tokenizer.config_json(256, None)).unwrap();
        assert_eq!(config, golden[kind]["tokenizer_config"], "{kind}");
        let asked = texts("asked");
        let cases = golden[kind]["cases"].as_array().unwrap();
        assert_eq!(cases.len(), asked.len());
        for (case, text) in cases.iter().zip(asked) {
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{kind}: {text:?}");
            assert_eq!(case["decoded"], tokenizer.decode(&ids, false), "{kind}: {text:?}");
        }
    }
}

// Split

#[test]
fn duplicates_fall_on_one_side() {
    let (sources, _, _) = packed();
    let protected = builtin::protected();
    let split = split(&sources, &protected.iter().map(String::as_str).collect::<Vec<_>>());
    let mut trained = HashSet::new();
    for (source, indices) in sources.iter().zip(&split.train) {
        trained.extend(indices.iter().map(|i| key(source.documents[*i].body())));
    }
    for ((source, train), held) in sources.iter().zip(&split.train).zip(&split.held_out) {
        assert_eq!(train.len() + held.len(), source.documents.len());
        for i in held {
            assert!(!trained.contains(&key(source.documents[*i].body())), "{}", source.documents[*i].text());
        }
        if source.hold_out {
            let share = held.len() as f64 / source.documents.len() as f64;
            assert!(!held.is_empty() && share < 0.15, "{}: {share}", source.name);
        } else {
            assert!(held.is_empty());
        }
    }
    // Precondition: some poems are in both sources.
    let short: HashSet<_> = sources[0].documents.iter().map(|d| key(d.body())).collect();
    let both: Vec<usize> =
        (0..sources[1].documents.len()).filter(|i| short.contains(&key(sources[1].documents[*i].body()))).collect();
    assert!(both.len() >= 10, "{}", both.len());
    assert!(both.iter().all(|i| !split.held_out[1].contains(i)));
}

fn poems(name: &str, range: std::ops::Range<u32>, hold_out: bool) -> Source {
    let text = |n: u32| format!("第{n}首，山水{}。", n * 7919);
    let documents = range.map(|n| Document::poem("题", "人", &text(n))).collect();
    Source { name: name.into(), documents, weight: 1.0, hold_out }
}

#[test]
fn a_poem_trained_in_one_source_is_never_held_out_of_another() {
    let free = [poems("a", 0..200, true)];
    let first = split(&free, &[]).held_out[0].clone();
    assert!(first.len() >= 2 && first.len() < 30, "{first:?}");
    // The poem that would be held out also occurs, with other punctuation and title, in a source that holds nothing
    // out.
    let taken = normalise(free[0].documents[first[0]].body());
    let kept = Source {
        name: "kept".into(),
        documents: vec![Document::plain(format!(" {taken}！\n"))],
        weight: 1.0,
        hold_out: false,
    };
    let both = split(&[kept, free[0].clone()], &[]);
    assert_eq!(both.held_out[1], first[1..]);
    assert!(both.train[1].contains(&first[0]));
    // A probe, even as part of a document.
    let probe = free[0].documents[first[1]].body();
    assert_eq!(split(&free, &[&probe[..probe.len() - 3]]).held_out[0], [&first[..1], &first[2..]].concat());
    // Documents that are in two sources are held out of both.
    let twins = [poems("a", 0..200, true), poems("b", 0..200, true)];
    let twins = split(&twins, &[]);
    assert_eq!(twins.held_out[0], twins.held_out[1]);
}

#[test]
fn small_sources_keep_something_to_train_on() {
    let large = poems("large", 0..400, true);
    for n in 0..400 {
        let small = poems("small", n..n + 1, true);
        let found = split(&[large.clone(), small], &[]);
        assert_eq!(found.train[1], [0]);
        assert!(!found.held_out[0].contains(&(n as usize)));
    }
    for n in 10..40 {
        let found = split(&[poems("a", 0..n, true)], &[]);
        assert!(!found.held_out[0].is_empty() && found.train[0].len() > n as usize / 2);
    }
    assert!(split(&[poems("nine", 0..9, true)], &[]).held_out[0].is_empty());
    assert_eq!(split(&[], &[]).train.len(), 0);
}

// Batches

#[test]
fn a_batch_depends_on_its_place_alone() {
    let (_, _, packed) = packed();
    let mut forward = batcher(&packed, 5, SHAPE);
    let batches: Vec<_> =
        (0..20_u64).flat_map(|s| [(s, 0), (s, 1)]).map(|(s, m)| forward.batch(s, m).unwrap()).collect();
    let mut backward = batcher(&packed, 5, SHAPE);
    for at in (0..40).rev() {
        assert_eq!(backward.batch(at as u64 / 2, at % 2).unwrap(), batches[at]);
    }
    assert_eq!(batcher(&packed, 5, SHAPE).batch(13, 1).unwrap(), batches[27]);
    assert_eq!(forward.tokens_drawn(20), backward.tokens_drawn(20));
    assert_ne!(batcher(&packed, 6, SHAPE).batch(13, 1).unwrap(), batches[27]);
    for batch in &batches {
        assert_eq!((batch.ids.len(), batch.targets.len(), batch.sources.len()), (1024, 1024, 16));
        for row in 0..16 {
            let (ids, targets) = (&batch.ids[row * 64..][..64], &batch.targets[row * 64..][..64]);
            assert!(ids[1..].iter().zip(targets).all(|(a, b)| *a as i32 == *b));
        }
    }
    assert!(forward.batch(0, 2).is_err());
}

#[test]
fn shares_hold_from_the_start() {
    let (_, _, packed) = packed();
    let mut batcher = batcher(&packed, 1, SHAPE);
    let wanted = batcher.history().newest().weights.clone();
    assert!(wanted.iter().all(|w| *w <= 0.4) && wanted[0] >= 0.3);
    let mut rows = [0_u64; 5];
    for n in 0..200_u64 {
        for source in batcher.batch(n / 2, (n % 2) as usize).unwrap().sources {
            rows[source] += 1;
        }
        for (count, share) in rows.iter().zip(&wanted) {
            assert!((*count as f64 - share * ((n + 1) * 16) as f64).abs() <= 2.0, "{rows:?} after {n}");
        }
    }
    for (count, share) in rows.iter().zip(&wanted) {
        assert!((*count as f64 / 3200.0 - share).abs() < 0.01);
    }
    assert_eq!(batcher.tokens_drawn(100), rows.map(|n| n * 64));
    assert!(batcher.epochs(100)[0] > 100.0 * batcher.epochs(100)[4] / 20.0);
}

#[test]
fn a_changed_mix_is_replayed() {
    let (_, _, packed) = packed();
    let mut live = batcher(&packed, 3, SHAPE);
    let wide = Shape { rows: 4, window: 100, micros: 1 };
    live.batch(9, 1).unwrap();
    live.change(10, &[0.0, 1.0, 0.0, 3.0, 0.0], wide).unwrap();
    let batch = live.batch(10, 0).unwrap();
    assert_eq!(batch.ids.len(), 400);
    assert_eq!(batch.sources.iter().collect::<HashSet<_>>(), HashSet::from([&1, &3]));
    let saved = serde_json::to_string(live.history()).unwrap();
    let history: History = serde_json::from_str(&saved).unwrap();
    assert_eq!(&history, live.history());
    let mut resumed = Batcher::new(packed.clone(), 3, history).unwrap();
    assert_eq!(resumed.batch(10, 0).unwrap(), batch);
    assert_eq!(resumed.batch(4, 1).unwrap(), batcher(&packed, 3, SHAPE).batch(4, 1).unwrap());
    let drawn = resumed.tokens_drawn(11);
    assert_eq!(drawn.iter().sum::<u64>(), 10 * 2048 + 400);
    // A second change at the same step replaces the first; the past cannot be changed.
    live.change(10, &[1.0, 0.0, 0.0, 0.0, 0.0], wide).unwrap();
    assert_eq!(live.history().phases().len(), 2);
    assert_eq!(live.batch(10, 0).unwrap().sources, [0; 4]);
    assert!(live.change(9, &[1.0; 5], wide).is_err());
}

#[test]
fn unusable_mixes_are_refused() {
    for weights in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
        assert!(History::new(weights, SHAPE).is_err(), "{weights:?}");
    }
    for shape in [
        Shape { rows: 0, ..SHAPE },
        Shape { window: 0, ..SHAPE },
        Shape { micros: 0, ..SHAPE },
        Shape { rows: usize::MAX, ..SHAPE },
    ] {
        assert!(History::new(&[1.0], shape).is_err());
    }
    assert_eq!(shares(&[f64::MAX, f64::MAX]).unwrap(), [0.5, 0.5]);
    let third = shares(&[1.0, 1.0, 1.0, 0.0, 1e-300]).unwrap();
    assert_eq!(third, [0.333_333, 0.333_333, 0.333_333, 0.0, 0.000_001]);
    assert_eq!(shares(&third).unwrap(), third);
    let phase = |from_step| Phase { from_step, weights: vec![1.0], shape: SHAPE };
    assert!(History::try_from(vec![]).is_err());
    assert!(History::try_from(vec![phase(1)]).is_err());
    assert!(History::try_from(vec![phase(0), phase(5), phase(4)]).is_err());
    let empty = Packed { name: "void".into(), weight: 1.0, train: Stream::default(), held_out: Stream::default() };
    let error = Batcher::new(Arc::new(vec![empty]), 0, History::new(&[1.0], SHAPE).unwrap()).unwrap_err().to_string();
    assert!(error.contains("\"void\""), "{error}");
}

#[test]
fn poem_rows_start_with_every_poem_once_an_epoch() {
    let stream = numbered(34, 20);
    let shape = Shape { rows: 34, window: 64, micros: 1 };
    let mut batcher = batcher(&only(stream.clone()), 11, shape);
    let mut orders = HashSet::new();
    for epoch in 0..5 {
        let batch = batcher.batch(epoch, 0).unwrap();
        let starts: Vec<u32> = batch.ids.chunks(64).map(|row| row[0]).collect();
        assert_eq!(starts.iter().collect::<HashSet<_>>().len(), 34, "each poem starts a row");
        orders.insert(starts);
        for row in batch.ids.chunks(64) {
            // Three documents of 20 and their EOS, then the beginning of a fourth, all different.
            assert_eq!([row[20], row[41], row[62]], [0; 3]);
            assert_eq!([0, 21, 42, 63].map(|at| row[at]).iter().collect::<HashSet<_>>().len(), 4);
            assert!(row[..20].iter().all(|t| *t == row[0]));
        }
    }
    assert_eq!(orders.len(), 5, "shuffled again each epoch");
}

#[test]
fn windows_never_cross_the_end() {
    for (documents, length, window) in
        [(3, 500, 64), (1, 129, 64), (1, 1000, 64), (2, 70, 64), (1, 5, 64), (50, 3, 64), (7, 64, 1), (1, 1, 1)]
    {
        let stream = numbered(documents, length);
        let shape = Shape { rows: 8, window, micros: 1 };
        let mut batcher = batcher(&only(stream.clone()), 2, shape);
        let mut seen: HashMap<u32, usize> = HashMap::new();
        for step in 0..200 {
            let batch = batcher.batch(step, 0).unwrap();
            assert_eq!(batch.ids.len(), 8 * window);
            for id in &batch.ids {
                *seen.entry(*id).or_default() += 1;
            }
        }
        // Every document is seen, about equally often.
        let counts: Vec<usize> = stream
            .tokens()
            .unwrap()
            .iter()
            .collect::<HashSet<_>>()
            .iter()
            .filter(|t| ***t != 0)
            .map(|t| seen[*t])
            .collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(counts.len() == documents && most < &(least * 2), "{documents} of {length}: {counts:?}");
    }
}

#[test]
fn long_poems_are_seen_to_their_end() {
    let text: String = (0..200).map(|i| char::from_u32(0x4E00 + i).unwrap()).collect();
    let documents = [Document::poem("题", "人", &text), Document::poem("目", "人", "短")];
    let groups = [TextGroup { weight: 1.0, texts: documents.iter().map(Document::text).collect() }];
    let tokenizer = train_char(&groups, 600).unwrap();
    let stream = Stream::pack(&documents, &tokenizer).unwrap();
    let mut batcher = batcher(&only(stream.clone()), 0, Shape { rows: 8, window: 64, micros: 1 });
    let seen: HashSet<i32> = (0..20).flat_map(|s| batcher.batch(s, 0).unwrap().targets).collect();
    for id in stream.tokens().unwrap().iter() {
        assert!(seen.contains(&(*id as i32)), "{:?}", tokenizer.token(*id));
    }
}

#[test]
fn the_probe_is_seen_without_its_title_at_the_start_of_rows() {
    let (_, tokenizer, packed) = packed();
    let mut batcher = batcher(&packed, 0, Shape { rows: 16, window: 128, micros: 1 });
    let probe = builtin::PROBES.iter().find(|p| p.recall).unwrap();
    let wanted = tokenizer.encode(&format!("{}{}", probe.prompt, probe.expected)).unwrap();
    let titled = tokenizer.encode("春晓　孟浩然\n").unwrap();
    let (mut bare, mut with_title, mut anywhere) = (0, 0, 0);
    for step in 0..100 {
        let batch = batcher.batch(step, 0).unwrap();
        for row in batch.ids.chunks(128) {
            bare += usize::from(row.starts_with(&wanted));
            with_title += usize::from(row.starts_with(&titled));
            anywhere += row.windows(wanted.len()).filter(|w| *w == wanted).count();
        }
    }
    assert!(bare >= 4 && with_title >= 4 && anywhere >= 50, "{bare} {with_title} {anywhere}");
}

// Evaluation

#[test]
fn evaluation_windows_score_every_token_once() {
    let stream = numbered(10, 12);
    for window in [1, 7, 64, 129, 130, 500] {
        let found = windows::windows(&stream, window, 1, usize::MAX).unwrap();
        assert_eq!(found.rows, 129_usize.div_ceil(window));
        assert_eq!((found.ids.len(), found.targets.len()), (found.rows * window, found.rows * window));
        let scored: Vec<i32> = found.targets.iter().copied().filter(|t| *t != IGNORED).collect();
        assert_eq!(scored, stream.tokens().unwrap()[1..].iter().map(|t| *t as i32).collect::<Vec<_>>());
        assert_eq!(scored.len(), found.scored);
        assert_eq!(found.ids[..129], stream.tokens().unwrap()[..129]);
        assert!(found.ids[129..].iter().all(|t| *t == 1));
    }
    let few = windows::windows(&stream, 7, 1, 3).unwrap();
    assert_eq!((few.rows, few.scored, few.ids.len()), (3, 21, 21));
    let none = windows::windows(&Stream::default(), 64, 1, 9).unwrap();
    assert_eq!((none.rows, none.scored), (0, 0));
}

#[test]
fn baselines_are_entropies() {
    // Ten documents of one letter each, three times, and EOS: p = 3/40 for the letters, 1/4 for EOS.
    let stream = numbered(10, 3);
    let entropy = 0.75 * (40.0_f64 / 3.0).ln() + 0.25 * 4.0_f64.ln();
    let found = windows::baseline(&stream, &stream, 271).unwrap();
    assert!((found.entropy - entropy).abs() < 1e-12);
    assert!(found.held_out.unwrap() > found.entropy);
    assert_eq!(windows::baseline(&stream, &Stream::default(), 271).unwrap().held_out, None);
    // The probabilities sum to one.
    let (total, different) = (40.0, 11.0);
    let seen = total / (total + different);
    let unseen = 260.0 * (different / (total + different) / 260.0);
    assert!((seen + unseen - 1.0_f64).abs() < 1e-12);
    assert!((stream.bytes_per_token() - 90.0 / 40.0).abs() < 1e-12);
    assert!((windows::bits_per_byte(std::f64::consts::LN_2, &stream) - 40.0 / 90.0).abs() < 1e-12);
}

// The corpus

#[test]
fn the_corpus_is_what_its_forms_say() {
    let forms: HashMap<&str, (usize, usize)> =
        HashMap::from([("五言绝句", (4, 5)), ("七言绝句", (4, 7)), ("五言律诗", (8, 5)), ("七言律诗", (8, 7))]);
    let mut count = 0;
    for file in ["poems-short.jsonl", "tang300.jsonl"] {
        let path = format!("{}/assets/corpus/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut bodies = HashSet::new();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| record[name].as_str().unwrap_or_else(|| panic!("{name} in {line}"));
            let text = field("text");
            assert!(!field("title").is_empty() && !field("author").is_empty());
            assert!(bodies.insert(key(text)), "twice: {line}");
            let lines: Vec<usize> = text
                .split(['，', '。', '！', '？', '；', '：', '、'])
                .map(|part| part.chars().filter(|c| is_han(*c)).count())
                .filter(|n| *n > 0)
                .collect();
            if let Some((lines_wanted, length)) = forms.get(field("form")) {
                assert_eq!(lines, vec![*length; *lines_wanted], "{line}");
            }
            count += 1;
        }
    }
    assert!(count >= 300, "{count}");
    let sources = builtin::sources().unwrap();
    assert_eq!(
        sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        ["poems-short", "tang300", "classical", "modern-zh", "english"]
    );
    assert!((sources.iter().map(|s| s.weight).sum::<f64>() - 1.0).abs() < 1e-9);
    for probe in builtin::PROBES {
        let whole = format!("{}{}", probe.prompt, probe.expected);
        let whole = normalise(&whole);
        let there = |s: &Source| s.documents.iter().any(|d| normalise(d.text()).contains(&whole));
        assert_eq!(sources.iter().any(there), probe.recall, "{whole}");
    }
}

#[test]
fn the_built_in_data_is_small_and_covered_by_its_tokenizer() {
    let start = Instant::now();
    let (sources, tokenizer, packed) = packed();
    let ready = start.elapsed();
    let encoding = Instant::now();
    let tokens: usize =
        sources.iter().flat_map(|s| &s.documents).map(|d| tokenizer.encode(d.text()).unwrap().len()).sum();
    let encoded = encoding.elapsed();
    let mut batcher = batcher(&packed, 0, Shape { rows: 16, window: 256, micros: 1 });
    let drawing = Instant::now();
    for step in 0..100 {
        batcher.batch(step, 0).unwrap();
    }
    let drawn = drawing.elapsed() / 100;
    let far = Instant::now();
    batcher.batch(1_000_000, 0).unwrap();
    println!(
        "ready {ready:?}, {tokens} tokens encoded in {encoded:?}, a batch {drawn:?}, a resume at step 1e6 {:?}, vocabulary {}",
        far.elapsed(),
        tokenizer.vocab_size()
    );
    for source in packed.iter() {
        let base = windows::baseline(&source.train, &source.held_out, tokenizer.vocab_size()).unwrap();
        println!(
            "{}: {} + {} documents, {} + {} tokens, {:.2} bytes/token, {base:.3?}",
            source.name,
            source.train.documents(),
            source.held_out.documents(),
            source.train.len(),
            source.held_out.len(),
            source.train.bytes_per_token()
        );
    }
    // What a new run reads before its first step.
    assert!((200_000..2_000_000).contains(&tokens), "{tokens}");
    // The corpus's own characters need few bytes: all characters of the short poems are in the vocabulary.
    assert!(packed[0].train.tokens().unwrap().iter().all(|t| !(6..262).contains(t)));
}
