//! `danlu data` and training on the user's own folder, from outside.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::{fs, io::Write as _, path::Path};

use common::{
    command, danlu,
    texts::{self, jsonl, lines},
    train,
};
use serde_json::Value;
use tempfile::TempDir;

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    texts::write(&dir.join(name), bytes);
}

fn poem(i: u32) -> String {
    let [a, b, c, d] = lines(i, 1500);
    format!("{a}，{b}。{c}，{d}。")
}

/// A run with this text in run.toml after its size.
fn run(dir: &TempDir, toml: &str) -> std::path::PathBuf {
    let run = dir.path().join("run");
    write(&run, "run.toml", format!("size = \"1m\"\n{toml}"));
    run
}

fn data(run: &Path) -> Vec<Value> {
    danlu(["data", "--json", "--run", run.to_str().unwrap()]).good().objects()
}

fn named<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|l| l["event"] == event).collect()
}

fn notes(lines: &[Value]) -> String {
    named(lines, "note").iter().map(|l| l["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_built_in_data_is_described() {
    let dir = TempDir::new().unwrap();
    let lines = data(&dir.path().join("run"));
    let sources = named(&lines, "source");
    assert_eq!(sources.len(), 5);
    assert!(sources.iter().all(|s| s["documents_in"] == s["documents_out"] && s["tokens"].as_u64().unwrap() > 0));
    let funnel = named(&lines, "funnel")[0];
    assert_eq!(lines.last().unwrap(), funnel);
    assert_eq!(funnel["rules"], serde_json::json!({}));
    let sum = |key: &str| sources.iter().map(|s| s[key].as_u64().unwrap()).sum::<u64>();
    for key in ["documents_in", "documents_out", "tokens"] {
        assert_eq!(funnel[key].as_u64().unwrap(), sum(key));
    }
    assert!(named(&lines, "tokenizer")[0]["characters_per_token"].as_f64().unwrap() > 0.9);
}

#[test]
fn a_folder_of_poems_is_cleaned_once_and_trained_on() {
    let dir = TempDir::new().unwrap();
    let first = jsonl((0..200).map(poem));
    let near = poem(3).replacen('。', "", 1);
    let fragments = ["短句".to_owned(), "春眠不觉晓".to_owned()];
    write(dir.path(), "a/first.jsonl", &first);
    write(
        dir.path(),
        "b/second.jsonl",
        jsonl((190..260).map(poem).chain([near]).chain(fragments)) + "{\"name\":\"李白\"}\n",
    );
    let toml = "[[source]]\nname = \"a\"\npath = \"../a\"\nprofile = \"poetry\"\n[[source]]\nname = \"b\"\npath = \"../b/*.jsonl\"\nweight = 2\nprofile = \"poetry\"\n[model]\nvocab_size = 600\n";
    let run = run(&dir, toml);
    let lines = data(&run);
    let (sources, funnel) = (named(&lines, "source"), named(&lines, "funnel")[0]);
    assert_eq!((&sources[0]["documents_in"], &sources[0]["documents_out"]), (&200.into(), &200.into()));
    assert_eq!((&sources[1]["documents_in"], &sources[1]["documents_out"]), (&74.into(), &60.into()));
    let rules = serde_json::json!({"exact_duplicate": 10, "near_duplicate": 1, "no_text_field": 1, "too_short": 2});
    assert_eq!((&sources[1]["rules"], &funnel["rules"]), (&rules, &rules));
    assert_eq!(sources[1]["weight"], 2.0);
    assert!(notes(&lines).contains("no field \"text\""), "{}", notes(&lines));

    // Nothing is done twice, and the user's files are unchanged.
    let made = || -> Vec<_> {
        let entries = fs::read_dir(run.join("data")).unwrap().map(|e| e.unwrap());
        let mut all: Vec<_> = entries.map(|e| (e.file_name(), e.metadata().unwrap().modified().unwrap())).collect();
        all.sort();
        all
    };
    let before = made();
    // For each source a unit and its ids; the version, the tokenizer.
    assert_eq!(before.len(), 6, "{before:?}");
    let again = data(&run);
    assert_eq!(named(&again, "source"), sources);
    train(&run, &["steps=3"], &[]).good();
    let after = made();
    assert!(before.iter().all(|b| after.contains(b)), "training reads what is there: {before:?} {after:?}");
    assert_eq!(fs::read_to_string(dir.path().join("a/first.jsonl")).unwrap(), first);

    // A changed file is a new unit, and data made from the old one are removed.
    write(dir.path(), "a/first.jsonl", jsonl((0..150).map(poem)));
    assert_eq!(named(&data(&run), "source")[0]["documents_out"], 150);
    let count = |kind: &str| made().iter().filter(|(name, _)| name.to_string_lossy().starts_with(kind)).count();
    // Only after training has continued with it: a run resumed from its checkpoint starts with the data it was trained
    // on.
    assert_eq!((count("unit-"), count("ids-"), count("version-")), (3, 3, 2));
    train(&run, &["steps=5"], &[]).good();
    assert_eq!((count("unit-"), count("ids-"), count("version-")), (2, 2, 1));
}

/// A user's text may be in the run's data folder, with any name.
#[test]
fn text_within_the_run_is_read_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let run = run(&dir, "[[source]]\nname = \"a\"\npath = \"data/**/*.jsonl\"\n");
    for name in ["data/text-files/a.jsonl", "data/tokens-b.jsonl"] {
        write(&run, name, jsonl((0..40).map(|i| poem(i + name.len() as u32 * 100))));
    }
    let lines = data(&run);
    assert_eq!(named(&lines, "source")[0]["documents_in"], 80);
    write(&run, "data/text-files/c.jsonl", jsonl((900..910).map(poem)));
    assert_eq!(named(&data(&run), "source")[0]["documents_in"], 90, "what was prepared is not read again");
    assert!(run.join("data/text-files/a.jsonl").is_file() && run.join("data/tokens-b.jsonl").is_file());
}

#[test]
fn a_damaged_shard_is_made_again() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.jsonl", jsonl((0..60).map(poem)));
    let run = run(&dir, "[[source]]\nname = \"a\"\npath = \"../a.jsonl\"\n");
    let lines = data(&run);
    let shard = made(&run, "ids-");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[40] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    assert_eq!(named(&data(&run), "source"), named(&lines, "source"));
    bytes[40] ^= 1;
    assert!(fs::read(&shard).unwrap() == bytes);
}

