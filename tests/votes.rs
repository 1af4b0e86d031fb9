//! Votes from outside: pairs, choices and what is stored of them, the reward model that is fitted to them beside
//! another stage or in its own, and that nothing is lost.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{
    checkpoints,
    feedback::{args, copied, stage},
    json_file,
    launch::is_step,
    no_leftovers, objects, scratch, snapshot, stage_checkpoint, text,
    voter::{
        MODEL, OFFER, Person, QUIT, REWARD, Telling, back_to, bases, lines, longer, newest, played, recommends, same,
        scores, vote,
    },
};
use danlu::{
    data::{Format, Role, Turn, read_preferences},
    protocol::{Ask, Choice, Command, Event, Refit, Sampling, Vote, Who},
};
use serde_json::{Value, json};

/// After twenty votes by a hidden preference the model follows it on unseen pairs, in either direction, and does not
/// forget the built-in pairs.
#[test]
fn twenty_votes_teach_a_hidden_preference() {
    let tastes: [(&str, Telling); 2] = [("longer", longer), ("推荐", recommends)];
    for (name, taste) in tastes {
        let dir = scratch();
        let run = copied(&bases().rewarded, dir.path(), "run");
        let before = newest(&run);
        let mut person = Person::new(taste, 30, 20);
        let summary = played(&run, "sft", &REWARD, |event| person.hears(event));
        assert_eq!((summary.step, person.unseen.len(), person.votes), (150, 30, 20), "{name} {:?}", person.refused);
        let (was, is) = (person.agreement(&bases().rewarded, &before), person.agreement(&run, &newest(&run)));
        assert!(is >= was + 0.15, "{name}: {was} to {is}");
        assert_eq!(
            person.refits.iter().map(|r| (r.version, r.votes)).collect::<Vec<_>>(),
            [(1, 5), (2, 10), (3, 15), (4, 20)]
        );
        for r in &person.refits {
            assert!(r.weight > 1.0 && r.pairs > 400 && r.steps > 0, "{r:?}");
            assert!(r.accuracy.1 > r.accuracy.0 - 0.15, "{name}: the built-in pairs are not forgotten: {r:?}");
            assert!(r.agreement.1 >= r.agreement.0, "{r:?}");
        }
        let last = person.tallies.last().unwrap();
        let again = person.voted.iter().filter(|v| v.pair.repeat.is_some() && v.choice != Choice::Skip).count();
        let told = (last.decided, last.until_refit, last.version);
        assert_eq!(told, (20 + again, 0, 3), "the counts are of before the fit");
        assert_eq!((last.agreement.1, last.agreed.len()), (20, 20), "a pair shown again proves nothing");
        assert_eq!(person.refits[3].checkpoint, newest(&run));
        no_leftovers(&run);
        // Sides are random: neither has all.
        let swapped = person.voted.iter().filter(|v| v.pair.swapped).count();
        assert!(swapped > 5 && swapped + 5 < person.voted.len(), "{swapped} of {}", person.voted.len());
    }
}

