//! Seekable inputs.

use std::io::{Read, Seek};

/// A seekable input that can be sent to another thread.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}