#[test]
fn dropped_documents_are_listed_with_their_reasons() {
    let dir = TempDir::new().unwrap();
    let near = poem(3).replacen('。', "", 1);
    write(dir.path(), "a.jsonl", jsonl((0..60).map(poem)));
    write(dir.path(), "b.jsonl", jsonl([poem(3), near.clone(), "短句".to_owned()]) + "{\"name\":\"李白\"}\n");
    let source =
        |name: &str| format!("[[source]]\nname = \"{name}\"\npath = \"../{name}.jsonl\"\nprofile = \"poetry\"\n");
    let run = run(&dir, &(source("a") + &source("b")));
    let told = |rule: &[&str]| {
        let args = ["data", "--json", "--run", run.to_str().unwrap(), "--dropped"];
        let lines = danlu(args.iter().chain(rule)).good().objects();
        assert_eq!(lines.last().unwrap()["event"], "funnel");
        named(&lines, "dropped").into_iter().cloned().collect::<Vec<_>>()
    };
    let all = told(&[]);
    let rules: Vec<&str> = all.iter().map(|d| d["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["too_short", "no_text_field", "exact_duplicate", "near_duplicate"]);
    assert!(all.iter().all(|d| d["source"] == "b" && d["file"].as_str().unwrap().ends_with("b.jsonl")));
    assert_eq!((&all[0]["value"], &all[0]["threshold"], &all[0]["text"]), (&2.0.into(), &14.0.into(), &"短句".into()));
    assert_eq!((&all[0]["place"], &all[0]["of"], &all[1]["place"]), (&3.into(), &Value::Null, &4.into()));
    let pairs = told(&["near_duplicate"]);
    assert_eq!(pairs, all[3..]);
    assert_eq!((&pairs[0]["text"], &pairs[0]["of"]["text"]), (&near.into(), &poem(3).into()));
    assert_eq!((&pairs[0]["of"]["source"], &pairs[0]["of"]["place"]), (&"a".into(), &4.into()));
    assert!(pairs[0]["value"].as_f64().unwrap() >= 0.7 && told(&["nothing_such"]).is_empty());
}

/// Whichever byte of whichever prepared file is changed or missing, the result is the same.
#[test]
fn damage_to_prepared_data_is_noticed_and_made_again() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.jsonl", jsonl((0..60).map(poem).chain([poem(3)])));
    let run = run(&dir, "[[source]]\nname = \"a\"\npath = \"../a.jsonl\"\nprofile = \"poetry\"\n");
    let lines = data(&run);
    for kind in ["unit-", "ids-", "version-"] {
        let path = made(&run, kind);
        let whole = fs::read(&path).unwrap();
        for at in [3, whole.len() / 3, whole.len() / 2, whole.len() - 50, whole.len() - 1] {
            let mut bad = whole.clone();
            bad[at] ^= 4;
            for bytes in [&bad[..], &bad[..at], &[]] {
                fs::write(&path, bytes).unwrap();
                if kind == "unit-" {
                    // A unit is not read while its ids and its version are intact.
                    assert_eq!(named(&data(&run), "source"), named(&lines, "source"));
                    fs::remove_file(made(&run, "ids-")).unwrap();
                    fs::remove_file(made(&run, "version-")).unwrap();
                }
                assert_eq!(named(&data(&run), "source"), named(&lines, "source"), "{kind} at {at}");
                assert!(fs::read(made(&run, kind)).unwrap() == whole, "{kind} at {at}");
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(named(&data(&run), "source"), named(&lines, "source"));
            fs::write(&path, &whole).unwrap();
        }
    }
}

/// The only prepared file of a kind.
fn made(run: &Path, kind: &str) -> std::path::PathBuf {
    let paths = fs::read_dir(run.join("data")).unwrap().map(|e| e.unwrap().path());
    paths.into_iter().find(|p| p.file_name().unwrap().to_string_lossy().starts_with(kind)).unwrap()
}

#[test]
fn a_probe_that_is_not_recall_is_trained_on_nowhere() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.jsonl", jsonl((0..60).map(poem)));
    let (prompt, expected) = (&poem(7)[..18], &poem(7)[18..]);
    let probe = |recall: bool| {
        let toml = format!(
            "[[source]]\nname = \"a\"\npath = \"../a.jsonl\"\n[[probe]]\nprompt = {prompt:?}\nexpected = {expected:?}\nrecall = {recall}\n"
        );
        let lines = data(&run(&dir, &toml));
        let funnel = named(&lines, "funnel")[0].clone();
        (funnel["documents_out"].as_u64().unwrap(), funnel["rules"]["probe"].as_u64().unwrap_or(0))
    };
    assert_eq!((probe(false), probe(true)), ((59, 1), (60, 0)));
}

#[test]
fn text_is_simplified_and_masked_where_configured() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.txt", "春眠不覺曉，處處聞啼鳥。\n夜來風雨聲，花落知多少。\n");
    write(dir.path(), "b.txt", "fn mail() { send(\"someone@example.org\", \"10.1.2.3\") }\n");
    let run = run(
        &dir,
        "[[source]]\nname = \"a\"\npath = \"../a.txt\"\nsimplify = true\n[[source]]\nname = \"b\"\npath = \"../b.txt\"\nprofile = \"code\"\n",
    );
    let lines = data(&run);
    let funnel = named(&lines, "funnel")[0];
    assert_eq!(funnel["masked"], serde_json::json!({"addresses": 1, "emails": 1, "identities": 0, "phones": 0}));
    let paths = fs::read_dir(run.join("data")).unwrap().map(|e| e.unwrap().path());
    let units = paths.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("unit-"));
    let texts: String = units.map(|p| String::from_utf8_lossy(&fs::read(p).unwrap()).into_owned()).collect();
    assert!(texts.contains("春眠不觉晓，处处闻啼鸟。") && texts.contains("**MASKED**EMAIL**"), "{texts}");
    assert!(!texts.contains("someone"));
}

