//! What the names of a data set's files say: which are held out, and which describe the data and are no text.
//!
//! Only names below the path of run.toml count, since a user who writes `path = "test.jsonl"` means that file.

use std::{ffi::OsStr, path::Path};

/// Names of splits that are measured and not trained on, as the `datasets` library knows them.
const HELD_OUT: [&str; 5] = ["validation", "valid", "val", "dev", "test"];
/// Names of files that describe a data set, without their endings.
const CARDS: [&str; 5] = ["readme", "license", "licence", "copying", "notice"];
/// Beginnings of such names.
const CAPITALS: [&str; 3] = ["README", "LICENSE", "LICENCE"];
/// JSON files that describe a data set.
const INFOS: [&str; 3] = ["dataset_infos.json", "dataset_info.json", "dataset_dict.json"];

/// Whether a file is held out by its name or by that of a folder: `validation/…`, `data/test.jsonl`,
/// `dev-00000-of-00002.parquet`, `TinyStories-valid.txt`. A file that is named `train` is not.
pub(super) fn is_held_out(below: &Path) -> bool {
    let name = lower(below.file_name());
    let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let mut words = stem.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty() && *word != "of");
    let first = words.next().unwrap_or_default();
    let last = words.next_back().unwrap_or(first);
    if [first, last].contains(&"train") {
        return false;
    }
    let folder = |dir: &Path| dir.iter().any(|part| HELD_OUT.contains(&lower(Some(part)).as_str()));
    [first, last].iter().any(|word| HELD_OUT.contains(word)) || below.parent().is_some_and(folder)
}

/// Whether a file describes the data or belongs to a program: a data card, a licence, `dataset_infos.json`, anything
/// hidden.
pub(super) fn is_description(below: &Path) -> bool {
    let name = lower(below.file_name());
    let stem = name.split('.').next().unwrap_or_default();
    // README_zh.md, LICENSE-MIT: in capitals as such files are named, so that licence-plates.txt is text.
    let capitals = |file: &OsStr| CAPITALS.iter().any(|word| file.to_string_lossy().starts_with(word));
    below.iter().any(|part| part.to_string_lossy().starts_with('.'))
        || CARDS.contains(&stem)
        || INFOS.contains(&name.as_str())
        || below.file_name().is_some_and(capitals)
}

fn lower(name: Option<&OsStr>) -> String {
    name.map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_splits_are_held_out() {
        for name in [
            "validation.jsonl",
            "data/test.jsonl.gz",
            "validation/0001.txt",
            "data/dev/a/b.json",
            "Test/x.md",
            "validation-00000-of-00001.parquet",
            "data/test_sft-00000-of-00001-f7dfac4afe5b93f4.parquet",
            "TinyStoriesV2-GPT4-valid.txt",
            "squad-dev.json",
            "dev-v2.0.json",
            "VAL.csv",
            "test1.txt",
        ] {
            assert!(is_held_out(Path::new(name)), "{name}");
        }
        for name in [
            "train.jsonl",
            "train-00000-of-00002.parquet",
            "latest.txt",
            "value.csv",
            "tests/a.txt",
            "testament.txt",
            "development/notes.md",
            "my-test-notes.txt",
            "contest.jsonl",
            "validation/train.jsonl",
            "测试.txt",
            "a.txt",
            "",
        ] {
            assert!(!is_held_out(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn cards_licences_and_hidden_files_describe_the_data() {
        for name in [
            "README.md",
            "readme.txt",
            "README_zh.md",
            "data/LICENSE",
            "LICENSE-MIT.txt",
            "LICENCE.md",
            ".gitattributes",
            ".cache/huggingface/download/data/train.jsonl.metadata",
            "a/.git/x.txt",
            "dataset_infos.json",
        ] {
            assert!(is_description(Path::new(name)), "{name}");
        }
        for name in [
            "train.jsonl",
            "notices-of-1912.txt",
            "license-plates.txt",
            "notice-board.md",
            "state.json",
            "a/b.txt",
            "readmes.md",
        ] {
            assert!(!is_description(Path::new(name)), "{name}");
        }
    }
}
