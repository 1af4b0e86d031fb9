//! The lines of a log as what they say: danlu's own lines, and the dictionaries that Trainer and TRL log, as JSON lines, as
//! Python prints them, or as the `log_history` of a trainer_state.json. Other output between them is passed over and
//! counted.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::python;
use crate::{
    base::StageId,
    protocol::{Absent, Event, Line, Metric, StepReport},
};

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    /// The stage, if the line names or shows one.
    pub(super) stage: Option<StageId>,
    /// Unix seconds, if the line has them.
    pub(super) time: Option<f64>,
    /// The step it is about.
    pub(super) step: Option<usize>,
    /// A hash of the line: a line that is read again, because its file was rewritten, is the same.
    pub(super) hash: u64,
    /// What it says.
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A step.
    Step(StepReport),
    /// Anything else.
    Event(Event),
    /// The training is over, after so many seconds.
    Over(f64),
}

/// Keys of a step that are not kept as metrics.
const STEP: [&str; 19] = [
    "stage",
    "time",
    "timestamp",
    "step",
    "global_step",
    "loss",
    "learning_rate",
    "lr",
    "grad_norm",
    "epoch",
    "applied",
    "tokens_per_second",
    "total_tokens",
    "num_tokens",
    "num_input_tokens_seen",
    "step_ms",
    "step_time",
    "total_flos",
    "train_loss",
];

/// Reads the lines of one log, in order.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The stage that lines without one are about: named by the user, or shown by the metrics.
    pub(super) stage: Option<StageId>,
    /// Lines that are neither a log's nor empty.
    pub(super) passed: usize,
    /// Steps planned, as a progress bar or the log says.
    pub(super) planned: Option<usize>,
    /// Whether lines name no step, so that they are counted instead.
    pub(super) counted: bool,
    /// A line without a step, until the progress bar after it says which one it is about.
    waiting: VecDeque<Map<String, Value>>,
    /// Whether there are progress bars.
    bars: bool,
    /// The newest step of the training's.
    bar: Option<usize>,
    /// Step, time and tokens of the line before.
    before: Option<(usize, Option<f64>, Option<f64>)>,
}

impl Reader {
    /// Reads the lines of a log; `stage` is that of lines that name none, if it is known.
    pub(super) fn new(stage: Option<StageId>) -> Reader {
        Reader { stage, ..Reader::default() }
    }