#[test]
fn a_bound_of_a_source_holds_and_remakes_the_text() {
    let dir = TempDir::new().unwrap();
    let short = ["春眠不觉晓，处处闻啼鸟。", "夜来风雨声，花落知多少。"].map(str::to_owned);
    write(dir.path(), "a.jsonl", jsonl((0..20).map(poem).chain(short)));
    let told = |rules: &str| {
        let toml = format!("[[source]]\nname = \"a\"\npath = \"../a.jsonl\"\nprofile = \"poetry\"\n{rules}");
        let lines = data(&run(&dir, &toml));
        (named(&lines, "funnel")[0]["documents_out"].as_u64().unwrap(), named(&lines, "funnel")[0]["rules"].clone())
    };
    assert_eq!(told(""), (20, serde_json::json!({"too_short": 2})));
    assert_eq!(told("rules = { too_short = 10 }\n"), (22, serde_json::json!({})));
    assert_eq!(told("rules = { too_short = 10, too_long = 12.5 }\n"), (2, serde_json::json!({"too_long": 20})));
    assert_eq!(told("[source.rules]\ntoo_short = false\n"), (22, serde_json::json!({})));
}

#[test]
fn bad_files_are_reported_and_the_rest_is_read() {
    let dir = TempDir::new().unwrap();
    let files = dir.path().join("files");
    write(&files, "good.jsonl", jsonl((0..50).map(poem)));
    write(&files, "binary.txt", b"\x7fELF\x02\x01\x01\x00\x80\xff\xfe\x00rest");
    write(
        &files,
        "mixed.txt",
        [poem(60).as_bytes(), b"\n\n\xB4\xBA\xC3\xDF\n\n", poem(61).as_bytes(), b"\n\n", poem(62).as_bytes()].concat(),
    );
    write(&files, "deep.json", format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000)));
    write(
        &files,
        "cut.jsonl.gz",
        &fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/poems.jsonl.gz")).unwrap()[..120],
    );
    write(
        &files,
        "bomb.txt.gz",
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bomb.txt.gz")).unwrap(),
    );
    write(&files, "fake.parquet", "PAR1 no parquet PAR1");
    write(&files, "table.csv", "name,age\nx,1\n");
    write(&files, "empty.md", "");
    // Without a zero byte at its beginning it would be taken for text in GB18030.
    write(&files, "paper.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n".repeat(20));
    write(&files, "letter.txt", b"PK\x03\x04letter");
    write(&files, "deeper/picture.png", "x");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&files, files.join("deeper/loop")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all.txt", files.join("gone.txt")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(files.join("pipe.txt")).status().unwrap().success());
    }
    let run = run(&dir, "[[source]]\nname = \"all\"\npath = \"../files\"\n");
    let lines = data(&run);
    let notes = notes(&lines);
    for words in [
        "binary.txt is not text: byte 7",
        "deep.json: ",
        "paper.txt is a PDF document",
        "letter.txt is a zip archive",
        "fake.parquet cannot be read as Parquet",
        "table.csv no field \"text\"",
        "empty.md holds no document",
        "1 files with other endings",
        "picture.png",
    ] {
        assert!(notes.contains(words), "{words:?} in:\n{notes}");
    }
    for name in ["cut.jsonl.gz", "bomb.txt.gz"] {
        let said = |line: &str| line.contains(name) && line.contains("cannot be read");
        assert!(notes.lines().any(said), "{name} in:\n{notes}");
    }
    #[cfg(unix)]
    for words in
        ["pipe.txt is not a regular file", "gone.txt is not a regular file", "deeper/loop is a link to a folder"]
    {
        assert!(notes.contains(words), "{words:?} in:\n{notes}");
    }
    let source = named(&lines, "source")[0];
    assert_eq!(source["documents_out"], 53, "{source} {notes}");
    assert_eq!(source["rules"]["bad_encoding"], 1);
    train(&run, &["steps=2"], &[]).good();
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_file_says_what_it_is() {
    let dir = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all.jsonl", dir.path().join("gone.jsonl")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.path().join("pipe.jsonl")).status().unwrap().success());
    write(dir.path(), "it's $HOME \"x\".arrow", "ARROW1");
    let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    whole.write_all(jsonl((0..2000).map(poem)).as_bytes()).unwrap();
    let whole = whole.finish().unwrap();
    write(dir.path(), "cut.jsonl.gz", &whole[..whole.len() / 2]);
    for (path, words) in [
        ("gone.jsonl", "gone.jsonl is not a regular file (a pipe, a device, or a dangling link)"),
        ("pipe.jsonl", "pipe.jsonl is not a regular file"),
        ("it's $HOME \"x\".arrow", "it'\\''s $HOME \"x\".parquet'"),
        ("", "has an empty path"),
    ] {
        let folder = TempDir::new().unwrap();
        let path = if path.is_empty() { String::new() } else { format!("{}/{path}", dir.path().display()) };
        let run = run(&folder, &format!("[[source]]\nname = \"all\"\npath = {path:?}\n"));
        danlu(["data", "--run", &run.display().to_string()]).refused(2, &[words]);
    }
    // What comes before the end of a cut file is used, and the note says so.
    let folder = TempDir::new().unwrap();
    let path = dir.path().join("cut.jsonl.gz");
    let run = run(&folder, &format!("[[source]]\nname = \"all\"\npath = {:?}\n", path.display().to_string()));
    let notes = notes(&data(&run));
    assert!(notes.contains("cut.jsonl.gz is used up to record ") && notes.contains("cannot be read"), "{notes}");
}

