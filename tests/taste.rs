//! Votes that teach a taste beside the reward model: that it generalises, that any vote is taken back to the bit, what
//! it adds to a policy's reward, and scripted voters at a real size.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{
    ADAPTER, checkpoints,
    feedback::{copied, stage},
    launch::{self, setup},
    no_leftovers, objects, scratch,
    voter::{OFFER, Person, QUIT, REWARD, bases, liked, longer, newest, played, recommends, scores, vote},
};
use danlu::protocol::{Choice, Command, Event, Pair, Refit};
use serde_json::{Value, json};

/// The settings of [`REWARD`], with votes that teach a taste.
fn taste() -> Vec<&'static str> {
    REWARD.iter().map(|set| if set.contains("vote_fit") { "reward.vote_fit=taste" } else { set }).collect()
}

/// The folder of the newest reward checkpoint.
fn newest_folder(run: &Path) -> PathBuf {
    run.join("checkpoints").join(newest(run))
}

/// Votes teach a taste beside the network: it generalises, and without a vote that is taken back everything is as if
/// the vote had never been cast, to the bit.
#[test]
fn a_taste_is_learned_and_any_vote_is_taken_back_to_the_bit() {
    let dir = scratch();
    let run = copied(&bases().rewarded, dir.path(), "run");
    let before = newest_folder(&bases().rewarded);
    let mut person = Person::new(recommends, 30, 15);
    let (mut kept, mut cast) = (Vec::new(), Vec::new());
    played(&run, "sft", &taste(), |event| {
        if let Event::Voted { vote, .. } = event
            && vote.choice != Choice::Skip
            && vote.pair.repeat.is_none()
        {
            cast.push(vote.pair.id);
        }
        let mut then = person.hears(event);
        if let Event::Refitted(r) = event {
            kept.push((r.checkpoint.clone(), fs::read(newest_folder(&run).join("taste.json")).unwrap()));
            assert!(r.predicted.is_some_and(|(_, of)| of == r.votes) && !r.taught.is_empty(), "{r:?}");
            assert_eq!(r.steps, 0, "the network is not trained");
        }
        then.retain(|command| !matches!(command, Command::Stop { .. }));
        if person.refits.len() == 3 {
            then.push(QUIT);
        }
        then
    });
    assert_eq!(person.refits.iter().map(|r| r.votes).collect::<Vec<_>>(), [5, 10, 15], "{:?}", person.notes);
    assert!(person.refits.iter().all(|r| r.accuracy.1 > r.accuracy.0 - 0.05), "{:?}", person.refits);
    let (was, is) =
        (person.agreement(&bases().rewarded, &newest(&bases().rewarded)), person.agreement(&run, &newest(&run)));
    assert!(is > 0.8 && is > was, "{was} to {is}");
    // The network is the one that the pairs trained.
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert!(fs::read(before.join(file)).unwrap() == fs::read(newest_folder(&run).join(file)).unwrap(), "{file}");
    }
    // Votes 6 to 15 are taken back, in no order; what five taught is there again.
    let mut back: Vec<u64> = cast[5..15].to_vec();
    back.reverse();
    back.swap(0, 4);
    let (mut unvoted, mut refused) = (0, Vec::new());
    played(&run, "sft", &taste(), |event| match event {
        Event::Started(_) => {
            vec![Command::Pause, Command::Unvote { pair: Some(999) }, Command::Unvote { pair: back.pop() }]
        }
        Event::Refused { text } => {
            refused.push(text.clone());
            Vec::new()
        }
        Event::Refitted(_) => {
            unvoted += 1;
            if unvoted == 10 { vec![QUIT] } else { vec![Command::Unvote { pair: back.pop() }] }
        }
        _ => Vec::new(),
    });
    assert!(refused.len() == 1 && refused[0].contains("pair 999"), "{refused:?}");
    assert!(fs::read(newest_folder(&run).join("taste.json")).unwrap() == kept[0].1, "the bits of five votes");
    no_leftovers(&run);
    // The stage itself, without a screen, learns the same from the votes alone.
    let again = copied(&bases().rewarded, dir.path(), "again");
    fs::copy(run.join("preferences.jsonl"), again.join("preferences.jsonl")).unwrap();
    assert!(!newest_folder(&again).join("taste.json").exists());
    let told = stage(&again, "reward", &taste(), &[]).good().objects();
    assert!(told.iter().any(|l| l["event"] == "refitted" && l["votes"] == 5), "{told:?}");
    assert!(fs::read(newest_folder(&again).join("taste.json")).unwrap() == kept[0].1, "without a screen");
    // Complete and up to date: nothing more is saved.
    let there = checkpoints(&again);
    stage(&again, "reward", &taste(), &[]).good();
    assert_eq!(checkpoints(&again), there);
    // Every vote taken back: no taste.
    let mut back: Vec<u64> = cast[..5].to_vec();
    played(&run, "sft", &taste(), |event| match event {
        Event::Started(_) => vec![Command::Pause, Command::Unvote { pair: back.pop() }],
        Event::Refitted(_) => match back.pop() {
            Some(pair) => vec![Command::Unvote { pair: Some(pair) }],
            None => vec![QUIT],
        },
        _ => Vec::new(),
    });
    assert!(!newest_folder(&run).join("taste.json").exists());
}

