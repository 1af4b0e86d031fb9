//! Texts of the data view: sources, cleaning, documents, changes.

use super::{
    lang::{Lang, Tr, strings},
    notes::change,
    screen::at_step,
};
use crate::{
    protocol::Cause,
    ui::text::{grouped, plural},
};

strings! {
    DATA = "数据", "data";
    STATE = "状态", "status";
    STATE_OK = "正常", "ok";
    STATE_WATCHED = "监听中", "watched";
    REQUESTED = "已请求", "requested";
    REREADING = "正在重新读取数据和 run.toml", "re-reading the data and run.toml";
    NO_SOURCES_HERE = "这个阶段不用数据源训练，预训练和微调才用", "this stage does not train on the run's sources; pretrain and sft do";
    NO_DATA = "等待数据统计", "waiting for the data";
    NO_WATCH = "未监听文件", "files are not watched";
    WATCHED_BY = "监听文件", "watching";
    ALL_SOURCES = "所有数据源", "all sources";
    FUNNEL_IN = "输入", "in";
    FUNNEL_OUT = "保留", "kept";
    DOCUMENTS = "篇", "documents";
    DROPPED_SHARE = "丢弃", "dropped";
    RULE_OFF = "关", "off";
    NO_RULES = "这个数据源没有清洗规则", "this source has no cleaning rules";
    BUILT_IN = "内置", "built in";
    TABLE_HAS = "默认", "default";
    APPLYING = "已请求应用，正在重新清洗", "requested; cleaning the text again";
    COUNTED = "已全部统计", "all counted";
    DROPPED_NOW = "规则丢弃", "dropped by rules";
    COME_BACK = "将恢复", "would be kept";
    WOULD_GO = "将丢弃", "would be dropped";
    NO_EXAMPLES = "没有变化", "no change";
    NO_DOCUMENT = "等待文档", "waiting for a document";
    BEGINNING = "前", "first";
    MEAN_LOSS = "平均损失", "mean loss";
    HELD_OUT_TOO = "留出", "held out";
    MARKED_KEEP = "已标注保留", "marked keep";
    MARKED_DROP = "已标注丢弃", "marked drop";
    WANTED_TEXT = "保留", "keep";
    UNWANTED_TEXT = "丢弃", "drop";
    MARKS_TRAIN = "y 保留 / x 丢弃：标注用于训练质量分类器", "y keep, x drop: marks train the quality classifier";
    LOSS_SCALE = "满刻度", "full scale";
    NONE_DROPPED = "没有文档被丢弃", "no documents were dropped";
    WAIT_DROPPED = "等待被丢弃的文档", "waiting for dropped documents";
    ANY_RULE = "所有规则", "all rules";
    NO_TEXT = "没有保存原文", "the text was not kept";
    SIMILARITY = "相似度", "similarity";
    SAME_TEXT = "完全相同", "identical";
    STAYS = "保留", "kept";
    GOES = "丢弃", "dropped";
    NO_NEXT = "等待下一批", "waiting for the next batch";
    CHARACTERS_PER_TOKEN = "字/词元", "chars/token";
    BYTES_PER_TOKEN = "字节/词元", "bytes/token";
    UNKNOWN = "无法编码", "unknown";
    FALLBACK = "字节回退", "byte fallback";
    TOP_TOKENS = "最常见", "most common";
    NO_CHANGES = "还没有改动：修改 run.toml 或数据文件，下一批就会用上", "no changes yet: edit run.toml or a data file, and the next batch uses it";
    BROKEN = "改动无效", "the edit cannot be used";
    REPLAYED = "重放", "replayed";
    RECALL = "背诵", "recall";
    UNSEEN = "留出", "held out";
    TAG_EDIT = "改动", "edit";
    HELP_DATA = "查看数据时", "Viewing the data";
    HELP_MIX = "本模型的训练数据", "What this model reads";
    HELP_GPT3 = "GPT-3 的训练数据（论文表 2.2）", "What GPT-3 read (Table 2.2 of its paper)";
    HELP_DATASET = "数据集", "dataset";
    HELP_300B = "轮数/3000 亿", "epochs/300 B";
    HELP_101 = "权重合计 101%：论文里四舍五入过", "the weights add up to 101%: the paper rounds them";
    HELP_GPT1 = "GPT-1：BooksCorpus，约 7,000 本书，约 5 GB", "GPT-1: BooksCorpus, about 7,000 books, about 5 GB";
    HELP_GPT2 = "GPT-2：WebText，800 万篇网页，40 GB", "GPT-2: WebText, 8 million documents, 40 GB";
    HELP_READ = "已读取", "read so far";
    HELP_EPOCHS = "轮数 = 权重 x 已读取的词元 / 数据源的词元", "epochs = weight x tokens read / tokens of the source";
    HELP_MARKS = "损失图上的竖线是改动：k 按键，c run.toml，f 数据文件，r 恢复训练时", "vertical lines in the loss chart are changes: k by key, c in run.toml, f in data files, r on resume";
}