/// Cases 7, 15 and 26 of the trust issue: a profile overrides a guess, a file that replaces the real one is reported,
/// and a git remote is not an e-mail address.
#[test]
fn the_kind_of_every_file_is_reported() {
    let dir = TempDir::new().unwrap();
    let files = dir.path().join("files");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:cdcd\nsize 123456\n";
    write(&files, "poems.txt", pointer);
    write(&files, "rows.parquet", pointer);
    write(&files, "page.jsonl", "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n");
    let novel = "他推开门，看见院子里站着一个人。\n那人没有说话，只是望着远处的山。\n电话：138-1234-5678，见 git@github.com:foo/bar.git。";
    write(
        &files,
        "novel.jsonl",
        serde_json::json!({"title": "归来", "author": "某人", "text": novel, "id": 7}).to_string(),
    );
    let source = |profile: &str| format!("[[source]]\nname = \"all\"\npath = \"../files\"\n{profile}");
    let whole = run(&dir, &source(""));
    let lines = data(&whole);
    let said = notes(&lines);
    for words in [
        "poems.txt is a Git LFS pointer, not the file itself; run git lfs pull",
        "rows.parquet is a Git LFS pointer",
        "page.jsonl is a web page (HTML) titled \"404 Not Found\"",
        "novel.jsonl has 1 records with a title and an author, which are read as verse",
    ] {
        assert!(said.contains(words), "{words:?} in:\n{said}");
    }
    assert_eq!(named(&lines, "funnel")[0]["documents_in"], 1);
    assert!(said.contains("source all: ignored fields: id (1)"), "{said}");
    write(
        &whole,
        "run.toml",
        format!("size = \"1m\"\n{}", source("profile = \"prose-zh\"\nrules = { too_short = 5, language = false }\n")),
    );
    assert!(!notes(&data(&whole)).contains("verse"));
    let prepared = fs::read_dir(whole.join("data")).unwrap().map(|e| e.unwrap().path());
    let units: Vec<Vec<u8>> = prepared
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("unit-"))
        .map(|p| fs::read(p).unwrap())
        .collect();
    let kept = novel.replace("138-1234-5678", "**MASKED**PHONE**");
    assert!(units.iter().any(|unit| unit.windows(kept.len()).any(|part| part == kept.as_bytes())));
}

