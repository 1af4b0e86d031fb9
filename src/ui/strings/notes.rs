//! The trainer's sentences in Chinese. The trainer and its logs are English: each sentence is a template with values, and
//! the template identifies it here, also in a log that an earlier version wrote. A sentence that is not listed (an error
//! of the system, a setting of run.toml) is shown as it is; so is a value, unless it is a sentence itself: `{=0}`.

use super::lang::Lang;

/// A template as the trainer has it, with `{}` for each value, and its translation, with the values by number.
type Note = (&'static str, &'static str);

#[rustfmt::skip]
const NOTES: &[Note] = &[
    ("{}: held-out loss {}, unigram entropy {} nats per token", "{0}：留出损失 {1}，只看字频的熵 {2}（nat/词元）"),
    ("{} pairs of the model's own answers, {} built-in ones", "模型自己的回答 {0} 对，内置 {1} 对"),
    ("only {} pairs of the model's own answers: most pairs are built-in ones; fine-tune the model further for more of its own", "模型自己的回答只有 {0} 对，其余用内置的；继续微调可以得到更多"),
    ("{} {} do not fit the context of {} and are left out", "{0} 个 {1} 超过上下文长度 {2}，已略去"),
    ("{} votes are new: {} more steps", "新增 {0} 票：再训练 {1} 步"),
    ("{} is complete at step {}; --steps N trains N steps more", "{0} 已在第 {1} 步完成；--steps N 再训练 N 步"),
    ("{} is complete at step {}; `danlu train --stage {} --steps N` continues", "{0} 已在第 {1} 步完成；`danlu train --stage {2} --steps N` 可继续"),
    ("mix and batch of run.toml apply from step {}", "run.toml 的配比和批次从第 {0} 步起生效"),
    ("the changes since then ({}) apply from step {}, after the repeated steps", "此后的改动（{0}）在重放之后，从第 {1} 步起生效"),
    ("the sources have changed since the checkpoint: the mix starts over", "数据源与检查点不同：配比重新计数"),
    ("the data have changed since the checkpoint: the batches differ from here on", "数据与检查点不同：此后的批次不再相同"),
    ("the data of step {} are gone; the current data are used", "第 {0} 步的数据已不在，改用现有数据"),
    ("the data of the next steps are gone; the current data are used", "后面几步的数据已不在，改用现有数据"),
    ("the broken file is readable again", "出错的文件又能读取了"),
    ("run.toml: {} will apply when {} is opened again", "run.toml：{0} 在下次打开 {1} 时生效"),
    ("step {}: the gradients were too large for f16; the loss scale is halved and the step was not applied", "第 {0} 步：梯度超出 f16 范围，损失缩放减半，这一步未更新"),
    ("step {}: loss {} or gradient norm {} is not finite; the step was not applied", "第 {0} 步：损失 {1} 或梯度范数 {2} 非有限，这一步未更新"),
    ("step {} is far off; one more step is taken before the end is saved", "第 {0} 步偏离太大；多训练一步再保存"),
    ("from step {} on {}; [guard] spikes is false", "从第 {0} 步起 {1}；[guard] spikes 为 false"),
    ("checkpoint {} was written after the weights went wrong, and is removed", "检查点 {0} 写于权重出错之后，已删除"),
    ("this file system does not guarantee that the checkpoint survives a power cut", "这个文件系统不保证断电后检查点完好"),
    ("the checkpoint was made on {} ({}); on {} training continues, but not bit for bit", "检查点在 {0}（{1}）上生成；在 {2} 上可以继续训练，但不再逐位一致"),
    ("the checkpoint was trained in f16, which {} lacks", "检查点用 f16 训练，而 {0} 不支持"),
    ("the checkpoint was trained in {}; training continues in {}, not bit for bit", "检查点用 {0} 训练；现在用 {1} 继续，不再逐位一致"),
    ("the adapter's matrix units failed their check and are not used: {}", "适配器的矩阵单元未通过自检，不使用：{0}"),
    ("the reward model cannot be asked: {}", "奖励模型无法打分：{0}"),
    ("the reward model was not fitted: {}", "奖励模型没有重训：{0}"),
    ("the reward model can score but not learn from votes: {}", "奖励模型可以打分，但不能从投票学习：{0}"),
    ("held-out pairs: the policy prefers the better answer more than its reference does in {} %", "留出的偏好对：{0} % 中策略比参考模型更偏向较好的回答"),
    ("{}.learning_rate is 0: nothing will be learned", "{0}.learning_rate 为 0：什么也学不到"),
    ("{}.patience has no effect: eval_steps is 0, so the stage is never evaluated", "{0}.patience 不起作用：eval_steps 为 0，从不评测"),
    ("{}.patience has no effect: it is {}, and only {} evaluations come before the end at step {}", "{0}.patience 不起作用：它是 {1}，而到第 {3} 步结束前只评测 {2} 次"),
    ("the fork has no {}, which cannot be read: {}", "分叉里没有 {0}，因为它读不出来：{1}"),
    ("{} lines past step {} were moved to {}", "第 {1} 步之后的 {0} 行已移到 {2}"),
    ("{} judged answers past step {} were moved to {}", "第 {1} 步之后的 {0} 个评分回答已移到 {2}"),
    ("earlier versions of the data could not be removed: {}", "旧版本的数据未能删除：{0}"),
    ("{}: {} files are held out by their names and never trained on, the first {}", "{0}：{1} 个文件按名字留作评测，不参与训练，第一个是 {2}"),
    ("{}: {} files that describe the data or are hidden (README, LICENSE, dataset_infos.json) are not read, the first {}", "{0}：{1} 个说明文件或隐藏文件（README、LICENSE、dataset_infos.json）不读，第一个是 {2}"),
    ("{}: every file has the name of a held-out split, so they are trained on", "{0}：所有文件都叫验证集或测试集的名字，因此照常训练"),
    ("the lines name no step: the steps shown are the numbers of the lines", "日志行没有步号：显示的是行的序号"),
    ("the log does not show what is trained: it is shown as {}; danlu watch --stage names another stage", "日志看不出训练的是什么，按 {0} 显示；danlu watch --stage 可指定阶段"),
    ("the stream has ended", "数据流已结束"),
    ("the stream broke off: {}", "数据流中断：{0}"),
    ("the probes of step {} are not completed: {}", "第 {0} 步的探针没有续写：{1}"),
    ("{}.warmup_steps is {} and the stage ends at step {}: the learning rate reaches {}, never {}", "{0}.warmup_steps 为 {1}，而阶段在第 {2} 步结束：学习率只到 {3}，到不了 {4}"),
    ("{}.warmup_steps {} and decay_steps {} are more than the {} steps: after the warm-up the learning rate falls at once from {} to {}", "{0}.warmup_steps {1} 与 decay_steps {2} 之和超过 {3} 步：预热后学习率直接从 {4} 落到 {5}"),
    ("{}.decay_steps has no effect: lr_scheduler_type is {}, and only wsd has a decay phase", "{0}.decay_steps 不起作用：lr_scheduler_type 为 {1}，只有 wsd 有衰减阶段"),
    ("--set {}={} has no effect on {}: --set applies to this launch only; write it into run.toml, or pass it when that stage is trained", "--set {0}={1} 对 {2} 不起作用：--set 只用于这次启动；请写入 run.toml，或在训练那个阶段时给出"),
    ("the learning rate jumps: step {} was trained at {}, step {} will be at {}, since the schedule changed (it ends at step {}); set learning_rate and lr_scheduler_type = \"constant\" to keep it", "学习率跳变：第 {0} 步为 {1}，第 {2} 步将为 {3}，因为学习率计划变了（到第 {4} 步结束）；要保持不变，设 learning_rate 和 lr_scheduler_type = \"constant\""),
    ("the checkpoint was made by revision {} of the {} engine, and this is revision {}: sums are rounded differently, so training continues, but not bit for bit", "检查点由 {1} 引擎的第 {0} 版生成，现在是第 {2} 版：求和的舍入不同，可以继续训练，但不再逐位一致"),
    ("no checkpoint of {} was saved at a step with an evaluation, so none is the best; {} begins from the newest", "{0} 没有在评测的步上保存过检查点，因此没有“最好”的；{1} 从最新的开始"),
    ("{}: {}; it was restored from the checkpoint {}", "{0}：{1}；已从检查点 {2} 恢复"),
    ("what was there is now {}", "原来的文件现在是 {0}"),
    ("{}: {}; no checkpoint has one yet, so it is trained again", "{0}：{1}；还没有检查点带有它，重新训练"),
    ("the probe {}… is longer than the model's {} positions leave beside its answer: its first {} tokens are left out", "探针 {0}… 太长，模型的 {1} 个位置放不下它和回答：略去开头 {2} 个词元"),
    ("checkpoint {}: left out since the spike at step {}", "检查点 {0}：第 {1} 步出现尖峰，因此不用"),
    ("checkpoint {} was written after the weights went wrong: {}", "检查点 {0} 写于权重出错之后：{1}"),
    ("{}: it has no tokenizer.json; the run's tokenizer is used, and its ids may mean something else to these weights", "{0}：没有 tokenizer.json；改用 run 的分词器，它的 id 对这些权重可能是别的意思"),
    ("{}: its chat template is not used, since {}; danlu's takes its place", "{0}：不用它的对话模板，因为 {1}；改用丹炉的"),
    ("{}: the model keeps its own chat template", "{0}：沿用模型自己的对话模板"),
    ("{} line {}: passed over: {}", "{0} 第 {1} 行：略过：{2}"),
    ("{}; the file is skipped", "{0}；跳过这个文件"),
    ("{}: {} lines are not votes of danlu and were skipped", "{0}：{1} 行不是丹炉的投票，已跳过"),
    ("source {}: {} conversations are left out, the first since {}", "数据源 {0}：略去 {1} 段对话，第一段因为 {2}"),
    ("source {}: text cleaned by an earlier danlu is used unchanged, since the run was trained on it; remove unit-* in {} to clean it again", "数据源 {0}：沿用旧版丹炉清洗的文本，因为这个 run 用它训练过；删除 {1} 里的 unit-* 可重新清洗"),
    ("{}, left by a killed save, was removed", "已删除被中断的保存留下的 {0}"),
    ("a leftover of a killed save could not be removed: {}", "被中断的保存留下的文件未能删除：{0}"),
    ("steps {} to {} were trained by {}", "第 {0} 到 {1} 步由 {2} 训练"),
    ("the reports have no rewards: {}", "报告里没有奖励：{0}"),
    ("failed: {}", "失败：{=0}"),
    ("from step {} on {}", "从第 {0} 步起{=1}"),
    ("{} ({} steps in a row out of bounds)", "{=0}（连续 {1} 步越界）"),
    ("{} ({} updates in a row out of bounds)", "{=0}（连续 {1} 次更新越界）"),
    ("the loss is {}, and guessing gives {}", "损失为 {0}，而瞎猜是 {1}"),
    ("the loss is {}, usually {}", "损失为 {0}，通常为 {1}"),
    ("the gradient norm is {}, usually {}", "梯度范数为 {0}，通常为 {1}"),
    ("the loss has risen to {} from {} and the gradient norm fallen to {} from {}", "损失从 {1} 升到 {0}，梯度范数从 {3} 降到 {2}"),
    ("the median loss of {} steps has risen to {} from {}", "{0} 步损失的中位数从 {2} 升到 {1}"),
    ("loss {} or gradient norm {} is not finite", "损失 {0} 或梯度范数 {1} 非有限"),
    ("learning_rate {} of step {} is not repeated; it is {} again", "不再使用第 {1} 步改的学习率 {0}，恢复为 {2}"),
    ("{}: from step {} on", "{=0}：从第 {1} 步起"),
    // What is refused.
    ("{} has no dropout; set {} while pretrain or sft trains", "{0} 不用 dropout；请在预训练或微调时设置 {1}"),
    ("{} is {} in run.toml already", "run.toml 里 {0} 已经是 {1}"),
    ("{} stays as it is: {}", "{0} 保持不变：{=1}"),
    ("a run keeps its seed once it has a checkpoint; start a new run for another", "run 有检查点之后不再换种子；要换就新建 run"),
    ("a run keeps its tokenizer once it has a checkpoint; start a new run for another", "run 有检查点之后不再换 tokenizer；要换就新建 run"),
    ("a run keeps the shape of its model once it has a checkpoint; start a new run for another", "run 有检查点之后模型的形状不变；要换就新建 run"),
    ("the change was not applied: {}", "改动没有生效：{=0}"),
    ("{} was set by an option when danlu was started; start it without the option to change the key here", "{0} 由启动时的选项设定；不带该选项启动，才能在这里改"),
    ("a write failed; remove its cause and save before taking steps", "写入失败；先排除原因并保存，再单步"),
    ("training is running; pause it before taking single steps", "正在训练；先暂停，再单步"),
    ("{} is complete at step {}", "{0} 已在第 {1} 步完成"),
    ("{} was stopped; open it again before taking steps", "{0} 已停止；先重新打开，再单步"),
    ("pair {} has no vote to take back", "第 {0} 对没有可撤销的投票"),
    ("the reward model is being trained and learns from votes at every save already", "奖励模型正在训练，每次保存时都已在学习投票"),
    ("{} has no checkpoint of {}; danlu runs lists what there is", "{0} 没有 {1} 的检查点"),
    ("{} has no checkpoint {}-{}; of {} there are the steps {}", "{0} 没有检查点 {1}-{2}；{3} 有这些步：{4}"),
    ("there is no checkpoint {} in {}", "{1} 没有检查点 {0}"),
    ("{} is not a run", "{0} 不是 run"),
    ("{} is not removed: it is pinned; unpin it first", "{0} 没有删除：它已固定，先取消固定"),
    ("{} is not removed: {} began from it or learns from it", "{0} 没有删除：{1} 从它开始，或向它学习"),
    ("{} is not removed: {} reads its data there", "{0} 没有删除：{1} 在读取那里的数据"),
    ("{} is not removed: {} was forked from it; remove that first", "{0} 没有删除：{1} 从它分叉而来，先删除后者"),
    ("{} is not renamed: {} reads its data there; change root in that run's run.toml first", "{0} 没有改名：{1} 在读取那里的数据；先修改它的 run.toml 里的 root"),
    ("the thread that looked at the runs has ended; ask again", "查看 run 的线程已结束，请再试一次"),
    ("this run is open; open another one first", "这个 run 正打开着；先打开另一个"),
    ("the run {} is in use by {}; wait until it ends, or choose another run with --run", "run {0} 正被 {1} 使用；等它结束，或用 --run 另选一个"),
    ("this is a replay of the run's files: nothing is trained or changed here", "这是 run 文件的回放：这里不训练，也不改动"),
    ("this training is only watched: another process trains, and nothing is changed here", "只读观看：训练在另一个进程里，这里不能改动"),
    ("nothing is written into the folder that is read here; name a file elsewhere: export svg FILE", "不向正在读取的文件夹写入；请另写一个文件：export svg 文件"),
    ("this stage does not train on the run's sources; pretrain and sft do", "这个阶段不用数据源训练，预训练和微调才用"),
    ("this stage samples no answers to learn from", "这个阶段不采样回答"),
    ("no update in this launch yet; look again after the next", "本次启动后还没有更新，下一次更新后再看"),
    ("dpo learns from pairs and samples no answers; ppo and grpo do", "DPO 从偏好对学习，不采样回答；PPO 和 GRPO 才采样"),
    ("the stage has failed; open it again first", "这个阶段已失败，请先重新打开"),
    ("{} was not opened", "已取消打开 {0}"),
    ("{} is the stage that runs", "{0} 正在运行"),
    ("{} answers no questions yet; fine-tune the model first (stage sft)", "{0} 还不会回答问题；先微调模型"),
    ("{} starts from a checkpoint of {}, and this run has none; train it first: danlu train --stage {} --run {}", "{0} 要从 {1} 的检查点开始，而这个 run 还没有；先训练 {1}"),
    ("{} needs a checkpoint of {}, and this run has none; train it first: danlu train --stage {} --run {}", "{0} 需要 {1} 的检查点，而这个 run 还没有；先训练 {1}"),
    ("the guard has stopped {}; open {} again, from its newest checkpoint", "守卫停止了 {0}；请从最新检查点重新打开"),
    ("the prompt is empty; type one, or press n for a built-in prompt", "提示词为空；请输入，或按 n 用内置提示词"),
    ("the prompt is empty", "提示词为空"),
    ("the prompt has {} tokens, more than the {} that leave room for an answer", "提示词有 {0} 个词元，最多 {1} 个才放得下回答"),
    ("{} answers to {} were {}; try another prompt", "对 {1} 的 {0} 个回答都相同或为空（{2}）；换一个提示词"),
    ("pair {} is not on offer any more; take another one", "第 {0} 对已不能投票，请换一对"),
    ("there is no vote to take back", "没有可撤销的投票"),
    ("there is no vote for either side yet, so nothing to learn from", "还没有分出好坏的投票，无从学习"),
    ("the run has no reward model to train on votes; train it first: danlu train --stage reward --run {}", "这个 run 还没有奖励模型可用投票重训；先训练奖励模型"),
    ("the reward model is being trained and learns from votes at every step already", "奖励模型正在训练，每一步都已在学习投票"),
    ("the vote was not saved: {}", "投票没有保存：{0}"),
    ("the vote was not taken back: {}", "投票没有撤销：{0}"),
    ("a demonstration needs a question and a non-empty answer", "示范需要一个问题和一个非空的回答"),
    ("the demonstration cannot be learned from: {}", "这条示范无法用于训练：{0}"),
    ("the demonstration has {} tokens, more than the context of {}; shorten it", "示范有 {0} 个词元，超过上下文长度 {1}；请缩短"),
    ("steps up to {} are repeated unchanged; change the weights after them", "第 {0} 步之前按原样重放，之后再改权重"),
    ("{} has no text to train on", "{0} 没有可训练的文本"),
    ("{} is the only source; there is nothing to weigh it against", "只有 {0} 一个数据源，没有配比可调"),
    ("{} is not a [[source]] of run.toml; built-in text is not cleaned", "{0} 不是 run.toml 里的 [[source]]；内置文本不做清洗"),
    ("{} has no document to train on", "{0} 没有可训练的文档"),
    ("`{}` is not in the {} documents of {} from number {} to {}", "{2} 第 {3} 到 {4} 篇共 {1} 篇文档里没有“{0}”"),
    ("`{}` is in no document of {}", "{1} 的文档里没有“{0}”"),
    ("{} is not a source of text; conversations are shown in the batch", "{0} 不是文本数据源；对话见当前批次"),
    // Why the guard stopped a stage.
    ("the answers became alike: distinct-2 is {}, at the start {}", "回答趋同：distinct-2 为 {0}，开始时 {1}"),
    ("the answers repeat themselves: {} of their character pairs, at the start {}", "回答自我重复：{0} 的相邻字对重复，开始时 {1}"),
    ("the answers no longer end: {} % do, at the start {} %", "回答不再正常结束：只有 {0} %，开始时 {1} %"),
    ("the answers have {} characters, at the start {}", "回答长 {0} 字，开始时 {1} 字"),
    ("the policy collapsed: KL from the reference is {} nats per answer", "策略崩溃：与参考模型的 KL 为每个回答 {0} nat"),
];

