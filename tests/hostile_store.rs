//! Misleading files, names that try to escape, two processes at once: error messages, and nothing changed.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stderr, reason = "one test's helper process tells the other that it holds the lock")]

#[path = "common/fault.rs"]
mod fault;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Barrier, Mutex, PoisonError},
    thread,
    time::Duration,
};

use danlu::base::StageId;
use danlu::store::{
    CheckpointId, Keep, Links, MANIFEST, NewFile, RealFs, Run, RunView, StoreError, TensorFile, TensorRef,
    export_tensors, newest_run, read_header, read_model, read_tensors, tensors_len, write_tensors,
};
use fault::FaultFs;
use proptest::prelude::*;
use serde_json::json;

/// A safetensors file of a header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8 & 0x3f));
    bytes
}

fn read(bytes: &[u8]) -> Result<TensorFile, StoreError> {
    let disk = FaultFs::new();
    let path = Path::new("/m.safetensors");
    disk.poke(path, bytes).expect("writes");
    read_tensors(&disk, path, Links::Refuse)
}

fn refused(bytes: &[u8], word: &str) {
    let error = read(bytes).map(|_| ()).expect_err(word);
    assert_eq!(error.exit_code(), 2, "{error}");
    let said = error.to_string();
    assert!(said.contains(word) && said.contains("m.safetensors"), "{word:?} is not in: {said}");
    assert!(said.len() < 1000, "{} letters of error", said.len());
}

fn one(dtype: &str, shape: &str, from: u64, to: u64) -> String {
    format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
}

