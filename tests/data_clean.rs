//! Cleaning, duplicates and shards: funnels add up, similar documents are found and others are not, and streaming from
//! disk gives the same as memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "common/texts.rs"]
mod texts;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Cursor,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use danlu::{
    base::StageId,
    data::{
        Batcher, History, Packed, Picker, Shape, Stream,
        clean::{Bound, Profile, Setting, judge, rules, rules_with},
        dedup::{
            Shingling, candidates,
            minhash::{bands, jaccard},
            verified,
        },
        document::Document,
        pack,
        split::split,
        stored::shard::{self, ShardWriter, Shards},
        tokenizer::train_char,
    },
    protocol::{DroppedDocument, Monitor, Trial},
    store::{ReadSeek, RealFs, Run},
    train::{
        Corpus, TrainError,
        config::RunConfig,
        corpus::{dropped, trial},
    },
};
use proptest::{prelude::*, test_runner::RngSeed};
use tempfile::TempDir;
use texts::{Chance, adds_up};

fn han(chance: &mut Chance) -> char {
    char::from_u32(0x4E00 + chance.below(3000) as u32).unwrap()
}

// Rules

const PROSE: &str = "The furnace was warm in the morning, and the old man who kept it had not slept for two days.
He said that the elixir would be done before the snow came, but nobody in the village believed him any more.
They had heard it in the spring, when the river was high, and again in the summer, when there was no rain.
Still, a child came with bread every evening and sat beside him, and asked what he could see in the fire.";

#[test]
fn a_rule_drops_what_it_names() {
    let of = |profile, text: &str| judge(rules(profile), &Document::plain(text)).map(|v| v.rule);
    let en = |text: &str| of(Profile::ProseEn, text);
    assert_eq!(en(PROSE), None);
    let french = "Le vieux fourneau était encore tiède ce matin quand la neige commença de tomber sur les toits du village endormi; personne ne croyait plus ce que racontait cet homme, sauf une petite fille qui apportait du pain chaque soir, restait assise près de lui, regardait longuement les flammes, demandait ce que l'on pouvait bien voir dedans to of.";
    let cases: [(&str, String); 11] = [
        ("too_short", "The furnace is warm.".into()),
        ("long_words", format!("{PROSE}\n{}", "pneumonoultramicroscopicsilicovolcanoconiosis ".repeat(40))),
        ("symbols", PROSE.replace(' ', " # ")),
        ("bullets", format!("- {}", PROSE.replace(' ', " and the\n- "))),
        ("ellipses", PROSE.replace(".\n", "...\n")),
        ("few_letters", format!("{PROSE} {}", "12 34 56 ".repeat(20))),
        ("language", french.into()),
        ("placeholder", format!("{PROSE}\nLorem ipsum dolor.")),
        ("braces", format!("{PROSE} fn main() {{}}")),
        ("duplicate_lines", format!("{PROSE}\n{PROSE}")),
        ("line_punctuation", PROSE.replace(['.', ','], "")),
    ];
    for (rule, text) in cases {
        assert_eq!(en(&text).as_deref(), Some(rule), "{text}");
    }
    let phrase = "the river was high and the fire was low ";
    assert!(
        en(&format!("{PROSE} {}.", phrase.repeat(6))).is_some_and(|r| r.starts_with("top_") || r.starts_with("dup"))
    );

    let zh = "炉子早上还是温的，看炉子的老人已经两天没有睡觉了。他说丹药在下雪之前就会炼成，可是村里的人都不再相信他的话了。\n春天河水涨起来的时候他们听过一次，夏天不下雨的时候又听过一次。只有一个孩子每天晚上带着饼来，坐在他的旁边，问他在火里看见了什么。";
    assert_eq!(of(Profile::ProseZh, zh), None);
    assert_eq!(of(Profile::ProseZh, "春眠不觉晓，处处闻啼鸟。").as_deref(), Some("too_short"));
    assert_eq!(of(Profile::ProseZh, PROSE).as_deref(), Some("stop_words"));
    // Rules for prose would drop every quatrain; those for poetry do not.
    let poem = Document::poem("春晓", "孟浩然", "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。");
    assert_eq!(judge(rules(Profile::Poetry), &poem), None);
    let verdict =
        judge(rules(Profile::Poetry), &Document::poem("一个很长很长很长很长的题目", "无名氏", "春眠不觉晓，")).unwrap();
    assert_eq!((verdict.rule.as_str(), verdict.value, verdict.threshold), ("too_short", 5.0, 14.0));
    let lost = of(Profile::Poetry, "□□不觉晓，处处闻啼鸟。□来风雨声，花落□多少。");
    assert_eq!(lost.as_deref(), Some("lost_characters"));
    assert_eq!(of(Profile::Code, "fn main() {\n    let furnace = 1;\n    println!(\"{furnace}\");\n}\n"), None);
    assert_eq!(of(Profile::Code, &"x".repeat(1001)).as_deref(), Some("long_lines"));
    assert_eq!(of(Profile::None, ""), None);
}

