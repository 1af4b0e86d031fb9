//! Parquet in a build without the feature `parquet`: an error that names the feature.

use std::io::{Read, Seek};

use serde_json::Value;

use super::{Fault, Passed, ReadOptions};
use crate::data::{document::Document, error::DataError};

pub(super) fn read<R: Read + Seek>(
    _options: &ReadOptions,
    _input: R,
    _take: &mut dyn FnMut(u64, Result<Document, Fault>),
) -> Passed {
    refused()
}

pub(super) fn records<R: Read + Seek>(
    _limit: usize,
    _most: u64,
    _input: R,
    _take: &mut dyn FnMut(u64, Result<Value, Fault>),
) -> Passed {
    refused()
}

fn refused() -> Passed {
    let what = "is Parquet, which this danlu was built without; build it with --features parquet, or convert the file to .jsonl";
    Passed { ended: Some(DataError::Shape(what.to_owned())), ..Passed::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io::Cursor;

    use crate::data::{Format, read::documents};

    #[test]
    fn the_refusal_names_the_feature() {
        let kind = Format::of_name("a.parquet").unwrap();
        let passed = documents(kind, &super::ReadOptions::default(), Cursor::new(b"PAR1".to_vec()), &mut |_, _| {});
        assert!(passed.ended.unwrap().to_string().contains("--features parquet"));
    }
}
