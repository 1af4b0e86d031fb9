//! Recognises files and folders of other tools where a model was expected, with advice for each.

use std::path::Path;

use crate::store::fs::{Entry, Fs};

/// The message for a Git LFS pointer.
pub const LFS_POINTER: &str =
    "it is a Git LFS pointer, not the file itself: run git lfs install and git lfs pull, or download it again";

/// Whether these bytes are a Git LFS pointer, which a clone without git-lfs leaves in place of the file.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// The message for a file that is recognised by its first bytes as some other format than safetensors.
pub(in crate::store) fn no_safetensors(start: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 12] = [
        (b"GGUF", GGUF),
        (
            b"PK\x03\x04",
            "it is a zip archive, as torch.save writes: a pickle, which can run code and is not read; save the model again with safe_serialization=True",
        ),
        (b"\x80\x02", PICKLE),
        (b"\x80\x03", PICKLE),
        (b"\x80\x04", PICKLE),
        (b"\x80\x05", PICKLE),
        (b"\x89HDF", "it is an HDF5 file, as Keras writes; save the model again as safetensors"),
        (b"tjgg", "it is of a format that llama.cpp gave up for GGUF; convert the original model again"),
        (b"\x1f\x8b", "it is compressed with gzip; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd; unpack it first"),
        (b"<!DOCTYPE", "it is a web page, not the file itself; download it again"),
        (b"<html", "it is a web page, not the file itself; download it again"),
    ];
    if is_lfs_pointer(start) {
        return Some(LFS_POINTER);
    }
    KINDS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what)
}

const PICKLE: &str =
    "it is a pickle, which can run code and is not read; save the model again with safe_serialization=True";

const GGUF: &str = "it is a GGUF file of llama.cpp, which danlu inspect shows and nothing else reads; use the model's Hugging Face folder (config.json and model.safetensors)";

/// What a folder (or file) without model files is, if it can be recognised.
pub fn no_model(disk: &dyn Fs, dir: &Path) -> Option<String> {
    let extension = |name: &Path| name.extension().map(|e| e.to_ascii_lowercase().to_string_lossy().into_owned());
    let Ok(entries) = disk.list(dir) else {
        return match extension(dir).as_deref() {
            Some("gguf") if dir.is_file() => Some(GGUF.to_owned()),
            _ if dir.is_file() => {
                Some("it is a file; give the folder that holds config.json and model.safetensors".to_owned())
            }
            _ => None,
        };
    };
    let named = |wanted: &dyn Fn(&str) -> bool| entries.iter().map(Entry::text).find(|name| wanted(name));
    let ends = |kinds: &'static [&'static str]| {
        move |name: &str| extension(Path::new(name)).is_some_and(|e| kinds.contains(&e.as_str()))
    };
    if let Some(adapter) = named(&|name| name == "adapter_config.json" || name.starts_with("adapter_model.")) {
        return Some(format!(
            "{adapter:?} belongs to a PEFT adapter (LoRA), which modifies another model: merge it into its base model first (merge_and_unload, then save_pretrained)"
        ));
    }
    if let Some(shard) = named(&|name| name.starts_with("model-") && ends(&["safetensors"])(name)) {
        return Some(format!(
            "{shard:?} is one of several shards, and model.safetensors.index.json, which maps tensors to shards, is missing: download it too"
        ));
    }
    if let Some(pickle) = named(&ends(&["bin", "pt", "pth", "ckpt"])) {
        return Some(format!(
            "{pickle:?} is a pickle, which can run code and is not read: save the model again with safe_serialization=True"
        ));
    }
    if let Some(gguf) = named(&ends(&["gguf"])) {
        return Some(format!("{gguf:?}: {GGUF}"));
    }
    let other = named(&ends(&["safetensors"])).filter(|name| *name != "model.safetensors")?;
    Some(format!("found {other:?} instead; rename it to model.safetensors if it is the whole model"))
}