/// GPT-3's training mix (Brown et al. 2020, Table 2.2): dataset, tokens in billions, weight in percent, epochs when
/// training for 300 billion tokens.
pub const GPT3: [(&str, u32, u32, &str); 5] = [
    ("Common Crawl", 410, 60, "0.44"),
    ("WebText2", 19, 22, "2.9"),
    ("Books1", 12, 8, "1.9"),
    ("Books2", 55, 8, "0.43"),
    ("Wikipedia", 3, 3, "3.4"),
];

/// The cause of a change.
pub fn cause(cause: Cause) -> Tr {
    match cause {
        Cause::Key => Tr("按键", "key"),
        Cause::Config => Tr("run.toml", "run.toml"),
        Cause::Files => Tr("文件", "files"),
        Cause::Reopened => Tr("恢复时", "on resume"),
    }
}

/// The letter for a cause on a chart.
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

/// A change as a line of the log.
pub fn edited(lang: Lang, step: usize, by: Cause, text: &str, seconds: Option<f64>, replayed: bool) -> String {
    let mut facts = vec![change(lang, text), from_step(lang, step), cause(by).get(lang).to_owned()];
    facts.extend(seconds.map(|s| format!("{s:.1} s")));
    facts.extend(replayed.then(|| REPLAYED.get(lang).to_owned()));
    facts.join("  ")
}

/// How long ago something changed, in ten cells: `3 秒前改`, `edited 3s`.
pub fn edited_ago(lang: Lang, seconds: u64) -> String {
    let (n, zh, en) = match seconds {
        0..60 => (seconds, "秒", "s"),
        60..3600 => (seconds / 60, "分", "m"),
        _ => (seconds / 3600, "时", "h"),
    };
    match lang {
        Lang::Zh => format!("{n} {zh}前改"),
        Lang::En => format!("edited {n}{en}"),
    }
}

/// `已统计 1,204 / 9,000 篇`.
pub fn counted(lang: Lang, documents: u64, of: u64) -> String {
    let (documents, total, of) = (grouped(documents), of, grouped(of));
    match lang {
        Lang::Zh => format!("已统计 {documents} / {of} 篇"),
        Lang::En => format!("{documents} of {} counted", plural(total, "document")),
    }
}

/// The publication of a default threshold.
pub fn bound_source(lang: Lang, source: &str) -> &str {
    if lang == Lang::Zh && source == "ours" { "丹炉" } else { source }
}

/// A rule's description in Chinese; in English its name is used.
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
        "boilerplate" => "模板文字多",
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
        "malformed" => "格式错误",
        "too_deep" => "嵌套过深",
        "no_text_field" => "没有正文字段",
        "empty" => "空文档",
        "bad_encoding" => "编码错误",
        "cut_off" => "文件不完整",
        _ => return None,
    })
}
