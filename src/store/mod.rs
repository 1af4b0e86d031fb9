//! Durable storage: run folder, lock, checkpoints, safetensors, logs. Only `fs.rs` writes.
//!
//! After any crash, full disk or power cut a saved file is complete or absent, and damage is found before anything is
//! loaded. The store knows files, hashes and tensors by name, and nothing about training.
//!
//! Saving: [`Run::open`] takes the lock and provides a [`Saver`]; [`Saver::save`] writes a hidden folder, syncs every
//! file, writes the manifest, renames the folder and syncs its parent. Loading: [`Checkpoints::newest_verified`]
//! returns the newest checkpoint whose manifest, lengths and hashes agree, and reports those it passed over.

mod checkpoint;
mod error;
mod follow;
mod fs;
mod hashed;
mod lock;
mod log;
mod models;
mod names;
mod prepared;
mod run;
mod runs;
mod safetensors;
mod view;
mod watch;

pub use crate::base::io::ReadSeek;
pub use checkpoint::{
    Checkpoint, CheckpointId, Checkpoints, Found, Keep, MANIFEST, ManifestBeside, NewFile, RESERVE, Retained, Saved,
    Saver, Skipped, manifest_beside,
};
pub use error::StoreError;
pub use follow::{Follow, Piece};
pub use fs::{Entry, Fs, Kind, Links, Lock, RealFs, Synced, WriteFile, open_limited, read_limited};
pub(crate) use fs::{ensure_dirs, open_input, write_atomically};
pub use hashed::{Book, FileInfo};
pub use lock::{RUNS, RunLock, holder};
pub use log::{Log, Tail, Torn, each_line, each_record, each_record_back, read_from, read_portion};
pub use models::{
    Contents, Existing, GgmlType, GgufDtype, GgufHeader, GgufOut, Item, LFS_POINTER, List, MetaValue, Number,
    OutlineRow, TensorFiles, Wrapping, contents, export_files, export_folder, gguf_len, is_lfs_pointer, may_write,
    no_model, read_gguf, write_gguf,
};
pub use names::{MAX_NAME, is_plain, is_prepared, next_run_name, refuse_name};
pub use prepared::{Draft, Preparer};
pub use run::{Run, write_new, write_numbered};
pub use runs::{RunDraft, last_used, newest_run, own_bytes, remove_run, rename_run, runs_in};
pub(crate) use safetensors::zeros;
pub use safetensors::{
    Header, MAX_HEADER, MAX_RANK, MAX_TENSORS, NonFinite, Shapes, TensorData, TensorEntry, TensorFile, TensorRef,
    Written, export_tensors, read_header, read_model, read_shapes, read_tensors, tensors_len, write_tensors,
};
pub use view::RunView;
pub use watch::{Place, Watch, Watching};