/// The parts of a change, as `edits.jsonl` describes it.
#[rustfmt::skip]
const EDITS: &[Note] = &[
    ("the stage begins", "阶段开始"),
    ("other data", "数据有变"),
    ("the same documents from other files", "文档相同，文件不同"),
    ("batch {} tokens → {} tokens", "批次 {0} → {1} 词元"),
    ("{} other text in {} document", "{0} 的 {1} 篇内容有变"),
    ("{} other text in {} documents", "{0} 的 {1} 篇内容有变"),
    ("{} {} → {} document", "{0} {1} → {2} 篇"),
    ("{} {} → {} documents", "{0} {1} → {2} 篇"),
    ("{} {} document", "{0} {1} 篇"),
    ("{} {} documents", "{0} {1} 篇"),
    ("{} and {} more", "{0} 等，另有 {1} 个"),
];

/// A description of a change that names shares only: its commas are no ends of parts.
const SHARES: Note = ("shares of texts, conversations and demonstrations", "文本、对话和示范的占比");

/// A sentence of the trainer in the screen's language.
pub fn trainer(lang: Lang, text: &str) -> String {
    if lang == Lang::Zh { in_chinese(NOTES, text).unwrap_or_else(|| text.to_owned()) } else { text.to_owned() }
}

/// A change in the screen's language, without characters that are two cells wide on some terminals.
pub fn change(lang: Lang, text: &str) -> String {
    let chinese = |part: &str| in_chinese(EDITS, part).unwrap_or_else(|| part.to_owned());
    let words = match lang {
        Lang::Zh if text == SHARES.0 => SHARES.1.to_owned(),
        Lang::Zh => text.split(", ").map(chinese).collect::<Vec<_>>().join("，"),
        Lang::En => text.to_owned(),
    };
    words.replace('→', "->").replace('−', "-")
}

