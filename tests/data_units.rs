//! Preparing text in units: an edit reprocesses only what it touches, the result equals preparing everything again, and
//! versions stay readable while they are needed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "common/texts.rs"]
mod texts;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Cursor,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use danlu::{
    base::StageId,
    data::{
        DataError, Packed,
        clean::{Masked, Profile},
        document::Document,
        split,
        stored::unit::{Cleaned, Summary, Unit, UnitWriter},
    },
    protocol::Monitor,
    store::{RealFs, Run},
    train::{
        Corpus, TrainError,
        config::{RunConfig, SourceConfig},
        corpus::{Effort, Preparing, dropped, open_version, prune},
    },
};
use proptest::{prelude::*, test_runner::RngSeed};
use tempfile::TempDir;
use texts::{Chance, adds_up, jsonl};

fn poem(chance: &mut Chance) -> String {
    chance.han(30, 800)
}

/// A run over folders beside it, all with one profile.
struct Room {
    dir: TempDir,
    config: RunConfig,
}

impl Room {
    fn new(sources: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        fs::write(dir.path().join("run/run.toml"), "size = \"1m\"\n").unwrap();
        let source = |name: &&str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            let path = format!("../{name}");
            SourceConfig { name: (*name).to_owned(), path, weight: 1.0, profile: Profile::Poetry, ..Default::default() }
        };
        let source = sources.iter().map(source).collect();
        let config = RunConfig { source, ..RunConfig::parse("size = \"1m\"", &[], StageId::Pretrain).unwrap() };
        Self { dir, config }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write<'a>(&self, file: &str, poems: impl IntoIterator<Item = &'a String>) {
        fs::write(self.path(file), jsonl(poems)).unwrap();
    }

    fn open(&self) -> Run {
        Run::open(RealFs::shared(), &self.path("run")).unwrap()
    }

    fn load(&self, run: &Run) -> Result<Corpus, TrainError> {
        Corpus::load(&self.config, run, &run.view().data_dir(), 600, false, &Monitor::default())
    }

    /// The same prepared from nothing, in a run beside it.
    fn fresh(&self) -> (Corpus, Run) {
        let dir = self.path("fresh");
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        let run = Run::create(RealFs::shared(), &dir, "size = \"1m\"\n").unwrap();
        (self.load(&run).unwrap(), run)
    }

    fn prepared(&self, kind: &str) -> Vec<String> {
        let names = fs::read_dir(self.path("run/data")).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(kind)).collect()
    }
}

fn tokens(packed: &[Packed]) -> Vec<(String, Vec<u32>, Vec<u32>)> {
    let side = |stream: &danlu::data::Stream| stream.tokens().unwrap().into_owned();
    packed.iter().map(|p| (p.name.clone(), side(&p.train), side(&p.held_out))).collect()
}

