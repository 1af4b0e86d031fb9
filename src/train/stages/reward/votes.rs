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
    base::StageName,
    data::{PairExample, Preference, Role, Tokenizer, Turn, encode_pairs},
    protocol::{CastVote, Choice, Tally},
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

/// Two answers to a prompt, from sampling to the vote.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pair {
    /// Its number in the run.
    pub id: u64,
    pub prompt: String,
    /// The left and the right answer.
    pub answers: [String; 2],
    pub about: About,
}

impl Pair {
    /// Swaps the answers' sides.
    pub(crate) fn swap(&mut self) {
        self.answers.swap(0, 1);
        self.about.lengths.swap(0, 1);
        self.about.logprobs.swap(0, 1);
        self.about.ended.swap(0, 1);
    }

    /// Whether it is the same prompt with the same two answers, on either side.
    pub(crate) fn is_same(&self, other: &Pair) -> bool {
        let [a, b] = &other.answers;
        self.prompt == other.prompt && (self.answers == other.answers || self.answers == [b.clone(), a.clone()])
    }
}

/// A choice between the answers of a pair.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vote {
    pub pair: Pair,
    pub choice: Choice,
    /// The reward model's step from which it is drawn, and the one from which it is no longer drawn.
    pub from: u64,
    pub until: Option<u64>,
}

/// Circumstances of a vote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The stage whose weights answered, its step, and its newest checkpoint at that time, or what it started from.
    pub stage: StageName,
    pub step: u64,
    pub checkpoint: Option<String>,
    /// Whether the answer sampled first was on the right.
    pub swapped: bool,
    /// The earlier pair that was repeated.
    pub repeat: Option<u64>,
    /// Whether the answers were seen before, so that the scores are not on unseen data.
    #[serde(default)]
    pub seen: bool,
    /// The reward model's checkpoint or step, and its normalised scores of left and right.
    pub reward_model: Option<String>,
    pub scores: Option<[f64; 2]>,
    /// Tokens of left and right.
    pub lengths: [usize; 2],
    /// Mean log π per token when sampled, end included, of left and right.
    pub logprobs: [f64; 2],
    /// Whether they ended by themselves, left and right.
    pub ended: [bool; 2],
    /// Seconds from the display of the pair to the vote.
    pub seconds: f64,
}

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
    about: Option<About>,
}

/// Whether a choice prefers the left one; None if neither.
pub(crate) fn left(choice: Choice) -> Option<bool> {
    match choice {
        Choice::A | Choice::MuchA => Some(true),
        Choice::B | Choice::MuchB => Some(false),
        Choice::Tie | Choice::BothBad | Choice::Skip => None,
    }
}

impl Vote {
    /// Its line in the file.
    pub(crate) fn line(&self) -> Result<Value, serde_json::Error> {
        let [a, b] = &self.pair.answers;
        let sides = left(self.choice).map(|left| if left { (a, b) } else { (b, a) });
        let answer = |text: &String| vec![Turn::new(Role::Assistant, text.as_str())];
        serde_json::to_value(Line {
            prompt: Some(vec![Turn::new(Role::User, self.pair.prompt.as_str())]),
            chosen: sides.map(|(better, _)| answer(better)),
            rejected: sides.map(|(_, worse)| answer(worse)),
            answers: sides.is_none().then(|| self.pair.answers.clone()),
            choice: serde_json::to_value(self.choice)?,
            pair: self.pair.id,
            from: self.from,
            about: Some(self.pair.about.clone()),
        })
    }

    /// Whether to train on it: it prefers a side, and is not a repeated pair, which only checks consistency.
    pub(crate) fn teaches(&self) -> bool {
        left(self.choice).is_some() && self.pair.about.repeat.is_none()
    }

    /// Whether the reward model agreed before it learned from the vote; None if it was not scored or knew the pair.
    fn agreed(&self) -> Option<bool> {
        let (left, [a, b]) = (left(self.choice)?, self.pair.about.scores?);
        (!self.pair.about.seen && self.pair.about.repeat.is_none()).then_some(if left { a > b } else { b > a })
    }
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
    let answers = match left(choice) {
        None => line.answers,
        Some(left) => text(line.chosen).zip(text(line.rejected)).map(|(c, r)| if left { [c, r] } else { [r, c] }),
    };
    let (Some(prompt), Some(answers), Some(about)) = (text(line.prompt), answers, line.about) else { return false };
    all.push(Vote { pair: Pair { id: line.pair, prompt, answers, about }, choice, from: line.from, until: None });
    true
}

