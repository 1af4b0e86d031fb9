//! The trainer's sentences in Chinese. The trainer and its logs are English: each sentence is a template with values, and
//! the template identifies it here, also in a log that an earlier version wrote. A sentence that is not listed (an error
//! of the system, a setting of run.toml) is shown as it is.

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
    // What is refused.
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

/// A sentence of the trainer in the screen's language.
pub fn trainer(lang: Lang, text: &str) -> String {
    let found = || NOTES.iter().find_map(|(template, zh)| Some((values(template, text)?, *zh)));
    let Some((values, zh)) = (lang == Lang::Zh).then(found).flatten() else { return text.to_owned() };
    // One pass, so that a value with braces stays as it is.
    let mut parts = zh.split('{');
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once('}').unwrap_or(("", part));
        words.push_str(number.parse::<usize>().ok().and_then(|at| values.get(at)).unwrap_or(&""));
        words.push_str(rest);
    }
    words
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
                all.push_str(&templates(&fs::read_to_string(&path).unwrap()));
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
        // These sentences are put together from parts.
        let parts = [
            "step {}: the gradients were too large",
            "{} starts from a checkpoint of {}, and",
            "{} needs a checkpoint of {}, and",
            "{} do not fit the context",
            "files are held out by their names",
            "files that describe the data",
            "every file has the name of a held-out split",
        ];
        let missing: Vec<&str> = NOTES
            .iter()
            .map(|note| note.0)
            .filter(|template| !all.contains(template) && !parts.iter().any(|part| template.contains(part)))
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_value_of_a_template_is_in_its_translation_once() {
        for (template, zh) in NOTES {
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
