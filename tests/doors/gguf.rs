//! GGUF files as bytes, written without danlu's code.

/// A value with its type number.
#[allow(dead_code, reason = "each suite uses some")]
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'static str),
    Texts(Vec<&'static str>),
    Floats(Vec<f32>),
    Raw(u32, Vec<u8>),
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        let list = |kind: u32, n: usize, items: Vec<u8>| {
            [&9_u32.to_le_bytes()[..], &kind.to_le_bytes(), &(n as u64).to_le_bytes(), &items].concat()
        };
        let one = |kind: u32, value: &[u8]| [&kind.to_le_bytes()[..], value].concat();
        match self {
            Value::U32(n) => one(4, &n.to_le_bytes()),
            Value::F32(x) => one(6, &x.to_le_bytes()),
            Value::Bool(yes) => one(7, &[u8::from(*yes)]),
            Value::Text(text) => one(8, &string(text.as_bytes())),
            Value::Texts(all) => list(8, all.len(), all.iter().flat_map(|t| string(t.as_bytes())).collect()),
            Value::Floats(all) => list(6, all.len(), all.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Value::Raw(kind, bytes) => one(*kind, bytes),
        }
    }
}

/// The description of a tensor: name, dimensions fastest first, type, offset.
pub(crate) type Described<'a> = (&'a str, &'a [u64], u32, u64);

/// A file of version 3 with `data` bytes of tensors.
pub(crate) fn file(pairs: &[(&str, Value)], tensors: &[Described<'_>], data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        bytes.extend(string(key.as_bytes()));
        bytes.extend(value.bytes());
    }
    for (name, dimensions, kind, offset) in tensors {
        bytes.extend(string(name.as_bytes()));
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

/// A small model.
pub(crate) fn small() -> Vec<u8> {
    let pairs = [
        ("general.architecture", Value::Text("llama")),
        ("llama.block_count", Value::U32(1)),
        ("llama.rope.freq_base", Value::F32(f32::NAN)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        ("tokenizer.ggml.tokens", Value::Texts(vec!["<s>", "\u{1b}[31m", "a", "b", "c", "d"])),
        ("tokenizer.ggml.scores", Value::Floats(vec![0.0, -1.0, -2.0, -3.0, -4.0, -5.0])),
        ("tokenizer.ggml.eos_token_id", Value::U32(1)),
    ];
    let tensors: &[Described<'_>] = &[
        ("token_embd.weight", &[32, 6], 0, 0),
        ("blk.0.attn_q.weight", &[32, 32], 8, 768),
        ("output_norm.weight", &[32], 0, 1856),
    ];
    file(&pairs, tensors, 1984)
}
