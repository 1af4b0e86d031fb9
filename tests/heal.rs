//! The run's tokenizer in data/: whatever happens to it, the run continues to the bit from its checkpoints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path};

use common::{checkpoint, copy_all, danlu, no_leftovers, scratch, tensors, text, texts::Chance, train};

const SETS: &[&str] = &["steps=8", "save_steps=4"];

type Hurt = fn(&Path);

fn edit(run: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = run.join("data").join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_tokenizer_is_put_back_from_a_checkpoint() {
    let dir = scratch();
    let (whole, base) = (dir.path().join("whole"), dir.path().join("base"));
    train(&whole, SETS, &[]).good();
    train(&base, SETS, &["--steps", "4"]).good();
    let right = fs::read(base.join("data/tokenizer.json")).unwrap();
    let hurts: [(&str, Hurt); 9] = [
        ("missing", |run| fs::remove_file(run.join("data/tokenizer.json")).unwrap()),
        ("empty", |run| edit(run, "tokenizer.json", Vec::clear)),
        ("cut", |run| edit(run, "tokenizer.json", |b| b.truncate(b.len() / 2))),
        ("zeros", |run| edit(run, "tokenizer.json", |b| b.fill(0))),
        ("no JSON", |run| edit(run, "tokenizer.json", |b| b[0] = b'x')),
        ("no UTF-8", |run| edit(run, "tokenizer.json", |b| b[40] = 0xff)),
        ("a folder", |run| {
            fs::remove_file(run.join("data/tokenizer.json")).unwrap();
            fs::create_dir(run.join("data/tokenizer.json")).unwrap();
        }),
        ("its settings cut", |run| edit(run, "tokenizer_config.json", |b| b.truncate(20))),
        ("both missing", |run| {
            fs::remove_file(run.join("data/tokenizer.json")).unwrap();
            fs::remove_file(run.join("data/tokenizer_config.json")).unwrap();
        }),
    ];
    let goes_on = |run: &Path, what: &str| {
        let done = train(run, SETS, &[]);
        assert!(done.good().out.contains("restored from the checkpoint pretrain-00000004"), "{what}: {}", done.out);
        assert!(fs::read(run.join("data/tokenizer.json")).unwrap() == right, "{what}");
        assert!(tensors(&checkpoint(run, 8)) == tensors(&checkpoint(&whole, 8)), "{what}: other weights");
        no_leftovers(run);
    };
    for (what, hurt) in hurts {
        let run = dir.path().join("hurt");
        copy_all(&base, &run);
        hurt(&run);
        goes_on(&run, what);
        fs::remove_dir_all(&run).unwrap();
    }
    // One flipped bit anywhere: most leave a readable file with another word or merge.
    let mut chance = Chance(11);
    for _ in 0..6 {
        let run = dir.path().join("hurt");
        copy_all(&base, &run);
        let (at, bit) = (chance.below(right.len()), chance.below(8));
        edit(&run, "tokenizer.json", |b| b[at] ^= 1 << bit);
        let hurt = fs::read(run.join("data/tokenizer.json")).unwrap();
        goes_on(&run, &format!("bit {bit} of byte {at}"));
        assert!(fs::read(run.join("data/tokenizer.json.1.torn")).unwrap() == hurt, "what was there is kept");
        fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn the_newest_checkpoint_that_verifies_is_taken_and_without_one_nothing_is_guessed() {
    let dir = scratch();
    let run = dir.path().join("run");
    train(&run, SETS, &[]).good();
    let right = fs::read(run.join("data/tokenizer.json")).unwrap();
    edit(&run, "tokenizer.json", |b| b.truncate(100));
    let newest = checkpoint(&run, 8).join("model.safetensors");
    fs::write(&newest, "x").unwrap();
    let data = danlu(["data", "--run", &text(&run)]);
    assert!(data.good().err.contains("restored from the checkpoint pretrain-00000004"), "{}", data.err);
    assert!(fs::read(run.join("data/tokenizer.json")).unwrap() == right);
    fs::write(checkpoint(&run, 4).join("tokenizer.json"), "{}").unwrap();
    edit(&run, "tokenizer.json", |b| b.truncate(100));
    train(&run, SETS, &["--steps", "1"])
        .refused(2, &["data/tokenizer.json", "no checkpoint of the run can restore it"]);

    // Before the first checkpoint nothing depends on it: it is trained again.
    let fresh = dir.path().join("fresh");
    train(&fresh, SETS, &[]).good();
    fs::remove_dir_all(fresh.join("checkpoints")).unwrap();
    edit(&fresh, "tokenizer.json", |b| b.truncate(100));
    let done = train(&fresh, SETS, &[]);
    assert!(done.good().out.contains("it is trained again"), "{}", done.out);
    assert!(fs::read(fresh.join("data/tokenizer.json")).unwrap() == right);
}
