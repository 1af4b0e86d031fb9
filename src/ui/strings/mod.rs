//! Every word on the screen, Chinese and English. Chinese first with English beside it where both
//! are short, since the field's words are English.

use crate::protocol::LeftOut;

/// The language of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// Chinese.
    #[default]
    Zh,
    /// English.
    En,
}

/// One text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tr(pub &'static str, pub &'static str);

impl Tr {
    /// In this language.
    pub fn get(self, lang: Lang) -> &'static str {
        match lang {
            Lang::Zh => self.0,
            Lang::En => self.1,
        }
    }
}

macro_rules! strings {
    ($($name:ident = $zh:literal, $en:literal;)*) => {
        $(#[doc = $en] pub const $name: Tr = Tr($zh, $en);)*
        /// Every text, for tests.
        #[cfg(test)]
        pub(super) const ALL: &[Tr] = &[$($name),*];
    };
}

mod feedback;
mod room;

pub use self::{feedback::*, room::*};

strings! {
    PREPARING = "准备中", "preparing";
    RUNNING = "训练中", "training";
    PAUSING = "将暂停", "pausing";
    PAUSED = "已暂停", "paused";
    RESUMING = "将继续", "resuming";
    SAVING = "存盘中", "saving";
    DONE = "已完成", "done";
    STOPPED = "已停止", "stopped";
    FAILED = "失败", "failed";
    LEAVING = "正在存盘，存好就退出", "saving, then leaving";
    LEAVING_UNSAVED = "正在停止", "stopping";
    LEAVE_NOW = "Ctrl-C 不等了，立即离开", "Ctrl-C leaves at once, without waiting";
    LEFT = "剩", "left";
    PANEL_LOSS = "损失 loss", "loss";
    PANEL_TASKS = "任务 tasks", "tasks";
    PANEL_BATCH = "这一批 batch", "batch";
    PANEL_PROBE = "探针 probe", "probe";
    PANEL_CHAT = "对话 chat", "chat";
    PANEL_MIX = "数据配比 data mix", "data mix";
    PANEL_RUN = "引擎 engine", "engine";
    PANEL_LOG = "事件 log", "log";
    TRAIN = "训练", "train";
    VALID = "验证", "valid";
    BEST = "最好", "best";
    RAW = "原值", "raw";
    NO_STEP = "还没有第一步", "no step yet";
    NO_PROBE = "第一次探针还没到", "no probe yet";
    NO_RUN = "正在准备数据与模型", "preparing data and model";
    NO_CHAT = "按 i 或直接输入汉字，对正在训练的模型说一句开头，它会接着写", "press i and type a beginning; the model goes on from there while it trains";
    NO_LOG = "还没有事件", "nothing yet";
    CHAT_OVER = "本阶段已结束，模型不再作答", "the stage has ended; the model no longer answers";
    NO_PROBE_CAME = "这一次没有做探针", "no probe was completed";
    LEARNING_RATE = "学习率 lr", "lr";
    GRAD_NORM = "梯度 grad norm", "grad norm";
    SPEED = "词元/秒 tok/s", "tok/s";
    SOURCE = "来源", "source";
    WEIGHT = "权重", "weight";
    TOKENS = "词元", "tokens";
    SEEN = "遍数", "epochs";
    SHARE = "实占", "drawn";
    EPOCH = "遍", "epochs";
    PARAMETERS = "参数", "params";
    LAYERS = "层", "layers";
    HEADS = "头", "heads";
    HIDDEN = "宽", "width";
    VOCAB = "词表", "vocab";
    BATCH = "批", "batch";
    MEMORY = "显存", "memory";
    MEMORY_CPU = "内存", "memory";
    MEMORY_HOST = "内存", "host";
    STEP_TIME = "每步", "step";
    STEP = "步", "step";
    LOG_RESUMED_AT = "续自", "going on from";
    WAITING = "等这一步做完", "after this step";
    CANCELLED = "已停下", "stopped";
    TAG_SAVE = "存盘", "save";
    TAG_NOTE = "说明", "note";
    TAG_ALERT = "警告", "ALERT";
    TAG_STATE = "状态", "state";
    LOG_STARTED = "开炉", "the furnace lights";
    LOG_PAUSED = "已暂停", "paused";
    LOG_RESUMED = "继续训练", "resumed";
    LOG_SKIPPED = "未采用，出现了非有限数", "not applied, a number was not finite";
    LOG_SAVE_FAILED = "存盘失败", "save failed";
    LOG_STORE_FAILED = "读写出错", "disk error";
    MEND = "已暂停，什么也没丢。排除故障后，按 w 存盘并接着练，按空格直接接着练", "paused, and nothing is lost. Once it is mended, w saves and goes on; space goes on";
    FAILED_REOPENS = "按 g 从最近的存盘接着练", "g opens the stage again from its newest checkpoint";
    FAILED_GONE = "训练线程已结束；再开 danlu 会从最近的存盘接着练", "the trainer is gone; danlu continues from the newest checkpoint when it is run again";
    LOG_FINISHED = "本阶段", "the stage is";
    LOG_DIED = "训练线程没有道别就结束了", "the trainer ended without a word";
    LOG_STDERR = "来自别的线程", "from another thread";
    MODE_TEXT = "输入", "TEXT";
    MODE_EDIT = "改写", "CORRECT";
    MODE_DIALOG = "选择", "CHOOSE";
    HELP_TITLE = "帮助 help", "help";
    HELP_NAV = "看", "Looking";
    HELP_TEXT = "输入时", "Typing";
    HELP_EDIT = "改写回答时", "Correcting an answer";
    HELP_HAN = "直接输入汉字也会开始对话；全角按键照样有效。暂停的是训练，不是画面；Ctrl-Z 会让训练一起停住", "Typing any Han character starts a prompt; full-width keys work. Pausing pauses training, not the screen; Ctrl-Z stops training too";
    PALETTE_TITLE = "命令 commands", "commands";
    PALETTE_NONE = "没有这个命令", "no such command";
    QUIT_TITLE = "退出？", "Quit?";
    QUIT_SAVE = "存盘并退出", "save and quit";
    QUIT_DISCARD = "不存盘退出", "quit without saving";
    QUIT_CANCEL = "继续训练", "go on training";
    QUIT_ALL_SAVED = "最近一步已经存好", "the latest step is saved";
    SWITCHING = "正在转到", "going to";
    SWITCH_TITLE = "换一个阶段？", "Change the stage?";
    SWITCH_GO = "保存并转过去", "save and go there";
    SWITCH_STAY = "留在这里", "stay here";
    SWITCH_KEPT = "这里的曲线留着，回来时接着走", "its curves stay, and go on when you return";
    LOG_SWITCHED = "存好，让给下一个阶段", "saved; the next stage takes over";
    LOG_REFUSED = "没有照办", "not done";
    NOT_HERE = "这个阶段没有在训练", "this stage is not training";
    NEVER_TRAINED = "这个阶段还没有训练过，按 g 从上一阶段开始", "never trained; g starts it from the stage before";
    TRAINED_BEFORE = "按 g 接着训练；打开之前的曲线不在屏上", "g goes on; curves from before this sitting are not shown";
    LEFT_OFF = "停在这里，按 g 接着训练", "stopped here; g goes on";
    COMPLETE = "练完了", "complete";
    COMPLETE_HERE = "这个阶段练完了", "this stage is complete";
    KEPT = "预训练验证", "pretrain valid";
    KEPT_SHORT = "预训练", "pretrain";
    TASK = "任务", "task";
    EXACT = "全对", "exact";
    CHANGE = "变化", "change";
    ENDED = "收尾", "ended";
    LOSS = "损失", "loss";
    EXAMPLES = "题", "items";
    NO_TASK = "这个阶段没有任务", "this stage has no tasks";
    NO_SCORE = "第一次评测还没到", "no evaluation yet";
    WANTED = "应为", "should be";
    NO_BATCH = "下一步做完，这里就是它训练用的词元", "after the next step its tokens stand here";
    NO_BATCH_HERE = "这个阶段训练时，这里是它用的词元", "its tokens stand here while the stage trains";
    UNTRAINED = "不训练", "not trained on";
    TRAINED = "训练", "trained on";
    SCALE = "训练的词元，概率", "trained tokens, p";
    ROWS = "行", "rows";
    BY_HAND = "手写", "by hand";
    PROBABILITY = "概率", "p";
    HELD = "按住不动", "held";
    NO_TALK = "按 i 或直接输入汉字，和正在训练的模型说话", "press i and say something to the model while it trains";
    NEW_TALK = "新的对话", "new conversation";
    ROLE_USER = "问", "Q";
    ROLE_MODEL = "答", "A";
    BASE = "基座", "base";
    WAIT_ANSWER = "等它答完，再说下一句；Ctrl-C 停下", "wait for the answer, or Ctrl-C stops it";
    EDIT_TITLE = "改写成示范", "correct the answer";
    DRAFT_KEPT = "草稿留着，按 e 接着改", "the draft is kept; e goes on with it";
    SENT = "已交给训练", "handed to the trainer";
    CORRECTED = "已改写", "corrected";
    BESIDE_OFF = "只问正在训练的模型", "only the model under training is asked";
    SUMMARY_LOSS = "损失", "loss";
    SUMMARY_CHECKPOINT = "检查点", "checkpoint";
    SUMMARY_TIMEOUT = "等不及存盘就离开了；已有的检查点完好", "left before the save was done; earlier checkpoints stand";
    ON = "开", "on";
    OFF = "关", "off";
    LINEAR = "线性", "linear";
    LOG_Y = "对数", "log y";
}

/// `第 640 步`, `step 640`.
pub fn at_step(lang: Lang, step: usize) -> String {
    let step = crate::ui::text::grouped(step as u64);
    match lang {
        Lang::Zh => format!("第 {step} 步"),
        Lang::En => format!("step {step}"),
    }
}

/// How much would be lost.
pub fn since_save(lang: Lang, steps: usize) -> String {
    let steps = crate::ui::text::grouped(steps as u64);
    match lang {
        Lang::Zh => format!("离上次存盘 {steps} 步"),
        Lang::En => format!("{steps} steps since the last save"),
    }
}

/// How much is lost.
pub fn lost(lang: Lang, steps: usize) -> String {
    let steps = crate::ui::text::grouped(steps as u64);
    match lang {
        Lang::Zh => format!("最近 {steps} 步没有存盘"),
        Lang::En => format!("the last {steps} steps were not saved"),
    }
}

/// What is asked before another stage gets the trainer.
pub fn switch(lang: Lang, from: &str, step: usize, to: &str) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("保存 {from} {at}并转到{to}？"),
        Lang::En => format!("Save {from} at {at} and go to {to}?"),
    }
}

