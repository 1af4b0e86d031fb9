//! GGUF, the format of llama.cpp: a header of key/value pairs and tensor descriptions, then the tensors' bytes.

pub(super) mod dtype;
pub(super) mod read;
pub(super) mod value;
pub(super) mod write;
