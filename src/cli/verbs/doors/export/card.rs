//! The model card: what the model is, from which data with which licences, how it was trained, its figures.

use std::{collections::BTreeMap, path::Path};

use crate::{
    base::StageId,
    cli::Failure,
    protocol::{Event, Line, RunInfo},
    store::{RealFs, RunView, contents, each_record},
    train::{
        TrainError,
        config::{RunConfig, SourceConfig, UNKNOWN},
        export::{BUILTIN_LICENCE, is_builtin, state},
    },
    ui::{
        Lang,
        strings::Tr,
        text::{figure, grouped, percent},
    },
};

/// What a run's logs say of its stages: the last of each.
#[derive(Default)]
struct Logged {
    starts: BTreeMap<StageId, RunInfo>,
    evals: BTreeMap<(StageId, String), (usize, f64, f64)>,
    tasks: BTreeMap<(StageId, String), (usize, f64)>,
}

impl Logged {
    fn read(view: &RunView) -> Result<Logged, TrainError> {
        let mut all = Logged::default();
        each_record(&RealFs, &view.events_path(), |record| {
            let Some(Line { stage, record, .. }) = Line::<Event>::read(record) else { return };
            match record {
                Event::Started(info) => drop(all.starts.insert(stage, *info)),
                Event::Eval { step, source, eval_loss, eval_bits_per_byte, .. } => {
                    all.evals.insert((stage, source), (step, eval_loss, eval_bits_per_byte));
                }
                Event::Task(task) => drop(all.tasks.insert((stage, task.task), (task.step, task.exact_match))),
                _ => {}
            }
        })?;
        Ok(all)
    }
}