/// A vote as training data of the reward model.
#[derive(Clone, Debug)]
pub(crate) struct VoteExample {
    pub pair: u64,
    pub example: PairExample,
    /// The margin of the better answer.
    pub margin: f32,
    pub from: u64,
    pub until: Option<u64>,
}

impl VoteExample {
    /// Whether it is drawn at a step.
    pub(crate) fn counts(&self, step: u64) -> bool {
        self.from <= step && self.until.is_none_or(|until| step < until)
    }
}

/// The training example of a vote; None if it is not trained on or does not fit the context.
pub(crate) fn example(vote: &Vote, tokenizer: &Tokenizer, context: usize) -> Result<Option<VoteExample>, TrainError> {
    let Some(left) = left(vote.choice).filter(|_| vote.teaches()) else { return Ok(None) };
    let [a, b] = vote.pair.answers.clone();
    let (chosen, rejected) = if left { (a, b) } else { (b, a) };
    let prompt = vec![Turn::new(Role::User, vote.pair.prompt.as_str())];
    let (pairs, _) = encode_pairs(&[Preference::new(prompt, chosen, rejected, None, true)], tokenizer, context)?;
    let much = matches!(vote.choice, Choice::MuchA | Choice::MuchB);
    let of = |example| VoteExample {
        pair: vote.pair.id,
        example,
        margin: if much { MUCH } else { 0.0 },
        from: vote.from,
        until: vote.until,
    };
    Ok(pairs.into_iter().next().map(of))
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
    let standing: Vec<&Vote> = votes.iter().filter(|v| v.until.is_none()).collect();
    for vote in &standing {
        seconds += vote.pair.about.seconds;
        match vote.choice {
            Choice::Tie => t.ties += 1,
            Choice::BothBad => t.both_bad += 1,
            Choice::Skip => t.skipped += 1,
            Choice::A | Choice::B | Choice::MuchA | Choice::MuchB => {}
        }
        let Some(is_left) = left(vote.choice) else { continue };
        t.decided += 1;
        t.left += usize::from(is_left);
        let [a, b] = vote.pair.about.lengths;
        if a != b && vote.pair.about.repeat.is_none() {
            t.longer.1 += 1;
            t.longer.0 += usize::from((a > b) == is_left);
        }
        if let Some(agreed) = vote.agreed() {
            t.agreed.push(agreed);
            recent.push_back(agreed);
            if recent.len() > RECENT {
                recent.pop_front();
            }
        }
        // The same answer, not the same side.
        if let Some(first) = vote.pair.about.repeat
            && let Some(first) = standing.iter().find(|v| v.pair.id == first)
            && let Some(was_left) = left(first.choice)
        {
            let of = |v: &Vote, left: bool| v.pair.answers[usize::from(!left)].clone();
            t.repeats.1 += 1;
            t.repeats.0 += usize::from(of(vote, is_left) == of(first, was_left));
        }
    }
    t.agreement = (recent.iter().filter(|a| **a).count(), recent.len());
    t.seconds = seconds / standing.len().max(1) as f64;
    let cast = |v: &&Vote| CastVote { pair: v.pair.id, prompt: v.pair.prompt.clone(), choice: v.choice };
    t.cast = standing.iter().map(cast).collect();
    t
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::base::StageId;

    fn vote(pair: u64, choice: Choice, scores: [f64; 2], repeat: Option<u64>) -> Vote {
        let answers = ["left".to_owned(), "right".to_owned()];
        let about = About {
            stage: StageId::Sft.into(),
            scores: Some(scores),
            lengths: [pair as usize, 3],
            repeat,
            seconds: 2.0,
            ..About::default()
        };
        Vote { pair: Pair { id: pair, prompt: "q".to_owned(), answers, about }, choice, from: pair, until: None }
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
        for (vote, line) in votes.iter().zip(&lines) {
            assert_eq!(vote.line().unwrap(), *line);
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
        all[1].pair.about.stage = "distill".into();
        let mut read = Vec::new();
        for vote in &all {
            let line = vote.line().unwrap();
            assert_eq!(line.get("chosen").is_some(), left(vote.choice).is_some(), "{line}");
            assert!(take(&mut read, line));
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
