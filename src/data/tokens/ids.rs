//! Files of token ids: `{"input_ids": [[…],…], "labels": [[…],…]}`.
//!
//! They are streamed at four bytes per number and checked while reading: a file of sixty megabytes must not take three
//! gigabytes of memory.

use std::{
    fmt,
    io::{self, BufReader, Read},
    ops::Range,
};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
    ser::SerializeSeq as _,
};

use super::example::IGNORED;
use crate::data::{error::DataError, read::Utf8Reader};

/// Most bytes of a file of ids.
pub const LARGEST_IDS: u64 = 64 << 20;

const EXPECTED: &str = "expected {\"input_ids\": [[…], …]} and, optionally, \"labels\" of the same shape";

/// Concatenated rows of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<T> {
    flat: Vec<T>,
    /// The end of each row.
    ends: Vec<u32>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { flat: Vec::new(), ends: Vec::new() }
    }
}

impl<T> Rows<T> {
    /// Adds a row. There is room for four billion numbers.
    pub fn push(&mut self, row: impl IntoIterator<Item = T>) {
        self.flat.extend(row);
        self.end_row();
    }

    fn end_row(&mut self) {
        self.ends.push(u32::try_from(self.flat.len()).unwrap_or(u32::MAX));
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A row.
    pub fn row(&self, at: usize) -> &[T] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.flat[from..self.ends[at] as usize]
    }

    /// All rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[T]> {
        (0..self.len()).map(|at| self.row(at))
    }
}

impl<T: Serialize> Serialize for Rows<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.len()))?;
        for row in self.iter() {
            rows.serialize_element(row)?;
        }
        rows.end()
    }
}

/// Rows of ids with their labels (the ids themselves if the file has none), unshifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    rows: Rows<u32>,
    labels: Option<Vec<i32>>,
}

impl Ids {
    /// Reads a file of this size and checks every number against the vocabulary.
    pub fn read(input: impl Read, bytes: u64, vocab: usize) -> Result<Ids, DataError> {
        let mut fault = None;
        // A number takes at least a digit and a comma: reserving for that many avoids reallocation, and unused
        // reservations cost nothing.
        let most = (bytes.min(LARGEST_IDS) / 2) as usize;
        let input = BufReader::with_capacity(1 << 16, Utf8Reader::new(input));
        let mut json = serde_json::Deserializer::from_reader(input);
        let file =
            File { vocab, most, fault: &mut fault }.deserialize(&mut json).and_then(|file| json.end().map(|()| file));
        let (rows, labels) = match (file, fault) {
            (_, Some(fault)) => return Err(DataError::Shape(fault)),
            (Err(e), None) if e.is_io() => {
                return Err(match io::Error::from(e).into() {
                    DataError::Binary { offset } => {
                        DataError::Shape(format!("it is not text: byte {offset} is zero; {EXPECTED}"))
                    }
                    e => e,
                });
            }
            (Err(e), None) => {
                return Err(DataError::Shape(format!("{e}; {EXPECTED}")));
            }
            (Ok(file), None) => file,
        };
        if rows.is_empty() {
            return Err(DataError::Shape("input_ids has no row".to_owned()));
        }
        if let Some(labels) = &labels {
            if labels.len() != rows.len() {
                let what = format!("labels has {} rows, input_ids has {}", labels.len(), rows.len());
                return Err(DataError::Shape(what));
            }
            for (r, (row, ids)) in labels.iter().zip(rows.iter()).enumerate() {
                if row.len() != ids.len() {
                    let what = format!("labels row {r} has {} numbers, its input_ids {}", row.len(), ids.len());
                    return Err(DataError::Shape(what));
                }
            }
        }
        Ok(Ids { rows, labels: labels.map(|labels| labels.flat) })
    }

    /// The rows.
    pub fn rows(&self) -> &Rows<u32> {
        &self.rows
    }

    /// The length of the longest row.
    pub fn width(&self) -> usize {
        self.rows.iter().map(<[u32]>::len).max().unwrap_or(0)
    }