    /// Reads one line; blank lines and progress bars say nothing.
    pub(super) fn line(&mut self, line: &[u8]) -> Vec<Read> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if text.is_empty() {
            return Vec::new();
        }
        if let Some((done, of)) = bar(text) {
            return self.see_bar(done, of);
        }
        let dictionary = dictionary(text);
        let read = dictionary.as_ref().and_then(|value| self.entry(value));
        if read.is_none() {
            self.passed += 1;
        }
        read.unwrap_or_default()
    }

    /// The log is quiet or at its end: a line that waits for its step waits no longer. Where bars are printed the next
    /// one will come, unless the log has ended.
    pub(super) fn rest(&mut self, ended: bool) -> Vec<Read> {
        if self.bars {
            if ended {
                // Which step they are about is not known.
                self.passed += self.waiting.drain(..).count();
            }
            return Vec::new();
        }
        let mut read = Vec::new();
        while let Some(map) = self.waiting.pop_front() {
            self.counted = true;
            read.extend(self.step(&map, self.before.map_or(0, |b| b.0) + 1));
        }
        read
    }

    /// Lines that wait for their step.
    pub(super) fn waits(&self) -> usize {
        self.waiting.len()
    }

    /// The log begins again: no line before counts.
    pub(super) fn restart(&mut self) {
        self.waiting.clear();
        (self.before, self.bar) = (None, None);
    }

    /// A dictionary of a log; None if it is none.
    pub(super) fn entry(&mut self, value: &Value) -> Option<Vec<Read>> {
        let map = value.as_object()?;
        if map.contains_key("event") {
            let line = Line::<Event>::read(value).or_else(|| Line::<Event>::read(&filled(map)))?;
            let step = whole(map, "step");
            let what = What::Event(line.record);
            return Some(vec![Read { stage: Some(line.stage), time: line.time, step, hash: hash(map), what }]);
        }
        if let Some(line) = Line::<StepReport>::read(value) {
            let step = Some(line.record.step);
            let what = What::Step(line.record);
            return Some(vec![Read { stage: Some(line.stage), time: line.time, step, hash: hash(map), what }]);
        }
        let evals: Vec<(String, f64)> =
            map.keys().filter_map(|key| Some((evaluated(key)?, number(map, key)?))).collect();
        let over = number(map, "train_runtime");
        let stepped = is_step(map) && over.is_none();
        if evals.is_empty() && over.is_none() && !stepped {
            return None;
        }
        let named = map.get("stage").and_then(Value::as_str).and_then(|name| name.parse().ok());
        self.stage = named.or(self.stage.take()).or_else(|| shown(map));
        let step = whole(map, "step").or_else(|| whole(map, "global_step"));
        let mut read = Vec::new();
        if stepped {
            if let Some(step) = step {
                read.extend(self.step(map, step));
            } else {
                // The line before has had its bar, or there are none.
                read.extend(self.rest(false));
                self.waiting.push_back(map.clone());
            }
        } else {
            read.extend(self.rest(false));
        }
        let at = step.or(self.bar).or(self.before.map(|b| b.0)).unwrap_or(0);
        let time = time_of(map);
        let of = |what: What, part: &str| {
            let hash = hash_of(map, &format!("{part} {at}"));
            Read { stage: self.stage, time, step: Some(at), hash, what }
        };
        for (source, eval_loss) in evals {
            let part = source.clone();
            let event = Event::Eval {
                step: at,
                source,
                eval_loss,
                eval_bits_per_byte: f64::NAN,
                train_loss: None,
                sampled_loss: None,
            };
            read.push(of(What::Event(event), &part));
        }
        read.extend(over.map(|seconds| of(What::Over(seconds), "over")));
        Some(read)
    }

    /// A step that says less than danlu's do: what it lacks is absent, not zero.
    fn step(&mut self, map: &Map<String, Value>, step: usize) -> Option<Read> {
        let first = |names: &[&str]| names.iter().find_map(|name| number(map, name));
        let tokens = first(&["total_tokens", "num_tokens", "num_input_tokens_seen"]);
        let time = time_of(map);
        let (mut ms, mut speed) =
            (first(&["step_ms"]).or(first(&["step_time"]).map(|s| 1e3 * s)), first(&["tokens_per_second"]));
        if let Some((earlier, then, had)) = self.before.filter(|b| b.0 < step) {
            let steps = (step - earlier) as f64;
            let took = time.zip(then).map(|(now, then)| now - then).filter(|t| *t > 0.0);
            ms = ms.or(took.map(|seconds| 1e3 * seconds / steps));
            let read = tokens.zip(had).map(|(now, then)| now - then).filter(|n| *n > 0.0);
            let seconds = took.or(ms.map(|ms| ms / 1e3 * steps)).filter(|s| *s > 0.0);
            speed = speed.or(read.zip(seconds).map(|(tokens, seconds)| tokens / seconds));
        }
        self.before = Some((step, time, tokens));
        let (loss, rate) = (first(&["loss"]), first(&["learning_rate", "lr"]));
        let (norm, epoch) = (first(&["grad_norm"]), first(&["epoch"]));
        let metric = |(name, _): (&String, &Value)| -> Option<Metric> {
            let own = STEP.contains(&name.as_str()) || name.starts_with("eval_") || name.starts_with("train_");
            Some((name.clone().into(), number(map, name).filter(|_| !own)?))
        };
        let report = StepReport {
            step,
            loss: loss.unwrap_or(f64::NAN),
            learning_rate: rate.unwrap_or(f64::NAN),
            grad_norm: norm.unwrap_or(f64::NAN),
            applied: map.get("applied").and_then(Value::as_bool).unwrap_or(true),
            tokens_per_second: speed.unwrap_or(f64::NAN),
            total_tokens: tokens.filter(|t| *t >= 0.0).unwrap_or(0.0) as u64,
            epoch: epoch.unwrap_or(f64::NAN),
            step_ms: ms.unwrap_or(f64::NAN),
            sources: Vec::new(),
            absent: Absent {
                loss: loss.is_none(),
                learning_rate: rate.is_none(),
                grad_norm: norm.is_none(),
                tokens_per_second: speed.is_none(),
                total_tokens: tokens.is_none(),
                epoch: epoch.is_none(),
                step_ms: ms.is_none(),
            },
            extra: map.iter().filter_map(metric).collect(),
        };
        Some(Read { stage: self.stage, time, step: Some(step), hash: hash_of(map, "step"), what: What::Step(report) })
    }

    /// A progress bar: its step is that of the line before it. The first bar after a step is the training's; those of
    /// evaluations have another end.
    fn see_bar(&mut self, done: usize, of: usize) -> Vec<Read> {
        self.bars = true;
        if self.planned.is_none() && self.waiting.is_empty() {
            return Vec::new();
        }
        if *self.planned.get_or_insert(of) != of {
            return Vec::new();
        }
        self.bar = Some(done);
        let Some(map) = self.waiting.pop_back() else { return Vec::new() };
        self.passed += self.waiting.drain(..).count();
        self.step(&map, done).into_iter().collect()
    }
}

