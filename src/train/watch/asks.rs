//! The probes of a stage.

use crate::{
    base::{StageId, StageKind},
    data::{CHAT_PROBES, PROBES},
    train::config::RunConfig,
};

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) task: Option<String>,
    pub(super) prompt: String,
    pub(super) expected: String,
    pub(super) recall: bool,
    /// Whether it is asked in the chat template.
    pub(super) chat: bool,
}

/// The probes of a stage: those of run.toml, else the built-in ones. `foreign`: nothing is known of the text that it is
/// trained on.
pub(super) fn asks(config: Option<&RunConfig>, stage: StageId, foreign: bool) -> Vec<Ask> {
    let ask = |task: Option<&str>, prompt: &str, expected: &str, recall: bool, chat: bool| Ask {
        task: task.map(str::to_owned),
        prompt: prompt.to_owned(),
        expected: expected.to_owned(),
        recall: recall && !foreign,
        chat,
    };
    let mut all = Vec::new();
    let kind = stage.kind();
    if matches!(kind, StageKind::Text | StageKind::Answers) {
        match config.map(|c| c.probe.as_slice()).filter(|own| !own.is_empty()) {
            Some(own) => all.extend(own.iter().map(|p| ask(None, &p.prompt, &p.expected, p.recall, false))),
            None => all.extend(PROBES.iter().map(|p| ask(None, p.prompt, p.expected, p.recall, false))),
        }
    }
    if matches!(kind, StageKind::Answers | StageKind::Policy | StageKind::Pairs) {
        let sft = config.map(|c| c.stage(StageId::Sft));
        match sft {
            Some(sft) if !sft.probe.is_empty() => {
                all.extend(sft.probe.iter().map(|p| ask(None, &p.prompt, &p.expected, false, true)));
            }
            Some(sft) if !sft.source.is_empty() => {}
            _ => all.extend(CHAT_PROBES.iter().map(|p| ask(Some(p.task), p.prompt, p.expected, false, true))),
        }
    }
    all
}