/// All choices on disk, in a shape that other tools read; taken back by appending a line.
#[test]
fn votes_are_kept_as_they_are_cast() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let mut choices =
        vec![Choice::A, Choice::B, Choice::MuchA, Choice::MuchB, Choice::Tie, Choice::BothBad, Choice::Skip]
            .into_iter();
    let (mut offers, mut sizes, mut unvoted, mut refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let file = run.join("preferences.jsonl");
    played(&run, "sft", &REWARD, |event| match event {
        Event::Started(_) => vec![Command::Unvote { pair: None }, Command::Pause, Command::Refit, vote_on(99), OFFER],
        Event::Offered(offer) => {
            assert_ne!(offer.answers[0], offer.answers[1]);
            offers.push((**offer).clone());
            vec![vote(offer, choices.next().unwrap())]
        }
        Event::Voted { vote, .. } => {
            let pair = &vote.pair;
            assert_eq!(pair.scores, None, "there is no reward model");
            assert!(pair.logprobs[0] < 0.0 && pair.lengths[0] > 0 && pair.lengths[0] <= 40);
            sizes.push(fs::metadata(&file).unwrap().len());
            match choices.len() {
                0 => vec![
                    Command::Unvote { pair: None },
                    Command::Unvote { pair: None },
                    Command::Offer { prompt: Some(" ".to_owned()) },
                    Command::Offer { prompt: Some("长".repeat(200)) },
                ],
                _ => vec![OFFER],
            }
        }
        Event::Unvoted { pair, tally } => {
            unvoted.push((*pair, tally.both_bad, tally.skipped));
            Vec::new()
        }
        Event::Refused { text } => {
            refused.push(text.clone());
            if refused.len() == 5 { vec![QUIT] } else { Vec::new() }
        }
        _ => Vec::new(),
    });
    assert_eq!(unvoted, [(7, 1, 0), (6, 0, 0)], "the newest first");
    let words = ["no vote to take back", "no reward model", "pair 99", "the prompt is empty", "tokens, more than"];
    for (text, word) in refused.iter().zip(words) {
        assert!(text.contains(word), "{word}: {refused:?}");
    }
    assert!(sizes.windows(2).all(|w| w[0] < w[1]), "on disk before the event");
    let all = lines(&run);
    assert_eq!(all.len(), 9);
    for (line, offer) in all.iter().zip(&offers) {
        assert_eq!(line["prompt"], json!([{"role": "user", "content": offer.prompt}]));
        assert_eq!(
            (&line["stage"], &line["checkpoint"], &line["from"]),
            (&json!("sft"), &json!("sft-00000150"), &json!(0))
        );
        let said = |words: &str| json!([{"role": "assistant", "content": words}]);
        match line["choice"].as_str().unwrap() {
            "a" | "much_a" => {
                assert_eq!((&line["chosen"], &line["rejected"]), (&said(&offer.answers[0]), &said(&offer.answers[1])));
            }
            "b" | "much_b" => {
                assert_eq!((&line["chosen"], &line["rejected"]), (&said(&offer.answers[1]), &said(&offer.answers[0])));
            }
            _ => {
                assert!(line["chosen"].is_null() && line["rejected"].is_null(), "{line}");
                assert_eq!(line["answers"], json!(offer.answers));
            }
        }
    }
    let read = read_preferences(Format::JsonLines, fs::read(&file).unwrap().as_slice()).unwrap();
    assert_eq!((read.pairs.items.len(), read.ties, read.both_bad, read.skipped, read.pairs.rejected), (4, 1, 0, 0, 0));
    // The numbers continue after a torn end, which stays: a hand may have typed it.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], b"{\"prompt\": [{"].concat()).unwrap();
    let mut tally = None;
    played(&run, "sft", &REWARD, |event| match event {
        Event::Started(_) => vec![Command::Pause, OFFER],
        Event::Offered(offer) => {
            assert_eq!(offer.id, 8);
            vec![vote(offer, Choice::Tie)]
        }
        Event::Voted { tally: counts, .. } => {
            tally = Some(counts.clone());
            vec![QUIT]
        }
        _ => Vec::new(),
    });
    let tally = tally.unwrap();
    assert_eq!((tally.decided, tally.left, tally.ties, tally.both_bad), (4, 2, 2, 0));
    let text = fs::read_to_string(&file).unwrap();
    let (torn, good): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("{\"prompt\": [{") && line.len() < 16);
    assert_eq!((objects(&(good.join("\n") + "\n")).len(), torn.len(), tally.until_refit), (10, 1, 1));
    assert!(text.as_bytes().starts_with(&whole));
}

fn vote_on(pair: u64) -> Command {
    Command::Vote { pair, choice: Choice::A, seconds: 1.0 }
}