/// The translation of a sentence that is one of the templates.
fn in_chinese(templates: &[Note], text: &str) -> Option<String> {
    let (values, zh) = templates.iter().find_map(|(template, zh)| Some((values(template, text)?, *zh)))?;
    // One pass, so that a value with braces stays as it is.
    let mut parts = zh.split('{');
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once('}').unwrap_or(("", part));
        let value = |number: &str| number.parse::<usize>().ok().and_then(|at| values.get(at)).copied();
        match number.strip_prefix('=') {
            // Several reasons are joined.
            Some(number) => {
                let all = value(number).unwrap_or("").split("; ").map(|part| trainer(Lang::Zh, part));
                words.push_str(&all.collect::<Vec<_>>().join("；"));
            }
            None => words.push_str(value(number).unwrap_or("")),
        }
        words.push_str(rest);
    }
    Some(words)
}

/// The values of a template in a sentence, if the sentence is one of it.
fn values<'t>(template: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut parts = template.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut values = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let at = match parts.peek() {
            None if part.is_empty() => rest.len(),
            None => rest.len().checked_sub(part.len()).filter(|at| rest.get(*at..) == Some(part))?,
            Some(_) => rest.find(part)?,
        };
        let value = &rest[..at];
        rest = &rest[at + part.len()..];
        values.push(value);
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{fs, path::Path};

    use super::*;

    /// The text of a source file with the values of every format string as `{}` and lines joined.
    fn templates(text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            // A brace of the code is followed by other signs first.
            if let Some(end) = rest.find(['{', '}', '\n', '"', ';']).filter(|end| rest[*end..].starts_with('}')) {
                rest = &rest[end..];
            }
        }
        plain.push_str(rest);
        plain
    }

    fn sources(dir: &Path, all: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push_str(&templates(&fs::read_to_string(&path).unwrap().replace("\\\"", "\"")));
            }
        }
    }

    /// A sentence that the trainer no longer says has no place here.
    #[test]
    fn every_template_is_one_of_the_trainers() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut all = String::new();
        sources(&root.join("session"), &mut all);
        sources(&root.join("train"), &mut all);
        sources(&root.join("protocol"), &mut all);
        // These sentences are put together from parts.
        let parts = [
            "step {}: the gradients were too large",
            "{} starts from a checkpoint of {}, and",
            "{} needs a checkpoint of {}, and",
            "{} do not fit the context",
            "files are held out by their names",
            "files that describe the data",
            "every file has the name of a held-out split",
            "batch {} tokens",
            "{} document",
            "{} and {} more",
            "it was restored from the checkpoint",
            "so it is trained again",
            "checkpoint {}: left out since",
            "the change was not applied",
            "from step {} on {}",
            "is in use by",
        ];
        let missing: Vec<&str> = NOTES
            .iter()
            .chain(EDITS)
            .chain([&SHARES])
            .map(|note| note.0)
            .filter(|template| !all.contains(template) && !parts.iter().any(|part| template.contains(part)))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_value_of_a_template_is_in_its_translation_once() {
        for (template, zh) in NOTES.iter().chain(EDITS) {
            let zh = zh.replace("{=", "{");
            let count = template.matches("{}").count();
            for at in 0..9 {
                let times = zh.matches(&format!("{{{at}}}")).count();
                // A command line may be left out where a key does the same.
                assert!(times <= 2 && (at < count || times == 0), "{zh}");
            }
        }
    }

    #[test]
    fn sentences_are_recognised_with_their_values() {
        let zh = |text: &str| trainer(Lang::Zh, text);
        assert_eq!(
            zh("tang300: held-out loss 7.211, unigram entropy 6.494 nats per token"),
            "tang300：留出损失 7.211，只看字频的熵 6.494（nat/词元）"
        );
        assert_eq!(
            zh("2984 pairs of the model's own answers, 300 built-in ones"),
            "模型自己的回答 2984 对，内置 300 对"
        );
        assert_eq!(zh("there is no vote to take back"), "没有可撤销的投票");
        assert_eq!(zh("the vote was not saved: No space left: disk"), "投票没有保存：No space left: disk");
        for other in ["", "cannot open x: no such file", "the vote was not saved", "{}"] {
            assert_eq!(zh(other), other);
        }
        assert_eq!(trainer(Lang::En, "there is no vote to take back"), "there is no vote to take back");
    }

    /// A sentence inside another one is translated with it.
    #[test]
    fn reasons_are_translated_with_what_they_are_the_reason_of() {
        let zh = |text: &str| trainer(Lang::Zh, text);
        assert_eq!(
            zh("from step 40 on the loss is 9.000, usually 2.000 (3 steps in a row out of bounds)"),
            "从第 40 步起损失为 9.000，通常为 2.000（连续 3 步越界）"
        );
        let alike = "the answers became alike: distinct-2 is 0.1, at the start 0.5";
        let ends = "the answers no longer end: 3 % do, at the start 90 %";
        assert_eq!(
            zh(&format!("{alike}; {ends} (2 updates in a row out of bounds)")),
            "回答趋同：distinct-2 为 0.1，开始时 0.5；回答不再正常结束：只有 3 %，开始时 90 %（连续 2 次更新越界）"
        );
        assert_eq!(zh("failed: disk full"), "失败：disk full");
    }

    #[test]
    fn changes_are_in_the_screens_language() {
        for (text, zh, en) in [
            ("tang300 30 % → 40 %", "tang300 30 % -> 40 %", "tang300 30 % -> 40 %"),
            (
                "+ a, a 40 documents, learning_rate 1e-3 → 5e-4, other data",
                "+ a，a 40 篇，learning_rate 1e-3 -> 5e-4，数据有变",
                "+ a, a 40 documents, learning_rate 1e-3 -> 5e-4, other data",
            ),
            (
                "batch 8 × 32 tokens → 2 × 8 × 32 tokens, dropout 0 → 0.1",
                "批次 8 × 32 -> 2 × 8 × 32 词元，dropout 0 -> 0.1",
                "batch 8 × 32 tokens -> 2 × 8 × 32 tokens, dropout 0 -> 0.1",
            ),
            ("a 2 → 1 document", "a 2 -> 1 篇", "a 2 -> 1 document"),
            (SHARES.0, SHARES.1, SHARES.0),
        ] {
            assert_eq!((change(Lang::Zh, text).as_str(), change(Lang::En, text).as_str()), (zh, en));
        }
    }

    /// A string literal of the source without its quotes.
    fn literal(rest: &str) -> String {
        let mut text = String::new();
        let mut chars = rest.chars();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            if c == '\\' {
                text.extend(chars.next());
            } else {
                text.push(c);
            }
        }
        text
    }

    /// What the files of a folder refuse and note.
    fn look(dir: &Path, others: &[&str], all: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if others.iter().any(|other| path.ends_with(other)) {
                continue;
            }
            if path.is_dir() {
                look(&path, others, all);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for says in ["refused(", "Refused(", ".note(", "notes.push("] {
                for (at, _) in code.match_indices(says) {
                    let rest = &code[at + says.len()..];
                    let Some(first) = rest.find('"').filter(|first| *first < 140) else { continue };
                    if !rest[..first].contains(';') {
                        all.push(templates(&literal(&rest[first + 1..])));
                    }
                }
            }
        }
    }

    /// What is said on the screen, found in the source: what a stage refuses and notes. A new sentence needs a
    /// translation.
    #[test]
    fn every_refusal_and_note_has_a_translation() {
        // Of `danlu export`, which has no screen; errors of a file with its place; parts of others.
        let others = ["export", "config", "watch", "prepare/clean.rs", "corpus/files.rs", "train/error.rs"];
        let alone = ["the votes of this run stay in danlu", "{} is handed over", "step {}: {}"];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut said = Vec::new();
        look(&root.join("session"), &others, &mut said);
        look(&root.join("train"), &others, &mut said);
        assert!(said.len() > 60, "{}", said.len());
        let whole = |text: &String| text.ends_with("{}{}") || text.contains("{}{}");
        let missing: Vec<&String> = said
            .iter()
            .filter(|text| !NOTES.iter().any(|note| note.0 == text.as_str()))
            .filter(|text| !whole(text) && !alone.iter().any(|start| text.starts_with(start)))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    /// Values cannot smuggle a place-holder of another value in.
    #[test]
    fn a_value_that_looks_like_a_place_is_a_value() {
        assert_eq!(trainer(Lang::Zh, "the vote was not saved: {0}"), "投票没有保存：{0}");
        assert_eq!(
            trainer(Lang::Zh, "pretrain is complete at step {0}; --steps N trains N steps more"),
            "pretrain 已在第 {0} 步完成；--steps N 再训练 N 步"
        );
    }
}
