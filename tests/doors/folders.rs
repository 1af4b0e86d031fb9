//! A folder that an export replaces: whatever fails or is cut off, the old model or the new one is there, never a mix.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use danlu::store::{Existing, Fs, NewFile, export_folder};

use crate::common::{
    DANLU, Done,
    fault::{Data, Fault, FaultFs, Names},
    golden, no_leftovers, scratch, snapshot, text,
};

const OUT: &str = "/out/m";

type Files = BTreeMap<String, Vec<u8>>;

fn files(all: &[(&str, &str)]) -> Files {
    all.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn old() -> Files {
    files(&[
        ("README.md", "old"),
        ("config.json", "old"),
        ("model-00001-of-00002.safetensors", "old"),
        ("notes.txt", "mine"),
        ("value/extra.txt", "mine"),
    ])
}

/// The new files, each with the text `what`.
fn written(what: &str) -> Files {
    files(&[("README.md", what), ("config.json", what), ("model.safetensors", what), ("value/config.json", what)])
}

/// The new files and those of the user.
fn replaced(what: &str) -> Files {
    let mine = old().into_iter().filter(|(_, text)| text == b"mine");
    written(what).into_iter().chain(mine).collect()
}

fn disk(exchanges: bool) -> FaultFs {
    let disk = FaultFs::new();
    for dir in ["/out", OUT, "/out/m/value"] {
        disk.make_dir(Path::new(dir)).unwrap();
    }
    for (name, bytes) in old() {
        disk.poke(&Path::new(OUT).join(name), &bytes).unwrap();
    }
    disk.mark();
    disk.set_exchanges(exchanges);
    disk
}

fn export(disk: &FaultFs, what: &str) -> Result<(), danlu::store::StoreError> {
    let all = written(what).into_iter().map(|(name, bytes)| NewFile::bytes(&name, bytes)).collect();
    export_folder(disk, Path::new(OUT), all, Existing::Replace)
}

/// The files of the folder; None if it does not exist.
fn there(disk: &FaultFs) -> Option<Files> {
    let all = disk.files();
    let inside = all.iter().filter_map(|path| Some((path.strip_prefix(OUT).ok()?, path)));
    let found: Files = inside.map(|(name, path)| (text(name), disk.peek(path).unwrap())).collect();
    disk.kind(Path::new(OUT)).unwrap().map(|_| found)
}

/// Gives what is left of an export the number of a process that is gone, as after a kill.
fn killed(disk: &FaultFs) {
    let here = format!("-{}-", std::process::id());
    for entry in disk.list(Path::new("/out")).unwrap() {
        let name = entry.text();
        if name.starts_with('.') {
            let dead = Path::new("/out").join(name.replace(&here, "-2147483646-"));
            disk.rename(&Path::new("/out").join(name), &dead).unwrap();
        }
    }
}

#[test]
fn an_error_leaves_the_old_folder_or_the_new_one() {
    for exchanges in [true, false] {
        for fault in [Fault::NoSpace, Fault::Io, Fault::Denied, Fault::Short] {
            for n in 0.. {
                let disk = disk(exchanges);
                disk.fail_at(n, fault);
                let result = export(&disk, "new");
                let fired = disk.fired();
                disk.heal();
                let found = there(&disk).unwrap_or_else(|| panic!("{fault:?} at {n}: gone after {result:?}"));
                assert!(
                    found == old() || found == replaced("new"),
                    "{fault:?} at {n}: a mix after {result:?}: {found:?}"
                );
                assert!(result.is_err() || found == replaced("new"), "{fault:?} at {n}");
                killed(&disk);
                export(&disk, "newer").unwrap();
                assert_eq!(there(&disk), Some(replaced("newer")), "{fault:?} at {n}");
                assert_eq!(disk.files().len(), replaced("newer").len(), "{fault:?} at {n}: {:?}", disk.files());
                if !fired {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_power_cut_or_a_kill_leaves_the_old_folder_or_the_new_one() {
    for exchanges in [true, false] {
        let whole = disk(exchanges);
        export(&whole, "new").unwrap();
        for prefix in 0..=whole.changes() {
            for data in Data::ALL {
                for names in Names::ALL {
                    let disk = whole.crash(prefix, data, names);
                    disk.set_exchanges(exchanges);
                    let case = format!("after {prefix} changes, {data:?} {names:?}");
                    match there(&disk) {
                        Some(found) => assert!(found == old() || found == replaced("new"), "{case}: {found:?}"),
                        None => assert!(!exchanges, "{case}: gone"),
                    }
                    killed(&disk);
                    export(&disk, "newer").unwrap();
                    assert_eq!(there(&disk), Some(replaced("newer")), "{case}");
                    assert_eq!(disk.files().len(), replaced("newer").len(), "{case}: {:?}", disk.files());
                }
            }
        }
    }
}

fn danlu_in(dir: &Path, args: &[&str]) -> Done {
    Command::new(DANLU).args(args).current_dir(dir).output().unwrap().into()
}

#[test]
fn what_cannot_be_replaced_as_a_whole_is_refused_and_unchanged() {
    let dir = scratch();
    let model = text(&golden("tied"));
    let out = dir.path().join("out");
    let again = |place: &Path, out: &str| danlu_in(place, &["export", "--model", &model, "--hf", out, "--force"]);
    again(dir.path(), "out").good();
    fs::create_dir(out.join("sub")).unwrap();
    fs::write(out.join("sub/mine"), "mine").unwrap();
    let refused = |place: &Path, name: &str, words: &[&str]| {
        let before = snapshot(dir.path());
        again(place, name).refused(2, words);
        assert!(snapshot(dir.path()) == before);
    };
    refused(&out, ".", &["you are in this folder"]);
    refused(&out.join("sub"), "..", &["you are in this folder"]);
    symlink("../README.md", out.join("sub/link")).unwrap();
    refused(dir.path(), "out", &["sub/link", "a link cannot stay"]);
    fs::remove_file(out.join("sub/link")).unwrap();
    fs::write(out.join("run.toml"), "").unwrap();
    refused(dir.path(), "out", &["the folder of a run"]);
    fs::remove_file(out.join("run.toml")).unwrap();
    // The user's files keep their bytes and the folder its permissions.
    fs::set_permissions(&out, fs::Permissions::from_mode(0o755)).unwrap();
    again(dir.path(), "out/sub/..").good();
    assert_eq!(fs::read_to_string(out.join("sub/mine")).unwrap(), "mine");
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o755);
    no_leftovers(dir.path());
}
