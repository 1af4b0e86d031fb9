//! The log, and texts that are kept: in both languages, so that what was said follows a change of the language.

use crate::{
    base::StageId,
    ui::{
        strings::{self, Lang, Tr},
        text::{Clean, time_of_day},
    },
};

/// A kept text.
#[derive(Clone, Debug, PartialEq)]
pub struct Both {
    zh: Clean,
    en: Clean,
}

impl Both {
    /// The text of this function in each language.
    pub fn new(words: impl Fn(Lang) -> String) -> Both {
        Both { zh: Clean::line(&words(Lang::Zh)), en: Clean::line(&words(Lang::En)) }
    }

    /// A sentence of the trainer.
    pub fn trainer(text: &str) -> Both {
        Both::new(|lang| strings::trainer(lang, text))
    }

    /// Text that is the same in both languages.
    pub fn same(text: &str) -> Both {
        let text = Clean::line(text);
        Both { zh: text.clone(), en: text }
    }

    /// The text in a language.
    pub fn get(&self, lang: Lang) -> &Clean {
        match lang {
            Lang::Zh => &self.zh,
            Lang::En => &self.en,
        }
    }
}

impl From<Tr> for Both {
    fn from(text: Tr) -> Both {
        Both::new(|lang| text.get(lang).to_owned())
    }
}

/// The kind of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A checkpoint.
    Save,
    /// A probe is recalled whole.
    Recall,
    /// A note.
    Note,
    /// A change of the data.
    Edit,
    /// A change of the stage's state.
    State,
    /// Something is wrong.
    Alert,
}

impl Level {
    /// What the log calls it.
    pub fn tag(self) -> Tr {
        match self {
            Level::Save => strings::TAG_SAVE,
            Level::Recall => strings::TAG_RECALL,
            Level::Note => strings::TAG_NOTE,
            Level::Edit => strings::TAG_EDIT,
            Level::State => strings::TAG_STATE,
            Level::Alert => strings::TAG_ALERT,
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Its time in Unix seconds; None in logs of earlier versions.
    pub at: Option<f64>,
    /// Its kind.
    pub level: Level,
    /// The stage and step that it is about.
    pub place: Option<(StageId, usize)>,
    /// Its text.
    pub text: Both,
}

impl LogLine {
    /// The columns of its row on the screen: time, kind, text.
    pub fn row(&self, clock: WallClock, lang: Lang) -> [String; 3] {
        let time = self.at.map_or_else(|| "-".to_owned(), |at| time_of_day(clock.local(at)));
        [time, self.level.tag().get(lang).to_owned(), self.text.get(lang).to_string()]
    }
}

/// The clock on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WallClock {
    /// Unix seconds when the screen opened.
    pub opened: f64,
    /// Seconds that the local time is ahead of UTC.
    pub ahead: i32,
}

impl WallClock {
    /// The local time as if it were UTC, for the calendar.
    pub fn local(self, unix: f64) -> f64 {
        unix + f64::from(self.ahead)
    }
}
