//! Voting on two answers: the pair on the screen, the newest vote with the reward model's scores, and the counts of all
//! votes.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::{
    chat::{Chat, Target},
    log::Both,
};
use crate::protocol::{Pair, Refit, Role, Tally, Turn, Vote};
use crate::ui::{editor::Editor, series::Series, text::Clean};

/// Number of votes that a point of the agreement curve covers.
pub const WINDOW: usize = 25;
/// Characters of an answer that are compared for marking differences.
const COMPARED: usize = 1000;
/// Previous pairs that are kept.
const EARLIER: usize = 10;

/// A pair of answers as displayed.
#[derive(Clone, Debug)]
pub struct ShownPair {
    /// The pair, its texts unchanged.
    pub of: Pair,
    /// The prompt, cleaned.
    pub prompt: Clean,
    /// The answers as displayed.
    pub shown: [Clean; 2],
    /// The differences, as byte ranges of the displayed answers.
    pub marks: [Vec<Range<usize>>; 2],
}

impl ShownPair {
    fn new(of: Pair) -> ShownPair {
        let shown = [0, 1].map(|side| Clean::block(&of.answers[side]));
        let marks = differences(&shown[0], &shown[1]);
        ShownPair { prompt: Clean::block(&of.prompt), of, shown, marks }
    }
}

/// The state of voting.
#[derive(Debug, Default)]
pub struct Voting {
    /// Whether it has the keys.
    pub open: bool,
    /// The pair to vote on.
    pub pair: Option<ShownPair>,
    /// When it was first shown.
    pub since: Duration,
    /// Why no pair arrived.
    pub refused: Option<Both>,
    /// The user's own prompt for a pair, apart from that of the chat.
    pub field: Editor,
    /// Whether differences are marked.
    pub marked: bool,
    /// The newest vote.
    pub last: Option<Vote>,
    /// The counts of all votes, once they have arrived.
    pub tally: Option<Tally>,
    /// Agreement with the reward model over the last [`WINDOW`] votes, vote by vote.
    pub agreement: Series,
    /// The newest fit of the reward model to votes.
    pub refit: Option<Refit>,
    /// The vote that is selected to be taken back, by its pair's number; None for the newest.
    pub chosen: Option<u64>,
    /// Pairs already voted on, for taking a vote back.
    earlier: VecDeque<ShownPair>,
    /// The pair that was on the screen when a vote was taken back.
    aside: Option<ShownPair>,
}

impl Voting {
    /// A pair arrived; while an earlier pair is voted on again, it waits.
    pub fn offer(&mut self, pair: Pair, now: Duration) {
        self.refused = None;
        let pair = ShownPair::new(pair);
        if self.pair.is_some() {
            self.aside = Some(pair);
        } else {
            self.pair = Some(pair);
            self.since = now;
        }
    }

    /// Removes the pair after a vote; returns its number and the seconds it was shown. A waiting pair returns.
    pub fn take(&mut self, now: Duration) -> Option<(u64, f64)> {
        let pair = self.pair.take()?;
        let taken = (pair.of.id, now.saturating_sub(self.since).as_secs_f64());
        self.earlier.push_back(pair);
        if self.earlier.len() > EARLIER {
            self.earlier.pop_front();
        }
        self.pair = self.aside.take();
        self.since = now;
        Some(taken)
    }

    /// Removes the pair without a vote.
    pub fn drop_pair(&mut self, now: Duration) {
        self.pair = self.aside.take();
        self.since = now;
    }

    /// Waits for the pair of the user's own prompt: it comes before the one that was set aside.
    pub fn await_own(&mut self) {
        self.pair = None;
    }

    /// Sets the counts.
    pub fn count(&mut self, tally: Tally) {
        let mut series = Series::default();
        for at in 0..tally.agreed.len() {
            let window = &tally.agreed[(at + 1).saturating_sub(WINDOW)..=at];
            let agreed = window.iter().filter(|a| **a).count();
            series.push(at + 1, agreed as f64 / window.len() as f64);
        }
        self.agreement = series;
        self.tally = Some(tally);
    }

    /// A vote is on disk.
    pub fn voted(&mut self, vote: Vote, tally: Tally) {
        self.count(tally);
        self.last = Some(vote);
    }

    /// The newest vote was taken back: its pair, if still known, can be voted on again.
    pub fn unvoted(&mut self, number: u64, tally: Tally, now: Duration) {
        self.chosen = None;
        self.count(tally);
        self.last.take_if(|l| l.pair.id == number);
        if let Some(at) = self.earlier.iter().position(|p| p.of.id == number)
            && let Some(pair) = self.earlier.remove(at)
        {
            self.aside = self.pair.replace(pair);
            self.since = now;
        }
    }

    /// The vote that would be taken back.
    pub fn to_undo(&self) -> Option<&Vote> {
        let cast = &self.tally.as_ref()?.cast;
        cast.iter().find(|v| Some(v.pair.id) == self.chosen).or(cast.last())
    }

    /// Selects an older vote (−1) or a newer one (1) to be taken back.
    pub fn choose(&mut self, by: isize) {
        let Some(tally) = &self.tally else { return };
        let newest = tally.cast.len().saturating_sub(1);
        let at = tally.cast.iter().position(|v| Some(v.pair.id) == self.chosen).unwrap_or(newest);
        let to = at.saturating_add_signed(by).min(newest);
        self.chosen = tally.cast.get(to).filter(|_| to < newest).map(|v| v.pair.id);
    }