/// A fit beside another stage, one killed before its checkpoint, and one without a screen are equal to the bit; killed
/// in the middle it continues to the same result.
#[test]
fn a_fit_is_the_same_wherever_it_runs() {
    let dir = scratch();
    let run = copied(&bases().rewarded, dir.path(), "run");
    let mut person = Person::new(longer, 0, 5);
    played(&run, "sft", &REWARD, |event| person.hears(event));
    assert_eq!(person.refits.len(), 1);
    let step = 30 + person.refits[0].steps;
    assert_eq!(newest(&run), format!("reward-{step:08}"));
    let state = json_file(&stage_checkpoint(&run, "reward", step).join("state.json"));
    assert_eq!(state["refits"], json!([{"step": 30, "steps": step - 30}]));
    let killed = copied(&run, dir.path(), "killed");
    back_to(&killed, 30);
    let told = stage(&killed, "reward", &REWARD, &[]).good().objects();
    same(&run, &killed, step, "without a screen");
    let refit = told.iter().find(|l| l["event"] == "refitted").unwrap();
    assert_eq!((&refit["votes"], &refit["steps"]), (&json!(5), &json!(step - 30)));
    // Repeatedly in the middle, by kill -9.
    let middle = copied(&run, dir.path(), "middle");
    back_to(&middle, 30);
    let sets = [&REWARD[..], &["reward.save_steps=3"]].concat();
    let mut kills = 0;
    for after in [32, 37, 41, 46] {
        let mut command = common::command(args(&middle, "reward", &sets, &[]));
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut running = common::Running { child, lines };
        running.until(|l| l["event"].is_null() && l["step"].as_u64() >= Some(after) || l["event"] == "finished");
        running.child.kill().unwrap();
        kills += usize::from(running.child.wait().unwrap().code().is_none());
    }
    assert!(kills >= 2, "{kills}");
    stage(&middle, "reward", &sets, &[]).good();
    same(&run, &middle, step, "killed");
    // Everything is learned: no fit is due, and the votes are unchanged.
    stage(&middle, "reward", &sets, &[]).good();
    assert_eq!(newest(&middle), format!("reward-{step:08}"));
    assert_eq!(lines(&middle), lines(&run));
    // A vote taken back no longer counts from here on; earlier draws are repeated unchanged.
    played(&run, "sft", &REWARD, |event| match event {
        Event::Started(_) => vec![Command::Pause, Command::Unvote { pair: None }, Command::Refit],
        Event::Refitted(r) => {
            assert_eq!((r.version, r.votes), (2, 4));
            vec![QUIT]
        }
        _ => Vec::new(),
    });
    let again = copied(&run, dir.path(), "again");
    back_to(&again, 30);
    stage(&again, "reward", &REWARD, &["--steps", &step.to_string()]).good();
    assert_eq!(lines(&again).len(), 6);
}

/// While the reward model is trained, votes join its draws from the next step on, and after its end it continues.
#[test]
fn votes_in_the_stage_itself_are_drawn_again_on_a_resume() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let (mut taught, mut refits, mut ended) = (0, Vec::new(), false);
    played(&run, "reward", &REWARD, |event| match event {
        _ if [3, 6, 12, 17, 25].iter().any(|step| is_step(event, *step)) => vec![Command::Pause, OFFER],
        Event::Offered(offer) => {
            let choice =
                if longer(&offer.answers[0], &offer.answers[1]) == Some(true) { Choice::A } else { Choice::MuchB };
            vec![vote(offer, choice)]
        }
        Event::Voted { vote, .. } => {
            assert!(vote.pair.scores.is_some());
            taught += usize::from(vote.pair.repeat.is_none());
            match (ended, taught) {
                (false, _) => vec![Command::Resume],
                (true, ..10) => vec![OFFER],
                (true, _) => Vec::new(),
            }
        }
        Event::Paused { step } if *step >= 30 && !ended => {
            ended = true;
            vec![OFFER]
        }
        Event::Refitted(r) => {
            refits.push(r.clone());
            vec![QUIT]
        }
        _ => Vec::new(),
    });
    let refits: Vec<Refit> = refits;
    assert_eq!((taught, refits.len(), refits[0].votes), (10, 1, 10));
    let taught = lines(&run).into_iter().filter(|l| l["repeat"].is_null());
    let from: Vec<u64> = taught.map(|l| l["from"].as_u64().unwrap()).collect();
    assert_eq!(from, [3, 6, 12, 17, 25, 30, 30, 30, 30, 30]);
    let step = 30 + refits[0].steps;
    for back in [10, 20, 30] {
        let again = copied(&run, dir.path(), &format!("again-{back}"));
        back_to(&again, back);
        stage(&again, "reward", &REWARD, &["--steps", "30"][..if back < 30 { 2 } else { 0 }]).good();
        if back < 30 {
            stage(&again, "reward", &REWARD, &[]).good();
        }
        same(&run, &again, step, &format!("gone on from {back}"));
    }
}

/// PPO keeps the reward model that it learns from, however many newer ones there are.
#[test]
fn fits_beside_ppo_leave_it_its_reward_model() {
    let dir = scratch();
    let run = copied(&bases().rewarded, dir.path(), "run");
    let sets = ["steps=4", "rollouts=8", "response_length=8", "num_mini_batches=2", "eval_steps=0", "save_steps=2"];
    let mut person = Person::new(longer, 0, 25);
    played(&run, "ppo", &[&REWARD[..], &sets].concat(), |event| match event {
        Event::Started(_) => Vec::new(),
        _ if is_step(event, 2) => vec![Command::Save, Command::Pause, OFFER],
        _ => person.hears(event),
    });
    assert_eq!(person.refits.len(), 5);
    let names = checkpoints(&run);
    let rewards: Vec<&String> = names.iter().filter(|n| n.starts_with("reward-")).collect();
    assert_eq!(rewards.len(), 4, "three, and the one that is learned from: {names:?}");
    assert_eq!(rewards[0], "reward-00000030");
    stage(&run, "ppo", &sets, &[]).good();
    let state = json_file(&stage_checkpoint(&run, "ppo", 4).join("state.json"));
    assert_eq!(state["reward_model"][0], "reward-00000030");
    // Every tenth pair is a repeated one with new random sides; the preference is the same, so all votes agree.
    let repeats: Vec<&Vote> = person.voted.iter().filter(|v| v.pair.repeat.is_some()).collect();
    assert!(!repeats.is_empty() && repeats.iter().all(|v| v.pair.id % 10 == 0));
    let tally = person.tallies.last().unwrap();
    assert_eq!(tally.repeats.0, tally.repeats.1);
    assert_eq!(tally.repeats.1, repeats.iter().filter(|v| v.choice != Choice::Skip).count());
}