#[test]
fn rules_are_named_once_and_say_where_they_come_from() {
    for profile in [Profile::ProseEn, Profile::ProseZh, Profile::Poetry, Profile::Code, Profile::None] {
        let all = rules(profile);
        for (i, rule) in all.iter().enumerate() {
            assert!(!rule.source.is_empty() && all[..i].iter().all(|r| r.name != rule.name), "{}", rule.name);
            let (Bound::AtLeast(t) | Bound::AtMost(t)) = rule.bound;
            assert!(t.is_finite() && t >= 0.0);
        }
    }
}

#[test]
fn a_source_may_set_its_bounds() {
    let settings = |all: &[(&str, Setting)]| all.iter().map(|(name, s)| ((*name).to_owned(), *s)).collect();
    let poem = Document::plain("春眠不觉晓，处处闻啼鸟。");
    let of = |all: &[(&str, Setting)]| judge(&rules_with(Profile::Poetry, &settings(all)), &poem);
    let verdict = of(&[]).unwrap();
    assert_eq!((verdict.rule.as_str(), verdict.value, verdict.threshold), ("too_short", 10.0, 14.0));
    assert_eq!(of(&[("too_short", Setting::Bound(10.0))]), None);
    assert_eq!(of(&[("too_short", Setting::Off)]), None);
    let verdict = of(&[("too_short", Setting::Bound(0.0)), ("too_long", Setting::Bound(9.0))]).unwrap();
    assert_eq!((verdict.rule.as_str(), verdict.value, verdict.threshold), ("too_long", 10.0, 9.0));
    assert_eq!(rules_with(Profile::Poetry, &settings(&[])).len(), rules(Profile::Poetry).len());
    assert_eq!(rules_with(Profile::Poetry, &settings(&[("too_long", Setting::Off)])).len(), 5);
}

// Duplicates

#[test]
fn bands_are_shared_as_often_as_minhash_promises() {
    let mut chance = Chance(1);
    for (similarity, low, high) in [(0.9, 0.995, 1.0), (0.8, 0.914, 0.934), (0.5, 0.04, 0.067), (0.2, 0.0, 0.001)] {
        let (mut shared, trials) = (0, 4000);
        for _ in 0..trials {
            // |A ∩ B| / |A ∪ B| of sets of a size: 2n parts of which s are in both.
            let both = (similarity * 90.0_f64).round() as usize;
            let common: Vec<u64> = (0..both).map(|_| chance.next()).collect();
            let mut sets = [common.clone(), common];
            for i in 0..90 - both {
                sets[i % 2].push(chance.next());
            }
            for set in &mut sets {
                set.sort_unstable();
            }
            assert!((jaccard(&sets[0], &sets[1]) - similarity).abs() < 1e-9);
            let [a, b] = sets.map(|s| bands(&s).unwrap());
            shared += usize::from(a.iter().zip(&b).any(|(x, y)| x == y));
        }
        let share = f64::from(shared as u32) / f64::from(trials);
        assert!((low..=high).contains(&share), "at {similarity}: {share}");
    }
}

