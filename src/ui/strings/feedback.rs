//! Texts of human feedback: votes, the reward model, the policy.

use super::{
    lang::{Lang, Tr, strings},
    screen::at_step,
};
use crate::{
    protocol::{Choice, TextFeature},
    ui::text::{grouped, plural},
};

strings! {
    BY_LENGTH = "长度基线", "length baseline";
    HELD_OUT = "留出集", "held out";
    PAIRS = "对", "pairs";
    CHOSEN_LESS = "chosen 减 rejected", "chosen minus rejected";
    WRONG_SIDE = "判错", "wrong";
    RIGHT_SIDE = "判对", "right";
    NO_REPORT = "第一次评测尚未运行", "no evaluation yet";
    NO_MARGINS = "日志里没有逐对的分差，下一次评测后显示", "the log has no margins pair by pair; they appear after the next evaluation";
    NO_VOTES = "还没有投票。按 v 在两个回答中选出更好的一个，训练照常进行", "no votes yet: press v to choose between two answers while training continues";
    VOTES_ELSEWHERE = "微调及之后的阶段才能投票", "votes are available from fine-tuning on";
    TRUE_SCORE = "真实得分", "true";
    REWARD_SCORE = "奖励", "reward";
    EVALUATED = "评测", "eval";
    IN_STEP = "每步", "per step";
    KL_COEF = "KL 系数", "KL coef";
    ENTROPY = "熵", "entropy";
    END_RATE = "结束率", "end rate";
    LENGTH = "长度", "length";
    IMPLICIT_MARGIN = "隐式分差", "margin";
    IMPLICIT_ACCURACY = "隐式准确率", "accuracy";
    GROUP_DEVIATION = "组内标准差", "group std";
    NO_CHECKS = "第一次更新前自检，尚未运行", "run before the first update; not yet";
    GUARD_QUIET = "守卫：无异常", "guard: no violations";
    GUARD_STRIKES = "守卫：连续越界", "guard: consecutive violations";
    REPETITION = "重复率", "repetition";
    GUARDED = "守卫停止了训练", "the guard stopped training";
    GUARDED_SHORT = "守卫停止", "guard stopped";
    GUARD_NO_CHECKPOINT = "还没有检查点：先在 run.toml 里调大 kl_coef，再按 g 从头训练", "no checkpoint yet: raise kl_coef in run.toml, then press g to start over";
    ROLLOUT_READ_ONLY = "只读：日志里没有采样的回答", "read only: the log holds no sampled answers";
    NO_ROLLOUT = "下一次更新后，这里逐个词元显示一个回答", "one answer appears here after the next update";
    COL_TOKEN = "词元", "token";
    COL_REFERENCE = "参考", "ref";
    COL_VALUE = "价值", "value";
    COL_REWARD = "奖励", "reward";
    COL_ADVANTAGE = "优势", "adv";
    COL_RATIO = "比值", "ratio";
    CLIPPED = "裁剪", "clipped";
    NOT_ENDED = "未正常结束", "did not end";
    VOTE_PROMPT = "提示词 prompt", "prompt";
    VOTE_CHOOSE = "选择 choose", "choose";
    VOTE_HIDDEN = "投票前隐藏分数、长度和概率", "scores, lengths and log-probs stay hidden until the vote";
    VOTE_WAITING = "正在生成两个回答", "generating two answers";
    VOTE_NONE = "没有待投票的回答。按 n 再要一对，按 i 自己写提示词", "no pair: press n for a new pair, i to type a prompt";
    VOTE_LAST = "上一票 last vote", "last vote";
    VOTE_MODEL = "奖励模型 reward model", "reward model";
    VOTE_NO_LAST = "投票后，这里显示奖励模型的打分", "the reward model's scores appear here after a vote";
    VOTE_NO_MODEL = "每隔几票，奖励模型会用你的投票重新训练", "the reward model is refitted every few votes";
    VOTE_OWN = "自己写提示词，回车生成两个回答", "your own prompt; Enter generates two answers";
    VOTE_EDIT = "Tab 换成另一个回答", "Tab takes the other answer";
    VOTE_MARKED = "已标出两边的差异", "differences are marked";
    VOTE_A = "A 更好", "A better";
    VOTE_B = "B 更好", "B better";
    VOTE_MUCH_A = "A 好得多", "A much better";
    VOTE_MUCH_B = "B 好得多", "B much better";
    VOTE_TIE = "差不多", "about equal";
    VOTE_BOTH_BAD = "都不好", "both bad";
    VOTE_SKIP = "跳过", "skipped";
    YOU = "你", "you";
    RM = "RM", "RM";
    AGREE = "一致", "agree";
    DISAGREE = "不一致", "disagree";
    NO_MODEL = "还没有奖励模型", "no reward model yet";
    LOGPROB_A_TOKEN = "logp/词元", "logp/tok";
    SWAPPED = "左右对调", "swapped";
    REPEATED = "重复出现", "shown before";
    LEFT_CHOSEN = "选左", "left chosen";
    LONGER_WINS = "选较长", "longer chosen";
    REPEAT_CHECK = "重复一致", "repeats agree";
    FINE = "正常", "ok";
    WATCH = "注意", "watch";
    BOTH_BAD_SHORT = "都不好", "both bad";
    SKIPPED = "跳过", "skipped";
    A_PAIR = "每对", "per pair";
    AGREES_WITH_YOU = "与你一致", "agrees with you";
    PREDICTED = "由其余票猜中", "predicted from the others";
    TASTE = "偏好", "taste";
    TO_UNDO = "u 撤销", "u undoes";
    REFITTING = "正在用投票重训奖励模型", "refitting the reward model";
    LOG_UNVOTED = "已撤销一票", "vote undone";
    MODE_VOTE = "投票", "VOTE";
    HELP_VOTE = "投票时", "Voting";
}

