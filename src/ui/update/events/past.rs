//! Takes in what the run's files hold of earlier launches: curves, scores, probes, changes and the log.

use super::{super::data, log, measured::measured};
use crate::{
    protocol::{Event, Line, Past, RunInfo, StagePast},
    ui::{
        state::{AppState, Both, Level, LogLine, Phase, Stage, refusal},
        strings,
    },
};

/// The past replaces what was known of its stages.
pub(super) fn on_past(state: &mut AppState, past: Past) {
    if state.is_read_only() && !state.is_watched() {
        // All of a replay is there: no step follows.
        state.stages.live_mut().phase = Phase::Paused;
    }
    let live = state.live();
    let (live, info) = (live.id, live.run.as_ref().map(|r| r.info.clone()).unwrap_or_default());
    let mut recalls = Vec::new();
    for StagePast { stage: id, steps, events } in past.stages {
        let Some(stage) = state.stages.find_mut(id) else { continue };
        stage.forget();
        for step in steps {
            stage.add_step(step);
        }
        for line in events {
            let probed = match &line.record {
                Event::Probe { recall: true, prompt, .. } => Some((line.time, prompt.clone())),
                _ => None,
            };
            take(stage, line, if live == Some(id) { None } else { Some(&info) });
            let recalled = probed.and_then(|(at, prompt)| Some((at, recalled(stage, &prompt)?)));
            recalls.extend(recalled.map(|(at, (step, text))| LogLine {
                at,
                level: Level::Recall,
                place: Some((id, step)),
                text,
            }));
        }
    }
    let Some(lines) = past.log else { return };
    // The launch's own first lines are among them.
    state.log.clear();
    state.log_chosen = None;
    let mut recalls = recalls.into_iter().peekable();
    for Line { stage, time, record } in lines {
        let earlier = |line: &LogLine| line.at.zip(time).is_some_and(|(at, time)| at < time);
        while let Some(line) = recalls.next_if(earlier) {
            state.log_line(line);
        }
        let words = match &record {
            Event::Refused { text } => vec![(Level::Alert, refusal(&Both::trainer(text)))],
            event => log::lines(Some(stage), event),
        };
        let place = log::step(&record).map(|step| (stage, step));
        for (level, text) in words {
            state.log_line(LogLine { at: time, level, place, text });
        }
        if let Event::Refitted(refit) = record {
            state.voting.refit = Some(refit);
        }
    }
    recalls.for_each(|line| state.log_line(line));
}

/// The step of a probe's newest completion and what the log says of it, if it is the first that recalled everything.
pub(super) fn recalled(stage: &Stage, prompt: &str) -> Option<(usize, Both)> {
    let probe = stage.probe_of(prompt)?;
    let entry = probe.entries.last().filter(|entry| probe.came_true(entry))?;
    let (prompt, step) = (&probe.prompt, entry.step);
    Some((step, Both::new(|lang| strings::came_true(lang, prompt, step))))
}

/// Adds an event to a stage; `live` is the running stage's description if that is another one.
fn take(stage: &mut Stage, line: Line<Event>, live: Option<&RunInfo>) {
    match (line.record, live) {
        (Event::Started(_), None) => {}
        // What the log leaves out is the same in all stages of a run.
        (Event::Started(info), Some(live)) => stage.describe(RunInfo {
            path: live.path.clone(),
            stage: line.stage,
            vocab_size: live.vocab_size,
            layers: live.layers,
            hidden_size: live.hidden_size,
            heads: live.heads,
            chat: line.stage.chat(),
            ..*info
        }),
        (Event::Edited(edit), None) => stage.note_edit(&edit, line.time),
        (Event::Edited(edit), Some(_)) => stage.edit_before(&edit, line.time),
        (Event::Broken { step, text }, _) => data::on_broken(stage, line.time, step, &text),
        (event, _) => drop(measured(stage, event)),
    }
}
