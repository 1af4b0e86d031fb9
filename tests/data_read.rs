//! Readers on files made by other tools (tests/fixtures/make.sh), and on files that nobody should make.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use danlu::data::{
    DataError,
    read::{Format, LONGEST_DOCUMENT, Packing, Passed, ReadOptions, documents, read},
};
use proptest::{prelude::*, test_runner::RngSeed};

const POEMS: [&str; 3] = [
    "春晓　孟浩然\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "静夜思　李白\n床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "忆江南　白居易\n江南好，风景旧曾谙。日出江花红胜火，春来江水绿如蓝。能不忆江南？",
];
const PLAIN: [&str; 3] = [
    "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。",
    "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。",
    "江南好，风景旧曾谙。\n日出江花红胜火，春来江水绿如蓝。能不忆江南？",
];

/// The texts, the faults as (place, rule), and the rest.
type Found = (Vec<String>, Vec<(u64, &'static str)>, Passed);

fn from<R: Read + Seek + Send + 'static>(kind: (Format, Packing), options: &ReadOptions, input: R) -> Found {
    let (mut texts, mut faults) = (Vec::new(), Vec::new());
    let passed = documents(kind, options, input, &mut |place, found| match found {
        Ok(document) => texts.push(document.text().to_owned()),
        Err(fault) => faults.push((place, fault.rule)),
    });
    (texts, faults, passed)
}

fn fixture(name: &str) -> Found {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    from(Format::of_name(name).unwrap(), &ReadOptions::default(), Cursor::new(fs::read(path).unwrap()))
}

fn text(format: Format, bytes: &[u8]) -> Found {
    from((format, Packing::Plain), &ReadOptions::default(), Cursor::new(bytes.to_vec()))
}

fn texts(format: Format, bytes: &[u8]) -> Vec<String> {
    let documents = read(format, bytes).unwrap().items;
    assert_eq!(text(format, bytes).0, documents.iter().map(|d| d.text().to_owned()).collect::<Vec<_>>());
    documents.iter().map(|d| d.text().to_owned()).collect()
}

#[test]
fn files_of_other_tools_are_read() {
    for name in ["poems.jsonl", "poems.jsonl.gz", "members.jsonl.gz", "frames.jsonl.zst", "lists.parquet"] {
        let (texts, faults, passed) = fixture(name);
        assert_eq!(texts, POEMS, "{name}");
        assert!(faults.is_empty() && passed.ended.is_none() && passed.bytes > 0, "{name}: {passed:?}");
    }
    for name in
        ["poems.txt", "poems.txt.zst", "gb18030.txt", "utf16-bom.txt", "utf16le.txt", "utf16be.txt", "poems.tsv"]
    {
        let (texts, faults, passed) = fixture(name);
        assert_eq!(texts, PLAIN, "{name}");
        assert!(faults.is_empty() && passed.ended.is_none(), "{name}: {passed:?}");
        if let Some(wanted) = [("gb18030.txt", "gb18030"), ("utf16-bom.txt", "UTF-16LE"), ("utf16be.txt", "UTF-16BE")]
            .iter()
            .find(|(n, _)| *n == name)
        {
            assert_eq!(passed.encoding, Some(wanted.1));
        }
        if !name.ends_with("zst") && !name.contains("utf16") && !name.contains("gb") && !name.contains("tsv") {
            assert_eq!(passed.bytes, 248);
        }
    }
    assert_eq!(fixture("big5.txt").0, ["春眠不覺曉，處處聞啼鳥。\n夜來風雨聲，花落知多少。"]);
    assert_eq!(fixture("poem.md").0, ["# 春晓\n\n春眠不觉晓，处处闻啼鸟。"]);
    let (texts, faults, _) = fixture("poems.csv");
    assert_eq!(texts[..3], POEMS);
    assert_eq!(texts[3], "quoted　nobody\na \"quoted\", text\nof two lines");
    assert!(faults.is_empty());
    for name in ["snappy", "gzip", "brotli", "lz4", "zstd", "plain"] {
        let (texts, faults, passed) = fixture(&format!("{name}.parquet"));
        assert_eq!(texts, POEMS[..2], "{name}");
        assert_eq!(faults, [(3, "empty")], "{name}");
        assert!(passed.ended.is_none());
    }
}

#[test]
fn names_tell_the_format() {
    assert_eq!(Format::of_name("a.b.JSONL.gz"), Some((Format::JsonLines, Packing::Gzip)));
    assert_eq!(Format::of_name("a.txt.zst"), Some((Format::Text, Packing::Zstd)));
    assert_eq!(Format::of_name("a.tsv"), Some((Format::Tsv, Packing::Plain)));
    assert_eq!(Format::of_name("a.parquet.gz"), Some((Format::Parquet, Packing::Gzip)));
    for none in ["a", "a.gz", "a.png", "a.tar.gz", "txt"] {
        assert_eq!(Format::of_name(none), None, "{none}");
    }
}

#[test]
fn text_splits_at_blank_lines() {
    let bytes = "\u{FEFF}甲\r\n乙\r\n\r\n \t\r\n丙\n\n\n丁".as_bytes();
    assert_eq!(texts(Format::Text, bytes), ["甲\n乙", "丙", "丁"]);
    let whole = ReadOptions { whole: true, ..ReadOptions::default() };
    let (texts, _, _) = from((Format::Text, Packing::Plain), &whole, Cursor::new(bytes.to_vec()));
    assert_eq!(texts, ["甲\n乙\n\n \t\n丙\n\n\n丁"]);
}

#[test]
fn poems_become_one_document() {
    let lines = r#"{"title":"春晓","author":"孟浩然","form":"五言绝句","text":"春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。"}
{"title":"A","author":"B","paragraphs":["床前明月光，","疑是地上霜。"]}"#;
    assert_eq!(
        texts(Format::JsonLines, lines.as_bytes()),
        ["春晓　孟浩然\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "A　B\n床前明月光，疑是地上霜。"]
    );
    let array = format!("[{}]", lines.replace("}\n", "},\n"));
    assert_eq!(texts(Format::Json, array.as_bytes()).len(), 2);
    assert_eq!(texts(Format::Json, lines.as_bytes()).len(), 2);
}

#[test]
fn plain_records() {
    let lines =
        "{\"text\":\"a\\nb\"}\n\n{\"text\":[\"c\",\"d\"]}\n{\"content\":\"e\",\"title\":\"t\",\"author\":\"u\"}\n";
    assert_eq!(texts(Format::JsonLines, lines.as_bytes()), ["a\nb", "c\nd", "e"]);
    let options = ReadOptions { field: Some("note".into()), ..ReadOptions::default() };
    let lines = "{\"text\":\"a\",\"note\":\"b\"}\n{\"text\":\"c\"}\n";
    let (texts, faults, _) = from((Format::JsonLines, Packing::Plain), &options, Cursor::new(lines));
    assert_eq!((texts, faults), (vec!["b".to_owned()], vec![(2, "no_text_field")]));
}

#[test]
fn bad_records_are_counted_under_their_rules() {
    let deep = format!("{{\"text\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let lines = format!(
        "{{\"text\":\"a\"}}\n{{broken\n[1]\n{{\"text\":7}}\n{{\"text\":\" \"}}\n{{\"text\":\"\\ud800\"}}\n{{\"name\":\"李白\",\"description\":\"诗人\"}}\n{deep}\n{{\"text\":\"b\"}}"
    );
    let (texts, faults, passed) = text(Format::JsonLines, lines.as_bytes());
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(
        faults,
        [
            (2, "malformed"),
            (3, "no_text_field"),
            (4, "no_text_field"),
            (5, "empty"),
            (6, "malformed"),
            (7, "no_text_field"),
            (8, "too_deep")
        ]
    );
    assert_eq!(passed.bytes, lines.len() as u64);
    let reading = read(Format::JsonLines, lines.as_bytes()).unwrap();
    assert_eq!((reading.rejected, reading.items.len(), reading.reasons.len()), (7, 2, 7));
    let (texts, faults, _) = text(Format::Json, b"[{\"text\":\"a\"},{\"text\":\"b");
    assert_eq!((texts, faults), (vec!["a".to_owned()], vec![(2, "cut_off")]));
}

#[test]
fn a_bad_character_costs_one_document() {
    let bytes = "春眠\n\n不觉\n晓X晓\n\n处处".replace('X', "\u{1}").into_bytes();
    let bytes: Vec<u8> = bytes.into_iter().map(|b| if b == 1 { 0xFF } else { b }).collect();
    let (texts, faults, _) = text(Format::Text, &bytes);
    assert_eq!((texts, faults), (vec!["春眠".to_owned(), "处处".to_owned()], vec![(4, "bad_encoding")]));
    let lines = b"{\"text\":\"a\"}\n{\"text\":\"\xFF\"}\n{\"text\":\"b\"}\n";
    assert_eq!(text(Format::JsonLines, lines).1, [(2, "bad_encoding")]);
    assert_eq!(text(Format::Csv, b"text,id\na,1\n\xFF,2\nb,3\n").1, [(3, "bad_encoding")]);
    // The same in a converted file: text with replacement characters is rejected.
    let gb = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gb18030.txt")).unwrap();
    let gb = [gb.as_slice(), b"\n"].concat().repeat(3000);
    let (texts, faults, passed) = text(Format::Text, &[gb.as_slice(), b"\xFF\xFF\n\n", gb.as_slice()].concat());
    assert_eq!((texts.len(), passed.encoding), (18_000, Some("gb18030")));
    assert_eq!(faults.iter().map(|f| f.1).collect::<Vec<_>>(), ["bad_encoding"]);
}

#[test]
fn tables_say_what_is_wrong_with_a_row() {
    let (texts, faults, passed) = text(Format::Csv, b"id,text\n1,a\n2\n3,\n4,b,c\n5,\"d\n");
    assert_eq!(texts, ["a"]);
    assert_eq!(faults, [(3, "malformed"), (4, "empty"), (5, "malformed"), (6, "cut_off")]);
    assert!(passed.ended.is_none());
    let (_, _, passed) = text(Format::Csv, b"name,age\na,1\n");
    let words = passed.ended.unwrap().to_string();
    assert!(words.contains("no field") && words.contains("name") && words.contains("age"), "{words}");
}

/// Exports have their records in a list under one key, on one line or on many.
#[test]
fn a_list_under_one_key_is_a_file_of_records() {
    for text in [
        r#"{"data": [{"text": "one"}, {"text": "two"}]}"#,
        "{\n  \"data\": [\n    {\n      \"text\": \"one\"\n    },\n    {\"text\": \"two\"}\n  ],\n  \"version\": 1\n}\n",
        "\u{FEFF}{\"rows\"\n:\n[{\"text\": \"one\"}, {\"text\": \"two\"}]}",
    ] {
        assert_eq!(texts(Format::Json, text.as_bytes()), ["one", "two"], "{text}");
    }
    // Lines that have such a field among others are records themselves.
    let line = r#"{"data": [{"a": 1}], "text": "one"}"#;
    assert_eq!(texts(Format::Json, format!("{line}\n{line}\n").as_bytes()), ["one", "one"]);
    assert_eq!(texts(Format::JsonLines, line.as_bytes()), ["one"]);
    // A record that is not valid costs only itself, and its place counts from the list.
    let found = text(Format::Json, b"{\"data\": [\n{\"text\": \"one\"},\n{\"text\": }]}");
    assert_eq!((found.0, found.1[0].0), (vec!["one".to_owned()], 2));
}

#[test]
fn an_input_without_documents_is_an_error() {
    for bytes in [&b""[..], b"\n \n", b"\xEF\xBB\xBF\n"] {
        for format in [Format::Text, Format::JsonLines, Format::Json] {
            assert!(matches!(read(format, bytes).unwrap_err(), DataError::Empty { .. }), "{format:?}");
        }
    }
    let error = read(Format::JsonLines, &b"{}"[..]).unwrap_err();
    assert!(error.to_string().contains("1 records were rejected, the first at 1: no field"), "{error}");
}

/// A source of one repeated byte, infinite or up to a length.
struct Endless {
    byte: u8,
    left: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (buffer.len() as u64).min(self.left) as usize;
        buffer[..n].fill(self.byte);
        self.left -= n as u64;
        Ok(n)
    }
}

impl Seek for Endless {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

#[test]
fn a_line_of_a_gigabyte_takes_no_more_memory_than_a_document_may() {
    for (format, byte) in [(Format::Text, b'a'), (Format::JsonLines, b'{'), (Format::Json, b'['), (Format::Csv, b'"')] {
        let left = if format == Format::Text { 1 << 30 } else { 3 * LONGEST_DOCUMENT as u64 };
        let (texts, faults, passed) = from((format, Packing::Plain), &ReadOptions::default(), Endless { byte, left });
        assert!(texts.is_empty());
        assert_eq!(passed.bytes, left, "{format:?} {faults:?} {passed:?}");
        assert!(faults.iter().all(|f| ["too_long", "cut_off"].contains(&f.1)), "{format:?}: {faults:?}");
        assert!(faults.len() == 1 || (format == Format::Csv && passed.ended.is_some()), "{format:?}: {faults:?}");
    }
}

#[test]
fn a_bomb_is_refused_and_a_cut_is_reported() {
    let (texts, _, passed) = fixture("bomb.txt.gz");
    assert!(texts.is_empty());
    let words = passed.ended.unwrap().to_string();
    assert!(words.contains("bomb"), "{words}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (name, kept) in [("members.jsonl.gz", 1), ("frames.jsonl.zst", 1), ("snappy.parquet", 0), ("zstd.parquet", 0)] {
        let bytes = fs::read(folder.join(name)).unwrap();
        let cut = bytes[..bytes.len() - 40].to_vec();
        let (texts, _, passed) = from(Format::of_name(name).unwrap(), &ReadOptions::default(), Cursor::new(cut));
        assert!(passed.ended.is_some(), "{name}");
        assert!(texts.len() >= kept, "{name}: what came before the cut is kept");
    }
}

#[test]
fn damaged_zstandard_is_refused() {
    let damaged = Cursor::new(b"\x28\xb5\x2f\xfd\x04\x40\xff\xff\xff\xff\xff\xff\xff\xff".to_vec());
    let (texts, _, passed) = from(Format::of_name("a.jsonl.zst").unwrap(), &ReadOptions::default(), damaged);
    assert!(texts.is_empty());
    let words = passed.ended.unwrap().to_string();
    assert!(words.contains("the compressed data are damaged"), "{words}");
}

/// Fails in the middle, like a file on a failing disk.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("gone")),
            n => Ok(n),
        }
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn documents_read_before_a_failure_are_kept() {
    let bytes = "{\"text\":\"a\"}\n".repeat(100_000).into_bytes();
    let input = Failing(Cursor::new(bytes));
    let (texts, _, passed) = from((Format::JsonLines, Packing::Plain), &ReadOptions::default(), input);
    assert!(texts.len() > 90_000);
    assert!(passed.ended.unwrap().to_string().contains("gone"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..8_usize, name in 0..10_usize, flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let formats = [Format::Text, Format::Markdown, Format::JsonLines, Format::Json, Format::Csv, Format::Tsv, Format::Parquet, Format::Text];
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let _ = from((formats[at], packing), &ReadOptions::default(), Cursor::new(bytes.clone()));
        }
        // Real files with some bytes flipped.
        let names = ["poems.jsonl.gz", "frames.jsonl.zst", "snappy.parquet", "gzip.parquet", "zstd.parquet", "lists.parquet", "gb18030.txt", "utf16le.txt", "poems.csv", "brotli.parquet"];
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(names[name]);
        let mut file = fs::read(path).unwrap();
        for (at, byte) in flips {
            let at = at % file.len();
            file[at] = byte;
        }
        let _ = from(Format::of_name(names[name]).unwrap(), &ReadOptions::default(), Cursor::new(file));
    }
}