/// The name of a choice.
pub fn choice(choice: Choice) -> Tr {
    match choice {
        Choice::A => VOTE_A,
        Choice::B => VOTE_B,
        Choice::MuchA => VOTE_MUCH_A,
        Choice::MuchB => VOTE_MUCH_B,
        Choice::Tie => VOTE_TIE,
        Choice::BothBad => VOTE_BOTH_BAD,
        Choice::Skip => VOTE_SKIP,
    }
}

/// The name of a feature of an answer.
pub fn feature(lang: Lang, feature: &TextFeature) -> String {
    let name = |tr: Tr| tr.get(lang).to_owned();
    match (feature, lang) {
        (TextFeature::Length, _) => name(LENGTH),
        (TextFeature::AtLeast(n), Lang::Zh) => format!("至少 {n} 字"),
        (TextFeature::AtLeast(n), Lang::En) => format!("{} or more", plural(u64::from(*n), "character")),
        (TextFeature::Lines, _) => name(Tr("换行", "line breaks")),
        (TextFeature::Count(mark), Lang::Zh) => format!("{mark} 的个数"),
        (TextFeature::Count(mark), Lang::En) => format!("number of {mark}"),
        (TextFeature::Latin, _) => name(Tr("拉丁字母", "Latin letters")),
        (TextFeature::Digits, _) => name(Tr("数字", "digits")),
        (TextFeature::Distinct, _) => name(Tr("不重字", "no repeated characters")),
        (TextFeature::Borrowed, _) => name(Tr("与提示词同字", "characters of the prompt")),
        (TextFeature::Has(text), _) => format!("“{text}”"),
        (TextFeature::Begins(text), Lang::Zh) => format!("以“{text}”开头"),
        (TextFeature::Begins(text), Lang::En) => format!("begins “{text}”"),
        (TextFeature::Ends(text), Lang::Zh) => format!("以“{text}”结尾"),
        (TextFeature::Ends(text), Lang::En) => format!("ends “{text}”"),
    }
}

/// A stage ended before its last step.
pub fn ended_early(lang: Lang, step: usize, best: usize, figure: f64, evaluations: usize) -> String {
    match lang {
        Lang::Zh => format!("第 {step} 步提前结束：连续 {evaluations} 次评测没有好过第 {best} 步的 {figure:.3}"),
        Lang::En => format!(
            "ended early at step {step}: {} without a better held-out figure than {figure:.3} at step {best}",
            plural(evaluations as u64, "evaluation")
        ),
    }
}

/// What to do after the guard stopped a stage that can be reopened here.
pub fn guard_reopens(lang: Lang, checkpoint: &str) -> String {
    match lang {
        Lang::Zh => format!("按 g 从 {checkpoint} 继续训练"),
        Lang::En => format!("press g to resume from {checkpoint}"),
    }
}

