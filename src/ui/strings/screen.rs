//! Texts of the frame, the training panels, the chat and the questions.

use super::lang::{Lang, Tr, strings};
use crate::{
    protocol::LeftOut,
    ui::text::{grouped, plural},
};

strings! {
    PREPARING = "准备中", "preparing";
    RUNNING = "训练中", "training";
    PAUSING = "即将暂停", "pausing";
    PAUSED = "已暂停", "paused";
    RESUMING = "恢复中", "resuming";
    SAVING = "保存中", "saving";
    DONE = "已完成", "done";
    STOPPED = "已停止", "stopped";
    FAILED = "失败", "failed";
    LEAVING = "正在保存，完成后退出", "saving, then quitting";
    LEAVING_UNSAVED = "正在停止", "stopping";
    LEAVE_NOW = "Ctrl-C 不等待，立即退出", "Ctrl-C quits at once, without waiting";
    LEFT = "剩余", "left";
    TRAIN = "训练", "train";
    VALID = "验证", "valid";
    GAP = "差距", "gap";
    BEST = "最佳", "best";
    RAW = "原值", "raw";
    TIME = "用时", "time";
    MOUSE_TAKEN = "鼠标：点选面板、曲线和列表，滚轮滚动和缩放", "mouse: click panels, charts and lists; the wheel scrolls and zooms";
    MOUSE_FREE = "鼠标已交给终端，可以选字", "the terminal has the mouse, for selecting text";
    EXPORT_TITLE = "导出", "export";
    EXPORT_KEPT = "写入 run 的 exports/，不覆盖已有文件", "into the run's exports/; no file is replaced";
    EXPORT_CSV = "面板曲线的数据 (CSV)", "the figures of the panel's charts (CSV)";
    EXPORT_PANEL_SVG = "面板，图片 (SVG)", "the panel as a picture (SVG)";
    EXPORT_PANEL_TEXT = "面板，文本", "the panel as text";
    EXPORT_SCREEN_SVG = "整个屏幕，图片 (SVG)", "the screen as a picture (SVG)";
    EXPORT_SCREEN_TEXT = "整个屏幕，文本", "the screen as text";
    EXPORTED = "已导出", "exported";
    SPOKEN_NO_CHECKPOINT = "这个阶段还没有检查点，先按 w 保存", "the stage has no checkpoint yet; save one with w first";
    SPOKEN_NO_FIGURES = "这个面板没有曲线数据；txt 和 svg 可以导出它", "this panel has no figures; txt and svg export it";
    BY_TOKENS = "横轴：词元", "by tokens";
    BY_TIME = "横轴：训练时间", "by time";
    FOLLOWING = "放大，跟随最新", "zoomed, following";
    PART = "放大", "zoomed";
    PLANNED = "到计划末尾", "to the plan's end";
    WHY_NO_CHART = "这里还没有曲线", "there is no curve here yet";
    WHY_NO_LOG_PLACE = "日志里还没有这个阶段的事件", "the log has no event of this stage yet";
    NO_STEP = "第一步尚未完成", "no step yet";
    NO_PROBE = "第一次探针尚未运行", "no probe yet";
    NO_RUN = "正在准备数据和模型", "preparing data and model";
    NOTHING_SAID = "（空）", "(empty)";
    NO_CHAT = "按 i 或直接输入汉字，写一个开头，正在训练的模型会接着写", "press i and type a beginning; the model continues it while it trains";
    NO_LOG = "还没有事件", "no events yet";
    CHAT_OVER = "本阶段已结束，模型不再回答", "the stage has ended; the model no longer answers";
    NO_PROBE_CAME = "本次没有运行探针", "no probe was run";
    LEARNING_RATE = "学习率 lr", "lr";
    GRAD_NORM = "梯度 grad norm", "grad norm";
    SPEED = "词元/秒 tok/s", "tok/s";
    SOURCE = "数据源", "source";
    WEIGHT = "权重", "weight";
    TOKENS = "词元", "tokens";
    SEEN = "轮数", "epochs";
    SHARE = "占比", "drawn";
    EPOCH = "轮", "epochs";
    PARAMETERS = "参数", "params";
    LAYERS = "层", "layers";
    HEADS = "头", "heads";
    HIDDEN = "隐藏维度", "hidden";
    VOCAB = "词表", "vocab";
    BATCH = "批次", "batch";
    MEMORY = "显存", "memory";
    MEMORY_CPU = "内存", "memory";
    MEMORY_HOST = "内存", "host";
    STEP_TIME = "每步", "step";
    STEP = "步", "step";
    LOG_RESUMED_AT = "恢复自", "resumed from";
    WAITING = "等待当前步完成", "after this step";
    WHY_NOT_NOW = "现在没有可执行的对象", "nothing to do that with now";
    WHY_SWITCHING = "正在切换阶段，请稍候", "switching stages; wait for the next one to start";
    WHY_READ_ONLY = "只读回放：不训练，也不改动", "a replay, read only: nothing is trained or changed";
    WHY_WATCHED = "只读观看：另一个进程在训练，这里不训练也不改动", "watching, read only: another process trains; nothing is trained or changed here";
    WATCHING = "观看中", "watching";
    WATCH_AWAITED = "等待第一行日志", "waiting for the first line";
    WATCH_NOBODY = "没有进程在训练这个 run", "no process trains this run";
    WATCH_ENDED = "数据流已结束", "stream ended";
    WATCH_NEWEST = "最新一行", "newest line";
    WATCH_AGO = "之前", "ago";
    WATCH_PASSED = "其他输出", "other lines";
    CHAT_READ_ONLY = "只读：这里没有模型回答", "read only: no model answers here";
    CONFIG_READ_ONLY = "只读：日志里没有配置", "read only: the log holds no configuration";
    EXPORT_HERE = "写入当前文件夹，不覆盖已有文件", "into the current folder; no file is replaced";
    WHY_STEPS_ALONE = "日志里没有词元数和时间，横轴只有步", "the log has neither tokens nor times: the charts count steps";
    WHY_NO_FILM = "这个阶段还没有两次探针结果", "this stage has no two probes yet";
    REPLAY = "只读", "read only";
    FILM = "回放", "film";
    WHY_FINISHED = "训练已经结束", "training has ended";
    WHY_GUARDED = "守卫停止了这个阶段，按 g 从检查点继续", "the guard has stopped the stage; g reopens it from its checkpoint";
    WHY_NO_SUCH_KEY = "这个阶段没有这一项设置", "this stage has no such setting";
    WHY_NO_DROPOUT = "只有预训练和微调用 dropout；这个阶段不用", "only pretraining and fine-tuning use dropout; this stage does not";
    WHY_NO_BOUND = "这条规则没有可调的界限", "this rule has no threshold to change";
    WHY_NO_SOURCE = "先按 Tab 选中数据源，才能改权重", "select a source of text first (Tab), then change its weight";
    WHY_NO_TEXT = "先按 Tab 选中一篇文档", "select a document first (Tab)";
    WHY_TRAINS = "正在查看的阶段已经在训练", "the stage in view is training already";
    WHY_NO_VOTES = "还没有投票", "no votes yet";
    WHY_NO_TALK = "预训练只续写文字，微调之后才有对话", "pretraining continues text; conversations begin with fine-tuning";
    WHY_NO_ANSWER = "还没有可以修改的回答，按 i 提问", "no answer to correct yet; press i to ask";
    WHY_NO_CHAT_FOCUS = "先按 Tab 选中对话面板", "select the chat first (Tab)";
    WHY_NEW_ALREADY = "下一条提示词已经是新对话", "the next prompt starts a conversation already";
    WHY_NO_PARENT = "这个阶段没有上游模型可以对照", "this stage has no earlier model to compare with";
    GIVING_UP = "正在放弃打开，回到之前的阶段", "giving up; the stage before continues";
    CARD_COMPLETE = "阶段完成", "stage complete";
    CARD_SO_FAR = "阶段小结", "the stage so far";
    CARD_TOOK = "用了", "took";
    CARD_NEXT = "接下来", "next";
    CARD_NEXT_SFT = "监督微调，学会按指令回答", "fine-tune, so that it answers instructions";
    CARD_NEXT_REWARD = "训练奖励模型，学会给回答打分", "train a reward model, which scores answers";
    CARD_NEXT_ALIGN = "对齐，让模型从自己的回答中学习", "align it: it learns from its own answers";
    CARD_NEXT_TALK = "按 i 和它对话，按 T 比较各个阶段；danlu export 把模型带走", "i talks to it, T compares the stages; danlu export takes the model elsewhere";
    CAME_TRUE = "背出来了", "whole for the first time";
    LINE_CHANCE = "各句概率", "probability of each line";
    WHY_NOT_FINDABLE = "先按 Tab 选中日志、文档或指标", "select the log, a document or the metrics first (Tab)";
    FIND_NONE = "没有匹配的行", "no line has that";
    METRICS_NEWEST = "最新", "newest";
    METRICS_RANGE = "可见范围", "range in view";
    WHY_UNKNOWN = "没有这个按键，? 列出所有按键", "no such key; ? lists them all";
    WRITING = "正在生成", "writing";
    CANCELLED = "已停止", "stopped";
    TAG_SAVE = "保存", "save";
    TAG_RECALL = "背诵", "recall";
    TAG_NOTE = "说明", "note";
    TAG_ALERT = "警告", "ALERT";
    TAG_STATE = "状态", "state";
    LOG_STARTED = "启动", "started";
    LOG_PAUSED = "已暂停", "paused";
    LOG_RESUMED = "继续训练", "resumed";
    LOG_SKIPPED = "这一步未更新参数：出现非有限数", "update skipped: a number was not finite";
    LOG_SAVE_FAILED = "保存失败", "save failed";
    LOG_STORE_FAILED = "读写出错", "disk error";
    MEND = "已暂停，没有丢失任何内容。排除故障后，按 w 保存并继续，按空格直接继续", "paused; nothing is lost. Fix the cause, then press w to save and resume, or space to resume";
    FAILED_REOPENS = "按 g 从最近的检查点继续", "press g to reopen the stage from its newest checkpoint";
    FAILED_GONE = "训练线程已结束；重新运行 danlu 会从最近的检查点继续", "the trainer thread has ended; run danlu again to resume from the newest checkpoint";
    LOG_HUNG_UP = "终端已关闭，训练在没有界面的情况下继续", "the terminal has closed; the training continues without a screen";
    LOG_FINISHED = "阶段结束", "stage finished";
    LOG_DIED = "训练线程意外退出", "the trainer thread exited unexpectedly";
    LOG_STDERR = "来自其他线程", "from another thread";
    MODE_TEXT = "输入", "TEXT";
    MODE_EDIT = "修改", "CORRECT";
    MODE_DIALOG = "选择", "CHOOSE";
    HELP_TITLE = "帮助 help", "help";
    HELP_NAV = "浏览时", "Viewing a stage";
    HELP_TEXT = "输入时", "Typing a prompt";
    HELP_EDIT = "修改回答时", "Correcting an answer";
    HELP_HAN = "直接输入汉字也会开始对话；全角按键同样有效。暂停的是训练，不是画面；Ctrl-Z 会让训练一起停住", "Typing a Han character starts a prompt; full-width keys work too. Pausing stops training, not the screen; Ctrl-Z stops both";
    PALETTE_TITLE = "命令 commands", "commands";
    PALETTE_NONE = "没有匹配的命令", "no matching command";
    QUIT_TITLE = "退出？", "Quit?";
    QUIT_SAVE = "保存并退出", "save and quit";
    QUIT_DISCARD = "不保存，直接退出", "quit without saving";
    QUIT_CANCEL = "继续训练", "keep training";
    QUIT_GUARDED = "守卫停止了这个阶段：检查点之后的步不保存；g 回到检查点", "the guard has stopped the stage: the steps since its checkpoint are not saved; g returns to it";
    QUIT_ALL_SAVED = "最近一步已保存", "the latest step is saved";
    SWITCHING = "正在切换到", "switching to";
    SWITCH_TITLE = "切换阶段？", "Switch stages?";
    SWITCH_GO = "保存并切换", "save and switch";
    SWITCH_STAY = "留在当前阶段", "stay here";
    SWITCH_KEPT = "曲线会保留，返回后继续", "its curves are kept and continue when you return";
    LOG_BEST = "  目前最好", "  the best so far";
    LOG_SWITCHED = "离开，打开所选的阶段", "left, to open the chosen stage";
    LOG_REFUSED = "未执行", "rejected";
    SOON = "开始训练后显示", "shown once it trains";
    NOT_LOGGED = "日志里没有，训练时显示", "not in its logs; shown while it trains";
    NEVER_TRAINED = "尚未训练，按 g 从上一阶段的检查点开始", "not trained yet; press g to start from the previous stage";
    TRAINED_BEFORE = "按 g 继续训练；日志里没有以前的曲线", "press g to resume; the logs hold no earlier steps";
    LEFT_OFF = "停在这里，按 g 继续训练", "stopped here; press g to resume";
    COMPLETE = "已完成", "complete";
    COMPLETE_HERE = "这个阶段已完成", "this stage is complete";
    KEPT = "预训练验证", "pretrain valid";
    KEPT_SHORT = "预训练", "pretrain";
    TASK = "任务", "task";
    EXACT = "全对", "exact";
    CHANGE = "变化", "change";
    ENDED = "结束", "ended";
    LOSS = "损失", "loss";
    EXAMPLES = "样本", "items";
    NO_TASK = "这个阶段没有任务", "this stage has no tasks";
    NO_SCORE = "第一次评测尚未运行", "no evaluation yet";
    WANTED = "应为", "expected";
    BATCH_READ_ONLY = "只读：日志里没有批次的词元", "read only: the log holds no tokens of a batch";
    NO_BATCH = "下一步完成后，这里显示它训练用的词元", "the tokens of the next step appear here";
    NO_BATCH_HERE = "这个阶段训练时，这里显示它的词元", "its tokens appear here while the stage trains";
    UNTRAINED = "不计损失", "not trained on";
    TRAINED = "计入损失", "trained on";
    SCALE = "词元概率", "token p";
    ROWS = "行", "rows";
    BY_HAND = "手写", "by hand";
    PROBABILITY = "概率", "p";
    HELD = "已锁定", "locked";
    NO_TALK = "按 i 或直接输入汉字，与正在训练的模型对话", "press i to chat with the model while it trains";
    NEW_TALK = "新对话", "new conversation";
    ROLE_USER = "问", "Q";
    ROLE_MODEL = "答", "A";
    BASE = "基座", "base";
    WAIT_ANSWER = "等回答完成再发送；Ctrl-C 停止回答", "wait for the answer; Ctrl-C stops it";
    EDIT_TITLE = "修改成示范", "correct the answer";
    DRAFT_KEPT = "草稿已保留，按 e 继续修改", "draft kept; press e to continue";
    SENT = "已提交训练", "sent to the trainer";
    BESIDE_OFF = "只由正在训练的模型回答", "only the model under training answers";
    SUMMARY_LOSS = "损失", "loss";
    SUMMARY_CHECKPOINT = "检查点", "checkpoint";
    SUMMARY_TIMEOUT = "未等保存完成就退出；已有的检查点完好", "quit before the save finished; earlier checkpoints are intact";
    OFF = "关", "off";
    LINEAR = "线性", "linear";
    LOG_Y = "对数", "log y";
}

