//! Shared by the tests of votes: small runs with a reward model, a scripted voter, and the scores of a checkpoint.

use std::{fs, path::Path, sync::OnceLock};

use danlu::{
    compute::Device,
    data::{Role, Tokenizer, Turn, encode_prompt},
    nn::{Head, ModelConfig, ParamTable, ScalarEvaluator, TokenRows, Weights},
    protocol::{Choice, Command, Event, Pair, Refit, Tally, Vote},
    store::{Links, RealFs, read_model},
    train::{Setup, Summary, Taste, model_folder},
};
use serde_json::Value;

use super::{
    checkpoints, copy_all,
    feedback::{Bases, canned, given, stage},
    json_file,
    launch::{self, setup},
    no_leftovers, objects, scratch, snapshot, stage_checkpoint, text,
};

/// A model with steps of milliseconds, whose vocabulary covers most of the pairs.
pub const MODEL: [&str; 6] = [
    "model.num_hidden_layers=2",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "model.vocab_size=1500",
    "model.max_position_embeddings=128",
];
/// Settings of the reward model, whichever stage runs.
pub const REWARD: [&str; 6] = [
    "reward.vote_fit=network",
    "reward.steps=30",
    "reward.batch_size=16",
    "reward.eval_steps=0",
    "reward.save_steps=10",
    "reward.learning_rate=2e-3",
];

/// Answers to the pairs' questions: short or long, with a character or without.
const ANSWERS: [&str; 4] = [
    "杭州有西湖、断桥和灵隐寺，都很好玩。",
    "我推荐西湖。",
    "去杭州可以看西湖、断桥和灵隐寺。",
    "我推荐西湖、断桥、长城和灵隐寺，都很好玩，都很好看。",
];

pub fn bases() -> &'static Bases {
    static BASES: OnceLock<Bases> = OnceLock::new();
    BASES.get_or_init(|| {
        let dir = scratch();
        let [pretrained, tuned, rewarded] = ["pretrained", "tuned", "rewarded"].map(|name| dir.path().join(name));
        let quiet = ["eval_steps=0", "probe_steps=0", "warmup_steps=2"];
        let talk = canned(dir.path(), &ANSWERS);
        let first = [&MODEL[..], &quiet, &["steps=4", "batch_size=2", "context=32", &talk]].concat();
        stage(&pretrained, "pretrain", &first, &["--size", "1m"]).good();
        copy_all(&pretrained, &tuned);
        let second = [&quiet[..], &["steps=150", "batch_size=4", "learning_rate=1e-2", "save_steps=50"]].concat();
        stage(&tuned, "sft", &second, &[]).good();
        fs::write(tuned.join("data/reward-own.jsonl"), given()).unwrap();
        copy_all(&tuned, &rewarded);
        stage(&rewarded, "reward", &REWARD, &[]).good();
        Bases { _dir: dir, pretrained, tuned, rewarded }
    })
}

/// Trains as with a screen.
pub fn played(run: &Path, stage: &str, sets: &[&str], script: impl FnMut(&Event) -> Vec<Command>) -> Summary {
    launch::played(run, &Setup { interactive: true, ..setup(stage, sets) }, script)
}

pub const OFFER: Command = Command::Offer { prompt: None };
pub const QUIT: Command = Command::Stop { save: true };

pub fn vote(offer: &Pair, choice: Choice) -> Command {
    Command::Vote { pair: offer.id, choice, seconds: 3.0 }
}

/// Which of two answers a hidden preference prefers.
pub type Telling = fn(&str, &str) -> Option<bool>;

pub fn shorter(a: &str, b: &str) -> Option<bool> {
    let (a, b) = (a.chars().count(), b.chars().count());
    (a != b).then_some(a < b)
}

pub fn longer(a: &str, b: &str) -> Option<bool> {
    shorter(a, b).map(|is| !is)
}

pub fn has(c: &'static str) -> impl Fn(&str, &str) -> Option<bool> {
    move |a, b| (a.contains(c) != b.contains(c)).then(|| a.contains(c))
}

pub fn recommends(a: &str, b: &str) -> Option<bool> {
    has("推荐")(a, b)
}

/// A simulated voter: skips the first pairs that the preference distinguishes, which stay unseen by the reward model,
/// and votes on as many after them.
pub struct Person {
    pub taste: Telling,
    pub unseen: Vec<Pair>,
    pub apart: usize,
    pub votes: usize,
    pub wanted: usize,
    pub voted: Vec<Vote>,
    /// The counts after each vote.
    pub tallies: Vec<Tally>,
    pub refits: Vec<Refit>,
    pub offered: Vec<Pair>,
    pub refused: Vec<String>,
    pub notes: Vec<String>,
}

