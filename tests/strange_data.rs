//! Data as other tools write them: fields that change what is learned, unread fields, other encodings, joined files,
//! and files that are not data.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    io::{Cursor, Read, Seek, Write as _},
    path::Path,
};

use danlu::data::{
    ChatReading, DataError, PreferenceReading, Role, TurnText,
    clean::{Masked, mask},
    encode,
    read::{Format, Packing, Passed, ReadOptions, documents, to_text},
    read_chat_file, read_chats, read_preference_file, read_preferences, train_char,
};
use encoding_rs::{BIG5, Encoding, GB18030, UTF_8};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

fn chats(text: &str) -> ChatReading {
    read_chats(Format::JsonLines, text.as_bytes()).unwrap()
}

/// The rule and the reason of the only record.
fn rejected(record: &Value) -> (&'static str, String) {
    let good = json!({"prompt": "p", "completion": "c"});
    let found = chats(&format!("{good}\n{record}\n"));
    assert_eq!((found.rejected, found.items.len()), (1, 1), "{record}");
    (found.rules.into_keys().next().unwrap(), found.reasons[0].1.clone())
}

fn pair_rejected(record: &Value) -> (&'static str, String) {
    let good = json!({"prompt": "p", "chosen": "c", "rejected": "r"});
    let text = format!("{good}\n{record}\n");
    let found = read_preferences(Format::JsonLines, text.as_bytes()).unwrap();
    assert_eq!((found.pairs.rejected, found.pairs.items.len()), (1, 1), "{record}");
    (found.pairs.rules.into_keys().next().unwrap(), found.pairs.reasons[0].1.clone())
}

fn taken(record: &Value) -> ChatReading {
    let found = chats(&record.to_string());
    assert_eq!((found.rejected, found.items.len()), (0, 1), "{record}");
    found
}

/// A conversation of two exchanges with additional fields in the first answer.
fn beside(fields: &Value) -> Value {
    let mut answer = json!({"role": "assistant", "content": "wrong"});
    answer.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"messages": [{"role": "user", "content": "q"}, answer, {"role": "user", "content": "again"}, {"role": "assistant", "content": "right"}]})
}

/// A record of one exchange with additional fields.
fn with(record: &Value, fields: &Value) -> Value {
    let mut record = record.clone();
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    record
}

// Fields that change what is learned

