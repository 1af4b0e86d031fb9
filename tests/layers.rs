//! The rules of the source tree: layers import downwards only, no two files import each other, files and folders stay
//! small, shaders stay out of Rust strings, and paths named in the documents exist.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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

/// What train/ holds, in an order in which each names only what comes before it.
const TRAIN: [&str; 12] =
    ["config", "stats", "error", "run", "tree", "film", "corpus", "stages", "open", "trainer", "export", "watch"];

/// Lines a file may have.
const LONGEST: usize = 800;

/// Entries, files and folders, that a folder of src may have.
const WIDEST: usize = 16;

/// Folders that still have more, with how many they may have.
const TOO_WIDE: &[(&str, usize)] = &[];

/// Import circles that are still there: of a layer the files of each, the largest circle first.
const CIRCLES: &[(&str, &[usize])] = &[];

fn files(dir: &Path, ending: Option<&str>, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if ending.is_none_or(|ending| path.extension().is_some_and(|e| e == ending)) {
            found.push(path);
        }
    }
}

fn sources(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if dir.is_dir() {
        files(&dir, Some(ending), &mut found);
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
        // Names at depth 1 of the braces are at their start or after a comma.
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

/// What the files of src import from one another, read as text: use trees, and paths that begin with `crate`, `super` or
/// `self`. What only tests import does not count, and a name that a module re-exports counts as an import of the file
/// that defines it.
struct Imports {
    /// The text of each module: its path under src without the ending.
    texts: BTreeMap<String, String>,
    /// Where a module's re-exported names are defined.
    reexports: HashMap<(String, String), String>,
    /// The modules that each module imports from.
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    fn of_src() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let texts = sources("src", "rs").into_iter().filter_map(|path| {
            let inside = path.strip_prefix(&root).expect("a source").with_extension("");
            let name = inside.to_str().expect("UTF-8").replace('\\', "/");
            let name = name.strip_suffix("/mod").unwrap_or(&name).to_owned();
            (name != "lib" && name != "main").then(|| (name, code(&fs::read_to_string(&path).expect("UTF-8"))))
        });
        Self::of(texts.collect())
    }

    fn of(texts: BTreeMap<String, String>) -> Self {
        let mut imports = Self { texts, reexports: HashMap::new(), edges: BTreeMap::new() };
        for (module, text) in &imports.texts {
            for (_, tree) in uses(text).iter().filter(|(public, _)| *public) {
                for path in expanded(tree) {
                    if let (Some(target), [name, ..]) = imports.resolved(module, &path)
                        && target != *module
                    {
                        imports.reexports.insert((module.clone(), (*name).to_owned()), target);
                    }
                }
            }
        }
        for (module, text) in &imports.texts {
            let uses = uses(text);
            let mut paths: Vec<Vec<&str>> =
                uses.iter().filter(|(public, _)| !public).flat_map(|(_, tree)| expanded(tree)).collect();
            paths.extend(absolute_paths(text));
            let targets = paths.iter().filter_map(|path| imports.defining(module, path));
            let targets = targets.filter(|target| target != module).collect();
            imports.edges.insert(module.clone(), targets);
        }
        imports
    }

    /// The module that a path in a module leads to, and the rest of the path.
    fn resolved<'a, 'p>(&self, module: &str, path: &'a [&'p str]) -> (Option<String>, &'a [&'p str]) {
        let mut at: Vec<&str> = module.split('/').collect();
        let mut rest = path;
        let child = |at: &[&str], name: &str| [at, &[name]].concat().join("/");
        match path.first() {
            Some(&"crate") => (at, rest) = (Vec::new(), &path[1..]),
            Some(&"self") => rest = &path[1..],
            Some(&"super") => {
                while let [first, after @ ..] = rest
                    && *first == "super"
                {
                    at.pop();
                    rest = after;
                }
            }
            Some(name) if self.texts.contains_key(&child(&at, name)) => {}
            _ => return (None, rest),
        }
        while let [name, after @ ..] = rest
            && self.texts.contains_key(&child(&at, name))
        {
            at.push(name);
            rest = after;
        }
        let target = at.join("/");
        (self.texts.contains_key(&target).then_some(target), rest)
    }

    /// The module that defines what a path in a module names.
    fn defining(&self, module: &str, path: &[&str]) -> Option<String> {
        let (target, rest) = self.resolved(module, path);
        let (mut target, name) = (target?, rest.first().copied().unwrap_or_default().to_owned());
        let mut key = (target.clone(), name);
        while let Some(next) = self.reexports.get(&key).filter(|next| **next != target) {
            target.clone_from(next);
            key.0.clone_from(next);
        }
        Some(target)
    }

    /// The modules of a layer that import each other, in both directions along some path; the largest circle first.
    fn circles(&self, layer: &str) -> Vec<Vec<&str>> {
        let inside = |module: &str| module == layer || module.starts_with(&format!("{layer}/"));
        let reach = |from: &str| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(module) = next.pop() {
                let further = self.edges[&module].iter().filter(|m| inside(m) && seen.insert((*m).clone()));
                next.extend(further.cloned().collect::<Vec<_>>());
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<String>> =
            self.edges.keys().filter(|m| inside(m)).map(|m| (m.as_str(), reach(m))).collect();
        let mut circles: Vec<Vec<&str>> = Vec::new();
        for (module, there) in &reached {
            if there.contains(*module) && !circles.iter().flatten().any(|m| m == module) {
                let back = |other: &&&str| there.contains(**other) && reached[**other].contains(*module);
                circles.push(reached.keys().filter(back).copied().collect());
            }
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }
}

/// A file's text without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let is_tests = |rest: &str| {
        let rest = rest.strip_prefix("#[cfg(test)]").unwrap_or(rest).trim_start();
        let rest = match rest.strip_prefix("#[allow").and_then(|r| r.split_once(']')) {
            Some((_, after)) => after.trim_start(),
            None => rest,
        };
        rest.strip_prefix("mod ")
            .is_some_and(|r| r.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').starts_with(" {"))
    };
    let end =
        text.match_indices("#[cfg(test)]").find(|(at, _)| is_tests(&text[*at..])).map_or(text.len(), |(at, _)| at);
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The use trees of a text, each with whether it is public.
fn uses(text: &str) -> Vec<(bool, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let before = text[..at].trim_end();
        if text[..at].ends_with(is_name) {
            continue;
        }
        let public = before.ends_with("pub")
            || (before.ends_with(')') && before.rsplit('(').nth(1).is_some_and(|b| b.ends_with("pub")));
        if let Some((tree, _)) = text[at + 4..].split_once(';') {
            found.push((public, tree));
        }
    }
    found
}

