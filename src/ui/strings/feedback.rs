//! The words of human feedback: votes, the reward model, the policy.

use super::{Lang, Tr, at_step};

strings! {
    PANEL_ACCURACY = "判对 accuracy", "accuracy";
    PANEL_MARGINS = "分差 margin", "margin";
    PANEL_VOTES = "评选 votes", "votes";
    PANEL_SCORE = "得分 score", "score";
    PANEL_DRIFT = "走多远 drift", "drift";
    PANEL_FRONTIER = "得分与 KL frontier", "score against KL";
    PANEL_LAMPS = "自检与护栏 guard", "checks and guard";
    PANEL_ROLLOUT = "显微镜 rollout", "one rollout";
    BY_LENGTH = "只看长短", "by length";
    HELD_OUT = "没见过的", "held out";
    PAIRS = "对", "pairs";
    CHOSEN_LESS = "更好的减更差的", "chosen less rejected";
    WRONG_SIDE = "判反", "wrong";
    RIGHT_SIDE = "判对", "right";
    NO_REPORT = "第一次评测还没到", "no evaluation yet";
    NO_VOTES = "还没有投票。按 v，在两个回答里挑好的那个，训练照常进行", "no votes yet: v offers two answers to choose between, while training goes on";
    VOTES_ELSEWHERE = "微调之后的阶段才能评选", "votes are taken from fine-tuning on";
    TRUE_SCORE = "真分", "true";
    REWARD_SCORE = "奖励", "reward";
    EVALUATED = "评测", "evaluated";
    IN_STEP = "每步", "by step";
    KL_COEF = "系数", "coef";
    ENTROPY = "熵", "entropy";
    END_RATE = "收尾", "ended";
    LENGTH = "长度", "length";
    IMPLICIT_MARGIN = "隐含分差", "margin";
    IMPLICIT_ACCURACY = "隐含判对", "accuracy";
    GROUP_DEVIATION = "组内偏差", "group sd";
    NO_LAMPS = "第一次更新前自检，还没到", "checked before the first update; not yet";
    GUARD_QUIET = "护栏：没有异常", "guard: nothing wrong";
    GUARD_STRIKES = "护栏：连续越界", "guard: out of bounds in a row";
    REPETITION = "重复", "repeats";
    GUARDED = "护栏停下了训练", "the guard stopped training";
    GUARDED_SHORT = "护栏停下", "guard stopped";
    GUARD_NO_CHECKPOINT = "还没有存过盘：按 g 从头再练；先在 run.toml 里加大 kl_coef", "no checkpoint yet: g starts anew; raise kl_coef in run.toml first";
    NO_ROLLOUT = "下一次更新后，这里逐个词元看一个回答", "after the next update one answer stands here, token by token";
    COL_TOKEN = "词元", "token";
    COL_REFERENCE = "参考", "ref";
    COL_VALUE = "价值", "value";
    COL_REWARD = "奖励", "reward";
    COL_ADVANTAGE = "优势", "adv";
    COL_RATIO = "比值", "ratio";
    CLIPPED = "截断", "clipped";
    NOT_ENDED = "没有收尾", "did not end";
    PICK_PROMPT = "问 prompt", "prompt";
    PICK_CHOOSE = "选择 choose", "choose";
    PICK_HIDDEN = "分数、长度、概率，投票之后才显示", "scores, lengths and log-probs stay hidden until the vote";
    PICK_WAITING = "正在写两个回答", "two answers are being written";
    PICK_NONE = "没有可选的回答。n 再要一对，i 自己出题", "no pair: n asks for one, i asks with your own prompt";
    PICK_LAST = "上一对 last vote", "last vote";
    PICK_MODEL = "奖励模型 reward model", "reward model";
    PICK_NO_LAST = "投票之后，这里是奖励模型的看法", "after a vote the reward model's opinion stands here";
    PICK_NO_MODEL = "每过几票，奖励模型就照你的选择重训一次", "every few votes the reward model is fitted to your choices";
    PICK_OWN = "自己出题，回车要两个回答", "your own prompt: Enter asks for two answers";
    PICK_EDIT = "Tab 换另一个回答", "Tab takes the other answer";
    PICK_MARKED = "只有一边有的字已标出", "what only one side has is marked";
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
    LONGER_WINS = "长的胜", "longer wins";
    REPEAT_CHECK = "重复一致", "repeat check";
    FINE = "正常", "ok";
    WATCH = "留意", "watch";
    BOTH_BAD_SHORT = "都差", "both bad";
    SKIPPED = "跳过", "skipped";
    A_PAIR = "每对", "a pair";
    AGREES_WITH_YOU = "与你一致", "agrees with you";
    HELD_OUT_RIGHT = "判对", "held out";
    REFITTING = "正在重训奖励模型", "the reward model is being refitted";
    LOG_UNVOTED = "收回一票", "a vote was taken back";
    MODE_PICK = "评选", "PICK";
    HELP_PICK = "评选时", "Choosing between two answers";
}