impl Person {
    pub fn new(taste: Telling, apart: usize, wanted: usize) -> Person {
        Person {
            taste,
            unseen: Vec::new(),
            apart,
            votes: 0,
            wanted,
            voted: Vec::new(),
            tallies: Vec::new(),
            refits: Vec::new(),
            offered: Vec::new(),
            refused: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn hears(&mut self, event: &Event) -> Vec<Command> {
        match event {
            Event::Started(_) => vec![Command::Pause, OFFER],
            Event::Offered(offer) => {
                self.offered.push((**offer).clone());
                let choice = match (self.taste)(&offer.answers[0], &offer.answers[1]) {
                    None => Choice::Skip,
                    Some(_) if self.unseen.len() < self.apart => {
                        let new = |o: &Pair| o.prompt != offer.prompt || o.answers != offer.answers;
                        if self.unseen.iter().all(new) {
                            self.unseen.push((**offer).clone());
                        }
                        Choice::Skip
                    }
                    Some(true) => Choice::A,
                    Some(false) => Choice::B,
                };
                vec![vote(offer, choice)]
            }
            Event::Voted { vote, tally } => {
                self.voted.push((**vote).clone());
                self.tallies.push(tally.clone());
                self.votes += usize::from(vote.choice != Choice::Skip && vote.pair.repeat.is_none());
                if self.votes == self.wanted { vec![QUIT] } else { vec![OFFER] }
            }
            Event::Refitted(refit) => {
                self.refits.push(refit.clone());
                Vec::new()
            }
            Event::Refused { text } => {
                self.refused.push(text.clone());
                if self.refused.len() > 500 { vec![QUIT] } else { vec![OFFER] }
            }
            Event::Note { text, .. } => {
                self.notes.push(text.clone());
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Agreement of a reward checkpoint with the taste over the unseen pairs.
    pub fn agreement(&self, run: &Path, checkpoint: &str) -> f64 {
        let pairs: Vec<(String, String, String)> =
            self.unseen.iter().map(|o| (o.prompt.clone(), o.answers[0].clone(), o.answers[1].clone())).collect();
        let scores = scores(run, checkpoint, &pairs);
        let agrees = self
            .unseen
            .iter()
            .zip(&scores)
            .filter(|(o, (a, b))| (self.taste)(&o.answers[0], &o.answers[1]) == Some(a > b));
        agrees.count() as f64 / self.unseen.len().max(1) as f64
    }
}

/// Rewards of pairs: the checkpoint's score as transformers would compute it, minus the shift, and the taste.
pub fn scores(run: &Path, checkpoint: &str, pairs: &[(String, String, String)]) -> Vec<(f64, f64)> {
    let folder = run.join("checkpoints").join(checkpoint);
    let config = fs::read_to_string(folder.join("config.json")).unwrap();
    let config = ModelConfig::from_json_as(&config, Head::Score).unwrap();
    let table = std::sync::Arc::new(ParamTable::scalar(&config));
    let mut file = read_model(&RealFs, &folder, Links::Follow).unwrap();
    let slab = model_folder::fill(&table, &mut file, "").unwrap();
    let mut device = Device::open("cpu").unwrap();
    let weights = Weights::alloc(&mut device, "reward", &table).unwrap();
    weights.write(&mut device, &slab).unwrap();
    let context = 128;
    let mut scorer = ScalarEvaluator::new(&mut device, &config, &weights, 2, context).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let tokenizer = Tokenizer::from_json(&read("tokenizer.json"), Some(&read("tokenizer_config.json"))).unwrap();
    let end = tokenizer.chat().unwrap().end;
    let shift = json_file(&folder.join("state.json"))["reward_shift"].as_f64().unwrap();
    let taste = liked(&folder);
    let mut all = Vec::new();
    for (prompt, a, b) in pairs {
        let mut ids = Vec::new();
        let mut last = Vec::new();
        for (row, answer) in [a, b].into_iter().enumerate() {
            let mut text = encode_prompt(&[Turn::new(Role::User, prompt.as_str())], &tokenizer).unwrap();
            text.extend(tokenizer.encode(answer).unwrap());
            text.push(end);
            last.push(row * context + text.len() - 1);
            text.resize(context, 0);
            ids.extend(text);
        }
        let scores = scorer.scores(&mut device, TokenRows { ids: &ids, starts: None }).unwrap();
        let with = |at: usize, answer: &str| taste.reward(f64::from(scores[at]) - shift, prompt, answer);
        all.push((with(last[0], a), with(last[1], b)));
    }
    all
}

/// The taste in a checkpoint's folder; none without its file.
pub fn liked(folder: &Path) -> Taste {
    fs::read(folder.join("taste.json")).map_or_else(|_| Taste::default(), |text| Taste::parse(&text).unwrap())
}

pub fn lines(run: &Path) -> Vec<Value> {
    fs::read_to_string(run.join("preferences.jsonl")).map(|text| objects(&text)).unwrap_or_default()
}

pub fn newest(run: &Path) -> String {
    // A later save of the same step has -r1, -r2, …
    let at = |name: &String| (name[.."reward-00000000".len()].to_owned(), name.len(), name.clone());
    checkpoints(run).into_iter().filter(|name| name.starts_with("reward-")).max_by_key(at).unwrap()
}

/// The tensors of a reward checkpoint, and all of its state except times.
pub fn same(a: &Path, b: &Path, step: usize, what: &str) {
    let files = |run: &Path| -> Vec<(String, Vec<u8>)> {
        let folder = stage_checkpoint(run, "reward", step);
        let all = snapshot(&folder).into_iter().filter(|(path, _)| !path.ends_with("manifest.json"));
        all.map(|(path, bytes)| (text(path.strip_prefix(&folder).unwrap()), bytes)).collect()
    };
    for ((name, x), (other, y)) in files(a).into_iter().zip(files(b)) {
        assert_eq!(name, other, "{what}");
        assert!(x == y, "{what}: {name} differs at step {step}");
    }
    no_leftovers(b);
}

/// Removes reward checkpoints after a step, as after a kill before their save.
pub fn back_to(run: &Path, step: usize) {
    for name in checkpoints(run).into_iter().filter(|name| name.starts_with("reward-")) {
        if name > format!("reward-{step:08}") {
            fs::remove_dir_all(run.join("checkpoints").join(name)).unwrap();
        }
    }
}