    /// Rows `range` as a block of `width` columns: ids padded with 0, labels shifted by one and padded with −100.
    /// Causal attention keeps the padding from affecting the text before it.
    pub fn block(&self, range: Range<usize>, width: usize) -> (Vec<u32>, Vec<i32>) {
        let mut ids = Vec::with_capacity(range.len() * width);
        let mut targets = Vec::with_capacity(range.len() * width);
        for r in range {
            let row = self.rows.row(r);
            ids.extend(row.iter().copied().chain(std::iter::repeat(0)).take(width));
            let start = self.rows.ends[r] as usize - row.len();
            let label = |t: usize| self.labels.as_ref().map_or(row[t] as i32, |labels| labels[start + t]);
            targets.extend((1..row.len()).map(label).chain(std::iter::repeat(IGNORED)).take(width));
        }
        (ids, targets)
    }
}

/// The contents of a file: its rows, and the rows of its labels if it has them.
type Both = (Rows<u32>, Option<Rows<i32>>);

/// Parses the object. Errors in numbers are stored in `fault`, so that the JSON parser does not add to their messages.
struct File<'a> {
    vocab: usize,
    /// Limit on the number of numbers.
    most: usize,
    fault: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for File<'_> {
    type Value = Both;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Both, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = Both;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with input_ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Both, A::Error> {
        let (mut ids, mut labels) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            let vocab = self.vocab;
            match key.as_str() {
                "input_ids" if ids.is_none() => {
                    let mut rows = Rows::default();
                    rows.flat.reserve_exact(self.most);
                    let judge = |r: usize, t: usize, id: i64| match u32::try_from(id) {
                        Ok(known) if (known as usize) < vocab => Ok(known),
                        _ => Err(format!("input_ids row {r}, place {t}: {id} is outside the vocabulary of {vocab}")),
                    };
                    map.next_value_seed(Matrix { name: "input_ids", rows: &mut rows, judge, fault: self.fault })?;
                    ids = Some(rows);
                }
                "labels" if labels.is_none() => {
                    let mut rows = Rows::default();
                    rows.flat.reserve_exact(self.most);
                    let judge = |r: usize, t: usize, label: i64| match i32::try_from(label) {
                        Ok(IGNORED) => Ok(IGNORED),
                        Ok(known) if usize::try_from(known).is_ok_and(|known| known < vocab) => Ok(known),
                        _ => Err(format!(
                            "labels row {r}, place {t}: {label} is neither {IGNORED} nor in the vocabulary of {vocab}"
                        )),
                    };
                    let there = map.next_value_seed(Nullable(Matrix {
                        name: "labels",
                        rows: &mut rows,
                        judge,
                        fault: self.fault,
                    }))?;
                    labels = Some(there.then_some(rows));
                }
                "input_ids" | "labels" => return Err(A::Error::custom(format!("{key} appears twice"))),
                other => {
                    let known = "known are input_ids and labels";
                    return Err(A::Error::custom(format!("unknown field {:?}, {known}", shortened(other))));
                }
            }
        }
        match ids {
            Some(ids) => Ok((ids, labels.flatten())),
            None => Err(A::Error::custom("input_ids is missing")),
        }
    }
}

/// A value that may be null; returns whether it is present.
struct Nullable<S>(S);

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Nullable<S> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Nullable<S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows or null")
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        self.0.deserialize(deserializer).map(|()| true)
    }
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(80)]
}

/// Parses rows of numbers.
struct Matrix<'a, T, J> {
    name: &'static str,
    rows: &'a mut Rows<T>,
    judge: J,
    fault: &'a mut Option<String>,
}

impl<'de, T, J: Fn(usize, usize, i64) -> Result<T, String>> DeserializeSeed<'de> for Matrix<'_, T, J> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T, J: Fn(usize, usize, i64) -> Result<T, String>> Visitor<'de> for Matrix<'_, T, J> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows of {}", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Matrix { name, rows, judge, fault } = self;
        while seq.next_element_seed(Row { name, rows: &mut *rows, judge: &judge, fault: &mut *fault })?.is_some() {}
        Ok(())
    }
}

/// Parses one row.
struct Row<'a, T, J> {
    name: &'static str,
    rows: &'a mut Rows<T>,
    judge: &'a J,
    fault: &'a mut Option<String>,
}