#[test]
fn hostile_headers_are_refused_with_a_message() {
    // Cut short before there is a header.
    for len in 0..8 {
        refused(&vec![0; len], "cut short");
    }
    refused(&8u64.to_le_bytes(), "cut short");
    // Giant headers.
    for len in [u64::MAX, 1 << 63, 100_000_001] {
        refused(&[&len.to_le_bytes()[..], b"{}"].concat(), "more than the allowed");
    }
    refused(&[&(16u64 << 20).to_le_bytes()[..], b"{}"].concat(), "cut short");
    // Not JSON, or not of the right kind.
    for header in ["", "null", "[]", "{", "1e999", "{\"a\":1}", "{\"a\":{}}", "{\"__metadata__\":{\"x\":1}}", "{} {}"] {
        refused(&file(header, 0), "header is invalid");
    }
    refused(&file(&"[".repeat(100_000), 0), "header is invalid");
    refused(&file(&format!("{{\"a\":{}", "{\"a\":".repeat(100_000)), 0), "header is invalid");
    refused(&file("{\"\u{0}\\ud800\":1}", 0), "header is invalid");
    refused(&[&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat(), "header is invalid");
    // Dimensions.
    refused(&file(&one("F32", "[4294967296,4294967296]", 0, 0), 0), "multiply");
    refused(&file(&one("F32", "[4611686018427387904]", 0, 0), 0), "multiply");
    refused(&file(&one("F32", "[18446744073709551615]", 0, 4), 4), "multiply");
    refused(&file(&one("F32", "[99999999999999999999999]", 0, 4), 4), "header is invalid");
    refused(&file(&one("F32", "[-1]", 0, 4), 4), "the tensor");
    refused(&file(&one("F32", "[1.5]", 0, 4), 4), "header is invalid");
    refused(&file(&one("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4), 4), "more than 8 dimensions");
    refused(&file(&one("F32", &format!("[{}1]", "1,".repeat(1_000_000)), 0, 4), 4), "more than 8 dimensions");
    refused(&file(&one("F32", "[2,0]", 0, 0), 0), "at least 1");
    // Places.
    refused(&file(&one("F32", "[1]", 4, 0), 4), "overlaps");
    refused(&file(&one("F32", "[1]", 4, 8), 8), "overlaps another or leaves a hole");
    refused(&file(&one("F32", "[2]", 0, 4), 4), "do not fit");
    refused(&file(&one("F32", "[1]", 0, 4), 3), "cut short");
    refused(&file(&one("F32", "[1]", 0, 4), 5), "more after its end");
    refused(&file(&one("F32", "[1099511627776]", 0, 1 << 42), 64), "cut short");
    refused(&file(&one("F32", "[1]", 0, u64::MAX), 4), "do not fit");
    let two = |x: &str, y: &str| {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{x}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{y}}}}}"#
        )
    };
    read(&file(&two("[0,8]", "[8,16]"), 16)).expect("end to end");
    read(&file(&two("[8,16]", "[0,8]"), 16)).expect("in any order");
    refused(&file(&two("[0,8]", "[4,12]"), 12), "overlaps");
    refused(&file(&two("[0,8]", "[0,8]"), 8), "overlaps");
    refused(&file(&two("[0,8]", "[12,20]"), 20), "hole");
    // Tensors that together exceed the address space: the sum overflows, not a product.
    let huge = 1u64 << 60;
    let many: Vec<_> = (0..15u64)
        .map(|i| {
            format!(r#""t{i}":{{"dtype":"U8","shape":[{huge}],"data_offsets":[{},{}]}}"#, i * huge, (i + 1) * huge)
        })
        .chain([format!(r#""z":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}"#, huge - 1, 15 * huge, u64::MAX)])
        .collect();
    refused(&file(&format!("{{{}}}", many.join(",")), 8), "cut short");
    // Twice the same name.
    let entry = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    refused(&file(&format!("{{{entry},{entry}}}"), 4), "twice");
    // Types.
    for dtype in ["F64", "I32", "BOOL", "U8", "I8"] {
        let bytes = match dtype {
            "F64" => 8,
            "I32" => 4,
            _ => 1,
        };
        refused(&file(&one(dtype, "[1]", 0, bytes), bytes as usize), dtype);
    }
    refused(&file(&one("F4", "[1]", 0, 1), 1), "header is invalid");
    refused(&file(&one("float32", "[1]", 0, 4), 4), "float32");
    // Names.
    refused(&file(&one("F32", "[1]", 0, 4).replace("\"a\"", &format!("\"{}\"", "n".repeat(600))), 4), "name");
    let crowd: Vec<_> = (0..100_001)
        .map(|i| format!(r#""{i}":{{"dtype":"U32","shape":[1],"data_offsets":[{},{}]}}"#, i * 4, i * 4 + 4))
        .collect();
    refused(&file(&format!("{{{}}}", crowd.join(",")), 400_004), "100000 tensors");
    // Unusual but valid files are read.
    assert!(read(&file("{}", 0)).expect("empty").tensors.is_empty());
    assert_eq!(read(&file(&one("F32", "[]", 0, 4), 4)).expect("a scalar").tensors["a"].data.len(), 1);
    let metadata: Vec<_> = (0..20_000).map(|i| format!(r#""{i}":"v""#)).collect();
    let described =
        one("F32", "[1]", 0, 4).replacen('{', &format!("{{\"__metadata__\":{{{}}},", metadata.join(",")), 1);
    read(&file(&described, 4)).expect("much metadata");
}

#[test]
fn what_is_not_finite_is_named() {
    let data = [1.0, f32::NAN, f32::INFINITY, -f32::INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0];
    let fine = [0.0f32, -0.0];
    let tensors =
        [TensorRef { name: "bad", shape: &[2, 3], data: &data }, TensorRef { name: "good", shape: &[2], data: &fine }];
    let mut bytes = Vec::new();
    write_tensors(&mut bytes, &tensors, &BTreeMap::new()).expect("writes");
    let mut read = read(&bytes).expect("reads");
    assert_eq!(read.non_finite.len(), 1);
    assert_eq!((read.non_finite[0].count, read.non_finite[0].first), (3, 1));
    let said = read.require_finite().expect_err("not finite").to_string();
    assert!(said.contains("\"bad\"") && said.contains('3'), "{said}");
    assert!(read.take("good", &[3]).expect_err("shape").to_string().contains("[3]"));
    assert!(read.take("lost", &[3]).expect_err("name").to_string().contains("\"lost\""));
    assert!(read.counter("step").is_err());
    assert_eq!(read.take("good", &[2]).expect("there"), fine);
    assert!(read.require_empty().expect_err("bad is left").to_string().contains("\"bad\""));
}

#[test]
fn half_precision_is_read_exactly() {
    let values = [1.0f32, -2.5, 0.333_251_95, 65504.0, 6.103_515_6e-5, 5.960_464_5e-8];
    let halves: Vec<u8> = values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
    let header = one("F16", "[6]", 0, 12);
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &halves].concat();
    assert_eq!(read(&bytes).expect("reads").tensors["a"].data, values);
    let values = [1.0f32, -2.5, 3.0e38, 1.0e-38].map(|x| half::bf16::from_f32(x).to_f32());
    let halves: Vec<u8> = values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
    let header = one("BF16", "[2,2]", 0, 8);
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &halves].concat();
    assert_eq!(read(&bytes).expect("reads").tensors["a"].data, values);
    let header = one("U32", "[2]", 0, 8);
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[255; 4], &[7, 0, 0, 0]].concat();
    assert_eq!(read(&bytes).expect("reads").counters["a"], [i64::from(u32::MAX), 7]);
}

#[test]
fn the_writer_is_read_by_the_crate_and_gives_the_same_bytes() {
    let (a, b) = ([1.5f32, -2.0, 3.25, 4.0, 5.0, 6.0], [7.0f32]);
    let counters = BTreeMap::from([("step".to_owned(), vec![1i64 << 40, -1])]);
    let tensors = [
        TensorRef { name: "z \"quoted\" 春", shape: &[2, 3], data: &a },
        TensorRef { name: "b", shape: &[], data: &b },
    ];
    let swapped = [tensors[1], tensors[0]];
    let (mut one, mut two) = (Vec::new(), Vec::new());
    write_tensors(&mut one, &tensors, &counters).expect("writes");
    write_tensors(&mut two, &swapped, &counters).expect("writes");
    assert_eq!(one, two);
    assert_eq!(one.len() as u64, tensors_len(&tensors, &counters).expect("counts"));
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&one).expect("the crate reads it");
    assert_eq!((header + 8) % 8, 0);
    assert_eq!(metadata.metadata().as_ref().expect("metadata")["format"], "pt");
    let theirs = safetensors::SafeTensors::deserialize(&one).expect("the crate reads it");
    assert_eq!(theirs.tensor("z \"quoted\" 春").expect("there").shape(), [2, 3]);
    assert_eq!(theirs.tensor("b").expect("there").data(), 7.0f32.to_le_bytes());
    let mut ours = read(&one).expect("we read it");
    assert_eq!(ours.take("z \"quoted\" 春", &[2, 3]).expect("there"), a);
    assert_eq!(ours.counters, counters);
    for bad in [
        vec![tensors[0], tensors[0]],
        vec![TensorRef { name: "a", shape: &[4], data: &a }],
        vec![TensorRef { name: "a", shape: &[1, 1, 1, 1, 1, 1, 1, 2, 3], data: &a }],
        vec![TensorRef { name: "a", shape: &[usize::MAX, 2], data: &a }],
        vec![TensorRef { name: "step", shape: &[6], data: &a }],
        vec![TensorRef { name: "__metadata__", shape: &[6], data: &a }],
    ] {
        assert!(tensors_len(&bad, &counters).is_err(), "{bad:?}");
    }
}

#[test]
fn models_in_many_files() {
    let disk = FaultFs::new();
    let dir = Path::new("/");
    let shard = |names: &[&str]| {
        let data = [1.0f32, 2.0];
        let tensors: Vec<_> = names.iter().map(|name| TensorRef { name, shape: &[2], data: &data }).collect();
        let mut bytes = Vec::new();
        write_tensors(&mut bytes, &tensors, &BTreeMap::new()).expect("writes");
        bytes
    };
    let index = |map: serde_json::Value| {
        let text = json!({"metadata": {"total_size": 24}, "weight_map": map}).to_string();
        disk.poke(Path::new("/model.safetensors.index.json"), text.as_bytes()).expect("writes");
    };
    let fails = |word: &str| {
        let error = read_model(&disk, dir, Links::Refuse).map(|_| ()).expect_err(word);
        assert!(error.exit_code() == 2 && error.to_string().contains(word), "{word}: {error}");
    };
    fails("neither");
    disk.poke(Path::new("/pytorch_model.bin"), b"x").expect("writes");
    fails("pickle");
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    disk.poke(&dir.join(first), &shard(&["a", "b"])).expect("writes");
    disk.poke(&dir.join(second), &shard(&["c"])).expect("writes");
    index(json!({"a": first, "b": first, "c": second}));
    assert_eq!(read_model(&disk, dir, Links::Refuse).expect("reads").tensors.len(), 3);
    index(json!({"a": first, "c": second}));
    fails("not in the index");
    index(json!({"a": first, "b": first, "c": second, "d": second}));
    fails("does not contain it");
    index(json!({"a": first, "b": second, "c": second}));
    fails("not in the index");
    index(json!({"a": "model-00003-of-00002.safetensors"}));
    fails("not in the folder");
    for outside in [
        "../m.safetensors",
        "/m.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        "C:m.safetensors",
        "",
        ".safetensors",
        "x.bin",
        "a\0.safetensors",
    ] {
        index(json!({"a": outside}));
        fails("in the same folder");
    }
    index(json!({"a": first, "b": first.to_uppercase().replace("SAFETENSORS", "safetensors")}));
    fails("only in case");
    disk.poke(
        Path::new("/model.safetensors.index.json"),
        br#"{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}"#,
    )
    .expect("writes");
    fails("twice");
    disk.poke(Path::new("/model.safetensors.index.json"), b"{").expect("writes");
    fails("the index is invalid");
    // A single file comes first.
    disk.poke(Path::new("/model.safetensors"), &shard(&["only"])).expect("writes");
    assert!(read_model(&disk, dir, Links::Refuse).expect("reads").tensors.contains_key("only"));
}

fn any_header() -> impl Strategy<Value = String> {
    let size = prop_oneof![0u64..9, Just(u64::MAX), Just(1 << 32), Just(1 << 62), any::<u64>()];
    let offset = prop_oneof![0u64..65, Just(u64::MAX), any::<u64>()];
    let dtype = prop_oneof![Just("F32"), Just("F16"), Just("BF16"), Just("U32"), Just("I64"), Just("F4"), Just("?")];
    let tensor = (0u8..6, dtype, prop::collection::vec(size, 0..6), offset.clone(), offset);
    prop::collection::vec(tensor, 0..6).prop_map(|tensors| {
        let entry = |(name, dtype, shape, from, to): (u8, &str, Vec<u64>, u64, u64)| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{from},{to}]}}"#)
        };
        format!("{{{}}}", tensors.into_iter().map(entry).collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = read(&bytes);
    }

    #[test]
    fn any_header_is_read_or_refused(header in any_header(), data in 0usize..80) {
        if let Ok(file) = read(&file(&header, data)) {
            let floats: usize = file.tensors.values().map(|t| t.data.len()).sum();
            let whole: usize = file.counters.values().map(Vec::len).sum();
            prop_assert!(floats * 2 + whole * 4 <= data);
        }
    }

    #[test]
    fn a_changed_file_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let data = [1.0f32, 2.0, 3.0, 4.0];
        let tensors = [TensorRef { name: "a", shape: &[2], data: &data[..2] }, TensorRef { name: "b", shape: &[1, 2], data: &data[2..] }];
        let mut bytes = Vec::new();
        write_tensors(&mut bytes, &tensors, &BTreeMap::new()).expect("writes");
        let len = bytes.len();
        bytes[at.index(len)] = byte;
        let _either = read(&bytes);
        bytes.truncate(cut.index(len));
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_tensors_come_back(data in prop::collection::vec(any::<u32>(), 1..60), rows in 1usize..5) {
        let data: Vec<f32> = data.into_iter().map(f32::from_bits).collect();
        let rows = if data.len().is_multiple_of(rows) { rows } else { 1 };
        let shape = [rows, data.len() / rows];
        let mut bytes = Vec::new();
        write_tensors(&mut bytes, &[TensorRef { name: "x", shape: &shape, data: &data }], &BTreeMap::new()).expect("writes");
        let back = read(&bytes).expect("reads").take("x", &shape).expect("there");
        prop_assert_eq!(back.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), data.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    }

    #[test]
    fn any_manifest_and_any_name_are_borne(text in "[\\PC\"{}:,0-9]{0,200}", name in "\\PC{0,20}") {
        let disk = FaultFs::new();
        let run = Run::create(disk.shared(), Path::new("/r"), "").expect("creates");
        let id = run.saver().save(StageId::Sft, 1, vec![NewFile::bytes("a", *b"1")]).expect("saves").checkpoint.id;
        disk.poke(&run.view().checkpoints().path(&id).join(MANIFEST), text.as_bytes()).expect("writes");
        let found = run.view().checkpoints().newest_verified(None).expect("searches");
        prop_assert!(found.found.is_none() && found.skipped.len() == 1);
        if let Some(id) = CheckpointId::parse(&name) {
            prop_assert_eq!(id.to_string(), name);
        }
    }

    #[test]
    fn any_log_opens_and_goes_on(tail in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b'}'), any::<u8>()], 0..60)) {
        let disk = FaultFs::new();
        let run = Run::create(disk.shared(), Path::new("/r"), "").expect("creates");
        disk.poke(&run.view().metrics_path(), &[&b"{\"step\":1}\n"[..], &tail].concat()).expect("writes");
        let mut log = run.metrics().expect("opens");
        log.append(&json!({"step": 2})).expect("appends");
        let text = disk.peek(&run.view().metrics_path()).expect("there");
        let whole = text.starts_with(b"{\"step\":1}\n") && text.ends_with(b"\n{\"step\":2}\n");
        prop_assert!(whole, "{:?}", String::from_utf8_lossy(&text));
    }
}