/// What a choice is called.
pub fn choice(choice: crate::protocol::Choice) -> Tr {
    use crate::protocol::Choice;
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

/// What to do after the guard has stopped a stage, where it can be done on this screen.
pub fn guard_reopens(lang: Lang, checkpoint: &str) -> String {
    match lang {
        Lang::Zh => format!("按 g 从 {checkpoint} 接着练"),
        Lang::En => format!("g goes on from {checkpoint}"),
    }
}

/// What to do after the guard has stopped a stage for a spike.
pub fn guard_goes_back(lang: Lang, checkpoint: Option<&str>) -> String {
    match (lang, checkpoint) {
        (Lang::Zh, Some(checkpoint)) => format!("按 g 回到 {checkpoint}，降低学习率再练；按空格不管它，接着练"),
        (Lang::Zh, None) => "按 g 从头再练，学习率调低；按空格不管它，接着练".to_owned(),
        (Lang::En, Some(checkpoint)) => {
            format!("g returns to {checkpoint} with a lower rate; space continues as it is")
        }
        (Lang::En, None) => "g starts the stage over with a lower rate; space continues as it is".to_owned(),
    }
}

/// A stage continues from an earlier checkpoint.
pub fn set_back(lang: Lang, step: usize, until: usize, factor: f64, reason: &str) -> String {
    match lang {
        Lang::Zh => format!("{reason}；回到第 {step} 步，到第 {until} 步为止学习率 × {factor}"),
        Lang::En => format!("{reason}; back to step {step}, learning rate × {factor} up to step {until}"),
    }
}

/// What to do after the guard has stopped a stage, where the trainer is gone.
pub fn guard_next_time(lang: Lang, checkpoint: &str) -> String {
    match lang {
        Lang::Zh => format!("没有存盘；再开 danlu 会从 {checkpoint} 接着练"),
        Lang::En => format!("not saved; danlu goes on from {checkpoint} when it is run again"),
    }
}

/// How many votes a curve looks back over.
pub fn last_votes(lang: Lang, n: usize) -> String {
    match lang {
        Lang::Zh => format!("最近 {n} 票"),
        Lang::En => format!("last {n}"),
    }
}

/// Votes until the reward model is fitted again.
pub fn until_refit(lang: Lang, n: usize) -> String {
    match lang {
        Lang::Zh => format!("还差 {n} 票重训"),
        Lang::En => format!("refit in {n}"),
    }
}

/// How many times a vote counts against a built-in pair.
pub fn weight(lang: Lang, weight: f64) -> String {
    match lang {
        Lang::Zh => format!("一票抵 {weight} 对"),
        Lang::En => format!("a vote counts {weight}"),
    }
}

/// A fit of the reward model to votes; shares in per cent.
pub fn refitted(lang: Lang, version: usize, votes: usize, before: f64, after: f64, seconds: f64) -> String {
    let (before, after) = (measured(before, 0), measured(after, 0));
    match lang {
        Lang::Zh => format!("v{version} 学了 {votes} 票，与你一致 {before}% > {after}%，{seconds:.1} s"),
        Lang::En => format!("v{version} learned {votes} votes, agrees {before}% > {after}%, {seconds:.1} s"),
    }
}

/// Who else is asked.
pub fn beside(lang: Lang, names: &str) -> String {
    match lang {
        Lang::Zh => format!("每一句也问{names}"),
        Lang::En => format!("{names} asked as well"),
    }
}

/// A figure of an evaluation; a dash where there was nothing to measure it on.
fn measured(x: f64, digits: usize) -> String {
    if x.is_nan() { "-".to_owned() } else { format!("{x:.digits$}") }
}

/// What a reward model gets right, in per cent, beside the guess by length.
pub fn reward_figures(lang: Lang, step: usize, right: f64, longer: f64) -> String {
    let (right, longer) = (measured(right, 1), measured(longer, 1));
    match lang {
        Lang::Zh => format!("{}  没见过的对子判对 {right}%，只看长短 {longer}%", at_step(lang, step)),
        Lang::En => format!("{}  held-out pairs {right}% right, by length {longer}%", at_step(lang, step)),
    }
}

/// What a policy's answers are worth.
pub fn policy_figures(lang: Lang, step: usize, truth: f64, reward: f64, kl: f64) -> String {
    let (truth, reward, kl) = (measured(truth, 3), measured(reward, 2), measured(kl, 2));
    match lang {
        Lang::Zh => format!("{}  真分 {truth}，奖励 {reward}，KL {kl}", at_step(lang, step)),
        Lang::En => format!("{}  true {truth}, reward {reward}, KL {kl}", at_step(lang, step)),
    }
}