/// `第 640 步`, `step 640`.
pub fn at_step(lang: Lang, step: usize) -> String {
    let step = grouped(step as u64);
    match lang {
        Lang::Zh => format!("第 {step} 步"),
        Lang::En => format!("step {step}"),
    }
}

/// Characters too many and too few of a completion.
pub fn astray(lang: Lang, more: usize, fewer: usize) -> String {
    let (many, few) = if lang == Lang::Zh { ("多", "少") } else { ("extra", "missing") };
    let parts = [(many, more), (few, fewer)].into_iter().filter(|p| p.1 > 0).map(|(word, n)| format!("{word} {n}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// The adapter's name; that of the CPU engine has its number of threads.
pub fn adapter(lang: Lang, name: &str) -> String {
    let threads = name.strip_prefix("cpu (").and_then(|rest| rest.strip_suffix(" threads)"));
    match (threads.and_then(|n| n.parse::<u64>().ok()), lang) {
        (Some(n), Lang::Zh) => format!("cpu（{n} 线程）"),
        (Some(n), Lang::En) => format!("cpu ({})", plural(n, "thread")),
        (None, _) => name.to_owned(),
    }
}

/// The number of steps since the last save.
pub fn since_save(lang: Lang, steps: usize) -> String {
    match lang {
        Lang::Zh => format!("距上次保存 {} 步", grouped(steps as u64)),
        Lang::En => format!("{} since the last save", plural(steps as u64, "step")),
    }
}

/// A text is recalled whole for the first time.
pub fn came_true(lang: Lang, prompt: &str, step: usize) -> String {
    let step = grouped(step as u64);
    match lang {
        Lang::Zh => format!("{prompt} 第 {step} 步背出来了"),
        Lang::En => format!("{prompt} is recalled whole for the first time, at step {step}"),
    }
}

/// How much was copied.
pub fn copied(lang: Lang, characters: usize) -> String {
    match lang {
        Lang::Zh => format!("已复制 {} 个字符", grouped(characters as u64)),
        Lang::En => format!("{} copied", plural(characters as u64, "character")),
    }
}

/// Why a text is not copied.
pub fn too_long_to_copy(lang: Lang, bytes: usize, most: usize) -> String {
    let (bytes, most) = (grouped(bytes as u64), grouped(most as u64));
    match lang {
        Lang::Zh => format!("内容有 {bytes} 字节，终端的剪贴板最多接受 {most} 字节；可以用 E 导出"),
        Lang::En => format!("the text has {bytes} bytes, and terminals copy at most {most}; E exports it"),
    }
}

/// The number of steps that are lost.
pub fn lost(lang: Lang, steps: usize) -> String {
    match (lang, steps) {
        (Lang::Zh, _) => format!("最近 {} 步未保存", grouped(steps as u64)),
        (Lang::En, 1) => "the last step was not saved".to_owned(),
        (Lang::En, _) => format!("the last {} were not saved", plural(steps as u64, "step")),
    }
}

/// The question before switching stages.
pub fn switch(lang: Lang, from: &str, step: usize, to: &str) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("保存 {from} {at}并切换到{to}？"),
        Lang::En => format!("Save {from} at {at} and switch to {to}?"),
    }
}

/// The number of demonstrations, and the step from which the newest is trained on.
pub fn demonstrated(lang: Lang, count: usize, step: usize) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("示范共 {count} 条，{at}起参与训练"),
        Lang::En => format!("{}; trained on from {at}", plural(count as u64, "demonstration")),
    }
}