/// A text, and one with a shingle similarity of `similarity`, or as close as replacing characters gets.
fn alike(chance: &mut Chance, shingling: Shingling, similarity: f64) -> (String, String, f64) {
    let a: Vec<char> = (0..600).map(|_| han(chance)).collect();
    let mut b = a.clone();
    let first = shingling.shingles(&a.iter().collect::<String>());
    loop {
        let now = jaccard(&first, &shingling.shingles(&b.iter().collect::<String>()));
        if now <= similarity + 0.004 {
            return (a.iter().collect(), b.iter().collect(), now);
        }
        let at = chance.below(b.len());
        b[at] = han(chance);
    }
}

#[test]
fn near_duplicates_are_found_and_others_are_not() {
    for shingling in [Shingling::Five, Shingling::Pairs] {
        let mut chance = Chance(7);
        let mut texts = Vec::new();
        let mut wanted = BTreeMap::new();
        for similarity in [0.8, 0.45, 0.3] {
            for _ in 0..500 {
                let (a, b, exact) = alike(&mut chance, shingling, similarity);
                wanted.insert(texts.len() as u32 + 1, exact);
                texts.extend([a, b]);
            }
        }
        let sets: Vec<Vec<u64>> = texts.iter().map(|t| shingling.shingles(t)).collect();
        let mut found = Vec::new();
        let columns: Vec<[u64; 14]> = sets.iter().map(|set| bands(set).unwrap()).collect();
        // At once, and with almost no memory.
        for held in [usize::MAX, 300] {
            let mut passes = 0;
            let candidates = candidates(sets.len(), held, |band, take| {
                passes += 1;
                (0..).zip(&columns).for_each(|(document, bands)| take(document, bands[band]));
                Ok(())
            });
            assert_eq!(passes, if held == 300 { 140 } else { 14 });
            let some = |documents: &[u32]| Ok(documents.iter().map(|d| sets[*d as usize].clone()).collect());
            // With long texts, so that fewer are compared at a time.
            let size = if held == 300 { 5 << 20 } else { 600 };
            found.push(verified(&candidates.unwrap(), |_| size, some).unwrap());
        }
        assert_eq!(found[0], found[1], "the passes make no difference");
        let hits = |low: f64, high: f64| {
            let pairs = found[0].iter().filter(|p| p.kept + 1 == p.dropped);
            pairs.filter(|p| (low..high).contains(&wanted[&p.dropped])).count()
        };
        assert!(hits(0.75, 0.85) >= 450, "{shingling:?}: {} of 500 at 0.8", hits(0.75, 0.85));
        assert_eq!(hits(0.0, 0.5), 0);
        assert!(found[0].iter().all(|p| p.similarity >= 0.7));
    }
}

#[test]
fn traditional_and_simplified_are_one_poem() {
    let simplified = Shingling::Pairs.shingles("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。");
    let traditional = Shingling::Pairs.shingles("春眠不覺曉 處處聞啼鳥 夜來風雨聲 花落知多少");
    assert_eq!(simplified, traditional);
    assert_eq!(simplified.len(), 19);
    assert!(Shingling::Five.shingles(" \n。…").is_empty());
    // A duplicate of a document that is dropped is compared with the one that is kept.
    let sets: Vec<Vec<u64>> = vec![(0..100).collect(), (10..105).collect(), (25..110).collect()];
    let found =
        verified(&[(1, 0), (2, 0), (2, 1)], |_| 1, |some| Ok(some.iter().map(|d| sets[*d as usize].clone()).collect()));
    let found = found.unwrap();
    assert_eq!(found.iter().map(|p| (p.dropped, p.kept)).collect::<Vec<_>>(), [(1, 0)]);
}

// Shards

