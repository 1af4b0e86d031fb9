//! `[pretrain]`, `[sft]`, `[reward]`, `[ppo]`, `[dpo]`, `[grpo]`: one table; each stage has a subset of its keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    issue::{ConfigIssue, wrong},
    source::{ProbeConfig, SourceConfig},
    start::Start,
    table::{Site, choice, table},
};
use crate::{
    base::StageId::{self, Dpo, Grpo, Ppo, Pretrain, Reward, Sft},
    data::MOST_TOKENS,
    nn::{AdamW, ScheduleKind},
};

/// The objective of the reward model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewardMode {
    /// The score at the answer's last token, compared pair by pair.
    #[default]
    Standard,
    /// The scores at all tokens of the answer, as in LLMBook's code 8.1 (corrected).
    Book,
}

/// What votes train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VoteFit {
    /// A head on plain features of the answers beside the network, fitted again from all votes, as strong as held-out
    /// pairs allow.
    Taste,
    /// The same, as strong as training pairs allow.
    Head,
    /// The network, in further steps; runs of earlier versions have no such key.
    #[default]
    Network,
}

/// How GRPO reduces token losses to a number (TRL's `loss_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over the tokens of each answer, then over answers: as published.
    Grpo,
    /// Mean over all tokens (Yu et al. 2025).
    Dapo,
    /// Sum over tokens divided by answers × longest possible answer (Liu et al. 2025).
    DrGrpo,
}

choice!(ScheduleKind: "wsd" | "cosine" | "constant");
choice!(RewardMode: "standard" | "book");
choice!(VoteFit: "taste" | "head" | "network");
choice!(LossType: "grpo" | "dapo" | "dr_grpo");

