//! The house rules, kept by a test: arrows between layers point down, files stay short, shaders stay
//! out of Rust strings.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each layer and what it may name with `crate::` (its own modules aside).
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("compute", &["base"]),
    ("nn", &["compute", "base"]),
    ("data", &["compute", "base"]),
    ("store", &["compute", "base"]),
    ("protocol", &["nn", "data", "base"]),
    ("train", &["protocol", "nn", "data", "store", "compute", "base"]),
    ("session", &["protocol", "train", "nn", "data", "store", "compute", "base"]),
    ("ui", &["session", "protocol", "base"]),
    ("cli", &["ui", "session", "protocol", "train", "nn", "data", "store", "compute", "base"]),
];

/// Lines a file may have.
const LONGEST: usize = 800;

fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
}

fn sources(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if dir.is_dir() {
        files(&dir, ending, &mut found);
    }
    found.sort();
    found
}

/// The layer a source file belongs to: its first folder under src, or its own name.
fn layer(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a source");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The first segments of every path after `crate::`, those in braces included.
fn crate_names(text: &str) -> Vec<&str> {
    let name = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let mut names = Vec::new();
    for (at, prefix) in text.match_indices("crate::") {
        let rest = &text[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(&rest[..name(rest)]);
            continue;
        };
        // Names at depth 1 of the braces stand at their start or after a comma.
        let (mut depth, mut fresh) = (1, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                c if fresh && depth == 1 && !c.is_whitespace() => {
                    names.push(&group[i..i + name(&group[i..])]);
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for path in sources("src", "rs") {
        let layer = layer(&path);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            assert!(layer == "lib" || layer == "main", "{} belongs to no layer", path.display());
            continue;
        };
        let text = fs::read_to_string(&path).expect("UTF-8");
        for name in crate_names(&text) {
            let known = LAYERS.iter().any(|(l, _)| *l == name);
            if known && name != layer && !allowed.contains(&name) {
                wrong.push(format!("{}: {layer} names {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn grouped_imports_are_seen() {
    let text = "use crate::{\n    nn::{Learner, MicroBatch},\n    store::Run,\n};\nfn f() { crate::data::x() }";
    assert_eq!(crate_names(text), ["nn", "store", "data"]);
}

#[test]
fn the_terminal_stays_in_its_layer() {
    for path in sources("src", "rs") {
        let layer = layer(&path);
        let text = fs::read_to_string(&path).expect("UTF-8");
        for (crate_name, home) in
            [("ratatui", "ui"), ("crossterm", "ui"), ("wgpu::", "compute"), ("tokenizers::", "data")]
        {
            let uses = text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(crate_name));
            assert!(!uses || layer == home, "{}: {crate_name} is used outside {home}", path.display());
        }
    }
}

#[test]
fn one_file_writes() {
    for path in sources("src", "rs") {
        if path.ends_with("store/fs.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        let body = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in ["fs::write", "File::create", "OpenOptions", "create_dir", "fs::rename", "fs::remove"] {
            assert!(!body.contains(call), "{}: {call} belongs in store/fs.rs", path.display());
        }
    }
}

#[test]
fn files_stay_short() {
    for (folder, ending) in [("src", "rs"), ("shaders", "wgsl"), ("tests", "rs"), ("benches", "rs"), ("examples", "rs")]
    {
        for path in sources(folder, ending) {
            let lines = fs::read_to_string(&path).expect("UTF-8").lines().count();
            assert!(lines <= LONGEST, "{} has {lines} lines, more than {LONGEST}", path.display());
            assert!(folder != "examples" || lines <= 60, "{} has {lines} lines, more than 60", path.display());
        }
    }
}

#[test]
fn shaders_live_in_their_folder() {
    for path in sources("src", "rs") {
        let text = fs::read_to_string(&path).expect("UTF-8");
        for sign in ["@compute", "@workgroup_size", "var<storage"] {
            let inside = text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(sign));
            assert!(!inside, "{}: WGSL ({sign}) inside Rust", path.display());
        }
    }
}