// From here on the disk of this machine.

fn real_run(dir: &Path) -> Run {
    Run::create(RealFs::shared(), dir, "size = \"1m\"\n").expect("a run")
}

#[test]
fn a_run_on_this_disk() {
    let temporary = tempfile::tempdir().expect("a folder");
    let runs = temporary.path().join("runs");
    let run = Run::create_next(RealFs::shared(), &runs, "size = \"1m\"\n").expect("creates");
    assert_eq!(run.view().name(), "run-0001");
    run.metrics().expect("opens").append(&json!({"step": 1, "loss": 5.5})).expect("appends");
    let data = [1.0f32, 2.0];
    let tensors = vec![TensorRef { name: "a", shape: &[2], data: &data }];
    let files = || {
        vec![
            NewFile::tensors("value/model.safetensors", tensors.clone(), BTreeMap::new()).expect("fits"),
            NewFile::bytes("state.json", *b"{}"),
        ]
    };
    let saver = run.saver();
    let saved = thread::spawn({
        let saver = saver.clone();
        move || saver.save(StageId::Pretrain, 0, vec![NewFile::bytes("state.json", *b"{}")]).expect("saves")
    });
    assert!(saved.join().expect("a writer thread").durable);
    for step in 1..4 {
        saver.save(StageId::Pretrain, step, files()).expect("saves");
    }
    let again = saver.save(StageId::Pretrain, 3, files()).expect("saves").checkpoint;
    assert_eq!(again.id.revision, 1);
    let pinned = [CheckpointId::new(StageId::Pretrain, 1)];
    let keep = Keep { newest: 2, pinned: &pinned, best: &[], before: None, loads: &|_| Ok(()), known: &|_| Ok(()) };
    assert_eq!(saver.retain(StageId::Pretrain, &keep).expect("retains").removed.len(), 2);
    let error = Run::open(RealFs::shared(), run.view().dir()).expect_err("taken");
    assert_eq!(error.exit_code(), 3);
    // Reading without the lock.
    let view = RunView::open(RealFs::shared(), run.view().dir()).expect("views");
    let found = view.checkpoints().newest_verified(None).expect("searches").found.expect("one");
    assert_eq!(found.digest, again.digest);
    assert_eq!(found.tensors("value/model.safetensors").expect("reads").tensors["a"].data, data);
    drop((run, saver));
    let run = Run::open(RealFs::shared(), view.dir()).expect("free again");
    assert!(run.swept().is_empty());
    assert_eq!(newest_run(&RealFs, &runs).expect("searches"), Some(runs.join("run-0001")));
    run.write_config("size = \"5m\"\n").expect("writes");
    assert_eq!(run.view().config().expect("reads"), "size = \"5m\"\n");
    let path = run.write_data("mix.json", b"{}").expect("writes");
    assert_eq!(fs::read(path).expect("reads"), b"{}");
    assert!(run.write_data("../x", b"{}").is_err());
    export_tensors(&RealFs, &runs.join("out.safetensors"), &tensors, &BTreeMap::new()).expect("writes");
    let header = read_header(&RealFs, &runs.join("out.safetensors"), Links::Refuse).expect("reads");
    assert_eq!(header.tensors[0].shape, [2]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(view.dir()), 0o700);
        for name in ["lock", "run.toml", "metrics.jsonl"] {
            assert_eq!(mode(&view.dir().join(name)), 0o600, "{name}");
        }
        assert_eq!(mode(&again.file("state.json")), 0o600);
    }
}

