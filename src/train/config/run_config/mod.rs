//! `run.toml` as a whole: its tables, parsing, and checks across tables.

#[cfg(test)]
mod numbers;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};

use super::{
    account::AccountConfig,
    guard::GuardOverrides,
    issue::{ConfigIssue, wrong},
    model::{ModelOverrides, SamplingOverrides},
    quality::QualityConfig,
    source::{self, ProbeConfig, SourceConfig, Splits},
    stages::{StageOverrides, StageTables, VoteFit},
    start::Start,
    table::{self, Key, Kind, Site, Value, choice, keys},
};
use crate::{base::StageId, compute::Precision, data::TurnText, nn::preset, store::Watching};

/// `[reward] vote_negative_slope` of new runs. Measured (docs/results.md): 0.1 to 0.5 order pairs never voted on about
/// equally well; with a small one a taste is weak between good answers, and a policy follows it less.
const NEGATIVE_SLOPE: f64 = 0.3;

/// The tokenizer that a run trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// One token per character, bytes for the rest.
    #[default]
    Char,
    /// Byte-level byte-pair encoding trained on the run's text.
    Bpe,
}

/// The chat template of a run that begins from a model of elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatFormat {
    /// The model's own, where its folder has one that can be used.
    #[default]
    Own,
    /// danlu's.
    Danlu,
}

choice!(TokenizerKind: "char" | "bpe");
choice!(ChatFormat: "own" | "danlu");
choice!(TurnText: "tidy" | "as-written");
choice!(Watching: "auto" | "poll" | "off");
choice!(Precision: "auto" | "f32" | "f16");

/// The whole of `run.toml`. [`RunConfig::parse`] refuses unknown keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// `auto` or the name of a preset.
    #[serde(default = "auto")]
    pub size: String,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// The type of activations and operands.
    #[serde(default, skip_serializing_if = "source::is_default")]
    pub precision: Precision,
    /// The tokenizer to train.
    #[serde(default)]
    pub tokenizer: TokenizerKind,
    /// The chat template of a run that begins from outside weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatFormat>,
    /// How the text of turns is read; see [`RunConfig::turns`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<TurnText>,
    /// What the names of files below a source's path mean; see [`RunConfig::splits`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<Splits>,
    /// The data; empty for the built-in corpus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<SourceConfig>,
    /// Weights of built-in sources by name; the others keep theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mix: BTreeMap<String, f64>,
    /// How files and run.toml are watched for changes while a stage runs.
    #[serde(default, skip_serializing_if = "source::is_default")]
    pub watch: Watching,
    /// The classifier for sources with `quality = true`.
    #[serde(default, skip_serializing_if = "source::is_default")]
    pub quality: QualityConfig,
    /// The folder that relative paths of sources start from, relative to the run's folder; without it that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The probes; empty for 春晓.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probe: Vec<ProbeConfig>,
    /// Overrides of the model.
    #[serde(default)]
    pub model: ModelOverrides,
    /// Overrides of the stages.
    #[serde(flatten)]
    pub stages: StageTables,
    /// Overrides of the guard.
    #[serde(default)]
    pub guard: GuardOverrides,
    /// Overrides of sampling.
    #[serde(default)]
    pub sampling: SamplingOverrides,
    /// What the machine draws and costs.
    #[serde(default, skip_serializing_if = "source::is_default")]
    pub account: AccountConfig,
}

fn auto() -> String {
    "auto".to_owned()
}

impl RunConfig {
    /// Parses `run.toml` and applies `--set` pairs to it.
    ///
    /// The key of a pair is a path (`pretrain.steps`, `model.dropout`, `seed`); one without a dot that is not a
    /// top-level key belongs to `stage`.
    pub fn parse(text: &str, sets: &[(String, String)], stage: StageId) -> Result<RunConfig, ConfigIssue> {
        RunConfig::parse_for(text, sets, stage, |_| Ok(()))
    }

    /// The same, with `check` on the result. An error that the text alone does not have is attributed to the pair that
    /// causes it.
    pub fn parse_for(
        text: &str,
        sets: &[(String, String)],
        stage: StageId,
        check: impl Fn(&RunConfig) -> Result<(), ConfigIssue>,
    ) -> Result<RunConfig, ConfigIssue> {
        let read = |sets: &[(String, String)]| {
            let config = RunConfig::read(text, sets, stage)?;
            check(&config).map(|()| config)
        };
        let issue = match read(sets) {
            Ok(config) => return Ok(config),
            Err(issue) => issue,
        };
        // Set the size first, because other defaults depend on it.
        let mut ordered = sets.to_vec();
        ordered.sort_by_key(|(key, _)| key != "size");
        let sets = ordered.as_slice();
        let Some(wrong) = (0..sets.len()).find(|n| read(&sets[..*n]).is_ok() && read(&sets[..=*n]).is_err()) else {
            return Err(issue);
        };
        let (key, value) = &sets[wrong];
        let what = read(&sets[..=wrong]).err().unwrap_or(issue).what();
        let option = match key.as_str() {
            "size" | "seed" | "precision" => format!("--{key} {}", value.trim_matches('"')),
            _ => format!("--set {key}={value}"),
        };
        Err(ConfigIssue::Option { option, what })
    }

