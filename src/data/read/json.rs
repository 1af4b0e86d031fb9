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
    let mut head = head(&mut input, limit)?;
    if format == Format::Json
        && let Some(array) = wrapped(&mut input, &mut head)?
    {
        let line = head[..array].split(|b| *b == b'\n').count() as u64;
        return each_item(Records::of_array(head[array..].chain(input), limit, line), take);
    }
    let start = head.trim_ascii_start();
    // Tools often name JSON Lines .json and vice versa; the first line decides.
    let items = match format {
        Format::JsonLines => start.first() == Some(&b'['),
        _ => start.first() != Some(&b'{') || !is_json(start),
    };
    let input = head.as_slice().chain(input);
    if items { each_item(Records::new(input, limit), take) } else { each_line(Lines::new(input, limit), take) }
}

/// Keys under which exports have the list of their records.
const WRAPPERS: [&[u8]; 5] = [b"data", b"rows", b"records", b"examples", b"train"];
/// Most bytes before the first record of such a list.
const LONGEST_OPENING: usize = 4096;

/// Where the list begins in an input such as `{"data": [{…}, …]}`. More lines are added to the head as needed.
fn wrapped(input: &mut impl BufRead, head: &mut Vec<u8>) -> Result<Option<usize>, DataError> {
    loop {
        match opening(head) {
            Opening::List(at) => {
                // Lines that are records of their own may have such a field among others.
                let line: Option<Value> = serde_json::from_slice(head).ok();
                let alone = line.is_none_or(|line| line.as_object().is_some_and(|fields| fields.len() == 1));
                return Ok(alone.then_some(at));
            }
            Opening::Begun if head.len() < LONGEST_OPENING => {
                let room = (LONGEST_OPENING - head.len()) as u64;
                if input.take(room).read_until(b'\n', head)? == 0 {
                    return Ok(None);
                }
            }
            Opening::Begun | Opening::Other => return Ok(None),
        }
    }
}

/// How far an input follows `{"data": [{`.
enum Opening {
    /// All of it; the position of the `[`.
    List(usize),
    /// The input ends before it is clear.
    Begun,
    Other,
}

fn opening(head: &[u8]) -> Opening {
    let mut begun = false;
    for key in WRAPPERS {
        let quoted: [&[u8]; 3] = [b"\"", key, b"\""];
        let quoted = quoted.concat();
        let (mut rest, mut list, mut follows) = (head.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(head), 0, true);
        let parts: [&[u8]; 5] = [b"{", &quoted, b":", b"[", b"{"];
        for part in parts {
            rest = rest.trim_ascii_start();
            let Some(after) = rest.strip_prefix(part) else {
                begun |= part.starts_with(rest);
                follows = false;
                break;
            };
            if *part == *b"[" {
                list = head.len() - rest.len();
            }
            rest = after;
        }
        if follows {
            return Opening::List(list);
        }
    }
    if begun { Opening::Begun } else { Opening::Other }
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
    let line = head.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(head);
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

fn each_item<R: BufRead>(
    mut records: Records<R>,
    mut take: impl FnMut(u64, Result<Value, Fault>),
) -> Result<u64, DataError> {
    let (limit, mut place) = (records.limit(), 0);
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
