//! Plain text and Markdown.

use std::io::Read;

use super::{
    BAD_ENCODING, Fault, LONGEST_DOCUMENT,
    encoding::MARK,
    lines::{Line, Lines, buffered},
};
use crate::data::{document::Document, error::DataError};

/// Reads documents separated by blank lines, or the whole input as one.
pub(super) fn read(
    input: impl Read,
    whole: bool,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Result<(), DataError> {
    let mut lines = Lines::new(buffered(input), LONGEST_DOCUMENT);
    let mut open = Open::default();
    loop {
        // The number of the line about to be read; the borrow of its text prevents asking later.
        let place = lines.line + 1;
        match lines.next()? {
            None => break,
            Some(Line::TooLong) => open.spoil(place, Fault::too_long("line", LONGEST_DOCUMENT)),
            Some(Line::NotUtf8 { offset, .. }) => open.spoil(place, no_utf8(offset, place)),
            Some(Line::Text(line)) if !whole && line.trim().is_empty() => open.close(take),
            // A byte order mark within a line is where files without a final line break were joined, or noise.
            Some(Line::Text(line)) if line.contains(MARK) => open.push(place, &line.replace(MARK, "")),
            Some(Line::Text(line)) => open.push(place, line),
        }
    }
    open.close(take);
    Ok(())
}

/// Reads Markdown: one document, without front matter (YAML between two `---`).
pub(super) fn read_markdown(
    input: impl Read,
    take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Result<(), DataError> {
    read(input, true, &mut |place, found| {
        take(
            place,
            found.map(|document| {
                let text = document.text();
                let body = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
                Document::plain(body.map_or(text, |(_, body)| body).trim_matches('\n'))
            }),
        );
    })
}

fn no_utf8(offset: u64, line: u64) -> Fault {
    Fault::new(BAD_ENCODING, DataError::InvalidUtf8 { offset, line }.to_string())
}

/// The document being read.
#[derive(Default)]
struct Open {
    text: String,
    /// The line on which it began.
    place: u64,
    lines: u64,
    /// Why it will be rejected, and the line of the fault.
    fault: Option<(u64, Fault)>,
}

impl Open {
    fn push(&mut self, place: u64, line: &str) {
        if self.lines == 0 {
            self.place = place;
        }
        self.lines += 1;
        if self.fault.is_some() {
            return;
        }
        if self.text.len() + line.len() >= LONGEST_DOCUMENT {
            return self.spoil(place, Fault::too_long("document", LONGEST_DOCUMENT));
        }
        if self.lines > 1 {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    fn spoil(&mut self, place: u64, fault: Fault) {
        self.lines += 1;
        self.text = String::new();
        self.fault.get_or_insert((place, fault));
    }

    fn close(&mut self, take: &mut dyn FnMut(u64, Result<Document, Fault>)) {
        let open = std::mem::take(self);
        match open.fault {
            Some((place, fault)) => take(place, Err(fault)),
            None if open.text.trim().is_empty() => {}
            None => take(open.place, Ok(Document::plain(open.text.trim_end_matches('\n')))),
        }
    }
}
