//! The user's votes between two answers (`preferences.jsonl`) and their statistics.
//!
//! A line is a vote in TRL's shape (`prompt`, `chosen`, `rejected`, lists of messages) with additional fields; ties,
//! «both bad» and skips have `answers` instead and are never trained on. Taking a vote back appends a line; the file
//! only grows. Each line has the reward model's step from which it counts, so that a stage continued from an older
//! checkpoint draws the same.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    data::{PairExample, Preference, Role, Tokenizer, Turn, encode_pairs},
    protocol::{Choice, Pair, Tally, Vote},
    store::{RunView, read_from},
    train::error::TrainError,
};

/// Votes for a side after which the reward model is fitted to them.
pub(crate) const REFIT_AFTER: usize = 5;
/// Number of recent votes for the agreement figure.
const RECENT: usize = 25;
/// Margin of «much better», in the reward model's own units (Touvron et al. 2023 grade margins similarly, with 3 for
/// «significantly better» on their scale).
const MUCH: f32 = 1.0;

/// The choice of a line that takes a vote back.
const UNVOTE: &str = "unvote";

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt: Option<Vec<Turn>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<Vec<Turn>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rejected: Option<Vec<Turn>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answers: Option<[String; 2]>,
    choice: Value,
    pair: u64,
    from: u64,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    about: Option<Pair>,
}

/// The line of a vote.
pub(crate) fn line(vote: &Vote) -> Result<Value, serde_json::Error> {
    let pair = &vote.pair;
    let side = vote.choice.side();
    let answer = |side: usize| vec![Turn::new(Role::Assistant, pair.answers[side].as_str())];
    serde_json::to_value(Line {
        prompt: Some(vec![Turn::new(Role::User, pair.prompt.as_str())]),
        chosen: side.map(answer),
        rejected: side.map(|side| answer(1 - side)),
        answers: side.is_none().then(|| pair.answers.clone()),
        choice: serde_json::to_value(vote.choice)?,
        pair: pair.id,
        from: vote.from,
        about: Some(pair.clone()),
    })
}

/// The line that takes a vote back, from a step of the reward model on.
pub(crate) fn unvote_line(pair: u64, from: u64) -> Value {
    serde_json::json!({"choice": UNVOTE, "pair": pair, "from": from})
}

/// The votes of a run in file order, including those taken back. An invalid line is reported and skipped.
pub(crate) fn read(view: &RunView, notes: &mut Vec<String>) -> Result<Vec<Vote>, TrainError> {
    let (path, mut all, mut from, mut strange) = (view.preferences_path(), Vec::new(), 0, 0);
    loop {
        let tail = read_from(&**view.disk(), &path, from)?;
        strange += tail.bad;
        for record in tail.records {
            if !take(&mut all, record) {
                strange += 1;
            }
        }
        if tail.next == from {
            break;
        }
        from = tail.next;
    }
    if strange > 0 {
        notes.push(format!("{}: {strange} lines are not votes of danlu and were skipped", path.display()));
    }
    Ok(all)
}

/// Adds the content of a line; false if it is invalid.
fn take(all: &mut Vec<Vote>, record: Value) -> bool {
    let Ok(line) = serde_json::from_value::<Line>(record) else { return false };
    if line.choice == UNVOTE {
        let voted = all.iter_mut().rev().find(|v| v.pair.id == line.pair && v.until.is_none());
        return voted.map(|v| v.until = Some(line.from)).is_some();
    }
    let Ok(choice) = serde_json::from_value::<Choice>(line.choice) else { return false };
    let text = |m: Option<Vec<Turn>>| m.and_then(|m| m.into_iter().next()).map(|m| m.content);
    let answers = match choice.side() {
        None => line.answers,
        Some(side) => text(line.chosen).zip(text(line.rejected)).map(|(c, r)| if side == 0 { [c, r] } else { [r, c] }),
    };
    let (Some(prompt), Some(answers), Some(about)) = (text(line.prompt), answers, line.about) else { return false };
    let pair = Pair { id: line.pair, prompt, answers, ..about };
    all.push(Vote { pair, choice, from: line.from, until: None });
    true
}

/// A vote as training data of the reward model.
#[derive(Clone, Debug)]
pub(crate) struct VoteExample {
    pub vote: Vote,
    pub example: PairExample,
}

impl VoteExample {
    /// The margin of the better answer.
    pub(crate) fn margin(&self) -> f32 {
        if matches!(self.vote.choice, Choice::MuchA | Choice::MuchB) { MUCH } else { 0.0 }
    }
}

/// The training example of a vote; None if it is not trained on or does not fit the context.
pub(crate) fn example(vote: &Vote, tokenizer: &Tokenizer, context: usize) -> Result<Option<VoteExample>, TrainError> {
    let Some(side) = vote.choice.side().filter(|_| vote.teaches()) else { return Ok(None) };
    let [chosen, rejected] = [side, 1 - side].map(|side| vote.pair.answers[side].clone());
    let prompt = vec![Turn::new(Role::User, vote.pair.prompt.as_str())];
    let (pairs, _) = encode_pairs(&[Preference::new(prompt, chosen, rejected, None, true)], tokenizer, context)?;
    Ok(pairs.into_iter().next().map(|example| VoteExample { vote: vote.clone(), example }))
}

/// The examples of all votes that are trained on and fit the context.
pub(crate) fn examples(votes: &[Vote], tokenizer: &Tokenizer, context: usize) -> Result<Vec<VoteExample>, TrainError> {
    votes.iter().filter_map(|v| example(v, tokenizer, context).transpose()).collect()
}

