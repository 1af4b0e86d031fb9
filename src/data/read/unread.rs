//! Fields of records that are not read: counted, so that they can be reported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names that are kept, and characters of one.
const KEPT: usize = 40;
const LONGEST: usize = 40;

/// Fields that were not read, each with the number of records or messages that had it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    fields: BTreeMap<String, u64>,
    /// Those of which the names are not kept.
    others: u64,
}

impl Unread {
    /// Counts a field of `count` records, or of messages in a list of that name.
    pub(in crate::data) fn add(&mut self, list: &str, name: &str, count: u64) {
        if list.is_empty()
            && let Some(known) = self.fields.get_mut(name)
        {
            *known += count;
            return;
        }
        let name: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
        let name = if list.is_empty() { name } else { format!("{list}[].{name}") };
        self.put(name, count);
    }

    fn put(&mut self, name: String, count: u64) {
        let full = self.fields.len() >= KEPT;
        match self.fields.get_mut(&name) {
            Some(known) => *known += count,
            None if full => self.others += count,
            None => {
                self.fields.insert(name, count);
            }
        }
    }

    /// Adds what was counted of another file.
    pub fn join(&mut self, other: Self) {
        self.others += other.others;
        for (name, count) in other.fields {
            self.put(name, count);
        }
    }

    /// The fields as text for a note; None if there are none.
    pub fn summary(&self) -> Option<String> {
        if self.fields.is_empty() {
            return None;
        }
        let mut names: Vec<String> = self.fields.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        if self.others > 0 {
            names.push(format!("others ({})", self.others));
        }
        Some(format!("ignored fields: {}", names.join(", ")))
    }
}