/// An answer is reported with the score that the reward model's folder gives its text; the base answers too.
#[test]
fn answers_are_scored_and_the_base_speaks() {
    let dir = scratch();
    let run = copied(&bases().rewarded, dir.path(), "run");
    let prompt = "我想去杭州旅行，你推荐哪里？";
    let ask = |id: u64, who: Who| Command::Prompt {
        id,
        ask: Ask::Chat(vec![Turn::new(Role::User, prompt)]),
        who,
        sampling: Sampling::greedy(),
        max_new_tokens: 40,
    };
    let mut texts = vec![String::new(); 3];
    let mut done = Vec::new();
    played(&run, "sft", &REWARD, |event| match event {
        Event::Started(_) => vec![Command::Pause, ask(0, Who::Live), ask(1, Who::Base), ask(2, Who::Parent)],
        Event::PromptText { id, text, .. } => {
            texts[*id as usize] += text;
            Vec::new()
        }
        Event::PromptDone { id, finish_reason, score, .. } => {
            done.push((*id, finish_reason.clone(), *score));
            if done.len() == 3 { vec![QUIT] } else { Vec::new() }
        }
        _ => Vec::new(),
    });
    assert_eq!((done[0].0, done[0].1.as_str()), (0, "stop"));
    let by_folder = scores(&run, &newest(&run), &[(prompt.to_owned(), texts[0].clone(), texts[0].clone())]);
    let told = done[0].2.unwrap();
    assert!((told - by_folder[0].0).abs() < 1e-4, "{told} where the folder says {by_folder:?}");
    assert_eq!((&texts[1], done[1].2), (&texts[2], done[2].2), "of fine-tuning the parent is the base");
    assert!(done.iter().all(|d| d.2.is_some()) && texts[0] != texts[1]);
    // In pretraining the live weights are the base; there are no pairs and no scores.
    let run = copied(&bases().pretrained, dir.path(), "pretrained");
    let mut seen = Vec::new();
    played(&run, "pretrain", &[], |event| match event {
        Event::Started(_) => vec![Command::Pause, OFFER, ask(0, Who::Base)],
        Event::Refused { text } => {
            seen.push(text.clone());
            Vec::new()
        }
        Event::PromptDone { score, finish_reason, .. } => {
            assert_eq!(*score, None);
            seen.push(finish_reason.clone());
            vec![QUIT]
        }
        _ => Vec::new(),
    });
    assert!(
        seen[0].contains("fine-tune the model first") && ["stop", "length"].contains(&seen[1].as_str()),
        "{seen:?}"
    );
}

/// After another fine-tuning the new model's answers are sampled, not the old ones used.
#[test]
fn own_answers_are_those_of_the_model_that_is_started_from() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let own = run.join("data/reward-own.jsonl");
    fs::remove_file(&own).unwrap();
    stage(&run, "reward", &REWARD, &["--steps", "2"]).good();
    let first = fs::read_to_string(&own).unwrap();
    let digest = |step: usize| json_file(&stage_checkpoint(&run, "sft", step).join("manifest.json"))["digest"].clone();
    assert!(objects(&first).iter().all(|l| l["parent"] == digest(150) && l["seed"] == 0) && !first.is_empty());
    stage(&run, "sft", &["steps=200", "eval_steps=0", "probe_steps=0"], &[]).good();
    // The stage continues from its own parent, which gave these answers.
    stage(&run, "reward", &REWARD, &["--steps", "3"]).good();
    assert_eq!(fs::read_to_string(&own).unwrap(), first);
    for name in checkpoints(&run).into_iter().filter(|n| n.starts_with("reward-")) {
        fs::remove_dir_all(run.join("checkpoints").join(name)).unwrap();
    }
    let told = stage(&run, "reward", &REWARD, &["--steps", "2"]).good().objects();
    assert!(told.iter().any(|l| l["text"].as_str().is_some_and(|t| t.contains("drawn again"))), "it is said");
    let second = fs::read_to_string(&own).unwrap();
    assert!(objects(&second).iter().all(|l| l["parent"] == digest(200)));
}