/// The counts of the current votes; the reward model's part of the tally is added elsewhere.
pub(crate) fn tally(votes: &[Vote]) -> Tally {
    let mut t = Tally::default();
    let mut recent = VecDeque::with_capacity(RECENT);
    let mut seconds = 0.0;
    let counted: Vec<&Vote> = votes.iter().filter(|v| v.until.is_none()).collect();
    for vote in &counted {
        seconds += vote.pair.seconds;
        match vote.choice {
            Choice::Tie => t.ties += 1,
            Choice::BothBad => t.both_bad += 1,
            Choice::Skip => t.skipped += 1,
            Choice::A | Choice::B | Choice::MuchA | Choice::MuchB => {}
        }
        let Some(side) = vote.choice.side() else { continue };
        t.decided += 1;
        t.left += usize::from(side == 0);
        let [a, b] = vote.pair.lengths;
        if a != b && vote.pair.repeat.is_none() {
            t.longer.1 += 1;
            t.longer.0 += usize::from((a > b) == (side == 0));
        }
        if let Some(agreed) = vote.agreed() {
            t.agreed.push(agreed);
            recent.push_back(agreed);
            if recent.len() > RECENT {
                recent.pop_front();
            }
        }
        // The same answer, not the same side.
        if let Some(first) = vote.pair.repeat
            && let Some(first) = counted.iter().find(|v| v.pair.id == first)
            && let Some(before) = first.choice.side()
        {
            t.repeats.1 += 1;
            t.repeats.0 += usize::from(vote.pair.answers[side] == first.pair.answers[before]);
        }
    }
    t.agreement = (recent.iter().filter(|a| **a).count(), recent.len());
    t.seconds = seconds / counted.len().max(1) as f64;
    t.cast = counted.into_iter().cloned().collect();
    t
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::base::StageId;

    fn vote(pair: u64, choice: Choice, scores: [f64; 2], repeat: Option<u64>) -> Vote {
        let answers = ["left".to_owned(), "right".to_owned()];
        let of = Pair {
            id: pair,
            prompt: "q".to_owned(),
            answers,
            stage: StageId::Sft.into(),
            scores: Some(scores),
            lengths: [pair as usize, 3],
            repeat,
            seconds: 2.0,
            ..Pair::default()
        };
        Vote { pair: of, choice, from: pair, until: None }
    }

    #[test]
    fn votes_of_version_0_1_are_read() {
        use Choice::{A, B, BothBad, MuchA, MuchB, Tie};
        let (mut votes, mut lines) = (Vec::new(), Vec::new());
        for line in include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/logs-1/preferences.jsonl")).lines()
        {
            lines.push(serde_json::from_str::<Value>(line).unwrap());
            assert!(take(&mut votes, lines[lines.len() - 1].clone()), "{line}");
        }
        let choices: Vec<Choice> = votes.iter().map(|v| v.choice).collect();
        assert_eq!(choices, [A, B, MuchA, MuchB, Tie, BothBad, A]);
        assert_eq!((votes[6].until, lines.len()), (Some(26), 8), "the last vote was taken back");
        for (vote, read) in votes.iter().zip(&lines) {
            assert_eq!(line(vote).unwrap(), *read);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut all = [
            vote(1, Choice::A, [1.0, 0.0], None),
            vote(2, Choice::MuchB, [1.0, 0.0], None),
            vote(3, Choice::Tie, [0.0, 0.0], None),
            vote(4, Choice::Skip, [0.0, 0.0], None),
            vote(5, Choice::B, [0.5, 0.25], Some(1)),
        ];
        // On answers of a stage of a newer version.
        all[1].pair.stage = "distill".into();
        let mut read = Vec::new();
        for vote in &all {
            let written = line(vote).unwrap();
            assert_eq!(written.get("chosen").is_some(), vote.choice.side().is_some(), "{written}");
            assert!(take(&mut read, written));
        }
        assert_eq!(read, all);
        assert!(take(&mut read, unvote_line(5, 9)));
        assert_eq!(read[4].until, Some(9));
        assert!(!take(&mut read, unvote_line(5, 9)), "once");
        for strange in ["{}", r#"{"prompt":"q","chosen":"a","rejected":"b"}"#, r#"{"choice":"a","pair":1,"from":0}"#] {
            assert!(!take(&mut read, serde_json::from_str(strange).unwrap()), "{strange}");
        }
    }

    #[test]
    fn the_tally_counts_what_it_says() {
        let mut all = vec![
            vote(1, Choice::A, [1.0, 0.0], None),
            vote(2, Choice::B, [1.0, 0.0], None),
            vote(3, Choice::Tie, [0.0, 0.0], None),
            vote(4, Choice::MuchA, [0.5, 0.25], None),
            vote(5, Choice::A, [0.0, 1.0], Some(1)),
            vote(6, Choice::BothBad, [0.0, 1.0], None),
        ];
        let t = tally(&all);
        assert_eq!((t.decided, t.left, t.ties, t.both_bad, t.skipped), (4, 3, 1, 1, 0));
        assert_eq!(t.agreed, [true, false, true], "a pair shown again is no proof");
        assert_eq!((t.agreement, t.repeats, t.longer, t.seconds), ((2, 3), (1, 1), (2, 3), 2.0));
        // A vote taken back counts nowhere.
        all[1].until = Some(7);
        let t = tally(&all);
        assert_eq!((t.decided, t.agreement), (3, (2, 2)));
        // The other side with swapped answers is a different choice.
        all[4].choice = Choice::B;
        assert_eq!(tally(&all).repeats, (0, 1));
    }
}