/// Whether a line without an end holds a whole dictionary, so that only its end is missing.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    text.trim_end().ends_with('}') && dictionary(&text).is_some()
}

/// The number under a key; also one written as text. Null is NaN.
fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    match map.get(key)? {
        Value::Null => Some(f64::NAN),
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole(map: &Map<String, Value>, key: &str) -> Option<usize> {
    number(map, key).filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 1e15).map(|n| n as usize)
}

/// When the line was written, in Unix seconds.
fn time_of(map: &Map<String, Value>) -> Option<f64> {
    ["time", "timestamp"].iter().find_map(|key| number(map, key)).filter(|time| time.is_finite())
}

/// The source of a held-out loss: `all` for `eval_loss`, the name in `eval_<name>_loss`.
fn evaluated(key: &str) -> Option<String> {
    let name = key.strip_prefix("eval_")?.strip_suffix("loss")?;
    let name = name.trim_end_matches('_');
    Some(if name.is_empty() { "all" } else { name }.to_owned())
}

/// Whether a dictionary has figures of a step.
fn is_step(map: &Map<String, Value>) -> bool {
    let sign = |key: &str| {
        ["loss", "learning_rate", "lr", "grad_norm", "reward", "kl"].contains(&key)
            || ["objective/", "rewards/", "logps/", "completions/"].iter().any(|prefix| key.starts_with(prefix))
    };
    map.keys().any(|key| sign(key) && number(map, key).is_some())
}

/// The stage that the metrics are of; None for those that every training has.
fn shown(map: &Map<String, Value>) -> Option<StageId> {
    let has = |name: &str| map.contains_key(name);
    let begins = |prefix: &str| map.keys().any(|key| key.starts_with(prefix));
    if begins("objective/") || has("policy/approxkl_avg") {
        Some(StageId::Ppo)
    } else if has("rewards/chosen") || begins("logps/chosen") {
        Some(StageId::Dpo)
    } else if has("reward_std") || has("frac_reward_zero_std") || begins("completions/") {
        Some(StageId::Grpo)
    } else if has("min_reward") || has("mean_reward") || has("accuracy") && has("margin") {
        Some(StageId::Reward)
    } else if has("mean_token_accuracy") {
        Some(StageId::Sft)
    } else {
        None
    }
}

/// The dictionary in a line, also with other text before or behind it.
fn dictionary(text: &str) -> Option<Value> {
    let (from, to) = (text.find('{')?, text.rfind('}')?);
    let inside = text.get(from..=to)?;
    let value = serde_json::from_str(inside).ok().or_else(|| python::value(inside))?;
    value.is_object().then_some(value)
}

/// Done and all of a progress bar of tqdm without a title, as Trainer shows: ` 10%|█ | 12/120 [00:05<00:45, 2.4it/s]`.
fn bar(text: &str) -> Option<(usize, usize)> {
    let (percent, rest) = text.split_once("%|")?;
    percent.trim().parse::<u32>().ok()?;
    let (_, counts) = rest.split_once('|')?;
    let (counts, _) = counts.split_once('[')?;
    let (done, of) = counts.trim().split_once('/')?;
    Some((done.parse().ok()?, of.parse().ok().filter(|of| *of > 0)?))
}

/// A saved checkpoint whose seconds and bytes another trainer did not measure.
fn filled(map: &Map<String, Value>) -> Value {
    let mut map = map.clone();
    if map.get("event").and_then(Value::as_str) == Some("saved") {
        for key in ["seconds", "bytes"] {
            if number(&map, key).is_none_or(f64::is_nan) {
                map.insert(key.to_owned(), 0.into());
            }
        }
    }
    Value::Object(map)
}

fn hash(map: &Map<String, Value>) -> u64 {
    hash_of(map, "")
}