    fn read(text: &str, sets: &[(String, String)], stage: StageId) -> Result<RunConfig, ConfigIssue> {
        let mut table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| ConfigIssue::File(trim(&e.to_string())))?;
        for (key, value) in sets {
            set(&mut table, key, value, stage)?;
        }
        table::check(&table, RunConfig::keys(), "")?;
        let config: RunConfig =
            table.try_into().map_err(|e: toml::de::Error| ConfigIssue::File(trim(&e.to_string())))?;
        config.check()?;
        Ok(config)
    }

    /// The folder that relative paths of sources start from, for the run in `dir`.
    pub fn root(&self, dir: &Path) -> PathBuf {
        self.root.as_ref().map_or_else(|| dir.to_owned(), |root| dir.join(root))
    }

    /// What the names of files below a source's path mean. A run that does not say was begun by an earlier version,
    /// which trained on all files.
    pub fn splits(&self) -> Splits {
        self.splits.unwrap_or_default()
    }

    /// Sets the keys that a new run has and a run of an earlier version lacks, so that the latter continues as it began.
    /// `start`: where the held-out loss has risen before a stage's end, the next one begins from the lowest. `splits`:
    /// files named as a held-out split are one. `vote_fit`: votes teach a taste beside the reward model.
    /// `vote_negative_slope`: a taste counts more where the network finds both answers bad.
    pub(in crate::train) fn begin(&mut self) {
        self.splits.get_or_insert(Splits::ByName);
        for stage in StageId::ALL.into_iter().filter(|stage| stage.parent().is_some()) {
            self.stage_mut(stage).start.get_or_insert(Start::Best);
        }
        let reward = self.stage_mut(StageId::Reward);
        reward.vote_fit.get_or_insert(VoteFit::Taste);
        reward.vote_negative_slope.get_or_insert(NEGATIVE_SLOPE);
    }

    /// Whether a model from elsewhere keeps its own chat template.
    pub fn keeps_chat(&self) -> bool {
        self.chat.unwrap_or_default() == ChatFormat::Own
    }

    /// How the text of conversations and pairs is read. A run that does not say was begun by an earlier version, or in
    /// danlu's template.
    pub fn turns(&self) -> TurnText {
        self.turns.unwrap_or_default()
    }

    /// Whether a source has a relative path.
    pub fn names_relative_paths(&self) -> bool {
        let of_stages = StageId::ALL.into_iter().flat_map(|stage| &self.stage(stage).source);
        self.source.iter().chain(of_stages).any(|source| Path::new(&source.path).is_relative())
    }

    /// The weight of a text source in run.toml.
    pub fn weight(&self, name: &str) -> Option<f64> {
        let own = self.source.iter().find(|s| s.name == name).map(|s| s.weight);
        own.or_else(|| self.mix.get(name).copied())
    }

    const FIRST_KEYS: &'static [Key] = keys! {
        size: Kind::Text, = auto(),
            "size of the model: `auto` (chosen by a short benchmark), `1m`, `5m`, `12m`, `27m`, `124m`",
            "模型大小：`auto`（跑一次短基准来选）、`1m`、`5m`、`12m`、`27m`、`124m`";
        seed: Kind::Count, = 0_usize, "seed of everything random", "所有随机数的种子";
        precision: Precision::KIND, = Precision::default(),
            "type of activations and products: `f32`, `f16` (an error where the adapter has none), or `auto`: that of the stage's checkpoint; in a new run f16 where the adapter's matrix units pass the check at the start, else f32",
            "激活和矩阵乘的数据类型：`f32`、`f16`（显卡不支持则报错），或 `auto`：沿用该阶段检查点的；新的 run 里，若显卡的矩阵单元通过启动时的校验则用 f16，否则用 f32";
        tokenizer: TokenizerKind::KIND, = TokenizerKind::default(),
            "`char`: one token per character, words of Latin letters merged; `bpe`: byte-level BPE trained on the run's text",
            "`char`：一个字符一个词元，拉丁字母的词合并；`bpe`：用这个 run 的文本训练的字节级 BPE";
        chat: ChatFormat::KIND, = ChatFormat::Own,
            "chat template of a run that begins with `--from`: `own`, that of the model's folder where it can be used; `danlu`, whose tokens are added to the vocabulary",
            "用 `--from` 开始的 run 的对话模板：`own` 为模型目录自带的模板（能用的话）；`danlu` 为 danlu 的模板，词表会加上它的词元";
        turns: TurnText::KIND, = TurnText::default(),
            "text of conversations and pairs: `as-written`, which a new run gets whose model keeps its own chat template: with empty system turns and `\\r\\n`; `tidy`: an empty system turn is none and `\\r\\n` becomes `\\n`",
            "对话和偏好对的文本：`as-written` 原样保留空的 system 消息和 `\\r\\n`（沿用模型自带对话模板的新 run 会写上它）；`tidy` 去掉空的 system 消息，`\\r\\n` 改成 `\\n`";
        watch: Watching::KIND, = Watching::default(),
            "how files and run.toml are watched during training: `auto`, `poll` (every second), `off`",
            "训练时怎样监听数据文件和 run.toml：`auto`、`poll`（每秒查一次）、`off`";
        mix: Kind::Weights,
            "weights of the built-in sources by name, when there is no `[[source]]`",
            "自带数据源的权重（按名字），没有 `[[source]]` 时有效";
        root: Kind::Text,
            "folder that relative paths of sources start from, itself relative to the run's folder; a fork names its parent here",
            "数据源相对路径的起点，本身相对于 run 目录；分叉出来的 run 在这里写它的来源";
        splits: Splits::KIND, = Splits::Off,
            "`by-name`, which a new run gets: files and folders below a source's path that are named validation, valid, val, dev or test are held out and never trained on, and data cards, licences and hidden files are not read; `off`: all files are read and trained on",
            "`by-name`（新的 run 会写上它）：数据源路径下名为 validation、valid、val、dev、test 的文件和目录只用来评测，不参与训练；数据卡、许可证和隐藏文件不读；`off`：所有文件都读、都训练";
        source: Kind::Tables(SourceConfig::KEYS),
            "pretraining text; without it the built-in corpus", "预训练文本；不写则用自带语料";
        probe: Kind::Tables(ProbeConfig::KEYS),
            "prompts completed again and again; without it the built-in ones", "反复续写的提示词；不写则用自带的";
        quality: Kind::Table(QualityConfig::KEYS), "the quality classifier", "质量分类器";
        model: Kind::Table(ModelOverrides::KEYS), "overrides of the size", "覆盖所选大小的结构";
    };

    const LAST_KEYS: &'static [Key] = keys! {
        guard: Kind::Table(GuardOverrides::KEYS),
            "when a stage is stopped: the first seven keys concern PPO, DPO and GRPO, the others every stage",
            "何时停止一个阶段：前七项只对 PPO、DPO、GRPO，其余对每个阶段";
        sampling: Kind::Table(SamplingOverrides::KEYS), "answers to the user's prompts", "怎样回答用户的提示词";
        account: Kind::Table(AccountConfig::KEYS),
            "power and price of the machine, for `danlu estimate --run`", "机器的功率和价格，供 `danlu estimate --run`";
    };

    /// The top-level keys of run.toml, including tables.
    pub fn keys() -> &'static [Key] {
        static ALL: LazyLock<Vec<Key>> = LazyLock::new(|| {
            let table = |stage: StageId| Key::new(stage.name(), Kind::Table(StageOverrides::KEYS), stage.about());
            [RunConfig::FIRST_KEYS, &StageId::ALL.map(table), RunConfig::LAST_KEYS].concat()
        });
        &ALL
    }

    /// Whether a key is a top-level key of run.toml.
    pub fn is_top_level(key: &str) -> bool {
        RunConfig::keys().iter().any(|k| k.name == key)
    }

    /// What the defaults of a stage's keys depend on.
    pub(super) fn site(&self, stage: StageId) -> Site<'_> {
        let site = Site { size: &self.size, stage, positions: 0 };
        Site { positions: self.model.max_position_embeddings(site), ..site }
    }

    /// The table of a stage.
    pub fn stage(&self, stage: StageId) -> &StageOverrides {
        self.stages.of(stage)
    }

    /// The table of a stage, mutable.
    pub fn stage_mut(&mut self, stage: StageId) -> &mut StageOverrides {
        self.stages.of_mut(stage)
    }

    /// The text of a `run.toml`.
    pub fn to_toml(&self) -> Result<String, ConfigIssue> {
        toml::to_string(self).map_err(|e| ConfigIssue::File(e.to_string()))
    }

    fn check(&self) -> Result<(), ConfigIssue> {
        if self.size != "auto" {
            preset(&self.size).map_err(|e| ConfigIssue::File(e.to_string()))?;
        }
        source::check("source", &self.source)?;
        source::check_mix(&self.mix, &self.source)?;
        self.quality.check(&self.source)?;
        for p in &self.probe {
            p.check()?;
        }
        for stage in StageId::ALL {
            let table = self.stage(stage);
            source::check(&format!("{stage}.source"), &table.source)?;
            for p in &table.probe {
                p.check()?;
                if p.recall {
                    return wrong(format!("recall is a key of [[probe]], not of [[{stage}.probe]]"));
                }
            }
            table.check(self.site(stage))?;
        }
        Ok(())
    }
}