#[test]
fn a_source_of_which_nothing_is_left_stops_only_where_it_is_alone() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.jsonl", jsonl((0..50).map(poem)));
    write(dir.path(), "b.jsonl", jsonl(["短".to_owned(), "句".to_owned()]));
    let b = "[[source]]\nname = \"b\"\npath = \"../b.jsonl\"\nprofile = \"prose-zh\"\n";
    let both = run(&dir, &format!("[[source]]\nname = \"a\"\npath = \"../a.jsonl\"\n{b}"));
    let lines = data(&both);
    assert!(notes(&lines).contains("source b") && notes(&lines).contains("2 by too_short"), "{}", notes(&lines));
    train(&both, &["steps=2"], &[]).good();
    let alone = TempDir::new().unwrap();
    write(alone.path(), "b.jsonl", jsonl(["短".to_owned(), "句".to_owned()]));
    let run = run(&alone, b);
    danlu(["data", "--run", run.to_str().unwrap()]).refused(2, &["source b", "2 by too_short", "prose-zh", "profile"]);
}

#[test]
fn wrong_keys_are_refused_with_the_right_ones() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.txt", "x");
    let ruled = |profile: &str, rules: &str| {
        format!("[[source]]\nname = \"a\"\npath = \"../a.txt\"\nprofile = \"{profile}\"\nrules = {{ {rules} }}\n")
    };
    for (toml, words) in [
        ("[[source]]\nname = \"a\"\npath = \"../a.txt\"\nprofil = \"poetry\"\n", ["profil", "profile"]),
        ("[[source]]\nname = \"a\"\npath = \"../a.txt\"\nprofile = \"verse\"\n", ["verse", "poetry"]),
        ("[[sft.source]]\nname = \"a\"\npath = \"../a.txt\"\nprofile = \"poetry\"\n", ["sft.source", "[[source]]"]),
        (&ruled("poetry", "to_short = 20"), ["\"to_short\"", "did you mean \"too_short\"?"]),
        (&ruled("poetry", "language = 0.5"), ["no rule \"language\"", "lost_characters, few_letters"]),
        (&ruled("poetry", "too_short = -1"), ["too_short is -1", "false"]),
        (&ruled("poetry", "too_short = nan"), ["too_short is NaN", "false"]),
        (&ruled("poetry", "too_short = true"), ["`true`", "or false to disable the rule"]),
        (&ruled("poetry", "too_short = \"off\""), ["\"off\"", "or false to disable the rule"]),
        (&ruled("none", "too_short = 20"), ["profile none has no rules", "set another profile"]),
        (&(ruled("poetry", "").replace("source", "sft.source")), ["sft.source", "[[source]]"]),
    ] {
        danlu(["data", "--run", run(&dir, toml).to_str().unwrap()]).refused(2, &words);
    }
}