/// Everything reported about dropped documents, in a canonical order: neither the run's folder nor the grouping of
/// files that follows from it matters.
fn all_dropped(run: &Run, version: &str) -> Vec<String> {
    let page = dropped(run.view(), version, (None, None), 0, usize::MAX / 2).unwrap();
    let dir = run.view().dir().to_string_lossy().into_owned();
    let mut told: Vec<String> = page.items.iter().map(|d| format!("{d:?}").replace(&dir, "")).collect();
    told.sort();
    told
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::default()
    })]

    /// After any edits, incremental decisions equal those made from nothing.
    #[test]
    fn an_edit_equals_preparing_from_nothing(seed: u64, edits in prop::collection::vec(0..7_u8, 1..7)) {
        let mut chance = Chance(seed);
        let mut room = Room::new(&["a", "b", "c"]);
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut known: Vec<String> = Vec::new();
        let text = |chance: &mut Chance, known: &mut Vec<String>| {
            let old = known.get(chance.below(known.len())).cloned();
            let text = match (chance.below(6), old) {
                (0, Some(old)) => old,
                (1 | 2, Some(old)) => {
                    // Nearly the same: some letters are changed.
                    let mut letters: Vec<char> = old.chars().collect();
                    for _ in 0..=chance.below(3) {
                        let at = chance.below(letters.len());
                        letters[at] = '新';
                    }
                    letters.into_iter().collect()
                }
                (3, _) => poem(chance).chars().take(5).collect(),
                _ => poem(chance),
            };
            known.push(text.clone());
            text
        };
        for i in 0..40 {
            let name = format!("{}/{i}.jsonl", ["a", "b", "c"][i % 3]);
            files.insert(name, (0..3).map(|_| text(&mut chance, &mut known)).collect());
        }
        for (name, poems) in &files {
            room.write(name, poems);
        }
        let run = room.open();
        // With an existing tokenizer, as in a run in training.
        let first = room.load(&run).unwrap();
        fs::write(room.path("run/data/tokenizer.json"), first.tokenizer.json()).unwrap();
        room.load(&run).unwrap();
        for edit in edits {
            let names: Vec<String> = files.keys().cloned().collect();
            let name = names[chance.below(names.len())].clone();
            match edit {
                0 if files.len() > 20 => {
                    files.remove(&name);
                    fs::remove_file(room.path(&name)).unwrap();
                }
                1 => {
                    let new = format!("{}/new{}.jsonl", &name[..1], chance.below(1000));
                    files.insert(new.clone(), vec![text(&mut chance, &mut known)]);
                    room.write(&new, &files[&new]);
                }
                2 => room.config.source.rotate_left(1),
                3 => {
                    // A copy of a whole file.
                    let twin = format!("{}/twin{}.jsonl", ["a", "b", "c"][chance.below(3)], chance.below(1000));
                    files.insert(twin.clone(), files[&name].clone());
                    room.write(&twin, &files[&twin]);
                }
                _ => {
                    let at = chance.below(files[&name].len());
                    let poem = text(&mut chance, &mut known);
                    files.get_mut(&name).unwrap()[at] = poem;
                    room.write(&name, &files[&name]);
                }
            }
            let again = room.load(&run).unwrap();
            if edit != 2 {
                prop_assert!(again.effort.compared < 121, "{:?}", again.effort);
            }
            fs::remove_dir_all(room.path("fresh")).ok();
            let other = Run::create(RealFs::shared(), &room.path("fresh"), "size = \"1m\"\n").unwrap();
            fs::write(room.path("fresh/data/tokenizer.json"), first.tokenizer.json()).unwrap();
            let fresh = room.load(&other).unwrap();
            prop_assert_eq!(&again.funnels, &fresh.funnels);
            prop_assert_eq!(tokens(&again.packed), tokens(&fresh.packed));
            prop_assert_eq!(&again.digest, &fresh.digest);
            prop_assert_eq!(all_dropped(&run, &again.version), all_dropped(&other, &fresh.version));
            prop_assert!(again.funnels.iter().all(|(_, _, f)| adds_up(f)));
        }
    }

    /// Whatever a unit's file contains, it is read or refused with a message.
    #[test]
    fn any_unit_is_read_or_refused(cut in 0..3000_usize, at in 0..3000_usize, byte: u8, junk in prop::collection::vec(any::<u8>(), 0..200)) {
        let whole = unit_of(7);
        let mut bad = whole.clone();
        let at = at % bad.len();
        bad[at] ^= byte;
        let cut = cut.min(whole.len());
        for bytes in [&bad[..], &whole[..cut], &junk[..], &[&whole[..cut], &junk].concat()] {
            let read = Unit::open(Box::new(Cursor::new(bytes.to_vec()))).and_then(|mut unit| unit.check());
            prop_assert!(read.is_err() || bytes == whole, "byte {at} ^ {byte}, cut at {cut}");
            if let Err(e) = read {
                prop_assert!(matches!(e, DataError::Damaged(_) | DataError::Io(_)), "{e}");
            }
        }
    }
}

