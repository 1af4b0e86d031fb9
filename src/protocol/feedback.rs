//! Events of human feedback: held-out figures, rollouts, votes.

/// How well a reward model tells held-out pairs apart.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardReport {
    /// After this step.
    pub step: usize,
    /// Held-out pairs.
    pub pairs: usize,
    /// Share of them whose better answer scores higher.
    pub accuracy: f64,
    /// Its 95 % interval (Wilson).
    pub ci95: (f64, f64),
    /// The share that «the longer one is better» gets right.
    pub by_length: f64,
    /// Mean score of the better answers less that of the others.
    pub margin: f64,
    /// That difference of every pair, for a histogram.
    pub margins: Vec<f32>,
}

/// What a policy's answers are worth, on prompts that stand in no training file.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyReport {
    /// After this update.
    pub step: usize,
    /// The task, or `all`.
    pub task: String,
    /// Prompts, one answer each, drawn as the rollouts are.
    pub prompts: usize,
    /// Share of answers that the task's rule calls good. The rule judges; it trains nothing.
    pub true_score: f64,
    /// Its 95 % interval (Wilson).
    pub ci95: (f64, f64),
    /// Mean score of the reward model, normalised.
    pub reward: f64,
    /// Mean Σ (log π − log π_ref) of an answer, in nats.
    pub kl: f64,
    /// Share of answers that ended by themselves.
    pub end_rate: f64,
    /// Different pairs of neighbouring characters over all such pairs.
    pub distinct2: f64,
    /// Mean characters of an answer.
    pub length: f64,
}

/// Something that must hold before a policy's first update: the rollouts, the scoring and the update agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Lamp {
    /// `kl`, `ratio`, `clipfrac`, `sampler`.
    pub name: &'static str,
    /// How far it is from what it should be.
    pub value: f64,
    /// How far it may be.
    pub bound: f64,
}

impl Lamp {
    /// Whether it holds; not a number does not.
    pub fn holds(&self) -> bool {
        self.value <= self.bound
    }
}

/// One answer of an update, token by token.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// The update that drew it.
    pub step: usize,
    /// Which of the update's answers.
    pub which: usize,
    /// How many there are.
    pub of: usize,
    /// What was asked.
    pub prompt: String,
    /// The reward model's normalised score, less what a missing end costs.
    pub score: f64,
    /// Whether it ended by itself.
    pub ended: bool,
    /// Its tokens, the end included.
    pub actions: Vec<ActionView>,
}

/// One drawn token as the update saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionView {
    /// Its text; special tokens by their spelling.
    pub text: String,
    /// log π of it when it was drawn.
    pub logprob: f32,
    /// log π_ref of it; the KL's estimate is the difference.
    pub reference: f32,
    /// The value net's estimate before it; none where the stage has no value net.
    pub value: Option<f32>,
    /// −β·KL, and at the last token the score.
    pub reward: f32,
    /// Its advantage, as the loss weighs it.
    pub advantage: f32,
    /// π_new / π_old at its last pass of the update.
    pub ratio: f32,
    /// Whether that ratio was clipped.
    pub clipped: bool,
}

/// A person's choice between two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// A is better.
    A,
    /// B is better.
    B,
    /// A is much better.
    MuchA,
    /// B is much better.
    MuchB,
    /// As good as one another.
    Tie,
    /// Both are bad.
    BothBad,
    /// No opinion.
    Skip,
}

impl Choice {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Choice::A => "a",
            Choice::B => "b",
            Choice::MuchA => "much_a",
            Choice::MuchB => "much_b",
            Choice::Tie => "tie",
            Choice::BothBad => "both_bad",
            Choice::Skip => "skip",
        }
    }
}

/// Two answers of the live weights to one prompt. Which stands on which side is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its number, anew for every offer.
    pub pair: u64,
    /// After this step.
    pub step: usize,
    /// What was asked.
    pub prompt: String,
    /// The answer on the left.
    pub a: String,
    /// The answer on the right.
    pub b: String,
}

/// A vote, and what the reward model thinks of the pair.
#[derive(Clone, Debug, PartialEq)]
pub struct VotedPair {
    /// The offer's number.
    pub pair: u64,
    /// The choice.
    pub choice: Choice,
    /// The reward model's normalised scores of A and B before it learned from this vote; none without a
    /// reward model.
    pub scores: Option<(f64, f64)>,
    /// Tokens of A and B.
    pub lengths: (usize, usize),
    /// Mean log π of a token of A and of B.
    pub logprobs: (f64, f64),
    /// Whether it is an earlier pair shown again.
    pub repeat: bool,
    /// Whether the answer drawn first stood on the right.
    pub swapped: bool,
    /// All votes so far, this one included.
    pub tally: Tally,
}

/// What the votes of a run come to. Shares are pairs (how many, of how many).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Votes for a side.
    pub decided: usize,
    /// Of those, votes for the left one: the side bias is its distance from half.
    pub left: usize,
    /// Of those, votes for the longer one (of unequal lengths).
    pub longer: (usize, usize),
    /// Ties.
    pub ties: usize,
    /// Both bad.
    pub both_bad: usize,
    /// Skipped.
    pub skipped: usize,
    /// Of the newest 25 votes for a side, those that the reward model agreed with before it learned from them.
    pub agreement: (usize, usize),
    /// Of earlier pairs shown again, those voted on the same way.
    pub repeats: (usize, usize),
    /// Agreement vote by vote, for a curve: 1 where the reward model agreed, 0 where not.
    pub agreed: Vec<bool>,
    /// Mean seconds a pair.
    pub seconds: f64,
    /// Times that the reward model was fitted to votes.
    pub version: usize,
    /// Votes for a side until the next time.
    pub until_refit: usize,
    /// How many built-in pairs a vote counts for.
    pub weight: f64,
}

/// A reward model fitted to votes.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// Which time this is, from 1.
    pub version: usize,
    /// Votes learned from.
    pub votes: usize,
    /// Built-in pairs beside them.
    pub pairs: usize,
    /// How many built-in pairs a vote counts for.
    pub weight: f64,
    /// Steps taken.
    pub steps: usize,
    /// Seconds taken.
    pub seconds: f64,
    /// Share of the votes that the model agrees with, before and after.
    pub agreement: (f64, f64),
    /// Accuracy on the held-out pairs, before and after.
    pub accuracy: (f64, f64),
    /// The checkpoint that holds it.
    pub checkpoint: String,
}