fn hash_of(map: &Map<String, Value>, part: &str) -> u64 {
    let mut hash = blake3::Hasher::new();
    hash.update(&serde_json::to_vec(map).unwrap_or_default());
    hash.update(part.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]
    use super::*;

    fn steps(read: &[Read]) -> Vec<(usize, f64)> {
        let of = |read: &Read| match &read.what {
            What::Step(step) => Some((step.step, step.loss)),
            _ => None,
        };
        read.iter().filter_map(of).collect()
    }

    #[test]
    fn the_bar_after_a_line_says_its_step() {
        let mut reader = Reader::default();
        let mut read = Vec::new();
        for line in [
            "Map: 100%|████| 1000/1000 [00:00<00:00, 9999.00 examples/s]",
            "  0%|          | 0/40 [00:00<?, ?it/s]",
            "{'loss': '2.5', 'learning_rate': '1e-3', 'epoch': '0.25'}",
            " 25%|██▌       | 10/40 [00:05<00:15,  2.00it/s]",
            "{'loss': '2.0', 'learning_rate': '5e-4', 'epoch': '0.5'}",
            " 50%|█████     | 20/40 [00:10<00:10,  2.00it/s]",
            "  0%|          | 0/7 [00:00<?, ?it/s]",
            "{'eval_loss': 2.25, 'eval_runtime': 0.5, 'epoch': 0.5}",
            "{'loss': '1.5', 'learning_rate': '2e-4', 'epoch': '0.75'}",
        ] {
            read.extend(reader.line(line.as_bytes()));
        }
        assert_eq!(steps(&read), [(10, 2.5), (20, 2.0)]);
        assert_eq!(reader.planned, Some(40));
        let eval = read.iter().find(|r| matches!(r.what, What::Event(Event::Eval { .. })));
        assert_eq!(eval.and_then(|r| r.step), Some(20));
        // No bar: it is not known which step the last line is about.
        assert_eq!(reader.rest(false), []);
        assert_eq!((reader.rest(true), reader.counted, reader.passed), (Vec::new(), false, 2));
    }

    #[test]
    fn lines_without_a_step_and_without_a_bar_are_counted() {
        let mut reader = Reader::default();
        let mut read = Vec::new();
        for line in [
            "Loading weights: done",
            "{'loss': 2.5}",
            "warning: {braces}",
            "{'loss': 2.0}",
            "{'config': {'lr_scheduler': 'x'}}",
        ] {
            read.extend(reader.line(line.as_bytes()));
        }
        read.extend(reader.rest(false));
        assert_eq!(steps(&read), [(1, 2.5), (2, 2.0)]);
        assert!(reader.counted);
        assert_eq!(reader.passed, 3);
    }

    #[test]
    fn no_bytes_stop_the_reader() {
        const PARTS: [&[u8]; 22] = [
            b"{",
            b"}",
            b"'",
            b"\"",
            b"\\",
            b"loss",
            b"step",
            b"eval_loss",
            b": ",
            b", ",
            b"1e999",
            b"-3",
            b"nan",
            b"(",
            b")",
            b"[",
            "春".as_bytes(),
            b"\xff",
            b" 10%| |",
            b" 12/20 [",
            b"'step': 99999999999999999",
            b"\r",
        ];
        let (mut reader, mut chance) = (Reader::default(), 1_u64);
        for _ in 0..20_000 {
            let mut line = Vec::new();
            for _ in 0..12 {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                line.extend_from_slice(PARTS[(chance >> 33) as usize % PARTS.len()]);
            }
            reader.line(&line);
        }
        reader.rest(true);
        assert!(reader.passed > 10_000);
    }

    #[test]
    fn what_a_line_lacks_is_absent() {
        let mut reader = Reader::default();
        let read = reader.line(br#"{"step": 3, "loss": null, "custom/metric": 0.5, "note": "text"}"#);
        let What::Step(step) = &read[0].what else { panic!("{read:?}") };
        assert!(step.loss.is_nan() && !step.absent.loss && step.absent.grad_norm && step.absent.total_tokens);
        assert_eq!(step.extra, [("custom/metric".into(), 0.5)]);
        assert!(step.applied && step.absent.step_ms);
        // The next line has a time and tokens; one pair gives no speed.
        reader.line(br#"{"step": 4, "loss": 1.0, "time": 100.0, "num_tokens": 1000}"#);
        let read = reader.line(br#"{"step": 6, "loss": 1.0, "time": 104.0, "num_tokens": 1800}"#);
        let What::Step(step) = &read[0].what else { panic!("{read:?}") };
        assert_eq!((step.step_ms, step.tokens_per_second, step.total_tokens), (2000.0, 200.0, 1800));
    }
}
