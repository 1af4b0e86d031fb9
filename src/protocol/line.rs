//! A line of `metrics.jsonl`, `events.jsonl` and `--json`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::base::StageId;

/// A [`StepReport`](super::StepReport) or an [`Event`](super::Event) with its stage and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line<T> {
    /// The stage.
    pub stage: StageId,
    /// Unix seconds; none in logs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
    /// What happened.
    #[serde(flatten)]
    pub record: T,
}

impl<T: Serialize> Line<T> {
    /// A line with the current time.
    pub fn now(stage: StageId, record: T) -> Line<T> {
        Line::at(unix_time(), stage, record)
    }

    /// A line with this time, in Unix seconds.
    pub fn at(time: f64, stage: StageId, record: T) -> Line<T> {
        Line { stage, time: Some(time), record }
    }

    /// The line as JSON; a number that is not finite becomes null. None for an event that is not logged (serde skips
    /// its variant).
    pub fn json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

impl<'de, T: Deserialize<'de>> Line<T> {
    /// Parses a line; None if it is not such a record.
    pub fn read(line: &'de Value) -> Option<Line<T>> {
        Line::deserialize(line).ok()
    }
}

/// The current time in Unix seconds.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A number; null is NaN.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// NaN, for a number that earlier versions did not log.
pub(super) fn absent() -> f64 {
    f64::NAN
}

/// Two numbers; null is NaN.
pub(super) fn pair<'de, D: Deserializer<'de>>(from: D) -> Result<(f64, f64), D::Error> {
    let (a, b) = <(Option<f64>, Option<f64>)>::deserialize(from)?;
    Ok((a.unwrap_or(f64::NAN), b.unwrap_or(f64::NAN)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::{fs, path::Path};

    use serde_json::json;

    use super::*;
    use crate::protocol::{Event, JudgedAnswer, StepReport};

    /// The lines of a log written by version 0.1, before lines had a time.
    fn golden(name: &str) -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/logs-1").join(name);
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Whether a line that is read and written again keeps every field that it had; newer fields may be added.
    fn kept<T: Serialize + for<'a> Deserialize<'a>>(line: &Value) -> bool {
        let read = Line::<T>::read(line).unwrap_or_else(|| panic!("does not parse: {line}"));
        assert_eq!(read.time, None);
        holds(&read.json().unwrap(), line)
    }

    /// Whether a value has everything that an older one has.
    fn holds(new: &Value, old: &Value) -> bool {
        match (new, old) {
            (Value::Object(new), Value::Object(old)) => {
                old.iter().all(|(name, old)| new.get(name).is_some_and(|new| holds(new, old)))
            }
            (Value::Array(new), Value::Array(old)) => {
                new.len() == old.len() && new.iter().zip(old).all(|(new, old)| holds(new, old))
            }
            _ => new == old,
        }
    }

    #[test]
    fn logs_of_version_0_1_are_read_and_written_again() {
        let (mut steps, mut events) = (0, std::collections::BTreeSet::new());
        for name in ["metrics.jsonl", "events.jsonl", "stdout.jsonl"] {
            for line in golden(name) {
                match line["event"].as_str() {
                    None => {
                        steps += 1;
                        assert!(kept::<StepReport>(&line), "{line}");
                    }
                    Some(event) => {
                        events.insert(event.to_owned());
                        assert!(kept::<Event>(&line), "{line}");
                    }
                }
            }
        }
        assert!(steps > 80 && events.len() == 19, "{steps} steps, {events:?}");
        for line in golden("answers.jsonl") {
            let answer: JudgedAnswer = serde_json::from_value(line.clone()).unwrap();
            assert_eq!(serde_json::to_value(answer).unwrap(), line);
        }
    }

    /// Steps are read by code of their own, which takes and refuses the same lines.
    #[test]
    fn a_step_is_read_from_bytes_as_from_json() {
        let same = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            let (fast, slow) = (StepReport::read(text.as_bytes()), Line::<StepReport>::read(&value));
            assert_eq!(format!("{fast:?}"), format!("{slow:?}"), "{text}");
            fast.is_some()
        };
        assert!(golden("metrics.jsonl").iter().all(|line| same(&line.to_string())));
        let whole = Line::at(
            1.5,
            StageId::Ppo,
            StepReport { loss: f64::NAN, extra: vec![("a/\u{1F525}".into(), f64::NAN)], ..StepReport::default() },
        );
        let whole = whole.json().unwrap();
        assert!(same(&whole.to_string()));
        for (name, value) in [
            ("stage", json!("distill")),
            ("stage", json!(3)),
            ("step", json!(-1)),
            ("step", json!(1.5)),
            ("loss", json!("low")),
            ("applied", json!(null)),
            ("total_tokens", json!(null)),
        ] {
            let mut line = whole.clone();
            line[name] = value;
            assert!(!same(&line.to_string()), "{line}");
        }
        for (name, value) in [("time", json!(null)), ("note", json!("x")), ("note", json!([1, 2])), ("loss", json!(7))]
        {
            let mut line = whole.clone();
            line[name] = value;
            assert!(same(&line.to_string()), "{line}");
        }
        for name in whole.as_object().unwrap().keys() {
            let mut line = whole.clone();
            line.as_object_mut().unwrap().remove(name);
            same(&line.to_string());
        }
        assert!(StepReport::read(b"").is_none() && StepReport::read(b"{\"step\": 1").is_none());
    }

    #[test]
    fn null_is_nan_and_time_is_unix_seconds() {
        let line = Line::now(
            StageId::Sft,
            StepReport { loss: f64::NAN, extra: vec![("val/x".into(), f64::NAN)], ..StepReport::default() },
        );
        let json = line.json().unwrap();
        assert_eq!((&json["loss"], &json["val/x"], &json["stage"]), (&Value::Null, &Value::Null, &json!("sft")));
        assert!(json["time"].as_f64().unwrap() > 1.7e9, "{json}");
        let read = Line::<StepReport>::read(&json).unwrap();
        assert!(read.record.loss.is_nan() && read.record.extra[0].1.is_nan() && read.record.extra.len() == 1);
        assert_eq!(read.time, line.time);
    }

    #[test]
    fn events_for_the_screen_alone_are_no_lines() {
        let piece = Event::PromptText { id: 1, text: "春".to_owned(), step: Some(3) };
        assert_eq!(Line::now(StageId::Sft, &piece).json(), None);
        assert_eq!(Line::now(StageId::Sft, &Event::Steps(Vec::new())).json(), None);
        let refused = Line::now(StageId::Sft, &Event::Refused { text: "no".to_owned() }).json().unwrap();
        assert_eq!((&refused["event"], &refused["text"]), (&json!("refused"), &json!("no")));
    }
}