/// The paths of a use tree, each as its segments.
fn expanded(tree: &str) -> Vec<Vec<&str>> {
    fn walk<'a>(prefix: &[&'a str], tree: &'a str, found: &mut Vec<Vec<&'a str>>) {
        let (mut depth, mut from) = (0, 0);
        let mut branches = Vec::new();
        for (at, c) in tree.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    branches.push(&tree[from..at]);
                    from = at + 1;
                }
                _ => {}
            }
        }
        branches.push(&tree[from..]);
        for branch in branches.into_iter().map(str::trim).filter(|b| !b.is_empty()) {
            let (path, group) = match branch.split_once('{') {
                Some((path, group)) => (path, group.rsplit_once('}').map(|(inner, _)| inner)),
                None => (branch, None),
            };
            let path = path.split(" as ").next().unwrap_or_default();
            let segments = path.split("::").map(str::trim).filter(|s| !s.is_empty());
            let whole: Vec<&str> = prefix.iter().copied().chain(segments).collect();
            match group {
                Some(inner) => walk(&whole, inner, found),
                None => found.push(whole),
            }
        }
    }
    let mut found = Vec::new();
    walk(&[], tree, &mut found);
    // `a::{self, b}` names `a` itself.
    for path in &mut found {
        if path.len() > 1 && path.last() == Some(&"self") {
            path.pop();
        }
    }
    found
}