/// A unit of some documents in three blocks.
fn unit_of(documents: u64) -> Vec<u8> {
    let mut writer = UnitWriter::new(Vec::new()).unwrap();
    let mut chance = Chance(documents);
    let mut summary = Summary { files: vec!["one".to_owned()], ..Summary::default() };
    for block in 0..3 {
        let mut some = Vec::new();
        for place in 0..documents * block {
            let document = Document::poem("题", "人", &poem(&mut chance));
            summary.funnel.keep(9, Masked::default());
            let (key, bands) = (split::key(document.body()), Some([chance.next(); 14]));
            some.push(Cleaned { document, key, fingerprint: None, bands, file: 0, place, bytes: 9 });
        }
        writer.push(&some, b"{\"rule\":\"x\"}\n").unwrap();
    }
    writer.finish(summary).unwrap().0
}

#[test]
fn a_unit_gives_back_what_was_put_in() {
    let mut unit = Unit::open(Box::new(Cursor::new(unit_of(9)))).unwrap();
    assert_eq!((unit.index().documents(), unit.index().blocks()), (27, 3));
    let mut chance = Chance(9);
    for block in 0..3 {
        let entries = unit.entries(block).unwrap();
        let texts = unit.texts(block, |row| row % 4 != 3).unwrap();
        let (keys, last) = (unit.keys(block).unwrap(), unit.band(block, 13).unwrap());
        let columns = unit.columns(block).unwrap();
        for row in 0..unit.index().rows(block) {
            let document = Document::poem("题", "人", &poem(&mut chance));
            assert_eq!(unit.text(block, &entries[row]).unwrap(), document.text());
            assert_eq!((keys[row], last[row]), (split::key(document.body()), chance.next()));
            assert_eq!((columns.bands(row), columns.fingerprint(row)), ([last[row]; 14], None));
            let listed = texts.iter().find(|(at, _, _)| *at == row).map(|(_, _, text)| text.as_str());
            assert_eq!(listed, (row % 4 != 3).then(|| document.text()));
        }
        assert!(unit.fingerprints(block).unwrap().iter().all(Option::is_none));
        assert_eq!(unit.verdicts(block).unwrap(), b"{\"rule\":\"x\"}\n");
    }
}

/// One poem per file in a folder.
fn filled(room: &Room, files: usize) -> Chance {
    let mut chance = Chance(3);
    for i in 0..files {
        let poems: Vec<String> = (0..20).map(|_| poem(&mut chance)).collect();
        room.write(&format!("a/{i:03}.jsonl"), &poems);
    }
    chance
}

#[test]
fn a_changed_file_remakes_only_its_unit() {
    let room = Room::new(&["a"]);
    let mut chance = filled(&room, 60);
    // A large file is a unit.
    let large: Vec<String> = (0..3000).map(|_| poem(&mut chance)).collect();
    room.write("a/large.jsonl", &large);
    let run = room.open();
    let first = room.load(&run).unwrap();
    fs::write(room.path("run/data/tokenizer.json"), first.tokenizer.json()).unwrap();
    let units = room.prepared("unit-").len();
    assert!((5..20).contains(&units) && first.effort.cleaned == units && first.effort.tokenised == units);
    let same = room.load(&run).unwrap();
    assert_eq!((same.effort, &same.digest), (Effort::default(), &first.digest));
    assert_eq!(same.version, first.version);

    room.write("a/017.jsonl", &[poem(&mut chance), large[7].clone()]);
    let edited = room.load(&run).unwrap();
    assert_eq!((edited.effort.cleaned, edited.effort.tokenised), (1, 1));
    assert!(edited.effort.compared < 1000, "{:?}", edited.effort);
    assert_ne!((&edited.version, &edited.digest), (&first.version, &first.digest));
    let repeated = dropped(run.view(), &edited.version, (Some("a"), Some("exact_duplicate")), 0, 9).unwrap();
    assert_eq!((repeated.of, repeated.items[0].place), (1, 8), "the copy in the file that comes first stays");
    let twin = repeated.items[0].twin.as_ref().unwrap();
    assert!(
        twin.file.ends_with("017.jsonl") && twin.place == 2 && repeated.items[0].text.as_deref() == Some(&twin.text)
    );
}