#[test]
fn turns_that_are_not_to_be_learned_are_context() {
    let tokenizer = train_char(&[danlu::data::TextGroup { weight: 1.0, texts: vec!["wrongightagainq"] }], 300).unwrap();
    let learned = |found: &ChatReading| {
        let example = encode(&found.items[0], &tokenizer).unwrap();
        let ids: Vec<u32> = example.labels.iter().filter(|l| **l >= 0).map(|l| *l as u32).collect();
        tokenizer.decode(&ids, true)
    };
    assert_eq!(learned(&taken(&beside(&json!({})))), "wrongright");
    for fields in [
        json!({"weight": 0}),
        json!({"weight": 0.0}),
        json!({"train": false}),
        json!({"trainable": false}),
        json!({"training": false}),
        json!({"loss_mask": 0}),
        json!({"loss": false}),
        json!({"loss_weight": 0.0}),
        json!({"loss_scale": 0}),
        json!({"weight": 0, "train": false}),
    ] {
        let found = taken(&beside(&fields));
        assert_eq!(learned(&found), "right", "{fields}");
        assert_eq!(found.items[0].turns.len(), 4, "the turn is there to be read");
        assert_eq!(found.unread.summary(), None, "{fields}");
    }
    for fields in [json!({"weight": 1}), json!({"train": true, "weight": null}), json!({"weight": 1.0, "loss": true})] {
        assert_eq!(learned(&taken(&beside(&fields))), "wrongright", "{fields}");
    }
    // What follows the last trained answer is removed.
    let last = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "right"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "wrong", "weight": 0}]});
    assert_eq!(taken(&last).items[0].turns.len(), 2);
    let sharegpt = json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "wrong", "weight": 0}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "right"}]});
    assert_eq!(learned(&taken(&sharegpt)), "right");
    // Of prompt and completion only the completion is trained.
    let prompt = json!({"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "wrong"}, {"role": "user", "content": "again"}], "completion": "right"});
    assert_eq!(learned(&taken(&prompt)), "right");
}

#[test]
fn what_cannot_be_honoured_is_rejected_by_reason() {
    for (fields, rule) in [
        (json!({"weight": 0.5}), "loss"),
        (json!({"weight": "0"}), "loss"),
        (json!({"weight": 0, "train": true}), "loss"),
        (json!({"loss_mask": [0, 1]}), "loss"),
        (json!({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": false}]}), "loss"),
        (json!({"reasoning_content": "I think"}), "reasoning"),
        (json!({"thinking": "I think"}), "reasoning"),
        (json!({"reasoning": {"text": "I think"}}), "reasoning"),
        (json!({"images": ["a.png"]}), "media"),
        (
            json!({"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]}),
            "media",
        ),
        (json!({"content": [{"type": "thinking", "thinking": "I think"}]}), "reasoning"),
        (json!({"content": [{"type": "tool_use", "name": "f"}]}), "tools"),
        (json!({"tool_calls": [{"id": 1}]}), "tools"),
        (json!({"function_call": {"name": "f"}}), "tools"),
        (json!({"name": "Alice"}), "name"),
        (json!({"label": false}), "label"),
        (json!({"content": null, "refusal": "no"}), "form"),
    ] {
        let (found, reason) = rejected(&beside(&fields));
        assert!(found == rule && reason.starts_with("message 2 of \"messages\": "), "{fields}: {found}, {reason}");
    }
    let asks =
        json!({"messages": [{"role": "user", "content": "q", "train": true}, {"role": "assistant", "content": "a"}]});
    assert_eq!(rejected(&asks).0, "loss");
    let (messages, alpaca, prompt) = (
        json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
        json!({"instruction": "q", "output": "a"}),
        json!({"prompt": "q", "completion": "a"}),
    );
    for (fields, rule) in [
        (json!({"tools": [{"type": "function"}]}), "tools"),
        (json!({"tools": "[{\"name\": \"f\"}]"}), "tools"),
        (json!({"images": ["a.png"]}), "media"),
        (json!({"image": "a.png"}), "media"),
        (json!({"weight": 0}), "loss"),
        (json!({"weight": 0.3}), "loss"),
        (json!({"train": false}), "loss"),
        (json!({"loss_mask": [0, 1, 1]}), "loss"),
        (json!({"completion_mask": [0, 1, 1]}), "loss"),
        (json!({"label": false}), "label"),
        (json!({"label": "bad"}), "label"),
        (json!({"kto_tag": false}), "label"),
        (json!({"thinking": "I think"}), "reasoning"),
        (json!({"documents": ["d"]}), "context"),
        (json!({"system_prompt": "s"}), "context"),
    ] {
        for record in [&messages, &alpaca, &prompt] {
            let (found, reason) = rejected(&with(record, &fields));
            assert!(found == rule, "{fields}: {found}, {reason}");
        }
        let pair = json!({"prompt": "q", "chosen": "a", "rejected": "b"});
        assert_eq!(pair_rejected(&with(&pair, &fields)).0, rule, "{fields}");
    }
    for name in ["context", "input", "history"] {
        for record in [&messages, &prompt] {
            assert_eq!(rejected(&with(record, &json!({name: "c"}))).0, "context", "{name}");
        }
    }
    // Empty values in such a field change nothing.
    for fields in [
        json!({"tools": "[]", "images": [], "weight": 1, "train": true, "label": true, "loss_mask": null, "thinking": "", "context": "", "history": [], "system": ""}),
        json!({"tools": null, "reasoning_content": null, "kto_tag": 1, "documents": [], "input": " "}),
    ] {
        for record in [&messages, &alpaca, &prompt] {
            taken(&with(record, &fields));
        }
    }
    // Rejected records are counted by reason.
    let text =
        [beside(&json!({"thinking": "x"})), beside(&json!({"thinking": "y"})), beside(&json!({"name": "A"})), messages]
            .map(|r| r.to_string())
            .join("\n");
    assert_eq!(chats(&text).rules, BTreeMap::from([("name", 1), ("reasoning", 2)]));
}

#[test]
fn what_belongs_to_the_question_is_read() {
    let said = |record: &Value| {
        let found = taken(record);
        let turns = &found.items[0].turns;
        assert_eq!(found.unread.summary(), None, "{record}");
        turns.iter().map(|t| (t.role, t.content.clone())).collect::<Vec<_>>()
    };
    let wanted = |question: &str| vec![(Role::User, question.to_owned()), (Role::Assistant, "a".to_owned())];
    assert_eq!(said(&json!({"instruction": "q", "context": "c", "response": "a"})), wanted("q\nc"));
    assert_eq!(said(&json!({"instruction": "q", "context": "c", "input": "", "output": "a"})), wanted("q\nc"));
    assert_eq!(rejected(&json!({"instruction": "q", "context": "c", "input": "i", "output": "a"})).0, "context");
    let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "text", "text": "r"}]}, {"role": "assistant", "content": ["a"]}]});
    assert_eq!(said(&parts), wanted("qr"));
    let pair = json!({"instruction": "q", "context": "c", "chosen": "a", "rejected": "b"}).to_string();
    let found = read_preferences(Format::JsonLines, pair.as_bytes()).unwrap();
    assert_eq!(found.pairs.items[0].prompt[0].content, "q\nc");
    assert_eq!(pair_rejected(&json!({"prompt": "q", "context": "c", "chosen": "a", "rejected": "b"})).0, "context");
    let marked =
        json!({"prompt": "q", "chosen": [{"role": "assistant", "content": "a", "weight": 0}], "rejected": "b"});
    assert_eq!(pair_rejected(&marked).0, "loss");
    assert_eq!(pair_rejected(&json!({"prompt": "q", "chosen": "a", "rejected": "b", "margin": 0.7})).0, "loss");
    // Marks on a prompt's turns do not apply to the answers.
    let both = |answer: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "x", "weight": 0}, {"role": "user", "content": "r"}, {"role": "assistant", "content": answer}]);
    let text = json!({"chosen": both("a"), "rejected": both("b")}).to_string();
    assert_eq!(read_preferences(Format::JsonLines, text.as_bytes()).unwrap().pairs.items.len(), 1);
}

