//! The wall between threads: commands in, events out.