// Defaults are measured (docs/performance.md). Pretraining: after 1.2 to 1.4 million tokens the built-in corpus is
// learned but not yet memorised; sizes from 27m are for user text. Fine-tuning for many epochs on few sentences
// generalises better with more weight decay. Feedback stages use small learning rates and, like PyTorch's trainers, a
// larger ε and no decay. A policy can be ruined within a few updates, so checkpoints are frequent. PPO at `1m`, over
// three seeds: two passes are as good as four and keep answers more diverse; with the pretraining term answers are as
// good and more diverse. DPO's β is twice TRL's, because a tenth of the built-in labels are wrong.
table! {
    /// The settings of a stage that override the defaults of its size. Names are Hugging Face's and TRL's.
    StageOverrides => StageSettings {
        steps: usize [Pretrain Sft Reward Ppo Dpo Grpo], ONE, = |_, v| v.sized(match v.stage {
            Pretrain => [1200, 350, 350, 3000, 5000],
            Sft => [1600, 1200, 600, 1000, 1000],
            Reward => [200; 5],
            Ppo => [24, 20, 20, 20, 20],
            Dpo => [150; 5],
            Grpo => [15, 20, 20, 20, 20],
        }), "optimizer steps; of ppo and grpo updates", "优化步数；ppo 和 grpo 为更新次数";
        batch_size: usize [Pretrain Sft Reward Dpo], ONE, = |_, v| v.sized(match v.stage {
            Pretrain => [16, 32, 16, 32, 16],
            Sft => [6, 8, 16, 32, 16],
            Reward | Dpo => [32; 5],
            Ppo | Grpo => [8; 5],
        }), "rows of a micro-batch; of reward and dpo pairs of a step", "每个微批次的行数；reward 和 dpo 为每步的偏好对数";
        gradient_accumulation_steps: usize [Pretrain Sft Reward], ONE, = |_, _| 1,
            "micro-batches of a step", "每步的微批次数";
        // Rows of feedback stages hold one exchange each; a model with a shorter context uses that.
        context: usize [Pretrain Sft Reward], ONE, = |_, v| match v.stage {
            Pretrain => v.sized([64, 128, 256, 512, 1024]),
            Sft => v.sized([128, 128, 256, 512, 1024]),
            Reward | Ppo | Dpo | Grpo => {
                v.sized([128, 128, 128, 256, 256]).min(v.positions)
            }
        }, "tokens of a row", "每行的词元数";
        learning_rate: f64 [Pretrain Sft Reward Ppo Dpo Grpo], ANY, = |_, v| v.sized(match v.stage {
            Pretrain => [3e-3, 2e-3, 1e-3, 6e-4, 6e-4],
            Sft => [3e-3, 2e-3, 1e-3, 3e-4, 1e-4],
            Reward => [6e-4, 3e-4, 3e-4, 1e-4, 1e-4],
            Ppo | Grpo => [1e-4, 5e-5, 5e-5, 2e-5, 2e-5],
            Dpo => [5e-5, 2e-5, 2e-5, 5e-6, 5e-6],
        }), "peak learning rate; of ppo the policy's", "学习率峰值；ppo 为策略的学习率";
        lr_scheduler_type: ScheduleKind [Pretrain Sft Reward], ANY,
            = |_, v| if v.stage.aligns() { ScheduleKind::Constant } else { ScheduleKind::Wsd },
            "`wsd` (warm-up, stable, decay), `cosine` or `constant`", "`wsd`（预热、平稳、衰减）、`cosine` 或 `constant`";
        warmup_steps: usize [Pretrain Sft Reward], ANY,
            = |t, v| if v.stage.aligns() { 0 } else { (t.steps(v) / 40).clamp(1, 200) },
            "steps of warm-up; by default a fortieth of the steps, 1 to 200", "预热步数；默认为步数的 1/40，1 到 200";
        decay_steps: usize [Pretrain Sft Reward], ANY,
            = |t, v| t.steps(v) / if v.stage.chat() { 2 } else { 5 },
            "steps of decay at the end (`wsd`); by default a fifth of the steps (pretrain) or half of them",
            "末尾衰减的步数（`wsd`）；默认为步数的 1/5（pretrain）或 1/2";
        weight_decay: f32 [Pretrain Sft Reward], ANY, = |_, v| match v.stage {
            Pretrain => AdamW::default().weight_decay,
            Sft => 0.3,
            Reward | Ppo | Dpo | Grpo => 0.0,
        }, "AdamW's weight decay", "AdamW 的权重衰减";
        adam_beta1: f32 [Pretrain Sft Reward], FRACTION, = |_, _| AdamW::default().beta1, "β₁ of AdamW", "AdamW 的 β₁";
        adam_beta2: f32 [Pretrain Sft Reward], FRACTION, = |_, _| AdamW::default().beta2, "β₂ of AdamW", "AdamW 的 β₂";
        // AdamW divides by it where a gradient was always 0.
        adam_epsilon: f32 [Pretrain Sft Reward], POSITIVE,
            = |_, v| if v.stage.draws_text() { AdamW::default().eps } else { 1e-5 }, "ε of AdamW", "AdamW 的 ε";
        max_grad_norm: f32 [Pretrain Sft Reward Ppo Dpo Grpo], ANY, = |_, _| AdamW::default().clip,
            "gradients are clipped to this norm", "梯度裁剪的范数";
        eval_steps: usize [Pretrain Sft Reward Ppo Dpo Grpo], ANY, = |_, v| v.sized(match v.stage {
            Pretrain => [200, 100, 100, 200, 200],
            Sft => [400, 300, 200, 500, 500],
            Reward | Dpo => [50; 5],
            Ppo => [8, 5, 5, 5, 5],
            Grpo => [5; 5],
        }), "steps between evaluations; 0 for none", "每隔多少步评测；0 为不评测";
        // At steps with an evaluation, so that checkpoints can be compared.
        save_steps: usize [Pretrain Sft Reward Ppo Dpo Grpo], ANY, = |_, v| v.sized(match v.stage {
            Pretrain => [400, 100, 200, 400, 400],
            Sft => [400, 300, 400, 500, 500],
            Reward => [50, 50, 100, 100, 100],
            Ppo => [4, 5, 5, 5, 5],
            Grpo => [5; 5],
            Dpo => [25; 5],
        }), "steps between checkpoints; 0 for the last only", "每隔多少步保存检查点；0 为只存最后一个";
        start: Start [Sft Reward Ppo Dpo Grpo], ANY, = |_, _| Start::Latest,
            "the checkpoint of its parent that the stage begins from: `best` (the best held-out figure), `latest`, or a step",
            "从上一阶段的哪个检查点开始：`best`（留出集指标最好的）、`latest`（最新的），或某一步";
        patience: usize [Pretrain Sft Reward Ppo Dpo Grpo], ANY, = |_, _| 0,
            "end the stage after this many evaluations in a row without a better held-out figure; 0 for never",
            "连续这么多次评测没有更好的留出集指标就提前结束；0 为不提前结束";
        probe_steps: usize [Pretrain Sft Reward], ANY, = |_, v| match v.stage {
            Pretrain | Reward | Dpo => 25,
            Sft => 50,
            Ppo | Grpo => 5,
        }, "steps between probes; 0 for none", "每隔多少步做探针；0 为不做";
        pretrain_share: f64 [Sft], FRACTION, = |_, _| 0.05,
            "share of rows that are pretraining text, against forgetting", "掺入预训练文本的行的比例，防止遗忘";
        by_hand_share: f64 [Sft], FRACTION, = |_, _| 0.1,
            "share of rows given to demonstrations written by hand, once there are any",
            "有手写示范之后，它们所占的行的比例";
        packing: bool [Sft], ANY, = |_, _| true, "put several examples into one row", "一行打包多个样本";
        mode: RewardMode [Reward], ANY, = |_, _| RewardMode::Standard,
            "`standard`: compare the scores at the answers' ends; `book`: LLMBook's code 8.1, corrected",
            "`standard`：比较回答末尾的分数；`book`：《大语言模型》代码 8.1（已更正）";
        lm_coef: f32 [Reward], ANY,
            = |t, v| if t.mode(v) == RewardMode::Book { 1.0 } else { 0.0 },
            "weight of the language-model loss on the chosen answers; by default 1 with `book`",
            "被选回答上语言模型损失的权重；`book` 时默认 1";
        // TRL's documentation suggests 0.01.
        center_rewards_coefficient: f32 [Reward], ANY, = |_, _| 0.01,
            "keeps the mean of the scores near 0", "让分数的均值接近 0";
        // Measured: with 2 the model follows votes hardly better and loses more held-out accuracy.
        vote_weight: f32 [Reward], POSITIVE, = |_, _| 1.0,
            "how many drawn pairs one drawn vote counts for; with `vote_fit = \"network\"`",
            "抽到的一张投票相当于几个偏好对；用于 `vote_fit = \"network\"`";
        // A run without the key is of an earlier version and keeps its way.
        vote_fit: VoteFit [Reward], ANY, = |_, _| VoteFit::Network,
            "what votes train: `taste`, likings of plain features beside the network, as strong as held-out pairs allow; `head`, as training pairs allow; `network`, its weights in further steps. New runs have `taste`",
            "投票训练什么：`taste`，网络旁边、基于文本特征的喜好，强度以留出偏好对为限；`head`，以训练偏好对为限；`network`，再训练几步网络。新 run 为 `taste`";
        vote_negative_slope: f64 [Reward], PART, = |_, _| 1.0,
            "beside a taste, what the network's score counts below the mean of the reference answers, where above it counts 1. New runs have 0.3",
            "有偏好时，网络的分数在参考回答均值以下的部分乘以它，以上的部分不变。新 run 为 0.3";
        rollouts: usize [Ppo Grpo], ONE, = |_, _| 128, "answers drawn for an update", "每次更新采样的回答数";
        num_generations: usize [Grpo], ONE, = |_, _| 8,
            "answers to one prompt, compared with each other", "同一提示词的回答数，彼此比较";
        response_length: usize [Ppo Dpo Grpo], ONE, = |_, _| 40,
            "tokens of an answer, its end included; of dpo of a judged answer",
            "回答的词元数，含结束符；dpo 为评判时的回答";
        self_prompts: f64 [Ppo], SHARE, = |_, _| 0.0,
            "share of the prompts that the policy writes itself", "由策略自己写的提示词的比例";
        value_learning_rate: f64 [Ppo], ANY, = |_, _| 3e-4, "the value net's learning rate", "价值网络的学习率";
        num_ppo_epochs: usize [Ppo], ONE, = |_, _| 2, "passes over an update's answers", "每次更新的轮数";
        num_iterations: usize [Grpo], ONE, = |_, _| 2, "passes over an update's answers", "每次更新的轮数";
        num_mini_batches: usize [Ppo Grpo], ONE, = |_, _| 4, "minibatches of a pass", "每轮的小批次数";
        kl_coef: f64 [Ppo], ANY, = |_, _| 0.25, "β of the KL term in the reward", "奖励里 KL 项的系数 β";
        target_kl: f64 [Ppo], POSITIVE,
            "KL per answer that `kl_coef` adapts to; without it `kl_coef` is fixed",
            "`kl_coef` 自适应的目标 KL（每个回答）；不设则固定";
        max_approx_kl: f64 [Ppo], POSITIVE, = |_, _| 0.1,
            "approximate KL that ends an update early", "近似 KL 超过它就提前结束本次更新";
        ptx_coef: f64 [Ppo], ANY, = |_, _| 0.5,
            "weight of a language-model loss on the run's text and conversations",
            "在 run 的文本和对话上的语言模型损失权重";
        whiten_rewards: bool [Ppo], ANY, = |_, _| false,
            "scale rewards to standard deviation 1", "把奖励缩放到标准差 1";
        cliprange: f32 [Ppo], POSITIVE, = |_, _| 0.2, "ε of the policy's clipping", "策略裁剪的 ε";
        cliprange_value: f32 [Ppo], POSITIVE, = |_, _| 0.2, "ε of the value's clipping", "价值裁剪的 ε";
        gamma: f32 [Ppo], SHARE, = |_, _| 1.0, "discount", "折扣因子";
        lam: f32 [Ppo], SHARE, = |_, _| 0.95, "λ of generalized advantage estimation", "GAE 的 λ";
        beta: f32 [Dpo Grpo], ANY, = |_, v| if v.stage == Grpo { 0.1 } else { 0.2 },
            "β: of dpo the price of leaving the reference, of grpo the KL term in the loss",
            "β：dpo 为偏离参考模型的代价，grpo 为损失里 KL 项的系数";
        label_smoothing: f32 [Dpo], below(0.5), = |_, _| 0.0,
            "assumed share of flipped labels", "假定标反的偏好对的比例";
        epsilon: f32 [Grpo], PART, = |_, _| 0.2, "clipping below 1", "小于 1 一侧的裁剪";
        epsilon_high: f32 [Grpo], POSITIVE, = |t, v| t.epsilon(v),
            "clipping above 1; by default `epsilon`", "大于 1 一侧的裁剪；默认同 `epsilon`";
        loss_type: LossType [Grpo], ANY, = |_, _| LossType::Dapo,
            "what the loss is averaged over: `dapo`, `grpo` or `dr_grpo`", "损失在什么范围内平均：`dapo`、`grpo` 或 `dr_grpo`";
        scale_rewards: bool [Grpo], ANY, = |_, _| true,
            "divide advantages by their group's standard deviation", "优势除以组内标准差";
        missing_eos_penalty: f32 [Ppo Grpo], ANY, = |_, _| 1.5,
            "subtracted from the score of an answer without an end", "回答没有结束符时扣的分";
        value_warmup_steps: usize [Ppo], ANY, = |_, _| 5,
            "updates in which only the value net learns", "只训练价值网络的更新次数";
        + source: SourceConfig [Sft Reward],
            "files of conversations (sft) or preference pairs (reward), each with name, path and weight; empty for the built-in ones",
            "对话（sft）或偏好对（reward）的文件，各有 name、path、weight；不写则用自带数据";
        + probe: ProbeConfig [Sft],
            "questions answered again and again, each with prompt and expected; empty for the built-in ones",
            "反复回答的问题，各有 prompt 和 expected；不写则用自带的";
    }
}