/// The step from which a corrected answer is trained on.
pub fn corrected(lang: Lang, step: usize) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("已修改，{at}起参与训练"),
        Lang::En => format!("corrected, trained on from {at}"),
    }
}

/// A task's name.
pub fn task(name: &str) -> Option<Tr> {
    Some(match name {
        // Drawn with the glyph set's arrow.
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

/// Why a stage ended, for the reasons that the trainer sends.
pub fn end_reason(reason: &str) -> Option<Tr> {
    match reason {
        "done" => Some(DONE),
        "stopped" => Some(STOPPED),
        _ => None,
    }
}

/// What was cut from a prompt to leave room for the answer.
pub fn left_out(lang: Lang, what: LeftOut) -> String {
    let LeftOut { tokens, exchanges } = what;
    match (lang, exchanges) {
        (Lang::Zh, 0) => format!("过长，省略开头 {tokens} 词元"),
        (Lang::Zh, n) => format!("过长，省略最早 {n} 轮对话（{tokens} 词元）"),
        (Lang::En, 0) => format!("too long: first {} left out", plural(tokens as u64, "token")),
        (Lang::En, 1) => format!("too long: oldest exchange left out ({})", plural(tokens as u64, "token")),
        (Lang::En, n) => format!("too long: oldest {n} exchanges left out ({})", plural(tokens as u64, "token")),
    }
}

/// Why an answer ended, for the reasons that the trainer sends.
pub fn finish_reason(reason: &str) -> Option<Tr> {
    Some(match reason {
        "stop" => Tr("正常结束", "end of text"),
        "length" => Tr("达到长度上限", "length limit"),
        "cancelled" => CANCELLED,
        _ => return None,
    })
}
/// A name that does not exist.
pub fn spoken_none(lang: Lang, word: &str, all: &str) -> String {
    match lang {
        Lang::Zh => format!("没有 {word:?}；有 {all}"),
        Lang::En => format!("there is no {word:?}; there are {all}"),
    }
}

/// A key of run.toml was set and applies.
pub fn set_now(lang: Lang, key: &str) -> String {
    match lang {
        Lang::Zh => format!("{key} 已写入 run.toml，下一步起生效"),
        Lang::En => format!("{key} is set in run.toml and applies from the next step"),
    }
}

/// A key of run.toml was set and waits.
pub fn set_waits(lang: Lang, key: &str) -> String {
    match lang {
        Lang::Zh => format!("{key} 已写入 run.toml，重新打开阶段后生效：输入 :reopen"),
        Lang::En => format!("{key} is set in run.toml and applies when the stage is opened again: type :reopen"),
    }
}

/// A key of run.toml was set, and the stage is opened again.
pub fn set_reopens(lang: Lang, key: &str) -> String {
    match lang {
        Lang::Zh => format!("{key} 已写入 run.toml，保存后重新打开阶段"),
        Lang::En => format!("{key} is set in run.toml; the stage is saved and opened again"),
    }
}
