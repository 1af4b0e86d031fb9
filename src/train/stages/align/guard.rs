//! The guard: detects reward hacking by signals that the policy never learns from.
//!
//! When a policy hacks its reward, the reward rises while answers degenerate: they repeat themselves, become alike, do
//! not end, or move far from the original model. These are measured on each update's answers and compared with the
//! values at the start of the stage. No reward and no rule is used here.

use crate::{
    data::{Indicators, indicators},
    train::{config::GuardSettings, run::checkpoint::GuardState},
};

/// The guard of a stage.
pub(crate) struct Guard {
    plan: GuardSettings,
    pub state: GuardState,
}

/// The guard's result for one update.
pub(crate) struct Seen {
    /// Under the names in metrics.jsonl.
    pub figures: Vec<(&'static str, f64)>,
    /// Why the stage should stop.
    pub verdict: Option<String>,
}

impl Guard {
    pub(crate) fn new(plan: GuardSettings, state: Option<GuardState>) -> Guard {
        Guard { plan, state: state.unwrap_or_default() }
    }

    /// Measures the answers of one update, each with whether it ended, and their mean KL in nats.
    pub(crate) fn look(&mut self, answers: &[(String, bool)], kl: f64) -> Seen {
        let now = indicators(answers);
        let start = *self.state.start.get_or_insert((now.distinct2, now.repetition, now.length, now.end_rate));
        let faults = self.faults(&now, kl, start);
        self.state.strikes = if faults.is_empty() { 0 } else { self.state.strikes + 1 };
        let figures = vec![
            ("guard/distinct2", now.distinct2),
            ("guard/repetition", now.repetition),
            ("guard/length", now.length),
            ("guard/end_rate", now.end_rate),
            ("guard/strikes", self.state.strikes as f64),
        ];
        let out = self.plan.enabled && self.state.strikes >= self.plan.patience;
        let times = self.state.strikes;
        let verdict = out.then(|| format!("{} ({times} updates in a row out of bounds)", faults.join("; ")));
        Seen { figures, verdict }
    }

    fn faults(&self, now: &Indicators, kl: f64, start: (f64, f64, f64, f64)) -> Vec<String> {
        let (p, (distinct2, repetition, length, end_rate)) = (&self.plan, start);
        let mut faults = Vec::new();
        let mut fault = |out: bool, words: String| {
            if out {
                faults.push(words);
            }
        };
        fault(
            now.distinct2 < p.distinct2 * distinct2,
            format!("the answers became alike: distinct-2 is {:.3}, at the start {distinct2:.3}", now.distinct2),
        );
        fault(
            now.repetition > repetition + p.repetition,
            format!(
                "the answers repeat themselves: {:.3} of their character pairs, at the start {repetition:.3}",
                now.repetition
            ),
        );
        fault(
            now.end_rate < p.end_rate * end_rate,
            format!(
                "the answers no longer end: {:.1} % do, at the start {:.1} %",
                100.0 * now.end_rate,
                100.0 * end_rate
            ),
        );
        fault(
            now.length > p.length * length.max(1.0) || now.length * p.length < length,
            format!("the answers have {:.1} characters, at the start {length:.1}", now.length),
        );
        fault(
            kl.is_nan() || kl.abs() > p.kl,
            format!("the policy collapsed: KL from the reference is {kl:.1} nats per answer"),
        );
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::RunConfig;

    fn plan() -> GuardSettings {
        RunConfig::default().guard_settings()
    }

    /// Ten answers without anything in common.
    fn varied() -> Vec<(String, bool)> {
        let answer = |i: u32| (0..8).filter_map(|j| char::from_u32(0x4E00 + 8 * i + j)).collect::<String>();
        (0..10).map(|i| (answer(i), true)).collect()
    }

    fn after_a_start(answers: &[(String, bool)], kl: f64) -> Vec<Option<String>> {
        let mut guard = Guard::new(plan(), None);
        assert_eq!(guard.look(&varied(), 0.0).verdict, None);
        (0..2).map(|_| guard.look(answers, kl).verdict).collect()
    }

    #[test]
    fn each_way_to_collapse_is_named_at_its_second_sight() {
        let one = |text: &str, ended: bool| vec![(text.to_owned(), ended); 10];
        let some = |ended: usize| -> Vec<_> {
            varied().into_iter().enumerate().map(|(i, (text, _))| (text, i < ended)).collect()
        };
        let cases = [
            (one("春眠不觉晓处处闻", true), 1.0, "became alike"),
            (one("好好好好好好好好", true), 1.0, "repeat themselves"),
            (some(4), 1.0, "no longer end"),
            (one("好", true), 1.0, "have 1.0 characters"),
            (one(&"春眠不觉".repeat(7), true), 1.0, "have 28.0 characters"),
            (varied(), 41.0, "collapsed"),
            (varied(), f64::NAN, "collapsed"),
        ];
        for (answers, kl, words) in cases {
            let verdicts = after_a_start(&answers, kl);
            assert_eq!(verdicts[0], None, "{words}");
            assert!(verdicts[1].as_ref().is_some_and(|v| v.contains(words)), "{words}: {verdicts:?}");
        }
        assert_eq!(after_a_start(&some(5), 39.0), [None, None], "at the bounds it is quiet");
    }

    #[test]
    fn a_good_update_resets_the_count() {
        let bad = vec![("好".repeat(8), true); 10];
        let mut guard = Guard::new(plan(), None);
        for answers in [varied(), bad.clone(), varied(), bad.clone()] {
            assert_eq!(guard.look(&answers, 0.0).verdict, None);
        }
        // The state is restored: the next guard stops where this one would.
        let mut next = Guard::new(plan(), Some(guard.state));
        assert!(next.look(&bad, 0.0).verdict.is_some());
        let mut off = Guard::new(GuardSettings { enabled: false, ..plan() }, Some(guard.state));
        let seen = off.look(&bad, 0.0);
        assert!(seen.verdict.is_none() && seen.figures.contains(&("guard/strikes", 2.0)));
    }
}
