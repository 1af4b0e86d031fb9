//! The words of the data room: sources, cleaning, documents, changes.

use super::{Lang, Tr, at_step};
use crate::{protocol::Cause, ui::text::grouped};

strings! {
    PANEL_SOURCES = "来源 sources", "sources";
    PANEL_FILTERS = "清洗 filters", "filters";
    PANEL_DROPPED = "丢掉的 dropped", "dropped";
    PANEL_LOSSES = "各来源损失 loss by source", "loss by source";
    PANEL_TOKENIZER = "分词 tokenizer", "tokenizer";
    PANEL_PREVIEW = "预览 preview", "preview";
    PANEL_NEXT_BATCH = "下一批 next batch", "next batch";
    PANEL_CHANGES = "改动 changes", "changes";
    DATA = "数据", "data";
    STATE = "状态", "state";
    STATE_OK = "正常", "ok";
    STATE_WATCHED = "盯着", "watched";
    STATE_EDITED = "改动", "edited";
    REQUESTED = "已请求", "requested";
    REREADING = "重新读数据和 run.toml", "reading the data and run.toml again";
    NO_ROOM = "在等数据的情况", "waiting for word of the data";
    NO_WATCH = "文件没有盯着", "files are not watched";
    WATCHED_BY = "盯着文件", "watching";
    ALL_SOURCES = "所有来源", "all sources";
    FUNNEL_IN = "进来", "in";
    FUNNEL_OUT = "留下", "out";
    DOCUMENTS = "篇", "documents";
    DROPPED_SHARE = "丢掉", "dropped";
    RULE_OFF = "关", "off";
    VARIOUS = "各不同", "various";
    NO_RULES = "这个来源不清洗：没有规则", "nothing is asked of this source: it has no rules";
    BUILT_IN = "内置", "built in";
    TABLE_HAS = "表里", "table";
    TRYING = "试", "trying";
    APPLYING = "已请求采用，正在重新清洗", "requested; the text is cleaned anew";
    COUNTING = "已看", "looked at";
    COUNTED = "全看过", "all looked at";
    DROPPED_NOW = "丢掉", "dropped";
    COME_BACK = "会回来", "would come back";
    WOULD_GO = "会丢掉", "would go";
    NO_EXAMPLES = "没有变化", "nothing changes";
    NO_DOCUMENT = "在等一篇文字", "waiting for a document";
    BEGINNING = "开头", "beginning";
    MEAN_LOSS = "平均损失", "mean loss";
    HELD_OUT_TOO = "留出", "held out";
    MARKED_KEEP = "已标要", "marked keep";
    MARKED_DROP = "已标不要", "marked drop";
    WANTED_TEXT = "要", "keep";
    UNWANTED_TEXT = "不要", "drop";
    MARKS_TRAIN = "y 要 / x 不要：标记用来训练质量分类器", "y keep, x drop: marks train the quality classifier";
    LOSS_SCALE = "满格", "full bar";
    NONE_DROPPED = "一篇也没有丢", "none was dropped";
    WAIT_DROPPED = "在等丢掉的文字", "waiting for the dropped";
    ANY_RULE = "所有规则", "all rules";
    NO_TEXT = "没有留下文字", "no text is kept";
    SIMILARITY = "相似", "similarity";
    SAME_TEXT = "一模一样", "the same text";
    STAYS = "留下的", "stays";
    GOES = "丢掉的", "dropped";
    NO_NEXT = "在等下一批", "waiting for the next batch";
    CHARACTERS_PER_TOKEN = "字/词元", "chars/token";
    BYTES_PER_TOKEN = "字节/词元", "bytes/token";
    UNKNOWN = "写不出", "unknown";
    FALLBACK = "字节回退", "byte fallback";
    TOP_TOKENS = "最常见", "commonest";
    NO_CHANGES = "还没有改动：改一改 run.toml 或数据文件，下一批就用上", "no change yet: edit run.toml or a data file, and the next batch has it";
    BROKEN = "改动用不了", "the edit cannot be used";
    REPLAYED = "重放", "replayed";
    NO_VALID = "第一次验证还没到", "no validation yet";
    RECALL = "背诵", "recall";
    UNSEEN = "未见", "held out";
    TAG_EDIT = "改动", "edit";
    HELP_ROOM = "看数据时", "Looking at the data";
    HELP_MIX = "这个模型读什么", "What this model reads";
    HELP_GPT3 = "GPT-3 读什么（论文表 2.2）", "What GPT-3 read (its Table 2.2)";
    HELP_DATASET = "数据集", "dataset";
    HELP_300B = "遍数/3000 亿", "epochs/300 B";
    HELP_101 = "权重加起来是 101%：论文里四舍五入过", "the weights add up to 101%: they are rounded in the paper";
    HELP_GPT1 = "GPT-1：BooksCorpus，约 7,000 本书，约 5 GB", "GPT-1: BooksCorpus, about 7,000 books, about 5 GB";
    HELP_GPT2 = "GPT-2：WebText，800 万篇网页，40 GB", "GPT-2: WebText, 8 million documents, 40 GB";
    HELP_READ = "已经读过", "read so far";
    HELP_EPOCHS = "遍数 = 权重 x 读过的词元 / 这个来源的词元", "epochs = weight x tokens read / tokens of the source";
    HELP_MARKS = "损失图上的竖线是改动：k 按键，c run.toml，f 数据文件，r 打开时", "uprights in the loss chart are changes: k by key, c run.toml, f data files, r on opening";
}