// Unread fields

#[test]
fn data_that_nobody_reads_cost_no_record() {
    let odd = [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "123456789012345678901234567890",
        "\"\\ud800\"",
        "\"\\udc00\\ud83d\"",
        "[\"a\", 1]",
        "{\"a\": {}}",
        "true",
        "\"\\u0000\"",
    ];
    let huge = "9".repeat(500);
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    for value in odd.into_iter().chain([huge.as_str(), deep.as_str()]) {
        for name in ["id", "source", "task", "score", "a\\nb"] {
            for record in [
                "\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]",
                "\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": \"a\", \"x\": NaN}]",
                "\"instruction\": \"q\", \"input\": NaN, \"system\": NaN, \"history\": NaN, \"output\": \"a\"",
                "\"prompt\": \"q\", \"completion\": \"a\"",
            ] {
                for text in
                    [format!("{{\"{name}\": {value}, {record}}}\n"), format!("[\n{{{record}, \"{name}\": {value}}}\n]")]
                {
                    for format in [Format::JsonLines, Format::Json] {
                        let found = read_chats(format, text.as_bytes());
                        let shown: String = text.chars().take(200).collect();
                        let found = found.unwrap_or_else(|e| panic!("{shown}: {e}"));
                        assert_eq!((found.rejected, found.items.len()), (0, 1), "{shown}");
                    }
                }
            }
            let pair = format!("{{\"prompt\": \"q\", \"chosen\": \"a\", \"rejected\": \"b\", \"{name}\": {value}}}");
            assert_eq!(read_preferences(Format::JsonLines, pair.as_bytes()).unwrap().pairs.rejected, 0);
            let text = format!("{{\"{name}\": {value}, \"text\": \"t\"}}");
            assert_eq!(texts(Format::JsonLines, text.as_bytes()).0, ["t"]);
        }
    }
    // Of several fields with one name the last counts, as in Python.
    assert_eq!(texts(Format::JsonLines, b"{\"text\": 1, \"text\": \"t\"}").0, ["t"]);
    let numbered = |task: &str| {
        let text = format!("{{\"prompt\": \"q\", \"completion\": \"a\", \"task\": {task}}}");
        chats(&text).items[0].task.clone()
    };
    assert_eq!([numbered("[\"qa\"]"), numbered("\"qa\""), numbered("3")], [None, Some("qa".into()), Some("3".into())]);
    // Where they are read they cost their own record.
    for bad in ["\"\\ud800\"", "NaN", "[[1]]"] {
        let text =
            format!("{{\"prompt\": \"q\", \"completion\": {bad}}}\n{{\"prompt\": \"q\", \"completion\": \"a\"}}");
        assert_eq!(chats(&text).rejected, 1, "{bad}");
        let text = format!("{{\"text\": {bad}}}\n{{\"text\": \"t\"}}");
        assert_eq!(texts(Format::JsonLines, text.as_bytes()).0, ["t"], "{bad}");
    }
}