#[test]
fn versions_are_kept_while_they_are_wanted() {
    let room = Room::new(&["a"]);
    let mut chance = filled(&room, 30);
    let run = room.open();
    let first = room.load(&run).unwrap();
    fs::write(room.path("run/data/tokenizer.json"), first.tokenizer.json()).unwrap();
    let first = room.load(&run).unwrap();
    let were = tokens(&first.packed);
    room.write("a/004.jsonl", &[poem(&mut chance)]);

    // In another thread, while the run is owned here.
    let preparing = Preparing {
        config: room.config.clone(),
        preparer: run.preparer(),
        known: run.view().data_dir(),
        vocab_size: 600,
        chat: false,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let stopped = Arc::clone(&preparing.stop);
    stopped.store(true, Ordering::Relaxed);
    let preparing = std::thread::spawn(move || {
        assert!(matches!(preparing.run(), Err(TrainError::Stopped)));
        preparing
    });
    let preparing = preparing.join().unwrap();
    stopped.store(false, Ordering::Relaxed);
    let second = std::thread::spawn(move || preparing.run().unwrap()).join().unwrap();
    assert_ne!(first.version, second.version);

    // Both can be read, and the first is removed when it is not needed.
    prune(&run.preparer(), &second.version, std::slice::from_ref(&first.version)).unwrap();
    let opened = open_version(run.view(), &first.version, &room.config).unwrap();
    assert_eq!((tokens(&opened), tokens(&first.packed)), (were.clone(), were));
    assert_eq!((room.prepared("version-").len(), opened[0].weight), (2, 1.0));
    let units: HashSet<String> = room.prepared("unit-").into_iter().collect();
    prune(&run.preparer(), &second.version, &[]).unwrap();
    assert!(open_version(run.view(), &first.version, &room.config).is_none());
    assert_eq!((room.prepared("version-").len(), room.prepared("unit-").len()), (1, units.len() - 1));
    assert_eq!(tokens(&room.load(&run).unwrap().packed), tokens(&second.packed));
    // Without sources nothing of it is needed.
    prune(&run.preparer(), "builtin", &[]).unwrap();
    assert_eq!(room.prepared("unit-").len() + room.prepared("ids-").len() + room.prepared("version-").len(), 0);
}

#[test]
fn a_source_of_which_nothing_is_left_keeps_its_place() {
    let mut room = Room::new(&["a", "b"]);
    filled(&room, 5);
    room.write("b/short.jsonl", &["短".to_owned()]);
    room.config.source.rotate_left(1);
    let corpus = room.load(&room.open()).unwrap();
    assert_eq!(corpus.packed.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert!(corpus.packed[0].train.is_empty() && corpus.packed[0].held_out.is_empty());
    assert_eq!(corpus.packed[1].train.documents() + corpus.packed[1].held_out.documents(), 100);
}

/// A file with the same time and length can still be a different one.
#[test]
#[cfg(unix)]
fn a_file_that_is_replaced_is_noticed() {
    let room = Room::new(&["a"]);
    let mut chance = filled(&room, 3);
    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    let set = |file: &str| fs::File::options().append(true).open(room.path(file)).unwrap().set_modified(old).unwrap();
    (0..3).for_each(|i| set(&format!("a/{i:03}.jsonl")));
    let run = room.open();
    let first = room.load(&run).unwrap();
    let poems: Vec<String> = (0..20).map(|_| poem(&mut chance)).collect();
    let length = fs::metadata(room.path("a/001.jsonl")).unwrap().len();
    room.write("a/001.jsonl", &poems);
    set("a/001.jsonl");
    assert_eq!(fs::metadata(room.path("a/001.jsonl")).unwrap().len(), length);
    let second = room.load(&run).unwrap();
    assert_eq!(second.effort.cleaned, 1);
    assert_ne!(first.digest, second.digest);
    let (fresh, _run) = room.fresh();
    assert_eq!(fresh.digest, second.digest);
}
