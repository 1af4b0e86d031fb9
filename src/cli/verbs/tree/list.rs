//! `danlu runs`: the runs of ./runs with their checkpoints.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{figure, size};
use crate::{
    cli::{Common, Outcome, output},
    protocol::{TreeCheckpoint, TreeProbe, TreeRun, fork_parents},
    store::{RUNS, RealFs},
    train::tree::{Survey, survey},
    ui::Lang,
};

/// The runs of ./runs and their checkpoints: lineage, what was changed, held-out figures, the newest probe, bytes
#[derive(Args)]
pub(in crate::cli) struct Runs {
    /// The folder of the runs
    #[arg(long, default_value = RUNS)]
    dir: PathBuf,
    /// One JSON object a line and checkpoint
    #[arg(long)]
    json: bool,
}

impl Runs {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        let Survey { runs: all, unread } = survey(&RealFs::shared(), &self.dir)?;
        if self.json {
            for run in &all {
                for (at, checkpoint) in run.checkpoints.iter().enumerate() {
                    let newest = at + 1 == run.checkpoints.len();
                    let probe = newest.then(|| newest_probe(run)).flatten();
                    output::json(&Listed { checkpoint, probe });
                }
            }
        } else if all.is_empty() {
            let none = match common.language() {
                Lang::Zh => "没有 run",
                Lang::En => "no runs in",
            };
            output::text(&format!("{none} {}", self.dir.display()));
        } else {
            let (parents, mut text) = (fork_parents(&all), String::new());
            for run in (0..all.len()).filter(|run| parents[*run].is_none()) {
                tree((&all, &parents), run, 0, common.language(), &mut text);
            }
            output::lines(&text);
        }
        for run in &all {
            run.errors.iter().for_each(|error| output::note(&format!("{}: {error}", run.run)));
        }
        for why in &unread {
            output::note(why);
        }
        Ok(())
    }
}

/// A checkpoint as JSON; the run's newest one with the run's probe.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    checkpoint: &'a TreeCheckpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<&'a TreeProbe>,
}

/// The newest completion of the prompt that was once completed best.
fn newest_probe(run: &TreeRun) -> Option<&TreeProbe> {
    let best = run.probes.iter().max_by_key(|probe| (probe.matched * 1000 / probe.length.max(1), probe.step))?;
    run.probes.iter().rfind(|other| other.prompt == best.prompt)
}

/// A run, its checkpoints, and below them its forks.
fn tree((all, parents): (&[TreeRun], &[Option<usize>]), at: usize, depth: usize, lang: Lang, text: &mut String) {
    let run = &all[at];
    let indent = "  ".repeat(depth);
    let (forked, used) = match lang {
        Lang::Zh => ("分叉自", "使用中，进程"),
        Lang::En => ("forked from", "in use by process"),
    };
    let mut head = format!("{indent}{}  {}  {}  {}", run.run, run.size, run.engine, size(run.bytes));
    if let Some(fork) = &run.fork {
        // As it is called now.
        let parent = parents[at].map_or(&fork.run, |parent| &all[parent].run);
        head.extend(["  ", forked, " ", parent, " ", &fork.checkpoint]);
    }
    if let Some(pid) = run.used_by {
        head.extend(["  ", used, " ", &pid.to_string()]);
    }
    text.push_str(&(head + "\n"));
    if !run.changed.is_empty() {
        text.extend([&indent, "    ", &run.changed.join(", "), "\n"]);
    }
    for checkpoint in &run.checkpoints {
        text.extend([&indent, "  ", &line(checkpoint, &run.engine, lang), "\n"]);
    }
    if let Some(newest) = newest_probe(run) {
        let (prompt, said) = (&newest.prompt, &newest.text);
        let score = format!("{}/{}", newest.matched, newest.length);
        text.extend([&indent, "    ", prompt, " ", said, "  ", &score, "\n"]);
    }
    for fork in (0..all.len()).filter(|other| parents[*other] == Some(at)) {
        tree((all, parents), fork, depth + 2, lang, text);
    }
}

/// A checkpoint in one line; what trained it if that is another engine than the run's newest.
fn line(c: &TreeCheckpoint, engine: &str, lang: Lang) -> String {
    let words = match lang {
        Lang::Zh => ["最好", "固定", "来自", "被用于", "训练："],
        Lang::En => ["best", "pinned", "from", "needed by", "trained by "],
    };
    let mut all = vec![format!("{:<24}", c.checkpoint), format!("{:>10}", size(c.bytes))];
    if c.figure.is_some() {
        all.push(format!("{} {}", c.metric, figure(c.figure)));
    }
    if c.best {
        all.push(words[0].to_owned());
    }
    if c.pinned {
        all.push(words[1].to_owned());
    }
    all.extend(c.parent.as_ref().map(|parent| format!("{} {}", words[2], name(parent))));
    if !c.engine.is_empty() && c.engine != engine {
        all.push(format!("{}{}", words[4], c.engine));
    }
    if !c.needed_by.is_empty() {
        all.push(format!("{} {}", words[3], c.needed_by.join(", ")));
    }
    all.extend(c.error.clone());
    all.join("  ")
}

/// The last part of a path: the name of a checkpoint, or of a folder outside the run.
fn name(parent: &str) -> String {
    Path::new(parent).file_name().map_or_else(|| parent.to_owned(), |name| name.to_string_lossy().into_owned())
}
