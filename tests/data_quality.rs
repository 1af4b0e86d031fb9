//! Sources filtered by the quality classifier: what it drops, its training samples, and what is made again when.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "common/texts.rs"]
mod texts;

use std::{fs, path::Path};

use danlu::{
    base::StageId,
    protocol::Monitor,
    store::{RealFs, Run},
    train::{
        Corpus, TrainError,
        config::RunConfig,
        corpus::{Marks, dropped, prune},
    },
};
use tempfile::TempDir;
use texts::{Chance, adds_up, jsonl};

/// A text of one of two kinds, which share half of their characters.
fn text_of(chance: &mut Chance, good: bool) -> String {
    let first = if good { 0 } else { 200 };
    (0..80).map(|_| char::from_u32(0x4E00 + first + chance.below(400) as u32).unwrap()).collect()
}

const TOML: &str = "size = \"1m\"\n[[source]]\nname = \"web\"\npath = \"../web\"\nquality = true\n[[source]]\nname = \"wiki\"\npath = \"../wiki\"\n";
const BY_BOUND: &str = "[quality]\nreference = \"wiki\"\nrule = \"threshold\"\n";

fn write(path: &Path, texts: impl IntoIterator<Item = String>) {
    texts::write(path, jsonl(texts));
}

/// A web folder in which every third text is good, and a wiki folder of good ones.
fn folders() -> TempDir {
    let (dir, mut chance) = (TempDir::new().unwrap(), Chance(1));
    for file in 0..4 {
        let web: Vec<String> = (0..150).map(|i| text_of(&mut chance, i % 3 == 0)).collect();
        write(&dir.path().join(format!("web/{file}.jsonl")), web);
    }
    let wiki: Vec<String> = (0..300).map(|_| text_of(&mut chance, true)).collect();
    write(&dir.path().join("wiki/0.jsonl"), wiki);
    dir
}

fn open(dir: &TempDir, name: &str) -> Run {
    let path = dir.path().join(name);
    if path.join("run.toml").exists() {
        return Run::open(RealFs::shared(), &path).unwrap();
    }
    Run::create(RealFs::shared(), &path, "size = \"1m\"\n").unwrap()
}

fn load(run: &Run, toml: &str) -> Result<Corpus, TrainError> {
    let config = RunConfig::parse(toml, &[], StageId::Pretrain).unwrap();
    Corpus::load(&config, run, &run.view().data_dir(), 1500, false, &Monitor::default())
}

fn by_quality(corpus: &Corpus) -> [u64; 2] {
    [0, 1].map(|i| corpus.funnels[i].2.dropped.get("quality").map_or(0, |t| t.documents))
}

#[test]
fn a_source_is_filtered_by_likeness_to_another() {
    let dir = folders();
    let toml = format!("{TOML}{BY_BOUND}");
    let run = open(&dir, "run");
    let corpus = load(&run, &toml).unwrap();
    assert!(corpus.funnels.iter().all(|(_, _, funnel)| adds_up(funnel)));
    let [web, wiki] = by_quality(&corpus);
    // 400 of its 600 are of the other kind.
    assert!((360..=440).contains(&web) && wiki == 0, "{web} {wiki}");
    let note = corpus.notes.iter().find(|n| n.contains("AUC")).unwrap();
    let auc: f64 = note.split("AUC ").nth(1).unwrap()[..5].parse().unwrap();
    assert!((0.75..0.95).contains(&auc), "a third of the web is as good: {note}");
    let page = dropped(run.view(), &corpus.version, (Some("web"), Some("quality")), 0, 1000).unwrap();
    assert_eq!((page.of as u64, page.items.len() as u64), (web, web));
    let is_bad = |text: &str| text.chars().any(|c| u32::from(c) >= 0x4E00 + 400);
    let wrong = page.items.iter().filter(|d| !is_bad(d.text.as_deref().unwrap())).count();
    assert!(wrong as u64 <= web / 10, "{wrong} good ones of {web}");
    assert!(page.items.iter().all(|d| d.value < d.threshold && d.threshold == 0.5 && d.twin.is_none()));

    // Existing data are used; starting from nothing gives the same.
    assert_eq!(load(&run, &toml).unwrap().digest, corpus.digest);
    assert_eq!(load(&open(&dir, "other"), &toml).unwrap().digest, corpus.digest);
    // An edit gives the same result as starting from nothing, and only its units are cleaned.
    let mut chance = Chance(9);
    write(&dir.path().join("web/2.jsonl"), (0..150).map(|i| text_of(&mut chance, i % 2 == 0)).collect::<Vec<_>>());
    let edited = load(&run, &toml).unwrap();
    let fresh = load(&open(&dir, "third"), &toml).unwrap();
    assert_eq!((&edited.digest, by_quality(&edited)), (&fresh.digest, by_quality(&fresh)));
    assert_ne!(edited.digest, corpus.digest);

    // The Pareto rule keeps some low scores, by the documents' keys.
    let pareto = load(&run, &toml.replace("threshold", "pareto")).unwrap();
    let [web, _] = by_quality(&pareto);
    assert!(web > 400 && web < 590, "{web}");
    let page = dropped(run.view(), &pareto.version, (None, Some("quality")), 0, 1000).unwrap();
    assert!(page.items.iter().all(|d| d.value <= d.threshold) && page.items.iter().any(|d| d.threshold < 0.9));
    // With α = 0.01 draws are so high that almost nothing is dropped.
    let lenient = load(&run, &format!("{TOML}[quality]\nreference = \"wiki\"\nalpha = 0.01\n")).unwrap();
    assert!(by_quality(&lenient)[0] < 12, "{:?}", by_quality(&lenient));

    // The classifier is removed with the versions made by it, and damage to it is harmless.
    prune(&run.preparer(), &edited.version, &[]).unwrap();
    let models = || -> Vec<_> {
        let entries = fs::read_dir(run.view().data_dir()).unwrap().map(|e| e.unwrap().path());
        entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("quality-")).collect()
    };
    assert_eq!(models().len(), 1);
    let bytes = fs::read(&models()[0]).unwrap();
    let mut turned = bytes.clone();
    turned[bytes.len() / 2] ^= 1;
    fs::write(&models()[0], &turned).unwrap();
    let bound = toml.replace("rule =", "threshold = 0.4\nrule =");
    assert!(by_quality(&load(&run, &bound).unwrap())[0] < by_quality(&edited)[0]);
    assert_eq!(fs::read(&models()[0]).unwrap(), bytes, "it is made again, to the bit");
}