/// The reward of a policy's answer is the network's plus what the taste adds.
#[test]
fn a_policy_is_rewarded_by_the_taste() {
    let dir = scratch();
    let run = copied(&bases().rewarded, dir.path(), "run");
    let plain = copied(&run, dir.path(), "plain");
    let mut person = Person::new(longer, 0, 10);
    played(&run, "sft", &taste(), |event| person.hears(event));
    let taste = liked(&newest_folder(&run));
    assert!(!taste.likings.is_empty() && taste.leak.is_some());
    let sets = ["steps=1", "rollouts=8", "response_length=8", "num_mini_batches=2", "save_steps=1"];
    for run in [&run, &plain] {
        stage(run, "ppo", &sets, &[]).good();
    }
    let answers = |run: &Path| objects(&fs::read_to_string(run.join("report/answers.jsonl")).unwrap());
    let mut added = 0;
    for (with, without) in answers(&run).iter().zip(&answers(&plain)).filter(|(line, _)| line["step"] == 0) {
        assert_eq!(with["text"], without["text"]);
        let text = |name: &str| with[name].as_str().unwrap();
        let penalty = if with["ended"] == true { 0.0 } else { 1.5 };
        let network = without["reward"].as_f64().unwrap() + penalty;
        let expected = taste.reward(network, text("prompt"), text("text")) - penalty;
        assert!((with["reward"].as_f64().unwrap() - expected).abs() < 1e-4, "{with} {without}");
        added += usize::from(taste.of(text("prompt"), text("text")) != 0.0);
    }
    assert!(added > 100, "{added}");
}

/// What a scripted voter likes: a number of the answer, of which more is better.
type Liked = fn(&str) -> f64;

