//! What a reader of files needs of an input.

use std::io::{Read, Seek};

/// An input that is read at any place, from any thread.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}
