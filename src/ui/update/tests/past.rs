//! What earlier launches left: curves, scores, changes and the log of every stage.

use super::{vote::feedback_info, *};
use crate::{
    protocol::{Cause, Edit, Line, Past, SourceInfo, StagePast, TaskReport},
    ui::state::LogLine,
};

fn source(name: &str, weight: f64) -> SourceInfo {
    SourceInfo { name: name.to_owned(), weight, documents: 9, tokens: 90, held_out_tokens: 9 }
}

fn edited(step: usize, text: &str) -> Event {
    Event::Edited(Box::new(Edit {
        step,
        cause: Cause::Key,
        text: text.to_owned(),
        sources: vec![source("tang", 0.75), source("guwen", 0.25)],
        learning_rate: 1e-3,
        batch: 0,
        seconds: None,
        replayed: false,
    }))
}

fn lines(stage: StageId, events: Vec<Event>) -> Vec<Line<Event>> {
    events.into_iter().enumerate().map(|(at, e)| Line::at(100.0 + at as f64, stage, e)).collect()
}

/// A launch of pretraining, then one of fine-tuning, as the logs have them.
fn past() -> Past {
    let began = Event::Started(Box::new(RunInfo {
        steps: 100,
        sources: vec![source("tang", 0.5), source("guwen", 0.5)],
        ..RunInfo::default()
    }));
    let eval = |source: &str| Event::Eval {
        step: 9,
        source: source.to_owned(),
        eval_loss: 5.0,
        eval_bits_per_byte: 2.0,
        train_loss: Some(4.0),
        sampled_loss: None,
    };
    let probe = Event::Probe {
        step: 9,
        task: None,
        prompt: "春眠不觉晓，".to_owned(),
        text: "处处".to_owned(),
        expected: "处处闻啼鸟。".to_owned(),
        matched: 2,
        length: 6,
        recall: true,
        lines: Vec::new(),
    };
    let school = vec![began, eval("tang"), eval("all"), probe, edited(4, "tang 50 % → 75 %")];
    let task = Event::Task(TaskReport { step: 5, task: "qa".to_owned(), exact_match: 0.5, ..TaskReport::default() });
    let log = [
        lines(Pretrain, vec![edited(4, "tang 50 % → 75 %"), Event::Paused { step: 10 }]),
        lines(Sft, vec![Event::Resumed { step: 5 }, Event::Refused { text: "no".to_owned() }]),
    ];
    Past {
        stages: vec![
            StagePast {
                stage: Pretrain,
                steps: (1..=10).map(|at| step(at, 5.0)).collect(),
                events: lines(Pretrain, school),
            },
            StagePast { stage: Sft, steps: (1..=5).map(|at| step(at, 3.0)).collect(), events: lines(Sft, vec![task]) },
        ],
        log: Some(log.concat()),
    }
}

#[test]
fn every_stage_shows_what_its_files_hold() {
    let mut state = started_with(RunInfo { resumed_at: 5, layers: 4, ..feedback_info(Sft) });
    event(&mut state, Event::Past(Box::new(past())));
    let live = state.live();
    assert_eq!((live.id, live.steps_done(), live.loss.last()), (Some(Sft), 5, Some((5, 3.0))));
    assert_eq!(live.tasks[0].newest.as_ref().map(|n| n.exact_match), Some(0.5));
    assert!(!live.stepped, "no step of this launch");
    press(&mut state, &[Key::char('2')]);
    let school = state.shown();
    assert_eq!((school.id, school.steps_done(), school.valid.last()), (Some(Pretrain), 10, Some((9, 5.0))));
    assert_eq!((school.probes.len(), school.probes[0].entries[0].score), (1, 2));
    assert_eq!(school.changes.iter().map(|c| (c.step, c.at)).collect::<Vec<_>>(), [(4, Some(104.0))]);
    let run = school.run.as_ref().expect("a run");
    assert_eq!((run.info.steps, run.info.layers, run.sources[0].weight), (100, 4, 0.75));
    assert_eq!((run.sources[0].valid.last(), run.sources[0].edited), (Some((9, 5.0)), None));
    let log: Vec<_> = state.log.iter().map(|l| (l.at, l.text.get(Lang::En).as_str())).collect();
    assert_eq!(log.len(), 4, "{log:?}");
    assert_eq!(log[0], (Some(100.0), "tang 50 % -> 75 %  from step 4  key"));
    assert_eq!(log[3].1, "rejected: no");
}

