//! Up to four runs side by side: settings that differ, held-out figures, probes.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{config, settings, survey_run};
use crate::{
    base::{StageId, StageName},
    protocol::{BestOf, Comparison, Differing, SameProbe, SameStep, TreeCurve, TreeRun},
    store::RunView,
    train::{error::TrainError, run::best::figure_of},
};

/// Most runs that are compared at a time.
pub const MOST_COMPARED: usize = 4;

/// Compares runs.
///
/// # Errors
/// If there are too few or too many, or one's run.toml cannot be read.
pub fn compare(views: &[RunView]) -> Result<Comparison, TrainError> {
    if views.len() < 2 || views.len() > MOST_COMPARED {
        return Err(TrainError::Input(format!(
            "{} runs are given; expected 2 to {MOST_COMPARED} to compare",
            views.len()
        )));
    }
    let runs: Vec<TreeRun> = views.iter().map(survey_run).collect();
    let mut columns = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    for view in views {
        let all = settings(&config(view)?);
        keys.extend(all.iter().filter(|s| !keys.contains(&s.key)).map(|s| s.key.clone()).collect::<Vec<_>>());
        columns.push(all.into_iter().map(|s| (s.key, s.value)).collect::<BTreeMap<_, _>>());
    }
    let rows = keys.into_iter().map(|key| {
        let values: Vec<Option<String>> = columns.iter().map(|column| column.get(&key).cloned().flatten()).collect();
        Differing { key, values }
    });
    let settings = rows.filter(|row| row.values.iter().any(|value| *value != row.values[0])).collect();
    Ok(Comparison {
        settings,
        figures: same_steps(&runs),
        best: best(&runs),
        probes: probes(&runs),
        runs: runs.into_iter().map(|run| run.run).collect(),
    })
}

fn curve<'r>(run: &'r TreeRun, stage: &StageName) -> Option<&'r TreeCurve> {
    run.curves.iter().find(|curve| curve.stage == *stage && !curve.points.is_empty())
}

/// The stages of which any run has a figure.
fn stages(runs: &[TreeRun]) -> Vec<StageName> {
    let all = StageId::ALL.into_iter().map(StageName::from);
    all.filter(|stage| runs.iter().any(|run| curve(run, stage).is_some())).collect()
}

/// The figures at steps that at least two runs have.
fn same_steps(runs: &[TreeRun]) -> Vec<SameStep> {
    let mut rows = Vec::new();
    for stage in stages(runs) {
        let curves: Vec<Option<&TreeCurve>> = runs.iter().map(|run| curve(run, &stage)).collect();
        let steps: BTreeSet<u64> =
            curves.iter().flatten().flat_map(|c| c.points.iter().map(|(step, _)| *step)).collect();
        for step in steps {
            let at = |curve: &TreeCurve| curve.points.iter().find(|(of, _)| *of == step).map(|(_, figure)| *figure);
            let values: Vec<Option<f64>> = curves.iter().map(|curve| curve.and_then(at)).collect();
            if values.iter().flatten().count() > 1 {
                let metric = curves.iter().flatten().next().map_or("", |curve| curve.metric);
                rows.push(SameStep { stage: stage.clone(), metric, step, values });
            }
        }
    }
    rows
}

/// The best figure of every stage after its first step: the one before it is its parent's.
fn best(runs: &[TreeRun]) -> Vec<BestOf> {
    let rows = stages(runs).into_iter().map(|stage| {
        let known = StageId::ALL.into_iter().find(|s| stage == *s);
        let (metric, higher) = known.map_or(("", false), figure_of);
        let order = |a: &&(u64, f64), b: &&(u64, f64)| if higher { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) };
        let top = |run: &TreeRun| {
            let of = curve(run, &stage)?;
            of.points.iter().filter(|(step, _)| *step > 0).min_by(order).copied()
        };
        let values = runs.iter().map(top).collect();
        BestOf { stage, metric, values }
    });
    rows.collect()
}

/// The newest completion of every probe that any run was asked, by the furthest stage that completed it.
fn probes(runs: &[TreeRun]) -> Vec<SameProbe> {
    let mut prompts: Vec<&String> = Vec::new();
    for probe in runs.iter().flat_map(|run| &run.probes) {
        if !prompts.contains(&&probe.prompt) {
            prompts.push(&probe.prompt);
        }
    }
    let of = |run: &TreeRun, prompt: &String| run.probes.iter().rfind(|probe| probe.prompt == *prompt).cloned();
    let rows = prompts
        .into_iter()
        .map(|prompt| SameProbe { prompt: prompt.clone(), values: runs.iter().map(|run| of(run, prompt)).collect() });
    rows.collect()
}