#[test]
fn other_fields_are_counted() {
    let record = json!({"id": 1, "source": "s", "messages": [{"role": "user", "content": "q", "id": 1}, {"role": "assistant", "content": "a", "id": 2, "score": 0.5}]});
    let mut unread = chats(&format!("{record}\n{record}")).unread;
    let told = "ignored fields: id (2), messages[].id (4), messages[].score (2), source (2)";
    assert_eq!(unread.summary().as_deref(), Some(told));
    unread.join(chats(&record.to_string()).unread);
    assert!(unread.summary().unwrap().contains("messages[].id (6)"));
    let many: Vec<String> = (0..500)
        .map(|n| json!({"prompt": "q", "completion": "a", format!("f{n}"): n, "x".repeat(9000): 1}).to_string())
        .collect();
    let told = chats(&many.join("\n")).unread.summary().unwrap();
    assert!(told.len() < 800 && told.contains("others (461)"), "{told}");
    let pair = json!({"prompt": "q", "chosen": [{"role": "assistant", "content": "a", "x": 1}], "rejected": "b", "score_chosen": 9, "task": "t"});
    let found = read_preferences(Format::JsonLines, pair.to_string().as_bytes()).unwrap();
    assert_eq!(found.pairs.unread.summary().as_deref(), Some("ignored fields: chosen[].x (1), score_chosen (1)"));
}

