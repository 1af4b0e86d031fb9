//! The user's labels of texts as wanted or unwanted: training data of the quality classifier.
//!
//! ```text
//! data/marks.jsonl   {"text", "keep", "time"} per line; a text's newest line counts, and `keep: null` removes its label
//! ```

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    store::{Run, RunView, each_record},
    train::error::TrainError,
};

/// Bytes of a labelled text that are stored: its beginning, which is all that was shown.
const LONGEST: usize = 64 << 10;

/// A line of the log.
#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
    keep: Option<bool>,
    /// Unix seconds, UTC. Lines written by users may have none.
    #[serde(default)]
    time: u64,
}

/// The current labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Each text in the order of the first labels, and whether it is wanted.
    pub texts: Vec<(String, bool)>,
    /// Invalid lines, which were skipped.
    pub bad: usize,
}

impl Marks {
    /// Reads a run's labels; empty without the file.
    pub fn read(run: &RunView) -> Result<Self, TrainError> {
        let (mut found, mut at, mut bad) = (Vec::new(), HashMap::new(), 0);
        each_record(&**run.disk(), &run.marks_path(), |record| match Line::deserialize(record) {
            Ok(line) if !line.text.trim().is_empty() => {
                let text = line.text.trim().to_owned();
                let place = *at.entry(text.clone()).or_insert_with(|| {
                    found.push((text, None));
                    found.len() - 1
                });
                found[place].1 = line.keep;
            }
            _ => bad += 1,
        })?;
        let texts = found.into_iter().filter_map(|(text, keep)| Some((text, keep?))).collect();
        Ok(Self { texts, bad })
    }

    /// Writes or removes a label on disk, and returns the current labels.
    pub fn append(run: &Run, text: &str, keep: Option<bool>) -> Result<Self, TrainError> {
        let text = kept(text);
        if text.is_empty() {
            return Err(TrainError::Input("an empty text cannot be marked".into()));
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let mut log = run.marks()?;
        log.append(&Line { text: text.to_owned(), keep, time })?;
        log.sync()?;
        Self::read(run.view())
    }

    /// The label of a text.
    pub fn of(&self, text: &str) -> Option<bool> {
        let text = kept(text);
        self.texts.iter().find(|(marked, _)| marked == text).map(|(_, keep)| *keep)
    }

    /// The number of wanted and unwanted texts.
    pub fn count(&self) -> (usize, usize) {
        let keep = self.texts.iter().filter(|(_, keep)| *keep).count();
        (keep, self.texts.len() - keep)
    }
}

/// The part of a text that is stored.
fn kept(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::*;
    use crate::store::RealFs;

    #[test]
    fn the_newest_mark_of_a_text_holds() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::create(RealFs::shared(), &dir.path().join("run"), "").unwrap();
        assert_eq!(Marks::read(run.view()).unwrap(), Marks::default());
        for (text, keep) in [("春眠", Some(true)), ("广告", Some(false)), ("水", Some(true)), (" 春眠\n", Some(false))]
        {
            Marks::append(&run, text, keep).unwrap();
        }
        let marks = Marks::append(&run, "水", None).unwrap();
        assert_eq!(marks.texts, [("春眠".to_owned(), false), ("广告".to_owned(), false)]);
        assert_eq!((marks.count(), marks.of("广告 "), marks.of("水")), ((0, 2), Some(false), None));
        // Lines written by users count; invalid ones are counted and skipped.
        let path = run.view().marks_path();
        let by_hand = "{\"text\": \"好\", \"keep\": true}\nnonsense\n{\"keep\": true}\n{\"text\": \" \", \"keep\": true}\n{\"text\": \"未完\"";
        fs::write(&path, fs::read_to_string(&path).unwrap() + by_hand).unwrap();
        let marks = Marks::append(&run, &"长".repeat(1 << 20), Some(true)).unwrap();
        assert_eq!((marks.count(), marks.of("好")), ((2, 2), Some(true)));
        assert_eq!(marks.of(&"长".repeat(1 << 20)), Some(true), "a long text by its beginning");
        assert!(Marks::append(&run, " \n", Some(true)).is_err());
    }
}