/// The built-in texts in memory, and the same through shards.
fn both_ways() -> (Vec<Packed>, Vec<Packed>) {
    let sources = danlu::data::builtin_sources().unwrap();
    let split = split(&sources, &[]);
    let tokenizer = train_char(&danlu::data::training_texts(&sources, &split), 2000).unwrap();
    let packed = pack(&sources, &split, &tokenizer).unwrap();
    let through = |stream: &Stream, wide: bool| {
        let vocab_size = if wide { 70_000 } else { 2000 };
        let mut writer = ShardWriter::new(Vec::new(), vocab_size).unwrap();
        for i in 0..stream.documents() {
            let mut ids = Vec::new();
            stream.read(stream.document(i), &mut ids).unwrap();
            let bytes = if i == 0 { stream.bytes() as u32 } else { 0 };
            writer.push(&ids, stream.body(i).start - stream.document(i).start, bytes).unwrap();
        }
        let bytes = writer.finish().unwrap();
        for at in [0, 9, 12, 20, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(shard::open(&mut Cursor::new(bad), vocab_size).is_err(), "byte {at}");
        }
        for cut in [0, 10, bytes.len() - 1] {
            assert!(shard::open(&mut Cursor::new(&bytes[..cut]), vocab_size).is_err());
        }
        assert!(shard::open(&mut Cursor::new(&bytes), 72_000 - vocab_size).is_err(), "another width of ids");
        // From several shards with the same documents, so that reads cross shard boundaries.
        let table = shard::open(&mut Cursor::new(&bytes), vocab_size).unwrap();
        let mut picker = Picker::default();
        let mut from = 0;
        for i in 0..stream.documents() {
            picker.pick(i as u32 % 2 * (i as u32 % 3), &table, i, from);
            from += u64::from(table.lengths[i]);
        }
        let opener = move |_| -> std::io::Result<Box<dyn ReadSeek>> { Ok(Box::new(Cursor::new(bytes.clone()))) };
        picker.stream(Arc::new(Shards::new(vocab_size, Box::new(opener))))
    };
    let disk = packed.iter().enumerate().map(|(i, p)| Packed {
        name: p.name.clone(),
        weight: p.weight,
        train: through(&p.train, i == 0),
        held_out: through(&p.held_out, false),
    });
    let disk = disk.collect();
    (packed, disk)
}

#[test]
fn batches_from_disk_are_those_from_memory() {
    let (memory, disk) = both_ways();
    for (a, b) in memory.iter().zip(&disk) {
        assert_eq!(a.train.tokens().unwrap(), b.train.tokens().unwrap(), "{}", a.name);
        assert_eq!((a.held_out.len(), a.train.bytes()), (b.held_out.len(), b.train.bytes()));
    }
    let weights: Vec<f64> = memory.iter().map(|p| p.weight).collect();
    for window in [16, 64, 300] {
        let history = || History::new(&weights, Shape { rows: 8, window, micros: 1 }).unwrap();
        let mut a = Batcher::new(Arc::new(memory.clone()), 3, history()).unwrap();
        let mut b = Batcher::new(Arc::new(disk.clone()), 3, history()).unwrap();
        for step in [0, 1, 2, 50, 51, 3000] {
            assert_eq!(a.batch(step, 0).unwrap(), b.batch(step, 0).unwrap());
        }
    }
    let (a, b) = (&memory[1], &disk[1]);
    let base = |p: &Packed| danlu::data::baseline(&p.train, &p.held_out, 2000).unwrap();
    assert_eq!(base(a), base(b));
    let windows = |p: &Packed| danlu::data::windows(&p.held_out, 32, 1, 7).unwrap();
    assert_eq!(windows(a), windows(b));
}

// The funnel

fn load(dir: &Path, toml: &str) -> Result<(Corpus, Run), TrainError> {
    let run = Run::create(RealFs::shared(), &dir.join("run"), toml).unwrap();
    let config = RunConfig::parse(toml, &[], StageId::Pretrain).unwrap();
    let corpus = Corpus::load(&config, &run, &run.view().data_dir(), 600, false, &Monitor::default())?;
    Ok((corpus, run))
}