#[test]
fn fields_of_texts_are_counted_too() {
    let lines = "{\"text\":\"a\",\"url\":\"u\",\"label\":0}\n{\"text\":\"b\",\"url\":\"v\",\"weight\":2.5}\n{\"text\":\"c\",\"train\":false}\n{\"url\":1}\n";
    let (found, faults, passed) = texts(Format::JsonLines, lines.as_bytes());
    assert_eq!(found, ["a", "b"]);
    assert!(faults[0].1.starts_with("loss: ") && faults[1].1.starts_with("no_text_field"), "{faults:?}");
    let told = "ignored fields: label (1), url (2), weight (1)";
    assert_eq!(passed.unread.summary().as_deref(), Some(told));
    let (_, _, passed) = texts(Format::Csv, b"id,title,text\n1,t,a\n2,t,b\n3,t\n");
    assert_eq!(passed.unread.summary().as_deref(), Some("ignored fields: id (2)"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plain.parquet");
    let kind = (Format::Parquet, Packing::Plain);
    let (_, _, passed) = texts_of(kind, &ReadOptions::default(), std::fs::File::open(path).unwrap());
    assert_eq!(passed.unread.summary().as_deref(), Some("ignored fields: id (2), score (2)"));
}

// Bytes to text

fn texts_of<R: Read + Seek + Send + 'static>(
    kind: (Format, Packing),
    options: &ReadOptions,
    input: R,
) -> (Vec<String>, Vec<(u64, String)>, Passed) {
    let (mut texts, mut faults) = (Vec::new(), Vec::new());
    let passed = documents(kind, options, input, &mut |place, found| match found {
        Ok(document) => texts.push(document.text().to_owned()),
        Err(fault) => faults.push((place, format!("{}: {}", fault.rule, fault.reason))),
    });
    (texts, faults, passed)
}

fn texts(format: Format, bytes: &[u8]) -> (Vec<String>, Vec<(u64, String)>, Passed) {
    texts_of((format, Packing::Plain), &ReadOptions::default(), Cursor::new(bytes.to_vec()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// All readable encodings of a text, by name.
fn written(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let two = |big: bool| -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    };
    let four = |big: bool| -> Vec<u8> {
        text.chars().flat_map(|c| if big { u32::from(c).to_be_bytes() } else { u32::from(c).to_le_bytes() }).collect()
    };
    let with_mark = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    let in_other = |encoding: &'static Encoding| encoding.encode(text).0.into_owned();
    vec![
        ("UTF-8", in_other(UTF_8)),
        ("UTF-8", with_mark(b"\xEF\xBB\xBF", in_other(UTF_8))),
        ("UTF-16LE", two(false)),
        ("UTF-16LE", with_mark(b"\xFF\xFE", two(false))),
        ("UTF-16BE", two(true)),
        ("UTF-16BE", with_mark(b"\xFE\xFF", two(true))),
        ("UTF-32LE", with_mark(b"\xFF\xFE\0\0", four(false))),
        ("UTF-32BE", four(true)),
        ("gb18030", in_other(GB18030)),
    ]
}

#[test]
fn every_reader_takes_every_encoding_and_packing() {
    let chat = json!({"messages": [{"role": "user", "content": "春眠不觉晓"}, {"role": "assistant", "content": "处处闻啼鸟。"}]});
    let pair = json!({"prompt": "春眠不觉晓", "chosen": "处处闻啼鸟。", "rejected": "夜来风雨声，"});
    for format in [Format::JsonLines, Format::Json] {
        let whole = |record: &Value| {
            if format == Format::Json { format!("[\n{record},\n{record}\n]") } else { format!("{record}\n{record}\n") }
        };
        for (name, bytes) in written(&whole(&chat)) {
            let expected = (name != "UTF-8").then_some(name);
            for (packing, bytes) in [(Packing::Plain, bytes.clone()), (Packing::Gzip, gzip(&bytes))] {
                let found = read_chat_file((format, packing), Cursor::new(bytes), TurnText::Tidy).unwrap();
                assert_eq!((found.rejected, found.encoding, found.items.len()), (0, expected, 2), "{name}");
                assert_eq!(found.items[1].turns[1].content, "处处闻啼鸟。");
            }
        }
        for (name, bytes) in written(&whole(&pair)) {
            let found: PreferenceReading =
                read_preference_file((format, Packing::Plain), Cursor::new(bytes), TurnText::Tidy).unwrap();
            assert_eq!((found.pairs.rejected, found.pairs.items.len()), (0, 2), "{name}");
            assert_eq!(found.pairs.items[0].rejected, "夜来风雨声，");
        }
    }
    let (big5, _, lost) =
        BIG5.encode("{\"prompt\": \"春眠不覺曉，處處聞啼鳥\", \"completion\": \"夜來風雨聲，花落知多少。\"}\n");
    assert!(!lost);
    let found =
        read_chat_file((Format::JsonLines, Packing::Plain), Cursor::new(big5.into_owned()), TurnText::Tidy).unwrap();
    assert_eq!((found.encoding, found.items[0].turns[1].content.as_str()), (Some("Big5"), "夜來風雨聲，花落知多少。"));
    let latin = b"{\"prompt\": \"caf\xe9 cr\xe8me\", \"completion\": \"d\xe9j\xe0 vu\"}\n";
    let found = read_chats(Format::JsonLines, latin.as_slice()).unwrap();
    assert_eq!((found.encoding, found.items[0].turns[1].content.as_str()), (Some("windows-1252"), "déjà vu"));
    // A spoiled character costs its record in a file that is converted, too.
    let mut bytes = GB18030.encode(&format!("{chat}\n").repeat(20)).0.into_owned();
    let at = bytes.iter().position(|b| !b.is_ascii()).unwrap();
    bytes[at + 1] = b' ';
    let found = read_chat_file((Format::JsonLines, Packing::Plain), Cursor::new(bytes), TurnText::Tidy).unwrap();
    assert_eq!((found.rejected, found.items.len(), found.rules["bad_encoding"]), (1, 19, 1));
}

#[test]
fn parquet_holds_conversations_and_pairs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let open = |name: &str| std::fs::File::open(folder.join(name)).unwrap();
    let found = read_chat_file((Format::Parquet, Packing::Plain), open("chats.parquet"), TurnText::Tidy).unwrap();
    assert_eq!((found.items.len(), found.rejected, found.rules.get("reasoning")), (2, 1, Some(&1)));
    let said: Vec<(&str, bool)> = found.items[1].turns.iter().map(|t| (t.content.as_str(), t.learned)).collect();
    assert_eq!(said, [("再说一次", true), ("不", false), ("请", true), ("处处闻啼鸟", true)]);
    let found = read_preference_file((Format::Parquet, Packing::Plain), open("pairs.parquet"), TurnText::Tidy).unwrap();
    assert_eq!((found.pairs.items.len(), found.pairs.items[0].chosen.as_str()), (2, "好"));
}

#[test]
fn files_that_were_joined_are_read_on() {
    let mark = "\u{FEFF}";
    let (a, b) = ("{\"text\": \"a\"}", "{\"text\": \"b\"}");
    for text in [
        format!("{mark}{a}\n{mark}{b}\n"),
        format!("{mark}{a}{mark}{b}"),
        format!("{a}{b}"),
        format!("{a}\r{b}\r"),
        format!("{a}\r\n{b}\r{mark}\r\n"),
        format!("[{a}]{mark}[{b}]"),
        format!("{mark}[{a}]\n{mark}[{b}]"),
        format!("{a}\n[{b}]"),
    ] {
        for format in [Format::JsonLines, Format::Json] {
            let (found, faults, _) = texts(format, text.as_bytes());
            assert_eq!((found.join(""), faults.len()), ("ab".to_owned(), 0), "{text:?} {faults:?}");
        }
    }
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let one = [&[0xFF, 0xFE][..], &wide("春眠不觉晓，\r\n处处闻啼鸟。\r\n\r\n")].concat();
    assert_eq!(texts(Format::Text, &one.repeat(2)).0, ["春眠不觉晓，\n处处闻啼鸟。"; 2]);
    assert_eq!(texts(Format::Text, "甲\r乙\r\r丙\r".as_bytes()).0, ["甲\n乙", "丙"]);
    assert_eq!(texts(Format::Text, format!("{mark}甲\n\n{mark}乙{mark}").as_bytes()).0, ["甲", "乙"]);
    let table = format!("{mark}\"text\",id\na,1\n{mark}\"text\",id\n\"b\",2\n");
    assert_eq!(texts(Format::Csv, table.as_bytes()).0, ["a", "b"]);
    assert_eq!(texts(Format::Csv, b"text,id\ra,1\rb,2\r").0, ["a", "b"]);
}

#[test]
fn a_zero_byte_costs_its_own_record() {
    let records: Vec<String> = ["a", "b\0", "c"].iter().map(|t| format!("{{\"text\":\"text {t}\"}}")).collect();
    for (format, text, place) in [
        (Format::JsonLines, records.join("\n"), 2),
        (Format::JsonLines, records.join("\r"), 2),
        (Format::Json, format!("[{}]", records.join(",")), 2),
        (Format::Text, "text a\n\ntext b\0\n\ntext c\n".to_owned(), 3),
        (Format::Csv, "text\ntext a\ntext b\0\ntext c\n".to_owned(), 3),
    ] {
        for (name, bytes) in written(&text) {
            let (found, faults, passed) = texts(format, &bytes);
            assert_eq!(found, ["text a", "text c"], "{format:?} {name} {passed:?}");
            assert_eq!(faults.iter().map(|f| f.0).collect::<Vec<_>>(), [place], "{format:?} {name}");
        }
    }
    // The end of a file that was being written when the power went off.
    let padded = format!("{}\n{}", records[0].as_str(), "\0".repeat(3000));
    let (found, faults, _) = texts(Format::JsonLines, padded.as_bytes());
    assert_eq!((found, faults.len()), (vec!["text a".to_owned()], 1));
}

#[test]
fn a_fault_is_located_where_it_begins() {
    let table = "id,text\n1,a\n2,\"b\n3,c\n4,d\n5,e\n";
    let (found, faults, _) = texts(Format::Csv, table.as_bytes());
    assert_eq!((found.len(), faults[0].0), (1, 3));
    assert!(faults[0].1.contains("not closed"), "{faults:?}");
    // The next quotation mark closes it, in the middle of a field.
    let table = "id,text\n1,a\n\n2,\"b\n3,\"c\"\n4,d\n";
    let (found, faults, _) = texts(Format::Csv, table.as_bytes());
    assert_eq!((found, faults[0].0), (vec!["a".to_owned(), "d".to_owned()], 4));
    // Correct quoting is not a fault.
    let table = "id,text\n1,\"a\n\"\"b\"\"\"\n2,5\" disk\n3,\"c\" \n4,\"\"\n5,\"d, \"\"e\"\"\"";
    let (found, faults, _) = texts(Format::Csv, table.as_bytes());
    assert_eq!(found, ["a\n\"b\"", "5\" disk", "c ", "d, \"e\""]);
    assert_eq!(faults.iter().map(|f| f.0).collect::<Vec<_>>(), [6], "the empty one, by the line on which it begins");
    for (text, place, words) in [
        ("[\n{\"text\":\"a\"},\n{\"text\":\"b},\n{\"text\":\"c\"}\n]", 2, "a string opens on line 3"),
        ("[\n{\"text\":\"a\"},\n{\n\"id\":1,\n\"text\":\"b\n},\n{\"text\":\"c\"}\n]", 2, "a string opens on line 5"),
        ("[\n{\"text\":\"a\"},\n{\"text\":[\"b\",\n{\"text\":\"c\"}\n]", 2, "the item begins on line 3"),
        ("[\n{\"text\":\"a\"},\n\n{\"text\" \"b\"}]", 2, "the item begins on line 4"),
    ] {
        let (found, faults, _) = texts(Format::Json, text.as_bytes());
        assert!(
            found.contains(&"a".to_owned()) && faults[0].0 == place && faults[0].1.contains(words),
            "{text}: {found:?} {faults:?}"
        );
    }
}

#[test]
fn a_guess_gives_way_to_the_profile() {
    let novel = "{\"title\":\"归来\",\"author\":\"某人\",\"text\":\"他推开门。\\n那人没有说话。\\r\\n“你来了。”\"}";
    let table = "title,author,text\n归来,某人,\"他推开门。\n那人没有说话。\r\n“你来了。”\"\n";
    for (format, text) in [(Format::JsonLines, novel), (Format::Csv, table)] {
        assert_eq!(texts(format, text.as_bytes()).0, ["归来　某人\n他推开门。那人没有说话。“你来了。”"]);
        let prose = ReadOptions { prose: true, ..ReadOptions::default() };
        let (found, _, _) = texts_of((format, Packing::Plain), &prose, Cursor::new(text.as_bytes().to_vec()));
        assert_eq!(found, ["他推开门。\n那人没有说话。\n“你来了。”"]);
    }
}

#[test]
fn what_is_not_the_file_itself_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:cdcd\nsize 123456\n";
    let page = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>text</body></html>\n";
    let answered = b"\n<html><head><title>Data sets</title></head></html>";
    for format in [Format::Text, Format::Markdown, Format::JsonLines, Format::Json, Format::Csv, Format::Parquet] {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let (found, faults, passed) =
                texts_of((format, packing), &ReadOptions::default(), Cursor::new(pointer.to_vec()));
            assert!(found.is_empty() && faults.is_empty());
            assert!(passed.ended.unwrap().to_string().contains("git lfs pull"), "{format:?}");
        }
        if format == Format::Parquet {
            continue;
        }
        let (found, _, passed) = texts(format, page);
        assert!(found.is_empty() && passed.ended.unwrap().to_string().contains("\"404 Not Found\""), "{format:?}");
        let is_text = matches!(format, Format::Text | Format::Markdown);
        assert_eq!(texts(format, answered).2.ended.is_none(), is_text, "{format:?}");
    }
    for kind in [(Format::Parquet, Packing::Plain), (Format::JsonLines, Packing::Gzip), (Format::Text, Packing::Zstd)] {
        let (_, _, passed) = texts_of(kind, &ReadOptions::default(), Cursor::new(page.to_vec()));
        assert!(matches!(passed.ended, Some(DataError::WebPage(Some(_)))), "{kind:?}");
    }
    // Compression is detected by content, not by name.
    let record = b"{\"text\": \"a\"}\n";
    for (packing, bytes) in
        [(Packing::Plain, gzip(record)), (Packing::Gzip, record.to_vec()), (Packing::Zstd, gzip(record))]
    {
        let (found, _, _) = texts_of((Format::JsonLines, packing), &ReadOptions::default(), Cursor::new(bytes));
        assert_eq!(found, ["a"], "{packing:?}");
    }
    let error =
        read_chat_file((Format::JsonLines, Packing::Gzip), Cursor::new(pointer.to_vec()), TurnText::Tidy).unwrap_err();
    assert!(matches!(error, DataError::Pointer));
    let error = read_preference_file((Format::Parquet, Packing::Plain), Cursor::new(pointer.to_vec()), TurnText::Tidy)
        .unwrap_err();
    assert!(matches!(error, DataError::Pointer));
    assert!(matches!(read_chats(Format::Json, page.as_slice()).unwrap_err(), DataError::WebPage(Some(_))));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_text_is_too_strange(text in any::<String>(), numbers in "[0-9+()@.:/ \\-xX版一０-９＋（a]{0,60}", json in "[\\[\\]{}\",:\\\\u8dNaInfity09 \n\r\u{FEFF}]{0,100}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for text in [&text, &numbers] {
            let mut masked = Masked::default();
            let out = mask(text, &mut masked);
            prop_assert_eq!(out.is_some(), masked.total() > 0);
        }
        let record = format!("{{\"prompt\": \"q\", \"x\": {json}, \"completion\": \"a\"}}");
        for bytes in [bytes.as_slice(), json.as_bytes(), record.as_bytes()] {
            for format in [Format::JsonLines, Format::Json, Format::Text, Format::Csv] {
                let _ = texts(format, bytes);
                let _ = read_chats(format, bytes);
                let _ = read_preferences(format, bytes);
            }
            let _ = to_text(bytes.to_vec());
        }
    }
}

