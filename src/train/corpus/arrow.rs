//! Arrow files, which are not read: how to convert them to Parquet, which is.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::base::shell;

/// The files with which `datasets` describes a folder that `save_to_disk` wrote.
const DESCRIPTIONS: [&str; 3] = ["dataset_info.json", "dataset_dict.json", "state.json"];
/// The first bytes of an Arrow file that is no stream (Feather is one).
const MAGIC: &[u8] = b"ARROW1";

/// Whether a file describes a folder of Arrow files and holds no text.
pub(super) fn is_description(path: &Path) -> bool {
    path.file_name().is_some_and(|name| DESCRIPTIONS.iter().any(|known| name == *known))
}

fn is_arrow(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("arrow") || e.eq_ignore_ascii_case("feather"))
}

/// The first Arrow file among those passed over, or the folder that it is part of, and what to do with it.
pub(super) fn in_folder(root: &Path, others: &[PathBuf]) -> Option<(PathBuf, String)> {
    let first = others.iter().filter(|path| is_arrow(path)).min()?;
    let folder = [root, first.parent()?].into_iter().find(|dir| DESCRIPTIONS.iter().any(|d| dir.join(d).is_file()));
    match folder {
        Some(folder) => Some((folder.to_owned(), conversion(folder, folder.join("dataset_dict.json").is_file())?)),
        None => Some((first.clone(), conversion(first, false)?)),
    }
}

/// What to do with an Arrow file or a folder of `save_to_disk`, as the end of a sentence; `several`: whether the folder
/// has splits.
pub(super) fn conversion(path: &Path, several: bool) -> Option<String> {
    let (what, script, to) = if path.is_dir() {
        let what = "is a folder of datasets' save_to_disk, and Arrow is not read";
        let script = if several {
            "import sys, datasets as d; [s.to_parquet(sys.argv[2] + n + '.parquet') for n, s in d.load_from_disk(sys.argv[1]).items()]"
        } else {
            "import sys, datasets as d; d.load_from_disk(sys.argv[1]).to_parquet(sys.argv[2])"
        };
        let to = path.join(if several { "" } else { "data.parquet" });
        (what, script, to)
    } else if is_arrow(path) {
        let mut head = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head));
        let script = if read.is_ok() && head == MAGIC {
            "import sys, pyarrow.feather as f, pyarrow.parquet as p; p.write_table(f.read_table(sys.argv[1]), sys.argv[2])"
        } else {
            "import sys, pyarrow as a, pyarrow.parquet as p; p.write_table(a.ipc.open_stream(sys.argv[1]).read_all(), sys.argv[2])"
        };
        ("is an Arrow file, which is not read", script, path.with_extension("parquet"))
    } else {
        return None;
    };
    let (from, to) = (shell::path(path), shell::path(&to));
    Some(format!("{what}; convert it: python3 -c \"{script}\" {from} {to}"))
}