/// What to do after the guard stopped a stage because of a spike.
pub fn guard_goes_back(lang: Lang, checkpoint: Option<&str>) -> String {
    match (lang, checkpoint) {
        (Lang::Zh, Some(checkpoint)) => format!("按 g 回到 {checkpoint}，降低学习率再训练；按空格忽略，继续训练"),
        (Lang::Zh, None) => "按 g 从头训练，降低学习率；按空格忽略，继续训练".to_owned(),
        (Lang::En, Some(checkpoint)) => {
            format!("press g to return to {checkpoint} with a lower learning rate, or space to continue")
        }
        (Lang::En, None) => "press g to start over with a lower learning rate, or space to continue".to_owned(),
    }
}

/// The stage continues from an earlier checkpoint.
pub fn set_back(lang: Lang, step: usize, until: usize, factor: f64, reason: &str) -> String {
    match lang {
        Lang::Zh if factor == 1.0 => format!("{reason}；回到第 {step} 步"),
        Lang::En if factor == 1.0 => format!("{reason}; back to step {step}"),
        Lang::Zh => format!("{reason}；回到第 {step} 步，到第 {until} 步为止学习率 x {factor}"),
        Lang::En => format!("{reason}; back to step {step}, learning rate x {factor} up to step {until}"),
    }
}

/// What to do after the guard stopped a stage and the trainer has ended.
pub fn guard_next_time(lang: Lang, checkpoint: &str) -> String {
    match lang {
        Lang::Zh => format!("未保存；重新运行 danlu 会从 {checkpoint} 继续"),
        Lang::En => format!("not saved; run danlu again to resume from {checkpoint}"),
    }
}

/// The number of votes that a curve covers.
pub fn last_votes(lang: Lang, n: usize) -> String {
    match lang {
        Lang::Zh => format!("最近 {n} 票"),
        Lang::En => format!("last {n}"),
    }
}

/// The number of votes until the next fit of the reward model.
pub fn until_refit(lang: Lang, n: usize) -> String {
    match lang {
        Lang::Zh => format!("再投 {n} 票重训"),
        Lang::En => format!("refit in {n}"),
    }
}

/// How many built-in pairs a vote counts for.
pub fn weight(lang: Lang, weight: f64) -> String {
    let weight = if weight < 9.95 { format!("{weight:.1}") } else { grouped(weight.round() as u64) };
    let weight = weight.trim_end_matches(".0");
    match lang {
        Lang::Zh => format!("每票权重 x{weight}"),
        Lang::En => format!("vote weight x{weight}"),
    }
}

/// A fit of the reward model to votes; shares in percent.
pub fn refitted(lang: Lang, version: usize, votes: usize, before: f64, after: f64, seconds: f64) -> String {
    let (before, after) = (measured(before, 0), measured(after, 0));
    match lang {
        Lang::Zh if votes == 0 => format!("v{version} 没有投票，{seconds:.1} s"),
        Lang::En if votes == 0 => format!("v{version} is fitted to no votes, {seconds:.1} s"),
        Lang::Zh => format!("v{version} 已学习 {votes} 票，与你一致 {before}% > {after}%，{seconds:.1} s"),
        Lang::En => format!(
            "v{version} fitted to {}, agreement {before}% > {after}%, {seconds:.1} s",
            plural(votes as u64, "vote")
        ),
    }
}

/// Which other weights answer prompts.
pub fn beside(lang: Lang, names: &str) -> String {
    match lang {
        Lang::Zh => format!("同时由{names}回答"),
        Lang::En => format!("{names} also answers"),
    }
}

/// A figure of an evaluation; a dash if it was not measured.
fn measured(x: f64, digits: usize) -> String {
    if x.is_nan() { "-".to_owned() } else { format!("{x:.digits$}") }
}

/// A reward model's accuracy and that of choosing the longer answer, in percent.
pub fn reward_figures(lang: Lang, step: usize, right: f64, longer: f64) -> String {
    let (right, longer) = (measured(right, 1), measured(longer, 1));
    match lang {
        Lang::Zh => format!("{}  留出集准确率 {right}%，长度基线 {longer}%", at_step(lang, step)),
        Lang::En => format!("{}  held-out accuracy {right}%, length baseline {longer}%", at_step(lang, step)),
    }
}

/// Scores of a policy's answers.
pub fn policy_figures(lang: Lang, step: usize, truth: f64, reward: f64, kl: f64) -> String {
    let (truth, reward, kl) = (measured(truth, 3), measured(reward, 2), measured(kl, 2));
    match lang {
        Lang::Zh => format!("{}  真实得分 {truth}，奖励 {reward}，KL {kl}", at_step(lang, step)),
        Lang::En => format!("{}  true score {truth}, reward {reward}, KL {kl}", at_step(lang, step)),
    }
}