/// How many demonstrations there are, and since when the newest is trained on.
pub fn demonstrated(lang: Lang, count: usize, step: usize) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("示范共 {count} 条，{at}起训练"),
        Lang::En => format!("{count} demonstrations; trained on from {at}"),
    }
}

/// Since when a corrected answer is trained on.
pub fn corrected(lang: Lang, step: usize) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("已改写，{at}起训练"),
        Lang::En => format!("corrected, trained on from {at}"),
    }
}

/// Where on a person's path a stage stands.
pub const PATH: [Tr; 4] =
    [Tr("婴儿", "newborn"), Tr("小学中学", "school"), Tr("大学", "university"), Tr("工作", "work")];

/// The place on [`PATH`] that a stage leads to.
pub fn path(stage: &str) -> usize {
    match stage {
        "pretrain" => 1,
        "sft" => 2,
        _ => 3,
    }
}

/// A task's name.
pub fn task(name: &str) -> Option<Tr> {
    Some(match name {
        // Drawn with the glyph set's own arrow.
        "zh-en" => Tr("中→英", "zh→en"),
        "en-zh" => Tr("英→中", "en→zh"),
        "translate-free" => Tr("自由翻译", "translate-free"),
        "translate-bare" => Tr("翻译·无前缀", "bare sentence"),
        "translate-paraphrase" => Tr("翻译·换说法", "paraphrased"),
        "translate-unseen" => Tr("翻译·新说法", "new phrasing"),
        "continue-unknown" => Tr("续写·生诗", "continue: new"),
        "continue-recall" => Tr("续写·熟诗", "continue: known"),
        "rewrite" => Tr("改写", "rewrite"),
        "qa" => Tr("问答", "qa"),
        "continue" => Tr("续写", "continue"),
        "recite" => Tr("背诵", "recite"),
        "chat" => Tr("聊天", "chat"),
        "recommend" => Tr("推荐", "recommend"),
        "by-hand" => Tr("手写示范", "by-hand"),
        _ => return None,
    })
}

