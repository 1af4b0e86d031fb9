//! The built-in conversations: probes are in no training file, held-out questions were not trained on but can be known,
//! and no task can be solved by guessing the most frequent answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use danlu::data::{CHAT_PROBES, Conversation, Format, Role, read_chats, split::normalise};

const TASKS: [&str; 8] = ["zh-en", "en-zh", "translate-free", "rewrite", "qa", "continue", "recite", "chat"];
const TRANSLATIONS: [&str; 3] = ["zh-en", "en-zh", "translate-free"];

fn home(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file of one side by its task.
fn side(name: &str) -> BTreeMap<String, Vec<Conversation>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(home("assets/sft").join(name)).unwrap() {
        let path = entry.unwrap().path();
        let reading = read_chats(Format::JsonLines, fs::read(&path).unwrap().as_slice()).unwrap();
        assert_eq!(reading.rejected, 0, "{}: {:?}", path.display(), reading.reasons);
        all.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), reading.items);
    }
    let mut wanted = TASKS.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(all.keys().cloned().collect::<Vec<_>>(), wanted, "a file for every task");
    all
}

/// The sentences after 翻译：in a text, up to the end of the quotation or line.
fn shown(text: &str) -> Vec<String> {
    let ends = |c: char| "\n\"'`|<>「」“”…".contains(c);
    text.split("翻译：").skip(1).map(|rest| rest.split(ends).next().unwrap_or_default().trim().to_owned()).collect()
}

/// Whether the words contain the sentence; the question formed from it with 吗 is another sentence.
fn says(words: &str, sentence: &str) -> bool {
    words.match_indices(sentence).any(|(at, _)| !words[at + sentence.len()..].starts_with('吗'))
}

#[test]
fn shown_sentences_are_in_no_data_file() {
    let list = fs::read_to_string(home("assets/sft/demonstrations.txt")).unwrap();
    let mut sentences: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    assert!(sentences.contains("我喜欢喝茶。"));
    for page in ["README.md", "README.zh.md", "docs/guide.md", "docs/guide.zh.md"] {
        sentences.extend(shown(&fs::read_to_string(home(page)).unwrap()));
    }
    for probe in CHAT_PROBES {
        sentences.extend([probe.prompt.trim_start_matches("翻译：").to_owned(), probe.expected.to_owned()]);
    }
    // Punctuation alone is not a sentence.
    let sentences: Vec<String> = sentences.iter().map(|s| normalise(s)).filter(|s| s.chars().count() > 1).collect();
    assert!(sentences.len() >= 7, "{sentences:?}");
    for name in ["train", "heldout"] {
        for (task, conversations) in side(name) {
            for turn in conversations.iter().flat_map(|c| &c.turns) {
                let words = normalise(&turn.content);
                let found = sentences.iter().find(|s| says(&words, s));
                assert_eq!(found, None, "{name}/{task}: {}", turn.content);
            }
        }
    }
}

#[test]
fn a_sentence_is_found_where_a_readme_shows_one() {
    let text = "`danlu generate --prompt \"翻译：我喜欢喝茶。\" --chat`\n翻译：你好\n| 翻译：a b | x |";
    assert_eq!(shown(text), ["我喜欢喝茶。", "你好", "a b"]);
    assert!(says("翻译我喜欢喝茶", "我喜欢喝茶") && says("我喜欢喝茶吗我喜欢喝茶", "我喜欢喝茶"));
    assert!(!says("我喜欢喝茶吗", "我喜欢喝茶") && !says("我喜欢茶", "我喜欢喝茶"));
    assert_eq!(normalise("翻译：I like to drink tea."), normalise("翻译 I LIKE to-drink tea"));
}

/// Everything before the last answer.
fn question(c: &Conversation) -> String {
    c.turns[..c.turns.len() - 1].iter().map(|t| normalise(&t.content) + "\n").collect()
}

fn answer(c: &Conversation) -> &str {
    let last = c.turns.last().unwrap();
    assert_eq!(last.role, Role::Assistant);
    &last.content
}

#[test]
fn no_question_is_both_trained_on_and_held_out() {
    let (train, held_out) = (side("train"), side("heldout"));
    let asked: BTreeSet<String> = train.values().flatten().map(question).collect();
    assert!(train.values().map(Vec::len).sum::<usize>() >= 1500);
    for (task, conversations) in &held_out {
        assert!(!conversations.is_empty(), "{task} holds nothing out");
        for c in conversations {
            assert!(!asked.contains(&question(c)), "{task}: {:?} is trained on", c.prompt());
        }
    }
    for task in ["zh-en", "en-zh"] {
        assert!(held_out[task].len() >= 200, "{task}: {}", held_out[task].len());
    }
}

/// New sentences of known words.
#[test]
fn every_word_of_a_held_out_translation_was_trained_on() {
    let (train, held_out) = (side("train"), side("heldout"));
    let words = |all: &BTreeMap<String, Vec<Conversation>>| -> (BTreeSet<char>, BTreeSet<String>) {
        let turns = || TRANSLATIONS.iter().flat_map(|task| &all[*task]).flat_map(|c| &c.turns).map(|t| &t.content);
        let han = turns().flat_map(|t| t.chars()).filter(|c| !c.is_ascii() && c.is_alphanumeric()).collect();
        let latin = turns()
            .flat_map(|t| t.split(|c: char| !c.is_ascii_alphanumeric() && c != '\''))
            .filter(|w| !w.is_empty())
            .map(str::to_lowercase)
            .collect();
        (han, latin)
    };
    let ((han, latin), (held_han, held_latin)) = (words(&train), words(&held_out));
    let unknown: Vec<&char> = held_han.difference(&han).collect();
    assert!(unknown.is_empty() && held_han.len() > 200, "{unknown:?} of {}", held_han.len());
    let unknown: Vec<&String> = held_latin.difference(&latin).collect();
    // Another form of a verb may be new; its word is not.
    assert!(unknown.len() * 100 <= held_latin.len() && held_latin.len() > 200, "{unknown:?} of {}", held_latin.len());
}

#[test]
fn no_answer_is_much_of_its_file() {
    let mut looked_at = 0;
    for name in ["train", "heldout"] {
        for (task, conversations) in side(name) {
            // A poem is recited in four conversations, which is a larger share of a short file.
            if conversations.len() <= 200 {
                continue;
            }
            looked_at += 1;
            let mut counts: HashMap<&str, usize> = HashMap::new();
            for c in &conversations {
                *counts.entry(answer(c)).or_default() += 1;
            }
            let (words, most) = counts.iter().max_by_key(|(_, n)| **n).unwrap();
            let share = *most as f64 / conversations.len() as f64;
            assert!(share <= 0.02, "{name}/{task}: {words:?} is {share:.3} of it ({most} times)");
        }
    }
    assert!(looked_at >= 8, "{looked_at} files have more than 200 conversations");
}