/// All dropped documents, read in pages.
fn all_dropped(run: &Run, version: &str) -> Vec<DroppedDocument> {
    let mut all = Vec::new();
    loop {
        let page = dropped(run.view(), version, (None, None), all.len(), 7).unwrap();
        if page.items.is_empty() {
            assert_eq!(all.len(), page.of);
            return all;
        }
        all.extend(page.items);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default()
    })]

    /// in = kept + Σ dropped, in documents and bytes; each dropped document has a line; each kept one is on one side of
    /// the split.
    #[test]
    fn the_funnel_adds_up(seed: u64, kinds in prop::collection::vec((0..7_u8, 0..3_u8), 1..120), masks: bool) {
        let dir = TempDir::new().unwrap();
        let mut chance = Chance(seed);
        let mut files = [String::new(), String::new(), String::new()];
        let mut poems: Vec<String> = Vec::new();
        for (kind, file) in kinds {
            let fresh: String = (0..40 + chance.below(60)).map(|_| han(&mut chance)).collect();
            let old = |chance: &mut Chance| poems.get(chance.below(poems.len())).cloned();
            let text = match kind {
                0 => fresh[..9].to_owned(),
                1 => old(&mut chance).unwrap_or(fresh),
                2 => old(&mut chance).map_or(fresh, |p| p.replacen(p.chars().next().unwrap(), "新", 1)),
                3 => { files[file as usize].push_str("{\"name\": 1}\n"); continue }
                4 => { files[file as usize].push_str("{broken\n"); continue }
                5 => format!("{fresh}，13800138000，a@b.com"),
                _ => fresh,
            };
            poems.push(text.clone());
            files[file as usize] += &(serde_json::json!({"text": text}).to_string() + "\n");
        }
        let records: usize = files.iter().map(|f| f.lines().count()).sum();
        let mut toml = "size = \"1m\"\n".to_owned();
        for (i, text) in files.iter().enumerate() {
            fs::write(dir.path().join(format!("{i}.jsonl")), text).unwrap();
            let profile = if masks && i == 1 { "code" } else { "poetry" };
writeln!(toml, "[[source]]\nname = \"{i}\"\npath = \"../{i}.jsonl\"\nprofile = \"{profile}\"").unwrap();
        }
        let Ok((corpus, run)) = load(dir.path(), &toml) else { return Ok(()) };
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        let (mut all, mut kept) = (0, 0);
        for (name, _, funnel) in &corpus.funnels {
            prop_assert!(adds_up(funnel), "{name}: {funnel:?}");
            all += funnel.documents_in;
            kept += funnel.kept.documents;
            for (rule, tally) in &funnel.dropped {
                *counted.entry(rule.clone()).or_default() += tally.documents;
            }
        }
        prop_assert_eq!(all, records as u64);
        let packed: usize = corpus.packed.iter().map(|p| p.train.documents() + p.held_out.documents()).sum();
        prop_assert_eq!(packed as u64, kept);
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for one in all_dropped(&run, &corpus.version) {
            *told.entry(one.rule.clone()).or_default() += 1;
            let file = format!("{}.jsonl", one.source);
            prop_assert!(one.place >= 1 && one.file.ends_with(&file));
            prop_assert_eq!(one.twin.is_some(), one.rule.ends_with("_duplicate"));
            if let Some(twin) = &one.twin {
                prop_assert!(one.value >= one.threshold && one.threshold >= 0.7 && twin.place >= 1);
                prop_assert!(!twin.text.is_empty() && (one.value < 1.0 || one.rule == "exact_duplicate" || one.text.is_some()));
            }
        }
        for (name, _, funnel) in &corpus.funnels {
            for (rule, tally) in &funnel.dropped {
                let page = dropped(run.view(), &corpus.version, (Some(name), Some(rule)), 0, 1000).unwrap();
                prop_assert_eq!((page.of as u64, page.items.len() as u64), (tally.documents, tally.documents));
                prop_assert!(page.items.iter().all(|d| d.source == *name && d.rule == *rule));
            }
        }
        prop_assert_eq!(told, counted);
    }
}

