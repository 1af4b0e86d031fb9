//! JSON Lines and JSON arrays, cut into records.

use std::io::{BufRead, Read};

use serde::de::IgnoredAny;

use super::{
    BAD_ENCODING, CUT_OFF, Fault, Format,
    items::{Record, Records},
    lines::{Line, Lines, buffered, not_utf8},
};
use crate::data::error::DataError;

/// Hands over the text of every record of JSON Lines or of a JSON array, or the reason there is none,
/// each with its place: the line, or the item, from 1. A record has at most `limit` bytes.
/// Returns the bytes read.
pub(in crate::data) fn each_record(
    format: Format,
    input: impl Read,
    limit: usize,
    take: impl FnMut(u64, Result<&str, Fault>),
) -> Result<u64, DataError> {
    let mut input = buffered(input);
    let head = head(&mut input, limit)?;
    let start = head.trim_ascii_start();
    // What many tools call .json is JSON Lines, and the other way round; the first line tells.
    let items = match format {
        Format::JsonLines => start.first() == Some(&b'['),
        _ => start.first() != Some(&b'{') || serde_json::from_slice::<IgnoredAny>(start).is_err(),
    };
    let input = buffered(head.as_slice().chain(input));
    if items { each_item(input, limit, take) } else { each_line(Lines::new(input, limit), take) }
}

/// The input up to the end of its first line that is not blank, without a byte order mark.
fn head(input: &mut impl BufRead, limit: usize) -> Result<Vec<u8>, DataError> {
    let mut head = Vec::new();
    while head.len() < limit {
        let from = head.len();
        let room = (limit - from) as u64;
        if input.take(room).read_until(b'\n', &mut head)? == 0 {
            break;
        }
        if from == 0 && head.starts_with("\u{FEFF}".as_bytes()) {
            head.drain(..3);
        }
        if !head[from.min(head.len())..].trim_ascii().is_empty() {
            break;
        }
    }
    Ok(head)
}

fn each_line<R: Read>(mut lines: Lines<R>, mut take: impl FnMut(u64, Result<&str, Fault>)) -> Result<u64, DataError> {
    let limit = lines.limit();
    loop {
        // The number of the line about to be read; the borrow of its text forbids asking later.
        let place = lines.line + 1;
        match lines.next()? {
            None => return Ok(lines.offset),
            Some(Line::TooLong) => take(place, Err(Fault::too_long("line", limit))),
            Some(Line::NotUtf8(at)) => take(place, Err(Fault::new(BAD_ENCODING, not_utf8(at)))),
            Some(Line::Text(line)) if line.trim().is_empty() => {}
            Some(Line::Text(line)) => take(place, Ok(line)),
        }
    }
}

fn each_item(
    input: impl BufRead,
    limit: usize,
    mut take: impl FnMut(u64, Result<&str, Fault>),
) -> Result<u64, DataError> {
    let mut records = Records::new(input, limit);
    let mut place = 0;
    while let Some(record) = records.next()? {
        place += 1;
        let found = match record {
            Record::Whole(bytes) => {
                std::str::from_utf8(bytes).map_err(|e| Fault::new(BAD_ENCODING, not_utf8(e.valid_up_to())))
            }
            Record::TooLong => Err(Fault::too_long("record", limit)),
            Record::Unfinished => {
                Err(Fault::new(CUT_OFF, "the file ends in the middle of this record; it may have been cut off"))
            }
            Record::Unclosed => {
                Err(Fault::new(CUT_OFF, "the file ends before the array does (no ]); it may have been cut off"))
            }
        };
        take(place, found);
    }
    Ok(records.offset())
}