    /// Whether there is a vote to take back.
    pub fn has_votes(&self) -> bool {
        self.tally.as_ref().is_some_and(|t| t.decided + t.ties + t.both_bad + t.skipped > 0)
    }

    /// Whether an answer of the current pair is being rewritten.
    pub fn edits(&self, chat: &Chat) -> bool {
        let target = chat.edit.as_ref().filter(|e| e.open).map(|e| e.target);
        target.is_some() && target == self.pair.as_ref().map(|p| Target::Pair(p.of.id))
    }

    /// The prompt of pair `number` with a corrected answer, if it is the current pair.
    pub fn demonstration(&self, number: u64, text: &str) -> Option<Vec<Turn>> {
        let pair = self.pair.as_ref().filter(|p| p.of.id == number)?;
        let turn = |role, content: &str| Turn::new(role, content);
        Some(vec![turn(Role::User, &pair.of.prompt), turn(Role::Assistant, text)])
    }

    /// Discards the pair, when the trainer ends or switches stages.
    pub fn forget(&mut self) {
        (self.pair, self.aside, self.refused) = (None, None, None);
        self.earlier.clear();
    }

    /// Closes voting and forgets its pairs.
    pub fn close(&mut self) {
        self.open = false;
        self.forget();
    }
}

/// Whether a share is further from half than chance gives in one of twenty cases (two-sided normal approximation of the
/// binomial with Yates's correction).
pub fn leans(count: usize, of: usize) -> bool {
    let (count, of) = (count as f64, of as f64);
    (count - of / 2.0).abs() - 0.5 > 1.96 * of.sqrt() / 2.0
}

/// The differences of two texts: everything outside a longest common subsequence of characters. Beyond a limit on the
/// length everything counts as different.
pub(super) fn differences(a: &str, b: &str) -> [Vec<Range<usize>>; 2] {
    let chars = |text: &str| -> Vec<(usize, char)> { text.char_indices().take(COMPARED).collect() };
    let (left, right) = (chars(a), chars(b));
    let wide = right.len() + 1;
    // Lengths of the longest common subsequences of the suffixes from (i, j).
    let mut longest = vec![0_u16; (left.len() + 1) * wide];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            longest[i * wide + j] = if left[i].1 == right[j].1 {
                longest[(i + 1) * wide + j + 1] + 1
            } else {
                longest[(i + 1) * wide + j].max(longest[i * wide + j + 1])
            };
        }
    }
    let mut marks = [Vec::new(), Vec::new()];
    let mut mark = |side: usize, from: usize, to: usize| match marks[side].last_mut() {
        Some(Range { end, .. }) if *end == from => *end = to,
        _ if from < to => marks[side].push(from..to),
        _ => {}
    };
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        let ((at_a, of_a), (at_b, of_b)) = (left[i], right[j]);
        if of_a == of_b {
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * wide + j] >= longest[i * wide + j + 1] {
            mark(0, at_a, at_a + of_a.len_utf8());
            i += 1;
        } else {
            mark(1, at_b, at_b + of_b.len_utf8());
            j += 1;
        }
    }
    // The remainders, compared or not.
    let from = |chars: &[(usize, char)], at: usize| match chars.get(at) {
        Some(c) => c.0,
        None => chars.last().map_or(0, |c| c.0 + c.1.len_utf8()),
    };
    let (from_a, from_b) = (from(&left, i), from(&right, j));
    mark(0, from_a, a.len());
    mark(1, from_b, b.len());
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(a: &str, b: &str) -> (Vec<String>, Vec<String>) {
        let [left, right] = differences(a, b);
        (left.into_iter().map(|r| a[r].to_owned()).collect(), right.into_iter().map(|r| b[r].to_owned()).collect())
    }

    fn texts(marked: &[&str]) -> Vec<String> {
        marked.iter().map(|m| (*m).to_owned()).collect()
    }

    #[test]
    fn what_only_one_answer_has_is_marked() {
        assert_eq!(marked("西湖、灵隐寺。", "西湖、千岛湖。"), (texts(&["灵隐寺"]), texts(&["千岛湖"])));
        assert_eq!(marked("一样", "一样"), (vec![], vec![]));
        assert_eq!(marked("", "全新"), (vec![], texts(&["全新"])));
        assert_eq!(marked("abcd", "abXcd!"), (vec![], texts(&["X", "!"])));
        let (left, right) = marked(&"花".repeat(COMPARED), &format!("{}落", "花".repeat(COMPARED)));
        assert_eq!((left.len(), right), (0, texts(&["落"])));
    }

    #[test]
    fn agreement_is_counted_over_a_window() {
        let mut voting = Voting::default();
        let agreed = (0..40).map(|at| at >= 20).collect();
        voting.count(Tally { agreed, decided: 40, ..Tally::default() });
        assert_eq!(voting.agreement.last(), Some((40, 20.0 / 25.0)));
        assert!(voting.has_votes());
    }

    #[test]
    fn a_preference_is_shown_only_if_chance_is_unlikely() {
        for (count, of, expected) in
            [(0, 0, false), (4, 4, false), (6, 10, false), (9, 10, true), (58, 100, false), (61, 100, true)]
        {
            assert_eq!(leans(count, of), expected, "{count} of {of}");
        }
    }
}