/// A stage's name in one word.
pub fn stage_word(name: &str) -> Option<Tr> {
    Some(match name {
        "pretrain" => Tr("预训练", "pretrain"),
        "sft" => Tr("微调", "SFT"),
        "reward" => Tr("奖励", "reward"),
        "ppo" => Tr("PPO", "PPO"),
        "dpo" => Tr("DPO", "DPO"),
        "grpo" => Tr("GRPO", "GRPO"),
        _ => return None,
    })
}

/// Why a stage ended, where the trainer used one of its own words.
pub fn end_reason(reason: &str) -> Option<Tr> {
    match reason {
        "done" => Some(DONE),
        "stopped" => Some(STOPPED),
        _ => None,
    }
}

/// A stage's name.
pub fn stage(name: &str) -> Option<Tr> {
    Some(match name {
        "pretrain" => Tr("预训练 pretrain", "pretrain"),
        "sft" => Tr("微调 sft", "sft"),
        "reward" => Tr("奖励 reward", "reward"),
        "ppo" => Tr("对齐 ppo", "ppo"),
        "dpo" => Tr("对齐 dpo", "dpo"),
        "grpo" => Tr("对齐 grpo", "grpo"),
        _ => return None,
    })
}

/// What of a prompt was not read, since the answer needs room.
pub fn left_out(lang: Lang, what: LeftOut) -> String {
    let LeftOut { tokens, exchanges } = what;
    match (lang, exchanges) {
        (Lang::Zh, 0) => format!("太长，略去开头 {tokens} 词元"),
        (Lang::Zh, n) => format!("太长，略去最早 {n} 轮对话（{tokens} 词元）"),
        (Lang::En, 0) => format!("too long: first {tokens} tokens left out"),
        (Lang::En, 1) => format!("too long: oldest exchange left out ({tokens} tokens)"),
        (Lang::En, n) => format!("too long: oldest {n} exchanges left out ({tokens} tokens)"),
    }
}

/// Why an answer ended, where the trainer used one of its own words.
pub fn finish_reason(reason: &str) -> Option<Tr> {
    Some(match reason {
        "stop" => Tr("写完", "end of text"),
        "length" => Tr("写满", "length"),
        "cancelled" => CANCELLED,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Box drawing, bullets, dots and arrows are two cells wide on CJK-set terminals (UAX 11 class A),
    /// so none may hide in a text; glyphs of that kind come from the glyph set.
    #[test]
    fn no_text_holds_a_character_of_ambiguous_width() {
        use unicode_width::UnicodeWidthStr as _;
        for text in ALL.iter().chain(feedback::ALL).chain(room::ALL).flat_map(|t| [t.0, t.1]) {
            assert_eq!(text.width(), text.width_cjk(), "{text}");
        }
    }
}