/// The past of a stage that starts again replaces what the screen had of it.
#[test]
fn nothing_is_shown_twice() {
    let mut state = started_with(RunInfo { resumed_at: 5, ..feedback_info(Sft) });
    event(&mut state, Event::Past(Box::new(past())));
    event(&mut state, Event::Steps(vec![step(6, 2.0)]));
    event(&mut state, Event::Started(Box::new(RunInfo { resumed_at: 6, ..feedback_info(Sft) })));
    let mut again = past();
    (again.stages, again.log) = (vec![again.stages.swap_remove(1)], None);
    again.stages[0].steps.push(step(6, 2.0));
    event(&mut state, Event::Past(Box::new(again)));
    let live = state.live();
    assert_eq!(live.loss.buckets().iter().map(|b| b.count).collect::<Vec<_>>(), [1; 6]);
    assert_eq!((live.tasks.len(), live.tasks[0].before.as_ref()), (1, None));
    assert_eq!(state.log.len(), 5, "the log continues");
}

#[test]
fn what_was_said_follows_the_language() {
    let mut state = started_with(RunInfo { resumed_at: 5, ..feedback_info(Sft) });
    event(&mut state, Event::Past(Box::new(past())));
    press(&mut state, &[Key::char('b')]);
    let notice = |state: &AppState| state.notice.as_ref().map(|n| n.0.get(state.lang).to_string());
    assert_eq!(notice(&state).as_deref(), Some("同时由基座回答"));
    state.lang = Lang::En;
    assert_eq!(notice(&state).as_deref(), Some("base also answers"));
    assert_eq!(state.log[1].text.get(Lang::Zh).as_str(), "第 10 步  已暂停");
    assert_eq!(state.log[1].text.get(state.lang).as_str(), "step 10  paused");
}

#[test]
fn only_the_sources_that_a_change_names_are_marked() {
    let mut state = started_with(RunInfo {
        sources: vec![source("tang", 0.5), source("guwen", 0.25), source("wiki", 0.25)],
        ..info(Pretrain)
    });
    let mut edit = edited(2, "tang 50 % → 60 %");
    if let Event::Edited(edit) = &mut edit {
        edit.sources =
            vec![source("tang", 0.6), source("guwen", 0.2), SourceInfo { tokens: 91, ..source("wiki", 0.2) }];
    }
    event(&mut state, edit);
    let marked = |state: &AppState| -> Vec<bool> {
        state.live().run.iter().flat_map(|r| &r.sources).map(|s| s.edited.is_some()).collect()
    };
    assert_eq!(marked(&state), [true, false, true], "the second only follows; the third has other text");
}

/// A poem that was recalled whole in an earlier launch is in the log again, once, where it belongs.
#[test]
fn the_first_whole_recall_is_in_the_log_after_a_restart() {
    let mut past = past();
    let whole = |step: usize| Event::Probe {
        step,
        task: None,
        prompt: "春眠不觉晓，".to_owned(),
        text: "处处闻啼鸟。".to_owned(),
        expected: "处处闻啼鸟。".to_owned(),
        matched: 6,
        length: 6,
        recall: true,
        lines: Vec::new(),
    };
    past.stages[0].events.extend([whole(10), whole(11)].map(|event| Line::at(100.5, Pretrain, event)));
    let mut state = started_with(RunInfo { resumed_at: 5, ..feedback_info(Sft) });
    for _ in 0..2 {
        event(&mut state, Event::Past(Box::new(past.clone())));
        let found: Vec<(usize, &LogLine)> =
            state.log.iter().enumerate().filter(|(_, line)| line.level == Level::Recall).collect();
        let [(1, line)] = found[..] else { panic!("{:?}", state.log) };
        assert_eq!((line.at, line.place), (Some(100.5), Some((Pretrain, 10))));
        assert!(line.text.get(Lang::Zh).contains("背出来了"), "{line:?}");
    }
}

/// The lines of a film have the times of the training, those of its user the time of the day.
#[test]
fn what_a_film_shows_has_its_own_time() {
    let mut state = started_with(RunInfo { read_only: true, ..info(Pretrain) });
    let newest = |state: &AppState| state.log.back().and_then(|line| line.at);
    event(&mut state, Event::Clock(Some(1234.5)));
    event(&mut state, Event::Note { step: 3, text: "a note".to_owned() });
    event(&mut state, Event::Finished { step: 3, reason: "done".to_owned(), failed: false, seconds: 1.0 });
    event(&mut state, Event::Clock(None));
    assert_eq!(newest(&state), Some(1234.5));
    let end = state.log.back().map(|line| line.text.get(Lang::En).to_string()).unwrap_or_default();
    assert!(end.contains("done") && !state.is_finished(), "{end}: the film continues");
    state.refuse(Both::same("a refusal"));
    assert_eq!(newest(&state), Some(state.time()));
}
