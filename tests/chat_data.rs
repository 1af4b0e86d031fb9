//! Conversations in the data layer: every record is read or rejected with place and reason, no answer is cut, no
//! question is on both sides of the split, no example is lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking and report on stdout"
)]

use std::{
    collections::HashSet,
    fmt::Write as _,
    io::{self, Read},
    time::Instant,
};

use danlu::data::{
    ChatReading, ChatSource, Conversation, DataError, Example, ExampleSet, Form, Format, Role, Tokenizer, Turn,
    chat::encode,
    encode_all, example_sets, fill_row, plan, read_chats,
    split::{SHARE, key},
    tokenizer::{TextGroup, train_char},
};
use proptest::{prelude::*, test_runner::RngSeed};

const IGNORED: i32 = -100;

fn lines(text: &str) -> ChatReading {
    read_chats(Format::JsonLines, text.as_bytes()).unwrap()
}

fn turns(conversation: &Conversation) -> Vec<(Role, &str)> {
    conversation.turns.iter().map(|t| (t.role, t.content.as_str())).collect()
}

/// The reason for which a single record is rejected.
fn reason(record: &str) -> String {
    match read_chats(Format::JsonLines, record.as_bytes()) {
        Err(DataError::NoConversation { rejected: 1, first: Some((1, reason)) }) => reason,
        other => panic!("{record}: {other:?}"),
    }
}

/// A record with these messages, as `role:content`.
fn messages(of: &[&str]) -> String {
    let message = |m: &&str| {
        let (role, content) = m.split_once(':').unwrap();
        serde_json::json!({"role": role, "content": content})
    };
    serde_json::json!({"messages": of.iter().map(message).collect::<Vec<_>>()}).to_string()
}

// Forms