/// What GPT-3 was trained on, as its authors tell it (Brown et al. 2020, Table 2.2): dataset, tokens in billions,
/// weight in the mix in percent, epochs when training for 300 billion tokens.
pub const GPT3: [(&str, u32, u32, &str); 5] = [
    ("Common Crawl", 410, 60, "0.44"),
    ("WebText2", 19, 22, "2.9"),
    ("Books1", 12, 8, "1.9"),
    ("Books2", 55, 8, "0.43"),
    ("Wikipedia", 3, 3, "3.4"),
];

/// What asked for a change, in a word.
pub fn cause(cause: Cause) -> Tr {
    match cause {
        Cause::Key => Tr("按键", "key"),
        Cause::Config => Tr("run.toml", "run.toml"),
        Cause::Files => Tr("文件", "files"),
        Cause::Reopened => Tr("打开时", "on opening"),
    }
}

/// The letter that marks it on a chart.
pub fn letter(cause: Cause) -> &'static str {
    match cause {
        Cause::Key => "k",
        Cause::Config => "c",
        Cause::Files => "f",
        Cause::Reopened => "r",
    }
}

/// `第 641 步起`, `from step 641`.
pub fn from_step(lang: Lang, step: usize) -> String {
    let at = at_step(lang, step);
    match lang {
        Lang::Zh => format!("{at}起"),
        Lang::En => format!("from {at}"),
    }
}

/// A change in words, without the signs that take two cells on some terminals.
pub fn plain(text: &str) -> String {
    text.replace('→', "->").replace('−', "-")
}

/// A change in a line of the log.
pub fn edited(lang: Lang, step: usize, by: Cause, text: &str, seconds: Option<f64>, replayed: bool) -> String {
    let mut facts = vec![plain(text), from_step(lang, step), cause(by).get(lang).to_owned()];
    facts.extend(seconds.map(|s| format!("{s:.1} s")));
    facts.extend(replayed.then(|| REPLAYED.get(lang).to_owned()));
    facts.join("  ")
}

/// How long ago something was changed, in nine cells: `3 秒前改`, `edit 3s`.
pub fn edited_ago(lang: Lang, seconds: u64) -> String {
    let (n, zh, en) = match seconds {
        0..60 => (seconds, "秒", "s"),
        60..3600 => (seconds / 60, "分", "m"),
        _ => (seconds / 3600, "时", "h"),
    };
    match lang {
        Lang::Zh => format!("{n} {zh}前改"),
        Lang::En => format!("edit {n}{en}"),
    }
}

/// `看过 1,204 / 9,000 篇`.
pub fn counted(lang: Lang, documents: u64, of: u64) -> String {
    let (documents, of) = (grouped(documents), grouped(of));
    match lang {
        Lang::Zh => format!("看过 {documents} / {of} 篇"),
        Lang::En => format!("{documents} of {of} documents looked at"),
    }
}

/// Where a table has a number from: papers by their names.
pub fn bound_source(lang: Lang, source: &str) -> &str {
    if lang == Lang::Zh && source == "ours" { "丹炉" } else { source }
}

/// What a rule is about, in Chinese; its own name says it in English.
pub fn rule(name: &str) -> Option<&'static str> {
    Some(match name {
        "too_short" => "太短",
        "too_long" => "太长",
        "long_words" => "词太长",
        "short_words" => "词太短",
        "symbols" => "符号多",
        "bullets" => "列表行多",
        "ellipses" => "省略号行多",
        "few_letters" => "文字少",
        "stop_words" => "缺常用词",
        "language" => "不是这种语言",
        "placeholder" => "占位文字",
        "braces" => "有花括号",
        "boilerplate" => "套话行多",
        "duplicate_lines" => "重复的行",
        "duplicate_paragraphs" => "重复的段",
        "duplicate_line_characters" => "重复行的字",
        "duplicate_paragraph_characters" => "重复段的字",
        "line_punctuation" => "行尾缺标点",
        "short_lines" => "短行多",
        "line_breaks" => "换行多",
        "top_2gram" => "最多的 2 元组",
        "top_3gram" => "最多的 3 元组",
        "top_4gram" => "最多的 4 元组",
        "duplicate_5grams" => "重复 5 元组",
        "duplicate_6grams" => "重复 6 元组",
        "duplicate_7grams" => "重复 7 元组",
        "duplicate_8grams" => "重复 8 元组",
        "duplicate_9grams" => "重复 9 元组",
        "duplicate_10grams" => "重复 10 元组",
        "lost_characters" => "缺字",
        "long_lines" => "行太长",
        "longest_line" => "有超长行",
        "quality" => "质量低",
        "exact_duplicate" => "重复",
        "near_duplicate" => "近似重复",
        "probe" => "与探针相同",
        "malformed" => "格式坏",
        "too_deep" => "嵌套太深",
        "no_text_field" => "没有正文字段",
        "empty" => "空的",
        "bad_encoding" => "编码坏",
        "cut_off" => "文件断了",
        _ => return None,
    })
}