#[test]
fn marks_say_what_is_wanted() {
    let dir = folders();
    let run = open(&dir, "run");
    let toml = format!("{TOML}[quality]\nrule = \"threshold\"\n");
    let mut chance = Chance(3);
    for _ in 0..9 {
        Marks::append(&run, &text_of(&mut chance, true), Some(true)).unwrap();
    }
    let error = load(&run, &toml).map(drop).unwrap_err();
    let words = error.to_string();
    for part in ["source web", "reference", "[quality]", "mark 10 texts", "marks.jsonl has 9"] {
        assert!(words.contains(part), "{words}");
    }
    assert!(matches!(error, TrainError::Input(_)));
    for i in 0..60 {
        Marks::append(&run, &text_of(&mut chance, i % 2 == 0), Some(i % 2 == 0)).unwrap();
    }
    let corpus = load(&run, &toml).unwrap();
    let note = corpus.notes.iter().find(|n| n.contains("quality: ")).unwrap();
    assert!(note.contains("39 marks") && note.contains("and 30 marks") && note.contains("not measured"), "{note}");
    let page = dropped(run.view(), &corpus.version, (None, Some("quality")), 0, 1000).unwrap();
    let is_bad = |text: &str| text.chars().any(|c| u32::from(c) >= 0x4E00 + 400);
    let right = page.items.iter().filter(|d| is_bad(d.text.as_deref().unwrap())).count();
    assert!(page.of > 200 && right * 10 >= page.of * 8, "{right} of {}", page.of);
    // Removing a mark changes the classifier.
    let (text, _) = Marks::read(run.view()).unwrap().texts[0].clone();
    Marks::append(&run, &text, None).unwrap();
    assert_ne!(load(&run, &toml).unwrap().version, corpus.version);
    // Marks are not text of a source whose folder contains them.
    let inside = toml.replace("../wiki", "../run/data/**/*.jsonl").replace("quality = true\n", "");
    let error = load(&run, &inside).map(drop).unwrap_err().to_string();
    assert!(error.contains("matches no readable file"), "{error}");
}

#[test]
fn a_table_that_cannot_be_honoured_is_refused() {
    let parse = |rest: &str| RunConfig::parse(&format!("{TOML}{rest}"), &[], StageId::Pretrain);
    for (rest, words) in [
        ("[quality]\nreference = \"wikl\"\n", ["\"wikl\"", "did you mean \"wiki\"?"]),
        ("[quality]\nreference = \"web\"\n", ["\"web\"", "quality = true"]),
        ("[quality]\nalpha = 0\n", ["quality.alpha is 0", "more than 0"]),
        ("[quality]\nthreshold = 1.5\n", ["quality.threshold is 1.5", "0 to 1"]),
        ("[quality]\nrule = \"best\"\n", ["best", "pareto"]),
        ("[quality]\nreferense = \"wiki\"\n", ["referense", "did you mean \"reference\"?"]),
    ] {
        let error = parse(rest).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    }
    assert_eq!(parse("").unwrap().quality, parse("[quality]\n").unwrap().quality);
    let written = parse(BY_BOUND).unwrap().to_toml().unwrap();
    assert_eq!(RunConfig::parse(&written, &[], StageId::Pretrain).unwrap(), parse(BY_BOUND).unwrap());
}