/// Applies one `--set` pair; a value that is not TOML is taken as a string.
fn set(table: &mut toml::Table, key: &str, value: &str, stage: StageId) -> Result<(), ConfigIssue> {
    let path: Vec<&str> = if key.contains('.') || RunConfig::is_top_level(key) {
        key.split('.').collect()
    } else {
        vec![stage.name(), key]
    };
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let parsed = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let Some((last, folders)) = path.split_last() else { return wrong(format!("--set {key:?} is not a key")) };
    let mut at = table;
    for folder in folders {
        let entry = at.entry((*folder).to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(inner) = entry else { return wrong(format!("--set {key}: {folder} is not a table")) };
        at = inner;
    }
    at.insert((*last).to_owned(), parsed);
    Ok(())
}

/// The TOML error as one line, without the excerpt below it.
fn trim(message: &str) -> String {
    message.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('|')).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parse(text: &str, sets: &[(&str, &str)]) -> Result<RunConfig, ConfigIssue> {
        let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        RunConfig::parse(text, &sets, StageId::Pretrain)
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let c = parse("", &[("size", "1m")]).unwrap();
        assert_eq!(c.plan(StageId::Pretrain).unwrap().steps, 1200);
        assert_eq!(c.model().unwrap(), preset("1m").unwrap().config());
    }

    #[test]
    fn pairs_override_the_file() {
        let c =
            parse("size = \"1m\"\n[pretrain]\nsteps = 5\n", &[("steps", "9"), ("model.dropout", "0.1"), ("seed", "3")])
                .unwrap();
        assert_eq!((c.plan(StageId::Pretrain).unwrap().steps, c.model().unwrap().dropout, c.seed), (9, 0.1, 3));
    }

    #[test]
    fn mistakes_name_the_nearest_key() {
        let error = parse("[pretrain]\nlerning_rate = 1.0\n", &[]).unwrap_err().to_string();
        assert!(error.contains("learning_rate") && !error.contains(", pretrain"), "{error}");
        let error = parse("", &[("model.hiden_size", "3")]).unwrap_err().to_string();
        assert!(error.contains("hidden_size"), "{error}");
        for bad in [
            "size = \"9m\"",
            "seed = \"x\"",
            "[pretrain]\nsteps = 0",
            "[pretrain]\nadam_beta1 = 2.0",
            "[[source]]\nname = \"a\"\npath = \"x\"\nweight = -1.0",
            "size = ",
        ] {
            parse(bad, &[]).unwrap_err();
        }
    }

    #[test]
    fn errors_of_an_option_name_the_option() {
        for (text, sets, blamed) in [
            ("", &[("batch_size", "0")][..], "--set batch_size=0: pretrain.batch_size is 0"),
            (
                "size = \"1m\"",
                &[("seed", "3"), ("model.dropout", "2"), ("steps", "4")],
                "--set model.dropout=2: model.dropout is 2",
            ),
            ("", &[("size", "9m")], "--size 9m: config: there is no size"),
            ("", &[("context", "9999")], "--set context=9999: pretrain.context is 9999"),
            ("", &[("nonsense", "1")], "--set nonsense=1: unknown key"),
            ("[pretrain]\nbatch_size = 0", &[("seed", "3")], "run.toml: pretrain.batch_size is 0"),
            ("[pretrain]\ncontext = 9999", &[("seed", "3")], "run.toml: pretrain.context is 9999"),
        ] {
            let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let whole = |c: &RunConfig| {
                let settled =
                    RunConfig { size: if c.size == "auto" { "1m".to_owned() } else { c.size.clone() }, ..c.clone() };
                settled.model().and_then(|_| settled.plan(StageId::Pretrain).map(drop))
            };
            let error = RunConfig::parse_for(text, &sets, StageId::Pretrain, whole).unwrap_err().to_string();
            assert!(error.starts_with(blamed), "{error}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let c = parse("size = \"1m\"\n[[source]]\nname = \"a\"\npath = \"x\"\n[model]\ndropout = 0.5\n", &[]).unwrap();
        assert_eq!(parse(&c.to_toml().unwrap(), &[]).unwrap(), c);
    }
}