/// Between fork and exec a child holds all locks of this process: tests that start one and tests that count owners take
/// turns.
static FORKS: Mutex<()> = Mutex::new(());

#[test]
fn of_eight_at_once_one_owns() {
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().expect("a folder");
    let dir = temporary.path().join("r");
    drop(real_run(&dir));
    for _ in 0..20 {
        let (start, end) = (Barrier::new(8), Barrier::new(8));
        let results: Vec<_> = thread::scope(|scope| {
            let open = || {
                start.wait();
                let result = Run::open(RealFs::shared(), &dir);
                end.wait();
                result.map(drop)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().expect("no panic")).collect()
        });
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| e.exit_code() == 3));
    }
}

/// Not a test: the process that the next test kills.
#[test]
#[ignore = "helper of a_killed_owner_leaves_the_run_free"]
fn hold_the_lock() {
    let Some(dir) = std::env::var_os("DANLU_HOLD").map(PathBuf::from) else { return };
    let run = Run::open(RealFs::shared(), &dir).expect("opens");
    let stall = NewFile::writer("model.safetensors", 10, |to| {
        to.write_all(b"12345")?;
        to.flush()?;
        eprintln!("held");
        thread::sleep(Duration::from_mins(1));
        Ok(())
    });
    run.saver().save(StageId::Pretrain, 2, vec![stall]).expect("killed before");
}