// Trials

/// Tries a threshold on the only source of `toml`.
fn tried(dir: &Path, toml: &str, rule: &str, threshold: f64, stop: bool) -> Result<Vec<Trial>, TrainError> {
    let config = RunConfig::parse(toml, &[], StageId::Pretrain).unwrap();
    let mut told = Vec::new();
    let stop = AtomicBool::new(stop);
    trial(dir, (&config.source[0], config.splits()), rule, threshold, &stop, &mut |t| told.push(t)).map(|()| told)
}

#[test]
fn a_trial_counts_what_cleaning_would_drop() {
    let dir = TempDir::new().unwrap();
    let mut chance = Chance(5);
    let mut files = [String::new(), String::new()];
    for i in 0..3000 {
        let mut text: String = (0..6 + chance.below(20)).map(|_| han(&mut chance)).collect();
        match i % 10 {
            0 => text.insert(0, '□'),
            1 => text += "0123456789",
            _ => {}
        }
        let line = if i % 50 == 0 { "{\"name\": 1}".to_owned() } else { serde_json::json!({"text": text}).to_string() };
        files[i % 2] += &(line + "\n");
    }
    for (i, text) in files.iter().enumerate() {
        fs::write(dir.path().join(format!("{i}.jsonl")), text).unwrap();
    }
    let toml = |rules: &str| {
        format!(
            "size = \"1m\"\n[[source]]\nname = \"a\"\npath = \"../*.jsonl\"\nprofile = \"poetry\"\ndedup = \"off\"\nrules = {{ {rules} }}\n"
        )
    };
    let cleaned = |rules: &str| {
        let folder = TempDir::new_in(dir.path()).unwrap();
        let (corpus, _) = load(folder.path(), &toml(rules).replace("../*", "../../*")).unwrap();
        let funnel = corpus.funnels[0].2.clone();
        (funnel.documents_in, funnel.documents_in - funnel.kept.documents)
    };
    let folder = dir.path().join("run");
    fs::create_dir(&folder).unwrap();
    for (rules, rule, threshold) in [
        ("", "too_short", 20.0),
        ("", "too_short", 8.0),
        ("", "lost_characters", 0.04),
        ("too_short = false", "too_short", 14.0),
        ("too_short = 10, few_letters = 0.7", "few_letters", 0.5),
        ("too_short = 10, too_long = 20", "too_long", 20.0),
    ] {
        let told = tried(&folder, &toml(rules), rule, threshold, false).unwrap();
        let last = told.last().unwrap();
        let others: Vec<&str> = rules.split(", ").filter(|r| !r.is_empty() && !r.starts_with(rule)).collect();
        let then = [others.join(", "), format!("{rule} = {threshold}")].join(if others.is_empty() { "" } else { ", " });
        let ((all, now), (_, then)) = (cleaned(rules), cleaned(&then));
        assert_eq!((last.documents, last.dropped_now, last.dropped_then), (all, now, then), "{rule} {threshold}");
        assert!(last.done && told[..told.len() - 1].iter().all(|t| !t.done));
        assert_eq!((last.back.len() == 8, last.gone.len() == 8), (then < now, then > now), "{rule} {threshold}");
        let at_least = rule != "too_long" && rule != "lost_characters";
        assert!(last.gone.iter().all(|(value, text)| (*value < threshold) == at_least && !text.is_empty()));
        assert!(last.back.iter().all(|(value, text)| (*value >= threshold) == at_least && !text.is_empty()));
    }
    assert!(matches!(tried(&folder, &toml(""), "too_short", 20.0, true), Err(TrainError::Stopped)));
    for (rule, threshold) in [("language", 0.5), ("too_short", f64::NAN), ("too_short", -1.0)] {
        assert!(matches!(tried(&folder, &toml(""), rule, threshold, false), Err(TrainError::Input(_))), "{rule}");
    }
}