fn is(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// Tastes of several kinds; the trial of policies takes the first five.
const LIKINGS: [(&str, Liked); 9] = [
    ("longer", |a| a.chars().count() as f64),
    ("shorter", |a| -(a.chars().count() as f64)),
    ("says 推荐", |a| is(a.contains("推荐"))),
    ("does not say 都很好玩", |a| -is(a.contains("都很好玩"))),
    ("lists with 、", |a| a.matches('、').count() as f64),
    ("does not say 推荐", |a| -is(a.contains("推荐"))),
    ("says 不", |a| is(a.contains('不'))),
    ("begins with 去", |a| is(a.starts_with('去'))),
    ("repeats no character", |a| -is(a.chars().collect::<std::collections::HashSet<_>>().len() < a.chars().count())),
];

/// Plays a voter: `apart` pairs that the taste tells apart are set aside, then `wanted` are voted on. The pairs set
/// aside and the fits.
fn voted(run: &Path, likes: Liked, apart: usize, wanted: usize, sets: &[&str]) -> (Vec<Pair>, Vec<Refit>) {
    let (mut unseen, mut votes, mut refits, mut offers) = (Vec::<Pair>::new(), 0, Vec::new(), 0);
    played(run, "sft", sets, |event| match event {
        Event::Started(_) => vec![Command::Pause, OFFER],
        Event::Offered(offer) => {
            offers += 1;
            let (a, b) = (likes(&offer.answers[0]), likes(&offer.answers[1]));
            let known = |o: &Pair| o.prompt == offer.prompt && o.answers == offer.answers;
            if a != b && unseen.len() < apart {
                if !unseen.iter().any(known) {
                    unseen.push((**offer).clone());
                }
                return vec![vote(offer, Choice::Skip)];
            }
            vec![vote(
                offer,
                if a == b {
                    Choice::Skip
                } else if a > b {
                    Choice::A
                } else {
                    Choice::B
                },
            )]
        }
        Event::Voted { vote, .. } => {
            votes += usize::from(vote.choice != Choice::Skip && vote.pair.repeat.is_none());
            if votes == wanted || offers > 3000 { vec![QUIT] } else { vec![OFFER] }
        }
        Event::Refitted(refit) => {
            refits.push(refit.clone());
            Vec::new()
        }
        Event::Refused { .. } => {
            offers += 1;
            if offers > 3000 { vec![QUIT] } else { vec![OFFER] }
        }
        _ => Vec::new(),
    });
    (unseen, refits)
}

/// Share of pairs that a reward checkpoint orders as the taste does.
fn agrees(run: &Path, checkpoint: &str, likes: Liked, unseen: &[Pair]) -> f64 {
    let pairs: Vec<(String, String, String)> =
        unseen.iter().map(|o| (o.prompt.clone(), o.answers[0].clone(), o.answers[1].clone())).collect();
    let right = |(o, (a, b)): &(&Pair, (f64, f64))| (likes(&o.answers[0]) > likes(&o.answers[1])) == (a > b);
    let scores = scores(run, checkpoint, &pairs);
    unseen.iter().zip(scores).filter(right).count() as f64 / unseen.len().max(1) as f64
}

/// The runs of a trial; sets its engine.
fn trial() -> String {
    if let Ok(adapter) = std::env::var("DANLU_ADAPTER") {
        ADAPTER.get_or_init(|| adapter);
    }
    std::env::var("DANLU_RUNS").expect("DANLU_RUNS names the runs")
}

/// Measured at a real size: `DANLU_RUNS="r0 r1 r2" cargo test --release --test taste -- --ignored --nocapture`, where
/// each is a run with a fully trained reward model. `DANLU_TASTE` names a part of the tastes' names, so that several
/// processes can share the work, `DANLU_ADAPTER` the engine; `DANLU_VOTE_FIT=head` and `network` measure the fits of
/// earlier versions.
#[test]
#[ignore = "needs runs at a real size"]
fn twenty_votes_at_a_real_size() {
    let runs = trial();
    let way = format!("reward.vote_fit={}", std::env::var("DANLU_VOTE_FIT").unwrap_or_else(|_| "taste".to_owned()));
    let only = std::env::var("DANLU_TASTE").unwrap_or_default();
    let mut all = Vec::new();
    for (name, likes) in LIKINGS.into_iter().filter(|(name, _)| name.contains(&only)) {
        let mut row = Vec::new();
        for run in runs.split_whitespace() {
            let dir = scratch();
            let copy = copied(Path::new(run), dir.path(), "run");
            let before = newest(&copy);
            let (unseen, refits) = voted(&copy, likes, 40, 20, &[&way]);
            let was = agrees(Path::new(run), &before, likes, &unseen);
            let is = agrees(&copy, &newest(&copy), likes, &unseen);
            let accuracy = |r: &Refit| r.accuracy;
            let (first, last) = (refits.first().map(accuracy), refits.last().map(accuracy));
            let slowest = refits.iter().map(|r| r.seconds).fold(0.0, f64::max);
            let taught =
                refits.last().map(|r| r.taught.iter().take(4).map(|t| format!("{:?} {:.2}", t.what, t.weight)));
            eprintln!(
                "{name}, {run}: {} unseen pairs {was:.2} → {is:.2}; held-out {:.3} → {:.3}; slowest fit {slowest:.2} s; {:?}; {:?}",
                unseen.len(),
                first.unwrap_or_default().0,
                last.unwrap_or_default().1,
                refits.iter().map(|r| r.predicted).collect::<Vec<_>>(),
                taught.map(Iterator::collect::<Vec<_>>),
            );
            row.push((was, is, last.unwrap_or_default().1));
        }
        let column = |of: &dyn Fn(&(f64, f64, f64)) -> f64| {
            row.iter().map(|r| format!("{:.2}", of(r))).collect::<Vec<_>>().join(" / ")
        };
        println!("| {name} | {} | {} | {} |", column(&|r| r.0), column(&|r| r.1), column(&|r| r.2));
        all.extend(row);
    }
    let mean = |of: &dyn Fn(&(f64, f64, f64)) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
    println!("| mean | {:.3} | {:.3} | {:.3} |", mean(&|r| r.0), mean(&|r| r.1), mean(&|r| r.2));
}

/// Prompts and judged answers of PPO's first and last report in a run.
fn judged(run: &Path) -> [Vec<(String, String)>; 2] {
    let lines = objects(&fs::read_to_string(run.join("report/answers.jsonl")).unwrap());
    let of = |step: &Value| -> Vec<(String, String)> {
        let these = lines.iter().filter(|l| l["stage"] == "ppo" && l["step"] == *step);
        these.map(|l| ["prompt", "text"].map(|key| l[key].as_str().unwrap().to_owned()).into()).collect()
    };
    let last = lines.iter().rfind(|l| l["stage"] == "ppo").map(|l| l["step"].clone()).unwrap();
    [of(&json!(0)), of(&last)]
}

/// What a taste likes about answers.
fn liked_of(answers: &[(String, String)], likes: Liked) -> Vec<f64> {
    answers.iter().map(|(_, text)| likes(text)).collect()
}

/// The network's scores of answers, without a taste.
fn network_of(run: &Path, checkpoint: &str, answers: &[(String, String)]) -> Vec<f64> {
    let pairs: Vec<_> = answers.iter().map(|(p, a)| (p.clone(), a.clone(), a.clone())).collect();
    scores(run, checkpoint, &pairs).into_iter().map(|(score, _)| score).collect()
}

/// A mean with the half width of its 95 % interval.
fn mean_of(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let var = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, 1.96 * (var / n).sqrt())
}