#[test]
fn every_form_is_read() {
    use Role::{Assistant, System, User};
    let asked = [(User, "q"), (Assistant, "a")];
    let briefed = [(System, "s"), (User, "q"), (Assistant, "a")];
    let longer = [(User, "q0"), (Assistant, "a0"), (User, "q"), (Assistant, "a")];
    for (record, form, wanted) in [
        (r#"{"instruction":"q","output":"a"}"#, Form::Alpaca, &asked[..]),
        (r#"{"instruction":"q","input":"","output":"a","history":[],"system":""}"#, Form::Alpaca, &asked),
        (r#"{"instruction":"q","input":null,"output":"a","history":null,"system":null}"#, Form::Alpaca, &asked),
        (r#"{"instruction":"","input":"q","output":"a"}"#, Form::Alpaca, &asked),
        (r#"{"instruction":"q","input":"i","output":"a"}"#, Form::Alpaca, &[(User, "q\ni"), (Assistant, "a")]),
        (r#"{"instruction":"q","output":"a","system":"s"}"#, Form::Alpaca, &briefed),
        (r#"{"instruction":"q","output":"a","history":[["q0","a0"]]}"#, Form::Alpaca, &longer),
        (r#"{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}"#, Form::ShareGpt, &asked),
        (
            r#"{"conversations":[{"from":"user","value":"q"},{"from":"assistant","value":"a"}],"system":"s"}"#,
            Form::ShareGpt,
            &briefed,
        ),
        (
            r#"{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"tools":"[]"}"#,
            Form::ShareGpt,
            &briefed,
        ),
        (
            r#"{"conversations":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
            Form::ShareGpt,
            &asked,
        ),
        (
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"a","tool_calls":null}]}"#,
            Form::Messages,
            &briefed,
        ),
        (
            r#"{"messages":[{"role":"system","content":""},{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"prompt":"q","id":7,"meta":{"deep":[1]}}"#,
            Form::Messages,
            &asked,
        ),
        (r#"{"prompt":"q","completion":"a"}"#, Form::PromptCompletion, &asked),
        (
            r#"{"prompt":[{"role":"system","content":"s"},{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}"#,
            Form::PromptCompletion,
            &briefed,
        ),
        (r#"{"prompt":[{"role":"user","content":"q"}],"completion":"a"}"#, Form::PromptCompletion, &asked),
    ] {
        let found = lines(record);
        assert_eq!(turns(&found.items[0]), wanted, "{record}");
        assert_eq!(found.forms.into_iter().collect::<Vec<_>>(), [(form, 1)], "{record}");
        assert_eq!((found.rejected, found.bytes), (0, record.len() as u64));
        assert_eq!(found.items[0].task, None);
    }
}

#[test]
fn content_is_kept_as_it_is() {
    let found = lines(r#"{"prompt":"  q\r\n<|user|> \n","completion":" a\t\r\nb\u0000\ud83d\ude00 ","task":" poem "}"#);
    assert_eq!(found.items[0].turns[0].content, "  q\n<|user|> \n");
    assert_eq!(found.items[0].turns[1].content, " a\t\nb\0\u{1F600} ");
    assert_eq!(found.items[0].task.as_deref(), Some("poem"));
    let numbered = lines(r#"{"prompt":"q","completion":"a","task":3}"#);
    assert_eq!(numbered.items[0].task.as_deref(), Some("3"));
}

#[test]
fn forms_may_be_mixed_and_errors_name_places() {
    let text = "\u{FEFF}\r\n{\"prompt\":\"q1\",\"completion\":\"a\"}\r\n\n{\"instruction\":\"q2\",\"output\":\"a\"}\nnonsense\n{\"prompt\":\"q3\",\"completion\":\"a\"}";
    let found = lines(text);
    assert_eq!(found.forms.into_iter().collect::<Vec<_>>(), [(Form::Alpaca, 1), (Form::PromptCompletion, 2)]);
    assert_eq!(found.places, [2, 4, 6]);
    assert_eq!(found.rejected, 1);
    assert!(found.reasons[0].0 == 5 && found.reasons[0].1.starts_with("not JSON"), "{:?}", found.reasons);
    let names: Vec<String> =
        [Form::Alpaca, Form::ShareGpt, Form::Messages, Form::PromptCompletion].map(|f| f.to_string()).into();
    assert_eq!(names, ["alpaca", "sharegpt", "messages", "prompt/completion"]);
}

#[test]
fn arrays_and_lines_are_distinguished_by_their_first_line() {
    let record = |n: usize| format!("{{\"prompt\":\"q{n}\",\"completion\":\"a\"}}");
    let pretty = format!("[\n  {},\n  {{\n\"prompt\": \"q2\",\n\"completion\": \"[}}\"\n}}\n]\n", record(1));
    let compact = format!("[{},{}]", record(1), record(2));
    let by_line = format!("{}\n{}\n", record(1), record(2));
    let spread = "{\n\"prompt\": \"q1\",\n\"completion\": \"a\"\n}\n{\"prompt\":\"q2\",\"completion\":\"a\"}";
    for (format, text) in [
        (Format::Json, pretty.as_str()),
        (Format::JsonLines, &pretty),
        (Format::Json, &compact),
        (Format::JsonLines, &compact),
        (Format::Json, &by_line),
        (Format::JsonLines, &by_line),
        (Format::Json, spread),
    ] {
        let found = read_chats(format, text.as_bytes()).unwrap();
        assert_eq!((found.places, found.rejected), (vec![1, 2], 0), "{format:?} {text}");
        assert_eq!(found.bytes, text.len() as u64);
    }
    // A broken line in a .json file with JSON Lines affects only itself.
    let broken = format!("{}\n{{\"prompt\":\"\n{}\n", record(1), record(3));
    let found = read_chats(Format::Json, broken.as_bytes()).unwrap();
    assert_eq!((found.places, found.rejected), (vec![1, 3], 1));
}

// Bad input

#[test]
fn reasons_are_sentences() {
    for (record, wanted) in [
        ("[[]]", "expected an object, found an array"),
        ("7", "expected an object, found a number"),
        ("null", "expected an object, found null"),
        ("\"text\"", "expected an object, found a string"),
        ("{", "not JSON: EOF while parsing an object at column 1"),
        ("{}", "no known field: \"messages\", \"conversations\", \"instruction\" with \"output\", \"prompt\""),
        (r#"{"text":"pretraining"}"#, "no known field"),
        (r#"{"messages":null}"#, "no known field"),
        (r#"{"instruction":"q"}"#, "\"instruction\" without \"output\""),
        (r#"{"prompt":"q","chosen":"a","rejected":"b"}"#, "\"prompt\" without \"completion\""),
        (r#"{"messages":"q"}"#, "\"messages\" is a string, not a list of messages"),
        (r#"{"messages":[]}"#, "it has no turns"),
        (r#"{"conversations":[7]}"#, "message 1 of \"conversations\": expected an object, found a number"),
        (r#"{"messages":[{"content":"q"}]}"#, "neither \"role\" nor \"from\""),
        (r#"{"messages":[{"role":"user"}]}"#, "neither \"content\" nor \"value\""),
        (r#"{"messages":[{"role":7,"content":"q"}]}"#, "the role is a number, not a string"),
        (
            r#"{"messages":[{"role":"user","content":[7]}]}"#,
            "message 1 of \"messages\": a part of \"content\" is a number, not a string",
        ),
        (r#"{"messages":[{"from":"human","value":1}]}"#, "\"value\" is a number, not a string"),
        (r#"{"messages":[{"role":"user","content":null}]}"#, "\"content\" is null, not a string"),
        (
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"id":1}]}]}"#,
            "message 2 of \"messages\": it calls a tool, which is not supported",
        ),
        (r#"{"prompt":1,"completion":"a"}"#, "\"prompt\" is a number; a string or a list of messages"),
        (r#"{"instruction":1,"output":"a"}"#, "\"instruction\" is a number, not a string"),
        (r#"{"instruction":"q","output":["a"]}"#, "\"output\" is an array, not a string"),
        (r#"{"instruction":"q","output":"a","history":[["q"]]}"#, "\"history\" is not a list of pairs"),
        (r#"{"instruction":"q","output":"a","history":{"q":"a"}}"#, "\"history\" is not a list of pairs"),
        (r#"{"instruction":"q","output":"a","history":[["q",1]]}"#, "an answer in \"history\" is a number"),
        (r#"{"instruction":"q","output":"a","system":1}"#, "\"system\" is a number, not a string"),
        (r#"{"prompt":"q","completion":"\ud83d"}"#, "\"completion\" has an unpaired surrogate"),
    ] {
        assert!(reason(record).contains(wanted), "{record}: {}", reason(record));
    }
    for (of, wanted) in [
        (
            &["user:q", "bot:a"][..],
            "message 2 of \"messages\": unknown role \"bot\"; known are system, user (human) and assistant (gpt)",
        ),
        (&["User:q", "assistant:a"], "unknown role \"User\""),
        (&["user:q", "tool:a"], "the role \"tool\" is a tool's; tools are not supported"),
        (&["user:q", "function_call:a"], "tools are not supported"),
        (&["user:q", "observation:a"], "tools are not supported"),
        (&["user:q", "assistant: \n"], "empty answer (turn 2)"),
        (&["user:", "assistant:a"], "empty question (turn 1)"),
        (&["system:s", "user:\u{3000}", "assistant:a"], "empty question (turn 2)"),
        (&["user:q"], "no turn is the assistant's"),
        (&["system:s"], "no turn is the assistant's"),
        (&["user:q", "assistant:a", "user:q"], "it ends with the user; the last turn must be an answer"),
        (&["system:s", "system:t", "user:q", "assistant:a"], "2 system turns; one at most"),
        (&["user:q", "system:s", "assistant:a"], "the system turn is not the first"),
        (&["user:q", "user:q", "assistant:a"], "two user turns in a row (turns 1 and 2)"),
        (&["user:q", "assistant:a", "assistant:b"], "two assistant turns in a row (turns 2 and 3)"),
        (&["assistant:a", "user:q", "assistant:b"], "it opens with the assistant"),
        (&["system:s", "assistant:a"], "it opens with the assistant"),
    ] {
        assert!(reason(&messages(of)).contains(wanted), "{of:?}: {}", reason(&messages(of)));
    }
    let two = r#"{"system":"s","messages":[{"role":"system","content":"t"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    assert!(reason(two).contains("2 system turns"));
    let long = reason(&messages(&[&format!("{}:q", "x".repeat(5000)), "assistant:a"]));
    assert!(long.len() < 200, "a role a kilobyte long is not repeated: {long}");
}

/// Fields of other names, as data sets on the Hub have them.
#[test]
fn questions_and_answers_are_read_under_their_usual_names() {
    use Role::{Assistant, System, User};
    let asked = [(User, "q"), (Assistant, "a")];
    for (record, form, wanted) in [
        (r#"{"question":"q","answer":"a"}"#, Form::QuestionAnswer, &asked[..]),
        (r#"{"query":"q","response":"a","history":[]}"#, Form::QuestionAnswer, &asked),
        (r#"{"input":"q","output":"a"}"#, Form::QuestionAnswer, &asked),
        (r#"{"question":"q","context":"c","answer":"a"}"#, Form::QuestionAnswer, &[(User, "q\nc"), (Assistant, "a")]),
        (r#"{"question":"q","answer":"a","output":""}"#, Form::QuestionAnswer, &asked),
        (
            r#"{"system":"s","query":"q","response":"a"}"#,
            Form::QuestionAnswer,
            &[(System, "s"), (User, "q"), (Assistant, "a")],
        ),
        (
            r#"{"query":"q","response":"a","history":[["q0","a0"]]}"#,
            Form::QuestionAnswer,
            &[(User, "q0"), (Assistant, "a0"), (User, "q"), (Assistant, "a")],
        ),
        (r#"{"prompt":"q","response":"a"}"#, Form::PromptCompletion, &asked),
        (r#"{"instruction":"q","answer":"a"}"#, Form::Alpaca, &asked),
        (r#"{"text":"<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"}"#, Form::ChatMl, &asked),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":"a"}]}"#,
            Form::Messages,
            &asked,
        ),
    ] {
        let reading = lines(record);
        assert_eq!(turns(&reading.items[0]), wanted, "{record}");
        assert_eq!(reading.forms.into_iter().collect::<Vec<_>>(), [(form, 1)], "{record}");
    }
    for (record, wanted) in [
        (r#"{"question":"q"}"#, "\"question\" without \"answer\""),
        (r#"{"question":"q","answer":"a","response":"b"}"#, "it has both \"response\" and \"answer\""),
        (r#"{"question":"q","answer":["a"]}"#, "\"answer\" is an array, not a string"),
        (r#"{"text":"<|im_start|>user\nq"}"#, "turn 1 of \"text\" has no <|im_end|>"),
        (r#"{"text":"<|im_start|>user\nq<|im_end|>x<|im_start|>assistant\na<|im_end|>"}"#, "outside of every turn"),
        (r#"{"body":"x"}"#, "it has \"body\""),
    ] {
        assert!(reason(record).contains(wanted), "{record}: {}", reason(record));
    }
}

/// Rows of a table are records; a cell may hold a list of messages.
#[test]
fn tables_hold_conversations() {
    let text = "question,answer\nq,a\n\"two\nlines\",\"a, b\"\n,a\n";
    let reading = read_chats(Format::Csv, text.as_bytes()).unwrap();
    let said: Vec<_> =
        reading.items.iter().map(|c| (c.turns[0].content.as_str(), c.turns[1].content.as_str())).collect();
    assert_eq!(said, [("q", "a"), ("two\nlines", "a, b")]);
    assert_eq!((reading.rejected, reading.reasons[0].0), (1, 5), "{:?}", reading.reasons);
    let cell = r#"[{""role"":""user"",""content"":""q""},{""role"":""assistant"",""content"":""a""}]"#;
    let reading = read_chats(Format::Tsv, format!("id\tmessages\n1\t\"{cell}\"\n").as_bytes()).unwrap();
    assert_eq!(turns(&reading.items[0]), [(Role::User, "q"), (Role::Assistant, "a")]);
}

#[test]
fn an_input_without_conversations_says_what_was_expected() {
    for format in [Format::Json, Format::JsonLines] {
        for text in ["", "\n \n", "\u{FEFF}"] {
            let error = read_chats(format, text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("holds no conversation; expected records with \"messages\""), "{error}");
        }
    }
    let error = read_chats(Format::JsonLines, "{\"text\":\"t\"}\nx\n".as_bytes()).unwrap_err().to_string();
    assert!(error.contains("2 records were rejected, the first at 1: no known field"), "{error}");
    let error = read_chats(Format::Text, "q\na".as_bytes()).unwrap_err().to_string();
    assert!(error.contains("a .txt file holds none; expected .jsonl, .json, .csv"), "{error}");
    assert!(read_chats(Format::JsonLines, Failing).unwrap_err().to_string().contains("cannot be read: gone"));
    assert!(read_chats(Format::Json, "[".as_bytes().chain(Failing)).unwrap_err().to_string().contains("gone"));
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn one_bad_record_spoils_only_itself() {
    let good = r#"{"prompt":"q","completion":"a"}"#;
    let deep = format!("{{\"prompt\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let open = format!("{{\"prompt\":{}", "[".repeat(100_000));
    for bad in [b"{\"prompt\":\"\xFF\",\"completion\":\"a\"}".as_slice(), b"{\"prompt\":\"\xE6\x98\"}", deep.as_bytes()]
    {
        let by_line = [good.as_bytes(), bad, good.as_bytes()].join(&b'\n');
        let array = [b"[", [good.as_bytes(), bad, good.as_bytes()].join(&b',').as_slice(), b"]"].concat();
        for (format, bytes) in [(Format::JsonLines, by_line), (Format::Json, array)] {
            let found = read_chats(format, bytes.as_slice()).unwrap();
            assert_eq!((found.places.as_slice(), found.rejected, found.reasons[0].0), (&[1, 3][..], 1, 2));
            let wanted = if bad.len() > 1000 { "\"prompt\" without" } else { "not " };
            assert!(found.reasons[0].1.starts_with(wanted), "{:?}", found.reasons);
        }
    }
    // Unclosed brackets consume the rest of an array, but not of a file of lines.
    let found = lines(&format!("{good}\n{open}\n{good}"));
    assert_eq!((found.places, found.rejected), (vec![1, 3], 1));
    let found = read_chats(Format::Json, format!("[{good},{open},{good}]").as_bytes()).unwrap();
    assert_eq!((found.places, found.rejected), (vec![1], 1));
    assert!(found.reasons[0].1.contains("cut off"), "{:?}", found.reasons);
    // A truncated download is reported, even if it ends between records.
    let found = read_chats(Format::Json, format!("[{good},\n").as_bytes()).unwrap();
    assert_eq!((found.places, found.rejected), (vec![1], 1));
    assert!(found.reasons[0].1.contains("before the array does"), "{:?}", found.reasons);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    // 64 MB of one line (or record), generated while reading: never in memory as a whole.
    let good = "{\"prompt\":\"q\",\"completion\":\"a\"}\n";
    let start = Instant::now();
    for (format, before, after) in [
        (Format::JsonLines, "{\"prompt\":\"".to_owned(), "\"}\n".to_owned()),
        (Format::Json, format!("[{good},{{\"prompt\":\""), "\"},".to_owned()),
        (Format::Json, "[{\"prompt\":\"".to_owned(), "\"},".to_owned()),
    ] {
        let long = before.as_bytes().chain(io::repeat(b'x').take(64 << 20)).chain(after.as_bytes());
        let found = read_chats(format, long.chain(good.as_bytes())).unwrap();
        assert!(found.reasons[0].1.contains("has more than 1048576 bytes"), "{:?}", found.reasons);
        assert!(found.items.len() <= 2 && found.bytes > 64 << 20);
    }
    // Blank without end, and brackets without end.
    assert!(read_chats(Format::JsonLines, io::repeat(b' ').take(32 << 20)).is_err());
    assert!(read_chats(Format::Json, io::repeat(b'\n').take(32 << 20)).is_err());
    assert!(read_chats(Format::Json, io::repeat(b'[').take(32 << 20)).is_err());
    println!("long lines took {:?}", start.elapsed());
}

#[test]
fn two_hundred_thousand_lines_are_read() {
    let mut text = String::new();
    for n in 0..200_000 {
        writeln!(
            text,
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"第{n}个问题：春天来了，小雨推开窗户？\"}},{{\"role\":\"assistant\",\"content\":\"柳树变绿了。\"}}]}}"
        )
        .unwrap();
    }
    let start = Instant::now();
    let found = lines(&text);
    let read = start.elapsed();
    let array = format!("[{}]", text.trim_end().replace('\n', ","));
    let start = Instant::now();
    let again = read_chats(Format::Json, array.as_bytes()).unwrap();
    let cut = start.elapsed();
    assert!(found.items.len() == 200_000 && again.items == found.items);
    let start = Instant::now();
    let (examples, fitted) = encode_all(&found.items, &tokenizer(), 128).unwrap();
    let encoded = start.elapsed();
    assert_eq!((fitted.kept, fitted.dropped), (200_000, 0));
    let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
    let order: Vec<usize> = (0..lengths.len()).collect();
    let start = Instant::now();
    let rows = plan(&lengths, &order, 128).unwrap();
    println!("read {read:?}, as an array {cut:?}, encoded {encoded:?}, {} rows in {:?}", rows.len(), start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:\\\\a \n]{0,80}") {
        for format in [Format::Json, Format::JsonLines] {
            let _ = read_chats(format, bytes.as_slice());
            let _ = read_chats(format, text.as_bytes());
        }
    }

    #[test]
    fn a_damaged_file_loses_only_records(at in 0_usize..600, with in any::<u8>()) {
        let record = |n: usize| format!("{{\"instruction\":\"q{n}\",\"input\":\"[1, 2]\",\"output\":\"a\"}}\n");
        let mut bytes: Vec<u8> = (0..12).map(record).collect::<String>().into_bytes();
        let at = at % bytes.len();
        bytes[at] = with;
        let found = read_chats(Format::JsonLines, bytes.as_slice()).unwrap();
        prop_assert!(found.items.len() >= 10 && found.rejected <= 2);
    }
}

// Examples

fn tokenizer() -> Tokenizer {
    let texts = vec!["abcdefghijklmnopqrstuvwxyz 春天来了，小雨推开窗户？柳树变绿。第个问题：0123456789"];
    train_char(&[TextGroup { weight: 1.0, texts }], 400).unwrap()
}

/// A conversation with turns of these lengths; content of n letters gives n + 2 tokens.
fn sized(system: Option<usize>, exchanges: &[(usize, usize)]) -> Conversation {
    let mut turns: Vec<Turn> = system.map(|n| Turn::new(Role::System, "s".repeat(n))).into_iter().collect();
    for (at, (question, answer)) in exchanges.iter().enumerate() {
        let letter = char::from(b'a' + at as u8).to_string();
        turns.push(Turn::new(Role::User, letter.repeat(*question)));
        turns.push(Turn::new(Role::Assistant, letter.repeat(*answer)));
    }
    Conversation { turns, task: None }
}

#[test]
fn long_conversations_lose_whole_exchanges_from_the_front() {
    let tokenizer = tokenizer();
    let conversations = [
        sized(None, &[(3, 3)]),                    // 10 tokens
        sized(Some(3), &[(3, 3), (3, 3), (3, 3)]), // 35 tokens; 25 without the first
        sized(Some(3), &[(30, 30), (3, 3)]),       // 15 without the first
        sized(Some(3), &[(3, 3), (12, 12)]),       // 33 tokens in the last exchange: too long
        sized(None, &[(11, 11)]),                  // 26 tokens: one too many
        sized(None, &[(10, 11)]),                  // 25 tokens, of which 24 are inputs
    ];
    let (examples, fitted) = encode_all(&conversations, &tokenizer, 24).unwrap();
    assert_eq!(examples.iter().map(|e| e.ids.len()).collect::<Vec<_>>(), [10, 25, 15, 25]);
    assert_eq!((fitted.kept, fitted.shortened, fitted.dropped, fitted.longest), (4, 2, 2, 25));
    assert_eq!(fitted.dropped_at, [(4, 33), (5, 26)]);
    assert_eq!(fitted.tokens, 75);
    assert_eq!(fitted.trained_tokens, 4 + 8 + 4 + 12);
    let text = tokenizer.decode(&examples[1].ids, false);
    assert_eq!(
        text,
        "<|system|>sss<|im_end|><|user|>bbb<|im_end|><|assistant|>bbb<|im_end|><|user|>ccc<|im_end|><|assistant|>ccc<|im_end|>"
    );
    assert_eq!(examples[0], encode(&conversations[0], &tokenizer).unwrap());
    assert!(encode_all(&[], &tokenizer, 24).unwrap().0.is_empty());
}

#[test]
fn a_tokenizer_without_the_tokens_is_refused_with_advice() {
    let json = r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;
    let bare = Tokenizer::from_json(json, None).unwrap();
    let conversation = sized(None, &[(1, 1)]);
    let error = encode(&conversation, &bare).unwrap_err().to_string();
    assert!(error.contains("lacks the chat tokens (<|system|>, <|user|>, <|assistant|>, <|im_end|>)"), "{error}");
    assert!(encode_all(std::slice::from_ref(&conversation), &bare, 24).is_err());
    let grown = bare.with_chat().unwrap();
    assert_eq!(encode(&conversation, &grown).unwrap().ids, [6, 0, 4, 7, 0, 4]);
}

// A vocabulary that grows

/// A file with this vocabulary, merges and added tokens.
fn foreign(vocab: &serde_json::Value, merges: &[&str], added: &[(u32, &str, bool)], ignore_merges: bool) -> String {
    let added: Vec<serde_json::Value> = added
        .iter()
        .map(|(id, content, special)| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": special})
        })
        .collect();
    serde_json::json!({"version": "1.0", "added_tokens": added,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": ignore_merges}})
    .to_string()
}

#[test]
fn a_vocabulary_grows_at_its_end_and_changes_nothing_before() {
    let plain = serde_json::json!({"a": 0, "b": 1, "ab": 2, "<": 3, "|": 4, ">": 5});
    let holes = serde_json::json!({"a": 0, "b": 1, "ab": 7, "<": 3, "|": 9, ">": 5});
    let texts = ["", "ab", "aab<|ab|>", "<|pad|>ab<|user|><|endoftext|>"];
    for (json, config, before, after, end, pad) in [
        (foreign(&plain, &["a b"], &[], false), None, 6, 12, Some("<|endoftext|>"), Some("<|pad|>")),
        // EOS is unchanged; PAD, which the config sets to EOS, becomes a separate token.
        (
            foreign(&plain, &["a b"], &[(6, "</s>", true)], false),
            Some(r#"{"eos_token":"</s>","pad_token":"</s>"}"#),
            7,
            12,
            Some("</s>"),
            Some("<|pad|>"),
        ),
        // Existing tokens are not added again, wherever they are; one that is not special becomes special.
        (
            foreign(&plain, &["a b"], &[(6, "<|user|>", false), (7, "<|im_end|>", true), (8, "[P]", true)], false),
            Some(r#"{"eos_token":{"content":"<|im_end|>"},"pad_token":"[P]"}"#),
            9,
            11,
            Some("<|im_end|>"),
            Some("[P]"),
        ),
        // Gaps remain gaps.
        (foreign(&holes, &["a b"], &[], false), None, 10, 16, Some("<|endoftext|>"), Some("<|pad|>")),
        (foreign(&holes, &["a b"], &[], true), None, 10, 16, Some("<|endoftext|>"), Some("<|pad|>")),
    ] {
        let old = Tokenizer::from_json(&json, config).unwrap();
        assert_eq!((old.vocab_size(), old.chat()), (before, None));
        if json.contains("\"ignore_merges\":true") {
            // A word that is a token is always encoded as that token, so a text could spell the new ones.
            assert!(old.with_chat().unwrap_err().to_string().contains("ordinary text can contain it"));
            continue;
        }
        let new = old.with_chat().unwrap();
        assert_eq!(new.vocab_size(), after, "{json}");
        for id in 0..before as u32 {
            assert_eq!(new.token(id), old.token(id));
        }
        assert_eq!(new.end_of_text().and_then(|id| new.token(id)), end);
        assert_eq!(new.pad().and_then(|id| new.token(id)), pad);
        let chat = new.chat().unwrap();
        for id in [chat.system, chat.user, chat.assistant, chat.end, new.pad().unwrap(), new.end_of_text().unwrap()] {
            assert!(new.is_special(id));
            assert_eq!(new.decode(&[id], true), "");
            let spelled = new.encode(new.token(id).unwrap()).unwrap();
            assert!(spelled.iter().all(|id| !new.is_special(*id)));
        }
        for text in texts.iter().filter(|t| !json.contains("<|user|>") || !t.contains("<|user|>")) {
            assert_eq!(new.encode(text).unwrap(), old.encode(text).unwrap(), "{text}");
        }
        // Saved and opened again it lacks nothing.
        let saved = Tokenizer::from_json(new.json(), Some(&new.config_json(256, None))).unwrap();
        let again = saved.with_chat().unwrap();
        assert_eq!((again.json(), again.chat()), (new.json(), new.chat()));
        assert_eq!((again.end_of_text(), again.pad()), (new.end_of_text(), new.pad()));
    }
    // A tokenizer trained here lacks nothing.
    let own = tokenizer();
    assert_eq!(own.with_chat().unwrap().json(), own.json());
}

#[test]
fn a_token_that_merges_make_cannot_become_special() {
    let vocab = serde_json::json!({"<|user": 0, "|>": 1, "<|user|>": 2, "<": 3, "|": 4, "u": 5, "s": 6, "e": 7, "r": 8, ">": 9,
        "<|": 10, "us": 11, "er": 12, "user": 13});
    let merges = ["< |", "| >", "u s", "e r", "us er", "<| user", "<|user |>"];
    let old = Tokenizer::from_json(&foreign(&vocab, &merges, &[], false), None).unwrap();
    assert_eq!(old.encode("<|user|>").unwrap(), [2]);
    assert!(old.with_chat().unwrap_err().to_string().contains("\"<|user|>\" cannot become a special token"));
}

fn source(name: &str, hold_out: bool, questions: impl IntoIterator<Item = String>) -> ChatSource {
    let conversations = questions
        .into_iter()
        .map(|q| Conversation { turns: vec![Turn::new(Role::User, q), Turn::new(Role::Assistant, "a")], task: None })
        .collect();
    ChatSource { name: name.into(), conversations, weight: 1.0, hold_out, split: Vec::new() }
}

#[test]
fn a_question_is_on_one_side() {
    let tokenizer = tokenizer();
    let number = |n: usize| format!("question {n}");
    let build = || {
        example_sets(
            vec![
                source("first", true, (0..500).map(number)),
                // The same questions in other letter cases and with other punctuation.
                source("again", true, (250..750).map(|n| format!("Question  {n} ?"))),
                source("by heart", false, (700..800).map(number)),
                source("few", true, (900..903).map(number)),
                source("empty", true, []),
            ],
            &["Question 1!"],
            &tokenizer,
            128,
            &|| Ok(()),
        )
        .unwrap()
    };
    let sets = build();
    assert_eq!(sets, build());
    let question = |example: &Example| key(tokenizer.decode(&example.ids, true).trim_end_matches('a'));
    let trained: HashSet<_> = sets.iter().flat_map(|s| &s.examples).map(question).collect();
    let held = |s: &ExampleSet| s.held_out.iter().map(|h| question(&h.example)).collect::<Vec<_>>();
    for set in &sets {
        assert!(held(set).iter().all(|q| !trained.contains(q)), "{}", set.name);
        for held in &set.held_out {
            assert_eq!(key(held.conversation.prompt().unwrap()), question(&held.example));
        }
        assert_eq!(set.fitted.kept, set.examples.len());
        assert_eq!(set.held_out_fitted.kept, set.held_out.len());
    }
    let counts: Vec<(usize, usize)> = sets.iter().map(|s| (s.examples.len(), s.held_out.len())).collect();
    assert_eq!(counts.iter().map(|(a, b)| a + b).collect::<Vec<_>>(), [500, 500, 100, 3, 0]);
    for (_, held) in &counts[..2] {
        let share = *held as f64 / 500.0;
        assert!((share - SHARE).abs() < 0.04, "{counts:?}");
    }
    assert!(counts[2..].iter().all(|(_, held)| *held == 0), "{counts:?}");
    assert!(trained.contains(&key("question 1")) && trained.contains(&key("question 701")));
}

// Packing

/// Every example occurs once, no row exceeds its window; returns the share of positions used.
fn check_plan(lengths: &[usize], order: &[usize], window: usize) -> f64 {
    let rows = plan(lengths, order, window).unwrap();
    assert_eq!(rows, plan(lengths, order, window).unwrap());
    let mut seen: Vec<usize> = rows.concat();
    seen.sort_unstable();
    let mut wanted = order.to_vec();
    wanted.sort_unstable();
    assert_eq!(seen, wanted, "every example exactly once");
    let places = |row: &Vec<usize>| row.iter().map(|e| lengths[*e].saturating_sub(1)).sum::<usize>();
    assert!(rows.iter().all(|r| !r.is_empty() && places(r) <= window));
    rows.iter().map(places).sum::<usize>() as f64 / (rows.len() * window).max(1) as f64
}

#[test]
fn rows_of_usual_examples_are_nearly_full() {
    // Lengths like those of short conversations, from a fixed generator.
    let mut state = 1_u64;
    let mut draw = |from: usize, to: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (state >> 33) as usize % (to - from + 1)
    };
    for (count, from, to, window, least) in [
        (2_000, 15, 90, 128, 0.95),
        (300, 15, 90, 128, 0.90),
        (20_000, 15, 90, 128, 0.95),
        (5_000, 2, 257, 256, 0.95),
        (5_000, 20, 40, 128, 0.90),
        (200_000, 15, 90, 512, 0.99),
    ] {
        let lengths: Vec<usize> = (0..count).map(|_| draw(from, to)).collect();
        let order: Vec<usize> = (0..count).collect();
        let start = Instant::now();
        let fill = check_plan(&lengths, &order, window);
        println!("{count} examples of {from} to {to} tokens in {window}: {fill:.3} full, {:?}", start.elapsed());
        assert!(fill >= least, "{count} of {from} to {to} in {window}: {fill}");
    }
}

#[test]
fn two_million_examples_are_planned() {
    let lengths: Vec<usize> = (0..2_000_000_usize).map(|n| 15 + n.wrapping_mul(2_654_435_761) % 76).collect();
    let order: Vec<usize> = (0..lengths.len()).collect();
    let start = Instant::now();
    let rows = plan(&lengths, &order, 128).unwrap();
    println!("{} rows in {:?}", rows.len(), start.elapsed());
    let tokens: usize = lengths.iter().sum();
    assert!(rows.len() >= tokens.div_ceil(128) && rows.len() * 128 < tokens * 21 / 20, "{} rows", rows.len());
}

#[test]
fn an_example_too_long_for_a_row_is_an_error() {
    assert_eq!(plan(&[129], &[0], 128).unwrap(), [[0]]);
    let error = plan(&[5, 130], &[0, 1], 128).unwrap_err().to_string();
    assert!(error.contains("example 1") && error.contains("129 places, more than its 128"), "{error}");
    assert!(plan(&[5], &[1], 128).unwrap_err().to_string().contains("names example 1, of 1"));
    assert_eq!(plan(&[], &[], 128).unwrap(), Vec::<Vec<usize>>::new());
    let example = Example { ids: vec![1; 6], labels: vec![1; 6] };
    assert!(fill_row(&[&example, &example], 9, 0).is_err());
}

#[test]
fn a_row_says_where_its_examples_start() {
    let x = IGNORED;
    let one = Example { ids: vec![10, 11, 12, 13], labels: vec![x, x, 12, 13] };
    let two = Example { ids: vec![20, 21, 22], labels: vec![x, x, 22] };
    let lone = Example { ids: vec![30], labels: vec![30] };
    let row = fill_row(&[&one, &lone, &Example::default(), &two], 8, 1).unwrap();
    assert_eq!(row.ids, [10, 11, 12, 20, 21, 1, 1, 1]);
    assert_eq!(row.targets, [x, 12, 13, x, 22, x, x, x]);
    assert_eq!(row.starts, [0, 0, 0, 3, 3, 5, 6, 7]);
    let row = fill_row(&[], 2, 1).unwrap();
    assert_eq!((row.ids, row.targets, row.starts), (vec![1, 1], vec![x, x], vec![0, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_plan_loses_and_cuts_nothing(lengths in prop::collection::vec(0_usize..=65, 0..600), skip in 1_usize..4) {
        // Any order, also of a subset.
        let order: Vec<usize> = (0..lengths.len()).rev().step_by(skip).collect();
        check_plan(&lengths, &order, 64);
    }

    #[test]
    fn rows_hold_their_examples_whole(lengths in prop::collection::vec(1_usize..=33, 1..60)) {
        let mut next = 0;
        let examples: Vec<Example> = lengths.iter().map(|n| {
            let ids: Vec<u32> = (next..next + *n as u32).collect();
            next += *n as u32;
            let labels = ids.iter().map(|id| if id % 3 == 0 { IGNORED } else { *id as i32 }).collect();
            Example { ids, labels }
        }).collect();
        let order: Vec<usize> = (0..lengths.len()).collect();
        let mut trained = 0;
        for members in plan(&lengths, &order, 32).unwrap() {
            let members: Vec<&Example> = members.iter().map(|e| &examples[*e]).collect();
            let row = fill_row(&members, 32, 9_999_999).unwrap();
            prop_assert!(row.ids.len() == 32 && row.targets.len() == 32 && row.starts.len() == 32);
            for at in 0..32 {
                prop_assert!(row.starts[at] as usize <= at);
                // Ids count up, so that a position identifies the start of its example and its target.
                let start = row.starts[at] as usize;
                prop_assert!(row.ids[at] == 9_999_999 || row.ids[at] - row.ids[start] == (at - start) as u32);
                prop_assert!(row.targets[at] == IGNORED || row.targets[at] == row.ids[at] as i32 + 1);
            }
            trained += row.targets.iter().filter(|t| **t != IGNORED).count();
        }
        prop_assert_eq!(trained, examples.iter().map(Example::trained).sum::<usize>());
    }
}