#[test]
#[cfg(unix)]
fn a_signal_while_text_is_prepared_ends_it_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.jsonl", jsonl((0..150_000).map(poem)));
    let run = run(&dir, "[[source]]\nname = \"a\"\npath = \"../a.jsonl\"\nprofile = \"poetry\"\n");
    let mut child = command(["data", "--run", run.to_str().unwrap()]).spawn().unwrap();
    let begun = || fs::read_dir(run.join("data")).is_ok_and(|mut d| d.next().is_some());
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    assert!(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    common::no_leftovers(&run);
}

#[test]
#[cfg(unix)]
fn a_kill_while_text_is_prepared_leaves_nothing_wrong() {
    let dir = TempDir::new().unwrap();
    for file in 0..30 {
        // Each large enough to be a unit, with a duplicate of part of the previous one.
        write(dir.path(), &format!("a/{file:02}.jsonl"), jsonl((file * 2900..(file + 1) * 3000).map(poem)));
    }
    let toml = "[[source]]\nname = \"a\"\npath = \"../a\"\nprofile = \"poetry\"\n";
    let run = run(&dir, toml);
    let units = || {
        let entries = fs::read_dir(run.join("data")).into_iter().flatten().map(|e| e.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with("unit-")).count()
    };
    let mut child = command(["data", "--run", run.to_str().unwrap()]).spawn().unwrap();
    while units() < 5 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(units() >= 5);
    let lines = data(&run);
    common::no_leftovers(&run);
    // The same result as without interruption.
    fs::remove_dir_all(run.join("data")).unwrap();
    let fresh = data(&run);
    assert_eq!(named(&lines, "source"), named(&fresh, "source"));
    assert_eq!(named(&lines, "tokenizer"), named(&fresh, "tokenizer"));
}