impl<'de, T, J: Fn(usize, usize, i64) -> Result<T, String>> DeserializeSeed<'de> for Row<'_, T, J> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T, J: Fn(usize, usize, i64) -> Result<T, String>> Visitor<'de> for Row<'_, T, J> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of {}", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (r, mut t) = (self.rows.len(), 0);
        while let Some(number) = seq.next_element::<i64>()? {
            match (self.judge)(r, t, number) {
                Ok(known) => self.rows.flat.push(known),
                Err(fault) => {
                    *self.fault = Some(fault);
                    return Err(A::Error::custom("a number is out of range"));
                }
            }
            t += 1;
        }
        if t == 0 && self.name == "input_ids" {
            *self.fault = Some(format!("input_ids row {r} is empty"));
            return Err(A::Error::custom("a row is empty"));
        }
        self.rows.end_row();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(text: &str) -> Result<Ids, String> {
        Ids::read(text.as_bytes(), text.len() as u64, 10).map_err(|e| e.to_string())
    }

    #[test]
    fn rows_and_labels_are_read_in_any_order() {
        let ids = read(r#"{"labels": [[1, -100, 3], [4]], "input_ids": [[1, 2, 3], [4]]}"#).unwrap();
        assert_eq!((ids.rows().len(), ids.width()), (2, 3));
        assert_eq!(ids.rows().iter().collect::<Vec<_>>(), [&[1, 2, 3][..], &[4]]);
        assert_eq!(ids.block(0..2, 3), (vec![1, 2, 3, 4, 0, 0], vec![-100, 3, -100, -100, -100, -100]));
        assert!(read("\u{feff}{\"input_ids\": [[1]]}").is_ok());
        // As PowerShell writes redirected output.
        let wide: Vec<u8> = "\u{feff}{\"input_ids\": [[1]]}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Ids::read(wide.as_slice(), wide.len() as u64, 10).unwrap().width(), 1);
        let binary = [0, 1, 2, 255, 0, 7];
        let error = Ids::read(&binary[..], 6, 10).unwrap_err().to_string();
        assert!(error.contains("not text") && error.contains("input_ids"), "{error}");
        let bare = read(r#"{"input_ids": [[1, 2, 3], [4]], "labels": null}"#).unwrap();
        assert_eq!(bare.block(0..1, 3).1, [2, 3, -100]);
        assert_eq!(serde_json::to_string(bare.rows()).unwrap(), "[[1,2,3],[4]]");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            (r#"{"input_ids": [[1, 10]]}"#, "input_ids row 0, place 1: 10 is outside the vocabulary of 10"),
            (r#"{"input_ids": [[1], [-1]]}"#, "input_ids row 1, place 0: -1"),
            (r#"{"input_ids": [[1], []]}"#, "input_ids row 1 is empty"),
            (r#"{"input_ids": []}"#, "no row"),
            (r#"{"input_ids": [[1]], "labels": [[-99]]}"#, "labels row 0, place 0: -99 is neither -100"),
            (r#"{"input_ids": [[1, 2]], "labels": [[1]]}"#, "labels row 0 has 1 numbers, its input_ids 2"),
            (r#"{"input_ids": [[1]], "labels": []}"#, "labels has 0 rows, input_ids has 1"),
            (r#"{"input_ids": [[1]], "input_ids": [[2]]}"#, "input_ids appears twice"),
            (r#"{"labels": [[1]]}"#, "input_ids is missing"),
            (r#"{"ids": [[1]]}"#, "unknown field \"ids\""),
            (r#"{"input_ids": [[1.5]]}"#, "1.5"),
            (r#"{"input_ids": [[18446744073709551615]]}"#, "18446744073709551615"),
            (r#"{"input_ids": [[1e400]]}"#, "out of range"),
            (r#"{"input_ids": [[1]]} x"#, "trailing"),
            (r#"{"input_ids": [[1]"#, "EOF"),
            ("[[1]]", "expected"),
            (&format!("{{\"input_ids\": {}", "[".repeat(100_000)), "expected"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(what), "{text:.80}: {error}");
        }
    }
}