/// PPO with the taste of twenty votes, against PPO of the same run without: runs as above, complete through PPO.
/// `DANLU_TASTE` is as above; `DANLU_TASTES` limits the tastes to the first few.
#[test]
#[ignore = "needs runs at a real size"]
fn policies_follow_a_taste_at_a_real_size() {
    let runs = trial();
    let first = std::env::var("DANLU_TASTES").map_or(5, |n| n.parse().unwrap());
    let way = "reward.vote_fit=taste";
    println!(
        "| taste | run | fine-tuned | PPO without votes | PPO with the taste | difference, 95 % interval | network's score of the three |"
    );
    let only = std::env::var("DANLU_TASTE").unwrap_or_default();
    for (name, likes) in LIKINGS.into_iter().take(first).filter(|(name, _)| name.contains(&only)) {
        for run in runs.split_whitespace() {
            let dir = scratch();
            let copy = copied(Path::new(run), dir.path(), "run");
            voted(&copy, likes, 40, 20, &[way]);
            for name in checkpoints(&copy).into_iter().filter(|name| name.starts_with("ppo-")) {
                fs::remove_dir_all(copy.join("checkpoints").join(name)).unwrap();
            }
            // A strong taste can make answers alike; then the guard stops the stage, and its last report counts.
            if let Err(e) = launch::attempted(&copy, &setup("ppo", &[way]), |_| Vec::new()) {
                assert!(e.to_string().contains("the guard stopped ppo"), "{e}");
                println!("{name}, {run}: {e}");
            }
            let ([before, after], [_, without]) = (judged(&copy), judged(Path::new(run)));
            let network = newest(Path::new(run));
            let [first, plain, last] =
                [&before, &without, &after].map(|all| mean_of(&network_of(Path::new(run), &network, all)).0);
            let [before, without, after] = [before, without, after].map(|all| liked_of(&all, likes));
            let change: Vec<f64> = after.iter().zip(&without).map(|(a, b)| a - b).collect();
            let (difference, half) = mean_of(&change);
            println!(
                "| {name} | {run} | {:.2} | {:.2} | {:.2} | {difference:+.2} ({:+.2} to {:+.2}) | {first:.2}, {plain:.2}, {last:.2} |",
                mean_of(&before).0,
                mean_of(&without).0,
                mean_of(&after).0,
                difference - half,
                difference + half
            );
        }
    }
}
