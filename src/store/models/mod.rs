//! Files from and for other tools: what they are, what is in them, and how they are published.

mod contents;
mod export;
pub(super) mod foreign;
mod gguf;
mod outline;

pub use self::{
    contents::{Contents, Item, TensorFiles, Wrapping, contents},
    export::{Existing, export_files, export_folder, may_write},
    foreign::{LFS_POINTER, is_lfs_pointer, no_model},
    gguf::{
        dtype::GgmlType,
        read::read_gguf,
        value::{GgufHeader, List, MetaValue, Number},
        write::{GgufDtype, GgufOut, gguf_len, write_gguf},
    },
    outline::OutlineRow,
};
