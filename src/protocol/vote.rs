//! A vote: the pair that is offered, the choice, and the counts over all votes of a run.
//!
//! [`Pair`] and [`Vote`] are the same values in the trainer, in `preferences.jsonl` and on the screen.

use serde::{Deserialize, Serialize};

use crate::base::StageName;

/// The user's choice between two answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// A is better.
    A,
    /// B is better.
    B,
    /// A is much better.
    MuchA,
    /// B is much better.
    MuchB,
    /// Both equally good.
    Tie,
    /// Both are bad.
    BothBad,
    /// No opinion.
    #[default]
    Skip,
}

impl Choice {
    /// The side that it prefers, 0 for A and 1 for B; None if neither.
    pub fn side(self) -> Option<usize> {
        match self {
            Choice::A | Choice::MuchA => Some(0),
            Choice::B | Choice::MuchB => Some(1),
            Choice::Tie | Choice::BothBad | Choice::Skip => None,
        }
    }
}

/// Two answers to a prompt, A on the left and B on the right, with the circumstances in which they were sampled and
/// judged. The serde fields are those that a line of `preferences.jsonl` has beside its messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Its number in the run; `pair` in the logs.
    #[serde(skip)]
    pub id: u64,
    /// The prompt.
    #[serde(skip)]
    pub prompt: String,
    /// A and B.
    #[serde(skip)]
    pub answers: [String; 2],
    /// The stage whose weights answered.
    pub stage: StageName,
    /// The step after which they were sampled.
    pub step: u64,
    /// The stage's newest checkpoint at that time, or the one that it started from.
    pub checkpoint: Option<String>,
    /// Whether the answer sampled first is B.
    pub swapped: bool,
    /// The earlier pair that it repeats.
    pub repeat: Option<u64>,
    /// Whether the answers were voted on before, so that the scores are not on unseen data.
    #[serde(default)]
    pub seen: bool,
    /// The reward model's checkpoint or step; None without a reward model.
    pub reward_model: Option<String>,
    /// Its normalised scores of A and B, before it learned from the vote.
    pub scores: Option<[f64; 2]>,
    /// Tokens of A and B.
    pub lengths: [usize; 2],
    /// Mean log π per token of A and B when sampled, the end included.
    pub logprobs: [f64; 2],
    /// Whether A and B ended by themselves.
    pub ended: [bool; 2],
    /// Seconds from the display of the pair to the vote.
    pub seconds: f64,
}

impl Pair {
    /// Swaps the answers' sides.
    pub(crate) fn swap(&mut self) {
        self.answers.swap(0, 1);
        self.lengths.swap(0, 1);
        self.logprobs.swap(0, 1);
        self.ended.swap(0, 1);
    }

    /// Whether it is the same prompt with the same two answers, on either side.
    pub(crate) fn is_same(&self, other: &Pair) -> bool {
        let [a, b] = &other.answers;
        self.prompt == other.prompt && (self.answers == other.answers || self.answers == [b.clone(), a.clone()])
    }
}

/// A choice between the answers of a pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Logged", into = "Logged")]
pub struct Vote {
    /// The pair.
    pub pair: Pair,
    /// The choice.
    pub choice: Choice,
    /// The reward model's step from which it is drawn.
    pub from: u64,
    /// The step from which it is no longer drawn, once it was taken back.
    pub until: Option<u64>,
}

impl Vote {
    /// Whether to train on it: it prefers a side, and is not a repeated pair, which only checks consistency.
    pub(crate) fn teaches(&self) -> bool {
        self.choice.side().is_some() && self.pair.repeat.is_none()
    }

    /// Whether it is drawn at a step of the reward model.
    pub(crate) fn counts(&self, step: u64) -> bool {
        self.from <= step && self.until.is_none_or(|until| step < until)
    }

    /// Whether the reward model agreed before it learned from the vote; None if it was not scored or knew the pair.
    pub(crate) fn agreed(&self) -> Option<bool> {
        let (side, [a, b]) = (self.choice.side()?, self.pair.scores?);
        (!self.pair.seen && self.pair.repeat.is_none()).then_some(if side == 0 { a > b } else { b > a })
    }
}

/// The fields of a vote in `events.jsonl` and `--json`; `preferences.jsonl` has all of them.
#[derive(Serialize, Deserialize)]
struct Logged {
    pair: u64,
    choice: Choice,
    scores: Option<[f64; 2]>,
}

impl From<Vote> for Logged {
    fn from(vote: Vote) -> Logged {
        Logged { pair: vote.pair.id, choice: vote.choice, scores: vote.pair.scores }
    }
}

impl From<Logged> for Vote {
    fn from(logged: Logged) -> Vote {
        let pair = Pair { id: logged.pair, scores: logged.scores, ..Pair::default() };
        Vote { pair, choice: logged.choice, ..Vote::default() }
    }
}

/// Counts over the votes of a run. Shares are pairs (count, total). A line of the log has only the fields that serde
/// does not skip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Votes for a side.
    pub decided: usize,
    /// Of those, votes for the left one; the position bias is its distance from half.
    #[serde(skip)]
    pub left: usize,
    /// Of those, votes for the longer one (of unequal lengths).
    #[serde(skip)]
    pub longer: (usize, usize),
    /// Ties.
    #[serde(skip)]
    pub ties: usize,
    /// Both bad.
    #[serde(skip)]
    pub both_bad: usize,
    /// Skipped.
    #[serde(skip)]
    pub skipped: usize,
    /// Of the newest 25 votes for a side, those that the reward model agreed with before it learned from them.
    pub agreement: (usize, usize),
    /// Of earlier pairs shown again, those voted on the same way.
    #[serde(skip)]
    pub repeats: (usize, usize),
    /// Agreement vote by vote, for a curve: 1 where the reward model agreed, 0 where not.
    #[serde(skip)]
    pub agreed: Vec<bool>,
    /// Mean seconds per pair.
    #[serde(skip)]
    pub seconds: f64,
    /// How often the reward model was fitted to votes.
    #[serde(skip)]
    pub version: usize,
    /// Votes for a side until the next fit.
    #[serde(skip)]
    pub until_refit: usize,
    /// How many built-in pairs a vote counts for.
    #[serde(skip)]
    pub weight: f64,
    /// The votes themselves, the newest last; those taken back are not among them.
    #[serde(skip)]
    pub cast: Vec<Vote>,
}
