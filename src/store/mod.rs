//! Durable bytes: run folder, lock, checkpoints, safetensors, logs. One file writes: `fs.rs`.