/// A model's own chat template gets an empty system turn and `\r\n` as the record has them; an empty field `system` is
/// none in both, and where lines are the form's they end in `\n`.
#[test]
fn turns_are_read_as_written_where_asked() {
    use Role::{Assistant, System, User};
    use TurnText::{AsWritten, Tidy};
    let record = |messages: Value| json!({ "messages": messages }).to_string();
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let (asked, answered) = (turn("user", "q\r\nq"), turn("assistant", "a\r\r\nb\r"));
    let pair = |prompt: Value| json!({"prompt": prompt, "chosen": "good\r\n.", "rejected": "bad\r\n."}).to_string();
    let read = |text: &str, how: TurnText| -> Vec<(Role, String)> {
        let input = Cursor::new(text.as_bytes().to_vec());
        let found = read_chat_file((Format::JsonLines, Packing::Plain), input, how).unwrap();
        found.items[0].turns.iter().map(|t| (t.role, t.content.clone())).collect()
    };
    let pairs = |text: &str, how: TurnText| -> (Vec<(Role, String)>, String, String) {
        let input = Cursor::new(text.as_bytes().to_vec());
        let found = read_preference_file((Format::JsonLines, Packing::Plain), input, how).unwrap();
        let pair = found.pairs.items[0].clone();
        (pair.prompt.into_iter().map(|t| (t.role, t.content)).collect(), pair.chosen, pair.rejected)
    };
    let of = |turns: &[(Role, &str)]| -> Vec<(Role, String)> {
        turns.iter().map(|(role, text)| (*role, (*text).to_owned())).collect()
    };
    let tidy = [(User, "q\nq"), (Assistant, "a\r\nb\r")];
    let written = [(User, "q\r\nq"), (Assistant, "a\r\r\nb\r")];
    for system in ["", " \r\n"] {
        let text = record(json!([turn("system", system), asked, answered]));
        assert_eq!(read(&text, Tidy), of(&tidy));
        assert_eq!(read(&text, AsWritten), of(&[(System, system), written[0], written[1]]));
        let text = pair(json!([turn("system", system), asked]));
        assert_eq!(pairs(&text, Tidy), (of(&tidy[..1]), "good\n.".to_owned(), "bad\n.".to_owned()));
        let expected = of(&[(System, system), written[0]]);
        assert_eq!(pairs(&text, AsWritten), (expected, "good\r\n.".to_owned(), "bad\r\n.".to_owned()));
    }
    let none = record(json!([asked, answered]));
    let field = json!({"system": "", "messages": [asked, answered]}).to_string();
    for text in [none, field] {
        assert_eq!((read(&text, Tidy), read(&text, AsWritten)), (of(&tidy), of(&written)));
    }
    let said = json!({"system": "be\r\nkind", "prompt": "q", "completion": "a"}).to_string();
    assert_eq!(read(&said, AsWritten)[0], (System, "be\r\nkind".to_owned()));
    let parts = json!([{"type": "text", "text": "q\r"}, {"type": "text", "text": "\nq"}]);
    let parted = record(json!([{"role": "user", "content": parts}, answered]));
    assert_eq!((&read(&parted, Tidy)[0].1[..], &read(&parted, AsWritten)[0].1[..]), ("q\r\nq", "q\r\nq"));
    let lines = "<|im_start|>user\r\nq\r\nq<|im_end|>\r\n<|im_start|>assistant\r\na<|im_end|>\r\n";
    let text = json!({ "text": lines }).to_string();
    let spoken = json!({"chosen": "\r\n\r\nHuman: q\r\nq\r\n\r\nAssistant: a", "rejected": "\r\n\r\nHuman: q\r\nq\r\n\r\nAssistant: b"});
    for how in [Tidy, AsWritten] {
        assert_eq!(read(&text, how), of(&[(User, "q\nq"), (Assistant, "a")]));
        assert_eq!(pairs(&spoken.to_string(), how), (of(&[(User, "q\nq")]), "a".to_owned(), "b".to_owned()));
    }
}
