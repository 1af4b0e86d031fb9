//! Preferences in the data layer: every record is read or rejected with place and reason, a pair is complete or
//! dropped, rules do what they document on any text, and the built-in sets are disjoint where they must be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use danlu::data::{
    DataError, Fault, Format, Preference, PreferenceForm, PreferenceReading, RULES, Role, Rule, TaskPrompt, Tokenizer,
    Turn, builtin_conversations, builtin_held_out_preferences, builtin_judge_prompts, builtin_preferences,
    builtin_prompts,
    chat::encode,
    distinct2, encode_pairs, indicators, read_preferences, repetition,
    split::{Key, key, normalise},
    split_preferences,
    tokenizer::{TextGroup, train_char},
};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

const PAIRS: &str = include_str!("../assets/preference/pairs.jsonl");
const HELD_OUT: &str = include_str!("../assets/preference/heldout.jsonl");
const RANKED: &str = include_str!("../assets/preference/ranked.jsonl");

fn lines(text: &str) -> PreferenceReading {
    read_preferences(Format::JsonLines, text.as_bytes()).unwrap()
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The reason for which a single record is rejected.
fn reason(record: &str) -> String {
    match read_preferences(Format::JsonLines, record.as_bytes()) {
        Err(DataError::NoPreference { rejected: 1, undecided: 0, first: Some((1, reason)) }) => reason,
        other => panic!("{record}: {other:?}"),
    }
}

fn said(turns: &[Turn]) -> Vec<(Role, &str)> {
    turns.iter().map(|t| (t.role, t.content.as_str())).collect()
}

/// Messages, as `role:content`.
fn messages(of: &[&str]) -> Value {
    let message = |m: &&str| {
        let (role, content) = m.split_once(':').unwrap();
        json!({"role": role, "content": content})
    };
    of.iter().map(message).collect()
}

// Forms

#[test]
fn every_form_is_read() {
    use PreferenceForm::{Alpaca, HhRlhf, Messages, PromptPair, ShareGpt, Vote};
    use Role::{Assistant, System, User};
    let asked = &[(User, "q")][..];
    let briefed = &[(System, "s"), (User, "q")][..];
    let longer = &[(User, "q0"), (Assistant, "a0"), (User, "q")][..];
    let one = |role: &str, text: &str| json!({"from": role, "value": text});
    for (record, form, wanted) in [
        (json!({"prompt": "q", "chosen": "good", "rejected": "bad"}), PromptPair, asked),
        (json!({"prompt": "q", "chosen": "good", "rejected": "bad", "system": "s"}), PromptPair, briefed),
        (json!({"prompt": "q", "chosen": "good", "rejected": "bad", "system": "", "flipped": true}), PromptPair, asked),
        (
            json!({"prompt": messages(&["system:s", "user:q"]), "chosen": messages(&["assistant:good"]), "rejected": messages(&["assistant:bad"])}),
            PromptPair,
            briefed,
        ),
        (
            json!({"prompt": messages(&["user:q"]), "chosen": messages(&["user:q", "assistant:good"]), "rejected": messages(&["user:q", "assistant:bad"])}),
            PromptPair,
            asked,
        ),
        (
            json!({"chosen": messages(&["user:q", "assistant:good"]), "rejected": messages(&["user:q", "assistant:bad"]), "prompt": null}),
            Messages,
            asked,
        ),
        (
            json!({"chosen": messages(&["user:q0", "assistant:a0", "user:q", "assistant:good"]), "rejected": messages(&["user:q0", "assistant:a0", "user:q", "assistant:bad"])}),
            Messages,
            longer,
        ),
        (json!({"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"}), Alpaca, asked),
        (json!({"instruction": "q", "input": "i", "chosen": "good", "rejected": "bad"}), Alpaca, &[(User, "q\ni")]),
        (json!({"instruction": "q", "chosen": "good", "rejected": "bad", "history": [["q0", "a0"]]}), Alpaca, longer),
        (
            json!({"conversations": [one("human", "q")], "chosen": one("gpt", "good"), "rejected": one("gpt", "bad")}),
            ShareGpt,
            asked,
        ),
        (
            json!({"conversations": [one("system", "s"), one("human", "q")], "chosen": one("gpt", "good"), "rejected": one("gpt", "bad")}),
            ShareGpt,
            briefed,
        ),
        (
            json!({"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"}),
            HhRlhf,
            asked,
        ),
        (
            json!({"chosen": "Human: q0\n\nAssistant: a0\n\nHuman: q\n\nAssistant: good\n", "rejected": "Human: q0\n\nAssistant: a0\n\nHuman: q\n\nAssistant: bad"}),
            HhRlhf,
            longer,
        ),
        (
            json!({"prompt": "q", "chosen": "good", "rejected": "bad", "choice": "b", "id": "7", "ts": 1, "run": "r", "step_a": 1, "step_b": 2, "temperature": 1.0, "seed_a": 1, "seed_b": 2, "position": "left", "latency_ms": 9, "rm_a": 0.1, "rm_b": null, "template": "danlu"}),
            Vote,
            asked,
        ),
    ] {
        let text = record.to_string();
        let reading = lines(&text);
        let pair = &reading.pairs.items[0];
        assert_eq!(said(&pair.prompt), wanted, "{text}");
        assert_eq!((pair.chosen.as_str(), pair.rejected.as_str()), ("good", "bad"), "{text}");
        assert_eq!(reading.pairs.forms.into_iter().collect::<Vec<_>>(), [(form, 1)], "{text}");
        assert_eq!(pair.votes, form == Vote);
        assert_eq!((reading.pairs.bytes, reading.pairs.places), (text.len() as u64, vec![1]));
    }
}

/// Orca's, Argilla's, WebGPT's, OpenAI's and LLaMA-Factory's pairs.
#[test]
fn pairs_under_other_names_are_read() {
    use PreferenceForm::{Alpaca, OpenAi, PromptPair, Question, ShareGpt};
    use Role::{System, User};
    let asked = &[(User, "q")][..];
    let answers =
        |good: &str, bad: &str| json!({good: messages(&["assistant:good"]), bad: messages(&["assistant:bad"])});
    let mut openai = answers("preferred_output", "non_preferred_output");
    openai["input"] = json!({"messages": messages(&["user:q"]), "tools": [], "parallel_tool_calls": true});
    let message = |text: &str| json!({"role": "assistant", "content": text});
    for (record, form, wanted) in [
        (
            json!({"system": "s", "question": "q", "chosen": "good", "rejected": "bad"}),
            Question,
            &[(System, "s"), (User, "q")][..],
        ),
        (json!({"instruction": "q", "chosen_response": "good", "rejected_response": "bad"}), Alpaca, asked),
        (json!({"question": "q", "response_j": "good", "response_k": "bad"}), Question, asked),
        (json!({"prompt": "q", "chosen": message("good"), "rejected": message("bad")}), PromptPair, asked),
        (
            json!({"messages": messages(&["user:q"]), "chosen": message("good"), "rejected": message("bad")}),
            ShareGpt,
            asked,
        ),
        (json!({"instruction": "q", "input": "", "output": ["good", "bad"]}), Alpaca, asked),
        (openai, OpenAi, asked),
    ] {
        let text = record.to_string();
        let reading = lines(&text);
        let pair = &reading.pairs.items[0];
        assert_eq!(said(&pair.prompt), wanted, "{text}");
        assert_eq!((pair.chosen.as_str(), pair.rejected.as_str()), ("good", "bad"), "{text}");
        assert_eq!(reading.pairs.forms.into_iter().collect::<Vec<_>>(), [(form, 1)], "{text}");
    }
    let reading = read_preferences(Format::Csv, &b"prompt,chosen,rejected\nq,good,bad\n"[..]).unwrap();
    assert_eq!(reading.pairs.items[0].chosen, "good");
    let rated = reason(r#"{"prompt":"q","completion":"a","label":true}"#);
    assert!(rated.contains("rates a single answer"), "{rated}");
}

/// HelpSteer's three releases: a preference between two answers, negative for the first, or ratings of neighbours.
#[test]
fn helpsteers_pairs_and_ratings_are_read() {
    use PreferenceForm::{Rated, Strength};
    let pair = |strength: Value| json!({"prompt": "q", "response_1": "one", "response_2": "two", "preference_strength": strength});
    let third = json!({"context": messages(&["user:p", "assistant:a", "user:q"]), "response1": "one", "response2": "two",
        "overall_preference": -3, "individual_preference": [{"score": -3}], "domain": "general"});
    for (record, better, turns) in [(pair(json!(2)), "two", 1), (pair(json!("-1")), "one", 1), (third, "one", 3)] {
        let reading = lines(&record.to_string());
        let made = &reading.pairs.items[0];
        assert_eq!((made.chosen.as_str(), made.prompt.len()), (better, turns), "{record}");
        assert_eq!(reading.pairs.forms[&Strength], 1);
    }
    let rated = |prompt: &str, answer: &str, helpfulness: u32| {
        json!({"prompt": prompt, "response": answer, "helpfulness": helpfulness, "correctness": 3, "coherence": 4,
            "complexity": 1, "verbosity": 2})
        .to_string()
    };
    let text = [
        rated("q", "good", 4),
        rated("q", "bad", 1),
        rated("p", "alone", 3),
        rated("r", "a", 2),
        rated("r", "b", 2),
        rated("r", "c", 4),
    ];
    let reading = lines(&text.join("\n"));
    let made: Vec<(&str, &str)> =
        reading.pairs.items.iter().map(|p| (p.chosen.as_str(), p.rejected.as_str())).collect();
    assert_eq!(made, [("good", "bad"), ("c", "a"), ("c", "b")]);
    assert_eq!((reading.ties, reading.pairs.rejected, reading.pairs.forms[&Rated]), (1, 1, 3));
    assert!(reading.pairs.reasons[0].1.contains("no neighbouring record"), "{:?}", reading.pairs.reasons);
    assert_eq!(reading.pairs.places, [2, 6, 6]);
    for (record, why) in [
        (json!({"prompt": "q", "response_1": "a", "response_2": "b"}), "without \"preference_strength\""),
        (pair(json!("much")), "a number is expected"),
        (json!({"response_1": "a", "response_2": "b", "preference_strength": 1}), "without \"prompt\" or \"context\""),
        (json!({"prompt": "q", "response": "a", "helpfulness": [1]}), "a number is expected"),
    ] {
        let said = reason(&record.to_string());
        assert!(said.contains(why), "{record}: {said}");
    }
}

#[test]
fn a_ranking_becomes_all_its_pairs() {
    let text = r#"{"prompt":"q","chosen":"x","rejected":"y","task":"t"}
{"prompt":"q","ranked":["a","b","c"],"task":"t"}
{"prompt":[{"role":"user","content":"p"}],"ranked":[[{"role":"assistant","content":"a"}],"b"]}"#;
    let reading = lines(text);
    let made: Vec<(&str, &str)> =
        reading.pairs.items.iter().map(|p| (p.chosen.as_str(), p.rejected.as_str())).collect();
    assert_eq!(made, [("x", "y"), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b")]);
    assert_eq!(reading.pairs.places, [1, 2, 2, 2, 3]);
    let groups: Vec<u64> = reading.pairs.items.iter().map(|p| p.group).collect();
    assert!(groups[..4].iter().all(|g| *g == groups[0]) && groups[4] != groups[0]);
    assert!(reading.pairs.items[..4].iter().all(|p| p.task.as_deref() == Some("t")));
    assert_eq!(reading.pairs.forms[&PreferenceForm::Ranked], 2);
}

#[test]
fn votes_for_neither_are_counted_and_kept_out() {
    let vote = |choice: &str, chosen: &str| {
        json!({"prompt": "q", "chosen": chosen, "rejected": "bad", "choice": choice}).to_string()
    };
    let text = [vote("a", "good"), vote("tie", "same"), vote("both_bad", "worse"), vote("tie", "bad")].join("\n");
    let reading = lines(&text);
    assert_eq!((reading.pairs.items.len(), reading.ties, reading.both_bad, reading.pairs.rejected), (1, 2, 1, 0));
    assert_eq!(reading.pairs.forms[&PreferenceForm::Vote], 4);
    let none = read_preferences(Format::JsonLines, vote("tie", "x").as_bytes()).unwrap_err();
    assert_eq!(none.to_string(), "holds no preference; 1 votes preferred neither answer, and there is no other record");
}

/// A vote taken back counts as never cast; only the newest can be.
#[test]
fn votes_taken_back_do_not_count() {
    let vote = |choice: &str, chosen: &str| {
        json!({"prompt": "q", "chosen": chosen, "rejected": "bad", "choice": choice}).to_string()
    };
    let other = json!({"prompt": "q", "chosen": "theirs", "rejected": "bad"}).to_string();
    let back = json!({"choice": "unvote", "pair": 1}).to_string();
    let (skip, tie) = (vote("skip", ""), vote("tie", ""));
    let much = [vote("much_b", "first"), vote("a", "second")];
    let all = [&much[0], &much[1], &other, &skip, &tie, &back, &back, &back].map(String::as_str).join("\n");
    let reading = lines(&all);
    let chosen: Vec<&str> = reading.pairs.items.iter().map(|p| p.chosen.as_str()).collect();
    assert_eq!(chosen, ["first", "theirs"], "what is no vote stays");
    assert_eq!((reading.ties, reading.skipped, reading.pairs.rejected, reading.pairs.places.len()), (0, 0, 0, 2));
}

#[test]
fn bad_records_are_passed_over_with_place_and_reason() {
    for (record, wanted) in [
        (r#"{"prompt":"q","chosen":"a","rejected":" a "}"#, "the chosen answer equals the rejected one"),
        (r#"{"prompt":"q","chosen":"a","rejected":" "}"#, "the rejected answer is empty"),
        (r#"{"prompt":"q","chosen":"","rejected":"b"}"#, "the chosen answer is empty"),
        (r#"{"prompt":"q","chosen":"a"}"#, "\"chosen\" without \"rejected\""),
        (r#"{"prompt":"q","rejected":"a"}"#, "\"rejected\" without \"chosen\""),
        (r#"{"prompt":"q","completion":"a"}"#, "no known field"),
        (r#"{"prompt":" ","chosen":"a","rejected":"b"}"#, "the prompt: empty question (turn 1)"),
        (r#"{"prompt":[],"chosen":"a","rejected":"b"}"#, "the prompt has no turns"),
        (r#"{"prompt":7,"chosen":"a","rejected":"b"}"#, "\"prompt\" is a number"),
        (r#"{"prompt":"q","chosen":7,"rejected":"b"}"#, "\"chosen\" is a number, not a string"),
        (
            r#"{"prompt":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"chosen":"a","rejected":"b"}"#,
            "the prompt ends with the assistant; it must end with the user",
        ),
        (
            r#"{"prompt":[{"role":"critic","content":"q"}],"chosen":"a","rejected":"b"}"#,
            "message 1 of \"prompt\": unknown role \"critic\"",
        ),
        (
            r#"{"prompt":"q","chosen":[{"role":"user","content":"a"}],"rejected":"b"}"#,
            "\"chosen\" is the user's; an answer of the assistant is expected",
        ),
        (r#"{"prompt":"q","chosen":[],"rejected":"b"}"#, "\"chosen\" has 0 messages; one answer is expected"),
        (
            r#"{"conversations":[{"from":"human","value":"q"}],"chosen":"a","rejected":"b"}"#,
            "\"chosen\": expected an object, found a string",
        ),
        (
            r#"{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"p"},{"role":"assistant","content":"b"}]}"#,
            "differ before their last answer",
        ),
        (r#"{"chosen":[],"rejected":[]}"#, "\"chosen\" has no messages"),
        (r#"{"chosen":"a","rejected":"b"}"#, "does not open with \"\\n\\nHuman:\""),
        (
            r#"{"chosen":"\n\nHuman: q\n\nAssistant: a\n\nHuman: more","rejected":"\n\nHuman: q\n\nAssistant: b"}"#,
            "\"chosen\" is the user's",
        ),
        (r#"{"chosen":{},"rejected":"b"}"#, "\"chosen\" is an object and \"rejected\" a string"),
        (r#"{"prompt":"q","ranked":["a"]}"#, "\"ranked\" has 1 answers; 2 to 64 are expected"),
        (r#"{"prompt":"q","ranked":"a"}"#, "\"ranked\" is a string, not a list of answers"),
        (r#"{"ranked":["a","b"]}"#, "\"ranked\" without \"prompt\""),
        (r#"{"prompt":"q","ranked":["a","b","a"]}"#, "answers 1 and 3 of \"ranked\": the chosen answer equals"),
        (r#"{"prompt":"q","chosen":"a","rejected":"b","choice":"c"}"#, "unknown choice \"c\""),
        (r#"{"prompt":"q","chosen":"a","rejected":"b","choice":1}"#, "\"choice\" is a number"),
        ("[1", "expected an object, found a number"),
        ("7", "expected an object, found a number"),
        ("{\"prompt\":", "not JSON"),
    ] {
        if record == "[1" {
            let error = read_preferences(Format::Json, record.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            continue;
        }
        let found = reason(record);
        assert!(found.contains(wanted), "{record}: {found}");
    }
    let error = |format, text: &[u8]| read_preferences(format, text).unwrap_err().to_string();
    assert!(error(Format::JsonLines, b"").starts_with("holds no preference; expected JSON Lines"));
    assert!(error(Format::Text, b"x").contains("a .txt file holds none"));
    let mut text = String::new();
    for at in 0..30 {
        writeln!(text, "{}", json!({"prompt": "q", "chosen": "a", "rejected": if at == 7 { "b" } else { "a" }}))
            .unwrap();
    }
    let reading = lines(&text);
    assert_eq!(
        (reading.pairs.rejected, reading.pairs.reasons.len(), reading.pairs.places.as_slice()),
        (29, 20, &[8][..])
    );
    let mut bytes = text.into_bytes();
    bytes.extend(b"{\"prompt\":\"\xff\"}\n");
    assert_eq!(read_preferences(Format::JsonLines, bytes.as_slice()).unwrap().pairs.rejected, 30);
}

// Tokens

fn tokenizer() -> Tokenizer {
    train_char(&[TextGroup { weight: 1.0, texts: vec!["abcdefgh"] }], 300).unwrap()
}

#[test]
fn a_pair_is_whole_or_dropped() {
    let tokenizer = tokenizer();
    let text = r#"{"prompt":"ab","chosen":"cde","rejected":"f"}
{"prompt":"ab","chosen":"c","rejected":"cdefgh"}
{"prompt":"ab","chosen":"f","rejected":"<|im_end|>"}"#;
    let reading = lines(text);
    let (pairs, fitted) = encode_pairs(&reading.pairs.items, &tokenizer, 9).unwrap();
    assert_eq!((fitted.kept, fitted.dropped, fitted.longest, fitted.tokens), (1, 2, 9, 9 + 7));
    assert_eq!(fitted.dropped_at, [(2, 12), (3, 16)]);
    let pair = &pairs[0];
    assert_eq!((pair.at, pair.votes, pair.group), (0, false, reading.pairs.items[0].group));
    for (side, answer) in [(&pair.chosen, "cde"), (&pair.rejected, "f")] {
        let turns = vec![Turn::new(Role::User, "ab"), Turn::new(Role::Assistant, answer)];
        let whole = encode(&danlu::data::Conversation { turns, task: None }, &tokenizer).unwrap();
        assert_eq!(side.ids, whole.ids);
        assert_eq!(side.last, side.ids.len() - 1);
        assert_eq!(tokenizer.decode(&side.ids[side.first..side.last], false), answer);
        assert_eq!(side.ids[side.last], tokenizer.chat().unwrap().end);
        assert_eq!(side.ids[side.first - 1], tokenizer.chat().unwrap().assistant);
    }
    let (all, fitted) = encode_pairs(&reading.pairs.items, &tokenizer, 16).unwrap();
    assert_eq!((all.len(), fitted.dropped), (3, 0));
    // Text that spells the end token is not an end.
    let end = tokenizer.chat().unwrap().end;
    assert_eq!(all[2].rejected.ids.iter().filter(|id| **id == end).count(), 2);
}

#[test]
fn pairs_of_one_prompt_are_held_out_together() {
    let all = builtin_preferences().unwrap();
    let (train, held_out) = split_preferences(&all);
    assert_eq!(train.len() + held_out.len(), all.len());
    assert!(!held_out.is_empty() && held_out.len() < all.len() / 5, "{}", held_out.len());
    let groups = |of: &[usize]| of.iter().map(|at| all[*at].group).collect::<HashSet<_>>();
    assert!(groups(&train).is_disjoint(&groups(&held_out)));
    assert_eq!(split_preferences(&[]), (vec![], vec![]));
}

// The built-in sets

fn prompt_of(pair: &Preference) -> &str {
    &pair.prompt.last().unwrap().content
}

fn count<T: AsRef<str>>(tasks: impl Iterator<Item = T>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for task in tasks {
        *counts.entry(task.as_ref().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn the_built_in_sets_are_large_enough_for_every_task() {
    let pairs = builtin_preferences().unwrap();
    let held_out = builtin_held_out_preferences().unwrap();
    let of = |pairs: &[Preference]| count(pairs.iter().map(|p| p.task.clone().unwrap()));
    let asked = |prompts: &[TaskPrompt]| count(prompts.iter().map(|p| p.task.name()));
    let (prompts, judge) = (builtin_prompts().unwrap(), builtin_judge_prompts().unwrap());
    assert!(records(PAIRS).len() >= 400 && records(RANKED).len() >= 10);
    assert_eq!(pairs.len(), records(PAIRS).len() + 3 * records(RANKED).len());
    for rule in RULES {
        assert!(of(&pairs)[rule.name()] >= 200, "{:?}", of(&pairs));
        assert!(of(&held_out)[rule.name()] >= 120, "{:?}", of(&held_out));
        assert!(asked(&prompts)[rule.name()] >= 200, "{:?}", asked(&prompts));
        assert!(asked(&judge)[rule.name()] >= 120, "{:?}", asked(&judge));
        assert_eq!(Rule::of_task(rule.name()), Some(rule));
    }
    let context = encode_pairs(&pairs, &char_tokenizer(), 128).unwrap().1;
    assert_eq!(context.dropped, 0, "{context:?}");
}

fn char_tokenizer() -> Tokenizer {
    let texts: Vec<String> = builtin_conversations()
        .unwrap()
        .iter()
        .flat_map(|c| c.turns.iter().map(|t| t.content.clone()).collect::<Vec<_>>())
        .collect();
    train_char(&[TextGroup { weight: 1.0, texts: texts.iter().map(String::as_str).collect() }], 4096).unwrap()
}

#[test]
fn what_is_judged_was_never_trained_on() {
    let mut sets: Vec<(&str, HashSet<Key>)> = Vec::new();
    let conversations = builtin_conversations().unwrap();
    let trained = conversations.iter().flat_map(|c| &c.turns).filter(|t| t.role == Role::User);
    sets.push(("fine-tuning", trained.map(|t| key(&t.content)).collect()));
    let pairs = builtin_preferences().unwrap();
    sets.push(("pairs", pairs.iter().map(|p| key(prompt_of(p))).collect()));
    let held_out = builtin_held_out_preferences().unwrap();
    sets.push(("held out", held_out.iter().map(|p| key(prompt_of(p))).collect()));
    let prompts = builtin_prompts().unwrap();
    sets.push(("prompts", prompts.iter().map(|p| key(&p.prompt)).collect()));
    let judge = builtin_judge_prompts().unwrap();
    sets.push(("judge", judge.iter().map(|p| key(&p.prompt)).collect()));
    // No prompt occurs twice or in two sets.
    assert_eq!(sets[2].1.len(), held_out.len());
    assert_eq!(sets[3].1.len(), prompts.len());
    assert_eq!(sets[4].1.len(), judge.len());
    for (at, (name, set)) in sets.iter().enumerate() {
        for (other, theirs) in &sets[at + 1..] {
            assert!(set.is_disjoint(theirs), "{name} and {other} ask the same");
        }
    }
    // A line to be continued is in no conversation of fine-tuning, whatever is asked about it.
    let spoken: Vec<String> = conversations
        .iter()
        .filter(|c| matches!(c.task.as_deref(), Some("continue" | "recite")))
        .flat_map(|c| c.turns.iter().map(|t| normalise(&t.content)).collect::<Vec<_>>())
        .collect();
    for prompt in judge.iter().filter(|p| p.task == Rule::Couplet) {
        let line = normalise(prompt.prompt.trim_start_matches("续写："));
        assert!(spoken.iter().all(|s| !s.contains(&line)), "{line}");
    }
}

#[test]
fn labels_are_the_rules_but_for_a_marked_tenth() {
    let judge = |record: &Value, side: &str| {
        let text = |name: &str| record[name].as_str().unwrap();
        Rule::of_task(text("task")).unwrap().judge(text("prompt"), text(side), true)
    };
    let pairs = records(PAIRS);
    let flipped = pairs.iter().filter(|r| r.get("flipped").is_some()).count();
    assert_eq!(flipped, (pairs.len() as f64 * 0.1).round() as usize);
    for record in &pairs {
        let (good, bad) = if record.get("flipped").is_some() { ("rejected", "chosen") } else { ("chosen", "rejected") };
        assert!(judge(record, good).good && !judge(record, bad).good, "{record}");
    }
    for record in records(HELD_OUT) {
        assert!(judge(&record, "chosen").good && record.get("flipped").is_none(), "{record}");
        // Both implementations find the same faults.
        let seen: Vec<&str> = judge(&record, "rejected").faults.iter().map(|f| f.name()).collect();
        let listed: Vec<&str> = record["faults"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        assert_eq!(seen, listed, "{record}");
        assert!(!listed.is_empty());
    }
    for record in records(RANKED) {
        let rule = Rule::of_task(record["task"].as_str().unwrap()).unwrap();
        let faults = |answer: &Value| {
            rule.judge(record["prompt"].as_str().unwrap(), answer.as_str().unwrap(), true).faults.len()
        };
        let faults: Vec<usize> = record["ranked"].as_array().unwrap().iter().map(faults).collect();
        assert!(faults[0] == 0 && faults.windows(2).all(|w| w[0] < w[1]), "{record}: {faults:?}");
    }
}

// Rules

#[test]
fn a_couplet_is_judged_by_every_condition() {
    use Fault::{Borrowed, End, Foreign, Length, Repeat, Stop};
    for (answer, wanted) in [
        ("处处闻啼鸟。", &[Repeat][..]),
        ("花落知多少。", &[]),
        ("花落知多少", &[Stop]),
        ("花落知多少，", &[Stop]),
        ("花落知多少？", &[Stop]),
        ("花落知多少。。", &[Foreign]),
        ("花落，知多少。", &[Foreign]),
        ("花落知少。", &[Length]),
        ("花落知多少年。", &[Length]),
        ("花落知晓少。", &[Borrowed]),
        ("花落知 tea多少。", &[Foreign]),
        (" 花落知多少。", &[Foreign]),
        ("花落知多少。\n", &[Stop, Foreign]),
        ("花落知多 tea。", &[Foreign, Length]),
        ("", &[Stop, Length]),
        ("。", &[Length]),
    ] {
        let verdict = Rule::Couplet.judge("续写：春眠不觉晓，", answer, true);
        assert_eq!(verdict.faults, wanted, "{answer}");
        assert_eq!(verdict.good, wanted.is_empty());
        assert_eq!(verdict.why(), wanted.first().copied());
    }
    let cut = Rule::Couplet.judge("续写：春眠不觉晓，", "花落知多少。", false);
    assert_eq!((cut.good, cut.faults.as_slice()), (false, &[End][..]));
    assert!((cut.share - 5.0 / 6.0).abs() < 1e-12);
    assert!(Rule::Couplet.judge("续写：烽火连三月家书，", "花落知多少春秋。", true).good);
}

#[test]
fn places_are_judged_by_every_condition() {
    use Fault::{Borrowed, End, Few, Foreign, Joint, Lead, Name, Repeat, Stop, Unknown};
    for (answer, wanted) in [
        ("杭州有西湖、灵隐寺和断桥，都很好玩。", &[][..]),
        ("我推荐西湖、青山和断桥。", &[]),
        ("去杭州可以看西湖、灵隐寺、青山和断桥。", &[]),
        ("杭州有西湖、灵隐寺和断桥，都很好玩", &[Stop]),
        ("杭州有西湖、灵隐寺和断桥，都很好玩？", &[Stop, Name]),
        ("你好！杭州有西湖、灵隐寺和断桥。", &[Stop]),
        ("杭州有西湖、灵隐寺和 table。", &[Foreign]),
        ("杭州有西湖、 tea灵隐寺和断桥。", &[Foreign, Name]),
        ("西湖、灵隐寺和断桥。", &[Lead]),
        ("我推荐西湖。", &[Few]),
        ("我推荐西湖和断桥。", &[Few]),
        ("我推荐西湖、灵隐寺、断桥。", &[Joint]),
        ("我推荐西湖和灵隐寺和断桥。", &[Joint]),
        ("我推荐西湖和灵隐寺、断桥。", &[Joint]),
        ("我推荐西、灵隐寺和断桥。", &[Name]),
        ("我推荐西湖、灵隐寺和断桥在西湖的旁边。", &[Name]),
        ("我推荐西湖、西湖和断桥。", &[Repeat]),
        ("我推荐西湖、杭州和断桥。", &[Borrowed]),
        ("我推荐青山、面条和雨伞。", &[Unknown]),
        ("", &[Stop, Lead, Few]),
        ("。", &[Lead, Few]),
        ("I do not know.", &[Stop, Foreign, Lead, Few]),
    ] {
        let verdict = Rule::Places.judge("我想去杭州玩，有哪些好玩的地点？", answer, true);
        assert_eq!(verdict.faults, wanted, "{answer}");
        assert_eq!(verdict.good, wanted.is_empty());
    }
    assert_eq!(Rule::Places.judge("", "我推荐西湖、青山和断桥。", false).faults, [End]);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_rule_takes_any_text(prompt in any::<String>(), answer in any::<String>(), ended in any::<bool>()) {
        for rule in RULES {
            let verdict = rule.judge(&prompt, &answer, ended);
            prop_assert_eq!(verdict.good, verdict.faults.is_empty());
            prop_assert!((0.0..=1.0).contains(&verdict.share));
            prop_assert!(verdict.faults.iter().all(|f| rule.conditions().contains(f)));
        }
    }

    #[test]
    fn a_rule_takes_text_that_is_nearly_right(prompt in "[续写：春眠，去玩？]{0,8}", answer in "[有看推荐西湖断桥、和，。 a]{0,14}") {
        for rule in RULES {
            let ended = rule.judge(&prompt, &answer, true);
            let cut = rule.judge(&prompt, &answer, false);
            prop_assert!(!cut.good && cut.faults[1..] == ended.faults[..]);
        }
    }

    #[test]
    fn a_record_of_any_shape_is_read_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[{\"chosenrejectdpmt:,}\\] ]{0,80}") {
        for format in [Format::JsonLines, Format::Json] {
            let _ = read_preferences(format, bytes.as_slice());
            let _ = read_preferences(format, text.as_bytes());
        }
    }

    #[test]
    fn strings_with_speakers_are_read_or_rejected(a in "(\n\nHuman:|\n\nAssistant:|\n|x| ){0,8}", b in "(\n\nHuman:|\n\nAssistant:|\n|y| ){0,8}") {
        let record = json!({"chosen": a, "rejected": b}).to_string();
        let _ = read_preferences(Format::JsonLines, record.as_bytes());
        let mut text = record;
        text.push('\n');
        text.push_str(r#"{"prompt":"q","chosen":"a","rejected":"b"}"#);
        let reading = lines(&text);
        prop_assert_eq!(reading.pairs.items.len() as u64 + reading.pairs.rejected, 2);
    }
}

// Measured without a rule

#[test]
fn indicators_are_counted_in_characters() {
    assert_eq!(distinct2(&["春春春"]), 0.5);
    assert_eq!(distinct2(&["春风", "春风"]), 0.5);
    assert_eq!(distinct2(&["春风", "风春"]), 1.0);
    assert_eq!(distinct2::<&str>(&[]), 0.0);
    assert_eq!(distinct2(&["", "春"]), 0.0);
    assert_eq!(repetition("春风春风春"), 0.5);
    assert_eq!(repetition("春风"), 0.0);
    assert_eq!(repetition(""), 0.0);
    let seen = indicators(&[("春风春风春", true), ("山", false)]);
    assert_eq!((seen.answers, seen.distinct2, seen.repetition), (2, 0.5, 0.25));
    assert_eq!((seen.length, seen.end_rate), (3.0, 0.5));
    assert_eq!(indicators::<&str>(&[]).answers, 0);
}