/// The paths of a text that begin with `crate`, `super` or `self`, those of use trees left out.
fn absolute_paths(text: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for first in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(first) {
            let before = &text[..at];
            // `super::super::x` is found once; a use tree was read already.
            let in_use = before.rfind(';').map_or(before, |end| &before[end + 1..]).trim_start();
            if before.ends_with(is_name)
                || before.ends_with("::")
                || in_use.starts_with("use ")
                || in_use.starts_with("pub") && in_use.contains(" use ")
            {
                continue;
            }
            let end = text[at..].find(|c: char| !is_name(c) && c != ':').map_or(text.len(), |end| at + end);
            let path: Vec<&str> = text[at..end].split("::").filter(|s| !s.is_empty()).collect();
            found.push(path);
        }
    }
    found
}

#[test]
fn no_two_files_import_each_other() {
    let imports = Imports::of_src();
    let mut wrong = Vec::new();
    for (layer, _) in LAYERS {
        let allowed = CIRCLES.iter().find(|(name, _)| name == layer).map_or(&[][..], |(_, sizes)| sizes);
        for (at, circle) in imports.circles(layer).iter().enumerate() {
            if circle.len() > allowed.get(at).copied().unwrap_or(1) {
                wrong.push(format!("{layer}: {}", circle.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "files that import each other:\n{}", wrong.join("\n"));
}

#[test]
fn train_leads_from_config_to_the_loop() {
    let imports = Imports::of_src();
    let place = |module: &str| {
        let entry = module.split('/').nth(1)?;
        let place = TRAIN.iter().position(|name| *name == entry);
        Some(place.unwrap_or_else(|| panic!("train/{entry} has no place in TRAIN")))
    };
    let mut wrong = Vec::new();
    for (module, targets) in imports.edges.iter().filter(|(module, _)| module.starts_with("train/")) {
        for target in targets.iter().filter(|target| target.starts_with("train/")) {
            if place(target) > place(module) {
                wrong.push(format!("{module} names {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not lead from config to the loop:\n{}", wrong.join("\n"));
}

#[test]
fn one_file_names_more_than_one_kind_of_stage() {
    let imports = Imports::of_src();
    let kind = |module: &str| {
        let inside = module.strip_prefix("train/stages/")?;
        let folder = inside.split('/').next()?;
        let is_folder = imports.texts.keys().any(|m| m.starts_with(&format!("train/stages/{folder}/")));
        is_folder.then(|| folder.to_owned())
    };
    let mut wrong = Vec::new();
    for (module, targets) in imports.edges.iter().filter(|(module, _)| *module != "train/stages") {
        let own = kind(module);
        let named: BTreeSet<String> =
            targets.iter().filter_map(|t| kind(t)).filter(|k| Some(k) != own.as_ref()).collect();
        if named.len() > 1 {
            wrong.push(format!("{module} names {named:?}"));
        }
    }
    assert!(wrong.is_empty(), "only train/stages/mod.rs names several kinds of stage:\n{}", wrong.join("\n"));
}

#[test]
fn circles_are_seen() {
    let texts = [
        ("l", "mod a; mod b; mod c; pub use self::c::C;"),
        ("l/a", "use super::b::{self, B};"),
        ("l/b", "fn f() -> crate::l::C { todo() }"),
        ("l/c", "pub(super) use super::a::A; use crate::{\n    l::{a::A as Other},\n};"),
        ("l/d", "use super::C;\n#[cfg(test)]\nmod tests {\n    use super::super::e::E;\n}"),
        ("l/e", "use super::d::D; // use super::e"),
    ];
    let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), code(text))).collect();
    assert_eq!(Imports::of(texts).circles("l"), [["l/a", "l/b", "l/c"]]);
}

#[test]
fn folders_stay_small() {
    let mut entries: BTreeMap<String, usize> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = BTreeSet::new();
    for path in sources("src", "rs") {
        let mut path = path.strip_prefix(root).expect("a source");
        while let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            if folders.insert(path.to_owned()) {
                *entries.entry(folder.to_str().expect("UTF-8").replace('\\', "/")).or_default() += 1;
            }
            path = folder;
        }
    }
    for (folder, entries) in entries {
        let most = TOO_WIDE.iter().find(|(name, _)| *name == folder).map_or(WIDEST, |(_, most)| *most);
        assert!(entries <= most, "{folder} has {entries} entries, more than {most}: group what belongs together");
    }
}

/// Every file of the repository that a document may name, its path from the root with `/`.
fn repository() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["src", "tests", "shaders", "docs", "scripts", "benches", "examples", "assets"] {
        let mut paths = Vec::new();
        files(&root.join(folder), None, &mut paths);
        found.extend(paths.iter().map(|p| p.strip_prefix(root).expect("inside").to_string_lossy().replace('\\', "/")));
    }
    found
}

/// The paths of our own files in a text: names with an ending that only our files have, and folders below ours.
fn named_paths(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let endings = [".rs", ".wgsl", ".py", ".sh"];
    let words = text.split_inclusive(|c: char| !is_part(c));
    words
        // `shaders/x_*.wgsl` and `nn/{a,b}.rs` name no file.
        .filter(|word| !word.ends_with(['*', '{', '<']))
        .map(|word| word.trim_end_matches(|c: char| !is_part(c) || c == '.'))
        .filter(|word| {
            let first = word.split('/').next().unwrap_or_default();
            if first.is_empty() {
                return false; // the address of a page
            }
            let ours = ["docs", "assets", "src", "tests", "shaders", "scripts", "benches", "examples"];
            // `data/` is also a folder of a run.
            let layer = first != "data" && LAYERS.iter().any(|(name, _)| *name == first);
            let deep = word.trim_end_matches('/').contains('/') && (layer || ours.contains(&first));
            endings.iter().any(|e| word.ends_with(e) && word.len() > e.len()) || deep
        })
        .collect()
}

#[test]
fn paths_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = repository();
    let exists = |path: &str| {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let (inner, end) = (format!("/{path}/"), format!("/{path}"));
        there.iter().map(|file| format!("/{file}")).any(|file| {
            let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
            file.ends_with(&end) || stem.ends_with(&end) || file.contains(&inner)
        })
    };
    let mut documents = Vec::new();
    files(&root.join("docs"), Some("md"), &mut documents);
    let in_root = fs::read_dir(root).expect("the root").map(|entry| entry.expect("an entry").path());
    documents.extend(in_root.filter(|path| path.extension().is_some_and(|e| e == "md")));
    let mut texts: Vec<(PathBuf, String)> =
        documents.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8"))).collect();
    for folder in ["src", "tests", "benches", "examples"] {
        for path in sources(folder, "rs") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            let heads = text.lines().filter(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
            texts.push((path, heads));
        }
    }
    let mut wrong = BTreeSet::new();
    for (document, text) in &texts {
        for path in named_paths(text).into_iter().filter(|path| !exists(path)) {
            wrong.insert(format!("{}: {path}", document.strip_prefix(root).expect("inside").display()));
        }
    }
    assert!(wrong.is_empty(), "paths that do not exist:\n{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn paths_are_seen_in_texts() {
    let text =
        "as `src/base/io.rs` and (fs.rs), ui/view/; see train/lm. Not data/sft, a/b, ui/{a,b}.rs, .rs or \"x.rsx\"";
    assert_eq!(named_paths(text), ["src/base/io.rs", "fs.rs", "ui/view/", "train/lm"]);
}