/// One table per stage, in the order of [`StageId::ALL`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageTables([StageOverrides; StageId::ALL.len()]);

impl StageTables {
    /// The table of a stage.
    pub(super) fn of(&self, stage: StageId) -> &StageOverrides {
        &self.0[stage as usize]
    }

    /// The table of a stage, mutable.
    pub(super) fn of_mut(&mut self, stage: StageId) -> &mut StageOverrides {
        &mut self.0[stage as usize]
    }
}

impl Serialize for StageTables {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(StageId::ALL.map(StageId::name).into_iter().zip(&self.0))
    }
}

impl<'de> Deserialize<'de> for StageTables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<StageTables, D::Error> {
        let mut there = BTreeMap::<StageId, StageOverrides>::deserialize(from)?;
        Ok(StageTables(StageId::ALL.map(|stage| there.remove(&stage).unwrap_or_default())))
    }
}

impl StageOverrides {
    /// Whether the table of a stage has this key.
    pub(crate) fn has(key: &str, stage: StageId) -> bool {
        StageOverrides::KEYS.iter().any(|k| k.name == key && k.is_of(Some(stage)))
    }

    /// Checks that involve several keys.
    pub(super) fn check(&self, v: Site<'_>) -> Result<(), ConfigIssue> {
        let stage = v.stage;
        match stage {
            Sft => {
                let (text, hand) = (self.pretrain_share(v), self.by_hand_share(v));
                if text + hand >= 1.0 {
                    return wrong(format!(
                        "sft.pretrain_share {text} and by_hand_share {hand} leave no share for the conversations; their sum must be less than 1"
                    ));
                }
                Ok(())
            }
            Reward if self.gradient_accumulation_steps(v) > 1 => wrong(
                "reward.gradient_accumulation_steps must be 1: batch_size is the number of pairs in a step, split into passes automatically",
            ),
            Dpo if self.beta == Some(0.0) => {
                wrong("dpo.beta is 0; expected more than 0, since with 0 nothing is learned")
            }
            Ppo | Grpo => self.check_update(v),
            Pretrain | Reward | Dpo => Ok(()),
        }
    }

    /// Checks the answers of an update: not too many tokens, and enough for groups and minibatches.
    fn check_update(&self, v: Site<'_>) -> Result<(), ConfigIssue> {
        let (stage, answers, tokens) = (v.stage, self.rollouts(v), self.response_length(v));
        if answers.checked_mul(tokens).is_none_or(|all| all > MOST_TOKENS) {
            return wrong(format!(
                "{stage}.rollouts {answers} × response_length {tokens} is more than {MOST_TOKENS} tokens per update; lower one of them"
            ));
        }
        let each = self.num_generations(v);
        if stage == Grpo && (each < 2 || !answers.is_multiple_of(each)) {
            return wrong(format!(
                "grpo.rollouts {answers} and num_generations {each}: expected num_generations of 2 or more, and rollouts a multiple of it"
            ));
        }
        let minibatches = self.num_mini_batches(v);
        if answers < minibatches {
            return wrong(format!(
                "{stage}.rollouts {answers} is less than num_mini_batches {minibatches}; a minibatch needs at least one answer"
            ));
        }
        Ok(())
    }
}
