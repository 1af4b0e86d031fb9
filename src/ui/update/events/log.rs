//! The words of the log: what the trainer's events say, now and in earlier launches.

use crate::{
    base::StageId,
    protocol::{Event, Follows, Watching},
    ui::{
        state::{Both, Level, feedback},
        strings::{self, Lang, Tr},
        text::bytes,
    },
};

/// The step that an event is about; of several steps, the first that was skipped.
pub(super) fn step(event: &Event) -> Option<usize> {
    match event {
        Event::Steps(steps) => steps.iter().find(|s| !s.applied).map(|s| s.step),
        Event::Watching(Watching { state: Follows::Over { step, .. }, .. }) => Some(*step),
        event => event.step(),
    }
}

/// The lines of an event, each with its kind. Refusals are the affair of what was requested.
pub(super) fn lines(stage: Option<StageId>, event: &Event) -> Vec<(Level, Both)> {
    let one = |level: Level, words: &dyn Fn(Lang) -> String| vec![(level, Both::new(words))];
    let at = |step: usize, what: Tr| move |lang: Lang| format!("{}  {}", strings::at_step(lang, step), what.get(lang));
    let labelled = |what: Tr, text: &str| {
        let text = text.to_owned();
        move |lang: Lang| strings::labelled(lang, what, &strings::trainer(lang, &text))
    };
    match event {
        Event::Started(info) => one(Level::State, &|lang| {
            let name = stage.map_or_else(String::new, |stage| strings::stage(stage, lang));
            let mut text = format!("{}  {name}", strings::LOG_STARTED.get(lang));
            if info.resumed_at > 0 {
                let step = strings::at_step(lang, info.resumed_at);
                text.extend(["  ", strings::LOG_RESUMED_AT.get(lang), " ", &step]);
            }
            text
        }),
        Event::Steps(steps) => {
            let skipped = steps.iter().filter(|s| !s.applied);
            skipped.flat_map(|s| one(Level::Alert, &at(s.step, strings::LOG_SKIPPED))).collect()
        }
        Event::Reward(r) => {
            one(Level::Note, &|lang| strings::reward_figures(lang, r.step, 100.0 * r.accuracy, 100.0 * r.by_length))
        }
        Event::Policy(p) if p.task == feedback::ALL => {
            one(Level::Note, &|lang| strings::policy_figures(lang, p.step, p.true_score, p.reward, p.kl))
        }
        Event::SanityChecks { checks, .. } => {
            let failed = checks.iter().filter(|l| !l.holds);
            let words = failed.map(|l| format!("{}  {:.2e} > {:.0e}", l.name, l.value, l.bound));
            words.map(|text| (Level::Alert, Both::same(&text))).collect()
        }
        Event::Guarded { reason, .. } => one(Level::Alert, &labelled(strings::GUARDED, reason)),
        Event::SetBack { step, until, factor, reason, .. } => {
            one(Level::Alert, &|lang| strings::set_back(lang, *step, *until, *factor, &strings::trainer(lang, reason)))
        }
        Event::Refitted(r) => one(Level::Note, &|lang| {
            let (before, after) = (100.0 * r.agreement.0, 100.0 * r.agreement.1);
            strings::refitted(lang, r.version, r.votes, before, after, r.seconds)
        }),
        Event::Unvoted { .. } => vec![(Level::Note, strings::LOG_UNVOTED.into())],
        Event::Edited(e) => {
            one(Level::Edit, &|lang| strings::edited(lang, e.step, e.cause, &e.text, e.seconds, e.replayed))
        }
        Event::Broken { text, .. } => one(Level::Alert, &labelled(strings::BROKEN, text)),
        Event::Paused { step } => one(Level::State, &at(*step, strings::LOG_PAUSED)),
        Event::Resumed { step } => one(Level::State, &at(*step, strings::LOG_RESUMED)),
        Event::Watching(Watching { state: Follows::Over { step, reason, failed }, .. }) => {
            lines(stage, &Event::Finished { step: *step, reason: reason.clone(), failed: *failed, seconds: 0.0 })
        }
        Event::Saved { path, seconds, bytes: n, best, .. } => {
            // The run's own folder need not be named.
            let parts: Vec<_> = path.iter().rev().take(2).collect();
            let inside: std::path::PathBuf = parts.into_iter().rev().collect();
            one(Level::Save, &|lang| {
                let mark = if *best { strings::LOG_BEST.get(lang) } else { "" };
                // Of a checkpoint of another trainer the time may be unknown.
                let took = if seconds.is_finite() { format!("  {seconds:.1} s") } else { String::new() };
                format!("{}  {}{took}{mark}", inside.display(), bytes(*n))
            })
        }
        Event::EndedEarly { step, best, figure, evaluations } => {
            one(Level::State, &|lang| strings::ended_early(lang, *step, *best, *figure, *evaluations))
        }
        Event::SaveFailed { error, .. } => one(Level::Alert, &labelled(strings::LOG_SAVE_FAILED, error)),
        Event::StoreFailed { error, .. } => one(Level::Alert, &labelled(strings::LOG_STORE_FAILED, error)),
        Event::Note { text, .. } => vec![(Level::Note, Both::trainer(text))],
        Event::Demonstrated { step, count } => one(Level::Note, &|lang| strings::demonstrated(lang, *count, *step)),
        Event::Finished { step, reason, .. } if reason == "switched" => {
            one(Level::State, &at(*step, strings::LOG_SWITCHED))
        }
        Event::Finished { step, reason, failed, .. } => {
            one(if *failed { Level::Alert } else { Level::State }, &|lang| {
                let words = strings::end_reason(reason).map(|r| r.get(lang).to_owned());
                let words = words.unwrap_or_else(|| strings::trainer(lang, reason));
                let words = strings::labelled(lang, strings::LOG_FINISHED, &words);
                format!("{}  {words}", strings::at_step(lang, *step))
            })
        }
        _ => Vec::new(),
    }
}
