//! Cuts JSON Lines and JSON arrays into records and parses them.

use std::io::{BufRead, Read};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    BAD_ENCODING, CUT_OFF, Fault, Format, MALFORMED, TOO_DEEP,
    encoding::MARK,
    items::{Record, Records},
    lines::{Line, Lines, buffered, not_utf8},
    mend::mended,
};
use crate::data::error::DataError;

/// Passes on every record of JSON Lines or of a JSON array, or why it is invalid, with its place: the line or item,
/// from 1. A record has at most `limit` bytes. Returns the number of bytes read.
pub(in crate::data) fn each_record(
    format: Format,
    input: impl Read,
    limit: usize,
    take: impl FnMut(u64, Result<Value, Fault>),
) -> Result<u64, DataError> {
    let mut input = buffered(input);
    let head = head(&mut input, limit)?;
    let start = head.trim_ascii_start();
    // Tools often name JSON Lines .json and vice versa; the first line decides.
    let items = match format {
        Format::JsonLines => start.first() == Some(&b'['),
        _ => start.first() != Some(&b'{') || !is_json(start),
    };
    let input = head.as_slice().chain(input);
    if items { each_item(input, limit, take) } else { each_line(Lines::new(input, limit), take) }
}

/// Reads up to the end of the first line that is not blank.
fn head(input: &mut impl BufRead, limit: usize) -> Result<Vec<u8>, DataError> {
    let mut head = Vec::new();
    while head.len() < limit {
        let from = head.len();
        let room = (limit - from) as u64;
        if input.take(room).read_until(b'\n', &mut head)? == 0 {
            break;
        }
        if !head[from.min(head.len())..].trim_ascii().is_empty() {
            break;
        }
    }
    Ok(head)
}

/// Whether the first line of a head is a record of its own.
fn is_json(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\r').next().unwrap_or(head);
    let parsed = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    parsed(line) || std::str::from_utf8(line).is_ok_and(|line| mended(line).is_some_and(|m| parsed(m.as_bytes())))
}

/// Parses a record. Common invalid JSON in unread fields is repaired.
pub(in crate::data) fn parse(text: &str) -> Result<Value, Fault> {
    let e = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(e) => e,
    };
    if let Some(value) = mended(text).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(value);
    }
    if e.to_string().starts_with("recursion limit") {
        return Err(Fault::new(TOO_DEEP, "JSON nested more than 128 deep"));
    }
    let (reason, place) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
    let reason = reason.strip_suffix(&place).unwrap_or(&reason);
    let line = if text.contains('\n') { format!("line {} of the record, ", e.line()) } else { String::new() };
    Err(Fault::new(MALFORMED, format!("not JSON: {reason} at {line}column {}", e.column())))
}

fn each_line<R: BufRead>(
    mut lines: Lines<R>,
    mut take: impl FnMut(u64, Result<Value, Fault>),
) -> Result<u64, DataError> {
    let limit = lines.limit();
    loop {
        // The number of the line about to be read; the borrow of its text prevents asking later.
        let place = lines.line + 1;
        match lines.next()? {
            None => return Ok(lines.offset),
            Some(Line::TooLong) => take(place, Err(Fault::too_long("line", limit))),
            Some(Line::NotUtf8 { at, .. }) => take(place, Err(Fault::new(BAD_ENCODING, not_utf8(at)))),
            Some(Line::Text(line)) if line.trim().is_empty() => {}
            Some(Line::Text(line)) => {
                // Files joined without a line break, and arrays inside JSON Lines.
                let several = line.contains("}{") || line.contains(MARK) || line.trim_start().starts_with('[');
                if several { each_of(line, limit, place, &mut take)? } else { take(place, parse(line)) }
            }
        }
    }
}

/// Passes on the records on one line.
fn each_of(
    line: &str,
    limit: usize,
    place: u64,
    take: &mut impl FnMut(u64, Result<Value, Fault>),
) -> Result<(), DataError> {
    let mut records = Records::new(line.as_bytes(), limit);
    while let Some(record) = records.next()? {
        let found = match record {
            Record::Whole(bytes) => text(bytes).and_then(parse),
            // Let the parser locate the error on the line.
            _ => parse(line),
        };
        let ends = found.is_err();
        take(place, found);
        if ends {
            break;
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|e| Fault::new(BAD_ENCODING, not_utf8(e.valid_up_to())))
}

fn each_item(
    input: impl BufRead,
    limit: usize,
    mut take: impl FnMut(u64, Result<Value, Fault>),
) -> Result<u64, DataError> {
    let mut records = Records::new(input, limit);
    let mut place = 0;
    while let Some(record) = records.next()? {
        place += 1;
        let found = match record {
            Record::Whole(bytes) => text(bytes).and_then(parse),
            Record::TooLong => Err(Fault::too_long("record", limit)),
            Record::OpenString(line) => {
                Err(Fault::new(CUT_OFF, format!("a string opens on line {line} and has no closing quotation mark")))
            }
            Record::Unfinished => Err(Fault::new(
                CUT_OFF,
                "the file ends in the middle of this record; a bracket in it is not closed, or the file was cut off",
            )),
            Record::Unclosed => {
                Err(Fault::new(CUT_OFF, "the file ends before the array does (no ]); it may have been cut off"))
            }
        };
        let line = records.begins();
        take(
            place,
            found.map_err(|fault| Fault::new(fault.rule, format!("{} (the item begins on line {line})", fault.reason))),
        );
    }
    Ok(records.offset())
}