fn files(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    snapshot(run).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect()
}

#[test]
fn bad_pairs_and_foreign_reward_models_are_refused() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let before = files(&run);
    let pair = |c: &str, r: &str| json!({"prompt": "q", "chosen": c, "rejected": r}).to_string();
    let cases = [
        (pair("same", " same "), "the chosen answer equals the rejected one"),
        (pair("good", " "), "the rejected answer is empty"),
        (pair("", "bad"), "the chosen answer is empty"),
        (json!({"prompt": "q", "answers": ["a", "b"], "choice": "tie"}).to_string(), "preferred neither"),
        (pair("good", "bad"), " held out;"),
        ([pair("长", &"短".repeat(400)), pair("好", &"坏".repeat(400))].join("\n"), "are left to train on"),
        (String::new(), "holds no preference"),
    ];
    for (lines, words) in &cases {
        let path = dir.path().join("pairs.jsonl");
        fs::write(&path, lines).unwrap();
        let source = format!("reward.source=[{{name=\"mine\",path={:?}}}]", text(&path));
        stage(&run, "reward", &[&source], &[]).refused(2, &[words]);
    }
    for (set, words) in [
        ("mode=bok", "book"),
        ("lm_coef=-1", "reward.lm_coef is -1"),
        ("center_rewards_coefficient=nan", "center_rewards_coefficient"),
        ("vote_weight=0", "reward.vote_weight is 0"),
        ("sft.vote_weight=1", "set it in [reward]"),
        ("vote_wieght=1", "did you mean \"vote_weight\""),
    ] {
        stage(&run, "reward", &[set], &[]).refused(2, &[words]);
    }
    assert!(files(&run) == before, "nothing is written");

    // Another run's reward model, whose ids have other meanings.
    let run = copied(&bases().rewarded, dir.path(), "rewarded");
    let folder = stage_checkpoint(&run, "reward", 30);
    let words = fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    let swapped = words.replace("\"西\"", "\"\u{0}\"").replace("\"湖\"", "\"西\"").replace("\"\u{0}\"", "\"湖\"");
    assert_ne!(words, swapped);
    common::forge(&folder, "tokenizer.json", swapped.as_bytes());
    let before = files(&run);
    for name in ["ppo", "reward"] {
        stage(&run, name, &[], &["--steps", "1"]).refused(2, &["the tokenizer of", "differs from the run's"]);
    }
    assert!(files(&run) == before, "nothing is written");
}

/// Both objectives learn; the book's with its language model loss, for which untied embeddings have no place.
#[test]
fn the_books_objective_learns_too() {
    let dir = scratch();
    let run = copied(&bases().tuned, dir.path(), "run");
    let sets = ["mode=book", "steps=60", "batch_size=16", "learning_rate=3e-3", "eval_steps=0", "save_steps=30"];
    let told = stage(&run, "reward", &sets, &[]).good().objects();
    let steps: Vec<&Value> = told.iter().filter(|l| l["event"].is_null()).collect();
    let lm = |i: usize| steps[i]["lm_loss"].as_f64().unwrap();
    assert!(lm(59) < 0.8 * lm(0), "the language model's loss falls: {} to {}", lm(0), lm(59));
    let report = told.iter().rfind(|l| l["event"] == "reward").unwrap();
    assert!(report["ci95"][0].as_f64().unwrap() > 0.6, "{report}");
    let again = copied(&bases().tuned, dir.path(), "again");
    stage(&again, "reward", &sets, &["--steps", "30"]).good();
    stage(&again, "reward", &sets, &[]).good();
    same(&run, &again, 60, "stopped and gone on with");
    let untied = [&MODEL[..], &["model.tie_word_embeddings=false", "steps=1", "batch_size=2", "context=32"]].concat();
    let run = dir.path().join("untied");
    stage(&run, "pretrain", &untied, &["--size", "1m"]).good();
    stage(&run, "sft", &["steps=1", "eval_steps=0", "probe_steps=0"], &[]).good();
    stage(&run, "reward", &["mode=book"], &[]).refused(2, &["reward.lm_coef 1", "tie_word_embeddings is false"]);
}