#[test]
fn a_killed_owner_leaves_the_run_free() {
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().expect("a folder");
    let dir = temporary.path().join("r");
    let run = real_run(&dir);
    run.saver().save(StageId::Pretrain, 1, vec![NewFile::bytes("a", *b"1")]).expect("saves");
    drop(run);
    let mut owner = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "hold_the_lock", "--ignored", "--nocapture"])
        .env("DANLU_HOLD", &dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let said = BufReader::new(owner.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(said.into_iter().any(|line| line == "held"), "the owner did not get the lock");
    let error = Run::open(RealFs::shared(), &dir).expect_err("taken");
    assert!(matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == owner.id()), "{error:?}");
    assert!(error.to_string().contains(&owner.id().to_string()), "{error}");
    // In the middle of a save.
    owner.kill().expect("kill -9");
    owner.wait().expect("gone");
    let run = Run::open(RealFs::shared(), &dir).expect("free");
    assert_eq!(run.swept().len(), 1, "the half-made checkpoint");
    let found = run.view().checkpoints().newest_verified(None).expect("searches");
    assert!(found.skipped.is_empty());
    assert_eq!(found.found.expect("the old one").id.step, 1);
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_not_followed() {
    use std::os::unix::fs::symlink;
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().expect("a folder");
    let outside = temporary.path().join("outside");
    fs::create_dir(&outside).expect("makes");
    fs::write(outside.join("precious"), b"keep").expect("writes");
    let precious = || fs::read(outside.join("precious")).expect("there");
    let fresh = |name: &str| {
        let dir = temporary.path().join(name);
        let run = real_run(&dir);
        run.saver().save(StageId::Pretrain, 1, vec![NewFile::bytes("a", *b"keep")]).expect("saves");
        dir
    };
    let refused = |dir: &Path| {
        let error = Run::open(RealFs::shared(), dir).map(|run| run.metrics().map(drop)).map_or_else(Some, Result::err);
        let error = error.unwrap_or_else(|| panic!("{dir:?} was opened through a link"));
        assert!(error.to_string().contains("link"), "{error}");
    };
    for name in ["lock", "metrics.jsonl"] {
        let dir = fresh(&format!("at-{name}"));
        let _missing = fs::remove_file(dir.join(name));
        symlink(outside.join("precious"), dir.join(name)).expect("links");
        refused(&dir);
    }
    for name in ["checkpoints", "data"] {
        let dir = fresh(&format!("at-{name}"));
        fs::remove_dir_all(dir.join(name)).expect("removes");
        symlink(&outside, dir.join(name)).expect("links");
        refused(&dir);
    }
    // run.toml is replaced by name, never written through.
    let dir = fresh("at-config");
    fs::remove_file(dir.join("run.toml")).expect("removes");
    symlink(outside.join("precious"), dir.join("run.toml")).expect("links");
    assert_eq!(Run::open(RealFs::shared(), &dir).expect_err("no file").exit_code(), 2);
    // Sweeping: a link is not danlu's, a link in danlu's folder is removed, its target is kept; other files are kept.
    let dir = fresh("swept");
    let checkpoints = dir.join("checkpoints");
    let ours = checkpoints.join(".tmp-pretrain-00000002-12-0123456789abcdef");
    fs::create_dir_all(ours.join("value")).expect("makes");
    fs::write(ours.join("value/half"), b"x").expect("writes");
    symlink(&outside, ours.join("link")).expect("links");
    symlink(&outside, checkpoints.join(".del-pretrain-00000002-12-0123456789abcdef")).expect("links");
    fs::create_dir(checkpoints.join(".tmp-mine")).expect("makes");
    symlink(&outside, checkpoints.join("pretrain-00000009")).expect("links");
    fs::write(checkpoints.join("sft-00000001"), b"a file").expect("writes");
    let run = Run::open(RealFs::shared(), &dir).expect("opens");
    assert_eq!(run.swept(), [".tmp-pretrain-00000002-12-0123456789abcdef"]);
    assert!(!ours.exists() && checkpoints.join(".tmp-mine").exists());
    assert_eq!(run.view().checkpoints().list().expect("lists"), [CheckpointId::new(StageId::Pretrain, 1)]);
    // A name that is not UTF-8 keeps no folder from being removed (F6).
    #[cfg(target_os = "linux")]
    {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        drop(run);
        let half = checkpoints.join(".del-pretrain-00000003-12-0123456789abcdef");
        fs::create_dir(&half).expect("makes");
        fs::write(half.join(OsStr::from_bytes(b"\xff")), b"x").expect("writes");
        let run = Run::open(RealFs::shared(), &dir).expect("opens");
        assert!(run.unswept().is_empty() && !half.exists(), "{:?}", run.unswept());
    }
    let run = Run::open(RealFs::shared(), &dir).expect("opens");
    // A checkpoint's file replaced by a link to the same bytes, or by a pipe, counts as damaged, and reading does not
    // block.
    let file = checkpoints.join("pretrain-00000001/a");
    fs::remove_file(&file).expect("removes");
    symlink(outside.join("precious"), &file).expect("links");
    let skipped = |run: &Run| run.view().checkpoints().newest_verified(None).expect("searches").skipped;
    assert!(skipped(&run)[0].error.to_string().contains("a link"), "{}", skipped(&run)[0].error);
    fs::remove_file(&file).expect("removes");
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    assert!(skipped(&run)[0].error.to_string().contains("pipe"), "{}", skipped(&run)[0].error);
    // A model may be made of links, as the Hugging Face cache is, if the caller says so.
    let model = temporary.path().join("model");
    fs::create_dir(&model).expect("makes");
    let data = [1.0f32];
    let tensors = [TensorRef { name: "a", shape: &[1], data: &data }];
    export_tensors(&RealFs, &outside.join("blob"), &tensors, &BTreeMap::new()).expect("writes");
    symlink(outside.join("blob"), model.join("model.safetensors")).expect("links");
    assert!(read_model(&RealFs, &model, Links::Refuse).expect_err("a link").to_string().contains("a link"));
    assert_eq!(read_model(&RealFs, &model, Links::Follow).expect("reads").tensors["a"].data, data);
    for odd in ["/dev/zero", "/dev/null"] {
        assert_eq!(read_tensors(&RealFs, Path::new(odd), Links::Follow).expect_err(odd).exit_code(), 2);
    }
    assert_eq!(read_tensors(&RealFs, &outside, Links::Follow).expect_err("a folder").exit_code(), 2);
    assert_eq!(precious(), b"keep");
}

#[test]
fn long_and_odd_paths_are_errors_with_a_message() {
    let temporary = tempfile::tempdir().expect("a folder");
    for name in ["x".repeat(256), "x".repeat(4096), "a\0b".to_owned(), "..".to_owned(), "a\u{1b}b".to_owned()] {
        let dir = temporary.path().join("runs").join(&name);
        let error = Run::create(RealFs::shared(), &dir, "").expect_err(&name);
        assert!(!error.to_string().contains('\0'), "{error}");
    }
    let left: Vec<_> = fs::read_dir(temporary.path()).expect("lists").collect();
    assert!(left.is_empty(), "{left:?}");
}
