//! Follows a training that another process does, on this machine or elsewhere, by its log alone: danlu's own lines, the
//! logs of Trainer and TRL, or a stream. Nothing is written.
//!
//! `place` finds out what a path is; `lines`, `reader` and `python` make entries of bytes; `feed` puts those of several
//! files into order; `history` drops what was said twice or taken back; `watcher` makes the events of a screen of them;
//! `folders` and `probes` complete the probes (`asks`) of the checkpoints that appear.

mod asks;
mod feed;
mod folders;
mod history;
mod lines;
mod place;
mod probes;
mod python;
mod reader;
mod watcher;

pub use self::{
    folders::{Done, Job},
    place::Watched,
    probes::Completer,
    watcher::Watcher,
};