/// The card of the checkpoint (or model) in `dir`.
pub(super) fn card(dir: &Path, run: Option<&Path>, name: &str, lang: Lang) -> Result<String, Failure> {
    let say = |zh, en| Tr(zh, en).get(lang);
    let parameters = contents(&RealFs, dir).map_err(TrainError::from)?.parameters();
    let state = state(dir)?;
    let stage = state["stage"].as_str().unwrap_or_default();
    let line = line_of(stage.parse().ok());
    let mut text =
        String::from("---\nlicense: unknown\nlanguage:\n- zh\n- en\nlibrary_name: transformers\ntags:\n- danlu\n");
    text.push_str(if stage == "reward" {
        "pipeline_tag: text-classification\n---\n"
    } else {
        "pipeline_tag: text-generation\n---\n"
    });
    text.extend([format!("\n# {}\n\n", escaped(name))]);
    text.extend([match lang {
        Lang::Zh => format!("{} 个参数的 Llama 结构模型，由 danlu（丹炉）写出。\n", grouped(parameters)),
        Lang::En => format!("A model in Llama's layout with {} parameters, written by danlu.\n", grouped(parameters)),
    }]);
    let number = |key: &str| state[key].as_u64().map(grouped);
    if let (false, Some(step), Some(tokens)) = (stage.is_empty(), number("step"), number("total_tokens")) {
        let parent = state["parent"].as_str().map(escaped);
        text.extend([format!("\n## {}\n\n", say("训练", "Training"))]);
        text.extend([match lang {
            Lang::Zh => format!("- 阶段：{stage}，第 {step} 步，{tokens} 个词元，种子 {}\n", state["seed"]),
            Lang::En => format!("- stage: {stage}, step {step}, {tokens} tokens, seed {}\n", state["seed"]),
        }]);
        if let Some(parent) = parent {
            text.extend([format!("- {}: {parent}\n", say("起点", "started from"))]);
        }
    }
    let Some(run) = run else { return Ok(text) };
    let view = RunView::open(RealFs::shared(), run).map_err(TrainError::from)?;
    let mut logged = Logged::read(&view)?;
    logged.starts.retain(|stage, _| line.contains(stage));
    logged.evals.retain(|(stage, _), _| line.contains(stage));
    logged.tasks.retain(|(stage, _), _| line.contains(stage));
    let config = view.config().map_err(TrainError::from)?;
    let settings = RunConfig::parse(&config, &[], StageId::Pretrain).map_err(TrainError::from)?;
    if !logged.starts.is_empty() {
        text.extend([format!("\n## {}\n\n", say("数据", "Data"))]);
        text.push_str(say(
            "| 阶段 | 来源 | 权重 | 文档 | 词元 | 许可 | 网址 |\n",
            "| stage | source | weight | documents | tokens | licence | url |\n",
        ));
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for (stage, info) in &logged.starts {
            let written = |name: &str| {
                let sources = settings.source.iter().chain(&settings.stage(*stage).source);
                sources.into_iter().find(|s| s.name == name).map(SourceConfig::origin)
            };
            for s in info.sources.iter().filter(|s| s.weight > 0.0) {
                // A name that run.toml lacks is built in, or a source of an earlier run.toml.
                let builtin = if is_builtin(&settings, *stage) { BUILTIN_LICENCE } else { UNKNOWN };
                let [licence, url] = written(&s.name).unwrap_or([builtin, UNKNOWN]).map(escaped);
                let weight = percent(s.weight);
                let (documents, tokens) = (grouped(s.documents as u64), grouped(s.tokens as u64));
                text.extend([format!(
                    "| {stage} | {} | {weight} | {documents} | {tokens} | {licence} | {url} |\n",
                    escaped(&s.name)
                )]);
            }
        }
    }
    if !logged.evals.is_empty() || !logged.tasks.is_empty() {
        text.extend([format!("\n## {}\n\n", say("留出数据上的数字", "Figures on held-out data"))]);
        text.push_str(say("| 阶段 | 数据 | 步 | 数字 |\n", "| stage | data | step | figure |\n"));
        text.push_str("| --- | --- | --- | --- |\n");
        for ((stage, source), (step, loss, bits)) in &logged.evals {
            let figures = format!("eval_loss {}, eval_bits_per_byte {}", figure(*loss), figure(*bits));
            text.extend([format!("| {stage} | {} | {step} | {figures} |\n", escaped(source))]);
        }
        for ((stage, task), (step, share)) in &logged.tasks {
            text.extend([format!("| {stage} | {} | {step} | exact_match {} |\n", escaped(task), percent(*share))]);
        }
    }
    text.extend([format!("\n## {}\n\n```toml\n", say("配方：run.toml", "Recipe: run.toml"))]);
    // A fence inside the file would end the block.
    text.push_str(config.replace("```", "'''").trim_end());
    text.push_str("\n```\n");
    Ok(crate::base::clean::block(&text))
}

/// The stages that made a model: its own, the one it started from, and so on, and those that these needed.
fn line_of(stage: Option<StageId>) -> Vec<StageId> {
    let mut line: Vec<StageId> = stage.into_iter().collect();
    let mut at = 0;
    while at < line.len() {
        let more = line[at].parent().into_iter().chain(line[at].needs());
        line.extend(more.collect::<Vec<_>>());
        at += 1;
    }
    line
}

/// A name in a table or heading of Markdown.
fn escaped(name: &str) -> String {
    let plain = crate::base::clean::line(name);
    plain.replace('\\', "\\\\").replace('|', "\\|").replace('`', "\\`").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_about_the_stages_that_made_the_model() {
        assert_eq!(line_of(Some(StageId::Sft)), [StageId::Sft, StageId::Pretrain]);
        assert!(line_of(Some(StageId::Ppo)).contains(&StageId::Reward));
        assert!(!line_of(Some(StageId::Dpo)).contains(&StageId::Reward));
        assert!(line_of(None).is_empty());
    }

    #[test]
    fn names_cannot_break_a_table() {
        assert_eq!(escaped("a|b`c\n<d>"), "a\\|b\\`c␊&lt;d>");
    }
}
